"""Gymnasium's action spaces in our words, and actions translated both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import GameError
from newgameplus.spaces import Actions, ActionSpec

__all__ = ["ActionCheck", "ActionTranslator", "describe_actions"]

Array = npt.NDArray[Any]
_NEAR = 1e-4
"""How far beyond a bound rounding may bring a continuous action, as a share of the range."""


class ActionCheck:
    """Looks whether actions are inside of what a game allows.

    Attributes:
        spec: What it allows.
    """

    def __init__(self, spec: ActionSpec) -> None:
        self.spec = spec
        self._sizes = np.asarray(spec.sizes, np.int64)
        self._low = np.asarray(spec.low, np.float32)
        self._high = np.asarray(spec.high, np.float32)
        spread = np.where(np.isfinite(self._high - self._low), self._high - self._low, 1.0)
        self._slack = (spread * _NEAR).astype(np.float32)

    def check(self, actions: Any, count: int) -> Actions:
        """Return the actions as an array of the right type, if the game allows them.

        Args:
            actions: One a copy.
            count: Number of copies.

        Raises:
            GameError: They are of another shape or type, or outside of the space.
        """
        array = np.asarray(actions)
        if array.shape != (count, *self.spec.shape):
            message = f"actions have shape {array.shape}, not {(count, *self.spec.shape)}"
            raise GameError(message, remedy="give one action for each copy, as the action spec says")
        if self.spec.kind == "continuous":
            return self._check_numbers(array)
        if array.dtype.kind not in "iub":
            remedy = "give whole numbers"
            raise GameError(f"actions are {array.dtype}, but the game's are {self.spec.kind}", remedy=remedy)
        if self.spec.kind == "binary":
            wrong = (array < 0) | (array > 1)
        else:
            wrong = (array < 0) | (array >= (self._sizes[0] if self.spec.kind == "discrete" else self._sizes))
        if wrong.any():
            where = tuple(int(index) for index in np.argwhere(wrong)[0])
            top = 2 if self.spec.kind == "binary" else int(self._sizes[where[1] if len(where) > 1 else 0])
            place = f" for number {where[1]}" if len(where) > 1 else ""
            message = (
                f"action {array[where]} of copy {where[0]} is outside of the space, which allows 0..{top - 1}{place}"
            )
            raise GameError(message, remedy="choose among the allowed actions; the action spec says which")
        return array

    def _check_numbers(self, array: Array) -> Actions:
        numbers = array.astype(np.float32, copy=False) if array.dtype.kind in "biuf" else array
        if numbers.dtype != np.float32:
            raise GameError(f"actions are {array.dtype}, but the game's are continuous", remedy="give float32 numbers")
        inside = (numbers >= self._low - self._slack) & (numbers <= self._high + self._slack)
        if not inside.all() or not np.isfinite(numbers).all():
            row, column = (int(index) for index in np.argwhere(~inside | ~np.isfinite(numbers))[0])
            low, high = self.spec.low[column], self.spec.high[column]
            message = (
                f"number {column} of the action of copy {row} is {numbers[row, column]:g}, "
                f"outside of {low:g}..{high:g} that the space allows"
            )
            raise GameError(message, remedy="clip actions to the bounds in the action spec")
        clipped: Actions = np.clip(numbers, self._low, self._high)
        return clipped


class ActionTranslator(ActionCheck):
    """Translates our actions into those of a game, and back.

    Attributes:
        spec: What a policy may do.
    """

    def __init__(self, spec: ActionSpec, space: Any, leaves: Sequence[Any]) -> None:
        super().__init__(spec)
        self._space = space
        self._leaves = tuple(leaves)
        self._single = len(leaves) == 1 and leaves[0] is space
        self._widths = [_numbers(leaf) for leaf in leaves]
        starts = [_starts(leaf) for leaf in leaves]
        self._start = np.concatenate(starts) if spec.kind in ("discrete", "multi-discrete") else np.zeros(1, np.int64)

    @property
    def first(self) -> int:
        """The game's smallest action, where one of several is chosen."""
        return int(self._start[0])

    def decode(self, actions: Actions) -> list[Any]:
        """Return our checked actions [n, ...] as a list of the game's."""
        if self.spec.kind == "discrete":
            rows = (actions + self._start[0]).tolist() if self._start[0] else actions.tolist()
            return rows if self._single else [self._nested(np.asarray([row])) for row in rows]
        if self.spec.kind == "multi-discrete":
            actions = actions + self._start
        if self._single:
            shape, dtype = tuple(self._space.shape), np.dtype(self._space.dtype)
            return list(actions.astype(dtype).reshape(len(actions), *shape))
        return [self._nested(row) for row in actions]

    def _nested(self, row: Array) -> Any:
        values = []
        begin = 0
        for leaf, width in zip(self._leaves, self._widths, strict=True):
            values.append(_value(leaf, row[begin : begin + width]))
            begin += width
        iterator = iter(values)
        return _fill(self._space, iterator)

    def encode(self, raws: Sequence[Any]) -> Actions:
        """Return actions of the game as ours.

        Raises:
            GameError: One of them is outside of the space.
        """
        rows = []
        for raw in raws:
            found: list[Array] = []
            _flatten(self._space, raw, found)
            rows.append(np.concatenate(found))
        whole = np.stack(rows) if rows else np.zeros((0, max(1, sum(self._widths))))
        if self.spec.kind in ("discrete", "multi-discrete"):
            whole = whole - self._start
        whole = whole[:, 0] if self.spec.kind == "discrete" else whole
        return self.check(whole.astype(self.spec.dtype), len(rows)) if rows else whole.astype(self.spec.dtype)


