"""The course of a side scroller while it is being built, column by column from left to right, and what is put on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from newgameplus.games.generators.canvas import Grid, Style, between, blank, chance, pick

__all__ = ["EMPTY", "Course", "block_row"]

EMPTY = "."


@dataclass
class Course:
    """A level being built.

    Attributes:
        grid: Characters [height, width].
        rng: Where choices come from.
        style: The designer's taste.
        x: Next column to build.
        top: Row of the ground's surface: one stands in the row above.
        end: Column where sections must have ended.
        roof: Lowest row of the ceiling, -1 without one.
    """

    grid: Grid
    rng: np.random.Generator
    style: Style
    x: int
    top: int
    end: int
    roof: int = -1

    @classmethod
    def start(cls, rng: np.random.Generator, height: int, width: int, style: Style) -> Course:
        """Return an empty course with its ceiling, if the style has one."""
        base = max(height - int(style["ground"]), height // 2 + 1)
        return cls(blank(height, width, EMPTY), rng, style, 0, base, width - int(style["ending"]))

    @property
    def left(self) -> int:
        """Columns that sections may still use."""
        return self.end - self.x

    @property
    def base(self) -> int:
        """Row of the surface where the ground is at its usual height."""
        return max(len(self.grid) - int(self.style["ground"]), len(self.grid) // 2 + 1)

    @property
    def highest(self) -> int:
        """Highest row that the ground's surface may rise to."""
        return max(self.roof + 6, len(self.grid) // 2 - 1)

    def run(self, length: int) -> int:
        """Lay ground of a length, cut at the end of the sections; return its first column."""
        first = self.x
        length = max(0, min(length, self.left))
        self.grid[self.top :, first : first + length] = "#"
        self.x += length
        return first

    def gap(self, length: int) -> None:
        """Leave a gap, filled with the style's liquid at its bottom; nothing happens without room to land behind it."""
        if self.left < length + 3:
            return
        deep = int(self.style["liquid_rows"])
        if deep:
            self.grid[max(self.top + 1, len(self.grid) - deep) :, self.x : self.x + length] = "~"
        self.x += length

    def step(self, change: int) -> None:
        """Raise (positive) or lower the surface, within bounds."""
        self.top = int(np.clip(self.top - change, self.highest, len(self.grid) - 1))

    def put(self, row: int, column: int, what: str) -> bool:
        """Put one thing where nothing is, below the ceiling and inside the level."""
        if self.roof < row < len(self.grid) and 0 <= column < self.grid.shape[1] and self.grid[row, column] == EMPTY:
            self.grid[row, column] = what
            return True
        return False

    def row(self, row: int, column: int, what: str) -> None:
        """Put a row of things where nothing is; a space leaves a hole."""
        for offset, character in enumerate(what):
            if character != " ":
                self.put(row, column + offset, character)

    def enemies(self, first: int, length: int, hard: float) -> None:
        """Put a group of walking enemies on the ground of some columns, more of them the harder it is."""
        amount = float(self.style["enemies"]) * (0.4 + hard)
        if length < 3 or not chance(self.rng, amount):
            return
        size = min(1 + int(self.rng.random() * (1 + 2 * hard + amount)), 4, length // 2)
        pace = pick(self.rng, (1, 2, 2))
        kind = pick(self.rng, str(self.style["walkers"]))
        column = first + length - 1 - size * pace if chance(self.rng, 0.6) else first + (length - size * pace) // 2
        for number in range(size):
            self.on_ground(max(first + 1, column) + number * pace, kind)

    def flyers(self, row: int, first: int, length: int, hard: float) -> None:
        """Put a few flying enemies over some columns, if the style has any."""
        if self.style["flyers"] and chance(self.rng, 0.25 + 0.5 * hard):
            for number in range(between(self.rng, 1, 1 + round(2 * hard))):
                self.put(row - number % 2, first + 1 + (number * 4) % max(1, length), "f")

    def on_ground(self, column: int, what: str) -> bool:
        """Put something on the surface of a column that is built, if it has one and nothing stands there."""
        solid = (
            np.flatnonzero(np.isin(self.grid[:, column], _SURFACES)) if column < self.grid.shape[1] else np.array([])
        )
        solid = solid[solid > max(self.roof, 0)]
        return bool(len(solid)) and self.put(int(solid[0]) - 1, column, what)

    def pipe(self, column: int, tall: int) -> None:
        """Stand a pipe of two columns on the surface; both columns must be built and level."""
        upper = self.top - tall
        self.grid[upper, column : column + 2] = ("{", "}")
        self.grid[upper + 1 : self.top, column : column + 2] = ("[", "]")

    def arc(self, column: int, length: int, above: int) -> None:
        """Hang coins in the shape of a jump over some columns, ``above`` rows over the surface at its ends."""
        middle = (length - 1) / 2
        for offset in range(length):
            lift = round(2 * (1 - ((offset - middle) / (middle + 1)) ** 2))
            self.put(self.top - above - lift, column + offset, "o")


_SURFACES = ("#", "x", "=", "%", "!", "-", "u")


def block_row(course: Course, length: int) -> str:
    """Return a row of breakable and reward blocks in the order that the style likes."""
    form = str(course.style["block_row"])
    if length <= 2 or form == "rewards":
        return "!" * length if length <= 3 else "!%" * (length // 2) + "!" * (length % 2)
    if form == "middle":
        row = ["%"] * length
        row[length // 2] = "!"
        return "".join(row)
    if form == "every other":
        return "".join("%!"[number % 2] for number in range(length))
    if form == "holes":
        return "".join(" " if number % 3 == 2 else "%!"[number % 2] for number in range(length))
    return "".join("!" if chance(course.rng, 0.25) else "%" for _ in range(length))
