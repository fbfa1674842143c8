"""Sequences as NumPy arrays: ``.npy`` with [steps, channels], or ``.npz`` with that or one array for each channel.

No pickle is ever read.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from newgameplus.errors import DataError, Problem
from newgameplus.games.clips import raise_data_problems
from newgameplus.games.sequence_formats.contract import Table, finite_table

__all__ = ["read"]

_WAYS = "save one array [steps, channels], or one array [steps] for each channel by name"


def read(path: Path) -> Table:
    """Read an array file.

    In ``.npz``, a one-dimensional array of texts called ``channels`` names the columns of a two-dimensional one.

    Raises:
        DataError: The file is damaged, or its arrays are not numbers over time.
    """
    arrays = _load(path)
    names = arrays.pop("channels", None) if len(arrays) > 1 else None
    tables = {name: array for name, array in arrays.items() if array.ndim == 2}
    if tables:
        if len(arrays) > 1:
            message = f"several arrays beside a table: {', '.join(arrays)}"
            raise DataError(message, source=str(path), remedy=_WAYS)
        table = next(iter(tables.values()))
        _check_kinds(path, arrays)
        return finite_table(path, _names(path, names, table.shape[1]), table.astype(np.float64))
    _check_kinds(path, arrays)
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise DataError(f"the channels are not equally long: {told}", source=str(path), remedy=_WAYS)
    columns = [array.astype(np.float64) for array in arrays.values()]
    return finite_table(path, list(arrays) if path.suffix != ".npy" else ["c0"], np.stack(columns, axis=1))


def _load(path: Path) -> dict[str, Any]:
    try:
        # Opened here, not by NumPy: it would leave a damaged file open.
        with path.open("rb") as handle:
            content = np.load(handle, allow_pickle=False)
            arrays = dict(content) if hasattr(content, "files") else {"array": content}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        told = "it holds Python objects (pickle)" if "pickle" in str(error) else str(error)
        remedy = f"{_WAYS}, with np.savez(..., allow_pickle=False)"
        raise DataError(f"not a readable array file: {told}", source=str(path), remedy=remedy) from error
    if not arrays:
        raise DataError("no arrays in it", source=str(path), remedy=_WAYS)
    return arrays


def _check_kinds(path: Path, arrays: dict[str, Any]) -> None:
    problems = [
        Problem(f"array {name!r} is {array.dtype} of shape {array.shape}, not numbers over time", str(path), _WAYS)
        for name, array in arrays.items()
        if array.dtype.kind not in "biuf" or array.ndim not in (1, 2)
    ]
    raise_data_problems(problems, f"{path}: {len(problems)} arrays cannot be used")


def _names(path: Path, names: Any, columns: int) -> list[str]:
    if names is None:
        return [f"c{index}" for index in range(columns)]
    if names.dtype.kind != "U" or names.shape != (columns,):
        message = f"'channels' names {names.size} columns of {columns}"
        raise DataError(message, source=str(path), remedy="give one text for each column")
    return [str(name) for name in names]
