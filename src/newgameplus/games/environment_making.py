"""One copy of a game: found by its name, made, and described.

A name is a Gymnasium id (``CartPole-v1``, ``package:Own-v0``), or a function that makes an environment
(``module:function``, ``file.py:function``). An environment may say more of itself by attributes: ``observation_names``
and ``action_names`` (names of features and actions, by which surgery finds them in the next version of a game; a
dictionary by part if there are several parts), ``observation_codes`` (numbers of codes of the channels of parts that
are grids), ``action_masks()`` or ``info["action_mask"]`` (what can be done now).
"""

from __future__ import annotations

import importlib
import inspect
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from newgameplus.errors import GameError, MissingExtraError, RecipeError
from newgameplus.games.atari_frames import AtariFrames, is_atari
from newgameplus.games.minigrid_view import quicken
from newgameplus.games.rules.own_program import describe_failure, find_function
from newgameplus.gymnasium_actions import ActionTranslator, describe_actions
from newgameplus.gymnasium_spaces import Names, ObservationTranslator, describe_observations
from newgameplus.recipe import did_you_mean
from newgameplus.recipe_agent import EnvironmentSettings

__all__ = ["GameCopy", "describe_spaces", "import_gymnasium", "is_factory", "known_ids", "make_copy", "time_limit_of"]

_ID = re.compile(r"(?:(?P<module>[\w.]+):)?(?P<id>(?:[\w:.-]+/)?[\w:.-]+-v\d+)")
_PACKAGES = (
    # beginning of an id; package whose import, or whose function, registers it; extra that brings the package
    (r"(MiniGrid|BabyAI)-", "minigrid", "", "minigrid"),
    (r"MinAtar/", "minatar.gym", "register_envs", "minatar"),
    (r"ALE/|\w+(NoFrameskip|Deterministic)-v\d", "ale_py", "", "atari"),
    (r"ngp/", "newgameplus.games.toy_environments", "register", "gymnasium"),
)
_registered: set[str] = set()
_MINATAR_ACTIONS = {"n": "noop", "l": "left", "u": "up", "r": "right", "d": "down", "f": "fire"}


@dataclass(eq=False)
class GameCopy:
    """One copy of a game.

    Attributes:
        environment: The Gymnasium environment, without wrappers for time limits and checks.
        limit: Most steps of an episode; None if the game knows for itself.
        observations: Translates what it shows.
        actions: Translates what is done.
        success: Key of ``info`` that tells success, ``reward``, or ``auto``.
    """

    environment: Any
    limit: int | None
    observations: ObservationTranslator
    actions: ActionTranslator
    success: str


def import_gymnasium() -> Any:
    """Import gymnasium.

    Raises:
        MissingExtraError: It is not installed.
    """
    return _import("gymnasium", "gymnasium")


def _import(package: str, extra: str) -> Any:
    with warnings.catch_warnings():  # what the packages of games warn of is not for our users to mend
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(package)
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == package.partition(".")[0]
            raise MissingExtraError(package.partition(".")[0], extra, "" if missing else str(error)) from error


def _register(package: str, function: str, extra: str) -> None:
    import_gymnasium()
    module = _import(package, extra)
    if function and package not in _registered:
        getattr(module, function)()
        _registered.add(package)


def known_ids() -> list[str]:
    """Return the ids of all games of the packages that are installed."""
    gymnasium = import_gymnasium()
    for _, package, function, extra in _PACKAGES:
        try:
            _register(package, function, extra)
        except MissingExtraError:
            continue
    return sorted(gymnasium.registry)


def is_factory(name: str) -> bool:
    """Whether a name is that of a function (``module:function``) and no id (``module:Id-v0``)."""
    return ":" in name and _ID.fullmatch(name) is None


def find_spec(name: str) -> Any:
    """Return Gymnasium's spec of an id.

    Raises:
        GameError: There is no such id; the nearest are named.
        MissingExtraError: The package that has it is not installed.
    """
    gymnasium = import_gymnasium()
    found = _ID.fullmatch(name)
    if found is not None and found["module"]:
        try:
            _import(found["module"], "gymnasium")
        except MissingExtraError as error:
            remedy = "install the package, or start where it can be imported"
            raise GameError(f"{found['module']!r} cannot be imported", source=name, remedy=remedy) from error
    bare = found["id"] if found is not None else name
    for pattern, package, function, extra in _PACKAGES:
        if re.match(pattern, bare):
            _register(package, function, extra)
    if bare not in gymnasium.registry:
        raise _unknown(name, bare)
    return gymnasium.registry[bare]


