"""Objects of Tiled maps: from pixels and anchors to tiles, and back into the objects' own text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from newgameplus.errors import DataError
from newgameplus.games.formats.tiled_codec import FLAGS, GID
from newgameplus.games.formats.tiled_layers import Box, walk_layers
from newgameplus.games.formats.tiled_node import Node, Scalar, Splice, number, whole
from newgameplus.games.formats.tiled_parse import parse_file
from newgameplus.games.formats.tiled_tileset import MapTileset, Palette, find_file, owner_of
from newgameplus.games.scenes import SceneObject
from newgameplus.recipe import did_you_mean

__all__ = ["ObjectLayers", "ObjectToken"]

_BY_CORNERS = ("polygon", "polyline")
_TILE_KIND = "gid:"


@dataclass(frozen=True)
class ObjectToken:
    """Which object of which file a scene's object comes from.

    Attributes:
        path: The map.
        number: Its id; if it has none (before Tiled 0.11), or that of another object, its place in the map, below 0.
    """

    path: Path
    number: int


@dataclass(frozen=True, eq=False)
class _Known:
    """An object as it stands in the file.

    Attributes:
        scene: The same in tiles.
        node: Where it stands.
        place: x and y in pixels.
        anchor: Part of its size that lies left of and above its place.
        sized: Whether its size can be changed.
    """

    scene: SceneObject
    node: Node
    place: tuple[float, float]
    anchor: tuple[float, float]
    sized: bool


class ObjectLayers:
    """All objects of a map.

    Args:
        root: The map.
        path: Its file.
        box: What the map covers, in tiles.
        tilesets: Its tilesets.

    Attributes:
        notes: What could not be read and was left as it is.

    Raises:
        DataError: An object has a value that is no number, or is not there.
    """

    def __init__(self, root: Node, path: Path, box: Box, tilesets: Sequence[MapTileset]) -> None:
        self.root, self.path, self.box, self.tilesets = root, path, box, tilesets
        self.tile = whole(root, "tilewidth", least=1), whole(root, "tileheight", least=1)
        self.layers = dict(walk_layers(root, "objectgroup"))
        self.notes: list[str] = []
        self._templates: dict[str, Node | None] = {}
        self.known: dict[str, list[_Known]] = {}
        count, ids = 0, set[int]()
        for name, layer in self.layers.items():
            self.known[name] = []
            for node in layer.objects():
                count += 1
                own = whole(node, "id", -count)
                own = own if own not in ids else -count
                ids.add(own)
                self.known[name].append(self._read(node, name, own))
        self._by_token = {known.scene.token: known for layer in self.known.values() for known in layer}

    @property
    def objects(self) -> tuple[SceneObject, ...]:
        """The objects, layer by layer."""
        return tuple(known.scene for layer in self.known.values() for known in layer)

    def _read(self, node: Node, layer: str, own: int) -> _Known:
        template = self._template(node)
        nodes = [node] if template is None else [node, template]
        x, y = number(node, "x"), number(node, "y")
        width, height = (_inherited(nodes, name) for name in ("width", "height"))
        gid = whole(node, "gid", 0, 0)
        tileset = owner_of(self.tilesets, gid) if gid & GID else None
        if gid & GID and tileset is None:
            message = f"layer {layer!r}: object {own} has gid {gid & GID}, which is in no tileset"
            raise DataError(message, source=node.at, remedy="add its tileset in Tiled, or delete the object")
        anchor = (0.0, 0.0)
        if tileset is not None:
            anchor = tileset.anchor
            width, height = width or float(tileset.size[0]), height or float(tileset.size[1])
        elif template is not None and template.get("gid") is not None:
            anchor = (0.0, 1.0)
        shape = next((found for item in nodes if (found := item.shape()) != "rectangle"), "rectangle")
        left, top = x - anchor[0] * width, y - anchor[1] * height
        if shape in _BY_CORNERS:
            corners = next((points for item in nodes if (points := item.points())), [(0.0, 0.0)])
            columns, rows = zip(*corners, strict=True)
            left, top = x + min(columns), y + min(rows)
            width, height = max(columns) - min(columns), max(rows) - min(rows)
        scene = SceneObject(
            kind=_kind(nodes, gid, tileset, shape),
            row=top / self.tile[1] - self.box.y,
            column=left / self.tile[0] - self.box.x,
            height=height / self.tile[1],
            width=width / self.tile[0],
            layer=layer,
            properties={key: value for item in reversed(nodes) for key, value in item.properties().items()},
            token=ObjectToken(self.path, own),
        )
        return _Known(scene, node, (x, y), anchor, shape not in (*_BY_CORNERS, "point"))

    def _template(self, node: Node) -> Node | None:
        """Return the object in the template file that a node names, once read for all of its objects."""
        source = node.get("template")
        if not isinstance(source, str) or not source:
            return None
        if source not in self._templates:
            self._templates[source] = self._read_template(source)
        return self._templates[source]

    def _read_template(self, source: str) -> Node | None:
        try:
            root = parse_file(Path(find_file(self.path.parent, source)))
        except DataError as error:
            self.notes.append(
                f"object template {source!r} cannot be read ({error.message}): its objects stay as they are"
            )
            return None
        found = root.template()
        if found is None:
            self.notes.append(f"object template {source!r} holds no object: its objects stay as they are")
        return found

    def splices(self, objects: Iterable[SceneObject], palette: Palette) -> list[Splice[Any]]:
        """Return the splices that put other objects into the layers; nothing for layers that stay the same.

        An object that comes from this file keeps its text and its id, moved and resized if need be. Another one is
        copied from an object of its kind with an id of its own, or made anew if the file has none of its kind.

        Raises:
            DataError: An object's layer is not in the file.
        """
        wanted = [self._with_layer(item) for item in objects]
        ids = [known.scene.token.number for layer in self.known.values() for known in layer]
        fresh = max([whole(self.root, "nextobjectid", 1) - 1, 0, *ids])
        first, taken = fresh, set[ObjectToken]()
        texts: dict[str, list[Any]] = {name: [] for name in self.layers}
        same = {name: [known.scene for known in layer] for name, layer in self.known.items()}
        for item in wanted:
            known = self._own(item)
            if known is not None and known.scene.token not in taken:
                taken.add(known.scene.token)
                texts[item.layer].append(known.node.render(self._moved(known, item)))
                continue
            fresh += 1
            texts[item.layer].append(self._new(item, known or self._like(item), fresh, palette))
        splices: list[Splice[Any]] = []
        for name, layer in self.layers.items():
            if [item for item in wanted if item.layer == name] != same[name]:
                splices += layer.set_objects(texts[name])
        return splices + (self.root.set(nextobjectid=fresh + 1) if fresh > first else [])

    def _with_layer(self, item: SceneObject) -> SceneObject:
        if item.layer in self.layers:
            return item
        if item.layer or not self.layers:
            remedy = f"{did_you_mean(item.layer, list(self.layers))}object layers: {', '.join(self.layers) or 'none'}"
            message = f"no object layer is called {item.layer!r}, where an object {item.kind!r} shall be"
            raise DataError(message, source=str(self.path), remedy=remedy)
        like = self._like(item)
        return replace(item, layer=like.scene.layer if like is not None else next(iter(self.layers)))

    def _own(self, item: SceneObject) -> _Known | None:
        """Return the object of this file that a scene's object comes from."""
        if not isinstance(item.token, ObjectToken) or item.token.path != self.path:
            return None
        known = self._by_token.get(item.token)
        return known if known is not None and known.scene.kind == item.kind else None

    def _like(self, item: SceneObject) -> _Known | None:
        """Return an object of the same kind, one of the same layer first."""
        alike = [known for layer in self.known.values() for known in layer if known.scene.kind == item.kind]
        return next((known for known in alike if known.scene.layer == item.layer), alike[0] if alike else None)

    def _moved(self, known: _Known, item: SceneObject) -> list[Splice[Any]]:
        """Return the splices that give an object's text another place and size."""
        old = known.scene
        wider, higher = 0.0, 0.0
        values: dict[str, Scalar] = {}
        if known.sized:
            wider, higher = (item.width - old.width) * self.tile[0], (item.height - old.height) * self.tile[1]
            values.update({"width": item.width * self.tile[0]} if wider else {})
            values.update({"height": item.height * self.tile[1]} if higher else {})
        right = (item.column - old.column) * self.tile[0] + known.anchor[0] * wider
        down = (item.row - old.row) * self.tile[1] + known.anchor[1] * higher
        values.update({"x": known.place[0] + right} if right else {})
        values.update({"y": known.place[1] + down} if down else {})
        return known.node.set(**values) if values else []

    def _new(self, item: SceneObject, like: _Known | None, own: int, palette: Palette) -> Any:
        if like is not None:
            return like.node.render([*like.node.set(id=own), *self._moved(like, item)])
        cell = palette.cell_of(item.kind.removeprefix(_TILE_KIND)) if item.kind.startswith(_TILE_KIND) else None
        owner = owner_of(self.tilesets, cell) if cell else None
        across, down = owner.anchor if owner is not None else (0.0, 0.0)
        version = str(self.root.get("version") or "")
        values: dict[str, Scalar] = {"id": own}
        if cell is None:
            values["class" if version == "1.9" else "type"] = item.kind
        else:
            values["gid"] = cell
        values["x"] = (item.column + self.box.x + across * item.width) * self.tile[0]
        values["y"] = (item.row + self.box.y + down * item.height) * self.tile[1]
        if item.width or item.height:
            values.update(width=item.width * self.tile[0], height=item.height * self.tile[1])
        return self.root.plain(values, point=cell is None and not (item.width or item.height))


def _inherited(nodes: Sequence[Node], name: str) -> float:
    return next((number(node, name) for node in nodes if node.get(name) is not None), 0.0)


def _kind(nodes: Sequence[Node], gid: int, tileset: MapTileset | None, shape: str) -> str:
    """Return an object's class, else its name, else its tile, else its shape."""
    for name in ("type", "class", "name"):
        for node in nodes:
            value = node.get(name)
            if isinstance(value, str) and value:
                return value
    if tileset is not None:
        return _TILE_KIND + tileset.tile((gid & GID) - tileset.first, gid & FLAGS).name
    return shape
