"""Writing a scene into the text of an LDtk level: only what changed differs, in the style of the editor."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.games.formats.ldtk_level import LevelLayer, LevelParts, entity_place, tile_cell
from newgameplus.games.formats.ldtk_project import FLIPS, Project
from newgameplus.games.formats.ldtk_text import (
    Edit,
    Span,
    array_text,
    items,
    line_indent,
    members,
    numbers_text,
    spliced,
    with_values,
)
from newgameplus.games.formats.plain import check_cells, tile_codes
from newgameplus.games.scenes import NOTHING, Scene, SceneObject
from newgameplus.recipe import did_you_mean

__all__ = ["level_text"]

_Codes = npt.NDArray[np.int64]
_Sides = tuple[int, int]


def level_text(text: str, parts: LevelParts, scene: Scene, project: Project, source: str) -> tuple[str, list[str]]:
    """Write a scene into the text of a level.

    Args:
        text: The level's JSON.
        parts: The same, taken apart.
        scene: What it shall hold.
        project: What the project defines.
        source: For messages.

    Returns:
        The new text, and notes for the user.

    Raises:
        DataError: The scene has a layer, a tile or an entity that the project has not.
    """
    _check_layers(parts, scene, source)
    check_cells(scene.height, scene.width, len(parts.layers), source)
    pixels = _pixels(parts, scene, project.grid)
    before = int(parts.data["pxHei"]), int(parts.data["pxWid"])
    resized = pixels != before
    spans = members(text)
    edits = (
        [(*spans[key], str(value)) for key, value in zip(("pxHei", "pxWid"), pixels, strict=True)] if resized else []
    )
    changed = set()
    entities = _Entities(parts, scene, project, source)
    for layer in parts.layers:
        layer_edits = _layer_edits(text, layer, scene, pixels, before, source) + entities.edits(text, layer)
        if layer.codes is not None and layer_edits:
            changed.add(layer.definition.uid)
        edits += layer_edits
    stale = [layer for layer in parts.layers if _stale(layer, changed, resized)]
    for layer in stale:
        span = members(text, layer.start).get("autoLayerTiles")
        edits += [(*span, "null")] if span else []
    notes = []
    if stale:
        names = ", ".join(layer.name for layer in stale)
        notes.append(f"level {parts.name!r}: LDtk draws the automatic tiles of {names} anew when it opens the file")
    return spliced(text, edits), notes


def _check_layers(parts: LevelParts, scene: Scene, source: str) -> None:
    tiles = [layer.name for layer in parts.layers if layer.in_scene]
    unknown = [name for name in scene.layer_names if name not in tiles]
    if unknown:
        remedy = f"{did_you_mean(unknown[0], tiles)}layers of tiles: {', '.join(tiles)}"
        raise DataError(f"the level has no layer of tiles {unknown[0]!r}", source=source, remedy=remedy)


def _pixels(parts: LevelParts, scene: Scene, grid: int) -> tuple[int, int]:
    """Return the new height and width; a side with as many cells as before keeps its pixels, even odd ones."""
    sides = []
    for key, before, now in (("pxHei", parts.height, scene.height), ("pxWid", parts.width, scene.width)):
        sides.append(int(parts.data[key]) if before == now else now * grid)
    return sides[0], sides[1]


def _stale(layer: LevelLayer, changed: set[int], resized: bool) -> bool:
    """Say whether the tiles that the editor derived no longer fit.

    LDtk computes them when it opens a file in which ``autoLayerTiles`` is null; an empty list it takes as it is.
    """
    definition = layer.definition
    if not definition.ruled or definition.kind not in ("IntGrid", "AutoLayer"):
        return False
    source = definition.uid if definition.kind == "IntGrid" else definition.source
    return resized or source in changed


def _layer_edits(text: str, layer: LevelLayer, scene: Scene, pixels: _Sides, before: _Sides, source: str) -> list[Edit]:
    """Return what changes in a layer of tiles (and the size of any layer)."""
    old = int(layer.data["__cHei"]), int(layer.data["__cWid"])
    size = (scene.height, scene.width) if layer.in_scene else _size(layer, old, pixels, before)
    spans = members(text, layer.start)
    keys = zip(("__cHei", "__cWid"), old, size, strict=True)
    edits: list[Edit] = [(*spans[key], str(now)) for key, was, now in keys if was != now]
    if layer.codes is None:
        return edits
    codes = _codes(layer, layer.codes, scene, size, source)
    if np.array_equal(codes, layer.codes):
        return edits
    key = "intGridCsv" if layer.definition.kind == "IntGrid" else "gridTiles"
    indent = line_indent(text, spans[key][0])
    newline = "\r\n" if "\r\n" in text else "\n"
    if key == "intGridCsv":
        new = numbers_text(np.where(codes == NOTHING, 0, codes).ravel().tolist(), indent, newline)
    else:
        new = _tiles_text(text, spans[key], layer, codes, indent, newline)
    return [*edits, (*spans[key], new)]


def _size(layer: LevelLayer, old: _Sides, pixels: _Sides, before: _Sides) -> _Sides:
    """Return height and width of a layer of another grid: LDtk rounds them up, less the layer's own offset."""
    grid, sides = layer.definition.grid, list(old)
    for side, key in enumerate(("pxOffsetY", "pxOffsetX")):
        if pixels[side] != before[side]:
            offset = layer.data.get(key)
            sides[side] = max(1, math.ceil((pixels[side] - (offset if isinstance(offset, int) else 0)) / grid))
    return sides[0], sides[1]


