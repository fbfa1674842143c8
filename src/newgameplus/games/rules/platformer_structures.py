"""Structures of several tiles, such as pipes: what must stand beside each of their tiles, given or learnt from maps.

A rule says of one tile and one side which tiles may stand there. A pattern such as ``[["<", ">"], ["[", "]"]]`` (whose
last row repeats down to something solid) is a way to write eight of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.games.rules.contract import Flaw
from newgameplus.games.scenes import Level
from newgameplus.recipe import did_you_mean

__all__ = ["SIDES", "Beside", "find_flaws", "learn_structures", "read_structures"]

#: Sides of a tile, as (rows, columns).
SIDES: Mapping[str, tuple[int, int]] = {"left": (0, -1), "right": (0, 1), "above": (-1, 0), "below": (1, 0)}

_SOLID = "meaning:solid"
"""In a rule's data: anything solid, or the lower edge of the map."""


@dataclass(frozen=True)
class Beside:
    """What must stand at one side of a tile.

    Attributes:
        tile: Name of the tile.
        side: A key of :data:`SIDES`.
        names: Tiles that may stand there.
        solid: Whether anything solid, or the lower edge of the map, will do as well.
    """

    tile: str
    side: str
    names: frozenset[str]
    solid: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the rule as plain data, as :func:`read_structures` takes it."""
        return {"tile": self.tile, self.side: sorted(self.names) + [_SOLID] * self.solid}

    def __str__(self) -> str:
        wanted = [repr(name) for name in sorted(self.names)] + ["something solid"] * self.solid
        return f"{' or '.join(wanted)} {self.side}"


def read_structures(structures: Any, source: str = "structures") -> tuple[Beside, ...]:
    """Take structures as an option gives them: rules, their plain data, or patterns of tile names.

    Args:
        structures: A list of :class:`Beside`, of mappings like ``{"tile": "<", "right": [">"]}``, and of patterns.
        source: Where the list stands.

    Raises:
        DataError: With everything that is wrong.
    """
    if not isinstance(structures, Sequence) or isinstance(structures, str) or len(structures) > 10_000:
        remedy = 'write patterns of tile names: [[["<", ">"], ["[", "]"]]]'
        raise DataError(f"structures must be a list, not {structures!r:.60}", source=source, remedy=remedy)
    problems: list[Problem] = []
    found: list[Beside] = []
    for number, one in enumerate(structures):
        place = f"{source}.{number}"
        if isinstance(one, Beside):
            found.append(one)
        elif isinstance(one, Mapping):
            found += _from_mapping(one, place, problems)
        else:
            found += _from_pattern(one, place, problems)
    raise_problems(problems, DataError, f"{len(problems)} structures cannot be used")
    return _merge(found)


def _from_mapping(one: Mapping[Any, Any], place: str, problems: list[Problem]) -> list[Beside]:
    known = ["tile", *SIDES]
    for key in one:
        if key not in known:
            problems.append(Problem(f"unknown key {key!r}", place, f"{did_you_mean(str(key), known)}{known}"))
    if not isinstance(one.get("tile"), str):
        problems.append(Problem("names no tile", place, 'like {"tile": "<", "right": [">"]}'))
        return []
    found = []
    for side in SIDES:
        names = one.get(side, [])
        if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(n, str) for n in names):
            problems.append(Problem(f"{side} must be a list of tile names, not {names!r:.60}", place, "quote each"))
        elif names:
            found.append(Beside(one["tile"], side, frozenset(names) - {_SOLID}, _SOLID in names))
    return found


def _from_pattern(rows: Any, place: str, problems: list[Problem]) -> list[Beside]:
    good = isinstance(rows, Sequence) and not isinstance(rows, str) and 1 <= len(rows) <= 100
    good = good and all(isinstance(row, Sequence) and not isinstance(row, str) and row for row in rows)
    good = good and all(isinstance(name, str) for row in rows for name in row)
    if not good or len({len(row) for row in rows}) != 1:
        remedy = 'rows of tile names, all as long: [["<", ">"], ["[", "]"]]'
        problems.append(Problem(f"{rows!r:.60} is no pattern", place, remedy))
        return []
    found, last = [], len(rows) - 1
    for r, row in enumerate(rows):
        for c, name in enumerate(row):
            if c:
                found.append(Beside(name, "left", frozenset({row[c - 1]})))
            if c + 1 < len(row):
                found.append(Beside(name, "right", frozenset({row[c + 1]})))
            if r:
                found.append(Beside(name, "above", frozenset({rows[r - 1][c], *([name] if r == last else [])})))
            under = {rows[min(r + 1, last)][c]}
            found.append(Beside(name, "below", frozenset(under), solid=r == last))
    return found


def _merge(found: Iterable[Beside]) -> tuple[Beside, ...]:
    """Join rules about the same side of the same tile: either will do."""
    merged: dict[tuple[str, str], Beside] = {}
    for one in found:
        key = one.tile, one.side
        other = merged.get(key, one)
        merged[key] = Beside(*key, one.names | other.names, one.solid or other.solid)
    return tuple(merged.values())


def learn_structures(
    levels: Iterable[Level], *, support: int = 3, confidence: float = 0.98, meaning: str = "pipe"
) -> list[Beside]:
    """Learn from maps what stands beside each tile of a structure.

    A side gets a rule if, over all maps, almost always one tile stands there; or almost always a tile of a
    structure; or, below, almost always a tile of a structure or something solid.

    Args:
        levels: Training maps.
        support: Fewest times that a tile must have been seen with a neighbor at the side.
        confidence: Share of the neighbors that must obey a rule.
        meaning: Which tiles form structures.

    Returns:
        The rules, to be given to :func:`read_structures` or a platformer's option ``structures``.
    """
    seen: dict[tuple[str, str], Counter[str]] = {}
    parts: set[str] = set()
    hard: set[str] = {_SOLID}
    for level in levels:
        names = level.tileset.names
        parts |= {tile.name for tile in level.tileset.tiles if tile.means(meaning)}
        hard |= {tile.name for tile in level.tileset.tiles if tile.means("solid")}
        for row, column in level.cells(meaning):
            for side in SIDES:
                beside = _name_at(level, row, column, side)
                if beside is not None:
                    seen.setdefault((names[level.tiles[row, column]], side), Counter())[beside] += 1
    found = []
    for (tile, side), neighbors in sorted(seen.items()):
        if neighbors.total() >= support:
            found += _rule(tile, side, neighbors, confidence, parts, hard)
    return found


def _name_at(level: Level, row: int, column: int, side: str) -> str | None:
    """Return what stands beside a cell; the lower edge counts as solid, the others as None."""
    down, right = SIDES[side]
    row, column = row + down, column + right
    if 0 <= row < level.height and 0 <= column < level.width:
        return level.tileset.names[int(level.tiles[row, column])]
    return _SOLID if side == "below" else None


def _rule(
    tile: str, side: str, neighbors: Counter[str], confidence: float, parts: set[str], hard: set[str]
) -> list[Beside]:
    enough = confidence * neighbors.total()
    usual, count = neighbors.most_common(1)[0]
    if usual in parts and count >= enough:
        return [Beside(tile, side, frozenset({usual}))]
    rare = (1.0 - confidence) * neighbors.total()
    own = {name for name in neighbors if name in parts and neighbors[name] > rare}
    if own and sum(neighbors[name] for name in own) >= enough:
        return [Beside(tile, side, frozenset(own))]
    if side == "below" and sum(number for name, number in neighbors.items() if name in own | hard) >= enough:
        return [Beside(tile, side, frozenset(own), solid=True)]
    return []


def find_flaws(level: Level, structures: Sequence[Beside], *, part: bool = False) -> list[Flaw]:
    """Return the tiles of structures that miss something beside them.

    Args:
        level: The level.
        structures: The rules.
        part: Whether the level is still being made, so that its right edge may cut a structure.
    """
    names = level.tileset.names
    found = []
    rules: dict[int, list[Beside]] = {}
    for rule in structures:
        if rule.tile in level.tileset.index:
            rules.setdefault(level.tileset.index[rule.tile], []).append(rule)
    solid = {tile.name for tile in level.tileset.tiles if tile.means("solid")} | {_SOLID}
    for row in range(level.height):
        for column in range(level.width):
            for rule in rules.get(int(level.tiles[row, column]), ()):
                beside = _name_at(level, row, column, rule.side)
                if beside is None and part and rule.side == "right":
                    continue
                if beside in rule.names or (rule.solid and beside in solid):
                    continue
                there = "the edge of the map" if beside in (None, _SOLID) else repr(beside)
                tile = names[level.tiles[row, column]]
                message = f"{tile!r} at row {row}, column {column} needs {rule}, but there is {there}"
                found.append(Flaw("broken structure", (row, column), message))
    return found
