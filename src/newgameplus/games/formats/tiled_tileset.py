"""Tilesets of Tiled maps: which gid is which tile, what it is called, what it means and where its picture is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from newgameplus.errors import DataError
from newgameplus.games.formats.tiled_codec import FLAGS, GID, Cells, flag_suffix, suffix_flags
from newgameplus.games.formats.tiled_node import Node, TileFacts, whole
from newgameplus.games.formats.tiled_parse import parse_file
from newgameplus.games.scenes import MEANINGS, NOTHING, Tile, Tileset

__all__ = ["MAX_TILES", "MapTileset", "Palette", "find_file", "owner_of", "read_tilesets"]

MAX_TILES = 4096
"""Up to so many tiles a palette holds all of its tilesets, used or not."""

#: Part of an object's size that lies left of and above its place, by the alignment its tileset asks for.
_ANCHORS = {
    "topleft": (0.0, 0.0),
    "top": (0.5, 0.0),
    "topright": (1.0, 0.0),
    "left": (0.0, 0.5),
    "center": (0.5, 0.5),
    "right": (1.0, 0.5),
    "bottomleft": (0.0, 1.0),
    "bottom": (0.5, 1.0),
    "bottomright": (1.0, 1.0),
}
_Picture = tuple[str, int, int, int, int]


@dataclass(frozen=True)
class MapTileset:
    """One tileset of a map.

    Attributes:
        first: Gid of its tile 0 in this map.
        name: Its name, made unique in the map.
        count: One more than its last tile's number; None if neither its file nor its picture says.
        size: Width and height of a tile in pixels.
        anchor: Part of an object's width and height that lies left of and above its place.
        columns: Tiles in a row of its picture; 0 if not known, or if every tile has a picture of its own.
        gap: Pixels between tiles.
        margin: Pixels around all tiles.
        picture: Absolute path of its picture; empty if there is none.
        facts: What it says of single tiles.
        folder: Where the pictures of its tiles count from.
    """

    first: int
    name: str
    count: int | None
    size: tuple[int, int]
    anchor: tuple[float, float]
    columns: int
    gap: int
    margin: int
    picture: str
    facts: Mapping[int, TileFacts]
    folder: Path

    def picture_of(self, local: int) -> _Picture | None:
        """Return where the picture of a tile is, if that is known."""
        facts = self.facts.get(local)
        if facts is not None and facts.image is not None:
            image = facts.image
            area = facts.area or ((0, 0, image.width, image.height) if image.width and image.height else None)
            return (find_file(self.folder, image.source), *area) if area else None
        if not self.picture or not self.columns:
            return None
        row, column = divmod(local, self.columns)
        width, height = self.size
        return (
            self.picture,
            self.margin + column * (width + self.gap),
            self.margin + row * (height + self.gap),
            width,
            height,
        )

    def tile(self, local: int, flags: int = 0) -> Tile:
        """Return a tile of the set, with its flips in its name."""
        facts = self.facts.get(local)
        meanings = _meanings(facts) if facts is not None else frozenset()
        return _tile(f"{self.name}#{local}{flag_suffix(flags)}", meanings, self.picture_of(local))


@lru_cache(maxsize=1 << 16)
def _tile(name: str, meanings: frozenset[str], picture: _Picture | None) -> Tile:
    """Make a tile, once for all maps that have the same."""
    return Tile(name, meanings, picture)


def _meanings(facts: TileFacts) -> frozenset[str]:
    """Return what plainly is a meaning: the class, yes-or-no properties, and lists under "meaning" or "meanings"."""
    words = [facts.kind, *(name for name, value in facts.properties.items() if value is True)]
    for name, value in facts.properties.items():
        if name.lower() in ("meaning", "meanings") and isinstance(value, str):
            words += value.split(",")
    return frozenset(meaning for word in words if (meaning := _meaning(word)))


def _meaning(word: str) -> str:
    kind, colon, rest = word.strip().partition(":")
    kind = "-".join(kind.lower().replace("_", " ").split())
    if kind not in MEANINGS or (colon and (kind not in ("key", "door") or not rest.strip())):
        return ""
    return f"{kind}:{rest.strip()}" if colon else kind


def find_file(folder: Path, source: str) -> str:
    """Return the absolute path of a file that another one in ``folder`` names."""
    return os.path.abspath(os.path.join(folder, source))


def read_tilesets(root: Node, path: Path) -> tuple[MapTileset, ...]:
    """Read the tilesets of a map, those in files of their own included, ordered by their first gids.

    Raises:
        DataError: A tileset file is missing or malformed, or the gids of two tilesets begin alike.
    """
    found: list[MapTileset] = []
    names: set[str] = set()
    for node in root.tilesets():
        first = whole(node, "firstgid", least=1)
        if first > GID or any(first == other.first for other in found):
            message = f"firstgid {first} is {'too large' if first > GID else 'that of another tileset too'}"
            raise DataError(message, source=node.at, remedy="open the map in Tiled and save it again")
        body, file = _resolve(node, path)
        name = str(body.get("name") or (file.stem if file != path else "tileset"))
        unique, number = name, 1
        while unique in names:
            number += 1
            unique = f"{name}#{number}"
        names.add(unique)
        found.append(_tileset(body, file, first, unique))
    return tuple(sorted(found, key=lambda tileset: tileset.first))


def _resolve(node: Node, path: Path) -> tuple[Node, Path]:
    """Return the node that describes a tileset, and the file it stands in."""
    source = node.get("source")
    if source is None:
        return node, path
    file = Path(find_file(path.parent, str(source)))
    try:
        missing = not file.is_file()
    except (OSError, ValueError):
        missing = True
    if missing:
        remedy = f"put {file.name!r} where the map looks for it ({file}), or mend the map's 'source' in Tiled"
        raise DataError(f"the tileset file {str(source)[:200]!r} is missing", source=node.at, remedy=remedy)
    body = parse_file(file)
    if body.role != "tileset":
        remedy = "mend the map's 'source' in Tiled"
        raise DataError(f"{file} is no tileset but a {body.role[:40]}", source=node.at, remedy=remedy)
    return body, file


def _tileset(node: Node, file: Path, first: int, name: str) -> MapTileset:
    image, facts = node.image(), node.tiles()
    least = 1 if image is not None else 0
    size = whole(node, "tilewidth", least=least), whole(node, "tileheight", least=least)
    gap, margin = whole(node, "spacing", 0), whole(node, "margin", 0)
    columns = rows = 0
    if image is not None and image.width and image.height and min(size) + gap > 0:
        columns = max((image.width - margin + gap) // (size[0] + gap), 0)
        rows = max((image.height - margin + gap) // (size[1] + gap), 0)
    counts = [whole(node, "tilecount", columns * rows, 0), *(local + 1 for local in facts)]
    columns = whole(node, "columns", columns, 0) if image is not None else 0
    return MapTileset(
        first,
        name,
        max(counts) or (None if image is not None else 0),
        size,
        _ANCHORS.get(str(node.get("objectalignment")), _ANCHORS["bottomleft"]),
        columns,
        gap,
        margin,
        find_file(file.parent, image.source) if image is not None else "",
        facts,
        file.parent,
    )


def owner_of(tilesets: Sequence[MapTileset], cell: int) -> MapTileset | None:
    """Return the tileset of a cell, or None if the cell is beyond all of them."""
    gid = cell & GID
    owner = next((tileset for tileset in reversed(tilesets) if tileset.first <= gid), None)
    inside = owner is not None and (owner.count is None or gid - owner.first < owner.count)
    return owner if inside else None


class Palette:
    """What the numbers of a document's scenes stand for: tiles, and the cells that write them.

    Args:
        tilesets: Tilesets of the map, by their first gids.
        used: Cells that occur in the map.
        cells: The cells, in the order of their tiles.

    Raises:
        DataError: A cell is beyond the tilesets.
    """

    def __init__(self, tilesets: Sequence[MapTileset], cells: Sequence[int]) -> None:
        self.tilesets = tuple(tilesets)
        self.cells = tuple(cells)
        self.tileset = Tileset(tuple(self._tile_of(cell) for cell in self.cells))

    @classmethod
    def of_map(cls, tilesets: Sequence[MapTileset], used: Iterable[int]) -> Palette:
        """Return the palette of a map: the cells it uses, and all tiles of its tilesets if they are not too many.

        Flipped tiles come last, so maps with the same tilesets number all other tiles alike.
        """
        cells = {cell for cell in used if cell & GID}
        if sum(tileset.count or 0 for tileset in tilesets) <= MAX_TILES:
            every = (tileset.first + local for tileset in tilesets for local in range(tileset.count or 0))
            cells |= {cell for cell in every if cell <= GID}
        return cls(tilesets, sorted(cells, key=lambda cell: (bool(cell & FLAGS), cell & GID, cell & FLAGS)))

    def extended(self, cells: Iterable[int]) -> Palette:
        """Return a palette that also has these cells, after those it has; itself if it has them all."""
        missing = sorted(set(cells) - set(self.cells) - {0})
        return Palette(self.tilesets, (*self.cells, *missing)) if missing else self

    def _tile_of(self, cell: int) -> Tile:
        owner = owner_of(self.tilesets, cell)
        if owner is None:
            raise DataError(f"gid {cell & GID} is beyond the tilesets", source="tileset", remedy="add its tileset")
        return owner.tile((cell & GID) - owner.first, cell & FLAGS)

    def cell_of(self, name: str) -> int | None:
        """Return the cell that a tile's name stands for, flips included; None if no tileset has such a tile."""
        base, tilde, letters = name.rpartition("~")
        flags = suffix_flags(letters) if tilde else 0
        if not tilde or flags is None:
            base, flags = name, 0
        set_name, _, local = base.rpartition("#")
        owner = next((tileset for tileset in self.tilesets if tileset.name == set_name), None)
        if owner is None or not local.isdecimal() or len(local) > 9:
            return None
        cell = owner.first + int(local)
        return cell | flags if cell <= GID and owner_of(self.tilesets, cell) is owner else None

    @cached_property
    def _sorted(self) -> tuple[Any, Any]:
        cells = np.array([0, *self.cells], np.uint32)
        order = np.argsort(cells)
        return cells[order], (order - 1).astype(np.int32)

    def numbers(self, cells: Cells) -> Any:
        """Return int32 numbers of tiles for cells of the palette, in the same shape; ``NOTHING`` for nothing."""
        known, numbers = self._sorted
        plain = np.where(cells & GID, cells, 0)
        found: Any = numbers[np.searchsorted(known, plain)]
        return np.where(plain == 0, np.int32(NOTHING), found)
