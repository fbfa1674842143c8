"""A level that grows, as an animated GIF: columns as they were generated, repairs as they were made."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from newgameplus.errors import DataError
from newgameplus.files import write_bytes
from newgameplus.games.pictures_overlays import draw_region
from newgameplus.games.pictures_sheet import SMALLEST_TILE, fold
from newgameplus.games.pictures_tiles import Artist, plain_artist
from newgameplus.games.scenes import NOTHING, Level

__all__ = ["write_growth"]

_LARGEST_FILE = 2_000_000
_MOST_FRAMES = 120
_MOST_PIXELS = 1_500_000
_WIDEST = 1_200
_COLORS = 255
_REPAIR_TIMES = 4
_END_TIMES = 25

Grid = npt.NDArray[np.int32]


def write_growth(
    path: Path,
    level: Level | Sequence[Level],
    *,
    order: npt.NDArray[np.integer] | None = None,
    cell: int = 8,
    artist: Artist | None = None,
    milliseconds: int = 60,
) -> None:
    """Write an animated GIF of at most 2 MB, atomically; the same levels give the same bytes.

    Args:
        path: The file to write.
        level: One finished level, which grows by ``order``; or the states it went through, first to last. From one
            state to the next a level may get wider; tiles that changed inside it are a repair, which is outlined.
        order: int [height, width]: when each tile was made, with one level only; column by column if None.
        cell: Pixels a side of one tile; smaller for large levels. Wide levels are cut into strips.
        artist: How tiles look; plain tiles by meaning if None.
        milliseconds: How long one frame stays.

    Raises:
        DataError: There is no level, or ``order`` does not fit it.
        StorageError: There is no space or no permission.
    """
    states = [level] if isinstance(level, Level) else list(level)
    if not states or not all(state.tiles.size for state in states):
        raise DataError("there is no level to animate", source=str(path), remedy="give at least one with tiles")
    grids, changes = _from_states(states) if len(states) > 1 else _from_order(states[0], order)
    artist = artist or plain_artist(states[-1].tileset)
    tallest, widest = grids[-1].shape
    cell = max(1, min(cell, int((_MOST_PIXELS / (tallest * widest)) ** 0.5)))
    if cell * widest > _WIDEST:  # whole pixels stay sharp; wider levels are cut into strips
        cell = max(_WIDEST // widest, min(cell, SMALLEST_TILE))
    most = _MOST_FRAMES
    while True:
        content = _encode(states[-1], grids, changes, artist, cell, most, milliseconds)
        if len(content) <= _LARGEST_FILE or (cell == 1 and most <= 2):
            break
        cell, most = max(1, cell * 2 // 3), max(2, most * 2 // 3)
    write_bytes(path, content)


def _from_order(level: Level, order: npt.NDArray[np.integer] | None) -> tuple[list[Grid], list[Grid | None]]:
    """Return a grid after every step of a growing level; what is not there yet is ``NOTHING``."""
    if order is None:
        order = np.broadcast_to(np.arange(level.width), level.tiles.shape)
    if order.shape != level.tiles.shape:
        raise DataError(f"the order is {order.shape}, the level {level.tiles.shape}", source=level.name or "order")
    times = np.unique(order)
    times = times[_spread(len(times), _MOST_FRAMES)]
    grids = [np.where(order <= time, level.tiles, NOTHING).astype(np.int32) for time in times]
    return grids, [None] * len(grids)


def _from_states(states: Sequence[Level]) -> tuple[list[Grid], list[Grid | None]]:
    """Return all states at the size of the largest, and what each repaired: left, top, width, height."""
    height, width = max(state.height for state in states), max(state.width for state in states)
    names = states[-1].tileset.index
    grids: list[Grid] = []
    changes: list[Grid | None] = []
    for state in states:
        tiles = state.tiles
        if state.tileset is not states[-1].tileset:
            tiles = np.array([names.get(name, NOTHING) for name in state.tileset.names], np.int32)[tiles]
        grid = np.full((height, width), NOTHING, np.int32)
        grid[: state.height, : state.width] = tiles
        other = (grids[-1] != grid) & (grids[-1] != NOTHING) & (grid != NOTHING) if grids else np.zeros(1, np.bool_)
        box = None
        if other.any():
            rows, columns = np.nonzero(other)
            left, top = columns.min(), rows.min()
            box = np.array([left, top, columns.max() - left + 1, rows.max() - top + 1], np.int32)
        grids.append(grid)
        changes.append(box)
    return grids, changes


def _spread(count: int, most: int) -> npt.NDArray[np.int64]:
    """Return int64 indices, at most ``most`` of ``count``, first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _encode(
    level: Level,
    grids: Sequence[Grid],
    changes: Sequence[Grid | None],
    artist: Artist,
    cell: int,
    most: int,
    milliseconds: int,
) -> bytes:
    """Return the GIF; repairs are kept when frames are left out."""
    repairs = [place for place, box in enumerate(changes) if box is not None]
    kept = sorted({*_spread(len(grids), most).tolist(), *repairs[: max(1, most // 2)]})
    pictures = []
    for place in kept:
        pixels = artist.draw(level.with_tiles(grids[place]), cell)
        if (box := changes[place]) is not None:
            left, top, width, height = (int(value) for value in box)
            draw_region(pixels, cell, (left - 1, top - 1, width + 2, height + 2))
        pictures.append(fold(Image.fromarray(pixels), _WIDEST, tile=cell))
    stays = [milliseconds * (_REPAIR_TIMES if changes[place] is not None else 1) for place in kept]
    stays[-1] += _END_TIMES * milliseconds
    palette = _palette(pictures)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:], duration=stays, loop=0, optimize=False)
    return content.getvalue()


def _palette(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return one palette for all frames: the colors of up to eight of them, the last included."""
    chosen = [pictures[place] for place in _spread(len(pictures), 8)]
    page = Image.new("RGB", (chosen[0].width, sum(picture.height for picture in chosen)))
    top = 0
    for picture in chosen:
        page.paste(picture, (0, top))
        top += picture.height
    return page.quantize(_COLORS, dither=Image.Dither.NONE)
