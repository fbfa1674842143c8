"""Sokoban puzzles: small irregular ones with nothing outside, and full boards of walls; solvable because they are made
by playing backwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    neighbors,
    pick,
    rate,
    regions,
    spread,
)
from newgameplus.games.generators.sokoban_pulls import Pulled, pull_boxes
from newgameplus.games.rules.contract import Proof

__all__ = ["NAME", "RULES", "SIZES", "TILES", "draw_style", "generate", "generate_solved"]

NAME = "sokoban"
RULES = "sokoban"
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({"height": (5, 16), "width": (5, 20)})
TILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "-": ("void",),
        "W": ("solid",),
        "_": ("empty",),
        "c": ("box",),
        "C": ("box", "goal"),
        "o": ("goal",),
        "i": ("start",),
        "I": ("start", "goal"),
    }
)


def draw_style(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one designer's taste: shape and size of the rooms, how many boxes, where goals like to be."""
    boxed = chance(rng, 0.45)
    if boxed:
        side = pick(rng, (10, 10, 10, between(rng, 7, 12)))
        height, width = [side, side], [side, side]
    else:
        low = between(rng, 5, 8)
        height, width = [low, between(rng, low + 1, 12)], [low + between(rng, 0, 2), between(rng, low + 4, 16)]
    most = between(rng, 2, 5)
    return {
        "height": height,
        "width": width,
        "outside": "W" if boxed else pick(rng, ("-", "-", "-", "W", "_")),
        "form": pick(rng, ("halls", "burrow", "rooms", "open")),
        "open": rate(rng, 0.3, 0.6),
        "boxes": [pick(rng, (1, 2, most)) if not boxed else pick(rng, (2, most)), most],
        "goals": pick(rng, ("anywhere", "together", "row")),
        "solved": pick(rng, (0.0, rate(rng, 0.1, 0.5))),
        "pulls": between(rng, 30, 160),
        "pillars": rate(rng, 0.0, 0.12),
    }


def generate(rng: np.random.Generator, height: int, width: int, style: Style) -> Grid | None:
    """Return one puzzle; see :func:`generate_solved`."""
    made = generate_solved(rng, height, width, style)
    return made[0] if made else None


