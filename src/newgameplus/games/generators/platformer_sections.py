"""Sections of a side scroller: each builds a few columns around one idea, harder or easier as it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from newgameplus.games.generators.canvas import between, chance, pick
from newgameplus.games.generators.platformer_course import Course, block_row

__all__ = ["SECTIONS", "Section", "rest"]

Section = Callable[[Course, float], None]
"""Builds the next columns of a course; the number says how hard, from 0 to 1."""


def rest(course: Course, hard: float) -> None:
    """Flat ground to breathe on, sometimes with coins."""
    length = between(course.rng, 4, 9)
    first = course.run(length)
    if chance(course.rng, 0.5 * float(course.style["coins"]) * (1.2 - hard)):
        rows = pick(course.rng, (1, 1, 2))
        for row in range(rows):
            course.row(course.top - 3 - row, first + 1, "o" * max(0, course.x - first - 2))


def _patrol(course: Course, hard: float) -> None:
    """Flat ground with groups of enemies, and something small to hide behind."""
    for _ in range(between(course.rng, 1, 1 + round(2 * hard))):
        length = between(course.rng, 6, 11)
        first = course.run(length)
        course.enemies(first, course.x - first, hard + 0.5)
        if chance(course.rng, 0.3) and course.x - first > 5:
            course.grid[course.top - 1, first + 1] = "x"
        course.flyers(course.top - 4, first, course.x - first, hard)


def _gaps(course: Course, hard: float) -> None:
    """Gaps that grow, with ground to land on between them."""
    widest = int(course.style["gap"])
    for number in range(between(course.rng, 1, 1 + round(3 * hard))):
        wide = between(course.rng, 1 + (hard > 0.5), max(1, round(widest * (0.4 + 0.6 * hard))))
        if course.left < wide + 6:
            return
        first = course.run(between(course.rng, 2, 5))
        if chance(course.rng, float(course.style["coins"])):
            course.arc(course.x - 1, wide + 2, 2)
        course.gap(wide)
        if wide <= 3:
            course.step(pick(course.rng, (-2, -1, 0, 0, 0, 1, 1)))
        course.run(between(course.rng, 3 if number else 2, 6))
        if course.x - first > 9:
            course.enemies(course.x - 5, 5, hard)


def _hills(course: Course, hard: float) -> None:
    """Ground that goes up and down in steps one can jump."""
    highest = 2 + (hard > 0.4)
    for _ in range(between(course.rng, 1, 2 + round(2 * hard))):
        if course.left < 8:
            return
        up = between(course.rng, 1, highest)
        course.step(up if course.top > course.base - 3 else -up)
        first = course.run(between(course.rng, 3, 8))
        course.enemies(first, course.x - first, hard)
        if chance(course.rng, 0.3 * float(course.style["coins"])):
            course.row(course.top - 2, first + 1, "o" * max(0, course.x - first - 2))
    if course.top < course.base:
        course.top = min(course.base, course.top + between(course.rng, 1, 4))
        course.run(3)


def _stairs(course: Course, hard: float) -> None:
    """Stairs up, and down again behind a landing or a gap."""
    steps = between(course.rng, 2, min(2 + round(5 * hard) + 1, course.top - course.highest + 1, 7))
    gap = between(course.rng, 1, min(3, int(course.style["gap"]))) if chance(course.rng, 0.3 + 0.4 * hard) else 0
    both = chance(course.rng, 0.7)
    if course.left < 2 * steps + gap + 6:
        rest(course, hard)
        return
    what = str(course.style["stairs"])
    first = course.run(steps + 1)
    for number in range(steps + 1):
        tall = min(number + 1, steps)
        course.grid[course.top - tall : course.top, first + number] = what
    if gap:
        course.gap(gap)
    else:
        flat = course.run(between(course.rng, 1, 4))
        if not both and chance(course.rng, 0.3):
            course.enemies(flat, course.x - flat, hard)
    if both:
        first = course.run(steps)
        for number in range(steps):
            course.grid[course.top - (steps - number) : course.top, first + number] = what
    course.run(between(course.rng, 2, 4))


def _blocks(course: Course, hard: float) -> None:
    """Rows of blocks over the ground at the height of a head, some with a second row above."""
    rng = course.rng
    for _ in range(between(rng, 1, 2)):
        length = between(rng, 1, 8)
        if course.left < length + 4:
            return
        course.run(2)
        first = course.run(length)
        row = course.top - 4
        course.row(row, first, block_row(course, length))
        upper = row - 4
        if length >= 3 and upper > course.roof + 1 and chance(rng, 0.25 + 0.3 * hard):
            inner = between(rng, 1, length)
            shift = between(rng, 0, length - inner)
            course.row(upper, first + shift, block_row(course, inner))
        elif length >= 4 and chance(rng, float(course.style["coins"])):
            course.row(row - 1, first + 1, "o" * (length - 2))
        elif length >= 5 and chance(rng, 0.4 * hard):
            course.put(row - 1, first + length // 2, "w")
        course.enemies(first, length, hard)
        course.run(between(rng, 2, 4))


def _pipes(course: Course, hard: float) -> None:
    """Pipes to jump over, with enemies between them."""
    rng = course.rng
    tall = between(rng, 2, 3)
    for _ in range(between(rng, 1, 2 + round(2 * hard))):
        if course.left < 9:
            return
        course.run(between(rng, 2, 3))
        first = course.run(2)
        course.pipe(first, tall)
        if chance(rng, float(course.style["pipe_plants"])):
            course.put(course.top - tall - 1, first + int(rng.random() * 2), "w")
        first = course.run(between(rng, 3, 7))
        course.enemies(first, course.x - first, hard)
        tall = min(4, max(2, tall + pick(rng, (-1, 0, 1, 1))))


def _high_pipe(course: Course, hard: float) -> None:
    """A pipe too high for one jump, with a step in front of it."""
    rng = course.rng
    tall = 5
    if course.left < 12 or course.top - tall <= max(course.roof + 3, 1):
        _pipes(course, hard)
        return
    first = course.run(4)
    course.grid[course.top - 2 : course.top, first + 2 : first + 4] = "x"
    course.run(between(rng, 0, 1))
    first = course.run(2)
    course.pipe(first, tall)
    course.run(between(rng, 3, 5))


def _cannons(course: Course, hard: float) -> None:
    """Cannons on the ground, some on a pile of stones."""
    rng = course.rng
    for _ in range(between(rng, 1, 1 + round(2 * hard))):
        if course.left < 7:
            return
        course.run(between(rng, 2, 4))
        first = course.run(1)
        tall = between(rng, 1, 3)
        course.grid[course.top - tall, first] = "T"
        course.grid[course.top - tall + 1 : course.top, first] = "t"
        course.run(between(rng, 2, 5))


def _islands(course: Course, hard: float) -> None:
    """A wide pit that is crossed over platforms in the air."""
    rng, form = course.rng, str(course.style["islands"])
    widest = max(2, min(int(course.style["gap"]), 2 + round(3 * hard)))
    count = between(rng, 2, 3 + round(3 * hard))
    course.run(3)
    row = course.top
    for _ in range(count):
        distance, length = between(rng, 1, widest), between(rng, 2, 6 - round(2 * hard))
        if course.left < distance + length + 8:
            break
        change = pick(rng, (-2, -1, -1, 0, 1, 1, 2)) if distance <= 3 else pick(rng, (-1, 0, 1))
        row = int(np.clip(row - change, course.highest, len(course.grid) - 2))
        course.gap(distance)
        _island(course, row, length, form)
        if chance(rng, float(course.style["coins"]) * 0.5):
            course.row(row - 2, course.x - length, "o" * length)
        elif length >= 3 and chance(rng, 0.3 * hard * float(course.style["enemies"]) + 0.05):
            course.put(row - 1, course.x - length // 2 - 1, "w")
    course.flyers(row - 4, course.x - 6, 6, hard)
    course.gap(between(rng, 1, min(3, widest)))
    course.top = int(np.clip(row + pick(rng, (-1, 0, 1, 2)), course.highest, course.base))
    course.run(between(rng, 3, 5))


def _island(course: Course, row: int, length: int, form: str) -> None:
    """Build one platform over a pit: thin, of stone, or a tree with its trunk down to the bottom."""
    grid, first = course.grid, course.x
    course.gap(length)
    if course.x == first:
        return
    if form == "tree":
        grid[row, first : first + length] = "u"
        trunk = grid[row + 1 :, first + (length > 2) : first + length - (length > 2)]
        trunk[...] = "I"
    else:
        grid[row, first : first + length] = "-" if form == "one-way" else "x"
        if form == "stone" and row + 1 < len(grid):
            grid[row + 1, first : first + length] = "x"


def _bridge(course: Course, hard: float) -> None:
    """A long thin bridge, perhaps with holes, under flying enemies."""
    length = between(course.rng, 6, 9 + round(8 * hard))
    if course.left < length + 6:
        rest(course, hard)
        return
    course.run(2)
    first, what = course.x, "-" if course.style["one_ways"] else "="
    course.gap(length)
    course.grid[course.top, first : first + length] = what
    if hard > 0.5:
        hole = first + between(course.rng, 2, length - 4)
        course.grid[course.top, hole : hole + 2] = "."
    course.flyers(course.top - 3, first, length, hard + 0.4)
    if chance(course.rng, float(course.style["coins"])):
        course.row(course.top - 2, first + 1, "o" * (length - 2))
    course.run(3)


def _walls(course: Course, hard: float) -> None:
    """Short walls of stone to jump over, with spikes or enemies between them."""
    rng = course.rng
    count, wide = between(rng, 2, 2 + round(2 * hard)), between(rng, 1, 2)
    space, tall = between(rng, 3, 5), between(rng, 1, 2)
    for _ in range(count):
        if course.left < wide + space + 3:
            return
        course.run(2)
        first = course.run(wide)
        course.grid[course.top - tall : course.top, first : first + wide] = "x"
        first = course.run(space)
        course.enemies(first, course.x - first, hard * 0.7)
        tall = min(4, tall + (hard > 0.3))
    course.run(2)


def _spikes(course: Course, hard: float) -> None:
    """Spikes on the ground or sunk into it."""
    rng, sunk = course.rng, bool(course.style["sunk_spikes"])
    for _ in range(between(rng, 1, 1 + round(3 * hard))):
        wide = between(rng, 1, 1 + round(2 * hard))
        if course.left < wide + 7:
            return
        course.run(between(rng, 3, 4))
        first = course.run(wide)
        course.grid[course.top if sunk else course.top - 1, first : first + wide] = "^"
        course.run(3)


def _treasure(course: Course, hard: float) -> None:
    """A figure of coins over flat ground, or a shelf of them."""
    rng = course.rng
    length = between(rng, 5, 9)
    first = course.run(length + 2)
    if course.x - first < length + 2:
        return
    form = pick(rng, ("square", "arc", "shelf", "diagonal"))
    if form == "arc":
        course.arc(first + 1, length, 2)
    elif form == "diagonal":
        for number in range(min(length, 4)):
            course.put(course.top - 2 - number, first + 1 + number, "o")
    else:
        rows = 2 if form == "square" else 1
        if form == "shelf":
            course.row(course.top - 3, first + 1, ("-" if course.style["one_ways"] else "=") * length)
        for number in range(rows):
            course.row(course.top - 3 - number - (form == "shelf"), first + 1, "o" * length)
    course.enemies(first, length, hard * 0.6)


def _shelves(course: Course, hard: float) -> None:
    """Ledges one over another that offer a second, higher way."""
    rng, what = course.rng, "-" if course.style["one_ways"] else "="
    row, levels = course.top, between(rng, 2, 3)
    first = course.run(2)
    for number in range(levels):
        length = between(rng, 3, 6)
        if course.left < length + 3 or row - 3 <= course.roof + 2:
            break
        row -= 3 if number == 0 else pick(rng, (2, 3, 3))
        if row <= course.roof + 2:
            break
        start = course.run(length)
        course.row(row, start, what * length)
        if chance(rng, float(course.style["coins"]) + 0.2):
            course.row(row - 1, start + 1, "o" * (length - 2))
        elif chance(rng, 0.3 * hard):
            course.put(row - 1, start + length // 2, "w")
    course.enemies(first + 2, course.x - first - 2, hard)
    course.run(2)


def _passage(course: Course, hard: float) -> None:
    """A low passage under hanging stone."""
    rng = course.rng
    length = between(rng, 5, 10)
    if course.left < length + 6:
        rest(course, hard)
        return
    course.run(3)
    first = course.run(length)
    clear = between(rng, 3, 4)
    upper = max(course.roof + 1, course.top - clear - between(rng, 2, 4)) if course.roof < 0 else course.roof + 1
    course.grid[upper : course.top - clear, first : first + length] = "x" if course.roof < 0 else "#"
    course.enemies(first, length, hard)
    course.run(3)


#: Every idea that a level can be built around, by name.
SECTIONS: Mapping[str, Section] = MappingProxyType(
    {
        "patrol": _patrol, "gaps": _gaps, "hills": _hills, "stairs": _stairs, "blocks": _blocks, "pipes": _pipes,
        "high pipe": _high_pipe, "cannons": _cannons, "islands": _islands, "bridge": _bridge, "walls": _walls,
        "spikes": _spikes, "treasure": _treasure, "shelves": _shelves, "passage": _passage,
    }
)  # fmt: skip
