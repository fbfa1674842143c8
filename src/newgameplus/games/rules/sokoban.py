"""Sokoban: push every box onto a goal. Solved by search over pushes, or shown to be unsolvable, within a budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from newgameplus.games.rules import sokoban_replay
from newgameplus.games.rules.contract import Answer, Budget, Cell, Proof, Rules
from newgameplus.games.rules.sokoban_board import FAR, Board, Plan, bits, read_plan
from newgameplus.games.rules.sokoban_search import Outcome, Push, Search
from newgameplus.games.scenes import Level

__all__ = ["Sokoban"]

_BUDGET = Budget()


class Sokoban(Rules):
    """The puzzle of Sokoban.

    ``solid`` and ``void`` tiles are walls, and so is the border of the level; ``box``, ``goal`` and ``start`` are what
    they say, also together on one tile; everything else is floor. A level needs one start, boxes, and as many goals as
    boxes. Solutions are short but not always the shortest. The proof has moves ``udlr`` (capitals push) and the
    player's cells; the measures are ``pushes``, ``path_length`` (moves), ``nodes`` and ``boxes``.

    Args:
        spare_goals: Whether a level may have more goals than boxes.
    """

    name = "sokoban"
    draws_way = True
    turns = True

    def __init__(self, *, spare_goals: bool = False) -> None:
        self.spare_goals = spare_goals

    def solve(self, level: Level, budget: Budget = _BUDGET) -> Answer:
        """Judge a level. Boards of more than 256 cells or 10 boxes use up several nodes of the budget a position."""
        plan = read_plan(level)
        missing = self._miscounted(plan)
        if missing is not None:
            return missing
        board = Board.of(plan)
        stuck = _shut_out(plan, board, level)
        if stuck is not None:
            return stuck
        search = Search(board, budget)
        outcome = search.run()
        measures = {"nodes": float(outcome.nodes), "boxes": float(plan.boxes.sum())}
        reached = board.grid(outcome.reached, level.height, level.width)
        if outcome.pushes is not None:
            proof = _proof(board, outcome.pushes)
            measures |= {"pushes": float(len(outcome.pushes)), "path_length": float(len(proof.moves))}
            return Answer("playable", proof, reached=reached, measures=measures)
        if not outcome.complete:
            reason, at = _given_up(board, outcome)
            return Answer("undecided", reason=reason, at=at, reached=reached, measures=measures)
        reason, at = _hopeless(board, search, outcome)
        return Answer("unplayable", reason=reason, at=at, reached=reached, measures=measures)

    def replay(self, level: Level, proof: Proof) -> str:
        """Play a proof's moves; return nothing if they solve the level, else what is wrong and at which step."""
        return sokoban_replay.replay(level, proof, self.spare_goals)

    def way(self, proof: Proof) -> tuple[Cell, ...]:
        """Return the cells that boxes are pushed from and to: the trail of every box to its goal."""
        cells: set[Cell] = set()
        for (row, column), to, move in zip(proof.cells, proof.cells[1:], proof.moves, strict=False):
            if move.isupper():
                cells |= {to, (2 * to[0] - row, 2 * to[1] - column)}
        return tuple(sorted(cells))

    def needs(self, level: Level) -> list[str]:
        """Return which of box, goal and start no tile of the level's tileset means."""
        return [meaning for meaning in ("box", "goal", "start") if not level.tileset.flags(meaning).any()]

    def _miscounted(self, plan: Plan) -> Answer | None:
        """Return an answer when there are too many or too few starts, boxes or goals."""
        starts, boxes, goals = (_cells(mask) for mask in (plan.starts, plan.boxes, plan.goals))
        if not starts:
            return _no("there is no start")
        if len(starts) > 1:
            return _no(f"there are {len(starts)} starts: the second is at {_place(starts[1])}", starts[1])
        if not boxes:
            return _no("there is no box")
        if starts[0] in boxes:
            return _no(f"the start at {_place(starts[0])} is in a box", starts[0])
        if len(boxes) > len(goals):
            over = next(cell for cell in boxes if cell not in goals)
            return _no(f"there are {_number(len(boxes), 'box')} and only {_number(len(goals), 'goal')}", over)
        if len(goals) > len(boxes) and not self.spare_goals:
            over = next(cell for cell in goals if cell not in boxes)
            return _no(f"there are {_number(len(goals), 'goal')} and only {_number(len(boxes), 'box')}", over)
        return None