def _unknown(name: str, bare: str) -> GameError:
    ids = known_ids()
    if Path(name).suffix == ".py":
        return GameError(f"{name!r} names a file, but no function in it", remedy=f"write {name}:function")
    stem = re.sub(r"-v\d+$", "", bare)
    versions = [one for one in ids if re.sub(r"-v\d+$", "", one) == stem]
    near = f"did you mean {versions[-1]!r}? " if versions else did_you_mean(bare, ids)
    remedy = f"{near}or write module:function or file.py:function for an environment of your own"
    return GameError(f"there is no game {name!r:.100}", source="environment.id", remedy=remedy)


def time_limit_of(settings: EnvironmentSettings) -> int | None:
    """Return the most steps of an episode: the recipe's, else the game's own."""
    if settings.time_limit is not None or is_factory(settings.id):
        return settings.time_limit
    limit: int | None = find_spec(settings.id).max_episode_steps
    return limit


def make_copy(settings: EnvironmentSettings, *, render: bool = False) -> GameCopy:
    """Make one copy of a game.

    Args:
        settings: Which game.
        render: Whether its ``render()`` shall give pictures, uint8 [height, width, 3].

    Raises:
        GameError: There is no such game, it cannot be made, or no policy can see or act in it.
        MissingExtraError: Its package is not installed.
    """
    environment = _make_by_function(settings, render) if is_factory(settings.id) else _make_by_id(settings, render)
    for needed in ("reset", "step", "observation_space", "action_space"):
        if not hasattr(environment, needed):
            message = f"what {settings.id!r} makes is a {type(environment).__name__} without {needed!r}"
            raise GameError(message, source="environment.id", remedy="return a gymnasium.Env")
    environment = _bare(environment)
    quicken(getattr(environment, "unwrapped", environment))
    _seed_whole(getattr(environment, "unwrapped", environment))
    hints = _hints(environment)
    try:
        seen = describe_observations(environment.observation_space, names=hints.names, codes=hints.codes)
        seen = seen.only(settings.parts) if settings.parts else seen
        done = describe_actions(environment.action_space, names=hints.actions)
    except GameError as error:
        source = f"{settings.id}{f', {error.source}' if error.source else ''}"
        raise GameError(error.message, source=source, remedy=_remedy(error)) from error
    success = hints.success if settings.success == "auto" else settings.success
    return GameCopy(environment, time_limit_of(settings), seen, done, success)


def describe_spaces(settings: EnvironmentSettings) -> tuple[Any, Any]:
    """Return the observation and the action spec of a game, without playing it."""
    copy = make_copy(settings)
    copy.environment.close()
    return copy.observations.spec, copy.actions.spec


def _make_by_function(settings: EnvironmentSettings, render: bool) -> Any:
    try:
        function = find_function(settings.id)
    except RecipeError as error:
        raise GameError(error.message, source=f"environment.id {settings.id}", remedy=_remedy(error)) from error
    options = dict(settings.options)
    if render and _accepts(function, "render_mode"):
        options.setdefault("render_mode", "rgb_array")
    return _call(lambda: function(**options), settings)


def _make_by_id(settings: EnvironmentSettings, render: bool) -> Any:
    gymnasium = import_gymnasium()
    spec = find_spec(settings.id)
    mode: dict[str, Any] = {"render_mode": "rgb_array"} if render else {}
    atari = is_atari(settings)
    if atari:
        mode |= {"frameskip": 1, "obs_type": "grayscale"}

    def make() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return gymnasium.make(spec, max_episode_steps=-1, disable_env_checker=True, **{**mode, **settings.options})

    made = _call(make, settings)
    return AtariFrames(_bare(made)) if atari else made


