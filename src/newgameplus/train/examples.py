"""What the loop learns from: anything that gives a batch of inputs and targets for an array of positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from newgameplus.train.augment import mirror_clips
from newgameplus.train.game_augment import augment_by_names, augmentation_names

__all__ = ["ClipExamples", "Clips", "Examples", "FeatureExamples"]

Indices = npt.NDArray[np.int64]


class Clips(Protocol):
    """Random access to clips, as the frame cache gives it."""

    def gather(self, indices: Indices) -> npt.NDArray[np.uint8]:
        """Return uint8 [n, frames, height, width, channels]."""
        ...


class Examples(Protocol):
    """A set of examples with their targets (int64 [n])."""

    targets: Indices

    def batch(self, positions: Indices, generator: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """Return inputs and targets (int64) at these positions; a generator asks for augmentation."""
        ...


class ClipExamples:
    """Clips read from the cache.

    Args:
        clips: The cache.
        indices: int64 [n]; which of its clips belong to this set.
        targets: int64 [n]; their classes.
        augment: Whether and how a generator may vary them, as in a recipe's ``train.augment``.
        mirror: int64 [classes]; class of each class's mirror image. None: no clip is mirrored.
    """

    def __init__(
        self,
        clips: Clips,
        indices: Indices,
        targets: Indices,
        *,
        augment: bool | str | Sequence[str] = False,
        mirror: Indices | None = None,
    ) -> None:
        self.clips, self.indices, self.targets = clips, indices, targets
        self.augment, self.mirror = augmentation_names(augment), mirror

    def batch(self, positions: Indices, generator: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """Return uint8 [batch, frames, height, width, channels] and int64 [batch]; half of them mirrored if asked."""
        frames = torch.from_numpy(self.clips.gather(self.indices[positions]))
        targets = self.targets[positions]
        if generator is not None and self.mirror is not None:
            chosen = generator.random(len(positions)) < 0.5
            frames = mirror_clips(frames, chosen)
            targets = np.where(chosen, self.mirror[targets], targets)
        if generator is not None:
            frames = augment_by_names(frames, self.augment, generator)
        return frames, torch.from_numpy(targets)

    def __getitem__(self, position: int) -> npt.NDArray[np.uint8]:
        clip: npt.NDArray[np.uint8] = self.clips.gather(self.indices[position : position + 1])[0]
        return clip

    def batches(self, batch_size: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield all clips in order, as arrays of at most ``batch_size``."""
        for start in range(0, len(self.indices), batch_size):
            yield self.clips.gather(self.indices[start : start + batch_size])


class FeatureExamples:
    """Features computed once, float32 [n, feature_dim]."""

    def __init__(self, features: Tensor, targets: Indices) -> None:
        self.features, self.targets = features, targets

    def batch(self, positions: Indices, generator: np.random.Generator | None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Return float32 [batch, feature_dim] and int64 [batch]; features are never varied."""
        return self.features[torch.from_numpy(positions)], torch.from_numpy(self.targets[positions])
