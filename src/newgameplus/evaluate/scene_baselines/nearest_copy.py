"""The cheat: training levels, cut or laid side by side to the wanted size. It shows what copying would score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from newgameplus.evaluate.scene_baselines.contract import SceneBaseline, check_size
from newgameplus.evaluate.scene_tiles import Grid, share_tileset
from newgameplus.games.scenes import Level, Tileset

__all__ = ["NearestCopy", "fit"]


class NearestCopy(SceneBaseline):
    """Hands out training levels in a shuffled order; no level comes twice before every level came once."""

    def __init__(self, tileset: Tileset, grids: Sequence[Grid], seed: int) -> None:
        self._tileset = tileset
        self._grids = [grid for grid in grids if grid.size]
        self._order = np.random.default_rng(seed).permutation(len(self._grids)).tolist()
        self._next = 0

    @classmethod
    def fit(cls, levels: Sequence[Level], seed: int = 0) -> Self:
        """Keep the levels; see :class:`SceneBaseline`."""
        return cls(*share_tileset(levels), seed)

    def sample(self, rng: np.random.Generator, height: int, width: int) -> Level:
        """Copy the next level: the lowest rows of a taller one, a random cut of a wider one.

        Several stand side by side where one is too narrow; a row at the top is repeated where one is too low.
        """
        check_size(height, width)
        parts: list[Grid] = []
        while sum(part.shape[1] for part in parts) < width:
            part = self._grids[self._order[self._next % len(self._order)]]
            self._next += 1
            if part.shape[1] > width:
                start = int(rng.integers(0, part.shape[1] - width + 1))
                part = part[:, start : start + width]
            parts.append(_fit_height(part, height))
        return Level(np.concatenate(parts, axis=1)[:, :width].astype(np.int32), self._tileset, "nearest-copy")


def _fit_height(grid: Grid, height: int) -> Grid:
    cut = grid[-height:]
    return np.pad(cut, ((height - len(cut), 0), (0, 0)), mode="edge")


fit = NearestCopy.fit
