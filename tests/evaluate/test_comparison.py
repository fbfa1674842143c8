"""The table of arms, the verdict, and both as text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from newgameplus.errors import DataError
from newgameplus.evaluate.comparison import Arm, compare
from newgameplus.evaluate.intervals import difference, interval
from newgameplus.evaluate.tables import shorten, text_table
from newgameplus.evaluate.verdict import WORTHWHILE, judge, number, signed
from newgameplus.shapes import Predictions


def flip(predictions: Predictions, share: float, seed: int = 0) -> Predictions:
    """The same answers, with a share of them made wrong."""
    rng = np.random.default_rng(seed)
    probabilities = predictions.probabilities.copy()
    for row in np.flatnonzero(rng.random(len(probabilities)) < share):
        probabilities[row] = np.eye(probabilities.shape[1])[(predictions.targets[row] + 1) % probabilities.shape[1]]
    return replace(predictions, probabilities=probabilities)


def two(fine_tuned: Predictions, baseline: Predictions, **options: Any) -> dict[str, Any]:
    arms = [
        Arm("fine-tuned", "fine-tuned", "fine-tuned", fine_tuned),
        Arm("zero-shot", "zero-shot", "baseline", baseline),
    ]
    return compare(arms, **options)


def test_rows_hold_what_interval_and_difference_say(make_arms: Any) -> None:
    arms = make_arms()
    evaluation = compare(arms, seed=3, resamples=300)
    by_name = {arm.name: arm.predictions for arm in arms}
    for row in evaluation["arms"]:
        for metric in ("accuracy", "macro_f1", "ece"):
            expected = interval(by_name[row["name"]], metric, seed=3, resamples=300)
            assert row["metrics"][metric] == expected.as_dict()
        if row["name"] == "fine-tuned":
            assert row["difference"] is None
        else:
            expected = difference(by_name["fine-tuned"], by_name[row["name"]], seed=3, resamples=300)
            assert row["difference"]["accuracy"] == expected.as_dict()


def test_the_reference_comes_first_and_baselines_from_best_to_worst(make_arms: Any) -> None:
    rows = compare(make_arms()[::-1])["arms"]
    assert rows[0]["name"] == "fine-tuned"
    values = [row["metrics"]["accuracy"]["value"] for row in rows[1:]]
    assert values == sorted(values, reverse=True)


def test_an_evaluation_is_plain_data_and_the_same_every_time(make_arms: Any) -> None:
    evaluation = compare(make_arms(), skipped={"probe": "not asked for"})
    assert json.loads(json.dumps(evaluation, allow_nan=False)) == evaluation
    assert compare(make_arms(), skipped={"probe": "not asked for"}) == evaluation
    assert judge(json.loads(json.dumps(evaluation))) == evaluation["verdict"]


def test_helped(make: Any) -> None:
    verdict = two(make(clips=600, skill=2.5), make(clips=600, skill=0.8, seed=2))["verdict"]
    assert verdict["outcome"] == "helped"
    assert verdict["against"] == "zero-shot"
    assert 0 < verdict["low"] < verdict["difference"] < verdict["high"]
    pattern = (
        r"Fine-tuning helped: accuracy 0\.\d\d \(0\.\d\d to \d\.\d\d\) on 8 groups never seen, "
        r"0\.\d\d \(0\.\d\d to 0\.\d\d\) above the best baseline \(zero-shot, 0\.\d\d\)\."
    )
    assert re.fullmatch(pattern, verdict["sentence"])


def test_the_most_frequent_class_alone_gives_no_verdict(make_arms: Any) -> None:
    arms = [arm for arm in make_arms() if arm.name in ("fine-tuned", "majority")]
    verdict = compare(arms, skipped={"zero-shot": "only in the fit's own evaluation"})["verdict"]
    assert verdict["outcome"] == "undecided"
    assert verdict["against"] == "majority"
    assert verdict["low"] > 0
    assert verdict["sentence"].startswith("No verdict, as no other model was held against it: accuracy ")


def test_hurt(make: Any) -> None:
    verdict = two(make(clips=600, skill=0.8), make(clips=600, skill=2.5, seed=2))["verdict"]
    assert verdict["outcome"] == "hurt"
    assert verdict["high"] < 0
    assert re.match(r"Fine-tuning hurt: .* below the best baseline \(zero-shot, ", verdict["sentence"])
    low, high = map(float, re.findall(r", 0\.\d\d \((0\.\d\d) to (0\.\d\d)\) below", verdict["sentence"])[0])
    assert (low, high) == pytest.approx((-verdict["high"], -verdict["low"]), abs=0.006)


def test_no_gain_only_where_a_worthwhile_gain_is_ruled_out(make: Any) -> None:
    predictions = make(clips=4000, groups=20, skill=2.0)
    evaluation = two(flip(predictions, 0.02, 1), flip(predictions, 0.02, 2))
    assert evaluation["verdict"]["outcome"] == "no gain"
    assert evaluation["verdict"]["low"] <= 0 <= evaluation["verdict"]["high"] < WORTHWHILE
    same = two(predictions, predictions)["verdict"]
    assert same["outcome"] == "no gain"
    assert "the same as the best baseline" in same["sentence"]


def test_too_little_data_to_tell(make: Any) -> None:
    verdict = two(make(clips=40, skill=1.2), make(clips=40, skill=1.0, seed=2))["verdict"]
    assert verdict["outcome"] == "undecided"
    assert verdict["low"] <= 0
    assert verdict["high"] >= WORTHWHILE
    assert verdict["sentence"].startswith("Too little data to tell: accuracy ")


def test_chance_alone_rarely_helps(make: Any) -> None:
    """Two equally good models: the verdict may say "helped" in about 2.5 % of test sets, not in many."""
    outcomes = []
    for seed in range(200):
        world = np.random.default_rng(seed).integers(0, 4, 160)
        one = make(clips=160, targets=world, seed=2 * seed + 1000, skill=1.0)
        other = make(clips=160, targets=world, seed=2 * seed + 1001, skill=1.0)
        outcomes.append(two(one, other, resamples=300)["verdict"]["outcome"])
    assert outcomes.count("helped") <= 12
    assert outcomes.count("hurt") <= 12


def test_differences_with_few_groups_may_lie_below_zero(make: Any) -> None:
    one, other = make(groups=3, skill=0.8), make(groups=3, skill=2.5, seed=2)
    found = two(one, other)["arms"][1]["difference"]["accuracy"]
    assert found == difference(one, other).as_dict()
    assert found["low"] < found["value"] < 0


def test_the_verdict_is_against_the_best_baseline(make: Any) -> None:
    good, better = make(skill=1.0, seed=2), make(skill=1.6, seed=3)
    arms = [
        Arm("fine-tuned", "fine-tuned", "fine-tuned", make(skill=2.5)),
        Arm("scratch", "from scratch", "baseline", good),
        Arm("probe", "frozen backbone", "baseline", better),
    ]
    evaluation = compare(arms)
    assert evaluation["verdict"]["against"] == "probe"
    assert all(row["difference"] for row in evaluation["arms"][1:])


def test_uneven_classes_add_macro_f1_to_the_sentence(make: Any) -> None:
    targets = np.array([0] * 200 + [1] * 20 + [2] * 20)
    np.random.default_rng(0).shuffle(targets)
    one, other = (make(classes=3, targets=targets, seed=seed, skill=skill) for seed, skill in ((1, 2.5), (2, 1.0)))
    evaluation = two(one, other)
    assert evaluation["imbalanced"]
    assert re.search(r"; by macro F1, as classes are uneven: 0\.\d\d, 0\.\d\d \(", evaluation["verdict"]["sentence"])
    assert not two(make(), make(seed=2))["imbalanced"]


@pytest.mark.parametrize("missing", ["fine-tuned", "baseline"])
def test_no_verdict_without_both_sides(make: Any, missing: str) -> None:
    kind: Any = "baseline" if missing == "fine-tuned" else "fine-tuned"
    evaluation = compare([Arm(kind, kind, kind, make())])
    verdict = evaluation["verdict"]
    assert verdict["outcome"] == "undecided"
    assert verdict["sentence"].startswith("No verdict: ")
    assert verdict["against"] is verdict["low"] is verdict["difference"] is None
    assert verdict["sentence"] in " ".join(text_table(evaluation).split())


def test_cautions_name_few_groups_few_clips_and_absent_classes(make: Any) -> None:
    few = compare([Arm("fine-tuned", "f", "fine-tuned", make(clips=12, groups=2, targets=np.array([0, 1, 2] * 4)))])
    said = " / ".join(few["cautions"])
    assert "only 2 test groups" in said
    assert "only 12 test clips" in said
    assert "no test clip of class 3" in said
    assert compare([Arm("fine-tuned", "f", "fine-tuned", make())])["cautions"] == []


def test_arms_that_cannot_be_compared_are_refused(make: Any) -> None:
    arm = Arm("fine-tuned", "f", "fine-tuned", make())
    with pytest.raises(DataError, match="no arm ran"):
        compare([])
    with pytest.raises(DataError, match="two arms are named 'fine-tuned'"):
        compare([arm, arm])
    with pytest.raises(DataError, match="different clips"):
        compare([arm, Arm("probe", "p", "baseline", make(clips=100))])


def test_the_text_table_fits_80_columns_and_says_everything(make_arms: Any) -> None:
    evaluation = compare(make_arms(groups=3), skipped={"probe": "the recipe's strategy is a probe already " * 3})
    evaluation["arms"][2]["difference"]["accuracy"] = {"value": -0.123, "low": -0.456, "high": -0.012}
    evaluation["arms"][3]["title"] = "a name that is much too long 跳跃跳跃跳跃跳跃 for a column"
    table = text_table(evaluation)
    assert max(map(len, table.splitlines())) <= 80
    assert "\x1b" not in table
    flat = " ".join(table.split())
    assert evaluation["verdict"]["sentence"] in flat
    assert "probe: did not run, the recipe's strategy" in flat
    assert "caution: only 3 test groups" in flat
    assert "-0.12 (-0.46 to -0.01)" in flat
    for row in evaluation["arms"]:
        assert f"{row['metrics']['accuracy']['value']:.2f} (" in flat


def test_numbers_have_no_negative_zero() -> None:
    assert (number(-0.001), signed(-0.001), signed(0.001), signed(0.05), signed(-0.05)) == (
        "0.00",
        "0.00",
        "0.00",
        "+0.05",
        "-0.05",
    )


def test_shortening_keeps_both_ends_and_counts_wide_letters() -> None:
    assert shorten("short", 10) == "short"
    assert shorten("runs/2026-11-23-doom-actions", 12) == "runs/…ctions"
    assert "\x1b" not in shorten("a\x1b[31mb", 20)
