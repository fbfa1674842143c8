"""Tensors on disk: safetensors with plain JSON beside them in one atomic file; never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from newgameplus.errors import NewGamePlusError, RunError
from newgameplus.files import atomic_path

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["load_tensors", "save_tensors"]

_KEY = "newgameplus"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], content: Mapping[str, Any] | None = None) -> None:
    """Write tensors and JSON content to one safetensors file, atomically.

    Raises:
        StorageError: There is no space or no permission.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(plain, temporary, metadata={_KEY: json.dumps(content or {})})
        except SafetensorError as error:
            # The library wraps the system's error in its own; give it back so that the remedy fits.
            raise _as_os_error(error) from error
        # The library makes files that only their owner may read, whatever the user's mask says.
        temporary.chmod(0o666 & ~_mask())


def _mask() -> int:
    import os

    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _as_os_error(error: Exception) -> OSError:
    import errno

    text = str(error)
    for number in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM):
        if f"os error {number}" in text:
            return OSError(number, text)
    return OSError(errno.EIO, text)


def load_tensors(
    path: Path,
    error: type[NewGamePlusError] = RunError,
    device: str = "cpu",
    remedy: str = "the file is missing or damaged: restore it from a copy, or run the fit again",
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what :func:`save_tensors` wrote.

    Args:
        path: The safetensors file.
        error: What to raise when the file cannot be read.
        device: Where the tensors go.
        remedy: What a user can do then.

    Returns:
        The tensors by name, and the JSON content.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device=device) as handle:
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (not a mapping)
            content = json.loads((handle.metadata() or {}).get(_KEY, "{}"))
    except (OSError, SafetensorError, ValueError) as reason:
        raise error(f"cannot read the weights: {reason}", source=str(path), remedy=remedy) from reason
    return tensors, content
