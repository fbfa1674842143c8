"""Tiled maps (TMX and TMJ) as documents: everything of the file is kept, cells and objects can be changed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.files import write_bytes
from newgameplus.games.formats.document import Document
from newgameplus.games.formats.tiled_codec import GID, MAX_CELLS, Cells
from newgameplus.games.formats.tiled_layers import (
    Box,
    TileLayer,
    check_cells,
    layer_splices,
    map_box,
    read_cells,
    tile_layers,
)
from newgameplus.games.formats.tiled_node import Node, Splice
from newgameplus.games.formats.tiled_objects import ObjectLayers
from newgameplus.games.formats.tiled_parse import parse_file, read_source
from newgameplus.games.formats.tiled_tileset import Palette, read_tilesets
from newgameplus.games.scenes import NOTHING, Scene
from newgameplus.recipe import did_you_mean

__all__ = ["NAME", "SUFFIXES", "TiledDocument", "read", "sniff"]

NAME = "tiled"
SUFFIXES = (".tmx", ".tmj", ".json")

_JSON = (".tmj", ".json")

_TAIL = 1 << 16  # bytes from a JSON file's end: Tiled sorts its keys, so the telling ones stand there
_SIGNS = (rb'"tilewidth"\s*:', rb'"type"\s*:\s*"map"|"orientation"\s*:')


def sniff(path: Path, head: bytes) -> bool:
    """Say whether a file is a Tiled map: by its suffix, and for ``.json`` by what it holds.

    Args:
        path: The file.
        head: Its first bytes.
    """
    suffix = path.suffix.lower()
    if suffix != ".json":
        return suffix in SUFFIXES
    tail = b""
    try:
        with path.open("rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _TAIL, 0))
            tail = file.read(_TAIL)
    except (OSError, ValueError):
        pass
    return all(re.search(sign, head + b"\n" + tail) for sign in _SIGNS)


def read(path: Path, *, legend: Path | None = None) -> TiledDocument:  # noqa: ARG001 - all formats take one
    """Read a Tiled map with its tilesets.

    Args:
        path: A TMX, TMJ or JSON file.
        legend: Not used: Tiled's tilesets say what tiles mean.

    Raises:
        DataError: The file or one of its tilesets is missing or malformed, or the map is too large.
        MissingExtraError: Its layers are packed with Zstandard and the package for it is not installed.
    """
    return _parse(path, read_source(path), None)


@dataclass(frozen=True, eq=False)
class TiledDocument(Document):
    """One Tiled map.

    Attributes:
        path: The file it was read from.
        content: Its bytes.
        root: The same, parsed.
        box: What the map covers, in tiles; begins left of or above 0 in some infinite maps.
        infinite: Whether its layers are in chunks.
        layers: Its tile layers, as written.
        palette: Its tiles.
        objects: Its objects.
        scene: All of that as a scene.
        notes: What a user should know.
        generable: Whether new levels of it can be written.
    """

    path: Path
    content: bytes
    root: Node
    box: Box
    infinite: bool
    layers: tuple[TileLayer, ...]
    palette: Palette
    objects: ObjectLayers
    scene: Scene
    notes: tuple[str, ...] = ()
    generable: bool = True
    format: str = NAME

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The one map of the file."""
        return (self.scene,)

    def with_scene(self, index: int, scene: Scene) -> TiledDocument:
        """Return a copy that holds the layers and objects of ``scene``.

        Tiles are matched by name, so a scene over another palette of the same tilesets does too, with flips that this
        map has not used so far. What the scene says beyond layers and objects (its name, its properties) is not
        written.

        Raises:
            DataError: The scene has a layer, a tile or an object layer that the document has not, or is too large.
        """
        self._check_index(index)
        self._check_scene(scene)
        new = Box(self.box.x, self.box.y, scene.width, scene.height)
        olds = [read_cells(layer, self.box) for layer in self.layers]
        cells = self._cells(scene)
        grids = []
        for layer, before in zip(self.layers, olds, strict=True):
            grid: Cells = np.zeros((new.height, new.width), np.uint32)
            height, width = min(new.height, self.box.height), min(new.width, self.box.width)
            grid[:height, :width] = before[:height, :width]
            if layer.name in scene.layer_names:
                wanted = cells[scene.layers[scene.layer_names.index(layer.name)]]
                grid = np.where((grid & GID == 0) & (wanted == 0), grid, wanted)
            grids.append(grid)
        splices = layer_splices(self.layers, self.box, new, grids, olds, infinite=self.infinite)
        if not self.infinite and new != self.box:
            splices += self.root.set(width=new.width, height=new.height)
        if scene.objects != self.scene.objects:
            splices += self.objects.splices(scene.objects, self.palette)
        return _parse(self.path, self.root.write(splices), self.palette).only(0, self.scene.name)

    def _check_index(self, index: int) -> None:
        if index not in (0, -1):
            raise DataError(f"no map {index}", source=str(self.path), remedy="a Tiled file holds one map, number 0")

    def _check_scene(self, scene: Scene) -> None:
        known = [layer.name for layer in self.layers]
        problems = []
        for name in scene.layer_names:
            if name not in known or scene.layer_names.count(name) > 1:
                what = "is given twice" if name in known else "is not in the map"
                remedy = f"{did_you_mean(name, known)}tile layers: {', '.join(known) or 'none'}"
                problems.append(Problem(f"tile layer {name!r} {what}", str(self.path), remedy))
        raise_problems(problems, DataError, f"{self.path}: {len(problems)} layers cannot be written")
        size = scene.width * scene.height if scene.layers.ndim == 3 else 0
        if len(scene.layers) != len(scene.layer_names) or not size:
            message = f"layers of the shape {scene.layers.shape} for {len(scene.layer_names)} names"
            raise DataError(message, source=str(self.path), remedy="give tiles as [layer, height, width]")
        if size * max(len(known), 1) > MAX_CELLS:
            remedy = f"maps may have at most {MAX_CELLS:,} cells in all layers"
            raise DataError(f"a map of {scene.width} x {scene.height} tiles", source=str(self.path), remedy=remedy)

    def _cells(self, scene: Scene) -> Cells:
        """Return uint32 [tiles + 1]: the cell of each of the scene's tiles, its last entry for ``NOTHING``.

        Raises:
            DataError: A tile in use is in none of the document's tilesets, or a number stands for no tile.
        """
        cells = np.zeros(len(scene.tileset) + 1, np.uint32)
        problems = []
        for number in np.unique(scene.layers).tolist():
            if number == NOTHING:
                continue
            name = scene.tileset.tiles[number].name if 0 <= number < len(scene.tileset) else None
            cell = self.palette.cell_of(name) if name is not None else None
            if cell is None:
                sets = ", ".join(tileset.name for tileset in self.palette.tilesets) or "none"
                message = f"tile {number if name is None else repr(name)} is in none of the map's tilesets"
                problems.append(Problem(message, str(self.path), f"tilesets: {sets}"))
            else:
                cells[number] = cell
        raise_problems(problems, DataError, f"{self.path}: {len(problems)} tiles cannot be written")
        return cells

    def only(self, index: int, name: str = "") -> TiledDocument:
        """Return the document: it holds one map, named by its file.

        Raises:
            DataError: There is no such map.
        """
        self._check_index(index)
        return replace(self, scene=replace(self.scene, name=name)) if name else self

    def write(self, path: Path) -> list[Path]:
        """Write the map, and return its path.

        Written to another folder, its references to tilesets, pictures, templates and files still lead to where they
        led before. Absolute ones stay as they are.

        Raises:
            DataError: The suffix is that of Tiled's other format: maps are not converted.
            StorageError: There is no space or no permission.
        """
        if (path.suffix.lower() in _JSON) is not (self.path.suffix.lower() in _JSON):
            remedy = f"write it as {self.path.suffix}, and let Tiled export it (tiled --export-map)"
            raise DataError(f"a map read from {self.path.name} is not converted", source=str(path), remedy=remedy)
        here, there = Path(os.path.realpath(self.path.parent)), Path(os.path.realpath(path.parent))
        splices: list[Splice[Any]] = []
        if here != there:
            for found in self.root.references():
                moved = _moved(found.value, here, there)
                splices += found.node.set(**{found.name: moved}) if moved != found.value else []
        write_bytes(path, self.root.write(splices) if splices else self.content)
        return [path]


