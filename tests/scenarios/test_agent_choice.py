"""Choosing a policy: what it scores and how often it agrees before training; other spaces come with their surgery."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from newgameplus.cli_choice_text import choice_text
from newgameplus.cli_text import plan_text
from newgameplus.errors import NewGamePlusError, PretrainedModelError
from newgameplus.pretrained.policy import Policy, load_policy, save_policy
from newgameplus.recipe import AgentRecipe, load_recipe
from newgameplus.scenarios import agent_choice
from newgameplus.scenarios.agent_data import load_agent_game
from newgameplus.scenarios.agent_start import load_start
from newgameplus.verbs import check, choose, fit, record_env

GAME = "MiniGrid-DoorKey-6x6-v0"
SEEN = {"parts": ["direction", "image"]}  # what the bundled policy sees


def make_recipe(runs: Path, game: str = GAME, **parts: Any) -> AgentRecipe:
    content: dict[str, Any] = {
        "scenario": "agent",
        "runs": str(runs),
        "environment": {"id": game} | (SEEN if game == GAME else {}),
        "model": {"start": ["fresh", "bundled:minigrid"]},
        "train": {"steps": 1000, "threads": 1},
    }
    return AgentRecipe.model_validate(content | parts)


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demonstrations") / "played"
    record_env(GAME, folder, policy="bundled:minigrid", episodes=6)
    return folder


def test_a_policy_of_the_game_beats_random_weights(demonstrations: Path, tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, data={"path": str(demonstrations), "test": 0.5}, model={"start": "auto"})
    choice = agent_choice.choose_agent_start(recipe, load_agent_game(recipe), episodes=6)
    assert choice.name == "bundled:minigrid"
    best, fresh = choice.candidates
    assert best.scores["return"] > fresh.scores["return"]
    assert best.scores["agreement"] > fresh.scores["agreement"]
    assert best.short_run is not None
    assert best.short_run.low <= best.scores["return"] <= best.short_run.high
    assert choice.by_prior == ("bundled:minigrid", "fresh")
    assert "better than random weights" in choice.advice
    text = choice_text(json.loads(json.dumps(choice.as_dict())), "agent")
    assert max(map(len, text.splitlines())) <= 80
    assert "agreement" in text


def test_only_the_best_few_play_all_episodes_and_random_weights_with_them(tmp_path: Path) -> None:
    names = ["fresh", "bundled:minigrid", *(f"run:{tmp_path / name}" for name in ("one", "two"))]
    environment = {"id": GAME, "time_limit": 60} | SEEN
    recipe = make_recipe(tmp_path, model={"start": names}, environment=environment)
    game = load_agent_game(recipe)
    for name in ("one", "two"):  # made for another game, and without a notion of what to do
        weak = load_start(agent_choice.start_of(recipe, "bundled:minigrid"), game)
        with torch.no_grad():
            weak.network.actor_head.weight.zero_()
        save_policy(tmp_path / name / "model", Policy(name, weak.network, "MiniGrid-Empty-5x5-v0"))
    choice = agent_choice.choose_agent_start(recipe, game, episodes=5, top=1)
    played = [one.name for one in choice.candidates if one.short_run is not None]
    assert sorted(played) == ["bundled:minigrid", "fresh"]
    assert choice.name == "bundled:minigrid"
    assert "5 episodes" in choice.reason
    assert all("return" in one.scores for one in choice.candidates)
    text = choice_text(json.loads(json.dumps(choice.as_dict())), "agent")
    assert "first few episodes" in text
    estimated = agent_choice.choose_agent_start(recipe, game, episodes=0)
    assert [one.short_run for one in estimated.candidates] == [None] * 4
    assert "4 episodes" in estimated.reason


def test_spaces_that_do_not_fit_are_listed_with_the_surgery_that_mends(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, "CartPole-v1")
    choice = agent_choice.choose_agent_start(recipe, load_agent_game(recipe), episodes=2)
    assert [one.name for one in choice.candidates] == ["fresh"]
    assert choice.left_out[0]["name"] == "bundled:minigrid"
    assert "other spaces" in choice.left_out[0]["message"]
    assert choice.left_out[0]["remedy"]
    named = make_recipe(tmp_path, model={"start": ["fresh", "bundled:minigird"]})
    game = load_agent_game(named)
    with pytest.raises(PretrainedModelError, match="no bundled policy"):
        agent_choice.choose_agent_start(named, game, episodes=1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_policy_of_stable_baselines3_is_a_candidate_and_said_to_be_of_an_unknown_game(tmp_path: Path) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    gymnasium = pytest.importorskip("gymnasium")
    model = sb3.PPO("MlpPolicy", gymnasium.make("CartPole-v1"), n_steps=256, batch_size=64, seed=0, device="cpu")
    model.learn(2048)
    model.save(tmp_path / "old.zip")
    text = (
        "scenario: agent\nenvironment: {id: CartPole-v1}\nmodel: {start: [fresh, 'sb3:old.zip', 'bundled:minigrid']}\n"
    )
    (tmp_path / "recipe.yaml").write_text(text)
    record_env("CartPole-v1", tmp_path / "played", policy=f"sb3:{tmp_path / 'old.zip'}", episodes=3)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert isinstance(recipe, AgentRecipe)
    data = recipe.data.model_copy(update={"path": str(tmp_path / "played")})
    recipe = recipe.model_copy(update={"data": data})
    name = f"sb3:{tmp_path / 'old.zip'}"
    choice = agent_choice.choose_agent_start(recipe, load_agent_game(recipe))
    assert choice.name == name
    best, fresh = choice.candidates
    assert best.scores["return"] > fresh.scores["return"]
    assert set(best.scores) == {"prior", "return", "agreement"}
    assert (best.license, fresh.license) == ("unknown", "none needed")
    assert "its source does not say" in best.why_prior
    assert [one["name"] for one in choice.left_out] == ["bundled:minigrid"]
    lost = make_recipe(tmp_path, "CartPole-v1", model={"start": ["fresh", f"sb3:{tmp_path / 'lost.zip'}"]})
    with pytest.raises(PretrainedModelError, match=r"lost\.zip"):
        agent_choice.choose_agent_start(lost, load_agent_game(lost))


def test_several_starts_are_paths_of_the_recipe_and_are_checked(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    text = "scenario: agent\nenvironment: {id: CartPole-v1}\nmodel: {start: ['run:old', fresh]}\n"
    (tmp_path / "recipe.yaml").write_text(text)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert recipe.model.start == (f"run:{tmp_path / 'old'}", "fresh")
    automatic = make_recipe(tmp_path, "CartPole-v1", model={"start": "auto"})
    assert check(automatic)["scenario"] == "agent"


def test_a_licence_that_forbids_the_use_is_refused(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, model={"start": ["fresh", "bundled:minigrid"], "use": "commercial"})
    with pytest.raises(PretrainedModelError, match="commercial"):
        agent_choice._check(recipe, "sb3:old.zip", "cc-by-nc-4.0")
    agent_choice._check(recipe, "bundled:minigrid", "mit")


def test_candidates_bring_options_of_their_own_into_the_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = [{"start": "fresh", "options": {"padding": 0}}, {"start": "fresh", "options": {"padding": 1}}]
    parts = {"train": {"steps": 64, "rollout": 16, "threads": 1}, "evaluate": {"episodes": 2, "baselines": ["start"]}}
    environment = {"id": "CartPole-v1", "count": 2, "time_limit": 20}
    recipe = make_recipe(tmp_path, "CartPole-v1", model={"start": starts}, environment=environment, **parts)
    monkeypatch.setattr(agent_choice, "_EPISODES", 2)
    result = choose(recipe)
    assert [one["name"] for one in result["candidates"]] == ["fresh (padding=0)", "fresh (padding=1)"]
    assert [(one["start"], one["options"]) for one in result["candidates"]] == [
        ("fresh", {"padding": 0}),
        ("fresh", {"padding": 1}),
    ]
    assert all(one["short_run"] is not None for one in result["candidates"])  # random weights play as the best do
    decide = agent_choice._decide
    monkeypatch.setattr(agent_choice, "_decide", lambda *some: replace(decide(*some), name="fresh (padding=1)"))
    run = fit(recipe, tmp_path / "run")
    assert load_policy(run.model_folder).shape.options == {"padding": 1}


def test_check_looks_at_every_start_and_says_which_is_wrong(tmp_path: Path) -> None:
    starts = ["fresh", {"start": "bundled:minigrid", "options": {"temperature": 2}}, {"start": "sb3:lost.zip"}]
    with pytest.raises(NewGamePlusError) as caught:
        check(make_recipe(tmp_path, model={"start": starts}))
    told = [str(problem) for problem in caught.value.problems]
    assert any("model.start.1.options: bundled:minigrid: " in line and "temperature" in line for line in told)
    assert any("lost.zip" in line for line in told)
    plan = check(make_recipe(tmp_path, model={"start": ["fresh", "bundled:minigrid"]}, environment={"id": GAME}))
    assert plan["candidates"] == ["fresh"]
    assert "the one candidate, 1 left out (why: --json)" in " ".join(plan_text(plan).split())
    assert [one["name"] for one in plan["models_left_out"]] == ["bundled:minigrid"]
