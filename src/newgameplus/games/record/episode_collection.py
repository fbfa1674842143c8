"""Whole episodes of someone who plays, out of copies of a game that are stepped together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from newgameplus.errors import GameError
from newgameplus.games.environment_contract import Environments, Step
from newgameplus.games.episodes import Episode
from newgameplus.spaces import Actions, ActionSpec, Masks, Observations

__all__ = ["Attempt", "History", "Player", "RandomPlayer", "collect_episodes"]

ATTEMPTS = 20
"""Attempts for each episode that is wanted, where only successes count."""
_FEWEST_ATTEMPTS = 100


class Player(Protocol):
    """Someone who plays copies of a game."""

    def __call__(
        self, observations: Observations, state: Any, starts: npt.NDArray[np.bool_], masks: Masks | None
    ) -> tuple[Actions, Any]:
        """Choose an action in each copy.

        Args:
            observations: What is seen, [copies, ...] by part.
            state: What was returned the last time; None at first.
            starts: bool [copies]; whether an episode begins here, so that what is remembered of the last must go.
            masks: What can be done; None if all can.

        Returns:
            One action a copy, and anything to remember.
        """


class RandomPlayer:
    """Takes any allowed action, each as likely as the others; unbounded numbers are normally distributed."""

    def __init__(self, actions: ActionSpec, seed: int) -> None:
        self._actions = actions
        self._rng = np.random.default_rng([seed, 0xD1CE])

    def __call__(
        self,
        observations: Observations,  # noqa: ARG002
        state: Any,  # noqa: ARG002
        starts: npt.NDArray[np.bool_],
        masks: Masks | None,
    ) -> tuple[Actions, Any]:
        """See :class:`Player`."""
        count, spec = len(starts), self._actions
        if spec.kind == "continuous":
            low, high = np.array(spec.low), np.array(spec.high)
            bounded = np.isfinite(low) & np.isfinite(high)
            even = self._rng.uniform(np.where(bounded, low, 0), np.where(bounded, high, 1), (count, len(low)))
            free = np.clip(self._rng.normal(size=(count, len(low))), low, high)
            return np.where(bounded, even, free).astype(np.float32), None
        if spec.kind == "binary":
            pressed = self._rng.integers(0, 2, (count, spec.sizes[0]))
            return pressed * masks if masks is not None else pressed, None
        wish = self._rng.random((count, spec.width))
        wish = np.where(masks, wish, -1.0) if masks is not None else wish
        edges = np.cumsum((0, *spec.sizes))
        chosen = [wish[:, start:stop].argmax(axis=1) for start, stop in pairwise(edges)]
        return chosen[0] if spec.kind == "discrete" else np.stack(chosen, axis=1), None


@dataclass(frozen=True, eq=False)
class Attempt:
    """An episode that was played.

    Attributes:
        episode: What happened.
        copy: Copy of the game in which it did.
        start: How many episodes came before it in that copy.
    """

    episode: Episode
    copy: int
    start: int


def collect_episodes(
    environments: Environments, player: Player, count: int, seed: int, *, success_only: bool = False
) -> Iterator[Attempt]:
    """Play episodes.

    Every copy plays the same number, give or take one, and the first of each come first: short episodes, which end
    sooner, are not preferred. Where only successes count, attempts are judged in that order too.

    Args:
        environments: Copies of the game; they begin anew.
        player: Who plays.
        count: Episodes wanted.
        seed: Of the game.
        success_only: Leave out episodes that did not reach the goal.

    Yields:
        The attempts that count, as soon as all before them are known.

    Raises:
        GameError: The game fails, or says nothing of success, or too few attempts succeed.
    """
    most = max(count * ATTEMPTS, _FEWEST_ATTEMPTS) if success_only else count
    finished: dict[int, Attempt] = {}
    following = given = 0
    for attempt in _play(environments, player, seed, most):
        finished[attempt.start * environments.count + attempt.copy] = attempt
        while following in finished:
            found = finished.pop(following)
            following += 1
            if success_only and found.episode.success is None:
                remedy = "set environment.success to a key of info, or to reward"
                raise GameError(f"{environments.name} does not say what success is", remedy=remedy)
            if not success_only or found.episode.success:
                given += 1
                yield found
            if given == count:
                return
    remedy = "record with a better policy, or without success_only"
    raise GameError(f"only {given} of {most} attempts at {environments.name} succeeded", remedy=remedy)


def _play(environments: Environments, player: Player, seed: int, most: int) -> Iterator[Attempt]:
    """Play until ``most`` attempts, shared evenly by the copies, have ended."""
    copies = environments.count
    observations = environments.reset(seed)
    histories = [History(observations, row) for row in range(copies)]
    starts = np.ones(copies, np.bool_)
    begun = np.zeros(copies, np.int64)
    state: Any = None
    left = most
    while left > 0:
        masks = environments.masks()
        masks = None if masks is None else masks.copy()
        actions, state = player(observations, state, starts, masks)
        step = environments.step(actions)
        for row, history in enumerate(histories):
            if int(begun[row]) * copies + row < most:
                history.add(step, actions, masks, row)
        for end in step.episodes:
            row = end.environment
            if int(begun[row]) * copies + row < most:
                left -= 1
                yield Attempt(histories[row].close(bool(step.terminated[row]), end.success), row, int(begun[row]))
            begun[row] += 1
            histories[row] = History(step.observations, row)
        observations, starts = step.observations, step.ended


class History:
    """What happened in one copy since its episode began.

    Args:
        observations: The first sight, of all copies.
        row: The copy.
    """

    def __init__(self, observations: Observations, row: int) -> None:
        self._seen = {name: [array[row].copy()] for name, array in observations.items()}
        self._actions: list[Any] = []
        self._rewards: list[float] = []
        self._masks: list[Any] = []

    def add(self, step: Step, actions: Actions, masks: Masks | None, row: int) -> None:
        """Take note of a step: what was done, and what could have been done, before it."""
        shown = step.final if step.final is not None and step.ended[row] else step.observations
        for name, rows in self._seen.items():
            rows.append(shown[name][row].copy())
        self._actions.append(actions[row].copy())
        self._rewards.append(float(step.rewards[row]))
        if masks is not None:
            self._masks.append(masks[row])

    def close(self, terminated: bool, success: bool | None) -> Episode:
        """Return the episode."""
        seen = {name: np.stack(rows) for name, rows in self._seen.items()}
        masks = np.stack(self._masks) if self._masks else None
        rewards = np.array(self._rewards, np.float32)
        return Episode(seen, np.stack(self._actions), rewards, terminated, success, masks=masks)
