"""Islands seen from high above: sea, beaches, grass, woods and mountains by height, rivers down to the sea, villages
and the roads between them, with bridges where they cross a river."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

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
    noise,
    pick,
    rate,
    regions,
    spread,
    subrange,
)

__all__ = ["NAME", "RULES", "SIZES", "TILES", "draw_style", "generate"]

NAME = "island"
RULES = "reachability"
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({"height": (16, 48), "width": (20, 64)})
TILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "~": ("liquid", "solid"),  # deep sea
        "-": ("liquid",),  # shallows
        ".": ("empty",),  # beach
        ",": ("empty",),  # grass
        "T": ("decoration",),  # wood: can be walked through
        "n": ("empty",),  # hills
        "A": ("solid",),  # mountain
        "^": ("solid", "hazard"),  # peak or crater
        "w": ("liquid", "solid"),  # river
        "=": ("empty",),  # bridge
        "+": ("empty",),  # road
        "h": ("solid", "decoration"),  # house
        "f": ("decoration",),  # field
        "*": ("collectable",),
        "m": ("enemy",),
        "S": ("start",),
        "G": ("goal",),
    }
)


def draw_style(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one designer's taste: how much sea, how rough, how settled."""
    small, large = pick(rng, ((0, 0.5), (0.3, 1.0), (0.0, 1.0)))
    low, high = ([round(a + share * (b - a)) for a, b in SIZES.values()] for share in (small, large))
    return {
        "height": subrange(rng, low[0], high[0], 4),
        "width": subrange(rng, low[1], high[1], 6),
        "shape": pick(rng, ("one", "one", "many", "coast")),
        "sea": rate(rng, 0.25, 0.55),
        "scale": rate(rng, 5.0, 12.0),
        "shallows": rate(rng, 0.0, 0.12),
        "beach": rate(rng, 0.02, 0.12),
        "woods": rate(rng, 0.1, 0.6),
        "clumps": rate(rng, 2.5, 8.0),
        "hills": rate(rng, 0.1, 0.3),
        "mountains": pick(rng, (0.0, rate(rng, 0.04, 0.15))),
        "peaks": chance(rng, 0.3),
        "rivers": pick(rng, (0, between(rng, 1, 3))),
        "villages": between(rng, 2, 6),
        "houses": between(rng, 1, 5),
        "fields": pick(rng, (0.0, rate(rng, 0.2, 0.9))),
        "roads": chance(rng, 0.75),
        "treasure": pick(rng, (0, between(rng, 1, 5))),
        "monsters": pick(rng, (0.0, rate(rng, 0.003, 0.02))),
        "ends": pick(rng, ("far", "far", "all")),
    }


def generate(rng: np.random.Generator, height: int, width: int, style: Style) -> Grid | None:
    """Return one island, or several with shallows between them."""
    land = _heights(rng, height, width, style)
    grid = _painted(rng, land, style)
    for _ in range(int(style["rivers"])):
        _river(rng, grid, land)
    walkable = np.isin(grid, (".", ",", "T", "n", "-"))
    labels, sizes = regions(walkable)
    home = (labels == int(sizes.argmax())) & np.isin(grid, (".", ",", "T"))
    home[[0, -1]] = False
    home[:, [0, -1]] = False
    places = spread(rng, home, int(style["villages"]), 6)
    if len(places) < 2 or home.sum() < 40:
        return None
    for place in places:
        _village(rng, grid, place, style)
    if style["roads"]:
        _roads(grid, places)
    _ends(grid, places, str(style["ends"]))
    _people(rng, grid, style)
    return grid


def _heights(rng: np.random.Generator, height: int, width: int, style: Style) -> npt.NDArray[np.float64]:
    """Return heights from 0 to 1: noise that sinks towards the edges, or towards one of them."""
    rough = noise(rng, height, width, float(style["scale"]))
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    if style["shape"] == "coast":
        sink = pick(rng, (rows, -rows, columns, -columns)) * np.ones((height, width))
        land = rough + 0.8 * sink
    else:
        sink = np.maximum(np.abs(rows), np.abs(columns)) ** 2 + 0.4 * (rows**2 + columns**2)
        land = rough - (0.9 if style["shape"] == "one" else 0.45) * sink
    # Ranks make shares of sea and mountains what the style says.
    ranks = np.empty(land.size)
    ranks[np.argsort(land, axis=None)] = np.linspace(0, 1, land.size)
    return ranks.reshape(land.shape)


