"""One copy of a game that is watched: every frame that it shows is handed on, the last of an episode included."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.games.environment_contract import Environments, Step
from newgameplus.games.environment_making import GameCopy, make_copy
from newgameplus.games.environment_sync import SyncEnvironments
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.spaces import Actions, Observations

__all__ = ["RenderedGame", "make_rendered"]

Frame = npt.NDArray[np.uint8]
Film = Callable[[Frame], None]


def make_rendered(settings: EnvironmentSettings) -> RenderedGame:
    """Make one copy of a game that shows pictures.

    Raises:
        GameError: There is no such game, or it cannot be made.
        MissingExtraError: A package that it needs is not installed.
    """
    return RenderedGame(settings.id, make_copy(settings, render=True))


class RenderedGame:
    """One copy of a game that shows pictures; a context manager that closes it.

    Attributes:
        frame_rate: Pictures in a second of play, as the game says; None if it does not.
    """

    def __init__(self, name: str, copy: GameCopy) -> None:
        self._games = _Filmed(name, copy)
        rate = dict(getattr(copy.environment, "metadata", None) or {}).get("render_fps")
        self.frame_rate: float | None = float(rate) if rate else None

    def frame_after_reset(self, seed: int) -> Frame:
        """Begin an episode and return its first picture, uint8 [height, width, 3].

        Raises:
            GameError: The game shows no picture.
        """
        self._games.film = None
        self._games.reset(seed)
        return self._games.render()

    def filmed(self, film: Film) -> Environments:
        """Return the game as environments of one copy that hand every picture to ``film``."""
        self._games.film = film
        return self._games

    def __enter__(self) -> RenderedGame:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._games.close()


class _Filmed(SyncEnvironments):
    def __init__(self, name: str, copy: GameCopy) -> None:
        self.film: Film | None = None
        super().__init__(name, [copy])

    def reset(self, seed: int) -> Observations:
        seen = super().reset(seed)
        self._show()
        return seen

    def step(self, actions: Actions) -> Step:
        step = super().step(actions)
        self._show()
        return step

    def _begin(self, row: int, seed: int | None) -> tuple[Any, Any]:
        if seed is None:
            self._show()  # the end of an episode, before the next begins
        return super()._begin(row, seed)

    def _show(self) -> None:
        if self.film is not None:
            self.film(self.render())
