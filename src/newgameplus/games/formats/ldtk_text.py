"""JSON changed in place: where values stand in a text, and new values in LDtk's style, so that only changes differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["Edit", "Span", "array_text", "items", "line_indent", "members", "numbers_text", "spliced", "with_values"]

Span = tuple[int, int]
"""Where a value begins, and one past its end."""
Edit = tuple[int, int, str]
"""A span and the text that replaces it."""

_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBERS_A_LINE = 35
_FEW_NUMBERS = 50


def _skip(text: str, place: int) -> int:
    found = _BLANK.match(text, place)
    return found.end() if found else place


def members(text: str, start: int = 0) -> dict[str, Span]:
    """Return where the values of the object that begins at ``start`` stand. The text must be valid JSON."""
    place = _skip(text, start) + 1
    spans: dict[str, Span] = {}
    while text[place := _skip(text, place)] != "}":
        key, place = _DECODER.raw_decode(text, place)
        begin = _skip(text, _skip(text, place) + 1)
        _, place = _DECODER.raw_decode(text, begin)
        spans[key] = begin, place
        place = _skip(text, place)
        place += text[place] == ","
    return spans


def items(text: str, start: int = 0) -> list[Span]:
    """Return where the items of the array that begins at ``start`` stand. The text must be valid JSON."""
    place = _skip(text, start) + 1
    spans = []
    while text[place := _skip(text, place)] != "]":
        _, end = _DECODER.raw_decode(text, place)
        spans.append((place, end))
        place = _skip(text, end)
        place += text[place] == ","
    return spans


def spliced(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with spans replaced; the spans must not overlap."""
    pieces, place = [], 0
    for start, end, new in sorted(edits):
        pieces += [text[place:start], new]
        place = end
    return "".join([*pieces, text[place:]])


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """Return the text of an object with some of its values replaced; keys that it lacks are left out."""
    spans = members(text)
    edits = []
    for key, value in values.items():
        if key in spans and json.loads(text[slice(*spans[key])]) != value:
            compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            edits.append((*spans[key], compact))
    return spliced(text, edits)


def line_indent(text: str, place: int) -> str | None:
    """Return the blanks that begin the line of ``place``; None in a text of one line."""
    if "\n" not in text:
        return None
    start = text.rfind("\n", 0, place) + 1
    return text[start : _BLANK.match(text, start).end()]  # type: ignore[union-attr]


def numbers_text(numbers: Sequence[int], indent: str | None, newline: str = "\n") -> str:
    """Write an array of numbers as LDtk does: 35 a line, or all in one when they are few or the file is minified."""
    if indent is None or len(numbers) <= _FEW_NUMBERS:
        return "[" + ",".join(map(str, numbers)) + "]"
    starts = range(0, len(numbers), _NUMBERS_A_LINE)
    lines = [",".join(map(str, numbers[start : start + _NUMBERS_A_LINE])) for start in starts]
    inner = f",{newline}{indent}\t".join(lines)
    return f"[{newline}{indent}\t{inner}{newline}{indent}]"


def array_text(values: Sequence[str], indent: str | None, newline: str = "\n") -> str:
    """Write an array of values that are text already, one a line."""
    if not values:
        return "[]"
    if indent is None:
        return "[" + ",".join(values) + "]"
    inner = f",{newline}{indent}\t".join(values)
    return f"[{newline}{indent}\t{inner}{newline}{indent}]"
