"""Which cells of a platformer's level lead to which, and the shortest way through them.

A player in the middle of a jump can do all that one who falls from there can, so cells alone are states: an edge for
every cell that a jump passes, with the number of its steps as its length. All edges are made at once with NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.games.rules.platformer_physics import Bools, Physics, Terrain

__all__ = ["Graph", "Search", "build_graph"]

Ints = npt.NDArray[np.int64]
WALK, FALL, CLIMB, JUMP = 0, 1, 2, 3
"""Kinds of edges; from ``JUMP`` on, a jump and direction times the steps of the longest arc, plus the step."""

_TAKE_OFF = 0.25
"""What a jump costs besides its steps, so that of two ways as long the one with fewer jumps is taken."""


@dataclass(frozen=True, eq=False)
class Graph:
    """Edges between cells, sorted by source.

    Attributes:
        shape: Height and width of the level.
        source: int64 [edges]: cell an edge leaves, row by row.
        target: int64 [edges]: cell it enters.
        kind: int64 [edges]: what the player does.
        length: float64 [edges]: steps, and a little for each take-off.
        steps: Steps of the longest arc.
    """

    shape: tuple[int, int]
    source: Ints
    target: Ints
    kind: Ints
    length: npt.NDArray[np.float64]
    steps: int

    @cached_property
    def offsets(self) -> Ints:
        """int64 [cells + 1]: where each cell's edges begin."""
        counts = np.bincount(self.source, minlength=self.shape[0] * self.shape[1])
        return np.concatenate([[0], np.cumsum(counts)])

    def search(self, starts: Ints) -> Search:
        """Find the shortest ways from some cells."""
        from scipy.sparse import csr_array  # type: ignore[import-untyped]
        from scipy.sparse.csgraph import dijkstra  # type: ignore[import-untyped]

        cells = self.shape[0] * self.shape[1]
        lengths = np.append(self.length, np.ones(len(starts)))
        targets = np.append(self.target, starts)
        offsets = np.append(self.offsets, len(lengths))
        matrix = csr_array((lengths, targets, offsets), shape=(cells + 1, cells + 1))
        distances, before = dijkstra(matrix, indices=cells, return_predecessors=True)
        return Search(self, distances[:cells], before[:cells])

    def edge(self, source: int, target: int) -> int:
        """Return the shortest edge between two cells that have one."""
        first, end = int(self.offsets[source]), int(self.offsets[source + 1])
        fitting = first + np.flatnonzero(self.target[first:end] == target)
        return int(fitting[np.argmin(self.length[fitting])])


