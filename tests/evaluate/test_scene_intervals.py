"""Intervals for shares, differences, means and ratios: known values, coverage, and the odd ends."""

from __future__ import annotations

import numpy as np
import pytest

from newgameplus.evaluate.scene_intervals import (
    mean_interval,
    ratio_difference,
    ratio_interval,
    share_difference,
    share_interval,
)


def test_shares_take_wilsons_interval() -> None:
    found = share_interval(81, 263)
    assert found is not None
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


def test_differences_take_newcombes_interval() -> None:
    """56 of 70 against 48 of 80: the example of Newcombe 1998, method 10."""
    found = share_difference(56, 70, 48, 80)
    assert found is not None
    assert (round(found.value, 2), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0524, 0.3339)


def test_all_or_nothing_is_not_certain() -> None:
    none, all_ = share_interval(0, 20), share_interval(20, 20)
    assert none is not None
    assert all_ is not None
    assert none.low == 0.0 < none.high < 0.2
    assert 0.8 < all_.low < all_.high == 1.0
    same = share_difference(20, 20, 20, 20)
    assert same is not None
    assert same.low < 0 < same.high


def test_nothing_is_known_of_nothing() -> None:
    assert share_interval(0, 0) is None
    assert share_difference(0, 0, 1, 2) is None
    assert mean_interval([]) is None
    assert mean_interval([float("nan")]) is None


def test_share_differences_cover_the_truth() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(500):
        one, other = rng.binomial(40, 0.9), rng.binomial(60, 0.7)
        found = share_difference(int(one), 40, int(other), 60)
        assert found is not None
        held += found.low <= 0.2 <= found.high
    assert 0.92 <= held / 500 <= 0.98


@pytest.mark.parametrize("levels", [3, 8, 40])
def test_ratios_cover_the_truth_far_above_one(levels: int) -> None:
    held = 0
    for simulation in range(200):
        rng = np.random.default_rng([simulation, levels])
        tiles = rng.integers(50, 400, levels)
        bits = tiles * (7 + rng.normal(0, 1, levels))
        found = ratio_interval(bits, tiles, seed=simulation)
        assert found is not None
        assert found.value == pytest.approx(bits.sum() / tiles.sum())
        held += found.low <= 7 <= found.high
    assert 0.88 <= held / 200 <= 1.0


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_few_levels_that_differ_much_cover_the_truth_and_stay_positive(levels: int) -> None:
    held = below = 0
    for simulation in range(200):
        rng = np.random.default_rng([simulation, levels])
        bits = 200 * rng.gamma(3, 1 / 3, levels)
        found = ratio_interval(bits, np.full(levels, 200), seed=simulation, positive=True)
        linear = ratio_interval(bits, np.full(levels, 200), seed=simulation)
        assert found is not None
        assert linear is not None
        assert 0 < found.low <= found.value <= found.high
        assert found.value / found.low == pytest.approx(found.high / found.value)
        held += found.low <= 1 <= found.high
        below += linear.low < 0
    assert held / 200 >= 0.9
    assert below > 20  # what it is for


def test_differences_and_many_levels_know_no_such_bound() -> None:
    rng = np.random.default_rng(1)
    tiles = np.full(3, 200)
    difference = ratio_difference(tiles * np.array([1.0, 2.0, 4.0]), tiles * 0.9, tiles)
    assert difference is not None
    assert difference.low < 0  # all levels are better, and that is not sure for all that
    bits, tiles = 200 * rng.gamma(3, 1 / 3, 8), np.full(8, 200)
    assert ratio_interval(bits, tiles, positive=True) == ratio_interval(bits, tiles)


def test_paired_differences_are_narrower_than_their_parts() -> None:
    rng = np.random.default_rng(0)
    tiles = np.full(30, 200)
    one = tiles * (2 + rng.normal(0, 0.5, 30))
    difference, alone = ratio_difference(one + 0.1 * tiles, one, tiles), ratio_interval(one, tiles)
    assert difference is not None
    assert alone is not None
    assert difference.low == pytest.approx(0.1)
    assert difference.high == pytest.approx(0.1)
    assert alone.high - alone.low > 0.2


def test_one_level_has_no_spread_and_seeds_repeat() -> None:
    one = ratio_interval(np.array([30.0]), [10])
    assert one is not None
    assert (one.value, one.low, one.high) == (3.0, 3.0, 3.0)
    values = np.random.default_rng(0).normal(size=20)
    assert mean_interval(values, seed=4) == mean_interval(values, seed=4)
    assert mean_interval(values, seed=4) != mean_interval(values, seed=5)
