"""Playing to learn: rollouts of many environments into arrays made once, and episodes of a policy to remember."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from newgameplus import progress
from newgameplus.errors import DivergedError, GameError
from newgameplus.games.environment_contract import Environments, EpisodeEnd, Step
from newgameplus.games.episodes import Episode
from newgameplus.pretrained.policy import Policy, as_tensors, clip_actions
from newgameplus.pretrained.policy_network import PolicyAnswer, PolicyNetwork
from newgameplus.recipe_agent import AgentTrainSettings
from newgameplus.spaces import Actions, Masks, Observations
from newgameplus.train.actors import ArrayActor, array_actor, choose_actions, draw_noise
from newgameplus.train.device import threads_for, using_threads

__all__ = ["Collector", "Rollout", "expert_states"]

Floats = npt.NDArray[np.float32]
_AT_ONCE = 4096
# Steps that all environments together are given, times the number of copies, for each step that is wanted.
_PATIENCE = 20
# Steps after which episodes without success are kept too, for each step that is wanted.
_GIVE_UP = 5


@dataclass(eq=False)
class Rollout:
    """Some steps of all environments.

    Attributes:
        observations: By part, [steps + 1, environments, ...]: before each step, and after the last.
        actions: [steps, environments, ...], as they were drawn (continuous ones not clipped).
        masks: bool [steps + 1, environments, width], or None.
        rewards: float32 [steps, environments], as the game gave them.
        starts: bool [steps + 1, environments]: an episode begins with this observation.
        terminated: bool [steps, environments].
        truncated: bool [steps, environments].
        values: float32 [steps + 1, environments]: the critic's word.
        after: float32 [steps, environments]: value of the last observation of episodes that a time limit ended.
        log_probs: float32 [steps, environments] of the actions.
        state: float32 [environments, state_width]: memory before the first step.
        episodes: Episodes that ended.
    """

    observations: Observations
    actions: Actions
    masks: Masks | None
    rewards: Floats
    starts: npt.NDArray[np.bool_]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    values: Floats
    after: Floats
    log_probs: Floats
    state: Floats
    episodes: list[EpisodeEnd] = field(default_factory=list)

    @classmethod
    def empty(cls, environments: Environments, steps: int, state_width: int) -> Rollout:
        """Make room for ``steps`` steps."""
        count = environments.count

        def zeros(rows: int, *more: int, dtype: str = "float32") -> npt.NDArray[np.generic]:
            return np.zeros((rows, count, *more), dtype)

        parts = environments.observations.parts
        actions = environments.actions
        return cls(
            {part.name: zeros(steps + 1, *part.shape, dtype=part.dtype) for part in parts},
            zeros(steps, *actions.shape, dtype=actions.dtype),
            np.ones((steps + 1, count, actions.width), np.bool_) if environments.masked else None,
            np.zeros((steps, count), np.float32),
            np.zeros((steps + 1, count), np.bool_),
            np.zeros((steps, count), np.bool_),
            np.zeros((steps, count), np.bool_),
            np.zeros((steps + 1, count), np.float32),
            np.zeros((steps, count), np.float32),
            np.zeros((steps, count), np.float32),
            np.zeros((count, state_width), np.float32),
        )

    @property
    def steps(self) -> int:
        """Steps of each environment."""
        return len(self.rewards)

    @property
    def ended(self) -> npt.NDArray[np.bool_]:
        """Where an episode ended, bool [steps, environments], for either reason."""
        return self.terminated | self.truncated


class Collector:
    """Plays a policy in environments and keeps what happens.

    Args:
        network: The policy; its weights may change between rollouts.
        environments: Where to play.
        steps: Steps of each environment in a rollout.
    """

    def __init__(self, network: PolicyNetwork, environments: Environments, steps: int) -> None:
        self.network, self.environments = network, environments
        self.rollout = Rollout.empty(environments, steps, network.state_width)
        self.device = network.actor_head.weight.device
        self.fast: ArrayActor | None = array_actor(network)
        self.now: Observations = {}
        self.starts = np.ones(environments.count, np.bool_)
        self.state: Tensor = network.initial_state(environments.count)

    def reset(self, seed: int) -> None:
        """Begin new episodes everywhere."""
        self.now = self.environments.reset(seed)
        self.starts = np.ones(self.environments.count, np.bool_)
        self.state = self.network.initial_state(self.environments.count)

    def collect(self, generator: np.random.Generator) -> Rollout:
        """Play one rollout; what was returned before is overwritten.

        Args:
            generator: Source of the noise that actions are drawn with.

        Raises:
            GameError: The game fails.
            DivergedError: The policy's answer is not finite.
        """
        rollout, spec = self.rollout, self.environments.actions
        rollout.episodes = []
        rollout.after.fill(0.0)
        rollout.state[:] = self.state.cpu().numpy()
        noise = draw_noise(spec, (rollout.steps, self.environments.count), generator)
        cut: list[_Cut] = []
        if self.fast is not None:
            self.fast.refresh()
        with torch.inference_mode():
            for step in range(rollout.steps):
                actions = self._act(step, noise[step])
                found = self.environments.step(clip_actions(self.network.shape, actions))
                self._keep(step, actions, found, cut)
            self._see(rollout.steps)
            if self.fast is not None:
                self.answer_again()
            else:
                rollout.values[-1] = self._answer(rollout.steps, remember=False).values.cpu().numpy()
            self._value_cuts(cut)
        self._check()
        return rollout

    def _see(self, step: int) -> None:
        rollout = self.rollout
        for name, values in self.now.items():
            rollout.observations[name][step] = values
        rollout.starts[step] = self.starts
        if rollout.masks is not None:
            masks = self.environments.masks()
            rollout.masks[step] = True if masks is None else masks

    def _act(self, step: int, noise: Floats) -> Actions:
        self._see(step)
        rollout, spec = self.rollout, self.environments.actions
        masks = None if rollout.masks is None else rollout.masks[step]
        log_scale = self.network.log_scale
        scale = None if log_scale is None else log_scale.detach().cpu().numpy()
        if self.fast is not None:
            return choose_actions(spec, self.fast(self.now), noise, scale, masks)
        answer = self._answer(step, remember=True)
        logits = answer.distribution.answer.cpu().numpy()  # what is masked is already out of reach
        actions = choose_actions(spec, logits, noise, scale)
        drawn = torch.as_tensor(actions, device=self.device)
        rollout.values[step] = answer.values.cpu().numpy()
        rollout.log_probs[step] = answer.distribution.log_prob(drawn).cpu().numpy()
        return actions

    def _answer(self, step: int, *, remember: bool) -> PolicyAnswer:
        rollout = self.rollout
        masks = None if rollout.masks is None else torch.as_tensor(rollout.masks[step], device=self.device)
        starts = torch.as_tensor(self.starts, device=self.device)
        answer: PolicyAnswer = self.network(as_tensors(self.now, self.device), self.state, starts, masks)
        if remember:
            self.state = answer.state
        return answer

    def _keep(self, step: int, actions: Actions, found: Step, cut: list[_Cut]) -> None:
        rollout = self.rollout
        rollout.actions[step] = actions
        rollout.rewards[step] = found.rewards
        rollout.terminated[step] = found.terminated
        rollout.truncated[step] = found.truncated
        limited = found.truncated & ~found.terminated
        if found.final is not None and limited.any():
            rows = np.flatnonzero(limited)
            seen = {name: values[rows].copy() for name, values in found.final.items()}
            cut.append(_Cut(step, rows, seen, self.state[torch.as_tensor(rows, device=self.device)]))
        if found.episodes:
            rollout.episodes.extend(found.episodes)
        self.now, self.starts = found.observations, found.ended

    def _value_cuts(self, cut: list[_Cut]) -> None:
        """Ask the critic what would have come after the time limits."""
        if not cut:
            return
        seen = {name: np.concatenate([each.seen[name] for each in cut]) for name in cut[0].seen}
        state = torch.cat([each.state for each in cut])
        values = self.network(as_tensors(seen, self.device), state).values.cpu().numpy()
        places = np.concatenate([np.full(len(each.rows), each.step) for each in cut])
        self.rollout.after[places, np.concatenate([each.rows for each in cut])] = values

    @torch.inference_mode()
    def answer_again(self) -> None:
        """Let the network as it is now say values and log probabilities of the whole rollout, at once."""
        rollout = self.rollout
        for steps, answer in self._answers():
            count = len(answer.values) // self.environments.count
            rollout.values[steps] = answer.values.view(count, -1).cpu().numpy()
            actions = torch.as_tensor(rollout.actions[steps], device=self.device)
            known = actions.flatten(0, 1)
            if len(known) < len(answer.values):  # no action was taken yet after the last step
                missing = len(answer.values) - len(known)
                known = torch.cat([known, known.new_zeros(missing, *known.shape[1:])])
            chosen = answer.distribution.log_prob(known).view(count, -1).cpu().numpy()
            rollout.log_probs[steps] = chosen[: len(actions)]

    def _answers(self) -> Iterator[tuple[slice, PolicyAnswer]]:
        rollout, state = self.rollout, torch.as_tensor(self.rollout.state, device=self.device)
        at_once = max(1, _AT_ONCE // self.environments.count)
        for first in range(0, rollout.steps + 1, at_once):
            steps = slice(first, min(first + at_once, rollout.steps + 1))
            seen = {n: torch.as_tensor(v[steps], device=self.device) for n, v in rollout.observations.items()}
            starts = torch.as_tensor(rollout.starts[steps], device=self.device)
            masks = None if rollout.masks is None else torch.as_tensor(rollout.masks[steps], device=self.device)
            answer = self.network.unroll(seen, state, starts, masks)
            state = answer.state
            yield steps, answer

    def _check(self) -> None:
        rollout = self.rollout
        if np.isfinite(rollout.values).all() and np.isfinite(rollout.log_probs).all():
            return
        raise explain_answer(self.network, rollout.observations, self.environments.name)


@dataclass(frozen=True, eq=False)
class _Cut:
    """Episodes that a time limit ended in one step: which, what they saw last, and their memory then."""

    step: int
    rows: npt.NDArray[np.int64]
    seen: Observations
    state: Tensor


def explain_answer(network: PolicyNetwork, observations: Observations, where: str) -> DivergedError:
    """Return an error that says why a policy's answer is not finite, and what to do."""
    for name, values in observations.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            remedy = "mend the environment (ngp check shows the first such step)"
            return DivergedError(f"the observation {name!r} is not finite", source=where, remedy=remedy)
    broken = [name for name, weight in network.named_parameters() if not bool(torch.isfinite(weight).all())]
    cause = f"the weights of {broken[0]} are not finite any more" if broken else "the network's answer overflowed"
    remedy = "lower train.learning_rate and train.critic_learning_rate (try a tenth), or set train.gradient_clip"
    return DivergedError(f"the policy's answer is not finite: {cause}", source=where, remedy=remedy)


