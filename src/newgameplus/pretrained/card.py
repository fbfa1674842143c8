"""The facts about one pretrained model, as kept beside its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from newgameplus.shapes import ClipShape, InputShape, SequenceShape

__all__ = ["ModelCard"]


@dataclass(frozen=True)
class ModelCard:
    """What a user should know before starting from a model.

    Attributes:
        name: Full name with its source, e.g. ``bundled:doom-clips`` or ``transformers:microsoft/resnet-50``.
        family: Architecture family, e.g. ``clip-cnn``, ``resnet``, ``vit``, ``videomae``.
        modality: ``clip`` (eats frames together) or ``image`` (eats frames one by one, pooled over time),
            or ``sequence`` (eats numbers over time).
        parameters: Number of weights in the backbone.
        feature_dim: Width of the features that come out of the backbone.
        shape: Clips or sequences it takes.
        license: SPDX identifier, or ``unknown``.
        digest: BLAKE2b digest of the weights file.
        labels: Class names its own head knows, for zero-shot use; empty if it has none.
        description: What it was trained on and how.
        facts: Anything else worth keeping (training log summary, measured scores).
    """

    name: str
    family: str
    modality: str
    parameters: int
    feature_dim: int
    shape: InputShape
    license: str = "unknown"
    digest: str = ""
    labels: tuple[str, ...] = ()
    description: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the card as plain data for ``card.json``."""
        return asdict(self) | {"labels": list(self.labels)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ModelCard:
        """Read a card back from what :meth:`as_dict` gave."""
        kind = SequenceShape if "steps" in content["shape"] else ClipShape
        return cls(**(content | {"shape": kind(**content["shape"]), "labels": tuple(content["labels"])}))
