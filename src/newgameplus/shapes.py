"""The plain data types that two steps share: what a network eats, and what any classifier answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["ClipShape", "InputShape", "Predictions", "SequenceShape"]


@dataclass(frozen=True)
class ClipShape:
    """How a span of video becomes the array that a backbone takes.

    Attributes:
        frames: Number of frames, spread evenly over the span by time.
        height: Rows of pixels.
        width: Columns of pixels.
        channels: 1 for grey, 3 for red, green, blue.
        window: Seconds around the middle of a span to look at; ``None`` looks at all of it.
    """

    frames: int
    height: int
    width: int
    channels: int
    window: float | None = None

    @property
    def array(self) -> tuple[int, int, int, int]:
        """Shape of one clip: (frames, height, width, channels), stored as uint8 in 0..255."""
        return (self.frames, self.height, self.width, self.channels)

    @property
    def bytes_per_clip(self) -> int:
        """Bytes of one clip in the cache."""
        return self.frames * self.height * self.width * self.channels

    def as_dict(self) -> dict[str, Any]:
        """Return the shape as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class SequenceShape:
    """How a span of numbers over time becomes the array that a backbone takes.

    Attributes:
        steps: Number of steps: longer spans are resampled to so many, shorter ones padded behind their end.
        channels: Numbers at each step.
    """

    steps: int
    channels: int

    @property
    def array(self) -> tuple[int, int]:
        """Shape of one sequence, float32: the channels, and behind them a mask of 1 where there is something."""
        return (self.steps, self.channels + 1)

    @property
    def bytes_per_clip(self) -> int:
        """Bytes of one sequence in memory."""
        return 4 * self.steps * (self.channels + 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the shape as plain data."""
        return asdict(self)


InputShape: TypeAlias = Any
"""What a backbone takes: :class:`ClipShape`, or :class:`SequenceShape` if its card's modality is ``sequence``. Not a
union: each source and reader knows which of the two it has, and would have to narrow it at every use."""


@dataclass(frozen=True)
class Predictions:
    """What a classifier answered for a set of clips, beside the truth.

    Attributes:
        labels: Class names, in the order of the columns.
        probabilities: float64 [clips, classes]; each row sums to 1.
        targets: int64 [clips]; index of the true class.
        groups: Group of each clip, for intervals by group.
        clips: Identity of each clip (``path#start-end``), for pairing two runs.
    """

    labels: tuple[str, ...]
    probabilities: npt.NDArray[np.float64]
    targets: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    clips: tuple[str, ...]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """int64 [clips]; index of the most probable class."""
        best: npt.NDArray[np.int64] = np.argmax(self.probabilities, axis=1).astype(np.int64)
        return best
