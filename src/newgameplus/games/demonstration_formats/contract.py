"""What every format of demonstrations offers: an outline of its episodes, and each of them when it is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.spaces import ActionSpec, ObservationSpec

__all__ = ["LARGEST_EPISODE", "DemonstrationFile", "Outline", "RawEpisode", "check_size"]

LARGEST_EPISODE = 4 << 30
"""Bytes that the arrays of one episode may take; a damaged or malicious file may claim any number."""


@dataclass(frozen=True)
class Outline:
    """What is known of an episode before its observations are read.

    Attributes:
        place: Where it is, for messages: file and episode.
        length: Steps.
        total: Sum of its rewards; may be NaN, where rewards are.
        success: Whether it reached the goal; None if the file does not say.
    """

    place: str
    length: int
    total: float
    success: bool | None = None


@dataclass(frozen=True, eq=False)
class RawEpisode:
    """One episode as a file has it, before it is brought into the shapes and types of the game's spaces.

    Attributes:
        observations: By part, each [length + 1, ...], or [length, ...] where the last observation was not kept.
        actions: [length, ...].
        rewards: [length].
        terminated: Whether the game ended it.
        success: Whether it reached the goal; None if the file does not say.
        group: What must not straddle a split; empty for the episode itself.
        masks: bool [length, width], or None.
        translated: Whether the observations are laid out as a policy sees them (channels first), not as a game shows
            them.
        place: Where it is, for messages.
    """

    observations: dict[str, npt.NDArray[Any]]
    actions: npt.NDArray[Any]
    rewards: npt.NDArray[Any]
    terminated: bool
    success: bool | None = None
    group: str = ""
    masks: npt.NDArray[np.bool_] | None = None
    translated: bool = False
    place: str = field(default="", kw_only=True)


class DemonstrationFile(ABC):
    """An open file or folder of demonstrations; arrays are read one episode at a time.

    Attributes:
        observations: What was seen, if the file says.
        actions: What could be done, if the file says.
        environment: Game, as it was asked for; empty if the file does not say.
        loose: Whether the spaces are a Gymnasium environment's: texts are then kept as texts, and whether a ``Box``
            is a picture or a grid of codes is only a guess, which the game knows better.
    """

    observations: ObservationSpec | None = None
    actions: ActionSpec | None = None
    environment: str = ""
    loose: bool = False

    @abstractmethod
    def outlines(self) -> tuple[Outline, ...]:
        """Return what is known of each episode, in the order of the file.

        Raises:
            DataError: The file cannot be used at all.
        """

    @abstractmethod
    def read(self, number: int) -> RawEpisode:
        """Read one episode, counted from 0.

        Raises:
            DataError: This episode cannot be used.
        """

    def close(self) -> None:  # noqa: B027 - not every format holds a file open
        """Let go of the file."""

    def __enter__(self) -> DemonstrationFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_size(shape: tuple[int, ...], itemsize: int, place: str) -> None:
    """Refuse an array of one episode that would not fit into memory.

    Raises:
        DataError: It takes more than :data:`LARGEST_EPISODE` bytes.
    """
    size = int(np.prod(shape, dtype=object)) * itemsize
    if size > LARGEST_EPISODE:
        message = f"one episode claims an array of {'x'.join(map(str, shape))} numbers ({size / 2**30:,.0f} GiB)"
        raise DataError(
            message, source=place, remedy="the file is damaged, or its episodes must be cut into shorter ones"
        )
