"""One level of an LDtk project: its layers as grids of what the file writes, and its entities as objects."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.games.formats.ldtk_project import LayerDef, Project, TilesetDef, number, whole
from newgameplus.games.formats.ldtk_text import items, members
from newgameplus.games.formats.plain import check_cells
from newgameplus.games.scenes import NOTHING, SceneObject, Tile

__all__ = ["LevelLayer", "LevelParts", "entity_place", "read_level"]

_SAVE = "open it in LDtk 1.5 and save it again"


@dataclass(frozen=True, eq=False)
class LevelLayer:
    """One layer of one level.

    Attributes:
        name: Its identifier.
        definition: What the project says of it.
        data: As it stands in the file.
        start: Where it begins in the text of the level.
        codes: int64 [height, width] of an IntGrid (its values) or of tiles (number of the tile times 4 plus its
            flip bits); ``NOTHING`` where none is; None for other layers.
        sheet: The tileset its tiles come from.
        in_scene: Whether it is a layer of our scene: tiles on the common grid.
    """

    name: str
    definition: LayerDef
    data: Mapping[str, Any]
    start: int
    codes: npt.NDArray[np.int64] | None
    sheet: TilesetDef | None
    in_scene: bool

    @property
    def entities(self) -> list[Mapping[str, Any]]:
        """Entities of the layer as they stand in the file; none in layers of other kinds."""
        return list(self.data.get("entityInstances", [])) if self.definition.kind == "Entities" else []

    def tile(self, code: int) -> Tile:
        """Return our tile for a code."""
        if self.definition.kind == "IntGrid":
            return self.definition.value(code)
        return self.sheet.tile(code >> 2, code & 3) if self.sheet else Tile(f"{self.name}#{code >> 2}")


@dataclass(frozen=True, eq=False)
class LevelParts:
    """A level taken apart.

    Attributes:
        name: Its identifier.
        data: As it stands in the file.
        height, width: In cells of the common grid.
        layers: In the order of the file: the first is on top.
        objects: All entities; their token is their text.
        notes: What a user should know.
    """

    name: str
    data: Mapping[str, Any]
    height: int
    width: int
    layers: tuple[LevelLayer, ...]
    objects: tuple[SceneObject, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def properties(self) -> dict[str, Any]:
        """The maker's own fields of the level."""
        return _fields(self.data)


def read_level(text: str, project: Project, source: str) -> LevelParts:
    """Take a level apart.

    Args:
        text: The level's JSON.
        project: What the project defines.
        source: File and place of the level, for messages.

    Raises:
        DataError: It is not as LDtk 1.5 writes it: a layer of the wrong length, a size that is no size.
    """
    data = json.loads(text)
    if not isinstance(data, dict) or not isinstance(data.get("identifier"), str):
        raise DataError("a level is no object with an identifier", source=source, remedy=_SAVE)
    name = data["identifier"]
    source = f"{source} {name}"
    height, width = (math.ceil(whole(data, key, source, 1) / project.grid) for key in ("pxHei", "pxWid"))
    instances = data.get("layerInstances")
    if not isinstance(instances, list) or not all(isinstance(one, dict) for one in instances):
        raise DataError("layerInstances is not a list of layers", source=source, remedy=_SAVE)
    check_cells(height, width, len(instances), source)
    starts = items(text, members(text)["layerInstances"][0])
    layers: list[LevelLayer] = []
    objects: list[SceneObject] = []
    notes: list[str] = []
    for one, (start, _) in zip(instances, starts, strict=True):
        layer = _layer(one, start, project, (height, width), source, notes)
        if layer is not None:
            layers.append(layer)
            objects += _objects(text, layer, project.grid, f"{source} {layer.name}")
    return LevelParts(name, data, height, width, tuple(layers), tuple(objects), tuple(notes))


def _layer(
    one: Mapping[str, Any], start: int, project: Project, sides: tuple[int, int], source: str, notes: list[str]
) -> LevelLayer | None:
    definition = project.layers.get(whole(one, "layerDefUid", source))
    if definition is None:
        notes.append(f"{source}: a layer that the project does not define is kept as it is")
        return None
    name = definition.name
    where = f"{source} {name}"
    size = whole(one, "__cHei", where, 1), whole(one, "__cWid", where, 1)
    uid = one.get("__tilesetDefUid")
    sheet = project.tilesets.get(uid) if isinstance(uid, int) else None
    codes = None
    if definition.kind in ("IntGrid", "Tiles"):
        check_cells(size[0], size[1], 1, where)
        codes = (
            _int_grid(one, size, where) if definition.kind == "IntGrid" else _tiles(one, size, definition, where, notes)
        )
    in_scene = codes is not None and definition.grid == project.grid and size == sides
    if codes is not None and not in_scene:
        why = f"its cells of {definition.grid} pixels" if definition.grid != project.grid else "its offset"
        notes.append(f"layer {name!r} is kept untouched: {why} do not fit the grid of {project.grid}")
    return LevelLayer(name, definition, one, start, codes, sheet, in_scene)


