"""A top-down level as a small graph: rooms that one can walk about in freely, and the doors and one-way steps between.

Cells are numbered row by row. Cells that can be walked between both ways without opening a door are one *node*, found
as strongly connected parts; each door (door tiles of one kind that touch are one door) is a node of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from newgameplus.games.rules.contract import Cell
from newgameplus.games.scenes import Level

__all__ = ["Graph", "Ground", "Options", "build_graph", "kinds_of", "read_ground"]

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int32]

#: Steps (down, right) and the meaning that a cell must have, if it has any of them, to be entered that way.
_STRAIGHT = {"one-way-up": (-1, 0), "one-way-down": (1, 0), "one-way-left": (0, -1), "one-way-right": (0, 1)}
_SLANTED = ((-1, -1), (-1, 1), (1, -1), (1, 1))


@dataclass(frozen=True)
class Options:
    """How tiles are taken; see :class:`newgameplus.games.rules.top_down.TopDown`."""

    diagonal: bool = False
    hazards: Literal["blocks", "passable"] = "blocks"
    liquid: Literal["blocks", "passable"] = "blocks"
    breakable: Literal["blocks", "passable"] = "blocks"
    keys: Literal["spent", "kept"] = "spent"
    doors: Literal["auto", "need-keys", "open"] = "auto"
    door_depth: Literal["auto"] | int = "auto"
    start: Literal["auto", "needed", "free"] = "auto"
    goals: Literal["all", "any", "none"] = "all"
    share: Literal["auto"] | float = "auto"
    pieces: Literal["auto", "one", "any"] = "auto"

    def doors_open(self, level: Level) -> bool:
        """Say whether doors are open from the first: so told, or no tile of the tileset is a key."""
        return (
            self.pieces == "any"
            or self.doors == "open"
            or (self.doors == "auto" and not level.tileset.flags("key").any())
        )

    def depth(self, level: Level) -> int:
        """Return how many solid cells may lie between two doors that face each other and lead into one another."""
        if self.door_depth == "auto":
            return 2 if self.doors_open(level) else 0
        return int(self.door_depth)

    def least_share(self, level: Level) -> float:
        """Return the share of the cells that must be within reach where most must."""
        if self.share == "auto":
            return 0.7 if self.in_pieces(level) else 0.9
        return float(self.share)

    def in_pieces(self, level: Level) -> bool:
        """Say whether the map does not show how it hangs together: open doors, but no start, key or goal."""
        if self.pieces != "auto":
            return self.pieces == "any"
        flags = level.tileset.flags
        return bool(flags("door").any()) and self.doors_open(level) and not flags("start", "key", "goal").any()

    def covers(self, level: Level) -> bool:
        """Say whether the aim is to reach most cells, as there are no goals to reach."""
        return self.goals == "none" or not level.tileset.flags("goal").any()


@dataclass(frozen=True, eq=False)
class Ground:
    """What each cell is to a walker; arrays are [height, width].

    Attributes:
        passable: bool: cells that can ever be entered, doors and the passages between facing doors included.
        doors: int32: number of the locked door a cell belongs to, else -1.
        door_kinds: Kind of each door (``red`` of ``door:red``, else empty).
        passages: int8: 1 where one only passes left and right, from door to door; 2 where up and down; else 0.
        one_way: int8: set of the ways in which a cell can be entered, in bits 0 up, 1 down, 2 left, 3 right; 0 is any.
    """

    passable: Mask
    doors: Numbers
    door_kinds: tuple[str, ...]
    passages: npt.NDArray[np.int8]
    one_way: npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Graph:
    """Rooms, doors and the steps between them.

    Attributes:
        width: Columns of the level, to turn cell numbers into cells.
        nodes: int32 [cells]: node of each cell, -1 where none can walk.
        near: For each cell, the cells one step away, all doors open.
        out: For each node, the nodes that a step leads to.
        into: For each node, the nodes that a step leads from.
        door: For each node, the number of its door, or -1.
        door_nodes: Node of each door.
        door_kinds: Kind of each door.
        one_way: Whether any step between nodes has no step back.
    """

    width: int
    nodes: Numbers
    near: list[list[int]]
    out: list[list[int]]
    into: list[list[int]]
    door: list[int]
    door_nodes: list[int]
    door_kinds: tuple[str, ...]
    one_way: bool

    def cell(self, number: int) -> Cell:
        """Return (row, column) of a cell's number."""
        row, column = divmod(number, self.width)
        return row, column


