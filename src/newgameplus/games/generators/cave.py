"""Caves seen from above: grown by a cellular automaton, dug by tunnels or blown up as chambers, then furnished with
lakes and bridges, lava, treasure in dead ends, monsters in the open, and vaults with a key somewhere far away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
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
    chance,
    distances,
    farthest,
    neighbors,
    noise,
    pick,
    rate,
    reachable,
    regions,
    spread,
    subrange,
    trail,
)

__all__ = ["NAME", "RULES", "SIZES", "TILES", "draw_style", "generate"]

NAME = "cave"
RULES = "top-down"
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({"height": (12, 48), "width": (14, 64)})
TILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "#": ("solid",),  # rock
        " ": ("empty",),
        "%": ("solid", "breakable"),  # loose rock
        "~": ("liquid",),  # a lake
        "=": ("empty",),  # a bridge
        "!": ("hazard", "liquid"),  # lava
        "^": ("hazard",),
        "*": ("collectable",),  # a gem
        "$": ("collectable",),  # a chest
        "b": ("enemy",),  # bat
        "t": ("enemy",),  # troll
        "n": ("spawner",),  # nest
        "'": ("decoration",),  # mushroom
        "W": ("solid",),  # wall of a vault
        "D": ("door",),
        "k": ("key",),
        "@": ("start",),
        "X": ("goal",),
    }
)


def draw_style(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one designer's taste: how the rock is shaped, and what is found in it."""
    small, large = pick(rng, ((0, 0.4), (0.3, 1.0), (0.0, 1.0)))
    low, high = ([round(a + share * (b - a)) for a, b in SIZES.values()] for share in (small, large))
    return {
        "height": subrange(rng, low[0], high[0], 4),
        "width": subrange(rng, low[1], high[1], 6),
        "form": pick(rng, tuple(_FORMS)),
        "open": rate(rng, 0.25, 0.55),
        "rounds": between(rng, 2, 5),
        "tunnel": between(rng, 1, 3),
        "mirror": chance(rng, 0.12),
        "lakes": pick(rng, (0.0, rate(rng, 0.1, 0.35))),
        "bridges": chance(rng, 0.6),
        "lava": pick(rng, (0.0, rate(rng, 0.08, 0.25)), (3, 2)),
        "spikes": pick(rng, (0.0, rate(rng, 0.01, 0.05)), (3, 1)),
        "gems": pick(rng, (0.0, rate(rng, 0.005, 0.03))),
        "chests": rate(rng, 0.1, 0.9),
        "monsters": pick(rng, (0.0, rate(rng, 0.005, 0.015), rate(rng, 0.01, 0.04))),
        "nests": pick(rng, (0.0, rate(rng, 0.2, 0.8)), (3, 1)),
        "mushrooms": pick(rng, (0.0, rate(rng, 0.02, 0.15))),
        "loose": pick(rng, (0.0, rate(rng, 0.01, 0.06)), (2, 1)),
        "vault": pick(rng, (0.0, rate(rng, 0.3, 1.0)), (2, 1)),
    }


def generate(rng: np.random.Generator, height: int, width: int, style: Style) -> Grid | None:
    """Return one cave, with rock all around."""
    floor = _FORMS[str(style["form"])](rng, height, width, style)
    if style["mirror"]:
        floor = floor | floor[:, ::-1]
    floor = _joined(rng, floor)
    if floor.sum() < max(30, 0.12 * floor.size):
        return None
    grid = blank(height, width, "#")
    grid[floor] = " "
    first = spread(rng, floor, 1)[0]
    start = farthest(floor, first)
    goal = farthest(floor, start)
    if rng.random() < 0.3:
        start, goal = goal, start
    way = trail(floor, start, goal)
    _flood(rng, grid, way, style)
    if chance(rng, float(style["vault"])):
        _vault(rng, grid, start)
    grid[start], grid[goal] = "@", "X"
    _inhabit(rng, grid, start, style)
    return grid


