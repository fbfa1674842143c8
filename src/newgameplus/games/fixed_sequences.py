"""Sequences brought to one number of steps, with a mask, so that they can be learned from in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from newgameplus.games.clips import ClipSet
from newgameplus.games.sequences import SequenceSet
from newgameplus.shapes import SequenceShape

__all__ = ["FixedSequences", "fit_steps", "fix_sequences"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FixedSequences:
    """Sequences of equal length; read like the frame cache of clips.

    Attributes:
        clip_set: The spans.
        shape: Shape of each.
        digests: Digest of the numbers of each span.
        array: float32 [sequences, steps, channels + 1]; the last channel is the mask.
    """

    clip_set: ClipSet
    shape: SequenceShape
    digests: tuple[str, ...]
    array: Floats

    def __len__(self) -> int:
        return len(self.array)

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of each sequence."""
        return self.clip_set.groups

    def gather(self, indices: npt.NDArray[np.int64]) -> Floats:
        """Return a copy of some sequences: float32 [n, steps, channels + 1]."""
        return np.asarray(self.array[indices], dtype=np.float32)

    def targets(self, labels: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return int64 [sequences]: the index of each label in ``labels``."""
        places = {label: place for place, label in enumerate(labels)}
        return np.array([places[str(clip.label)] for clip in self.clip_set.clips], dtype=np.int64)


def fix_sequences(sequences: SequenceSet, steps: int) -> FixedSequences:
    """Bring sequences to one number of steps; see :func:`fit_steps`."""
    shape = SequenceShape(steps, len(sequences.channels))
    array = np.zeros((len(sequences), *shape.array), dtype=np.float32)
    for row, values in enumerate(sequences.values):
        array[row] = fit_steps(values, steps)
    return FixedSequences(sequences.clip_set, shape, sequences.digests, array)


def fit_steps(values: Floats, steps: int) -> Floats:
    """Bring one sequence to a number of steps: longer ones are resampled evenly, shorter ones padded with zeros.

    Args:
        values: float32 [any, channels].
        steps: Steps wanted.

    Returns:
        float32 [steps, channels + 1]; the last channel is 1 where there is something, 0 where it was padded.
    """
    fixed = np.zeros((steps, values.shape[1] + 1), dtype=np.float32)
    if len(values) > steps:
        places = np.linspace(0, len(values) - 1, steps)
        low = np.floor(places).astype(np.int64).clip(0, len(values) - 2)
        part = (places - low).astype(np.float32)[:, None]
        values = values[low] * (1 - part) + values[low + 1] * part
    fixed[: len(values), :-1] = values
    fixed[: len(values), -1] = 1.0
    return fixed
