"""Measures of returns: held against SciPy and brute force, and intervals that hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from newgameplus.errors import DataError
from newgameplus.evaluate.resamples import Resamples
from newgameplus.evaluate.returns import (
    AGGREGATES,
    aggregate,
    aggregate_difference,
    aggregate_interval,
    interquartile_mean,
    mean_interval,
    performance_profile,
    probability_of_improvement,
    sample_median,
    success_interval,
)
from newgameplus.evaluate.success_pairs import paired_share_difference

numbers = st.lists(st.floats(-1e6, 1e6, allow_nan=False, width=32), min_size=1, max_size=30)


@given(numbers)
def test_interquartile_mean_is_scipys_where_nothing_is_cut_in_two(values: list[float]) -> None:
    four_times = np.repeat(values, 4)
    assert interquartile_mean(four_times) == pytest.approx(stats.trim_mean(four_times, 0.25), rel=1e-9, abs=1e-6)


@given(numbers)
def test_a_value_at_the_cut_counts_by_its_fraction(values: list[float]) -> None:
    """Repeating every value four times moves no cut, and leaves none in the middle of a value."""
    assert interquartile_mean(values) == pytest.approx(
        float(interquartile_mean(np.repeat(values, 4))), rel=1e-9, abs=1e-6
    )


def test_interquartile_mean_of_five() -> None:
    """The middle 2.5 of five: the third whole, three quarters of its neighbors."""
    assert interquartile_mean([9, 1, 2, 3, 100]) == pytest.approx((0.75 * 2 + 3 + 0.75 * 9) / 2.5)


@given(numbers)
def test_median_is_numpys(values: list[float]) -> None:
    assert sample_median(values) == pytest.approx(float(np.median(values)), rel=1e-9, abs=1e-9)


@settings(max_examples=40)
@given(numbers, st.integers(0, 99))
def test_a_resample_by_weights_is_the_resample_itself(values: list[float], seed: int) -> None:
    drawn = np.random.default_rng(seed).integers(0, len(values), len(values))
    weights = np.bincount(drawn, minlength=len(values)) / len(values)
    array = np.asarray(values)[drawn]
    assert interquartile_mean(values, weights) == pytest.approx(float(interquartile_mean(array)), rel=1e-9, abs=1e-6)
    assert sample_median(values, weights) == pytest.approx(float(np.median(array)), rel=1e-9, abs=1e-9)


def test_tasks_are_put_together_as_rliable_does() -> None:
    """The paper's measures for a matrix of runs and tasks."""
    matrix = np.random.default_rng(0).gamma(2.0, 0.4, (8, 5))
    scores = {f"task {task}": matrix[:, task] for task in range(5)}
    assert aggregate(scores, "mean") == pytest.approx(matrix.mean(axis=0).mean())
    assert aggregate(scores, "median") == pytest.approx(np.median(matrix.mean(axis=0)))
    assert aggregate(scores, "iqm") == pytest.approx(stats.trim_mean(matrix, 0.25, axis=None))
    assert aggregate(scores, "optimality_gap") == pytest.approx(1 - np.minimum(matrix, 1).mean())


def test_tasks_weigh_alike_however_many_runs_they_have() -> None:
    scores = {"one": np.arange(4.0), "other": np.repeat([5.0, 6.0, 7.0], 40)}
    assert aggregate(scores, "mean") == pytest.approx((1.5 + 6) / 2)
    assert aggregate(scores, "iqm") == aggregate(
        {"one": np.repeat(np.arange(4.0), 30), "other": scores["other"]}, "iqm"
    )


