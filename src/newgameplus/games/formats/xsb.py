"""Sokoban levels as puzzle collections have them (XSB, SOK): many in one file, between comments that are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.files import write_bytes
from newgameplus.games.formats.document import Document
from newgameplus.games.formats.legends import find_legend
from newgameplus.games.formats.plain import (
    Lines,
    check_cells,
    check_only_layer,
    read_text,
    resized,
    split_lines,
    tile_codes,
)
from newgameplus.games.scenes import NOTHING, Scene, Tile, Tileset

__all__ = ["LAYER", "NAME", "SUFFIXES", "TILES", "XsbDocument", "read", "sniff"]

NAME = "xsb"
SUFFIXES = (".xsb", ".sok", ".txt")
LAYER = "tiles"
_MARK = "\ufeff"

#: The tiles of every Sokoban level. A space inside the walls is floor, outside of them it is outside.
TILES = Tileset(
    (
        Tile("outside", frozenset({"void"})),
        Tile("wall", frozenset({"solid"})),
        Tile("floor", frozenset({"empty"})),
        Tile("goal", frozenset({"goal"})),
        Tile("box", frozenset({"box"})),
        Tile("box on goal", frozenset({"box", "goal"})),
        Tile("player", frozenset({"start"})),
        Tile("player on goal", frozenset({"start", "goal"})),
    )
)
_WRITTEN = dict(zip(TILES.names, " # .$*@+", strict=True))
_OUTSIDE, _WALL, _FLOOR = 0, 1, 2
_NUMBER = np.full(128, NOTHING, np.int32)
for _character, _tile in {"#": 1, " ": 2, "-": 2, "_": 2, ".": 3, "$": 4, "*": 5, "@": 6, "+": 7}.items():
    _NUMBER[ord(_character)] = _tile
_ROW = re.compile(r"[#@+$*. _-]+")
_RUNS = re.compile(r"[#@+$*. _\-0-9|()]+")


def sniff(path: Path, head: bytes) -> bool:
    """Say whether a file holds Sokoban levels; for ``.txt`` by what stands there, as any text could be in it.

    A ``.txt`` with a legend beside it is a text map of its own characters, whatever these look like.
    """
    if path.suffix.lower() != ".txt":
        return True
    if find_legend(path) is not None:
        return False
    rows = split_lines(head.decode("utf-8", "replace").removeprefix(_MARK)).rows
    start, end = next(_blocks(rows), (0, 0))
    first = "".join(rows[start:end])
    players, boxes, goals = (sum(map(first.count, characters)) for characters in ("@+", "$*", ".*+"))
    whole = end < len(rows) or len(head) < 4096
    return boxes > 0 and goals > 0 and (not whole or (players == 1 and boxes == goals))


def _blocks(rows: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Yield first and last (exclusive) line of each level: lines of tiles that follow each other, with walls."""
    start = None
    for number, row in enumerate((*rows, "")):
        if row.strip() and _ROW.fullmatch(row):
            start = number if start is None else start
        elif start is not None:
            if any("#" in line for line in rows[start:number]):
                yield start, number
            start = None


