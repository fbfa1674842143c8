"""File formats of sequences: numbers over time. A new one is one file here and one line in :data:`FORMATS`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

from newgameplus.errors import DataError
from newgameplus.games.sequence_formats.contract import Table

__all__ = ["FORMATS", "Table", "is_sequence_file", "read_sequence_file"]

FORMATS = MappingProxyType(
    {
        ".trajectory.npz": "newgameplus.games.sequence_formats.recorded:read",
        ".csv": "newgameplus.games.sequence_formats.rows:read",
        ".npz": "newgameplus.games.sequence_formats.arrays:read",
        ".npy": "newgameplus.games.sequence_formats.arrays:read",
    }
)
"""How a file's name ends, and the function that reads such files (``module:function``); the first match counts."""


def is_sequence_file(path: Path) -> bool:
    """Whether a path names a file in one of the formats, by its ending."""
    return path.name.lower().endswith(tuple(FORMATS))


def read_sequence_file(path: Path) -> Table:
    """Read the numbers in one file.

    Raises:
        DataError: The file cannot be read as what its name says, or holds something else than finite numbers; with
            everything wrong in it.
    """
    for ending, place in FORMATS.items():
        if path.name.lower().endswith(ending):
            module, _, name = place.partition(":")
            read: Callable[[Path], Table] = getattr(importlib.import_module(module), name)
            try:
                return read(path)
            except OSError as error:
                message = f"cannot be read ({(error.strerror or str(error)).lower()})"
                raise DataError(message, source=str(path), remedy="correct the path or its permissions") from error
    remedy = f"give files that end in {', '.join(FORMATS)}"
    raise DataError("this is no file of numbers over time", source=str(path), remedy=remedy)
