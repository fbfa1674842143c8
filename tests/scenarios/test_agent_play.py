"""Whoever plays, the same episodes are played; handicaps weaken; a level of strength is what its score says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.agent_runs import ARENA, agent_run

from newgameplus.errors import DataError, GameError, NewGamePlusError, PretrainedModelError, RecipeError, RunError
from newgameplus.games.environments import make_environments
from newgameplus.pretrained.policy import Policy, load_policy, save_policy
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.run import Run
from newgameplus.scenarios import agent_strength
from newgameplus.scenarios.agent_play import FULL_STRENGTH, Handicap, play_episodes
from newgameplus.scenarios.agent_player import Player, open_player
from newgameplus.scenarios.agent_strength import choose_level, strength_table

GAME = {"id": "ngp/Identity-v0", "count": 16}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose policy can do what it sees (nearly)."""
    train = {"steps": 12_288, "rollout": 64, "batch_size": 256, "epochs": 4, "learning_rate": 0.003, "checkpoints": 6}
    return agent_run(
        tmp_path_factory.mktemp("player"), "run", environment=GAME, train=train, evaluate={"baselines": []}
    )  # fmt: skip


@pytest.fixture(scope="module")
def policy(run: Run) -> Policy:
    return load_policy(run.model_folder)


@pytest.fixture
def player(run: Run, tmp_path: Path) -> Player:
    """The run, in a folder of the test's own."""
    return open_player(shutil.copytree(run.folder, tmp_path / "run"))


def played(policy: Policy | None, count: int, episodes: int, seed: int = 3, handicap: Handicap = FULL_STRENGTH):
    with make_environments(EnvironmentSettings(id=GAME["id"]), count=count) as environments:
        return play_episodes(policy, environments, episodes, seed, handicap=handicap)


# --- episodes ----------------------------------------------------------------------------------------------------


def test_episodes_do_not_depend_on_who_plays(policy: Policy) -> None:
    one, other = played(policy, 8, 20), played(None, 8, 20)
    assert np.array_equal(one.seeds, other.seeds)
    assert len(set(one.seeds.tolist())) == 20
    assert one.totals.mean() > other.totals.mean()


def test_fewer_episodes_are_the_first_of_more(policy: Policy) -> None:
    few, many = played(policy, 4, 4, handicap=Handicap(0.0)), played(policy, 8, 8, handicap=Handicap(0.0))
    assert np.array_equal(few.seeds, many.seeds[:4])
    assert np.array_equal(few.totals, many.totals[:4])


def test_the_same_seed_plays_the_same(policy: Policy) -> None:
    one, again, other = played(policy, 4, 6), played(policy, 4, 6), played(policy, 4, 6, seed=4)
    assert np.array_equal(one.totals, again.totals)
    assert np.array_equal(one.lengths, again.lengths)
    assert not set(one.seeds.tolist()) & set(other.seeds.tolist())


