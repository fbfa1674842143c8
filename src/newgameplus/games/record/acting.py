"""Who plays while an episode is recorded: a seeded player that holds one nameable action at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["ACTIONS", "BUTTONS", "ActingPlayer", "Hold"]

BUTTONS = ("MOVE_FORWARD", "MOVE_BACKWARD", "TURN_LEFT", "TURN_RIGHT", "MOVE_LEFT", "MOVE_RIGHT", "ATTACK", "SPEED")
"""Buttons of the engine, in the order in which they are pressed."""

ACTIONS = {
    "attack": "ATTACK",
    "idle": None,
    "move_backward": "MOVE_BACKWARD",
    "move_forward": "MOVE_FORWARD",
    "strafe_left": "MOVE_LEFT",
    "strafe_right": "MOVE_RIGHT",
    "turn_left": "TURN_LEFT",
    "turn_right": "TURN_RIGHT",
}
"""Every action by name, with the button that does it."""

_NAMES = tuple(ACTIONS)
_WALKS = frozenset(name for name, button in ACTIONS.items() if button and button.startswith("MOVE"))
_WAYS_OUT = ("turn_left", "turn_right", "turn_left", "turn_right", "move_backward", "strafe_left", "strafe_right")
_BLOCKED_SPEED = 1.0
"""Map units a tic below which a walk counts as blocked; walking speed is about 8, running 16."""
_GAINING_SPEED = 6
"""Tics that a walk may take to gain speed before it can count as blocked."""


@dataclass(frozen=True)
class Hold:
    """One action held for some time.

    Attributes:
        action: Index of the action in ``ACTIONS``.
        buttons: 0 or 1 for each of ``BUTTONS``.
        tics: For how long, in 35ths of a second.
    """

    action: int
    buttons: tuple[int, ...]
    tics: int


class ActingPlayer:
    """Holds one action at a time for a random number of tics, and turns away from walls.

    Actions that were seen less so far are chosen more often, so that the classes come out nearly balanced although
    walks are cut short by walls. A walk that no longer moves is given up: what cannot be seen should not be labelled.

    Args:
        random: Source of all choices.
        shortest: Least number of tics an action is held.
        longest: Greatest number of tics an action is held.
    """

    def __init__(self, random: np.random.Generator, shortest: int, longest: int) -> None:
        self._random = random
        self._range = (shortest, longest)
        self._shown = np.zeros(len(_NAMES))
        self._last = -1
        self._blocked = False

    def next(self) -> Hold:
        """Choose the next action."""
        names = _WAYS_OUT if self._blocked else _NAMES
        choices = np.array([_NAMES.index(name) for name in names])
        choices = choices[choices != self._last]
        weights = (1.0 + self._shown[choices]) ** -2.0
        action = int(self._random.choice(choices, p=weights / weights.sum()))
        tics = int(self._random.integers(self._range[0], self._range[1] + 1))
        running = bool(self._random.random() < 0.5)
        self._last, self._blocked = action, False
        pressed = {ACTIONS[_NAMES[action]]} | ({"SPEED"} if running else set())
        return Hold(action, tuple(int(button in pressed) for button in BUTTONS), tics)

    def gives_up(self, hold: Hold, held: int, speed: float) -> bool:
        """Say whether a hold should end now because a wall is in the way.

        Args:
            hold: What is being held.
            held: For how many tics already.
            speed: How far the player moved in the last tic, in map units.
        """
        self._blocked = _NAMES[hold.action] in _WALKS and held >= _GAINING_SPEED and speed < _BLOCKED_SPEED
        return self._blocked

    def shown(self, hold: Hold) -> None:
        """Count a hold that was long enough to be labelled."""
        self._shown[hold.action] += 1
