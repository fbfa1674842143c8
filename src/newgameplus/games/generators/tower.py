"""Towers to climb or descend: floors one over another joined by ladders, thin platforms, openings and ledges, a few
floors of each at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from newgameplus.games.generators.canvas import Grid, Style, between, blank, chance, pick, rate, shares, subrange

__all__ = ["NAME", "RULES", "SIZES", "TILES", "draw_style", "generate"]

NAME = "tower"
RULES = "platformer"
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({"height": (16, 60), "width": (10, 28)})
TILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        " ": ("empty",),
        "#": ("solid",),  # wall
        "=": ("solid",),  # floor
        "-": ("one-way",),
        "H": ("climbable",),  # ladder
        "Y": ("climbable",),  # vine
        "x": ("solid", "breakable"),  # crate
        "^": ("hazard",),
        "~": ("liquid", "hazard"),
        "e": ("enemy",),  # walks
        "v": ("enemy",),  # hangs
        "O": ("spawner",),  # barrels
        "o": ("collectable",),
        "k": ("collectable",),  # crown
        "w": ("decoration",),  # window
        "i": ("decoration",),  # torch
        "S": ("start",),
        "G": ("goal",),
    }
)


def draw_style(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one designer's taste: how floors are joined and spaced, what lives on them."""
    low = between(rng, 4, 5)
    tall = pick(rng, ((16, 30), (24, 44), (36, 60)))
    return {
        "height": subrange(rng, *tall, 6),
        "width": subrange(rng, *pick(rng, ((10, 16), (14, 22), (18, 28))), 2),
        "walls": pick(rng, (0, 1, 1, 2)),
        "joins": shares(rng, tuple(_JOINS), 1, 4),
        "each": between(rng, 2, 5),
        "space": [low, low + between(rng, 0, 2)],
        "floor": pick(rng, ("=", "=", "#", "-")),
        "ladder": pick(rng, ("H", "H", "Y")),
        "ladders": between(rng, 1, 2),
        "holes": pick(rng, (0.0, rate(rng, 0.1, 0.5))),
        "enemies": pick(rng, (0.0, rate(rng, 0.1, 0.5), rate(rng, 0.4, 1.0))),
        "hanging": pick(rng, (0.0, rate(rng, 0.1, 0.4))),
        "spikes": pick(rng, (0.0, rate(rng, 0.1, 0.5))),
        "coins": pick(rng, (0.0, rate(rng, 0.1, 0.4), rate(rng, 0.4, 0.9))),
        "crates": pick(rng, (0.0, rate(rng, 0.1, 0.5))),
        "spawner": chance(rng, 0.25),
        "crown": chance(rng, 0.25),
        "windows": pick(rng, (0.0, rate(rng, 0.1, 0.4)), (2, 1)),
        "pool": chance(rng, 0.2),
        "down": chance(rng, 0.2),
    }


@dataclass
class _Tower:
    """A tower being built, from the bottom up.

    Attributes:
        grid: Characters [height, width].
        rng: Where choices come from.
        style: The designer's taste.
        floor: Row of the floor that was built last.
        left: First column inside the walls.
        right: Last column inside the walls.
        side: Where the way goes on: -1 at the left, 1 at the right.
    """

    grid: Grid
    rng: np.random.Generator
    style: Style
    floor: int
    left: int
    right: int
    side: int

    @property
    def inner(self) -> int:
        """Columns inside the walls."""
        return self.right - self.left + 1

    def lay(self, row: int, first: int, last: int, what: str) -> None:
        """Lay floor over some columns, both included."""
        self.grid[row, max(first, self.left) : min(last, self.right) + 1] = what

    def put(self, row: int, column: int, what: str) -> None:
        """Put one thing where nothing is, inside the walls."""
        if 0 <= row < len(self.grid) and self.left <= column <= self.right and self.grid[row, column] == " ":
            self.grid[row, column] = what


