"""NumPy archives: all steps in one row of arrays, as D4RL keeps them. Arrays are read by rows, never unpickled.

Keys: ``observations`` (or ``observations/NAME`` for each part), ``actions``, ``rewards``, ``terminated`` and
``truncated``; optional are ``episode`` (its number, for each step), ``next_observations``, ``success``, ``group``,
``masks``, and ``environment``. Usual other names (``terminals``, ``timeouts``, ``dones`` ...) are understood.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.games.demonstration_formats.contract import DemonstrationFile, Outline, RawEpisode, check_size
from newgameplus.games.demonstration_formats.cutting import cut, field_of, flags, missing_fields, said_of
from newgameplus.spaces import SINGLE

__all__ = ["NAME", "open", "sniff"]

NAME = "npz"

_SEEN = ("observations", "observation", "obs")
_NEXT = ("next_observations", "next_observation", "next_obs")
_REMEDY = "write it again with numpy.savez_compressed"
_DAMAGE = (OSError, EOFError, ValueError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def sniff(path: Path) -> bool:
    """Say whether a file is a NumPy archive, or looks like one that is damaged."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".npz":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (*_DAMAGE, struct.error):
        return False


def open(path: Path) -> DemonstrationFile:  # noqa: A001 - every format has it
    """Open an archive.

    Raises:
        DataError: It is empty, cut off or damaged, keys are missing, or its arrays disagree.
    """
    return _Archive(path)