def _painted(rng: np.random.Generator, land: npt.NDArray[np.float64], style: Style) -> Grid:
    """Paint sea, beach, grass, woods, hills and mountains by height."""
    grid, sea = blank(land.shape[0], land.shape[1], ","), float(style["sea"])
    dry = (land - sea) / (1 - sea)
    woods = noise(rng, land.shape[0], land.shape[1], float(style["clumps"]))
    grid[(woods < np.quantile(woods, float(style["woods"]))) & (dry > 0.05)] = "T"
    grid[dry > 1 - float(style["hills"]) - float(style["mountains"])] = "n"
    grid[dry > 1 - float(style["mountains"])] = "A"
    if style["peaks"]:
        grid[dry > 1 - float(style["mountains"]) * 0.3] = "^"
    grid[dry < float(style["beach"])] = "."
    grid[land < sea] = "-"
    grid[land < sea - float(style["shallows"])] = "~"
    return grid


def _river(rng: np.random.Generator, grid: Grid, land: npt.NDArray[np.float64]) -> None:
    """Let a river run from high ground to the sea, always downhill or through what is lowest around it."""
    high = cells_of((land > 0.75) & ~np.isin(grid, ("w", "^")))
    if not high:
        return
    cell, course = pick(rng, high), []
    visited = {cell}
    for _ in range(sum(grid.shape)):
        if grid[cell] in ("~", "-", "w"):
            break
        course.append(cell)
        beside = [(cell[0] + down, cell[1] + right) for down, right in STEPS]
        beside = [
            one for one in beside if 0 <= one[0] < grid.shape[0] and 0 <= one[1] < grid.shape[1] and one not in visited
        ]
        if not beside:
            return
        cell = min(beside, key=lambda one: float(land[one]))
        visited.add(cell)
    else:
        return
    if len(course) >= 4:
        for one in course:
            grid[one] = "w"


def _village(rng: np.random.Generator, grid: Grid, place: Cell, style: Style) -> None:
    """Build houses and fields around a square."""
    row, column = place
    grid[row, column] = "+"
    rows, columns = slice(max(1, row - 2), row + 3), slice(max(1, column - 2), column + 3)
    part = grid[rows, columns]
    free = np.isin(part, (",", ".", "T"))
    near_row, near_column = row - rows.start, column - columns.start
    free[near_row] = False
    free[:, near_column] = False
    part[np.isin(part, ("T",)) & ~free] = ","
    for cell in spread(rng, free, int(style["houses"]), 2):
        part[cell] = "h"
    if chance(rng, float(style["fields"])):
        field = grid[row + 1 : row + 3, column + 3 : column + 6]
        field[np.isin(field, (",", "T"))] = "f"


_COSTS = {"+": 0.3, "=": 0.3, ",": 1.0, ".": 1.2, "f": 2.0, "T": 2.0, "n": 2.5, "-": 5.0, "w": 6.0}


def _roads(grid: Grid, places: list[Cell]) -> None:
    """Lay roads from each village to the nearest one before it, along the easiest ground, over rivers by bridges."""
    for number, place in enumerate(places[1:], 1):
        nearest = min(places[:number], key=lambda one: abs(one[0] - place[0]) + abs(one[1] - place[1]))
        for cell in _easiest(grid, place, nearest):
            if grid[cell] in ("w", "-"):
                grid[cell] = "="
            elif grid[cell] not in ("h", "="):
                grid[cell] = "+"


def _easiest(grid: Grid, start: Cell, end: Cell) -> list[Cell]:
    """Return the cells of the easiest way between two places, without the first; empty if there is none."""
    width = grid.shape[1]
    costs = [_COSTS.get(tile, 0.0) for tile in grid.ravel().tolist()]
    first, last = start[0] * width + start[1], end[0] * width + end[1]
    best, came = {first: 0.0}, {first: first}
    heap = [(0.0, first)]
    while heap:
        cost, here = heapq.heappop(heap)
        if here == last:
            break
        if cost > best[here]:
            continue
        column = here % width
        for there in (here - width, here + width, here - (column > 0), here + (column < width - 1)):
            if 0 <= there < len(costs) and costs[there]:
                total = cost + costs[there]
                if total < best.get(there, 1e9):
                    best[there], came[there] = total, here
                    heapq.heappush(heap, (total, there))
    way: list[Cell] = []
    here = last if last in came else first
    while here != first:
        way.append((here // width, here % width))
        here = came[here]
    return way


def _ends(grid: Grid, places: list[Cell], how: str) -> None:
    """Start in the first village; the goal is the farthest one, or all others are."""
    start = places[0]
    grid[start] = "S"
    others = sorted(places[1:], key=lambda one: -abs(one[0] - start[0]) - abs(one[1] - start[1]))
    for place in others if how == "all" else others[:1]:
        grid[place] = "G"


def _people(rng: np.random.Generator, grid: Grid, style: Style) -> None:
    """Hide treasure at the shores and in the hills, and let monsters roam the woods."""
    for cell in spread(rng, np.isin(grid, (".", "n")), int(style["treasure"]), 5):
        grid[cell] = "*"
    wild: Mask = np.isin(grid, ("T", "n"))
    for cell in spread(rng, wild, int(rng.poisson(float(style["monsters"]) * wild.sum())), 4):
        grid[cell] = "m"
