"""The solver's way drawn into the levels that a model learns from, so that what it makes has a way through too.

Every tile that a way crosses gets a twin, the same tile with the way on it. The model draws both; the way is taken off
again before anyone else sees the level. (Summerville and Mateas 2016, doi 10.48550/arXiv.1603.00930, found that levels
learned together with the player's path can be finished far more often.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from newgameplus.games.rules.contract import Cell
from newgameplus.games.scenes import Level, Tileset

__all__ = ["ON_THE_WAY", "WAY_MEANING", "WayTiles"]

ON_THE_WAY = " (on the way)"
"""What the name of a twin ends with."""
WAY_MEANING = "on-the-way"
"""What twins mean to models besides what their tiles do; levels never hold it."""


@dataclass(frozen=True, eq=False)
class WayTiles:
    """A tileset with twins for tiles that ways cross.

    Attributes:
        tileset: The tiles, then the twins.
        base: int32 [tiles and twins]: the tile that each stands for.
        twin: int32 [tiles]: the twin of each tile; the tile itself where there is none.
        throughout: Whether a way goes through every line of the scan.
    """

    tileset: Tileset
    base: npt.NDArray[np.int32]
    twin: npt.NDArray[np.int32]
    throughout: bool = False

    @property
    def drawn(self) -> bool:
        """Whether any tile has a twin."""
        return len(self.base) > len(self.twin)

    @property
    def on_way(self) -> npt.NDArray[np.bool_]:
        """Bool [tiles and twins]: which have the way on them."""
        return np.arange(len(self.base)) >= len(self.twin)

    def meanings(self, tile: int) -> tuple[str, ...]:
        """Return what a tile or twin means to a model."""
        told = sorted(self.tileset.tiles[tile].meanings)
        return (*told, WAY_MEANING) if self.on_way[tile] else tuple(told)

    @classmethod
    def none(cls, tileset: Tileset) -> WayTiles:
        """Return the tileset as it is, without twins."""
        same = np.arange(len(tileset), dtype=np.int32)
        return cls(tileset, same, same)

    @classmethod
    def of(cls, levels: Sequence[Level], ways: Sequence[Sequence[Cell]], *, throughout: bool = False) -> WayTiles:
        """Return twins for all tiles that the ways of some levels cross."""
        tileset = levels[0].tileset
        crossed: set[int] = set()
        for level, way in zip(levels, ways, strict=True):
            crossed |= {int(level.tiles[row, column]) for row, column in way}
        names = [tileset.names[tile] + ON_THE_WAY for tile in sorted(crossed)]
        return cls.of_names(tileset, (*tileset.names, *names), throughout=throughout) or cls.none(tileset)

    @classmethod
    def of_names(cls, tileset: Tileset, names: Sequence[str], *, throughout: bool = False) -> WayTiles | None:
        """Return the twins that a model's tile names tell of; None if these are not the tileset's tiles."""
        twins = [name.removesuffix(ON_THE_WAY) for name in names[len(tileset) :]]
        if tuple(names[: len(tileset)]) != tileset.names or any(name not in tileset.index for name in twins):
            return None
        order = [tileset.index[name] for name in twins]
        same = np.arange(len(tileset), dtype=np.int32)
        twin = same.copy()
        twin[order] = len(tileset) + np.arange(len(order))
        copies = [replace(tileset.tiles[tile], name=tileset.tiles[tile].name + ON_THE_WAY) for tile in order]
        base = np.concatenate([same, np.array(order, np.int32)])
        return cls(Tileset((*tileset.tiles, *copies)), base, twin, throughout)

    def draw(self, level: Level, way: Sequence[Cell]) -> npt.NDArray[np.int32]:
        """Return int32 [height, width]: a level's tiles with a way drawn in."""
        tiles = level.tiles.astype(np.int32).copy()
        for row, column in way:
            tiles[row, column] = self.twin[level.tiles[row, column]]
        return tiles

    def plain(self, tiles: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Return tiles without the way; -1 stays -1."""
        return np.where(tiles < 0, tiles, self.base[tiles]).astype(np.int32)
