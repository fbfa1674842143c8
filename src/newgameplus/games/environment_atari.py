"""Atari games that ALE itself steps, on threads of its own; seen as :mod:`newgameplus.games.atari_frames` says.

Rewards are not clipped, and a lost life ends no episode.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import GameError
from newgameplus.games.atari_frames import ATARI_OPTIONS
from newgameplus.games.environment_making import find_spec, make_copy
from newgameplus.games.environment_native import Advance, NativeEnvironments
from newgameplus.games.rules.own_program import describe_failure
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.spaces import Actions, Observations

__all__ = ["AtariEnvironments"]


class AtariEnvironments(NativeEnvironments):
    """ALE's own vector environment; see :class:`NativeEnvironments`.

    Args:
        settings: Which game.
        count: Number of copies.
    """

    def __init__(self, settings: EnvironmentSettings, count: int) -> None:
        spec = find_spec(settings.id)
        copy = make_copy(settings)
        copy.environment.close()
        super().__init__(settings.id, count, copy.observations, copy.actions, copy.limit, copy.success)
        options = {**spec.kwargs, **settings.options}
        try:
            from ale_py.vector_env import AtariVectorEnv
            from gymnasium.vector import AutoresetMode

            self._games = AtariVectorEnv(
                options["game"],
                count,
                autoreset_mode=AutoresetMode.NEXT_STEP,
                reward_clipping=False,
                **{key: options[key] for key in ATARI_OPTIONS if key in options},
            )
        except Exception as error:
            remedy = "use vectorize: process"
            raise GameError(
                describe_failure(f"ALE's {settings.id}", error), source=settings.id, remedy=remedy
            ) from error

    def _begin_all(self, seed: int) -> Observations:
        seeds = np.random.SeedSequence(seed).generate_state(self.count) >> 2
        return self._see.encode_batch(self._games.reset(seed=seeds.astype(np.int64))[0])

    def _begin_some(self, rows: npt.NDArray[np.int64]) -> Observations:
        chosen = np.zeros(self.count, np.bool_)
        chosen[rows] = True
        seen, _ = self._games.reset(options={"reset_mask": chosen})
        return self._see.encode_batch(seen[rows] if len(seen) == self.count else seen)

    def _advance(self, actions: Actions) -> Advance:
        seen, rewards, over, cut, info = self._games.step(np.asarray(actions, np.int64))
        told: dict[str, Any] = {key: value for key, value in info.items() if isinstance(value, np.ndarray)}
        return Advance(self._see.encode_batch(seen), rewards.astype(np.float64), over, cut, told)

    def close(self) -> None:
        """See :meth:`Environments.close`."""
        super().close()
        self._games.close()
