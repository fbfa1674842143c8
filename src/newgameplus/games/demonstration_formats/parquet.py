"""Parquet tables: one row for each step, sorted by episode. Only the groups of rows that are needed are read.

Columns: ``episode``, ``action`` (a number, a list, or ``action_0``, ``action_1`` ...), ``reward``, ``terminated``,
``truncated``; what was seen is ``observation`` (a list), ``observation_0``, ``observation_1`` ... (or ``obs_0`` ...),
or ``observation/NAME`` for each part. Optional are ``step``, ``success``, ``group``, ``mask`` (a list) and
``environment``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, MissingExtraError
from newgameplus.games.demonstration_formats.contract import (
    LARGEST_EPISODE,
    DemonstrationFile,
    Outline,
    RawEpisode,
    check_size,
)
from newgameplus.games.demonstration_formats.cutting import FIELDS, cut, field_of, flags, missing_fields, said_of
from newgameplus.spaces import SINGLE

__all__ = ["NAME", "open", "sniff"]

NAME = "Parquet"

_MAGIC = b"PAR1"
_SEEN = ("observation", "observations", "obs")
_REMEDY = "write it again"


def sniff(path: Path) -> bool:
    """Say whether a file is a Parquet table, or looks like one that is damaged."""
    if not path.is_file():
        return False
    if path.suffix.lower() in (".parquet", ".pq"):
        return True
    try:
        with path.open("rb") as handle:
            return handle.read(4) == _MAGIC
    except OSError:
        return False


def open(path: Path) -> DemonstrationFile:  # noqa: A001 - every format has it
    """Open a table.

    Raises:
        DataError: It is empty, cut off or damaged, columns are missing, or episodes are mixed up.
        MissingExtraError: pyarrow is not installed.
    """
    return _Table(path)


def _import_parquet() -> Any:
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        why = "" if isinstance(error, ModuleNotFoundError) and error.name == "pyarrow" else str(error)
        raise MissingExtraError("pyarrow", "parquet", why) from error
    return pyarrow


class _Table(DemonstrationFile):
    """An open table."""

    def __init__(self, path: Path) -> None:
        self._source = str(path)
        self._arrow = _import_parquet()
        try:
            self._file = self._arrow.parquet.ParquetFile(path)
        except (OSError, ValueError) as error:  # all of Arrow's errors are one of these
            message = f"no readable Parquet: empty, cut off or damaged ({error})"
            raise DataError(message, source=self._source, remedy=_REMEDY) from error
        self._held: tuple[int, Any] | None = None
        try:
            self._take()
        except BaseException:
            self._file.close()
            raise

    def _take(self) -> None:
        names = list(self._file.schema_arrow.names)
        self._seen = _parts(names)
        done = _numbered(("action", "actions"), names)
        self._done = [name] if (name := field_of("actions", names)) else done
        missing_fields([*names, *(["action"] if done else [])], bool(self._seen), self._source)
        self._masks = field_of("masks", names)
        self._starts = [0]
        for number in range(self._file.metadata.num_row_groups):
            self._starts.append(self._starts[-1] + self._file.metadata.row_group(number).num_rows)
        self._length = self._starts[-1]
        short = {
            field: name for field in FIELDS if field not in ("actions", "masks") and (name := field_of(field, names))
        }
        check_size((self._length, len(short)), 8, self._source)
        columns = {field: self._whole(name) for field, name in short.items()}
        self._rewards = columns["rewards"]
        terminated, truncated = (
            None if field not in columns else flags(columns[field], short[field], self._source)
            for field in ("terminated", "truncated")
        )
        self._pieces = cut(self._length, terminated, truncated, columns.get("episode"), self._source)
        self._success, self._group = columns.get("success"), columns.get("group")
        said = columns.get("environment")
        self.environment = str(said[0]) if said is not None and len(said) else ""
        self._check_steps(columns.get("step"))

    def _whole(self, name: str) -> npt.NDArray[Any]:
        return self._array(self._load([name], None).column(name), name)

    def _load(self, columns: Sequence[str], group: int | None) -> Any:
        try:
            if group is None:
                return self._file.read(columns=list(columns))
            return self._file.read_row_group(group, columns=list(columns))
        except (OSError, ValueError) as error:
            raise DataError(f"damaged ({error})", source=self._source, remedy=_REMEDY) from error

    def _array(self, column: Any, name: str) -> npt.NDArray[Any]:
        """Return a column as an array [rows, ...]; lists must be of one length and without gaps."""
        array = column.combine_chunks()
        array = self._arrow.concat_arrays(array.chunks) if hasattr(array, "chunks") else array
        shape = [len(array)]
        types = self._arrow.types
        while types.is_list(array.type) or types.is_large_list(array.type) or types.is_fixed_size_list(array.type):
            if array.null_count:
                raise DataError(f"column {name!r} has empty cells", source=self._source, remedy="fill them")
            rows = len(array)
            inner = array.flatten()
            sizes = self._arrow.compute.unique(self._arrow.compute.list_value_length(array)).to_pylist()
            if len(sizes) > 1:
                message = f"the lists of column {name!r} are of different lengths, such as {sizes[0]} and {sizes[1]}"
                raise DataError(message, source=self._source, remedy="give each step a list of the same length")
            shape.append(len(inner) // rows if rows else 0)
            array = inner
        if array.null_count:
            raise DataError(f"column {name!r} has empty cells", source=self._source, remedy="fill them")
        if types.is_string(array.type) or types.is_large_string(array.type):
            return np.array(array.to_pylist(), str).reshape(shape)
        try:
            found = np.asarray(array.to_numpy(zero_copy_only=False))
        except (OSError, ValueError, NotImplementedError) as error:
            raise DataError(
                f"column {name!r} holds no numbers ({error})", source=self._source, remedy=_REMEDY
            ) from error
        if found.dtype.kind not in "biuf":
            raise DataError(f"column {name!r} holds {array.type}, not numbers", source=self._source, remedy=_REMEDY)
        return found.reshape(shape)

    def _check_steps(self, step: npt.NDArray[Any] | None) -> None:
        for piece in self._pieces if step is not None else ():
            steps = step[piece.start : piece.stop] if step is not None else np.zeros(0)
            if (np.diff(steps) <= 0).any():
                row = piece.start + 1 + int(np.flatnonzero(np.diff(steps) <= 0)[0])
                message = (
                    f"step {steps[row - piece.start]} stands behind step {steps[row - piece.start - 1]} (row {row})"
                )
                raise DataError(message, source=self._source, remedy="sort the table by episode and step")

    def outlines(self) -> tuple[Outline, ...]:
        return tuple(self._outline(number) for number in range(len(self._pieces)))

    def _outline(self, number: int) -> Outline:
        piece = self._pieces[number]
        numbers = self._rewards[piece.start : piece.stop]
        total = float(np.sum(numbers, dtype=np.float64)) if numbers.dtype.kind in "biuf" else float("nan")
        return Outline(f"{self._source}: episode {number}", piece.stop - piece.start, total, self._success_of(number))

    def _success_of(self, number: int) -> bool | None:
        said = said_of(self._success, number, self._pieces, self._length, self._source)
        return None if said is None else bool(said)

    def read(self, number: int) -> RawEpisode:
        piece = self._pieces[number]
        place = f"{self._source}: episode {number}"
        names = [*(name for columns in self._seen.values() for name in columns), *self._done]
        names += [self._masks] if self._masks else []
        table = self._rows(names, piece.start, piece.stop)
        arrays = {name: self._array(table.column(name), name) for name in names}
        group = said_of(self._group, number, self._pieces, self._length, self._source)
        return RawEpisode(
            {part: _side_by_side([arrays[name] for name in columns]) for part, columns in self._seen.items()},
            _side_by_side([arrays[name] for name in self._done]),
            self._rewards[piece.start : piece.stop],
            piece.terminated,
            self._success_of(number),
            "" if group is None else str(group),
            None if self._masks is None else arrays[self._masks].astype(bool),
            place=place,
        )

    def _rows(self, names: Sequence[str], start: int, stop: int) -> Any:
        """Return rows of the table, out of the groups that they lie in."""
        pieces = []
        for group, (first, behind) in enumerate(pairwise(self._starts)):
            if first < stop and behind > start:
                pieces.append(
                    self._group_rows(group, names).slice(max(start - first, 0), min(stop, behind) - max(start, first))
                )
        return self._arrow.concat_tables(pieces) if pieces else self._file.schema_arrow.empty_table()

    def _group_rows(self, group: int, names: Sequence[str]) -> Any:
        if self._held is None or self._held[0] != group:
            size = self._file.metadata.row_group(group).total_byte_size
            if size > LARGEST_EPISODE:
                message = f"a group of rows takes {size / 2**30:,.0f} GiB"
                raise DataError(message, source=self._source, remedy="write the table with smaller row groups")
            self._held = (group, self._load(names, group))
        return self._held[1]

    def close(self) -> None:
        self._held = None
        self._file.close()


def _side_by_side(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)


def _numbered(keys: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the columns ``KEY_0``, ``KEY_1`` ... in the order of their numbers."""
    for key in keys:
        found = [(int(match[1]), name) for name in names if (match := re.fullmatch(rf"{re.escape(key)}_(\d+)", name))]
        if found:
            return [name for _, name in sorted(found)]
    return []


def _parts(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns of each part of the observation."""
    for key in _SEEN:
        if key in names:
            return {SINGLE: [key]}
        marks = tuple(f"{key}{mark}" for mark in "/.")
        inside = {name[len(key) + 1 :]: [name] for name in names if name.startswith(marks)}
        if inside:
            return inside
    numbered = _numbered(_SEEN, names)
    return {SINGLE: numbered} if numbered else {}
