"""Map formats: readers and writers, lossless. A new format is one file here and one line in :data:`FORMATS`."""

from __future__ import annotations

import difflib
import importlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.recipe import did_you_mean

if TYPE_CHECKING:
    from newgameplus.games.formats.document import Document

__all__ = ["FORMATS", "MAX_FILES", "FormatModule", "format_of", "read_document", "read_documents"]

#: Modules by name of their format, in the order in which a file is offered to them.
FORMATS = MappingProxyType(
    {
        "tiled": "newgameplus.games.formats.tiled",
        "ldtk": "newgameplus.games.formats.ldtk",
        "xsb": "newgameplus.games.formats.xsb",
        "text": "newgameplus.games.formats.text",
        "csv": "newgameplus.games.formats.csv_grid",
    }
)

#: Maps that one folder may hold.
MAX_FILES = 100_000
_HEAD = 4096
_SIDE_FILES = re.compile(
    r"(readme|licen[cs]e|copying|notice|changelog|credits|authors|legend|captions?|labels?)([._ -].*)?"
    r"|.*[._ -](captions?|labels?)",
    re.IGNORECASE,
)
_PLAIN_SUFFIXES = frozenset((".txt", ".csv", ".tsv", ".json"))
_SIDE_SUFFIXES = frozenset(
    (".tsx", ".tsj", ".ldtkl", ".world", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".md", ".rst", ".bak", ".tx")
)


class FormatModule(Protocol):
    """What every module of :data:`FORMATS` offers."""

    NAME: str
    SUFFIXES: Sequence[str]

    def sniff(self, path: Path, head: bytes) -> bool:
        """Say whether a file with one of the suffixes is of this format, by its first 4 KiB."""

    def read(self, path: Path, *, legend: Path | None = None) -> Document:
        """Read a file.

        Raises:
            DataError: With everything that is wrong with it.
        """


def _module(name: str) -> FormatModule:
    if name not in FORMATS:
        remedy = f"{did_you_mean(name, list(FORMATS))}known: {', '.join(FORMATS)}"
        raise DataError(f"no map format is called {name!r}", source="format", remedy=remedy)
    return cast("FormatModule", importlib.import_module(FORMATS[name]))


def _known() -> str:
    return "; ".join(f"{name} ({' '.join(_module(name).SUFFIXES)})" for name in FORMATS)


def format_of(path: Path) -> str | None:
    """Return the format of a file by its suffix and its first 4 KiB, or None if it is no map.

    Raises:
        DataError: The file cannot be opened.
    """
    suffix = path.suffix.lower()
    candidates = [name for name in FORMATS if suffix in _module(name).SUFFIXES]
    if not candidates:
        return None
    try:
        with path.open("rb") as handle:
            head = handle.read(_HEAD)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise DataError(f"cannot be read: {reason}", source=str(path), remedy="check its permissions") from error
    return next((name for name in candidates if _module(name).sniff(path, head)), None)


def read_document(path: Path, *, format: str | None = None, legend: Path | None = None) -> Document:  # noqa: A002
    """Read one file of maps.

    Args:
        path: The file.
        format: Name of its format; by default told by its suffix and its first bytes.
        legend: What the characters of a text mean, for formats that need it.

    Raises:
        DataError: There is no such file, it is of no known format, or with everything that is wrong with it.
    """
    path = Path(path)
    try:
        there = path.is_file()
    except (OSError, ValueError):
        there = False
    if not there:
        raise DataError("no such file", source=str(path).replace("\0", "?"), remedy=_nearest(path))
    name = format or format_of(path)
    if legend is not None and format is None and path.suffix.lower() in _module("text").SUFFIXES:
        name = "text"  # whoever gives a legend for characters does not mean a format that fixes them
    if name is None:
        raise DataError("of no known map format", source=str(path), remedy=f"known: {_known()}")
    return _module(name).read(path, legend=legend)


def read_documents(
    path: Path, *, format: str | None = None, legend: Path | None = None, skip_bad: bool = False  # noqa: A002
) -> tuple[list[Document], list[Problem]]:  # fmt: skip
    """Read a file of maps, or all of a folder and its folders.

    Hidden files and what lies beside maps (legends, tilesets, pictures, labels, notes) are left alone. Files of formats
    that declare no tiles (text and CSV without a legend) share the tiles of all of them.

    Args:
        path: A file or a folder.
        format: Name of the format; other files of the folder are then left alone.
        legend: What the characters of a text mean.
        skip_bad: Leave out files that cannot be read, and return why.

    Returns:
        The documents in natural order (``2`` before ``10``), and the problems of files left out.

    Raises:
        DataError: With every problem of every file; or no map is there.
    """
    path = Path(path)
    if not path.is_dir():
        return [read_document(path, format=format, legend=legend)], []
    documents: list[Document] = []
    problems: list[Problem] = []
    for file in _maps(path, format, legend):
        try:
            documents.append(read_document(file, format=format, legend=legend))
        except DataError as error:
            problems += error.problems
    if not skip_bad or not documents:
        raise_problems(problems, DataError, f"{path}: {len(problems)} problems in the maps")
    if not documents:
        raise DataError("no maps are there", source=str(path), remedy=f"known formats: {_known()}")
    return _sharing_tiles(documents), problems


def _maps(folder: Path, name: str | None, legend: Path | None) -> Iterator[Path]:
    """Yield the files of a folder that are maps, in natural order."""
    suffixes = {suffix for known in ([name] if name else FORMATS) for suffix in _module(known).SUFFIXES}
    count = 0
    for place, folders, files in os.walk(folder):
        folders[:] = sorted((entry for entry in folders if not entry.startswith(".")), key=_natural)
        for entry in sorted(files, key=_natural):
            file = Path(place, entry)
            if entry.startswith(".") or file.suffix.lower() not in suffixes or _beside(file) or file == legend:
                continue
            if not file.is_file() or (name is None and _not_a_map(file)):
                continue
            count += 1
            if count > MAX_FILES:
                remedy = "point at a smaller folder"
                raise DataError(f"more than {MAX_FILES:,} maps", source=str(folder), remedy=remedy)
            yield file


def _beside(file: Path) -> bool:
    suffix = file.suffix.lower()
    return suffix in _SIDE_SUFFIXES or (suffix in _PLAIN_SUFFIXES and _SIDE_FILES.fullmatch(file.stem) is not None)


def _not_a_map(file: Path) -> bool:
    """Say whether a file only shares its suffix with maps, such as any JSON; one that cannot be opened may be one."""
    try:
        return format_of(file) is None
    except DataError:
        return False


def _natural(name: str) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part)) if part.isascii() and part.isdecimal() else (1, part) for part in parts] + [(2, name)]


def _nearest(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except (OSError, ValueError):
        return f"there is no folder {path.parent}".replace("\0", "?")
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"look into {path.parent}"


def _sharing_tiles(documents: list[Document]) -> list[Document]:
    """Give documents that declare no tiles one tileset: a character seen in one file can be written into another."""
    from newgameplus.games.formats.plain import OpenTiles
    from newgameplus.games.scenes import Tileset

    tilesets = {}
    for name in {document.format for document in documents}:
        open_ones = [one for one in documents if isinstance(one, OpenTiles) and one.format == name and one.open_tiles]
        tiles = {tile.name: tile for document in open_ones for tile in document.open_tiles}
        tilesets[name] = Tileset(tuple(tiles.values()))
    return [
        document.with_tileset(tilesets[document.format])
        if isinstance(document, OpenTiles) and document.open_tiles
        else document
        for document in documents
    ]