def generate(rng: np.random.Generator, height: int, width: int, style: Style) -> Grid | None:
    """Return one tower, start at its foot and goal at its top, or the other way round."""
    grid, walls = blank(height, width, " "), int(style["walls"])
    if walls:
        grid[:, :walls] = grid[:, width - walls :] = "#"
    tower = _Tower(grid, rng, style, height - 1, walls, width - walls - 1, pick(rng, (-1, 1)))
    ground = height - 1
    grid[ground] = "#"
    names, weights = list(style["joins"]), list(style["joins"].values())
    left, join = 0, names[0]
    while True:
        rise = between(rng, *style["space"])
        if tower.floor - rise < 4:
            break
        if left == 0:
            join, left = pick(rng, names, weights), between(rng, 1, int(style["each"]))
        below = tower.floor
        _JOINS[join](tower, rise)
        _furnish(tower, below, 1 - tower.floor / height)
        left -= 1
    _ends(tower, ground)
    return grid


def _by_ladder(tower: _Tower, rise: int) -> None:
    """A whole floor with one or two ladders up to it, and perhaps a hole to drop through."""
    row, rng, style = tower.floor - rise, tower.rng, tower.style
    tower.lay(row, tower.left, tower.right, str(style["floor"]))
    for number in range(int(style["ladders"]) if tower.inner >= 10 else 1):
        near = between(rng, 1, max(1, tower.inner // 4))
        column = (tower.left + near) if (tower.side < 0) != (number == 1) else (tower.right - near)
        tower.grid[row : tower.floor, column] = str(style["ladder"])
    if chance(rng, float(style["holes"])):
        middle = tower.left + tower.inner // 2 - 1
        tower.lay(row, middle, middle + between(rng, 1, 2), " ")
    tower.side = -tower.side
    tower.floor = row


def _by_opening(tower: _Tower, rise: int) -> None:
    """A floor that leaves an opening at one side, with a step under it."""
    row, rng = tower.floor - min(rise, 5), tower.rng
    wide = between(rng, 3, max(3, min(5, tower.inner // 3)))
    what = str(tower.style["floor"])
    step = tower.floor - 2
    if tower.side < 0:
        tower.lay(row, tower.left + wide, tower.right, what)
        tower.lay(step, tower.left, tower.left + wide - 3 + (wide == 3), what)
    else:
        tower.lay(row, tower.left, tower.right - wide, what)
        tower.lay(step, tower.right - wide + 3 - (wide == 3), tower.right, what)
    tower.side = -tower.side
    tower.floor = row


def _by_thin_floor(tower: _Tower, rise: int) -> None:
    """Thin platforms that one jumps up through: one long one, or two or three with air between."""
    row, rng = tower.floor - min(rise, 4), tower.rng
    parts = between(rng, 1, 1 + (tower.inner >= 9) + (tower.inner >= 15))
    each = tower.inner // parts
    for number in range(parts):
        first = tower.left + number * each
        trim = between(rng, 1, 2) if parts > 1 or tower.style["down"] or chance(rng, 0.5) else 0
        tower.lay(row, first + trim, first + each - 1 - trim, "-")
    tower.floor = row


def _by_ledges(tower: _Tower, rise: int) -> None:
    """Short ledges to and fro, each a jump from the one below, and a thin floor over the last."""
    rng, row = tower.rng, tower.floor
    what = "-" if chance(rng, 0.5) else str(tower.style["floor"])
    long = between(rng, 3, max(3, tower.inner // 3))
    reach = min(tower.inner - long, long + between(rng, 1, 4))
    middle = tower.left + between(rng, 0, tower.inner - long - reach)
    for _ in range(between(rng, 1, rise)):
        if row - 6 <= 3:
            break
        row -= between(rng, 2, 3)
        first = middle + (reach if tower.side > 0 else 0)
        tower.lay(row, first, first + long - 1, what)
        if chance(rng, float(tower.style["coins"]) * 0.6):
            tower.put(row - 1, first + long // 2, "o")
        tower.side = -tower.side
    tower.floor = row - 3
    trim = between(rng, int(bool(tower.style["down"])), 2)
    tower.lay(tower.floor, tower.left + trim, tower.right - trim, "-")


def _by_stairs(tower: _Tower, rise: int) -> None:
    """Steps along a wall to an opening."""
    what, steps = str(tower.style["floor"]), min(rise - 1, max(2, tower.inner // 2 - 2))
    row = tower.floor - min(rise, steps + 3)
    wide = steps + 2
    if tower.side < 0:
        tower.lay(row, tower.left + wide, tower.right, what)
    else:
        tower.lay(row, tower.left, tower.right - wide, what)
    for number in range(steps):
        column = tower.left + number if tower.side < 0 else tower.right - number
        tower.grid[tower.floor - (steps - number) : tower.floor, column] = "#" if what == "-" else what
    tower.side = -tower.side
    tower.floor = row


_JOINS: Mapping[str, Callable[[_Tower, int], None]] = MappingProxyType(
    {
        "ladders": _by_ladder,
        "openings": _by_opening,
        "thin floors": _by_thin_floor,
        "ledges": _by_ledges,
        "stairs": _by_stairs,
    }
)


def _furnish(tower: _Tower, below: int, high: float) -> None:
    """Put things on the floor below the newest one, more dangerous ones the higher it is."""
    rng, style, grid = tower.rng, tower.style, tower.grid
    solid = np.isin(grid[below], ("=", "#", "-")) & (grid[below - 1] == " ")
    places = [column for column in np.flatnonzero(solid).tolist() if tower.left + 1 < column < tower.right - 1]
    if len(places) < 4:
        return
    for what, amount in (
        ("e", float(style["enemies"]) * (0.4 + high)),
        ("^", float(style["spikes"]) * (0.2 + high)),
        ("x", float(style["crates"])),
    ):
        if chance(rng, amount):
            column = pick(rng, places)
            if what == "x" and chance(rng, 0.4):
                tower.put(below - 1, column + 1, "x")
            tower.put(below - 1, column, what)
    if chance(rng, float(style["coins"])):
        first = pick(rng, places[: max(1, len(places) - 3)])
        for column in range(first, first + between(rng, 2, 5)):
            if grid[below, min(column, tower.right)] in ("=", "#", "-"):
                tower.put(below - 1, column, "o")
    _hang(tower, below, places)


def _hang(tower: _Tower, below: int, places: list[int]) -> None:
    """Hang enemies under the floor above, and windows or torches on the wall behind."""
    rng, style, grid = tower.rng, tower.style, tower.grid
    if below - tower.floor < 4:
        return
    column = pick(rng, places)
    if grid[tower.floor, column] in ("=", "#") and chance(rng, float(style["hanging"])):
        tower.put(tower.floor + 1, column, "v")
    if chance(rng, float(style["windows"])):
        what = pick(rng, "wi")
        for column in range(tower.left + 2, tower.right - 1, 4):
            tower.put(below - 3, column, what)


def _ends(tower: _Tower, ground: int) -> None:
    """Put start and goal at the two ends of the climb, and what belongs there."""
    grid, style = tower.grid, tower.style
    free = np.isin(grid[tower.floor], ("=", "#", "-")) & (grid[tower.floor - 1] == " ")
    free[: tower.left] = free[tower.right + 1 :] = False
    upper = np.flatnonzero(free)
    lower = np.flatnonzero(grid[ground - 1] == " ")
    lower = lower[(lower >= tower.left) & (lower <= tower.right)]
    if not len(upper) or not len(lower):
        return
    top = int(upper[0] if tower.side < 0 else upper[-1])
    foot = int(lower[len(lower) // 3])
    ends = ((tower.floor - 1, top), (ground - 1, foot))
    start, goal = ends if style["down"] else ends[::-1]
    grid[start], grid[goal] = "S", "G"
    beside = goal[1] - tower.side
    if style["crown"] and tower.left <= beside <= tower.right:
        tower.put(goal[0], beside, "k")
    if style["spawner"] and len(upper) > 3:
        grid[tower.floor - 1, int(upper[len(upper) // 2])] = "O"
    if style["pool"] and not style["down"] and tower.inner >= 12:
        side = tower.right - 3 if foot < tower.left + tower.inner // 2 else tower.left + 1
        if (grid[ground - 1, side : side + 3] == " ").all():
            grid[ground, side : side + 3] = "~"
