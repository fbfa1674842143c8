"""What every backbone promises, whatever its source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from newgameplus.pretrained.card import ModelCard
from newgameplus.shapes import InputShape

__all__ = ["Backbone", "PretrainedModel", "ZeroShotHead"]


class Backbone(nn.Module, ABC):
    """A network from clips, or sequences of numbers, to features.

    Attributes:
        shape: The clips or sequences it takes.
        feature_dim: Width of the features that come out.
    """

    shape: InputShape
    feature_dim: int

    @abstractmethod
    def forward(self, clips: Tensor) -> Tensor:
        """Turn clips into features.

        Args:
            clips: uint8 [batch, frames, height, width, channels] in 0..255, as the cache holds them;
                or float32 [batch, steps, channels + 1], the last channel a mask. Scaling and normalization are the
                backbone's own affair, so that they travel with it.

        Returns:
            float32 [batch, feature_dim].
        """

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """Return the parts that hold all weights, from input to output: the units of gradual unfreezing and of
        layer-wise learning rates. Every parameter is in exactly one block."""


@dataclass(frozen=True)
class ZeroShotHead:
    """The linear head that a pretrained model brings for classes that it knows by name.

    Attributes:
        labels: Class names.
        weight: float32 [classes, feature_dim].
        bias: float32 [classes].
    """

    labels: tuple[str, ...]
    weight: Tensor
    bias: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Return float32 [batch, classes] for features [batch, feature_dim]."""
        return torch.nn.functional.linear(features, self.weight, self.bias)


@dataclass
class PretrainedModel:
    """A starting point: its facts, its network, its own head if it has one, and the options it was loaded with."""

    card: ModelCard
    backbone: Backbone
    zero_shot: ZeroShotHead | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
