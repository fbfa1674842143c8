"""Predictions as plain data, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from newgameplus.errors import DataError
from newgameplus.evaluate.metrics import METRICS, score
from newgameplus.evaluate.predictions import check_predictions, predictions_from_dict, predictions_to_dict


def test_a_round_trip_through_json_keeps_answers_and_scores(make: Any) -> None:
    predictions = make(labels=["springen", "跳跃", 'a "b" <c>', "d'e"])
    again = predictions_from_dict(json.loads(json.dumps(predictions_to_dict(predictions), allow_nan=False)))
    assert (again.labels, again.groups, again.clips) == (predictions.labels, predictions.groups, predictions.clips)
    assert np.array_equal(again.targets, predictions.targets)
    assert np.array_equal(again.predicted, predictions.predicted)
    assert again.probabilities == pytest.approx(predictions.probabilities, abs=1e-6)
    for name in METRICS:
        assert score(again)[name] == pytest.approx(score(predictions)[name], abs=1e-5)
    assert predictions_to_dict(again) == predictions_to_dict(predictions)


def test_rounding_never_changes_an_answer(make: Any) -> None:
    predictions = make(clips=4, classes=2)
    close = replace(predictions, probabilities=np.array([[0.5 - 1e-9, 0.5 + 1e-9]] * 4))
    assert predictions_from_dict(predictions_to_dict(close)).predicted.tolist() == [1, 1, 1, 1]


def test_all_faults_are_told_at_once(make: Any) -> None:
    predictions = make(clips=10, classes=4)
    broken = replace(predictions, labels=("a", "a", "b", "c"), groups=("g",), targets=predictions.targets + 7)
    with pytest.raises(DataError) as caught:
        check_predictions(broken, "runs/a")
    said = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "runs/a" in said
    assert "1 groups for 10 targets" in said
    assert "class 'a' is named more than once" in said
    assert "names none of the 4 classes" in said


@pytest.mark.parametrize("row", [[0.5, 0.2, 0.2, 0.0], [np.nan, 0.5, 0.5, 0.0], [1.5, -0.5, 0.0, 0.0]])
def test_rows_that_are_no_probabilities_are_refused_with_the_clip(make: Any, row: list[float]) -> None:
    predictions = make(clips=10)
    probabilities = predictions.probabilities.copy()
    probabilities[3] = row
    with pytest.raises(DataError, match=r"1 rows are no probabilities; .*'episode 2\.mp4#3'"):
        score(replace(predictions, probabilities=probabilities))


def test_no_clips_are_refused(make: Any) -> None:
    with pytest.raises(DataError, match="no clips to score"):
        score(make(clips=0, groups=1))


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"labels": ["a"], "probabilities": [[1.0]], "targets": [0], "groups": ["g"]},
        {"labels": ["a", "b"], "probabilities": [[1.0]], "targets": [0], "groups": ["g"], "clips": ["c"]},
        {"labels": ["a"], "probabilities": [["x"]], "targets": [0], "groups": ["g"], "clips": ["c"]},
        {"labels": ["a"], "probabilities": [[1.0]], "targets": [2], "groups": ["g"], "clips": ["c"]},
    ],
)
def test_damaged_data_are_refused_with_their_file(content: Any) -> None:
    with pytest.raises(DataError) as caught:
        predictions_from_dict(content, "runs/a/predictions.json")
    assert "runs/a/predictions.json" in str(caught.value)
