"""Search for an order of doors to open, keys to take and one-way steps to go that reaches what a level asks for.

A stage is where the player is (the nodes that can be walked about in both ways), which doors are open and what has
been taken. Within a stage everything in reach is taken at once, which never harms. A door is opened at once where that
cannot be regretted, and never where nothing new lies behind; else the search branches. All stages together are
finitely many: when they run out, no order works.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from newgameplus.games.rules.contract import Budget
from newgameplus.games.rules.top_down_map import Graph

__all__ = ["Aim", "Outcome", "Search", "Stage", "ahead", "hopeless", "room"]

_NODES_PER_STAGE = 64
"""Stages of levels of many nodes take longer; they are counted as several, so that a budget stays a budget."""


@dataclass(frozen=True)
class Aim:
    """What must be reached.

    Attributes:
        keys: Node of each key.
        key_kinds: Kind of each key.
        targets: Nodes of the goals, or of what else must be within reach.
        any_target: Whether one target is enough.
        sizes: Where most cells must be within reach: cells of each node; else empty.
        enough: How many cells that is.
        kept: Whether a key opens any number of doors.
    """

    keys: tuple[int, ...]
    key_kinds: tuple[str, ...]
    targets: tuple[int, ...]
    any_target: bool
    sizes: tuple[int, ...]
    enough: int
    kept: bool


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage of playing.

    Attributes:
        here: A node that the player is at; a door that has just been opened only if there is no way back out.
        opened: Doors opened, as bits.
        seen: Nodes the player was at (or, where most cells must be within reach, that were within reach), as bits.
        keys: Keys taken, as bits.
        parent: The stage before.
        door: Door that was opened to get here, or -1 when a step of no return was taken.
    """

    here: int
    opened: int
    seen: int
    keys: int
    parent: Stage | None = None
    door: int = -1


@dataclass
class Outcome:
    """How a search ended.

    Attributes:
        stage: The last stage of a solution; None when there is none, or none was found.
        complete: Whether every stage was searched.
        nodes: Stages expanded.
        reached: Nodes that were within reach in any of them, as bits.
        best: The stage that got farthest.
    """

    stage: Stage | None
    complete: bool
    nodes: int
    reached: int
    best: Stage


def ahead(
    graph: Graph, start: int, opened: int, closed: int = 0, within: Callable[[int], bool] | None = None
) -> list[int]:
    """Return the nodes that can be walked to, whether or not there is a way back.

    Args:
        graph: The level.
        start: Node to start from.
        opened: Doors that are open, as bits; -1 for all.
        closed: Doors that are closed all the same.
        within: If given, nodes that may be walked through.
    """
    return _spread(graph.out, graph, start, opened & ~closed, within)


def room(graph: Graph, start: int, opened: int) -> list[int]:
    """Return the nodes that can be walked to and back from."""
    forward = ahead(graph, start, opened)
    if not graph.one_way:
        return forward
    return _spread(graph.into, graph, start, opened, set(forward).__contains__)


def _spread(
    links: Sequence[Sequence[int]], graph: Graph, start: int, opened: int, within: Callable[[int], bool] | None
) -> list[int]:
    found, members = [start], {start}
    for node in found:
        for other in links[node]:
            if other in members or (graph.door[other] >= 0 and not opened >> graph.door[other] & 1):
                continue
            if within is None or within(other):
                members.add(other)
                found.append(other)
    return found


def _mask(nodes: Sequence[int]) -> int:
    mask = 0
    for node in nodes:
        mask |= 1 << node
    return mask


def hopeless(graph: Graph, aim: Aim, start: int) -> bool:
    """Say whether the aim is out of reach even if keys were kept and one-way steps could be taken back."""
    opened, found = 0, set(ahead(graph, start, 0))
    while True:
        kinds = {kind for kind, node in zip(aim.key_kinds, aim.keys, strict=True) if node in found}
        opening = sum(1 << door for door, kind in enumerate(graph.door_kinds) if kind in kinds)
        if opening == opened:
            break
        opened = opening
        found = set(ahead(graph, start, opened))
    if sum(aim.sizes[node] for node in found if aim.sizes) < aim.enough:
        return True
    there = [node in found for node in aim.targets]
    return not (any(there) if aim.any_target else all(there))


