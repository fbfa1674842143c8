"""Hard structure learned from a designer's maps: which tiles must stand beside which, and which may stand at the edges.

Only what the maps never break is learned: a tile whose neighbour on one side is always the same (the right half of a
pipe), parts of pipes whose neighbours are always of a few kinds, and edges that only a few tiles touch (borders).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from newgameplus.games.jams import Jams, learn_jams
from newgameplus.games.scenes import Level, Tileset

__all__ = ["DIRECTIONS", "EDGES", "Structure", "learn_structure", "tile_habits"]

DIRECTIONS = ("up", "down", "left", "right")
EDGES = ("top", "bottom", "left", "right")
_OPPOSITE = {"up": "down", "down": "up", "left": "right", "right": "left"}
_STEPS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
_SUPPORT = 3
_EDGE_SUPPORT = 20
#: Neighbours of a tile that are rarer than this share of all, with those of their kind, are slips of the hand.
_GLITCHES = 0.03


@dataclass(frozen=True, eq=False)
class Structure:
    """What may stand beside what.

    Attributes:
        tileset: The tiles.
        beside: bool [4, tiles, tiles]: by direction of :data:`DIRECTIONS`, whether the second tile may stand on that
            side of the first.
        at_edge: bool [4, tiles]: by edge of :data:`EDGES`, whether a tile may touch it.
        single: Tiles of which every map has exactly one, as bool [tiles].
        groups: bool [groups, tiles]: sets of tiles of which every map has exactly one in all, such as the player on
            floor and the player on a goal.
        jams: How boxes would stand jammed, if they never do in the maps.
    """

    tileset: Tileset
    beside: npt.NDArray[np.bool_]
    at_edge: npt.NDArray[np.bool_]
    single: npt.NDArray[np.bool_]
    groups: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))
    jams: Jams | None = None

    def breaks(self, level: Level) -> list[tuple[int, int]]:
        """Return the cells (row, column) where a level breaks the structure."""
        tiles = level.tiles
        broken = np.zeros(tiles.shape, np.bool_)
        right, down = self.beside[3], self.beside[1]
        broken[:, :-1] |= ~right[tiles[:, :-1], tiles[:, 1:]]
        broken[:-1] |= ~down[tiles[:-1], tiles[1:]]
        top, bottom, left, right_edge = self.at_edge
        broken[0] |= ~top[tiles[0]]
        broken[-1] |= ~bottom[tiles[-1]]
        broken[:, 0] |= ~left[tiles[:, 0]]
        broken[:, -1] |= ~right_edge[tiles[:, -1]]
        if self.jams is not None:
            broken |= self.jams.jammed(tiles)
        return [(int(row), int(column)) for row, column in zip(*np.nonzero(broken), strict=True)]

    def rules(self) -> list[str]:
        """Return the learned rules in words, for people."""
        names = self.tileset.names
        said = []
        for number, direction in enumerate(DIRECTIONS):
            for tile in np.nonzero(~self.beside[number].all(axis=1))[0]:
                allowed = [names[other] for other in np.nonzero(self.beside[number, tile])[0]]
                if len(allowed) <= 4:
                    said.append(f"{names[tile]} has {' or '.join(allowed) or 'nothing'} {_WORDS[direction]}")
        for number, edge in enumerate(EDGES):
            if not self.at_edge[number].all():
                allowed = [names[tile] for tile in np.nonzero(self.at_edge[number])[0]]
                said.append(f"the {edge} edge is of {', '.join(allowed)}")
        if self.jams is not None:
            said.append("no box off its goal stands in a corner of walls, or in a square of walls and boxes")
        return said


_WORDS = {"up": "above", "down": "below", "left": "on its left", "right": "on its right"}


def learn_structure(levels: Sequence[Level]) -> Structure:
    """Learn the hard structure of maps over one tileset.

    A side of a tile is hard when the same one tile always stands there (and never the tile itself, so that plain
    ground does not count), or when the tile means ``pipe``; both sides of a hard pair are then bound. An edge is hard
    when all maps together have at least 20 cells there and all of them are solid or void; besides, no edge may cut a
    structure that it never cut in the maps.
    """
    tileset = levels[0].tileset
    count = len(tileset)
    seen, at_edge = _neighbours(levels, count), np.zeros((4, count), np.int64)
    for level in levels:
        for number, line in enumerate((level.tiles[0], level.tiles[-1], level.tiles[:, 0], level.tiles[:, -1])):
            at_edge[number] += np.bincount(line, minlength=count)
    beside, bound = np.ones((4, count, count), np.bool_), np.zeros((4, count), np.bool_)
    pipes, closed = tileset.flags("pipe")[:-1], tileset.flags("solid")[:-1]
    for number, direction in enumerate(DIRECTIONS):
        for tile in range(count):
            found = _usual(seen[number, tile], bool(pipes[tile]), pipes, closed)
            only = found.sum() == 1 and not found[tile] and not pipes[tile] and not _common(seen, int(found.argmax()))
            if seen[number, tile].sum() >= _SUPPORT and (pipes[tile] or only):
                beside[number, tile] &= found
                bound[number, tile] = only or bool(pipes[found].all())  # there it goes on, whatever comes
                other = DIRECTIONS.index(_OPPOSITE[direction])
                if pipes[tile]:
                    beside[other, :, tile] &= found
    for number, direction in enumerate(DIRECTIONS):  # a pair must be allowed from both of its sides
        other = DIRECTIONS.index(_OPPOSITE[direction])
        both = beside[number] & beside[other].T
        beside[number], beside[other] = both, both.T
    counts = np.array([np.bincount(level.tiles.ravel(), minlength=count) for level in levels])
    single = (counts == 1).all(axis=0) if len(levels) >= _SUPPORT else np.zeros(count, np.bool_)
    edges = _hard_edges(tileset, at_edge) & ~(bound & (at_edge == 0))  # an edge cuts nothing that it never cut
    return Structure(tileset, beside, edges, single, _groups(tileset, counts), learn_jams(levels))


def _groups(tileset: Tileset, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return bool [groups, tiles]: the starts, if there are several kinds and every map has exactly one of them."""
    starts = tileset.flags("start")[:-1]
    one = len(counts) >= _SUPPORT and starts.sum() > 1 and (counts[:, starts].sum(axis=1) == 1).all()
    return np.array([starts], np.bool_) if one else np.zeros((0, len(tileset)), np.bool_)


