"""Pictures of levels: tiles, the solver's way, where it got stuck; alone, on a contact sheet, or growing.

``draw_level`` makes the picture; an artist (``plain_artist``, ``picture_artist``) says how tiles look.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from newgameplus.errors import DataError
from newgameplus.files import write_bytes
from newgameplus.games.pictures_growth import write_growth
from newgameplus.games.pictures_maker import picture_artist
from newgameplus.games.pictures_overlays import dim_unreached, draw_mark, draw_path, draw_region, follow_moves
from newgameplus.games.pictures_sheet import contact_sheet, fold
from newgameplus.games.pictures_tiles import Artist, plain_artist
from newgameplus.games.pictures_words import draw_lines, line_height, wrap
from newgameplus.games.rules.contract import Cell
from newgameplus.games.scenes import Level

__all__ = [
    "MOST_PIXELS",
    "Artist",
    "contact_sheet",
    "draw_level",
    "fold",
    "picture_artist",
    "plain_artist",
    "png_bytes",
    "write_growth",
    "write_png",
]

MOST_PIXELS = 32_000_000
"""Pixels of one level's picture; larger levels get smaller tiles."""

_PAPER, _INK, _QUIET = (255, 255, 255), (27, 31, 36), (87, 96, 106)
_MARGIN = 10
_LETTERS = 13
_MOST_LEGEND_TILES = 32


def draw_level(
    level: Level,
    *,
    path: Sequence[Cell] = (),
    moves: str = "",
    mark: Cell | None = None,
    reached: npt.NDArray[np.bool_] | None = None,
    region: tuple[int, int, int, int] | None = None,
    cell: int = 16,
    artist: Artist | None = None,
    legend: bool = False,
    title: str = "",
) -> Image.Image:
    """Draw a level.

    Args:
        level: What to draw.
        path: The player's cells, first to last, such as a proof's.
        moves: Moves of a proof (``udlr``, capitals push); followed from the level's start when there is no path.
        mark: A cell to mark with a ring and a cross: where the player got stuck, a flaw.
        reached: bool [height, width]: what the player can get to; the rest becomes a little darker.
        region: Left column, top row, width and height in tiles, to outline.
        cell: Pixels a side of one tile, 1 and more; less is used where the picture would pass ``MOST_PIXELS``.
        artist: How tiles look; plain tiles by meaning if None.
        legend: Whether to explain the tiles below the level.
        title: A line above the level.

    Returns:
        An RGB picture. Without title and legend its ``info["cell"]`` holds the pixels a side of one tile as drawn, so
        that contact sheets know where it can be cut.

    Raises:
        DataError: The level has no tile or more than 32 million, or ``cell`` is no positive number, or ``reached`` has
            another shape than the level.
    """
    cell = _fitting_cell(level, cell)
    artist = artist or plain_artist(level.tileset)
    pixels = artist.draw(level, cell)
    if reached is not None:
        if reached.shape != level.tiles.shape:
            raise DataError(f"reached is {reached.shape}, the level {level.tiles.shape}", source=level.name or "level")
        dim_unreached(pixels, cell, reached, level.where("solid"))
    if region is not None:
        draw_region(pixels, cell, region)
    if not path and moves and (starts := level.cells("start")):
        path = follow_moves(starts[0], moves)
    if path:
        draw_path(pixels, cell, path, begin=not _shows_player(level, path[0]))
    if mark is not None:
        draw_mark(pixels, cell, mark)
    picture = Image.fromarray(pixels)
    if title or legend:
        return _framed(picture, level, artist, title, legend)
    picture.info["cell"] = cell
    return picture


def _shows_player(level: Level, at: Cell) -> bool:
    inside = 0 <= at[0] < level.height and 0 <= at[1] < level.width
    return inside and bool(level.where("start")[at])


def _fitting_cell(level: Level, cell: int) -> int:
    """Return the pixels a side of one tile that keep the picture under its limit."""
    source = level.name or "level"
    if cell < 1:
        raise DataError(f"tiles of {cell} pixels cannot be drawn", source="cell", remedy="use 4 to 64")
    if not level.tiles.size:
        raise DataError(f"a level of {level.height} x {level.width} tiles cannot be drawn", source=source)
    largest = int((MOST_PIXELS / level.tiles.size) ** 0.5)
    if largest < 1:
        remedy = "draw a part of it: level.columns(start, end)"
        raise DataError(f"{level.tiles.size:,} tiles are too many for one picture", source=source, remedy=remedy)
    return min(cell, largest)


