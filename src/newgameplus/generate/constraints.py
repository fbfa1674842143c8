"""What may stand where while a level is made: hard structure, exact counts and fixed tiles, as masks over tiles.

Before a column is sampled, tiles that could not be continued within it are ruled out from its top downwards, so that
sampling never runs into a corner inside of a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from newgameplus.games.conditions import Request
from newgameplus.games.jams import Jams
from newgameplus.games.measures import find_measure
from newgameplus.games.scanning import Order
from newgameplus.games.scenes import Level
from newgameplus.games.structure import DIRECTIONS, EDGES, Structure

__all__ = ["CountLimits", "Frame"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Frame:
    """Hard structure in the frame of the scan.

    Attributes:
        after: bool [tiles, tiles]: whether the second tile may follow the first within a line of the scan.
        beyond: bool [tiles, tiles]: whether the second may stand beside the first in the next line.
        first, last: bool [tiles]: tiles that may stand at the first and last place of a line.
        left, right: bool [tiles]: tiles that may stand in the first and last line.
        single: bool [tiles]: tiles of which a level has exactly one, before any twins.
        groups: bool [groups, tiles]: sets of tiles of which a level has exactly one in all, before any twins.
        jams: How boxes would stand jammed, where they must not.
    """

    after: Mask
    beyond: Mask
    first: Mask
    last: Mask
    left: Mask
    right: Mask
    single: Mask
    groups: Mask | None = None
    jams: Jams | None = None

    @classmethod
    def of(cls, structure: Structure, order: Order, base: npt.NDArray[np.int32] | None = None) -> Frame:
        """Turn learned structure into the frame of a scan.

        Args:
            structure: What was learned.
            order: How levels grow.
            base: int32 [model's tiles]: the tile that each stands for, where the model tells more of them apart.
        """
        beside = dict(zip(DIRECTIONS, structure.beside, strict=True))
        edge = dict(zip(EDGES, structure.at_edge, strict=True))
        if order == "columns":
            parts = (beside["up"], beside["right"], edge["bottom"], edge["top"], edge["left"], edge["right"])
        else:
            parts = (beside["right"], beside["down"], edge["left"], edge["right"], edge["top"], edge["bottom"])
        if base is not None:
            parts = tuple(part[base][:, base] if part.ndim == 2 else part[base] for part in parts)
        jams = structure.jams.over(base) if structure.jams is not None and base is not None else structure.jams
        return cls(*parts, structure.single, structure.groups, jams)

    @classmethod
    def free(cls, tiles: int, plain: int | None = None) -> Frame:
        """Return a frame in which anything goes, for the model's tiles and how many of them are no twins."""
        pair, one = np.ones((tiles, tiles), np.bool_), np.ones(tiles, np.bool_)
        return cls(pair, pair, one, one, one, one, np.zeros(tiles if plain is None else plain, np.bool_))

    def next(self, scan: npt.NDArray[np.int32], line: int, place: int) -> Mask:
        """Return bool [tiles]: what may stand next to what was made last.

        Args:
            scan: int32 [lines, places], made up to the place before.
            line: Line of the scan.
            place: Place in the line.
        """
        allowed = self.after[scan[line, place - 1]] if place else np.ones(len(self.first), np.bool_)
        return allowed if self.jams is None else allowed & self.jams.allowed(scan, line, place)

    def line(
        self,
        before: npt.NDArray[np.int32] | None,
        fixed: npt.NDArray[np.int32],
        following: npt.NDArray[np.int32] | None,
        is_last: bool,
    ) -> Mask:
        """Return bool [places, tiles]: what may stand at each place of a line so that the line can be finished.

        Args:
            before: int32 [places]: the line before; None at the left edge.
            fixed: int32 [places]: tiles that are given, -1 where none is.
            following: int32 [places]: given tiles of the next line, -1 where none is.
            is_last: Whether this is the last line of the level.
        """
        places = len(fixed)
        allowed = np.ones((places, len(self.first)), np.bool_)
        if before is None:
            allowed &= self.left
        else:
            allowed &= np.where((before >= 0)[:, None], self.beyond[before], True)
        if following is not None:
            allowed &= np.where((following >= 0)[:, None], self.beyond.T[following], True)
        allowed &= self.right if is_last else self.beyond.any(axis=1)
        allowed[0] &= self.first
        allowed[-1] &= self.last
        given = fixed >= 0
        allowed[given] = False
        allowed[given, fixed[given]] = True  # what is given stays, even where it breaks the structure
        for place in range(places - 2, -1, -1):
            if given[place]:
                continue
            onward = (self.after & allowed[place + 1]).any(axis=1)
            if (allowed[place] & onward).any():
                allowed[place] &= onward
        return allowed


class CountLimits:
    """Counts that were asked for exactly or as a range, watched tile by tile.

    Args:
        requests: What is asked; measures that do not count tiles are left to the verifier.
        level: Any level of the game.
        single: Tiles of which there must be exactly one.
        base: int32 [model's tiles]: the tile that each stands for; None where they are the same.
        groups: Sets of tiles of which there must be exactly one in all.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        level: Level,
        single: Mask,
        base: npt.NDArray[np.int32] | None = None,
        groups: Mask | None = None,
    ) -> None:
        flags, lows, highs = [], [], []
        for request in requests:
            one = find_measure(request.measure, level)
            if one.meanings:
                flags.append(level.tileset.flags(*one.meanings)[:-1])
            elif request.measure.startswith("tile:"):
                flags.append(np.arange(len(level.tileset)) == level.tileset.index[request.measure[5:]])
            else:
                continue
            lows.append(request.low)
            highs.append(request.high)
        self.asked = len(flags)
        asked = np.array(flags, np.bool_).reshape(-1, len(single)).any(axis=0)
        for tile in np.nonzero(single & ~asked)[0]:  # who asks for two boxes gets two, even if every map has one
            flags.append(np.arange(len(single)) == tile)
            lows.append(1.0)
            highs.append(1.0)
        for group in () if groups is None else groups:
            flags.append(group)
            lows.append(1.0)
            highs.append(1.0)
        plain: Mask = np.array(flags, np.bool_).reshape(-1, len(single))
        self.flags: Mask = plain if base is None else plain[:, base]
        self.low, self.high = np.array(lows), np.array(highs)

    def broken(self, scan: npt.NDArray[np.int32], fixed: npt.NDArray[np.int32]) -> bool:
        """Whether a tile that every map has exactly once is missing, or there more than once."""
        counts = self.counts(scan, fixed)[self.asked :]
        return bool(((counts < self.low[self.asked :]) | (counts > self.high[self.asked :])).any())

    def counts(self, scan: npt.NDArray[np.int32], fixed: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """Return float64 [limits]: what stands already, with what is fixed further on."""
        there = np.where(scan >= 0, scan, fixed)
        return np.array([flag[there[there >= 0]].sum() for flag in self.flags], np.float64)

    def allowed(self, counts: npt.NDArray[np.float64]) -> Mask:
        """Return bool [tiles]: tiles of which there may be one more."""
        full = counts >= self.high
        return np.asarray(~self.flags[full].any(axis=0)) if full.any() else np.ones(self.flags.shape[1], np.bool_)

    def pressure(self, counts: npt.NDArray[np.float64], done: float) -> npt.NDArray[np.float64]:
        """Return float64 [tiles]: what to add to logits so that a count still missing late is made up for.

        Args:
            counts: What stands.
            done: Share of the level that is made.
        """
        bias = np.zeros(self.flags.shape[1])
        if done > 0.6:
            for flag, low, count in zip(self.flags, self.low, counts, strict=True):
                if count < low:
                    bias[flag] += 4.0 * (done - 0.6) + 0.5 * min(low - count, 4.0) * (done > 0.9)
        return bias
