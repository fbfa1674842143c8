"""The evaluation of scenes: what its numbers mean, how it is judged, and that it is plain data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from newgameplus.errors import DataError
from newgameplus.evaluate.scene_arms import ControlTrial, Delivery, HeldOutBits, SceneArm, TrainingCost
from newgameplus.evaluate.scene_evaluation import SceneReference, compare_scenes, judge
from newgameplus.evaluate.scene_runs import compare_scene_runs, scene_runs_table
from newgameplus.evaluate.scene_tables import scene_table
from newgameplus.games.rules.contract import Answer, Budget, Flaw, Proof, Rules
from newgameplus.games.scenes import Level

MEANINGS = {"-": ["empty"], "X": ["solid"], "E": ["enemy"], "[": ["solid", "pipe"], "]": ["solid", "pipe"]}
BUDGET = Budget()


class Floor(Rules):
    """Playable when the lowest row has no gap; a left half of a pipe without its right half is a flaw."""

    name = "floor"

    def __init__(self, lies: bool = False) -> None:
        self.lies = lies

    def solve(self, level: Level, budget: Budget = BUDGET) -> Answer:
        if budget.nodes < level.width:
            return Answer("undecided", reason="the budget ended")
        whole = bool(level.where("solid")[-1].all())
        if not whole and not self.lies:
            return Answer("unplayable", reason="a gap")
        cells = tuple((level.height - 2, column) for column in range(level.width))
        return Answer("playable", Proof(cells), measures={"path_length": float(level.width)})

    def replay(self, level: Level, proof: Proof) -> str:
        gaps = [column for _, column in proof.cells if not level.where("solid")[-1, column]]
        return f"step {gaps[0]} stands on nothing" if gaps else ""

    def flaws(self, level: Level) -> list[Flaw]:
        text = level.to_text()
        return [Flaw("pipe", (0, 0), "half a pipe")] if text.count("[") != text.count("[]") else []


def make(seed: int, playable: bool = True, flawed: bool = False, width: int = 20) -> Level:
    rng = np.random.default_rng(seed)
    tiles = (rng.random((6, width)) < 0.2) * rng.integers(1, 3, (6, width))
    tiles[-1] = 1
    tiles[-1, 5] = int(playable)
    if flawed:
        tiles[0, 3] = 3
    return Level.from_text("-", MEANINGS).with_tiles(tiles.astype(np.int32), f"level {seed}")


TRAINING = [make(seed) for seed in range(6)]
RULES = Floor()


def arm(name: str, good: int, bad: int, seed: int = 0, **more: Any) -> SceneArm:
    levels = [make(1_000 * seed + 100 + i, playable=i < good) for i in range(good + bad)]
    kind = "fine-tuned" if name == "fine-tuned" else "baseline"
    return SceneArm(name, more.pop("title", name), kind, levels, judge(levels, RULES), **more)


def bits(per_tile: float, levels: int = 8) -> HeldOutBits:
    tiles = np.arange(100, 100 + levels)
    noise = np.random.default_rng(0).normal(0, 0.2, levels)
    return HeldOutBits(tiles * (per_tile + noise), tiles)


def compare(arms: Sequence[SceneArm], **more: Any) -> dict[str, Any]:
    return compare_scenes(arms, SceneReference(TRAINING, RULES, judge(TRAINING, RULES)), **more)


def row(evaluation: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in evaluation["arms"] if one["name"] == name)
    return found


def test_judge_gives_an_answer_a_level_and_checks_every_proof() -> None:
    levels = [make(0), make(1, playable=False)]
    assert [answer.status for answer in judge(levels, RULES)] == ["playable", "unplayable"]
    assert [answer.status for answer in judge(levels, RULES, Budget(nodes=3))] == ["undecided"] * 2
    lied = judge(levels, Floor(lies=True))
    assert [answer.status for answer in lied] == ["playable", "undecided"]
    assert "step 5 stands on nothing" in lied[1].reason
    assert lied[1].proof is None


def test_good_levels_are_playable_and_new_and_unbroken() -> None:
    levels = [make(50), make(51, playable=False), make(52, flawed=True), TRAINING[0]]
    tested = SceneArm("fine-tuned", "fine-tuned", "fine-tuned", levels, judge(levels, RULES), missing=1, seconds=10.0)
    raw = row(compare([tested]), "fine-tuned")["raw"]
    assert raw["samples"] == 5
    assert raw["playable"]["value"] == 3 / 5
    assert raw["playable_and_novel"]["value"] == 2 / 5
    assert raw["good"]["value"] == 1 / 5
    assert raw["flawed"]["value"] == 1 / 4
    assert raw["novelty"]["novel"] == 3 / 4
    assert raw["seconds_per_level"] == 2.0
    assert raw["copied"]["16"] == pytest.approx(1 / 4)
    assert raw["diversity"] == 1.0
    assert raw["measures"]["path_length"] == {"mean": 20.0, "training_mean": 20.0}
    assert raw["measures"]["enemies"]["training_mean"] == np.mean([one.where("enemy").sum() for one in TRAINING])
    assert "jumps" not in raw["measures"]


def test_the_evaluation_is_plain_finite_data() -> None:
    arms = [
        arm(
            "fine-tuned",
            20,
            4,
            bits=bits(0.5),
            seconds=3.0,
            delivery=Delivery(10, 9, 14, 3, 20.0),
            control=ControlTrial([True, False], [0.0, None], [True, True]),
            training=TrainingCost(60.0, 100, 5_000),
        ),
        arm("markov", 3, 21, seed=1),
        SceneArm("empty", "empty", "reference", [], [], missing=2),
    ]
    evaluation = compare(arms, tiles=[{"tile": "X"}], notes=["hello"])
    assert json.loads(json.dumps(evaluation, allow_nan=False)) == evaluation
    assert evaluation["training_levels"] == {"count": 6, "heights": [6, 6], "widths": [20, 20]}
    assert evaluation["held_out"] == 8
    assert evaluation["tiles"] == [{"tile": "X"}]
    tuned, empty = row(evaluation, "fine-tuned"), row(evaluation, "empty")
    assert tuned["delivered"]["samples_per_level"] == 14 / 9
    assert tuned["control"]["met_exactly"]["value"] == 0.5
    assert tuned["control"]["mean_error"] == 0.0
    assert tuned["training"] == {"seconds": 60.0, "steps": 100, "trainable_parameters": 5_000}
    assert empty["raw"]["playable"]["value"] == 0.0
    assert empty["raw"]["flawed"] is empty["raw"]["diversity"] is empty["raw"]["copied"]["1"] is None
    assert evaluation["notes"][:2] == ["hello", "empty: 2 of 2 samples came to nothing; they count as unplayable"]


def test_fine_tuning_helped_against_the_best_baseline_that_learns() -> None:
    arms = [
        arm("nearest-copy", 40, 0, seed=3),
        arm("markov", 4, 36, seed=1, title="Markov chain"),
        arm("scratch", 10, 30, seed=2, title="from scratch", bits=bits(0.9)),
        arm("fine-tuned", 36, 4, bits=bits(0.5)),
    ]
    evaluation = compare(arms)
    verdict = evaluation["verdict"]
    assert (verdict["outcome"], verdict["against"], verdict["metric"]) == ("helped", "scratch", "good")
    assert verdict["difference"]["value"] == pytest.approx(26 / 40)
    assert verdict["difference"]["low"] > 0
    assert "36 of 40 raw samples are good" in verdict["sentence"]
    assert "On 8 held-out levels it needs 0.5" in verdict["sentence"]
    assert "from scratch 0.40 (0.40 to 0.40) more." in verdict["sentence"]
    assert [one["name"] for one in evaluation["arms"]] == ["fine-tuned", "nearest-copy", "scratch", "markov"]


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome", "opening"),
    [(20, 17, "no gain", "No sure gain"), (17, 20, "no gain", "No sure gain"), (4, 30, "worse", "Fine-tuning made it")],
)
def test_no_gain_and_worse_are_said(ours: int, theirs: int, outcome: str, opening: str) -> None:
    verdict = compare([arm("fine-tuned", ours, 40 - ours), arm("markov", theirs, 40 - theirs, seed=1)])["verdict"]
    assert verdict["outcome"] == outcome
    assert verdict["sentence"].startswith(opening)
    assert (verdict["difference"]["low"] <= 0 <= verdict["difference"]["high"]) == (outcome == "no gain")


def test_bits_that_do_not_surely_differ_are_not_claimed() -> None:
    noisy = bits(0.5)
    other = replace(noisy, bits=noisy.bits + np.array([9, -9] * 4))
    arms = [arm("fine-tuned", 20, 20, bits=noisy), arm("scratch", 20, 20, seed=1, bits=other)]
    assert "not surely" in compare(arms)["verdict"]["sentence"]
    one = [arm(name, 20, 20, seed=seed, bits=bits(0.5, 1)) for seed, name in enumerate(("fine-tuned", "scratch"))]
    assert "On 1 held-out level it needs" in compare(one)["verdict"]["sentence"]
    assert "(one level: no interval)" in compare(one)["verdict"]["sentence"]


def test_there_is_no_verdict_without_a_baseline_that_learns() -> None:
    verdict = compare([arm("fine-tuned", 20, 20), arm("nearest-copy", 40, 0, seed=1)])["verdict"]
    assert (verdict["outcome"], verdict["against"], verdict["difference"]) == ("no gain", None, None)
    assert verdict["sentence"].startswith("No verdict: 20 of 40")
    assert compare([arm("markov", 20, 20)])["verdict"]["sentence"].startswith("No verdict: the fine-tuned")


def test_arms_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(DataError, match="no arm ran"):
        compare([])
    with pytest.raises(DataError, match="two arms are named 'markov'"):
        compare([arm("markov", 1, 1), arm("markov", 1, 1)])
    with pytest.raises(DataError, match="not about the same held-out levels"):
        compare([arm("fine-tuned", 1, 1, bits=bits(0.5)), arm("scratch", 1, 1, bits=bits(0.5, 3))])
    with pytest.raises(DataError, match="1 levels, but 0 answers"):
        SceneArm("x", "x", "baseline", [TRAINING[0]], [])
    with pytest.raises(DataError, match="6 training levels, but 0 answers"):
        SceneReference(TRAINING, RULES, [])


def test_levels_of_another_height_are_noted() -> None:
    low = [level.with_tiles(level.tiles[1:]) for level in TRAINING[:2]]
    reference = SceneReference([*TRAINING, *low], RULES)
    notes = compare_scenes([arm("fine-tuned", 30, 0)], reference)["notes"]
    assert notes == ["copied columns are looked for in the 6 of 8 training levels as high"]


def test_the_table_fits_a_terminal() -> None:
    long = "a very long title that nobody would want to read in a table"
    arms = [
        arm(
            "fine-tuned",
            20,
            4,
            bits=bits(0.5),
            seconds=30_000.0,
            delivery=Delivery(100, 100, 140, 30, 20.0),
            control=ControlTrial([True] * 20, [0.5] * 20, [True] * 20),
        ),
        arm("scratch", 3, 21, seed=1, title=long, bits=bits(0.7), seconds=0.01, note="fewer steps"),
        SceneArm("empty", "empty", "reference", [], [], missing=2),
    ]
    text = scene_table(compare(arms, notes=["one more thing"]))
    assert max(map(len, text.split("\n"))) <= 80
    for part in ("0.83 (0.64 to 0.93)", "100 of 100 asked", "met exactly 1.00", "fewer steps", "16 columns", "1,250"):
        assert part in " ".join(text.split())


def test_runs_are_held_against_the_first() -> None:
    better = compare([arm("fine-tuned", 38, 2, bits=bits(0.5)), arm("markov", 3, 37, seed=1)])
    worse = compare([arm("fine-tuned", 12, 28, seed=2), arm("markov", 3, 37, seed=1)])
    comparison = compare_scene_runs({"runs/worse": worse, "runs/better": better})
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison
    assert comparison["runs"][0]["difference"] is None
    assert comparison["runs"][1]["difference"]["low"] > 0
    assert comparison["sentence"].startswith("runs/better is better")
    assert compare_scene_runs({"b": better, "w": worse})["sentence"].startswith("b is best")
    level = compare_scene_runs({"a": better, "b": better})["sentence"]
    assert level.startswith("No sure difference: a and b are level, ")
    text = scene_runs_table(comparison)
    assert max(map(len, text.split("\n"))) <= 80
    assert "the held-out levels differ" in text


def test_runs_that_cannot_be_compared_are_refused() -> None:
    evaluation = compare([arm("fine-tuned", 2, 2)])
    with pytest.raises(DataError, match="1 run given"):
        compare_scene_runs({"a": evaluation})
    with pytest.raises(DataError, match="no run of the scene scenario"):
        compare_scene_runs({"a": evaluation, "b": {"schema": 1}})
    with pytest.raises(DataError, match="no level of a fine-tuned model"):
        compare_scene_runs({"a": evaluation, "b": compare([arm("markov", 2, 2)])})
