"""Legends: JSON beside maps of text that says what each character (or name) means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.games.formats.plain import read_text
from newgameplus.games.scenes import MEANINGS, Tile, Tileset
from newgameplus.games.tile_words import meanings_of_words
from newgameplus.recipe import did_you_mean

__all__ = ["find_legend", "legend_tileset", "read_legend"]

_SHAPE = 'write {"X": ["solid"], "-": ["empty"]}'


def find_legend(path: Path) -> Path | None:
    """Return the legend that lies beside a map: ``STEM.json``, ``legend.json`` or ``FOLDER.json``.

    ``FOLDER.json`` may lie in the folder or beside it. A file that is JSON but no legend does not count.
    """
    folder = path.parent.resolve()
    names = (folder / f"{path.stem}.json", folder / "legend.json", folder / f"{folder.name}.json")
    for place in (*names, folder.parent / f"{folder.name}.json"):
        if place.is_file() and (place == names[1] or _looks_like_one(place)):
            return place
    return None


def _looks_like_one(path: Path) -> bool:
    try:
        return path.stat().st_size < 10_000_000 and _tiles_of(json.loads(path.read_bytes())) is not None
    except (OSError, ValueError, RecursionError):
        return False


def _tiles_of(content: Any) -> Mapping[str, Any] | None:
    """Return the table of tiles in a legend of ours or of the Video Game Level Corpus, or None."""
    table = content.get("tiles", content) if isinstance(content, dict) else None
    if not isinstance(table, dict) or not table:
        return None
    return table if all(isinstance(value, list | str) for value in table.values()) else None


def read_legend(path: Path) -> dict[str, frozenset[str]]:
    """Read a legend.

    Ours is ``{"X": ["solid"], ...}`` with the words of ``MEANINGS``. The Video Game Level Corpus writes ``{"tiles":
    {"X": ["solid", "ground"], ...}}`` with words of its own: those that say something about play are translated, the
    others left out.

    Returns:
        Meanings of each tile, in the order of the file.

    Raises:
        DataError: It is no JSON or no legend, or with every meaning that is not known.
    """
    try:
        content = json.loads(read_text(path).removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON ({error})", source=str(path), remedy=_SHAPE) from error
    table = _tiles_of(content)
    if table is None:
        raise DataError("no legend of tiles", source=str(path), remedy=_SHAPE)
    lenient = table is not content
    problems: list[Problem] = []
    legend = {}
    for name, value in table.items():
        words = [value] if isinstance(value, str) else value
        if not name or not all(isinstance(word, str) for word in words):
            problems.append(Problem(f"tile {name!r}: {value!r} is no list of words", str(path), _SHAPE))
            continue
        legend[name] = frozenset(meanings_of_words(words))
        problems += [] if lenient else [found for word in words if (found := _unknown(name, word, path))]
    raise_problems(problems, DataError, f"{path}: {len(problems)} problems in the legend")
    return legend


def _unknown(name: str, word: str, path: Path) -> Problem | None:
    kind, colon, rest = word.partition(":")
    if kind in MEANINGS and (not colon or (kind in ("key", "door") and rest)):
        return None
    if not colon and meanings_of_words([word]):
        return None
    remedy = f"{did_you_mean(kind, list(MEANINGS))}known: {', '.join(MEANINGS)}"
    return Problem(f"tile {name!r}: {word!r} is no meaning", str(path), remedy)


def legend_tileset(legend: Mapping[str, frozenset[str]]) -> Tileset:
    """Return the tiles of a legend, in its order."""
    return Tileset(tuple(Tile(name, meanings) for name, meanings in legend.items()))
