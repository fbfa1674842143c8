"""Policies held against each other: verdicts, what was forgotten, comparing runs, and the odd ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.agent_players import AGREEMENT, NEW, OLD, SKILLS, arms, evaluation, play

from newgameplus.errors import DataError
from newgameplus.evaluate.agent_arms import AgentArm, CurveSummary, CurveWindow, PlayedEpisodes, curve_windows
from newgameplus.evaluate.agent_evaluation import compare_agents
from newgameplus.evaluate.agent_forgetting import memory_of, share_kept
from newgameplus.evaluate.agent_runs import agent_runs_table, compare_agent_runs
from newgameplus.evaluate.agent_tables import agent_table
from newgameplus.evaluate.agent_verdict import judge_agents
from newgameplus.evaluate.resamples import Sureness
from newgameplus.games.environment_contract import EpisodeEnd

Skills = Mapping[str, Mapping[str, float]]


def with_skill(**changed: tuple[float, float]) -> Skills:
    return SKILLS | {name.replace("_", "-"): {NEW: new, OLD: old} for name, (new, old) in changed.items()}


def exact(game: str, totals: list[float], seeds: bool = True) -> PlayedEpisodes:
    return PlayedEpisodes(
        game, np.array(totals), np.full(len(totals), 10), None, np.arange(len(totals)) if seeds else None
    )


def two(ours: list[float], start: list[float], old: tuple[list[float], list[float]] | None = None) -> dict[str, Any]:
    games = [{NEW: exact(NEW, totals)} for totals in (ours, start)]
    if old is not None:
        games = [game | {OLD: exact(OLD, totals)} for game, totals in zip(games, old, strict=True)]
    made = [
        AgentArm("fine-tuned", "fine-tuned", "fine-tuned", games[0]),
        AgentArm("start", "start policy", "baseline", games[1]),
    ]
    return compare_agents(made, NEW, resamples=300)


def fits(text: str) -> bool:
    return max(map(len, text.splitlines())) <= 80


def test_the_evaluation_holds_all_and_is_plain() -> None:
    found = evaluation()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["scenario"] == "agent"
    assert [row["name"] for row in found["arms"]] == ["fine-tuned", "plain", "cloning", "scratch", "start"]
    ours, start = found["arms"][0], found["arms"][-1]
    assert ours["difference"] is None
    assert start["difference"][NEW]["paired"]
    gain = ours["games"][NEW]["mean"]["value"] - start["games"][NEW]["mean"]["value"]
    assert start["difference"][NEW]["mean"]["value"] == pytest.approx(gain)
    assert start["difference"][NEW]["mean"]["low"] > 0
    assert start["difference"][NEW]["probability"]["low"] > 0.5
    assert start["difference"][NEW]["success"]["low"] > 0
    assert ours["curve"][0] | {"mean": 0, "success": 0} == {
        "game": "", "steps": 10_000, "episodes": 25, "mean": 0, "success": 0,
    }  # fmt: skip
    assert ours["agreement"]["value"] == pytest.approx(AGREEMENT["fine-tuned"].matches.sum() / 320)
    assert set(found["random"]) == {NEW, OLD}
    assert evaluation() == found


def test_helped_and_kept() -> None:
    verdict = evaluation()["verdict"]
    assert (verdict["outcome"], verdict["memory"], verdict["against"]) == ("helped", "kept", "cloning")
    assert verdict["low"] > 0
    assert verdict["sentence"].startswith("Fine-tuning helped and kept the old skill: return 0.")
    assert "Without retention: return" in verdict["sentence"]


def test_helped_but_forgot() -> None:
    verdict = evaluation(with_skill(fine_tuned=(0.9, 0.3)))["verdict"]
    assert (verdict["outcome"], verdict["memory"]) == ("helped", "forgot")
    assert verdict["sentence"].startswith("Fine-tuning helped, but it forgot: ")
    assert verdict["kept"][OLD]["high"] < 0.9


def test_no_gain_and_forgot() -> None:
    verdict = two([1.0, 2.0, 3.0] * 20, [1.0, 2.0, 3.0] * 20, ([1.0, 2.0] * 30, [5.0, 6.0] * 30))["verdict"]
    assert (verdict["outcome"], verdict["memory"]) == ("no gain", "forgot")
    assert verdict["sentence"].startswith("No gain, and it forgot: ")
    assert "the same as the best baseline (start policy, 2.00)" in verdict["sentence"]
    assert "on MiniGrid-Empty-8x8-v0 (return 5.50 before, 1.50 after)" in verdict["sentence"]


def test_hurt() -> None:
    verdict = two([1.0, 2.0] * 20, [3.0, 4.0] * 20)["verdict"]
    assert (verdict["outcome"], verdict["memory"]) == ("hurt", None)
    assert verdict["sentence"].startswith("Fine-tuning hurt: ")
    assert "2.00 (2.00 to 2.00) below the best baseline" in verdict["sentence"]


def test_a_gain_that_may_be_there_is_undecided() -> None:
    verdict = two([4.0, 6.2] * 20, [5.0] * 40)["verdict"]
    assert verdict["outcome"] == "undecided"
    assert verdict["low"] < 0 < verdict["high"]


def test_plain_fine_tuning_is_told_but_is_no_baseline() -> None:
    """Retention may cost a little of the new game: that is not what fine-tuning is judged by, but it is said."""
    verdict = evaluation(with_skill(plain=(1.0, 0.2)))["verdict"]
    assert verdict["against"] == "cloning"
    assert "higher; kept" in verdict["sentence"]


@pytest.mark.parametrize("episodes", [1, 2, 4])
def test_few_episodes_decide_nothing(episodes: int) -> None:
    found = two([1.0] * episodes, [0.0] * episodes, ([1.0] * episodes, [1.0] * episodes))
    assert found["verdict"]["outcome"] == "undecided"
    assert any(f"only {episodes} episode" in caution for caution in found["cautions"])
    assert fits(agent_table(found))
    json.dumps(found, allow_nan=False)


def test_equal_returns_everywhere() -> None:
    found = two([1.0] * 50, [1.0] * 50, ([1.0] * 50, [1.0] * 50))
    assert found["verdict"]["outcome"] == "no gain"
    assert found["verdict"]["memory"] == "kept"
    assert found["arms"][1]["difference"][NEW]["probability"]["value"] == 0.5
    nothing = two([0.0] * 50, [0.0] * 50, ([0.0] * 50, [0.0] * 50))
    assert (nothing["verdict"]["outcome"], nothing["verdict"]["memory"]) == ("no gain", None)
    assert "not surely above 0" in nothing["verdict"]["sentence"]
    assert fits(agent_table(nothing))


def test_one_game_only() -> None:
    found = evaluation({name: {NEW: games[NEW]} for name, games in SKILLS.items()})
    assert found["games"] == [NEW]
    assert found["verdict"]["memory"] is None
    assert "no other game was played" in found["verdict"]["sentence"]


def test_without_success_there_is_no_such_column() -> None:
    found = evaluation(success=False)
    assert found["arms"][0]["games"][NEW]["success"] is None
    assert "goal" not in agent_table(found)
    json.dumps(found, allow_nan=False)


def test_other_episodes_are_not_paired() -> None:
    found = evaluation(seeds=False)
    assert not found["arms"][1]["difference"][NEW]["paired"]
    assert any("same episodes" in caution for caution in found["cautions"])
    paired = evaluation()["arms"][1]["difference"][NEW]["mean"]
    apart = found["arms"][1]["difference"][NEW]["mean"]
    assert apart["high"] - apart["low"] > paired["high"] - paired["low"]


def test_the_order_of_episodes_does_not_matter() -> None:
    made = arms()
    turned = [
        AgentArm(arm.name, arm.title, arm.kind, {game: turn(one, place) for game, one in arm.played.items()})
        for place, arm in enumerate(made)
    ]
    plain = [AgentArm(arm.name, arm.title, arm.kind, arm.played) for arm in made]
    assert compare_agents(turned, NEW, resamples=200) == compare_agents(plain, NEW, resamples=200)


def test_a_game_has_the_name_that_the_evaluation_gives_it() -> None:
    """Environments may know themselves by another name; the intervals are the same."""
    made = [AgentArm(arm.name, arm.title, arm.kind, arm.played) for arm in arms()]
    renamed = [
        replace(arm, played={game: replace(one, game="another") for game, one in arm.played.items()}) for arm in made
    ]
    assert compare_agents(renamed, NEW, resamples=200) == compare_agents(made, NEW, resamples=200)


def turn(played: PlayedEpisodes, seed: int) -> PlayedEpisodes:
    order = np.random.default_rng(seed).permutation(len(played))
    assert played.successes is not None
    assert played.seeds is not None
    return PlayedEpisodes(
        played.game, played.totals[order], played.lengths[order], played.successes[order], played.seeds[order]
    )


def test_a_verdict_needs_someone_to_beat() -> None:
    alone = compare_agents([AgentArm("fine-tuned", "ours", "fine-tuned", {NEW: play(NEW, 0.5)})], NEW, resamples=200)
    assert alone["verdict"]["against"] is None
    assert alone["verdict"]["sentence"].startswith("No verdict: return")
    other = compare_agents([AgentArm("start", "start", "baseline", {NEW: play(NEW, 0.5)})], NEW, resamples=200)
    assert "was not played" in other["verdict"]["sentence"]
    assert other["reference"] is None
    assert fits(agent_table(alone))
    assert fits(agent_table(other))


def test_kept_counts_from_random() -> None:
    how = Sureness(500)
    before, after, random = exact(OLD, [9.0, 11.0] * 20), exact(OLD, [5.0, 7.0] * 20), exact(OLD, [1.0, 3.0] * 20)
    share, why = share_kept(after, before, random, how)
    assert share is not None
    assert why == ""
    assert share.value == pytest.approx(0.5)
    assert 0.4 < share.low < 0.5 < share.high < 0.6
    without, _ = share_kept(after, before, None, how)
    assert without is not None
    assert without.value == pytest.approx(0.6)
    none, why = share_kept(after, random, random, how)
    assert none is None
    assert "not surely better than random" in why


def test_kept_holds_the_truth() -> None:
    held = 0
    for trial in range(200):
        rng = np.random.default_rng(trial)
        random, before, after = (exact(OLD, rng.normal(mean, 2, 60).tolist(), False) for mean in (-3.0, 5.0, 3.0))
        share, _ = share_kept(after, before, random, Sureness(400, 0.95, trial))
        assert share is not None
        held += share.low <= 0.75 <= share.high
    assert 0.91 <= held / 200 <= 0.99


def test_memory_is_only_as_good_as_the_worst_game() -> None:
    kept, lost, unsure = ({"value": v, "low": v - 0.04, "high": v + 0.04} for v in (1.0, 0.5, 0.9))
    assert memory_of({"a": kept, "b": None}) == "kept"
    assert memory_of({"a": kept, "b": lost}) == "forgot"
    assert memory_of({"a": kept, "b": unsure}) == "unsure"
    assert memory_of({"a": None}) is None


def test_the_verdict_can_be_read_again_from_json() -> None:
    found = json.loads(json.dumps(evaluation()))
    assert judge_agents(found) == found["verdict"]


def test_text_of_an_evaluation() -> None:
    found = evaluation() | {"skipped": {"zero": "it did not start"}, "notes": ["all is made up"]}
    text = agent_table(found)
    assert fits(text)
    assert text.replace("\u00a0", "~") == SNAPSHOT


def test_text_stays_narrow_whatever_the_numbers_are() -> None:
    rng = np.random.default_rng(0)
    found = two(
        rng.normal(-123_456, 98_765, 60).tolist(),
        rng.normal(-1.2e9, 5e8, 60).tolist(),
        (rng.normal(0.00123, 0.001, 60).tolist(), rng.normal(0.00456, 0.001, 60).tolist()),
    )
    found["arms"][0]["title"] = "a fine-tuned policy with a very long name 世界"
    assert fits(agent_table(found))


def test_arms_must_fit_together() -> None:
    ours = AgentArm("fine-tuned", "ours", "fine-tuned", {NEW: play(NEW, 0.5)})
    with pytest.raises(DataError, match="no arm ran"):
        compare_agents([], NEW)
    with pytest.raises(DataError, match="two arms are named 'fine-tuned'"):
        compare_agents([ours, ours], NEW)
    with pytest.raises(DataError, match="not 'Other-v0'"):
        compare_agents([ours], "Other-v0")


def test_episodes_must_be_whole() -> None:
    with pytest.raises(DataError, match="no episode"):
        exact(NEW, [])
    with pytest.raises(DataError, match="nan"):
        exact(NEW, [1.0, float("nan")])
    with pytest.raises(DataError, match="2 totals, but 1 lengths"):
        PlayedEpisodes(NEW, np.zeros(2), np.zeros(1, np.int64))
    with pytest.raises(DataError, match="one seed"):
        PlayedEpisodes(NEW, np.zeros(2), np.ones(2, np.int64), None, np.ones(2, np.int64))


def test_episodes_as_environments_tell_of_them() -> None:
    ends = [EpisodeEnd(0, 1.5, 7, True), EpisodeEnd(1, 0.0, 9, False)]
    found = PlayedEpisodes.of(NEW, ends, [4, 3])
    assert found.successes is not None
    assert found.in_order().totals.tolist() == [0.0, 1.5]
    assert PlayedEpisodes.of(NEW, [*ends, EpisodeEnd(0, 0.0, 1, None)]).successes is None


def test_curves_gather_equal_stretches() -> None:
    ends = [(step, float(step), step > 50) for step in range(1, 101)]
    windows = curve_windows(ends, windows=4)
    assert [window.steps for window in windows] == [25, 50, 75, 100]
    assert [len(window.totals) for window in windows] == [25] * 4
    assert [float(np.mean(window.successes)) for window in windows if window.successes is not None] == [0, 0, 1, 1]
    assert curve_windows([]) == ()
    sparse = curve_windows([(1, 0.0, None), (100, 1.0, None)], windows=10)
    assert [(window.steps, window.successes) for window in sparse] == [(10, None), (100, None)]


def test_curves_from_rows_of_metrics() -> None:
    rows: list[dict[str, Any]] = [
        {"step": 10, "episodes": 0},
        {"step": 20, "episodes": 9, "return": 2.0, "return_deviation": 3.0, "success": 1 / 3},
        {"step": 30, "episodes": 1, "return": 4.0},
    ]
    curve = [point for row in rows if (point := CurveSummary.of_row(row))]
    arm = AgentArm("fine-tuned", "ours", "fine-tuned", {NEW: play(NEW, 0.5)}, curve=curve)
    first, second = compare_agents([arm], NEW, resamples=100)["arms"][0]["curve"]
    assert (first["steps"], first["episodes"]) == (20, 9)
    assert first["mean"]["high"] == pytest.approx(2 + 2.306, abs=1e-3)
    assert first["success"]["value"] == pytest.approx(1 / 3)
    assert second["mean"] == {"value": 4.0, "low": 4.0, "high": 4.0}
    assert second["success"] is None


def test_curves_of_old_games_are_kept_apart() -> None:
    arm = AgentArm(
        "fine-tuned", "ours", "fine-tuned", {NEW: play(NEW, 0.5)},
        curve=[CurveWindow(10, np.ones(3)), CurveWindow(10, np.zeros(3), None, OLD), CurveWindow(20, np.zeros(0))],
    )  # fmt: skip
    points = compare_agents([arm], NEW, resamples=100)["arms"][0]["curve"]
    assert [(point["game"], point["mean"]["value"]) for point in points] == [("", 1.0), (OLD, 0.0)]


def test_runs_are_compared_on_the_games_they_share() -> None:
    better = evaluation()
    worse = evaluation(with_skill(fine_tuned=(0.6, 0.3)))
    found = compare_agent_runs({"runs/one": worse, "runs/two": better})
    json.dumps(found, allow_nan=False)
    assert found["games"] == [NEW, OLD]
    first, second = found["runs"]
    assert first["games"][NEW]["difference"] is None
    assert second["games"][NEW]["difference"]["paired"]
    assert second["games"][NEW]["difference"]["mean"]["low"] > 0
    assert first["games"][OLD]["kept"]["value"] < 0.5 < second["games"][OLD]["kept"]["value"]
    assert found["sentence"].startswith("runs/two is better: return")
    assert fits(agent_runs_table(found))
    turned = compare_agent_runs({"runs/two": better, "runs/one": worse})
    assert turned["sentence"].startswith("runs/two is best")
    same = compare_agent_runs({"a": better, "b": better})
    assert "not surely" in same["sentence"] or same["sentence"].startswith("No sure difference")


def test_runs_that_cannot_be_compared() -> None:
    one = evaluation({name: {NEW: games[NEW]} for name, games in SKILLS.items()})
    with pytest.raises(DataError, match="two or more"):
        compare_agent_runs({"one": one})
    with pytest.raises(DataError, match="no run of the agent scenario"):
        compare_agent_runs({"one": one, "two": {"scenario": "scene"}})
    other = compare_agents([AgentArm("fine-tuned", "ours", "fine-tuned", {OLD: play(OLD, 0.5)})], OLD, resamples=100)
    with pytest.raises(DataError, match="no game in common"):
        compare_agent_runs({"one": one, "two": other})


SNAPSHOT = """\
Fine-tuning helped and kept the old skill: return 0.65 (0.59 to 0.72) on
MiniGrid-DoorKey-8x8-v0 (goal reached in 84~% (76 to 90~%) of 100 episodes),
0.15 (0.09 to 0.20) above the best baseline (cloning only, 0.51). Kept of the
old skill: 104~% (99 to 111~%) on MiniGrid-Empty-8x8-v0 (return 0.69 before,
0.71 after). Without retention: return 0.70, 0.04 (0.01 to 0.08) higher; kept
34~% (14 to 49~%) on MiniGrid-Empty-8x8-v0.

              return (95 %)        goal  IQM   gain over it (95 %)     P
