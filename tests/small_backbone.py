"""A small backbone with normalization and dropout, and clips that it can learn to tell apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from newgameplus.pretrained.backbone import Backbone
from newgameplus.shapes import ClipShape

SHAPE = ClipShape(frames=4, height=12, width=16, channels=1)


class SmallBackbone(Backbone):
    """Two convolution blocks over stacked frames."""

    def __init__(self, width: int = 8, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape, self.feature_dim = SHAPE, width
        self.first = nn.Sequential(nn.Conv2d(4, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.dropout = nn.Dropout(dropout)

    def forward(self, clips: Tensor) -> Tensor:
        frames = clips[..., 0].float() / 127.5 - 1.0
        maps: Tensor = self.second(self.first(frames))
        pooled: Tensor = self.dropout(maps.mean(dim=(2, 3)))
        return pooled

    def blocks(self) -> list[nn.Module]:
        return [self.first, self.second]


class ArrayClips:
    """Clips held in memory, as the cache would give them."""

    def __init__(self, frames: np.ndarray) -> None:
        self.frames = frames

    def gather(self, indices: np.ndarray) -> np.ndarray:
        return self.frames[indices]


def moving_bars(clips: int, seed: int = 0, classes: int = 3) -> tuple[ArrayClips, np.ndarray]:
    """Make clips of a bright bar that moves left (0), right (1) or stands still (2), on noise."""
    generator = np.random.default_rng(seed)
    targets = np.arange(clips, dtype=np.int64) % classes
    frames = generator.integers(0, 60, (clips, *SHAPE.array), dtype=np.uint8)
    for index, target in enumerate(targets):
        start = int(generator.integers(5, 9))
        for time in range(SHAPE.frames):
            column = start + {0: -1, 1: 1, 2: 0}[int(target)] * time
            frames[index, time, :, column : column + 2] = 220
    return ArrayClips(frames), targets


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules hold bit-identical weights and buffers."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
