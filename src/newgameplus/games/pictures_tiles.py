"""How tiles look: artists make one small picture a tile, so that a whole level is put together by numpy in one go."""

from __future__ import annotations

import colorsys
import re
from abc import ABC, abstractmethod
from collections import Counter

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from newgameplus.games.pictures_shapes import BASES, COLORS, MARKS, Brush, Color, kind_color, lit
from newgameplus.games.pictures_words import font
from newgameplus.games.scenes import NOTHING, Level, Tile, Tileset

__all__ = ["Artist", "PlainArtist", "Stamp", "drawn_meanings", "plain_artist", "seen_from_above"]

Stamp = npt.NDArray[np.uint8]
"""uint8 [cell, cell, 3]: the picture of one tile."""

_SMALLEST_GLYPH_CELL = 10
_SMALLEST_CORNER_CELL = 14
_SHADES = (1.0, 0.8, 1.28, 0.64, 1.5)
_FROM_ABOVE = ("box", "key", "door", "one-way-up", "one-way-down", "one-way-left", "one-way-right")
_GOLDEN = 0.618034


def seen_from_above(tileset: Tileset, rules: str = "") -> bool:
    """Say whether a game is seen from above: by the name of its rules, else by what its tiles mean.

    Args:
        tileset: The game's tiles.
        rules: Name of the rules: ``platformer`` is seen from the side, all others from above; empty if not known.
    """
    if rules:
        return "platform" not in rules
    return bool(tileset.flags(*_FROM_ABOVE).any()) and not bool(tileset.flags("one-way", "pipe").any())


class Artist(ABC):
    """Says how the tiles of one tileset look.

    Attributes:
        tileset: The tiles.
        notes: What could not be drawn as wanted, in words, each once.
    """

    def __init__(self, tileset: Tileset) -> None:
        self.tileset = tileset
        self.notes: list[str] = []
        self._stamps: dict[tuple[int, int], Stamp] = {}

    @abstractmethod
    def paint(self, number: int, cell: int) -> Stamp:
        """Draw one tile; ``number`` may be ``NOTHING``."""

    def finish(self, blocks: npt.NDArray[np.uint8], numbers: npt.NDArray[np.int32]) -> None:  # noqa: B027 (optional)
        """Touch up a whole level in place, where a look depends on a tile's neighbors.

        Args:
            blocks: uint8 [height, width, cell, cell, 3].
            numbers: int32 [height, width]: tiles of ``tileset``, or ``NOTHING``.
        """

    def stamp(self, number: int, cell: int) -> Stamp:
        """Return the picture of one tile, drawn at most once for each size."""
        if (number, cell) not in self._stamps:
            self._stamps[number, cell] = self.paint(number, cell)
        return self._stamps[number, cell]

    def numbers(self, level: Level) -> npt.NDArray[np.int32]:
        """Return int32 [height, width]: the level's tiles in this artist's tileset, by name; ``NOTHING`` if unknown."""
        limit = len(level.tileset)
        tiles = np.where((level.tiles >= 0) & (level.tiles < limit), level.tiles, NOTHING).astype(np.int32)
        if level.tileset is self.tileset:
            return tiles
        table = [self.tileset.index.get(name, NOTHING) for name in level.tileset.names]
        return np.array([*table, NOTHING], np.int32)[tiles]

    def draw(self, level: Level, cell: int) -> npt.NDArray[np.uint8]:
        """Return uint8 [height * cell, width * cell, 3]: the whole level."""
        numbers = self.numbers(level)
        kinds, places = np.unique(numbers, return_inverse=True)
        stamps = np.stack([self.stamp(int(kind), cell) for kind in kinds])
        blocks = stamps[places.reshape(numbers.shape)]
        self.finish(blocks, numbers)
        height, width = numbers.shape
        return blocks.swapaxes(1, 2).reshape(height * cell, width * cell, 3)

    def note(self, text: str) -> None:
        """Keep a note, once."""
        if text not in self.notes:
            self.notes.append(text)


