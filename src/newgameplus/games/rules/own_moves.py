"""A player who moves by a table: each move is a step with conditions on the tiles around; keys and doors besides.

The search is a plain breadth-first one over where the player is, which keys were taken, which doors were opened and
which goals were visited. It is meant for small games that none of the ready rules fits, not for speed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic

import numpy as np
import numpy.typing as npt

from newgameplus.games.rules.contract import Answer, Budget, Cell, Proof, Rules
from newgameplus.games.rules.own_replay import replay_moves
from newgameplus.games.scenes import Level

__all__ = ["FALL", "PLACES", "Move", "MoveRules", "MoveTable"]

_BUDGET = Budget()
FALL = "fall"
"""Name of the step that gravity makes."""

#: Places that a move can look at: where it leads from and to, what is below and above the player, what is between.
PLACES = ("from", "target", "below", "above", "between")


@dataclass(frozen=True)
class Move:
    """One kind of step.

    Attributes:
        name: As the proof calls it.
        step: Rows and columns, down and right positive.
        needs: Meanings by place, of which each of the place's cells must have one.
        forbids: Meanings by place, of which no cell may have any.
    """

    name: str
    step: Cell
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forbids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def offsets(self, place: str) -> list[Cell]:
        """Return the cells of a place, counted from the player."""
        down, right = self.step
        if place == "between":
            far = max(abs(down), abs(right))
            return [(round(down * part / far), round(right * part / far)) for part in range(1, far)]
        return [{"from": (0, 0), "target": self.step, "below": (1, 0), "above": (-1, 0)}[place]]


@dataclass(frozen=True)
class MoveTable:
    """The game.

    Attributes:
        moves: All moves.
        gravity: Whether a player over nothing that carries falls a row, and can do nothing else.
        carries: Meanings of tiles that carry; only with gravity.
        floats: Meanings of tiles in which the player does not fall; only with gravity.
        start: Meanings of the tile to begin on.
        goal: Meanings of the tiles to reach.
        goals: ``all`` or ``any``.
        keys: ``spend`` (a key opens one door), ``keep`` (it opens all doors of its kind) or ``ignore`` (no doors).
    """

    moves: tuple[Move, ...]
    gravity: bool = False
    carries: tuple[str, ...] = ("solid", "one-way", "box", "door", "breakable", "climbable")
    floats: tuple[str, ...] = ("climbable",)
    start: tuple[str, ...] = ("start",)
    goal: tuple[str, ...] = ("goal",)
    goals: str = "all"
    keys: str = "spend"

    @cached_property
    def fall(self) -> Move:
        """What gravity does."""
        return Move(FALL, (1, 0), forbids={"target": ("solid", "void", "box", "breakable")})


class MoveRules(Rules):
    """Rules of a table of moves.

    Args:
        table: The game.
        name: Name of the rules.
    """

    def __init__(self, table: MoveTable, name: str = "own rules") -> None:
        self.table = table
        self.name = name

    def solve(self, level: Level, budget: Budget = _BUDGET) -> Answer:
        """See :meth:`Rules.solve`. Nodes are states: place, keys, doors and goals visited."""
        starts, goals = level.cells(*self.table.start), level.cells(*self.table.goal)
        for cells, what in ((starts, self.table.start), (goals, self.table.goal)):
            if not cells:
                return Answer("unplayable", reason=f"no tile means {' or '.join(what)}")
        return _Search(self.table, level, starts, goals).run(budget)

    def replay(self, level: Level, proof: Proof) -> str:
        """See :meth:`Rules.replay`."""
        return replay_moves(self.table, level, proof)

    def needs(self, level: Level) -> list[str]:
        """See :meth:`Rules.needs`."""
        wanted = (self.table.start, self.table.goal)
        return [" or ".join(words) for words in wanted if not level.tileset.flags(*words).any()]


_State = tuple[int, frozenset[int], frozenset[int], frozenset[int]]
"""Cell, keys taken, doors opened, goals visited; all as numbers of cells. Kept keys count once for each kind."""


class _Search:
    """One breadth-first search in one level."""

    def __init__(self, table: MoveTable, level: Level, starts: Sequence[Cell], goals: Sequence[Cell]) -> None:
        self.table, self.level = table, level
        width = level.width
        self.starts = [row * width + column for row, column in starts]
        self.goals = frozenset(row * width + column for row, column in goals)
        self.keys, self.doors = ({}, {}) if table.keys == "ignore" else (self._kinds("key"), self._kinds("door"))
        self.ways = self._ways()

    def _kinds(self, meaning: str) -> dict[int, str]:
        """Kind of the key or door in each cell that has one."""
        kinds = {}
        for row, column in self.level.cells(meaning):
            tile = self.level.tileset.tiles[int(self.level.tiles[row, column])]
            word = min(word for word in tile.meanings if word.partition(":")[0] == meaning)
            kinds[row * self.level.width + column] = word.partition(":")[2]
        return kinds

    def _ways(self) -> list[list[tuple[int, str]]]:
        """Every cell's moves, keys left aside: where each leads, and its name."""
        height, width = self.level.tiles.shape
        ways: list[list[tuple[int, str]]] = [[] for _ in range(height * width)]
        held = np.ones((height, width), np.bool_)
        if self.table.gravity:
            held = self.level.where(*self.table.floats)
            held[:-1] |= self.level.where(*self.table.carries)[1:]
        moves = [(move, held) for move in self.table.moves]
        moves += [(self.table.fall, ~held)] * self.table.gravity
        for move, where in moves:
            jump = move.step[0] * width + move.step[1]
            for cell in np.flatnonzero(where & self._allowed(move)).tolist():
                ways[cell].append((cell + jump, move.name))
        return ways

    def _allowed(self, move: Move) -> npt.NDArray[np.bool_]:
        """Return bool [height, width]: from where the tiles around let a move be made."""
        allowed = _shifted(np.ones(self.level.tiles.shape, np.bool_), move.step)
        for place in PLACES:
            for offset in move.offsets(place):
                if place in move.needs:
                    allowed &= _shifted(self.level.where(*move.needs[place]), offset)
                if place in move.forbids:
                    allowed &= ~_shifted(self.level.where(*move.forbids[place]), offset)
        return allowed

    def run(self, budget: Budget) -> Answer:
        """Search until the goals are reached, all was seen, or the budget ends."""
        limit = None if budget.seconds is None else monotonic() + budget.seconds
        nothing: frozenset[int] = frozenset()
        queue = deque(self._arrive((cell, nothing, nothing, nothing), cell) for cell in self.starts)
        before: dict[_State, tuple[_State, str] | None] = {state: None for state in queue if state is not None}
        nodes = 0
        while queue:
            state = queue.popleft()
            if state is None:
                continue
            if state[3] == self.goals or (self.table.goals == "any" and state[3]):
                return self._won(state, before, nodes)
            nodes += 1
            if nodes > budget.nodes or (limit is not None and nodes % 256 == 0 and monotonic() > limit):
                reason = f"the search was given up after {nodes - 1} states"
                return Answer("undecided", reason=reason, reached=self._reached(before), measures={"nodes": nodes - 1})
            for cell, name in self.ways[state[0]]:
                onward = self._arrive(state, cell)
                if onward is not None and onward not in before:
                    before[onward] = state, name
                    queue.append(onward)
        return self._lost(before, nodes)

    def _arrive(self, state: _State, cell: int) -> _State | None:
        """Return the state after a step to a cell: key taken, door opened, goal visited; None before a closed door."""
        _, taken, opened, visited = state
        kind = self.doors.get(cell)
        if kind is not None and cell not in opened:
            own = [key for key in taken if self.keys[key] == kind]
            used = sum(self.doors[door] == kind for door in opened) if self.table.keys == "spend" else 0
            if len(own) <= used:
                return None
            opened = opened | {cell} if self.table.keys == "spend" else opened
        if cell in self.keys and cell not in taken:
            first = self.table.keys == "spend" or all(self.keys[key] != self.keys[cell] for key in taken)
            taken = taken | {cell} if first else taken
        if cell in self.goals:
            visited = visited | {cell} if self.table.goals == "all" else frozenset({cell})
        return cell, taken, opened, visited

    def _won(self, state: _State, before: Mapping[_State, tuple[_State, str] | None], nodes: int) -> Answer:
        cells, names = [state[0]], []
        step = before[state]
        while step is not None:
            cells.append(step[0][0])
            names.append(step[1])
            step = before[step[0]]
        way = tuple(divmod(cell, self.level.width) for cell in reversed(cells))
        measures = {"path_length": float(len(way)), "nodes": float(nodes)}
        proof = Proof(way, facts={"moves": names[::-1]})
        return Answer("playable", proof, reached=self._reached(before), measures=measures)

    def _lost(self, before: Mapping[_State, tuple[_State, str] | None], nodes: int) -> Answer:
        reached = self._reached(before)
        measures = {"nodes": float(nodes)}
        if not before:
            return Answer("unplayable", reason="the player begins in a closed door", reached=reached, measures=measures)
        best = max(before, key=lambda state: len(state[3]))
        missing = [cell for cell in sorted(self.goals) if not reached.flat[cell]] or sorted(self.goals - best[3])
        goal = divmod(missing[0], self.level.width)
        rows, columns = np.nonzero(reached)
        near = int(np.argmin(np.abs(rows - goal[0]) + np.abs(columns - goal[1])))
        at = int(rows[near]), int(columns[near])
        how = "cannot be reached" if not reached[goal] else "cannot be reached after the others"
        closed = [cell for cell in self.doors if not reached.flat[cell]]
        door = ""
        if closed:
            row, column = divmod(closed[0], self.level.width)
            door = f"; the door at row {row}, column {column} stays closed or is never reached"
        reason = f"the goal at row {goal[0]}, column {goal[1]} {how}: stuck at row {at[0]}, column {at[1]}{door}"
        return Answer("unplayable", reason=reason, at=at, reached=reached, measures=measures)

    def _reached(self, states: Mapping[_State, object]) -> npt.NDArray[np.bool_]:
        reached = np.zeros(self.level.tiles.shape, np.bool_)
        reached.flat[[state[0] for state in states]] = True
        return reached


def _shifted(where: npt.NDArray[np.bool_], offset: Cell) -> npt.NDArray[np.bool_]:
    """Return for each cell what stands at an offset from it; False outside."""
    height, width = where.shape
    down, right = offset
    found = np.zeros_like(where)
    if abs(down) < height and abs(right) < width:
        here = slice(max(0, -down), min(height, height - down)), slice(max(0, -right), min(width, width - right))
        there = slice(max(0, down), min(height, height + down)), slice(max(0, right), min(width, width + right))
        found[here] = where[there]
    return found
