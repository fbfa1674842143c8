"""Changing a level that exists: make a region anew and keep the rest, or let it grow at one side.

A model makes tiles from what is before them and cannot see what is given behind. So several candidates are made, and
the one is taken after which the model finds what is given likeliest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.games.scanning import to_scan
from newgameplus.games.scenes import Level
from newgameplus.generate.delivery import Delivered
from newgameplus.generate.sampler import Sampler
from newgameplus.recipe import did_you_mean

__all__ = ["CANDIDATES", "Side", "best_seams", "has_seam", "open_region", "open_side", "seam"]

Side = Literal["left", "right", "up", "down"]
CANDIDATES = 4
"""Levels to choose each changed level from."""
_SEAM_LINES = 4
"""Given lines behind what was made anew that are looked at: as far back as a tile is predicted from its neighbors."""


def open_region(level: Level, region: Sequence[int], source: str = "--region") -> npt.NDArray[np.int32]:
    """Return int32 [height, width]: the level's tiles, -1 inside of the region that is to be made anew.

    Args:
        level: The level.
        region: Column, row, width and height of the region.
        source: Where the region comes from.

    Raises:
        DataError: The region is not inside of the level.
    """
    column, row, width, height = region
    inside = column >= 0 and row >= 0 and column + width <= level.width and row + height <= level.height
    if not inside or width < 1 or height < 1:
        left, top = min(max(column, 0), level.width - 1), min(max(row, 0), level.height - 1)
        nearest = (left, top, max(1, min(width, level.width - left)), max(1, min(height, level.height - top)))
        message = f"the region {column},{row},{width},{height} (column, row, width, height) is not inside of the map"
        remedy = f"the map is {level.width} wide and {level.height} high; the nearest is {','.join(map(str, nearest))}"
        raise DataError(message, source=source, remedy=remedy)
    fixed = level.tiles.astype(np.int32).copy()
    fixed[row : row + height, column : column + width] = -1
    return fixed


def open_side(level: Level, side: Side, count: int) -> npt.NDArray[np.int32]:
    """Return int32 [height, width]: the level's tiles with ``count`` columns or rows of -1 added at one side.

    Raises:
        DataError: There is no such side, or the count is not positive.
    """
    sides = get_args(Side)
    if side not in sides:
        remedy = f"{did_you_mean(str(side), sides)}known: {', '.join(sides)}"
        raise DataError(f"{side!r} is no side of a map", source="--extend", remedy=remedy)
    if count < 1:
        raise DataError(f"a level cannot grow by {count}", source="--extend", remedy="give 1 or more")
    before, after = (count, 0) if side in ("left", "up") else (0, count)
    pads = ((0, 0), (before, after)) if side in ("left", "right") else ((before, after), (0, 0))
    return np.pad(level.tiles.astype(np.int32), pads, constant_values=-1)


def has_seam(sampler: Sampler, fixed: npt.NDArray[np.int32]) -> bool:
    """Say whether anything is given behind a tile that is made anew, in the order in which levels are made."""
    given = (to_scan(fixed, sampler.order) >= 0).ravel()
    free = np.flatnonzero(~given)
    return bool(len(free) and given[free[0] :].any())


def seam(sampler: Sampler, made: Delivered, fixed: npt.NDArray[np.int32]) -> float:
    """Return how likely the model finds what is given, beside and behind what was made anew.

    Args:
        sampler: The model.
        made: A level with the given tiles.
        fixed: int32 [height, width]: given tiles, -1 elsewhere.

    Returns:
        Sum of natural logarithms of probabilities; only to be compared among levels with the same given tiles.
    """
    given = to_scan(fixed, sampler.order) >= 0
    free = np.flatnonzero(~given.all(axis=1))
    first, last = int(free[0]), min(len(given), int(free[-1]) + 1 + _SEAM_LINES)
    way = made.answer.proof.cells if made.answer.proof else ()
    return float(sampler.likelihood(made.level, first, last, made.requests, way)[given[first:last]].sum())


def best_seams(
    sampler: Sampler, candidates: Iterable[Delivered], fixed: npt.NDArray[np.int32], count: int
) -> list[Delivered]:
    """Return at most ``count`` different candidates, the likeliest seam first."""
    distinct = {made.level.tiles.tobytes(): made for made in candidates}
    return sorted(distinct.values(), key=lambda made: -seam(sampler, made, fixed))[:count]
