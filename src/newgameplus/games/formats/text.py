"""Maps of text, one character a tile, with a legend in JSON beside them or without one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

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

__all__ = ["LAYER", "NAME", "SUFFIXES", "TextDocument", "read", "sniff"]

NAME = "text"
SUFFIXES = (".txt", ".lvl", ".map")
LAYER = "tiles"
_MARK = "\ufeff"
_ALIKE = ("oO0Q", "-_\u2013\u2014~", "|lI1!", "'`\u2019\"", ".,\u00b7", "xX*", "sS5$", "bB8", "#H", "<({[", ">)}]")


def sniff(path: Path, head: bytes) -> bool:
    """Say whether a file can be a map of text; ``path`` tells nothing more, any text without zero bytes can."""
    del path
    return b"\0" not in head and bool(head.strip())


@dataclass(frozen=True, eq=False)
class TextDocument(OpenTiles):
    """A map of text, kept as written.

    Attributes:
        lines: The rows of the map, then blank lines if the file ends with some.
        height: Rows of the map.
        tileset: Tiles of the legend, or all characters that are there.
        declared: Whether a legend says which tiles exist.
        pad: Character that stands for missing ends of lines and for nothing; empty if there is none.
    """

    path: Path
    lines: Lines
    height: int
    tileset: Tileset
    declared: bool
    pad: str
    name: str
    marked: bool = False
    format: str = NAME
    notes: tuple[str, ...] = ()
    generable: bool = True

    @cached_property
    def scenes(self) -> tuple[Scene, ...]:
        """The one map of the file, with the one layer ``tiles``."""
        return (Scene(self.name, self._grid()[None], (LAYER,), self.tileset, source=self.path),)

    def _grid(self) -> npt.NDArray[np.int32]:
        rows = self.lines.rows[: self.height]
        points, inverse = np.unique(_code_points(rows, self.pad or " "), return_inverse=True)
        numbers = np.array([self.tileset.index[chr(point)] for point in points.tolist()], np.int32)
        return numbers[inverse].reshape(self.height, -1)

    @property
    def open_tiles(self) -> tuple[Tile, ...]:
        """All characters of the file, unless a legend declares them."""
        return () if self.declared else self.tileset.tiles

    def with_tileset(self, tileset: Tileset) -> TextDocument:
        """Return the same map over a larger tileset."""
        return replace(self, tileset=tileset)

    def with_scene(self, index: int, scene: Scene) -> TextDocument:
        """Return a copy with the layer ``tiles`` of ``scene``; rows that stay the same stay as they were written."""
        old = self.scenes[index]
        check_only_layer(scene, LAYER, str(self.path))
        grid = scene.layers[0] if scene.layer_names else resized(old.layers[0], scene.height, scene.width)
        names = self.tileset.names if self.declared else ()
        codes = tile_codes(scene, grid, lambda name: self._character(name), names or ("any character",), str(self.path))
        if (grid == NOTHING).any():
            if not self.pad:
                raise DataError("nothing cannot be written here", source=str(self.path), remedy="fill every cell")
            codes[NOTHING] = self.pad
        rows = ["".join(codes[number] for number in row) for row in grid.tolist()]
        width = scene.width
        was = self.lines.rows[: self.height]
        kept = [now if number >= len(was) or was[number].ljust(width, self.pad or " ") != now else was[number]
                for number, now in enumerate(rows)]  # fmt: skip
        tail = self.lines.rows[self.height :]
        return replace(self, lines=self._lines(tuple(kept), tail), height=len(kept), tileset=self._tiles(codes))

    def _lines(self, rows: tuple[str, ...], tail: tuple[str, ...]) -> Lines:
        body = Lines(self.lines.rows[: self.height], self.lines.endings[: self.height]).with_rows(rows)
        return Lines((*body.rows, *tail), (*body.endings, *self.lines.endings[self.height :]))

    def _tiles(self, codes: dict[int, str]) -> Tileset:
        new = [Tile(code) for code in codes.values() if code not in self.tileset.index]
        return Tileset((*self.tileset.tiles, *new)) if new else self.tileset

    def _character(self, name: str) -> str | None:
        if name in self.tileset.index:
            return name
        return name if not self.declared and len(name) == 1 and name.isprintable() else None

    def only(self, index: int, name: str = "") -> TextDocument:
        """Return the document itself: a file of text holds one map."""
        return replace(self, name=name or self.scenes[index].name)

    def write(self, path: Path) -> list[Path]:
        """Write the map, with the line endings it was read with."""
        write_bytes(path, ((_MARK if self.marked else "") + self.lines.text()).encode("utf-8"))
        return [path]


def _code_points(rows: tuple[str, ...], pad: str) -> npt.NDArray[np.uint32]:
    width = max(map(len, rows))
    text = "".join(row.ljust(width, pad) for row in rows)
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def read(path: Path, *, legend: Path | None = None) -> TextDocument:
    """Read a map of text.

    Args:
        path: The file.
        legend: What its characters mean; by default a legend that lies beside it, if there is one.

    Raises:
        DataError: With every line of another length and every character that the legend does not know.
    """
    text = read_text(path)
    lines = split_lines(text.removeprefix(_MARK))
    height = len(lines.rows)
    while height and not lines.rows[height - 1].strip() and len(lines.rows[height - 1]) < len(lines.rows[0]):
        height -= 1
    rows = lines.rows[:height]
    width = max(map(len, rows), default=0)
    if not width:
        raise DataError("the map is empty", source=str(path), remedy="write one line a row, one character a tile")
    check_cells(height, width, 1, str(path))
    place = legend or find_legend(path)
    known = read_legend(place) if place else None
    pad = _pad(known, rows)
    problems = [*_ragged(path, rows, width, pad), *_strange(path, rows, known, place)]
    raise_problems(problems, DataError, f"{path}: {len(problems)} problems in the map")
    if known is not None:
        tileset = legend_tileset({name: meanings for name, meanings in known.items() if len(name) == 1})
    else:
        shown: dict[str, None] = dict.fromkeys("".join(rows))
        if any(len(row) < width for row in rows):
            shown[pad] = None
        tileset = Tileset(tuple(Tile(character) for character in shown))
    notes = () if place else ("no legend beside it: what its characters mean is guessed from use",)
    return TextDocument(
        path, lines, height, tileset, place is not None, pad, path.stem, text.startswith(_MARK), notes=notes
    )


def _pad(known: dict[str, frozenset[str]] | None, rows: tuple[str, ...]) -> str:
    """Return the character that missing ends of lines stand for, if the map has one."""
    if known is None:
        return " " if any(" " in row for row in rows) else ""
    void = [name for name, meanings in known.items() if "void" in meanings and len(name) == 1]
    return " " if " " in known else next(iter(void), "")


def _ragged(path: Path, rows: tuple[str, ...], width: int, pad: str) -> list[Problem]:
    if pad:
        return []
    remedy = f"the widest line, {[len(row) for row in rows].index(width) + 1}, has {width}: make all lines equally long"
    short = [(number, row) for number, row in enumerate(rows, start=1) if len(row) != width]
    return [Problem(f"{len(row)} characters", f"{path}:{number}", remedy) for number, row in short[:20]]


def _strange(
    path: Path, rows: tuple[str, ...], known: dict[str, frozenset[str]] | None, place: Path | None
) -> list[Problem]:
    """Return a problem for each character that cannot be a tile, at the first place where it stands."""
    allowed = set(known) if known is not None else None
    problems, seen = [], set(allowed or ())
    for number, row in enumerate(rows, start=1):
        for character in sorted(set(row) - seen, key=row.index):
            seen.add(character)
            at = f"{path}:{number}:{row.index(character) + 1}"
            if not character.isprintable():
                what = "a tab" if character == "\t" else f"a control character, U+{ord(character):04X}"
                problems.append(Problem(f"{what} is no tile", at, "write one character a tile"))
            elif allowed is not None:
                near = _nearest(character, allowed)
                remedy = f"did you mean {near!r}? " if near else ""
                legend = f"known in {place.name if place else 'the legend'}: {' '.join(sorted(allowed))}"
                problems.append(Problem(f"unknown character {character!r}", at, f"{remedy}{legend}; add it there"))
    return problems


def _nearest(character: str, known: set[str]) -> str:
    """Return a known character that is easily mistaken for another: its other case, or one that looks like it."""
    if character.swapcase() in known:
        return character.swapcase()
    alike = [other for group in _ALIKE if character in group for other in group]
    return next((other for other in alike if other in known), "")
