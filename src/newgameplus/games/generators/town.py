"""Towns seen from above: streets, houses with roofs, walls and doors, gardens behind fences with gates, a square with
a well, trees, perhaps a river under bridges and a wall around it all."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from newgameplus.games.generators.canvas import (
    Cell,
    Grid,
    Style,
    between,
    blank,
    cells_of,
    chance,
    distances,
    noise,
    pick,
    rate,
    shares,
    spread,
    subrange,
)

__all__ = ["NAME", "RULES", "SIZES", "TILES", "draw_style", "generate"]

NAME = "town"
RULES = "reachability"
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({"height": (16, 44), "width": (20, 60)})
TILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        ".": ("empty",),  # grass
        "_": ("empty",),  # street
        ",": ("decoration",),  # flowers
        "/": ("solid",),  # roof, left end
        "^": ("solid",),  # roof
        "\\": ("solid",),  # roof, right end
        "[": ("solid",),  # house wall, left end
        "]": ("solid",),  # house wall, right end
        "o": ("solid",),  # window
        "n": ("empty",),  # house door
        "f": ("solid",),  # fence
        "g": ("empty",),  # gate
        "Y": ("solid",),  # tree top
        "I": ("solid",),  # trunk
        "b": ("solid", "decoration"),  # bush
        "~": ("liquid", "solid"),
        "=": ("empty",),  # bridge
        "W": ("solid",),  # town wall
        "O": ("solid",),  # well
        "i": ("solid", "decoration"),  # lamp
        "v": ("decoration",),  # vegetables
        "p": ("decoration",),  # somebody
        "$": ("collectable",),
        "S": ("start",),
        "G": ("goal",),
    }
)
_LOTS = ("house", "wide house", "house and garden", "trees", "field", "pond")


def draw_style(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one designer's taste: streets, kinds of lots, what stands along the streets."""
    small, large = pick(rng, ((0, 0.5), (0.3, 1.0), (0.0, 1.0)))
    low, high = ([round(a + share * (b - a)) for a, b in SIZES.values()] for share in (small, large))
    return {
        "height": subrange(rng, low[0], high[0], 4),
        "width": subrange(rng, low[1], high[1], 6),
        "street": between(rng, 1, 2),
        "lot": [between(rng, 6, 7), between(rng, 7, 12)],
        "even": chance(rng, 0.4),
        "lots": shares(rng, _LOTS, 2, 5) | {"house": rate(rng, 0.3, 1.0)},
        "storeys": between(rng, 1, 2),
        "square": chance(rng, 0.6),
        "river": pick(rng, ("", "", "down", "across")),
        "walled": chance(rng, 0.3),
        "lamps": pick(rng, (0.0, rate(rng, 0.2, 0.7))),
        "flowers": pick(rng, (0.0, rate(rng, 0.02, 0.12))),
        "woods": pick(rng, (0.0, rate(rng, 0.1, 0.4))),
        "people": pick(rng, (0, between(rng, 1, 6))),
        "coins": pick(rng, (0, between(rng, 1, 4)), (3, 1)),
        "goals": between(rng, 1, 3),
    }


def generate(rng: np.random.Generator, height: int, width: int, style: Style) -> Grid | None:
    """Return one town: the streets first, then what stands on the lots between them."""
    grid, edge = blank(height, width, "."), 2 if style["walled"] else 1
    street, (tall, wide) = int(style["street"]), style["lot"]
    rows = _cuts(rng, edge, height - edge, tall, street, bool(style["even"]))
    columns = _cuts(rng, edge, width - edge, wide, street, bool(style["even"]))
    for top, _ in rows[1:]:
        grid[top - street : top, edge : width - edge] = "_"
    for left, _ in columns[1:]:
        grid[edge : height - edge, left - street : left] = "_"
    if style["river"] and len(rows) * len(columns) >= 4:
        _river(rng, grid, edge, str(style["river"]) == "down")
    doors: list[Cell] = []
    square = (
        (between(rng, 0, len(rows) - 1), between(rng, 0, len(columns) - 1))
        if style["square"] and len(rows) * len(columns) > 2
        else (-1, -1)
    )
    for number, (top, bottom) in enumerate(rows):
        for other, (left, right) in enumerate(columns):
            part = grid[top:bottom, left:right]
            if (part == "~").any():
                _trees(rng, part, 0.3)
            elif (number, other) == square:
                _square(part)
            else:
                doors += [(top + row, left + column) for row, column in _lot(rng, part, style, not doors)]
    if style["walled"]:
        _wall(rng, grid)
    if not doors:
        return None
    return grid if _furnish(rng, grid, doors, style) else None