def _codes(layer: LevelLayer, old: _Codes, scene: Scene, size: tuple[int, int], source: str) -> _Codes:
    """Return what the layer shall hold: the scene's tiles, or its own cut or padded to the size."""
    if not layer.in_scene or layer.name not in scene.layer_names:
        codes = np.full(size, NOTHING, np.int64)
        rows, columns = min(size[0], old.shape[0]), min(size[1], old.shape[1])
        codes[:rows, :columns] = old[:rows, :columns]
        return codes
    grid = scene.layers[scene.layer_names.index(layer.name)]
    if layer.definition.kind == "IntGrid":
        known = {tile.name: value for value, tile in layer.definition.values.items()}
    else:
        known = {layer.tile(code).name: code for code in np.unique(old).tolist() if code != NOTHING}
    written = tile_codes(scene, grid, lambda name: _code(name, layer, known), known, f"{source}: layer {layer.name}")
    table = np.full(len(scene.tileset) + 1, NOTHING, np.int64)
    for number, code in written.items():
        table[number] = code
    return np.asarray(table[grid], np.int64)


def _code(name: str, layer: LevelLayer, known: Mapping[str, int]) -> int | None:
    """Return what stands in the file for one of our tiles, or None if the layer cannot hold it."""
    if name in known:
        return known[name]
    head, _, tail = name.rpartition(":" if layer.definition.kind == "IntGrid" else "#")
    if layer.definition.kind == "IntGrid":
        present = layer.codes is not None and head == layer.name and tail.isascii() and tail.isdecimal()
        return int(tail) if present and len(tail) < 10 and int(tail) not in layer.definition.values else None
    digits, mark, flip = tail.partition("~")
    sheet = layer.sheet
    if sheet is None or head != sheet.name or not (digits.isascii() and digits.isdecimal()) or mark + flip not in FLIPS:
        return None
    tile = int(digits)
    return tile * 4 + FLIPS.index(mark + flip) if tile < sheet.columns * sheet.rows else None


def _tiles_text(text: str, span: Span, layer: LevelLayer, codes: _Codes, indent: str | None, newline: str) -> str:
    """Write ``gridTiles``: cells that stay the same keep their tiles as written, those under the top one included."""
    grid, width = layer.definition.grid, codes.shape[1]
    kept: dict[int, list[str]] = {}
    was = layer.codes
    for tile, (start, end) in zip(layer.data["gridTiles"], items(text, span[0]), strict=True):
        row, column = tile_cell(tile, grid, layer.name)
        inside = was is not None and row < min(codes.shape[0], was.shape[0]) and column < min(width, was.shape[1])
        if was is not None and inside and codes[row, column] == was[row, column]:
            coordinate = row * width + column
            kept.setdefault(coordinate, []).append(with_values(text[start:end], {"d": [coordinate]}))
    alpha = not layer.data["gridTiles"] or "a" in layer.data["gridTiles"][0]
    for row, column in np.argwhere(codes != NOTHING).tolist():
        coordinate = row * width + column
        if coordinate not in kept:
            tile, flip = divmod(int(codes[row, column]), 4)
            source = list(layer.sheet.source(tile)) if layer.sheet else [-1, -1]
            values = {"px": [column * grid, row * grid], "src": source, "f": flip, "t": tile, "d": [coordinate]}
            kept[coordinate] = [_object_text(values | ({"a": 1} if alpha else {}), indent)]
    return array_text([one for coordinate in sorted(kept) for one in kept[coordinate]], indent, newline)


def _object_text(values: Mapping[str, Any], indent: str | None) -> str:
    """Write a small object on one line, as LDtk does."""
    if indent is None:
        return json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    pairs = [f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in values.items()]
    return "{ " + ", ".join(pairs) + " }"


