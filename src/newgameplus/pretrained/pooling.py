"""From features of single frames to features of a clip: pooling over time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["POOLINGS", "pool_over_time", "pooled_dim"]


def pool_over_time(features: Tensor, pooling: str) -> Tensor:
    """Pool the features of frames into features of clips.

    Args:
        features: float [batch, frames, width]; frames in the order of time, evenly spread.
        pooling: A key of :data:`POOLINGS`.

    Returns:
        float [batch, ``pooled_dim(width, pooling)``].
    """
    return POOLINGS[pooling][0](features)


def pooled_dim(width: int, pooling: str) -> int:
    """Return the width of pooled features for frame features of the given width."""
    return width * POOLINGS[pooling][1]


def _mean(features: Tensor) -> Tensor:
    return features.mean(dim=1)


def _maximum(features: Tensor) -> Tensor:
    return features.amax(dim=1)


def _mean_and_change(features: Tensor) -> Tensor:
    return torch.cat([features.mean(dim=1), change_over_time(features)], dim=1)


def change_over_time(features: Tensor) -> Tensor:
    """Return how far each feature moves from the first frame to the last, by the least-squares line through all frames.

    Turning left and turning right show the same frames in another order, so a pooling that is blind to order cannot
    tell them apart. The mean of the differences between neighbours is no help: it telescopes to last minus first and
    forgets the frames between. The fitted line is signed too, uses every frame, and has the least variance of all
    unbiased linear estimates of a steady change under independent noise (Gauss-Markov).

    Args:
        features: float [batch, frames, width].

    Returns:
        float [batch, width]: slope times (frames - 1), which is last minus first for a steady change; 0 for one frame.
    """
    frames = features.shape[1]
    time = torch.arange(frames, dtype=features.dtype, device=features.device)
    time = time - time.mean()
    weights = time * ((frames - 1) / time.square().sum().clamp_min(1e-12))
    return torch.einsum("btd,t->bd", features, weights)


POOLINGS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "mean": (_mean, 1),
    "max": (_maximum, 1),
    "mean-change": (_mean_and_change, 2),
}
"""Name -> (function, how many times wider the result is than the features of a frame)."""
