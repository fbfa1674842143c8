"""Levels from scenes and back: every combination of tiles and objects that stands in one cell becomes one symbol.

A map of several layers is thereby one grid, which rules can judge and models can learn, and a generated grid can be
written into the maker's own layers again, since it holds only combinations that the maker used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.games.scenes import (
    NOTHING,
    Level,
    Scene,
    SceneObject,
    Tile,
    Tileset,
    check_meanings,
)
from newgameplus.recipe import did_you_mean

__all__ = ["MAX_SYMBOLS", "NOTHING_NAME", "Stack", "cell_of", "parts_of", "stack"]

#: Symbols that a stack may have; more means that layers are combined that should be left alone.
MAX_SYMBOLS = 8192
#: Name of the symbol of a cell in which nothing is.
NOTHING_NAME = "nothing"
_MAX_KINDS = 64
_SMALL = 1e-6
_Cell = tuple[str | None, ...]


def cell_of(one: SceneObject) -> tuple[int, int]:
    """Return row and column of the cell an object stands in: that of the middle of its bottom edge.

    So a character drawn larger than a tile stands where its feet are. For a point, the cell it lies in.
    """
    bottom, middle = one.row + one.height, one.column + one.width / 2
    row = math.ceil(bottom - _SMALL) - 1 if one.height > 0 else math.floor(bottom + _SMALL)
    column = math.ceil(middle - _SMALL) - 1 if one.width > 0 else math.floor(middle + _SMALL)
    return row, column


def parts_of(scenes: Iterable[Scene]) -> dict[str, Tile]:
    """Return what can have a meaning in scenes: tiles by name, ``@kind`` for objects, ``nothing`` where cells are bare.

    Tiles that no scene shows are left out.
    """
    parts: dict[str, Tile] = {}
    bare = False
    for scene in scenes:
        _check_numbers(scene)
        numbers = np.unique(scene.layers).tolist()
        bare = bare or bool((scene.layers == NOTHING).all(axis=0).any())
        for number in numbers:
            if number != NOTHING:
                tile = scene.tileset.tiles[number]
                parts.setdefault(tile.name, tile)
        for one in scene.objects:
            parts.setdefault(f"@{one.kind}", Tile(f"@{one.kind}"))
    if bare:
        parts.setdefault(NOTHING_NAME, Tile(NOTHING_NAME))
    return parts


@dataclass(frozen=True)
class Stack:
    """How combinations of tiles and objects are numbered.

    Attributes:
        tileset: One tile a symbol. Over a single layer of tiles a symbol is called as the tile is, else its parts are
            joined with ``|``, ``-`` where a layer has none.
        layers: Names of the layers it combines, layers of tiles first.
        objects: Whether each layer is one of objects.
        cells: For each symbol, what it puts into each layer: the name of a tile, ``@kind`` (``@a+@b`` for several
            objects), or None.
        templates: An object of each kind and layer to make new ones of; see :meth:`bind`.
    """

    tileset: Tileset
    layers: tuple[str, ...]
    objects: tuple[bool, ...]
    cells: tuple[_Cell, ...]
    templates: Mapping[tuple[str, str], SceneObject] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def _symbols(self) -> Mapping[_Cell, int]:
        return {cell: symbol for symbol, cell in enumerate(self.cells)}

    def level(self, scene: Scene, name: str = "") -> Level:
        """Return a scene as one grid of symbols.

        Raises:
            DataError: The scene lacks a layer, or a cell holds a combination that the stack does not know.
        """
        keys, grid = _combinations(scene, self.layers, self.objects)
        symbols = []
        for number, key in enumerate(keys):
            symbol = self._symbols.get(key)
            if symbol is None:
                row, column = np.argwhere(grid == number)[0].tolist()
                message = f"row {row}, column {column} holds {_name(key)!r}, which no map of the stack has"
                remedy = "stack these maps too, or choose fewer layers"
                raise DataError(message, source=_source(scene), remedy=remedy)
            symbols.append(symbol)
        return Level(np.array(symbols, np.int32)[grid], self.tileset, name or scene.name)

    def scene(self, level: Level, template: Scene) -> Scene:
        """Return a level as a scene like a template.

        Layers that are not in the stack come from the template, cut or padded with nothing. Objects of other layers
        are kept when they stand inside the new size. An object of the template stays as it is where the level
        has one of its kind in the same cell; others are made like it.

        Args:
            level: Over this stack's symbols.
            template: One of the scenes, for all that the level does not say.

        Raises:
            DataError: The template lacks a layer, or the level has other symbols.
        """
        if level.tileset.names != self.tileset.names:
            raise DataError("the level has other symbols than the stack", source=level.name, remedy="use its own stack")
        tileset, layers = self._layers(level, template)
        return replace(
            template,
            name=level.name or template.name,
            layers=layers,
            tileset=tileset,
            objects=self._objects(level, template),
        )

    def _layers(self, level: Level, template: Scene) -> tuple[Tileset, npt.NDArray[np.int32]]:
        names = [name for name, is_object in zip(self.layers, self.objects, strict=True) if not is_object]
        _check_layers(template, names)
        used = np.unique(level.tiles).tolist()
        wanted = {cell for symbol in used for cell in self.cells[symbol][: len(names)] if cell is not None}
        new = [Tile(name) for name in sorted(wanted) if name not in template.tileset.index]
        tileset = Tileset((*template.tileset.tiles, *new)) if new else template.tileset
        layers = np.full((len(template.layer_names), level.height, level.width), NOTHING, np.int32)
        rows, columns = min(level.height, template.height), min(level.width, template.width)
        layers[:, :rows, :columns] = template.layers[:, :rows, :columns]
        for place, name in enumerate(names):
            table = np.full(len(self.cells), NOTHING, np.int32)
            for symbol in used:
                part = self.cells[symbol][place]
                table[symbol] = NOTHING if part is None else tileset.index[part]
            layers[template.layer_names.index(name)] = table[level.tiles]
        return tileset, layers

    def _objects(self, level: Level, template: Scene) -> tuple[SceneObject, ...]:
        stacked = {name for name, is_object in zip(self.layers, self.objects, strict=True) if is_object}
        wanted = self._wanted(level)
        result: list[SceneObject] = []
        for one in template.objects:
            row, column = cell_of(one)
            inside = 0 <= row < level.height and 0 <= column < level.width
            if not (0 <= row < template.height and 0 <= column < template.width):
                result.append(one)  # makers keep notes and spare objects outside of their maps
            elif one.layer not in stacked:
                result += [one] * inside
            elif wanted.get((one.layer, one.kind, row, column), 0):
                wanted[one.layer, one.kind, row, column] -= 1
                result.append(one)
        models = {(one.layer, one.kind): one for one in reversed(template.objects)}
        for (layer, kind, row, column), count in wanted.items():
            model = (
                models.get((layer, kind)) or self.templates.get((layer, kind)) or SceneObject(kind, 0, 0, 1, 1, layer)
            )
            was_row, was_column = cell_of(model)
            moved = replace(model, row=model.row + row - was_row, column=model.column + column - was_column)
            result += [moved] * count
        return tuple(result)

    def _wanted(self, level: Level) -> dict[tuple[str, str, int, int], int]:
        """Return how many objects shall stand where, by layer, kind, row and column."""
        wanted: dict[tuple[str, str, int, int], int] = {}
        for place, (layer, is_object) in enumerate(zip(self.layers, self.objects, strict=True)):
            holders = [symbol for symbol, cell in enumerate(self.cells) if is_object and cell[place] is not None]
            for row, column in np.argwhere(np.isin(level.tiles, holders)).tolist():
                part = self.cells[int(level.tiles[row, column])][place]
                for kind in _kinds(part or ""):
                    key = layer, kind, row, column
                    wanted[key] = wanted.get(key, 0) + 1
        return wanted

    def bind(self, scenes: Iterable[Scene]) -> Stack:
        """Return the stack with objects of the scenes as templates for new ones, the first of each kind and layer."""
        templates = dict(self.templates)
        stacked = {name for name, is_object in zip(self.layers, self.objects, strict=True) if is_object}
        for scene in scenes:
            for one in scene.objects:
                if one.layer in stacked:
                    templates.setdefault((one.layer, one.kind), one)
        return replace(self, templates=templates)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; templates of objects are not in it."""
        symbols = [
            {"name": tile.name, "cells": list(cell), "meanings": sorted(tile.meanings), "picture": tile.picture}
            for tile, cell in zip(self.tileset.tiles, self.cells, strict=True)
        ]
        return {"layers": list(self.layers), "objects": list(self.objects), "symbols": symbols}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Stack:
        """Make a stack of what :meth:`as_dict` gave.

        Raises:
            DataError: It is something else.
        """
        try:
            layers, objects = tuple(map(str, content["layers"])), tuple(map(bool, content["objects"]))
            cells = [tuple(None if part is None else str(part) for part in one["cells"]) for one in content["symbols"]]
            if len(layers) != len(objects) or any(len(cell) != len(layers) for cell in cells):
                raise ValueError("cells and layers differ in number")
            check_meanings({str(one["name"]): one["meanings"] for one in content["symbols"]}, source="stack")
            tiles = [
                Tile(
                    str(one["name"]), frozenset(one["meanings"]), tuple(one["picture"]) if one.get("picture") else None
                )
                for one in content["symbols"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            message = f"not a stack of layers ({type(error).__name__}: {error})"
            raise DataError(message, source="stack", remedy="fit the run again") from error
        return cls(Tileset(tuple(tiles)), layers, objects, tuple(cells))


def stack(
    scenes: Sequence[Scene],
    *,
    layers: Sequence[str] | None = None,
    meanings: Mapping[str, Iterable[str]] | None = None,
) -> tuple[Stack, list[Level]]:
    """Number every combination that stands in a cell of the scenes.

    Args:
        scenes: Of one game; tiles are matched by name.
        layers: Layers to combine, of tiles and of objects; by default all layers of tiles that every scene has, and
            the layers of objects that stand on the grid.
        meanings: By tile, ``@kind`` of objects, or ``nothing``; tiles not named keep their own.

    Returns:
        The stack, and one level a scene.

    Raises:
        DataError: There is no scene, a scene lacks a layer, a meaning is not known, or there are more than
            :data:`MAX_SYMBOLS` combinations.
    """
    if not scenes:
        raise DataError("no scenes to make levels of", source="maps", remedy="give at least one map")
    names, objects = _chosen(scenes, layers)
    parts = parts_of(scenes)
    table = {name: tile.meanings for name, tile in parts.items()}
    if meanings:
        declared = {name for scene in scenes for name in scene.tileset.names}
        check_meanings(meanings, [*parts, *(declared - set(parts)), NOTHING_NAME])
        table |= {name: frozenset(values) for name, values in meanings.items()}
    symbols: dict[_Cell, int] = {}
    grids = []
    for scene in scenes:
        keys, grid = _combinations(scene, names, objects)
        numbers = [symbols.setdefault(key, len(symbols)) for key in keys]
        grids.append(np.array(numbers, np.int32)[grid])
        if len(symbols) > MAX_SYMBOLS:
            many = f"more than {MAX_SYMBOLS:,} combinations of tiles in the layers {', '.join(names)}"
            raise DataError(many, source=_source(scene), remedy="choose fewer layers: those that matter for play")
    single = len(names) == 1 and not objects[0]
    tiles = tuple(_symbol(cell, parts, table, single) for cell in symbols)
    tileset = Tileset(_unique(tiles))
    result = Stack(tileset, names, objects, tuple(symbols)).bind(scenes)
    return result, [Level(grid, tileset, scene.name) for grid, scene in zip(grids, scenes, strict=True)]


def _source(scene: Scene) -> str:
    return f"{scene.source} {scene.name}" if scene.source else scene.name


def _check_layers(scene: Scene, names: Iterable[str]) -> None:
    missing = [name for name in names if name not in scene.layer_names]
    if missing:
        known = list(scene.layer_names)
        remedy = f"{did_you_mean(missing[0], known)}it has {', '.join(known) or 'none'}"
        raise DataError(f"the map has no layer {missing[0]!r}", source=_source(scene), remedy=remedy)


def _chosen(scenes: Sequence[Scene], layers: Sequence[str] | None) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """Return the layers to combine, of tiles first, and which are of objects."""
    tile_layers = list(dict.fromkeys(name for scene in scenes for name in scene.layer_names))
    object_layers = list(dict.fromkeys(one.layer for scene in scenes for one in scene.objects))
    if layers is None:
        chosen = [name for name in tile_layers if all(name in scene.layer_names for scene in scenes)]
        on_grid = [name for name in object_layers if name not in chosen and _on_grid(scenes, name)]
        if not chosen and (tile_layers or not on_grid):
            shown = ", ".join(tile_layers) or "none"
            raise DataError("the maps have no layer in common", source="maps", remedy=f"name layers; they have {shown}")
        return (*chosen, *on_grid), (*([False] * len(chosen)), *([True] * len(on_grid)))
    if not layers:
        raise DataError("no layers are chosen", source="layers", remedy=f"there are {', '.join(tile_layers)}")
    chosen = [name for name in dict.fromkeys(layers) if name in tile_layers or name not in object_layers]
    for scene in scenes:
        _check_layers(scene, chosen)
    others = [name for name in dict.fromkeys(layers) if name not in chosen]
    return (*chosen, *others), (*([False] * len(chosen)), *([True] * len(others)))


def _on_grid(scenes: Sequence[Scene], layer: str) -> bool:
    """Say whether the objects of a layer stand in cells, have kinds, and few of them."""
    kinds = set()
    for scene in scenes:
        for one in scene.objects:
            if one.layer != layer:
                continue
            row, column = cell_of(one)
            if not one.kind or not (0 <= row < scene.height and 0 <= column < scene.width):
                return False
            kinds.add(one.kind)
    return len(kinds) <= _MAX_KINDS


def _combinations(
    scene: Scene, layers: Sequence[str], objects: Sequence[bool]
) -> tuple[list[_Cell], npt.NDArray[np.int64]]:
    """Return the distinct combinations of a scene, in order of their first cells, and their grid [height, width]."""
    _check_layers(scene, [name for name, is_object in zip(layers, objects, strict=True) if not is_object])
    codes = np.zeros((scene.height, scene.width), np.int64)
    keys: list[_Cell] = [()]
    for name, is_object in zip(layers, objects, strict=True):
        parts, grid = _object_grid(scene, name) if is_object else _tile_grid(scene, name)
        pairs, inverse = np.unique(codes * len(parts) + grid, return_inverse=True)
        keys = [(*keys[pair // len(parts)], parts[pair % len(parts)]) for pair in pairs.tolist()]
        codes = inverse.reshape(scene.height, scene.width).astype(np.int64)
    _, first = np.unique(codes, return_index=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(keys), np.int64)
    rank[order] = np.arange(len(keys))
    return [keys[number] for number in order.tolist()], rank[codes]


def _tile_grid(scene: Scene, layer: str) -> tuple[Sequence[str | None], npt.NDArray[np.int64]]:
    grid = scene.layers[scene.layer_names.index(layer)]
    _check_numbers(scene)
    return (None, *scene.tileset.names), grid.astype(np.int64) + 1


def _check_numbers(scene: Scene) -> None:
    layers = scene.layers
    if layers.size and (layers.min() < NOTHING or layers.max() >= len(scene.tileset)):
        raise DataError("a layer has numbers beyond its tileset", source=_source(scene), remedy="use its own tiles")


def _object_grid(scene: Scene, layer: str) -> tuple[Sequence[str | None], npt.NDArray[np.int64]]:
    here: dict[tuple[int, int], list[str]] = {}
    for one in scene.objects:
        row, column = cell_of(one)
        if one.layer == layer and 0 <= row < scene.height and 0 <= column < scene.width:
            here.setdefault((row, column), []).append(one.kind)
    parts: dict[str | None, int] = {None: 0}
    grid = np.zeros((scene.height, scene.width), np.int64)
    for place, kinds in here.items():
        grid[place] = parts.setdefault("+".join(f"@{kind}" for kind in sorted(kinds)), len(parts))
    return tuple(parts), grid


def _kinds(part: str) -> list[str]:
    """Return the kinds of objects in ``@a+@b``."""
    return [kind.removeprefix("@") for kind in part.split("+@")] if part else []


def _name(cell: _Cell) -> str:
    return "|".join("-" if part is None else part for part in cell)


def _symbol(cell: _Cell, parts: Mapping[str, Tile], table: Mapping[str, frozenset[str]], single: bool) -> Tile:
    """Return the tile of one combination: its name, the meanings of its parts together, the topmost picture."""
    here = [name for part in cell if part is not None for name in ([part] if part in parts else _pieces(part))]
    if not here:
        return Tile(NOTHING_NAME if single else _name(cell), table.get(NOTHING_NAME) or frozenset({"empty"}))
    meanings = frozenset().union(*(table.get(name, frozenset()) for name in here))
    if meanings - {"empty", "decoration"}:
        meanings -= {"empty"}
    pictures = [parts[name].picture for name in here if name in parts and parts[name].picture]
    return Tile(cell[0] or "" if single else _name(cell), meanings, pictures[-1] if pictures else None)


def _pieces(part: str) -> list[str]:
    return [f"@{kind}" for kind in _kinds(part)]


def _unique(tiles: Sequence[Tile]) -> tuple[Tile, ...]:
    """Tell tiles apart whose names are equal because a maker's names hold ``|`` or are ``nothing``."""
    seen: set[str] = set()
    result = []
    for tile in tiles:
        name = tile.name
        while name in seen:
            name += "'"
        seen.add(name)
        result.append(replace(tile, name=name))
    return tuple(result)
