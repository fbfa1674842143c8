"""Levels of different tilesets laid side by side: tiles of one name get one number, and a level becomes one string."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.games.scenes import Level, Tile, Tileset

__all__ = ["Grid", "Vocabulary", "share_tileset"]

Grid = npt.NDArray[np.int64]
"""int64 [height, width]: numbers of tiles."""

_SEPARATOR = 0
_FIRST_SURROGATE, _SURROGATES = 0xD800, 0x800


class Vocabulary:
    """Numbers for tile names; a name that was not met before gets the next number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._tables: dict[int, tuple[Tileset, npt.NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def grid(self, level: Level) -> Grid:
        """Return int64 [height, width]: the level's tiles in this vocabulary's numbers."""
        known = self._tables.get(id(level.tileset))
        if known is None:
            numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in level.tileset.names]
            # The tileset is kept beside its table: while it lives, no other object can have its id.
            known = self._tables[id(level.tileset)] = (level.tileset, np.array(numbers, np.int64))
        return known[1][level.tiles]

    def text(self, level: Level) -> str:
        """Return the level as a string: one character a tile, row by row, a separator between rows."""
        grid = self.grid(level) + 1
        rows = np.pad(grid, ((0, 0), (0, 1)), constant_values=_SEPARATOR).ravel()[:-1]
        rows = np.where(rows >= _FIRST_SURROGATE, rows + _SURROGATES, rows)
        return rows.astype("<u4").tobytes().decode("utf-32-le")


def share_tileset(levels: Sequence[Level]) -> tuple[Tileset, list[Grid]]:
    """Return one tileset that holds every tile of all levels, and the levels' grids in its numbers.

    Where levels disagree about what a tile of one name means, the first level's word counts.

    Raises:
        DataError: There is no level, or none has a tile.
    """
    if not any(level.tiles.size for level in levels):
        raise DataError(f"{len(levels)} levels hold no tile", source="levels", remedy="give at least one level")
    vocabulary = Vocabulary()
    grids = [vocabulary.grid(level) for level in levels]
    tiles: dict[str, Tile] = {}
    for tileset in _tilesets(levels):
        for tile in tileset.tiles:
            tiles.setdefault(tile.name, tile)
    return Tileset(tuple(tiles.values())), grids


def _tilesets(levels: Iterable[Level]) -> list[Tileset]:
    """Return each tileset once, in the order in which the levels bring them: the order of the vocabulary's numbers."""
    return list({id(level.tileset): level.tileset for level in levels}.values())