def _moved(source: str, here: Path, there: Path) -> str:
    """Return a reference that leads from ``there`` to where ``source`` leads from ``here``."""
    if os.path.isabs(source) or "\0" in source or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|:|\\\\", source):
        return source
    folder, name = os.path.split(os.path.join(here, source))
    target = os.path.join(os.path.realpath(folder), name)
    try:
        return Path(os.path.relpath(target, there)).as_posix()
    except ValueError:  # another drive
        return Path(target).as_posix()


def _parse(path: Path, content: bytes, palette: Palette | None) -> TiledDocument:
    """Make a document of a file's content, over an existing palette if there is one."""
    root = parse_file(path, content)
    if root.role != "map":
        raise DataError(f"a {root.role[:40]}, not a map", source=str(path), remedy="give a map that Tiled saved")
    orientation = str(root.get("orientation") or "")
    if not orientation:
        raise DataError("'orientation' is missing", source=root.at, remedy="open the map in Tiled and save it again")
    tilesets = palette.tilesets if palette is not None else read_tilesets(root, path)
    infinite = str(root.get("infinite")).lower() in ("1", "true")
    layers = tile_layers(root, infinite)
    infinite = infinite or any(chunk.x < 0 or chunk.y < 0 for layer in layers for chunk in layer.data.chunks)
    box = map_box(root, layers, infinite)
    cells = [read_cells(layer, box) for layer in layers]
    used = {cell for layer, grid in zip(layers, cells, strict=True) for cell in check_cells(layer, grid, tilesets)}
    used = {cell for cell in used if cell & GID}
    palette = Palette.of_map(tilesets, used) if palette is None else palette.extended(used)
    objects = ObjectLayers(root, path, box, tilesets)
    numbers = np.full((len(layers), box.height, box.width), NOTHING, np.int32)
    for number, grid in enumerate(cells):
        numbers[number] = palette.numbers(grid)
    names = tuple(layer.name for layer in layers)
    scene = Scene(path.stem, numbers, names, palette.tileset, objects.objects, root.properties(), path)
    generable = orientation == "orthogonal"
    notes = (*objects.notes, *(() if generable else (f"{orientation}: read and kept, not generated yet",)))
    return TiledDocument(path, content, root, box, infinite, layers, palette, objects, scene, notes, generable)
