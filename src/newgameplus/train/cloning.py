"""Behavior cloning: imitate demonstrations, so that reinforcement learning starts from a policy and a critic.

All kinds of actions, with masks and with memory. The critic learns the demonstrations' returns on the way, in the same
scale of rewards that policy optimization goes on with.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from newgameplus import progress
from newgameplus.errors import DivergedError, TrainingError
from newgameplus.games.episodes import Episode, StepTable, step_table
from newgameplus.pretrained.action_distribution import ActionDistribution
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.recipe_agent import CloneSettings
from newgameplus.spaces import ActionSpec
from newgameplus.train.advantages import ReturnScale, advantage_weights
from newgameplus.train.device import policy_device, threads_for, using_threads
from newgameplus.train.flat_adam import FlatAdam
from newgameplus.train.minibatches import Minibatch
from newgameplus.train.policy_update import moving_parameters
from newgameplus.train.sequences import Sequences
from newgameplus.train.state import TrainingState

__all__ = ["CloneResult", "Cloning", "agreement", "clone_policy"]

Rows = list[dict[str, Any]]
_STEPS = 2000
_MOST_ROWS = 100
_SAVE_SECONDS = 20.0
_WARMUP = 0.05
# Deterministic demonstrators would take the last bit of noise from continuous actions; what comes next must explore.
_SMALLEST_LOG_SCALE = math.log(0.1)


@dataclass(frozen=True)
class Cloning:
    """One imitation: how, and where it is kept.

    Attributes:
        arm: Name, for the rows and the seed.
        settings: The recipe's ``clone``.
        seed: Seed of everything random.
        checkpoint: File to save to and to go on from.
        gamma: Discount of the returns that the critic learns.
        fresh: Whether the policy starts from nothing: then observations are normalized by the demonstrations'
            statistics; a policy that knows something keeps its own.
        strategy: What may move (the recipe's ``adapt.strategy``).
        normalize_returns: Scale rewards by the deviation of the discounted return.
        reward_clip: Largest scaled reward; None lets all through.
        critic_learning_rate: Peak rate of what only the critic has.
        gradient_clip: Largest gradient norm, of the actor's and the critic's weights each; None does not clip.
        device: Where to compute.
        threads: Processor threads.
    """

    arm: str
    settings: CloneSettings
    seed: int
    checkpoint: Path
    gamma: float = 0.99
    fresh: bool = False
    strategy: Literal["full", "frozen-encoder", "heads"] = "full"
    normalize_returns: bool = True
    reward_clip: float | None = 10.0
    critic_learning_rate: float = 1e-3
    gradient_clip: float | None = 1.0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | Literal["auto"] = "auto"


@dataclass(frozen=True)
class CloneResult:
    """What an imitation did.

    Attributes:
        steps: Optimizer steps.
        epochs: Passes over the demonstrations.
        seconds: Time worked, over all interruptions.
        rows: As in metrics.jsonl: ``train_loss`` (nats a step), ``value_loss``, ``validation_loss`` and
            ``validation_accuracy`` on held-out episodes.
        return_scale: Statistics of the rewards' scale that the critic learnt in, for what comes next.
    """

    steps: int
    epochs: int
    seconds: float
    rows: Rows
    return_scale: dict[str, float] = field(default_factory=dict)


def clone_policy(
    network: PolicyNetwork,
    episodes: Sequence[Episode],
    cloning: Cloning,
    *,
    held_out: Sequence[Episode] = (),
    on_check: Callable[[Rows], None] | None = None,
) -> CloneResult:
    """Train a policy to do what demonstrators did, or go on from its checkpoint, exactly.

    Args:
        network: Trained in place; left in evaluation mode on the CPU.
        episodes: To learn from, at least one step in all.
        cloning: Everything else.
        held_out: Episodes to measure agreement on.
        on_check: Called with all rows so far after each row, and once after a resume.

    Raises:
        DivergedError: A loss is not a finite number.
        StorageError: The checkpoint cannot be written.
        TrainingError: There is nothing to learn from.
    """
    some = [episode for episode in episodes if len(episode)]
    if not some:
        remedy = "give demonstrations with steps in them, or loosen data.top and data.success_only"
        raise TrainingError("the demonstrations have no steps", source="data.path", remedy=remedy)
    with using_threads(threads_for(network, cloning, playing=True)):
        return _Loop(network, some, cloning, [episode for episode in held_out if len(episode)], on_check).run()


@torch.no_grad()
def agreement(
    network: PolicyNetwork, episodes: Sequence[Episode]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return how often a policy's likeliest action is the demonstrator's.

    Args:
        network: The policy.
        episodes: At least one, none of them empty.

    Returns:
        float64 [episodes]: steps with the demonstrator's action (for continuous actions the sum of the closeness, 1
        less the mean distance as a share of what is allowed), and int64 [episodes]: the steps of each.
    """
    table = step_table(episodes)
    distribution = _answers(network, table)
    return _matches(network.shape.actions, distribution.mode().cpu().numpy(), table, episodes)


def _answers(network: PolicyNetwork, table: StepTable) -> ActionDistribution:
    logits = Sequences(table, network).ask(network)
    return ActionDistribution(network.shape.actions, logits, network.log_scale)


def _matches(
    spec: ActionSpec, chosen: npt.NDArray[Any], table: StepTable, episodes: Sequence[Episode]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    count = len(table)
    if spec.kind == "continuous":
        room = np.array(spec.high) - np.array(spec.low) if spec.low else np.ones(spec.width)
        same = 1.0 - np.clip(np.abs(chosen - table.actions) / room, 0.0, 1.0).mean(axis=1)
    else:
        same = (chosen == table.actions).reshape(count, -1).all(axis=1).astype(np.float64)
    lengths = np.array([len(episode) for episode in episodes], np.int64)
    return np.add.reduceat(same, np.r_[0, np.cumsum(lengths)[:-1]]), lengths


class _Loop:
    """The state of one call of :func:`clone_policy`."""

    def __init__(
        self,
        network: PolicyNetwork,
        episodes: list[Episode],
        cloning: Cloning,
        held_out: list[Episode],
        on_check: Callable[[Rows], None] | None,
    ) -> None:
        self.cloning, self.settings, self.on_check = cloning, cloning.settings, on_check
        self.network = network.to(policy_device(network, cloning)).eval()
        self.scale = ReturnScale(cloning.gamma, active=cloning.normalize_returns, clip=cloning.reward_clip)
        self._measure(episodes)
        scaled = [replace(episode, rewards=self.scale.scaled(episode.rewards)) for episode in episodes]
        self.sequences = Sequences(step_table(scaled, cloning.gamma), network, self.settings.sequence)
        if self.settings.weights == "return":
            self.sequences.add("weights", self._by_return(episodes))
        self.held_out = held_out
        self.batches = max(1, -(-len(self.sequences) // self.sequences.rows_for(self.settings.batch_size)))
        automatic = max(1, round(_STEPS / self.batches))
        self.epochs = automatic if self.settings.epochs == "auto" else self.settings.epochs
        self.seeds = (cloning.seed, zlib.crc32(cloning.arm.encode()))
        self.state = TrainingState(nn.ModuleDict({"policy": self.network, "scale": self.scale}))
        self.position = self.state.position
        self.saved_at = time.monotonic()

    def _measure(self, episodes: list[Episode]) -> None:
        """Take the scale of the rewards, and for a fresh start what observations look like, from the demonstrations."""
        rewards = np.concatenate([episode.rewards for episode in episodes])[:, None]
        ended = np.concatenate([np.arange(len(episode)) == len(episode) - 1 for episode in episodes])[:, None]
        self.scale.update(rewards, ended)
        self.scale.restart()
        normalizer = self.network.normalizer
        if self.cloning.fresh and normalizer.parts:
            table = step_table(episodes)
            seen = {name: torch.as_tensor(table.observations[name]) for name in normalizer.parts}
            normalizer.update({name: values.to(normalizer.count.device) for name, values in seen.items()})

    def _by_return(self, episodes: list[Episode]) -> Tensor:
        totals = torch.tensor([episode.total for episode in episodes], dtype=torch.float32)
        lengths = torch.tensor([len(episode) for episode in episodes])
        each = advantage_weights(totals).repeat_interleave(lengths)
        return (each / each.mean()).to(self.sequences.device)

    def run(self) -> CloneResult:
        resumed = self.state.load_weights(self.cloning.checkpoint)
        self.position = self.state.position
        actors, critics = moving_parameters(self.network, self.cloning.strategy, critic_only=False)
        rates = ((actors, self.settings.learning_rate), (critics, self.cloning.critic_learning_rate))
        self.optimizer = FlatAdam([{"params": some, "lr": rate, "peak": rate} for some, rate in rates if some])
        self.state.optimizer = self.optimizer
        if resumed:
            self.state.load_optimizer(self.cloning.checkpoint)
            self._tell()
        scale = self.network.log_scale
        self.floor = None if scale is None else scale.detach().clamp(max=_SMALLEST_LOG_SCALE)
        total = self.epochs * self.batches
        with progress.task(f"imitating ({self.cloning.arm})", total, "steps", self.position.step) as bar:
            while not self.position.done:
                self._epoch(bar)
        self.network.requires_grad_(True)
        self.network.to("cpu")
        position = self.position
        return CloneResult(position.step, position.epoch, position.seconds, position.rows, self.scale.as_dict())

    def _epoch(self, bar: progress.Task) -> None:
        position = self.position
        self.sequences.refresh(self.network)
        order = np.random.default_rng([*self.seeds, position.epoch]).permutation(len(self.sequences))
        losses = []
        for rows in np.array_split(order, self.batches):
            self._set_rates()
            losses.append(self._step(self.sequences.take(rows)))
            position.step += 1
            bar.advance(1)
        position.epoch += 1
        position.done = position.epoch == self.epochs
        if position.done or position.epoch % max(1, self.epochs // _MOST_ROWS) == 0:
            mean = torch.stack(losses).mean(dim=0).tolist()
            position.rows.append(self._row(*mean))
            bar.advance(0, _note(position.rows[-1]))
            self._tell()
        if position.done or time.monotonic() - self.saved_at > _SAVE_SECONDS:
            self._save()

    def _step(self, batch: Minibatch) -> Tensor:
        """Take a step; return float32 [2]: negative log likelihood, and squared error of the critic."""
        answer = batch.ask(self.network)
        errors = batch.flat("returns") - answer.values
        unlikely = -answer.distribution.log_prob(batch.flat("actions"))
        value = errors.square().mean()
        loss = (self._weights(batch, errors.detach()) * unlikely).mean() + 0.5 * value
        if self.settings.entropy:
            loss = loss - self.settings.entropy * answer.distribution.entropy().mean()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if not self.optimizer.descend(self.cloning.gradient_clip):
            where = f"{self.cloning.arm}, epoch {self.position.epoch + 1}"
            raise DivergedError(
                f"the loss is {float(loss.detach())}, or a gradient is not finite",
                source=where,
                remedy=self._remedy(batch),
            )
        if self.floor is not None and self.network.log_scale is not None:
            with torch.no_grad():
                self.network.log_scale.copy_(torch.maximum(self.network.log_scale, self.floor))
        return torch.stack([unlikely.detach().mean(), value.detach()])

    def _remedy(self, batch: Minibatch) -> str:
        for name, values in batch.observations.items():
            if values.is_floating_point() and not bool(torch.isfinite(values).all()):
                return (
                    f"the demonstrations' {name!r} holds numbers that are not finite: mend or leave out those episodes"
                )
        return "lower clone.learning_rate (try a tenth)"

    def _weights(self, batch: Minibatch, errors: Tensor) -> Tensor:
        if self.settings.weights == "advantage":
            return advantage_weights(errors)
        return batch.flat("weights") if self.settings.weights == "return" else torch.ones_like(errors)

    def _set_rates(self) -> None:
        """Rise, then fall along a cosine."""
        total = self.epochs * self.batches
        warmup = _WARMUP * total
        step = self.position.step
        done = (step - warmup) / max(1.0, total - warmup)
        factor = (step + 1) / (warmup + 1) if step < warmup else 0.5 * (1.0 + math.cos(math.pi * done))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor

    @torch.no_grad()
    def _row(self, loss: float, value_loss: float) -> dict[str, Any]:
        position = self.position
        row: dict[str, Any] = {
            "arm": self.cloning.arm,
            "phase": "cloning",
            "epoch": position.epoch,
            "step": position.step,
            "train_loss": loss,
            "value_loss": value_loss,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }
        if self.held_out:
            table = step_table(self.held_out)
            distribution = _answers(self.network, table)
            actions = torch.as_tensor(table.actions, device=distribution.answer.device)
            row["validation_loss"] = -float(distribution.log_prob(actions).mean())
            chosen = distribution.mode().cpu().numpy()
            matches, steps = _matches(self.network.shape.actions, chosen, table, self.held_out)
            row["validation_accuracy"] = float(matches.sum() / steps.sum())
        row["seconds"] = round(self.state.worked(), 3)
        return row

    def _tell(self) -> None:
        if self.on_check is not None:
            self.on_check(self.position.rows)

    def _save(self) -> None:
        self.state.worked()
        self.state.save(self.cloning.checkpoint)
        self.saved_at = time.monotonic()


def _note(row: dict[str, Any]) -> str:
    note = f"loss {row['train_loss']:.3f}"
    return f"{note}, agreement {row['validation_accuracy']:.3f}" if "validation_accuracy" in row else note
