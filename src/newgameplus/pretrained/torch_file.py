"""Tensors out of files that torch wrote, without running a line of them.

``torch.save`` writes a pickle, and a pickle may run anything. Only torch's own restricted reader is used
(``weights_only=True``: tensors and plain containers, every other name refused), on the zip format alone (the tar format
before torch 1.6 had a hole: CVE-2025-32434), and sizes are looked at before anything is unpacked.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from newgameplus.errors import PretrainedModelError, Problem, raise_problems

__all__ = ["CONVERT", "MOST_BYTES", "check_finite", "open_zip", "read_member", "read_torch"]

MOST_BYTES = 4 << 30
"""Most bytes that anything read from a user's archive may unpack to."""
_MOST_RATIO = 1000
CONVERT = (
    "take its state_dict where it was made and write that with "
    "safetensors.torch.save_file(state_dict, 'weights.safetensors')"
)
"""What to do with a file that holds more than tensors."""


def open_zip(content: Any, source: str, remedy: str) -> zipfile.ZipFile:
    """Open a zip archive; nothing is ever unpacked to disk, so the names in it can do no harm.

    Args:
        content: Path or file object.
        source: Where it is, for messages.
        remedy: What to do if it is no archive.

    Raises:
        PretrainedModelError: It is none, or damaged.
    """
    try:
        return zipfile.ZipFile(content)
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise PretrainedModelError(f"this is no zip archive ({error})", source=source, remedy=remedy) from error


def read_member(archive: zipfile.ZipFile, name: str, source: str, remedy: str, most: int = MOST_BYTES) -> bytes:
    """Read one member of an archive into memory.

    Raises:
        PretrainedModelError: It is missing, damaged, or would unpack to more than ``most`` bytes.
    """
    try:
        info = archive.getinfo(name)
        packed = max(info.compress_size, 1)
        if info.file_size > most or (info.file_size > 1 << 24 and info.file_size / packed > _MOST_RATIO):
            raise PretrainedModelError(
                f"{name!r} would unpack from {info.compress_size:,} to {info.file_size:,} bytes, as no weights do",
                source=source,
                remedy=remedy,
            )
        return archive.read(info)
    except KeyError as error:
        raise PretrainedModelError(f"{name!r} is missing in it", source=source, remedy=remedy) from error
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise PretrainedModelError(f"{name!r} is damaged ({error})", source=source, remedy=remedy) from error
    except Exception as error:  # a broken stream raises errors of the decompressor's own (zlib.error, LZMAError)
        if isinstance(error, PretrainedModelError):
            raise
        raise PretrainedModelError(f"{name!r} is damaged ({error})", source=source, remedy=remedy) from error


def read_torch(content: bytes, source: str) -> Any:
    """Read what ``torch.save`` wrote, as far as it is tensors and plain containers; on the CPU.

    Args:
        content: The file.
        source: Where it is, for messages.

    Raises:
        PretrainedModelError: It is damaged, too old, too large, or holds anything else. Nothing of it was run.
    """
    if content[:2] == b"PK":
        with open_zip(io.BytesIO(content), source, CONVERT) as archive:
            size = sum(info.file_size for info in archive.infolist())
            if size > MOST_BYTES or size > max(1 << 24, _MOST_RATIO * len(content)):
                raise PretrainedModelError(f"it would unpack to {size:,} bytes", source=source, remedy=CONVERT)
    else:
        message = "this is no file of torch 1.6 or newer; older ones cannot be read safely"
        raise PretrainedModelError(message, source=source, remedy=f"{CONVERT} (or load and save it with a newer torch)")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = " ".join(str(error).split())
        found = reason.partition("Unsupported global: GLOBAL ")[2].split(" ")[0] or "other Python objects"
        raise PretrainedModelError(
            f"it holds more than tensors ({found}), which is never loaded: a pickle can run anything",
            source=source,
            remedy=CONVERT,
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        message = f"torch cannot read it ({reason or type(error).__name__})"
        raise PretrainedModelError(message, source=source, remedy="copy the file again; it is damaged") from error


def check_finite(tensors: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """Return the tensors if each is dense and finite and as large as it says; else raise with all that are not.

    Raises:
        PretrainedModelError: Something is no tensor, sparse, quantized, a view larger than its memory, or holds NaN.
    """
    problems = []
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            problems.append(Problem(f"{name!r} is no tensor but {type(value).__name__}", source, CONVERT))
        elif value.layout != torch.strided or value.is_quantized or value.is_complex() or value.device.type != "cpu":
            problems.append(Problem(f"{name!r} is sparse, quantized or complex", source, "save it as plain floats"))
        elif value.untyped_storage().nbytes() < value.numel() * value.element_size():
            problems.append(Problem(f"{name!r} claims {tuple(value.shape)} but holds less", source, "copy it again"))
        elif value.is_floating_point() and not bool(torch.isfinite(value).all()):
            problems.append(
                Problem(
                    f"{name!r} holds NaN or infinite numbers", source, "its training went wrong: take an earlier one"
                )
            )
    raise_problems(problems, PretrainedModelError, f"{len(problems)} tensors cannot be used")
    return {str(name): value for name, value in tensors.items()}
