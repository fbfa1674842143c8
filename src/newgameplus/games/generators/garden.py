"""Formal gardens seen from above: a quarter is laid out of beds, hedges, ponds and paths, and mirrored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from newgameplus.games.generators.canvas import (
    Grid,
    Style,
    between,
    blank,
    cells_of,
    chance,
    pick,
    rate,
    regions,
    shares,
    spread,
    subrange,
)

__all__ = ["NAME", "RULES", "SIZES", "TILES", "draw_style", "generate"]

NAME = "garden"
RULES = "reachability"
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType({"height": (13, 37), "width": (13, 45)})
TILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        ":": ("empty",),  # path
        ".": ("empty",),  # lawn
        "H": ("solid",),  # hedge
        "#": ("solid",),  # garden wall
        "*": ("decoration",),  # roses
        "%": ("decoration",),  # tulips
        "~": ("liquid", "solid"),  # pond
        "(": ("solid",),  # fountain, of four tiles
        ")": ("solid",),
        "{": ("solid",),
        "}": ("solid",),
        "!": ("solid", "decoration"),  # statue
        "T": ("solid",),  # tree
        "-": ("solid", "decoration"),  # bench
        "b": ("enemy",),  # bees
        "$": ("collectable",),
        "E": ("start",),
        "P": ("goal",),  # pavilion
    }
)


def draw_style(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one designer's taste: paths, beds, edges."""
    small, large = pick(rng, ((0, 0.5), (0.3, 1.0), (0.0, 1.0)))
    low, high = ([round(a + share * (b - a)) for a, b in SIZES.values()] for share in (small, large))
    return {
        "height": [low[0] | 1, max(low[0] | 1, high[0] | 1)],
        "width": subrange(rng, low[1], high[1], 4),
        "wall": pick(rng, "#H"),
        "path": between(rng, 1, 2),
        "beds": shares(rng, tuple(_BEDS), 2, 5),
        "bed": [between(rng, 3, 4), between(rng, 5, 7)],
        "ground": pick(rng, (".", ".", ":")),
        "mirror": pick(rng, ("four", "four", "left-right", "none")),
        "center": pick(rng, ("fountain", "pond", "tree", "nothing")),
        "statues": pick(rng, (0, 0, 1, 2)),
        "trees": pick(rng, (0.0, rate(rng, 0.02, 0.08))),
        "bees": pick(rng, (0, 0, between(rng, 1, 4))),
        "coins": pick(rng, (0, between(rng, 1, 5))),
        "entry": pick(rng, ("bottom", "left")),
    }


