"""How well a classifier answers: each metric as sums over clips, so that a resample costs one small matrix product.

Conventions, the same as scikit-learn's with ``zero_division=0``:

- precision of a class that was never predicted, recall of a class without clips, and F1 of either, are 0;
- macro averages and balanced accuracy run over the classes that the truth holds. A class without a single clip is
  listed under ``absent`` and left out of the averages; predicting it wrongly still costs the true class its recall.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.evaluate.predictions import check_predictions
from newgameplus.shapes import Predictions

__all__ = ["CALIBRATION_BINS", "METRICS", "Metric", "Sums", "confusion_matrix", "reliability", "score"]

CALIBRATION_BINS = 15
"""Equal-width bins of confidence, as in Guo et al., "On Calibration of Modern Neural Networks", ICML 2017."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sums:
    """What a metric adds up, clip by clip: ``values[i, j]`` goes to the sum number ``columns[i, j]``.

    Attributes:
        columns: int64 [clips, entries].
        values: float64 [clips, entries].
        width: Number of sums.
    """

    columns: Integers
    values: Floats
    width: int

    def total(self) -> Floats:
        """Return the sums over all clips, float64 [width]."""
        return np.bincount(self.columns.ravel(), self.values.ravel(), minlength=self.width).astype(np.float64)


@dataclass(frozen=True)
class Metric:
    """One number about a set of answers.

    Attributes:
        name: Key in an evaluation.
        title: What people read.
        higher_is_better: Whether more is better.
        sums: Gives the parts that clips add.
        value: Gives float64 [...] for sums float64 [..., width].
    """

    name: str
    title: str
    higher_is_better: bool
    sums: Callable[[Predictions], Sums]
    value: Callable[[Floats], Floats]

    def of(self, predictions: Predictions) -> float:
        """Return the metric for all clips."""
        parts = self.sums(predictions)
        return float(self.value(parts.total()))


def _confusion_sums(predictions: Predictions) -> Sums:
    classes = len(predictions.labels)
    cells = predictions.targets * classes + predictions.predicted
    return Sums(cells[:, None], np.ones((len(cells), 1)), classes * classes)


def _calibration_sums(predictions: Predictions) -> Sums:
    confidence = predictions.probabilities.max(axis=1)
    edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)
    bins = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, CALIBRATION_BINS - 1)
    right = (predictions.predicted == predictions.targets).astype(np.float64)
    columns = bins[:, None] * 3 + np.arange(3)
    return Sums(columns, np.stack([np.ones_like(confidence), confidence, right], axis=1), CALIBRATION_BINS * 3)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, giving 0 where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator, dtype=np.float64), where=denominator > 0)


def _counts(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Return right answers, true clips and answers per class, each float64 [..., classes]."""
    classes = isqrt(sums.shape[-1])
    confusion = sums.reshape(*sums.shape[:-1], classes, classes)
    return np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64), confusion.sum(-1), confusion.sum(-2)


def _over_present(per_class: Floats, support: Floats) -> Floats:
    """Average over the classes that have clips; the others hold 0 and add nothing."""
    return _divide(per_class.sum(-1), (support > 0).sum(-1).astype(np.float64))


def _accuracy(sums: Floats) -> Floats:
    right, support, _ = _counts(sums)
    return _divide(right.sum(-1), support.sum(-1))


def _macro_precision(sums: Floats) -> Floats:
    right, support, answers = _counts(sums)
    return _over_present(_divide(right, answers), support)


def _macro_recall(sums: Floats) -> Floats:
    right, support, _ = _counts(sums)
    return _over_present(_divide(right, support), support)


def _macro_f1(sums: Floats) -> Floats:
    right, support, answers = _counts(sums)
    return _over_present(_divide(2 * right, support + answers), support)


def _expected_calibration_error(sums: Floats) -> Floats:
    bins = sums.reshape(*sums.shape[:-1], CALIBRATION_BINS, 3)
    return _divide(np.abs(bins[..., 1] - bins[..., 2]).sum(-1), bins[..., 0].sum(-1))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", True, _confusion_sums, _accuracy),
        Metric("balanced_accuracy", "balanced accuracy", True, _confusion_sums, _macro_recall),
        Metric("macro_precision", "macro precision", True, _confusion_sums, _macro_precision),
        Metric("macro_recall", "macro recall", True, _confusion_sums, _macro_recall),
        Metric("macro_f1", "macro F1", True, _confusion_sums, _macro_f1),
        Metric("ece", "calibration error", False, _calibration_sums, _expected_calibration_error),
    )
}
"""All metrics by name. Macro recall and balanced accuracy are the same number under two names people look for."""


def confusion_matrix(predictions: Predictions) -> Integers:
    """Count answers.

    Returns:
        int64 [classes, classes]; row: true class, column: predicted class.
    """
    classes = len(predictions.labels)
    cells = _confusion_sums(predictions).columns[:, 0]
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def reliability(predictions: Predictions) -> list[dict[str, float]]:
    """Hold confidence against accuracy in equal-width bins, for a reliability diagram.

    Returns:
        For each of the 15 bins ``{"low", "high", "clips", "confidence", "accuracy"}``; the last two are means over the
        bin's clips, 0 in an empty bin. A confidence c is in the bin with low < c <= high.
    """
    total = _calibration_sums(predictions).total().reshape(-1, 3)
    return [
        {
            "low": index / CALIBRATION_BINS,
            "high": (index + 1) / CALIBRATION_BINS,
            "clips": int(clips),
            "confidence": float(confidence / clips) if clips else 0.0,
            "accuracy": float(right / clips) if clips else 0.0,
        }
        for index, (clips, confidence, right) in enumerate(total)
    ]


def _per_class(predictions: Predictions) -> dict[str, dict[str, float]]:
    right, support, answers = _counts(confusion_matrix(predictions).astype(np.float64).ravel())
    precision, recall, f1 = _divide(right, answers), _divide(right, support), _divide(2 * right, support + answers)
    return {
        label: {
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "support": int(support[index]),
            "predicted": int(answers[index]),
        }
        for index, label in enumerate(predictions.labels)
    }


def score(predictions: Predictions) -> dict[str, Any]:
    """Score a classifier's answers.

    Args:
        predictions: Answers beside the truth.

    Returns:
        JSON-safe data: every metric of ``METRICS`` by name (0..1); ``clips``, their number; ``per_class``
        ``{label: {precision, recall, f1, support, predicted}}``; ``confusion`` (rows: truth, columns: answers);
        ``reliability`` (see :func:`reliability`); ``absent``, the classes without clips.

    Raises:
        DataError: The predictions do not fit together.
    """
    check_predictions(predictions)
    per_class = _per_class(predictions)
    return {name: metric.of(predictions) for name, metric in METRICS.items()} | {
        "clips": len(predictions.targets),
        "per_class": per_class,
        "confusion": confusion_matrix(predictions).tolist(),
        "reliability": reliability(predictions),
        "absent": [label for label, row in per_class.items() if row["support"] == 0],
    }
