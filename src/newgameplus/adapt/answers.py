"""Answers of a classifier: class probabilities for clips."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from newgameplus.adapt.classifier import ClipClassifier, match_labels
from newgameplus.pretrained.backbone import ZeroShotHead

__all__ = ["classify", "zero_shot_probabilities"]

Probabilities = npt.NDArray[np.float64]


@torch.no_grad()
def classify(classifier: ClipClassifier, batches: Iterable[npt.NDArray[np.uint8]]) -> Probabilities:
    """Return the probability of every class for clips.

    Args:
        classifier: Put in evaluation mode.
        batches: uint8 arrays [batch, frames, height, width, channels].

    Returns:
        float64 [clips, classes]; each row sums to 1.
    """
    classifier.eval()
    device = next(classifier.parameters()).device
    parts = [_softmax(classifier(torch.from_numpy(batch).to(device))) for batch in batches]
    return np.concatenate(parts) if parts else np.zeros((0, len(classifier.labels)))


def zero_shot_probabilities(features: Tensor, head: ZeroShotHead, labels: tuple[str, ...]) -> Probabilities | None:
    """Return what the pretrained model answers by its own head, where it knows the names of classes.

    Args:
        features: float32 [clips, feature_dim] of the untouched backbone.
        head: The pretrained head.
        labels: Class names of the task.

    Returns:
        float64 [clips, classes] with 0 for classes that it does not know; None if it knows fewer than two.
    """
    matched = match_labels(labels, head.labels)
    if len(matched) < 2:
        return None
    probabilities = np.zeros((len(features), len(labels)))
    probabilities[:, list(matched)] = _softmax(head.logits(features)[:, list(matched.values())])
    return probabilities


def _softmax(logits: Tensor) -> Probabilities:
    return logits.double().softmax(dim=1).cpu().numpy().astype(np.float64)
