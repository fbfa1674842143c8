"""The largest set of levels that all lie apart: a largest independent set, exact for as long as a budget lasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Diversity", "largest_independent_set"]


@dataclass(frozen=True)
class Diversity:
    """How many of a set of levels are levels of their own.

    Attributes:
        share: Size of the largest set found, over the number of levels, 0 to 1.
        size: Size of that set.
        exact: False where the search's budget ended: the true size is at least this.
    """

    share: float
    size: int
    exact: bool


def largest_independent_set(edges: Sequence[int], budget: int = 20_000) -> tuple[int, bool]:
    """Return the size of the largest set of nodes without an edge between any two, and whether that is certain.

    Branch and bound on each connected part by itself: a node whose neighbors are all neighbors of each other is taken
    without branching (copies of one level go this way), and a cover by cliques bounds what is left.

    Args:
        edges: For each node, its neighbors as the bits of a whole number.
        budget: Branches in all; once they end, the best set found so far stands for each part.
    """
    search = _Search(edges, budget)
    size = sum(search.solve(part) for part in _parts(edges))
    return size, search.exact


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _parts(edges: Sequence[int]) -> Iterator[int]:
    """Give the nodes of each connected part as bits."""
    left = (1 << len(edges)) - 1
    while left:
        part = new = left & -left
        while new:
            reached = 0
            for node in _bits(new):
                reached |= edges[node]
            new = reached & ~part
            part |= new
        left &= ~part
        yield part


class _Search:
    def __init__(self, edges: Sequence[int], budget: int) -> None:
        self._edges = edges
        self._budget = budget
        self._best = 0
        self.exact = True

    def solve(self, part: int) -> int:
        """Return the size of the largest independent set among the nodes of ``part``."""
        self._best = self._greedy(part)
        stack = [(part, 0)]
        while stack:
            nodes, size = stack.pop()
            nodes, size = self._reduce(nodes, size)
            if not nodes:
                self._best = max(self._best, size)
                continue
            if size + self._bound(nodes) <= self._best:
                continue
            if self._budget <= 0:
                self.exact = False
                self._best = max(self._best, size + self._greedy(nodes))
                break
            self._budget -= 1
            node = max(_bits(nodes), key=lambda one: (self._edges[one] & nodes).bit_count())
            stack.append((nodes & ~(1 << node), size))
            stack.append((nodes & ~(1 << node) & ~self._edges[node], size + 1))
        return self._best

    def _reduce(self, nodes: int, size: int) -> tuple[int, int]:
        """Take nodes that some largest set is sure to hold: those whose neighbors are all neighbors of each other."""
        changed = True
        while changed and nodes:
            changed = False
            for node in _bits(nodes):
                if not nodes >> node & 1:
                    continue
                around = self._edges[node] & nodes
                if all(around & ~(1 << other) & ~self._edges[other] == 0 for other in _bits(around)):
                    nodes &= ~around & ~(1 << node)
                    size += 1
                    changed = True
        return nodes, size

    def _bound(self, nodes: int) -> int:
        """Count the cliques of a greedy cover: an independent set takes at most one node of each."""
        cliques = 0
        while nodes:
            common = nodes
            while common:
                lowest = common & -common
                nodes ^= lowest
                common = (common ^ lowest) & self._edges[lowest.bit_length() - 1] & nodes
            cliques += 1
        return cliques

    def _greedy(self, nodes: int) -> int:
        size = 0
        while nodes:
            node = min(_bits(nodes), key=lambda one: (self._edges[one] & nodes).bit_count())
            nodes &= ~(1 << node) & ~self._edges[node]
            size += 1
        return size
