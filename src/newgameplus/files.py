"""Writing files so that nothing is ever half there, and naming what they hold by a digest."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from newgameplus.errors import StorageError

__all__ = [
    "atomic_path",
    "digest_bytes",
    "digest_file",
    "remedy_for",
    "storage_errors",
    "write_bytes",
    "write_json",
    "write_text",
]

_REMEDIES = {
    errno.ENOSPC: "free some disk space, or choose another place, then run the same command again",
    errno.EDQUOT: "free some of your disk quota, or choose another place, then run the same command again",
    errno.EFBIG: "files may not be this large here: choose another place or raise the limit (ulimit -f)",
    errno.EROFS: "this place is read-only: choose another folder",
    errno.EACCES: "you may not write here: choose another folder or change its permissions",
    errno.EPERM: "you may not write here: choose another folder or change its permissions",
    errno.EEXIST: "a file stands where a folder is needed: choose another name",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another name",
}


def remedy_for(error: OSError) -> str:
    """Return what a user can do about an error of the system."""
    return _REMEDIES.get(error.errno or 0, "check the disk and the permissions there; what was written is untouched")


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors about writing ``path`` into a ``StorageError`` with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StorageError(f"cannot write: {reason}", source=str(path), remedy=_REMEDIES[error.errno]) from error


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that becomes ``path`` when the block ends without an error.

    The file is flushed to disk first, so after a crash ``path`` is either the old file or the whole new one.

    Raises:
        StorageError: There is no space or no permission.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # what went wrong before is what the user must hear of
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text to ``path`` atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON to ``path`` atomically; NaN is refused."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def digest_bytes(*parts: bytes) -> str:
    """Return a hexadecimal BLAKE2b digest (32 characters) of the parts, each with its length."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def digest_file(path: Path) -> str:
    """Return a hexadecimal BLAKE2b digest (32 characters) of a file's content."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
