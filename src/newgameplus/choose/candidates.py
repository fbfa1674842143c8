"""What is known of one pretrained model as a start for the user's data, and which one was chosen: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Candidate", "Choice", "Cost", "ShortRun"]


@dataclass(frozen=True)
class Cost:
    """What a candidate costs on this machine.

    Attributes:
        latency_seconds: Measured time of one answer (median).
        fit_seconds: Estimated time to fine-tune: measured step times number of steps.
        fit_bytes: Estimated memory to fine-tune.
    """

    latency_seconds: float
    fit_seconds: float
    fit_bytes: int


@dataclass(frozen=True)
class ShortRun:
    """What a few steps of fine-tuning reached on training groups held out from it.

    Attributes:
        value: The measure; higher is better.
        low: Lower end of its interval over groups; None where there are too few for one.
        high: Upper end, likewise.
        steps: Steps that it took.
        seconds: Time that it took.
        measure: What was measured.
        caution: Why there is no interval; empty if there is one.
    """

    value: float
    low: float | None
    high: float | None
    steps: int
    seconds: float
    measure: str = "accuracy"
    caution: str = ""


@dataclass(frozen=True)
class Candidate:
    """One pretrained model as estimated, and perhaps tried, on the user's data.

    Attributes:
        name: What it is called among the candidates: its full name with its source, and the options in which it differs
            from others of the same name.
        parameters: Number of weights.
        scores: Estimates by name, such as ``prior``, ``knn``, ``logme``; higher is better for every one.
        seconds: Time that the estimates took.
        license: SPDX identifier, or ``unknown``.
        why_prior: What the prior is made of, in words.
        cost: What it costs on this machine, if that was measured.
        short_run: What a short fine-tuning reached, if it was among the best few.
        start: Full name with its source; by default ``name``.
        options: Options that its source is given.
    """

    name: str
    parameters: int
    scores: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    license: str = "unknown"
    why_prior: str = ""
    cost: Cost | None = None
    short_run: ShortRun | None = None
    start: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Fill in the name to start from."""
        object.__setattr__(self, "start", self.start or self.name)

    def as_dict(self) -> dict[str, Any]:
        """Return the candidate as plain data."""
        return asdict(self) | {"scores": dict(self.scores), "options": dict(self.options)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Candidate:
        """Read a candidate back from what :meth:`as_dict` gave."""
        cost, short_run = content.get("cost"), content.get("short_run")
        parts = {"cost": cost and Cost(**cost), "short_run": short_run and ShortRun(**short_run)}
        return cls(**(dict(content) | parts | {"scores": dict(content["scores"])}))


@dataclass(frozen=True)
class Choice:
    """Which model to start from, and why.

    Attributes:
        name: The chosen model.
        candidates: All of them, best first.
        reason: One sentence for people.
        by_prior: Names in the order of the prior alone: the ranking to be better than.
        advice: A paragraph about size and strategy; empty if none was asked for.
        left_out: Candidates that could not be used, and why: name, message and remedy each.
    """

    name: str
    candidates: tuple[Candidate, ...]
    reason: str
    by_prior: tuple[str, ...] = ()
    advice: str = ""
    left_out: tuple[Mapping[str, str], ...] = ()

    @property
    def chosen(self) -> Candidate:
        """The candidate that was chosen."""
        return next(candidate for candidate in self.candidates if candidate.name == self.name)

    def as_dict(self) -> dict[str, Any]:
        """Return the choice as plain data."""
        return {
            "name": self.name,
            "reason": self.reason,
            "candidates": [candidate.as_dict() for candidate in self.candidates],
            "by_prior": list(self.by_prior),
            "advice": self.advice,
            "left_out": [dict(one) for one in self.left_out],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Choice:
        """Read a choice back from what :meth:`as_dict` gave."""
        return cls(
            str(content["name"]),
            tuple(Candidate.from_dict(candidate) for candidate in content["candidates"]),
            str(content["reason"]),
            tuple(content["by_prior"]),
            str(content["advice"]),
            tuple(dict(one) for one in content["left_out"]),
        )
