"""What formats of plain text share: reading a file whole and safely, its lines as written, and tiles found by name."""

from __future__ import annotations

import codecs
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.games.formats.document import Document
from newgameplus.games.scenes import NOTHING, Scene, Tile, Tileset
from newgameplus.recipe import did_you_mean

__all__ = [
    "MAX_CELLS",
    "Lines",
    "OpenTiles",
    "check_cells",
    "check_only_layer",
    "read_text",
    "resized",
    "split_lines",
    "tile_codes",
]

#: Tiles that one file may hold over all its layers; more is taken for a mistake or an attack.
MAX_CELLS = 100_000_000
_MAX_BYTES = 4 * MAX_CELLS
_Code = TypeVar("_Code")


@dataclass(frozen=True)
class Lines:
    """The lines of a file and how each ended.

    Attributes:
        rows: Without their endings.
        endings: Same length; the last one is empty when the file has no final newline.
    """

    rows: tuple[str, ...]
    endings: tuple[str, ...]

    @property
    def newline(self) -> str:
        """The ending that new lines get: that of the first line."""
        return next((ending for ending in self.endings if ending), "\n")

    def with_rows(self, rows: tuple[str, ...]) -> Lines:
        """Return other rows with the endings of this file; whether it ends with a newline stays as it is."""
        closed = not self.endings or bool(self.endings[-1])
        kept = [(ending or self.newline) for ending in self.endings[: len(rows)]]
        kept += [self.newline] * (len(rows) - len(kept))
        if kept and not closed:
            kept[-1] = ""
        return Lines(rows, tuple(kept))

    def text(self) -> str:
        """Return the text of the file."""
        return "".join(row + ending for row, ending in zip(self.rows, self.endings, strict=True))


def read_text(path: Path) -> str:
    """Read a UTF-8 file whole; a byte-order mark stays in the text, and so do line endings.

    Raises:
        DataError: The file is missing, too large, not UTF-8, or holds zero bytes.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            size = f"{path.stat().st_size / 1e6:.0f} MB"
            raise DataError(f"{size} is more than any map has", source=str(path), remedy="split it into several files")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot be read: {reason}", source=str(path), remedy="check the path") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError("UTF-16, not UTF-8 text", source=str(path), remedy="save it as UTF-8 text")
    if (zero := content.find(b"\0")) >= 0:
        raise DataError(f"not text: byte {zero} is zero", source=str(path), remedy="is it the right file?")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        remedy = "save it as UTF-8 text"
        raise DataError(f"not UTF-8 text (byte {error.start})", source=str(path), remedy=remedy) from error


def split_lines(text: str) -> Lines:
    """Split a text into its lines. Only line feed and carriage return end a line: other marks may be tiles."""
    pieces = re.split(r"(\r\n|\n|\r)", text)
    rows, endings = pieces[0::2], [*pieces[1::2], ""]
    if rows and not rows[-1]:
        rows, endings = rows[:-1], endings[:-1]
    return Lines(tuple(rows), tuple(endings))


def check_cells(height: int, width: int, layers: int, source: str) -> None:
    """Refuse sizes that no map has, before memory is taken for them.

    Raises:
        DataError: More than :data:`MAX_CELLS` cells, or a side below 1.
    """
    if height < 1 or width < 1:
        raise DataError(f"a map of {width} x {height} tiles holds nothing", source=source, remedy="give it a size")
    if height * width * max(layers, 1) > MAX_CELLS:
        size = f"{width} x {height} tiles in {layers} layers"
        raise DataError(f"{size} is more than {MAX_CELLS:,} cells", source=source, remedy="split the map")


def check_only_layer(scene: Scene, layer: str, source: str) -> None:
    """Refuse layers and objects in a format that has one layer and no objects.

    Raises:
        DataError: The scene has others.
    """
    unknown = [name for name in scene.layer_names if name != layer]
    if unknown or scene.objects:
        what = f"layer {unknown[0]!r}" if unknown else f"objects, such as {scene.objects[0].kind!r}"
        raise DataError(f"the map has no {what}", source=source, remedy=f"its only layer is {layer!r}")


def resized(grid: npt.NDArray[np.int32], height: int, width: int, fill: int = NOTHING) -> npt.NDArray[np.int32]:
    """Cut or pad a grid [height, width] at its bottom and right."""
    result = np.full((height, width), fill, np.int32)
    rows, columns = min(height, grid.shape[0]), min(width, grid.shape[1])
    result[:rows, :columns] = grid[:rows, :columns]
    return result


def tile_codes(
    scene: Scene, grid: npt.NDArray[np.int32], find: Callable[[str], _Code | None], known: Iterable[str], source: str
) -> dict[int, _Code]:
    """Find what a format writes for every tile that stands in a grid, by the tile's name.

    Args:
        scene: Whose tileset names the tiles.
        grid: int32 [height, width].
        find: From a tile's name to what is written for it, or None if the format cannot write it.
        known: Names the format can write, for the message.
        source: Where the map stands.

    Raises:
        DataError: A tile cannot be written.
    """
    codes = {}
    for number in np.unique(grid).tolist():
        if number == NOTHING:
            continue
        if not 0 <= number < len(scene.tileset):
            raise DataError(f"tile number {number} is not in the tileset", source=source, remedy="use its numbers")
        name = scene.tileset.names[number]
        code = find(name)
        if code is None:
            names = list(known)
            remedy = f"{did_you_mean(name, names)}known: {', '.join(names[:30])}"
            raise DataError(f"the tile {name!r} cannot be written here", source=source, remedy=remedy)
        codes[number] = code
    return codes


class OpenTiles(Document):
    """A document whose tiles are declared nowhere: those of several files are seen together."""

    @property
    @abstractmethod
    def open_tiles(self) -> tuple[Tile, ...]:
        """Tiles the file shows; nothing when a legend declares them."""

    @abstractmethod
    def with_tileset(self, tileset: Tileset) -> OpenTiles:
        """Return the same document over a tileset that holds at least its own tiles."""
