"""Scenes: what a map editor's file holds, and levels: the one grid of tiles that rules judge and models generate.

A *scene* keeps all layers and objects of one map. A *level* is a single grid over one tileset whose tiles say what they
mean; :mod:`newgameplus.games.stacking` makes levels of scenes and scenes of levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.recipe import did_you_mean

__all__ = ["MEANINGS", "NOTHING", "Level", "Scene", "SceneObject", "Tile", "Tileset", "check_meanings"]

NOTHING = -1
"""What a layer holds where no tile is."""

#: What a tile can mean to a player. A tile may have several; ``key`` and ``door`` may name a kind: ``key:red``.
MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "empty": "one can be there and nothing happens",
        "solid": "one cannot be there; one can stand on it",
        "hazard": "touching it harms",
        "enemy": "a character that harms",
        "start": "where the player begins",
        "goal": "what the player must reach, or where a box must stand",
        "key": "opens a door of its kind",
        "door": "solid until a key of its kind is spent",
        "one-way": "platformers: can be entered from below, stood on from above",
        "one-way-up": "top-down: can be entered only by moving up",
        "one-way-down": "top-down: can be entered only by moving down",
        "one-way-left": "top-down: can be entered only by moving left",
        "one-way-right": "top-down: can be entered only by moving right",
        "climbable": "ladders and vines: can be moved through upwards",
        "liquid": "water or lava: slows, drowns or burns; passable unless also solid or hazard",
        "collectable": "coins and other rewards",
        "breakable": "solid until it is hit",
        "box": "can be pushed",
        "pipe": "part of a structure of several tiles that must stay whole",
        "spawner": "lets enemies or shots appear",
        "decoration": "only to be looked at",
        "void": "outside of the level",
    }
)


@dataclass(frozen=True)
class Tile:
    """One kind of tile.

    Attributes:
        name: What its maker calls it: a character, a class, ``tileset#12``; unique in its tileset.
        meanings: Names of :data:`MEANINGS`, ``key:KIND`` and ``door:KIND`` included.
        picture: Where its picture is, for formats that have some: image path, x, y, width, height in pixels.
    """

    name: str
    meanings: frozenset[str] = frozenset()
    picture: tuple[str, int, int, int, int] | None = None

    def means(self, *meanings: str) -> bool:
        """Say whether the tile has any of the meanings; ``key`` also finds ``key:red``."""
        return any(own == wanted or own.startswith(f"{wanted}:") for own in self.meanings for wanted in meanings)


@dataclass(frozen=True)
class Tileset:
    """The tiles that a grid's numbers stand for, in order."""

    tiles: tuple[Tile, ...]

    def __post_init__(self) -> None:
        names = [tile.name for tile in self.tiles]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise DataError(f"tiles share a name: {', '.join(twice[:5])}", source="tileset", remedy="name each once")

    def __len__(self) -> int:
        return len(self.tiles)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Number of each tile, by name."""
        return {tile.name: number for number, tile in enumerate(self.tiles)}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tiles, in order."""
        return tuple(tile.name for tile in self.tiles)

    def flags(self, *meanings: str) -> npt.NDArray[np.bool_]:
        """Return bool [tiles + 1]: which tiles have any of the meanings. The last entry, for ``NOTHING``, is False."""
        return np.array([*(tile.means(*meanings) for tile in self.tiles), False])

    def with_meanings(self, meanings: Mapping[str, Iterable[str]]) -> Tileset:
        """Return the same tiles with other meanings, by tile name; tiles not named keep theirs.

        Raises:
            DataError: A tile or a meaning is not known; all such problems at once.
        """
        check_meanings(meanings, self.names)
        known = {name: frozenset(values) for name, values in meanings.items()}
        return Tileset(tuple(replace(tile, meanings=known.get(tile.name, tile.meanings)) for tile in self.tiles))


def check_meanings(
    meanings: Mapping[str, Iterable[str]], names: Sequence[str] | None = None, source: str = "tiles"
) -> None:
    """Check a table of tile meanings.

    Args:
        meanings: Meanings by tile name.
        names: Tiles that exist, if that is to be checked too.
        source: Where the table stands: a file, or a recipe key.

    Raises:
        DataError: With every tile and meaning that is not known.
    """
    problems = []
    for name, values in meanings.items():
        if names is not None and name not in names:
            remedy = f"{did_you_mean(name, names)}known: {', '.join(names[:30])}"
            problems.append(Problem(f"no tile is called {name!r}", source, remedy))
        for value in values:
            kind, colon, rest = value.partition(":")
            if kind not in MEANINGS or (colon and (kind not in ("key", "door") or not rest)):
                remedy = f"{did_you_mean(kind, list(MEANINGS))}known: {', '.join(MEANINGS)}"
                problems.append(Problem(f"tile {name!r}: {value!r} is no meaning", source, remedy))
    raise_problems(problems, DataError, f"{len(problems)} tile meanings cannot be used")