class Search:
    """One search of one level from one start.

    Args:
        graph: The level.
        aim: What must be reached.
        start: Node to start from.
        budget: How many stages may be expanded; on graphs of more than 64 nodes each counts more.
        closed: Doors that must stay closed, as bits.
    """

    def __init__(self, graph: Graph, aim: Aim, start: int, budget: Budget, closed: int = 0) -> None:
        self.graph, self.aim, self.start = graph, aim, start
        self._closed = closed
        self._budget = budget
        self._cost = 1 + len(graph.out) // _NODES_PER_STAGE
        self._marks = _mask([*aim.keys, *aim.targets])
        self._met: set[tuple[int, int, int, int]] = set()
        self._queue: list[tuple[int, int, int, Stage]] = []
        self._made = 0

    def run(self) -> Outcome:
        """Search until the aim is met, nothing is left, or the budget ends."""
        end = time.monotonic() + self._budget.seconds if self._budget.seconds is not None else None
        first = Stage(self.start, 0, 0, 0)
        outcome = Outcome(None, False, 0, 1 << self.start, first)
        farthest = (-1, -1)
        self._push(first)
        while self._queue:
            stage, nodes, forward = self._enter(heappop(self._queue)[3])
            if stage is None:
                continue
            outcome.reached |= forward
            score = (self._score(stage), stage.seen.bit_count())
            if score > farthest:
                outcome.best, farthest = stage, score
            if self._met_aim(stage):
                outcome.stage = stage
                return outcome
            spent = outcome.nodes * self._cost >= self._budget.nodes
            if spent or (end is not None and outcome.nodes % 32 == 0 and time.monotonic() > end):
                return outcome
            outcome.nodes += 1
            for following in self._following(stage, nodes):
                self._push(following)
        outcome.complete = True
        return outcome

    def _push(self, stage: Stage) -> None:
        self._made += 1
        order = (-self._score(stage), stage.opened.bit_count(), self._made)
        heappush(self._queue, (*order, stage))

    def _score(self, stage: Stage) -> int:
        return stage.seen.bit_count() if self.aim.sizes else (stage.seen & self._marks).bit_count()

    def _enter(self, stage: Stage) -> tuple[Stage | None, list[int], int]:
        """Take what is there; return the stage then (None if met before), its nodes, and all nodes within reach."""
        nodes = room(self.graph, stage.here, stage.opened)
        own = _mask(nodes)
        forward = _mask(ahead(self.graph, stage.here, stage.opened)) if self.graph.one_way else own
        keys = stage.keys
        for number, node in enumerate(self.aim.keys):
            if own >> node & 1:
                keys |= 1 << number
        seen = stage.seen | (forward if self.aim.sizes else own)
        same = (min(nodes), stage.opened, keys, seen if self.aim.sizes else seen & self._marks)
        if same in self._met:
            return None, nodes, forward
        self._met.add(same)
        return Stage(stage.here, stage.opened, seen, keys, stage.parent, stage.door), nodes, forward

    def _met_aim(self, stage: Stage) -> bool:
        aim = self.aim
        if aim.sizes:
            cells = sum(size for node, size in enumerate(aim.sizes) if stage.seen >> node & 1)
            if cells < aim.enough:
                return False
        there = (bool(stage.seen >> node & 1) for node in aim.targets)
        return any(there) if aim.any_target else all(there)

    def _following(self, stage: Stage, nodes: list[int]) -> Iterator[Stage]:
        graph = self.graph
        own = set(nodes)
        beyond = sorted({other for node in nodes for other in graph.out[node]} - own)
        choices = []
        for node in beyond:
            door = graph.door[node]
            if door < 0 or stage.opened >> door & 1 or self._closed >> door & 1 or not self._held(stage, door):
                continue
            if self._something_new(stage, node, own):
                choices.append(door)
        for door in choices:
            if self._returns(stage, door) and self._no_regret(stage, door):
                yield self._open(stage, door)
                return
        for door in choices:
            yield self._open(stage, door)
        for node in beyond:
            if graph.door[node] < 0 or stage.opened >> graph.door[node] & 1:
                yield Stage(node, stage.opened, stage.seen, stage.keys, stage)

    def _open(self, stage: Stage, door: int) -> Stage:
        opened = stage.opened | 1 << door
        here = stage.here if self._returns(stage, door) else self.graph.door_nodes[door]
        return Stage(here, opened, stage.seen, stage.keys, stage, door)

    def _returns(self, stage: Stage, door: int) -> bool:
        """Say whether one can go into a door and come back out."""
        graph = self.graph
        return not graph.one_way or graph.door_nodes[door] in room(graph, stage.here, stage.opened | 1 << door)

    def _held(self, stage: Stage, door: int) -> int:
        """Return how many keys the player holds that open a door."""
        kind = self.graph.door_kinds[door]
        taken = sum(stage.keys >> number & 1 for number, own in enumerate(self.aim.key_kinds) if own == kind)
        if self.aim.kept:
            return taken
        spent = sum(stage.opened >> number & 1 for number, own in enumerate(self.graph.door_kinds) if own == kind)
        return taken - spent

    def _something_new(self, stage: Stage, node: int, own: set[int]) -> bool:
        """Say whether anything that still counts lies behind a door before one is back where one was."""
        behind = _mask(ahead(self.graph, node, -1, self._closed, lambda other: other not in own))
        return bool(behind & ~stage.seen & (-1 if self.aim.sizes else self._marks))

    def _no_regret(self, stage: Stage, door: int) -> bool:
        """Say whether opening a door with a way back cannot harm: keys are kept, there are enough for all doors of the
        kind left, or the door gives back a key of its kind that nothing but this door leads to."""
        graph, kind = self.graph, self.graph.door_kinds[door]
        left = sum(
            own == kind and not (stage.opened | self._closed) >> number & 1
            for number, own in enumerate(graph.door_kinds)
        )
        if self.aim.kept or self._held(stage, door) >= left:
            return True
        gained = _mask(room(graph, stage.here, stage.opened | 1 << door))
        other_ways = _mask(ahead(graph, stage.here, -1, self._closed | 1 << door))
        return any(
            own == kind and not stage.keys >> number & 1 and gained & ~other_ways & 1 << node
            for number, (own, node) in enumerate(zip(self.aim.key_kinds, self.aim.keys, strict=True))
        )