def _int_grid(one: Mapping[str, Any], size: tuple[int, int], where: str) -> npt.NDArray[np.int64]:
    values = one.get("intGridCsv")
    if not isinstance(values, list) or len(values) != size[0] * size[1]:
        count = len(values) if isinstance(values, list) else "no"
        wanted = f"{size[1]} x {size[0]} = {size[0] * size[1]}"
        raise DataError(f"intGridCsv has {count} values, not {wanted}", source=where, remedy=_SAVE)
    if not all(type(value) is int and 0 <= value < 1 << 31 for value in values):
        wrong = next(value for value in values if type(value) is not int or not 0 <= value < 1 << 31)
        raise DataError(f"intGridCsv holds {str(wrong)[:40]!r}, no value", source=where, remedy=_SAVE)
    codes = np.array(values, np.int64).reshape(size)
    codes[codes == 0] = NOTHING
    return codes


def _tiles(
    one: Mapping[str, Any], size: tuple[int, int], definition: LayerDef, where: str, notes: list[str]
) -> npt.NDArray[np.int64]:
    tiles = one.get("gridTiles")
    if not isinstance(tiles, list) or not all(isinstance(tile, dict) for tile in tiles):
        raise DataError("gridTiles is not a list of tiles", source=where, remedy=_SAVE)
    codes = np.full(size, NOTHING, np.int64)
    stacked = beyond = 0
    for tile in tiles:
        row, column = tile_cell(tile, definition.grid, where)
        code = whole(tile, "t", where) * 4 + whole(tile, "f", where, 0, 3)
        if not (row < size[0] and column < size[1]):
            beyond += 1
            continue
        stacked += codes[row, column] != NOTHING
        codes[row, column] = code
    if stacked:
        notes.append(f"layer {definition.name!r}: {stacked} tiles lie under others; only the top one of a cell is seen")
    if beyond:
        notes.append(f"layer {definition.name!r}: {beyond} tiles lie outside of it and are not seen")
    return codes


def tile_cell(tile: Mapping[str, Any], grid: int, where: str) -> tuple[int, int]:
    """Return row and column of a tile in ``gridTiles``.

    Raises:
        DataError: Its place is not two whole numbers from 0 on.
    """
    place = tile.get("px")
    if not isinstance(place, list) or len(place) != 2:
        raise DataError(f"a tile has px {str(place)[:40]}, not [x, y]", source=where, remedy=_SAVE)
    x, y = (whole({"px": side}, "px", where) for side in place)
    return y // grid, x // grid


def _objects(text: str, layer: LevelLayer, grid: int, where: str) -> list[SceneObject]:
    entities = layer.data.get("entityInstances", [])
    if layer.definition.kind != "Entities" or entities == []:
        return []
    if not isinstance(entities, list) or not all(isinstance(entity, dict) for entity in entities):
        raise DataError("entityInstances is not a list of entities", source=where, remedy=_SAVE)
    spans = items(text, members(text, layer.start)["entityInstances"][0])
    return [
        _object(entity, text[start:end], layer.name, grid, where)
        for entity, (start, end) in zip(entities, spans, strict=True)
    ]


def _object(entity: Mapping[str, Any], token: str, layer: str, grid: int, where: str) -> SceneObject:
    kind = entity.get("__identifier")
    if not isinstance(kind, str) or not kind:
        raise DataError("an entity has no identifier", source=where, remedy=_SAVE)
    x, y, pivot_x, pivot_y, width, height = entity_place(entity, f"{where} {kind}")
    return SceneObject(
        kind,
        row=(y - pivot_y * height) / grid,
        column=(x - pivot_x * width) / grid,
        height=height / grid,
        width=width / grid,
        layer=layer,
        properties=_fields(entity),
        token=token,
    )


def entity_place(entity: Mapping[str, Any], where: str) -> tuple[float, float, float, float, float, float]:
    """Return x and y of an entity's pivot, the pivot (0 to 1), and its width and height, in pixels.

    Raises:
        DataError: A number is missing.
    """
    values = []
    for key, default in (("px", None), ("__pivot", [0, 0])):
        pair = entity.get(key, default)
        if not isinstance(pair, list) or len(pair) != 2:
            raise DataError(f"{key} is {str(pair)[:40]}, not two numbers", source=where, remedy=_SAVE)
        values += [number(side, key, where) for side in pair]
    values += [number(entity.get(key), key, where) for key in ("width", "height")]
    x, y, pivot_x, pivot_y, width, height = values
    return x, y, pivot_x, pivot_y, width, height


def _fields(holder: Mapping[str, Any]) -> dict[str, Any]:
    fields = holder.get("fieldInstances")
    listed = [one for one in fields if isinstance(one, dict)] if isinstance(fields, list) else []
    return {str(one.get("__identifier")): one.get("__value") for one in listed}
