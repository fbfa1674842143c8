"""Boxes that can never be moved: in a corner of walls, or in a square of walls and boxes. Levels seldom begin so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from newgameplus.games.scenes import Level, Tileset

__all__ = ["Jams", "learn_jams"]

Mask = npt.NDArray[np.bool_]
_SUPPORT = 20


@dataclass(frozen=True, eq=False)
class Jams:
    """What walls and boxes are, to keep boxes that are on no goal from standing jammed.

    Attributes:
        closed: bool [tiles]: walls, and what lies outside.
        box: bool [tiles]: boxes.
        off: bool [tiles]: boxes that are on no goal.
    """

    closed: Mask
    box: Mask
    off: Mask

    @classmethod
    def of(cls, tileset: Tileset) -> Jams:
        """Read the tiles' meanings."""
        box, goal = tileset.flags("box")[:-1], tileset.flags("goal")[:-1]
        return cls(tileset.flags("solid", "void")[:-1] & ~box, box, box & ~goal)

    def over(self, base: npt.NDArray[np.int32]) -> Jams:
        """Return the same for a model's tiles, each of which stands for one of these."""
        return Jams(self.closed[base], self.box[base], self.off[base])

    def jammed(self, tiles: npt.NDArray[np.int32]) -> Mask:
        """Return bool [height, width]: boxes off their goals that can never be moved, as far as two cells away tell.

        The border of the level is a wall.
        """
        around = np.pad(tiles, 1, constant_values=-1)
        outside = around < 0
        closed, off = outside | self.closed[around], ~outside & self.off[around]
        full = closed | self.box[around]
        found = np.zeros(off.shape, np.bool_)
        for down in (-1, 1):
            beside = np.roll(closed, down, axis=0)
            for right in (-1, 1):
                found |= off & beside & np.roll(closed, right, axis=1)
                square = full & np.roll(full, down, axis=0) & np.roll(full, right, axis=1)
                found |= off & square & np.roll(full, (down, right), axis=(0, 1))
        return found[1:-1, 1:-1]

    def allowed(self, scan: npt.NDArray[np.int32], line: int, place: int) -> Mask:
        """Return bool [tiles]: what may stand next in a scan without jamming a box, itself included.

        Args:
            scan: int32 [lines, places], made up to the place before.
            line: Line of the scan.
            place: Place in the line.
        """
        places = scan.shape[1]
        before = scan[line - 1] if line else None

        def look(table: Mask, row: npt.NDArray[np.int32] | None, at: int) -> bool:
            return bool(table[row[at]]) if row is not None and 0 <= at < places else table is self.closed

        off, closed = self.off, self.closed
        corner, beside, last = (before, place - 1), (before, place), (scan[line], place - 1)
        walls = [look(closed, *cell) for cell in (corner, beside, last)]
        boxes = [look(off, *cell) for cell in (corner, beside, last)]
        full = all(wall or look(self.box, *cell) for wall, cell in zip(walls, (corner, beside, last), strict=True))
        ok = np.ones(len(off), np.bool_)
        if full:  # a fourth wall or box would close the square
            ok &= ~off if not any(boxes) else ~(closed | self.box)
        if walls[1] and walls[2]:
            ok &= ~off
        over = look(closed, before, place + 1)
        if (boxes[1] and (walls[0] or over)) or (boxes[2] and walls[0]):
            ok &= ~closed
        return ok


def learn_jams(levels: Sequence[Level]) -> Jams | None:
    """Return what keeps boxes from standing jammed, if they never do in these maps, which have enough of them."""
    jams = Jams.of(levels[0].tileset)
    if not jams.off.any():
        return None
    boxes = sum(int(jams.off[level.tiles].sum()) for level in levels)
    return jams if boxes >= _SUPPORT and not any(jams.jammed(level.tiles).any() for level in levels) else None
