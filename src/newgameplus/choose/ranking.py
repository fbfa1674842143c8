"""The choice among candidates: by their features' score on the user's training clips, with the reason in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from newgameplus.errors import PretrainedModelError

__all__ = ["Candidate", "Choice", "rank_candidates"]


@dataclass(frozen=True)
class Candidate:
    """One pretrained model as measured on the user's data.

    Attributes:
        name: Full name with its source.
        knn: Leave-one-out nearest-neighbour accuracy of its frozen features, in 0..1.
        parameters: Number of weights.
        seconds: Time to compute the features.
    """

    name: str
    knn: float
    parameters: int
    seconds: float


@dataclass(frozen=True)
class Choice:
    """Which model to start from, and why.

    Attributes:
        name: The chosen model.
        candidates: All of them, best first.
        reason: One sentence for people.
    """

    name: str
    candidates: tuple[Candidate, ...]
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the choice as plain data."""
        return {"name": self.name, "reason": self.reason, "candidates": [asdict(c) for c in self.candidates]}


def rank_candidates(candidates: Sequence[Candidate]) -> Choice:
    """Choose the candidate with the best score; the smaller model wins a tie.

    Raises:
        PretrainedModelError: There is none.
    """
    if not candidates:
        raise PretrainedModelError("no pretrained model to start from", source="model.start", remedy="name one")
    ranked = tuple(sorted(candidates, key=lambda candidate: (-candidate.knn, candidate.parameters)))
    best = ranked[0]
    told = f"its frozen features name {best.knn:.0%} of the training clips rightly by their nearest neighbours"
    if len(ranked) == 1:
        reason = f"{best.name} is the only candidate; {told} (an estimate)"
    else:
        second = ranked[1]
        reason = f"{best.name}: {told}, against {second.knn:.0%} for {second.name} (an estimate)"
    return Choice(best.name, ranked, reason)
