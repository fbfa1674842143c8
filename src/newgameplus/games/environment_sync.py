"""Copies of a game in this process, stepped one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import GameError
from newgameplus.games.environment_contract import Environments, EpisodeEnd, Step
from newgameplus.games.environment_making import GameCopy, attribute
from newgameplus.games.rules.own_program import describe_failure
from newgameplus.gymnasium_spaces import RowError
from newgameplus.spaces import Actions, Masks, Observations

__all__ = ["SyncEnvironments", "mend_with_copy", "seed_of", "told_success"]

_NEVER = 1 << 62


def seed_of(seed: int, copy: int) -> int:
    """Return the seed of a copy, the same however copies are spread over processes."""
    return int(np.random.SeedSequence((seed, copy)).generate_state(1)[0] >> 1)


def told_success(rule: str, info: Any, total: float) -> bool | None:
    """Say whether an episode reached the goal.

    Args:
        rule: ``auto``, ``reward``, or a key of ``info``.
        info: What came with the last step.
        total: Sum of the rewards.
    """
    if rule == "reward":
        return total > 0
    if rule != "auto":
        return bool(np.any(info.get(rule, False)))
    for key in ("is_success", "success"):
        if key in info:
            return bool(np.any(info[key]))
    return None


def mend_with_copy(error: GameError, name: str, copy: int) -> GameError:
    """Return an error that says in which copy it was."""
    problem = error.problems[0]
    source = f"{name}, copy {copy}{f', {problem.source}' if problem.source else ''}"
    return GameError(problem.message, source=source, remedy=problem.remedy)


class SyncEnvironments(Environments):
    """See :class:`Environments`.

    Args:
        name: How the game was asked for.
        copies: The copies, all of the same game.
        first: Number of the first copy, where others are elsewhere.
    """

    def __init__(self, name: str, copies: Sequence[GameCopy], first: int = 0) -> None:
        self.name = name
        self.count = len(copies)
        self.observations = copies[0].observations.spec
        self.actions = copies[0].actions.spec
        self.success = copies[0].success
        self._first = first
        self._copies = tuple(copies)
        self._games = [copy.environment for copy in copies]
        self._steps = [game.step for game in self._games]
        self._see = copies[0].observations
        self._do = copies[0].actions
        self._limit = copies[0].limit or _NEVER
        self._totals = [0.0] * self.count
        self._lengths = [0] * self.count
        self._masks: Masks | None = None
        self._ready = self._closed = False
        self._mask_methods = [attribute(game, "action_masks") for game in self._games]
        self.masked = callable(self._mask_methods[0])
        if not self.masked:
            self._find_masks_in_info()

    def _find_masks_in_info(self) -> None:
        _, info = self._begin(0, 0)
        self.masked = "action_mask" in info

    def reset(self, seed: int) -> Observations:
        """See :meth:`Environments.reset`."""
        arrays = self._see.empty(self.count)
        views = self._see.views(arrays)
        self._masks = np.ones((self.count, self.actions.width), np.bool_) if self.masked else None
        for row in range(self.count):
            seen, info = self._begin(row, seed_of(seed, self._first + row))
            self._write(seen, views, row)
            if self._masks is not None:
                self._masks[row] = self._mask(row, info)
        self._check(arrays)
        self._totals = [0.0] * self.count
        self._lengths = [0] * self.count
        self._ready = True
        return arrays

    def step(self, actions: Actions) -> Step:
        """See :meth:`Environments.step`."""
        if not self._ready:
            raise GameError(f"{self.name} was not reset", remedy="call reset(seed) before the first step")
        chosen = self._do.decode(self._do.check(actions, self.count))
        arrays = self._see.empty(self.count)
        views = self._see.views(arrays)
        rewards = np.empty(self.count, np.float64)
        infos: list[Any] = [None] * self.count
        ended: list[tuple[int, bool]] = []
        write, totals, lengths, limit = self._see.write, self._totals, self._lengths, self._limit
        row, result = 0, None
        try:
            for row, take in enumerate(self._steps):
                result = None
                result = take(chosen[row])
                seen, reward, over, cut, infos[row] = result
                write(seen, views, row)
                rewards[row] = reward
                totals[row] += float(reward)
                lengths[row] += 1
                if over or cut or lengths[row] >= limit:
                    ended.append((row, bool(over)))
        except GameError as error:
            raise mend_with_copy(error, self.name, self._first + row) from error
        except Exception as error:
            raise self._explain(row, result, error) from error
        return self._finish(arrays, views, rewards, ended, infos)

    def _finish(
        self,
        arrays: Observations,
        views: list[npt.NDArray[Any]],
        rewards: npt.NDArray[np.float64],
        ended: list[tuple[int, bool]],
        infos: list[Any],
    ) -> Step:
        self._check(arrays)
        if not np.isfinite(rewards).all():
            row = int(np.argmin(np.isfinite(rewards)))
            remedy = "look for a division by zero or an overflow in the game; rewards must be finite"
            message = f"the reward is {rewards[row]}"
            raise mend_with_copy(GameError(message, remedy=remedy), self.name, self._first + row)
        terminated = np.zeros(self.count, np.bool_)
        truncated = np.zeros(self.count, np.bool_)
        if self.masked:
            self._masks = np.ones((self.count, self.actions.width), np.bool_)
        final = None
        episodes = []
        if ended:
            final = {name: array.copy() for name, array in arrays.items()}
            for row, over in ended:
                terminated[row], truncated[row] = over, not over
                total, length = self._totals[row], self._lengths[row]
                success = told_success(self.success, infos[row], total)
                episodes.append(EpisodeEnd(self._first + row, total, length, success))
                seen, infos[row] = self._begin(row, None)
                self._write(seen, views, row)
                self._totals[row], self._lengths[row] = 0.0, 0
            self._check(arrays)
        if self._masks is not None:
            for row, info in enumerate(infos):
                self._masks[row] = self._mask(row, info)
        return Step(arrays, rewards.astype(np.float32), terminated, truncated, final, tuple(episodes))

    def masks(self) -> Masks | None:
        """See :meth:`Environments.masks`."""
        return self._masks

    def render(self) -> npt.NDArray[np.uint8]:
        """Return a picture of the first copy, uint8 [height, width, 3].

        Raises:
            GameError: The game gives none; it must be made with ``render=True``.
        """
        try:
            picture = np.asarray(self._games[0].render())
        except NotImplementedError as error:
            remedy = "write its render(), which returns a picture, uint8 [height, width, 3]"
            raise GameError(f"{self.name} shows no pictures", remedy=remedy) from error
        except Exception as error:
            raise GameError(describe_failure(f"{self.name}: render", error), remedy="correct render()") from error
        if picture.ndim != 3 or picture.shape[2] != 3:
            remedy = "make it with render=True; its render() must return uint8 [height, width, 3]"
            raise GameError(f"{self.name} gives no picture, but {picture.shape}", remedy=remedy)
        if picture.dtype.kind == "f":
            picture = picture * 255.0
        return picture.astype(np.uint8)

    def close(self) -> None:
        """See :meth:`Environments.close`."""
        if self._closed:
            return
        self._closed = True
        self._ready = False
        for game in self._games:
            try:
                game.close()
            except Exception:  # noqa: BLE001, S112 - it is of no use any more, and others must be closed too
                continue

    def _begin(self, row: int, seed: int | None) -> tuple[Any, Any]:
        try:
            result = self._games[row].reset() if seed is None else self._games[row].reset(seed=seed)
        except Exception as error:
            words = describe_failure("reset", error)
            remedy = "correct reset(); it must take a seed and return (observation, info)"
            raise mend_with_copy(GameError(words, remedy=remedy), self.name, self._first + row) from error
        if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
            message = f"reset() returned {_shape(result)}, not (observation, info)"
            remedy = "this is the old Gym interface; return (observation, {}) from reset(), or wrap it with shimmy"
            raise mend_with_copy(GameError(message, remedy=remedy), self.name, self._first + row)
        return result

    def _write(self, seen: Any, views: list[npt.NDArray[Any]], row: int) -> None:
        try:
            self._see.write(seen, views, row)
        except GameError as error:
            raise mend_with_copy(error, self.name, self._first + row) from error

    def _check(self, arrays: Observations) -> None:
        try:
            self._see.check(arrays)
        except RowError as error:
            raise mend_with_copy(error, self.name, self._first + error.row) from error

    def _explain(self, row: int, result: Any, error: Exception) -> GameError:
        if isinstance(result, tuple) and len(result) != 5:
            message = f"step() returned {len(result)} values, not (observation, reward, terminated, truncated, info)"
            old = "this is the old Gym interface; tell time limits (truncated) from ends (terminated), or use shimmy"
            return mend_with_copy(GameError(message, remedy=old), self.name, self._first + row)
        words = describe_failure("step", error)
        remedy = "correct the environment; `ngp check` plays it with random actions"
        return mend_with_copy(GameError(words, remedy=remedy), self.name, self._first + row)

    def _mask(self, row: int, info: Any) -> npt.NDArray[np.bool_]:
        method = self._mask_methods[row]
        given = np.asarray(method() if callable(method) else info.get("action_mask"))
        if given.shape != (self.actions.width,) or given.dtype.kind not in "biuf":
            message = f"the action mask is {_shape(given)}, not {self.actions.width} truth values"
            remedy = "give one truth value for each action (for each choice of each, if multi-discrete)"
            raise mend_with_copy(GameError(message, remedy=remedy), self.name, self._first + row)
        mask = given.astype(np.bool_)
        if self.actions.kind == "discrete" and not mask.any():
            remedy = "allow at least one action, or end the episode"
            message = "the action mask allows nothing"
            raise mend_with_copy(GameError(message, remedy=remedy), self.name, self._first + row)
        return mask


def _shape(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple) else "")
