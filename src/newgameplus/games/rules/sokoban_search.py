"""Search for the pushes that solve a Sokoban board: weighted A* over pushes, walking left out.

A position is where the boxes stand and the part of the floor that the player can walk to: positions that differ only by
a walk are one. The estimate is the cheapest matching of boxes to goals, which never says too much; as it is weighted,
the solution found is good but not always the shortest. All positions that are left out cannot be won, so a search that
ends has proved that there is no solution.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from heapq import heappop, heappush

from newgameplus.games.rules.contract import Budget
from newgameplus.games.rules.sokoban_board import FAR, Board, bits, flood, push_distances
from newgameplus.games.rules.sokoban_corrals import Corrals
from newgameplus.games.rules.sokoban_deadlocks import Freezer, alive_cells
from newgameplus.games.rules.sokoban_matching import Matching, first_matching, rematch

__all__ = ["Outcome", "Push", "Search"]

Push = tuple[int, int]
"""Number of the cell that a box is pushed from, and the step to the next cell."""

_WEIGHT = 4
_FREE_CELLS = 4096
_CELLS_PER_NODE = 256
"""Positions of larger boards take longer; they are counted as several nodes, so that a budget stays a budget."""


@dataclass(frozen=True)
class _Node:
    boxes: int
    player: int
    places: tuple[int, ...]
    matching: Matching
    left: int
    pushes: int
    parent: _Node | None
    push: Push


@dataclass
class Outcome:
    """How a search ended.

    Attributes:
        pushes: The solution; None when there is none, or none was found.
        complete: Whether every position that could still be won was searched.
        nodes: Positions expanded.
        reached: Cells that the player got to in any of them.
        nearest: Boxes of the position with the least left to do.
        nearest_left: Pushes that position still needs at least; ``FAR`` when no position could be won.
    """

    pushes: list[Push] | None
    complete: bool
    nodes: int
    reached: int
    nearest: int
    nearest_left: int


class Search:
    """One search on one board.

    Args:
        board: The level.
        budget: How many positions may be expanded; on boards of more than 256 cells or 10 boxes each counts more.
    """

    def __init__(self, board: Board, budget: Budget) -> None:
        self.board = board
        count = board.goals.bit_count()
        cells = board.floor.bit_count()
        # The tables of a large board take as long as many positions.
        self._left = budget.nodes - cells * count // 64 - max(0, cells - _FREE_CELLS) // 4
        self._cost = 1 + cells // _CELLS_PER_NODE + count**3 // 1024
        self._end = time.monotonic() + budget.seconds if budget.seconds is not None else None
        self.distances = push_distances(board) if self._left > 0 else {}
        self.alive = alive_cells(self.distances)
        self._freezer = Freezer(board, self.alive)
        self._corrals = Corrals(board, self.alive)
        self._spare = ((0,) * count,) * (count - board.boxes.bit_count())
        self._seen: dict[int, list[int]] = {}
        self._queue: list[tuple[int, int, _Node]] = []
        self._made = 0

    def run(self) -> Outcome:
        """Search until the board is solved, nothing is left, or the budget ends."""
        board = self.board
        outcome = Outcome(None, False, 0, board.player, board.boxes, FAR)
        if self._left <= 0:
            return outcome
        self._begin()
        while self._queue:
            node = heappop(self._queue)[2]
            reach = self._enter(node)
            if not reach:
                continue
            outcome.reached |= reach
            if node.left < outcome.nearest_left:
                outcome.nearest, outcome.nearest_left = node.boxes, node.left
            if not node.left:
                outcome.pushes = _history(node)
                return outcome
            if self._spent(outcome.nodes):
                return outcome
            outcome.nodes += 1
            self._expand(node, reach)
        outcome.complete = True
        return outcome

    def frozen(self, boxes: int) -> int:
        """Return the boxes that can never move again in a position."""
        return self._freezer.frozen(boxes)

    def _begin(self) -> None:
        board = self.board
        places = tuple(bits(board.boxes))
        costs = [*(self.distances[place] for place in places), *self._spare]
        matching = first_matching(costs)
        left = sum(costs[box][goal] for box, goal in enumerate(matching[0]))
        if left < FAR and not self._freezer.frozen(board.boxes) & ~board.goals:
            heappush(self._queue, (0, 0, _Node(board.boxes, board.player, places, matching, left, 0, None, (0, 0))))

    def _enter(self, node: _Node) -> int:
        """Return where the player can walk, and note it; nothing if the position was met before."""
        reaches = self._seen.setdefault(node.boxes, [])
        for reach in reaches:
            if reach & node.player:
                return 0
        reach = flood(node.player, self.board.floor & ~node.boxes, self.board.stride)
        reaches.append(reach)
        return reach

    def _spent(self, nodes: int) -> bool:
        self._left -= self._cost
        if self._left < 0:
            return True
        return self._end is not None and nodes % 32 == 0 and time.monotonic() > self._end

    def _expand(self, node: _Node, reach: int) -> None:
        """Put every push that may still lead to a solution in the queue."""
        stride, boxes = self.board.stride, node.boxes
        free = self.alive & ~boxes
        pushes = self._corrals.first_pushes(boxes, reach) or (
            boxes & reach << 1 & free >> 1,
            boxes & reach >> 1 & free << 1,
            boxes & reach << stride & free >> stride,
            boxes & reach >> stride & free << stride,
        )
        for step, all_pushable in zip((1, -1, stride, -stride), pushes, strict=True):
            pushable = all_pushable
            while pushable:
                box = pushable & -pushable
                pushable ^= box
                target = box << step if step > 0 else box >> -step
                moved = boxes ^ box ^ target
                if any(reach & box for reach in self._seen.get(moved, ())):
                    continue
                if not self._freezer.frozen(moved) & ~self.board.goals:
                    self._offer(node, moved, box, step)

    def _offer(self, node: _Node, moved: int, box: int, step: int) -> None:
        """Queue a position, unless its boxes can no longer be shared out among the goals."""
        place = box.bit_length() - 1
        index = node.places.index(place)
        places = (*node.places[:index], place + step, *node.places[index + 1 :])
        distances = self.distances
        costs = [*[distances[one] for one in places], *self._spare]
        matching = rematch(costs, node.matching, index)
        left = 0
        for row, goal in zip(costs, matching[0], strict=True):
            left += row[goal]
        if left < FAR:
            self._made += 1
            pushes = node.pushes + 1
            # Of equals, the latest first: it goes on with the box that was pushed last.
            key = (pushes + _WEIGHT * left, -self._made)
            heappush(self._queue, (*key, _Node(moved, box, places, matching, left, pushes, node, (place, step))))


def _history(node: _Node) -> list[Push]:
    pushes = []
    while node.parent is not None:
        pushes.append(node.push)
        node = node.parent
    return pushes[::-1]
