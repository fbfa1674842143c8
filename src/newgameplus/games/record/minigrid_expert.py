"""An expert for the levels of MiniGrid: it sees the whole map and takes the shortest way, step by step.

At each step the way to the goal is searched anew (Dijkstra over place and direction), as if locked doors and things
that can be lifted could be walked through at a high price. The first of those on the way is what must be dealt with
first: the door's key be fetched, the thing be carried away; which may need the same again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from newgameplus.errors import GameError

__all__ = ["MiniGridExpert"]

_LEFT, _RIGHT, _FORWARD, _PICKUP, _DROP, _TOGGLE, _DONE = range(7)
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
_DEAR = 1000
_DEEPEST = 12
_LIFTED = ("key", "ball", "box")

Place = tuple[int, int]
Pose = tuple[int, int, int]
"""Column, row and direction (0 is right, 1 down, 2 left, 3 up)."""
Arrived = Callable[[Pose], bool]


@dataclass(frozen=True)
class _Way:
    """A way: the poses on it (the first is where it begins), and the first obstacle that must be dealt with."""

    poses: tuple[Pose, ...]
    cost: int
    obstacle: Place | None


class MiniGridExpert:
    """Plays one copy of a MiniGrid level.

    Args:
        environment: The innermost environment.

    Raises:
        GameError: It does not know what is to be done in the level.
    """

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        classes = [one.__name__ for one in type(environment).__mro__]
        found = next((name for name in classes if name in _TASKS), "MiniGridEnv")
        if "DynamicObstaclesEnv" in classes or "PlaygroundEnv" in classes:
            remedy = "record another policy, or play with the keyboard"
            raise GameError(f"there is no expert for {classes[0]}", source="policy", remedy=remedy)
        self._task = _TASKS[found]
        self._given_up = False

    def begin(self) -> None:
        """Take note that an episode begins."""
        self._given_up = False

    def act(self) -> int:
        """Return the action to take now; ``done`` to the end where there is no way."""
        if self._given_up:
            return _DONE
        action = self._task(_Map(self._environment))
        self._given_up = action is None
        return _DONE if action is None else action


class _Map:
    """The level as it is now, and how to get things done in it."""

    def __init__(self, environment: Any) -> None:
        self.level = environment
        self._cells = environment.grid.grid
        self._width, self._height = environment.grid.width, environment.grid.height
        self.carried = environment.carrying
        x, y = (int(number) for number in environment.agent_pos)
        self.here: Pose = (x, y, int(environment.agent_dir))
        self.lift = True
        self.avoid: frozenset[Place] = frozenset()

    def cell(self, place: Place) -> Any:
        x, y = place
        return self._cells[y * self._width + x] if 0 <= x < self._width and 0 <= y < self._height else _OUTSIDE

    def places(self, kind: str) -> Iterator[Place]:
        """Yield the places of all things of a kind."""
        for number, cell in enumerate(self._cells):
            if cell is not None and cell.type == kind:
                yield number % self._width, number // self._width

    def place_of(self, thing: Any) -> Place | None:
        """Return where a thing lies, or the box that hides it."""
        for number, cell in enumerate(self._cells):
            if cell is not None and (cell is thing or (cell.type == "box" and cell.contains is thing)):
                return number % self._width, number // self._width
        return None

    def _price(self, place: Place) -> int | None:
        """Return what it costs to step onto a place; None if that cannot be."""
        cell = self.cell(place)
        if place in self.avoid:
            return None
        if cell is None or cell.type in ("goal", "floor"):
            return 1
        if cell.type == "door":
            if cell.is_open:
                return 1
            return _DEAR if cell.is_locked and not self._opens(cell) else 2
        return _DEAR if cell.type in _LIFTED and self.lift else None

    def _opens(self, door: Any) -> bool:
        return self.carried is not None and self.carried.type == "key" and self.carried.color == door.color

    def way(self, arrived: Arrived, closed: frozenset[Place] = frozenset()) -> _Way | None:
        """Return the cheapest way to a pose, not over ``closed`` places."""
        queue: list[tuple[int, int, Pose]] = [(0, 0, self.here)]
        costs: dict[Pose, int] = {self.here: 0}
        before: dict[Pose, Pose] = {}
        count = 0
        while queue:
            cost, _, pose = heapq.heappop(queue)
            if cost > costs[pose]:
                continue
            if arrived(pose):
                return self._trace(pose, before, cost)
            for following, price in self._moves(pose, closed):
                total = cost + price
                if total < costs.get(following, total + 1):
                    costs[following], before[following] = total, pose
                    count += 1
                    heapq.heappush(queue, (total, count, following))
        return None

    def _moves(self, pose: Pose, closed: frozenset[Place]) -> Iterator[tuple[Pose, int]]:
        x, y, direction = pose
        yield (x, y, (direction - 1) % 4), 1
        yield (x, y, (direction + 1) % 4), 1
        ahead = _ahead(pose)
        price = None if ahead in closed else self._price(ahead)
        if price is not None:
            yield (*ahead, direction), price

    def _trace(self, pose: Pose, before: dict[Pose, Pose], cost: int) -> _Way:
        poses = [pose]
        while poses[-1] in before:
            poses.append(before[poses[-1]])
        poses.reverse()
        steps = (after[:2] for after, start in zip(poses[1:], poses, strict=False) if after[:2] != start[:2])
        obstacle = next((place for place in steps if self._price(place) == _DEAR), None)
        return _Way(tuple(poses), cost, obstacle)

    def follow(self, way: _Way, depth: int) -> int | None:
        """Return the first action of a way, or of what must be done before it can be taken."""
        if way.obstacle is not None:
            return self._clear(way.obstacle, depth + 1)
        (x, y, direction), (next_x, next_y, turned) = way.poses[0], way.poses[1]
        if (x, y) == (next_x, next_y):
            return _RIGHT if (turned - direction) % 4 == 1 else _LEFT
        cell = self.cell((next_x, next_y))
        return _TOGGLE if cell is not None and cell.type == "door" and not cell.is_open else _FORWARD

    def _clear(self, place: Place, depth: int) -> int | None:
        if depth > _DEEPEST:
            return None
        cell = self.cell(place)
        if cell.type != "door":
            return self.fetch(cell, depth)
        key = self._nearest_key(cell.color)
        return None if key is None else self.fetch(key, depth)

    def _nearest_key(self, color: str) -> Any:
        """Return a key of a color, also one in a box; the one that is cheapest to get."""
        best: tuple[int, Any] | None = None
        for cell in self._cells:
            inside = cell.contains if cell is not None and cell.type == "box" else cell
            if inside is None or inside.type != "key" or inside.color != color:
                continue
            place = self.place_of(inside)
            way = None if place is None else self.way(_facing(place), frozenset((place,)))
            if way is not None and (best is None or way.cost < best[0]):
                best = way.cost, inside
        return None if best is None else best[1]

    def fetch(self, thing: Any, depth: int = 0) -> int | None:
        """Return the next action towards carrying a thing."""
        place = self.place_of(thing)
        if place is None:
            return None
        way = self.way(_facing(place), frozenset((place,)))
        if way is None or depth > _DEEPEST:
            return None
        if self.cell(place) is not thing:  # in a box, which opens without a hand
            return _TOGGLE if len(way.poses) == 1 else self.follow(way, depth)
        if way.obstacle is None and self.carried is not None and not self._unlocks(way):
            return self._put_away(place)
        return _PICKUP if len(way.poses) == 1 else self.follow(way, depth)

    def _unlocks(self, way: _Way) -> bool:
        """Whether what is carried is still needed on a way."""
        cells = (self.cell(pose[:2]) for pose in way.poses)
        return any(cell is not None and cell.type == "door" and cell.is_locked for cell in cells)

    def _put_away(self, target: Place) -> int | None:
        """Return the next action towards empty hands, where what was carried is in nobody's way."""

        def good(pose: Pose) -> bool:
            spot = _ahead(pose)
            if self.cell(spot) is not None or spot == target or spot in self.avoid:
                return False
            again = self.way(_facing(target), frozenset((target, spot)))
            return again is not None and again.cost < _DEAR

        place = self.way(lambda pose: not self._near_door(_ahead(pose)) and good(pose))
        if place is None or place.obstacle is not None:
            place = self.way(good)  # there may be no other place in a narrow room
        if place is None or place.obstacle is not None:
            return None
        return _DROP if len(place.poses) == 1 else self.follow(place, 0)

    def _near_door(self, spot: Place) -> bool:
        around = (self.cell((spot[0] + x, spot[1] + y)) for x, y in _STEPS)
        return any(cell is not None and cell.type == "door" for cell in around)

    def reach(self, arrived: Arrived, last: int, closed: frozenset[Place] = frozenset()) -> int | None:
        """Return the next action towards a pose, and ``last`` there."""
        way = self.way(arrived, closed)
        if way is None:
            return None
        return last if len(way.poses) == 1 else self.follow(way, 0)

    def open(self, door: Any) -> int | None:
        """Return the next action towards an open door."""
        place = self.place_of(door)
        if place is None:
            return None
        if door.is_locked and not self._opens(door):
            return self._clear(place, 0)
        return self.reach(_facing(place), _TOGGLE, frozenset((place,)))


