"""Pictures inside the scene report: checked, fitted to the page, and kept within a budget of bytes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image, PngImagePlugin

from newgameplus.games.pictures import fold, png_bytes

__all__ = ["Shown", "Shrinker"]

_WIDEST = 1_080
_TALLEST = 1_400
_LARGEST_SOURCE = 64_000_000
_SMALLEST_BUDGET = 400


@dataclass(frozen=True)
class Shown:
    """One picture on the page.

    Attributes:
        address: ``data:image/png`` address.
        width: In pixels.
        height: In pixels.
    """

    address: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        """Whether it needs a row of its own."""
        return self.width > 520


class Shrinker:
    """Turns PNG files into addresses until its budget is spent.

    Args:
        budget: Bytes that all addresses together may take.
    """

    def __init__(self, budget: int) -> None:
        self.left = budget

    def show(self, png: bytes, share: float = 1.0) -> Shown | None:
        """Return a picture fitted to the page; None if it cannot be read or no budget is left for it.

        Args:
            png: The file; a wide level is cut into strips where the file says how large its tiles are.
            share: Part of the budget that is left that this picture may take; it is shrunk to fit.
        """
        try:
            with PngImagePlugin.PngImageFile(io.BytesIO(png)) as file:
                if file.width * file.height > _LARGEST_SOURCE:
                    return None
                picture = file.convert("RGB")
        # Pillow's reader raises nearly anything on damaged files, and each means the same here.
        except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, MemoryError, OverflowError):
            return None
        allowed = int(self.left * share)
        picture = fold(picture, _WIDEST)
        while allowed >= _SMALLEST_BUDGET:
            fitted = _at_most(picture, _WIDEST, _TALLEST)
            content = _smallest(fitted)
            address = "data:image/png;base64," + base64.b64encode(content).decode("ascii")
            if len(address) <= allowed:
                self.left -= len(address)
                return Shown(address, fitted.width, fitted.height)
            if min(fitted.size) < 8:
                break
            scale = min(0.7, 0.9 * (allowed / len(address)) ** 0.5)
            picture = _at_most(fitted, max(1, int(fitted.width * scale)), max(1, int(fitted.height * scale)))
        return None


def _at_most(picture: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(1.0, width / picture.width, height / picture.height)
    if scale == 1:
        return picture
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _smallest(picture: Image.Image) -> bytes:
    """Return a PNG of at most 256 colors: levels look the same in them and take a third of the bytes."""
    if picture.getcolors(256) is None:
        picture = picture.quantize(256, dither=Image.Dither.NONE)
    return png_bytes(picture)
