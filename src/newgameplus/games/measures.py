"""Measures of a level: numbers that a designer can ask for and that a model can be told.

A *kind* measure counts tiles by meaning (``enemies``, ``coins``), a *tile* measure counts one tile (``tile:X``), the
others look at the shape of the level, and some come from the solver's answer. ``additive`` ones can be counted on the
first columns of a level, so that a model can be told how many are still missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.games.rules.contract import Answer
from newgameplus.games.scenes import Level
from newgameplus.recipe import did_you_mean

__all__ = ["MEASURES", "Measure", "find_measure", "ground_heights", "measure", "measures_of"]


@dataclass(frozen=True)
class Measure:
    """One number about a level.

    Attributes:
        name: As a designer writes it: ``enemies``.
        about: What it is, with its unit and range.
        of: Level and the solver's answer (or None) to a number; NaN when it is not known.
        additive: The number of a level is the sum over its columns.
        meanings: For measures that count tiles by meaning, the meanings.
        whole: Whether it is a whole number.
    """

    name: str
    about: str
    of: Callable[[Level, Answer | None], float]
    additive: bool = False
    meanings: tuple[str, ...] = ()
    whole: bool = False


def _count(*meanings: str) -> Callable[[Level, Answer | None], float]:
    return lambda level, _: float(level.where(*meanings).sum())


def standing(level: Level) -> npt.NDArray[np.bool_]:
    """Return bool [height, width]: solid or one-way cells with room above, where something can stand."""
    hard = np.asarray(level.where("solid", "one-way"))
    free = np.ones(hard.shape, np.bool_)
    free[1:] = ~level.where("solid")[:-1]
    return np.asarray(hard & free)


def ground_heights(level: Level) -> npt.NDArray[np.float64]:
    """Return float64 [width]: height of the highest place to stand in each column, in tiles from the bottom; NaN over
    a gap."""
    places = standing(level)
    highest = np.where(places.any(axis=0), level.height - places.argmax(axis=0), np.nan)
    return np.asarray(highest, np.float64)


def _gaps(level: Level, _: Answer | None) -> float:
    """Count runs of columns whose two lowest rows hold nothing solid."""
    bottom = np.asarray(level.where("solid", "one-way", "liquid")[-2:]).any(axis=0)
    open_: npt.NDArray[np.bool_] = ~np.asarray(bottom, np.bool_)
    return float(np.count_nonzero(open_ & ~np.concatenate([[False], open_[:-1]])))


def _density(level: Level, _: Answer | None) -> float:
    return float(level.where("solid").mean())


def _linearity(level: Level, _: Answer | None) -> float:
    """Fit of a straight line to the heights: 1 for flat or evenly rising ground, towards 0 for wild ground."""
    heights = ground_heights(level)
    there = ~np.isnan(heights)
    if there.sum() < 3:
        return float("nan")
    x, y = np.arange(len(heights))[there], heights[there]
    slope, offset = np.polyfit(x, y, 1)
    return float(1.0 / (1.0 + np.abs(y - slope * x - offset).mean()))


def _leniency(level: Level, answer: Answer | None) -> float:
    """How forgiving: 1 without dangers, minus half of an enemy and a whole gap or hazard per 10 columns, at least 0."""
    dangers = 0.5 * level.where("enemy").sum() + level.where("hazard").sum() + _gaps(level, answer)
    return float(max(0.0, 1.0 - dangers / max(1.0, level.width / 10)))


def _told(name: str) -> Callable[[Level, Answer | None], float]:
    return lambda _, answer: float(answer.measures.get(name, np.nan)) if answer is not None else float("nan")


def _difficulty(level: Level, answer: Answer | None) -> float:
    """What the solver had to do for each cell of the straight way: longer ways, jumps and pushes, and dangers near."""
    if answer is None or answer.proof is None or not answer.proof.cells:
        return float("nan")
    rows, columns = zip(*answer.proof.cells, strict=True)
    straight = max(
        1, abs(rows[-1] - rows[0]) + abs(columns[-1] - columns[0]), int(answer.measures.get("pushes", 0) > 0)
    )
    danger = level.where("hazard", "enemy")
    near = sum(bool(danger[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2].any()) for r, c in answer.proof.cells)
    work = len(rows) + 2 * answer.measures.get("jumps", 0) + 3 * answer.measures.get("pushes", 0) + 2 * near
    return float(work / straight)


_KINDS = {
    "enemies": ("enemy",), "hazards": ("hazard",), "coins": ("collectable",), "keys": ("key",), "doors": ("door",),
    "boxes": ("box",), "goals": ("goal",), "ladders": ("climbable",), "breakables": ("breakable",),
    "one_ways": ("one-way", "one-way-up", "one-way-down", "one-way-left", "one-way-right"), "liquids": ("liquid",),
    "pipe_tiles": ("pipe",), "spawners": ("spawner",), "solids": ("solid",),
}  # fmt: skip

#: Every measure with a fixed name; ``tile:NAME`` measures are made on demand.
MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        name: Measure(name, f"tiles that mean {' or '.join(of)}", _count(*of), True, of, True)
        for name, of in _KINDS.items()
    }
    | {
        one.name: one
        for one in (
            Measure("gaps", "runs of columns without ground", _gaps, additive=True, whole=True),
            Measure("density", "share of solid tiles, 0 to 1", _density),
            Measure("linearity", "how well a line fits the ground, 0 to 1", _linearity),
            Measure("leniency", "how forgiving, 0 to 1", _leniency),
            Measure("length", "columns", lambda level, _: float(level.width), additive=True, whole=True),
            Measure("path_length", "cells of the solver's way", _told("path_length"), whole=True),
            Measure("jumps", "jumps of the solver's way", _told("jumps"), whole=True),
            Measure("pushes", "pushes of the solver's way", _told("pushes"), whole=True),
            Measure("difficulty", "the solver's work for each cell of the straight way, 1 and more", _difficulty),
        )
    }
)


def find_measure(name: str, level: Level) -> Measure:
    """Return a measure by name; ``tile:NAME`` counts the tile of that name.

    Raises:
        DataError: There is no such measure or tile.
    """
    if name.startswith("tile:"):
        tile = name.removeprefix("tile:")
        if tile not in level.tileset.index:
            known = level.tileset.names
            remedy = f"{did_you_mean(tile, known)}tiles: {', '.join(known[:30])}"
            raise DataError(f"no tile is called {tile!r}", source=name, remedy=remedy)
        number = level.tileset.index[tile]
        return Measure(name, f"tiles {tile!r}", lambda one, _: float((one.tiles == number).sum()), True, (), True)
    if name not in MEASURES:
        remedy = f"{did_you_mean(name, list(MEASURES))}known: {', '.join(MEASURES)}, tile:NAME"
        raise DataError(f"no measure is called {name!r}", source="measure", remedy=remedy)
    return MEASURES[name]


def measure(level: Level, names: Iterable[str], answer: Answer | None = None) -> dict[str, float]:
    """Return the wanted measures of a level; NaN where one is not known."""
    return {name: find_measure(name, level).of(level, answer) for name in names}


def measures_of(levels: Iterable[Level]) -> list[str]:
    """Return the names of the measures that mean something for these levels: their tiles can have them."""
    found: set[str] = set()
    for level in levels:
        found |= {name for name, one in MEASURES.items() if not one.meanings or level.where(*one.meanings).any()}
    return [name for name in MEASURES if name in found]
