"""Which key does what: what the player says, what the game says, or what the names of the actions suggest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from newgameplus.errors import GameError, Problem, raise_problems
from newgameplus.recipe_problems import did_you_mean
from newgameplus.spaces import Actions, ActionSpec

__all__ = ["RESERVED", "KeyMap", "key_map"]

RESERVED = ("escape", "backspace")
"""Keys that end playing, and that begin the episode anew."""

_USUAL = {
    "left": ("left", "a"),
    "right": ("right", "d"),
    "up": ("up", "w"),
    "down": ("down", "s"),
    "forward": ("up", "w"),
    "backward": ("down", "s"),
    "noop": ("return",),
    "fire": ("space",),
    "jump": ("space",),
    "pickup": ("p",),
    "drop": ("o",),
    "toggle": ("space",),
    "done": ("return",),
}
_IDLE = ("noop", "no-op", "none", "stay", "idle", "nothing")
_CHARACTERS = {" ": "space", "\r": "return", "\n": "return", "\t": "tab"}


@dataclass(frozen=True)
class KeyMap:
    """What each key does.

    Attributes:
        actions: Action, as the game's spec says, by the name of the key.
        idle: What is done while no key is pressed, for games that go on by themselves; None if the game waits.
        names: What each key does, in words.
    """

    actions: Mapping[str, Actions]
    idle: Actions | None
    names: Mapping[str, str]

    def __str__(self) -> str:
        return "  ".join(f"{key}: {name}" for key, name in self.names.items())


def key_map(spec: ActionSpec, environment: Any = None, keys: Mapping[str, Any] | None = None) -> KeyMap:
    """Return which key does what.

    Args:
        spec: What can be done.
        environment: The game, which may have a method ``get_keys_to_action``, as Gymnasium's have.
        keys: Action (its name, its number, or for several numbers a list) by the name of the key: a character, or
            ``left``, ``right``, ``up``, ``down``, ``space``, ``return``, ``tab``. It replaces all others.

    Raises:
        GameError: An action does not exist, a key is taken, or nothing says what the keys of the game are.
    """
    chosen = _own(spec, keys) if keys else _of_game(spec, environment) or _by_names(spec)
    if not chosen:
        remedy = "say which key does what: key=action, ..."
        raise GameError(f"no keys are known for {spec.kind} actions", source="keys", remedy=remedy)
    return KeyMap(chosen, _idle(spec), {key: _words(spec, action) for key, action in chosen.items()})


def _own(spec: ActionSpec, keys: Mapping[str, Any]) -> dict[str, Actions]:
    chosen, problems = {}, []
    for key, said in keys.items():
        name = _CHARACTERS.get(key, key.lower() if len(key) > 1 else key)
        if name in RESERVED:
            remedy = f"use another key; {' and '.join(RESERVED)} end playing and begin anew"
            problems.append(Problem(f"the key {name!r} is taken", "keys", remedy))
            continue
        try:
            chosen[name] = _action(spec, said)
        except ValueError as error:
            problems.append(Problem(f"{key}: {error}", "keys", _choices(spec, said)))
    raise_problems(problems, GameError, f"{len(problems)} keys cannot be used")
    return chosen


def _choices(spec: ActionSpec, said: Any) -> str:
    if spec.names:
        return f"{did_you_mean(str(said), spec.names)}there are {', '.join(spec.names)}"
    return f"give an action of the kind {spec.kind}, sizes {list(spec.sizes)}"


def _action(spec: ActionSpec, said: Any) -> Actions:
    """Return an action by its name, number or list of numbers; raise ValueError if there is none."""
    if isinstance(said, str) and said in spec.names and spec.kind in ("discrete", "binary"):
        number = spec.names.index(said)
        return np.asarray(number) if spec.kind == "discrete" else (np.arange(spec.sizes[0]) == number).astype(np.int64)
    try:
        action = np.asarray(said, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"there is no action {said!r}") from error
    if action.shape != spec.shape:
        raise ValueError(f"{said!r} is no action: {spec.shape[0] if spec.shape else 'one'} number(s) are needed")
    tops = np.array(spec.sizes if spec.kind != "discrete" else spec.sizes[0])
    tops = np.full(spec.shape, 2) if spec.kind == "binary" else tops
    if spec.kind == "continuous":
        inside = (action >= np.array(spec.low)) & (action <= np.array(spec.high))
    else:
        inside = (action >= 0) & (action < tops) & (action == np.rint(action))
    if not np.all(inside):
        raise ValueError(f"action {said!r} is outside the space")
    return action.astype(spec.dtype)


def _of_game(spec: ActionSpec, environment: Any) -> dict[str, Actions]:
    """Return the keys that Gymnasium's games tell: characters, or codes of pygame's keys, pressed together."""
    method = getattr(getattr(environment, "unwrapped", environment), "get_keys_to_action", None)
    if not callable(method):
        return {}
    chosen = {}
    for keys, action in dict(method()).items():
        pressed = list(keys) if isinstance(keys, Sequence) else [keys]
        names = [_key_name(one) for one in pressed]
        if len(names) == 1 and names[0] and names[0] not in RESERVED:
            try:
                chosen[names[0]] = _action(spec, action)
            except ValueError:
                continue
    return chosen


def _key_name(key: Any) -> str:
    if isinstance(key, (int, np.integer)):
        known = {1073741904: "left", 1073741903: "right", 1073741906: "up", 1073741905: "down"}
        if int(key) in known:
            return known[int(key)]
        key = chr(int(key)) if 0 < key < 0x110000 else ""
    return _CHARACTERS.get(key, str(key))


def _by_names(spec: ActionSpec) -> dict[str, Actions]:
    if spec.kind not in ("discrete", "binary"):
        return {}
    chosen: dict[str, Actions] = {}
    names = spec.names or tuple(map(str, range(spec.sizes[0])))
    for number, name in enumerate(names):
        action = _action(spec, name if name in spec.names else _number(spec, number))
        free = [
            key for key in (*_USUAL.get(name.lower(), ()), *name.lower(), *"0123456789zxcvbnm") if key not in chosen
        ]
        wanted = [str(number)] if not spec.names and number < 10 else free
        usual = [key for key in _USUAL.get(name.lower(), ()) if key in free]
        for key in usual or wanted[:1]:
            chosen[key] = action
    return chosen


def _number(spec: ActionSpec, number: int) -> Any:
    return number if spec.kind == "discrete" else (np.arange(spec.sizes[0]) == number).astype(int)


def _idle(spec: ActionSpec) -> Actions | None:
    if spec.kind == "discrete":
        number = next((n for n, name in enumerate(spec.names) if name.lower() in _IDLE), None)
        return None if number is None else np.asarray(np.int64(number))
    if spec.kind == "binary":
        return np.zeros(spec.shape, np.int64)
    if spec.kind == "continuous":
        return np.clip(np.zeros(spec.shape), spec.low, spec.high).astype(np.float32)
    return None


def _words(spec: ActionSpec, action: Actions) -> str:
    if spec.kind == "discrete":
        return spec.names[int(action)] if spec.names else str(int(action))
    if spec.kind == "binary" and spec.names:
        return "+".join(name for name, on in zip(spec.names, action, strict=True) if on) or "nothing"
    return " ".join(f"{number:g}" for number in np.atleast_1d(action))
