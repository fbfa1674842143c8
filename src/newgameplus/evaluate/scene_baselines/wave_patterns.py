"""Patterns for wave-function collapse: every N x N window of the training levels, and which may stand side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from newgameplus.evaluate.scene_baselines.contract import row_bands
from newgameplus.evaluate.scene_tiles import Grid

__all__ = ["DIRECTIONS", "Integers", "Patterns"]

DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))
"""(Rows down, columns right) to each neighbor of a cell."""

_BORDER = -1
_MOST_PATTERNS = 6_000
_MOST_BANDS = 32
_ANY_ROW = 0.01

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Patterns:
    """Windows of the training levels, with one ring of border around every level, so that edges are learned too.

    Two patterns may stand side by side when they agree where they overlap. The overlap has a number, so that "which
    patterns have a partner over there" is one look-up.

    Attributes:
        size: Rows and columns of a pattern.
        tiles: int64 [patterns, size, size]; -1 for the border.
        weights: float64 [bands, patterns]: how likely each is in rows of a band (see ``row_bands``), all above 0. In a
            side view the empty sky is the most frequent pattern by far; weights that do not know the row dig gaps.
        leaving: int64 [directions, patterns]: number of the part that a neighbor in each direction shares.
        entering: int64 [directions, patterns]: number of the part shared with the cell that the direction leads from.
        overlaps: How many such parts there are.
    """

    size: int
    tiles: Integers
    weights: npt.NDArray[np.float64]
    leaving: Integers
    entering: Integers
    overlaps: int

    @classmethod
    def of(cls, grids: Sequence[Grid], size: int, rng: np.random.Generator) -> Self:
        """Collect the patterns of some levels.

        Where there are more than some thousand, levels are left out at random: those of a whole level fit together,
        which the most frequent ones need not.

        Args:
            grids: Levels, at least one with a tile.
            size: Rows and columns of a pattern, 2 or 3.
            rng: Chooses the levels to leave out.
        """
        bands = min(max(len(grid) for grid in grids) + 3 - size, _MOST_BANDS)
        counts: dict[bytes, npt.NDArray[np.float64]] = {}
        for place in rng.permutation(len(grids)).tolist():
            found = _count_windows(grids[place], size, bands)
            if counts and len(counts) + sum(key not in counts for key in found) > _MOST_PATTERNS:
                continue
            for key, often in found.items():
                counts[key] = counts.get(key, 0.0) + often
        ordered = sorted(counts)
        tiles = np.frombuffer(b"".join(ordered), np.int64).reshape(-1, size, size)
        seen = np.stack([counts[key] for key in ordered], axis=1)
        weights = seen + _ANY_ROW * seen.sum(axis=0) / bands
        leaving, entering, overlaps = _number_overlaps(tiles)
        return cls(size, tiles, weights, leaving, entering, overlaps)

    def __len__(self) -> int:
        return len(self.tiles)

    def cells(self, height: int, width: int) -> tuple[int, int]:
        """Return how many rows and columns of patterns make a level of this size."""
        return height + 3 - self.size, width + 3 - self.size

    def fitting(self, height: int, width: int) -> list[Integers]:
        """Return, for each cell row by row, the patterns whose border lies where a level of this size ends."""
        outside = np.ones((height + 2, width + 2), np.bool_)
        outside[1:-1, 1:-1] = False
        wanted = np.lib.stride_tricks.sliding_window_view(outside, (self.size, self.size))
        powers = 1 << np.arange(self.size * self.size)
        shapes = (wanted.reshape(-1, self.size * self.size) * powers).sum(axis=-1).tolist()
        own = ((self.tiles == _BORDER).reshape(len(self), -1) * powers).sum(axis=-1)
        of_shape = {shape: np.flatnonzero(own == shape) for shape in set(shapes)}
        return [of_shape[shape] for shape in shapes]

    def grid(self, chosen: Integers) -> Grid:
        """Return the level that patterns, int64 [rows, columns], make; the border is cut off."""
        rows, columns = chosen.shape
        padded = np.empty((rows + self.size - 1, columns + self.size - 1), np.int64)
        for row in range(self.size):
            for column in range(self.size):
                padded[row : row + rows, column : column + columns] = self.tiles[chosen, row, column]
        return padded[1:-1, 1:-1]


def _count_windows(grid: Grid, size: int, bands: int) -> dict[bytes, npt.NDArray[np.float64]]:
    """Return how often each window occurs in each band of rows, float64 [bands]."""
    padded = np.pad(grid, 1, constant_values=_BORDER)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    rows, columns = windows.shape[:2]
    kinds, numbers = np.unique(windows.reshape(rows * columns, -1), axis=0, return_inverse=True)
    band = np.repeat(row_bands(rows, bands)[::-1], columns)
    often = np.bincount(numbers.reshape(-1) * bands + band, minlength=len(kinds) * bands).reshape(-1, bands)
    return {kind.tobytes(): count.astype(np.float64) for kind, count in zip(kinds, often, strict=True)}


def _number_overlaps(tiles: Integers) -> tuple[Integers, Integers, int]:
    right, left = (part.reshape(len(tiles), -1) for part in (tiles[:, :, 1:], tiles[:, :, :-1]))
    low, high = (part.reshape(len(tiles), -1) for part in (tiles[:, 1:], tiles[:, :-1]))
    side = np.unique(np.concatenate([right, left]), axis=0, return_inverse=True)[1].reshape(2, -1)
    up = np.unique(np.concatenate([low, high]), axis=0, return_inverse=True)[1].reshape(2, -1)
    leaving = np.stack([side[0], side[1], up[0], up[1]]).astype(np.int64)
    entering = np.stack([side[1], side[0], up[1], up[0]]).astype(np.int64)
    return leaving, entering, int(max(side.max(), up.max())) + 1
