"""The shapes of plain tiles: what each meaning looks like, drawn large on a transparent square and shrunk to a tile.

Colors follow Okabe and Ito's palette, which color-blind people can tell apart, and every meaning has a shape of its
own, so that no two differ by color alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from PIL import Image, ImageDraw

__all__ = ["BASES", "COLORS", "MARKS", "Brush", "Color", "kind_color", "lit"]

Color = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

_UNITS = 64
_INK: Color = (30, 33, 40)
_WHITE: Color = (255, 255, 255)

#: The color of each meaning; a tile that means several is drawn in several.
COLORS: Mapping[str, Color] = MappingProxyType(
    {
        "sky": (190, 222, 243), "floor": (236, 231, 220), "ground": (148, 104, 66), "wall": (92, 101, 116),
        "void": (27, 30, 37), "liquid": (58, 134, 200), "lava": (226, 98, 34), "climbable": (156, 100, 40),
        "pipe": (0, 148, 96), "breakable": (190, 112, 70), "one-way": (176, 136, 84), "door": (140, 86, 44),
        "key": (240, 190, 30), "collectable": (245, 196, 24), "hazard": (204, 40, 36), "enemy": (213, 94, 0),
        "start": (0, 98, 178), "goal": (0, 140, 104), "goal-flag": (0, 140, 104),
        "box-placed": (0, 140, 104), "box": (222, 160, 72),
        "spawner": (148, 72, 140), "decoration": (128, 158, 112), "unknown": (170, 160, 180),
    }
)  # fmt: skip

_KINDS: Mapping[str, Color] = MappingProxyType(
    {
        "red": (204, 40, 36), "blue": (0, 98, 178), "green": (0, 140, 84), "yellow": (240, 190, 30),
        "gold": (240, 190, 30), "orange": (230, 130, 0), "purple": (124, 66, 150), "pink": (214, 110, 160),
        "black": (40, 42, 48), "white": (244, 244, 244), "grey": (130, 136, 144), "gray": (130, 136, 144),
        "silver": (170, 178, 188), "brown": (130, 84, 46), "cyan": (86, 180, 233),
    }
)  # fmt: skip
_OTHER_KINDS: Sequence[Color] = ((86, 180, 233), (204, 121, 167), (230, 159, 0), (0, 158, 115), (124, 66, 150))


def kind_color(meaning: str) -> Color:
    """Return the color of ``key:KIND`` or ``door:KIND``: the kind's own if it is named after a color, the same for
    both; a plain ``key`` is golden and a plain ``door`` brown."""
    base, _, kind = meaning.partition(":")
    if not kind:
        return COLORS[base]
    return _KINDS.get(kind.casefold(), _OTHER_KINDS[zlib.crc32(kind.encode()) % len(_OTHER_KINDS)])


def lit(color: Color, factor: float) -> Color:
    """Return the color made darker (factor under 1) or lighter (over 1, towards white)."""
    if factor <= 1:
        red, green, blue = (round(part * factor) for part in color)
    else:
        red, green, blue = (round(part + (255 - part) * min(1.0, factor - 1)) for part in color)
    return red, green, blue


class Brush:
    """Draws on one transparent square in units of a 64th of its side.

    Args:
        side: Pixels a side.
    """

    def __init__(self, side: int) -> None:
        self.image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.image)
        self._unit = side / _UNITS

    def _place(self, *values: float) -> list[float]:
        return [value * self._unit for value in values]

    def fill(self, color: Color) -> None:
        """Fill the whole square."""
        self._draw.rectangle((0, 0, *self.image.size), fill=color)

    def box(self, left: float, top: float, right: float, bottom: float, color: Color, round_: float = 0) -> None:
        """Fill a rectangle; right and bottom are exclusive."""
        x0, y0, x1, y1 = self._place(left, top, right, bottom)
        self._draw.rounded_rectangle((x0, y0, x1 - 1, y1 - 1), round_ * self._unit, fill=color)

    def disc(self, x: float, y: float, radius: float, color: Color) -> None:
        """Fill a disc."""
        self._draw.ellipse(self._place(x - radius, y - radius, x + radius, y + radius), fill=color)

    def shape(self, points: Sequence[tuple[float, float]], color: Color) -> None:
        """Fill a polygon."""
        self._draw.polygon([(x * self._unit, y * self._unit) for x, y in points], fill=color)

    def line(self, points: Sequence[tuple[float, float]], width: float, color: Color) -> None:
        """Draw a line through points."""
        placed = [(x * self._unit, y * self._unit) for x, y in points]
        self._draw.line(placed, fill=color, width=max(1, round(width * self._unit)), joint="curve")


def _block(brush: Brush, color: Color) -> None:
    brush.fill(color)


def _bricks(brush: Brush, color: Color) -> None:
    brush.fill(lit(color, 0.62))
    for row, shift in enumerate((0, -20, 0)):
        for left in (shift, shift + 40):
            top = row * 21.5
            brush.box(max(left, 0), top, min(left + 36, 64), top + 18, color)


def _pipe(brush: Brush, color: Color) -> None:
    brush.fill(color)  # light and shade come from where the pipe ends, which a single tile does not know


def _waves(brush: Brush, color: Color) -> None:
    brush.fill(color)
    for top in (12, 34, 56):
        points = [(x, top + (-5, 0, 5, 0)[(x // 8) % 4]) for x in range(0, 65, 8)]
        brush.line(points, 5, lit(color, 1.45))


def _ladder(brush: Brush, color: Color) -> None:
    for left in (12, 44):
        brush.box(left, 0, left + 8, 64, color)
    for top in (6, 27, 48):
        brush.box(12, top, 52, top + 8, color)


def _plank(brush: Brush, color: Color) -> None:
    brush.box(0, 0, 64, 18, color)
    brush.box(0, 18, 64, 24, lit(color, 0.65))
    for left in (14, 44):
        brush.box(left, 24, left + 6, 40, lit(color, 0.8))


def _door(brush: Brush, color: Color) -> None:
    brush.box(8, 2, 56, 64, _INK, 14)
    brush.box(13, 7, 51, 64, color, 10)
    brush.disc(32, 32, 7, _INK)
    brush.shape([(28, 34), (36, 34), (40, 52), (24, 52)], _INK)


def _arrow(brush: Brush, color: Color, turn: int) -> None:
    points = [(32, 8), (56, 34), (42, 34), (42, 56), (22, 56), (22, 34), (8, 34)]
    for _ in range(turn):
        points = [(64 - y, x) for x, y in points]
    brush.fill(lit(color, 1.55))
    brush.shape(points, color)


def _void(brush: Brush, color: Color) -> None:
    brush.fill(color)


def _decoration(brush: Brush, color: Color) -> None:
    for x, y, radius in ((20, 44, 9), (34, 34, 10), (46, 46, 8)):
        brush.disc(x, y, radius, color)
    brush.box(31, 44, 36, 58, lit(color, 0.7))


def _target(brush: Brush, color: Color) -> None:
    for radius, ring in ((26, _INK), (23, _WHITE), (17, color), (9, _WHITE)):
        brush.disc(32, 32, radius, ring)


def _flag(brush: Brush, color: Color) -> None:
    brush.box(15, 4, 23, 64, _INK)
    brush.shape([(23, 5), (60, 19), (23, 34)], _INK)
    brush.shape([(23, 10), (52, 19), (23, 29)], lit(color, 1.15))


def _spawner(brush: Brush, color: Color) -> None:
    brush.shape([(32, 4), (60, 32), (32, 60), (4, 32)], _INK)
    brush.shape([(32, 11), (53, 32), (32, 53), (11, 32)], color)
    brush.disc(32, 32, 8, _WHITE)


def _spikes(brush: Brush, color: Color) -> None:
    for left in (1, 22, 43):
        brush.shape([(left - 1, 62), (left + 10, 14), (left + 21, 62)], _INK)
        brush.shape([(left + 3, 60), (left + 10, 26), (left + 17, 60)], lit(color, 1.1))


def _coin(brush: Brush, color: Color) -> None:
    brush.disc(32, 32, 21, lit(color, 0.42))
    brush.disc(32, 32, 17, color)
    brush.box(29, 22, 35, 42, lit(color, 1.7), 3)


def _key(brush: Brush, color: Color) -> None:
    for grow, tint in ((4, _INK), (0, color)):
        brush.disc(20, 24, 14 + grow, tint)
        brush.line([(28, 32), (52, 54)], 9 + 2 * grow, tint)
        brush.line([(44, 48), (51, 40)], 8 + 2 * grow, tint)
    brush.disc(20, 24, 6, _INK)


def _crate(brush: Brush, color: Color) -> None:
    brush.box(4, 4, 60, 60, lit(color, 0.35), 5)
    brush.box(8, 8, 56, 56, color, 2)
    brush.line([(12, 12), (52, 52)], 7, lit(color, 0.55))
    brush.line([(12, 52), (52, 12)], 7, lit(color, 0.55))


def _placed_crate(brush: Brush, color: Color) -> None:
    brush.box(4, 4, 60, 60, lit(color, 0.35), 5)
    brush.box(8, 8, 56, 56, lit(color, 1.35), 2)
    brush.disc(32, 32, 15, _WHITE)
    brush.disc(32, 32, 11, color)


def _enemy(brush: Brush, color: Color) -> None:
    for grow, tint in ((4, _INK), (0, color)):
        brush.disc(32, 30, 22 + grow, tint)
        brush.box(10 - grow, 30, 54 + grow, 54 + grow, tint, 6)
    for x in (23, 41):
        brush.disc(x, 28, 8, _WHITE)
        brush.disc(x + (2 if x < 32 else -2), 30, 4.5, _INK)
    brush.box(22, 43, 42, 48, _INK)


def _figure(brush: Brush, color: Color) -> None:
    for grow, tint in ((5, _WHITE), (0, color)):
        brush.disc(32, 18, 11 + grow, tint)
        brush.box(18 - grow, 30 - grow, 46 + grow, 50 + grow, tint, 9)
        brush.box(20 - grow, 44, 29 + grow, 60 + grow / 2, tint)
        brush.box(35 - grow, 44, 44 + grow, 60 + grow / 2, tint)


Painter = Callable[[Brush, Color], None]

#: What fills the tile, the first that holds counts first; drawn before the marks.
BASES: Mapping[str, Painter] = MappingProxyType(
    {
        "void": _void, "liquid": _waves, "climbable": _ladder, "door": _door, "pipe": _pipe, "breakable": _bricks,
        "one-way": _plank, "one-way-up": lambda brush, color: _arrow(brush, color, 0),
        "one-way-right": lambda brush, color: _arrow(brush, color, 1),
        "one-way-down": lambda brush, color: _arrow(brush, color, 2),
        "one-way-left": lambda brush, color: _arrow(brush, color, 3), "solid": _block, "unknown": _block,
    }
)  # fmt: skip

#: What stands in the tile, drawn over what fills it, in this order.
MARKS: Mapping[str, Painter] = MappingProxyType(
    {
        "decoration": _decoration, "goal": _target, "goal-flag": _flag, "spawner": _spawner, "hazard": _spikes,
        "collectable": _coin, "key": _key, "box": _crate,
        "box-placed": _placed_crate, "enemy": _enemy, "start": _figure,
    }
)  # fmt: skip
