"""Pretraining without human labels: objectives that a recording answers by itself, and the loop that follows them."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from newgameplus import progress
from newgameplus.errors import DivergedError

__all__ = [
    "Augmentation",
    "ClipBatch",
    "InverseDynamics",
    "Objective",
    "TemporalOrder",
    "TwoViews",
    "mirrored_label",
    "pretrain",
]


@dataclass(frozen=True)
class ClipBatch:
    """Some clips, and what the engine held while they were recorded.

    Attributes:
        clips: uint8 [batch, frames, height, width, channels].
        actions: int64 [batch]; index of the action; used by objectives that want it.
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
    """

    _GRAINY = 4  # noise costs as much as the network: one clip in so many gets some

    def __init__(self, generator: torch.Generator, strength: float = 1.0) -> None:
        self._generator = generator
        self._strength = strength

    def __call__(self, clips: Tensor) -> Tensor:
        """Return changed clips: uint8 [batch, frames, height, width, channels] in, the same shape as float32 out."""
        batch, _, _, _, channels = clips.shape
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

    Half of the clips are mirrored, with left and right exchanged in their labels.

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
        self._mirror = torch.tensor([list(labels).index(mirrored_label(label)) for label in labels])
        self._augment, self._generator, self._smoothing = augment, generator, smoothing

    def loss(self, backbone: nn.Module, batch: ClipBatch) -> Tensor:
        """Return the cross-entropy of the actions."""
        mirrored = torch.rand(len(batch.clips), generator=self._generator) < 0.5
        clips = batch.clips.clone()
        clips[mirrored] = clips[mirrored].flip(3)
        actions = torch.where(mirrored, self._mirror[batch.actions], batch.actions)
        logits = self.head(backbone(self._augment(clips)))
        return functional.cross_entropy(logits.float(), actions, label_smoothing=self._smoothing)


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
        return functional.cross_entropy(self.head(backbone(self._augment(shown))).float(), which)


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


class MovingAverage:
    """The exponential moving average of a network's weights and statistics; young, it forgets its random start fast.

    Args:
        network: What is averaged.
        decay: How much of the old average stays in each step, once the average is old enough.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._live = [value for value in network.state_dict().values() if value.is_floating_point()]
        self._mean = [value.detach().clone() for value in self._live]

    def update(self, step: int) -> None:
        """Take in the weights after step number ``step``."""
        stays = min(self._decay, (1.0 + step) / (10.0 + step))
        torch._foreach_lerp_(self._mean, [value.detach() for value in self._live], 1.0 - stays)

    def load(self) -> None:
        """Put the average into the network."""
        for value, mean in zip(self._live, self._mean, strict=True):
            value.detach().copy_(mean)


def pretrain(
    backbone: nn.Module,
    objectives: Mapping[Objective, float],
    batches: Iterator[ClipBatch],
    *,
    steps: int,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.05,
    warm_up: float = 0.05,
    average: float = 0.998,
    half_precision: bool = True,
    seconds: float | None = None,
    each: Callable[[dict[str, Any]], None] | None = None,
    every: int = 100,
) -> int:
    """Train a backbone on a weighted sum of objectives; it ends up with the moving average of its weights.

    AdamW with a linear warm-up and a cosine to zero; the moving average covers heads and normalization statistics too.

    Args:
        backbone: Changed in place.
        objectives: Each with its weight; their heads are changed in place.
        batches: Endless.
        steps: Number of batches to learn from.
        learning_rate: The highest.
        weight_decay: Of AdamW, on matrices and kernels alone.
        warm_up: Part of the steps in which the rate rises.
        average: Decay of the moving average, for each step.
        half_precision: Compute in bfloat16 where that is safe.
        seconds: If given, the schedule follows the clock as well: training ends after that time, its rate then at zero.
        each: Called with a row (step, learning_rate, seconds and each objective's mean loss) every ``every`` steps.
        every: Steps between two rows.

    Returns:
        Number of steps taken.

    Raises:
        DivergedError: The loss is not finite.
    """
    whole = nn.ModuleDict({"backbone": backbone, "objectives": nn.ModuleList(objectives)})
    mean = MovingAverage(whole, average)
    matrices = [p for p in whole.parameters() if p.ndim > 1]
    vectors = [p for p in whole.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay)
    started = time.monotonic()
    sums: dict[str, float] = dict.fromkeys([o.name for o in objectives], 0.0)
    whole.train()
    step = 0
    with progress.task("pretraining", total=steps, unit="steps") as task:
        while step < steps:
            spent = time.monotonic() - started
            done = max(step / steps, min(spent / seconds, 1.0) if seconds else 0.0)
            if done >= 1.0:
                break
            rate = learning_rate * min(1.0, done / warm_up + 1e-2) * 0.5 * (1.0 + math.cos(math.pi * done))
            for group in optimizer.param_groups:
                group["lr"] = rate
            batch = next(batches)
            with torch.autocast("cpu", torch.bfloat16, enabled=half_precision):
                losses = {o.name: (weight, o.loss(backbone, batch)) for o, weight in objectives.items()}
            loss = torch.stack([weight * value for weight, value in losses.values()]).sum()
            if not torch.isfinite(loss):
                raise DivergedError(f"the loss is {loss.item()} at step {step}", remedy="lower learning_rate")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(whole.parameters(), 2.0)
            optimizer.step()
            step += 1
            mean.update(step)
            for name, (_, value) in losses.items():
                sums[name] += value.item() / every
            if step % every == 0:
                row = {"step": step, "learning_rate": rate, "seconds": time.monotonic() - started, "losses": dict(sums)}
                sums = dict.fromkeys(sums, 0.0)
                if each:
                    each(row)
            task.advance(1, f"loss {loss.item():.3f}")
    mean.load()
    whole.eval()
    return step
