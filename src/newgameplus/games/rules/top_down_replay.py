"""Walk a top-down proof, cell by cell, on the level as it is drawn; shares nothing with the search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from newgameplus.games.rules.contract import Cell, Proof
from newgameplus.games.rules.top_down_map import Options
from newgameplus.games.scenes import Level, Tile

__all__ = ["replay"]

_WAYS = {(-1, 0): "one-way-up", (1, 0): "one-way-down", (0, -1): "one-way-left", (0, 1): "one-way-right"}


def replay(level: Level, proof: Proof, options: Options) -> str:
    """Walk a proof.

    Args:
        level: The level to be solved.
        proof: The cells, each one step from the last; the facts ``doors`` and ``keys`` list (step, row, column) of
            every door opened and key taken.
        options: How tiles are taken.

    Returns:
        Nothing if every step is legal, the facts are what happened, and the aim is met; else what is wrong.
    """
    player = _Player(level, options)
    cells = [(int(row), int(column)) for row, column in proof.cells]
    wrong = player.begin(cells)
    for step, (here, there) in enumerate(pairwise(cells), start=1):
        if wrong:
            return wrong
        wrong = player.step(here, there, step)
        wrong = wrong and f"step {step}: {wrong}"
    return wrong or player.check_facts(proof) or player.check_end(cells)


@dataclass(frozen=True)
class _Kind:
    """What one tile of the tileset is to the replayer.

    Attributes:
        floor: Whether one can ever be on it, passages between doors left out.
        door: Kind of door, or None.
        key: Kind of key, or None.
        solid: Whether it can be a passage between two doors.
        shut: Whether it is no room that a door could lead to.
        ways: Ways in which it can be entered; empty for all.
    """

    floor: bool
    door: str | None
    key: str | None
    solid: bool
    shut: bool
    ways: frozenset[str]


def _kind(tile: Tile, options: Options) -> _Kind:
    own = {one.partition(":")[0]: one.partition(":")[2] for one in sorted(tile.meanings, reverse=True)}
    door = own.get("door") if "start" not in own else None
    if door is not None or "start" in own:
        floor = True
    elif "breakable" in own:
        floor = options.breakable == "passable" and "void" not in own
    else:
        floor = not (
            own.keys() & {"solid", "void", "box"}
            or ("hazard" in own and options.hazards == "blocks")
            or ("liquid" in own and "empty" not in own and options.liquid == "blocks")
        )
    ways = frozenset(own.keys() & set(_WAYS.values())) if door is None else frozenset()
    solid = "solid" in own and door is None
    return _Kind(floor, door, own.get("key"), solid, bool(own.keys() & {"solid", "void", "box", "door"}), ways)


class _Player:
    """Where one is, what one holds, and what one has opened."""

    def __init__(self, level: Level, options: Options) -> None:
        self._level, self._options = level, options
        self._open = options.doors_open(level)
        self._depth = options.depth(level)
        self._in_pieces = options.in_pieces(level)
        kinds = [_kind(tile, options) for tile in level.tileset.tiles]
        self._grid: list[list[_Kind]] = [[kinds[tile] for tile in row] for row in level.tiles.tolist()]
        self._held: Counter[str] = Counter()
        self._opened: set[Cell] = set()
        self._taken: set[Cell] = set()
        self._doors: list[tuple[int, int, int]] = []
        self._keys: list[tuple[int, int, int]] = []
        self._seen: set[Cell] = set()

    def _at(self, cell: Cell) -> _Kind:
        return self._grid[cell[0]][cell[1]]

    def _inside(self, cell: Cell) -> bool:
        return 0 <= cell[0] < self._level.height and 0 <= cell[1] < self._level.width

    def _door(self, cell: Cell) -> bool:
        return self._at(cell).door is not None

    def _floor(self, cell: Cell) -> bool:
        return self._at(cell).floor

    def begin(self, cells: list[Cell]) -> str:
        if not cells:
            return "the proof has no cells"
        if not self._inside(cells[0]) or not self._floor(cells[0]):
            return f"step 0: one cannot be at {cells[0]}"
        starts = [] if self._in_pieces else self._level.cells("start")
        if starts and cells[0] not in starts:
            return f"step 0: the start is at {starts[0]}, not at {cells[0]}"
        if self._door(cells[0]) and not self._open:
            return f"step 0: {cells[0]} is a door"
        self._take(cells[0], 0)
        self._look_around(cells[0])
        return ""

    def step(self, here: Cell, there: Cell, number: int) -> str:
        """Make one step; return what is wrong with it."""
        if not self._inside(there):
            return f"{there} is outside of the level"
        if not self._may_step(here, there):
            return f"no step leads from {here} to {there}"
        if self._locked(there):
            kind = self._kind(there)
            if not self._held[kind]:
                return f"no key for the door at {there}"
            if self._options.keys == "spent":
                self._held[kind] -= 1
            self._opened |= self._whole_door(there)
            self._doors.append((number, *there))
            self._look_around(there)
        self._take(there, number)
        return ""

    def _take(self, cell: Cell, number: int) -> None:
        kind = self._at(cell).key
        if kind is not None and cell not in self._taken and not self._in_pieces:
            self._taken.add(cell)
            self._held[kind] += 1
            self._keys.append((number, *cell))

    def _kind(self, cell: Cell) -> str:
        """Return the kind of a door, seen from one of its cells or of the passage behind it."""
        door = cell if self._door(cell) else self._ends(cell)[0]
        return self._at(door).door or ""

    def _locked(self, cell: Cell) -> bool:
        return not self._open and cell not in self._opened and (self._door(cell) or bool(self._ends(cell)))

    def _ends(self, cell: Cell) -> list[Cell]:
        """Return the two doors that a solid cell lies between, if it is a passage, the sides before up and down."""
        if not self._depth or not self._at(cell).solid:
            return []
        for down, right in ((0, 1), (1, 0)):
            first, last = (self._next_door(cell, sign * down, sign * right) for sign in (-1, 1))
            if first and last and abs(first[0] - last[0]) + abs(first[1] - last[1]) - 1 <= self._depth:
                return [first, last]
        return []

    def _next_door(self, cell: Cell, down: int, right: int) -> Cell | None:
        for _ in range(self._depth):
            cell = (cell[0] + down, cell[1] + right)
            if not self._inside(cell) or self._door(cell):
                break
            if not self._at(cell).solid:
                return None
        return cell if self._inside(cell) and self._door(cell) else None

    def _whole_door(self, cell: Cell) -> set[Cell]:
        """Return all cells of a door: those of its kind that touch or face each other."""
        kind, found, edge = self._kind(cell), {cell}, [cell]
        while edge:
            row, column = edge.pop()
            for other in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if other in found or not self._inside(other):
                    continue
                if self._ends(other) or self._at(other).door == kind:
                    found.add(other)
                    edge.append(other)
        return found

    def _may_step(self, here: Cell, there: Cell) -> bool:
        """Say whether a step is possible when all doors are open."""
        step = (there[0] - here[0], there[1] - here[1])
        ends = [self._ends(cell) for cell in (here, there)]
        if step not in _WAYS:
            slanted = abs(step[0]) == abs(step[1]) == 1
            corners = [here, there, (here[0], there[1]), (there[0], here[1])]
            return self._options.diagonal and slanted and all(self._plain(cell) for cell in corners)
        for own in ends:
            if own and (own[0][0] == own[1][0]) != (step[0] == 0):
                return False
        if not ends[1] and not self._floor(there):
            return False
        ways = self._ways(there)
        return not ways or _WAYS[step] in ways

    def _ways(self, cell: Cell) -> frozenset[str]:
        return frozenset() if self._ends(cell) else self._at(cell).ways

    def _plain(self, cell: Cell) -> bool:
        locks = self._door(cell) and not self._open
        return self._floor(cell) and not locks and not self._ends(cell) and not self._ways(cell)

    def _look_around(self, cell: Cell) -> None:
        """Where most cells must be within reach: note those that are, with the doors opened so far."""
        if self._options.covers(self._level) and not self._in_pieces:
            self._seen |= self._flood(cell, both_ways=False)

    def _flood(self, cell: Cell, both_ways: bool) -> set[Cell]:
        """Return the cells that can be walked to, or with ``both_ways`` from, through doors that are open."""
        edge, found = [cell], {cell}
        while edge:
            here = edge.pop()
            for there in self._around(here):
                if there in found or self._locked(there):
                    continue
                if self._may_step(here, there) or (
                    both_ways and self._enterable(there) and self._may_step(there, here)
                ):
                    found.add(there)
                    edge.append(there)
        return found

    def _enterable(self, cell: Cell) -> bool:
        return self._floor(cell) or bool(self._ends(cell))

    def _around(self, cell: Cell) -> Iterator[Cell]:
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                there = (cell[0] + down, cell[1] + right)
                if self._inside(there):
                    yield there

    def check_facts(self, proof: Proof) -> str:
        for name, happened in (("doors", self._doors), ("keys", self._keys)):
            claimed = [tuple(int(value) for value in entry) for entry in proof.facts.get(name, ())]
            if claimed != happened:
                return f"the {name} of the proof are {claimed}, those of its steps {happened}"
        return ""

    def check_end(self, cells: list[Cell]) -> str:
        """Say what is missing at the end."""
        level = self._level
        if self._in_pieces:
            return self._check_pieces()
        if not self._options.covers(level):
            goals = level.cells("goal")
            missed = [goal for goal in goals if goal not in cells]
            if not goals or missed == goals or (missed and self._options.goals == "all"):
                return f"after step {len(cells) - 1}: the goal at {missed[0]} was not reached" if goals else "no goal"
            return ""
        wanted = level.cells("key", "collectable") + ([] if self._open else level.cells("door"))
        missed = [cell for cell in wanted if cell not in self._seen and self._floor(cell)]
        if missed:
            return f"after step {len(cells) - 1}: {missed[0]} cannot be reached"
        floor = [(row, column) for row in range(level.height) for column in range(level.width)]
        floor = [cell for cell in floor if self._floor(cell)]
        share = sum(cell in self._seen for cell in floor) / len(floor)
        if share < self._options.least_share(level):
            return f"after step {len(cells) - 1}: only {share:.0%} of the cells can be reached"
        return ""

    def _check_pieces(self) -> str:
        """Count the cells that hang together with a door, and the doors that lead on."""
        floor = [(row, column) for row in range(self._level.height) for column in range(self._level.width)]
        floor = [cell for cell in floor if self._floor(cell)]
        doors = [cell for cell in floor if self._door(cell)]
        housed: set[Cell] = set()
        for door in doors:
            if door not in housed:
                housed |= self._flood(door, both_ways=True)
        share = sum(cell in housed for cell in floor) / len(floor)
        if share < self._options.least_share(self._level):
            return f"only {share:.0%} of the cells can be reached from a door"
        groups: list[set[Cell]] = []
        for door in doors:
            if not any(door in group for group in groups):
                groups.append(self._touching_doors(door))
        leading = sum(self._leads_on(group) for group in groups) / max(1, len(groups))
        return "" if leading >= self._options.least_share(self._level) else f"only {leading:.0%} of the doors lead on"

    def _touching_doors(self, cell: Cell) -> set[Cell]:
        found, edge = {cell}, [cell]
        while edge:
            row, column = edge.pop()
            for other in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if other not in found and self._inside(other) and (self._door(other) or self._ends(other)):
                    found.add(other)
                    edge.append(other)
        return found

    def _leads_on(self, group: set[Cell]) -> bool:
        sides = {way for cell in group if self._door(cell) for way in _WAYS if self._opens(cell, way)}
        return {(-1, 0), (1, 0)} <= sides or {(0, -1), (0, 1)} <= sides

    def _opens(self, door: Cell, way: Cell) -> bool:
        """Say whether room, or the edge of the level behind a few solid cells, is on one side of a door."""
        cell = (door[0] + way[0], door[1] + way[1])
        if self._inside(cell) and not self._at(cell).shut:
            return True
        for _ in range(self._depth + 1):
            if not self._inside(cell):
                return True
            if not self._at(cell).solid:
                return False
            cell = (cell[0] + way[0], cell[1] + way[1])
        return False
