"""What an LDtk project defines: its layers, tilesets, values and entities, and the names our tiles get from them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from newgameplus.errors import DataError
from newgameplus.games.scenes import Tile
from newgameplus.games.tile_words import meanings_of_name

__all__ = ["FLIPS", "LayerDef", "Project", "TilesetDef", "number", "read_project", "whole"]

#: How flips are written in names of tiles, by LDtk's flip bits.
FLIPS = ("", "~h", "~v", "~h~v")
_MANY = 10_000


def whole(holder: Mapping[str, Any], key: str, where: str, low: int = 0, high: int = 1 << 31) -> int:
    """Return a whole number from JSON.

    Raises:
        DataError: It is missing, no whole number, or out of range.
    """
    value = holder.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or not low <= value <= high:
        raise DataError(f"{key} is {str(value)[:60]}, not a whole number of at least {low}", source=where, remedy=_SAVE)
    return int(value)


def number(value: Any, key: str, where: str) -> float:
    """Return a finite number from JSON.

    Raises:
        DataError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 1e12:
        raise DataError(f"{key} is {str(value)[:60]}, not a number", source=where, remedy=_SAVE)
    return float(value)


_SAVE = "open it in LDtk 1.5 and save it again"


@dataclass(frozen=True)
class TilesetDef:
    """A tileset of a project.

    Attributes:
        name: Its identifier.
        uid: Its number in the project.
        picture: File of its picture, or empty when it has none.
        grid, spacing, padding: In pixels.
        columns, rows: In tiles.
        meanings: What its tags say, by tile number.
    """

    name: str
    uid: int
    picture: str
    grid: int
    spacing: int
    padding: int
    columns: int
    rows: int
    meanings: Mapping[int, frozenset[str]]

    def source(self, tile: int) -> tuple[int, int]:
        """Return x and y of a tile in the picture, in pixels."""
        row, column = divmod(tile, max(self.columns, 1))
        step = self.grid + self.spacing
        return self.padding + column * step, self.padding + row * step

    def tile(self, tile: int, flip: int) -> Tile:
        """Return our tile for one of the tileset's, flipped or not."""
        picture = (self.picture, *self.source(tile), self.grid, self.grid) if self.picture else None
        return Tile(f"{self.name}#{tile}{FLIPS[flip]}", self.meanings.get(tile, frozenset()), picture)


@dataclass(frozen=True)
class LayerDef:
    """A layer of a project.

    Attributes:
        name: Its identifier.
        uid: Its number in the project.
        kind: ``IntGrid``, ``Tiles``, ``AutoLayer`` or ``Entities``.
        grid: Side of its cells in pixels.
        values: For an IntGrid: our tile for each value.
        source: For an AutoLayer: number of the layer whose values its rules look at.
        ruled: Whether the editor derives tiles for it.
    """

    name: str
    uid: int
    kind: str
    grid: int
    values: Mapping[int, Tile]
    source: int | None
    ruled: bool

    def value(self, value: int) -> Tile:
        """Return our tile for a value, one that is not defined included."""
        return self.values.get(value) or Tile(f"{self.name}:{value}")


@dataclass(frozen=True)
class Project:
    """What an LDtk project defines.

    Attributes:
        layers: By number.
        tilesets: By number.
        entities: Definitions as they stand in the file, by identifier.
        grid: Side in pixels of the cells that scenes are made of: the most common one of the layers with tiles.
    """

    layers: Mapping[int, LayerDef]
    tilesets: Mapping[int, TilesetDef]
    entities: Mapping[str, Mapping[str, Any]]
    grid: int

    def tiles(self) -> list[Tile]:
        """Return our tiles for all values, and for all tiles of tilesets in use unless they are very many."""
        tiles = [tile for layer in self.layers.values() if layer.kind == "IntGrid" for tile in layer.values.values()]
        used = {layer.source for layer in self.layers.values() if layer.kind == "Tiles"}
        sheets = [sheet for uid, sheet in self.tilesets.items() if uid in used]
        if sum(sheet.columns * sheet.rows for sheet in sheets) <= _MANY:
            tiles += [sheet.tile(one, 0) for sheet in sheets for one in range(sheet.columns * sheet.rows)]
        return list({tile.name: tile for tile in tiles}.values())


def _listed(holder: Any, key: str, where: str) -> list[Mapping[str, Any]]:
    values = holder.get(key, []) if isinstance(holder, dict) else None
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise DataError(f"{key} is not a list of objects", source=where, remedy=_SAVE)
    return values