def describe_actions(space: Any, *, names: Sequence[str] = ()) -> ActionTranslator:
    """Say in our words what a Gymnasium action space allows.

    A dictionary or tuple of choices is multi-discrete, one of ``Box`` is continuous, one of both cannot be used.

    Args:
        space: A ``gymnasium.spaces`` space (or one of the same attributes).
        names: Names of actions, buttons or numbers; by default those in ``space.names``, if it has that attribute.

    Raises:
        GameError: No policy of ours can act in it.
    """
    leaves: list[Any] = []
    _leaves_of(space, leaves)
    kinds = {_kind(leaf) for leaf in leaves}
    chosen = tuple(str(name) for name in (names or getattr(space, "names", ())))
    if kinds == {"Discrete"} and len(leaves) == 1:
        spec = ActionSpec("discrete", (int(leaves[0].n),), names=chosen)
    elif kinds == {"MultiBinary"}:
        spec = ActionSpec("binary", (sum(_numbers(leaf) for leaf in leaves),), names=chosen)
    elif kinds and kinds <= {"Discrete", "MultiDiscrete", "MultiBinary"}:
        sizes = tuple(size for leaf in leaves for size in _sizes(leaf))
        spec = ActionSpec("multi-discrete", sizes, names=chosen)
    elif kinds == {"Box"} and all(np.dtype(leaf.dtype).kind == "f" for leaf in leaves):
        low = np.concatenate([np.asarray(leaf.low, np.float32).ravel() for leaf in leaves])
        high = np.concatenate([np.asarray(leaf.high, np.float32).ravel() for leaf in leaves])
        bounds = {"low": tuple(low.tolist()), "high": tuple(high.tolist())}
        spec = ActionSpec("continuous", (len(low),), names=chosen, **bounds)
    else:
        words = ", ".join(sorted(kinds)) or "nothing"
        remedy = "wrap it: choices (Discrete, MultiDiscrete), buttons (MultiBinary), or float numbers (Box) are known"
        raise GameError(f"no policy can act in a space of {words}", source=str(space), remedy=remedy)
    wanted = len(spec.sizes) if spec.kind == "multi-discrete" else spec.width
    if chosen and (len(chosen) != wanted or len(set(chosen)) != wanted):
        message = f"there are {wanted} actions, but {len(set(chosen))} different names"
        raise GameError(message, source=f"names {list(chosen)[:20]}", remedy="name each action once, in their order")
    return ActionTranslator(spec, space, leaves)


def _kind(space: Any) -> str:
    known = ("Dict", "Tuple", "Box", "MultiDiscrete", "Discrete", "MultiBinary")
    return next((c.__name__ for c in type(space).__mro__ if c.__name__ in known), type(space).__name__)


def _inner(space: Any) -> list[tuple[Any, Any]]:
    return list(space.spaces.items()) if _kind(space) == "Dict" else list(enumerate(space.spaces))


def _leaves_of(space: Any, leaves: list[Any]) -> None:
    if _kind(space) in ("Dict", "Tuple"):
        for _, one in _inner(space):
            _leaves_of(one, leaves)
    else:
        leaves.append(space)


def _sizes(leaf: Any) -> list[int]:
    if _kind(leaf) == "Discrete":
        return [int(leaf.n)]
    if _kind(leaf) == "MultiDiscrete":
        return [int(size) for size in np.asarray(leaf.nvec).ravel()]
    return [2] * _numbers(leaf)


def _numbers(leaf: Any) -> int:
    return 1 if _kind(leaf) == "Discrete" else int(np.prod(leaf.shape))


def _starts(leaf: Any) -> Array:
    start = getattr(leaf, "start", None)
    return np.zeros(_numbers(leaf), np.int64) if start is None else np.asarray(start, np.int64).ravel()


def _value(leaf: Any, numbers: Array) -> Any:
    if _kind(leaf) == "Discrete":
        return int(numbers[0])
    return numbers.astype(np.dtype(leaf.dtype)).reshape(leaf.shape)


def _fill(space: Any, values: Any) -> Any:
    kind = _kind(space)
    if kind == "Dict":
        return {key: _fill(one, values) for key, one in _inner(space)}
    if kind == "Tuple":
        return tuple(_fill(one, values) for _, one in _inner(space))
    return next(values)


def _flatten(space: Any, raw: Any, found: list[Array]) -> None:
    if _kind(space) not in ("Dict", "Tuple"):
        found.append(np.asarray(raw).ravel())
        return
    for key, one in _inner(space):
        _flatten(one, raw[key], found)