class _Entities:
    """Writes the objects of a scene as entities, each with an identifier of its own."""

    def __init__(self, parts: LevelParts, scene: Scene, project: Project, source: str) -> None:
        self.parts, self.project, self.source = parts, project, source
        self.used: set[str] = set()
        self.own = {str(entity.get("iid")) for layer in parts.layers for entity in layer.entities}
        names = [layer.name for layer in parts.layers if layer.definition.kind == "Entities"]
        self.by_layer: dict[str, list[SceneObject]] = {name: [] for name in names}
        for one in scene.objects:
            name = one.layer or next(iter(names), "")
            if name not in self.by_layer:
                remedy = f"{did_you_mean(name, names)}layers of entities: {', '.join(names) or 'none'}"
                raise DataError(f"the level has no layer of entities {name!r}", source=source, remedy=remedy)
            self.by_layer[name].append(one)

    def edits(self, text: str, layer: LevelLayer) -> list[Edit]:
        """Return what changes in a layer of entities."""
        if layer.name not in self.by_layer or layer.definition.kind != "Entities":
            return []
        spans = members(text, layer.start)
        if "entityInstances" not in spans:
            return []
        old = [text[start:end] for start, end in items(text, spans["entityInstances"][0])]
        new = [self._text(one, layer) for one in self.by_layer[layer.name]]
        if new == old:
            return []
        indent = line_indent(text, spans["entityInstances"][0])
        return [(*spans["entityInstances"], array_text(new, indent, "\r\n" if "\r\n" in text else "\n"))]

    def _text(self, one: SceneObject, layer: LevelLayer) -> str:
        definition = self.project.entities.get(one.kind)
        if definition is None:
            known = list(self.project.entities)
            remedy = f"{did_you_mean(one.kind, known)}known: {', '.join(known)}"
            raise DataError(f"the project has no entity {one.kind!r}", source=self.source, remedy=remedy)
        token = one.token if isinstance(one.token, str) else _new_entity(definition)
        entity = json.loads(token)
        x, y, pivot_x, pivot_y, width, height = entity_place(entity, f"{self.source} {one.kind}")
        grid, cell = self.project.grid, layer.definition.grid
        if one.width > 0 or one.height > 0:
            width, height = round(one.width * grid, 6), round(one.height * grid, 6)
        place = [round(one.column * grid + pivot_x * width), round(one.row * grid + pivot_y * height)]
        moved = abs(place[0] - x) >= 1 or abs(place[1] - y) >= 1 or one.token is None
        values: dict[str, Any] = {
            "iid": self._iid(str(entity.get("iid")), one, layer, place),
            "width": _plain(width),
            "height": _plain(height),
            "defUid": definition.get("uid"),
        }
        if moved:
            # Where the pivot is the far edge, LDtk counts an entity to the cell before it.
            sides = zip(place, (pivot_x, pivot_y), strict=True)
            values |= {"px": place, "__grid": [int((side - (pivot == 1)) / cell) for side, pivot in sides]}
            values["__worldX"] = place[0] + int(self.parts.data.get("worldX") or 0)
            values["__worldY"] = place[1] + int(self.parts.data.get("worldY") or 0)
        return with_values(token, values)

    def _iid(self, old: str, one: SceneObject, layer: LevelLayer, place: list[int]) -> str:
        """Return the entity's identifier: its own where it is this level's and first, else one made of its place."""
        iid, count = old, 0
        while iid in self.used or (count == 0 and old not in self.own):
            words = f"{self.parts.data.get('iid')}/{layer.name}/{one.kind}/{place}/{old}/{count}"
            iid, count = str(uuid.uuid5(uuid.NAMESPACE_URL, words)), count + 1
        self.used.add(iid)
        return iid


def _plain(side: float) -> float:
    return int(side) if side == int(side) else side


def _new_entity(definition: Mapping[str, Any]) -> str:
    """Return the text of an entity of which no example is there; the editor adds its fields when it opens the file."""
    sides = {key: value for key, value in definition.items() if isinstance(value, int | float)}
    values = {
        "__identifier": definition.get("identifier"),
        "__grid": [0, 0],
        "__pivot": [sides.get("pivotX", 0), sides.get("pivotY", 0)],
        "__tags": definition.get("tags") or [],
        "__tile": definition.get("tileRect"),
        "__smartColor": definition.get("color") or "#FFFFFF",
        "iid": "",
        "width": sides.get("width", 0),
        "height": sides.get("height", 0),
        "defUid": definition.get("uid"),
        "px": [0, 0],
        "fieldInstances": [],
    }
    return json.dumps(values, ensure_ascii=False)
