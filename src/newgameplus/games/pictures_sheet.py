"""Contact sheets: many pictures of levels on one page with captions, wide ones folded so that tiles stay legible."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from PIL import Image, ImageDraw

from newgameplus.errors import DataError
from newgameplus.games.pictures_words import draw_lines, line_height, wrap

__all__ = ["SMALLEST_TILE", "contact_sheet", "fold"]

SMALLEST_TILE = 4
"""Pixels a side below which a tile is not shrunk; a wider picture is cut into strips instead."""

_PAPER, _INK = (255, 255, 255), (27, 31, 36)
_MARGIN, _GAP = 16, 18
_BETWEEN_STRIPS = 6
_LETTERS = 13
_NARROWEST = 168
_MOST_COLUMNS = 6
_MOST_CAPTION_LINES = 4
_TALLEST_PAGE = 60_000


def fold(picture: Image.Image, width: int, tile: int | None = None, smallest: float = SMALLEST_TILE) -> Image.Image:
    """Fit a picture of a level into a width: shrunk if its tiles stay legible, else cut into strips below each other.

    Args:
        picture: A level as ``draw_level`` gives it, without title and legend.
        width: Pixels to fit into.
        tile: Pixels a side of one tile; read from the picture's ``info["cell"]`` if None. Where neither says it, the
            picture is shrunk, however small its tiles become.
        smallest: Pixels a side that a tile keeps at least (fewer only where it has fewer already).

    Returns:
        The picture itself if it fits, else a new one, at most ``width`` wide.
    """
    tile = tile or _tile_of(picture)
    if picture.width <= width:
        return picture
    smallest = min(smallest, tile)
    if not tile or picture.width * smallest / tile <= width:
        return _scaled(picture, width / picture.width)
    tiles = ceil(picture.width / tile)
    most = max(1, int(width / smallest))
    strips = ceil(tiles / most)
    each = ceil(tiles / strips)
    scale = min(1.0, width / (each * tile))
    parts = [
        _scaled(picture.crop((start * tile, 0, min((start + each) * tile, picture.width), picture.height)), scale)
        for start in range(0, tiles, each)
    ]
    high = parts[0].height
    page = Image.new("RGB", (max(part.width for part in parts), (high + _BETWEEN_STRIPS) * len(parts)), _PAPER)
    page = page.crop((0, 0, page.width, page.height - _BETWEEN_STRIPS))
    for number, part in enumerate(parts):
        page.paste(part, (0, number * (high + _BETWEEN_STRIPS)))
    page.info["cell"] = max(1, round(tile * scale))
    return page


def _tile_of(picture: Image.Image) -> int:
    """Return pixels a side of one tile as the picture tells, 0 where it does not."""
    told = str(picture.info.get("cell", ""))
    return min(int(told), picture.width) if told.isascii() and told.isdigit() and len(told) < 6 else 0


def _scaled(picture: Image.Image, scale: float) -> Image.Image:
    if scale == 1:
        return picture
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def contact_sheet(pictures: Sequence[tuple[Image.Image, str]], *, width: int = 1200) -> Image.Image:
    """Lay pictures out on one page, several a row where they are narrow.

    Args:
        pictures: Pictures with their captions; a caption that is too long wraps, and ends after four lines.
        width: Pixels of the page.

    Returns:
        The page as RGB; pictures that would make it taller than 60,000 pixels are left out, with a line that says so.

    Raises:
        DataError: There is no picture, or the page is too narrow.
    """
    if not pictures:
        raise DataError("there is no picture for a contact sheet", source="pictures", remedy="give at least one")
    if width < _NARROWEST + 2 * _MARGIN:
        raise DataError(f"a page of {width} pixels is too narrow", source="width", remedy="use 400 or more")
    inner = width - 2 * _MARGIN
    widest = max(picture.width for picture, _ in pictures)
    columns = min((inner + _GAP) // (max(_NARROWEST, min(widest, inner)) + _GAP), _MOST_COLUMNS, len(pictures))
    wide = (inner - _GAP * (columns - 1)) // columns
    cells = [_fitted(picture, caption, wide) for picture, caption in pictures]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    tops, heights = [_MARGIN], []
    for row in rows:
        heights.append(max(picture.height for picture, _ in row))
        words = max(len(lines) for _, lines in row) * line_height(_LETTERS)
        tops.append(tops[-1] + heights[-1] + words + 6 + _GAP)
    shown = max(1, sum(top <= _TALLEST_PAGE for top in tops[1:]))
    missing = len(pictures) - sum(len(row) for row in rows[:shown])
    page = Image.new("RGB", (width, tops[shown] + (line_height(_LETTERS) + _MARGIN if missing else 0)), _PAPER)
    draw = ImageDraw.Draw(page)
    for top, high, row in zip(tops, heights, rows[:shown], strict=False):
        for column, (picture, lines) in enumerate(row):
            left = _MARGIN + column * (wide + _GAP)
            page.paste(picture, (left, top + high - picture.height))
            draw_lines(draw, lines, (left, top + high + 5), _LETTERS, _INK)
    if missing:
        draw_lines(draw, [f"and {missing} more"], (_MARGIN, tops[shown]), _LETTERS, _INK)
    return page


def _fitted(picture: Image.Image, caption: str, width: int) -> tuple[Image.Image, list[str]]:
    """Return a picture and its caption's lines, no wider than a column."""
    shown = picture if picture.mode == "RGB" else picture.convert("RGB")
    return fold(shown, width), wrap(caption, _LETTERS, width, _MOST_CAPTION_LINES) if caption else []
