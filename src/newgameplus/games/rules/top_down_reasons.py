"""Say in a sentence why a top-down level cannot be played: what cannot be reached, and what is in the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from newgameplus.games.rules.contract import Cell
from newgameplus.games.rules.top_down_map import Graph, Mask
from newgameplus.games.rules.top_down_search import Aim, Outcome, ahead, room

__all__ = ["missing_part", "why_not"]


def why_not(graph: Graph, aim: Aim, outcome: Outcome, start: int, goals: Sequence[int]) -> tuple[str, Cell]:
    """Return why a goal is not reached, and where it is.

    Args:
        graph: The level.
        aim: What had to be reached.
        outcome: How the search ended.
        start: Number of the cell that was started from.
        goals: Numbers of the cells of the goals.
    """
    everywhere = set(ahead(graph, int(graph.nodes[start]), -1))
    missed = [goal for goal in goals if not outcome.best.seen >> int(graph.nodes[goal]) & 1]
    for goal in missed:
        if int(graph.nodes[goal]) not in everywhere:
            cell = graph.cell(goal)
            return f"no way leads from the start at {_place(graph.cell(start))} to the goal at {_place(cell)}", cell
    goal = missed[0]
    cell = graph.cell(goal)
    door = _door_before(graph, outcome, int(graph.nodes[goal]))
    if door is None:
        return f"the goal at {_place(cell)} can no longer be reached after one-way steps to the others", cell
    return f"the goal at {_place(cell)} is {_behind(graph, aim, door)}", cell


def missing_part(
    graph: Graph, aim: Aim, outcome: Outcome, reached: Mask, wanted: Mask, passable: Mask
) -> tuple[str, Cell]:
    """Return why not enough of a level is within reach, and where the rest begins.

    Args:
        graph: The level.
        aim: What had to be reached.
        outcome: How the search ended.
        reached: bool [height, width]: what was within reach.
        wanted: bool [height, width]: keys and collectables.
        passable: bool [height, width]: where one can walk.
    """
    seen = outcome.best.seen
    inside = np.array([*(bool(seen >> node & 1) for node in range(len(graph.out))), False])
    there = reached & inside[graph.nodes].reshape(reached.shape)
    left = wanted & ~there
    if left.any():
        cell = _first(left)
        return f"what lies at {_place(cell)} is {_why_apart(graph, aim, outcome, cell)}", cell
    for door, node in enumerate(graph.door_nodes):
        if not seen >> node & 1:
            cell = graph.cell(int(np.flatnonzero(graph.nodes == node)[0]))
            return f"the door at {_place(cell)} cannot be opened: {_no_key(graph, aim, door)}", cell
    cell = _first(passable & ~there)
    share = float((there & passable).sum() / passable.sum())
    return (
        f"only {share:.0%} of the cells can be reached: {_place(cell)} is {_why_apart(graph, aim, outcome, cell)}",
        cell,
    )


def _why_apart(graph: Graph, aim: Aim, outcome: Outcome, cell: Cell) -> str:
    node = int(graph.nodes[cell[0] * graph.width + cell[1]])
    door = _door_before(graph, outcome, node)
    return "cut off" if door is None else _behind(graph, aim, door)


def _behind(graph: Graph, aim: Aim, door: int) -> str:
    cells = np.flatnonzero(graph.nodes == graph.door_nodes[door])
    return f"behind the door at {_place(graph.cell(int(cells[0])))}, and {_no_key(graph, aim, door)}"


def _no_key(graph: Graph, aim: Aim, door: int) -> str:
    kind = graph.door_kinds[door]
    name = f"{kind} key" if kind else "key"
    return f"no {name} is left for it" if kind in aim.key_kinds else f"there is no {name}"


def _door_before(graph: Graph, outcome: Outcome, goal: int) -> int | None:
    """Return the first shut door on the way from where the search got farthest; None without such a way or door."""
    best = outcome.best
    edge = room(graph, best.here, best.opened)
    came = dict.fromkeys(edge, -1)
    for node in edge:
        for other in graph.out[node]:
            if other not in came:
                came[other] = node
                edge.append(other)
    if goal not in came:
        return None
    way = [goal]
    while came[way[-1]] >= 0:
        way.append(came[way[-1]])
    shut = (graph.door[node] for node in reversed(way))
    return next((door for door in shut if door >= 0 and not best.opened >> door & 1), None)


def _first(mask: Mask) -> Cell:
    row, column = np.argwhere(mask)[0]
    return int(row), int(column)


def _place(cell: Cell) -> str:
    return f"row {cell[0]}, column {cell[1]}"
