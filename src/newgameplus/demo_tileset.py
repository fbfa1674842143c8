"""The pictures of the demo's tiles, 16 pixels a side: what a designer would have drawn, with nothing behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw

from newgameplus.games.pictures import plain_artist
from newgameplus.games.scenes import Tile, Tileset

__all__ = ["PIXELS", "SKY", "draw_tile"]

PIXELS = 16
"""Width and height of a tile."""

SKY = "#bedef3"
"""What is to be seen where no tile is."""

_Color = tuple[int, int, int]
_INK: _Color = (38, 40, 52)


def draw_tile(tile: Tile) -> Image.Image:
    """Return the picture of a tile, RGBA: one of our own, or a plain one by what the tile means."""
    picture = Image.new("RGBA", (PIXELS, PIXELS))
    if tile.name in _DRAWN:
        _DRAWN[tile.name](ImageDraw.Draw(picture))
        return picture
    stamp = plain_artist(Tileset((tile, Tile("sky", frozenset({"empty"})))), "platformer")
    colors, sky = stamp.stamp(0, PIXELS), stamp.stamp(1, PIXELS)
    opaque = np.where((colors == sky).all(axis=2), 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([colors, opaque]))


def _ground(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((0, 0, 15, 15), (156, 112, 72))
    for x, y, wide in ((1, 3, 4), (9, 1, 3), (6, 7, 5), (13, 9, 2), (2, 11, 3), (9, 13, 4)):
        draw.line((x, y, x + wide, y), (128, 88, 54))
        draw.point((x + wide // 2, y + 2), (182, 140, 98))


def _stone(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((0, 0, 15, 15), (150, 152, 160), _INK)
    draw.line((1, 1, 14, 1), (204, 206, 212))
    draw.line((1, 1, 1, 14), (204, 206, 212))
    draw.line((1, 14, 14, 14), (98, 100, 110))
    draw.line((14, 1, 14, 14), (98, 100, 110))


def _reward(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((0, 0, 15, 15), (240, 184, 48), _INK)
    for x, y in ((2, 2), (13, 2), (2, 13), (13, 13)):
        draw.point((x, y), (150, 100, 20))
    draw.polygon(
        ((8, 3), (9, 6), (13, 6), (10, 9), (11, 12), (8, 10), (5, 12), (6, 9), (3, 6), (7, 6)), (255, 246, 214)
    )


def _coin(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((4, 2, 11, 13), (248, 206, 66), (168, 118, 20))
    draw.line((7, 5, 7, 10), (255, 244, 190))


def _pipe(draw: ImageDraw.ImageDraw, right: bool, rim: bool) -> None:
    inset = 0 if rim else 2
    for x in range(PIXELS):
        across = x + PIXELS * right
        if not inset <= across < 2 * PIXELS - inset:
            continue
        light = 1.35 - abs(across - 9) * 0.045
        color = tuple(min(255, int(part * light)) for part in (44, 156, 74))
        edge = across in (inset, 2 * PIXELS - 1 - inset)
        draw.line((x, 0, x, 15), _INK if edge else color)
    if rim:
        draw.line((0, 0, 15, 0), _INK)
        draw.line((0, 15, 15, 15), _INK)


def _walker(draw: ImageDraw.ImageDraw, coat: _Color, shell: bool) -> None:
    draw.ellipse((2, 3, 13, 14), coat, _INK)
    if shell:
        draw.arc((4, 6, 11, 14), 180, 360, (230, 240, 210))
        draw.line((3, 10, 12, 10), (230, 240, 210))
    draw.rectangle((4, 5, 6, 8), "white")
    draw.rectangle((9, 5, 11, 8), "white")
    draw.line((6, 6, 6, 8), _INK)
    draw.line((9, 6, 9, 8), _INK)
    draw.rectangle((2, 14, 5, 15), _INK)
    draw.rectangle((10, 14, 13, 15), _INK)


def _bush(draw: ImageDraw.ImageDraw) -> None:
    for box, color in (
        ((0, 8, 8, 17), (74, 158, 74)),
        ((7, 8, 15, 17), (74, 158, 74)),
        ((3, 5, 12, 17), (96, 184, 90)),
    ):
        draw.ellipse(box, color)


def _cloud(draw: ImageDraw.ImageDraw, right: bool) -> None:
    offset = -PIXELS * right
    for left, top, wide, high in ((2, 6, 12, 8), (8, 2, 13, 12), (17, 5, 12, 9)):
        draw.ellipse((left + offset, top, left + wide + offset, top + high), "white")


def _pole(draw: ImageDraw.ImageDraw) -> None:
    draw.line((7, 0, 7, 15), (120, 128, 136))
    draw.line((8, 0, 8, 15), (196, 202, 208))


def _pennant(draw: ImageDraw.ImageDraw) -> None:
    draw.polygon(((15, 2), (15, 12), (3, 7)), (214, 62, 62))
    draw.line((15, 2, 3, 7), _INK)
    draw.line((15, 12, 3, 7), _INK)


def _goal(draw: ImageDraw.ImageDraw) -> None:
    _pole(draw)
    draw.rectangle((3, 10, 12, 15), (150, 152, 160), _INK)


#: Own pictures, by the characters of the platformer generator.
_DRAWN: Mapping[str, Callable[[ImageDraw.ImageDraw], None]] = MappingProxyType(
    {
        "#": _ground,
        "x": _stone,
        "!": _reward,
        "o": _coin,
        "{": lambda draw: _pipe(draw, False, True),
        "}": lambda draw: _pipe(draw, True, True),
        "[": lambda draw: _pipe(draw, False, False),
        "]": lambda draw: _pipe(draw, True, False),
        "w": lambda draw: _walker(draw, (200, 98, 58), False),
        "k": lambda draw: _walker(draw, (64, 132, 96), True),
        '"': _bush,
        "(": lambda draw: _cloud(draw, False),
        ")": lambda draw: _cloud(draw, True),
        "|": _pole,
        "P": _pennant,
        "G": _goal,
    }
)