def generate_solved(rng: np.random.Generator, height: int, width: int, style: Style) -> tuple[Grid, Proof] | None:
    """Return one puzzle together with a solution: the pulls that made it, turned round."""
    floor = _shape(rng, height, width, style)
    count = max(1, min(between(rng, *style["boxes"]), int(floor.sum()) // 6))
    for _ in range(4):
        goals = _goals(rng, floor, count, str(style["goals"]))
        fixed = _solved_from_the_first(rng, floor, goals, style)
        blocked = floor.copy()
        for cell in fixed:
            blocked[cell] = False
        moving = [goal for goal in goals if goal not in fixed]
        pulled = pull_boxes(rng, blocked, moving, int(style["pulls"]) + 20 * count)
        if len(goals) == count and pulled is not None and pulled.pushes >= 2 * len(moving):
            return _drawn(floor, goals, fixed, pulled, str(style["outside"])), Proof(pulled.cells, pulled.moves)
    return None


def _drawn(floor: Mask, goals: list[Cell], fixed: list[Cell], pulled: Pulled, outside: str) -> Grid:
    grid = _outside(floor, outside)
    for cell in goals:
        grid[cell] = "o"
    for cell in (*pulled.boxes, *fixed):
        grid[cell] = "C" if grid[cell] == "o" else "c"
    grid[pulled.player] = "I" if grid[pulled.player] == "o" else "i"
    return grid


def _shape(rng: np.random.Generator, height: int, width: int, style: Style) -> Mask:
    """Return the floor: one region that reaches all four sides, walls around it, no cells with a single way in."""
    inner = np.zeros((height, width), np.bool_)
    _FORMS[str(style["form"])](rng, inner, float(style["open"]))
    inner &= rng.random(inner.shape) >= float(style["pillars"])
    _reach_out(rng, inner)
    inner = _closed(inner)
    for _ in range(2):
        inner &= _beside(~inner) < 3
    labels, sizes = regions(inner)
    floor = np.asarray((labels == int(sizes.argmax())) & inner)
    _reach_out(rng, floor)
    return _closed(floor)


def _closed(floor: Mask) -> Mask:
    floor[[0, -1]] = False
    floor[:, [0, -1]] = False
    return floor


def _reach_out(rng: np.random.Generator, floor: Mask) -> None:
    """Widen the floor by a passage to each side that it does not reach, so that no size is wasted on walls."""
    _closed(floor)
    for view in (floor, floor[::-1], floor.T, floor.T[::-1]):
        rows = np.flatnonzero(view.any(axis=1))
        if len(rows) and rows[0] > 1:
            columns = np.flatnonzero(view[rows[0]])
            column = min(int(columns[int(rng.random() * len(columns))]), view.shape[1] - 3)
            view[1 : rows[0] + 1, column : column + 2] = True


def _beside(mask: Mask) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return how many of the four cells beside each cell are in a mask."""
    wide = np.pad(mask.astype(np.int64), 1, constant_values=1)
    return np.asarray(wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:])


def _halls(rng: np.random.Generator, floor: Mask, share: float) -> None:
    """Overlapping rectangles."""
    height, width = floor.shape
    while floor.sum() < share * (height - 2) * (width - 2):
        tall, wide = between(rng, 2, min(4, height - 2)), between(rng, 2, min(5, width - 2))
        top, left = between(rng, 1, height - 1 - tall), between(rng, 1, width - 1 - wide)
        part = floor[top : top + tall, left : left + wide]
        if not floor.any() or part.any():
            part[...] = True


def _burrow(rng: np.random.Generator, floor: Mask, share: float) -> None:
    """A winding walk of small brushes."""
    height, width = floor.shape
    row, column = between(rng, 1, height - 3), between(rng, 1, width - 3)
    down, right = 0, 1
    while floor.sum() < share * (height - 2) * (width - 2):
        tall, wide = pick(rng, ((1, 1), (2, 1), (1, 2), (2, 2), (2, 2)))
        floor[row : min(row + tall, height - 1), column : min(column + wide, width - 1)] = True
        if chance(rng, 0.4):
            down, right = pick(rng, ((-1, 0), (1, 0), (0, -1), (0, 1)))
        row, column = min(max(row + down, 1), height - 2), min(max(column + right, 1), width - 2)


def _rooms(rng: np.random.Generator, floor: Mask, share: float) -> None:
    """Two or three rooms with one-cell doorways between them."""
    height, width = floor.shape
    floor[1:-1, 1:-1] = True
    if width >= 8:
        column = between(rng, 3, width - 5)
        floor[:, column] = False
        floor[between(rng, 1, height - 2), column] = True
    if height >= 8 and (width < 8 or share > 0.45):
        row = between(rng, 3, height - 5)
        keep = floor[row].copy()
        floor[row] = False
        openings = np.flatnonzero(keep)
        floor[row, openings[int(rng.random() * len(openings))]] = True


def _open(rng: np.random.Generator, floor: Mask, share: float) -> None:
    """One hall with its corners and some cells of its sides cut off."""
    height, width = floor.shape
    floor[1:-1, 1:-1] = True
    for _ in range(round(6 * (1 - share))):
        tall, wide = between(rng, 1, max(1, height // 3)), between(rng, 1, max(1, width // 3))
        top = pick(rng, (1, height - 1 - tall, between(rng, 1, height - 1 - tall)))
        left = pick(rng, (1, width - 1 - wide))
        floor[top : top + tall, left : left + wide] = False


_FORMS: Mapping[str, Callable[[np.random.Generator, Mask, float], None]] = MappingProxyType(
    {"halls": _halls, "burrow": _burrow, "rooms": _rooms, "open": _open}
)


def _goals(rng: np.random.Generator, floor: Mask, count: int, how: str) -> list[Cell]:
    """Choose cells for the goals, of those that a box can be pulled from: anywhere, in one cluster, or in a row."""
    good = np.zeros(floor.shape, np.bool_)
    for view, marks in ((floor, good), (floor[::-1], good[::-1]), (floor.T, good.T), (floor.T[::-1], good.T[::-1])):
        marks[2:] |= view[2:] & view[1:-1] & view[:-2]
    if how == "row":
        lines = []
        for array, turned in ((good, False), (good.T, True)):
            for row, column in np.argwhere(array).tolist():
                if array[row, column : column + count].sum() == count:
                    cells = [(row, column + number) for number in range(count)]
                    lines.append([(c, r) for r, c in cells] if turned else cells)
        if lines:
            return pick(rng, lines)
    if how == "together" and good.any():
        home = spread(rng, good, 1)[0]
        near = sorted(np.argwhere(good).tolist(), key=lambda cell: abs(cell[0] - home[0]) + abs(cell[1] - home[1]))
        return [(int(row), int(column)) for row, column in near[:count]]
    return spread(rng, good, count, 1)


def _solved_from_the_first(rng: np.random.Generator, floor: Mask, goals: list[Cell], style: Style) -> list[Cell]:
    """Choose boxes that stand on their goals and need not move: none that part the floor, and never all."""
    fixed: list[Cell] = []
    for goal in goals[:-1]:
        if chance(rng, float(style["solved"])):
            rest = floor.copy()
            for cell in (*fixed, goal):
                rest[cell] = False
            if len(regions(rest)[1]) == 2:
                fixed.append(goal)
    return fixed


def _outside(floor: Mask, outside: str) -> Grid:
    """Draw floor and walls; what no floor touches is outside."""
    grid = blank(floor.shape[0], floor.shape[1], "W")
    grid[floor] = "_"
    if outside != "W":
        near = neighbors(np.pad(floor, 1)) > 0
        grid[~floor & ~_shrink(near, floor.shape)] = outside
    return grid


def _shrink(mask: Mask, shape: tuple[int, ...]) -> Mask:
    return mask[1 : 1 + shape[0], 1 : 1 + shape[1]]