def _framed(picture: Image.Image, level: Level, artist: Artist, title: str, legend: bool) -> Image.Image:
    """Put a title above a picture and a legend below it."""
    width = max(picture.width, 280) + 2 * _MARGIN
    lines = wrap(title, _LETTERS + 2, width - 2 * _MARGIN, most=3, bold=True) if title else []
    head = _MARGIN + (len(lines) * line_height(_LETTERS + 2) + 4 if lines else 0)
    foot = _legend(level, artist, width - 2 * _MARGIN) if legend else None
    height = head + picture.height + _MARGIN + (foot.height + _MARGIN if foot else 0)
    page = Image.new("RGB", (width, height), _PAPER)
    draw_lines(ImageDraw.Draw(page), lines, (_MARGIN, _MARGIN // 2), _LETTERS + 2, _INK, bold=True)
    page.paste(picture, (_MARGIN, head))
    if foot:
        page.paste(foot, (_MARGIN, head + picture.height + _MARGIN))
    return page


def _legend(level: Level, artist: Artist, width: int) -> Image.Image:
    """Return swatches with names and meanings of the level's tiles, the most frequent first, in columns."""
    numbers, counts = np.unique(artist.numbers(level), return_counts=True)
    order = [int(number) for number in numbers[np.argsort(-counts, kind="stable")] if number >= 0]
    shown, swatch = order[:_MOST_LEGEND_TILES], 20
    columns = max(1, min(len(shown), width // 230))
    wide = width // columns
    texts = []
    for number in shown:
        tile = artist.tileset.tiles[number]
        meanings = ", ".join(sorted(tile.meanings)) or "no meaning given"
        texts.append(wrap(f"{tile.name}   {meanings}", _LETTERS, wide - swatch - 18, most=2))
    rows = [range(start, min(start + columns, len(shown))) for start in range(0, len(shown), columns)]
    tops = [0]
    for row in rows:
        tops.append(tops[-1] + max(swatch + 6, max(len(texts[place]) for place in row) * line_height(_LETTERS) + 4))
    more = f"and {len(order) - len(shown)} more" if len(order) > len(shown) else ""
    page = Image.new("RGB", (width, max(1, tops[-1] + (line_height(_LETTERS) if more else 0))), _PAPER)
    draw = ImageDraw.Draw(page)
    for row, top in zip(rows, tops, strict=False):
        for place in row:
            left = (place - row.start) * wide
            page.paste(Image.fromarray(artist.stamp(shown[place], swatch)), (left, top))
            draw.rectangle((left, top, left + swatch, top + swatch), outline=_QUIET)
            draw_lines(draw, texts[place], (left + swatch + 8, top + 2), _LETTERS, _INK)
    draw_lines(draw, [more] if more else [], (0, tops[-1]), _LETTERS, _QUIET)
    return page


def png_bytes(image: Image.Image) -> bytes:
    """Return a picture as PNG; the same picture gives the same bytes. Up to 256 colors are saved as a palette.

    The size of its tiles (``info["cell"]``) is kept in the file, where Pillow finds it again under the same name.
    """
    from PIL.PngImagePlugin import PngInfo

    colors = image.getcolors(256) if image.mode == "RGB" else None
    saved = image.quantize(256, dither=Image.Dither.NONE) if colors else image
    if colors and saved.convert("RGB").tobytes() != image.tobytes():
        saved = image  # quantizing is exact for few colors, but Pillow does not promise it
    content = io.BytesIO()
    words = PngInfo()
    if "cell" in image.info:
        words.add_text("cell", str(image.info["cell"]))
    saved.save(content, "PNG", compress_level=6, pnginfo=words)
    return content.getvalue()


def write_png(path: Path, image: Image.Image) -> None:
    """Write a picture as PNG, atomically; the same picture gives the same bytes.

    Raises:
        StorageError: There is no space or no permission.
    """
    write_bytes(path, png_bytes(image))
