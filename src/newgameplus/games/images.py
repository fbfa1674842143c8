"""Still pictures of a folder of frames: found in natural order, sized up before anything is decoded, read as RGB."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "PictureError", "frame_files", "natural_order", "read_image", "too_large"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
MAX_PIXELS = 64 * 1024 * 1024
"""Pictures with more pixels are refused unread: a few kilobytes of PNG can unfold to gigabytes."""

_DIGITS = re.compile(r"(\d+)")


class PictureError(Exception):
    """One picture cannot be used; the text says why. Never leaves this room: it becomes a problem of a clip."""


def natural_order(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Return a sort key that puts ``frame-9`` before ``frame-10``."""
    pieces = _DIGITS.split(path.as_posix().casefold())
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces], path.as_posix()


def visible(paths: Iterable[Path]) -> list[Path]:
    """Return the paths that are not hidden, in natural order."""
    return sorted((path for path in paths if not path.name.startswith(".")), key=natural_order)


def frame_files(folder: Path) -> list[Path]:
    """Return the pictures directly in a folder (png, jpg, bmp, webp) in natural order."""
    return [path for path in visible(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]


def too_large(width: int, height: int) -> str:
    """Return why a picture of this size is refused, or an empty string if it is not."""
    if width * height <= MAX_PIXELS:
        return ""
    limit = MAX_PIXELS // (1024 * 1024)
    return f"is {width:,} x {height:,} pixels, more than the {limit} megapixels allowed: make it smaller first"


def _open(path: Path) -> Any:
    """Open a picture without decoding it.

    The readers are called directly: ``Image.open`` prints a warning about large pictures from a process-wide setting,
    where a refusal by our own limit is wanted.
    """
    from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

    with path.open("rb") as handle:
        head = handle.read(16)
    if not head:
        raise PictureError("is empty (0 bytes)")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImagePlugin.PngImageFile(path)
    if head.startswith(b"\xff\xd8"):
        return JpegImagePlugin.JpegImageFile(path)
    if head.startswith(b"BM"):
        return BmpImagePlugin.BmpImageFile(path)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile(path)
    raise PictureError("is no PNG, JPEG, BMP or WebP picture")


def _as_rgb(image: Any) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        # Pillow clips 16 bits to 8 instead of scaling them.
        grey = (np.asarray(image, dtype=np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise PictureError(f"has {image.mode!r} pixels (32 bits for each); save it with 8 bits per channel")
    return np.asarray(image.convert("RGB"), dtype=np.uint8)


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture.

    Args:
        path: A PNG, JPEG, BMP or WebP file, grey, palette or colour; transparency is dropped.

    Returns:
        uint8 [height, width, 3], red, green, blue.

    Raises:
        PictureError: It is empty, damaged, no picture, or too large.
    """
    try:
        with _open(path) as image:
            if reason := too_large(*image.size):
                raise PictureError(reason)
            return _as_rgb(image)
    except PictureError:
        raise
    # Pillow's readers raise nearly anything on damaged files, and each means the same here.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, MemoryError, OverflowError) as error:
        raise PictureError(f"cannot be decoded ({error})") from error
