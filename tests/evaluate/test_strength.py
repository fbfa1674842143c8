"""Strength by setting: the curve, the choice for a level, and honesty about what cannot be reached."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from newgameplus.errors import DataError
from newgameplus.evaluate.strength import MeasuredSetting, StrengthCurve, fit_strength, isotonic

pairs = st.lists(
    st.tuples(st.floats(-100, 100, allow_nan=False, width=32), st.integers(1, 50)), min_size=1, max_size=20
)


def setting(mean: float, episodes: int = 60, seed: int = 0) -> MeasuredSetting:
    scores = np.random.default_rng([seed, int(1000 * mean)]).normal(0, 5, episodes)
    return MeasuredSetting({"temperature": mean}, f"temperature {mean}", scores - scores.mean() + mean)


def curve(*means: float, episodes: int = 60) -> StrengthCurve:
    made = [setting(mean, episodes) for mean in means]
    return fit_strength(made, setting(0, episodes, 1).scores, setting(100, episodes, 2).scores, game="G", resamples=300)


@given(pairs)
def test_the_curve_is_the_nearest_that_never_falls(measured: list[tuple[float, int]]) -> None:
    values, weights = (np.array(column, np.float64) for column in zip(*measured, strict=True))
    expected = IsotonicRegression().fit_transform(np.arange(len(values)), values, sample_weight=weights)
    assert isotonic(values, weights) == pytest.approx(expected, abs=1e-4)
    assert (np.diff(isotonic(values, weights)) >= -1e-9).all()


def test_a_level_gets_the_nearest_setting() -> None:
    found = curve(5, 30, 62, 98).choose(0.6)
    assert (found.key, found.reached) == ({"temperature": 62}, True)
    assert found.score.value == pytest.approx(0.62, abs=0.01)
    assert found.raw == pytest.approx(62, abs=1)
    assert found.score.low < 0.62 < found.score.high


def test_a_level_that_no_setting_comes_near_is_told() -> None:
    table = curve(40, 60, 100).table([0.0, 0.1, 0.4, 0.5, 1.0])
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    assert [row["reached"] for row in table["levels"]] == [False, False, True, False, True]
    assert table["unreached"] == [0.0, 0.1, 0.5]
    assert (table["weakest"], table["strongest"]) == (pytest.approx(0.4, abs=0.01), pytest.approx(1.0, abs=0.01))
    assert table["levels"][0]["text"] == "temperature 40"


def test_settings_in_the_wrong_order_share_their_strength() -> None:
    found = curve(10, 60, 40, 100)
    assert found.fitted[1].value == found.fitted[2].value == pytest.approx(0.5, abs=0.01)
    assert found.choose(0.5).setting in (1, 2)


def test_games_whose_returns_are_negative() -> None:
    made = [MeasuredSetting(place, str(place), np.full(20, -200.0 + 50 * place)) for place in range(4)]
    found = fit_strength(made, np.full(20, -200.0), np.full(20, -50.0))
    assert [one.value for one in found.fitted] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert found.choose(0.34).raw == pytest.approx(-150)


def test_intervals_hold_the_strength() -> None:
    held = np.zeros(3)
    for trial in range(100):
        rng = np.random.default_rng(trial)
        made = [MeasuredSetting(mean, str(mean), rng.normal(mean, 2, 30)) for mean in (2.0, 5.0, 8.0)]
        found = fit_strength(made, rng.normal(0, 2, 30), rng.normal(10, 2, 30), resamples=200, seed=trial)
        held += [one.low <= truth <= one.high for one, truth in zip(found.fitted, (0.2, 0.5, 0.8), strict=True)]
    assert (held >= 88).all()


def test_one_seed_gives_one_table() -> None:
    assert curve(10, 50).table([0.5]) == curve(10, 50).table([0.5])


def test_what_cannot_be_calibrated_is_said() -> None:
    with pytest.raises(DataError, match="not surely better"):
        fit_strength([setting(1)], np.zeros(20), np.zeros(20))
    with pytest.raises(DataError, match="not surely better"):
        fit_strength([setting(1)], np.zeros(1), np.ones(1))
    with pytest.raises(DataError, match="no setting"):
        fit_strength([], np.zeros(20), np.ones(20))
    with pytest.raises(DataError, match="1 are not finite"):
        fit_strength([MeasuredSetting(1, "a", np.array([1.0, np.inf]))], np.zeros(20), np.ones(20))
    with pytest.raises(DataError, match=r"level is 1\.5"):
        curve(10, 50).choose(1.5)