@settings(max_examples=60)
@given(numbers, numbers)
def test_probability_of_improvement_is_mann_whitneys(one: list[float], other: list[float]) -> None:
    found = probability_of_improvement({"": one}, {"": other}, resamples=50)
    statistic = stats.mannwhitneyu(one, other, method="asymptotic", use_continuity=False).statistic
    assert found.value == pytest.approx(statistic / (len(one) * len(other)))
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_probability_of_improvement_averages_tasks_and_turns_around() -> None:
    one, other = {"a": [1.0, 2.0], "b": [0.0]}, {"b": [0.0], "a": [1.0]}
    found = probability_of_improvement(one, other)
    assert found.value == pytest.approx((0.75 + 0.5) / 2)
    assert probability_of_improvement(other, one).value == pytest.approx(1 - found.value)


def test_five_wins_out_of_five_are_not_certain() -> None:
    found = probability_of_improvement({"": np.arange(5.0) + 10}, {"": np.arange(5.0)})
    assert found.value == 1.0
    assert 0.5 < found.low < 0.6
    assert found.high == 1.0


@settings(max_examples=30, deadline=None)
@given(numbers, st.sampled_from(sorted(AGGREGATES)), st.integers(0, 5))
def test_intervals_hold_their_number_and_come_out_the_same(values: list[float], measure: str, seed: int) -> None:
    found = aggregate_interval({"a": values, "b": values[::-1]}, measure, resamples=200, seed=seed)
    assert found.low <= found.value <= found.high
    assert found == aggregate_interval({"a": values, "b": values[::-1]}, measure, resamples=200, seed=seed)


@pytest.mark.parametrize(("measure", "runs"), [("mean", 4), ("mean", 10), ("iqm", 20), ("iqm", 100)])
def test_intervals_hold_the_truth(measure: str, runs: int) -> None:
    """Three tasks of their own height; the truth of a symmetric distribution is its middle for every measure."""
    held = 0
    for trial in range(200):
        rng = np.random.default_rng([trial, runs])
        scores = {str(task): rng.normal(0, 1, runs) for task in range(3)}
        found = aggregate_interval(scores, measure, resamples=400, seed=trial)
        held += found.low <= 0 <= found.high
    assert 0.90 <= held / 200 <= 0.995


@pytest.mark.parametrize("runs", [5, 30])
def test_probabilities_of_improvement_hold_the_truth(runs: int) -> None:
    truth = float(stats.norm.cdf(0.5 / np.sqrt(2)))
    held = 0
    for trial in range(200):
        rng = np.random.default_rng([trial, runs])
        one, other = {"": rng.normal(0.5, 1, runs)}, {"": rng.normal(0, 1, runs)}
        found = probability_of_improvement(one, other, resamples=300, seed=trial)
        held += found.low <= truth <= found.high
    assert held / 200 >= 0.91


def test_resampling_keeps_tasks_apart() -> None:
    """Tasks far apart give no width to the interval of runs that are alike within each."""
    found = aggregate_interval({"low": np.zeros(9), "high": np.full(9, 100.0)}, "mean")
    assert (found.low, found.value, found.high) == pytest.approx((50.0, 50.0, 50.0))


def test_pairs_are_drawn_together() -> None:
    levels = np.random.default_rng(0).normal(0, 10, 50)
    paired = aggregate_difference({"": levels + 1}, {"": levels}, "mean", paired=True)
    apart = aggregate_difference({"": levels + 1}, {"": levels}, "mean")
    assert (paired.low, paired.high) == pytest.approx((1.0, 1.0))
    assert apart.low < -1 < 3 < apart.high
    assert paired.value == pytest.approx(apart.value)


def test_differences_hold_the_truth() -> None:
    held = 0
    for trial in range(200):
        rng = np.random.default_rng(trial)
        found = aggregate_difference(
            {"": rng.exponential(1, 40) + 0.3}, {"": rng.exponential(1, 25)}, "mean", resamples=400, seed=trial
        )
        held += found.low <= 0.3 <= found.high
    assert 0.90 <= held / 200 <= 0.99


