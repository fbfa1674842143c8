"""Dungeons of the old school: rooms of all sizes strewn over the rock, joined by winding corridors with doors, nothing
drawn where nobody can see."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from newgameplus.games.generators.canvas import (
    Grid,
    Mask,
    Style,
    between,
    blank,
    chance,
    neighbors,
    pick,
    rate,
    reachable,
    spread,
    subrange,
)

__all__ = ["NAME", "RULES", "SIZES", "TILES", "draw_style", "generate"]

NAME = "rogue"
RULES = "top-down"
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({"height": (16, 44), "width": (24, 72)})
TILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        " ": ("void",),
        "#": ("solid",),
        ".": ("empty",),  # floor of a room
        ",": ("empty",),  # floor of a corridor
        "+": ("empty",),  # an open door
        "L": ("door",),
        "?": ("key",),
        "0": ("solid",),  # pillar
        "~": ("liquid", "empty"),  # a puddle
        "}": ("liquid", "hazard"),  # acid
        "^": ("hazard",),
        "g": ("enemy",),
        "D": ("enemy",),
        "$": ("collectable",),
        "!": ("collectable",),  # potion
        '"': ("decoration",),  # moss
        "<": ("start",),
        ">": ("goal",),
    }
)
_Room = tuple[int, int, int, int]
"""First row and column inside, rows and columns inside."""


def draw_style(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one designer's taste: rooms, corridors, what lies in them."""
    small, large = pick(rng, ((0, 0.5), (0.3, 1.0), (0.0, 1.0)))
    low, high = ([round(a + share * (b - a)) for a, b in SIZES.values()] for share in (small, large))
    smallest = between(rng, 2, 4)
    return {
        "height": subrange(rng, low[0], high[0], 4),
        "width": subrange(rng, low[1], high[1], 6),
        "room": [smallest, smallest + between(rng, 2, 7)],
        "crowded": rate(rng, 0.3, 1.0),
        "walls": chance(rng, 0.75),
        "doors": pick(rng, (0.0, rate(rng, 0.5, 1.0))),
        "loops": pick(rng, (0, between(rng, 1, 3))),
        "winding": chance(rng, 0.3),
        "corridor": pick(rng, (",", ",", ".")),
        "pillars": pick(rng, (0.0, rate(rng, 0.1, 0.5))),
        "pools": pick(rng, (0.0, rate(rng, 0.1, 0.4))),
        "pool": pick(rng, "~}"),
        "monsters": pick(rng, (0.0, rate(rng, 0.3, 1.0), rate(rng, 0.8, 2.0))),
        "treasure": rate(rng, 0.1, 1.0),
        "traps": pick(rng, (0.0, rate(rng, 0.1, 0.5))),
        "moss": pick(rng, (0.0, rate(rng, 0.02, 0.12)), (2, 1)),
        "locked": pick(rng, (0.0, rate(rng, 0.3, 1.0))),
    }


def generate(rng: np.random.Generator, height: int, width: int, style: Style) -> Grid | None:
    """Return one dungeon."""
    rooms = _place_rooms(rng, height, width, style)
    if len(rooms) < 2:
        return None
    grid = blank(height, width, " ")
    for top, left, tall, wide in rooms:
        grid[top : top + tall, left : left + wide] = "."
    order = _order(rooms)
    for one, other in order:
        _corridor(rng, grid, rooms[one], rooms[other], style)
    for _ in range(int(style["loops"])):
        one, other = between(rng, 0, len(rooms) - 1), between(rng, 0, len(rooms) - 1)
        if one != other:
            _corridor(rng, grid, rooms[one], rooms[other], style)
    _doors(rng, grid, rooms, style)
    _walls(grid, bool(style["walls"]))
    _furnish(rng, grid, rooms, style)
    return grid


def _place_rooms(rng: np.random.Generator, height: int, width: int, style: Style) -> list[_Room]:
    """Strew rooms that do not touch."""
    low, high = style["room"]
    taken, rooms = np.zeros((height, width), np.bool_), []
    for _ in range(round(float(style["crowded"]) * height * width / 14)):
        tall, wide = between(rng, low, high), between(rng, low, high + 3)
        if tall > height - 4 or wide > width - 4:
            continue
        top, left = between(rng, 2, height - 2 - tall), between(rng, 2, width - 2 - wide)
        if not taken[top - 2 : top + tall + 2, left - 2 : left + wide + 2].any():
            taken[top : top + tall, left : left + wide] = True
            rooms.append((top, left, tall, wide))
    return rooms


def _order(rooms: list[_Room]) -> list[tuple[int, int]]:
    """Return a tree that joins each room to a near one, growing from the first."""
    middles = np.array([(top + tall / 2, left + wide / 2) for top, left, tall, wide in rooms])
    apart = np.abs(middles[:, None] - middles[None]).sum(axis=2)
    inside, links = [0], []
    outside = set(range(1, len(rooms)))
    while outside:
        rest = sorted(outside)
        part = apart[np.ix_(inside, rest)]
        one, other = np.unravel_index(int(part.argmin()), part.shape)
        links.append((inside[int(one)], rest[int(other)]))
        inside.append(rest[int(other)])
        outside.discard(rest[int(other)])
    return links


