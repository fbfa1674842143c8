"""The little language in which a user says what became of what: ``hp:0..3->0..3,mana:new``.

    map    :=  entry { "," entry }
    entry  :=  [place ":"] old "->" new      old became new: moved, renamed, or both
            |  [place ":"] ref ":new"        was not there before
            |  [place ":"] ref ":removed"    is no more
    ref    :=  name | number | number ".." number      a range counts its last number in
    place  :=  part | part "." item

Without a place, names of parts (keys of a dictionary), then names of features are looked up; numbers need a place
where there are several parts. ``part:`` counts a vector's features, a picture's or grid's channels, a choice's numbers
or a text's vocabulary; ``part.item:`` counts the codes of one channel or number. Examples:

    0..3->1..4                    features of the only part move by one place, and the new one is 0
    hp:0..3->0..3,mana:new        the part ``hp`` keeps four features, ``mana`` is new
    image:0..3->1..4              channels
    old_part->new_part            a part renamed
    grid.object:3..5->4..6        codes of the channel ``object``
    jump->leap,dash:new           actions
    1:0..2->1..3                  choices of the second action of several (multi-discrete)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from newgameplus.errors import Problem

__all__ = ["MapEntry", "nearest", "parse_map", "resolve"]

_WORDS = ("new", "removed")
_RANGE = re.compile(r"(\d+)(?:\.\.(\d+))?")
_HELP = "write old->new, name:new or name:removed, e.g. hp:0..3->0..3,mana:new"


@dataclass(frozen=True)
class MapEntry:
    """One entry of a map.

    Attributes:
        place: Part, part.item, or empty.
        old: Name, number or range; empty for what is new.
        new: Name, number or range; empty for what is removed.
        text: As it was written.
    """

    place: str
    old: str
    new: str
    text: str


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a remedy: the nearest known name, or a list of some."""
    near = get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    some = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    return f"there are: {some}" if known else "there are no names; use numbers from 0"


def parse_map(text: str | Mapping[str, str], source: str) -> tuple[list[MapEntry], list[Problem]]:
    """Read a map.

    Args:
        text: A map as the module says, or a mapping such as ``{"hp": "0..3->0..3", "mana": "new", "old": "new name"}``.
        source: Where it came from, for errors.

    Returns:
        The entries, and what could not be read.
    """
    if not isinstance(text, str):
        text = ",".join(f"{k}:{v}" if "->" in v or v in _WORDS else f"{k}->{v}" for k, v in text.items())
    entries: list[MapEntry] = []
    problems: list[Problem] = []
    for piece in (piece.strip() for piece in text.split(",")):
        if piece:
            entry = _parse_entry(piece)
            if entry is None:
                problems.append(Problem(f"{piece!r} is no entry of a map", source, _HELP))
            else:
                entries.append(entry)
    return entries, problems


def _parse_entry(piece: str) -> MapEntry | None:
    left, arrow, new = (part.strip() for part in piece.partition("->"))
    words = [word.strip() for word in left.split(":")]
    if not all(words) or (arrow and (not new or ":" in new or "->" in new)):
        return None
    if arrow:
        return MapEntry(words[0] if len(words) == 2 else "", words[-1], new, piece) if len(words) <= 2 else None
    if len(words) not in (2, 3) or words[-1] not in _WORDS:
        return None
    place, ref = words[0] if len(words) == 3 else "", words[-2]
    return MapEntry(place, "", ref, piece) if words[-1] == "new" else MapEntry(place, ref, "", piece)


def resolve(ref: str, count: int, names: Sequence[str], what: str) -> list[int] | Problem:
    """Turn a name, number or range into numbers from 0.

    Args:
        ref: As it was written.
        count: How many there are.
        names: Their names, if they have any.
        what: What they are, for errors, e.g. ``features of the new part 'hp'``.
    """
    if ref in names:
        return [list(names).index(ref)]
    found = _RANGE.fullmatch(ref)
    if not found:
        return Problem(f"{ref!r} is not among the {what}", "", nearest(ref, names))
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first or last >= count:
        return Problem(f"{ref!r} is outside 0..{count - 1}, the {what}", "", "count from 0; a range includes its last")
    return list(range(first, last + 1))
