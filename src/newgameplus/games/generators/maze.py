"""Mazes: perfect or braided, of narrow or wide passages, in several outlines, with locked doors on the way to the goal
and their keys in dead ends."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from newgameplus.games.generators.canvas import (
    STEPS,
    Cell,
    Grid,
    Mask,
    Style,
    between,
    blank,
    cells_of,
    chance,
    distances,
    farthest,
    pick,
    rate,
    reachable,
    regions,
    spread,
    subrange,
    trail,
)

__all__ = ["NAME", "RULES", "SIZES", "TILES", "draw_style", "generate"]

NAME = "maze"
RULES = "top-down"
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({"height": (9, 41), "width": (9, 51)})
TILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        ".": ("void",),
        "#": ("solid",),
        "H": ("solid",),  # hedge
        " ": ("empty",),
        "1": ("door",),
        "a": ("key",),
        "2": ("door:gold",),
        "b": ("key:gold",),
        "3": ("door:jade",),
        "c": ("key:jade",),
        "u": ("one-way-up",),
        "d": ("one-way-down",),
        "l": ("one-way-left",),
        "r": ("one-way-right",),
        "*": ("collectable",),
        "m": ("enemy",),
        "^": ("hazard",),
        "+": ("decoration",),  # trail of pebbles
        "S": ("start",),
        "E": ("goal",),
    }
)
_ARROWS = {(-1, 0): "u", (1, 0): "d", (0, -1): "l", (0, 1): "r"}
_LOCKS = ("1a", "2b", "3c")


def draw_style(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one designer's taste: passages, outline, how the way is barred."""
    passage = pick(rng, (1, 1, 1, 2, 3))
    pitch, span = passage + 1, pick(rng, ((9, 21), (15, 31), (9, 41)))
    high = [value * pitch + 1 for value in subrange(rng, max(4, span[0] // pitch), span[1] // pitch - 1, 2)]
    wide = [value * pitch + 1 for value in subrange(rng, max(4, span[0] // pitch), (span[1] + 10) // pitch - 1, 2)]
    return {
        "height": high,
        "width": wide,
        "height_step": pitch,
        "width_step": pitch,
        "passage": passage,
        "wall": pick(rng, ("#", "#", "H")),
        "outline": pick(rng, ("whole", "whole", "round", "diamond", "cut corners")),
        "straight": rate(rng, 0.0, 0.8),
        "last": rate(rng, 0.3, 1.0),
        "braid": pick(rng, (0.0, 1.0, rate(rng, 0.1, 0.9))),
        "rooms": pick(rng, (0, 0, between(rng, 1, 4))),
        "ends": pick(rng, ("farthest", "corners", "center")),
        "locks": pick(rng, (0, 0, 1, between(rng, 1, 3))),
        "one_ways": pick(rng, (0.0, rate(rng, 0.02, 0.08)), (2, 1)),
        "coins": pick(rng, (0.0, rate(rng, 0.2, 0.9))),
        "monsters": pick(rng, (0.0, rate(rng, 0.005, 0.03))),
        "spikes": pick(rng, (0.0, rate(rng, 0.1, 0.4)), (3, 1)),
        "pebbles": chance(rng, 0.15),
    }


def generate(rng: np.random.Generator, height: int, width: int, style: Style) -> Grid | None:
    """Return one maze; what does not fit a whole passage is wall, or outside of an outline."""
    passage = int(style["passage"])
    rows, columns = (height - 1) // (passage + 1), (width - 1) // (passage + 1)
    inside = _outline(rows, columns, str(style["outline"]))
    links = _tree(rng, inside, style)
    _braid(rng, inside, links, float(style["braid"]))
    grid = _drawn(inside, links, height, width, style)
    _carve_rooms(rng, grid, inside, style)
    free = grid == " "
    start, goal = _ends(rng, free, str(style["ends"]))
    grid[start], grid[goal] = "S", "E"
    steps = distances(free, start)
    for number in range(int(style["locks"])):
        _lock(rng, grid, start, goal, _LOCKS[number])
    _furnish(rng, grid, steps, style)
    return grid


def _outline(rows: int, columns: int, outline: str) -> Mask:
    """Return which places of the maze exist."""
    down, right = np.mgrid[:rows, :columns]
    far_down = np.abs(down - (rows - 1) / 2) / (rows / 2)
    far_right = np.abs(right - (columns - 1) / 2) / (columns / 2)
    if outline == "round":
        return np.asarray(far_down**2 + far_right**2 <= 1.0)
    if outline == "diamond":
        return np.asarray(far_down + far_right <= 1.05)
    if outline == "cut corners":
        return np.asarray(far_down + far_right <= 1.5)
    return np.ones((rows, columns), np.bool_)


def _tree(rng: np.random.Generator, inside: Mask, style: Style) -> set[tuple[Cell, Cell]]:
    """Grow a tree over the places: going on from the newest one makes long passages, from any one short ones."""
    straight, newest = float(style["straight"]), float(style["last"])
    open_ = set(cells_of(inside))
    home = cells_of(inside)[int(rng.random() * len(open_))]
    growing: list[tuple[Cell, Cell]] = [(home, (0, 0))]
    open_.discard(home)
    links: set[tuple[Cell, Cell]] = set()
    while growing:
        number = len(growing) - 1 if rng.random() < newest else int(rng.random() * len(growing))
        (row, column), came = growing[number]
        ways = [step for step in STEPS if (row + step[0], column + step[1]) in open_]
        if not ways:
            growing.pop(number)
            continue
        step = came if came in ways and rng.random() < straight else ways[int(rng.random() * len(ways))]
        there = (row + step[0], column + step[1])
        open_.discard(there)
        links.add(_link((row, column), there))
        growing.append((there, step))
    return links


def _link(one: Cell, other: Cell) -> tuple[Cell, Cell]:
    return (one, other) if one < other else (other, one)


def _braid(rng: np.random.Generator, inside: Mask, links: set[tuple[Cell, Cell]], share: float) -> None:
    """Open a share of the dead ends into a neighbor."""
    if not share:
        return
    places = cells_of(inside)
    known = set(places)
    for row, column in places:
        beside = [_link((row, column), (row + d, column + r)) for d, r in STEPS if (row + d, column + r) in known]
        closed = [link for link in beside if link not in links]
        if len(beside) - len(closed) == 1 and closed and chance(rng, share):
            links.add(pick(rng, closed))


def _drawn(inside: Mask, links: set[tuple[Cell, Cell]], height: int, width: int, style: Style) -> Grid:
    """Draw places and links; walls stand around them and nothing outside of an outline."""
    passage, rows = int(style["passage"]), inside.shape[0]
    pitch, wall = passage + 1, str(style["wall"])
    grid = blank(height, width, wall if inside.all() else ".")
    for row, column in cells_of(inside):
        top, left = row * pitch, column * pitch
        part = grid[top : top + pitch + 1, left : left + pitch + 1]
        part[part == "."] = wall
    for row, column in cells_of(inside):
        grid[row * pitch + 1 : row * pitch + pitch, column * pitch + 1 : column * pitch + pitch] = " "
    for (row, column), (low, right) in links:
        grid[row * pitch + 1 : low * pitch + pitch, column * pitch + 1 : right * pitch + pitch] = " "
    if inside.all():  # what is left over at the bottom and right is no wall
        grid[rows * pitch + 1 :] = "."
        grid[:, inside.shape[1] * pitch + 1 :] = "."
    return grid


def _carve_rooms(rng: np.random.Generator, grid: Grid, inside: Mask, style: Style) -> None:
    """Clear the walls between a few places so that they become a room."""
    pitch = int(style["passage"]) + 1
    for _ in range(int(style["rooms"])):
        tall, wide = between(rng, 2, 3), between(rng, 2, 3)
        row = between(rng, 0, inside.shape[0] - tall)
        column = between(rng, 0, inside.shape[1] - wide)
        if inside[row : row + tall, column : column + wide].all():
            grid[row * pitch + 1 : (row + tall) * pitch, column * pitch + 1 : (column + wide) * pitch] = " "


def _ends(rng: np.random.Generator, free: Mask, how: str) -> tuple[Cell, Cell]:
    """Choose start and goal."""
    cells = cells_of(free)
    if how == "corners":
        return cells[0], cells[-1]
    if how == "center":
        middle = (free.shape[0] / 2, free.shape[1] / 2)
        goal = min(cells, key=lambda cell: (cell[0] - middle[0]) ** 2 + (cell[1] - middle[1]) ** 2)
        return farthest(free, goal), goal
    start = farthest(free, pick(rng, cells))
    return start, farthest(free, start)


def _lock(rng: np.random.Generator, grid: Grid, start: Cell, goal: Cell, lock: str) -> None:
    """Put a door across the way where there is no way round, and its key into what can be reached before it."""
    door, key = lock[0], lock[1]
    free = ~np.isin(grid, ("#", "H", ".", "1", "2", "3"))
    if not free[goal] or not reachable(free, start)[goal]:
        free = ~np.isin(grid, ("#", "H", "."))
    way = trail(free, start, goal)[2:-1]
    for number in rng.permutation(len(way)).tolist()[:12]:
        row, column = way[number]
        if grid[row, column] != " " or not _narrow(free, row, column):
            continue
        shut = free & ~np.isin(grid, ("1", "2", "3"))
        shut[row, column] = False
        before = reachable(shut, start)
        if before[goal]:
            continue
        ends = before & (grid == " ") & _ends_of(before)
        places = ends if ends.any() else before & (grid == " ")
        if places.any():
            grid[row, column] = door
            grid[spread(rng, places, 1)[0]] = key
        return


def _narrow(free: Mask, row: int, column: int) -> bool:
    """Whether a cell is a passage with walls on two opposite sides."""
    across = not free[row, column - 1] and not free[row, column + 1]
    return across or (not free[row - 1, column] and not free[row + 1, column])


def _ends_of(free: Mask) -> Mask:
    """Return the cells with a single cell beside them."""
    wide = np.pad(free.astype(np.int64), 1)
    beside = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    return np.asarray(free & (beside == 1))


def _furnish(rng: np.random.Generator, grid: Grid, steps: np.ndarray[Any, np.dtype[np.int64]], style: Style) -> None:
    """Put coins into dead ends, monsters and spikes off the way, and one-way cells where both sides stay joined."""
    free = ~np.isin(grid, ("#", "H", "."))
    ends = _ends_of(free) & (grid == " ")
    for cell in cells_of(ends):
        if chance(rng, float(style["coins"])):
            grid[cell] = "*"
        elif chance(rng, float(style["spikes"])):
            grid[cell] = "^"
    size = int((grid == " ").sum())
    for cell in spread(rng, (grid == " ") & (steps > 6), int(rng.poisson(float(style["monsters"]) * size)), 3):
        grid[cell] = "m"
    inner = np.zeros(grid.shape, np.bool_)
    inner[1:-1, 1:-1] = True
    for row, column in spread(rng, (grid == " ") & inner, int(rng.poisson(float(style["one_ways"]) * size)), 4):
        shut = free.copy()
        shut[row, column] = False
        if _narrow(free, row, column) and len(regions(shut)[1]) == 2:
            ahead = (free[row - 1, column] and free[row + 1, column]) or not free[row, column - 1]
            grid[row, column] = _ARROWS[pick(rng, STEPS[:2] if ahead else STEPS[2:])]
    if style["pebbles"]:
        home, end = cells_of(grid == "S")[0], cells_of(grid == "E")[0]
        for number, cell in enumerate(trail(free, home, end)):
            if number % 3 == 1 and grid[cell] == " ":
                grid[cell] = "+"
