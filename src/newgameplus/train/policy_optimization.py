"""Policy optimization that goes on from a policy that knows something: warm-up of the critic, retention, exact resume.

A training is cut into blocks. At the start of each, environments begin anew from a seed that is a function of seed,
arm and block, and a checkpoint is kept; all draws are functions of seed, arm and update. So a training that was cut off
anywhere and goes on from its last checkpoint plays the same games and ends with the same weights, bit for bit.
"""

from __future__ import annotations

import copy
import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from newgameplus import progress
from newgameplus.adapt.surgery_moments import moments_of
from newgameplus.adapt.surgery_training import AfterSurgery
from newgameplus.errors import DivergedError, TrainingError
from newgameplus.games.environment_contract import Environments, EpisodeEnd
from newgameplus.games.episodes import StepTable
from newgameplus.pretrained.policy import as_tensors
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.recipe_agent import AgentTrainSettings, RetentionTerm
from newgameplus.spaces import ObservationSpec
from newgameplus.train.advantages import ReturnScale, generalized_advantages
from newgameplus.train.device import policy_device, threads_for, using_threads
from newgameplus.train.minibatches import Minibatch, rollout_batch
from newgameplus.train.policy_update import UpdateStatistics, moving_parameters, policy_optimizer, update_policy
from newgameplus.train.retention import Retention, build_retention
from newgameplus.train.rollout import Collector, Rollout
from newgameplus.train.state import TrainingState

__all__ = ["PolicyResult", "PolicyTraining", "train_policy"]

Rows = list[dict[str, Any]]
_FRESH_ENTROPY = 0.01
_MOST_ROWS = 100
_MOST_TOTALS = 100
_TELL_SECONDS = 30.0


@dataclass(frozen=True)
class PolicyTraining:
    """One training of a policy: how, from what, and where it is kept.

    Attributes:
        arm: Name, for the rows and the seed.
        settings: The recipe's ``train``.
        seed: Seed of everything random.
        checkpoint: File to save to and to go on from.
        fresh: Whether the policy starts from nothing: then there is no critic warm-up, an entropy bonus by default, and
            the statistics that observations are normalized by are gathered as it plays. A policy that knows something
            keeps them as they are: a moving normalizer would move the policy.
        strategy: What may move (the recipe's ``adapt.strategy``).
        terms: What keeps it from forgetting.
        teacher: Policy that retention terms hold on to; None takes the network as it is at the very start.
        states: Expert states (or demonstrations) for terms that use them.
        return_scale: Statistics of the rewards' scale to start from, as cloning or an earlier training gave them.
        surgery: What the first steps of an operated policy need; None for any other.
    """

    arm: str
    settings: AgentTrainSettings
    seed: int
    checkpoint: Path
    fresh: bool = False
    strategy: Literal["full", "frozen-encoder", "heads"] = "full"
    terms: Sequence[RetentionTerm] = ()
    teacher: PolicyNetwork | None = None
    states: StepTable | None = None
    return_scale: Mapping[str, float] | None = None
    surgery: AfterSurgery | None = None


@dataclass(frozen=True)
class PolicyResult:
    """What a training did.

    Attributes:
        steps: Steps of the game, all copies together.
        seconds: Time worked, over all interruptions.
        rows: The learning curve, as in metrics.jsonl: ``step``; ``return``, ``length`` and ``success`` (means over the
            episodes that ended since the last row), ``totals`` and ``successes`` of at most 200 of these; ``kl``,
            ``entropy``, ``policy_loss``, ``value_loss``, ``retention_...``, ``steps_per_second``.
        return_scale: Statistics of the rewards' scale, to be saved with the policy.
        moments: The optimizer's moments by name of the weight, for a training that goes on from here.
    """

    steps: int
    seconds: float
    rows: Rows
    return_scale: dict[str, float] = field(default_factory=dict)
    moments: dict[str, Tensor] = field(default_factory=dict)


def train_policy(
    network: PolicyNetwork,
    environments: Environments | Callable[[], Environments],
    training: PolicyTraining,
    on_check: Callable[[Rows], None] | None = None,
) -> PolicyResult:
    """Train a policy, or go on from its checkpoint, exactly.

    Args:
        network: As it is at the very start, also when a checkpoint is gone on from; trained in place, left in
            evaluation mode on the CPU.
        environments: Where it plays, or what makes them (then they are closed at the end).
        training: Everything else.
        on_check: Called with all rows so far now and then, at each checkpoint, and once after a resume.

    Raises:
        DivergedError: A loss is not a finite number.
        GameError: The game fails; the last checkpoint stays.
        StorageError: The checkpoint cannot be written.
        TrainingError: A retention term lacks what it needs, or the game is not the one the policy was made for.
    """
    made = environments if isinstance(environments, Environments) else environments()
    try:
        with using_threads(threads_for(network, training.settings, playing=True)):
            return _Loop(network, made, training, on_check).run()
    finally:
        if made is not environments:
            made.close()


