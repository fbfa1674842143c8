"""Tiled's XML (TMX and TSX): elements that know where they stand, and edits of single spans."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

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

__all__ = ["XmlNode", "XmlSource"]

_LAYERS = {"layer": "tilelayer", "objectgroup": "objectgroup", "imagelayer": "imagelayer", "group": "group"}
_SHAPES = ("ellipse", "point", "polygon", "polyline", "text", "capsule")
_ATTRIBUTE = re.compile(rb"""([^\s=<>"']+)\s*=\s*("[^"]*"|'[^']*')""")
_SAVE = "open the map in Tiled and save it again"


@dataclass(eq=False)
class XmlSource:
    """The file that nodes stand in: its path and its bytes."""

    path: Path
    content: bytes

    @cached_property
    def newline(self) -> bytes:
        """How its lines end."""
        return b"\r\n" if b"\r\n" in self.content else b"\n"


@dataclass(eq=False, slots=True)
class XmlNode(Node):
    """One element.

    Attributes:
        tag: Its name.
        attributes: Its attributes, unescaped.
        source: The file it stands in.
        line: Line of its start tag, from 1.
        start: First byte of its start tag.
        inside: First byte after its start tag.
        close: First byte of its end tag; the same as ``inside`` for ``<tag/>``.
        end: First byte after its end tag.
        children: Elements in it, but for the single cells of a layer.
        text: Text in it, for the elements whose text counts.
        cells: The gids of ``<tile>`` elements in a layer's data (how Tiled wrote cells once).
    """

    tag: str
    attributes: dict[str, str]
    source: XmlSource
    line: int
    start: int
    inside: int = 0
    close: int = 0
    end: int = 0
    children: Sequence[XmlNode] = ()
    text: Sequence[str] = ()
    cells: Sequence[int] = ()

    @property
    def at(self) -> str:
        """File and line."""
        return f"{self.source.path}:{self.line}"

    @property
    def role(self) -> str:
        """What the file is whose outermost node this is."""
        return self.tag

    def get(self, name: str) -> Scalar | None:
        """Return an attribute, if the node has it."""
        return self.attributes.get(name)

    def all(self, tag: str) -> list[XmlNode]:
        """Return the elements of one name right below this one."""
        return [child for child in self.children if child.tag == tag]

    def first(self, tag: str) -> XmlNode | None:
        """Return the first element of a name right below this one, if any."""
        return next((child for child in self.children if child.tag == tag), None)

    def properties(self) -> dict[str, Any]:
        """Return the custom properties, by name."""
        holder = self.first("properties")
        return {} if holder is None else dict(_property(node) for node in holder.all("property"))

    def tilesets(self) -> list[Node]:
        """Return the tilesets of a map."""
        return list(self.all("tileset"))

    def tiles(self) -> dict[int, TileFacts]:
        """Return what a tileset says of single tiles, by their number in it."""
        return {whole(tile, "id", least=0): _tile_facts(tile) for tile in self.all("tile")}

    def image(self) -> Image | None:
        """Return the picture of a tileset."""
        node = self.first("image")
        if node is None or "source" not in node.attributes:
            return None
        return Image(node.attributes["source"], whole(node, "width", 0, 0), whole(node, "height", 0, 0))

    def layers(self) -> list[tuple[str, Node]]:
        """Return the layers of a map or a group with their kinds."""
        return [(_LAYERS[child.tag], child) for child in self.children if child.tag in _LAYERS]

    def data(self, infinite: bool) -> LayerData:
        """Return the cells of a tile layer, not yet decoded."""
        data = self._data_node()
        encoding, compression = data.attributes.get("encoding", ""), data.attributes.get("compression", "")
        chunks = [
            Chunk(
                whole(chunk, "x"),
                whole(chunk, "y"),
                whole(chunk, "width", least=1),
                whole(chunk, "height", least=1),
                chunk._payload(encoding),
                chunk,
            )
            for chunk in data.all("chunk")
        ]
        payload = data._payload(encoding)
        none = not (payload.strip() if isinstance(payload, str) else payload)
        if not chunks and not (none and infinite):
            size = whole(self, "width", least=1), whole(self, "height", least=1)
            chunks = [Chunk(0, 0, *size, payload)]
        return LayerData(encoding, compression, tuple(chunks))

    def _data_node(self) -> XmlNode:
        data = self.first("data")
        if data is None:
            raise DataError("a tile layer without <data>", source=self.at, remedy=_SAVE)
        return data

    def _payload(self, encoding: str) -> Payload:
        return "".join(self.text) if encoding else self.cells

    def objects(self) -> list[Node]:
        """Return the objects of an object layer."""
        return list(self.all("object"))

    def template(self) -> Node | None:
        """Return the object of a template file."""
        return self.first("object")

    def shape(self) -> str:
        """Return what an object is."""
        return next((child.tag for child in self.children if child.tag in _SHAPES), "rectangle")

    def points(self) -> list[tuple[float, float]]:
        """Return the corners of a polygon or polyline, in pixels from the object's place."""
        for shape in (*self.all("polygon"), *self.all("polyline")):
            try:
                pairs = [pair.split(",") for pair in shape.attributes.get("points", "").split()]
                return [(float(x), float(y)) for x, y in pairs]
            except ValueError as error:
                raise DataError("points that are not pairs of numbers", source=shape.at, remedy=_SAVE) from error
        return []

    def references(self) -> Iterator[Reference]:
        """Find every mention of another file in the node and below it."""
        names = {"tileset": "source", "image": "source", "object": "template"}
        stack = [self]
        while stack:
            node = stack.pop()
            name = names.get(node.tag)
            if node.tag == "property" and node.attributes.get("type") == "file":
                name = "value"
            if name and node.attributes.get(name):
                yield Reference(node, name, node.attributes[name])
            stack += node.children

    def set(self, **values: Scalar) -> list[Splice[bytes]]:
        """Return the splices that give attributes other values."""
        tag = self.source.content[self.start : self.inside]
        spans = {match[1].decode("utf-8"): match.span(2) for match in _ATTRIBUTE.finditer(tag)}
        splices = []
        for name, value in values.items():
            quoted = _quoted(value)
            if name in spans:
                start, end = spans[name]
                splices.append(Splice(self.start + start, self.start + end, quoted))
            else:
                place = self.start + max([len(f"<{self.tag}".encode()), *(end for _, end in spans.values())])
                splices.append(Splice(place, place, f" {name}=".encode() + quoted))
        return splices

    def set_data(self, pieces: Sequence[Piece]) -> list[Splice[bytes]]:
        """Return the splices that give a tile layer other cells."""
        data = self._data_node()
        chunks = data.all("chunk")
        if len(pieces) == 1 and pieces[0].base is not None and pieces[0].base.node is None:
            return data._set_inside(data._cells_text(pieces[0], data.attributes))
        newline, indent = self.source.newline, data._indent()
        between = newline + indent + b" "
        body = b"".join(between + data._chunk_text(piece, chunks) for piece in pieces)
        return data._set_inside(body + newline + indent if body else b"")

    def _chunk_text(self, piece: Piece, chunks: Sequence[XmlNode]) -> bytes:
        height, width = piece.cells.shape
        if piece.base is not None and isinstance(piece.base.node, XmlNode):
            node = piece.base.node
            if not piece.changed:
                return node.render([])
        elif chunks:
            node = chunks[0]
        else:
            tag = f'<chunk x="{piece.x}" y="{piece.y}" width="{width}" height="{height}">'.encode()
            return tag + self._cells_text(piece, self.attributes, chunk=True) + b"</chunk>"
        body = node._cells_text(piece, self.attributes)
        return node.render([*node.set(x=piece.x, y=piece.y, width=width, height=height), *node._set_inside(body)])

    def _cells_text(self, piece: Piece, style: dict[str, str], chunk: bool = False) -> bytes:
        """Return cells as they stand between the tags, with the blanks around them that the file has now."""
        newline = self.source.newline
        inside = b"" if chunk else self.source.content[self.inside : self.close]
        core = inside.strip()
        encoding = style.get("encoding", "")
        indent = newline + self._indent()
        before, after = (newline, newline) if encoding == "csv" else (indent + b" ", indent)
        if core:
            first = inside.index(core)
            before, after = inside[:first], inside[first + len(core) :]
        if encoding == "base64":
            text = encode_bytes(piece.cells, style.get("compression", "")).encode("ascii")
        elif encoding == "csv":
            rows = [",".join(map(str, row)) for row in piece.cells.tolist()]
            text = (b"," + (newline if newline in core or not core else b"")).join(row.encode() for row in rows)
        else:
            tiles = [f'<tile gid="{cell}"/>'.encode() for cell in piece.cells.ravel().tolist()]
            text = (before if not before.strip() else newline).join(tiles)
        return before + text + after

    def _indent(self) -> bytes:
        """Return the blanks before the node in its line."""
        line = self.source.content[self.source.content.rfind(b"\n", 0, self.start) + 1 : self.start]
        return line if not line.strip() else b""

    def _set_inside(self, body: bytes) -> list[Splice[bytes]]:
        if self.end > self.inside:
            return [Splice(self.inside, self.close, body)]
        tag = self.source.content[self.start : self.end]
        slash = self.start + tag.rindex(b"/")
        return [Splice(slash, self.end, b">" + body + f"</{self.tag}>".encode())]

    def set_objects(self, texts: Sequence[bytes]) -> list[Splice[bytes]]:
        """Return the splices that give an object layer other objects."""
        old = self.all("object")
        newline = self.source.newline
        lead = newline + (old[0]._indent() if old else self._indent() + b" ")
        if not old:
            rest = self.source.content[self.inside : self.close].rstrip()
            body = rest + b"".join(lead + text for text in texts)
            return self._set_inside(body + newline + self._indent()) if texts else []
        start = len(self.source.content[: old[0].start].rstrip())
        return [Splice(start, old[-1].end, b"".join(lead + text for text in texts))]

    def render(self, splices: Iterable[Splice[bytes]]) -> bytes:
        """Return the node's own text with splices made."""
        return splice_text(self.source.content, splices, self.start, self.end)

    def plain(self, values: dict[str, Scalar], point: bool) -> bytes:
        """Return the text of a new object with these attributes."""
        attributes = b"".join(f" {name}=".encode() + _quoted(value) for name, value in values.items())
        return b"<object" + attributes + (b"><point/></object>" if point else b"/>")

    def write(self, splices: Iterable[Splice[bytes]]) -> bytes:
        """Return the whole file with splices made."""
        return splice_text(self.source.content, splices, 0, len(self.source.content))


def _quoted(value: Scalar) -> bytes:
    text = str(value).lower() if isinstance(value, bool) else as_text(value) if isinstance(value, float) else str(value)
    return b'"' + escape(text, {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}).encode("utf-8") + b'"'


def _property(node: XmlNode) -> tuple[str, Any]:
    name, kind = node.attributes.get("name", ""), node.attributes.get("type", "string")
    if kind == "class":
        return name, node.properties()
    value = node.attributes.get("value", "".join(node.text))
    try:
        if kind in ("int", "object"):
            return name, int(value[:20])
        if kind == "float":
            return name, float(value)
    except ValueError:
        return name, value
    return name, value == "true" if kind == "bool" else value


def _tile_facts(tile: XmlNode) -> TileFacts:
    kind = tile.attributes.get("type") or tile.attributes.get("class") or ""
    area = None
    if "width" in tile.attributes and "height" in tile.attributes:
        area = (
            whole(tile, "x", 0, 0),
            whole(tile, "y", 0, 0),
            whole(tile, "width", least=0),
            whole(tile, "height", least=0),
        )
    return TileFacts(kind, tile.properties(), tile.image(), area)
