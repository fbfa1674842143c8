"""Words in pictures: one typeface with letters of most alphabets, lines that wrap, and captions of a known height."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

from PIL import ImageDraw, ImageFont

__all__ = ["draw_lines", "font", "line_height", "printable", "wrap"]

_LONGEST = 2_000


@functools.lru_cache(maxsize=32)
def font(size: int, bold: bool = False) -> Any:
    """Return the typeface that matplotlib brings (it knows Greek, Cyrillic and arrows), else Pillow's own."""
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin:
        name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / name
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


def line_height(size: int) -> int:
    """Return pixels from one line to the next."""
    return round(size * 1.35)


def printable(text: str) -> str:
    """Return text without anything that cannot be drawn, and no longer than anyone would read."""
    kept = "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text[:_LONGEST])
    return kept + (" …" if len(text) > _LONGEST else "")


def wrap(text: str, size: int, width: int, most: int = 6, bold: bool = False) -> list[str]:
    """Break text into lines.

    Args:
        text: Its own line breaks are kept.
        size: Of the letters, in pixels.
        width: Of the lines, in pixels; a word that is wider is broken.
        most: Lines at most; what is left over becomes an ellipsis.
        bold: Whether the letters are bold.
    """
    face = font(size, bold)
    lines: list[str] = []
    for paragraph in printable(text).split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if face.getlength(longer) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            *broken, line = _break(word, face, width)
            lines += broken
        lines.append(line)
    if len(lines) > most:
        lines = [*lines[: most - 1], _shorten(f"{lines[most - 1]} …", face, width)]
    return lines


def _break(word: str, face: Any, width: int) -> list[str]:
    """Break one word into pieces that fit; a single letter always fits."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and face.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _shorten(line: str, face: Any, width: int) -> str:
    while len(line) > 2 and face.getlength(line) > width:
        line = f"{line[:-2].rstrip()}…"
    return line


def draw_lines(
    draw: ImageDraw.ImageDraw,
    lines: list[str],
    at: tuple[int, int],
    size: int,
    color: tuple[int, int, int],
    bold: bool = False,
) -> None:
    """Draw lines below each other; ``at`` is left and top in pixels."""
    for number, line in enumerate(lines):
        draw.text((at[0], at[1] + number * line_height(size)), line, fill=color, font=font(size, bold))
