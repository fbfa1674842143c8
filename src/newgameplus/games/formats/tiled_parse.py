"""Reading Tiled's files: parsers for its XML and its JSON that know where everything stands, and that no file can hurt.

Document types and entities are refused before anything is expanded, and files that are too large, too deep or hold too
much are refused as soon as that shows. Cells of layers take no more room than their numbers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NoReturn
from xml.parsers import expat

from newgameplus.errors import DataError
from newgameplus.games.formats.tiled_json import JsonNode, JsonSource, line_of
from newgameplus.games.formats.tiled_node import Node
from newgameplus.games.formats.tiled_xml import XmlNode, XmlSource

__all__ = ["MAX_DEPTH", "MAX_FILE", "MAX_NODES", "parse_file", "parse_json", "parse_xml", "read_source"]

MAX_DEPTH = 100
"""Files nested deeper than this are refused."""

MAX_FILE = 256 * 2**20
"""Files of more bytes than this are refused."""

MAX_NODES = 2_000_000
"""Files of more elements or values than this are refused; the cells of layers do not count."""

_SAVE = "open the map in Tiled and save it again"
_WITH_TEXT = ("data", "chunk", "property")
_TAG = re.compile(rb"""<[^"'>]*(?:"[^"]*"[^"'>]*|'[^']*'[^"'>]*)*>""")
_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBERS = re.compile(r"\[[0-9,\s]*[0-9][0-9,\s]*\]")
_STRING = re.compile(r'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"')
_SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def read_source(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        DataError: It is no readable file, is empty, or is too large.
    """
    try:
        if not path.is_file():
            raise DataError("no such file", source=str(path), remedy="check the path")
        if path.stat().st_size > MAX_FILE:
            remedy = f"maps may have at most {MAX_FILE >> 20} MiB"
            raise DataError(f"a file of {path.stat().st_size >> 20} MiB", source=str(path), remedy=remedy)
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read ({error})", source=str(path), remedy="check its permissions") from error
    if not content.strip():
        raise DataError("the file is empty", source=str(path), remedy="save it again, or leave it out")
    return content


def parse_file(path: Path, content: bytes | None = None) -> Node:
    """Read and parse a Tiled file, XML or JSON by what it holds.

    Raises:
        DataError: It cannot be read or is malformed.
    """
    content = read_source(path) if content is None else content
    start = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    return parse_json(content, path) if start in (b"{", b"[") else parse_xml(content, path)


def _append(node: XmlNode, name: str, value: object) -> None:
    """Add to a list of a node; most nodes have nothing in theirs, so it is made when first needed."""
    if not getattr(node, name):
        setattr(node, name, [])
    getattr(node, name).append(value)


class _Builder:
    """Makes nodes of what expat reports."""

    def __init__(self, source: XmlSource) -> None:
        self.source = source
        self.root: XmlNode | None = None
        self.stack: list[XmlNode] = []
        self.inside_cell = 0
        self.nodes = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.XmlDeclHandler = self.declaration
        self.parser.StartDoctypeDeclHandler = self.refuse
        self.parser.EntityDeclHandler = self.refuse
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.finish
        self.parser.CharacterDataHandler = self.characters

    def at(self) -> str:
        return f"{self.source.path}:{self.parser.CurrentLineNumber}"

    def declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding and encoding.lower() not in ("utf-8", "utf8", "us-ascii", "ascii"):
            raise DataError(f"written in {encoding}, not in UTF-8", source=self.at(), remedy=_SAVE)

    def refuse(self, *_: object) -> None:
        remedy = "Tiled writes none: remove the <!DOCTYPE …> from the file if you trust where it comes from"
        raise DataError("a document type or entities, which maps may not have", source=self.at(), remedy=remedy)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        parent = self.stack[-1] if self.stack else None
        if self.inside_cell or (tag == "tile" and parent is not None and parent.tag in ("data", "chunk")):
            self.inside_cell += 1
            if self.inside_cell == 1 and parent is not None:
                self.cell(parent, attributes.get("gid", "0"))
            return
        self.nodes += 1
        if len(self.stack) >= MAX_DEPTH or self.nodes > MAX_NODES:
            what = f"nested more than {MAX_DEPTH} deep" if self.nodes <= MAX_NODES else f"more than {MAX_NODES:,}"
            raise DataError(f"elements {what}", source=self.at(), remedy="no map needs that: check the file")
        start = self.parser.CurrentByteIndex
        node = XmlNode(tag, attributes, self.source, self.parser.CurrentLineNumber, start)
        match = _TAG.match(self.source.content, start)
        node.inside = match.end() if match else start
        if parent is None:
            self.root = node
        else:
            _append(parent, "children", node)
        self.stack.append(node)

    def cell(self, parent: XmlNode, gid: str) -> None:
        if not gid.isdecimal() or len(gid) > 10:
            raise DataError(f"a cell with the gid {gid[:20]!r}, not a number", source=self.at(), remedy=_SAVE)
        _append(parent, "cells", int(gid))

    def finish(self, _tag: str) -> None:
        if self.inside_cell:
            self.inside_cell -= 1
            return
        node = self.stack.pop()
        if self.source.content[node.inside - 2 : node.inside] == b"/>":
            node.close = node.end = node.inside
            return
        node.close = self.parser.CurrentByteIndex
        node.end = self.source.content.index(b">", node.close) + 1

    def characters(self, text: str) -> None:
        if self.stack and not self.inside_cell and self.stack[-1].tag in _WITH_TEXT:
            _append(self.stack[-1], "text", text)


def parse_xml(content: bytes, path: Path) -> XmlNode:
    """Parse a TMX or TSX file.

    Args:
        content: The file, in UTF-8.
        path: Where it was read from.

    Returns:
        Its root element.

    Raises:
        DataError: It is not well-formed, not UTF-8, nested too deeply, or has a document type or entities.
    """
    builder = _Builder(XmlSource(path, content))
    try:
        content.decode("utf-8")
        builder.parser.Parse(content, True)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"not UTF-8 text (byte {error.start})", source=f"{path}:{line}", remedy=_SAVE) from error
    except expat.ExpatError as error:
        message = f"not well-formed XML ({expat.ErrorString(error.code)})"
        raise DataError(message, source=f"{path}:{error.lineno}", remedy=_SAVE) from error
    if builder.root is None:
        raise DataError("no element in the file", source=str(path), remedy=_SAVE)
    return builder.root


class _Parser:
    """Reads values one after another; lists of whole numbers in one go."""

    def __init__(self, source: JsonSource) -> None:
        self.source = source
        self.text = source.text
        self.here = 0
        self.nodes = 0

    def fail(self, message: str) -> NoReturn:
        found = self.text[self.here : self.here + 20].split("\n")[0]
        what = f"not JSON: {message}, but there is {found!r}" if found else f"not JSON: {message}, but the file ends"
        raise DataError(what, source=line_of(self.source, self.here), remedy=_SAVE)

    def blank(self) -> str:
        """Skip blanks and return the next character."""
        match = _BLANK.match(self.text, self.here)
        self.here = match.end() if match else self.here
        return self.text[self.here : self.here + 1]

    def value(self, depth: int = 0) -> JsonNode:
        if depth > MAX_DEPTH:
            self.fail(f"values nested at most {MAX_DEPTH} deep expected")
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.fail(f"at most {MAX_NODES:,} values expected")
        mark = self.blank()
        node = JsonNode(self.source, self.here)
        if mark == "{":
            self.members(node, depth)
        elif mark == "[":
            self.items(node, depth)
        else:
            node.value = self.string() if mark == '"' else self.scalar()
        node.end = self.here
        return node

    def string(self) -> str:
        match = _STRING.match(self.text, self.here)
        if match is None:
            self.fail("a text between double quotes expected")
        try:
            value = str(json.loads(match[0]))
            value.encode("utf-8")
        except ValueError:
            self.fail("a text with valid escapes expected")
        self.here = match.end()
        return value

    def scalar(self) -> Any:
        match = _SCALAR.match(self.text, self.here)
        if match is None:
            self.fail("a value expected")
        try:
            value = json.loads(match[0])
        except ValueError:
            self.fail("a number of sensible size expected")
        self.here = match.end()
        return value

    def members(self, node: JsonNode, depth: int) -> None:
        node.kind = "object"
        node.members = found = dict[str, JsonNode]()
        self.here += 1
        if self.blank() == "}":
            self.here += 1
            return
        while True:
            self.blank()
            name = self.string()
            if self.blank() != ":":
                self.fail("':' expected")
            self.here += 1
            found[name] = self.value(depth + 1)
            if self.ends("}"):
                return

    def items(self, node: JsonNode, depth: int) -> None:
        numbers = _NUMBERS.match(self.text, self.here)
        if numbers is not None:
            node.kind = "numbers"
            try:
                node.value = json.loads(numbers[0])
            except ValueError:
                self.fail("whole numbers between commas expected")
            self.here = numbers.end()
            return
        node.kind = "list"
        node.items = found = list[JsonNode]()
        self.here += 1
        if self.blank() == "]":
            self.here += 1
            return
        while True:
            found.append(self.value(depth + 1))
            if self.ends("]"):
                return

    def ends(self, closing: str) -> bool:
        mark = self.blank()
        if mark not in (",", closing):
            self.fail(f"',' or {closing!r} expected")
        self.here += 1
        return mark == closing


def parse_json(content: bytes, path: Path) -> JsonNode:
    """Parse a TMJ or TSJ file.

    Args:
        content: The file, in UTF-8.
        path: Where it was read from.

    Returns:
        Its value, an object.

    Raises:
        DataError: It is not JSON, not UTF-8, nested too deeply, or no object.
    """
    head = b"\xef\xbb\xbf" if content.startswith(b"\xef\xbb\xbf") else b""
    try:
        text = content[len(head) :].decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"not UTF-8 text (byte {error.start})", source=f"{path}:{line}", remedy=_SAVE) from error
    parser = _Parser(JsonSource(path, text, head))
    root = parser.value()
    if parser.blank():
        parser.fail("the end of the file expected")
    if root.kind != "object":
        raise DataError("not a JSON object", source=str(path), remedy=_SAVE)
    return root
