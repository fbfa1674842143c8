"""Games in which plain fine-tuning forgets: a row of rooms with other controls in each, and Breakout upside down.

``expedition`` is small enough to be learnt in seconds. In each room an exit has to be reached past hazards, with a
compass that points to it. In the last room the controls are what they say; in those before it they are mirrored or
turned, so that what is learnt there pulls at what was known of the last one. A policy that was pretrained in the last
room alone meets, when it starts in the first, a part that must be learnt before its skill is of any use: the
state-coverage gap of Wolczyk et al. 2024 (arXiv 2402.02868).
"""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from newgameplus.games.environment_making import find_spec

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
CONTROLS = {"plain": (0, 1, 2, 3), "mirrored": (1, 0, 3, 2), "turned": (3, 2, 0, 1), "back": (2, 3, 1, 0)}
"""What each of up, down, left and right really does."""
SIDE, SIGHT = 7, 3
WALL, HAZARD, EXIT = range(3)


class Expedition(gymnasium.Env[npt.NDArray[np.float32], int]):
    """Rooms one after the other; 0.3 for each exit, 1 for the last; a hazard ends it all.

    Args:
        rooms: Controls of each room, see :data:`CONTROLS`.
        start: Room to begin in.
        hazards: Hazards in the last room.
        others: Hazards in each room before it.
        limit: Most steps of an episode.
    """

    action_names = ("up", "down", "left", "right")

    def __init__(
        self,
        rooms: tuple[str, ...] = ("turned", "plain"),
        start: int = 0,
        hazards: int = 8,
        others: int = 2,
        limit: int = 60,
    ) -> None:
        self.rooms, self.start, self.limit = tuple(rooms), start, limit
        self.hazards = (others,) * (len(self.rooms) - 1) + (hazards,)
        width = (2 * SIGHT + 1) ** 2 * 3 + 2 + len(self.rooms)
        self.observation_space = spaces.Box(-1.0, 1.0, (width,), np.float32)
        self.action_space = spaces.Discrete(4)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Begin in the room that was asked for."""
        super().reset(seed=seed)
        self.steps, self.room = 0, self.start
        self._furnish()
        return self._see(), {}

    def _furnish(self) -> None:
        """Draw a room that can be crossed: where to begin, the exit, and hazards."""
        while True:
            cells = self.np_random.permutation(SIDE * SIDE)
            places = [divmod(int(cell), SIDE) for cell in cells[: self.hazards[self.room] + 2]]
            self.place, self.exit, dangers = places[0], places[1], set(places[2:])
            far = abs(self.place[0] - self.exit[0]) + abs(self.place[1] - self.exit[1])
            if far >= SIDE - 2 and shortest(self.place, self.exit, dangers) is not None:
                break
        self.dangers = dangers
        size = SIDE + 2 * SIGHT
        self.map = np.zeros((size, size, 3), np.float32)
        self.map[..., WALL] = 1.0
        self.map[SIGHT : SIGHT + SIDE, SIGHT : SIGHT + SIDE, WALL] = 0.0
        for row, column in dangers:
            self.map[SIGHT + row, SIGHT + column, HAZARD] = 1.0
        self.map[SIGHT + self.exit[0], SIGHT + self.exit[1], EXIT] = 1.0

    def _see(self) -> npt.NDArray[np.float32]:
        row, column = self.place
        seen = np.zeros(self.observation_space.shape[0], np.float32)  # type: ignore[index]
        window = self.map[row : row + 2 * SIGHT + 1, column : column + 2 * SIGHT + 1]
        seen[: window.size] = window.ravel()
        seen[window.size] = (self.exit[0] - row) / SIDE
        seen[window.size + 1] = (self.exit[1] - column) / SIDE
        seen[window.size + 2 + self.room] = 1.0
        return seen

    def step(self, action: int) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move as the controls of the room have it."""
        self.steps += 1
        down, right = MOVES[CONTROLS[self.rooms[self.room]][int(action)]]
        self.place = (
            min(max(self.place[0] + down, 0), SIDE - 1),
            min(max(self.place[1] + right, 0), SIDE - 1),
        )
        reward, over, success = 0.0, False, False
        if self.place in self.dangers:
            over = True
        elif self.place == self.exit:
            if self.room == len(self.rooms) - 1:
                reward, over, success = 1.0, True, True
            else:
                reward = 0.3
                self.room += 1
                self._furnish()
        cut = not over and self.steps >= self.limit
        return self._see(), reward, over, cut, {"success": success}

    def expert(self) -> int:
        """Return the best action, by a planner that knows the controls."""
        path = shortest(self.place, self.exit, self.dangers)
        if path is None:
            return 0
        move = (path[0][0] - self.place[0], path[0][1] - self.place[1])
        return CONTROLS[self.rooms[self.room]].index(MOVES.index(move))


def shortest(
    start: tuple[int, int], goal: tuple[int, int], dangers: set[tuple[int, int]]
) -> list[tuple[int, int]] | None:
    """Return the cells of a shortest safe path without its start, or None."""
    before: dict[tuple[int, int], tuple[int, int] | None] = {start: None}
    queue = deque([start])
    while queue:
        cell = queue.popleft()
        if cell == goal:
            path = []
            while cell != start:
                path.append(cell)
                cell = before[cell]  # type: ignore[assignment]
            return path[::-1]
        for down, right in MOVES:
            near = (cell[0] + down, cell[1] + right)
            inside = 0 <= near[0] < SIDE and 0 <= near[1] < SIDE
            if inside and near not in before and near not in dangers:
                before[near] = cell
                queue.append(near)
    return None


def expedition(**options: Any) -> Expedition:
    """Make an :class:`Expedition`; for ``environment.id: retention_games.py:expedition``."""
    options["rooms"] = tuple(options.get("rooms", ("turned", "plain")))
    return Expedition(**options)


class UpsideDown(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Breakout of MinAtar turned on its head, and left for right: same channels, same actions."""

    SWAPPED = (0, 2, 1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin."""
        seen, info = self.env.reset(seed=seed, options=options)
        return np.ascontiguousarray(seen[::-1]), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Play on, with left for right."""
        seen, reward, over, cut, info = self.env.step(self.SWAPPED[int(action)])
        return np.ascontiguousarray(seen[::-1]), reward, over, cut, info


def upside_down(game: str = "MinAtar/Breakout-v1") -> gymnasium.Env[Any, Any]:
    """Make a patched game of MinAtar."""
    return UpsideDown(gymnasium.make(find_spec(game), max_episode_steps=1000))
