"""One copy of a game that is watched: every frame that it shows is handed on, the last of an episode included."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import GameError
from newgameplus.games.environment_contract import Environments, Step
from newgameplus.games.environment_making import GameCopy, make_copy
from newgameplus.games.environment_sync import SyncEnvironments, seed_of
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.spaces import Actions, Observations

__all__ = ["RenderedGame", "make_rendered"]

Frame = npt.NDArray[np.uint8]
Film = Callable[[Frame], None]


def make_rendered(settings: EnvironmentSettings) -> RenderedGame:
    """Make one copy of a game that shows pictures.

    Raises:
        GameError: There is no such game, it cannot be made, or it shows no pictures.
        MissingExtraError: A package that it needs is not installed.
    """
    if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")):
        os.environ["SDL_VIDEODRIVER"] = "dummy"  # else SDL complains that there is no screen, although none is needed
    try:
        copy = make_copy(settings, render=True)
    except GameError as error:
        if "render_mode" not in error.message:
            raise
        remedy = "let the environment take render_mode='rgb_array', and return a picture from render()"
        raise GameError(f"{settings.id} shows no pictures", source="environment.id", remedy=remedy) from error
    return RenderedGame(settings.id, copy)


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

    def filmed(self, film: Film, seed: int = 0, copies: int | None = None) -> Environments:
        """Return the game as environments of one copy that hand every picture to ``film``.

        Args:
            film: What is done with a picture.
            seed: Seed of the first episode.
            copies: Show the episodes that this many copies would play at once: ``reset(seed + n)`` begins the one that
                ``n`` others come before, and nothing else begins one. None plays one episode after the other.
        """
        self._games.film, self._games.counted, self._games.apart = film, (seed, copies or 1), copies is not None
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
        self.counted, self.apart = (0, 1), False
        self._own_seed = 0
        super().__init__(name, [copy])

    def reset(self, seed: int) -> Observations:
        first, copies = self.counted
        place = (seed - first) % copies
        self._own_seed = seed_of(seed - place, place)
        seen = super().reset(seed)
        self._show()
        return seen

    def step(self, actions: Actions) -> Step:
        step = super().step(actions)
        if not (self.apart and step.ended[0]):  # else what began is not played
            self._show()
        return step

    def _begin(self, row: int, seed: int | None) -> tuple[Any, Any]:
        if seed is None:
            self._show()  # the end of an episode, before the next begins
            return super()._begin(row, None)
        return super()._begin(row, self._own_seed)

    def _show(self) -> None:
        if self.film is not None:
            self.film(self.render())