@dataclass(frozen=True, eq=False)
class XsbDocument(Document):
    """A collection of Sokoban levels, kept as written.

    Attributes:
        lines: All lines of the file.
        places: First and last (exclusive) line of each level.
        names: Names of the levels, from their comments or titles, else their numbers.
    """

    path: Path
    lines: Lines
    places: tuple[tuple[int, int], ...]
    names: tuple[str, ...]
    marked: bool = False
    format: str = NAME
    notes: tuple[str, ...] = ()
    generable: bool = True

    @cached_property
    def scenes(self) -> tuple[Scene, ...]:
        """The levels of the file, each with the one layer ``tiles``."""
        grids = [_grid(self.lines.rows[start:end]) for start, end in self.places]
        return tuple(
            Scene(name, grid[None], (LAYER,), TILES, source=self.path)
            for name, grid in zip(self.names, grids, strict=True)
        )

    def with_scene(self, index: int, scene: Scene) -> XsbDocument:
        """Return a copy with the layer ``tiles`` of ``scene``; rows that stay the same stay as they were written."""
        start, end = self.places[index]
        source = f"{self.path}:{start + 1}"
        check_only_layer(scene, LAYER, source)
        old = self.scenes[index].layers[0]
        grid = scene.layers[0] if scene.layer_names else resized(old, scene.height, scene.width, _OUTSIDE)
        written = {**_WRITTEN, "floor": self._floor(start, end)}
        codes = tile_codes(scene, grid, written.get, TILES.names, source)
        codes[NOTHING] = " "
        rows = self._rows(index, grid, codes)
        if not any("#" in row for row in rows) or not all(row.strip() for row in rows):
            raise DataError("a row has no tile, or no wall stands", source=source, remedy="close the level with walls")
        return self._replaced(index, rows)

    def _rows(self, index: int, grid: npt.NDArray[np.int32], codes: dict[int, str]) -> list[str]:
        start, end = self.places[index]
        was = self.lines.rows[start:end]
        rows = []
        for number, row in enumerate(grid.tolist()):
            now = "".join(codes[tile] for tile in row).rstrip(" ")
            same = number < len(was) and _plain(was[number]) == _plain(now) and len(was[number]) <= len(row)
            rows.append(was[number] if same else now)
        return rows

    def _floor(self, start: int, end: int) -> str:
        """Return what stands for floor in the level: a space, or ``-`` or ``_`` where these are used."""
        text = "".join(self.lines.rows[start:end])
        return max(" -_", key=lambda character: (text.strip(" ").count(character), character == " "))

    def _replaced(self, index: int, rows: list[str]) -> XsbDocument:
        start, end = self.places[index]
        body = Lines(self.lines.rows[start:end], self.lines.endings[start:end]).with_rows(tuple(rows))
        lines = Lines(
            (*self.lines.rows[:start], *body.rows, *self.lines.rows[end:]),
            (*self.lines.endings[:start], *body.endings, *self.lines.endings[end:]),
        )
        more = len(rows) - (end - start)
        places = [(first + more * (first > start), last + more * (last >= end)) for first, last in self.places]
        return replace(self, lines=lines, places=tuple(places))

    def only(self, index: int, name: str = "") -> XsbDocument:
        """Return the level with its comments alone; a new name stands in the comment above it."""
        start, end = self.places[index]
        first = self.places[index - 1][1] if index else 0
        last = self.places[index + 1][0] if index + 1 < len(self.places) else len(self.lines.rows)
        before, after = list(self.lines.rows[first:start]), list(self.lines.rows[end:last])
        if _named_above(self.lines.rows, self.places) or (not _titles(after) and before):
            after = after if index + 1 == len(self.places) else []
            before = _after_blank(before) if index else before
        elif index:
            before = []
        if name:
            before, after = _renamed(before, after, name)
        rows = [*before, *self.lines.rows[start:end], *after]
        while rows and not rows[-1].strip():
            rows.pop()
        while rows and not rows[0].strip():
            rows.pop(0)
            before = before[1:]
        endings = (self.lines.newline,) * len(rows)
        place = (len(before), len(before) + end - start)
        return replace(self, lines=Lines(tuple(rows), endings), places=(place,), names=(name or self.names[index],))

    def write(self, path: Path) -> list[Path]:
        """Write the collection, with the line endings it was read with."""
        write_bytes(path, ((_MARK if self.marked else "") + self.lines.text()).encode("utf-8"))
        return [path]


def _plain(row: str) -> str:
    return row.replace("-", " ").replace("_", " ").rstrip(" ")


def _grid(rows: tuple[str, ...]) -> npt.NDArray[np.int32]:
    """Return int32 [height, width] of tiles; floor that the walls do not enclose becomes outside."""
    from scipy import ndimage  # type: ignore[import-untyped]

    width = max(map(len, rows))
    text = "".join(row.ljust(width) for row in rows)
    grid = _NUMBER[np.frombuffer(text.encode("ascii"), np.uint8)].reshape(len(rows), width)
    regions, _ = ndimage.label(grid != _WALL)
    border = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
    inhabited = np.unique(regions[grid > _FLOOR])
    outside = np.setdiff1d(border, inhabited)
    grid[np.isin(regions, outside) & (grid == _FLOOR)] = _OUTSIDE
    return grid


