"""Runs held against each other on the clips they share."""

from __future__ import annotations

import json
from dataclasses import replace
from math import comb
from typing import Any

import numpy as np
import pytest

from newgameplus.errors import DataError
from newgameplus.evaluate.across_runs import compare_runs, comparison_table, mcnemar
from newgameplus.evaluate.intervals import difference
from newgameplus.shapes import Predictions


def take(predictions: Predictions, rows: Any, order: Any = None) -> Predictions:
    """Some clips, with the classes in another order if wanted."""
    order = list(range(len(predictions.labels))) if order is None else order
    place = np.argsort(order)
    return Predictions(
        tuple(predictions.labels[i] for i in order),
        predictions.probabilities[rows][:, order],
        place[predictions.targets[rows]],
        tuple(predictions.groups[i] for i in rows),
        tuple(predictions.clips[i] for i in rows),
    )


def test_runs_on_the_same_clips(make: Any) -> None:
    a, b = make(skill=1.0), make(skill=2.5, seed=2)
    comparison = compare_runs([("runs/a", a), ("runs/b", b)])
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison
    assert comparison["runs"][1]["difference"]["accuracy"] == difference(b, a).as_dict()
    assert comparison["runs"][0]["difference"] is None
    assert comparison["sentence"].startswith("runs/b is better: accuracy ")
    assert comparison["cautions"] == []


def test_only_shared_clips_count_whatever_their_order(make: Any) -> None:
    a, b = make(skill=1.0), make(skill=2.5, seed=2)
    shuffled = np.random.default_rng(0).permutation(240)[:150]
    comparison = compare_runs([("a", a), ("b", take(b, shuffled, [2, 0, 3, 1]))])
    rows = np.sort(shuffled)
    assert comparison["runs"][1]["difference"]["accuracy"] == difference(take(b, rows), take(a, rows)).as_dict()
    assert (comparison["clips"], comparison["runs"][0]["left_out"]) == (150, 90)
    assert "not every run answered every clip; left out: 90 of a" in comparison["cautions"][0]


def test_differences_with_few_groups_may_lie_below_zero(make: Any) -> None:
    a, b = make(groups=3, skill=2.5), make(groups=3, skill=0.8, seed=2)
    found = compare_runs([("a", a), ("b", b)])["runs"][1]["difference"]["accuracy"]
    assert found == difference(b, a).as_dict()
    assert found["low"] < found["value"] < 0


def test_equal_runs_are_not_told_apart(make: Any) -> None:
    comparison = compare_runs([("a", make()), ("b", make(seed=5)), ("c", make(seed=6))])
    assert "No sure difference" in comparison["sentence"] or "not surely above" in comparison["sentence"]


def test_runs_that_are_level_are_not_called_ahead(make: Any) -> None:
    comparison = compare_runs([("a", make()), ("b", make()), ("c", make(skill=0.5, seed=6))])
    assert comparison["sentence"].startswith("No sure difference: a and b are level, accuracy ")


def test_the_first_run_may_be_the_best(make: Any) -> None:
    comparison = compare_runs([("a", make(skill=3.0)), ("b", make(skill=0.5, seed=2)), ("c", make(skill=0.5, seed=3))])
    assert comparison["sentence"].startswith("a is best: ")


def test_refused(make: Any) -> None:
    a = make()
    with pytest.raises(DataError, match="1 run given"):
        compare_runs([("a", a)])
    with pytest.raises(DataError, match="given twice"):
        compare_runs([("a", a), ("a", a)])
    with pytest.raises(DataError, match="a and b know different classes: 'class 0', 'jump'"):
        compare_runs([("a", a), ("b", make(labels=["jump", "class 1", "class 2", "class 3"]))])
    with pytest.raises(DataError, match="no clip in common"):
        compare_runs([("a", a), ("b", replace(a, clips=tuple(f"x{i}" for i in range(240))))])
    with pytest.raises(DataError, match="more than once"):
        compare_runs([("a", a), ("b", replace(a, clips=("x",) * 240))])
    with pytest.raises(DataError, match="disagree about the true class of 240 clips"):
        compare_runs([("a", a), ("b", replace(a, targets=(a.targets + 1) % 4))])


def test_mcnemar_is_the_exact_binomial_tail(make: Any) -> None:
    one, other = make(skill=1.5), make(skill=1.0, seed=2)
    right = [predictions.predicted == predictions.targets for predictions in (one, other)]
    fewer, total = (
        sorted([int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())])[0],
        int((right[0] != right[1]).sum()),
    )
    expected = min(1.0, 2 * sum(comb(total, k) for k in range(fewer + 1)) / 2**total)
    assert mcnemar(one, other) == pytest.approx(expected)
    assert mcnemar(one, one) == 1.0


def test_the_text_fits_80_columns(make: Any) -> None:
    names = ["runs/2026-11-23-doom-actions-with-a-long-name", "b", "c"]
    comparison = compare_runs([(name, make(groups=3, skill=3 - i, seed=i)) for i, name in enumerate(names)])
    table = comparison_table(comparison)
    assert max(map(len, table.splitlines())) <= 80
    assert "caution: only 3 test groups" in table
