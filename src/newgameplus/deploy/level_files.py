"""Levels as files: each in a copy of one of the maker's own maps, with its picture and, if wanted, an animation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.games.formats.document import Document
from newgameplus.games.pictures import write_png
from newgameplus.games.pictures_growth import write_growth
from newgameplus.games.pictures_tiles import Artist
from newgameplus.games.scanning import Order, from_scan
from newgameplus.games.scenes import Level, Scene
from newgameplus.generate.delivery import Delivered
from newgameplus.scenarios.scene_cards import game_artist, level_picture
from newgameplus.scenarios.scene_data import SceneGame

__all__ = ["MapPlace", "fresh_folder", "named_levels", "write_levels"]

MapPlace = tuple[Document, int]
"""A file of maps, and the number of a map in it."""
_MOST_STEPS = 60
"""Frames in which the longest stretch of lines of an animation grows."""


def fresh_folder(out: str | Path | None) -> Path | None:
    """Return a folder to write to, or None if there is none to.

    Raises:
        DataError: Something is there already.
    """
    if out is None:
        return None
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = "this folder is not empty, and nothing is overwritten"
        raise DataError(message, source=str(folder), remedy="give a new folder with --out")
    return folder


def named_levels(levels: Sequence[Delivered], stem: str) -> list[Delivered]:
    """Return levels that are called ``stem-001`` and so on."""
    digits = max(3, len(str(len(levels))))
    return [
        replace(made, level=made.level.with_tiles(made.level.tiles, f"{stem}-{number:0{digits}d}"))
        for number, made in enumerate(levels, start=1)
    ]


def write_levels(
    folder: Path,
    levels: Sequence[Delivered],
    game: SceneGame,
    *,
    edited: MapPlace | None = None,
    growth: Order | None = None,
) -> list[tuple[Path, ...]]:
    """Write levels, each into a copy of a map of the maker.

    Args:
        folder: Where to.
        levels: What to write; their names become those of the files.
        game: The maps.
        edited: The map that was changed; by default that map is copied whose size is nearest to a level's.
        growth: The order in which levels were made, to write an animation of each, too.

    Returns:
        For each level its map, its picture and its animation.
    """
    artist = game_artist(game)
    written: list[tuple[Path, ...]] = []
    for made in levels:
        document, number = edited or _template(game, made.level)
        scene: Scene = game.stack.scene(made.level, document.scenes[number])
        name = made.level.name
        files = document.with_scene(number, scene).only(number, name).write(folder / f"{name}{document.path.suffix}")
        picture = folder / f"{name}.png"
        write_png(picture, level_picture(made.level, made.answer, artist))
        files = [*files, picture]
        if growth is not None:
            files.append(_write_growth(folder / f"{name}.gif", made, growth, artist))
        written.append(tuple(files))
    return written


def _template(game: SceneGame, level: Level) -> MapPlace:
    """Return the training map whose size is nearest, to be copied."""
    sizes = [game.levels[n].tiles.shape for n in game.train]
    distance = [abs(height - level.height) + abs(width - level.width) for height, width in sizes]
    document, scene = game.scenes[int(game.train[int(np.argmin(distance))])]
    return game.documents[document], scene


def _write_growth(path: Path, made: Delivered, order: Order, artist: Artist) -> Path:
    """Write an animation: line by line what was made, what was changed later as it was changed."""
    before = np.full_like(made.frames[0], -1) if made.frames else np.zeros((0, 0), np.int32)
    states: list[Level] = []
    for frame in made.frames:
        states += [made.level.with_tiles(from_scan(scan, order)) for scan in _lines_between(before, frame)]
        before = frame
    write_growth(path, [*states, made.level] if states else made.level, artist=artist)
    return path


def _lines_between(before: npt.NDArray[np.int32], after: npt.NDArray[np.int32]) -> list[npt.NDArray[np.int32]]:
    """Return states on the way from one scan to another: lines that are new come one after the other."""
    new = np.flatnonzero((before < 0).all(axis=1) & (after >= 0).all(axis=1))
    states = []
    for line in new[:: max(1, len(new) // _MOST_STEPS)]:
        state = after.copy()
        state[line + 1 :] = -1
        states.append(state)
    return [*states, after]
