"""Bringing an episode of a file into the shapes and types of a game's spaces, and saying all that does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, Problem
from newgameplus.games.demonstration_formats.contract import RawEpisode
from newgameplus.games.episodes import Episode
from newgameplus.gymnasium_spaces import words_to_tokens
from newgameplus.recipe_problems import did_you_mean
from newgameplus.spaces import ActionSpec, ObservationPart, ObservationSpec

__all__ = ["LARGE_REWARD", "fit_episode"]

LARGE_REWARD = 1e6
"""Rewards from here on are kept, and said."""

_TOLERANCE = 1e-3
"""Share of its range by which a continuous action may lie outside: rounding of other people's files."""

Rows = npt.NDArray[Any]


class _MisfitError(Exception):
    """One array does not fit; the text says why, and what to do."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


def fit_episode(raw: RawEpisode, observations: ObservationSpec, actions: ActionSpec) -> Episode:
    """Bring an episode into the shapes and types of the game's spaces.

    A last observation that was not kept is replaced by the one before it; pictures that have their channels last are
    turned; numbers that are integers stored as floating point become integers.

    Raises:
        DataError: With everything that does not fit.
    """
    problems: list[Problem] = []

    def attempt(name: str, fit: Any, *arguments: Any) -> Any:
        try:
            return fit(*arguments)
        except _MisfitError as misfit:
            problems.append(Problem(f"{name}: {misfit}", raw.place, misfit.remedy))
            return None

    length = len(raw.rewards)
    rewards = attempt("rewards", _rewards, raw.rewards)
    done = attempt("actions", _actions, raw.actions, actions, length)
    seen = {}
    for part in observations.parts:
        if part.name not in raw.observations:
            hint = did_you_mean(part.name, [name for name in raw.observations if not observations.part(name)])
            has = f"; there are {', '.join(raw.observations) or 'none'}"
            problems.append(Problem(f"observations {part.name!r} are missing{has}", raw.place, hint.strip()))
        else:
            seen[part.name] = attempt(
                f"observations {part.name!r}", _part, raw.observations[part.name], part, length, raw.translated
            )
    masks = attempt("masks", _masks, raw.masks, done, actions, length) if raw.masks is not None else None
    if problems:
        raise DataError(f"{len(problems)} things do not fit", source=raw.place, problems=problems)
    group = raw.group or raw.place
    return Episode(seen, done, rewards, raw.terminated, raw.success, group, masks, raw.place)


def _rewards(rows: Rows) -> npt.NDArray[np.float32]:
    if rows.ndim == 2 and rows.shape[1] == 1:
        rows = rows[:, 0]
    if rows.ndim != 1 or rows.dtype.kind not in "fiub":
        raise _MisfitError(f"one number a step is needed, not {rows.dtype} {list(rows.shape)}")
    return _finite(rows, np.float32)


def _finite(rows: Rows, dtype: Any) -> Rows:
    """Return the numbers as ``dtype``, all of them finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.ascontiguousarray(rows, dtype)
    bad = ~np.isfinite(found)
    if bad.any():
        step = int(np.argwhere(bad)[0][0])
        value = rows[tuple(np.argwhere(bad)[0])]
        count = int(bad.sum())
        raise _MisfitError(
            f"{value} at step {step} ({count} such)", "mend the file, or leave the episode out (skip_bad)"
        )
    return found


def _whole(rows: Rows) -> Rows:
    """Return integers as int64, also where they are stored as floating point or booleans."""
    if rows.dtype.kind in "iub":
        return rows.astype(np.int64)
    if rows.dtype.kind != "f":
        raise _MisfitError(f"integers are needed, not {rows.dtype}")
    numbers = _finite(rows, np.float64)
    odd = numbers != np.rint(numbers)
    if odd.any():
        raise _MisfitError(f"integers are needed, not {numbers[odd][0]:g}")
    return numbers.astype(np.int64)


def _within(rows: Rows, sizes: Any, what: str) -> None:
    """Refuse integers outside 0..size - 1; ``sizes`` is broadcast against the rows."""
    outside = (rows < 0) | (rows >= sizes)
    if outside.any():
        place = np.argwhere(outside)[0]
        size = int(np.broadcast_to(sizes, rows.shape)[tuple(place)])
        value = int(rows[tuple(place)])
        message = f"{what} {value} at step {int(place[0])} is outside 0..{size - 1} ({int(outside.sum())} such)"
        raise _MisfitError(message, "these are of another game, or of another version of it")


