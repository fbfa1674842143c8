"""Turn the stages of a top-down solution into a walk, cell by cell, that takes only the keys it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from newgameplus.games.rules.top_down_map import Graph
from newgameplus.games.rules.top_down_search import Aim, Stage, ahead, room

__all__ = ["Walk", "Walker", "longest_walk", "stages_of"]


@dataclass
class Walk:
    """A walk so far.

    Attributes:
        cells: Numbers of the cells, first to last.
        opened: Step and door, in order.
        taken: Step and cell of each key, in order.
    """

    cells: list[int]
    opened: list[tuple[int, int]] = field(default_factory=list)
    taken: list[tuple[int, int]] = field(default_factory=list)


def stages_of(last: Stage) -> list[Stage]:
    """Return the stages that led to the last one, first to last."""
    chain = [last]
    while chain[-1].parent is not None:
        chain.append(chain[-1].parent)
    return chain[::-1]


class Walker:
    """Walks the stages of one solution.

    Args:
        graph: The level.
        aim: What must be reached.
        start: Number of the cell to start from.
        keys: Kind of the key on each cell that has one.
        goals: Cells to visit: all, or any one of them; empty when most cells must be within reach instead.
    """

    def __init__(self, graph: Graph, aim: Aim, start: int, keys: dict[int, str], goals: Iterable[int]) -> None:
        self._graph, self._aim = graph, aim
        self._keys = dict(keys)
        self._goals = set(goals)
        self._held: dict[str, int] = {}
        self._doors = 0
        self.walk = Walk([start])
        self._arrive(start)

    def follow(self, stages: list[Stage]) -> Walk:
        """Walk all stages, first to last, and return the walk."""
        left = [self._graph.door_kinds[stage.door] for stage in stages if stage.door >= 0]
        for stage, following in pairwise(stages):
            inside = set(room(self._graph, stage.here, stage.opened))
            if following.here != stage.here:
                self._pack(left, inside)
            entry = following.here
            if following.door >= 0:
                entry, kind = self._graph.door_nodes[following.door], self._graph.door_kinds[following.door]
                self._fetch(kind, 1, inside)
                left.remove(kind)
            self._go(partial(self._is_in, entry), inside | {entry})
        last = stages[-1]
        inside = set(room(self._graph, last.here, last.opened))
        if self._goals:
            self._visit(inside)
        elif self._aim.sizes:
            self._wander(last)
        return self.walk

    def _node(self, cell: int) -> int:
        return int(self._graph.nodes[cell])

    def _is_in(self, node: int, cell: int) -> bool:
        return self._node(cell) == node

    def _pack(self, left: list[str], inside: set[int]) -> None:
        """Before a step of no return: take the keys for the doors that are left, and visit the goals."""
        for kind in sorted(set(left)):
            self._fetch(kind, 1 if self._aim.kept else left.count(kind), inside)
        if not self._aim.any_target:
            self._visit(inside)

    def _fetch(self, kind: str, wanted: int, inside: set[int]) -> None:
        """Take keys, the nearest first, until ``wanted`` are held or none is left here."""
        while self._held.get(kind, 0) < wanted:
            if not self._go(lambda cell: self._keys.get(cell) == kind, inside):
                return

    def _visit(self, inside: set[int]) -> None:
        """Visit the goals here, the nearest first; one is enough if any will do."""
        while self._goals and self._go(self._goals.__contains__, inside):
            if self._aim.any_target:
                return

    def _wander(self, last: Stage) -> None:
        """Go to the cell that is farthest away: where most cells must be within reach, no other end is better."""
        came = self._search(lambda _: False, set(ahead(self._graph, last.here, last.opened)))[0]
        self._step_along(came, next(reversed(came)))

    def _go(self, wanted: Callable[[int], bool], inside: set[int]) -> bool:
        """Go the shortest way to the nearest wanted cell; say whether there is one."""
        came, end = self._search(wanted, inside)
        if end is not None:
            self._step_along(came, end)
        return end is not None

    def _search(self, wanted: Callable[[int], bool], inside: set[int]) -> tuple[dict[int, int], int | None]:
        here = self.walk.cells[-1]
        came = {here: here}
        edge = [here]
        if wanted(here):
            return came, here
        while edge:
            beyond = []
            for cell in edge:
                for other in self._graph.near[cell]:
                    if other in came or self._node(other) not in inside:
                        continue
                    came[other] = cell
                    if wanted(other):
                        return came, other
                    beyond.append(other)
            edge = beyond
        return came, None

    def _step_along(self, came: dict[int, int], end: int) -> None:
        way = []
        while came[end] != end:
            way.append(end)
            end = came[end]
        for cell in reversed(way):
            self.walk.cells.append(cell)
            self._arrive(cell)

    def _arrive(self, cell: int) -> None:
        """Open the door, take the key and tick off the goal that are there."""
        step = len(self.walk.cells) - 1
        door = self._graph.door[self._node(cell)]
        if door >= 0 and not self._doors >> door & 1:
            kind = self._graph.door_kinds[door]
            self._doors |= 1 << door
            self.walk.opened.append((step, cell))
            if not self._aim.kept:
                self._held[kind] = self._held.get(kind, 0) - 1
        if cell in self._keys:
            kind = self._keys.pop(cell)
            self._held[kind] = self._held.get(kind, 0) + 1
            self.walk.taken.append((step, cell))
        self._goals.discard(cell)


def longest_walk(graph: Graph, inside: int) -> list[int]:
    """Return a long way without detours in the piece that a cell lies in: from the cell farthest from it to the one
    farthest from there."""
    ends = [inside]
    for _ in range(2):
        came = _distant(graph, ends[-1])
        ends.append(next(reversed(came)))
    way = [ends[-1]]
    while came[way[-1]] != way[-1]:
        way.append(came[way[-1]])
    return way[::-1]


def _distant(graph: Graph, start: int) -> dict[int, int]:
    """Return where each cell is walked to from, nearest first, all doors open."""
    came = {start: start}
    edge = [start]
    for cell in edge:
        for other in graph.near[cell]:
            if other not in came:
                came[other] = cell
                edge.append(other)
    return came
