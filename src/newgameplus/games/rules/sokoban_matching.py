"""Which box goes to which goal at the least pushes: a lower bound on what is left to do, kept up push by push."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Matching", "first_matching", "rematch"]

Matching = tuple[tuple[int, ...], tuple[int, ...]]
"""Goal of each box, and the price of each goal: what makes every choice of the boxes a cheapest one."""

Costs = Sequence[Sequence[int]]
"""Pushes of each box (a row) to each goal (a column); as many rows as columns."""


def first_matching(costs: Costs) -> Matching:
    """Match all boxes anew, one after the other."""
    count = len(costs)
    goals, prices = [-1] * count, [0] * count
    for box in range(count):
        free = set(range(count)).difference(goals)
        _augment(costs, goals, prices, box, free)
    return tuple(goals), tuple(prices)


def rematch(costs: Costs, matching: Matching, box: int) -> Matching:
    """Return the cheapest matching after the costs of one box have changed.

    One shortest augmenting path, as in Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse
    linear assignment problems", Computing 38 (1987).
    """
    goals, prices = matching
    own = goals[box]
    row = costs[box]
    best = row[own] - prices[own]
    for goal, price in enumerate(prices):
        if row[goal] - price < best:
            break
    else:
        return matching
    new_goals, new_prices = list(goals), list(prices)
    new_goals[box] = -1
    _augment(costs, new_goals, new_prices, box, {own})
    return tuple(new_goals), tuple(new_prices)


def _augment(costs: Costs, goals: list[int], prices: list[int], box: int, free: set[int]) -> None:
    """Match ``box``, moving others where that is cheaper; ``goals`` and ``prices`` are changed in place."""
    taker = {goal: other for other, goal in enumerate(goals) if goal >= 0}
    row = costs[box]
    paid = [row[goal] - price for goal, price in enumerate(prices)]
    through = [box] * len(prices)
    open_goals = set(range(len(prices)))
    settled: list[int] = []
    while True:
        goal = min(open_goals, key=lambda one: (paid[one], one not in free))
        if goal in free:
            break
        open_goals.discard(goal)
        settled.append(goal)
        other = taker[goal]
        row = costs[other]
        base = paid[goal] - row[goal] + prices[goal]
        for next_goal in open_goals:
            price = base + row[next_goal] - prices[next_goal]
            if price < paid[next_goal]:
                paid[next_goal] = price
                through[next_goal] = other
    for one in settled:
        prices[one] += paid[one] - paid[goal]
    while True:
        other = through[goal]
        goals[other], goal = goal, goals[other]
        if other == box:
            return
