"""Trivial games, all copies stepped in a few array operations: what a learner must learn is known exactly."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from newgameplus.errors import GameError
from newgameplus.games.environment_contract import Environments, EpisodeEnd, Step
from newgameplus.spaces import SINGLE, Actions, ActionSpec, Masks, ObservationPart, Observations, ObservationSpec

Rows = npt.NDArray[np.int64]


def vector(width: int, name: str = SINGLE) -> ObservationSpec:
    return ObservationSpec((ObservationPart(name, "vector", (width,)),))


class ToyEnvironments(Environments):
    """Counts, ends and begins episodes; a game says what is seen and what an action gives."""

    name = "toy"
    length = 8
    timed = False

    def __init__(self, count: int = 8) -> None:
        self.count = count
        self.closed = False
        self.clock = np.zeros(count, np.int64)
        self.totals = np.zeros(count)
        self.generator = np.random.default_rng(0)

    def begin(self, rows: Rows) -> None: ...

    def move(self, actions: Actions) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        raise NotImplementedError

    def see(self) -> Observations:
        raise NotImplementedError

    def reset(self, seed: int) -> Observations:
        self.generator = np.random.default_rng(seed)
        self.clock[:], self.totals[:] = 0, 0.0
        self.begin(np.arange(self.count))
        return self.see()

    def step(self, actions: Actions) -> Step:
        rewards, over = self.move(actions)
        self.clock += 1
        self.totals += rewards
        full = self.clock >= self.length
        terminated = over | (full & (not self.timed))
        truncated = full & ~terminated
        rows = np.flatnonzero(terminated | truncated)
        final, episodes = None, ()
        if len(rows):
            final = {name: values.copy() for name, values in self.see().items()}
            episodes = tuple(
                EpisodeEnd(int(row), float(self.totals[row]), int(self.clock[row]), bool(self.totals[row] > 0))
                for row in rows
            )
            self.clock[rows], self.totals[rows] = 0, 0.0
            self.begin(rows)
        return Step(self.see(), rewards.astype(np.float32), terminated, truncated, final, episodes)

    def close(self) -> None:
        self.closed = True


class Identity(ToyEnvironments):
    """Say what you see: a reward of 1 for each number that is right; numbers as a vector, a picture or tokens."""

    SPECS: ClassVar = {
        "discrete": ActionSpec("discrete", (4,)),
        "multi-discrete": ActionSpec("multi-discrete", (3, 2)),
        "binary": ActionSpec("binary", (3,)),
        "continuous": ActionSpec("continuous", (2,), (-1.0, -1.0), (1.0, 1.0)),
    }

    def __init__(self, kind: str = "discrete", seen: str = "vector", count: int = 8) -> None:
        super().__init__(count)
        self.actions, self.seen, self.kind = self.SPECS[kind], seen, kind
        numbers = self.actions.shape[0] if self.actions.shape else 1
        self.target = np.zeros((count, numbers))
        if seen == "picture":
            part = ObservationPart(SINGLE, "image", (1, 6, 6), "uint8", 0, 255)
        elif seen == "tokens":
            part = ObservationPart(SINGLE, "tokens", (3,), "int64", sizes=(6,))
        elif seen == "choice":
            part = ObservationPart(SINGLE, "choice", (1,), "int64", sizes=(4,))
        else:
            part = ObservationPart(SINGLE, "vector", (4 if kind == "discrete" else numbers,))
        self.observations = ObservationSpec((part,))

    def begin(self, rows: Rows) -> None:
        self._draw(rows)

    def _draw(self, rows: Rows) -> None:
        shape = (len(rows), self.target.shape[1])
        if self.kind == "continuous":
            self.target[rows] = self.generator.uniform(-0.8, 0.8, shape)
        else:
            sizes = (2,) * shape[1] if self.kind == "binary" else self.actions.sizes
            self.target[rows] = np.stack([self.generator.integers(0, size, len(rows)) for size in sizes], axis=1)

    def move(self, actions: Actions) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        given = actions.reshape(self.count, -1)
        if self.kind == "continuous":
            rewards = 1.0 - np.abs(given - self.target).mean(axis=1)
        else:
            rewards = (given == self.target).mean(axis=1)
        self._draw(np.arange(self.count))
        return rewards, np.zeros(self.count, np.bool_)

    def see(self) -> Observations:
        if self.kind == "discrete" and self.seen != "choice":
            number = self.target[:, 0].astype(np.int64)
            if self.seen == "vector":
                return {SINGLE: np.eye(4, dtype=np.float32)[number]}
            if self.seen == "tokens":
                return {SINGLE: np.stack([np.full(self.count, 5), number + 1, np.zeros(self.count, np.int64)], axis=1)}
            picture = np.zeros((self.count, 1, 6, 6), np.uint8)
            for row, place in enumerate(number):
                picture[row, 0, 3 * (place // 2) : 3 * (place // 2) + 3, 3 * (place % 2) : 3 * (place % 2) + 3] = 255
            return {SINGLE: picture}
        return {SINGLE: self.target.astype(np.int64 if self.seen == "choice" else np.float32)}


class Masked(ToyEnvironments):
    """Only some actions can be taken, which ones is not seen, and the last of them is right; others end the game."""

    observations = vector(1)
    actions = ActionSpec("discrete", (5,))
    masked = True

    def begin(self, rows: Rows) -> None:
        if not hasattr(self, "allowed"):
            self.allowed = np.zeros((self.count, 5), np.bool_)
        self.allowed[rows] = self.generator.random((len(rows), 5)) < 0.5
        self.allowed[rows, self.generator.integers(0, 5, len(rows))] = True

    def masks(self) -> Masks:
        return self.allowed.copy()

    def move(self, actions: Actions) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        if not self.allowed[np.arange(self.count), actions].all():
            raise GameError("an action that cannot be taken was taken", source=self.name, remedy="mind the masks")
        best = 4 - self.allowed[:, ::-1].argmax(axis=1)
        rewards = (actions == best).astype(np.float32)
        self.begin(np.arange(self.count))
        return rewards, np.zeros(self.count, np.bool_)

    def see(self) -> Observations:
        return {SINGLE: np.ones((self.count, 1), np.float32)}


class Remember(ToyEnvironments):
    """A number is shown in the first step and asked for in the last."""

    observations = vector(4)
    actions = ActionSpec("discrete", (3,))
    length = 5

    def begin(self, rows: Rows) -> None:
        if not hasattr(self, "cue"):
            self.cue = np.zeros(self.count, np.int64)
        self.cue[rows] = self.generator.integers(0, 3, len(rows))

    def move(self, actions: Actions) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        asked = self.clock == self.length - 1
        return (asked & (actions == self.cue)).astype(np.float32), np.zeros(self.count, np.bool_)

    def see(self) -> Observations:
        shown = np.zeros((self.count, 4), np.float32)
        first = np.flatnonzero(self.clock == 0)
        shown[first, self.cue[first]] = 1.0
        shown[:, 3] = self.clock == self.length - 1
        return {SINGLE: shown}


class Delayed(ToyEnvironments):
    """What was chosen in the first step is paid in the last."""

    observations = vector(6)
    actions = ActionSpec("discrete", (4,))
    length = 6

    def begin(self, rows: Rows) -> None:
        if not hasattr(self, "choice"):
            self.choice = np.zeros(self.count, np.int64)

    def move(self, actions: Actions) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        self.choice = np.where(self.clock == 0, actions, self.choice)
        last = self.clock == self.length - 1
        return (last & (self.choice == 2)).astype(np.float32), np.zeros(self.count, np.bool_)

    def see(self) -> Observations:
        return {SINGLE: np.eye(6, dtype=np.float32)[np.minimum(self.clock, 5)]}


class Steady(ToyEnvironments):
    """A reward of 1 in each step, whatever is done; episodes end by the game, or (``timed``) by a time limit."""

    observations = vector(1)
    actions = ActionSpec("discrete", (2,))
    length = 10

    def __init__(self, count: int = 8, *, timed: bool = False, reward: float = 1.0) -> None:
        super().__init__(count)
        self.timed, self.reward = timed, reward

    def move(self, actions: Actions) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        return np.full(self.count, self.reward), np.zeros(self.count, np.bool_)

    def see(self) -> Observations:
        return {SINGLE: np.ones((self.count, 1), np.float32)}


class AppleRetrieval(ToyEnvironments):
    """Walk right to an apple at the far end, then carry it home; after Wolczyk et al. 2024 (arXiv 2402.02868).

    All that is seen is whether the apple is carried, as a small number below or above zero, so that what is learnt
    about one half moves the other half, too.

    Args:
        part: ``whole``; ``home`` begins at the far end with the apple in hand; ``out`` ends when it is reached.
    """

    observations = vector(1)
    actions = ActionSpec("discrete", (2,))
    timed = True
    contrast = 0.25

    def __init__(self, part: str = "whole", count: int = 8, *, distance: int = 5, length: int = 30) -> None:
        super().__init__(count)
        self.part, self.distance, self.length = part, distance, length
        self.place = np.zeros(count, np.int64)
        self.carried = np.zeros(count, np.bool_)

    def begin(self, rows: Rows) -> None:
        self.place[rows] = self.distance if self.part == "home" else 0
        self.carried[rows] = self.part == "home"

    def move(self, actions: Actions) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        before = self.carried.copy()
        right = np.where(before, actions == 0, actions == 1)
        self.place = np.clip(self.place + 2 * actions - 1, 0, self.distance)
        over = before & (self.place == 0)
        self.carried = before | (self.place == self.distance)
        return np.where(right, 0.1, -0.1), over | (
            self.carried if self.part == "out" else np.zeros(self.count, np.bool_)
        )

    def see(self) -> Observations:
        return {SINGLE: np.where(self.carried, self.contrast, -self.contrast).astype(np.float32)[:, None]}
