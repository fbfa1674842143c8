"""What training makes small, and what to say when it is no number any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from newgameplus.errors import DivergedError
from newgameplus.recipe import TrainSettings

__all__ = ["Loss", "class_weights", "classification_loss", "explain_divergence"]

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) to a scalar."""


def classification_loss(targets: np.ndarray[Any, Any], classes: int, settings: TrainSettings) -> Loss:
    """Return cross-entropy with the recipe's class weights and label smoothing.

    Args:
        targets: int64 [n]; training targets, which ``balanced`` weights are counted from.
        classes: Number of classes.
        settings: ``class_weights`` and ``label_smoothing``.
    """
    weights = class_weights(targets, classes, settings)

    def loss(logits: Tensor, truth: Tensor) -> Tensor:
        weight = None if weights is None else weights.to(logits.device)
        return nn.functional.cross_entropy(
            logits.float(), truth, weight=weight, label_smoothing=settings.label_smoothing
        )

    return loss


def class_weights(targets: np.ndarray[Any, Any], classes: int, settings: TrainSettings) -> Tensor | None:
    """Return the weight of each class in the loss, float32 [classes], or None where all weigh alike."""
    if settings.class_weights == "none":
        return None
    counts = np.maximum(np.bincount(targets, minlength=classes), 1)
    return torch.tensor(len(targets) / (classes * counts), dtype=torch.float32)


def explain_divergence(value: float, learner: nn.Module, inputs: Tensor, where: str) -> DivergedError:
    """Return an error that says where a loss stopped being a finite number, what did it, and what to try.

    Args:
        value: The loss.
        learner: What was being trained.
        inputs: The batch.
        where: Arm, epoch, step and rate.
    """
    broken = [name for name, weight in learner.named_parameters() if not bool(torch.isfinite(weight).all())]
    if inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
        cause, remedy = "the features of a clip are not finite", "use precision: fp32, or another pretrained model"
    elif broken:
        cause = f"the weights of {broken[0]} are not finite any more"
        remedy = "lower train.learning_rate and train.head_learning_rate (try a tenth), or set train.gradient_clip"
    else:
        cause = "the network's answer overflowed"
        remedy = "lower train.learning_rate (try a tenth), or use train.precision: fp32"
    return DivergedError(f"the loss is {value}: {cause}", source=where, remedy=remedy)
