"""Intervals: what they cover, pairing, seeds, few groups, and speed."""

from __future__ import annotations

import time
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from newgameplus.errors import DataError
from newgameplus.evaluate.intervals import Bootstrap, difference, interval
from newgameplus.evaluate.metrics import METRICS
from newgameplus.shapes import Predictions


def one_hot(right: np.ndarray, groups: np.ndarray, seed: int = 0) -> Predictions:
    """Two classes; clip i is answered rightly where ``right`` says so."""
    targets = np.random.default_rng(seed).integers(0, 2, len(right))
    answers = np.where(right, targets, 1 - targets)
    names = tuple(map(str, range(len(right))))
    return Predictions(("a", "b"), np.eye(2)[answers], targets.astype(np.int64), tuple(map(str, groups)), names)


def coverage(groups: int, simulations: int, paired: bool) -> float:
    """Share of simulated test sets whose 95 % interval holds the true accuracy (or difference), clips correlated."""
    held = 0
    for simulation in range(simulations):
        rng = np.random.default_rng([simulation, groups])
        sizes = rng.integers(10, 40, groups)
        members = np.repeat(np.arange(groups), sizes)
        # Skill varies from group to group: the mean of a Beta(7, 3) is 0.7.
        skill = rng.beta(7, 3, groups)[members]
        right = rng.random(len(members)) < skill
        if paired:
            worse = right & (rng.random(len(members)) < 0.9)
            found = difference(one_hot(right, members), one_hot(worse, members), resamples=600, seed=simulation)
            truth = 0.7 * 0.1
        else:
            found, truth = interval(one_hot(right, members), resamples=600, seed=simulation), 0.7
        held += found.low <= truth <= found.high
    return held / simulations


@pytest.mark.parametrize("groups", [2, 4, 6, 20])
@pytest.mark.parametrize("paired", [False, True])
def test_intervals_cover_the_truth(groups: int, paired: bool) -> None:
    assert 0.88 <= coverage(groups, 400, paired) <= 0.99


def test_resampling_clips_instead_of_groups_would_promise_too_much(make: Any) -> None:
    rng = np.random.default_rng(0)
    members = np.repeat(np.arange(20), 30)
    right = rng.random(600) < rng.beta(2, 1, 20)[members]
    by_group = interval(one_hot(right, members))
    by_clip = interval(one_hot(right, np.arange(600)))
    assert by_group.high - by_group.low > 2 * (by_clip.high - by_clip.low)


def plain_resamples(predictions: Predictions, metric: str, resamples: int, seed: int) -> np.ndarray:
    """The same resampling without sums: draw groups, gather their clips, score them."""
    names = sorted(set(predictions.groups))
    clips = {name: [i for i, group in enumerate(predictions.groups) if group == name] for name in names}
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        rows = np.concatenate([clips[names[i]] for i in rng.integers(0, len(names), len(names))]).astype(int)
        drawn = Predictions(
            predictions.labels,
            predictions.probabilities[rows],
            predictions.targets[rows],
            tuple(predictions.groups[i] for i in rows),
            tuple(predictions.clips[i] for i in rows),
        )
        values.append(METRICS[metric].of(drawn))
    return np.array(values)


@pytest.mark.parametrize("metric", list(METRICS))
def test_sums_give_what_gathering_the_clips_gives(make: Any, metric: str) -> None:
    predictions = make(clips=90, classes=5, groups=7, skill=1.0)
    bootstrap = Bootstrap(predictions.groups, resamples=50, seed=3)
    assert bootstrap.values(predictions, (metric,))[metric] == pytest.approx(
        plain_resamples(predictions, metric, 50, 3)
    )


