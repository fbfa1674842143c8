"""Recording any environment: by a run, by a policy of elsewhere, by an expert, at random, or by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.agent_runs import ARENA, agent_run

from newgameplus.deploy.recording import record_env
from newgameplus.errors import NewGamePlusError, RecipeError
from newgameplus.games.demonstrations import describe_demonstrations, load_demonstrations
from newgameplus.games.environments import describe_spaces
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    train = {"steps": 256, "checkpoints": 2}
    return agent_run(tmp_path_factory.mktemp("record"), "run", train=train, evaluate={"episodes": 2})


def read(folder: Path, game: str = ARENA, **options: Any) -> Any:
    observations, actions = describe_spaces(EnvironmentSettings(id=game, options=options))
    return load_demonstrations(folder, observations=observations, actions=actions)


def test_a_run_is_recorded_the_same_by_the_same_seed(run: Run, tmp_path: Path) -> None:
    made = record_env(ARENA, tmp_path / "one", policy=str(run.folder), episodes=4, seed=3)
    assert made["episodes"] == 4
    assert made["returns"]["low"] <= made["returns"]["mean"] <= made["returns"]["high"]
    episodes = read(tmp_path / "one").episodes
    assert made["steps"] == sum(map(len, episodes))
    assert made["successes"] == sum(bool(one.success) for one in episodes)
    record_env(ARENA, tmp_path / "again", policy=str(run.folder), episodes=4, seed=3)
    record_env(ARENA, tmp_path / "other", policy=str(run.folder), episodes=4, seed=4)
    totals = [[one.total for one in read(tmp_path / name).episodes] for name in ("one", "again", "other")]
    assert totals[0] == totals[1] != totals[2]


def test_a_policy_of_stable_baselines3_is_recorded(tmp_path: Path) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    gym = pytest.importorskip("gymnasium")
    sb3.A2C("MlpPolicy", gym.make("CartPole-v1"), seed=0, device="cpu").save(tmp_path / "old.zip")
    made = record_env("CartPole-v1", tmp_path / "demos", policy=f"sb3:{tmp_path / 'old.zip'}", episodes=3)
    assert made["successes"] is None
    assert describe_demonstrations(tmp_path / "demos").environment == "CartPole-v1"


def test_an_expert_is_recorded(tmp_path: Path) -> None:
    pytest.importorskip("minigrid")
    made = record_env("MiniGrid-Empty-5x5-v0", tmp_path / "demos", policy="expert", episodes=3)
    assert made["successes"] == 3
    with pytest.raises(NewGamePlusError) as caught:
        record_env("CartPole-v1", tmp_path / "none", policy="expert", episodes=1)
    assert caught.value.problems[0].remedy
    assert not (tmp_path / "none").exists()


def test_random_play_is_recorded_in_a_changed_game(tmp_path: Path) -> None:
    options = {"features": ["hp", "mana"]}
    made = record_env(ARENA, tmp_path / "demos", options=options, episodes=3)
    assert made["policy"] == "random"
    assert read(tmp_path / "demos", **options).observations.parts[0].features == ("hp", "mana")


def test_a_recording_is_never_written_over(run: Run, tmp_path: Path) -> None:
    record_env(ARENA, tmp_path / "demos", episodes=2)
    before = {path: path.read_bytes() for path in (tmp_path / "demos").rglob("*") if path.is_file()}
    for policy in ("random", str(run.folder)):
        with pytest.raises(NewGamePlusError) as caught:
            record_env(ARENA, tmp_path / "demos", policy=policy, episodes=2)
        assert "demos" in caught.value.source
    assert before == {path: path.read_bytes() for path in (tmp_path / "demos").rglob("*") if path.is_file()}


def test_a_run_of_other_spaces_records_nothing(run: Run, tmp_path: Path) -> None:
    with pytest.raises(NewGamePlusError, match="other spaces") as caught:
        record_env("ngp/Masked-v0", tmp_path / "demos", policy=str(run.folder))
    assert "ngp surgery" in caught.value.remedy
    assert not (tmp_path / "demos").exists()


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({"keys": "left=left"}, "--keys"),
        ({"policy": "keyboard", "keys": "left"}, "--keys"),
        ({"policy": "keyboard", "keys": "left=,=up"}, "--keys"),
        ({"policy": "keyboard", "keys": "left=fly"}, ""),
        ({"policy": "keybord"}, ""),
        ({"episodes": 0}, ""),
        ({"temperature": -1.0}, "--temperature"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_options_that_cannot_be_used_are_named(run: Run, tmp_path: Path, settings: dict[str, Any], source: str) -> None:
    policy = {} if "policy" in settings or "keys" in settings else {"policy": str(run.folder)}
    with pytest.raises(NewGamePlusError) as caught:
        record_env(ARENA, tmp_path / "demos", **policy, **settings)
    assert caught.value.source.startswith(source)
    assert caught.value.problems[0].remedy
    assert not (tmp_path / "demos").exists()


def test_keys_that_are_no_keys_are_recipe_errors(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'left' names no key and action"):
        record_env(ARENA, tmp_path / "demos", policy="keyboard", keys="up=advance,left")