def _cuts(rng: np.random.Generator, first: int, last: int, length: int, street: int, even: bool) -> list[Cell]:
    """Cut a line of cells into lots of about a length with streets between; what is left over goes to the last."""
    lots: list[Cell] = []
    start = first
    while True:
        size = length if even else between(rng, length - 1, length + 2)
        if start + size + street + length - 1 > last:
            return [*lots, (start, last)]
        lots.append((start, start + size))
        start += size + street


def _river(rng: np.random.Generator, grid: Grid, edge: int, down: bool) -> None:
    """Lead a river of even width through the town in gentle bends; streets cross it on bridges."""
    view = grid if down else grid.T
    wide = between(rng, 2, 3)
    place = between(rng, view.shape[1] // 4, max(view.shape[1] // 4, 3 * view.shape[1] // 4 - wide))
    for row in range(view.shape[0]):
        if row % 3 == 0 and chance(rng, 0.4):
            place = min(max(place + pick(rng, (-1, 1)), edge + 1), view.shape[1] - wide - edge - 1)
        part = view[row, place : place + wide]
        crossing = view[row, place - 1] == "_" and view[row, place + wide] == "_"
        part[...] = "=" if crossing else "~"


def _lot(rng: np.random.Generator, part: Grid, style: Style, first: bool) -> list[Cell]:
    """Build on one lot, a house on the first; return the cells before its doors."""
    names = style["lots"]
    kind = "house" if first else pick(rng, list(names), list(names.values()))
    tall, wide = part.shape
    if kind == "trees":
        _trees(rng, part, 0.6)
    elif kind == "field" and tall >= 4 and wide >= 4:
        _fence(rng, part)
        part[2:-2:2, 2:-2] = "v"
    elif kind == "pond" and tall >= 4 and wide >= 4:
        round_ = noise(rng, tall - 2, wide - 2, 3.0) + 0.3
        part[1:-1, 1:-1][round_ > 0.5] = "~"
    elif tall >= 5 and wide >= 5:
        return _houses(rng, part, kind, int(style["storeys"]))
    return []


def _houses(rng: np.random.Generator, part: Grid, kind: str, storeys: int) -> list[Cell]:
    """Build as many houses side by side as fit, or one wide one, or one in a fenced garden."""
    tall, wide = part.shape
    if kind == "house and garden" and tall >= 6 and wide >= 7:
        gate = _fence(rng, part)
        inner = part[1:-2, 1:-1]
        size = min(5, inner.shape[1] - 1)
        left = min(max(0, gate - 1 - size // 2), inner.shape[1] - size)
        _house(inner[max(0, inner.shape[0] - 3 - storeys) : -1, left : left + size], gate - 1 - left)
        return [(tall - 1, gate)]
    found: list[Cell] = []
    column = between(rng, 0, 1)
    while True:
        size = wide - 2 * column if kind == "wide house" else between(rng, 3, 5)
        if size < 3 or column + size > wide:
            return found
        high = min(tall - 1, 2 + storeys)
        top = between(rng, 0, tall - 1 - high)
        door = between(rng, 1, size - 2)
        _house(part[top : top + high, column : column + size], door)
        part[top + high :, column + door] = "_"
        found.append((top + high, column + door))
        column += size + between(rng, 1, 2)


def _house(part: Grid, door: int) -> None:
    """Draw a whole house: a row or more of roof, a row of wall with windows and the door."""
    part[:-1, 1:-1] = "^"
    part[:-1, 0], part[:-1, -1] = "/", "\\"
    part[-1, 1:-1] = "o"
    part[-1, 0], part[-1, -1] = "[", "]"
    part[-1, min(max(door, 1), part.shape[1] - 2)] = "n"


def _fence(rng: np.random.Generator, part: Grid) -> int:
    """Fence a lot in, with a gate in its lower side; return the gate's column."""
    part[0] = part[-1] = "f"
    part[:, 0] = part[:, -1] = "f"
    gate = between(rng, 2, part.shape[1] - 3)
    part[-1, gate] = "g"
    return gate


def _trees(rng: np.random.Generator, part: Grid, share: float) -> None:
    """Plant trees of two cells, top and trunk, and bushes between them."""
    for row in range(0, part.shape[0] - 2, 3):
        for column in range(row % 2, part.shape[1] - 1, 2):
            if (part[row : row + 2, column] == ".").all() and chance(rng, share):
                part[row : row + 2, column] = ("Y", "I")
            elif part[row, column] == "." and chance(rng, share / 4):
                part[row, column] = "b"


def _square(part: Grid) -> None:
    """Pave a square with a well in its middle and lamps at its corners."""
    tall, wide = part.shape
    part[...] = "_"
    part[tall // 2, wide // 2] = "O"
    for row in (1, tall - 2):
        for column in (1, wide - 2):
            part[row, column] = "i"


def _wall(rng: np.random.Generator, grid: Grid) -> None:
    """Wall the town in; a gate opens where a street meets the wall."""
    height, width = grid.shape
    grid[[0, -1]] = np.where(grid[[0, -1]] == "~", "~", "W")
    grid[:, [0, -1]] = np.where(grid[:, [0, -1]] == "~", "~", "W")
    streets = [(row, edge, edge + (1 if edge == 0 else -1)) for row in range(2, height - 2) for edge in (0, width - 1)]
    gates = [(row, edge) for row, edge, inside in streets if grid[row, inside] in ("_", ".") and grid[row, edge] == "W"]
    meeting = [(row, edge) for row, edge in gates if "_" in grid[row, 1:4] or "_" in grid[row, -4:-1]]
    if meeting:
        grid[pick(rng, meeting)] = "g"


def _furnish(rng: np.random.Generator, grid: Grid, doors: list[Cell], style: Style) -> bool:
    """Put lamps, flowers, people, start and goals; say whether there is somewhere to go."""
    inner = np.zeros(grid.shape, np.bool_)
    inner[1:-1, 1:-1] = True
    grass = (grid == ".") & inner
    if style["woods"]:
        _trees(rng, grid[2:-2, 2:-2], float(style["woods"]) * 0.3)
    grid[(grid == ".") & grass & (rng.random(grid.shape) < float(style["flowers"]))] = ","
    roads = cells_of(np.isin(grid, ("_", "=")) & inner)
    free = ~np.isin(grid, _BLOCKED)
    start = pick(rng, roads) if roads else doors[0]
    steps = distances(free, start)
    near = [door for door in doors if steps[door] > 1 and grid[door] in ("_", ".", "g")]
    near.sort(key=lambda door: -int(steps[door]))
    chosen = near[: int(style["goals"])]
    if not chosen:
        return False
    for door in chosen:
        grid[door] = "G"
    grid[start] = "S"
    lamp = (grid == ".") & inner & (np.roll(grid == "_", 1, 1) | np.roll(grid == "_", -1, 1))
    for cell in spread(rng, lamp, round(float(style["lamps"]) * 8), 4):
        grid[cell] = "i"
    for cell in spread(rng, np.isin(grid, ("_", ".")) & (steps > 1), int(style["people"]), 4):
        grid[cell] = "p"
    for cell in spread(rng, (grid == ".") & (steps > 1), int(style["coins"]), 4):
        grid[cell] = "$"
    return True


_BLOCKED = ("/", "^", "\\", "[", "]", "o", "f", "Y", "I", "b", "~", "W", "O", "i")
