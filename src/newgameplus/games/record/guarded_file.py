"""A file that HDF5 writes through, and that keeps the system's errors for us."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

__all__ = ["GuardedFile"]


class GuardedFile:
    """A file for reading and writing that remembers its first error instead of raising it.

    HDF5 writes late, from places where an error cannot be raised, and leaves its library in disorder after one. So
    after an error everything further is accepted and thrown away; whoever writes asks for :attr:`error` now and then.

    Args:
        path: The file.
        fresh: Begin an empty file instead of going on in one that is there.

    Attributes:
        error: The first error; None while all is well.
    """

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self._file = io.FileIO(path, "w+b" if fresh else "r+b")
        self._place = 0
        self._size = os.fstat(self._file.fileno()).st_size
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def read(self, count: int) -> bytes:
        """Read up to so many bytes."""
        buffer = bytearray(count)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer; with zeros where the file could not be written."""
        wanted = len(buffer)
        done = 0
        view = memoryview(buffer).cast("B")
        self._file.seek(self._place)
        while done < wanted and (count := self._file.readinto(view[done:])):
            done += count
        if done < wanted and self.error is not None:
            view[done:] = bytes(wanted - done)
            done = wanted
        self._place += done
        return done

    def write(self, buffer: memoryview) -> int:
        """Write all of a buffer, or remember why not."""
        view = memoryview(buffer).cast("B")
        if self.error is None:
            try:
                self._file.seek(self._place)
                done = 0
                while done < len(view):
                    done += self._file.write(view[done:]) or 0
            except OSError as error:
                self.error = error
        self._place += len(view)
        self._size = max(self._size, self._place)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Make the file as long as this."""
        size = self._place if size is None else size
        if self.error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self.error = error
        self._size = size
        return size

    def flush(self) -> None:
        """Do nothing: nothing is held back here."""

    def close(self) -> None:
        """Close the file; may be called twice."""
        with contextlib.suppress(OSError):
            self._file.close()
