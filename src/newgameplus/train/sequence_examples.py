"""Sequences as examples to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from newgameplus.train.examples import ClipExamples
from newgameplus.train.sequence_augment import augment_sequences, sequence_augmentations

__all__ = ["SequenceExamples"]

Indices = npt.NDArray[np.int64]


class SequenceExamples(ClipExamples):
    """Sequences brought to one length.

    Args:
        sequences: Anything that gathers float32 [n, steps, channels + 1].
        indices: int64 [n]; which of its sequences belong to this set.
        targets: int64 [n]; their classes.
        augment: Whether and how a generator may vary them, as in a recipe's ``train.augment``.
    """

    def __init__(
        self, sequences: Any, indices: Indices, targets: Indices, *, augment: bool | str | Sequence[str] = False
    ) -> None:
        super().__init__(sequences, indices, targets)
        self.varied_by = sequence_augmentations(augment)

    def batch(self, positions: Indices, generator: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """Return float32 [batch, steps, channels + 1] and int64 [batch]."""
        values: Any = self.clips.gather(self.indices[positions])
        if generator is not None and self.varied_by:
            values = augment_sequences(values, self.varied_by, generator)
        return torch.from_numpy(values), torch.from_numpy(self.targets[positions])
