"""Plays a game with random actions and tells what is wrong with it, before anybody learns from it for hours."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from newgameplus.errors import GameError, Problem
from newgameplus.games.environment_contract import Environments, Step
from newgameplus.games.environment_making import GameCopy, make_copy
from newgameplus.games.environment_sync import SyncEnvironments, seed_of
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.spaces import Actions, ActionSpec, Masks, Observations

__all__ = ["EnvironmentReport", "check_environment", "random_actions"]

_LARGE_REWARD = 1e3
_LARGE_NUMBER = 1e4
_SEED = 20_261


@dataclass(frozen=True)
class EnvironmentReport:
    """What playing a game showed.

    Attributes:
        problems: What must be mended before a policy can learn from it.
        notes: What is allowed, but worth knowing.
        steps_per_second: Of one copy, with random actions.
        episodes: Episodes that ended while it was played.
    """

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    steps_per_second: float
    episodes: int


def random_actions(spec: ActionSpec, count: int, rng: np.random.Generator, masks: Masks | None = None) -> Actions:
    """Draw actions at random, evenly among those that can be taken.

    Args:
        spec: What can be done.
        count: How many.
        rng: Where chance comes from.
        masks: bool [count, width], or None.
    """
    if spec.kind == "continuous":
        low, high = np.maximum(spec.low, -10.0), np.minimum(spec.high, 10.0)
        return rng.uniform(low, high, (count, len(low))).astype(np.float32)
    if spec.kind == "binary":
        pressed = rng.random((count, spec.width)) < 0.5
        return (pressed & masks if masks is not None else pressed).astype(np.int64)
    scores = rng.random((count, spec.width))
    if masks is not None:
        scores = np.where(masks, scores, -1.0)
    ends = np.cumsum(spec.sizes)
    chosen = [scores[:, end - size : end].argmax(axis=1) for end, size in zip(ends, spec.sizes, strict=True)]
    return chosen[0] if spec.kind == "discrete" else np.stack(chosen, axis=1)


def check_environment(settings: EnvironmentSettings, *, steps: int = 500) -> EnvironmentReport:
    """Play a game for some hundred steps, and say what is wrong with it.

    Args:
        settings: Which game.
        steps: Steps to play in each of the two rounds, which are compared with each other.

    Raises:
        GameError: There is no such game, or it cannot be made at all.
        MissingExtraError: A package that it needs is not installed.
    """
    watch = _Watch(settings)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        first = watch.play(steps, timed=True)
        second = watch.play(steps) if first is not None else None
    if first is not None and second is not None:
        watch.compare(first, second)
    for text in dict.fromkeys(str(one.message).strip().splitlines()[0][:200] for one in said):
        watch.notes.append(f"it warns: {text}")
    return EnvironmentReport(tuple(watch.problems), tuple(watch.notes), watch.speed, watch.episodes)


class _Watch:
    """Plays and takes notes."""

    def __init__(self, settings: EnvironmentSettings) -> None:
        self.settings = settings
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.speed = 0.0
        self.episodes = 0
        self._lengths: list[int] = []
        self._told = 0
        self._most_reward = 0.0
        self._rewards: set[float] = set()

    def play(self, steps: int, *, timed: bool = False) -> list[tuple[Observations, float, bool]] | None:
        """Play one round; return what happened, or None if it could not be played to its end."""
        copy = make_copy(self.settings)
        try:
            with SyncEnvironments(self.settings.id, [copy]) as games:
                if timed:
                    self._describe(copy)
                return self._play(games, copy, steps, timed)
        except GameError as error:
            self.problems += error.problems
            return None

    def _play(
        self, games: Environments, copy: GameCopy, steps: int, timed: bool
    ) -> list[tuple[Observations, float, bool]]:
        rng = np.random.default_rng(_SEED)
        track: list[tuple[Observations, float, bool]] = [(games.reset(_SEED), 0.0, False)]
        spent = 0.0
        for _ in range(steps):
            actions = random_actions(games.actions, 1, rng, games.masks())
            begun = time.perf_counter()
            step = games.step(actions)
            spent += time.perf_counter() - begun
            track.append((step.observations, float(step.rewards[0]), bool(step.ended[0])))
            if timed:
                self._see(step)
        if timed:
            self.speed = steps / max(spent, 1e-9)
            self._conclude(games, copy, track)
        return track

    def _see(self, step: Step) -> None:
        self._most_reward = max(self._most_reward, abs(float(step.rewards[0])))
        self._rewards.add(float(step.rewards[0]))
        for end in step.episodes:
            self.episodes += 1
            self._lengths.append(end.length)
            self._told += end.success is not None

    def _describe(self, copy: GameCopy) -> None:
        """Compare a first observation with the bounds of its space."""
        space = copy.environment.observation_space
        seen, _ = copy.environment.reset(seed=seed_of(_SEED, 0))
        try:
            fits = bool(space.contains(seen))
        except Exception:  # noqa: BLE001 - a space of its own may raise anything
            fits = True
        if not fits:
            self.notes.append(
                "the first observation is not inside of observation_space (bounds or type); "
                "what lies outside is taken as it is"
            )

    def _conclude(self, games: Environments, copy: GameCopy, track: list[Any]) -> None:
        if self._most_reward >= _LARGE_REWARD:
            self.notes.append(
                f"rewards reach {self._most_reward:g}; they are scaled and clipped for learning "
                "(train.normalize_returns, train.reward_clip), keep both on"
            )
        if len(self._rewards) == 1 and (self._rewards == {0.0} or len(set(self._lengths)) < 2):
            self.notes.append(
                f"all rewards were {next(iter(self._rewards)):g} with random actions: "
                "learning from nothing will be hard; demonstrations or a pretrained start help"
            )
        if not self.episodes:
            words = "" if copy.limit else "; set environment.time_limit if it may never end"
            self.notes.append(f"no episode ended in {len(track) - 1} steps{words}")
        elif self.settings.success not in ("auto", "reward") and copy.success != "reward":
            self._look_for_key(copy)
        for part in games.observations.parts:
            numbers = np.stack([seen[part.name] for seen, _, _ in track])
            if part.kind == "vector" and float(np.abs(numbers).max()) > _LARGE_NUMBER:
                self.notes.append(f"{part.name!r} reaches {float(np.abs(numbers).max()):g}; keep model.normalize on")
            if (numbers == numbers[:1]).all():
                self.notes.append(f"{part.name!r} never changed with random actions")

    def _look_for_key(self, copy: GameCopy) -> None:
        """A key that never comes would count every episode as a failure."""
        environment = copy.environment
        environment.reset(seed=seed_of(_SEED, 0))
        rng = np.random.default_rng(_SEED)
        for _ in range(max(self._lengths) + 1):
            (action,) = copy.actions.decode(random_actions(copy.actions.spec, 1, rng))
            _, _, over, cut, info = environment.step(action)
            if self.settings.success in info:
                return
            if over or cut:
                break
        known = ", ".join(sorted(str(key) for key in info)) or "nothing"
        self.notes.append(
            f"info has no {self.settings.success!r} at the end of an episode (it holds: {known}); "
            "every episode would count as failed unless it comes with success alone"
        )

    def compare(self, first: list[Any], second: list[Any]) -> None:
        """Say so if the same seed and actions led elsewhere."""
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            same = all(np.array_equal(one[0][name], other[0][name]) for name in one[0])
            if same and one[1:] == other[1:]:
                continue
            self.notes.append(
                f"the same seed and actions led elsewhere at step {number}: the game ignores seeds, "
                "so a run on it is not exactly repeatable; "
                "let reset(seed) seed everything random (super().reset(seed=seed), self.np_random)"
            )
            return
