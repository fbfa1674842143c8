"""Comparing the spaces of demonstrations with those of a game, and guessing them where a file does not say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, Problem
from newgameplus.games.demonstration_formats.contract import RawEpisode
from newgameplus.spaces import ActionSpec, ObservationPart, ObservationSpec

__all__ = ["OtherSpacesError", "guess_spaces", "space_differences"]

Spaces = tuple[ObservationSpec, ActionSpec]


class OtherSpacesError(DataError):
    """Demonstrations are of other spaces than the game.

    Attributes:
        found: What was seen and done in the demonstrations.
        wanted: What is seen and can be done in the game.
    """

    def __init__(
        self, message: str, *, found: Spaces, wanted: Spaces, source: str, problems: Sequence[Problem]
    ) -> None:
        self.found, self.wanted = found, wanted
        super().__init__(message, source=source, problems=problems)


def space_differences(found: Spaces, wanted: Spaces, source: str = "") -> list[Problem]:
    """Return every difference that matters to a policy between the spaces of demonstrations and those of the game."""
    (seen, done), (sees, does) = found, wanted
    problems = []
    for part in seen.parts:
        other = sees.part(part.name)
        if other is None:
            problems.append(f"the game does not show {_called(part)} any more")
        else:
            problems += _part_differences(part, other)
    problems += [
        f"the game shows {_called(part)}, which was not recorded" for part in sees.parts if not seen.part(part.name)
    ]
    problems += _action_differences(done, does)
    return [Problem(message, source) for message in problems]


def _called(part: ObservationPart) -> str:
    return f"{part.name!r} ({part.kind} {'x'.join(map(str, part.shape))})"


def _part_differences(found: ObservationPart, wanted: ObservationPart) -> list[str]:
    if found.kind != wanted.kind:
        return [f"{found.name!r} was a {found.kind}, and is a {wanted.kind} now"]
    if found.features and wanted.features and found.features != wanted.features:
        return _name_differences(f"{found.name!r}", found.features, wanted.features) + _code_sizes(found, wanted)
    messages = []
    if found.shape != wanted.shape:
        was, now = ("x".join(map(str, part.shape)) for part in (found, wanted))
        messages.append(f"{found.name!r} was {was}, and is {now} now")
    messages += _code_sizes(found, wanted)
    if found.kind == "image" and (found.low, found.high) != (wanted.low, wanted.high):
        was, now = (f"{part.low} to {part.high}" for part in (found, wanted))
        messages.append(f"intensities of {found.name!r} went from {was}, and go from {now} now")
    return messages


def _code_sizes(found: ObservationPart, wanted: ObservationPart) -> list[str]:
    if found.sizes == wanted.sizes:
        return []
    what = {"tokens": "words", "grid": "codes of each channel", "choice": "choices"}.get(found.kind, "sizes")
    return [f"{what} of {found.name!r}: {_numbers(found.sizes)} then, {_numbers(wanted.sizes)} now"]


def _numbers(sizes: Iterable[int]) -> str:
    return ", ".join(map(str, sizes))


def _name_differences(what: str, found: Sequence[str], wanted: Sequence[str]) -> list[str]:
    messages = [f"{what} had {name!r}, which is gone" for name in found if name not in wanted]
    messages += [f"{what} has {name!r}, which is new" for name in wanted if name not in found]
    both = [name for name in found if name in wanted]
    if both != [name for name in wanted if name in found]:
        messages.append(f"{what} stands in another order: {', '.join(found)} then, {', '.join(wanted)} now")
    return messages


def _action_differences(found: ActionSpec, wanted: ActionSpec) -> list[str]:
    if found.kind != wanted.kind:
        return [f"actions were {found.kind}, and are {wanted.kind} now"]
    if found.names and wanted.names and found.names != wanted.names:
        return _name_differences("the set of actions", found.names, wanted.names)
    if found.sizes != wanted.sizes:
        return [f"sizes of the actions: {_numbers(found.sizes)} then, {_numbers(wanted.sizes)} now"]
    if found.kind == "continuous" and (found.low, found.high) != (wanted.low, wanted.high):
        was, now = (f"{list(spec.low)} to {list(spec.high)}" for spec in (found, wanted))
        return [f"actions went from {was}, and go from {now} now"]
    return []


def guess_spaces(episodes: Iterable[RawEpisode]) -> Spaces:
    """Guess the spaces from all episodes of a file that does not say them.

    Raises:
        DataError: There are no steps, arrays change their shape, or are of no numbers.
    """
    seen: dict[str, _Extent] = {}
    done: _Extent | None = None
    for episode in episodes:
        for name, rows in episode.observations.items():
            seen[name] = _Extent.of(rows, seen.get(name), f"observations {name!r}", episode.place)
        done = _Extent.of(episode.actions, done, "actions", episode.place)
    if done is None:
        raise DataError("there are no steps to tell the spaces from", remedy="name the game")
    return ObservationSpec(tuple(_guess_part(name, extent) for name, extent in seen.items())), _guess_actions(done)


class _Extent:
    """Shape, type and range of all rows of an array."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], low: Any, high: Any) -> None:
        self.shape, self.dtype, self.low, self.high = shape, dtype, low, high

    @classmethod
    def of(cls, rows: npt.NDArray[Any], before: _Extent | None, what: str, place: str) -> _Extent:
        if rows.dtype.kind not in "fiub":
            raise DataError(f"{what} are of {rows.dtype}, not numbers", source=place, remedy="name the game")
        low, high = rows.min(axis=0), rows.max(axis=0)
        if before is None:
            return cls(rows.shape[1:], rows.dtype, low, high)
        if before.shape != rows.shape[1:]:
            message = f"{what} are of shape {list(rows.shape[1:])} here and {list(before.shape)} before"
            raise DataError(message, source=place, remedy="keep episodes of different games apart")
        return cls(before.shape, before.dtype, np.minimum(low, before.low), np.maximum(high, before.high))


def _guess_part(name: str, extent: _Extent) -> ObservationPart:
    if len(extent.shape) == 3:
        first = extent.shape[0] < extent.shape[2] or extent.shape[0] == extent.shape[1]
        height, width, channels = extent.shape if not first else (*extent.shape[1:], extent.shape[0])
        pixels = extent.dtype == np.uint8
        high = 255.0 if pixels else float(extent.high.max())
        low = 0.0 if pixels else float(extent.low.min())
        return ObservationPart(name, "image", (channels, height, width), "uint8" if pixels else "float32", low, high)
    if not extent.shape and extent.dtype.kind in "iub" and extent.low >= 0:
        return ObservationPart(name, "choice", (1,), "int64", sizes=(int(extent.high) + 1,))
    return ObservationPart(name, "vector", (int(np.prod(extent.shape, dtype=int)),))


def _guess_actions(extent: _Extent) -> ActionSpec:
    flat = tuple(int(size) for size in extent.shape)
    if extent.dtype.kind == "f":
        low, high = (tuple(np.atleast_1d(bound).astype(float).tolist()) for bound in (extent.low, extent.high))
        return ActionSpec("continuous", (len(low),), low, high)
    if extent.dtype.kind == "b" and flat:
        return ActionSpec("binary", flat)
    sizes = tuple(int(high) + 1 for high in np.atleast_1d(extent.high))
    return ActionSpec("discrete" if flat in ((), (1,)) else "multi-discrete", sizes)
