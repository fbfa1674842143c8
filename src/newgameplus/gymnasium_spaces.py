"""Gymnasium's spaces in our words, and what lies in them translated both ways.

Pure translation: nothing here makes or steps an environment. What a game calls a ``Box`` is a vector, an image or a
grid of codes to us, whichever its shape, type and bounds say; dictionaries and tuples become parts whose names are
joined by dots; texts become tokens. :mod:`newgameplus.gymnasium_actions` does the same for actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import GameError
from newgameplus.gymnasium_parts import VOCABULARY, Leaf, Names, collect_leaves, name_leaves, words_to_tokens
from newgameplus.recipe import did_you_mean
from newgameplus.spaces import ObservationPart, Observations, ObservationSpec

__all__ = ["VOCABULARY", "Names", "ObservationTranslator", "RowError", "describe_observations", "words_to_tokens"]

Array = npt.NDArray[Any]


class RowError(GameError):
    """One of several observations holds what cannot be.

    Args:
        message: What is wrong.
        row: Which of them, from 0.
        remedy: What to do about it.
    """

    def __init__(self, message: str, row: int, remedy: str) -> None:
        self.row = row
        super().__init__(message, remedy=remedy)


class ObservationTranslator:
    """Translates what a game shows into our parts, and back.

    Attributes:
        spec: What a policy sees.
    """

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        self._leaves = tuple(leaves)
        self.spec = ObservationSpec(tuple(leaf.part for leaf in leaves))
        only = self._leaves[0]
        self._plain = len(self._leaves) == 1 and not only.path and only.convert is None

    def only(self, names: Sequence[str]) -> ObservationTranslator:
        """Return a translator of some of the parts.

        Raises:
            GameError: There is no such part.
        """
        known = self.spec.names
        if unknown := [name for name in names if name not in known]:
            near = did_you_mean(unknown[0], list(known))
            remedy = f"{near}there are: {', '.join(known)}"
            raise GameError(f"the game shows no {unknown[0]!r}", source="environment.parts", remedy=remedy)
        return ObservationTranslator([leaf for leaf in self._leaves if leaf.part.name in names])

    def empty(self, count: int) -> Observations:
        """Return arrays for ``count`` observations, filled with whatever was there."""
        return {leaf.part.name: np.empty((count, *leaf.part.shape), leaf.part.dtype) for leaf in self._leaves}

    def views(self, arrays: Observations) -> list[Array]:
        """Return our arrays as the game lays them out, for :meth:`write`; what is written there lands in ours."""
        return [leaf.view(arrays[leaf.part.name]) for leaf in self._leaves]

    def write(self, raw: Any, views: Sequence[Array], row: int) -> None:
        """Write one observation of the game into a row.

        Raises:
            GameError: It is not of the shape or type that the space promises.
        """
        if self._plain:
            leaf = self._leaves[0]
            if raw.__class__ is not np.ndarray or raw.shape != leaf.shape or raw.dtype is not leaf.seen:
                raw = leaf.check(raw)
            views[0][row] = raw
            return
        for leaf, view in zip(self._leaves, views, strict=True):
            value = _follow(raw, leaf)
            if leaf.convert is not None:
                value = leaf.convert(value)
            elif value.__class__ is not np.ndarray or value.shape != leaf.shape or value.dtype is not leaf.seen:
                value = leaf.check(value)
            view[row] = value

    def encode(self, raws: Sequence[Any]) -> Observations:
        """Translate observations of the game, one after the other.

        Raises:
            GameError: One of them is not what the space promises.
        """
        arrays = self.empty(len(raws))
        views = self.views(arrays)
        for row, raw in enumerate(raws):
            self.write(raw, views, row)
        self.check(arrays)
        return arrays

    def encode_batch(self, raw: Any) -> Observations:
        """Translate observations that are stacked already: arrays (in dictionaries, in tuples) with one more axis.

        Raises:
            GameError: They are not what the space promises.
        """
        found: Observations = {}
        for leaf in self._leaves:
            value = _follow(raw, leaf)
            if leaf.part.kind == "tokens":
                array = np.stack([leaf.convert(one) if leaf.convert else one for one in value])
            else:
                whole = np.asarray(value)
                rows = whole.reshape(len(whole), *leaf.shape) if whole.size else whole
                array = np.empty((len(whole), *leaf.part.shape), leaf.part.dtype)
                leaf.view(array)[...] = rows if leaf.start is None else rows - leaf.start
            found[leaf.part.name] = array
        self.check(found)
        return found

    def decode(self, observations: Observations, row: int) -> Any:
        """Return one of our observations as the game would have given it.

        Raises:
            GameError: It holds a text, of which only the tokens are known.
        """
        if any(leaf.part.kind == "tokens" for leaf in self._leaves):
            raise GameError("tokens cannot be turned back into their text", remedy="keep the text itself")
        whole: dict[Any, Any] = {}
        for leaf in self._leaves:
            value = leaf.view(observations[leaf.part.name][row : row + 1])[0]
            value = value if leaf.start is None else value + leaf.start
            value = np.asarray(value).astype(leaf.dtype)
            if not leaf.path:
                return value if leaf.shape else value.item()
            inner = whole
            for key in leaf.path[:-1]:
                inner = inner.setdefault(key, {})
            inner[leaf.path[-1]] = value if leaf.shape else value.item()
        return _tuples(whole)

    def check(self, arrays: Observations) -> None:
        """Look for numbers that cannot be: NaN, infinity, codes and choices that do not exist.

        Raises:
            RowError: There are some; the part, its feature and the first row are named.
        """
        for leaf in self._leaves:
            array = arrays[leaf.part.name]
            if array.dtype.kind == "f":
                if not np.isfinite(array).all():
                    _refuse(leaf.part, array, ~np.isfinite(array))
            elif leaf.limits is not None:
                wrong = array >= leaf.limits
                if wrong.any() or (array.dtype.kind == "i" and array.min(initial=0) < 0):
                    _refuse(leaf.part, array, wrong | (array < 0))


def _refuse(part: ObservationPart, array: Array, wrong: Array) -> None:
    where = tuple(int(index) for index in np.argwhere(wrong)[0])
    name = f" ({part.features[where[1]]})" if len(part.features) > where[1] else ""
    value = array[where]
    place = f"{part.name!r}, {'channel' if part.kind in ('image', 'grid') else 'number'} {where[1]}{name}"
    if array.dtype.kind == "f":
        remedy = "look for a division by zero or a missing value in the game; observations must be finite"
    else:
        size = part.sizes[where[1]]
        remedy = f"values 0..{size - 1} are promised; correct the environment or its observation_space"
    raise RowError(f"the observation holds {value} in {place}", where[0], remedy)


def _follow(raw: Any, leaf: Leaf) -> Any:
    value = raw
    for key in leaf.path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError) as error:
            message = f"the observation has no {leaf.part.name!r}, which its space promises"
            raise GameError(message, remedy="make the environment return what its observation_space says") from error
    return value


def _tuples(whole: Any) -> Any:
    if not isinstance(whole, dict):
        return whole
    if whole and all(isinstance(key, int) for key in whole):
        return tuple(_tuples(whole[key]) for key in sorted(whole))
    return {key: _tuples(value) for key, value in whole.items()}


def describe_observations(
    space: Any, *, names: Names = (), codes: Mapping[str, Sequence[int]] | None = None
) -> ObservationTranslator:
    """Say in our words what a Gymnasium space holds.

    A ``Box`` of one axis is a vector; one of three axes, or two of bytes, is an image (the shortest of first and last
    axis counts its channels; the last where they are equal), or a grid if its integers stay below 65 or ``codes`` names
    it; four axes are a stack of images, whose channels are put in one row. Choices count from 0. Parts that can never
    change (``Discrete(1)``, a ``Box`` of no numbers) are left out.

    Args:
        space: A ``gymnasium.spaces`` space (or one of the same attributes).
        names: Names of the features; by default those in ``space.names``, if it has such an attribute.
        codes: Numbers of codes of each channel, by part, of those that are grids although their bounds do not say so.

    Raises:
        GameError: It holds what no policy of ours can see.
    """
    leaves: list[Leaf] = []
    collect_leaves(space, (), leaves, dict(codes or {}))
    if not leaves:
        remedy = "give the environment an observation that can change"
        raise GameError(f"there is nothing to see in {space}", source="observation_space", remedy=remedy)
    name_leaves(leaves, names or getattr(space, "names", ()))
    return ObservationTranslator(leaves)
