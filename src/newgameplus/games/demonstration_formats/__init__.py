"""Formats of demonstrations, told by their content. A new format is one file here and one line in :data:`FORMATS`."""

from __future__ import annotations

import difflib
import importlib
import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast

from newgameplus.errors import DataError

if TYPE_CHECKING:
    from newgameplus.games.demonstration_formats.contract import DemonstrationFile

__all__ = ["FORMATS", "FormatModule", "find_demonstrations", "natural", "open_demonstrations"]

#: Modules by name of their format, in the order in which a file is offered to them.
FORMATS = MappingProxyType(
    {
        "minari": "newgameplus.games.demonstration_formats.minari",
        "npz": "newgameplus.games.demonstration_formats.npz",
        "parquet": "newgameplus.games.demonstration_formats.parquet",
    }
)


class FormatModule(Protocol):
    """What every module of :data:`FORMATS` offers."""

    NAME: str

    def sniff(self, path: Path) -> bool:
        """Say whether a file or folder is of this format, by what is in it."""

    def open(self, path: Path) -> DemonstrationFile:
        """Open a file or folder.

        Raises:
            DataError: It is damaged as a whole.
            MissingExtraError: What reads it is not installed.
        """


def _module(name: str) -> FormatModule:
    return cast("FormatModule", importlib.import_module(FORMATS[name]))


def _format_of(path: Path) -> FormatModule | None:
    return next((module for module in map(_module, FORMATS) if module.sniff(path)), None)


def open_demonstrations(path: Path) -> list[DemonstrationFile]:
    """Open a file or folder of demonstrations, each file of a folder that holds several, or a data set of Minari's.

    Args:
        path: File or folder; or the id of a data set that Minari has downloaded to this machine.

    Raises:
        DataError: There is nothing, or nothing that is of a known format; or it is damaged as a whole.
        MissingExtraError: What reads it is not installed.
    """
    found = find_demonstrations(path)
    opened: list[DemonstrationFile] = []
    try:
        for module, one in found:
            opened.append(module.open(one))
    except BaseException:
        for file in opened:
            file.close()
        raise
    return opened


def find_demonstrations(path: Path) -> list[tuple[FormatModule, Path]]:
    """Return the files and folders of demonstrations at a path, in natural order, each with its format.

    Raises:
        DataError: There are none.
    """
    path = Path(path)
    if not _exists(path):
        local = _local(path)
        if local is None:
            raise DataError("no such file, folder or Minari data set", source=_plain(path), remedy=_nearest(path))
        path = local
    module = _format_of(path)
    if module is not None:
        return [(module, path)]
    if not path.is_dir():
        raise DataError("of no known format of demonstrations", source=_plain(path), remedy=_known())
    inside = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    found = [(_format_of(entry), entry) for entry in sorted(inside, key=lambda entry: natural(entry.name))]
    known = [(one, entry) for one, entry in found if one is not None]
    if not known:
        raise DataError("no demonstrations are there", source=_plain(path), remedy=_known())
    return known


def natural(name: str) -> list[tuple[int, int | str]]:
    """Return what sorts ``2`` before ``10``."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part)) if part.isascii() and part.isdecimal() else (1, part) for part in parts] + [(2, name)]


def _local(path: Path) -> Path | None:
    """Return a data set on this machine that is called like the end of a path: recipes make paths of all names."""
    from newgameplus.games.demonstration_formats.minari import local_set

    ends = ("/".join(path.parts[-length:]) for length in range(min(4, len(path.parts)), 0, -1))
    return next((folder for folder in map(local_set, ends) if folder is not None), None)


def _known() -> str:
    return f"known: {', '.join(_module(name).NAME for name in FORMATS)}"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _plain(path: Path) -> str:
    return str(path).replace("\0", "?")


def _nearest(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except (OSError, ValueError):
        return f"there is no folder {path.parent}".replace("\0", "?")
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"look into {path.parent}"
