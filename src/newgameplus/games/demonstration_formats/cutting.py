"""Steps in one long row, cut into episodes: how npz and Parquet keep them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.recipe_problems import did_you_mean

__all__ = ["ENDS", "FIELDS", "Piece", "cut", "field_of", "flags", "missing_fields", "said_of"]

FIELDS = {
    "actions": ("actions", "action"),
    "rewards": ("rewards", "reward"),
    "terminated": ("terminated", "terminations", "termination", "terminals", "terminal", "dones", "done"),
    "truncated": ("truncated", "truncations", "truncation", "timeouts", "timeout"),
    "episode": ("episode", "episodes", "episode_id", "episode_ids", "episode_index"),
    "step": ("step", "steps", "timestep", "step_index"),
    "success": ("success", "successes", "is_success"),
    "group": ("group", "groups"),
    "masks": ("masks", "mask", "action_masks", "action_mask"),
    "environment": ("environment", "env", "env_id"),
}
"""Names under which each thing is looked for, the documented one first."""

ENDS = ("terminated", "truncated", "episode")
_NEEDED = ("actions", "rewards")


@dataclass(frozen=True)
class Piece:
    """Where an episode stands.

    Attributes:
        start: Its first row.
        stop: The row behind its last.
        terminated: Whether the game ended it.
    """

    start: int
    stop: int
    terminated: bool


def field_of(field: str, names: Sequence[str]) -> str | None:
    """Return the name that a file has for something, or None."""
    return next((name for name in FIELDS[field] if name in names), None)


def missing_fields(names: Sequence[str], observations: bool, source: str) -> None:
    """Refuse a file without actions, rewards or observations.

    Args:
        names: Of the file.
        observations: Whether it has observations.
        source: The file.

    Raises:
        DataError: Naming each thing that is missing, and the nearest name that is there.
    """
    known = {name for aliases in FIELDS.values() for name in aliases}
    others = [name for name in names if name not in known and not name.startswith(("observation", "next_obs"))]
    missing = [field for field in _NEEDED if field_of(field, names) is None]
    missing += [] if observations else ["observations"]
    has = f"it has {', '.join(names[:20]) or 'nothing'}"
    problems = []
    for field in missing:
        hint = did_you_mean(field, others)
        if field == "rewards" and not hint:
            hint = "where they are unknown, write zeros"
        problems.append(Problem(f"there are no {field!r}; {has}", source, hint.strip()))
    raise_problems(problems, DataError, f"{source}: {len(problems)} things are missing")


def flags(values: npt.NDArray[Any], name: str, source: str) -> npt.NDArray[np.bool_]:
    """Return true or false of each step.

    Raises:
        DataError: They are something else.
    """
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim != 1 or values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        message = f"{name!r} must be true or false for each step, not {values.dtype} {list(values.shape)}"
        raise DataError(message, source=source, remedy="write 0 or 1")
    return values.astype(bool)


def cut(
    length: int,
    terminated: npt.NDArray[np.bool_] | None,
    truncated: npt.NDArray[np.bool_] | None,
    episode: npt.NDArray[Any] | None,
    source: str,
) -> list[Piece]:
    """Cut a row of steps into episodes: where the number of the episode changes, else behind each end.

    Without any of the three, all is one episode. Steps behind the last end are an episode that the recording cut off.

    Args:
        length: Steps in all.
        terminated: Whether the game ended an episode there.
        truncated: Whether a time limit did.
        episode: Number or name of the episode of each step.
        source: The file, for messages.

    Raises:
        DataError: The arrays are of other lengths, or episodes are mixed up.
    """
    problems = []
    for name, values in zip(ENDS, (terminated, truncated, episode), strict=True):
        if values is not None and len(values) != length:
            message, remedy = f"there are {len(values)} {name!r} for {length} rewards", "give one of each for each step"
            problems.append(Problem(message, source, remedy))
    raise_problems(problems, DataError, f"{source}: arrays of different lengths")
    ended = np.zeros(length, bool)
    for values in (terminated, truncated):
        ended |= values if values is not None else False
    if episode is not None:
        borders = _borders(episode, ended, source)
    else:
        borders = [0, *(np.flatnonzero(ended) + 1).tolist()]
        borders += [length] if borders[-1] < length else []
    return [
        Piece(start, stop, bool(terminated is not None and terminated[stop - 1])) for start, stop in pairwise(borders)
    ]


def _borders(episode: npt.NDArray[Any], ended: npt.NDArray[np.bool_], source: str) -> list[int]:
    episode = episode[:, 0] if episode.ndim == 2 and episode.shape[1] == 1 else episode
    if episode.ndim != 1:
        message = f"'episode' must be one number a step, not {list(episode.shape)}"
        raise DataError(message, source=source, remedy="give a number or name of its episode for each step")
    changes = (np.flatnonzero(episode[1:] != episode[:-1]) + 1).tolist()
    borders = [0, *changes, len(episode)] if len(episode) else [0]
    names = [episode[start] for start in borders[:-1]]
    if len(set(map(str, names))) != len(names):
        twice = next(name for number, name in enumerate(names) if str(name) in map(str, names[:number]))
        message = f"the steps of episode {twice} do not stand together"
        raise DataError(message, source=source, remedy="sort the file by episode and step")
    inside = ended.copy()
    inside[np.array(borders[1:], int) - 1] = False
    if inside.any():
        row = int(np.flatnonzero(inside)[0])
        message = f"row {row} ends episode {episode[row]}, which goes on behind it"
        raise DataError(message, source=source, remedy="give each episode a number of its own")
    return borders


def said_of(values: npt.NDArray[Any] | None, number: int, pieces: Sequence[Piece], length: int, source: str) -> Any:
    """Return what is said of an episode by an array that has an entry for each step (the last counts) or each episode.

    Raises:
        DataError: It has neither.
    """
    if values is None:
        return None
    if len(values) == length:
        return values[pieces[number].stop - 1]
    if len(values) == len(pieces):
        return values[number]
    message = f"an array of {len(values)} belongs neither to {length} steps nor to {len(pieces)} episodes"
    raise DataError(message, source=source, remedy="give 'success' and 'group' one entry for each step or episode")
