"""What all generators draw with: grids of characters, random choices, and floods that say what can be walked to."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "STEPS",
    "Cell",
    "Grid",
    "Mask",
    "Style",
    "between",
    "blank",
    "cells_of",
    "chance",
    "distances",
    "farthest",
    "neighbors",
    "noise",
    "pick",
    "rate",
    "reachable",
    "regions",
    "shares",
    "spread",
    "subrange",
    "trail",
]

Grid = npt.NDArray[np.str_]
"""One character a tile, [height, width]."""
Mask = npt.NDArray[np.bool_]
Cell = tuple[int, int]
Style = Mapping[str, Any]
"""Parameters of one designer's taste: plain numbers, strings, lists and dicts."""
STEPS: tuple[Cell, ...] = ((-1, 0), (1, 0), (0, -1), (0, 1))

_Option = TypeVar("_Option")


def blank(height: int, width: int, fill: str) -> Grid:
    """Return a grid that holds one character everywhere."""
    return np.full((height, width), fill, "<U1")


def chance(rng: np.random.Generator, share: float) -> bool:
    """Return True with a probability."""
    return bool(rng.random() < share)


def between(rng: np.random.Generator, low: int, high: int) -> int:
    """Return a whole number from ``low`` to ``high``, both included; ``low`` if the range is empty."""
    return low if high <= low else low + int(rng.random() * (high - low + 1))


def rate(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number from a range, with three digits after the point, as it stands in a style."""
    return round(float(rng.uniform(low, high)), 3)


def pick(rng: np.random.Generator, options: Sequence[_Option], weights: Sequence[float] | None = None) -> _Option:
    """Return one of the options, evenly or by weights."""
    if weights is None:
        return options[int(rng.random() * len(options))]
    mark, total = rng.random() * sum(weights), 0.0
    for option, weight in zip(options, weights, strict=True):
        total += weight
        if mark < total:
            return option
    return options[-1]


def shares(rng: np.random.Generator, names: Sequence[str], fewest: int, most: int) -> dict[str, float]:
    """Return weights of a few of the names, for a style that favors some things and never uses others."""
    count = between(rng, min(fewest, len(names)), min(most, len(names)))
    chosen = sorted(int(number) for number in rng.permutation(len(names))[:count])
    return {names[number]: rate(rng, 0.25, 1.0) for number in chosen}


def subrange(rng: np.random.Generator, low: int, high: int, shortest: int = 0) -> list[int]:
    """Return [low, high] of a range inside a range, at least ``shortest`` long where there is room."""
    first = between(rng, low, max(low, high - shortest))
    return [first, between(rng, min(first + shortest, high), high)]


def cells_of(mask: Mask) -> list[Cell]:
    """Return (row, column) of every cell of a mask, row by row."""
    return [(int(row), int(column)) for row, column in zip(*np.nonzero(mask), strict=True)]


def regions(mask: Mask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the four-connected regions of a mask, numbered from 1 (0 outside), and their sizes (entry 0 is 0)."""
    from scipy import ndimage  # type: ignore[import-untyped]

    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return labels, sizes


def reachable(free: Mask, start: Cell) -> Mask:
    """Return the cells of ``free`` that can be walked to from ``start``."""
    labels, _ = regions(free)
    return np.asarray((labels == labels[start]) & (labels > 0))


def neighbors(mask: Mask) -> npt.NDArray[np.int64]:
    """Return how many of the eight cells around each cell are in a mask; beyond the edge counts as in it."""
    wide = np.pad(mask.astype(np.int64), 1, constant_values=1)
    rows = wide[:-2] + wide[1:-1] + wide[2:]
    return np.asarray(rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - mask)


def distances(free: Mask, start: Cell) -> npt.NDArray[np.int64]:
    """Return the number of steps from ``start`` to each cell of ``free``, -1 where none lead."""
    height, width = free.shape
    stride = width + 1
    # A spare column and row of walls make every step of the flat search legal.
    open_ = np.zeros((height + 1, stride), np.bool_)
    open_[:height, :width] = free
    flat = open_.ravel().tolist()
    steps = [-1] * len(flat)
    first = start[0] * stride + start[1]
    steps[first] = 0
    queue = deque([first])
    while queue:
        here = queue.popleft()
        for step in (-stride, stride, -1, 1):
            there = here + step
            if flat[there] and steps[there] < 0:
                steps[there] = steps[here] + 1
                queue.append(there)
    return np.array(steps, np.int64).reshape(height + 1, stride)[:height, :width]


def farthest(free: Mask, start: Cell) -> Cell:
    """Return the cell of ``free`` that is most steps away from ``start``."""
    steps = distances(free, start)
    row, column = np.unravel_index(int(steps.argmax()), steps.shape)
    return int(row), int(column)


def trail(free: Mask, start: Cell, end: Cell) -> list[Cell]:
    """Return the cells of a shortest way from ``start`` to ``end``, both included; empty if there is none."""
    steps = distances(free, end)
    if steps[start] < 0:
        return []
    way = [start]
    while way[-1] != end:
        row, column = way[-1]
        for down, right in STEPS:
            there = (row + down, column + right)
            if (
                0 <= there[0] < free.shape[0]
                and 0 <= there[1] < free.shape[1]
                and steps[there] == steps[row, column] - 1
                and steps[there] >= 0
            ):
                way.append(there)
                break
    return way


def spread(rng: np.random.Generator, mask: Mask, count: int, apart: int = 2) -> list[Cell]:
    """Return up to ``count`` random cells of a mask, no two closer than ``apart`` (the larger of rows and columns)."""
    cells = np.argwhere(mask)
    taken = np.zeros(mask.shape, np.bool_)
    chosen: list[Cell] = []
    for row, column in rng.permutation(cells).tolist() if count > 0 else []:
        if not taken[row, column]:
            taken[max(0, row - apart + 1) : row + apart, max(0, column - apart + 1) : column + apart] = True
            chosen.append((row, column))
            if len(chosen) >= count:
                break
    return chosen


def noise(rng: np.random.Generator, height: int, width: int, scale: float) -> npt.NDArray[np.float64]:
    """Return smooth noise from 0 to 1 whose features are about ``scale`` cells wide: random values on a coarse grid,
    blended between its points, with a finer and weaker second grid on top."""
    total = np.zeros((height, width))
    for part, weight in ((scale, 1.0), (max(1.0, scale / 2.5), 0.35)):
        rows, columns = np.arange(height) / part, np.arange(width) / part
        coarse = rng.random((int(rows[-1]) + 2, int(columns[-1]) + 2))
        top, left = rows.astype(int), columns.astype(int)
        down, right = _ease(rows - top)[:, None], _ease(columns - left)[None, :]
        upper = coarse[top][:, left] * (1 - right) + coarse[top][:, left + 1] * right
        lower = coarse[top + 1][:, left] * (1 - right) + coarse[top + 1][:, left + 1] * right
        total += weight * (upper * (1 - down) + lower * down)
    return np.asarray((total - total.min()) / max(1e-9, float(total.max() - total.min())), np.float64)


def _ease(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return share * share * (3 - 2 * share)
