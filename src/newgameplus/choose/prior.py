"""The static prior: what a model's card alone lets one expect, before any of the user's clips is looked at.

It is a sum of a few points, set by hand and the same for everybody: an estimate, and the baseline ranking that
measuring has to beat. Published rankings of ImageNet models show why it is no straw man: larger models with a better
top-1 are better starts on average, and a model pretrained near the task beats a larger one from far away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from newgameplus.pretrained.card import ModelCard

__all__ = ["Prior", "static_prior"]

#: Points for a model that was pretrained on games (comes with the package, an earlier run, own recordings).
_GAMES = 1.0
#: Points for a head of its own that knows all of the user's classes; a share of them for some.
_LABELS = 1.0
#: Points for a network that sees the frames of a clip together, and for one that is told how its frames change.
_MOTION, _CHANGE = 0.5, 0.25
#: Points for each factor of 10 in weights, counted from a million, and how far that may go.
_DECADE, _SMALLEST, _LARGEST = 0.25, -0.5, 0.5
#: Points lost for each doubling of the frames wanted beyond those that a clip has.
_MISSING_FRAMES = 0.25
_FROM_GAMES = ("bundled:", "run:")


@dataclass(frozen=True)
class Prior:
    """What a card lets one expect.

    Attributes:
        value: Sum of the points; only the order that it gives to candidates means something.
        points: The points by what they are for.
    """

    value: float
    points: dict[str, float]

    @property
    def reason(self) -> str:
        """What it is made of, in words."""
        told = [f"{name} {value:+.2f}" for name, value in self.points.items() if round(value, 2)]
        return ", ".join(told) or "nothing speaks for or against it"


def static_prior(card: ModelCard, labels: Sequence[str] = (), *, clip_frames: float | None = None) -> Prior:
    """Return the static prior of a model for clips.

    Args:
        card: The model's card.
        labels: The user's class names.
        clip_frames: Frames that a typical labelled clip has, if that is known.

    Returns:
        The prior; the same card, labels and frames always give the same.
    """
    decades = math.log10(max(card.parameters, 1) / 1e6)
    points = {
        "pretrained on games": _GAMES if _from_games(card) else 0.0,
        "knows the classes": _LABELS * _known_share(card.labels, labels),
        "sees motion": _motion(card),
        "size": min(_LARGEST, max(_SMALLEST, _DECADE * decades)),
        "wants more frames than a clip has": -_MISSING_FRAMES * _missing_doublings(card, clip_frames),
    }
    return Prior(round(sum(points.values()), 6), points)


def _from_games(card: ModelCard) -> bool:
    return card.name.startswith(_FROM_GAMES) or card.facts.get("domain") == "games"


def _known_share(known: Sequence[str], labels: Sequence[str]) -> float:
    """Return the share of the user's classes that a head knows; a single one is of no use to tell classes apart."""
    names = {_plain(name) for name in known}
    matches = sum(_plain(label) in names for label in labels)
    return matches / len(labels) if matches > 1 else 0.0


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _motion(card: ModelCard) -> float:
    if card.modality != "image":
        return _MOTION
    return _CHANGE if card.facts.get("pooling") == "mean-change" else 0.0


def _missing_doublings(card: ModelCard, clip_frames: float | None) -> float:
    wanted = getattr(card.shape, "frames", 1)
    return max(0.0, math.log2(wanted / max(clip_frames, 1.0))) if clip_frames is not None else 0.0