def _actions(rows: Rows, spec: ActionSpec, length: int) -> Rows:
    if len(rows) != length:
        raise _MisfitError(f"there are {len(rows)} for {length} rewards")
    if spec.kind == "discrete" and rows.ndim == 2 and rows.shape[1] == 1:
        rows = rows[:, 0]
    if spec.shape and rows.shape[1:] != spec.shape and int(np.prod(rows.shape[1:])) == spec.shape[0]:
        rows = rows.reshape(length, *spec.shape)
    if rows.shape[1:] != spec.shape:
        raise _MisfitError(f"of shape {list(rows.shape[1:])}, not {list(spec.shape)} ({spec.kind})")
    if spec.kind == "continuous":
        return _bounded(rows, spec)
    found = _whole(rows)
    _within(found, 2 if spec.kind == "binary" else np.array(spec.sizes), "action")
    return found


def _bounded(rows: Rows, spec: ActionSpec) -> npt.NDArray[np.float32]:
    if rows.dtype.kind not in "fiub":
        raise _MisfitError(f"numbers are needed, not {rows.dtype}")
    found = _finite(rows, np.float32)
    low, high = (
        np.array(bound or (default,), np.float32) for bound, default in ((spec.low, -np.inf), (spec.high, np.inf))
    )
    with np.errstate(over="ignore", invalid="ignore"):
        spare = np.where(np.isfinite(high - low), (high - low) * _TOLERANCE, 0.0)
    outside = (found < low - spare) | (found > high + spare)
    if outside.any():
        step, number = np.argwhere(outside)[0]
        bounds = f"{np.broadcast_to(low, spec.shape)[number]:g}..{np.broadcast_to(high, spec.shape)[number]:g}"
        message = f"action {found[step, number]:g} at step {step} is outside {bounds} ({int(outside.sum())} such)"
        raise _MisfitError(message, "these are of another game, or scaled in another way")
    return np.clip(found, low, high)


def _part(rows: Rows, part: ObservationPart, length: int, translated: bool) -> Rows:
    if len(rows) == length and length:
        rows = np.concatenate([rows, rows[-1:]])
    if len(rows) != length + 1:
        raise _MisfitError(f"there are {len(rows)} for {length} steps; {length + 1} or {length} are needed")
    if part.kind == "tokens" and rows.dtype.kind == "U" and rows.ndim == 1:
        return np.stack([words_to_tokens(str(text), part.shape[0], part.sizes[0]) for text in rows])
    if rows.dtype.kind not in "fiub":
        raise _MisfitError(f"numbers are needed, not {rows.dtype}")
    if not translated or rows.shape[1:] != part.shape:
        rows = _shaped(rows, part)
    if part.kind == "vector":
        return _finite(rows, part.dtype)
    if part.kind == "image":
        return _picture(rows, part)
    whole = _whole(rows)
    sizes = np.array(part.sizes)
    _within(whole, sizes.reshape(-1, *[1] * (len(part.shape) - 1)) if part.kind == "grid" else sizes, "code")
    return whole.astype(part.dtype)


def _shaped(rows: Rows, part: ObservationPart) -> Rows:
    """Lay rows out as a policy sees them, by the same rules by which an environment's observations are."""
    found, wanted = rows.shape[1:], part.shape
    count = len(rows)
    if part.kind in ("vector", "choice") and int(np.prod(found)) == int(np.prod(wanted)):
        return rows.reshape(count, *wanted)
    if part.kind in ("image", "grid"):
        if len(found) == 2 and (1, *found) == wanted:
            return rows[:, None]
        if len(found) in (3, 4):
            last = rows if found[-3] < found[-1] else np.moveaxis(rows, -1, -3)
            last = last.reshape(count, -1, *last.shape[-2:])
            if last.shape[1:] == wanted:
                return np.ascontiguousarray(last)
    if found == wanted:
        return rows
    raise _MisfitError(
        f"of shape {list(found)}, not {list(wanted)}", "these are of another game, or were changed by a wrapper"
    )


def _picture(rows: Rows, part: ObservationPart) -> Rows:
    low, high = part.low if part.low is not None else -np.inf, part.high if part.high is not None else np.inf
    found = _whole(rows) if part.dtype == "uint8" and rows.dtype != np.uint8 else rows
    if found.dtype.kind == "f":
        found = _finite(found, part.dtype)
    if len(found) and (found.min() < low or found.max() > high):
        raise _MisfitError(f"intensities from {found.min():g} to {found.max():g}, not from {low:g} to {high:g}")
    return np.ascontiguousarray(found, part.dtype)


def _masks(rows: Rows, done: Rows | None, spec: ActionSpec, length: int) -> npt.NDArray[np.bool_]:
    if rows.shape != (length, spec.width):
        raise _MisfitError(f"of shape {list(rows.shape)}, not {[length, spec.width]}")
    masks = rows.astype(bool)
    if done is not None and spec.kind == "discrete" and not masks[np.arange(length), done].all():
        step = int(np.argmin(masks[np.arange(length), done]))
        raise _MisfitError(f"action {int(done[step])} at step {step} was not allowed")
    return masks
