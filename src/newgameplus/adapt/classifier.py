"""Head replacement: any backbone with a new linear head for the classes of the task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from newgameplus.adapt.rows import move_rows
from newgameplus.pretrained.backbone import Backbone, ZeroShotHead

__all__ = ["ClipClassifier", "StandardizedHead"]

#: Smallest scale of a feature, as a share of the median one.
_SMALLEST_SCALE = 0.01


class StandardizedHead(nn.Module):
    """A linear layer on features brought to zero mean and unit variance.

    The mean and the scale are constants measured once on the training clips: a probe then converges in few steps
    whatever the backbone's scale, and one learning rate fits all sources.

    Args:
        feature_dim: Width of the features.
        classes: Number of classes.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, feature_dim: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("scale", torch.ones(feature_dim))
        self.linear = nn.Linear(feature_dim, classes)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Turn float32 [batch, feature_dim] into logits [batch, classes]."""
        logits: Tensor = self.linear((features - self.mean) / self.scale)
        return logits

    @torch.no_grad()
    def standardize(self, features: Tensor) -> None:
        """Set the mean and scale from training features [clips, feature_dim], leaving the logits as they were."""
        mean, scale = features.mean(dim=0), features.std(dim=0, correction=0)
        # A feature that hardly varies says little: its noise must not be blown up to the size of the others.
        floor = (_SMALLEST_SCALE * scale.median()).clamp_min(1e-6)
        scale = torch.where(scale > 1e-6 * (1.0 + mean.abs()), scale.maximum(floor), torch.ones_like(scale))
        weight = self.linear.weight / self.scale
        bias = self.linear.bias - weight @ self.mean
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        self.linear.weight.copy_(weight * scale)
        self.linear.bias.copy_(bias + weight @ mean)

    @torch.no_grad()
    def carry_over(self, labels: Sequence[str], known: ZeroShotHead) -> tuple[str, ...]:
        """Take the rows of classes that the pretrained head knows by name; the others keep their fresh rows.

        Args:
            labels: Class names of this head, in order.
            known: The pretrained model's own head, on the same features.

        Returns:
            The names carried over.
        """
        matched = match_labels(labels, known.labels)
        sources = [matched.get(row, -1) for row in range(len(labels))]
        weight = known.weight.to(self.linear.weight)
        bias = known.bias.to(weight) + weight @ self.mean
        self.linear.weight.copy_(move_rows(weight * self.scale, sources, fill=self.linear.weight))
        self.linear.bias.copy_(move_rows(bias, sources, fill=self.linear.bias))
        return tuple(labels[row] for row in matched)


def match_labels(labels: Sequence[str], known: Sequence[str]) -> dict[int, int]:
    """Return, for each label that ``known`` has too (but for case, blanks and hyphens), its place there."""
    places = {_plain(name): place for place, name in enumerate(known)}
    return {row: places[_plain(label)] for row, label in enumerate(labels) if _plain(label) in places}


def _plain(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


class ClipClassifier(nn.Module):
    """A backbone and a head: clips in, logits out.

    Args:
        backbone: From any source.
        labels: Class names, in the order of the logits.
    """

    def __init__(self, backbone: Backbone, labels: Sequence[str]) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = StandardizedHead(backbone.feature_dim, len(labels))
        self.labels = tuple(labels)

    def forward(self, clips: Tensor) -> Tensor:
        """Turn uint8 clips [batch, frames, height, width, channels] into logits [batch, classes]."""
        logits: Tensor = self.head(self.backbone(clips))
        return logits
