"""The arrays that several processes share to step copies of a game: one file in memory, mapped by all of them.

The file is taken out of its folder as soon as all have it open, so that nothing is left behind whoever dies how.
"""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import StorageError
from newgameplus.spaces import ActionSpec, Observations, ObservationSpec

__all__ = ["SharedArrays", "create_file"]

_ALIGN = 64


def _layout(
    seen: ObservationSpec, done: ActionSpec, count: int
) -> tuple[list[tuple[str, tuple[int, ...], np.dtype[Any], int]], int]:
    wanted: list[tuple[str, tuple[int, ...], Any]] = [
        ("actions", (count, *done.shape), done.dtype),
        ("masks", (count, done.width), np.bool_),
        ("rewards", (count,), np.float32),
        ("terminated", (count,), np.bool_),
        ("truncated", (count,), np.bool_),
        ("totals", (count,), np.float64),
        ("lengths", (count,), np.int64),
        ("success", (count,), np.int8),
    ]
    for part in seen.parts:
        wanted += [(f"{when}/{part.name}", (count, *part.shape), part.dtype) for when in ("seen", "final")]
    places = []
    begin = 0
    for name, shape, kind in wanted:
        dtype = np.dtype(kind)
        places.append((name, shape, dtype, begin))
        size = int(np.prod(shape)) * dtype.itemsize
        begin += -(-size // _ALIGN) * _ALIGN
    return places, max(begin, _ALIGN)


def create_file(seen: ObservationSpec, done: ActionSpec, count: int) -> Path:
    """Create the file for ``count`` copies, in memory where the system has a folder for that.

    Raises:
        StorageError: There is no room for it.
    """
    size = _layout(seen, done, count)[1]
    memory = Path("/dev/shm")  # noqa: S108 - mapped memory of this user, under a name drawn at random
    folders = [memory, None] if memory.is_dir() else [None]
    for folder in folders:
        try:
            with tempfile.NamedTemporaryFile(prefix="newgameplus-", dir=folder, delete=False) as file:
                path = Path(file.name)
                try:
                    for begin in range(0, size, 1 << 20):  # written, not only made longer: a full disk shows now
                        file.write(bytes(min(1 << 20, size - begin)))
                except OSError:
                    path.unlink(missing_ok=True)
                    raise
            return path
        except OSError as error:
            if folder is None:
                remedy = "lower environment.count, or use vectorize: sync"
                raise StorageError(f"no room for {size:,} shared bytes: {error}", remedy=remedy) from error
    raise AssertionError  # the last folder either works or raises


class SharedArrays:
    """The arrays of all copies, or of some rows of them.

    Args:
        path: The file.
        seen: What is seen.
        done: What can be done.
        count: Copies in all.
        rows: First and last (exclusive) of the copies that are wanted.
    """

    def __init__(
        self, path: Path, seen: ObservationSpec, done: ActionSpec, count: int, rows: tuple[int, int] | None = None
    ) -> None:
        places, size = _layout(seen, done, count)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        begin, end = rows or (0, count)
        arrays = {
            name: np.frombuffer(self._map, dtype, int(np.prod(shape)), offset).reshape(shape)[begin:end]
            for name, shape, dtype, offset in places
        }
        self.seen: Observations = {part.name: arrays[f"seen/{part.name}"] for part in seen.parts}
        self.final: Observations = {part.name: arrays[f"final/{part.name}"] for part in seen.parts}
        self.actions = arrays["actions"]
        self.masks: npt.NDArray[np.bool_] = arrays["masks"]
        self.rewards: npt.NDArray[np.float32] = arrays["rewards"]
        self.terminated: npt.NDArray[np.bool_] = arrays["terminated"]
        self.truncated: npt.NDArray[np.bool_] = arrays["truncated"]
        self.totals: npt.NDArray[np.float64] = arrays["totals"]
        self.lengths: npt.NDArray[np.int64] = arrays["lengths"]
        self.success: npt.NDArray[np.int8] = arrays["success"]
        """1 or 0 for told success; -1 if the game says nothing."""

    def close(self) -> None:
        """Let go of the memory, as soon as nobody looks at the arrays."""
        self.__dict__ = {"_map": self._map}
        with contextlib.suppress(BufferError):
            self._map.close()
