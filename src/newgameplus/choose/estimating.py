"""The estimates of one candidate: its card's prior, and what its frozen features make of the user's clips."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from newgameplus.choose.candidates import Candidate
from newgameplus.choose.prior import static_prior
from newgameplus.choose.scores import leave_one_out_knn, log_evidence
from newgameplus.pretrained.card import ModelCard

__all__ = ["estimate"]


def estimate(
    features: Tensor,
    targets: Tensor,
    groups: Tensor,
    card: ModelCard,
    *,
    labels: Sequence[str] = (),
    clip_frames: float | None = None,
    seconds: float = 0.0,
) -> Candidate:
    """Estimate how good a start a model is. Nothing is trained.

    Args:
        features: float32 [clips, feature_dim] of the untouched backbone, for training clips only.
        targets: int64 [clips]; classes.
        groups: int64 [clips]; group of each clip.
        card: The model's card.
        labels: The user's class names.
        clip_frames: Frames that a typical labelled clip has, if that is known.
        seconds: Time that the features took.

    Returns:
        The candidate with the scores ``prior``, ``knn`` and ``logme``.
    """
    prior = static_prior(card, labels, clip_frames=clip_frames)
    scores = {
        "prior": prior.value,
        "knn": leave_one_out_knn(features, targets, groups),
        "logme": log_evidence(features, targets),
    }
    return Candidate(card.name, card.parameters, scores, seconds, card.license, prior.reason)
