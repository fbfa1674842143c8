"""Episodes of a game as plain arrays: what recordings, demonstrations and stored expert states are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from newgameplus.spaces import Actions, ActionSpec, Masks, Observations, ObservationSpec

__all__ = ["Demonstrations", "Episode", "StepTable", "step_table"]


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode.

    Attributes:
        observations: By part, each [length + 1, ...]: before each action, and after the last.
        actions: [length, ...] as :class:`ActionSpec` says.
        rewards: float32 [length].
        terminated: Whether the game ended it (else a time limit, or the recording, did).
        success: Whether the goal was reached; None if unknown.
        group: What must not straddle a split: by default the episode itself.
        masks: bool [length, width], or None.
        source: File (and place in it) that it was read from.
    """

    observations: Observations
    actions: Actions
    rewards: npt.NDArray[np.float32]
    terminated: bool
    success: bool | None = None
    group: str = ""
    masks: Masks | None = None
    source: str = ""

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def total(self) -> float:
        """Sum of the rewards."""
        return float(self.rewards.sum(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """Episodes of one game by someone who can play it.

    Attributes:
        observations: What was seen.
        actions: What could be done.
        episodes: The episodes.
        environment: Game, as it was asked for; empty if unknown.
        left_out: What could not be used, and why (with ``skip_bad``).
    """

    observations: ObservationSpec
    actions: ActionSpec
    episodes: tuple[Episode, ...]
    environment: str = ""
    left_out: tuple[str, ...] = field(default=())

    @property
    def steps(self) -> int:
        """Steps of all episodes."""
        return sum(len(episode) for episode in self.episodes)


@dataclass(frozen=True, eq=False)
class StepTable:
    """Steps of several episodes in one row of arrays, in their order.

    Attributes:
        observations: By part, each [steps, ...]: before each action.
        actions: [steps, ...].
        rewards: float32 [steps].
        starts: bool [steps], True at the first step of an episode.
        returns: float32 [steps]: discounted sum of the rewards from here to the end of the episode.
        masks: bool [steps, width], or None.
    """

    observations: Observations
    actions: Actions
    rewards: npt.NDArray[np.float32]
    starts: npt.NDArray[np.bool_]
    returns: npt.NDArray[np.float32]
    masks: Masks | None = None

    def __len__(self) -> int:
        return len(self.rewards)


def step_table(episodes: Sequence[Episode], gamma: float = 1.0) -> StepTable:
    """Put the steps of episodes into one row.

    Args:
        episodes: At least one.
        gamma: Discount of the returns, in 0..1.
    """
    names = episodes[0].observations
    observations = {name: np.concatenate([e.observations[name][: len(e)] for e in episodes]) for name in names}
    starts = np.concatenate([np.arange(len(e)) == 0 for e in episodes])
    masks = [e.masks for e in episodes if e.masks is not None]
    return StepTable(
        observations,
        np.concatenate([e.actions for e in episodes]),
        np.concatenate([e.rewards for e in episodes]).astype(np.float32),
        starts,
        np.concatenate([_discounted(e.rewards, gamma) for e in episodes]),
        np.concatenate(masks) if len(masks) == len(episodes) else None,
    )


def _discounted(rewards: npt.NDArray[np.float32], gamma: float) -> npt.NDArray[np.float32]:
    found = np.zeros(len(rewards), np.float64)
    ahead = 0.0
    for step in range(len(rewards) - 1, -1, -1):
        found[step] = ahead = float(rewards[step]) + gamma * ahead
    return found.astype(np.float32)
