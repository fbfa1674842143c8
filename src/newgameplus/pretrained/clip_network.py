"""The architecture of the bundled backbones: a small convolutional network that sees all frames of a clip at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from newgameplus.pretrained.backbone import Backbone
from newgameplus.shapes import ClipShape

__all__ = ["ClipNetwork", "clip_statistics", "statistics_dim"]

_LEAST_CONTRAST = 4.0
"""Grey levels added to the spread of a clip before dividing by it, so that a black clip does not become loud noise."""


_GRID = (3, 4)


def statistics_dim(shape: ClipShape) -> int:
    """Return how many numbers :func:`clip_statistics` gives for a clip."""
    return 3 * shape.frames - 1 + 2 * _GRID[0] * _GRID[1]


@torch.no_grad()
def clip_statistics(clips: Tensor) -> Tensor:
    """Return plain statistics of light and change.

    Args:
        clips: uint8 or float [batch, frames, height, width, channels] in 0..255.

    Returns:
        float32 [batch, statistics_dim], about 0..1: mean and spread of each frame, mean change between frames, and both
        brightness and change on a grid of 3 x 4 places.
    """
    values = clips.float().mean(dim=4) / 255.0
    change = (values[:, 1:] - values[:, :-1]).abs()
    parts = [values.mean(dim=(2, 3)), _spread(values, (2, 3)), change.mean(dim=(2, 3))]
    for picture in (values.mean(dim=1, keepdim=True), change.mean(dim=1, keepdim=True)):
        parts.append(nn.functional.adaptive_avg_pool2d(picture, _GRID).flatten(1))
    return torch.cat(parts, dim=1)


def _spread(values: Tensor, dims: tuple[int, ...], *, keepdim: bool = False) -> Tensor:
    """Standard deviation over some dimensions; several times faster than torch's own on a CPU."""
    mean, square = values.mean(dim=dims, keepdim=keepdim), values.square().mean(dim=dims, keepdim=keepdim)
    return (square - mean.square()).clamp_min(0.0).sqrt()


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width, 3, 1)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class ClipNetwork(Backbone):
    """Residual convolutions over the first frame and the differences between frames, stacked as channels.

    What moves is in the differences from the first layer on, so a few layers are enough to tell a turn from a step. The
    last map of features keeps its places (it is flattened, not averaged): walking ahead moves the left of the picture
    to the left and the right to the right, and an average over places would not see that.

    Args:
        shape: Clips it takes; height and width of at least 32.
        width: Channels of the first layer; later ones have 2, 4 and 4 times as many.
        feature_dim: Width of the learned features.
        statistics: Put plain statistics of light and change behind them: the network itself does not see how bright a
            clip is, which tells a flash of pain or a fall, so a head may want to.
    """

    def __init__(self, shape: ClipShape, width: int = 24, feature_dim: int = 192, *, statistics: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.width = width
        self.statistics = statistics
        self.feature_dim = feature_dim + (statistics_dim(shape) if statistics else 0)
        self.stem = _convolution(shape.frames * shape.channels, width, 5, 2)
        self.stage1 = nn.Sequential(_convolution(width, 2 * width, 3, 2), _Residual(2 * width))
        self.stage2 = nn.Sequential(_convolution(2 * width, 4 * width, 3, 2), _Residual(4 * width))
        self.squeeze = nn.Sequential(_convolution(4 * width, 32, 1, 1), nn.Flatten())
        places = -(-shape.height // 8) * -(-shape.width // 8)
        self.project = nn.Sequential(nn.Linear(32 * places, feature_dim), nn.LayerNorm(feature_dim))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's own types

    def forward(self, clips: Tensor) -> Tensor:
        """Turn clips into features.

        Args:
            clips: uint8 [batch, frames, height, width, channels] in 0..255; floats in the same range are welcome too.

        Returns:
            float32 [batch, feature_dim]; the learned ones are normalized to mean 0 and variance 1 and then scaled.
        """
        x = self.stage2(self.stage1(self.stem(self._prepare(clips))))
        features: Tensor = self.project(self.squeeze(x)).float()
        return torch.cat([features, clip_statistics(clips)], dim=1) if self.statistics else features

    def _prepare(self, clips: Tensor) -> Tensor:
        """Normalize each clip by its own brightness and contrast; stack first frame and differences as channels."""
        batch, frames, height, width, channels = clips.shape
        # Time goes to the innermost place: that is the order called "channels last", which convolutions on a CPU like.
        values = clips.permute(0, 2, 3, 1, 4).float().reshape(batch, height, width, frames * channels)
        mean, spread = values.mean(dim=(1, 2, 3), keepdim=True), _spread(values, (1, 2, 3), keepdim=True)
        # Differences are several times smaller than the picture itself; the factor brings them to the same scale.
        differences = 3.0 * (values[..., channels:] - values[..., :-channels])
        stacked = torch.cat([values[..., :channels] - mean, differences], dim=3)
        return stacked.div_(spread + _LEAST_CONTRAST).permute(0, 3, 1, 2)

    def blocks(self) -> list[nn.Module]:
        """Return the parts that hold all weights, from input to output."""
        return [self.stem, self.stage1, self.stage2, self.squeeze, self.project]
