"""What fine-tuning brought: every arm in one table with intervals, paired differences, and a verdict in one sentence.

An *arm* is one way to answer the test clips: the fine-tuned model, or a baseline that it must beat. All arms answer the
same clips, and all intervals come from the same resampled groups.

The evaluation (``evaluation.json``) is plain data::

    {
      "schema": 1, "labels": [...], "clips": 480, "groups": 6,
      "unit": "group", "level": 0.95, "resamples": 2000, "seed": 0,      how the intervals were made
      "reference": "fine-tuned",              the arm that differences are taken from; null if it did not run
      "imbalanced": false,                    whether the largest class has over 4 times the clips of the smallest
      "absent": [...],                        classes without test clips
      "cautions": ["only 3 test groups: ..."],
      "skipped": {"zero-shot": "no label names match"},
      "arms": [{
        "name", "title", "kind", "seconds", "steps", "trainable_parameters", "note",
        "metrics": {"accuracy": {"value", "low", "high"}, "balanced_accuracy": ..., "macro_f1": ..., "ece": ...},
        "difference": {"accuracy": {"value", "low", "high"}, ...},       reference minus this arm; null for itself
        "per_class": {"jump": {"precision", "recall", "f1", "support", "predicted"}},
        "confusion": [[...]],                 rows: truth, columns: answers
        "reliability": [{"low", "high", "clips", "confidence", "accuracy"}]
      }],
      "verdict": {"outcome", "sentence", "metric", "against", "difference", "low", "high"}
    }
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from newgameplus.errors import DataError
from newgameplus.evaluate.intervals import Bootstrap
from newgameplus.evaluate.metrics import METRICS, Floats, score
from newgameplus.evaluate.predictions import check_paired, check_predictions
from newgameplus.evaluate.verdict import judge
from newgameplus.shapes import Predictions

__all__ = ["ARM_TITLES", "FINE_TUNED", "Arm", "compare"]

FINE_TUNED = "fine-tuned"

ARM_TITLES = {
    FINE_TUNED: "fine-tuned",
    "majority": "most frequent class",
    "random-forest": "random forest",
    "zero-shot": "zero-shot",
    "probe": "frozen backbone",
    "scratch": "from scratch",
}
"""What people read for the usual arms."""

_FEWEST_CLIPS = 30
_IMBALANCE = 4.0
_DIFFERENCES = ("accuracy", "balanced_accuracy", "macro_f1")


@dataclass(frozen=True)
class Arm:
    """One way to answer the test clips.

    Attributes:
        name: Key, e.g. ``fine-tuned``, ``majority``, ``random-forest``, ``zero-shot``, ``probe``, ``scratch``.
        title: What people read.
        kind: ``fine-tuned`` or ``baseline``.
        predictions: Its answers.
        seconds: Time to fit it.
        steps: Optimizer steps taken.
        trainable_parameters: Weights that could move.
        note: Anything a reader should know.
    """

    name: str
    title: str
    kind: Literal["fine-tuned", "baseline"]
    predictions: Predictions
    seconds: float = 0.0
    steps: int = 0
    trainable_parameters: int = 0
    note: str = ""


def compare(
    arms: Sequence[Arm],
    reference: str = FINE_TUNED,
    *,
    skipped: Mapping[str, str] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Evaluate all arms on the same clips.

    Args:
        arms: The arms that ran; all about the same clips.
        reference: Name of the arm that the others are held against.
        skipped: Arms that did not run, each with the reason.
        resamples: Number of resamples of the groups.
        level: Of the intervals.
        seed: Of the resampling.

    Returns:
        The evaluation, JSON-safe; see the head of this module. The reference comes first, then baselines from the best
        to the worst accuracy.

    Raises:
        DataError: There is no arm, two have the same name, or they are about different clips.
    """
    _check(arms)
    first = arms[0].predictions
    bootstrap = Bootstrap(first.groups, resamples=resamples, level=level, seed=seed)
    resampled = {arm.name: bootstrap.values(arm.predictions, tuple(METRICS)) for arm in arms}
    rows = {arm.name: _row(arm, bootstrap, resampled[arm.name]) for arm in arms}
    if reference in rows:
        for name, row in rows.items():
            if name != reference:
                row["difference"] = _difference(rows[reference], row, bootstrap, resampled[reference], resampled[name])
    support = np.bincount(first.targets, minlength=len(first.labels))
    evaluation: dict[str, Any] = {
        "schema": 1,
        "labels": list(first.labels),
        "clips": len(first.targets),
        "groups": bootstrap.groups,
        "unit": bootstrap.unit,
        "level": level,
        "resamples": resamples,
        "seed": seed,
        "reference": reference if reference in rows else None,
        "imbalanced": bool(support.max() > _IMBALANCE * support[support > 0].min()),
        "absent": [label for label, count in zip(first.labels, support, strict=True) if count == 0],
        "skipped": dict(skipped or {}),
        "arms": sorted(rows.values(), key=lambda row: (row["name"] != reference, -row["metrics"]["accuracy"]["value"])),
    }
    evaluation["cautions"] = _cautions(evaluation, bootstrap)
    evaluation["verdict"] = judge(evaluation)
    return evaluation


def _check(arms: Sequence[Arm]) -> None:
    if not arms:
        raise DataError("there is nothing to compare: no arm ran", remedy="evaluate at least one model")
    names = [arm.name for arm in arms]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DataError(f"two arms are named {repeated[0]!r}", remedy="give every arm its own name")
    for arm in arms:
        check_predictions(arm.predictions, arm.name)
        check_paired(arms[0].predictions, arm.predictions)


def _row(arm: Arm, bootstrap: Bootstrap, resampled: dict[str, Floats]) -> dict[str, Any]:
    scores = score(arm.predictions)
    return {
        "name": arm.name,
        "title": arm.title,
        "kind": arm.kind,
        "seconds": float(arm.seconds),
        "steps": int(arm.steps),
        "trainable_parameters": int(arm.trainable_parameters),
        "note": arm.note,
        "metrics": {name: bootstrap.interval(scores[name], resampled[name]).as_dict() for name in METRICS},
        "difference": None,
        "per_class": scores["per_class"],
        "confusion": scores["confusion"],
        "reliability": scores["reliability"],
    }


def _difference(
    reference: dict[str, Any],
    row: dict[str, Any],
    bootstrap: Bootstrap,
    resampled_reference: dict[str, Floats],
    resampled: dict[str, Floats],
) -> dict[str, dict[str, float]]:
    return {
        name: bootstrap.interval(
            reference["metrics"][name]["value"] - row["metrics"][name]["value"],
            resampled_reference[name] - resampled[name],
            lowest=-1.0,
        ).as_dict()
        for name in _DIFFERENCES
    }


def _cautions(evaluation: dict[str, Any], bootstrap: Bootstrap) -> list[str]:
    cautions = [bootstrap.caution] if bootstrap.caution else []
    if evaluation["clips"] < _FEWEST_CLIPS:
        cautions.append(f"only {evaluation['clips']} test clips: the numbers are rough")
    if absent := evaluation["absent"]:
        named = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        cautions.append(f"no test clip of {named}: the macro averages leave them out")
    return cautions
