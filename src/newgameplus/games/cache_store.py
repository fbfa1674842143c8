"""The files behind the frame cache: one array of clips that only grows, and an index that never names half a clip.

``frames.u8`` holds clips one behind the other. ``index.jsonl`` has a line for each clip that is whole on disk, for each
that cannot be decoded, and for each source file that was hashed. A line is written only after the frames it speaks of
have been flushed, and rows that are named are never written again: so a process may die at any moment, and others may
read while one writes. One process at a time may write; the others wait.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from newgameplus import progress
from newgameplus.errors import CacheError, StorageError
from newgameplus.files import digest_bytes, storage_errors, write_bytes
from newgameplus.shapes import ClipShape

__all__ = ["Entry", "Source", "Store"]

_VERSION = 1
_ROOM_TO_SPARE = 16 * 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """What the cache knows of one clip.

    Attributes:
        row: Where it is in the array; -1 if it cannot be decoded.
        digest: Digest of its frames.
        problem: Why it cannot be decoded.
    """

    row: int
    digest: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Source:
    """A file as it was when it was hashed: a cheap signature (size and time) and the digest of its content."""

    signature: str
    digest: str


class Store:
    """The cache of clips of one shape.

    Args:
        root: The cache folder; the store is a folder in it, named by the shape.
        shape: Shape of the clips.
    """

    def __init__(self, root: Path, shape: ClipShape) -> None:
        window = "" if shape.window is None else f"-{shape.window:g}s"
        settings = json.dumps({"version": _VERSION, **shape.as_dict()}, sort_keys=True)
        name = f"{shape.frames}x{shape.height}x{shape.width}x{shape.channels}{window}"
        self.folder = root / f"clips-{name}-{digest_bytes(settings.encode())[:8]}"
        self.shape = shape
        self.entries: dict[str, Entry] = {}
        self.sources: dict[str, Source] = {}
        self._whole_up_to = 0
        self._stale = False

    @property
    def array_file(self) -> Path:
        """The array of clips."""
        return self.folder / "frames.u8"

    @property
    def index_file(self) -> Path:
        """The index."""
        return self.folder / "index.jsonl"

    def load(self) -> None:
        """Read the index."""
        self.entries, self.sources, self._whole_up_to, self._stale = {}, {}, 0, False
        try:
            content = self.index_file.read_bytes()
            # After the index, so that a process that is writing meanwhile cannot name rows beyond this.
            rows_there = self.array_file.stat().st_size // self.shape.bytes_per_clip if self.array_file.exists() else 0
        except FileNotFoundError:
            return
        except OSError as error:
            remedy = "make it readable, or choose another cache folder with NGP_CACHE"
            raise CacheError(
                f"cannot be read ({error.strerror})", source=str(self.index_file), remedy=remedy
            ) from error
        for line in content.splitlines(keepends=True):
            if not (line.endswith(b"\n") and self._take(line, rows_there)):
                break  # what a killed process left half written; the next writer cuts it off
            self._whole_up_to += len(line)

    def _take(self, line: bytes, rows_there: int) -> bool:
        try:
            said = json.loads(line)
            if "source" in said:
                self.sources[said["source"]] = Source(said["signature"], said["digest"])
                return True
            entry = Entry(said["row"], said.get("digest", ""), said.get("problem", ""))
            if -1 <= entry.row < rows_there:
                self.entries[said["key"]] = entry
            else:
                self._stale = True  # somebody has taken the array away, or cut it
        except (ValueError, KeyError, TypeError):
            return False
        return True

    def mend(self) -> None:
        """Cut off what a killed process left half written, and forget rows that are no longer there.

        Must hold the lock. Without this, rows that are written later would answer for what stood there before.
        """
        if self._stale:
            lines = [_source_line(*item) for item in self.sources.items()]
            lines += [_entry_line(*item) for item in self.entries.items()]
            write_bytes(self.index_file, b"".join(lines))
            self._stale = False
        elif self.index_file.exists():
            os.truncate(self.index_file, self._whole_up_to)

    def open_array(self) -> mmap.mmap:
        """Map the array into memory, read-only."""
        with self.array_file.open("rb") as handle:
            return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """Take the lock, waiting for another process if need be, and give what writes.

        Raises:
            StorageError: The folder cannot be written to.
        """
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("ab+")
        with lock:
            _wait_for(lock, self.folder)
            # Only now: another process may have written while we waited.
            self.load()
            with storage_errors(self.folder):
                self.mend()
                with Writer(self) as writer:
                    yield writer


def _wait_for(lock: BinaryIO, folder: Path) -> None:
    """Take an exclusive lock that the system releases when its process ends, however it ends."""
    import fcntl

    told = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                remedy = "choose a cache folder on a local disk with NGP_CACHE"
                raise CacheError(f"cannot be locked ({error.strerror})", source=str(folder), remedy=remedy) from error
        if not told:
            progress.say(f"waiting for another process that fills the cache {folder}")
            told = True
        time.sleep(0.1)


class Writer:
    """Appends to a store. Only one exists at a time, by the lock. Use as a context manager."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.array_file.touch()
        self._array = store.array_file.open("rb+")
        # Not buffered: what a full disk refused must not be tried again when the file is closed.
        self._index = store.index_file.open("ab", buffering=0)
        # Rows behind the last one that is named are what a killed process left.
        self._next_row = 1 + max((entry.row for entry in store.entries.values()), default=-1)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._array.close()
        self._index.close()

    def check_space(self, clips: int) -> None:
        """Refuse to start if the disk has no room for this many clips.

        Raises:
            StorageError: Says how much is needed and how much there is.
        """
        import shutil

        shape = self._store.shape
        already = os.fstat(self._array.fileno()).st_size - self._next_row * shape.bytes_per_clip
        needed = clips * shape.bytes_per_clip + _ROOM_TO_SPARE - already
        free = shutil.disk_usage(self._store.folder).free
        if needed > free:
            message = f"{clips:,} clips need {_size(needed)} of disk space, and {_size(free)} are free"
            remedy = "free some disk space, or choose another cache folder with NGP_CACHE"
            raise StorageError(message, source=str(self._store.folder), remedy=remedy)

    def reserve(self, clips: int) -> Rows:
        """Reserve rows for clips on the disk, so that writing to their memory map cannot fail later.

        Raises:
            StorageError: There is no room left; what was written before stays.
        """
        shape = self._store.shape
        first = self._next_row
        offset, length = first * shape.bytes_per_clip, clips * shape.bytes_per_clip
        try:
            os.posix_fallocate(self._array.fileno(), offset, length)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            message = f"no room for {clips:,} more clips ({_size(length)}): {os.strerror(error.errno or 0).lower()}"
            remedy = (
                "free some disk space, or choose another cache folder with NGP_CACHE; then run the same command again: "
                "what is decoded is kept"
            )
            raise StorageError(message, source=str(self._store.folder), remedy=remedy) from error
        self._next_row += clips
        frames = np.memmap(self._store.array_file, np.uint8, "r+", offset, (clips, *shape.array))
        return Rows(first, frames)

    def commit(self, entries: Iterable[tuple[str, Entry]], sources: Iterable[tuple[str, Source]] = ()) -> None:
        """Flush the array, and name clips in the index."""
        entries, sources = list(entries), list(sources)
        lines = b"".join([*(_source_line(*item) for item in sources), *(_entry_line(*item) for item in entries)])
        if not lines:
            return
        os.fsync(self._array.fileno())  # with what was written through memory maps
        while lines:
            lines = lines[self._index.write(lines) :]
        os.fsync(self._index.fileno())
        self._store.entries.update(entries)
        self._store.sources.update(sources)


@dataclass(frozen=True)
class Rows:
    """Rows that are reserved for a job.

    Attributes:
        first: Number of the first row.
        frames: np.memmap uint8 [clips, frames, height, width, channels].
    """

    first: int
    frames: np.memmap[Any, np.dtype[np.uint8]]


def _source_line(path: str, source: Source) -> bytes:
    return _line({"source": path, "signature": source.signature, "digest": source.digest})


def _entry_line(key: str, entry: Entry) -> bytes:
    told = {"digest": entry.digest} if entry.row >= 0 else {"problem": entry.problem}
    return _line({"key": key, "row": entry.row, **told})


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"
