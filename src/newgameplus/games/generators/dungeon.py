"""Dungeons seen from above: rooms on a grid, doors in the middle of their walls, locked ones with keys before them,
one-way passages back, monsters, blocks, and nothing where no room is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from newgameplus.games.generators.canvas import (
    Cell,
    Grid,
    Mask,
    Style,
    between,
    blank,
    chance,
    pick,
    rate,
    shares,
    spread,
    subrange,
)
from newgameplus.games.generators.dungeon_plan import Join, Plan, draw_plan
from newgameplus.games.generators.room_interiors import PATTERNS, draw_pattern, furnish

__all__ = ["NAME", "RULES", "SIZES", "TILES", "draw_style", "generate"]

NAME = "dungeon"
RULES = "top-down"
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({"height": (11, 66), "width": (11, 72)})
TILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        ":": ("void",),
        "#": ("solid",),
        ".": ("empty",),
        "+": ("empty",),  # a doorway
        "D": ("door",),
        "k": ("key",),
        "R": ("door:red",),
        "r": ("key:red",),
        "B": ("door:blue",),
        "b": ("key:blue",),
        "A": ("one-way-up",),
        "V": ("one-way-down",),
        "<": ("one-way-left",),
        ">": ("one-way-right",),
        "o": ("solid",),  # a block of stone
        "n": ("box",),  # a block that can be pushed
        "x": ("solid", "breakable"),
        "~": ("liquid", "solid"),
        "L": ("liquid", "hazard"),
        "^": ("hazard",),
        "m": ("enemy",),
        "g": ("enemy",),
        "M": ("enemy",),  # the one before the goal
        "$": ("collectable",),
        ",": ("decoration",),
        "S": ("start",),
        "G": ("goal",),
    }
)
_ARROWS = {(-1, 0): "A", (1, 0): "V", (0, -1): "<", (0, 1): ">"}
_LOCKS = (("D", "k"), ("R", "r"), ("B", "b"))


def draw_style(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one designer's taste: size of rooms and walls, plan, what stands and lives in the rooms."""
    wall = pick(rng, (1, 1, 2))
    even = pick(rng, (0, 1))
    rows, columns = pick(rng, ((11, 16), (16, 11), (9, 9), (7, 11), (8, 10), (10, 12), (6, 8), (12, 12)))
    rows, columns = rows + even * (chance(rng, 0.5)), columns + even * (chance(rng, 0.5))
    wall = 1 if min(rows, columns) < 9 else wall
    shared = wall == 1 and chance(rng, 0.4)
    locks = between(rng, 0, 2)
    fits = [(66 - shared) // (rows - shared), (72 - shared) // (columns - shared)]
    down, right = subrange(rng, 2, min(6, fits[0]), 1), subrange(rng, 2, min(7, fits[1]), 1)
    return {
        "height": [shared + number * (rows - shared) for number in down],
        "width": [shared + number * (columns - shared) for number in right],
        "height_step": rows - shared,
        "width_step": columns - shared,
        "room": [rows, columns],
        "wall": wall,
        "shared": shared,
        "door": pick(rng, (1, 1, 2, 3)) if min(rows, columns) >= 9 else 1,
        "door_tile": pick(rng, ("+", ".")),
        "filled": rate(rng, 0.45, 1.0),
        "winding": rate(rng, 0.1, 0.8),
        "locks": [locks, locks + between(rng, 0, 2)],
        "colors": pick(rng, (1, 1, 2, 3)),
        "loops": pick(rng, (0.0, rate(rng, 0.2, 0.8)), (1, 2)),
        "one_ways": pick(rng, (0.0, rate(rng, 0.3, 1.0)), (1, 2)),
        "outside": pick(rng, (":", ":", "#")),
        "patterns": shares(rng, [name for name in PATTERNS if name != "empty"], 3, 7) | {"empty": rate(rng, 0.2, 1.0)},
        "blocks": shares(rng, ("o", "~", "L", "#", "x"), 1, 2),
        "monsters": pick(rng, (0.0, rate(rng, 0.3, 1.0), rate(rng, 0.5, 2.5))),
        "pushable": pick(rng, (0.0, rate(rng, 0.1, 0.5))),
        "treasure": rate(rng, 0.0, 0.8),
        "spikes": pick(rng, (0.0, rate(rng, 0.1, 0.5))),
        "carpet": pick(rng, (0.0, rate(rng, 0.1, 0.5)), (2, 1)),
        "boss": chance(rng, 0.5),
    }


def generate(rng: np.random.Generator, height: int, width: int, style: Style) -> Grid | None:
    """Return one dungeon; what the rooms leave over at the right and bottom stays outside."""
    drawer = _Drawer(rng, blank(height, width, str(style["outside"])), style)
    plan = draw_plan(rng, *drawer.places, style)
    for room in plan.rooms:
        drawer.walls(room)
    for join in plan.joins:
        drawer.join(join)
    for room in plan.rooms:
        drawer.inside(room, plan)
    drawer.things(plan)
    return drawer.grid


class _Drawer:
    """Draws a plan's rooms into a grid."""

    def __init__(self, rng: np.random.Generator, grid: Grid, style: Style) -> None:
        self.rng, self.grid, self.style = rng, grid, style
        self.wall, self.overlap = int(style["wall"]), int(bool(style["shared"]))
        (height, width), (self.tall, self.wide) = grid.shape, style["room"]
        # A level that is asked to be small gets smaller rooms: at least two must fit, side by side.
        self.tall, self.wide = min(self.tall, height), min(self.wide, (width + self.overlap) // 2)
        if min(self.tall, self.wide) < 7:
            self.wall = 1
        down, right = self.tall - self.overlap, self.wide - self.overlap
        self.places = ((height - self.overlap) // down, (width - self.overlap) // right)
        spare = (height - self.places[0] * down - self.overlap, width - self.places[1] * right - self.overlap)
        self.corner = (spare[0] // 2, spare[1] // 2)
        self.doors: dict[Cell, list[Cell]] = {}
        self.free: dict[Cell, Mask] = {}

    def origin(self, room: Cell) -> Cell:
        """Return the first row and column of a room, its wall included."""
        down, right = self.tall - self.overlap, self.wide - self.overlap
        return self.corner[0] + room[0] * down, self.corner[1] + room[1] * right

    def part(self, room: Cell) -> Grid:
        """Return a view of a room without its walls."""
        (top, left), wall = self.origin(room), self.wall
        return self.grid[top + wall : top + self.tall - wall, left + wall : left + self.wide - wall]

    def walls(self, room: Cell) -> None:
        """Draw a room's walls and an empty floor."""
        top, left = self.origin(room)
        self.grid[top : top + self.tall, left : left + self.wide] = "#"
        self.part(room)[...] = "."

    def join(self, join: Join) -> None:
        """Cut a way through the walls between two rooms, and bar it as the plan says."""
        one, other = join.rooms
        first, second = sorted((one, other))
        (top, left), across = self.origin(first), first[0] != second[0]
        deep = 2 * self.wall - self.overlap
        size = min(int(self.style["door"]), (self.wide if across else self.tall) - 2 * self.wall)
        middle = ((self.wide if across else self.tall) - size) // 2
        if across:
            way = self.grid[top + self.tall - self.wall :, left + middle : left + middle + size][:deep]
        else:
            way = self.grid[top + middle : top + middle + size, left + self.wide - self.wall :][:, :deep].T
        way[...] = str(self.style["door_tile"])
        if join.kind == "locked":
            way[(deep - 1) // 2] = _LOCKS[join.color][0]
        elif join.kind == "one-way":
            way[(deep - 1) // 2] = _ARROWS[other[0] - one[0], other[1] - one[1]]
        for room, side in ((first, -1), (second, 0)):
            inner = (self.wide if across else self.tall) - 2 * self.wall
            along = [middle - self.wall + number for number in range(size)]
            line = (self.tall if across else self.wide) - 2 * self.wall - 1 if side else 0
            cells = [(line, place) if across else (place, line) for place in along if 0 <= place < inner]
            self.doors.setdefault(room, []).extend(cells)

    def inside(self, room: Cell, plan: Plan) -> None:
        """Put a pattern of blocks into a room; start and goal rooms stay calm."""
        rng, part = self.rng, self.part(room)
        patterns = self.style["patterns"]
        plain = room == plan.rooms[0] or chance(rng, 0.1)
        pattern = np.zeros(part.shape, np.bool_) if plain else draw_pattern(rng, patterns, *part.shape)
        pattern = furnish(pattern, self.doors.get(room, []))
        blocks = self.style["blocks"]
        part[pattern] = pick(rng, list(blocks), list(blocks.values()))
        if chance(rng, float(self.style["carpet"])):
            inner = part[1:-1, 1:-1]
            inner[inner == "."] = ","
        self.free[room] = ~pattern
        for row, column in self.doors.get(room, []):
            self.free[room][max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = False

    def things(self, plan: Plan) -> None:
        """Put start, goal, keys, treasure, monsters and dangers into the rooms."""
        keys: dict[Cell, list[str]] = {}
        for room, color in plan.keys:
            keys.setdefault(room, []).append(_LOCKS[color][1])
        ends = set(plan.ends())
        for room in plan.rooms:
            if room == plan.rooms[0]:
                self.put(room, "S", middle=True)
            if room == plan.goal:
                self.put(room, "G", middle=True)
                self.put(room, "M") if self.style["boss"] else None
            for key in keys.get(room, []):
                self.put(room, key, middle=chance(self.rng, 0.5))
            if room != plan.rooms[0]:
                self.dangers(room, plan)
            if room in ends and room not in keys and chance(self.rng, float(self.style["treasure"])):
                self.put(room, "$", middle=True)

    def dangers(self, room: Cell, plan: Plan) -> None:
        """Put monsters, more of them the deeper the room lies, spikes and pushable blocks into a room."""
        rng, style = self.rng, self.style
        deep = plan.depth[room] / max(1, max(plan.depth.values()))
        kind = pick(rng, "mg")
        for _ in range(int(rng.poisson(float(style["monsters"]) * (0.4 + deep)))):
            self.put(room, kind)
        if chance(rng, float(style["pushable"])):
            self.put(room, "n", lonely=True)
        if chance(rng, float(style["spikes"])):
            for _ in range(between(rng, 2, 4)):
                self.put(room, "^", lonely=True)

    def put(self, room: Cell, what: str, *, middle: bool = False, lonely: bool = False) -> None:
        """Put one thing on a free cell of a room: near its middle, or with free cells all around, so that it blocks
        nothing."""
        part, free = self.part(room), self.free[room] & np.isin(self.part(room), (".", ","))
        if lonely:
            wide = np.pad(np.isin(part, (".", ",", "m", "g", "$")), 1)
            height, width = part.shape
            for down in range(3):
                for right in range(3):
                    free = free & wide[down : down + height, right : right + width]
        if not free.any():
            free = np.isin(part, (".", ",")) if not lonely else free
        if middle and free.any():
            rows, columns = np.nonzero(free)
            best = np.argmin(np.abs(rows - (part.shape[0] - 1) / 2) + np.abs(columns - (part.shape[1] - 1) / 2))
            part[rows[best], columns[best]] = what
            return
        for cell in spread(self.rng, free, 1):
            part[cell] = what