class _Loop:
    """The state of one call of :func:`train_policy`."""

    def __init__(
        self,
        network: PolicyNetwork,
        environments: Environments,
        training: PolicyTraining,
        on_check: Callable[[Rows], None] | None,
    ) -> None:
        _check_spaces(network, environments)
        self.training, self.settings, self.on_check = training, training.settings, on_check
        self.environments = environments
        self.device = policy_device(network, training.settings)
        self.network = network.to(self.device).eval()
        settings = self.settings
        self.scale = ReturnScale(settings.gamma, active=settings.normalize_returns, clip=settings.reward_clip)
        if training.return_scale:
            self.scale.load(training.return_scale)
        teacher = network if training.teacher is None and not training.fresh else training.teacher
        frozen = None if teacher is None or not training.terms else _frozen(teacher, self.device)
        self.retention: Retention = build_retention(training.terms, frozen, training.states, self.scale, training.seed)
        per_update = settings.rollout * environments.count
        self.updates = math.ceil(settings.steps / per_update)
        self.warmup = 0 if training.fresh else round(settings.critic_warmup * self.updates)
        self.blocks = [round(n * self.updates / settings.checkpoints) for n in range(settings.checkpoints + 1)]
        self.seeds = (training.seed, zlib.crc32(training.arm.encode()))
        self.state = TrainingState(nn.ModuleDict({"policy": self.network, "scale": self.scale}))
        self.position = self.state.position
        self.recent: list[EpisodeEnd] = []
        self.told = time.monotonic()

    def run(self) -> PolicyResult:
        moments: dict[str, Tensor] = {}
        if self.updates:
            self._train()
            moments = {name: value.cpu().clone() for name, value in moments_of(self.optimizer, self.network).items()}
        self.network.requires_grad_(True)
        self.network.to("cpu")
        position = self.position
        return PolicyResult(position.step, position.seconds, position.rows, self.scale.as_dict(), moments)

    def _train(self) -> None:
        resumed = self.state.load_weights(self.training.checkpoint)
        self.position = self.state.position
        actors, critics = moving_parameters(self.network, self.training.strategy, critic_only=False)
        self.optimizer = policy_optimizer(actors, critics, self.settings)
        self.state.optimizer = self.optimizer
        self.collector = Collector(self.network, self.environments, self.settings.rollout)
        if resumed:
            self.state.load_optimizer(self.training.checkpoint)
            self._tell()
        elif self.training.surgery is not None:
            self.training.surgery.begin(self.optimizer, self.network)
        total = self.updates * self._per_update
        with progress.task(f"playing to learn ({self.training.arm})", total, "steps", self.position.step) as bar:
            while not self.position.done:
                self._block(bar)

    @property
    def _per_update(self) -> int:
        return self.settings.rollout * self.environments.count

    def _block(self, bar: progress.Task) -> None:
        """Play and learn up to the next checkpoint."""
        position = self.position
        first, last = self.blocks[position.epoch], self.blocks[position.epoch + 1]
        if first < last:
            self.collector.reset(_seed((*self.seeds, 0, position.epoch)))
            self.scale.restart()
            self.retention.restart(self.environments.count)
            self.recent = []
        for update in range(first, last):
            note = self._update(update)
            position.step += self._per_update
            bar.advance(self._per_update, note)
        position.epoch += 1
        position.done = position.epoch == self.settings.checkpoints
        self._save()
        self._tell()

    def _update(self, update: int) -> str:
        """Play one rollout and learn from it; return what to show."""
        settings = self.settings
        warming = update < self.warmup
        rollout = self.collector.collect(np.random.default_rng([*self.seeds, 1, update]))
        if self.training.fresh and update == 0 and self.network.normalizer.parts:
            # Before anything was seen, nothing is normalized; a fresh policy draws much the same either way.
            self._gather(rollout)
            self.collector.answer_again()
        self.scale.update(rollout.rewards, rollout.ended)
        rewards = self.scale.scaled(rollout.rewards)
        advantages = generalized_advantages(
            rewards, rollout.values, rollout.after, rollout.ended, settings.gamma, settings.gae_lambda
        )
        batch = rollout_batch(self.network, rollout, advantages)
        done = update / self.updates
        self._set_rates(done)
        moving_parameters(self.network, self.training.strategy, critic_only=warming)
        batch.columns |= self.retention.columns(rollout, batch)
        with self._first_steps(update):
            found = self._learn(update, batch, warming=warming)
        if self.training.surgery is not None:
            self.training.surgery.lift(self.network, self._free(update), self._free(update + 1))
        if self.training.fresh and update > 0:
            self._gather(rollout)
        self.recent.extend(rollout.episodes)
        return self._record(update, found, warming=warming)

    def _first_steps(self, update: int) -> AbstractContextManager[None]:
        """Let moments of an operated policy be refilled before its critic, and before its actor, move."""
        surgery = self.training.surgery
        if surgery is None or update not in (0, self.warmup):
            return nullcontext()
        return surgery.refilling(self.optimizer, self.network, critic=update == 0)

    def _learn(self, update: int, batch: Minibatch, *, warming: bool) -> UpdateStatistics:
        try:
            return update_policy(
                self.network,
                self.optimizer,
                batch,
                self.settings,
                seeds=(*self.seeds, 2, update),
                entropy=self._entropy,
                terms={} if warming else self.retention.weighted(self._free(update)),
                critic_only=warming,
            )
        except DivergedError as error:
            where = f"{self.training.arm}, update {update + 1} of {self.updates}"
            raise DivergedError(error.message, source=where, remedy=error.remedy) from error

    def _free(self, update: int) -> float:
        """Share of the updates in which the policy moves that are done: what retention schedules go by."""
        return (update - self.warmup) / max(1, self.updates - self.warmup)

    @property
    def _entropy(self) -> float:
        if self.settings.entropy == "auto":
            return _FRESH_ENTROPY if self.training.fresh else 0.0
        return self.settings.entropy

    def _gather(self, rollout: Rollout) -> None:
        normalizer = self.network.normalizer
        if normalizer.parts:
            seen = {
                name: rollout.observations[name][:-1].reshape(-1, *rollout.observations[name].shape[2:])
                for name in normalizer.parts
            }
            normalizer.update(as_tensors(seen, self.device))

    def _set_rates(self, done: float) -> None:
        factor = 1.0 - done if self.settings.schedule == "linear" else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor

    def _record(self, update: int, found: UpdateStatistics, *, warming: bool) -> str:
        """Add a row now and then; return what to show in any case."""
        last = update + 1 in self.blocks
        if last or (update + 1) % max(1, self.updates // _MOST_ROWS) == 0:
            self.position.rows.append(self._row(update, found, warming=warming))
            self.recent = []
            if time.monotonic() - self.told > _TELL_SECONDS:
                self._tell()
        known = next((row for row in reversed(self.position.rows) if "return" in row), None)
        note = f"mean return {known['return']:,.2f}" if known else "no episode has ended yet"
        return f"{'critic only, ' if warming else ''}{note}"

    def _row(self, update: int, found: UpdateStatistics, *, warming: bool) -> dict[str, Any]:
        steps, before = (update + 1) * self._per_update, self.position.seconds
        seconds = self.state.worked()
        last = self.position.rows[-1]["step"] if self.position.rows else 0
        row: dict[str, Any] = {
            "arm": self.training.arm,
            "phase": "critic" if warming else "policy",
            "step": steps,
            "episodes": len(self.recent),
        }
        if self.recent:
            totals = [episode.total for episode in self.recent]
            row["return"] = float(np.mean(totals))
            row |= {"return_deviation": float(np.std(totals, ddof=1))} if len(totals) > 1 else {}
            row["length"] = float(np.mean([episode.length for episode in self.recent]))
            some = self.recent[:: max(1, len(self.recent) // _MOST_TOTALS)]
            row["totals"] = [round(episode.total, 6) for episode in some]
            known = [episode.success for episode in self.recent if episode.success is not None]
            if known:
                row["success"] = float(np.mean(known))
                row["successes"] = [bool(episode.success) for episode in some]
        names = ("policy_loss", "value_loss", "entropy", "kl", "clipped", "epochs")
        row |= {name: getattr(found, name) for name in names}
        row |= {f"retention_{name}": value for name, value in found.terms.items()}
        row["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        row["steps_per_second"] = round((steps - last) / max(seconds - before, 1e-9), 1)
        row["seconds"] = round(seconds, 3)
        return row

    def _tell(self) -> None:
        self.told = time.monotonic()
        if self.on_check is not None:
            self.on_check(self.position.rows)

    def _save(self) -> None:
        self.state.worked()
        self.state.save(self.training.checkpoint)


def _seed(parts: Sequence[int]) -> int:
    """Return a seed in 0..2**31-1 that is a function of numbers."""
    return int(np.random.SeedSequence(list(parts)).generate_state(1)[0] >> 1)


def _frozen(network: PolicyNetwork, device: torch.device) -> PolicyNetwork:
    return copy.deepcopy(network).to(device).eval().requires_grad_(False)


def _check_spaces(network: PolicyNetwork, environments: Environments) -> None:
    mine, theirs = network.shape, environments
    remedy = "mend the policy for the game as it is now with ngp surgery, or start fresh"
    if _seen(mine.observations) != _seen(theirs.observations):
        message = (
            f"the policy was made to see {_parts(mine.observations)}, and the game shows {_parts(theirs.observations)}"
        )
        raise TrainingError(message, source=theirs.name, remedy=remedy)
    if (mine.actions.kind, mine.actions.sizes) != (theirs.actions.kind, theirs.actions.sizes):
        pair = [f"{a.kind} actions {list(a.sizes)}" for a in (mine.actions, theirs.actions)]
        raise TrainingError(
            f"the policy answers {pair[0]}, and the game takes {pair[1]}", source=theirs.name, remedy=remedy
        )


def _seen(spec: ObservationSpec) -> list[tuple[Any, ...]]:
    return [(part.name, part.kind, part.shape, part.sizes) for part in spec.parts]


def _parts(spec: ObservationSpec) -> str:
    return ", ".join(f"{part.name} ({part.kind} {list(part.shape)})" for part in spec.parts)
