"""Metrics against scikit-learn, and calibration against a plain loop."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import metrics as oracle

from newgameplus.evaluate.metrics import METRICS, confusion_matrix, reliability, score
from newgameplus.shapes import Predictions


def predictions_of(targets: np.ndarray, probabilities: np.ndarray) -> Predictions:
    names = tuple(map(str, range(len(targets))))
    labels = tuple(f"c{i}" for i in range(probabilities.shape[1]))
    return Predictions(labels, probabilities, targets.astype(np.int64), names, names)


@st.composite
def answers(draw: st.DrawFn) -> Predictions:
    """A few clips, with classes that may be absent from the truth, from the answers, or from both."""
    classes, clips = draw(st.integers(2, 6)), draw(st.integers(1, 40))
    targets = draw(arrays.arrays(np.int64, clips, elements=st.integers(0, classes - 1)))
    odds = draw(arrays.arrays(np.float64, (clips, classes), elements=st.integers(1, 20).map(float)))
    return predictions_of(targets, odds / odds.sum(1, keepdims=True))


@settings(max_examples=200, deadline=None)
@given(answers())
def test_agrees_with_scikit_learn(predictions: Predictions) -> None:
    truth, answer = predictions.targets, predictions.predicted
    every = list(range(len(predictions.labels)))
    present = sorted(set(truth.tolist()))
    found = score(predictions)
    assert found["accuracy"] == pytest.approx(oracle.accuracy_score(truth, answer))
    assert found["confusion"] == oracle.confusion_matrix(truth, answer, labels=every).tolist()
    precision, recall, f1, support = oracle.precision_recall_fscore_support(
        truth, answer, labels=every, zero_division=0
    )
    rows = list(found["per_class"].values())
    assert [row["precision"] for row in rows] == pytest.approx(precision)
    assert [row["recall"] for row in rows] == pytest.approx(recall)
    assert [row["f1"] for row in rows] == pytest.approx(f1)
    assert [row["support"] for row in rows] == support.tolist()
    macro = oracle.precision_recall_fscore_support(truth, answer, labels=present, zero_division=0, average="macro")
    assert [found["macro_precision"], found["macro_recall"], found["macro_f1"]] == pytest.approx(macro[:3])
    assert found["balanced_accuracy"] == pytest.approx(
        oracle.recall_score(truth, answer, labels=present, average="macro")
    )
    assert found["absent"] == [f"c{i}" for i in every if i not in present]


def test_balanced_accuracy_agrees_with_scikit_learn_where_all_classes_occur(make) -> None:  # type: ignore[no-untyped-def]
    predictions = make(clips=400, classes=5, skill=1.0)
    expected = oracle.balanced_accuracy_score(predictions.targets, predictions.predicted)
    assert score(predictions)["balanced_accuracy"] == pytest.approx(expected)


def plain_calibration_error(predictions: Predictions) -> float:
    """Guo et al. 2017, equation 3, as a plain loop over 15 bins (low, high]."""
    confidence = predictions.probabilities.max(1)
    right = predictions.predicted == predictions.targets
    error, edges = 0.0, np.linspace(0, 1, 16)
    for low, high in pairwise(edges):
        inside = [i for i, c in enumerate(confidence) if low < c <= high]
        if inside:
            gap = abs(sum(right[i] for i in inside) / len(inside) - sum(confidence[i] for i in inside) / len(inside))
            error += gap * len(inside) / len(confidence)
    return error


@settings(max_examples=200, deadline=None)
@given(answers())
def test_calibration_error_agrees_with_a_plain_loop(predictions: Predictions) -> None:
    assert METRICS["ece"].of(predictions) == pytest.approx(plain_calibration_error(predictions))


def test_reliability_bins_hold_every_clip_once(make) -> None:  # type: ignore[no-untyped-def]
    predictions = make(clips=300, skill=1.0)
    bins = reliability(predictions)
    assert sum(row["clips"] for row in bins) == 300
    for row in bins:
        if row["clips"]:
            assert row["low"] < row["confidence"] <= row["high"] + 1e-12
    right = sum(row["accuracy"] * row["clips"] for row in bins)
    assert right == pytest.approx((predictions.predicted == predictions.targets).sum())


def test_a_confidence_on_the_edge_of_a_bin_belongs_to_the_lower_bin() -> None:
    # 0.2 is the edge between the third and fourth of 15 bins; 5 classes at 0.2 give exactly that confidence.
    bins = reliability(predictions_of(np.array([0]), np.full((1, 5), 0.2)))
    assert [index for index, row in enumerate(bins) if row["clips"]] == [2]


def test_perfect_and_hopeless_answers() -> None:
    targets = np.array([0, 1, 2, 0])
    perfect = score(predictions_of(targets, np.eye(3)[targets]))
    hopeless = score(predictions_of(targets, np.eye(3)[(targets + 1) % 3]))
    assert {perfect[name] for name in ("accuracy", "balanced_accuracy", "macro_f1")} == {1.0}
    assert {hopeless[name] for name in ("accuracy", "balanced_accuracy", "macro_f1")} == {0.0}
    assert (perfect["ece"], hopeless["ece"]) == (0.0, 1.0)


def test_an_absent_class_is_listed_and_left_out_of_averages() -> None:
    predictions = predictions_of(np.array([0, 0, 1]), np.eye(3)[[0, 2, 1]])
    found = score(predictions)
    assert found["absent"] == ["c2"]
    assert found["per_class"]["c2"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0, "predicted": 1}
    assert found["macro_recall"] == pytest.approx((0.5 + 1.0) / 2)


def test_confusion_rows_are_truths(make) -> None:  # type: ignore[no-untyped-def]
    predictions = predictions_of(np.array([0, 0, 1]), np.eye(2)[[1, 1, 1]])
    assert confusion_matrix(predictions).tolist() == [[0, 2], [0, 1]]
