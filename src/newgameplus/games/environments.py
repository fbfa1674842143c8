"""Any Gymnasium environment, several copies at once, by the contract in
:mod:`newgameplus.games.environment_contract`."""

from __future__ import annotations

import time

import numpy as np

from newgameplus.games.environment_check import random_actions
from newgameplus.games.environment_contract import Environments
from newgameplus.games.environment_film import make_rendered
from newgameplus.games.environment_making import describe_spaces, known_ids, make_copy
from newgameplus.games.environment_native import offer_native
from newgameplus.games.environment_process import ProcessEnvironments, cores
from newgameplus.games.environment_sync import SyncEnvironments
from newgameplus.recipe_agent import EnvironmentSettings

__all__ = ["describe_spaces", "known_ids", "make_environments", "make_rendered"]


_COPIES, _NATIVE_COPIES = 16, 64
_SLOW = 1e-3
"""Seconds of a step from which on processes pay."""
_TRIAL, _PATIENCE = 60, 0.5


def make_environments(settings: EnvironmentSettings, *, count: int | None = None, render: bool = False) -> Environments:
    """Make copies of a game.

    Args:
        settings: Which game, how many copies, and who steps them.
        count: Number of copies, if not the one in the settings.
        render: Whether ``render()`` shall give pictures of the first copy; they are then stepped one after the other.

    Raises:
        GameError: There is no such game, it cannot be made, or nobody steps it as the settings ask.
        MissingExtraError: A package that it needs is not installed.
    """
    chosen = count or (None if settings.count == "auto" else settings.count)
    if render:
        return _sync(settings, chosen or _COPIES, render=True)
    if settings.vectorize in ("auto", "native"):
        native = offer_native(settings, chosen or _NATIVE_COPIES, asked=settings.vectorize == "native")
        if native is not None:
            return native
    wanted = chosen or _COPIES
    slow = settings.vectorize == "auto" and min(wanted, cores()) > 1 and _step_time(settings) > _SLOW
    if settings.vectorize == "process" or slow:
        return ProcessEnvironments(settings, wanted)
    return _sync(settings, wanted)


def _sync(settings: EnvironmentSettings, count: int, *, render: bool = False) -> Environments:
    return SyncEnvironments(settings.id, [make_copy(settings, render=render) for _ in range(count)])


def _step_time(settings: EnvironmentSettings) -> float:
    """Return the seconds of a usual step, begun episodes included."""
    with SyncEnvironments(settings.id, [make_copy(settings)]) as games:
        rng = np.random.default_rng(0)
        games.reset(0)
        begun = time.perf_counter()
        taken = 0
        while taken < _TRIAL:
            games.step(random_actions(games.actions, 1, rng, games.masks()))
            taken += 1
            if time.perf_counter() - begun > _PATIENCE:
                break
        return (time.perf_counter() - begun) / taken