def _grown(rng: np.random.Generator, height: int, width: int, style: Style) -> Mask:
    """Rock and floor at random, then each cell does as most around it."""
    rock = rng.random((height, width)) > 0.5 + 0.22 * (float(style["open"]) - 0.35)
    for number in range(int(style["rounds"])):
        around = neighbors(rock)
        rock = (around >= 5) | (rock & (around >= 4)) | ((around <= 1) & (number < 1))
    return _closed(~rock)


def _dug(rng: np.random.Generator, height: int, width: int, style: Style) -> Mask:
    """Tunnels dug by miners who like to go straight on."""
    floor, inner = np.zeros((height, width), np.bool_), np.zeros((height, width), np.bool_)
    wanted, brush = float(style["open"]) * 0.8 * floor.size, int(style["tunnel"])
    inner[2:-3, 2:-3] = True
    places = spread(rng, inner, max(1, floor.size // 250), 8)
    for one, other in pairwise(places):
        _tunnel(rng, floor, one, other, brush)
    for number in range(floor.size):
        if number % 8 == 0 and floor.sum() >= wanted:
            break
        row, column = pick(rng, places)
        down, right = pick(rng, STEPS)
        for _ in range(between(rng, 4, 14)):
            if chance(rng, 0.25):
                down, right = pick(rng, STEPS)
            row, column = min(max(row + down, 1), height - 1 - brush), min(max(column + right, 1), width - 1 - brush)
            floor[row : row + brush, column : column + brush] = True
        places.append((row, column))
    return _closed(floor)


def _chambers(rng: np.random.Generator, height: int, width: int, style: Style) -> Mask:
    """Round chambers, ragged by noise, joined one after another by winding tunnels."""
    rows, columns = np.mgrid[:height, :width]
    ragged, floor = noise(rng, height, width, 4.0), np.zeros((height, width), np.bool_)
    count = max(3, round(height * width * float(style["open"]) / 70))
    inner = np.zeros((height, width), np.bool_)
    inner[3:-3, 3:-3] = True
    centers = spread(rng, inner, count, 6)
    for row, column in centers:
        tall, wide = rng.uniform(2.0, 4.5), rng.uniform(2.0, 6.0)
        far = ((rows - row) / tall) ** 2 + ((columns - column) / wide) ** 2
        floor |= far < 0.6 + 0.9 * ragged
    for one, other in pairwise(centers):
        _tunnel(rng, floor, one, other, int(style["tunnel"]))
    return _closed(floor)


_FORMS: Mapping[str, Callable[[np.random.Generator, int, int, Style], Mask]] = MappingProxyType(
    {"grown": _grown, "dug": _dug, "chambers": _chambers}
)


def _closed(floor: Mask) -> Mask:
    floor[[0, -1]] = False
    floor[:, [0, -1]] = False
    return floor


def _tunnel(rng: np.random.Generator, floor: Mask, start: Cell, end: Cell, brush: int) -> None:
    """Dig a way that wanders but gets there."""
    (row, column), (height, width) = start, floor.shape
    while (row, column) != end:
        if chance(rng, 0.25):
            down, right = pick(rng, STEPS)
        elif chance(rng, abs(end[0] - row) / (abs(end[0] - row) + abs(end[1] - column))):
            down, right = (1 if end[0] > row else -1), 0
        else:
            down, right = 0, (1 if end[1] > column else -1)
        row, column = min(max(row + down, 1), height - 2), min(max(column + right, 1), width - 2)
        floor[row : min(row + brush, height - 1), column : min(column + brush, width - 1)] = True


def _joined(rng: np.random.Generator, floor: Mask) -> Mask:
    """Join the larger caves by tunnels and fill in the small ones."""
    labels, sizes = regions(floor)
    order = [int(number) for number in np.argsort(-sizes) if sizes[number] >= 12]
    if not order:
        return floor
    joined = floor.copy()
    home = spread(rng, labels == order[0], 1)[0]
    for number in order[1:5]:
        _tunnel(rng, joined, spread(rng, labels == number, 1)[0], home, 1)
    return reachable(joined, home)


def _flood(rng: np.random.Generator, grid: Grid, way: list[Cell], style: Style) -> None:
    """Fill low ground with lakes and lava; the way from start to goal crosses lakes on bridges and never burns."""
    height, width = grid.shape
    path = np.zeros(grid.shape, np.bool_)
    path[tuple(np.array(way).T)] = True
    for liquid in "~!":
        share = float(style["lakes" if liquid == "~" else "lava"])
        if not share:
            continue
        depth, floor = noise(rng, height, width, 6.0), grid == " "
        low = floor & (depth < np.quantile(depth, share))
        ends = np.zeros(grid.shape, np.bool_)
        for row, column in (way[0], way[-1]):
            ends[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
        low &= ~ends
        if liquid == "~" and style["bridges"]:
            grid[low & path] = "="
        grid[low & ~path] = liquid


def _vault(rng: np.random.Generator, grid: Grid, start: Cell) -> None:
    """Build a walled chamber into the rock where it meets the cave, lock it, and lay the key far from the start."""
    rock = np.pad((grid == "#").astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    tall, wide = between(rng, 4, 5), between(rng, 4, 6)
    sums = rock[tall:, wide:] - rock[:-tall, wide:] - rock[tall:, :-wide] + rock[:-tall, :-wide]
    places = [(int(row), int(column)) for row, column in np.argwhere(sums == tall * wide)]
    for number in rng.permutation(len(places)).tolist()[:40]:
        top, left = places[number]
        column = left + between(rng, 1, wide - 2)
        for row, outside in ((top, top - 1), (top + tall - 1, top + tall)):
            if 0 < outside < grid.shape[0] - 1 and grid[outside, column] == " ":
                steps = np.where(grid == " ", distances(grid == " ", start), -1)
                if steps[outside, column] < 0 or steps.max() < 4:
                    continue
                far = np.argwhere(steps >= 0.6 * steps.max())
                grid[top : top + tall, left : left + wide] = "W"
                grid[top + 1 : top + tall - 1, left + 1 : left + wide - 1] = "*"
                grid[top + tall // 2, left + wide // 2] = "$"
                grid[row, column] = "D"
                key = far[int(rng.random() * len(far))]
                grid[int(key[0]), int(key[1])] = "k"
                return


def _inhabit(rng: np.random.Generator, grid: Grid, start: Cell, style: Style) -> None:
    """Put treasure into dead ends, monsters far from the start, dangers and growth where they fit."""
    floor, rock = grid == " ", np.isin(grid, ("#", "W"))
    around = neighbors(rock)
    steps = distances(~rock & ~np.isin(grid, ("!", "~", "D")), start)
    far = steps > 0.25 * steps.max()
    walls = sum(np.roll(rock, shift, axis) for axis in (0, 1) for shift in (-1, 1))
    size = int(floor.sum())
    ends = floor & (np.asarray(walls) >= 3) & far
    for cell in spread(rng, ends, 6, 4):
        if chance(rng, float(style["chests"])):
            grid[cell] = "$"
    open_ = floor & (around == 0) & far
    for cell in spread(rng, open_, int(rng.poisson(float(style["monsters"]) * size)), 3):
        grid[cell] = "b"
    for cell in spread(rng, floor & far & (around <= 3), int(rng.poisson(float(style["monsters"]) * size / 2)), 4):
        grid[cell] = "t"
    if chance(rng, float(style["nests"])):
        for cell in spread(rng, open_ & (grid == " "), between(rng, 1, 3), 6):
            grid[cell] = "n"
    for cell in spread(rng, open_ & (grid == " "), int(rng.poisson(float(style["spikes"]) * size)), 3):
        grid[cell] = "^"
    gems = (grid == " ") & (around >= 4)
    for cell in spread(rng, gems, int(rng.poisson(float(style["gems"]) * size)), 2):
        grid[cell] = "*"
    grow = (grid == " ") & (around >= 2) & (rng.random(grid.shape) < float(style["mushrooms"]))
    grid[grow] = "'"
    inner = np.zeros(grid.shape, np.bool_)
    inner[1:-1, 1:-1] = True
    loose = inner & (grid == "#") & (around < 8) & (rng.random(grid.shape) < float(style["loose"]) * 2)
    grid[loose] = "%"