def _corridor(rng: np.random.Generator, grid: Grid, one: _Room, other: _Room, style: Style) -> None:
    """Dig from one room into another: straight with one or two bends, or winding."""
    row, column = one[0] + between(rng, 0, one[2] - 1), one[1] + between(rng, 0, one[3] - 1)
    end = (other[0] + between(rng, 0, other[2] - 1), other[1] + between(rng, 0, other[3] - 1))
    down_first = chance(rng, 0.5)
    turn = column + round((end[1] - column) * rng.uniform(0.3, 0.7))
    while (row, column) != end:
        if style["winding"] and chance(rng, 0.5):
            down_first = not down_first
        goal_column = end[1] if style["winding"] or down_first or row == end[0] else turn
        if (down_first or column == goal_column) and row != end[0]:
            row += 1 if end[0] > row else -1
        else:
            column += 1 if end[1] > column else -1
        if grid[row, column] == " ":
            grid[row, column] = str(style["corridor"])


def _doors(rng: np.random.Generator, grid: Grid, rooms: list[_Room], style: Style) -> None:
    """Put doors where a corridor of one cell's width enters a room."""
    if not style["doors"]:
        return
    closed = grid == " "
    for top, left, tall, wide in rooms:
        around = [(row, column) for row in range(top, top + tall) for column in (left - 1, left + wide)]
        around += [(row, column) for column in range(left, left + wide) for row in (top - 1, top + tall)]
        for row, column in around:
            across = closed[row, column - 1] and closed[row, column + 1]
            along = closed[row - 1, column] and closed[row + 1, column]
            if not closed[row, column] and (across or along) and chance(rng, float(style["doors"])):
                grid[row, column] = "+"


def _walls(grid: Grid, everywhere: bool) -> None:
    """Draw walls beside all floor; a designer who draws no outside fills it with walls as well."""
    floor = grid != " "
    near = neighbors(np.pad(floor, 1))[1:-1, 1:-1] > 0 if everywhere else np.ones(floor.shape, np.bool_)
    grid[~floor & near] = "#"


def _furnish(rng: np.random.Generator, grid: Grid, rooms: list[_Room], style: Style) -> None:
    """Put start and goal into the rooms farthest apart, and life, loot and dangers into the others."""
    middles = np.array([(top + tall / 2, left + wide / 2) for top, left, tall, wide in rooms])
    apart = np.abs(middles[:, None] - middles[None]).sum(axis=2)
    first, last = (int(number) for number in np.unravel_index(int(apart.argmax()), apart.shape))
    for number, (top, left, tall, wide) in enumerate(rooms):
        part = grid[top : top + tall, left : left + wide]
        if number in (first, last):
            part[between(rng, 0, tall - 1), between(rng, 0, wide - 1)] = "<" if number == first else ">"
            continue
        _furnish_room(rng, part, style)
    grid[(grid == ".") & (rng.random(grid.shape) < float(style["moss"]))] = '"'
    if chance(rng, float(style["locked"])):
        _lock(rng, grid)


def _furnish_room(rng: np.random.Generator, part: Grid, style: Style) -> None:
    """Put pillars or a pool, monsters, loot and a trap into one room."""
    tall, wide = part.shape
    if min(tall, wide) >= 5 and chance(rng, float(style["pillars"])):
        part[1 : tall - 1 : 2, 1 : wide - 1 : 2 + wide % 2] = "0"
    elif min(tall, wide) >= 5 and chance(rng, float(style["pools"])):
        part[2:-2, 2:-2] = str(style["pool"])
    kind, count = "D" if chance(rng, 0.2) else "g", int(rng.poisson(float(style["monsters"])))
    for cell in spread(rng, part == ".", min(count, 4), 2):
        part[cell] = kind
    if chance(rng, float(style["treasure"]) * 0.7):
        for cell in spread(rng, part == ".", between(rng, 1, 2), 2):
            part[cell] = pick(rng, "$$!")
    if min(tall, wide) >= 3 and chance(rng, float(style["traps"])):
        inner = part[1:-1, 1:-1]
        for cell in spread(rng, inner == ".", 1):
            inner[cell] = "^"


def _lock(rng: np.random.Generator, grid: Grid) -> None:
    """Lock one door that nothing leads round, and lay its key on the start's side."""
    free = _free(grid)
    start = tuple(np.argwhere(grid == "<")[0].tolist())
    for row, column in spread(rng, grid == "+", 8, 1):
        shut = free.copy()
        shut[row, column] = False
        before = reachable(shut, (start[0], start[1]))
        if before.sum() < free.sum() - 1 and (before & (grid == ".")).any():
            grid[row, column] = "L"
            grid[spread(rng, before & (grid == "."), 1)[0]] = "?"
            return


def _free(grid: Grid) -> Mask:
    return np.asarray(~np.isin(grid, (" ", "#", "0", "^", "}")))