def _name(holder: Mapping[str, Any], where: str) -> str:
    name = holder.get("identifier")
    if not isinstance(name, str) or not name:
        raise DataError("an identifier is missing", source=where, remedy=_SAVE)
    return name


def read_project(root: Mapping[str, Any], path: Path) -> Project:
    """Read the definitions of a project.

    Args:
        root: The whole file.
        path: Where it lies; pictures are named from its folder.

    Raises:
        DataError: A definition is not as LDtk 1.5 writes it.
    """
    defs = root.get("defs")
    if not isinstance(defs, dict):
        raise DataError("no LDtk project: it has no defs", source=str(path), remedy=_SAVE)
    sheets = [_tileset(one, path) for one in _listed(defs, "tilesets", f"{path}: defs")]
    pictures = {sheet.uid: sheet for sheet in sheets}
    layers = [_layer(one, pictures, path) for one in _listed(defs, "layers", f"{path}: defs")]
    entities = {_name(one, f"{path}: defs.entities"): one for one in _listed(defs, "entities", f"{path}: defs")}
    names = Counter(layer.name for layer in layers)
    if twice := [name for name, count in names.items() if count > 1]:
        raise DataError(f"two layers are called {twice[0]!r}", source=f"{path}: defs.layers", remedy="rename one")
    grids = Counter(layer.grid for layer in layers if layer.kind in ("IntGrid", "Tiles"))
    common = (
        grids.most_common(1)[0][0] if grids else whole({"defaultGridSize": 16, **root}, "defaultGridSize", str(path), 1)
    )
    return Project({layer.uid: layer for layer in layers}, pictures, entities, common)


def _tileset(one: Mapping[str, Any], path: Path) -> TilesetDef:
    name = _name(one, f"{path}: defs.tilesets")
    where = f"{path}: defs.tilesets {name}"
    relative = one.get("relPath")
    picture = str(path.parent / relative) if isinstance(relative, str) and "\0" not in relative else ""
    meanings: dict[int, set[str]] = {}
    for tag in _listed(one, "enumTags", where):
        meant = meanings_of_name(str(tag.get("enumValueId", "")))
        numbers = tag.get("tileIds")
        for tile in numbers if isinstance(numbers, list) else []:
            if isinstance(tile, int):
                meanings.setdefault(tile, set()).update(meant)
    return TilesetDef(
        name,
        whole(one, "uid", where),
        picture,
        grid=whole(one, "tileGridSize", where),
        spacing=whole(one, "spacing", where),
        padding=whole(one, "padding", where),
        columns=whole(one, "__cWid", where),
        rows=whole(one, "__cHei", where),
        meanings={tile: frozenset(meant) for tile, meant in meanings.items()},
    )


def _layer(one: Mapping[str, Any], sheets: Mapping[int, TilesetDef], path: Path) -> LayerDef:
    name = _name(one, f"{path}: defs.layers")
    where = f"{path}: defs.layers {name}"
    kind = str(one.get("type", one.get("__type", "")))
    key = "tilesetDefUid" if kind == "Tiles" else "autoSourceLayerDefUid"
    source = None if one.get(key) is None else whole(one, key, where)
    values = _values(one, name, sheets, where) if kind == "IntGrid" else {}
    ruled = bool(one.get("autoRuleGroups"))
    return LayerDef(name, whole(one, "uid", where), kind, whole(one, "gridSize", where, 1), values, source, ruled)


def _values(one: Mapping[str, Any], layer: str, sheets: Mapping[int, TilesetDef], where: str) -> dict[int, Tile]:
    values: dict[int, Tile] = {}
    names: set[str] = set()
    for defined in _listed(one, "intGridValues", where):
        value = whole(defined, "value", where, 1)
        word = defined.get("identifier")
        word = word if isinstance(word, str) and word and not re.fullmatch(r"\d+", word) else ""
        if not word or f"{layer}:{word}" in names:
            word = str(value)
        names.add(f"{layer}:{word}")
        values[value] = Tile(
            f"{layer}:{word}", frozenset(meanings_of_name(word)), _rectangle(defined.get("tile"), sheets)
        )
    return values


def _rectangle(rect: Any, sheets: Mapping[int, TilesetDef]) -> tuple[str, int, int, int, int] | None:
    if not isinstance(rect, dict):
        return None
    uid, *sides = (rect.get(key) for key in ("tilesetUid", "x", "y", "w", "h"))
    sheet = sheets.get(uid) if isinstance(uid, int) else None
    if sheet is None or not sheet.picture or not all(isinstance(side, int) for side in sides):
        return None
    x, y, width, height = (int(side) for side in sides if isinstance(side, int))
    return sheet.picture, x, y, width, height