def generate(rng: np.random.Generator, height: int, width: int, style: Style) -> Grid | None:
    """Return one garden inside its wall or hedge."""
    grid = blank(height, width, str(style["wall"]))
    inner = grid[1:-1, 1:-1]
    inner[...] = ":"
    rows, columns = inner.shape
    four, half = style["mirror"] == "four", style["mirror"] != "none"
    quarter = inner[: (rows + 1) // 2 if four else rows, : (columns + 1) // 2 if half else columns]
    _lay_out(rng, quarter, style)
    if half:
        inner[:, columns - columns // 2 :] = inner[:, : columns // 2][:, ::-1]
    if four:
        inner[rows - rows // 2 :] = inner[: rows // 2][::-1]
    _center(inner, str(style["center"]))
    _ends(rng, grid, str(style["entry"]))
    return _furnish(rng, grid, style)


def _lay_out(rng: np.random.Generator, quarter: Grid, style: Style) -> None:
    """Lay beds side by side with paths between; the same row of beds is often repeated."""
    path, (low, high), beds = int(style["path"]), style["bed"], style["beds"]
    height, width = quarter.shape
    top = path
    while top + low <= height:
        tall = min(between(rng, low, high), height - top)
        left = path
        while left + low <= width:
            wide = min(between(rng, low, high), width - left)
            part = quarter[top : top + tall, left : left + wide]
            part[...] = str(style["ground"])
            _BEDS[pick(rng, list(beds), list(beds.values()))](rng, part)
            left += wide + path
        top += tall + path


def _roses(rng: np.random.Generator, part: Grid) -> None:
    """A bed of flowers, in rows or full, with an edge of lawn."""
    what = pick(rng, "*%")
    if chance(rng, 0.5):
        part[1:-1, 1:-1] = what
    else:
        part[::2] = what


def _hedged(rng: np.random.Generator, part: Grid) -> None:
    """A hedge around something small, open at one side."""
    part[...] = "H"
    part[1:-1, 1:-1] = "."
    middle, center = part.shape[0] // 2, part.shape[1] // 2
    part[middle, center] = pick(rng, "!*T.")
    opening = pick(rng, ((0, center), (part.shape[0] - 1, center), (middle, 0), (middle, part.shape[1] - 1)))
    part[opening] = "."


def _pond(rng: np.random.Generator, part: Grid) -> None:
    """A pond, rectangular or with cut corners."""
    inner = part[1:-1, 1:-1] if min(part.shape) > 4 else part
    inner[...] = "~"
    if min(inner.shape) >= 3 and chance(rng, 0.6):
        inner[[0, 0, -1, -1], [0, -1, 0, -1]] = "."


def _orchard(rng: np.random.Generator, part: Grid) -> None:
    """Trees in a square or shifted pattern."""
    part[1::2, 1::2] = "T"
    if chance(rng, 0.5):
        part[::2, ::2] = "T"


def _knot(rng: np.random.Generator, part: Grid) -> None:
    """Low hedges that cross, with flowers in the corners between."""
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
    wide = part.shape[1] - 1
    cross = (rows * wide == columns * (part.shape[0] - 1)) | (rows + columns == wide)
    part[...] = pick(rng, "*%")
    part[cross] = "H"


def _lawn(rng: np.random.Generator, part: Grid) -> None:
    """Plain lawn, with a bench or a statue."""
    part[...] = "."
    part[part.shape[0] // 2, part.shape[1] // 2] = pick(rng, "!-..")


_BEDS: Mapping[str, Callable[[np.random.Generator, Grid], None]] = MappingProxyType(
    {"roses": _roses, "hedged": _hedged, "pond": _pond, "orchard": _orchard, "knot": _knot, "lawn": _lawn}
)


def _center(inner: Grid, what: str) -> None:
    """Clear the middle for a fountain, a pond or a tree, with a path around it."""
    row, column = inner.shape[0] // 2, inner.shape[1] // 2
    if what == "nothing" or min(inner.shape) < 9:
        return
    odd = inner.shape[1] % 2
    inner[row - 2 : row + 3, column - 2 - (1 - odd) : column + 3] = ":"
    if what == "fountain":
        inner[row - 1, column - 1 : column + 1] = ("(", ")")
        inner[row, column - 1 : column + 1] = ("{", "}")
    elif what == "pond":
        inner[row - 1 : row + 2, column - 1 - (1 - odd) : column + 2] = "~"
    else:
        inner[row, column] = "T"


def _ends(rng: np.random.Generator, grid: Grid, entry: str) -> None:
    """Put the entry into the wall and the pavilion at the other side, each with free ground before it."""
    height, width = grid.shape
    if entry == "bottom":
        column, other = width // 2, pick(rng, (width // 2, 1, width - 2))
        grid[height - 1, column], grid[1, other] = "E", "P"
        grid[height - 2, max(1, column - 1) : column + 2] = ":"
        return
    row, other = height // 2, pick(rng, (height // 2, 1, height - 2))
    grid[row, 0], grid[other, width - 2] = "E", "P"
    grid[max(1, row - 1) : row + 2, 1] = ":"


def _furnish(rng: np.random.Generator, grid: Grid, style: Style) -> Grid | None:
    """Join what hedges and ponds part, then put statues, bees and coins; None if the way is barred all the same."""
    blocked = ("H", "#", "~", "(", ")", "{", "}", "!", "T", "-")
    labels, sizes = regions(~np.isin(grid, blocked))
    home = int(labels[grid == "E"][0])
    if labels[grid == "P"][0] != home:
        return None
    for number in np.flatnonzero(sizes):
        if number != home and number:
            cells = cells_of(labels == number)
            if len(cells) <= 2:
                for row, column in cells:
                    grid[row, column] = "H" if "H" in (grid[row, column - 1], grid[row - 1, column]) else "T"
    free = (labels == home) & np.isin(grid, (".", ":"))
    for cell in spread(rng, free, int(style["bees"]), 5):
        grid[cell] = "b"
    for cell in spread(rng, free & np.isin(grid, (".", ":")), int(style["coins"]), 4):
        grid[cell] = "$"
    return grid
