"""Scores of frozen features: how well they already tell the user's classes apart, without training.

All are estimates of what fine-tuning will reach, and higher is better. Each looks at features from another side: the
vote of neighbours at near clips, the evidence of a linear model at what any linear head could do.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["h_score", "leave_one_out_knn", "log_evidence"]

Floats = npt.NDArray[np.float64]

_ROWS_AT_ONCE = 1024
_MOST_ITERATIONS = 200
_TOLERANCE = 1e-6
#: Bounds of alpha / beta, the largest eigenvalue being 1: features that fit exactly, or not at all, have no optimum.
_SMALLEST, _LARGEST = 1e-10, 1e10


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


def log_evidence(features: Tensor, targets: Tensor) -> float:
    """Return LogME: the greatest log evidence of a Bayesian linear model from features to classes, per clip.

    For each class, its 0/1 labels are y ~ N(Fw, 1/beta) with w ~ N(0, 1/alpha); alpha and beta are those under which
    the labels are likeliest, found by MacKay's fixed point on the singular values of F. The mean over the classes that
    occur is returned. You, Liu, Wang and Long, "LogME: Practical Assessment of Pre-trained Models for Transfer
    Learning", ICML 2021 (arXiv 2102.11005).

    It knows no groups: clips alike within one make every candidate look surer, in the same way.

    Args:
        features: float32 [clips, feature_dim].
        targets: int64 [clips]; classes.

    Returns:
        Mean log evidence for one clip and class, in nats; comparable only for the same clips and classes.
    """
    matrix = features.double().numpy()
    left, singular, _ = np.linalg.svd(matrix, full_matrices=False)
    eigenvalues = (singular / (singular.max(initial=0.0) or 1.0)) ** 2  # the evidence knows no scale of the features
    classes = np.unique(targets.numpy())
    labels = (targets.numpy()[:, None] == classes[None, :]).astype(np.float64)
    projected = left.T @ labels
    outside = np.maximum((labels**2).sum(axis=0) - (projected**2).sum(axis=0), 0.0)
    found = [
        _evidence(eigenvalues, projected[:, index] ** 2, float(outside[index]), *matrix.shape)
        for index in range(len(classes))
    ]
    return float(np.mean(found)) / len(matrix)


def _evidence(eigenvalues: Floats, inside: Floats, outside: float, clips: int, width: int) -> float:
    """Return the greatest log evidence for one vector of labels.

    Args:
        eigenvalues: float64 [rank]; squared singular values of the features, at most 1.
        inside: float64 [rank]; squared parts of the labels along the left singular vectors.
        outside: Squared length of the rest of the labels, which no weights can reach.
        clips: Number of clips.
        width: Number of features.
    """
    ratio = 1.0  # alpha / beta
    for _ in range(_MOST_ITERATIONS):
        alpha, beta, norm, residual = _fixed_point(eigenvalues, inside, outside, clips, ratio)
        before, ratio = ratio, float(np.clip(alpha / beta, _SMALLEST, _LARGEST))
        if abs(ratio - before) <= _TOLERANCE * before:
            break
    alpha, beta, norm, residual = _fixed_point(eigenvalues, inside, outside, clips, ratio)
    logarithms = np.log(alpha + beta * eigenvalues).sum() + (width - len(eigenvalues)) * np.log(alpha)
    fit = width * np.log(alpha) + clips * np.log(beta) - logarithms - beta * residual - alpha * norm
    return float(fit - clips * np.log(2 * np.pi)) / 2


def _fixed_point(
    eigenvalues: Floats, inside: Floats, outside: float, clips: int, ratio: float
) -> tuple[float, float, float, float]:
    """Return alpha, beta, the squared norm of the weights and the squared residual, for a ratio alpha / beta."""
    norm = max(float((eigenvalues * inside / (ratio + eigenvalues) ** 2).sum()), 1e-300)
    residual = max(float((inside * (ratio / (ratio + eigenvalues)) ** 2).sum()) + outside, 1e-300)
    used = float((eigenvalues / (eigenvalues + ratio)).sum())  # effective number of weights
    return max(used, 1e-12) / norm, max(clips - used, 1e-12) / residual, norm, residual


def h_score(features: Tensor, targets: Tensor) -> float:
    """Return the H-score with shrunk covariance: variance between classes in units of the features' own variance.

    Bao et al., "An Information-Theoretic Approach to Transferability in Task Transfer Learning", ICIP 2019; the
    covariance is shrunk (Ledoit-Wolf), as the plain one cannot be inverted with fewer clips than features: Ibrahim,
    Ponomareva and Mazumder, "Newer is not always better", ECML 2022 (arXiv 2110.06893).

    Args:
        features: float32 [clips, feature_dim].
        targets: int64 [clips]; classes.

    Returns:
        At least 0, and less than the number of classes.
    """
    from sklearn.covariance import ledoit_wolf

    matrix = features.double().numpy()
    centred = matrix - matrix.mean(axis=0)
    classes, members, counts = np.unique(targets.numpy(), return_inverse=True, return_counts=True)
    covariance, shrinkage = ledoit_wolf(centred, assume_centered=True)
    sums = np.zeros((len(classes), centred.shape[1]))
    np.add.at(sums, members, centred)
    means = sums / counts[:, None]
    weighted = means * np.sqrt(counts / len(matrix))[:, None]
    return float((1 - shrinkage) * np.trace(weighted @ np.linalg.pinv(covariance, hermitian=True) @ weighted.T))