def test_a_game_without_end_is_told(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("newgameplus.scenarios.agent_play._LONGEST", 5)
    with pytest.raises(GameError, match="does not end") as caught:
        played(policy, 2, 2)
    assert "time_limit" in caught.value.remedy


# --- handicaps ---------------------------------------------------------------------------------------------------


def test_handicaps_weaken(policy: Policy) -> None:
    means = {
        handicap: played(policy, 32, 32, handicap=handicap).totals.mean()
        for handicap in (
            FULL_STRENGTH, Handicap(0.0), Handicap(4.0), Handicap(64.0), Handicap(delay=1), Handicap(randomness=0.5),
            Handicap(randomness=1.0),
        )
    }  # fmt: skip
    random = played(None, 32, 32).totals.mean()
    assert means[Handicap(0.0)] >= means[FULL_STRENGTH]
    assert means[FULL_STRENGTH] > means[Handicap(4.0)] > means[Handicap(64.0)] - 0.5
    assert means[Handicap(64.0)] == pytest.approx(random, abs=1.5)
    assert means[Handicap(delay=1)] == pytest.approx(random, abs=1.5)  # what was shown then says nothing of now
    assert random < means[Handicap(randomness=0.5)] < means[FULL_STRENGTH]
    assert means[Handicap(randomness=1.0)] == pytest.approx(random, abs=1.5)


def test_handicaps_keep_to_the_mask(tmp_path: Path) -> None:
    """In ngp/Masked-v0 a forbidden action ends the episode."""
    train = {"steps": 256, "checkpoints": 2}
    made = agent_run(tmp_path, "run", environment={"id": "ngp/Masked-v0"}, train=train, evaluate={"episodes": 2})
    policy = load_policy(made.model_folder)
    with make_environments(EnvironmentSettings(id="ngp/Masked-v0"), count=8) as environments:
        for handicap in (FULL_STRENGTH, Handicap(64.0), Handicap(delay=3), Handicap(randomness=1.0)):
            lengths = play_episodes(policy, environments, 8, 0, handicap=handicap).lengths
            assert (lengths == 16).all()
        assert (play_episodes(None, environments, 8, 0).lengths == 16).all()


# --- levels of strength ------------------------------------------------------------------------------------------


def test_levels_go_from_random_to_full_and_never_down(player: Player) -> None:
    scores = [choose_level(player, level).choice.score.value for level in (0.0, 0.3, 0.6, 1.0)]
    assert scores == sorted(scores)
    assert scores[0] == pytest.approx(0.0, abs=0.1)
    assert scores[-1] == pytest.approx(1.0, abs=0.1)
    assert scores[1] == pytest.approx(0.3, abs=0.15)
    assert scores[2] == pytest.approx(0.6, abs=0.15)


def test_a_level_plays_as_well_as_its_table_says_also_in_other_games(player: Player) -> None:
    choice = choose_level(player, 0.5, "randomness")
    row = next(row for row in choice.as_dict()["table"] if row["level"] == 0.5)
    with choice.player.open(64) as environments:
        found = play_episodes(choice.player.policy, environments, 64, 11, handicap=choice.handicap)
    assert row["reached"]
    assert row["low"] - 1.0 <= found.totals.mean() <= row["high"] + 1.0


def test_what_was_measured_is_kept_and_used_again(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    assert player.run is not None
    first = choose_level(player, 0.6)
    content = json.loads((player.run.folder / "strength.json").read_text())
    assert any("random play" in scores for scores in content.values())

    def never(*_: object, **__: object) -> None:
        pytest.fail("played again")

    monkeypatch.setattr(agent_strength, "play_episodes", never)
    again = choose_level(player, 0.6)
    assert again.as_dict() == first.as_dict()


def test_a_damaged_strength_file_says_what_to_do(player: Player) -> None:
    assert player.run is not None
    for damaged in ("{", "[]", '{"x": 1}', '{"x": {"full strength": "good"}}'):
        (player.run.folder / "strength.json").write_text(damaged)
        with pytest.raises(RunError) as caught:
            choose_level(player, 0.6, "delay")
        assert "strength.json" in caught.value.source
        assert "delete this file" in caught.value.remedy


def test_a_level_out_of_reach_is_said(player: Player) -> None:
    told = choose_level(player, 0.5, "delay").as_dict()  # a delay of one step already makes it blind
    assert not told["reached"]
    assert "out of reach by delay" in told["notes"][0]


def test_snapshots_are_earlier_policies(player: Player) -> None:
    choice = choose_level(player, 0.0, "snapshot")
    assert choice.choice.text.startswith("as after ")
    assert choice.player.policy is not player.policy
    assert choice.handicap == FULL_STRENGTH
    full = choose_level(player, 1.0, "snapshot")
    assert full.choice.score.value > choice.choice.score.value


@pytest.mark.parametrize(
    ("level", "by", "said", "remedy"),
    [
        (2.0, "auto", "level 2", "0 (random) to 1"),
        (-0.1, "auto", "level -0.1", "0 (random) to 1"),
        (float("nan"), "auto", "level nan", "0 (random) to 1"),
        (0.5, "temprature", "temprature", "did you mean 'temperature'"),
    ],
)
def test_levels_and_ways_that_there_are_not(player: Player, level: float, by: str, said: str, remedy: str) -> None:
    with pytest.raises(RecipeError) as caught:
        choose_level(player, level, by)
    assert said in caught.value.message
    assert remedy in caught.value.remedy


def test_a_policy_no_better_than_random_has_no_levels(player: Player) -> None:
    assert player.run is not None
    snapshot = sorted((player.run.folder / "snapshots").iterdir())[0]
    weak = load_policy(player.run.model_folder)
    for weight in weak.network.actor_head.parameters():
        weight.data.zero_()
    with pytest.raises(DataError, match="random"):
        choose_level(Player("weak", weak, player.settings), 0.5)
    assert snapshot.is_file()


def test_without_snapshots_the_axis_is_refused(player: Player) -> None:
    assert player.run is not None
    shutil.rmtree(player.run.folder / "snapshots")
    with pytest.raises(DataError, match="nothing to make it weaker by snapshot"):
        choose_level(player, 0.5, "snapshot")


def test_the_table_of_a_report_spreads_its_levels(player: Player) -> None:
    table = strength_table(player, 3)
    assert [row["level"] for row in table["levels"]] == [0.0, 0.5, 1.0]
    assert table["levels"][0]["score"]["value"] <= table["levels"][1]["score"]["value"]


# --- opening a player --------------------------------------------------------------------------------------------


def test_a_run_and_its_policy_by_source_play_alike(run: Run) -> None:
    one, other = open_player(run.folder), open_player(f"run:{run.folder}")
    assert one.settings == other.settings
    assert one.settings.id == GAME["id"]
    assert one.recipe is not None


def test_a_policy_that_knows_no_game_asks_for_one(run: Run, tmp_path: Path) -> None:
    policy = load_policy(run.model_folder)
    policy.environment = ""
    save_policy(tmp_path / "model", policy)
    with pytest.raises(RecipeError, match="not known which game") as caught:
        open_player(f"run:{tmp_path}")
    assert "--env" in caught.value.remedy
    assert open_player(f"run:{tmp_path}", GAME["id"]).settings.id == GAME["id"]


def test_a_game_of_other_spaces_is_refused_with_the_surgery(run: Run) -> None:
    with pytest.raises(PretrainedModelError, match="other spaces") as caught:
        open_player(run.folder, ARENA).open(1)
    assert f"ngp surgery {run.folder} --env {ARENA}" in caught.value.remedy
    assert "--map-obs" in caught.value.remedy


@pytest.mark.parametrize("name", ["", "nothing", "no/such/run", "run:nothing", "sb3:nothing.zip", "sb4:old.zip"])
def test_players_that_there_are_not(name: str) -> None:
    with pytest.raises(NewGamePlusError) as caught:
        open_player(name)
    assert all(problem.remedy for problem in caught.value.problems)


def test_a_run_of_another_scenario_plays_nothing(tmp_path: Path) -> None:
    from newgameplus.recipe import Recipe

    made = Run.create(Recipe.model_validate({"data": {"path": "/clips"}}), tmp_path / "clips")
    with pytest.raises(RunError, match="plays no games"):
        open_player(made.folder)