def test_many_runs_are_resampled_in_parts_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=50)
    whole = mean_interval(values)
    monkeypatch.setattr("newgameplus.evaluate.resamples._NUMBERS_AT_ONCE", 999)
    assert mean_interval(values) == whole
    one = aggregate_difference({"": values}, {"": values[:30]}, "iqm")
    monkeypatch.undo()
    assert one == aggregate_difference({"": values}, {"": values[:30]}, "iqm")


def test_one_episode_has_no_spread_and_says_so() -> None:
    found = mean_interval([3.0])
    assert (found.low, found.value, found.high) == (3.0, 3.0, 3.0)
    assert "no spread" in found.caution
    assert "2 runs" in mean_interval([3.0, 4.0]).caution
    assert mean_interval(np.arange(10.0)).caution == ""


def test_huge_returns_are_no_trouble() -> None:
    found = mean_interval([1e9, 2e9, 3e9, 4e9, 5e9, 6e9])
    assert found.value == 3.5e9
    assert 0 < found.low < 3.5e9 < found.high < 7e9


def test_profile_counts_what_lies_above() -> None:
    scores = {"a": [0.0, 1.0, 2.0, 3.0], "b": [2.0, 2.0]}
    profile = performance_profile(scores, [-1.0, 0.0, 1.5, 3.0])
    assert profile.values.tolist() == [1.0, (0.75 + 1) / 2, (0.5 + 1) / 2, 0.0]
    assert (profile.low <= profile.values).all()
    assert (profile.values <= profile.high).all()
    assert profile.low.min() >= 0.0
    assert profile.high.max() <= 1.0
    assert performance_profile({"": [1.0]}, [0.0]).low.tolist() == [1.0]


def test_scores_that_cannot_be_used_are_named() -> None:
    with pytest.raises(DataError, match="nan"):
        aggregate({"MyGame": [1.0, float("nan")]})
    with pytest.raises(DataError, match="MyGame"):
        aggregate({"MyGame": []})
    with pytest.raises(DataError, match="no score"):
        aggregate({})
    with pytest.raises(DataError, match="only one of the two has scores of b"):
        aggregate_difference({"a": [1.0]}, {"a": [1.0], "b": [2.0]})
    with pytest.raises(DataError, match="cannot be paired"):
        aggregate_difference({"a": [1.0]}, {"a": [1.0, 2.0]}, paired=True)
    with pytest.raises(DataError, match="no episode"):
        success_interval([])


def test_success_takes_wilsons_interval() -> None:
    found = success_interval(np.arange(263) < 81)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


def test_resamples_of_a_task_do_not_depend_on_other_tasks() -> None:
    alone = next(iter(Resamples({"a": 7}, seed=3).weights()))
    beside = next(iter(Resamples({"b": 4, "a": 7}, seed=3).weights()))
    assert np.array_equal(alone[0], beside[1])


def test_paired_shares_hold_the_truth_and_are_narrower() -> None:
    held, widths = 0, []
    for trial in range(400):
        rng = np.random.default_rng(trial)
        level = rng.uniform(size=60)
        one, other = level + rng.normal(0, 0.1, 60) < 0.8, level + rng.normal(0, 0.1, 60) < 0.6
        found = paired_share_difference(one, other)
        assert found is not None
        held += found.low <= 0.1993 <= found.high  # by simulation of 10**7 episodes: 0.7992 less 0.5999
        widths.append(found.high - found.low)
    assert 0.92 <= held / 400 <= 0.99
    assert np.mean(widths) < 0.26  # two independent shares of 60 would take 0.31


def test_paired_shares_at_all_or_nothing() -> None:
    always, never = np.ones(20, np.bool_), np.zeros(20, np.bool_)
    found = paired_share_difference(always, never)
    assert found is not None
    assert 0.7 < found.low < found.value == found.high == 1.0
    same = paired_share_difference(always, always)
    assert same is not None
    assert same.low < same.value == 0.0 < same.high
    assert paired_share_difference([], []) is None