def kinds_of(level: Level, meaning: str) -> list[str | None]:
    """Return for each tile of the tileset its kind of key or door: ``red`` of ``key:red``, empty for a plain one."""
    kinds: list[str | None] = []
    for tile in level.tileset.tiles:
        own = sorted(one for one in tile.meanings if one.split(":")[0] == meaning)
        kinds.append(own[0].partition(":")[2] if own else None)
    return kinds


def read_ground(level: Level, options: Options) -> Ground:
    """Return what each cell of a level is to a walker."""
    where = level.where
    blocked = where("solid", "void", "box")
    if options.hazards == "blocks":
        blocked = blocked | where("hazard")
    if options.liquid == "blocks":
        blocked = blocked | (where("liquid") & ~where("empty"))
    breakable = where("breakable")
    blocked = blocked | breakable if options.breakable == "blocks" else blocked & ~(breakable & ~where("void"))
    doors = where("door") & ~where("start")
    passages = _passages(doors, where("solid") & ~doors, options.depth(level))
    passable = ~blocked | doors | where("start") | (passages > 0)
    numbers, kinds = _number_doors(level, doors, passages)
    if options.doors_open(level):
        numbers, kinds = np.full(doors.shape, -1, np.int32), ()
    one_way = np.zeros(doors.shape, np.int8)
    for bit, meaning in enumerate(_STRAIGHT):
        one_way |= (where(meaning).astype(np.int8) << bit).astype(np.int8)
    one_way[doors | (passages > 0)] = 0
    return Ground(passable, numbers, kinds, passages, one_way)


def _passages(doors: Mask, solid: Mask, depth: int) -> npt.NDArray[np.int8]:
    """Mark the solid cells between two doors that face each other with at most ``depth`` of them between."""
    marks = np.zeros(doors.shape, np.int8)
    for axis, mark in ((1, 1), (0, 2)):
        # Views, so that both axes are walked as columns of rows.
        door, wall, marked = (array if axis == 1 else array.T for array in (doors, solid, marks))
        for gap in range(1, min(depth, door.shape[1] - 2) + 1):
            last = door.shape[1] - gap - 1
            facing = door[:, :last] & door[:, gap + 1 :]
            for step in range(1, gap + 1):
                facing = facing & wall[:, step : last + step]
            for step in range(1, gap + 1):
                part = marked[:, step : last + step]
                part[facing & (part == 0)] = mark
    return marks


def _number_doors(level: Level, doors: Mask, passages: npt.NDArray[np.int8]) -> tuple[Numbers, tuple[str, ...]]:
    """Number the doors: cells of one kind that touch, or that face each other through a passage, are one."""
    numbers = np.full(doors.shape, -1, np.int32)
    if not doors.any():
        return numbers, ()
    from scipy import ndimage  # type: ignore[import-untyped]

    kinds: list[str] = []
    of_tile = kinds_of(level, "door")
    for kind in sorted({kind for kind in of_tile if kind is not None}):
        own = np.array([*(one == kind for one in of_tile), False])[level.tiles] & doors
        labels, count = ndimage.label(own | (passages > 0))
        number = np.full(count + 1, -1, np.int32)
        real = np.unique(labels[own])
        number[real] = np.arange(len(kinds), len(kinds) + len(real))
        numbers = np.where(number[labels] >= 0, number[labels], numbers)
        kinds += [kind] * len(real)
    return numbers, tuple(kinds)