def expert_states(
    network: PolicyNetwork, environments: Environments, count: int, seed: int, *, successful: bool = True
) -> list[Episode]:
    """Let a policy play the game it knows, and keep whole episodes to remember it by.

    Args:
        network: The policy; it draws its actions, as it did when it learnt.
        environments: The game it was made for.
        count: Steps to keep, at least; the last episode is kept whole.
        seed: Seed of the game and of the draws.
        successful: Prefer episodes that the game calls a success: others are kept only if five times as many steps as
            wanted did not hold enough of those.

    Returns:
        At least one episode.

    Raises:
        GameError: The game fails, or hardly an episode ends.
    """
    policy = Policy("expert", network)
    generator = torch.Generator().manual_seed(seed)
    now, state = environments.reset(seed), network.initial_state(environments.count)
    starts = np.ones(environments.count, np.bool_)
    history, begun = _History(), np.zeros(environments.count, np.int64)
    good: list[Episode] = []
    other: list[Episode] = []
    threads = threads_for(network, AgentTrainSettings(), playing=True)
    with using_threads(threads), progress.task("playing to remember", count, "steps") as bar:
        for step in range(_PATIENCE * count):
            masks = environments.masks()
            actions, state = policy.act(now, state, torch.as_tensor(starts), masks, generator=generator)
            history.add(now, actions, masks)
            found = environments.step(actions)
            history.rewards.append(found.rewards.copy())
            for end in found.episodes:
                episode = history.episode(end, int(begun[end.environment]), found)
                (other if successful and end.success is False else good).append(episode)
                begun[end.environment] = step + 1
            history.forget(int(begun.min()))
            now, starts = found.observations, found.ended
            have, played = sum(map(len, good)), (step + 1) * environments.count
            bar.advance(min(have, count) - bar.done)
            if have >= count or (played >= _GIVE_UP * count and have + sum(map(len, other)) >= count):
                break
    if not good and not other:
        remedy = "set environment.time_limit, so that episodes end"
        raise GameError(f"no episode ended in {played:,} steps", source=environments.name, remedy=remedy)
    return _enough([*good, *other], count)