def _no(reason: str, at: Cell | None = None) -> Answer:
    return Answer("unplayable", reason=reason, at=at)


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}{'es' if what == 'box' else 's'}"


def _place(cell: Cell) -> str:
    return f"row {cell[0]}, column {cell[1]}"


def _cells(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[Cell]:
    return [(int(row), int(column)) for row, column in np.argwhere(mask)]


def _shut_out(plan: Plan, board: Board, level: Level) -> Answer | None:
    """Return an answer when a box off its goal, or a goal without a box, lies where the player can never get."""
    inside = board.grid(board.floor, level.height, level.width)
    for cell in _cells(plan.boxes & ~inside & ~plan.goals):
        return _no(f"the player can never get to the box at {_place(cell)}", cell)
    short = board.boxes.bit_count() - board.goals.bit_count()
    if short > 0:
        boxes = _cells(plan.boxes & inside & ~plan.goals)
        return _no(f"{_number(short, 'goal')} too few where the player can get to", boxes[0])
    return None


def _given_up(board: Board, outcome: Outcome) -> tuple[str, Cell]:
    if not outcome.nodes:
        cell = board.cell(next(bits(board.boxes)))
        return "the level is too large for the budget: nothing was searched", cell
    cell = board.cell(next(bits(outcome.nearest & ~board.goals)))
    return f"no solution within {outcome.nodes} positions; the nearest leaves a box at {_place(cell)}", cell


def _hopeless(board: Board, search: Search, outcome: Outcome) -> tuple[str, Cell]:
    """Return why a board that was searched to the end has no solution, and where."""
    for index in bits(board.boxes & ~search.alive):
        cell = board.cell(index)
        return f"the box at {_place(cell)} can never leave its dead square", cell
    places = list(bits(board.boxes))
    for column, index in enumerate(bits(board.goals)):
        if board.goals.bit_count() == len(places) and _none_gets(search, places, column):
            cell = board.cell(index)
            return f"no box can reach the goal at {_place(cell)}", cell
    frozen = search.frozen(board.boxes) & ~board.goals
    for index in bits(frozen):
        cell = board.cell(index)
        return f"the box at {_place(cell)} is held by its neighbors and can never move", cell
    if outcome.nearest_left >= FAR:
        cell = board.cell(places[0])
        return "the boxes cannot be shared out among the goals that each can reach", cell
    cell = board.cell(next(bits(outcome.nearest & ~board.goals)))
    positions = f"all {_number(outcome.nodes, 'position')} that could still be won were searched"
    return f"{positions}; the nearest leaves a box at {_place(cell)}", cell


def _none_gets(search: Search, places: Sequence[int], column: int) -> bool:
    return all(search.distances[place][column] >= FAR for place in places)


def _proof(board: Board, pushes: Sequence[Push]) -> Proof:
    """Fill in the walks between the pushes."""
    letters = {1: "r", -1: "l", board.stride: "d", -board.stride: "u"}
    player, boxes = board.player.bit_length() - 1, board.boxes
    steps: list[int] = []
    moves = ""
    for place, step in pushes:
        walk = _walk(player, place - step, board.floor & ~boxes, list(letters))
        moves += "".join(letters[one] for one in walk) + letters[step].upper()
        steps += [*walk, step]
        boxes ^= 1 << place | 1 << (place + step)
        player = place
    trail = [board.player.bit_length() - 1]
    for one in steps:
        trail.append(trail[-1] + one)
    return Proof(tuple(board.cell(index) for index in trail), moves)


def _walk(start: int, end: int, free: int, steps: Sequence[int]) -> list[int]:
    """Return the steps of a shortest walk over free cells."""
    came: dict[int, int] = {start: 0}
    edge = [start]
    while end not in came:
        edge = [
            place + step
            for place in edge
            for step in steps
            if free >> max(place + step, 0) & 1 and place + step >= 0 and came.setdefault(place + step, step) == step
        ]
    walk = []
    while end != start:
        walk.append(came[end])
        end -= came[end]
    return walk[::-1]
