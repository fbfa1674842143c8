"""Spaces as Minari writes them down (JSON), from and to ours.

What we write is what a policy sees and does (channels first, texts as tokens), so the data set's own spaces say that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, GameError, MissingExtraError
from newgameplus.gymnasium_actions import describe_actions
from newgameplus.gymnasium_spaces import describe_observations
from newgameplus.spaces import SINGLE, ActionSpec, ObservationPart, ObservationSpec

__all__ = [
    "actions_as_space",
    "describe_spaces",
    "flatten",
    "inner",
    "is_picture",
    "joined",
    "observations_as_space",
    "space_of",
    "start_of",
]

Space = dict[str, Any]
_REMEDY = "ask the maker of the data set, or write its episodes as npz"


def observations_as_space(spec: ObservationSpec) -> Space:
    """Return what is seen as a space of Minari: a dictionary of the parts, or the only part itself."""
    if spec.names == (SINGLE,):
        return _part(spec.parts[0])
    root: Space = {"type": "Dict", "subspaces": {}}
    for part in spec.parts:
        here = root
        *folders, name = part.name.split("/")  # a slash in a name is a group in the file, so a dictionary here
        for folder in folders:
            here = here["subspaces"].setdefault(folder, {"type": "Dict", "subspaces": {}})
        here["subspaces"][name] = _part(part)
    return root


def _part(part: ObservationPart) -> Space:
    if part.kind == "choice":
        return {"type": "MultiDiscrete", "dtype": "int64", "nvec": list(part.sizes), "start": [0] * len(part.sizes)}
    if part.kind == "tokens":
        return _box(part, 0, part.sizes[0] - 1)
    if part.kind == "grid":
        highest = np.array(part.sizes).reshape(-1, *[1] * (len(part.shape) - 1)) - 1
        return _box(part, 0, highest)
    low = -np.inf if part.low is None else part.low
    return _box(part, low, np.inf if part.high is None else part.high)


def _box(part: ObservationPart, low: Any, high: Any) -> Space:
    bounds = {"low": np.broadcast_to(low, part.shape).tolist(), "high": np.broadcast_to(high, part.shape).tolist()}
    return {"type": "Box", "dtype": part.dtype, "shape": list(part.shape), **bounds}


def actions_as_space(spec: ActionSpec) -> Space:
    """Return what can be done as a space of Minari."""
    if spec.kind == "discrete":
        return {"type": "Discrete", "dtype": "int64", "start": 0, "n": spec.sizes[0]}
    if spec.kind == "multi-discrete":
        return {"type": "MultiDiscrete", "dtype": "int64", "nvec": list(spec.sizes), "start": [0] * len(spec.sizes)}
    if spec.kind == "binary":
        return {"type": "MultiBinary", "n": spec.sizes[0]}
    bounds = {"low": list(spec.low), "high": list(spec.high)}
    return {"type": "Box", "dtype": "float32", "shape": list(spec.shape), **bounds}


def space_of(content: Any, source: str) -> Space:
    """Return a space out of a data set's metadata, where it is JSON within JSON.

    Raises:
        DataError: It is no space.
    """
    try:
        space = json.loads(content) if isinstance(content, str) else content
    except (ValueError, RecursionError) as error:
        raise DataError(f"a space is no readable JSON ({error})", source=source, remedy=_REMEDY) from error
    if not isinstance(space, dict) or not isinstance(space.get("type"), str):
        raise DataError(f"this is no space: {str(content)[:80]!r}", source=source, remedy=_REMEDY)
    return space


def describe_spaces(seen: Space, done: Space, source: str) -> tuple[ObservationSpec, ActionSpec]:
    """Say in our words what was seen and could be done, as an environment's spaces are.

    Raises:
        DataError: They cannot be read, or no policy of ours can see or act in them.
        MissingExtraError: Gymnasium is not installed.
    """
    try:
        observations = describe_observations(_gymnasium_space(seen, source))
        actions = describe_actions(_gymnasium_space(done, source))
    except GameError as error:
        raise DataError(error.message, source=source, remedy=error.problems[0].remedy) from error
    return observations.spec, actions.spec


def _gymnasium_space(space: Mapping[str, Any], source: str) -> Any:
    try:
        from gymnasium import spaces
    except ImportError as error:
        raise MissingExtraError("gymnasium", "gymnasium") from error
    try:
        return _as_gymnasium(space, spaces)
    except (KeyError, TypeError, ValueError, AssertionError, RecursionError, OverflowError) as error:
        said = f"{type(error).__name__}: {error}"
        raise DataError(f"a space cannot be read ({said})", source=source, remedy=_REMEDY) from error


def _as_gymnasium(space: Mapping[str, Any], spaces: Any) -> Any:
    kind = space["type"]
    if kind == "Dict":
        return spaces.Dict({name: _as_gymnasium(part, spaces) for name, part in space["subspaces"].items()})
    if kind == "Tuple":
        return spaces.Tuple([_as_gymnasium(part, spaces) for part in space["subspaces"]])
    if kind == "Box":
        dtype = np.dtype(space["dtype"])
        low, high = np.array(space["low"], dtype), np.array(space["high"], dtype)
        return spaces.Box(low, high, tuple(space["shape"]), dtype)
    if kind == "Discrete":
        return spaces.Discrete(space["n"], start=space.get("start", 0))
    if kind == "MultiDiscrete":
        start = space.get("start")
        return spaces.MultiDiscrete(space["nvec"], dtype=np.dtype(space.get("dtype", "int64")), start=start)
    if kind == "MultiBinary":
        return spaces.MultiBinary(space["n"])
    if kind == "Text":
        characters = space.get("charset") or ""
        return spaces.Text(space["max_length"], min_length=space.get("min_length", 1), charset=characters)
    raise ValueError(f"unknown kind {kind!r}")


def inner(space: Any, name: str) -> Any:
    """Return the space of a part, by its name in the file; None if it is not known."""
    parts = space.get("subspaces") if isinstance(space, dict) else None
    if isinstance(parts, list):
        number = name.removeprefix("_index_")
        return parts[int(number)] if number.isdecimal() and int(number) < len(parts) else None
    return parts.get(name) if isinstance(parts, dict) else None


def start_of(space: Any) -> npt.NDArray[np.int64] | None:
    """Return what choices count from, if it is not 0."""
    start = space.get("start") if isinstance(space, dict) else None
    found = np.asarray(0 if start is None else start, np.int64)
    return found if found.any() else None


def is_picture(space: Any) -> bool:
    """Say whether Minari packs a space as JPEG: bytes from 0 to 255, of at least 32 x 32."""
    if not isinstance(space, dict) or space.get("type") != "Box" or space.get("dtype") != "uint8":
        return False
    shape = space.get("shape") or []
    if len(shape) not in (2, 3) or min(shape[:2]) < 32:
        return False
    return bool(np.all(np.asarray(space["low"]) == 0) and np.all(np.asarray(space["high"]) == 255))


def flatten(tree: Any, mark: str, prefix: str = "") -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of nested dictionaries by their names, joined with ``mark``."""
    if not isinstance(tree, dict):
        return {prefix or SINGLE: tree}
    found: dict[str, npt.NDArray[Any]] = {}
    for name, node in tree.items():
        found |= flatten(node, mark, f"{prefix}{mark}{name}" if prefix else name)
    return found


def joined(tree: Any, place: str) -> npt.NDArray[Any]:
    """Return actions as one array [length, ...], those of nested dictionaries side by side.

    Raises:
        DataError: They are of different lengths, or there are none.
    """
    if not isinstance(tree, dict):
        return np.asarray(tree)
    leaves = list(flatten(tree, ".").values())
    if not leaves or len({len(rows) for rows in leaves}) != 1:
        raise DataError("the parts of the actions are of different lengths", source=place, remedy=_REMEDY)
    return np.concatenate([rows.reshape(len(rows), -1) if len(rows) else rows.reshape(0, 1) for rows in leaves], axis=1)