def _call(make: Callable[[], Any], settings: EnvironmentSettings) -> Any:
    try:
        return make()
    except ImportError as error:
        package = (error.name or "").partition(".")[0] or "a package"
        remedy = f"install {package}"
        raise GameError(f"{settings.id} needs a package: {error}", source="environment.id", remedy=remedy) from error
    except Exception as error:
        options = f"environment.options {settings.options}" if settings.options else "environment.id"
        remedy = "correct the options, or the environment"
        raise GameError(describe_failure(f"making {settings.id}", error), source=options, remedy=remedy) from error


def _accepts(function: Callable[..., Any], argument: str) -> bool:
    try:
        arguments = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    return argument in arguments or any(one.kind is one.VAR_KEYWORD for one in arguments.values())


def _bare(environment: Any) -> Any:
    """Take off the outer wrapper that only checks the order of calls, which costs time at each step."""
    return environment.env if type(environment).__name__ == "OrderEnforcing" else environment


def _seed_whole(inner: Any) -> None:
    """Let a seed decide everything in MinAtar, which else might repeat an action of the episode before."""
    if not hasattr(getattr(inner, "game", None), "last_action"):
        return
    game = inner.game
    seed = game.seed

    def seed_all(number: int | None = None) -> None:
        seed(number)
        game.last_action = 0

    game.seed = seed_all


@dataclass(frozen=True)
class _Hints:
    names: Names = ()
    actions: Sequence[str] = ()
    codes: Mapping[str, Sequence[int]] | None = None
    success: str = "auto"


def _hints(environment: Any) -> _Hints:
    """Gather what a game says of itself beyond its spaces."""
    inner = getattr(environment, "unwrapped", environment)
    own = _Hints(
        attribute(environment, "observation_names") or (),
        attribute(environment, "action_names") or (),
        attribute(environment, "observation_codes"),
    )
    classes = {one.__name__ for one in type(inner).__mro__}
    if "MiniGridEnv" in classes:
        found = _minigrid(environment, inner)
    elif hasattr(inner, "game") and hasattr(inner.game, "minimal_action_set"):
        channels = sorted(inner.game.env.channels, key=inner.game.env.channels.__getitem__)
        letters = [inner.game.env.action_map[number] for number in inner.action_set]
        found = _Hints({"observation": channels}, [_MINATAR_ACTIONS.get(letter, letter) for letter in letters])
    elif hasattr(inner, "get_action_meanings"):
        found = _Hints((), [str(name).lower() for name in inner.get_action_meanings()])
    else:
        found = _Hints()
    count = getattr(environment.action_space, "n", None)
    return _Hints(
        own.names or _fitting(found.names, environment.observation_space),
        own.actions or (found.actions if len(found.actions) == count else ()),
        own.codes or found.codes,
        found.success,
    )


def _fitting(names: Names, space: Any) -> Names:
    """Return guessed names only if a wrapper has not changed what they name."""
    if not isinstance(names, Mapping):
        return names
    inner = getattr(space, "spaces", None) or {"observation": space}
    spaces = inner if isinstance(inner, Mapping) else {}
    return {
        part: words
        for part, words in names.items()
        if part in spaces
        and (len(getattr(spaces[part], "shape", ()) or ()) == 0 or spaces[part].shape[-1] == len(words))
    }


def _minigrid(environment: Any, inner: Any) -> _Hints:
    wrappers = set()
    outer = environment
    while outer is not inner:
        wrappers.add(type(outer).__name__)
        outer = outer.env
    names: dict[str, Sequence[str]] = {"direction": ("direction",)}
    codes: dict[str, Sequence[int]] = {}
    if not any(name.startswith(("RGB", "Flat", "Symbolic", "OneHot")) for name in wrappers):
        for part in ("image", "observation"):
            names[part] = ("object", "color", "state")
            codes[part] = (11, 6, 4 if "FullyObsWrapper" in wrappers else 3)
    actions = [one.name for one in inner.actions]
    return _Hints(names, actions, codes, "reward")


def attribute(environment: Any, name: str) -> Any:
    """Return an attribute of an environment or of one that it wraps; None if there is none."""
    while True:
        if name in vars(environment) or hasattr(type(environment), name):
            return getattr(environment, name)
        if "env" not in vars(environment):
            return None
        environment = environment.env


def _remedy(error: Any) -> str:
    return str(error.problems[0].remedy)
