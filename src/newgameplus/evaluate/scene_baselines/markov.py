"""Markov chains over tiles: each tile is drawn from what stood beside the same neighbors in the training levels.

Multi-dimensional Markov chains as in Snodgrass & Ontañón, "Generating Maps Using Markov Chains", AIIDE workshop 2013:
a tile depends on tiles already placed (here column by column, each from the bottom up) and on its row. Where the whole
neighborhood was never seen, smaller ones are asked (back-off), down to how often each tile occurs at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Self

import numpy as np

from newgameplus.evaluate.scene_baselines.contract import SceneBaseline, check_size, row_bands
from newgameplus.evaluate.scene_tiles import Grid, share_tileset
from newgameplus.games.scenes import Level, Tileset

__all__ = ["Markov", "fit"]

#: (rows up, columns right) of the neighbors, the most telling first; all are placed before the tile itself.
_NEIGHBORS = ((0, -1), (-1, 0), (-1, -1), (1, -1), (0, -2), (-2, 0))
_ROW, _EDGE = len(_NEIGHBORS), len(_NEIGHBORS) + 1
#: What each chain looks at, from the whole neighborhood to nothing: places in a tile's list of neighbors, row and edge.
_ORDERS: tuple[tuple[int, ...], ...] = (
    (0, 1, 2, 3, 4, 5, _ROW, _EDGE),
    (0, 1, 2, 3, 4, 5, _ROW),
    (0, 1, 2, 3, _ROW, _EDGE),
    (0, 1, 2, 3, _ROW),
    (0, 1, 2, _ROW),
    (0, 1, 2),
    (0, 1),
    (0, _ROW),
    (_ROW,),
    (),
)
_REACH = 2
_OUTSIDE = -1
_MOST_ROWS = 32

Chain = Mapping[tuple[int, ...], tuple[list[int], list[int]]]
"""Tiles seen beside each neighborhood, and their running counts."""


class Markov(SceneBaseline):
    """Chains of falling order over one tileset; ``rows`` is how many rows are told apart."""

    def __init__(self, tileset: Tileset, chains: Sequence[Chain], rows: int) -> None:
        self._tileset, self._chains, self._rows = tileset, chains, rows

    @classmethod
    def fit(cls, levels: Sequence[Level], seed: int = 0) -> Self:  # noqa: ARG003 (nothing is drawn)
        """Count tiles beside their neighbors; see :class:`SceneBaseline`."""
        tileset, grids = share_tileset(levels)
        grids = [grid for grid in grids if grid.size]
        rows = min(max(len(grid) for grid in grids), _MOST_ROWS)
        counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in _ORDERS]
        for grid in grids:
            features = [feature.ravel().tolist() for feature in _features(grid, rows)]
            tiles = grid.ravel().tolist()
            for order, counter in zip(_ORDERS, counts, strict=True):
                counter.update(zip(*(features[place] for place in order), tiles, strict=True))
        return cls(tileset, [_chain(counter) for counter in counts], rows)

    def sample(self, rng: np.random.Generator, height: int, width: int) -> Level:
        """Draw a level column by column, each from the bottom up; see :class:`SceneBaseline`."""
        check_size(height, width)
        places = [[_OUTSIDE] * (width + _REACH) for _ in range(height + 2 * _REACH)]
        row_of = row_bands(height, self._rows)
        chances = rng.random((width, height)).tolist()
        for column in range(width):
            edge = min(width - 1 - column, _REACH)
            at = column + _REACH
            for up in range(height):
                line = up + _REACH
                seen = [places[line + rows][at + columns] for rows, columns in _NEIGHBORS]
                places[line][at] = self._draw([*seen, row_of[up], edge], chances[column][up])
        grid = np.array([line[_REACH:] for line in places[_REACH : height + _REACH]], np.int32)
        return Level(np.ascontiguousarray(grid[::-1]), self._tileset, "markov")

    def _draw(self, features: Sequence[int], chance: float) -> int:
        for order, chain in zip(_ORDERS, self._chains, strict=True):
            found = chain.get(tuple([features[place] for place in order]))
            if found is not None:
                tiles, ends = found
                mark = chance * ends[-1]
                return next(tile for tile, end in zip(tiles, ends, strict=True) if mark < end)
        raise AssertionError("the chain that looks at nothing knows every neighborhood")


def _features(grid: Grid, rows: int) -> list[Grid]:
    """Return the neighbors of each tile, its row and its distance to the right edge, each int64 [height, width]."""
    height, width = grid.shape
    turned = grid[::-1]
    padded = np.pad(turned, _REACH, constant_values=_OUTSIDE)
    around = [
        padded[_REACH + up : _REACH + up + height, _REACH + right : _REACH + right + width] for up, right in _NEIGHBORS
    ]
    row = np.broadcast_to(np.array(row_bands(height, rows))[:, None], grid.shape)
    edge = np.broadcast_to(np.minimum(np.arange(width)[::-1], _REACH), grid.shape)
    # Back in the order of the grid's own rows, top first.
    return [feature[::-1] for feature in (*around, row, edge)]


def _chain(counter: Counter[tuple[int, ...]]) -> Chain:
    found: dict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)
    for (*neighborhood, tile), count in counter.items():
        found[tuple(neighborhood)].append((tile, count))
    return {
        key: ([tile for tile, _ in sorted(pairs)], list(accumulate(count for _, count in sorted(pairs))))
        for key, pairs in found.items()
    }


fit = Markov.fit
