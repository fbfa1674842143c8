"""The plan of a dungeon before any tile is drawn: which rooms there are, how they are joined, what locks them, and
where the keys lie, so that it can be solved by construction."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from newgameplus.games.generators.canvas import STEPS, Cell, Style, between, chance, pick

__all__ = ["Join", "Plan", "draw_plan"]


@dataclass
class Join:
    """A way between two rooms beside each other.

    Attributes:
        rooms: The two rooms; of a one-way join, it leads from the first to the second.
        kind: ``open``, ``locked`` or ``one-way``.
        color: Of a locked join: number of its kind of key.
    """

    rooms: tuple[Cell, Cell]
    kind: str = "open"
    color: int = 0


@dataclass
class Plan:
    """Rooms on a grid.

    Attributes:
        rooms: Their places, in the order in which they were added; the first is where one starts.
        joins: Ways between them: a tree first, then shortcuts.
        goal: Room of the goal.
        keys: Room of each key and its color.
        depth: Rooms between each room and the start.
    """

    rooms: list[Cell]
    joins: list[Join]
    goal: Cell
    keys: list[tuple[Cell, int]] = field(default_factory=list)
    depth: dict[Cell, int] = field(default_factory=dict)

    def ends(self) -> list[Cell]:
        """Return rooms with a single way in, neither start nor goal, deepest first."""
        count = dict.fromkeys(self.rooms, 0)
        for join in self.joins:
            for room in join.rooms:
                count[room] += 1
        found = [room for room in self.rooms[1:] if count[room] == 1 and room != self.goal]
        return sorted(found, key=lambda room: -self.depth[room])


def draw_plan(rng: np.random.Generator, rows: int, columns: int, style: Style) -> Plan:
    """Draw the plan of a dungeon on a grid of places for rooms."""
    plan = _draw_tree(rng, rows, columns, style)
    _lock(rng, plan, style)
    _shortcuts(rng, plan, style)
    return plan


def _draw_tree(rng: np.random.Generator, rows: int, columns: int, style: Style) -> Plan:
    """Grow a tree of rooms from a start at the edge; how straight it grows is the style's."""
    wanted = max(2, round(rows * columns * float(style["filled"])))
    start = (rows - 1, between(rng, 0, columns - 1)) if chance(rng, 0.7) else (between(rng, 0, rows - 1), 0)
    rooms, joins, depth = [start], [], {start: 0}
    while len(rooms) < wanted:
        room = rooms[-1] if chance(rng, float(style["winding"])) else pick(rng, rooms)
        free = [
            place
            for place in ((room[0] + down, room[1] + right) for down, right in STEPS)
            if 0 <= place[0] < rows and 0 <= place[1] < columns and place not in depth
        ]
        if not free:
            room = pick(rng, rooms)
            continue
        place = pick(rng, free)
        rooms.append(place)
        depth[place] = depth[room] + 1
        joins.append(Join((room, place)))
    goal = max(rooms, key=lambda room: (depth[room], room))
    return Plan(rooms, joins, goal, depth=depth)


def _lock(rng: np.random.Generator, plan: Plan, style: Style) -> None:
    """Lock some joins of the tree and lay a key of each before it: whatever is open stays one piece with the start."""
    count = min(between(rng, *style["locks"]), len(plan.joins) - 1)
    if count <= 0:
        return
    path = _way_back(plan)
    order = rng.permutation(len(plan.joins)).tolist()
    # The goal's way is locked first, else locks could all be passed by.
    chosen = sorted(order, key=lambda number: plan.joins[number] not in path)[:count]
    colors = int(style["colors"])
    for number, index in enumerate(chosen):
        plan.joins[index].kind = "locked"
        plan.joins[index].color = number % colors
    inside, waiting = {plan.rooms[0]}, [plan.joins[index] for index in chosen]
    _open(plan, inside)
    while waiting:
        ready = [join for join in waiting if join.rooms[0] in inside]
        join = pick(rng, ready)
        waiting.remove(join)
        taken = {room for room, _ in plan.keys}
        places = [room for room in inside if room not in taken and room != plan.rooms[0]] or list(inside)
        ends = [room for room in plan.ends() if room in places]
        plan.keys.append((pick(rng, ends) if ends and chance(rng, 0.7) else pick(rng, sorted(places)), join.color))
        inside.add(join.rooms[1])
        _open(plan, inside)


def _way_back(plan: Plan) -> list[Join]:
    """Return the joins between the goal and the start."""
    room, way = plan.goal, []
    while room != plan.rooms[0]:
        join = next(join for join in plan.joins if join.rooms[1] == room)
        way.append(join)
        room = join.rooms[0]
    return way


def _open(plan: Plan, inside: set[Cell]) -> None:
    """Add all rooms that open joins of the tree lead to."""
    for join in plan.joins:  # parents come before their children
        if join.kind == "open" and join.rooms[0] in inside:
            inside.add(join.rooms[1])


def _shortcuts(rng: np.random.Generator, plan: Plan, style: Style) -> None:
    """Join more neighbors: open ones where no lock is passed by, one-way ones from deeper rooms back."""
    joined = {frozenset(join.rooms) for join in plan.joins}
    places = set(plan.rooms)
    locks = _locks_before(plan)
    for room in plan.rooms:
        for other in ((room[0] + 1, room[1]), (room[0], room[1] + 1)):
            if other not in places or frozenset((room, other)) in joined or plan.goal in (room, other):
                continue
            if not chance(rng, float(style["loops"])):
                continue
            deep, near = (room, other) if plan.depth[room] >= plan.depth[other] else (other, room)
            if locks[deep] == locks[near] and not chance(rng, float(style["one_ways"])):
                plan.joins.append(Join((near, deep)))
            elif style["one_ways"] and locks[near] <= locks[deep]:
                plan.joins.append(Join((deep, near), "one-way"))


def _locks_before(plan: Plan) -> dict[Cell, frozenset[int]]:
    """Return which locks must be opened before each room."""
    locks: dict[Cell, frozenset[int]] = {plan.rooms[0]: frozenset()}
    for number, join in enumerate(plan.joins):
        own = frozenset({number}) if join.kind == "locked" else frozenset()
        locks[join.rooms[1]] = locks[join.rooms[0]] | own
    return locks
