"""Games of envpool, whose threads step all copies.

envpool has its own versions of many Gymnasium games (classic control, MiniGrid and BabyAI, Atari). They follow the same
rules and have the same spaces, but draw other levels from the same seed. Where the Gymnasium version is installed, what
is seen is described by it, missions included, so that a policy fits both.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import GameError, MissingExtraError, NewGamePlusError
from newgameplus.games.environment_making import make_copy, time_limit_of
from newgameplus.games.environment_native import Advance, NativeEnvironments
from newgameplus.games.rules.own_program import describe_failure
from newgameplus.gymnasium_actions import describe_actions
from newgameplus.gymnasium_spaces import describe_observations
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.spaces import Actions, Observations

__all__ = ["EnvPoolEnvironments"]


def _import_envpool() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import envpool
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "envpool"
        raise MissingExtraError("envpool", "envpool", "" if missing else str(error)) from error
    return envpool


class EnvPoolEnvironments(NativeEnvironments):
    """See :class:`NativeEnvironments`.

    Args:
        settings: Which game; options are envpool's (``num_threads`` among them).
        count: Number of copies.

    Raises:
        GameError: envpool has no such game, or its spaces are not those of the Gymnasium version.
        MissingExtraError: envpool is not installed.
    """

    def __init__(self, settings: EnvironmentSettings, count: int) -> None:
        self._library = _import_envpool()
        known = self._library.list_all_envs()
        self._id = settings.id.removeprefix("ALE/")
        if self._id not in known:
            message = f"no maker steps {settings.id!r} natively"
            raise GameError(message, source="environment.vectorize", remedy="use vectorize: auto, sync or process")
        self._count = count
        self._options = {"num_threads": 0, **settings.options}
        self._pool, spaces = self._make(0)
        try:
            copy = make_copy(settings)
            copy.environment.close()
            seen, done, success, limit = copy.observations, copy.actions, copy.success, copy.limit
            shapes = {part.name: part.shape for part in describe_observations(spaces[0]).spec.parts}
            if any(shapes.get(part.name) != part.shape for part in seen.spec.parts if part.kind != "tokens"):
                raise GameError("other spaces")
        except NewGamePlusError:  # not installed, or seen otherwise: then envpool's own description holds
            seen, done, success = describe_observations(spaces[0]), describe_actions(spaces[1]), settings.success
            seen = seen.only(settings.parts) if settings.parts else seen
            limit = settings.time_limit
        self._kind = np.dtype(spaces[1].dtype)
        super().__init__(settings.id, count, seen, done, limit or time_limit_or_none(settings), success)

    def _make(self, seed: int) -> tuple[Any, tuple[Any, Any]]:
        """Return the pool, and its spaces."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the precision of its own bounds
                pool = self._library.make(
                    self._id, env_type="gymnasium", num_envs=self._count, seed=seed, **self._options
                )
                return pool, (pool.observation_space, pool.action_space)
        except Exception as error:
            source = f"environment.options {self._options}"
            remedy = "give options that envpool knows, or use vectorize: auto"
            raise GameError(describe_failure(f"envpool's {self._id}", error), source=source, remedy=remedy) from error

    def _begin_all(self, seed: int) -> Observations:
        # Seeds are given to envpool when it makes a game, so that only a new one begins anew altogether.
        self._pool.close()
        self._pool, _ = self._make(int(np.random.SeedSequence(seed).generate_state(1)[0] >> 2))
        return self._translate(self._pool.reset()[0])

    def _begin_some(self, rows: npt.NDArray[np.int64]) -> Observations:
        seen, info = self._pool.reset(rows.astype(np.int32))
        order = np.argsort(info["env_id"])
        found = self._translate(seen)
        return {name: array[order] for name, array in found.items()}

    def _advance(self, actions: Actions) -> Advance:
        given = actions + self._do.first if self._do.first else actions
        seen, rewards, over, cut, info = self._pool.step(given.astype(self._kind))
        over = np.asarray(over, np.bool_)
        told = {key: value for key, value in info.items() if isinstance(value, np.ndarray)}
        return Advance(self._translate(seen), np.asarray(rewards, np.float64), over, np.asarray(cut, np.bool_), told)

    def _translate(self, seen: Any) -> Observations:
        return self._see.encode_batch(seen)

    def close(self) -> None:
        """See :meth:`Environments.close`."""
        super().close()
        self._pool.close()


def time_limit_or_none(settings: EnvironmentSettings) -> int | None:
    """Return the limit of the Gymnasium version, if that is installed."""
    try:
        return time_limit_of(settings)
    except NewGamePlusError:
        return settings.time_limit