def build_graph(ground: Ground, diagonal: bool) -> Graph:
    """Return the graph of a level's rooms and doors."""
    from scipy.sparse import coo_matrix  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    height, width = ground.passable.shape
    total = height * width
    source, target = _steps(ground, diagonal)
    doors = ground.doors.ravel()
    inside = doors[source] == doors[target]
    links = coo_matrix((np.ones(int(inside.sum()), np.int8), (source[inside], target[inside])), (total, total))
    labels = connected_components(links, directed=True, connection="strong")[1]
    walkable = ground.passable.ravel()
    nodes = np.full(total, -1, np.int32)
    nodes[walkable] = np.unique(labels[walkable], return_inverse=True)[1]
    count = int(nodes.max(initial=-1)) + 1
    door = np.full(count, -1, np.int32)
    door[nodes[walkable]] = doors[walkable]
    codes = nodes[source].astype(np.int64) * count + nodes[target]
    codes = np.unique(codes[nodes[source] != nodes[target]])
    first, second = np.divmod(codes, max(1, count))
    one_way = not np.isin(second * count + first, codes).all()
    door_nodes = [0] * len(ground.door_kinds)
    for node in np.flatnonzero(door >= 0):
        door_nodes[door[node]] = int(node)
    near, out, into = _lists(source, target, total), _lists(first, second, count), _lists(second, first, count)
    return Graph(width, nodes, near, out, into, door.tolist(), door_nodes, ground.door_kinds, one_way)


def _lists(source: npt.NDArray[np.int64], target: npt.NDArray[np.int64], total: int) -> list[list[int]]:
    order = np.argsort(source, kind="stable")
    ends = np.cumsum(np.bincount(source, minlength=total)).tolist()
    flat = target[order].tolist()
    return [flat[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _steps(ground: Ground, diagonal: bool) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the cells that steps lead from and to, all doors open."""
    cells = np.arange(ground.passable.size).reshape(ground.passable.shape)
    sources, targets = [], []
    for bit, (down, right) in enumerate(_STRAIGHT.values()):
        here, there = _shifted(ground.passable.shape, down, right)
        crossing = 2 if right else 1
        fits = ground.passable[here] & ground.passable[there]
        fits &= (ground.passages[here] != crossing) & (ground.passages[there] != crossing)
        fits &= (ground.one_way[there] == 0) | (ground.one_way[there] >> bit & 1 > 0)
        sources.append(cells[here][fits])
        targets.append(cells[there][fits])
    # Slanted steps cut no corners, and go neither through doors nor one-way cells.
    plain = ground.passable & (ground.doors < 0) & (ground.one_way == 0) & (ground.passages == 0)
    for down, right in _SLANTED if diagonal else ():
        here, there = _shifted(plain.shape, down, right)
        beside, above = _corners(plain.shape, down, right)
        fits = plain[here] & plain[there] & plain[beside] & plain[above]
        sources.append(cells[here][fits])
        targets.append(cells[there][fits])
    return np.concatenate(sources), np.concatenate(targets)


_Slices = tuple[slice, slice]


def _span(step: int, length: int) -> tuple[slice, slice]:
    here, there = slice(max(0, -step), length - max(0, step)), slice(max(0, step), length - max(0, -step))
    return here, there


def _shifted(shape: tuple[int, ...], down: int, right: int) -> tuple[_Slices, _Slices]:
    """Return the cells that have a neighbor in a direction, and those neighbors."""
    (top, bottom), (left, far) = _span(down, shape[0]), _span(right, shape[1])
    return (top, left), (bottom, far)


def _corners(shape: tuple[int, ...], down: int, right: int) -> tuple[_Slices, _Slices]:
    """Return the two cells that a slanted step passes between."""
    (top, bottom), (left, far) = _span(down, shape[0]), _span(right, shape[1])
    return (top, far), (bottom, left)
