"""Pretraining without human labels: objectives that a recording answers by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from newgameplus.train.game_augment import augment_by_names, augmentation_names

__all__ = [
    "Augmentation",
    "ClipBatch",
    "InverseDynamics",
    "Objective",
    "TemporalOrder",
    "TwoViews",
    "mirrored_label",
]


@dataclass(frozen=True)
class ClipBatch:
    """Some clips, and what the engine held while they were recorded.

    Attributes:
        clips: uint8 [batch, frames, height, width, channels].
        actions: int64 [batch]; index of the action, -1 where none is known; used by objectives that want it.
    """

    clips: Tensor
    actions: Tensor


def mirrored_label(label: str) -> str:
    """Return the name that an action has in a mirror: ``turn_left`` becomes ``turn_right``, ``idle`` stays."""
    swap = {"left": "right", "right": "left"}
    return "_".join(swap.get(part, part) for part in label.split("_"))


class Augmentation:
    """Changes of a clip that keep what happens in it: light, contrast, gamma and tint, a shift, some noise.

    Args:
        generator: Source of all choices.
        strength: 0 changes nothing, 1 is full strength.
        games: Names of :data:`newgameplus.train.game_augment.AUGMENTATIONS` to vary clips by before.
    """

    _GRAINY = 4  # noise costs as much as the network: one clip in so many gets some

    def __init__(self, generator: torch.Generator, strength: float = 1.0, games: Sequence[str] = ()) -> None:
        self._generator = generator
        self._strength = strength
        self._games = augmentation_names(tuple(games))

    def __call__(self, clips: Tensor) -> Tensor:
        """Return changed clips: uint8 [batch, frames, height, width, channels] in, the same shape as float32 out."""
        batch, _, _, _, channels = clips.shape
        if self._games:
            seed = int(torch.randint(2**31, (1,), generator=self._generator))
            clips = augment_by_names(clips, self._games, np.random.default_rng(seed))
        table = self._tone_table(batch, channels)
        offsets = 256 * torch.arange(batch * channels, dtype=torch.int32).reshape(batch, 1, 1, 1, channels)
        toned = table.reshape(-1)[self._shift(clips) + offsets]
        grainy = toned[:: self._GRAINY]  # the batch is in random order
        deviation = self._uniform(len(grainy), 0.0, 8.0 * self._strength).reshape(-1, 1, 1, 1, 1)
        grainy += deviation * torch.randn(grainy.shape, generator=self._generator)
        return toned.clamp_(0.0, 255.0)

    def _uniform(self, count: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=self._generator)

    def _tone_table(self, batch: int, channels: int) -> Tensor:
        """Return float32 [batch, channels, 256]: the new value of every old one, for each clip and channel."""
        s = self._strength
        levels = torch.linspace(0.0, 1.0, 256)
        gamma = torch.exp(self._uniform(batch, -0.5 * s, 0.5 * s)).reshape(batch, 1, 1)
        contrast = torch.exp(self._uniform(batch, -0.5 * s, 0.4 * s)).reshape(batch, 1, 1)
        tint = torch.exp(self._uniform(batch * channels, -0.3 * s, 0.3 * s)).reshape(batch, channels, 1)
        light = self._uniform(batch, -0.15 * s, 0.15 * s).reshape(batch, 1, 1)
        return 255.0 * (levels**gamma * contrast * tint + light)

    def _shift(self, clips: Tensor, most: int = 3) -> Tensor:
        """Move all frames of each clip by the same few pixels; edges are repeated."""
        most = round(most * self._strength)
        if not most:
            return clips
        batch, _, height, width, _ = clips.shape
        moves = torch.randint(-most, most + 1, (2, batch), generator=self._generator)
        rows = (torch.arange(height) + moves[0, :, None]).clamp(0, height - 1)
        columns = (torch.arange(width) + moves[1, :, None]).clamp(0, width - 1)
        return torch.stack([clip[:, r][:, :, c] for clip, r, c in zip(clips, rows, columns, strict=True)])


class Objective(nn.Module, ABC):
    """Something to learn from clips alone; its own weights (heads) are trained together with the backbone."""

    name: str

    @abstractmethod
    def loss(self, backbone: nn.Module, batch: ClipBatch) -> Tensor:
        """Return the scalar loss of a batch.

        Args:
            backbone: From clips [batch, frames, height, width, channels] to features [batch, feature_dim].
            batch: The clips, not yet augmented.
        """


class InverseDynamics(Objective):
    """Tell from the frames which action the engine held (Pathak et al. 2017, arXiv 1705.05363, section 2.2).

    Half of the clips are mirrored, with left and right exchanged in their labels, if each label's mirror image is one
    of them. Clips whose action is not known are passed over.

    Args:
        labels: Names of the actions.
        feature_dim: Width of the features.
        augment: Applied to the clips.
        generator: Source of the choice of what is mirrored.
        smoothing: Label smoothing.
    """

    name = "inverse-dynamics"

    def __init__(
        self,
        labels: Sequence[str],
        feature_dim: int,
        augment: Augmentation,
        generator: torch.Generator,
        smoothing: float = 0.05,
    ) -> None:
        super().__init__()
        self.head = nn.Linear(feature_dim, len(labels))
        images = [mirrored_label(label) for label in labels]
        self._mirrored_share = 0.5 if set(images) <= set(labels) else 0.0
        self._mirror = torch.tensor(
            [
                list(labels).index(image if self._mirrored_share else label)
                for image, label in zip(images, labels, strict=True)
            ]
        )
        self._augment, self._generator, self._smoothing = augment, generator, smoothing

    def loss(self, backbone: nn.Module, batch: ClipBatch) -> Tensor:
        """Return the cross-entropy of the actions."""
        known = batch.actions >= 0
        if int(known.sum()) < 2:  # normalization over a batch needs two
            return self.head.weight.sum() * 0.0
        clips, actions = batch.clips[known], batch.actions[known]
        mirrored = torch.rand(len(clips), generator=self._generator) < self._mirrored_share
        clips[mirrored] = clips[mirrored].flip(3)
        actions = torch.where(mirrored, self._mirror[actions], actions)
        logits = self.head(backbone(self._augment(clips))).float()
        return functional.cross_entropy(logits, actions.to(logits.device), label_smoothing=self._smoothing)


class TemporalOrder(Objective):
    """Tell in which of a few orders the frames are shown (Misra et al. 2016, arXiv 1603.08561). Needs no actions.

    The orders: as they were; the middle two exchanged; the second half first; every second frame first.

    Args:
        frames: Frames of a clip; at least 4.
        feature_dim: Width of the features.
        augment: Applied to the clips.
        generator: Source of the choice of orders.
    """

    name = "temporal-order"

    def __init__(self, frames: int, feature_dim: int, augment: Augmentation, generator: torch.Generator) -> None:
        super().__init__()
        straight = list(range(frames))
        half = frames // 2
        swapped = [*straight[: half - 1], half, half - 1, *straight[half + 1 :]]
        self._orders = torch.tensor(
            [straight, swapped, straight[half:] + straight[:half], straight[::2] + straight[1::2]]
        )
        self.head = nn.Linear(feature_dim, len(self._orders))
        self._augment, self._generator = augment, generator

    def loss(self, backbone: nn.Module, batch: ClipBatch) -> Tensor:
        """Return the cross-entropy of the orders."""
        which = torch.randint(len(self._orders), (len(batch.clips),), generator=self._generator)
        rows = torch.arange(len(batch.clips))[:, None]
        shown = batch.clips[rows, self._orders[which]]
        logits = self.head(backbone(self._augment(shown))).float()
        return functional.cross_entropy(logits, which.to(logits.device))


class TwoViews(Objective):
    """Give two augmentations of one clip the same features, and different clips different ones. Needs no actions.

    This is VICReg (Bardes et al. 2022, arXiv 2105.04906) with its weights 25, 25 and 1, divided by 25.

    Args:
        feature_dim: Width of the features.
        augment: Applied to the clips, twice.
        width: Width of the expander, in which views are compared.
    """

    name = "two-views"

    def __init__(self, feature_dim: int, augment: Augmentation, width: int = 512) -> None:
        super().__init__()
        self.expander = nn.Sequential(
            nn.Linear(feature_dim, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width)
        )
        self._augment = augment

    def loss(self, backbone: nn.Module, batch: ClipBatch) -> Tensor:
        """Return the weighted sum of invariance, variance and covariance, over 25."""
        views = torch.cat([self._augment(batch.clips), self._augment(batch.clips)])
        first, second = self.expander(backbone(views)).float().chunk(2)
        variance = sum(functional.relu(1.0 - torch.sqrt(v.var(0) + 1e-4)).mean() for v in (first, second)) / 2.0
        covariance = self._off_diagonal(first) + self._off_diagonal(second)
        return functional.mse_loss(first, second) + variance + covariance / 25.0

    @staticmethod
    def _off_diagonal(values: Tensor) -> Tensor:
        centred = values - values.mean(0)
        products = centred.T @ centred / (len(values) - 1)
        return (products.square().sum() - products.diagonal().square().sum()) / values.shape[1]
