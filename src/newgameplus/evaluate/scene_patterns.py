"""Levels as patterns: how alike two sets of levels are in their small patterns, and which columns are copied."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.evaluate.scene_tiles import Grid, Vocabulary
from newgameplus.games.scenes import Level

__all__ = ["WINDOWS", "CopiedWindows", "copied_window_counts", "copied_windows", "pattern_divergence"]

WINDOWS = range(1, 17)
"""Widths, in columns, at which copies are counted."""

Integers = npt.NDArray[np.int64]


def pattern_divergence(
    levels: Sequence[Level],
    reference: Sequence[Level],
    size: int,
    *,
    epsilon: float = 1e-6,
    weight: float = 1.0,
) -> float:
    """Return how far the patterns of some levels are from those of others: a Kullback-Leibler divergence, in nats.

    Every ``size`` x ``size`` window of tiles is one pattern, counted over all levels of a set together; ``epsilon`` is
    added to each count, so that a pattern that only one set has costs much but not everything (Lucas & Volz, "Tile
    Pattern KL-Divergence for Analysing and Evolving Game Levels", GECCO 2019, doi 10.1145/3321707.3321781). They add
    1e-5 and take the mean of both directions (``weight`` 0.5). The defaults here are one direction, D(levels ||
    reference), which asks whether the levels hold what the reference never does, and 1e-6.

    Args:
        levels: The levels, of any sizes.
        reference: What they are held against.
        size: Rows and columns of a pattern.
        epsilon: Added to each count; above 0.
        weight: Share of D(levels || reference); the rest is D(reference || levels).

    Returns:
        0 or more; NaN where a set has no window of this size.

    Raises:
        DataError: The size, epsilon or weight is out of its range.
    """
    if size < 1 or not epsilon > 0 or not 0 <= weight <= 1:
        wrong = f"size {size}, epsilon {epsilon:g}, weight {weight:g}"
        remedy = "a size of 1 or more, an epsilon above 0, a weight in 0..1"
        raise DataError(f"{wrong} cannot be used", source="pattern divergence", remedy=remedy)
    vocabulary = Vocabulary()
    grids = [vocabulary.grid(level) for level in [*levels, *reference]]
    counts = _pattern_counts(grids, len(levels), size)
    if not counts.sum(axis=1).all():
        return float("nan")
    smooth = counts + epsilon
    p, q = smooth / smooth.sum(axis=1, keepdims=True)
    ratio = np.log(p / q)
    return float(max(0.0, weight * (p * ratio).sum() - (1 - weight) * (q * ratio).sum()))


def _pattern_counts(grids: Sequence[Grid], first: int, size: int) -> npt.NDArray[np.float64]:
    """Return float64 [2, patterns]: counts in the first ``first`` grids, and in the others."""
    large = [grid for grid in grids if min(grid.shape) >= size]
    first = sum(min(grid.shape) >= size for grid in grids[:first])
    runs = large
    for step in range(1, size):
        runs = _pair_grids([run[:, :-1] for run in runs], [grid[:, step:] for grid in large])
    windows = runs
    for step in range(1, size):
        windows = _pair_grids([window[:-1] for window in windows], [run[step:] for run in runs])
    border = sum(window.size for window in windows[:first])
    numbers = np.concatenate([np.zeros(0, np.int64), *(window.ravel() for window in windows)])
    kinds = int(numbers.max(initial=-1)) + 1
    here, there = (np.bincount(part, minlength=kinds) for part in (numbers[:border], numbers[border:]))
    counts = np.stack([here, there]).astype(np.float64)
    return counts[:, counts.any(axis=0)]


def _pair_grids(ones: Sequence[Grid], others: Sequence[Grid]) -> list[Grid]:
    """Return, for grids of equal shapes, the numbers of pairs of their cells: equal pairs, equal numbers."""
    if not ones:
        return []
    numbers = _pair(*(np.concatenate([grid.ravel() for grid in grids]) for grids in (ones, others)))
    ends = np.cumsum([grid.size for grid in ones])[:-1]
    return [part.reshape(grid.shape) for part, grid in zip(np.split(numbers, ends), ones, strict=True)]


def _number_rows(rows: Integers) -> Integers:
    """Return int64 [rows]: equal numbers for equal rows, from 0 on.

    Column by column, each pair of (number so far, next value) gets a new number; no hash that could collide.
    """
    numbers = np.zeros(len(rows), np.int64)
    for column in rows.T:
        numbers = _pair(numbers, column)
    return numbers


def _pair(one: Integers, other: Integers) -> Integers:
    """Return dense numbers of pairs of numbers of 0 and more."""
    keys = one * (int(other.max(initial=0)) + 1) + other
    return np.asarray(np.unique(keys, return_inverse=True)[1], np.int64).reshape(-1)


class CopiedWindows:
    """Counts of windows of whole columns that stand exactly in a training level of the same height.

    Attributes:
        windows: Widths in columns.
        copied: int64 [levels, windows].
        total: int64 [levels, windows]; 0 where a level is too narrow, or no training level has its height.
    """

    def __init__(self, windows: Sequence[int], copied: Integers, total: Integers) -> None:
        self.windows, self.copied, self.total = tuple(windows), copied, total

    def shares(self) -> npt.NDArray[np.float64]:
        """Return float64 [windows]: share copied over all levels together; NaN where there is no window."""
        total = self.total.sum(axis=0)
        return np.where(total > 0, self.copied.sum(axis=0) / np.maximum(total, 1), np.nan)


def copied_window_counts(
    levels: Sequence[Level], training: Sequence[Level], windows: Sequence[int] = WINDOWS
) -> CopiedWindows:
    """Count the windows of levels that stand exactly, at the same rows, in a training level of the same height.

    Args:
        levels: The levels.
        training: The training levels, of any sizes.
        windows: Widths in columns, each 1 or more.

    Raises:
        DataError: A width is below 1.
    """
    if any(width < 1 for width in windows):
        raise DataError(f"a window of {min(windows)} columns is none", source="copied windows", remedy="1 or more")
    vocabulary = Vocabulary()
    heights: dict[int, tuple[list[int], list[Grid]]] = {}
    for place, level in enumerate(levels):
        heights.setdefault(level.height, ([], []))[0].append(place)
    for level in training:
        if level.height in heights:
            heights[level.height][1].append(vocabulary.grid(level))
    copied, total = (np.zeros((len(levels), len(windows)), np.int64) for _ in range(2))
    for places, references in heights.values():
        if references:
            grids = [vocabulary.grid(levels[place]) for place in places]
            copied[places], total[places] = _count_copies(grids, references, windows)
    return CopiedWindows(windows, copied, total)


def _count_copies(
    grids: Sequence[Grid], references: Sequence[Grid], windows: Sequence[int]
) -> tuple[Integers, Integers]:
    """Return copied and total windows, both int64 [grids, windows], of grids of one height."""
    both = [*references, *grids]
    widths = np.array([grid.shape[1] for grid in both])
    owner = np.repeat(np.arange(len(both)), widths)
    room = np.repeat(np.cumsum(widths), widths) - np.arange(len(owner))
    column = _number_rows(np.concatenate([grid.T for grid in both]))
    numbers = column.copy()
    copied, total = (np.zeros((len(grids), len(windows)), np.int64) for _ in range(2))
    for width in range(1, max(windows, default=0) + 1):
        if width > 1:
            numbers = _pair(numbers, np.roll(column, 1 - width))
        if width not in windows:
            continue
        whole = room >= width  # the window does not run into the next level
        known = np.zeros(int(numbers.max(initial=-1)) + 1, np.bool_)
        known[numbers[whole & (owner < len(references))]] = True
        own = whole & (owner >= len(references))
        hit = own & known[numbers]
        for at in (place for place, wanted in enumerate(windows) if wanted == width):
            copied[:, at] = np.bincount(owner[hit], minlength=len(both))[len(references) :]
            total[:, at] = np.bincount(owner[own], minlength=len(both))[len(references) :]
    return copied, total


def copied_windows(level: Level, training: Sequence[Level], columns: int) -> float:
    """Return the share of a level's windows of ``columns`` columns that stand exactly in a training level.

    NaN where the level is narrower than that, or where no training level has its height.

    Raises:
        DataError: ``columns`` is below 1.
    """
    return float(copied_window_counts([level], training, (columns,)).shares()[0])
