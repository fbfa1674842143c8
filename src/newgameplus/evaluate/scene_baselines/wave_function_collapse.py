"""Wave-function collapse: levels in which every small pattern stands somewhere in the training levels.

The overlapping model after Maxim Gumin's WaveFunctionCollapse (2016), as constraint solving with backtracking (Karth &
Smith, "WaveFunctionCollapse is Constraint Solving in the Wild", FDG 2017); written from the description. Patterns are
3 x 3, and 2 x 2 where no level is found with those; how likely each is depends on its row, which the original does not
know and side views need. First the whole level is solved at once, the most certain cell first; where that fails too
often, it grows by chunks of columns, each conditioned on what stands to its left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from newgameplus.evaluate.scene_baselines.contract import NoLevelError, SceneBaseline, check_size
from newgameplus.evaluate.scene_baselines.wave import Wave
from newgameplus.evaluate.scene_baselines.wave_patterns import Patterns
from newgameplus.evaluate.scene_tiles import Grid, share_tileset
from newgameplus.games.scenes import Level, Tileset

__all__ = ["WaveFunctionCollapse", "fit"]

_SIZES = (3, 2)
_NOISE = 1e-3
_MOST_PATTERNS = 20_000
_BACKTRACKS = 60
_CHUNK = 8
_CHUNK_BACKTRACKS = 40
_CHUNK_TRIES = 40


class WaveFunctionCollapse(SceneBaseline):
    """Patterns of the training levels, and a solver that lays them.

    Attributes:
        failures: Attempts thrown away so far: whole levels, chunks of columns, and pattern sizes given up.
        sizes_used: Pattern size of every sample so far.
    """

    def __init__(self, tileset: Tileset, patterns: Sequence[Patterns]) -> None:
        self._tileset, self._patterns = tileset, patterns
        self._waves: dict[tuple[int, int, int], Wave] = {}
        self.failures = 0
        self.sizes_used: list[int] = []

    @classmethod
    def fit(cls, levels: Sequence[Level], seed: int = 0) -> Self:
        """Collect the patterns of the levels; see :class:`SceneBaseline`."""
        tileset, grids = share_tileset(levels)
        grids = [grid for grid in grids if grid.size]
        rng = np.random.default_rng(seed)
        patterns = [Patterns.of(grids, size, rng) for size in _SIZES]
        return cls(tileset, [one for one in patterns if len(one) <= _MOST_PATTERNS])

    def sample(self, rng: np.random.Generator, height: int, width: int) -> Level:
        """Solve one level; see :class:`SceneBaseline`."""
        check_size(height, width)
        for patterns in self._patterns:
            wave = self._wave(patterns, height, width)
            grid = self._solve(wave, rng) if wave.possible else None
            if grid is not None:
                self.sizes_used.append(patterns.size)
                return Level(grid.astype(np.int32), self._tileset, "wave-function-collapse")
            self.failures += 1
        raise NoLevelError(
            f"no level of {height}x{width} was found whose patterns all stand in the training levels",
            source="wave-function-collapse",
            remedy="ask for the height of the training levels, or give more of them",
        )

    def _wave(self, patterns: Patterns, height: int, width: int) -> Wave:
        """Return the untouched wave of a size; setting it up takes longer than taking everything back."""
        key = (patterns.size, height, width)
        if key not in self._waves:
            self._waves = {known: wave for known, wave in self._waves.items() if known[1:] == key[1:]}
            self._waves[key] = Wave(patterns, height, width)
        self._waves[key].back_to(0)
        return self._waves[key]

    def _solve(self, wave: Wave, rng: np.random.Generator) -> Grid | None:
        if _collapse(wave, rng, wave.columns, _BACKTRACKS):
            return wave.grid()
        self.failures += 1
        wave.back_to(0)
        return wave.grid() if self._grow(wave, rng) else None

    def _grow(self, wave: Wave, rng: np.random.Generator) -> bool:
        """Settle chunk after chunk from the left; after repeated failures one more chunk to the left is undone."""
        ends = [*range(_CHUNK, wave.columns, _CHUNK), wave.columns]
        marks, steps_back, tries = [0], 1, _CHUNK_TRIES + len(ends)
        while len(marks) <= len(ends):
            tries -= 1
            if _collapse(wave, rng, ends[len(marks) - 1], _CHUNK_BACKTRACKS):
                marks.append(wave.mark)
                steps_back = max(1, steps_back - 1)
                continue
            self.failures += 1
            if tries < 0:
                return False
            del marks[max(1, len(marks) - steps_back + 1) :]
            wave.back_to(marks[-1])
            steps_back += 1
        return True


def _collapse(wave: Wave, rng: np.random.Generator, columns: int, backtracks: int) -> bool:
    """Settle every cell of the first columns; False, with the wave anywhere, once it had to turn back too often."""
    noise = rng.random((wave.rows, wave.columns)) * _NOISE
    choices: list[tuple[int, int, int]] = []
    while (cell := wave.most_certain(noise, columns)) is not None:
        pattern = wave.draw(cell, rng)
        choices.append((wave.mark, cell, pattern))
        consistent = wave.settle(cell, pattern)
        while not consistent:
            if not choices or backtracks <= 0:
                return False
            backtracks -= 1
            mark, cell, pattern = choices.pop()
            wave.back_to(mark)
            consistent = wave.exclude(cell, pattern)
    return True


fit = WaveFunctionCollapse.fit