def drawn_meanings(tile: Tile) -> tuple[str | None, list[str]]:
    """Return what fills a tile and what stands in it, as names of shapes; None where nothing fills it."""
    bare = {meaning.partition(":")[0]: meaning for meaning in sorted(tile.meanings)}
    if not bare:
        return "unknown", []
    base = next((bare[name] for name in BASES if name in bare), None)
    if {"box", "goal"} <= bare.keys():
        bare["box-placed"] = "box-placed"
        del bare["box"], bare["goal"]
    return base, [bare[name] for name in MARKS if name in bare]


def _glyph(name: str) -> str:
    """Return one or two letters that remind of a tile's name."""
    digits = re.search(r"(\d{1,2})(?:~.*)?$", name)
    if len(name) <= 2 or digits is None:
        return "".join(letter for letter in name if letter.isprintable() and not letter.isspace())[:1]
    return digits[1]


class PlainArtist(Artist):
    """Clear colored tiles by meaning. Tiles that mean the same get other shades, and a letter where there is room.

    Args:
        tileset: The tiles.
        above: Whether the game is seen from above (a floor and walls) or from the side (a sky and ground).
    """

    def __init__(self, tileset: Tileset, above: bool) -> None:
        super().__init__(tileset)
        self.above = above
        self.background = COLORS["floor" if above else "sky"]
        alike: Counter[frozenset[str]] = Counter()
        self._turns: list[int] = []
        for tile in tileset.tiles:
            self._turns.append(alike[tile.meanings])
            alike[tile.meanings] += 1
        self._bases = [drawn_meanings(tile)[0] for tile in tileset.tiles]
        self._marked = [bool(drawn_meanings(tile)[1]) for tile in tileset.tiles]

    def paint(self, number: int, cell: int) -> Stamp:
        """Draw one tile over the background."""
        if number == NOTHING:
            return np.full((cell, cell, 3), COLORS["void"], np.uint8)
        plain = self.tileset.tiles[number].meanings <= {"empty", "decoration"}
        background = lit(self.background, (1.0, 0.93, 1.4, 0.86)[self._turns[number] % 4] if plain else 1.0)
        picture = Image.new("RGBA", (cell, cell), background)
        picture.alpha_composite(self.cut_out(number, cell))
        return np.asarray(picture.convert("RGB"), np.uint8)

    def cut_out(self, number: int, cell: int) -> Image.Image:
        """Return one tile as RGBA, transparent where the background shows."""
        tile, turn = self.tileset.tiles[number], self._turns[number]
        base, marks = drawn_meanings(tile)
        brush = Brush(min(512, max(64, 4 * cell)))
        if base is not None:
            BASES[base.partition(":")[0]](brush, self._color(base, tile, turn))
        for mark in marks:
            shape = "goal-flag" if mark == "goal" and not self.above else mark.partition(":")[0]
            MARKS[shape](brush, self._color(mark, tile, turn))
        picture = brush.image.resize((cell, cell), Image.Resampling.BOX)
        if turn or base == "unknown":
            self._letter(picture, tile, bool(marks))
        return picture

    def _color(self, meaning: str, tile: Tile, turn: int) -> Color:
        bare = meaning.partition(":")[0]
        if bare in ("key", "door"):
            return lit(kind_color(meaning), _SHADES[turn % len(_SHADES)])
        if bare == "unknown":
            red, green, blue = colorsys.hls_to_rgb((0.1 + turn * _GOLDEN) % 1, 0.52 + 0.12 * (turn % 3 - 1), 0.28)
            return round(255 * red), round(255 * green), round(255 * blue)
        name = {"solid": "wall" if self.above else "ground"}.get(bare, bare)
        name = "lava" if bare == "liquid" and tile.means("hazard") else name
        name = "one-way" if bare.startswith("one-way") else name
        if bare == "pipe":
            return lit(COLORS[name], 1 - 0.05 * (turn % 4))
        return lit(COLORS[name], _SHADES[turn % len(_SHADES)])

    def _letter(self, picture: Image.Image, tile: Tile, marked: bool) -> None:
        """Write the tile's letter into its middle, or small into its corner when something stands in it."""
        cell, glyph = picture.width, _glyph(tile.name)
        if not glyph or cell < (_SMALLEST_CORNER_CELL if marked else _SMALLEST_GLYPH_CELL):
            return
        size = max(7, round(cell * (0.45 if marked else 0.62) / (1 if len(glyph) == 1 else 1.35)))
        draw = ImageDraw.Draw(picture)
        place, anchor = ((cell - 1, cell), "rd") if marked else ((cell / 2, cell / 2), "mm")
        under = picture.getpixel((cell // 2, cell // 2))
        dark = isinstance(under, tuple) and under[3] > 0 and sum(under[:3]) < 360
        ink, halo = ((255, 255, 255), (30, 33, 40)) if dark or marked else ((50, 54, 62), (255, 255, 255))
        if isinstance(under, tuple) and under[3] == 255 and not marked:
            red, green, blue = (round(0.45 * old + 0.55 * new) for old, new in zip(under[:3], ink, strict=True))
            ink = red, green, blue
        draw.text(
            place, glyph, fill=ink, font=font(size, marked), anchor=anchor, stroke_width=int(marked), stroke_fill=halo
        )

    def finish(self, blocks: npt.NDArray[np.uint8], numbers: npt.NDArray[np.int32]) -> None:
        """Give ground, walls, pipes and liquids an edge where they end."""
        cell = blocks.shape[2]
        for base in ("solid", "breakable", "pipe", "liquid"):
            flags = np.array([own == base and (base == "pipe" or not marked)
                              for own, marked in zip(self._bases, self._marked, strict=True)] + [False])  # fmt: skip
            group = flags[numbers]
            if not group.any() or cell < 4:
                continue
            thin, thick = max(1, cell // 14), max(1, cell // 5)
            up, down, left, right = _ends(group)
            if base == "pipe":
                _tint(blocks, left, np.s_[:, thin : thin + thick], 1.45)
                _tint(blocks, right, np.s_[:, -thick - thin :], 0.78)
                _tint(blocks, up, np.s_[thick : thick + thin], 0.55)
            elif base == "solid" and self.above:
                _tint(blocks, down, np.s_[-thick:], 0.66)
            elif base == "solid":
                _tint(blocks, up, np.s_[:thick], 1.4)
            elif base == "liquid":
                _tint(blocks, up, np.s_[:thin], 1.6)
                continue
            for edge, part in (
                (up, np.s_[:thin]),
                (down, np.s_[-thin:]),
                (left, np.s_[:, :thin]),
                (right, np.s_[:, -thin:]),
            ):
                _tint(blocks, edge, part, 0.5)


def _ends(group: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
    """Return bool [height, width] four times: cells of a group whose neighbor above, below, left, right is not in it.

    Beyond the level the group goes on.
    """
    padded = np.pad(group, 1, mode="edge")
    return [group & ~near for near in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])]


def _tint(blocks: npt.NDArray[np.uint8], where: npt.NDArray[np.bool_], part: object, factor: float) -> None:
    """Make a part of some cells darker (factor under 1) or lighter."""
    chosen = blocks[where]
    values = chosen[(slice(None), *(part if isinstance(part, tuple) else (part,)))]
    if factor <= 1:
        values[:] = (values * factor).astype(np.uint8)
    else:
        values[:] = (values + (255.0 - values) * (factor - 1)).astype(np.uint8)
    blocks[where] = chosen


def plain_artist(tileset: Tileset, rules: str = "") -> PlainArtist:
    """Return an artist of clear colored tiles.

    Args:
        tileset: The tiles.
        rules: Name of the game's rules, for a sky or a floor behind; guessed from the tiles if empty.
    """
    return PlainArtist(tileset, seen_from_above(tileset, rules))
