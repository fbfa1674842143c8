"""One copy of a game that hands on a picture of every step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from newgameplus.games.environment_contract import Environments, Step
from newgameplus.spaces import Actions, Masks, Observations

__all__ = ["Filmed"]


class Filmed(Environments):
    """See :class:`Environments`; closing it leaves the game open.

    Args:
        game: One copy, made with ``render=True``.
        film: Gets each picture, uint8 [height, width, 3].
    """

    def __init__(self, game: Environments, film: Callable[[npt.NDArray[np.uint8]], None]) -> None:
        self._game, self._film = game, film
        self.name, self.count, self.masked = game.name, game.count, game.masked
        self.observations, self.actions = game.observations, game.actions

    def reset(self, seed: int) -> Observations:
        """See :meth:`Environments.reset`."""
        found = self._game.reset(seed)
        self._film(self._game.render())
        return found

    def step(self, actions: Actions) -> Step:
        """See :meth:`Environments.step`."""
        found = self._game.step(actions)
        self._film(self._game.render())
        return found

    def masks(self) -> Masks | None:
        """See :meth:`Environments.masks`."""
        return self._game.masks()

    def close(self) -> None:
        """Do nothing: the game belongs to whoever made it."""