@dataclass(frozen=True)
class SceneObject:
    """One object of an object layer or one entity.

    Attributes:
        kind: Class, type or entity name; objects of one kind are interchangeable.
        row: Top edge, in tiles from the top of the scene.
        column: Left edge, in tiles from the left.
        height: In tiles; 0 for a point.
        width: In tiles; 0 for a point.
        layer: Name of its layer.
        properties: The maker's own properties.
        token: What its format needs to write it again unchanged; opaque to everything else.
    """

    kind: str
    row: float
    column: float
    height: float = 0.0
    width: float = 0.0
    layer: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)
    token: Any = None


@dataclass(frozen=True)
class Scene:
    """One map: layers of tiles over one tileset, and objects.

    Attributes:
        name: Name of the level, unique in its file.
        layers: int32 [layer, height, width]: numbers of tiles in ``tileset``, ``NOTHING`` where none is.
        layer_names: One name a layer, in drawing order (the last is on top).
        tileset: What the numbers stand for.
        objects: Objects and entities.
        properties: The maker's own properties of the map.
        source: File it was read from.
    """

    name: str
    layers: npt.NDArray[np.int32]
    layer_names: tuple[str, ...]
    tileset: Tileset
    objects: tuple[SceneObject, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
    source: Path | None = None

    @property
    def height(self) -> int:
        """Rows of tiles."""
        return int(self.layers.shape[1])

    @property
    def width(self) -> int:
        """Columns of tiles."""
        return int(self.layers.shape[2])


@dataclass(frozen=True, eq=False)
class Level:
    """One grid of tiles: what rules judge, measures count and models generate.

    Attributes:
        tiles: int32 [height, width]: numbers of tiles in ``tileset``, all of them valid.
        tileset: What the numbers stand for.
        name: For tables and pictures.
        caption: The maker's words about it, if any.
    """

    tiles: npt.NDArray[np.int32]
    tileset: Tileset
    name: str = ""
    caption: str = ""

    @property
    def height(self) -> int:
        """Rows of tiles."""
        return int(self.tiles.shape[0])

    @property
    def width(self) -> int:
        """Columns of tiles."""
        return int(self.tiles.shape[1])

    def where(self, *meanings: str) -> npt.NDArray[np.bool_]:
        """Return bool [height, width]: where a tile has any of the meanings."""
        return np.asarray(self.tileset.flags(*meanings)[self.tiles], np.bool_)

    def cells(self, *meanings: str) -> list[tuple[int, int]]:
        """Return (row, column) of every tile that has any of the meanings, row by row."""
        return [(int(row), int(column)) for row, column in zip(*np.nonzero(self.where(*meanings)), strict=True)]

    def with_tiles(self, tiles: npt.NDArray[np.int32], name: str | None = None) -> Level:
        """Return a level over the same tileset with other tiles."""
        return replace(self, tiles=np.ascontiguousarray(tiles, np.int32), name=self.name if name is None else name)

    def columns(self, start: int, end: int) -> Level:
        """Return the columns ``start`` to ``end`` (exclusive) as a level of their own."""
        return self.with_tiles(self.tiles[:, start:end])

    @classmethod
    def from_text(cls, text: str, meanings: Mapping[str, Iterable[str]], name: str = "") -> Level:
        """Make a level of lines of characters, mostly for tests and generators.

        Args:
            text: One line a row; all lines equally long.
            meanings: Meanings of every character; its order is the order of the tileset.
            name: Name of the level.

        Raises:
            DataError: The lines differ in length, or a character has no meaning.
        """
        lines = text.strip("\n").split("\n")
        if len({len(line) for line in lines}) != 1:
            raise DataError("the lines of a level differ in length", source=name or "level", remedy="pad them")
        check_meanings(meanings)
        tileset = Tileset(tuple(Tile(key, frozenset(values)) for key, values in meanings.items()))
        unknown = sorted({key for line in lines for key in line} - set(meanings))
        if unknown:
            remedy = f"known: {' '.join(meanings)}"
            raise DataError(f"unknown characters {' '.join(unknown)!r}", source=name or "level", remedy=remedy)
        grid = [[tileset.index[key] for key in line] for line in lines]
        return cls(np.array(grid, np.int32), tileset, name)

    def to_text(self) -> str:
        """Return one character a tile, for tilesets whose names are single characters."""
        names = self.tileset.names
        return "\n".join("".join(names[tile] for tile in row) for row in self.tiles)