@dataclass(frozen=True, eq=False)
class Search:
    """Shortest ways from the starts.

    Attributes:
        graph: What was searched.
        distance: float64 [cells]: infinite where one cannot get.
        before: int32 [cells]: the cell before on the way; negative, or the number of cells, where there is none.
    """

    graph: Graph
    distance: npt.NDArray[np.float64]
    before: npt.NDArray[np.int32]

    @property
    def reached(self) -> Bools:
        """Bool [height, width]: where a player can stop, land, or be in the air."""
        return np.isfinite(self.distance).reshape(self.graph.shape)

    def way_to(self, goal: int, physics: Physics) -> tuple[list[tuple[int, int]], list[list[Any]]]:
        """Return the cells from a start to ``goal``, and what is done between each two.

        That is ``["walk"]``, ``["fall"]``, ``["climb"]`` or ``["jump", arc, 1 or -1, step]``, the sign for the side.
        """
        hops = [goal]
        while 0 <= self.before[hops[-1]] < len(self.before):
            hops.append(int(self.before[hops[-1]]))
        hops.reverse()
        width = self.graph.shape[1]
        cells = [divmod(hops[0], width)]
        deeds: list[list[Any]] = []
        for source, target in pairwise(hops):
            kind = int(self.graph.kind[self.graph.edge(source, target)])
            if kind < JUMP:
                cells.append(divmod(target, width))
                deeds.append([("walk", "fall", "climb")[kind]])
                continue
            jump, last = divmod(kind - JUMP, self.graph.steps)
            row, column = cells[-1]
            for step in range(last + 1):
                down, across = physics.deltas[jump, step].tolist()
                row, column = max(0, row + down), column + across
                cells.append((row, column))
                deeds.append(["jump", jump // 2, 1 - 2 * (jump % 2), step])
        return cells, deeds


def build_graph(terrain: Terrain, physics: Physics, stops: Bools) -> Graph:
    """Make all edges of a level.

    Args:
        terrain: What its cells do.
        physics: What the player can do.
        stops: bool [height, width]: cells where an arc may end even if it may be left only where it lands.
    """
    height, width = terrain.free.shape
    parts = [*_steps(terrain, physics), *_jumps(terrain, physics, stops)]
    source, target, kind, length = (np.concatenate(values) for values in zip(*parts, strict=True))
    order = np.argsort(source, kind="stable")
    return Graph(
        (height, width), source[order], target[order], kind[order], length[order], max(1, physics.deltas.shape[1])
    )


_Edges = tuple[Ints, Ints, Ints, npt.NDArray[np.float64]]


def _edges(source: Ints, target: Ints, kind: Ints | int, length: float) -> _Edges:
    return source, target, np.broadcast_to(np.int64(kind), source.shape), np.full(source.shape, length)


def _steps(terrain: Terrain, physics: Physics) -> list[_Edges]:
    """Walking, climbing and falling: every move of one cell."""
    up_or_down = terrain.floating.copy()
    up_or_down[:-1] |= terrain.floating[1:] & terrain.free[:-1]
    falling = terrain.free & ~terrain.supported
    found = [
        _moves(terrain.supported, terrain.free, (0, 1), WALK, 1.0),
        _moves(terrain.supported, terrain.free, (0, -1), WALK, 1.0),
        _moves(terrain.floating, terrain.free, (-1, 0), CLIMB, 1.0),
        _moves(up_or_down, terrain.from_above, (1, 0), CLIMB, 1.0),
        _moves(falling, terrain.from_above, (1, 0), FALL, 1.0),
    ]
    if physics.drift:
        below = np.zeros_like(falling)
        below[:-1] = terrain.from_above[1:]
        found += [_moves(falling & below, terrain.from_above, (1, side), FALL, 1.4) for side in (1, -1)]
    return found


def _moves(where: Bools, into: Bools, step: tuple[int, int], kind: int, length: float) -> _Edges:
    """Edges from every cell ``where`` to the cell a ``step`` further, if it is one of ``into``."""
    height, width = where.shape
    rows, columns = np.nonzero(where)
    to_rows, to_columns = rows + step[0], columns + step[1]
    inside = (to_rows >= 0) & (to_rows < height) & (to_columns >= 0) & (to_columns < width)
    rows, columns, to_rows, to_columns = (array[inside] for array in (rows, columns, to_rows, to_columns))
    enters = into[to_rows, to_columns]
    return _edges((rows * width + columns)[enters], (to_rows * width + to_columns)[enters], kind, length)


def _jumps(terrain: Terrain, physics: Physics, stops: Bools) -> list[_Edges]:
    """Jumps from everywhere at once, a step of all arcs at a time."""
    height, width = terrain.free.shape
    deltas = physics.deltas
    arcs, steps = deltas.shape[:2]
    rows, columns = np.nonzero(terrain.supported)
    from_, arc = np.repeat(rows * width + columns, arcs), np.tile(np.arange(arcs), len(rows))
    row, column = np.repeat(rows, arcs), np.repeat(columns, arcs)
    anywhere, ends = physics.leave == "anywhere", terrain.supported | stops
    found: list[_Edges] = []
    for step in range(steps):
        to_row, to_column = row + deltas[arc, step, 0], column + deltas[arc, step, 1]
        if physics.above:
            down = np.maximum(to_row, 0) > row
            to_row = np.maximum(to_row, 0)
        else:
            down = to_row > row
        going = (deltas[arc, step, 0] != 9) & (to_row >= 0) & (to_row < height) & (to_column >= 0) & (to_column < width)
        inside_row, inside_column = np.where(going, to_row, 0), np.where(going, to_column, 0)
        going &= np.where(down, terrain.from_above[inside_row, inside_column], terrain.free[inside_row, inside_column])
        if not anywhere and step:
            over = ~going & ~ends[row, column]
            found.append(_landed(from_[over], row[over] * width + column[over], arc[over], step - 1, steps))
        from_, arc, row, column = from_[going], arc[going], to_row[going], to_column[going]
        leave = slice(None) if anywhere or step == steps - 1 else ends[row, column]
        found.append(_landed(from_[leave], row[leave] * width + column[leave], arc[leave], step, steps))
    return found


def _landed(source: Ints, target: Ints, arc: Ints, step: int, steps: int) -> _Edges:
    kind = JUMP + arc * steps + step
    return source, target, kind, np.full(source.shape, step + 1 + _TAKE_OFF)
