"""Experts of games: programs that look into a game and know what to do. A new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from newgameplus.errors import GameError
from newgameplus.games.record.babyai_expert import BabyAIExpert
from newgameplus.games.record.minigrid_expert import MiniGridExpert
from newgameplus.spaces import Actions, Masks, Observations

__all__ = ["EXPERTS", "Expert", "ExpertPlayer", "find_expert"]


class Expert(Protocol):
    """Plays one copy of a game."""

    def begin(self) -> None:
        """Take note that an episode begins."""

    def act(self) -> int:
        """Return the action to take now."""


#: Experts by class of the innermost environment, in the order in which they are looked for.
EXPERTS: MappingProxyType[str, Callable[[Any], Expert]] = MappingProxyType(
    {
        "RoomGridLevel": BabyAIExpert,
        "MiniGridEnv": MiniGridExpert,
    }
)


def find_expert(name: str, environment: Any) -> Expert:
    """Return the expert of a game.

    Raises:
        GameError: There is none.
    """
    inner = getattr(environment, "unwrapped", environment)
    classes = [one.__name__ for one in type(inner).__mro__]
    for known, make in EXPERTS.items():
        if known in classes:
            return make(inner)
    remedy = "there are experts for MiniGrid and BabyAI; record another policy, or play with the keyboard"
    raise GameError(f"there is no expert for {name}", source="policy", remedy=remedy)


class ExpertPlayer:
    """Plays copies of a game by an expert each.

    Args:
        name: How the game was asked for.
        environments: The copies, which the expert looks into.

    Raises:
        GameError: There is no expert for the game.
    """

    def __init__(self, name: str, environments: Sequence[Any]) -> None:
        self._experts = [find_expert(name, environment) for environment in environments]

    def __call__(
        self,
        observations: Observations,  # noqa: ARG002 - it looks into the games themselves
        state: Any,  # noqa: ARG002
        starts: npt.NDArray[np.bool_],
        masks: Masks | None,  # noqa: ARG002
    ) -> tuple[Actions, Any]:
        """See :class:`newgameplus.games.record.episode_collection.Player`."""
        actions = np.zeros(len(self._experts), np.int64)
        for row, expert in enumerate(self._experts):
            if starts[row]:
                expert.begin()
            actions[row] = expert.act()
        return actions, None