------------  -------------------  ----  ----  ----------------------  ----
fine-tuned    0.65 (0.59 to 0.72)  84~%  0.74
no retention  0.70 (0.65 to 0.74)  91~%  0.74  -0.04 (-0.08 to -0.01)  0.49
cloning only  0.51 (0.42 to 0.59)  61~%  0.55  +0.15 (0.09 to 0.20)    0.55
from scratch  0.42 (0.33 to 0.50)  49~%  0.37  +0.23 (0.17 to 0.30)    0.60
start policy  0.19 (0.12 to 0.26)  20~%  0.00  +0.47 (0.40 to 0.54)    0.76
at random     0.04 (0.01 to 0.08)  4~%   0.00
100 episodes of MiniGrid-DoorKey-8x8-v0 each; IQM: mean of the middle half; P:
chance that an episode of the first is better, ties half

on MiniGrid-Empty-8x8-v0:
              return (95 %)        goal  kept of the old skill (95 %)
------------  -------------------  ----  ----------------------------
start policy  0.69 (0.63 to 0.74)  89~%  before
fine-tuned    0.71 (0.66 to 0.76)  93~%  104~% (99 to 111~%)
no retention  0.35 (0.25 to 0.44)  38~%  34~% (14 to 49~%)
cloning only  0.55 (0.47 to 0.63)  67~%  74~% (63 to 85~%)
from scratch  0.36 (0.26 to 0.45)  40~%  37~% (19 to 53~%)
at random     0.17 (0.10 to 0.24)  18~%
fine-tuned: agrees with demonstrations kept apart in 84~% (79 to 89~%)
cloning only: agrees with demonstrations kept apart in 89~% (84 to 94~%)
zero: did not run, it did not start
note: all is made up"""
