"""Levels drawn with the maker's own tileset pictures, wherever those can be read; plain tiles elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from newgameplus.games.images import PictureError
from newgameplus.games.images import _open as open_image
from newgameplus.games.pictures_tiles import Artist, PlainArtist, Stamp, seen_from_above
from newgameplus.games.scenes import NOTHING, Tile, Tileset

__all__ = ["PictureArtist", "picture_artist"]

_MOST_PIXELS = 32 * 1024 * 1024
"""Pixels of all tileset pictures that are kept open together; one picture may have that many."""

_FLIPS = re.compile(r"~([hvd]+(?:~[hvd]+)*)$")


class PictureArtist(Artist):
    """Draws tiles from the maker's pictures. A tile without a usable picture is drawn plain, and a note says why.

    Args:
        tileset: The tiles; ``Tile.picture`` says where their pictures are.
        tile_size: Width and height of the map's tiles in pixels.
        folder: What relative paths of pictures start from.
        layers: For tiles that stand for a stack of several: number to the stack's tiles, bottom to top.
        rules: Name of the game's rules, for the background.
    """

    def __init__(
        self,
        tileset: Tileset,
        tile_size: tuple[int, int],
        folder: Path,
        layers: Callable[[int], Sequence[Tile]] | None,
        rules: str,
    ) -> None:
        super().__init__(tileset)
        self._size = tile_size
        self._folder = folder
        self._layers = layers or (lambda number: (tileset.tiles[number],))
        self._plain = PlainArtist(tileset, seen_from_above(tileset, rules))
        self._opened: dict[str, Image.Image | None] = {}

    def paint(self, number: int, cell: int) -> Stamp:
        """Draw one tile, layer over layer, over the background."""
        if number == NOTHING:
            return self._plain.stamp(number, cell)
        stack = list(self._layers(number))
        pictures = [self._picture(tile, cell) for tile in stack]
        if not any(pictures):
            return self._plain.stamp(number, cell)
        canvas = Image.new("RGBA", (cell, cell), self._plain.background)
        for tile, picture in zip(stack, pictures, strict=True):
            if picture is not None:
                canvas.alpha_composite(picture)
            elif not tile.meanings <= {"empty", "decoration", "void"}:
                # An object such as the player has no picture: its plain figure stands over the maker's tiles.
                alone = PlainArtist(Tileset((tile,)), self._plain.above)
                canvas.alpha_composite(alone.cut_out(0, cell))
        return np.asarray(canvas.convert("RGB"), np.uint8)

    def _picture(self, tile: Tile, cell: int) -> Image.Image | None:
        """Return one tile's own picture as RGBA [cell, cell]; None, with a note, where there is none."""
        if tile.picture is None:
            return None
        name, left, top, width, height = tile.picture
        sheet = self._sheet(name)
        if sheet is None:
            return None
        if min(left, top) < 0 or min(width, height) < 1 or left + width > sheet.width or top + height > sheet.height:
            self.note(f"{name}: tile {tile.name!r} lies outside of the picture ({sheet.width} x {sheet.height} pixels)")
            return None
        cut = _flipped(sheet.crop((left, top, left + width, top + height)).convert("RGBA"), tile.name)
        return self._fit(cut, cell)

    def _fit(self, cut: Image.Image, cell: int) -> Image.Image:
        """Scale a picture so that one tile of the map fills the cell; larger ones hang over the top and right."""
        wide, high = (max(1, round(side * cell / own)) for side, own in zip(cut.size, self._size, strict=True))
        wide, high = min(wide, 4 * cell), min(high, 4 * cell)
        way = Image.Resampling.NEAREST if wide >= cut.width else Image.Resampling.BOX
        scaled = cut.resize((wide, high), way)
        canvas = Image.new("RGBA", (cell, cell), (0, 0, 0, 0))
        canvas.paste(scaled, (0, cell - high))
        return canvas

    def _sheet(self, name: str) -> Image.Image | None:
        """Return a tileset's picture, decoded; the oldest are let go when they grow too many."""
        if name not in self._opened:
            self._opened[name] = self._read(name)
            while len(self._opened) > 1 and sum(s.width * s.height for s in self._opened.values() if s) > _MOST_PIXELS:
                del self._opened[next(iter(self._opened))]
        return self._opened[name]

    def _read(self, name: str) -> Image.Image | None:
        path = self._folder / name
        try:
            if not path.is_file():
                raise PictureError("there is no such file")
            image: Image.Image = open_image(path)
            with image:
                if image.width * image.height > _MOST_PIXELS:
                    limit = _MOST_PIXELS // (1024 * 1024)
                    raise PictureError(f"is {image.width:,} x {image.height:,} pixels, more than {limit} megapixels")
                return image.convert("RGBA")
        # Pillow's readers raise nearly anything on damaged files, and each means the same here.
        except (PictureError, OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, MemoryError,
                OverflowError, TypeError) as error:  # fmt: skip
            self.note(f"{name}: {error}; its tiles are drawn plain")
            return None


def _flipped(picture: Image.Image, name: str) -> Image.Image:
    """Flip a picture as the end of its tile's name says: ``~d`` swaps the axes, then ``~h`` left and right, ``~v`` top
    and bottom (Tiled's order)."""
    found = _FLIPS.search(name)
    flips = found[1] if found else ""
    ways = {"d": Image.Transpose.TRANSPOSE, "h": Image.Transpose.FLIP_LEFT_RIGHT, "v": Image.Transpose.FLIP_TOP_BOTTOM}
    for letter, way in ways.items():
        if letter in flips:
            picture = picture.transpose(way)
    return picture


def picture_artist(
    tileset: Tileset,
    tile_size: int | tuple[int, int],
    *,
    folder: Path | None = None,
    layers: Callable[[int], Sequence[Tile]] | None = None,
    rules: str = "",
) -> PictureArtist:
    """Return an artist that draws with the maker's pictures.

    Args:
        tileset: The tiles; ``Tile.picture`` says where their pictures are.
        tile_size: Side, or width and height, of the map's tiles in pixels.
        folder: What relative paths of pictures start from; the current folder if None.
        layers: For tiles that stand for a stack of several: number to the stack's tiles, bottom to top.
        rules: Name of the game's rules, for the background behind see-through tiles.
    """
    size = (tile_size, tile_size) if isinstance(tile_size, int) else tile_size
    size = (max(1, size[0]), max(1, size[1]))
    return PictureArtist(tileset, size, folder or Path(), layers, rules)