class _Outside:
    type = "wall"


_OUTSIDE = _Outside()


def _ahead(pose: Pose) -> Place:
    x, y, direction = pose
    return x + _STEPS[direction][0], y + _STEPS[direction][1]


def _facing(place: Place) -> Arrived:
    return lambda pose: _ahead(pose) == place


def _beside(place: Place) -> Arrived:
    return lambda pose: abs(pose[0] - place[0]) + abs(pose[1] - place[1]) == 1


def _to_goal(level: _Map) -> int | None:
    goals = frozenset(level.places("goal"))
    return level.reach(lambda pose: pose[:2] in goals, _DONE) if goals else None


def _to_memory(level: _Map) -> int | None:
    level.avoid = frozenset((_place(level.level.failure_pos),))
    right = _place(level.level.success_pos)
    return level.reach(lambda pose: pose[:2] == right, _DONE)


def _to_object(level: _Map) -> int | None:
    level.lift = False
    place = _place(level.level.target_pos)
    return level.reach(_beside(place), _DONE, frozenset((place,)))


def _fetch(level: _Map) -> int | None:
    level.lift = False  # whoever picks up another thing has lost
    wanted = (level.level.targetType, level.level.targetColor)
    ways = (
        level.way(_facing(place), frozenset((place,)))
        for place in level.places(wanted[0])
        if level.cell(place).color == wanted[1]
    )
    best = min((way for way in ways if way is not None), key=lambda way: way.cost, default=None)
    if best is None:
        return None
    return _PICKUP if len(best.poses) == 1 else level.follow(best, 0)