class _Rows:
    """One array of an archive, read by rows from the front; going back begins anew."""

    def __init__(self, archive: zipfile.ZipFile, member: str, source: str) -> None:
        self._archive, self._member, self._source = archive, member, source
        self._stream: Any = None
        self._next = 0
        self._whole: npt.NDArray[Any] | None = None
        try:
            with self._archive.open(member) as stream:
                self.shape, self._fortran, self.dtype = self._header(stream)
        except _DAMAGE as error:
            message = f"the array {self._name!r} is damaged ({error})"
            raise DataError(message, source=source, remedy=_REMEDY) from error
        if self.dtype.hasobject:
            message = f"{self._name!r} is an array of objects, which only a pickle could hold; pickles are never loaded"
            raise DataError(message, source=source, remedy="write plain numbers: one row for each step")
        if self.dtype.kind not in "biufU":
            raise DataError(f"{self._name!r} is of {self.dtype}, not numbers", source=source, remedy=_REMEDY)

    @property
    def _name(self) -> str:
        return self._member.removesuffix(".npy")

    def _header(self, stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        try:
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                return np.lib.format.read_array_header_1_0(stream)
            if version == (2, 0):
                return np.lib.format.read_array_header_2_0(stream)
        except (*_DAMAGE, SyntaxError, tokenize.TokenError) as error:
            message = f"the array {self._name!r} is damaged ({error})"
            raise DataError(message, source=self._source, remedy=_REMEDY) from error
        raise DataError(f"the array {self._name!r} is of version {version}", source=self._source, remedy=_REMEDY)

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def all(self) -> npt.NDArray[Any]:
        """Return all rows."""
        return self.rows(0, len(self)) if self.shape else self._read_whole()

    def rows(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Return some rows.

        Raises:
            DataError: The file is damaged there, or they would not fit into memory.
        """
        check_size((stop - start, *self.shape[1:]), self.dtype.itemsize, self._source)
        try:
            if self._fortran:
                return np.ascontiguousarray(self._read_whole()[start:stop])
            return self._read(start, stop)
        except _DAMAGE as error:
            if isinstance(error, DataError):
                raise
            message = f"the array {self._name!r} is damaged at rows {start} to {stop} ({error})"
            raise DataError(message, source=self._source, remedy=_REMEDY) from error

    def _read_whole(self) -> npt.NDArray[Any]:
        if self._whole is None:
            check_size(self.shape, self.dtype.itemsize, self._source)
            with self._archive.open(self._member) as stream:
                self._whole = np.lib.format.read_array(stream, allow_pickle=False)
        return self._whole

    def _read(self, start: int, stop: int) -> npt.NDArray[Any]:
        row = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        if self._stream is None or start < self._next:
            self.close()
            self._stream = self._archive.open(self._member)
            self._header(self._stream)
            self._next = 0
        self._skip((start - self._next) * row)
        self._next = stop
        found = bytearray((stop - start) * row)
        view = memoryview(found)
        done = 0
        while done < len(found) and (count := self._stream.readinto(view[done:])):
            done += count
        if done < len(found):
            raise EOFError("it ends too early")
        return np.frombuffer(found, self.dtype).reshape(stop - start, *self.shape[1:])

    def _skip(self, count: int) -> None:
        while count > 0:
            block = len(self._stream.read(min(count, 1 << 20)))
            if not block:
                raise EOFError("it ends too early")
            count -= block

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class _Archive(DemonstrationFile):
    """An open archive."""

    def __init__(self, path: Path) -> None:
        self._source = str(path)
        try:
            self._archive = zipfile.ZipFile(path)
        except _DAMAGE as error:
            message = f"no readable npz: empty, cut off or damaged ({error})"
            raise DataError(message, source=self._source, remedy=_REMEDY) from error
        try:
            self._take()
        except BaseException:
            self._archive.close()
            raise

    def _take(self) -> None:
        members = [name for name in self._archive.namelist() if name.endswith(".npy")]
        names = [name.removesuffix(".npy") for name in members]
        seen = _parts(_SEEN, names)
        missing_fields(names, bool(seen), self._source)
        used = {*seen.values(), *_parts(_NEXT, names).values()}
        self._rows = {name: self._open(name) for name in names if name in used}
        self._seen, self._after = seen, _parts(_NEXT, names)

        def whole(field: str) -> npt.NDArray[Any] | None:
            name = field_of(field, names)
            return None if name is None else self._open(name).all()

        rewards, actions = field_of("rewards", names) or "", field_of("actions", names) or ""
        self._rewards = self._open(rewards).all()
        self._actions = self._rows[actions] = self._open(actions)
        masks = field_of("masks", names)
        self._masks = self._open(masks) if masks else None
        self._success, self._group = whole("success"), whole("group")
        environment = whole("environment")
        self.environment = str(environment) if environment is not None and environment.ndim == 0 else ""
        ends = (whole(field) for field in ("terminated", "truncated"))
        terminated, truncated = (None if one is None else flags(one, "an end", self._source) for one in ends)
        if self._rewards.ndim == 0:
            raise DataError("'rewards' are a single number", source=self._source, remedy="give one for each step")
        self._length = len(self._rewards)
        self._pieces = cut(self._length, terminated, truncated, whole("episode"), self._source)
        self._check_lengths()

    def _open(self, name: str) -> _Rows:
        return _Rows(self._archive, f"{name}.npy", self._source)

    def _check_lengths(self) -> None:
        allowed = {self._length, self._length + 1} if len(self._pieces) == 1 else {self._length}
        wrong = {name: len(rows) for name, rows in self._rows.items() if len(rows) not in allowed}
        if wrong:
            said = ", ".join(f"{count} {name!r}" for name, count in wrong.items())
            message = f"there are {said} for {self._length} rewards"
            raise DataError(message, source=self._source, remedy="give each array one row for each step")

    def outlines(self) -> tuple[Outline, ...]:
        return tuple(self._outline(number) for number in range(len(self._pieces)))

    def _outline(self, number: int) -> Outline:
        piece = self._pieces[number]
        total = float(np.sum(self._rewards[piece.start : piece.stop], dtype=np.float64))
        return Outline(f"{self._source}: episode {number}", piece.stop - piece.start, total, self._success_of(number))

    def _success_of(self, number: int) -> bool | None:
        said = said_of(self._success, number, self._pieces, self._length, self._source)
        return None if said is None else bool(np.all(said))

    def read(self, number: int) -> RawEpisode:
        piece = self._pieces[number]
        start, stop = piece.start, piece.stop
        observations = {}
        for part, name in self._seen.items():
            rows = self._rows[name]
            found = rows.rows(start, min(stop + 1, len(rows)) if len(self._pieces) == 1 else stop)
            after = self._after.get(part)
            if after is not None and len(found) == stop - start and stop > start:
                found = np.concatenate([found, self._rows[after].rows(stop - 1, stop)])
            observations[part] = found
        group = said_of(self._group, number, self._pieces, self._length, self._source)
        return RawEpisode(
            observations,
            self._actions.rows(start, stop),
            self._rewards[start:stop],
            piece.terminated,
            self._success_of(number),
            "" if group is None else str(group),
            None if self._masks is None else self._masks.rows(start, stop),
            place=f"{self._source}: episode {number}",
        )

    def close(self) -> None:
        for rows in self._rows.values():
            rows.close()
        if self._masks is not None:
            self._masks.close()
        self._archive.close()


def _parts(keys: tuple[str, ...], names: list[str]) -> dict[str, str]:
    """Return the names of arrays by the part of the observation that they hold."""
    for key in keys:
        if key in names:
            return {SINGLE: key}
        inside = {name.removeprefix(f"{key}/"): name for name in names if name.startswith(f"{key}/")}
        if inside:
            return inside
    return {}
