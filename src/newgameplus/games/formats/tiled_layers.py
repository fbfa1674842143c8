"""Tile layers of Tiled maps: from chunks of cells to grids, and back to the same chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.games.formats.tiled_codec import GID, MAX_CELLS, Cells, decode_cells
from newgameplus.games.formats.tiled_node import Chunk, LayerData, Node, Piece, Splice, whole
from newgameplus.games.formats.tiled_tileset import MapTileset, owner_of

__all__ = ["Box", "TileLayer", "check_cells", "layer_splices", "map_box", "read_cells", "tile_layers", "walk_layers"]

_CHUNK = 16  # rows and columns of the chunks that Tiled makes
_MOST_PROBLEMS = 5


@dataclass(frozen=True)
class Box:
    """A rectangle of the map, in tiles; ``x`` and ``y`` may be negative in infinite maps."""

    x: int
    y: int
    width: int
    height: int

    def around(self, other: Box | Chunk) -> Box:
        """Return the smallest box that holds both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        right = max(self.x + self.width, other.x + other.width)
        return Box(x, y, right - x, max(self.y + self.height, other.y + other.height) - y)

    def overlap(self, other: Box | Chunk) -> Box | None:
        """Return what both have in common, if anything."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        width = min(self.x + self.width, other.x + other.width) - x
        height = min(self.y + self.height, other.y + other.height) - y
        return Box(x, y, width, height) if width > 0 and height > 0 else None

    def part(self, grid: npt.NDArray[Any], other: Box | Chunk) -> npt.NDArray[Any]:
        """Return a view of the cells of a box inside this one, whose cells ``grid`` holds."""
        top, left = other.y - self.y, other.x - self.x
        return grid[top : top + other.height, left : left + other.width]


@dataclass(frozen=True, eq=False)
class TileLayer:
    """A tile layer: its name with those of its groups, its node and its cells as they are written."""

    name: str
    node: Node
    data: LayerData


def walk_layers(node: Node, kind: str) -> Iterator[tuple[str, Node]]:
    """Find the layers of one kind in drawing order, with names that are unique among them.

    A layer in a group is called ``group/layer``; the second of one name gets ``#2`` at its end.
    """
    taken: set[str] = set()
    stack = [("", layer) for layer in reversed(node.layers())]
    while stack:
        path, (found, layer) = stack.pop()
        name = path + (str(layer.get("name") or "") or "layer")
        if found == "group":
            stack += [(f"{name}/", inner) for inner in reversed(layer.layers())]
        elif found == kind:
            unique, number = name, 1
            while unique in taken:
                number += 1
                unique = f"{name}#{number}"
            taken.add(unique)
            yield unique, layer


def tile_layers(root: Node, infinite: bool) -> tuple[TileLayer, ...]:
    """Return the tile layers of a map, in drawing order."""
    return tuple(TileLayer(name, node, node.data(infinite)) for name, node in walk_layers(root, "tilelayer"))


def map_box(root: Node, layers: Sequence[TileLayer], infinite: bool) -> Box:
    """Return the part of the plane that a map covers: its size, or what its chunks span if it is infinite.

    Raises:
        DataError: The size is missing or no size, or there would be more than ``MAX_CELLS`` cells.
    """
    chunks = [chunk for layer in layers for chunk in layer.data.chunks]
    if infinite and chunks:
        box = Box(chunks[0].x, chunks[0].y, chunks[0].width, chunks[0].height)
    else:
        least = 0 if infinite else 1
        box = Box(0, 0, max(whole(root, "width", least=least), 1), max(whole(root, "height", least=least), 1))
    for chunk in chunks:
        box = box.around(chunk)
    cells = max(
        box.width * box.height * max(len(layers), 1),
        sum(chunk.width * chunk.height for chunk in chunks),
    )
    if cells > MAX_CELLS:
        message = f"a map of {box.width} x {box.height} tiles in {len(layers)} layers: {cells:,} cells"
        remedy = f"maps may have at most {MAX_CELLS:,} cells; chunks far away from the others count the space between"
        raise DataError(message, source=root.at, remedy=remedy)
    return box


def read_cells(layer: TileLayer, box: Box) -> Cells:
    """Return uint32 [height, width]: the cells of a layer, 0 where it has no chunk."""
    grid: Cells = np.zeros((box.height, box.width), np.uint32)
    for chunk in layer.data.chunks:
        at = chunk.node.at if chunk.node is not None else layer.node.at
        where = f"{at}: layer {layer.name!r}"
        count = chunk.width * chunk.height
        cells = decode_cells(chunk.payload, layer.data.encoding, layer.data.compression, count, where)
        box.part(grid, chunk)[:] = cells.reshape(chunk.height, chunk.width)
    return grid


def check_cells(layer: TileLayer, cells: Cells, tilesets: Sequence[MapTileset]) -> set[int]:
    """Return the cells that occur in a layer, each once.

    Raises:
        DataError: Gids are beyond the tilesets; the first of each with its row and column.
    """
    used = {int(cell) for cell in np.unique(cells)}
    beyond = [cell for cell in sorted(used) if cell & GID and owner_of(tilesets, cell) is None]
    problems = []
    last = max((tileset.first + (tileset.count or 1) - 1 for tileset in tilesets), default=0)
    for cell in beyond[:_MOST_PROBLEMS]:
        row, column = (int(place[0]) for place in np.nonzero(cells == cell))
        message = f"layer {layer.name!r}, row {row}, column {column}: gid {cell & GID} is in no tileset"
        remedy = f"the tilesets end at gid {last}: add the missing one in Tiled, or erase these tiles"
        problems.append(Problem(message, layer.node.at, remedy))
    raise_problems(problems, DataError, f"{len(beyond)} gids of layer {layer.name!r} are in no tileset")
    return used


def layer_splices(
    layers: Sequence[TileLayer],
    old: Box,
    new: Box,
    grids: Sequence[Cells],
    olds: Sequence[Cells],
    *,
    infinite: bool,
) -> list[Splice[Any]]:
    """Return the splices that give tile layers new cells and a new size; unchanged layers give none.

    Args:
        layers: All tile layers of the map.
        old: What the map covers now.
        new: What it shall cover; its left and top edges are those of ``old``.
        grids: New cells of each layer, uint32 [height, width] of ``new``.
        olds: Cells of each layer now, of ``old``.
        infinite: Whether the map is infinite, its layers in chunks.

    Raises:
        DataError: A layer of an infinite map is not in chunks, and does not begin where the map does.
    """
    plans = [_plan(layer, old, new, grid, before) for layer, grid, before in zip(layers, grids, olds, strict=True)]
    pieces = [piece for plan in plans for piece in plan]
    if infinite and plans and new != (_span(pieces) if pieces else old):  # hold empty edges with empty chunks
        corners = (Box(new.x, new.y, 1, 1), Box(new.x + new.width - 1, new.y + new.height - 1, 1, 1))
        held = [_fresh(new, grids[0], box.y // _CHUNK, box.x // _CHUNK) for box in corners]
        plans[0] = [*plans[0], *(piece for piece in held if not _covered(plans[0], piece))]
    splices: list[Splice[Any]] = []
    for layer, plan in zip(layers, plans, strict=True):
        kept = [piece.base for piece in plan if not piece.changed]
        if len(kept) == len(plan) == len(layer.data.chunks):
            continue
        splices += layer.node.set_data(plan)
        splices += _size_splices(layer, plan)
    return splices


def _plan(layer: TileLayer, old: Box, new: Box, grid: Cells, before: Cells) -> list[Piece]:
    """Cut a layer's new cells into pieces: one for each chunk it has, then chunks for what those do not cover."""
    pieces = []
    open_cells = grid != 0
    for chunk in layer.data.chunks:
        if chunk.node is None:
            if (new.x, new.y) != (0, 0):
                message = f"layer {layer.name!r} of an infinite map is not in chunks"
                raise DataError(message, source=layer.node.at, remedy="open the map in Tiled and save it again")
            return [Piece(0, 0, grid, chunk, old != new or not np.array_equal(grid, before))]
        common = new.overlap(chunk)
        if common is None:
            continue
        cells = new.part(grid, common)
        whole_chunk = (common.width, common.height) == (chunk.width, chunk.height)
        changed = not whole_chunk or not np.array_equal(cells, old.part(before, chunk))
        pieces.append(Piece(common.x, common.y, cells, chunk, changed))
        new.part(open_cells, common)[:] = False
    rows, columns = np.nonzero(open_cells)
    blocks = sorted({*zip(((rows + new.y) // _CHUNK).tolist(), ((columns + new.x) // _CHUNK).tolist(), strict=True)})
    return [*pieces, *(_fresh(new, grid, row, column) for row, column in blocks)]


def _fresh(box: Box, grid: Cells, row: int, column: int) -> Piece:
    common = box.overlap(Box(column * _CHUNK, row * _CHUNK, _CHUNK, _CHUNK)) or box
    return Piece(common.x, common.y, box.part(grid, common))


def _covered(plan: Sequence[Piece], piece: Piece) -> bool:
    return any((other.x, other.y, other.cells.shape) == (piece.x, piece.y, piece.cells.shape) for other in plan)


def _span(pieces: Sequence[Piece]) -> Box:
    boxes = [Box(piece.x, piece.y, piece.cells.shape[1], piece.cells.shape[0]) for piece in pieces]
    span = boxes[0]
    for box in boxes[1:]:
        span = span.around(box)
    return span


def _size_splices(layer: TileLayer, plan: Sequence[Piece]) -> list[Splice[Any]]:
    """Return the splices for a layer's own size: its cells' if it is finite, its chunks' span where JSON tells it."""
    node = layer.node
    if layer.data.chunks and layer.data.chunks[0].node is None:
        height, width = plan[0].cells.shape
        return _changed(node, width=width, height=height)
    if node.get("startx") is None:
        return []
    span = _span(plan) if plan else Box(0, 0, 0, 0)
    return _changed(node, startx=span.x, starty=span.y, width=span.width, height=span.height)


def _changed(node: Node, **values: int) -> list[Splice[Any]]:
    return node.set(**{name: value for name, value in values.items() if str(node.get(name)) != str(value)})
