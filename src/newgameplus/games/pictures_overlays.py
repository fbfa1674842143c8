"""What is drawn over a level: the solver's way, the place where it got stuck, what it never reached, a region."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from newgameplus.games.rules.contract import Cell

__all__ = ["dim_unreached", "draw_mark", "draw_path", "draw_region", "follow_moves"]

Pixels = npt.NDArray[np.uint8]
"""uint8 [height * cell, width * cell, 3]."""
_Points = npt.NDArray[np.float64]

_EARLY, _MIDDLE, _LATE = (255, 228, 70), (255, 146, 40), (226, 40, 140)
_CASING = (24, 26, 34)
_STUCK = (214, 0, 40)
_WARP = 4.5
"""Cells between two points of a path from where on it is no step or jump but a passage, drawn dotted."""

_SHARPEST = 16_000_000
"""Pixels up to which lines are smoothed."""

_STEPS = {"u": (-1, 0), "d": (1, 0), "l": (0, -1), "r": (0, 1)}


def follow_moves(start: Cell, moves: str) -> list[Cell]:
    """Return the cells of a walk: ``u``, ``d``, ``l``, ``r``, capitals alike; other letters stay where they are."""
    cells = [start]
    for move in moves.lower():
        down, right = _STEPS.get(move, (0, 0))
        cells.append((cells[-1][0] + down, cells[-1][1] + right))
    return cells


def dim_unreached(pixels: Pixels, cell: int, reached: npt.NDArray[np.bool_], solid: npt.NDArray[np.bool_]) -> None:
    """Make darker, in place, what the player cannot get to; walls beside reached cells stay bright.

    Args:
        pixels: The drawn level.
        cell: Pixels a side of one tile.
        reached: bool [height, width].
        solid: bool [height, width].
    """
    height, width = solid.shape
    near = np.zeros_like(solid)
    padded = np.pad(reached, 1)
    for down in (0, 1, 2):
        for right in (0, 1, 2):
            near |= padded[down : down + height, right : right + width]
    dark = ~(reached | (near & solid))
    table = (np.arange(256) * 0.6 + 0.4 * 64).astype(np.uint8)
    cells = pixels.reshape(height, cell, width, cell, 3).swapaxes(1, 2)
    cells[dark] = table[cells[dark]]


def draw_path(pixels: Pixels, cell: int, cells: Sequence[Cell], begin: bool = True) -> None:
    """Draw a way through cells, in place: from yellow (early) to magenta (late), with arrowheads.

    A way that comes through a cell again keeps to its right, so that there and back lie side by side.

    Args:
        pixels: The drawn level.
        cell: Pixels a side of one tile.
        cells: First to last; those outside the picture are cut off.
        begin: Whether to draw a ring where it begins; better not where the tile shows a player.
    """
    kept = [now for place, now in enumerate(cells) if place == 0 or now != cells[place - 1]]
    points = np.array([(column + 0.5, row + 0.5) for row, column in kept], np.float64)
    again = len(set(kept)) < len(kept)
    if again:
        points += 0.17 * _to_the_right(points)
    if len(points) > 1:
        _draw_runs(pixels, cell, points, 0.75 if again else 1.0)
    for at, late in ((points[0], False), (points[-1], True)):
        if late or begin:
            _draw_end(pixels, cell, (float(at[0]), float(at[1])), late)


def _to_the_right(points: _Points) -> _Points:
    """Return float64 [points, 2]: for each point of a way, the direction to its right."""
    steps = np.diff(points, axis=0)
    steps /= np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-9)
    right = np.stack([-steps[:, 1], steps[:, 0]], axis=1)
    return np.asarray(np.clip(np.vstack([right, right[-1:]]) + np.vstack([right[:1], right]), -1, 1))


def _smooth(points: _Points, times: int) -> _Points:
    """Cut the corners of a line (Chaikin 1974); its ends stay."""
    for _ in range(times if len(points) > 2 else 0):
        before, after = points[:-1], points[1:]
        cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], axis=1).reshape(-1, 2)
        points = np.vstack([points[:1], cut[1:-1], points[-1:]])
    return points


def _draw_runs(pixels: Pixels, cell: int, points: _Points, weight: float) -> None:
    """Draw all pieces of a way between passages into three masks, and lay them over the picture."""
    height, width = pixels.shape[:2]
    finer = 2 if height * width <= _SHARPEST else 1
    line, casing = (Image.new("L", (width * finer, height * finer)) for _ in range(2))
    when = Image.new("L", (width, height))
    core = max(1.6, 0.15 * cell * weight)
    rim = max(0.8, 0.07 * cell * weight)
    breaks = np.flatnonzero(np.abs(np.diff(points, axis=0)).max(axis=1) > _WARP) + 1
    starts = [0, *breaks.tolist(), len(points)]
    for start, end in pairwise(starts):
        run = _smooth(points[start:end], 2 if len(points) < 4_000 else 0) * cell
        begin, finish = (1 + round(254 * place / len(points)) for place in (start, end))
        if len(run) > 1:
            _draw_run(line, casing, run * finer, (core * finer, rim * finer), cell * finer * weight)
            _draw_time(when, run, core + 2 * rim + 3, begin, finish)
        if end < len(points):
            dots = np.linspace(points[end - 1], points[end], 2 + int(2 * np.abs(points[end] - points[end - 1]).max()))
            _draw_dots(line, casing, when, dots * cell, finer, core, finish)
    _blend(pixels, np.asarray(casing.reduce(finer)), np.asarray(line.reduce(finer)), np.asarray(when))


def _draw_run(line: Image.Image, casing: Image.Image, run: _Points, widths: tuple[float, float], cell: float) -> None:
    """Draw one unbroken piece with its arrowheads; all lengths in pixels of the masks."""
    core, rim = widths
    flat = [tuple(point) for point in run.tolist()]
    for mask, width, grow in ((casing, core + 2 * rim, rim), (line, core, 0.0)):
        draw = ImageDraw.Draw(mask)
        draw.line(flat, fill=255, width=max(1, round(width)), joint="curve" if len(flat) < 2_000 else None)
        for at, ahead in _arrowheads(run, cell):
            side = np.array([-ahead[1], ahead[0]])
            size, half = 0.24 * cell + 1.6 * grow, 0.26 * cell + 1.4 * grow
            corners = (at + ahead * size, at - ahead * size * 0.8 + side * half, at - ahead * size * 0.8 - side * half)
            draw.polygon([tuple(corner) for corner in np.array(corners).tolist()], fill=255)


def _arrowheads(run: _Points, cell: float) -> list[tuple[_Points, _Points]]:
    """Return places and directions of arrowheads: every seven cells, and one at least."""
    steps = np.linalg.norm(np.diff(run, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    count = max(1, int(along[-1] / (7 * cell)))
    heads = []
    for target in (np.arange(count) + 0.5) * along[-1] / count:
        place = min(int(np.searchsorted(along, target, side="right")), len(run) - 1)
        step = run[place] - run[place - 1]
        if length := float(np.linalg.norm(step)):
            share = (target - along[place - 1]) / length
            heads.append((run[place - 1] + share * step, step / length))
    return heads


def _draw_time(when: Image.Image, run: _Points, width: float, begin: int, end: int) -> None:
    """Write how far along the way each place is, 1 to 255."""
    draw = ImageDraw.Draw(when)
    pieces = min(len(run) - 1, 96)
    ends = np.linspace(0, len(run) - 1, pieces + 1).round().astype(int)
    for number, (start, stop) in enumerate(pairwise(ends)):
        value = begin + round((end - begin) * number / pieces)
        flat = [tuple(point) for point in run[start : stop + 1].tolist()]
        draw.line(flat, fill=value, width=round(width) + 2, joint="curve")


def _draw_dots(
    line: Image.Image, casing: Image.Image, when: Image.Image, dots: _Points, finer: int, core: float, time: int
) -> None:
    for mask, scale, radius, value in (
        (casing, finer, core * 0.9, 255), (line, finer, core * 0.6, 255), (when, 1, core + 2, time)
    ):  # fmt: skip
        draw = ImageDraw.Draw(mask)
        for x, y in (dots * scale).tolist():
            size = radius * scale
            draw.ellipse((x - size, y - size, x + size, y + size), fill=value)


def _blend(pixels: Pixels, casing: Pixels, line: Pixels, when: Pixels) -> None:
    """Lay a cased line over a picture, colored by time."""
    rows, columns = np.nonzero(casing)
    table = np.array(
        [
            [np.interp(at, (0, 128, 255), parts) for parts in zip(_EARLY, _MIDDLE, _LATE, strict=True)]
            for at in range(256)
        ]
    )
    under = pixels[rows, columns].astype(np.float64)
    cased = casing[rows, columns, None] / 255 * 0.85
    under += (np.array(_CASING) - under) * cased
    over = line[rows, columns, None] / 255
    under += (table[when[rows, columns]] - under) * over
    pixels[rows, columns] = under.round().astype(np.uint8)


def _paste(pixels: Pixels, patch: Image.Image, x: float, y: float) -> None:
    """Lay a transparent patch over a picture with its middle at x, y; what lies outside is cut off."""
    left, top = round(x - patch.width / 2), round(y - patch.height / 2)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(pixels.shape[1], left + patch.width), min(pixels.shape[0], top + patch.height)
    if x0 >= x1 or y0 >= y1:
        return
    over = np.asarray(patch.crop((x0 - left, y0 - top, x1 - left, y1 - top)), np.float64)
    under = pixels[y0:y1, x0:x1].astype(np.float64)
    under += (over[..., :3] - under) * (over[..., 3:] / 255)
    pixels[y0:y1, x0:x1] = under.round().astype(np.uint8)


def _draw_end(pixels: Pixels, cell: int, at: tuple[float, float], late: bool) -> None:
    """Draw where a way begins (an open ring) or ends (a filled disc)."""
    radius = max(2.0, 0.24 * cell)
    side = int(2 * radius + 4)
    patch = Image.new("RGBA", (4 * side, 4 * side), (*_CASING, 0))
    draw = ImageDraw.Draw(patch)
    middle = 2 * side
    for grown, color in ((radius + 1.2, _CASING), (radius, _LATE if late else _EARLY), (radius * 0.5, (255, 255, 255))):
        size = 4 * grown
        draw.ellipse((middle - size, middle - size, middle + size, middle + size), fill=color)
    _paste(pixels, patch.reduce(4), at[0] * cell, at[1] * cell)


def draw_mark(pixels: Pixels, cell: int, mark: Cell) -> None:
    """Draw a red ring with a cross around one cell, in place; a cell outside the picture is not drawn."""
    radius = max(7.0, 0.8 * cell)
    side = int(2 * radius + 6)
    patch = Image.new("RGBA", (4 * side, 4 * side), (255, 255, 255, 0))
    draw = ImageDraw.Draw(patch)
    middle, reach = 2 * side, 4 * radius
    cross = reach * 0.5
    for grow, color in ((5.0, (255, 255, 255)), (0.0, _STUCK)):
        width = round(max(6.0, 0.5 * cell) + 2 * grow)
        size = reach + grow
        draw.ellipse((middle - size, middle - size, middle + size, middle + size), outline=color, width=width)
        for down in (-1, 1):
            ends = (middle - cross, middle - down * cross, middle + cross, middle + down * cross)
            draw.line(ends, fill=color, width=width)
    _paste(pixels, patch.reduce(4), (mark[1] + 0.5) * cell, (mark[0] + 0.5) * cell)


def draw_region(pixels: Pixels, cell: int, region: tuple[int, int, int, int]) -> None:
    """Outline a region, in place, with dashes that show on light and dark.

    Args:
        pixels: The drawn level.
        cell: Pixels a side of one tile.
        region: Left column, top row, width, height in tiles; cut off at the picture's edge.
    """
    left, top, width, height = region
    x0, y0 = max(0, left * cell), max(0, top * cell)
    x1, y1 = min(pixels.shape[1], (left + width) * cell), min(pixels.shape[0], (top + height) * cell)
    if x0 >= x1 or y0 >= y1:
        return
    thick = max(2, cell // 6)
    part = pixels[y0:y1, x0:x1]
    ys, xs = np.ogrid[: part.shape[0], : part.shape[1]]
    edge = (ys < thick) | (ys >= part.shape[0] - thick) | (xs < thick) | (xs >= part.shape[1] - thick)
    dash = ((xs + ys) // max(4, cell // 2)) % 2 == 0
    part[edge & dash] = (255, 240, 90)
    part[edge & ~dash] = (30, 33, 40)
