"""Maps in CSV: one cell a tile, a number or a name; separators and quotes are kept as written."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.files import write_bytes
from newgameplus.games.formats.legends import find_legend, legend_tileset, read_legend
from newgameplus.games.formats.plain import (
    Lines,
    OpenTiles,
    check_cells,
    check_only_layer,
    read_text,
    resized,
    split_lines,
    tile_codes,
)
from newgameplus.games.scenes import NOTHING, Scene, Tile, Tileset
from newgameplus.recipe import did_you_mean

__all__ = ["LAYER", "NAME", "SUFFIXES", "CsvDocument", "read", "sniff"]

NAME = "csv"
SUFFIXES = (".csv", ".tsv")
LAYER = "tiles"
_MARK = "\ufeff"
_EMPTY = ("", "-1")
_HEADER_WORDS = {
    "path",
    "label",
    "caption",
    "file",
    "filename",
    "text",
    "description",
    "start",
    "end",
    "group",
    "level",
}


def sniff(path: Path, head: bytes) -> bool:
    """Say whether a file can be a grid: not when its first line names columns of labels or captions."""
    del path
    first = re.split(rb"[\r\n]", head.strip(), maxsplit=1)[0].decode("utf-8", "replace").lower()
    words = {word.strip(' "\ufeff') for word in re.split(r"[,;\t]", first)}
    return b"\0" not in head and bool(first) and len(words & _HEADER_WORDS) < 2


@dataclass(frozen=True, eq=False)
class CsvDocument(OpenTiles):
    """A grid in CSV, kept as written.

    Attributes:
        cells: Each cell as written, blanks and quotes included, row by row.
        lines: The rows as written, for their endings; blank lines at the end of the file are the last ones.
        separator: Comma, semicolon or tab.
        trailing: Whether each row is closed by a separator (Tiled writes so); the last row may lack it.
    """

    path: Path
    cells: tuple[tuple[str, ...], ...]
    lines: Lines
    separator: str
    trailing: tuple[bool, bool]
    tileset: Tileset
    declared: bool
    name: str
    marked: bool = False
    format: str = NAME
    notes: tuple[str, ...] = ()
    generable: bool = True

    @cached_property
    def scenes(self) -> tuple[Scene, ...]:
        """The one map of the file, with the one layer ``tiles``."""
        index = {**self.tileset.index, **dict.fromkeys(_EMPTY, NOTHING)}
        grid = np.array([[index[_value(cell)] for cell in row] for row in self.cells], np.int32)
        return (Scene(self.name, grid[None], (LAYER,), self.tileset, source=self.path),)

    @property
    def open_tiles(self) -> tuple[Tile, ...]:
        """All values of the file, unless a legend declares them."""
        return () if self.declared else self.tileset.tiles

    def with_tileset(self, tileset: Tileset) -> CsvDocument:
        """Return the same map over a larger tileset."""
        return replace(self, tileset=tileset)

    def with_scene(self, index: int, scene: Scene) -> CsvDocument:
        """Return a copy with the layer ``tiles`` of ``scene``; cells that stay the same stay as they were written."""
        old = self.scenes[index].layers[0]
        check_only_layer(scene, LAYER, str(self.path))
        grid = scene.layers[0] if scene.layer_names else resized(old, scene.height, scene.width)
        names = self.tileset.names
        codes = tile_codes(scene, grid, self._code, names, str(self.path))
        codes[NOTHING] = self._nothing()
        values = {number: "" if number == NOTHING else scene.tileset.names[number] for number in codes}
        rows = []
        for number, row in enumerate(grid.tolist()):
            was = self.cells[number] if number < len(self.cells) else ()
            rows.append(tuple(
                was[column] if column < len(was) and _same(was[column], values[tile]) else codes[tile]
                for column, tile in enumerate(row)
            ))  # fmt: skip
        new = [Tile(values[tile]) for tile in codes if tile != NOTHING and values[tile] not in self.tileset.index]
        tileset = Tileset((*self.tileset.tiles, *new)) if new else self.tileset
        tail = len(self.lines.rows) - len(self.cells)
        body = Lines(self.lines.rows[: len(self.cells)], self.lines.endings[: len(self.cells)])
        body = body.with_rows(tuple("" for _ in rows))
        rest = self.lines.endings[len(self.lines.endings) - tail :] if tail else ()
        lines = Lines((*body.rows, *self.lines.rows[len(self.cells) :]), (*body.endings, *rest))
        return replace(self, cells=tuple(rows), lines=lines, tileset=tileset)

    def _code(self, name: str) -> str | None:
        if self.declared and name not in self.tileset.index:
            return None
        if not name or name != name.strip() or name in _EMPTY or not name.isprintable():
            return None
        return f'"{name.replace(chr(34), chr(34) * 2)}"' if re.search(r'[,;\t"]', name) else name

    def _nothing(self) -> str:
        written = [cell for row in self.cells for cell in row if _value(cell) in _EMPTY]
        numbers = all(re.fullmatch(r"-?\d+", name) for name in self.tileset.names)
        return written[0] if written else "-1" if numbers else ""

    def only(self, index: int, name: str = "") -> CsvDocument:
        """Return the document itself: a file holds one grid."""
        return replace(self, name=name or self.scenes[index].name)

    def write(self, path: Path) -> list[Path]:
        """Write the grid, with the separators and line endings it was read with."""
        rows = [self.separator.join(row) for row in self.cells]
        closed = [self.trailing[1 if number == len(rows) - 1 else 0] for number in range(len(rows))]
        rows = [row + (self.separator if close else "") for row, close in zip(rows, closed, strict=True)]
        text = Lines((*rows, *self.lines.rows[len(rows) :]), self.lines.endings).text()
        write_bytes(path, ((_MARK if self.marked else "") + text).encode("utf-8"))
        return [path]


def _value(cell: str) -> str:
    value = cell.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1].replace('""', '"').strip()
    return value


def _same(cell: str, value: str) -> bool:
    written = _value(cell)
    return written == value or (not value and written in _EMPTY)


def read(path: Path, *, legend: Path | None = None) -> CsvDocument:
    """Read a grid in CSV. Empty cells and -1 hold nothing.

    Args:
        path: The file, separated by commas, semicolons or tabs.
        legend: What its values mean; by default a legend that lies beside it, if there is one.

    Raises:
        DataError: With every row of another length and every value that the legend does not know.
    """
    text = read_text(path)
    lines = split_lines(text.removeprefix(_MARK))
    height = len(lines.rows)
    while height and not lines.rows[height - 1].strip():
        height -= 1
    rows = lines.rows[:height]
    if not rows:
        raise DataError("the grid is empty", source=str(path), remedy="write one row a line, one cell a tile")
    separator = _separator(rows)
    cells = [_split(row, separator, f"{path}:{number}") for number, row in enumerate(rows, start=1)]
    trailing = _trailing(cells)
    cells = [row[:-1] if trailing[1 if number == len(cells) - 1 else 0] else row for number, row in enumerate(cells)]
    width = max(map(len, cells))
    check_cells(height, width, 1, str(path))
    place = legend or find_legend(path)
    known = read_legend(place) if place else None
    values = dict.fromkeys(_value(cell) for row in cells for cell in row)
    names = [value for value in values if value not in _EMPTY]
    problems = [*_ragged(path, cells, width), *_strange(path, cells, names, known)]
    raise_problems(problems, DataError, f"{path}: {len(problems)} problems in the grid")
    tileset = legend_tileset(known) if known is not None else Tileset(tuple(map(Tile, _sorted(names))))
    parts = tuple(map(tuple, cells))
    return CsvDocument(path, parts, lines, separator, trailing, tileset, bool(place), path.stem, text.startswith(_MARK))


def _sorted(names: list[str]) -> list[str]:
    return sorted(names, key=int) if all(re.fullmatch(r"-?\d{1,18}", name) for name in names) else names


def _separator(rows: tuple[str, ...]) -> str:
    """Return the separator that splits all rows into the same number of cells, at best many."""
    counts = {mark: [row.count(mark) for row in rows[:100]] for mark in ",;\t"}
    return max(counts, key=lambda mark: (len(set(counts[mark])) == 1 and counts[mark][0] > 0, sum(counts[mark])))


def _split(row: str, separator: str, source: str) -> list[str]:
    if '"' not in row:
        return row.split(separator)
    pattern = re.compile(rf'( *"(?:[^"]|"")*" *|[^"{re.escape(separator)}]*)({re.escape(separator)}|$)')
    cells, place = [], 0
    while True:
        found = pattern.match(row, place)
        if found is None:
            remedy = "close every double quote, on the same line"
            raise DataError(f"not CSV at column {place + 1}", source=source, remedy=remedy)
        cells.append(found[1])
        place = found.end()
        if not found[2]:
            return cells


def _trailing(cells: list[list[str]]) -> tuple[bool, bool]:
    """Say whether all rows but the last, and the last, are closed by a separator rather than by an empty cell."""
    *others, last = [len(row) > 1 and not row[-1].strip() for row in cells]
    if others and all(others) and not last and len(cells[-1]) == len(cells[0]) - 1:
        return True, False
    holds_empty = any(not cell.strip() for row in cells for cell in row[:-1])
    return (True, True) if last and all(others) and not holds_empty else (False, False)


def _ragged(path: Path, cells: list[list[str]], width: int) -> list[Problem]:
    remedy = f"the widest row has {width}: make all rows equally long"
    short = [(number, row) for number, row in enumerate(cells, start=1) if len(row) != width]
    return [Problem(f"{len(row)} cells", f"{path}:{number}", remedy) for number, row in short[:20]]


def _strange(
    path: Path, cells: list[list[str]], names: list[str], known: dict[str, frozenset[str]] | None
) -> list[Problem]:
    wrong = [name for name in names if not name.isprintable() or (known is not None and name not in known)]
    problems = []
    for name in wrong[:20]:
        row = next(number for number, row in enumerate(cells, start=1) if any(_value(cell) == name for cell in row))
        column = [_value(cell) for cell in cells[row - 1]].index(name) + 1
        remedy = f"{did_you_mean(name, list(known or ()))}known in the legend: {', '.join(known or ())}; add it there"
        problems.append(Problem(f"unknown tile {name!r}", f"{path}:{row}:{column}", remedy))
    return problems
