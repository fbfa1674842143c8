"""Scores of frozen features: how well they already tell the user's classes apart, without training."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["leave_one_out_knn"]

_ROWS_AT_ONCE = 1024


def leave_one_out_knn(features: Tensor, targets: Tensor, groups: Tensor, neighbours: int = 5) -> float:
    """Return the accuracy of a nearest-neighbour vote in which a clip never asks its own group.

    Clips of one group look alike, so their neighbours in it would flatter every backbone.

    Args:
        features: float32 [clips, feature_dim].
        targets: int64 [clips]; classes.
        groups: int64 [clips]; group of each clip.
        neighbours: How many of the nearest clips (by cosine) vote.

    Returns:
        Share of clips answered rightly, in 0..1; 0 if there is only one group.
    """
    if bool((groups == groups[0]).all()):
        return 0.0
    standardized = (features - features.mean(dim=0)) / features.std(dim=0).clamp_min(1e-6)
    directions = torch.nn.functional.normalize(standardized, dim=1)
    classes = int(targets.max()) + 1
    correct = 0
    for start in range(0, len(features), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        likeness = directions[rows] @ directions.T
        likeness[groups[rows, None] == groups[None, :]] = -torch.inf
        nearest = likeness.topk(min(neighbours, len(features) - 1), dim=1)
        # A neighbour counts by its likeness; one of the clip's own group (at minus infinity) counts nothing.
        weights = nearest.values.add(1.0).clamp_min(0.0)
        votes = torch.zeros(len(likeness), classes).scatter_add_(1, targets[nearest.indices], weights)
        correct += int((votes.argmax(dim=1) == targets[rows]).sum())
    return correct / len(features)
