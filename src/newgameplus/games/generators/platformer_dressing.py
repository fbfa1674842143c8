"""What a side scroller gets when its course is built: things over plain stretches, a rough ceiling, growth."""

from __future__ import annotations

import numpy as np

from newgameplus.games.generators.canvas import between, chance, pick
from newgameplus.games.generators.platformer_course import EMPTY, Course, block_row

__all__ = ["dress"]

_ROOM = 7
"""Free rows over the ground that a stretch needs to be dressed."""


def dress(course: Course) -> None:
    """Dress plain stretches as often as the style likes, roughen the ceiling, and plant growth and clouds."""
    used = 0
    for first, length in _stretches(course):
        if first >= used and chance(course.rng, float(course.style["dress"])):
            length = min(length, between(course.rng, 5, 11))
            _dress_stretch(course, first, length)
            used = first + length + 1
    if course.roof >= 0 and course.style["rough"]:
        _roughen(course)
    _plant(course)


def _surface(course: Course) -> list[int]:
    """Return the row of the surface of each column with nothing above it but air, else -1."""
    filled = course.grid != EMPTY
    filled[: course.roof + 1] = False
    top = filled.argmax(axis=0)
    ground = filled.any(axis=0) & (course.grid[top, np.arange(course.grid.shape[1])] == "#")
    surface: list[int] = np.where(ground & (top - course.roof > _ROOM), top, -1).tolist()
    return surface


def _stretches(course: Course) -> list[tuple[int, int]]:
    """Return first column and length of the plain stretches of at least five columns, left to right."""
    surface, found, first = _surface(course), [], 6
    for column in range(7, course.end + 1):
        if column == course.end or surface[column] != surface[first] or column - first > 14:
            if surface[first] >= 0 and column - first >= 5:
                found.append((first, column - first))
            first = column
    return found


def _dress_stretch(course: Course, first: int, length: int) -> None:
    rng, style = course.rng, course.style
    top = course.top = _surface(course)[first]
    form = pick(rng, list(style["dressing"]), list(style["dressing"].values()))
    inner = max(1, min(length - 2, between(rng, 1, 7)))
    start = first + 1 + between(rng, 0, length - 2 - inner)
    if form == "blocks":
        course.row(top - 4, start, block_row(course, inner))
        if inner >= 4 and top - 8 > course.roof + 1 and chance(rng, 0.3):
            course.row(top - 8, start + 1, block_row(course, inner - 2))
    elif form == "coins":
        for row in range(pick(rng, (1, 1, 2))):
            course.row(top - 2 - row, start, "o" * inner)
    elif form == "arc":
        course.arc(start, inner, 2)
    elif form == "shelf" and inner >= 2:
        course.row(top - 4, start, ("-" if style["one_ways"] else "=") * inner)
        if chance(rng, 0.6):
            course.row(top - 5, start, pick(rng, ("o" * inner, "k", " w")))
    elif form == "stones":
        course.grid[top - 1, start] = "x"
        course.grid[top - 2 : top, start + inner - 1] = "x"
    elif form == "pipe" and length >= 6:
        course.pipe(first + 2, between(rng, 2, 3))
    course.enemies(first, length, 0.3)


def _roughen(course: Course) -> None:
    """Let the ceiling hang lower in pieces wherever that leaves room to jump."""
    rng, grid = course.rng, course.grid
    filled = grid != EMPTY
    filled[: course.roof + 1] = False
    clear = np.where(filled.any(axis=0), filled.argmax(axis=0), len(grid)) - course.roof - 1
    what, column = str(grid[0, 0]), 6
    while column < course.end - 4:
        length = between(rng, 2, 9)
        room = int(clear[column : column + length].min()) - 6
        if room > 0 and chance(rng, 0.6):
            deep = min(room, between(rng, 1, 4))
            grid[course.roof + 1 : course.roof + 1 + deep, column : min(column + length, course.end)] = what
        column += length


def _plant(course: Course) -> None:
    """Put bushes on free ground and clouds into a free sky."""
    rng, style, grid = course.rng, course.style, course.grid
    if style["bushes"]:
        stand = (grid[:-1] == EMPTY) & (grid[1:] == "#")
        grid[:-1][stand & (rng.random(stand.shape) < float(style["bushes"]) * 2)] = '"'
    if style["clouds"]:
        for column in np.flatnonzero(rng.random(grid.shape[1] - 3) < float(style["clouds"])).tolist():
            row = between(rng, 0, 2)
            if (grid[row : row + 2, column : column + 3] == EMPTY).all():
                grid[row, column : column + 2] = ("(", ")")