def read(path: Path, *, legend: Path | None = None) -> XsbDocument:
    """Read a collection of Sokoban levels. A legend is not needed: the characters are the same everywhere.

    Raises:
        DataError: There is no level, or with every line that has a character Sokoban does not know.
    """
    del legend
    text = read_text(path)
    lines = split_lines(text.removeprefix(_MARK))
    places = tuple(_blocks(lines.rows))
    problems = _mistakes(path, lines.rows, places)
    raise_problems(problems, DataError, f"{path}: {len(problems)} problems in the levels")
    if not places:
        remedy = "draw levels with # for walls, @ the player, $ boxes and . goals"
        raise DataError("no Sokoban level stands there", source=str(path), remedy=remedy)
    for start, end in places:
        check_cells(end - start, max(map(len, lines.rows[start:end])), 1, f"{path}:{start + 1}")
    return XsbDocument(path, lines, places, _names(lines.rows, places), text.startswith(_MARK))


def _mistakes(path: Path, rows: tuple[str, ...], places: tuple[tuple[int, int], ...]) -> list[Problem]:
    """Return a problem for each line that touches a level and looks like one of its rows, but for a character."""
    problems = []
    touching = {line for start, end in places for line in (start - 1, end)} if places else range(len(rows))
    for number in sorted(touching):
        row = rows[number] if 0 <= number < len(rows) else ""
        at = f"{path}:{number + 1}"
        if _RUNS.fullmatch(row) and "#" in row and row.strip() != "#":
            problems.append(Problem("run lengths are not read", at, "write one character a tile"))
        elif _nearly(row):
            column = next(place for place, character in enumerate(row) if not _ROW.fullmatch(character))
            remedy = "known: # wall, @ player, + player on goal, $ box, * box on goal, . goal, space - _ floor"
            problems.append(Problem(f"unknown character {row[column]!r}", f"{at}:{column + 1}", remedy))
    return problems[:20]


def _nearly(row: str) -> bool:
    """Say whether a line is a row of a level but for some characters: walls at an end, and mostly tiles."""
    tiles = row.strip()
    if not (tiles.startswith("#") or tiles.endswith("#")) or _ROW.fullmatch(tiles) or ":" in tiles or ";" in tiles:
        return False
    return sum(bool(_ROW.fullmatch(character)) for character in tiles) * 2 > len(tiles)


def _named_above(rows: tuple[str, ...], places: tuple[tuple[int, int], ...]) -> bool:
    """Say whether the comments that name levels stand above them: one does above the first level."""
    return any(row.strip() for row in rows[: places[0][0]])


def _after_blank(before: list[str]) -> list[str]:
    """Return the comments that belong to the level below: all of them after the last level's own block."""
    number = next((place for place, row in enumerate(before) if not row.strip()), 0)
    return before[number:] if any(row.strip() for row in before[number:]) else before


def _titles(rows: list[str]) -> list[int]:
    return [number for number, row in enumerate(rows) if row.strip()]


def _title(row: str) -> str:
    text = re.sub(r"^\s*(;|::)?\s*((title|name)\s*[:=])?\s*", "", row, flags=re.IGNORECASE)
    return text.strip().strip("'\"")


def _names(rows: tuple[str, ...], places: tuple[tuple[int, int], ...]) -> tuple[str, ...]:
    """Name each level by the last comment above it, or the first below if the file has them there; names are unique."""
    above = bool(places) and _named_above(rows, places)
    names: dict[str, None] = {}
    for index, (start, end) in enumerate(places):
        first = places[index - 1][1] if index else 0
        last = places[index + 1][0] if index + 1 < len(places) else len(rows)
        near = [row for row in (rows[first:start][::-1] if above else rows[end:last]) if row.strip()]
        titled = next((row for row in near if re.match(r"\s*;?\s*title\s*[:=]", row, re.IGNORECASE)), "")
        name = _title(titled or (near[0] if near else "")) or str(index + 1)
        if name in names:
            name = f"{name} ({index + 1})"
        names[name] = None
    return tuple(names)


def _renamed(before: list[str], after: list[str], name: str) -> tuple[list[str], list[str]]:
    """Write a name where the old one stood, or in a comment above the level."""
    clean = " ".join(name.split())
    for rows, numbers in ((before, _titles(before)[-1:]), (after, _titles(after)[:1])):
        for number in numbers:
            old = rows[number]
            kept = re.match(r"\s*(;|::)?\s*((title|name)\s*[:=]\s*)?", old, re.IGNORECASE)
            new = [*rows[:number], f"{kept[0] if kept and kept[0] else '; '}{clean}", *rows[number + 1 :]]
            return (new, after) if rows is before else (before, new)
    return ["; " + clean, "", *before], after