def _usual(
    seen: npt.NDArray[np.int64], of_pipe: bool, pipes: npt.NDArray[np.bool_], closed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return bool [tiles]: the neighbours of a tile that are no slips of the hand.

    Beside a part of a pipe, all that is solid but no part is judged together, and so is all that is open: a rare enemy
    may stand where there is sky, but sky may not stand where a pipe goes on.
    """
    rare = _GLITCHES * seen.sum()
    usual: npt.NDArray[np.bool_] = np.asarray(seen > rare)
    if of_pipe:
        for kind in (closed & ~pipes, ~closed & ~pipes):
            usual |= kind & (seen > 0) & (seen[kind].sum() > rare)
    return usual


def _common(seen: npt.NDArray[np.int64], tile: int) -> bool:
    """Whether a tile makes up so much of the maps that standing beside it says nothing."""
    return bool(seen[0, tile].sum() > 0.1 * seen[0].sum())


def _neighbours(levels: Sequence[Level], count: int) -> npt.NDArray[np.int64]:
    """Return int64 [4, tiles, tiles]: how often each tile stands on each side of each."""
    seen = np.zeros((4, count, count), np.int64)
    for level in levels:
        tiles = level.tiles
        np.add.at(seen[3], (tiles[:, :-1].ravel(), tiles[:, 1:].ravel()), 1)
        np.add.at(seen[1], (tiles[:-1].ravel(), tiles[1:].ravel()), 1)
    seen[2], seen[0] = seen[3].T, seen[1].T
    return seen


def _hard_edges(tileset: Tileset, at_edge: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    closed = tileset.flags("solid", "void")[:-1]
    allowed = np.ones(at_edge.shape, np.bool_)
    for number in range(4):
        found = at_edge[number] > 0
        if at_edge[number].sum() >= _EDGE_SUPPORT and found.any() and closed[found].all():
            allowed[number] = found
    return allowed


def tile_habits(levels: Sequence[Level]) -> npt.NDArray[np.float64]:
    """Return float64 [tiles, 12]: how each tile is used.

    For each side of :data:`DIRECTIONS`, how often the same tile, a solid one and an empty one stands there, in 0..1;
    zeros for tiles that do not occur.
    """
    tileset = levels[0].tileset
    count = len(tileset)
    seen = _neighbours(levels, count).astype(np.float64)
    shares = seen / np.maximum(seen.sum(axis=2, keepdims=True), 1.0)
    solid, empty = tileset.flags("solid")[:-1], tileset.flags("empty")[:-1]
    same = shares[:, np.arange(count), np.arange(count)]
    stacked = np.stack([same, shares[..., solid].sum(axis=2), shares[..., empty].sum(axis=2)], axis=-1)
    return np.asarray(stacked.transpose(1, 0, 2).reshape(count, 12))