def test_chunks_change_nothing(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = make(clips=90, classes=5, groups=7)
    whole = interval(predictions, "macro_f1", resamples=100)
    monkeypatch.setattr("newgameplus.evaluate.intervals._NUMBERS_AT_ONCE", 60)
    assert interval(predictions, "macro_f1", resamples=100) == whole


def test_the_same_seed_gives_the_same_interval_and_another_does_not(make: Any) -> None:
    predictions = make()
    assert interval(predictions, seed=1) == interval(predictions, seed=1)
    assert interval(predictions, seed=1) != interval(predictions, seed=2)


def test_pairing_is_sharper_than_two_intervals(make: Any) -> None:
    rng = np.random.default_rng(0)
    members = np.repeat(np.arange(20), 30)
    right = rng.random(600) < rng.beta(2, 1, 20)[members]
    worse = right & (rng.random(600) < 0.95)
    paired = difference(one_hot(right, members), one_hot(worse, members))
    alone = interval(one_hot(right, members))
    assert paired.high - paired.low < (alone.high - alone.low) / 3
    assert paired.low > 0


def test_a_difference_is_antisymmetric_and_zero_to_itself(make: Any) -> None:
    one, other = make(seed=1), make(seed=2, skill=1.0)
    there, back = difference(one, other, "macro_f1"), difference(other, one, "macro_f1")
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
    same = difference(one, one)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("groups", "said"), [(1, "one group"), (4, "only 4 test groups"), (5, "")])
def test_few_groups_come_with_a_caution(make: Any, groups: int, said: str) -> None:
    found = interval(make(groups=groups))
    assert said in found.caution
    assert bool(found.caution) == bool(said)
    assert found.groups == groups
    assert found.low < found.value < found.high


def test_few_groups_widen_the_interval_beyond_plain_percentiles(make: Any) -> None:
    predictions = make(groups=6, skill=1.0)
    bootstrap = Bootstrap(predictions.groups)
    plain = np.quantile(bootstrap.values(predictions)["accuracy"], [0.025, 0.975])
    found = interval(predictions)
    assert found.low <= plain[0]
    assert found.high >= plain[1]
    assert found.high - found.low > 1.2 * (plain[1] - plain[0])


def test_the_ends_are_those_of_the_expanded_percentile_interval() -> None:
    resampled = np.linspace(0, 1, 100_001)
    found = Bootstrap([f"episode {i}" for i in range(10)]).interval(0.5, resampled)
    # Hesterberg 2015: the tail is Phi(-sqrt(n / (n - 1)) t), with t = 2.2622 the 97.5 % point for 9 degrees of freedom.
    tail = NormalDist().cdf(-2.26216 * (10 / 9) ** 0.5)
    assert (found.low, found.high) == pytest.approx((tail, 1 - tail), abs=1e-4)


def test_few_groups_get_student_t_within_what_is_possible() -> None:
    bootstrap = Bootstrap(["a", "b", "c"])
    resampled = np.array([0.49, 0.51] * 1000)
    found = bootstrap.interval(0.5, resampled)
    reach = 4.30265 * (3 / 2) ** 0.5 * 0.01
    assert (found.low, found.high) == pytest.approx((0.5 - reach, 0.5 + reach), abs=1e-4)
    wide = np.array([-0.9, 0.9] * 1000)
    assert (bootstrap.interval(0.1, wide).low, bootstrap.interval(0.1, wide).high) == (0.0, 1.0)
    assert bootstrap.interval(0.1, wide, lowest=-1.0).low == -1.0


def test_one_clip_gives_a_point(make: Any) -> None:
    found = interval(make(clips=1, groups=1))
    assert found.low == found.value == found.high


def test_an_interval_holds_its_value_even_where_resampling_is_biased(make: Any) -> None:
    for seed in range(20):
        found = interval(make(clips=60, seed=seed), "ece", resamples=200)
        assert found.low <= found.value <= found.high


def test_two_thousand_resamples_cost_milliseconds(make: Any) -> None:
    predictions = make(clips=1000, classes=8, groups=20)
    interval(predictions, resamples=2)
    started = time.perf_counter()
    interval(predictions, "macro_f1")
    assert time.perf_counter() - started < 0.5


def test_unpaired_predictions_are_refused(make: Any) -> None:
    one = make()
    with pytest.raises(DataError, match="different clips"):
        difference(one, make(clips=120))
    with pytest.raises(DataError, match="different classes"):
        difference(one, make(labels=["a", "b", "c", "d"]))
    changed = one.targets.copy()
    changed[5] = (changed[5] + 1) % 4
    with pytest.raises(DataError, match=r"true class of clip 'episode 0\.mp4#5'"):
        difference(one, Predictions(one.labels, one.probabilities, changed, one.groups, one.clips))
