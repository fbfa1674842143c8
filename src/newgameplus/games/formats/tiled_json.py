"""Tiled's JSON (TMJ and TSJ): values that know where they stand, and edits of single spans."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from newgameplus.errors import DataError
from newgameplus.games.formats.tiled_codec import Payload, encode_bytes
from newgameplus.games.formats.tiled_node import (
    Chunk,
    Image,
    LayerData,
    Node,
    Piece,
    Reference,
    Scalar,
    Splice,
    TileFacts,
    as_text,
    splice_text,
    whole,
)

__all__ = ["JsonNode", "JsonSource", "line_of"]

_BLANK = re.compile(r"[ \t\r\n]*")
_SHAPES = ("ellipse", "point", "polygon", "polyline", "text", "capsule")
_TELLING = {"layers": "map", "tilewidth": "tileset", "object": "template"}
_NO_MEMBERS: Mapping[str, Any] = MappingProxyType({})
_KINDS = ("tilelayer", "objectgroup", "imagelayer", "group")
_SAVE = "open the map in Tiled and save it again"


@dataclass(eq=False)
class JsonSource:
    """The file that nodes stand in: its path, its text, and the mark before it, if any."""

    path: Path
    text: str
    head: bytes

    @cached_property
    def breaks(self) -> list[int]:
        """Where the lines end."""
        return [match.start() for match in re.finditer("\n", self.text)]

    @cached_property
    def comma(self) -> str:
        """What stands between the numbers of a layer."""
        found = re.search(r"[0-9](,[ ]?)-?[0-9]", self.text)
        return found[1] if found else ","

    @cached_property
    def colon(self) -> str:
        """What stands between a key and its value."""
        found = re.search(r'"(\s*:\s*)', self.text)
        return found[1] if found else ":"


@dataclass(eq=False, slots=True)
class JsonNode(Node):
    """One value of a JSON file.

    Attributes:
        source: The file it stands in.
        start: Its first character.
        end: First character after it.
        value: What it is, for scalars and lists of whole numbers; None for others.
        members: Values of an object, by key.
        items: Values of a list.
        kind: ``object``, ``list``, ``numbers`` or ``scalar``.
    """

    source: JsonSource
    start: int
    end: int = 0
    value: Any = None
    members: Mapping[str, JsonNode] = field(default_factory=lambda: _NO_MEMBERS)
    items: Sequence[JsonNode] = ()
    kind: str = "scalar"

    @property
    def at(self) -> str:
        """File and line."""
        return line_of(self.source, self.start)

    @property
    def role(self) -> str:
        """What the file is whose outermost node this is; files without a type are told by their keys."""
        guess = next((role for key, role in _TELLING.items() if key in self.members), "something else")
        return str(self.get("type") or guess)

    def get(self, name: str) -> Scalar | None:
        """Return an attribute, if the node has it."""
        member = self.members.get(name)
        return member.value if member is not None and isinstance(member.value, str | int | float) else None

    def all(self, name: str) -> Sequence[JsonNode]:
        """Return the objects in the list of this name.

        Raises:
            DataError: It is no list of objects.
        """
        member = self.members.get(name)
        if member is None or (member.kind == "scalar" and member.value is None):
            return ()
        if member.kind != "list" or any(item.kind != "object" for item in member.items):
            raise DataError(f"{name!r} is not a list of objects", source=member.at, remedy=_SAVE)
        return member.items

    def plain_value(self) -> Any:
        """Return the value as plain data."""
        if self.kind == "object":
            return {name: member.plain_value() for name, member in self.members.items()}
        return [item.plain_value() for item in self.items] if self.kind == "list" else self.value

    def properties(self) -> dict[str, Any]:
        """Return the custom properties, by name."""
        holder = self.members.get("properties")
        if holder is not None and holder.kind == "object":  # as Tiled wrote them before version 1.2
            found = holder.plain_value()
            return dict(found)
        nodes = self.all("properties")
        return {str(node.get("name") or ""): node.members["value"].plain_value() for node in nodes if _valued(node)}

    def tilesets(self) -> list[Node]:
        """Return the tilesets of a map."""
        return list(self.all("tilesets"))

    def tiles(self) -> dict[int, TileFacts]:
        """Return what a tileset says of single tiles, by their number in it."""
        holder = self.members.get("tiles")
        if holder is None or holder.kind != "object":
            return {whole(tile, "id", least=0): _tile_facts(tile) for tile in self.all("tiles")}
        facts: dict[int, TileFacts] = {}  # as Tiled wrote them before version 1.2
        kept = self.members.get("tileproperties")
        kept_properties = kept.members if kept is not None else {}
        for name in {**holder.members, **kept_properties}:
            if not name.isdecimal() or len(name) > 9:
                raise DataError(f"a tile with the number {name[:20]!r}", source=holder.at, remedy=_SAVE)
            own = _tile_facts(holder.members[name]) if name in holder.members else TileFacts()
            extra = kept_properties[name].plain_value() if name in kept_properties else None
            properties = {**own.properties, **(extra if isinstance(extra, dict) else {})}
            facts[int(name)] = TileFacts(own.kind, properties, own.image, own.area)
        return facts

    def image(self) -> Image | None:
        """Return the picture of a tileset."""
        source = self.get("image")
        if not isinstance(source, str):
            return None
        return Image(source, whole(self, "imagewidth", 0, 0), whole(self, "imageheight", 0, 0))

    def layers(self) -> list[tuple[str, Node]]:
        """Return the layers of a map or a group with their kinds."""
        return [(str(node.get("type")), node) for node in self.all("layers") if node.get("type") in _KINDS]

    def data(self, infinite: bool) -> LayerData:  # noqa: ARG002 - JSON says by its keys which it is
        """Return the cells of a tile layer, not yet decoded."""
        encoding, compression = str(self.get("encoding") or ""), str(self.get("compression") or "")
        encoding = encoding if encoding != "csv" else ""
        if "chunks" in self.members:
            chunks = [
                Chunk(
                    whole(chunk, "x"),
                    whole(chunk, "y"),
                    whole(chunk, "width", least=1),
                    whole(chunk, "height", least=1),
                    chunk._payload(encoding),
                    chunk,
                )
                for chunk in self.all("chunks")
            ]
        else:
            size = whole(self, "width", least=1), whole(self, "height", least=1)
            chunks = [Chunk(0, 0, *size, self._payload(encoding))]
        return LayerData(encoding, compression, tuple(chunks))

    def _payload(self, encoding: str) -> Payload:
        data = self.members.get("data")
        if data is None:
            raise DataError("a tile layer without 'data'", source=self.at, remedy=_SAVE)
        if encoding:
            if isinstance(data.value, str):
                return data.value
        elif data.kind == "numbers" or (data.kind == "list" and not data.items):
            return list(data.value or [])
        raise DataError(f"layer data that are not {encoding or 'a list of gids'}", source=data.at, remedy=_SAVE)

    def objects(self) -> list[Node]:
        """Return the objects of an object layer."""
        return list(self.all("objects"))

    def template(self) -> Node | None:
        """Return the object of a template file."""
        node = self.members.get("object")
        return node if node is not None and node.kind == "object" else None

    def shape(self) -> str:
        """Return what an object is."""
        return next((name for name in _SHAPES if name in self.members), "rectangle")

    def points(self) -> list[tuple[float, float]]:
        """Return the corners of a polygon or polyline, in pixels from the object's place."""
        corners = [(node.get("x"), node.get("y")) for node in (*self.all("polygon"), *self.all("polyline"))]
        try:
            return [(float(x), float(y)) for x, y in corners]  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError("points that are not pairs of numbers", source=self.at, remedy=_SAVE) from error

    def references(self) -> Iterator[Reference]:
        """Find every mention of another file in the node and below it."""
        stack: list[JsonNode] = [self]
        while stack:
            node = stack.pop()
            names = ["image", "template"] + (["source"] if "firstgid" in node.members else [])
            for name in names:
                value = node.get(name)
                if isinstance(value, str) and value:
                    yield Reference(node, name, value)
            holder = node.members.get("properties")
            for item in holder.items if holder is not None else ():
                value = item.get("value")
                if item.get("type") == "file" and isinstance(value, str) and value:
                    yield Reference(item, "value", value)
            stack += [member for name, member in node.members.items() if name != "properties"]
            stack += node.items

    def set(self, **values: Scalar) -> list[Splice[str]]:
        """Return the splices that give attributes other values."""
        splices = []
        for name, value in values.items():
            if name in self.members:
                member = self.members[name]
                splices.append(Splice(member.start, member.end, _dumped(value)))
            else:
                keyed = f"{json.dumps(name)}{self.source.colon}{_dumped(value)}"
                splices.append(self._added(keyed))
        return splices

    def _added(self, keyed: str) -> Splice[str]:
        """Add a member after the last one, on a line of its own if the others have lines of their own."""
        if not self.members:
            return Splice(self.end - 1, self.end - 1, keyed)
        last = max(member.end for member in self.members.values())
        blank = _BLANK.match(self.source.text, self.start + 1)
        return Splice(last, last, f",{blank[0] if blank else ''}{keyed}")

    def set_data(self, pieces: Sequence[Piece]) -> list[Splice[str]]:
        """Return the splices that give a tile layer other cells."""
        data = self.data(infinite=True)
        if "chunks" not in self.members:
            member = self.members["data"]
            return [Splice(member.start, member.end, self._cells_text(pieces[0], data, member))]
        chunks = self.all("chunks")
        return [self._list("chunks", chunks, [self._chunk_text(piece, data, chunks) for piece in pieces])]

    def _chunk_text(self, piece: Piece, data: LayerData, chunks: Sequence[JsonNode]) -> str:
        height, width = piece.cells.shape
        if piece.base is not None and isinstance(piece.base.node, JsonNode):
            node = piece.base.node
            if not piece.changed:
                return node.render([])
        elif chunks:
            node = chunks[0]
        else:
            cells = self._cells_text(piece, data, None)
            keys = {"data": cells, "height": height, "width": width, "x": piece.x, "y": piece.y}
            return "{" + ", ".join(f'"{name}"{self.source.colon}{value}' for name, value in keys.items()) + "}"
        member = node.members["data"]
        body = Splice(member.start, member.end, self._cells_text(piece, data, member))
        return node.render([*node.set(x=piece.x, y=piece.y, width=width, height=height), body])

    def _cells_text(self, piece: Piece, data: LayerData, old: JsonNode | None) -> str:
        if data.encoding:
            return json.dumps(encode_bytes(piece.cells, data.compression))
        written = self.source.text[old.start : old.end] if old is not None else ""
        rows = [self.source.comma.join(map(str, row)) for row in piece.cells.tolist()]
        lines = re.search(r",([ ]*\r?\n\s*)[0-9]", written)
        between = f",{lines[1]}" if lines else self.source.comma
        return "[" + between.join(rows) + "]"

    def _list(self, name: str, old: Sequence[JsonNode], texts: Sequence[str]) -> Splice[str]:
        holder = self.members[name]
        source = self.source.text
        if not texts or not old:
            body = "[" + (", ".join(texts)) + "]"
            return Splice(holder.start, holder.end, body)
        between = f",{source[holder.start + 1 : old[0].start]}"
        if len(old) > 1:
            between = source[old[0].end : old[1].start]
        return Splice(old[0].start, old[-1].end, between.join(texts))

    def set_objects(self, texts: Sequence[str]) -> list[Splice[str]]:
        """Return the splices that give an object layer other objects."""
        if "objects" not in self.members:
            return [self._added(f'"objects"{self.source.colon}[{", ".join(texts)}]')] if texts else []
        return [self._list("objects", self.all("objects"), texts)]

    def render(self, splices: Iterable[Splice[str]]) -> str:
        """Return the node's own text with splices made."""
        return splice_text(self.source.text, splices, self.start, self.end)

    def plain(self, values: dict[str, Scalar], point: bool) -> str:
        """Return the text of a new object with these attributes."""
        keys = {"name": "", "rotation": 0, "visible": True, "width": 0, "height": 0, **values}
        keys.update({"point": True} if point else {})
        colon = self.source.colon
        return "{" + ", ".join(f'"{name}"{colon}{_dumped(keys[name])}' for name in sorted(keys)) + "}"

    def write(self, splices: Iterable[Splice[str]]) -> bytes:
        """Return the whole file with splices made."""
        return self.source.head + splice_text(self.source.text, splices, 0, len(self.source.text)).encode("utf-8")


def line_of(source: JsonSource, place: int) -> str:
    """Return file and line of a character."""
    return f"{source.path}:{bisect_left(source.breaks, place) + 1}"


def _dumped(value: Scalar) -> str:
    return as_text(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _valued(node: JsonNode) -> bool:
    return isinstance(node.get("name"), str) and "value" in node.members


def _tile_facts(tile: JsonNode) -> TileFacts:
    kind = tile.get("type") or tile.get("class") or ""
    area = None
    if "width" in tile.members and "height" in tile.members:
        area = (
            whole(tile, "x", 0, 0),
            whole(tile, "y", 0, 0),
            whole(tile, "width", least=0),
            whole(tile, "height", least=0),
        )
    return TileFacts(str(kind), tile.properties(), tile.image(), area)
