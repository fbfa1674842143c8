"""A fine-tuned classifier on disk: weights and head as safetensors, and a card that says how to build it again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from newgameplus.adapt.classifier import ClipClassifier
from newgameplus.errors import RunError
from newgameplus.files import digest_file, write_json
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.catalog import rebuild_pretrained
from newgameplus.tensors import load_tensors, save_tensors

__all__ = ["SavedClassifier", "load_classifier", "save_classifier"]

_WEIGHTS, _CARD = "model.safetensors", "card.json"


@dataclass
class SavedClassifier:
    """A classifier as loaded, in evaluation mode, with its facts.

    Attributes:
        classifier: Backbone and head.
        card: Facts of the pretrained model that it started from.
        training: Facts of the training: class counts, span of the clips in seconds, strategy.
    """

    classifier: ClipClassifier
    card: ModelCard
    training: dict[str, Any]


def save_classifier(folder: Path, classifier: ClipClassifier, start: ModelCard, training: dict[str, Any]) -> None:
    """Write ``model.safetensors`` and ``card.json`` into ``folder``."""
    weights = folder / _WEIGHTS
    save_tensors(weights, classifier.state_dict())
    content = {
        "schema": 1,
        "labels": list(classifier.labels),
        "digest": digest_file(weights),
        "start": start.as_dict(),
        "training": training,
    }
    write_json(folder / _CARD, content)


def load_classifier(folder: Path) -> SavedClassifier:
    """Load what :func:`save_classifier` wrote, checking its digest.

    Raises:
        RunError: A file is missing, damaged, or does not belong to the other.
    """
    remedy = "finish the run first (ngp resume), restore it from a copy, or fit again"
    try:
        content = json.loads((folder / _CARD).read_text(encoding="utf-8"))
        labels, card = tuple(content["labels"]), ModelCard.from_dict(content["start"])
        training, digest = dict(content["training"]), content["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"cannot read the model: {error}", source=str(folder / _CARD), remedy=remedy) from error
    weights = folder / _WEIGHTS
    if not weights.is_file() or digest_file(weights) != digest:
        raise RunError("the weights are missing or not those of the card", source=str(weights), remedy=remedy)
    classifier = ClipClassifier(rebuild_pretrained(card).backbone, labels)
    tensors, _ = load_tensors(weights)
    try:
        classifier.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(f"the weights do not fit the card: {error}", source=str(weights), remedy=remedy) from error
    return SavedClassifier(classifier.eval(), card, training)