def _put_near(level: _Map) -> int | None:
    level.lift = False
    x, y = _place(level.level.target_pos)
    if level.carried is None:
        kind, color = level.level.move_type, level.level.moveColor
        thing = next(place for place in level.places(kind) if level.cell(place).color == color)
        return level.reach(_facing(thing), _PICKUP, frozenset((thing,)))

    def near(pose: Pose) -> bool:
        spot = _ahead(pose)
        return level.cell(spot) is None and max(abs(spot[0] - x), abs(spot[1] - y)) <= 1

    return level.reach(near, _DROP)


def _red_then_blue(level: _Map) -> int | None:
    red, blue = level.level.red_door, level.level.blue_door
    if not red.is_open:
        level.avoid = frozenset(place for place in (level.place_of(blue),) if place is not None)
        return level.open(red)
    return level.open(blue)


def _place(position: Any) -> Place:
    x, y = (int(number) for number in position)
    return x, y


_TASKS: dict[str, Callable[[_Map], int | None]] = {
    "UnlockEnv": lambda level: level.open(level.level.door),
    "UnlockPickupEnv": lambda level: level.fetch(level.level.obj),
    "BlockedUnlockPickupEnv": lambda level: level.fetch(level.level.obj),
    "KeyCorridorEnv": lambda level: level.fetch(level.level.obj),
    "ObstructedMazeEnv": lambda level: level.fetch(level.level.obj),
    "FetchEnv": _fetch,
    "GoToDoorEnv": _to_object,
    "GoToObjectEnv": _to_object,
    "MemoryEnv": _to_memory,
    "PutNearEnv": _put_near,
    "RedBlueDoorEnv": _red_then_blue,
    "MiniGridEnv": _to_goal,
}
