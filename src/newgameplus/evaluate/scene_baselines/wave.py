"""The wave of wave-function collapse: which patterns each cell can still be, kept consistent, with a way back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from newgameplus.evaluate.scene_baselines.contract import row_bands
from newgameplus.evaluate.scene_baselines.wave_patterns import DIRECTIONS, Integers, Patterns

__all__ = ["Wave"]

_SETTLED = np.inf


class Wave:
    """Possible patterns of every cell of one level.

    Every removal is followed by arc consistency: a pattern goes when no pattern of a neighboring cell agrees with it.
    What a cell could be before is kept, so that a choice can be taken back.

    Args:
        patterns: The patterns.
        height: Rows of tiles of the level.
        width: Columns of tiles of the level.

    Attributes:
        possible: False if a cell had no pattern left when the wave was set up: no level of this size exists.
        rows: Rows of cells.
        columns: Columns of cells.
    """

    def __init__(self, patterns: Patterns, height: int, width: int) -> None:
        self._patterns = patterns
        self.rows, self.columns = patterns.cells(height, width)
        self._left = patterns.fitting(height, width)
        self._before: list[tuple[int, Integers]] = []
        bands = row_bands(self.rows, len(patterns.weights))[::-1]
        self._weights = patterns.weights[bands]
        self._logs = self._weights * np.log(self._weights)
        self._agreed = np.zeros(patterns.overlaps, np.bool_)
        self._entropy = np.full(len(self._left), _SETTLED)
        self._weigh(range(len(self._left)))
        self.possible = all(map(len, self._left)) and self._propagate(range(len(self._left)))
        self._before.clear()

    @property
    def mark(self) -> int:
        """Where the wave stands now, for :meth:`back_to`."""
        return len(self._before)

    def back_to(self, mark: int) -> None:
        """Take back every removal since ``mark``."""
        touched = set()
        while len(self._before) > mark:
            cell, left = self._before.pop()
            self._left[cell] = left
            touched.add(cell)
        self._weigh(touched)

    def most_certain(self, noise: npt.NDArray[np.float64], columns: int) -> int | None:
        """Return the unsettled cell of least entropy among the first columns; None when all are settled.

        Args:
            noise: float64 [rows, columns]: small numbers that decide between equals.
            columns: How many columns of cells to look at.
        """
        entropy = (self._entropy.reshape(self.rows, self.columns) + noise)[:, :columns]
        row, column = divmod(int(entropy.argmin()), entropy.shape[1])
        return None if entropy[row, column] == _SETTLED else row * self.columns + column

    def draw(self, cell: int, rng: np.random.Generator) -> int:
        """Draw one of a cell's patterns, as often as they occur in the training levels."""
        choices = self._left[cell]
        ends = np.cumsum(self._weights[cell // self.columns, choices])
        return int(choices[np.searchsorted(ends, rng.random() * ends[-1], side="right")])

    def settle(self, cell: int, pattern: int) -> bool:
        """Make a cell one pattern; False if some cell then has none left."""
        self._replace(cell, np.array([pattern]))
        return self._propagate((cell,))

    def exclude(self, cell: int, pattern: int) -> bool:
        """Take one pattern from a cell; False if some cell then has none left."""
        left = self._left[cell]
        self._replace(cell, left[left != pattern])
        return self._propagate((cell,))

    def grid(self) -> Integers:
        """Return int64 [height, width]: the tiles, once every cell is settled."""
        chosen = np.array([left[0] for left in self._left])
        return self._patterns.grid(chosen.reshape(self.rows, self.columns))

    def _replace(self, cell: int, left: Integers) -> None:
        self._before.append((cell, self._left[cell]))
        self._left[cell] = left

    def _weigh(self, cells: Iterable[int]) -> None:
        for cell in cells:
            left, row = self._left[cell], cell // self.columns
            if len(left) < 2:
                self._entropy[cell] = _SETTLED
            else:
                total = self._weights[row, left].sum()
                self._entropy[cell] = np.log(total) - self._logs[row, left].sum() / total

    def _propagate(self, cells: Iterable[int]) -> bool:
        waiting = deque(cells)
        queued, touched = set(waiting), set(waiting)
        consistent = True
        while waiting and consistent:
            cell = waiting.popleft()
            queued.discard(cell)
            changed = self._narrow_neighbors(cell)
            consistent = all(len(self._left[other]) for other in (cell, *changed))
            touched.update(changed)
            waiting.extend(other for other in changed if other not in queued)
            queued.update(changed)
        self._weigh(touched)
        return consistent

    def _narrow_neighbors(self, cell: int) -> list[int]:
        """Remove from the cell's neighbors what nothing in it agrees with; return those that changed."""
        row, column = divmod(cell, self.columns)
        left, agreed, changed = self._left[cell], self._agreed, []
        for direction, (down, right) in enumerate(DIRECTIONS):
            if not (0 <= row + down < self.rows and 0 <= column + right < self.columns):
                continue
            other = cell + down * self.columns + right
            agreed[:] = False
            agreed[self._patterns.leaving[direction][left]] = True
            theirs = self._left[other]
            remaining = theirs[agreed[self._patterns.entering[direction][theirs]]]
            if len(remaining) < len(theirs):
                self._replace(other, remaining)
                changed.append(other)
        return changed
