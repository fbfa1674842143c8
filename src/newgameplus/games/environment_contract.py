"""What every set of environments promises, whoever steps them: the same few arrays, and episodes that end rightly.

Time limits are told apart from ends of the game (``truncated`` against ``terminated``), and the last observation of an
episode is handed out before the next one begins, so that a learner can do the right thing with both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt

from newgameplus.errors import GameError
from newgameplus.spaces import Actions, ActionSpec, Masks, Observations, ObservationSpec

__all__ = ["Environments", "EpisodeEnd", "Step"]


@dataclass(frozen=True)
class EpisodeEnd:
    """One episode that ended in a step.

    Attributes:
        environment: Number of the environment, from 0.
        total: Sum of its rewards, as the game gave them.
        length: Steps that it took.
        success: Whether the game said that the goal was reached; None if it says nothing of the kind.
    """

    environment: int
    total: float
    length: int
    success: bool | None


@dataclass(frozen=True, eq=False)
class Step:
    """What one step of all environments gave.

    Attributes:
        observations: What is seen now; where an episode ended, the first sight of the next one.
        rewards: float32 [environments], as the game gave them.
        terminated: bool [environments]: the game ended the episode; nothing comes after it.
        truncated: bool [environments]: a time limit ended the episode; the game would have gone on.
        final: Where episodes ended, the last observation of the episode (other rows mean nothing); None if none did.
        episodes: The episodes that ended, in the order of the environments.
    """

    observations: Observations
    rewards: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    final: Observations | None = None
    episodes: tuple[EpisodeEnd, ...] = ()

    @property
    def ended(self) -> npt.NDArray[np.bool_]:
        """True [environments] where an episode ended, for either reason."""
        return self.terminated | self.truncated


class Environments(ABC):
    """A number of copies of a game, stepped together; an episode that ends is followed by the next at once.

    Attributes:
        name: How the game was asked for.
        count: Number of copies.
        observations: What is seen.
        actions: What can be done.
        masked: Whether the game says which actions can be taken.
    """

    name: str
    count: int
    observations: ObservationSpec
    actions: ActionSpec
    masked: bool = False

    @abstractmethod
    def reset(self, seed: int) -> Observations:
        """Begin new episodes everywhere; the same seed begins the same ones (copy ``n`` differs from copy ``m``)."""

    @abstractmethod
    def step(self, actions: Actions) -> Step:
        """Take one action in each copy.

        Args:
            actions: One action a copy, as :class:`newgameplus.spaces.ActionSpec` says.

        Raises:
            GameError: A copy raised, died, gave NaN, or an action is outside the space.
        """

    def masks(self) -> Masks | None:
        """Return bool [count, actions.width], True where an action can be taken now; None if all always can."""
        return None

    def render(self) -> npt.NDArray[np.uint8]:
        """Return a picture of the first copy, uint8 [height, width, 3].

        Raises:
            GameError: The game gives none; it must be made with ``render=True``.
        """
        remedy = "make it with render=True"
        raise GameError(f"{self.name} gives no pictures", source="environment.id", remedy=remedy)

    @abstractmethod
    def close(self) -> None:
        """Let go of processes and windows; may be called twice."""

    def __enter__(self) -> Environments:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
