"""What a Tiled file looks like to us, be it XML or JSON: nodes that know where in the text they stand.

Files are changed by replacing spans of their own text, so all that is not changed stays as its maker's editor wrote it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from newgameplus.errors import DataError
from newgameplus.games.formats.tiled_codec import Cells, Payload

__all__ = [
    "Chunk",
    "Image",
    "LayerData",
    "Node",
    "Piece",
    "Reference",
    "Splice",
    "TileFacts",
    "as_text",
    "number",
    "splice_text",
    "whole",
]

Scalar = str | int | float | bool
Text = TypeVar("Text", str, bytes)


@dataclass(frozen=True)
class Splice(Generic[Text]):
    """Text to put in the place of ``start`` to ``end`` (exclusive) of the source."""

    start: int
    end: int
    text: Text


@dataclass(frozen=True)
class Image:
    """A picture that a tileset, a tile or a layer names.

    Attributes:
        source: As the file has it.
        width: In pixels; 0 if the file does not say.
        height: In pixels; 0 if the file does not say.
    """

    source: str
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class TileFacts:
    """What a tileset says of one tile."""

    kind: str = ""
    properties: dict[str, Any] = field(default_factory=dict)
    image: Image | None = None
    area: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Chunk:
    """A rectangle of cells of a layer, in tiles; a finite layer is one of them.

    Attributes:
        x: Left edge; may be negative in infinite maps.
        y: Top edge; may be negative in infinite maps.
        width: Columns.
        height: Rows.
        payload: Its cells, as written.
        node: Where it stands; None when the layer itself holds the cells.
    """

    x: int
    y: int
    width: int
    height: int
    payload: Payload
    node: Any = None


@dataclass(frozen=True)
class LayerData:
    """All cells of a layer: how they are written, and its chunks."""

    encoding: str
    compression: str
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, eq=False)
class Piece:
    """A rectangle of cells to be written.

    Attributes:
        x: Left edge in tiles.
        y: Top edge in tiles.
        cells: uint32 [height, width].
        base: The chunk that it takes the place of, if any.
        changed: Whether its cells or edges differ from those of ``base``.
    """

    x: int
    y: int
    cells: Cells
    base: Chunk | None = None
    changed: bool = True


@dataclass(frozen=True)
class Reference:
    """Another file that a node names by the value of one of its attributes."""

    node: Node
    name: str
    value: str


class Node(ABC):
    """One element (XML) or object (JSON) of a Tiled file."""

    start: int
    end: int

    @property
    @abstractmethod
    def at(self) -> str:
        """File and line."""

    @property
    @abstractmethod
    def role(self) -> str:
        """What the file is whose outermost node this is: map, tileset, template, or something else."""

    @abstractmethod
    def get(self, name: str) -> Scalar | None:
        """Return an attribute, if the node has it."""

    @abstractmethod
    def properties(self) -> dict[str, Any]:
        """Return the custom properties, by name."""

    @abstractmethod
    def tilesets(self) -> list[Node]:
        """Return the tilesets of a map."""

    @abstractmethod
    def tiles(self) -> dict[int, TileFacts]:
        """Return what a tileset says of single tiles, by their number in it."""

    @abstractmethod
    def image(self) -> Image | None:
        """Return the picture of a tileset."""

    @abstractmethod
    def layers(self) -> list[tuple[str, Node]]:
        """Return the layers of a map or a group with their kinds: tilelayer, objectgroup, imagelayer or group."""

    @abstractmethod
    def data(self, infinite: bool) -> LayerData:
        """Return the cells of a tile layer, not yet decoded; only in infinite maps may there be none."""

    @abstractmethod
    def objects(self) -> list[Node]:
        """Return the objects of an object layer."""

    @abstractmethod
    def template(self) -> Node | None:
        """Return the object of a template file."""

    @abstractmethod
    def shape(self) -> str:
        """Return what an object is: rectangle, ellipse, point, polygon, polyline, text and so on."""

    @abstractmethod
    def points(self) -> list[tuple[float, float]]:
        """Return the corners of a polygon or polyline, in pixels from the object's place."""

    @abstractmethod
    def references(self) -> Iterator[Reference]:
        """Find every mention of another file in the node and below it."""

    @abstractmethod
    def set(self, **values: Scalar) -> list[Splice[Any]]:
        """Return the splices that give attributes other values."""

    @abstractmethod
    def set_data(self, pieces: Sequence[Piece]) -> list[Splice[Any]]:
        """Return the splices that give a tile layer other cells."""

    @abstractmethod
    def set_objects(self, texts: Sequence[Any]) -> list[Splice[Any]]:
        """Return the splices that give an object layer other objects, each as text from ``render`` or ``plain``."""

    @abstractmethod
    def render(self, splices: Iterable[Splice[Any]]) -> Any:
        """Return the node's own text with splices made."""

    @abstractmethod
    def plain(self, values: dict[str, Scalar], point: bool) -> Any:
        """Return the text of a new object with these attributes."""

    @abstractmethod
    def write(self, splices: Iterable[Splice[Any]]) -> bytes:
        """Return the whole file with splices made."""


def splice_text(source: Text, splices: Iterable[Splice[Text]], start: int, end: int) -> Text:
    """Return ``source[start:end]`` with splices made; they lie inside and do not overlap."""
    parts: list[Text] = []
    here = start
    for splice in sorted(splices, key=lambda splice: (splice.start, splice.end)):
        parts += [source[here : splice.start], splice.text]
        here = splice.end
    parts.append(source[here:end])
    return source[:0].join(parts)


def whole(node: Node, name: str, default: int | None = None, least: int | None = None) -> int:
    """Return an attribute that must be a whole number.

    Args:
        node: The node that has it.
        name: Name of the attribute.
        default: Value if it is missing; None if it must be there.
        least: Smallest value allowed.

    Raises:
        DataError: It is missing, not a whole number, or too small.
    """
    value = node.get(name)
    if value is None:
        if default is None:
            raise DataError(f"{name!r} is missing", source=node.at, remedy="open the map in Tiled and save it again")
        return default
    try:
        if isinstance(value, bool) or len(str(value)) > 20 or int(value) != float(value):
            raise ValueError
        result = int(value)
    except (ValueError, OverflowError) as error:
        message = f"{name} is {str(value)[:30]!r}, not a whole number"
        raise DataError(message, source=node.at, remedy="open the map in Tiled and save it again") from error
    if least is not None and result < least:
        raise DataError(f"{name} is {result}, but it must be at least {least}", source=node.at, remedy="correct it")
    return result


def number(node: Node, name: str, default: float = 0.0) -> float:
    """Return an attribute that must be a finite number, or the default if it is missing.

    Raises:
        DataError: It is no finite number.
    """
    value = node.get(name)
    if value is None:
        return default
    try:
        result = math.nan if isinstance(value, bool) else float(value)
    except (ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result):
        message = f"{name} is {str(value)[:30]!r}, not a number"
        raise DataError(message, source=node.at, remedy="open the map in Tiled and save it again")
    return result


def as_text(value: float) -> str:
    """Return a number as Tiled writes it: no more digits than it needs, whole ones without a point."""
    short = f"{round(value, 6) + 0.0:.6f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short
