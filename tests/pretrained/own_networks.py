"""Networks of a user's own, as the factories of ``checkpoint:`` name them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def small(channels: int = 3) -> nn.Module:
    """Two blocks of convolutions and a head of three classes."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 3),
    )


class Video(nn.Module):
    """A network of clips, frames behind channels."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(3, 6, (frames, 3, 3), padding=(0, 1, 1))
        self.head = nn.Linear(6, 2)

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(torch.relu(self.convolution(clips)).mean(dim=(2, 3, 4)))


def video(frames: int) -> nn.Module:
    return Video(frames)


def no_network() -> int:
    return 3


def failing() -> nn.Module:
    raise ValueError("out of paint")


def needing(secret: int) -> nn.Module:
    return nn.Linear(secret, secret)
