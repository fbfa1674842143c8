"""Arenas for shooters and fights: one closed room, cover that is symmetric in some way, pits, spawners, things to pick
up, and ways out."""

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
    cells_of,
    chance,
    pick,
    rate,
    reachable,
    regions,
    shares,
    spread,
    subrange,
)
from newgameplus.games.generators.room_interiors import PATTERNS, draw_pattern

__all__ = ["NAME", "RULES", "SIZES", "TILES", "draw_style", "generate"]

NAME = "arena"
RULES = "top-down"
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({"height": (9, 32), "width": (11, 44)})
TILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "#": ("solid",),  # outer wall
        ".": ("empty",),
        "%": ("solid",),  # cover
        "b": ("solid", "breakable"),  # barrel
        "p": ("hazard", "void"),  # pit
        "~": ("liquid", "hazard"),  # acid
        "^": ("hazard",),
        "s": ("spawner",),
        "e": ("enemy",),
        "E": ("enemy",),  # a big one
        "+": ("collectable",),  # health
        "a": ("collectable",),  # shots
        ":": ("decoration",),  # marks on the floor
        "1": ("start",),
        "X": ("goal",),  # a way out
    }
)
_MIRRORS = ("left-right", "top-bottom", "both", "turn", "quarters", "none")


def draw_style(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one designer's taste: symmetry, kinds of cover, dangers."""
    small, large = pick(rng, ((0, 0.5), (0.3, 1.0), (0.0, 1.0)))
    low, high = ([round(a + share * (b - a)) for a, b in SIZES.values()] for share in (small, large))
    return {
        "height": subrange(rng, low[0], high[0], 2),
        "width": subrange(rng, low[1], high[1], 4),
        "mirror": pick(rng, _MIRRORS, (3, 1.5, 2, 1.5, 1, 0.5)),
        "wall": between(rng, 1, 2),
        "cover": rate(rng, 0.04, 0.2),
        "pieces": shares(rng, tuple(_PIECES), 2, 5),
        "whole": pick(rng, (0.0, rate(rng, 0.1, 0.6))),
        "patterns": shares(rng, [name for name in PATTERNS if name != "empty"], 3, 6),
        "barrels": pick(rng, (0.0, rate(rng, 0.1, 0.5))),
        "dangers": shares(rng, ("p", "~", "^"), 1, 2),
        "danger": pick(rng, (0.0, rate(rng, 0.05, 0.3))),
        "corners": pick(rng, (0, 0, 1, 2, 3)),
        "spawners": pick(rng, (0, 1, 2)),
        "enemies": rate(rng, 0.0, 0.03),
        "pickups": between(rng, 0, 3),
        "exits": between(rng, 1, 4),
        "marks": chance(rng, 0.25),
        "start": pick(rng, ("middle", "side", "corner")),
    }


def generate(rng: np.random.Generator, height: int, width: int, style: Style) -> Grid | None:
    """Return one arena."""
    grid, wall = blank(height, width, "#"), int(style["wall"])
    inner = grid[wall : height - wall, wall : width - wall]
    inner[...] = "."
    _cut_corners(inner, int(style["corners"]))
    closed = inner == "#"
    if chance(rng, float(style["whole"])):
        names = style["patterns"]
        inner[draw_pattern(rng, names, *inner.shape) & ~closed] = pick(rng, "%%b")
    else:
        _cover(rng, inner, style)
    _mirror(inner, str(style["mirror"]))
    start = _start(rng, inner, str(style["start"]))
    inner[max(0, start[0] - 1) : start[0] + 2, max(0, start[1] - 1) : start[1] + 2][...] = "."
    _join(inner, start)
    exits = _exits(rng, grid, wall, style)
    _inhabit(rng, inner, start, style)
    inner[start] = "1"
    for cell in exits:
        grid[cell] = "X"
    return grid


def _cut_corners(inner: Grid, deep: int) -> None:
    """Cut the corners off, in steps."""
    for view in (inner, inner[::-1], inner[:, ::-1], inner[::-1, ::-1]):
        for number in range(deep):
            view[number, : deep - number] = "#"


def _post(rng: np.random.Generator) -> Mask:  # noqa: ARG001 (as all pieces)
    return np.ones((1, 1), np.bool_)


def _block(rng: np.random.Generator) -> Mask:
    return np.ones((between(rng, 2, 3), between(rng, 2, 3)), np.bool_)


def _bar(rng: np.random.Generator) -> Mask:
    bar = np.ones((1, between(rng, 3, 6)), np.bool_)
    return bar if chance(rng, 0.5) else bar.T


def _hook(rng: np.random.Generator) -> Mask:
    hook = np.zeros((between(rng, 2, 4), between(rng, 2, 4)), np.bool_)
    hook[0] = hook[:, 0] = True
    return np.asarray(np.rot90(hook, between(rng, 0, 3)))


def _fork(rng: np.random.Generator) -> Mask:
    fork = np.zeros((3, 3), np.bool_)
    fork[0] = fork[:, 1] = True
    return np.asarray(np.rot90(fork, between(rng, 0, 3)))


def _plus(rng: np.random.Generator) -> Mask:  # noqa: ARG001 (as all pieces)
    plus = np.zeros((3, 3), np.bool_)
    plus[1] = plus[:, 1] = True
    return plus


def _stairs(rng: np.random.Generator) -> Mask:
    size = between(rng, 3, 4)
    line = np.eye(size, dtype=np.bool_)
    return np.asarray(line if chance(rng, 0.5) else line[::-1])


_PIECES = {"post": _post, "block": _block, "bar": _bar, "hook": _hook, "fork": _fork, "plus": _plus, "stairs": _stairs}


def _cover(rng: np.random.Generator, inner: Grid, style: Style) -> None:
    """Put pieces of cover and patches of danger that do not touch, until there is as much as the style likes."""
    height, width = inner.shape
    pieces, dangers = style["pieces"], style["dangers"]
    wanted, placed = float(style["cover"]) * inner.size, 0
    for _ in range(60):
        if placed >= wanted:
            return
        shape = _PIECES[pick(rng, list(pieces), list(pieces.values()))](rng)
        danger = chance(rng, float(style["danger"]))
        if danger:
            shape = np.ones((between(rng, 1, 3), between(rng, 2, 4)), np.bool_)
        tall, wide = shape.shape
        if tall > height - 2 or wide > width - 2:
            continue
        row, column = between(rng, 1, height - 1 - tall), between(rng, 1, width - 1 - wide)
        if (inner[row - 1 : row + tall + 1, column - 1 : column + wide + 1] == ".").all():
            plain = "b" if chance(rng, float(style["barrels"])) else "%"
            what = pick(rng, list(dangers), list(dangers.values())) if danger else plain
            inner[row : row + tall, column : column + wide][shape] = what
            placed += int(shape.sum())


def _mirror(inner: Grid, how: str) -> None:
    """Make the room symmetric by copying a half or a quarter over the rest."""
    height, width = inner.shape
    if how in ("left-right", "both", "quarters"):
        inner[:, width - width // 2 :] = inner[:, : width // 2][:, ::-1]
    if how in ("top-bottom", "both", "quarters"):
        inner[height - height // 2 :] = inner[: height // 2][::-1]
    if how == "turn":
        inner[height - height // 2 :] = inner[: height // 2][::-1, ::-1]
    if how == "quarters" and height > 6 and width > 6:
        inner[height // 2 - 1 : height - height // 2 + 1] = "."
        inner[:, width // 2 - 1 : width - width // 2 + 1] = "."


def _start(rng: np.random.Generator, inner: Grid, where: str) -> Cell:
    height, width = inner.shape
    if where == "middle":
        return height // 2, width // 2
    if where == "side":
        return pick(rng, ((height - 2, width // 2), (height // 2, 1), (height // 2, width - 2)))
    deep = 3
    return pick(rng, ((height - deep, 2), (height - deep, width - deep), (2, 2)))


def _join(inner: Grid, start: Cell) -> None:
    """Open cover where it parts the floor: small pockets are filled, larger ones joined by straight aisles."""
    free = inner == "."
    labels, sizes = regions(free)
    home = int(labels[start])
    for number in range(1, len(sizes)):
        if number == home:
            continue
        if sizes[number] <= 6:
            inner[labels == number] = "%"
            continue
        row, column = cells_of(labels == number)[sizes[number] // 2]
        lower, upper = sorted((row, start[0]))
        left, right = sorted((column, start[1]))
        for view in (inner[lower : upper + 1, column], inner[start[0], left : right + 1]):
            view[view != "#"] = "."


def _exits(rng: np.random.Generator, grid: Grid, wall: int, style: Style) -> list[Cell]:
    """Break ways out through the middle of some walls; the goal is the outermost cell."""
    (height, width), free = grid.shape, grid == "."
    wanted, found = int(style["exits"]), []
    sides = rng.permutation(4).tolist()[:wanted]
    for side in sides:
        view = (grid, grid[::-1], grid.T, grid.T[::-1])[side]
        open_ = (free, free[::-1], free.T, free.T[::-1])[side]
        middle = view.shape[1] // 2
        column = (
            middle if open_[wall, middle] else int(np.abs(np.where(open_[wall], 0, 999) + _far(view, middle)).argmin())
        )
        if not open_[wall, column]:
            continue
        view[1:wall, column] = "."
        cell = {0: (0, column), 1: (height - 1, column), 2: (column, 0), 3: (column, width - 1)}[side]
        found.append(cell)
    return found


def _far(view: Grid, middle: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.abs(np.arange(view.shape[1]) - middle)


def _inhabit(rng: np.random.Generator, inner: Grid, start: Cell, style: Style) -> None:
    """Put spawners, enemies and things to pick up on the floor that can be reached, away from the start."""
    free = reachable(inner == ".", start)
    rows, columns = np.mgrid[: inner.shape[0], : inner.shape[1]]
    away = np.maximum(np.abs(rows - start[0]), np.abs(columns - start[1])) >= 3
    mirrored = style["mirror"] in ("left-right", "both", "quarters")
    groups = (
        ("s", int(style["spawners"])),
        ("+", int(style["pickups"]) // 2),
        ("a", (int(style["pickups"]) + 1) // 2),
        ("e", round(float(style["enemies"]) * inner.size)),
        ("E", int(chance(rng, float(style["enemies"]) * 10))),
    )
    for what, count in groups:
        for row, column in spread(rng, free & away & (inner == "."), min(count, 8), 2):
            inner[row, column] = what
            other = inner.shape[1] - 1 - column
            if mirrored and what != "E" and free[row, other] and away[row, other] and inner[row, other] == ".":
                inner[row, other] = what
    if style["marks"]:
        middle = inner[
            inner.shape[0] // 2 - 1 : inner.shape[0] // 2 + 2, inner.shape[1] // 2 - 2 : inner.shape[1] // 2 + 3
        ]
        middle[middle == "."] = ":"
