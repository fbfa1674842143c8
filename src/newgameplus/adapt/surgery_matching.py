"""What became of what: by an explicit map, else by names, else by position (which is a guess, and said)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from newgameplus.adapt.surgery_plan import Sources
from newgameplus.adapt.surgery_text import MapEntry, resolve
from newgameplus.errors import Problem

__all__ = ["Findings", "Row", "match_row"]


@dataclass
class Findings:
    """What came up while a plan was made.

    Attributes:
        notes: Guesses, and what is worth knowing.
        losses: What cannot be preserved.
        problems: What is wrong.
    """

    notes: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, message: str, source: str = "", remedy: str = "") -> None:
        """Add a problem."""
        self.problems.append(Problem(message, source, remedy))


@dataclass(frozen=True)
class Row:
    """A row of things before and after.

    Attributes:
        what: What they are, e.g. ``features of 'hp'``.
        old: How many there were.
        new: How many there are.
        old_names: Their names, if they had any.
        new_names: Their names, if they have any.
        option: Where the map came from, for errors: ``--map-obs`` or ``--map-actions``.
    """

    what: str
    old: int
    new: int
    old_names: Sequence[str] = ()
    new_names: Sequence[str] = ()
    option: str = "--map-obs"


def match_row(row: Row, entries: Sequence[MapEntry], found: Findings) -> Sources:
    """Return the source of each new thing.

    Args:
        row: What there was and is.
        entries: Entries of the map about this row.
        found: Takes notes and problems.
    """
    sources, said_old, said_new = _said(row, entries, found)
    rest_old = [n for n in range(row.old) if n not in said_old]
    rest_new = [n for n in range(row.new) if n not in said_new]
    if row.old_names and row.new_names:
        places = {row.old_names[n]: n for n in rest_old}
        for n in rest_new:
            sources[n] = places.get(row.new_names[n], -1)
        _note_renames(row, sources, rest_old, rest_new, found)
    elif not entries:
        for n in range(min(row.old, row.new)):
            sources[n] = n
        if row.old != row.new:
            last = f"the last {abs(row.new - row.old)} {'added' if row.new > row.old else 'removed'}"
            guess = f"they have no names, so they are matched by position and {last}: a guess; say otherwise with"
            found.notes.append(f"{row.what}: {guess} {row.option}")
    return tuple(sources)


def _said(row: Row, entries: Sequence[MapEntry], found: Findings) -> tuple[list[int], set[int], set[int]]:
    sources, said_old, said_new = [-1] * row.new, set[int](), set[int]()
    for entry in entries:
        old = resolve(entry.old, row.old, row.old_names, f"old {row.what}") if entry.old else []
        new = resolve(entry.new, row.new, row.new_names, f"new {row.what}") if entry.new else []
        wrong = [side for side in (old, new) if isinstance(side, Problem)]
        found.problems += [Problem(p.message, f"{row.option} {entry.text!r}", p.remedy) for p in wrong]
        if isinstance(old, Problem) or isinstance(new, Problem):
            continue
        where = f"{row.option} {entry.text!r}"
        if entry.old and entry.new and len(old) != len(new):
            found.problem(f"{len(old)} before the arrow but {len(new)} after it", where, "both ranges count their last")
            continue
        twice = [n for n in old if n in said_old], [n for n in new if n in said_new]
        for side, numbers in zip(("old", "new"), twice, strict=True):
            if numbers:
                found.problem(f"{side} {row.what}: {numbers[0]} is mentioned twice", where, "name each once")
        said_old.update(old)
        said_new.update(new)
        for source, place in zip(old, new, strict=False):
            sources[place] = source
    return sources, said_old, said_new


def _note_renames(row: Row, sources: list[int], old: list[int], new: list[int], found: Findings) -> None:
    gone = [row.old_names[n] for n in old if n not in sources]
    come = [row.new_names[n] for n in new if sources[n] < 0]
    if gone and come:
        hint = f"{gone[0]}->{come[0]}"
        found.notes.append(
            f"{row.what}: {', '.join(gone[:6])} removed and {', '.join(come[:6])} added, going by their names; "
            f"if one was only renamed, say so with {row.option}, e.g. {hint}"
        )
