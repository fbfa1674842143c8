"""From what the engine knows to labelled spans of video: by the action held, and by what the variables say."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from newgameplus.games.record.acting import ACTIONS
from newgameplus.games.trajectories import Trajectory

__all__ = ["BEHAVIORS", "LONGEST", "SETTLE", "SHORTEST", "LabelledSpan", "action_spans", "behavior_spans", "behaviors"]

BEHAVIORS = ("attack", "dead", "hit", "idle", "move", "pickup", "strafe", "turn")
"""Behaviors by name; what each means is told in :func:`behaviors`."""

SETTLE = 5
"""Frames left out after a change of action: the player slides on for that long, so the label could not be seen."""
SHORTEST = 12
"""Frames of the shortest span that is labelled."""
LONGEST = 30
"""Frames of the longest span of one behavior; what lasts longer becomes several spans."""

_EVENT_FRAMES = 12
_TURNING = 1.0
_STILL_TURN = 0.2
_MOVING = 3.0
_STILL = 0.7
_GAINS = ("HEALTH", "ARMOR", "ITEMCOUNT", "AMMO", "WEAPONS")


@dataclass(frozen=True)
class LabelledSpan:
    """A label with its frames: the first, and the one after the last."""

    label: str
    first: int
    end: int


def behaviors(variables: dict[str, npt.NDArray[np.float32]], cuts: npt.NDArray[np.bool_]) -> npt.NDArray[np.int16]:
    """Say for each frame what the player is doing, from the engine's variables alone.

    In this order, the first that holds: ``dead``; ``hit`` (damage taken in the last 12 frames); ``pickup`` (health,
    armor, ammunition, a weapon or a counted item gained in the last 12 frames); ``attack`` (the trigger is held and the
    weapon is busy firing); ``turn`` (the view turns by at least 1 degree a frame); ``move`` and ``strafe`` (at least 3
    map units a frame, more of it along the view or across it); ``idle`` (neither turning nor moving). What is in
    between has no label.

    Args:
        variables: float32 [frames] for each game variable by name; ``AMMO`` and ``WEAPONS`` are sums over the slots,
            ``TRIGGER`` is 0 or 1.
        cuts: bool [frames]; where the view jumps.

    Returns:
        int16 [frames]; index into ``BEHAVIORS``, or -1.
    """
    dead = variables["DEAD"] > 0
    jump = cuts | np.roll(dead, 1) | dead
    angle = np.radians(variables["ANGLE"].astype(np.float64))
    turned = np.degrees(np.abs((np.diff(angle, prepend=angle[:1]) + np.pi) % (2 * np.pi) - np.pi))
    east, north = (np.diff(variables[name], prepend=variables[name][:1]) for name in ("POSITION_X", "POSITION_Y"))
    along = np.abs(east * np.cos(angle) + north * np.sin(angle))
    across = np.abs(-east * np.sin(angle) + north * np.cos(angle))
    gains = [np.diff(variables[name], prepend=variables[name][:1]) > 0 for name in _GAINS]
    hurt = np.diff(variables["HITS_TAKEN"], prepend=variables["HITS_TAKEN"][:1]) > 0
    speed = np.hypot(along, across)

    found = np.full(len(dead), -1, np.int16)
    rules = [  # from the weakest to the strongest: a later one overrules
        ("idle", (speed < _STILL) & (turned < _STILL_TURN)),
        ("strafe", (speed >= _MOVING) & (across > along)),
        ("move", (speed >= _MOVING) & (along >= across)),
        ("turn", turned >= _TURNING),
        ("attack", (variables["TRIGGER"] > 0) & (variables["ATTACK_READY"] == 0)),
        ("pickup", _lasting(np.logical_or.reduce(gains) & ~jump, cuts)),
        ("hit", _lasting(hurt & ~jump, cuts)),
    ]
    for name, where in rules:
        found[where & ~cuts] = BEHAVIORS.index(name)
    found[dead] = BEHAVIORS.index("dead")
    return found


def _lasting(event: npt.NDArray[np.bool_], cuts: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Let an event hold for the frames after it in which it can still be seen (the flash fades), up to the next cut."""
    frames = np.arange(len(event))
    last_event = np.maximum.accumulate(np.where(event, frames, -_EVENT_FRAMES))
    last_cut = np.maximum.accumulate(np.where(cuts, frames, -1))
    holds: npt.NDArray[np.bool_] = (frames - last_event < _EVENT_FRAMES) & (last_event > last_cut)
    return holds


def _runs(values: npt.NDArray[np.int16], breaks: npt.NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Cut [frames] into runs of one value, also at breaks: (value, first, end)."""
    changes = breaks.copy()
    changes[1:] |= values[1:] != values[:-1]
    changes[:1] = True
    firsts = np.flatnonzero(changes)
    return [
        (int(values[first]), int(first), int(end))
        for first, end in zip(firsts, [*firsts[1:], len(values)], strict=True)
        if values[first] >= 0
    ]


def action_spans(trajectory: Trajectory) -> list[LabelledSpan]:
    """Return the spans in which the player held one action, without the first ``SETTLE`` frames of each hold."""
    names = tuple(ACTIONS)
    return [
        LabelledSpan(names[value], first + SETTLE, end)
        for value, first, end in _runs(trajectory.actions, trajectory.cuts)
        if end - first >= SETTLE + SHORTEST
    ]


def behavior_spans(trajectory: Trajectory) -> list[LabelledSpan]:
    """Return the spans of one behavior, the long ones cut into equal parts of at most ``LONGEST`` frames."""
    spans = []
    for value, first, end in _runs(trajectory.behaviors, trajectory.cuts):
        parts = -(-(end - first) // LONGEST)
        edges = np.linspace(first, end, parts + 1).astype(int)
        spans += [LabelledSpan(BEHAVIORS[value], int(a), int(b)) for a, b in pairwise(edges) if b - a >= SHORTEST]
    return spans