class _History:
    """Steps of all environments that belong to episodes under way."""

    def __init__(self) -> None:
        self.first = 0
        self.seen: list[Observations] = []
        self.actions: list[Actions] = []
        self.masks: list[Masks] = []
        self.rewards: list[Floats] = []

    def add(self, seen: Observations, actions: Actions, masks: Masks | None) -> None:
        self.seen.append({name: values.copy() for name, values in seen.items()})
        self.actions.append(actions.copy())
        if masks is not None:
            self.masks.append(masks.copy())

    def forget(self, first: int) -> None:
        """Let go of the steps before ``first``."""
        for kept in (self.seen, self.actions, self.masks, self.rewards):
            del kept[: first - self.first]
        self.first = first

    def episode(self, end: EpisodeEnd, begun: int, found: Step) -> Episode:
        """Return the episode of one environment that began with step ``begun`` and ended now."""
        row, since = end.environment, begun - self.first
        last = found.observations if found.final is None else found.final
        seen = {name: np.stack([*(s[name][row] for s in self.seen[since:]), last[name][row]]) for name in last}
        return Episode(
            seen,
            np.stack([actions[row] for actions in self.actions[since:]]),
            np.array([rewards[row] for rewards in self.rewards[since:]], np.float32),
            bool(found.terminated[row]),
            end.success,
            masks=np.stack([masks[row] for masks in self.masks[since:]]) if self.masks else None,
        )


def _enough(episodes: list[Episode], count: int) -> list[Episode]:
    """Return the first episodes that hold ``count`` steps together, or all."""
    before = np.cumsum([0, *map(len, episodes[:-1])])
    return [episode for episode, steps in zip(episodes, before, strict=True) if steps < count]
