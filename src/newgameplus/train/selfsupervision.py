"""Pretraining without human labels: objectives that a recording answers by itself.

Several processes share a batch: each has its part of the clips, draws whatever is drawn for the whole batch and takes
its part of that (noise too: drawing it costs little beside a network), and gives its share of the loss of the whole
batch. So what is learned does not depend on the number of processes, but for rounding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from newgameplus.launched import process_count
from newgameplus.train.game_augment import augment_by_names, augmentation_names
from newgameplus.train.summing import rows_of_all

__all__ = [
    "Augmentation",
    "ClipBatch",
    "Cut",
    "InverseDynamics",
    "Objective",
    "TemporalOrder",
    "TwoViews",
    "mirrored_label",
]


@dataclass(frozen=True)
class Cut:
    """Which of the examples of a whole batch are at hand in this process.

    Attributes:
        whole: How many there are in all processes.
        part: Which of these are here.
    """

    whole: int
    part: slice

    @classmethod
    def all_of(cls, count: int) -> Cut:
        """Return the cut of one process: all are here."""
        return cls(count, slice(0, count))

    def among(self, chosen: Tensor) -> Cut:
        """Return the cut of some of the examples alone: those where ``chosen``, bool [whole], is true."""
        first, mine = int(chosen[: self.part.start].sum()), int(chosen[self.part].sum())
        return Cut(int(chosen.sum()), slice(first, first + mine))


@dataclass(frozen=True)
class ClipBatch:
    """Some clips, and what the engine held while they were recorded.

    Attributes:
        clips: uint8 [clips, frames, height, width, channels]; of several processes that share a batch, this one's part.
        actions: int64 [batch]; index of the action, -1 where none is known; used by objectives that want it. Every
            process has those of the whole batch.
        part: Which of the batch the clips are; None: all.
    """

    clips: Tensor
    actions: Tensor
    part: slice | None = None

    @property
    def cut(self) -> Cut:
        """Which of the whole batch the clips are."""
        return Cut.all_of(len(self.clips)) if self.part is None else Cut(len(self.actions), self.part)


def mirrored_label(label: str) -> str:
    """Return the name that an action has in a mirror: ``turn_left`` becomes ``turn_right``, ``idle`` stays."""
    swap = {"left": "right", "right": "left"}
    return "_".join(swap.get(part, part) for part in label.split("_"))


class Augmentation:
    """Changes of a clip that keep what happens in it: light, contrast, gamma and tint, a shift, some noise.

    Args:
        generator: Source of all choices.
        strength: 0 changes nothing, 1 is full strength.
        games: Names of :data:`newgameplus.train.game_augment.AUGMENTATIONS` to vary clips by before. These draw clip by
            clip, as many numbers as it takes: each of several processes draws its own.
    """

    _GRAINY = 4  # noise costs as much as the network: one clip in so many gets some

    def __init__(self, generator: torch.Generator, strength: float = 1.0, games: Sequence[str] = ()) -> None:
        self._generator = generator
        self._strength = strength
        self._games = augmentation_names(tuple(games))

    def __call__(self, clips: Tensor, cut: Cut | None = None) -> Tensor:
        """Return changed clips: uint8 [batch, frames, height, width, channels] in, the same shape as float32 out.

        Args:
            clips: The clips.
            cut: Which of the whole batch they are; None: all.
        """
        batch, _, _, _, channels = clips.shape
        cut = cut or Cut.all_of(batch)
        if self._games:
            seed = int(torch.randint(2**31, (1,), generator=self._generator))
            own = seed if cut.whole == batch else [seed, cut.part.start]
            clips = augment_by_names(clips, self._games, np.random.default_rng(own))
        table = self._tone_table(cut.whole, channels)[cut.part]
        offsets = 256 * torch.arange(batch * channels, dtype=torch.int32).reshape(batch, 1, 1, 1, channels)
        toned = table.reshape(-1)[self._shift(clips, cut) + offsets]
        first = -cut.part.start % self._GRAINY
        grainy = toned[first :: self._GRAINY]  # the batch is in random order
        grainy += self._noise(cut, clips.shape[1:])[-(-cut.part.start // self._GRAINY) :][: len(grainy)]
        return toned.clamp_(0.0, 255.0)

    def _noise(self, cut: Cut, shape: torch.Size) -> Tensor:
        """Return float32 [grainy clips of the whole batch, frames, height, width, channels]."""
        count = -(-cut.whole // self._GRAINY)
        deviation = self._uniform(count, 0.0, 8.0 * self._strength).reshape(-1, 1, 1, 1, 1)
        return deviation * torch.randn((count, *shape), generator=self._generator)

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

    def _shift(self, clips: Tensor, cut: Cut, most: int = 3) -> Tensor:
        """Move all frames of each clip by the same few pixels; edges are repeated."""
        most = round(most * self._strength)
        if not most:
            return clips
        _, _, height, width, _ = clips.shape
        moves = torch.randint(-most, most + 1, (2, cut.whole), generator=self._generator)[:, cut.part]
        if not len(clips):
            return clips
        rows = (torch.arange(height) + moves[0, :, None]).clamp(0, height - 1)
        columns = (torch.arange(width) + moves[1, :, None]).clamp(0, width - 1)
        return torch.stack([clip[:, r][:, :, c] for clip, r, c in zip(clips, rows, columns, strict=True)])


class Objective(nn.Module, ABC):
    """Something to learn from clips alone; its own weights (heads) are trained together with the backbone."""

    name: str

    @abstractmethod
    def loss(self, backbone: nn.Module, batch: ClipBatch) -> Tensor:
        """Return the scalar loss of a batch; of several processes, this one's share.

        The shares of all processes add up to the loss of the whole batch, and their gradients to its gradient.

        Args:
            backbone: From clips [batch, frames, height, width, channels] to features [batch, feature_dim].
            batch: The clips, not yet augmented.
        """


def _cross_entropy(logits: Tensor, targets: Tensor, cut: Cut, smoothing: float = 0.0) -> Tensor:
    """Return this process's share of the mean cross-entropy of a whole batch."""
    if not len(targets):
        return logits.sum() * 0.0
    mean = functional.cross_entropy(logits, targets.to(logits.device), label_smoothing=smoothing)
    return mean * (len(targets) / cut.whole)


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
        here, cut = batch.cut.part, batch.cut.among(known)
        clips, actions = batch.clips[known[here]], batch.actions[here][known[here]]
        mirrored = torch.rand(cut.whole, generator=self._generator)[cut.part] < self._mirrored_share
        clips[mirrored] = clips[mirrored].flip(3)
        actions = torch.where(mirrored, self._mirror[actions], actions)
        logits = self.head(backbone(self._augment(clips, cut))).float()
        return _cross_entropy(logits, actions, cut, self._smoothing)


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
        cut = batch.cut
        which = torch.randint(len(self._orders), (cut.whole,), generator=self._generator)[cut.part]
        rows = torch.arange(len(batch.clips))[:, None]
        shown = batch.clips[rows, self._orders[which]]
        logits = self.head(backbone(self._augment(shown, cut))).float()
        return _cross_entropy(logits, which, cut)


class TwoViews(Objective):
    """Give two augmentations of one clip the same features, and different clips different ones. Needs no actions.

    This is VICReg (Bardes et al. 2022, arXiv 2105.04906) with its weights 25, 25 and 1, divided by 25. Spread and
    covariance are those of the whole batch: every process gets all of them, and computes an equal share of the loss.

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
        cut = batch.cut
        views = torch.cat([self._augment(batch.clips, cut), self._augment(batch.clips, cut)])
        own = self.expander(backbone(views)).float().chunk(2)
        first, second = (rows_of_all(view, cut.part, cut.whole) for view in own)
        variance = sum(functional.relu(1.0 - torch.sqrt(v.var(0) + 1e-4)).mean() for v in (first, second)) / 2.0
        covariance = self._off_diagonal(first) + self._off_diagonal(second)
        return (functional.mse_loss(first, second) + variance + covariance / 25.0) / process_count()

    @staticmethod
    def _off_diagonal(values: Tensor) -> Tensor:
        centred = values - values.mean(0)
        products = centred.T @ centred / (len(values) - 1)
        return (products.square().sum() - products.diagonal().square().sum()) / values.shape[1]
