"""The agent scenario from a game to its evaluation: what a run holds, how it resumes, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.agent_runs import ARENA, BAD, agent_recipe, agent_run, arms_of, evaluation_of, files_of, without_times

from newgameplus.errors import DataError, GameError, NewGamePlusError, PretrainedModelError, RecipeError, RunError
from newgameplus.finetune import fit, resume
from newgameplus.games.record.recording_writer import RecordingWriter
from newgameplus.pretrained.policy import load_policy, save_policy
from newgameplus.recipe import dump_recipe
from newgameplus.run import Run
from newgameplus.scenarios import agent_evaluation, agent_report, agent_training
from newgameplus.scenarios.agent_data import load_agent_game
from newgameplus.scenarios.agent_start import fresh_policy, load_start
from newgameplus.tensors import load_tensors
from newgameplus.train import policy_optimization
from newgameplus.verbs import check, compare, evaluate, record_env

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "newgameplus.cli"]
IDENTITY = {"id": "ngp/Identity-v0", "count": 8, "options": {"sight": "vector"}}


class Stopped(KeyboardInterrupt):
    """An interruption at a place of a test's choice."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agent-runs")


@pytest.fixture(scope="module")
def scratch(place: Path) -> Run:
    """A run from nothing."""
    return agent_run(place, "scratch")


@pytest.fixture(scope="module")
def demos(place: Path, scratch: Run) -> Path:
    record_env(ARENA, place / "demos", policy=str(scratch.folder), episodes=10, seed=5)
    return place / "demos"


@pytest.fixture(scope="module")
def whole(place: Path, demos: Path) -> Run:
    """A run that imitates, then plays without forgetting, with every baseline."""
    return agent_run(place, "whole", data={"path": str(demos)})


# --- a whole fit -------------------------------------------------------------------------------------------------


def test_a_fit_from_nothing_leaves_a_policy_an_evaluation_and_a_report(scratch: Run) -> None:
    names = {path.name for path in scratch.folder.iterdir()}
    assert {"recipe.yaml", "environment.json", "evaluation.json", "report.html", "model", "metrics.jsonl"} <= names
    assert "checkpoints" not in names
    assert "start" not in names  # it was untrained
    evaluation = evaluation_of(scratch)
    assert list(arms_of(scratch)) == ["fine-tuned"]
    assert set(evaluation["skipped"]) == {"start", "scratch", "plain", "cloning"}
    assert all(evaluation["skipped"].values())
    assert evaluation["games"] == [ARENA]
    assert len(evaluation["arms"][0]["games"][ARENA]["totals"]) == 12
    assert evaluation["random"][ARENA]["episodes"] == 12
    assert evaluation["verdict"]["sentence"]
    assert evaluation["retention"] == {"terms": [], "states": None}
    assert load_policy(scratch.model_folder).environment == ARENA
    assert "data:image/" in (scratch.folder / "report.html").read_text()


def test_a_fit_with_demonstrations_holds_every_baseline_against_it(whole: Run) -> None:
    evaluation, arms = evaluation_of(whole), arms_of(whole)
    assert next(iter(arms)) == "fine-tuned"
    assert set(arms) == {"fine-tuned", "scratch", "plain", "cloning"}
    assert set(evaluation["skipped"]) == {"start"}
    assert evaluation["retention"]["terms"][0]["kind"] == "cloning"
    assert arms["fine-tuned"]["steps"] == arms["scratch"]["steps"] == arms["plain"]["steps"] == 1024
    assert arms["cloning"]["steps"] == 0
    assert all(0 <= arm["agreement"]["value"] <= 1 for arm in arms.values())
    assert arms["fine-tuned"]["curve"]
    seeds = [arm["games"][ARENA]["seeds"] for arm in arms.values()]
    assert all(one == seeds[0] for one in seeds)
    assert all(arms[name]["difference"][ARENA]["paired"] for name in ("scratch", "plain", "cloning"))
    report = (whole.folder / "report.html").read_text()
    assert all(arm["title"] in report for arm in arms.values())
    rows = whole.metrics()
    assert {row["arm"] for row in rows} == {"cloned", "fine-tuned", "scratch", "plain"}


def test_snapshots_of_training_are_kept_and_the_last_is_the_policy(whole: Run) -> None:
    kept = sorted((whole.folder / "snapshots").glob("*.safetensors"))
    assert len(kept) == 4
    steps = [load_tensors(path)[1]["step"] for path in kept]
    assert steps == sorted(steps)
    assert steps[-1] == 1024
    last, policy = load_tensors(kept[-1])[0], load_policy(whole.model_folder)
    weights = policy.network.state_dict()
    assert last.keys() == weights.keys()
    assert all(torch.equal(last[name], weights[name]) for name in last)


def test_two_fits_of_one_recipe_give_the_same_weights_and_evaluation(whole: Run, demos: Path, tmp_path: Path) -> None:
    again = agent_run(tmp_path, "again", data={"path": str(demos)})
    for name in ("model/model.safetensors", "snapshots/02.safetensors"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert without_times(evaluation_of(again)) == without_times(evaluation_of(whole))
    other = agent_run(tmp_path, "other", data={"path": str(demos)}, seed=1, evaluate={"baselines": []})
    first = "model/model.safetensors"
    assert (other.folder / first).read_bytes() != (whole.folder / first).read_bytes()


def test_a_fit_from_a_run_keeps_its_start_and_says_what_was_forgotten(
    place: Path, scratch: Run, tmp_path: Path
) -> None:
    options = {"rules": {"enemy_hp": 60.0}}
    old = {"id": ARENA, "count": 8, "options": options}
    recipe = agent_recipe(tmp_path, environment=old | {"others": ["ngp/Masked-v0"]}, evaluate={"episodes": 6})
    run = fit(recipe, tmp_path / "run", start=f"run:{scratch.folder}")
    start, came = load_policy(run.folder / "start"), load_policy(scratch.model_folder)
    same = zip(start.network.parameters(), came.network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)
    arms, evaluation = arms_of(run), evaluation_of(run)
    assert set(arms) == {"fine-tuned", "start", "scratch", "plain"}
    assert evaluation["skipped"] == {"cloning": "there are no demonstrations"}
    assert evaluation["games"] == [ARENA]
    assert any("ngp/Masked-v0 cannot be played" in note for note in evaluation["notes"])
    assert evaluation["forgetting"]["before"] == "start"
    assert run.recipe.model.start == f"run:{scratch.folder}"
    card = json.loads((run.model_folder / "card.json").read_text())
    assert card["facts"]["start"] == f"run:{scratch.folder}"


def test_what_was_forgotten_is_measured_in_the_game_that_the_start_was_made_for(scratch: Run, tmp_path: Path) -> None:
    (tmp_path / "patched.py").write_text(
        "from newgameplus.games.toy_arena import Arena\n\ndef game(): return Arena(rules={'enemy_damage': 60.0})\n"
    )
    new = f"{tmp_path / 'patched.py'}:game"
    environment = {"id": new, "count": 8, "others": [ARENA]}
    terms = [{"kind": "kickstarting", "schedule": "linear"}, {"kind": "l2-sp"}, {"kind": "ewc"}, {"kind": "memory"}]
    run = agent_run(
        tmp_path, "run", start=f"run:{scratch.folder}", environment=environment, retention={"terms": terms}
    )  # fmt: skip
    evaluation = evaluation_of(run)
    assert evaluation["games"] == [new, ARENA]
    assert {row["name"] for row in evaluation["forgetting"]["rows"]} == set(arms_of(run))
    assert all(ARENA in row["games"] for row in evaluation["forgetting"]["rows"])
    assert [term["kind"] for term in evaluation["retention"]["terms"]] == [term["kind"] for term in terms]
    again = evaluate(run, episodes=3)
    assert again["games"] == [new, ARENA]


def test_a_fit_from_a_policy_of_stable_baselines3(tmp_path: Path) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    gym = pytest.importorskip("gymnasium")
    model = sb3.PPO("MlpPolicy", gym.make("CartPole-v1"), n_steps=32, batch_size=32, seed=0, device="cpu")
    model.save(tmp_path / "old.zip")
    environment = {"id": "CartPole-v1", "count": 8}
    options = {"environment": environment, "train": {"steps": 256}, "evaluate": {"episodes": 8, "baselines": ["start"]}}
    run = agent_run(tmp_path, "run", start=f"sb3:{tmp_path / 'old.zip'}", **options)
    start = load_policy(run.folder / "start")
    seen = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    told, _ = model.predict(seen, deterministic=True)
    acted, _ = start.act({"observation": seen}, temperature=0.0)
    assert np.array_equal(told, acted)
    assert set(arms_of(run)) == {"fine-tuned", "start"}
    assert evaluation_of(run)["retention"]["terms"][0]["kind"] == "cloning"


def test_games_that_need_memory_or_other_actions_are_fitted(tmp_path: Path) -> None:
    quick = {"train": {"steps": 256, "checkpoints": 2}, "evaluate": {"episodes": 1}}
    for name, options, model in (
        ("ngp/Memory-v0", {}, {"memory": "gru", "memory_width": 8}),
        ("ngp/Identity-v0", {"actions": "continuous"}, {}),
        ("ngp/Identity-v0", {"actions": "multi-discrete"}, {"memory": "lstm", "memory_width": 8}),
        ("ngp/Identity-v0", {"sight": "text"}, {"encoder": "transformer", "features": 16}),
    ):
        environment = {"id": name, "options": options, "count": 4}
        folder = f"{name[4:]}-{'-'.join(options.values())}"
        run = agent_run(tmp_path, folder, environment=environment, model=model, **quick)
        assert evaluation_of(run)["arms"][0]["games"][name]["episodes"] == 1
        assert evaluation_of(run)["verdict"]["sentence"]


@pytest.mark.parametrize("game", ["ngp/Masked-v0", "CartPole-v1", "MiniGrid-Empty-5x5-v0"])
def test_games_of_every_kind_are_fitted_from_nothing(game: str, tmp_path: Path) -> None:
    if game.startswith("MiniGrid"):
        pytest.importorskip("minigrid")
    parts = {"parts": ["image", "direction"]} if game.startswith("MiniGrid") else {}
    steps, episodes = {"steps": 256, "checkpoints": 2}, {"episodes": 4}
    run = agent_run(
        tmp_path, "run", environment={"id": game, "count": 8, **parts}, train=steps, evaluate=episodes
    )  # fmt: skip
    assert evaluation_of(run)["verdict"]["sentence"]
    assert (run.folder / "report.html").is_file()
    told = evaluation_of(run)["arms"][0]["games"][game]["success"]
    assert (told is None) == (game == "CartPole-v1")


@pytest.mark.slow
def test_learning_beats_random_and_demonstrations_help(tmp_path: Path) -> None:
    train = {"steps": 12_288, "rollout": 64, "batch_size": 256, "epochs": 4, "learning_rate": 0.003}
    shown = {"environment": IDENTITY, "train": train, "evaluate": {"episodes": 32}}
    expert = agent_run(tmp_path, "expert", **shown)
    evaluation = evaluation_of(expert)
    learned, random = evaluation["arms"][0]["games"], evaluation["random"]
    assert learned[IDENTITY["id"]]["mean"]["low"] > random[IDENTITY["id"]]["mean"]["high"] + 4
    record_env(IDENTITY["id"], tmp_path / "demos", policy=str(expert.folder), episodes=20, temperature=0.0)
    few = {**shown, "train": train | {"steps": 1024}, "clone": {"epochs": 150}}
    run = agent_run(tmp_path, "run", data={"path": str(tmp_path / "demos")}, **few)
    arms = arms_of(run)
    mean = {name: arm["games"][IDENTITY["id"]]["mean"]["value"] for name, arm in arms.items()}
    assert mean["fine-tuned"] > mean["scratch"] + 2
    assert mean["cloning"] > mean["scratch"] + 2
    assert evaluation_of(run)["verdict"]["outcome"] == "helped"


def test_only_imitating_is_a_fit_of_its_own(place: Path, demos: Path, tmp_path: Path) -> None:
    run = agent_run(tmp_path, "run", data={"path": str(demos)}, train={"steps": 0}, evaluate={"episodes": 4})
    assert set(arms_of(run)) == {"fine-tuned"}
    assert evaluation_of(run)["skipped"]["cloning"] == "nothing else was done"
    assert not list(run.folder.glob("snapshots/*"))


# --- evaluating and comparing ------------------------------------------------------------------------------------


def test_evaluating_again_always_plays_the_own_game_too(whole: Run, scratch: Run, place: Path, tmp_path: Path) -> None:
    run = Run.open(shutil.copytree(whole.folder, tmp_path / "run"))
    factory = tmp_path / "old_task.py"
    factory.write_text(
        "import gymnasium\n\ndef old(): return gymnasium.make('ngp/Arena-v0', rules={'enemy_hp': 40.0}).unwrapped\n"
    )
    found = evaluate(run, games=[f"{factory}:old"], episodes=4)
    assert found["game"] == ARENA
    assert found["games"] == [ARENA, f"{factory}:old"]
    assert Path(found["written_to"]).name == "001.json"
    again = evaluate(run, episodes=4)
    assert again["games"] == [ARENA]
    assert Path(again["written_to"]).name == "002.json"
    same = evaluate(run, episodes=4, seed=3)["arms"][0]["games"][ARENA]["totals"]
    assert same == evaluate(run, games=[ARENA], episodes=4, seed=3)["arms"][0]["games"][ARENA]["totals"]


def test_evaluating_on_a_game_of_other_spaces_lists_every_difference(whole: Run) -> None:
    with pytest.raises(PretrainedModelError) as caught:
        evaluate(whole, games=["ngp/Masked-v0"], episodes=2)
    assert "ngp surgery" in caught.value.remedy
    assert "ngp/Masked-v0" in caught.value.remedy
    assert "higher pays new" in str(caught.value)
    with pytest.raises(RunError, match="0 episodes"):
        evaluate(whole, episodes=0)


def test_runs_are_compared(whole: Run, scratch: Run) -> None:
    found = compare([whole.folder, scratch.folder])
    assert found["games"] == [ARENA]
    assert [row["name"] for row in found["runs"]] == [str(whole.folder), str(scratch.folder)]
    assert found["runs"][1]["games"][ARENA]["difference"]["paired"]
    assert found["sentence"]


# --- resuming ----------------------------------------------------------------------------------------------------


def stop_after(calls: int, function: Callable[..., Any], before: bool = False) -> Callable[..., Any]:
    count = 0

    def stopping(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if before and count == calls:
            raise Stopped
        answer = function(*args, **kwargs)
        if count == calls:
            raise Stopped
        return answer

    return stopping


#: Where a fit is interrupted: module, attribute, at which call, and whether before it is done.
STAGES = {
    "cloning": (agent_training, "clone_policy", 1, True),
    "the end of cloning": (agent_training, "save_policy", 1, False),
    "an update": (policy_optimization._Loop, "_update", 2, False),
    "a later update": (policy_optimization._Loop, "_update", 4, True),
    "saving the policy": (agent_training, "save_policy", 2, True),
    "scratch": (policy_optimization._Loop, "_update", 6, False),
    "saving plain": (agent_training, "save_policy", 4, False),
    "playing": (agent_evaluation, "play_episodes", 3, False),
    "filming": (agent_report, "play_episodes", 2, True),
    "the report": (agent_evaluation, "write_report_of", 1, True),
}
OFTEN = ("an update", "playing")
"""Stages that are tried whenever tests run; the others are for the whole suite."""


@pytest.mark.parametrize(
    "stage", [stage if stage in OFTEN else pytest.param(stage, marks=pytest.mark.slow) for stage in STAGES]
)
def test_an_interrupted_fit_resumes_to_the_same_weights_and_evaluation(
    stage: str, whole: Run, demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, calls, before = STAGES[stage]
    with monkeypatch.context() as patched:
        patched.setattr(module, name, stop_after(calls, getattr(module, name), before))
        with pytest.raises(Stopped):
            agent_run(tmp_path, "run", data={"path": str(demos)})
    run = resume(tmp_path / "run")
    weights = "model/model.safetensors"
    assert (run.folder / weights).read_bytes() == (whole.folder / weights).read_bytes()
    assert without_times(evaluation_of(run)) == without_times(evaluation_of(whole))
    names = {path.name for path in (run.folder / "snapshots").iterdir()}
    assert names == {path.name for path in (whole.folder / "snapshots").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_fit_killed_at_random_moments_ends_the_same(
    whole: Run, demos: Path, tmp_path: Path, kind: signal.Signals
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_recipe(agent_recipe(tmp_path, data={"path": str(demos)})))
    folder, kills = tmp_path / "run", 0
    draws = np.random.default_rng(int(kind))
    for _ in range(20):
        if (folder / "evaluation.json").exists():
            break
        words = (
            ["resume", str(folder)] if (folder / "recipe.yaml").exists() else ["fit", str(recipe), "--out", str(folder)]
        )
        with subprocess.Popen(
            [*COMMAND, *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        ) as child:  # fmt: skip
            # Killed some moments after work has begun; how long imports take is nobody's concern.
            log = folder / "log.txt"
            size = log.stat().st_size if log.exists() else 0
            while child.poll() is None and (log.stat().st_size if log.exists() else 0) <= size:
                time.sleep(0.01)
            limit = time.monotonic() + float(draws.uniform(0.1, 1.5))
            while child.poll() is None and time.monotonic() < limit:
                time.sleep(0.01)
            if child.poll() is None and kills < 3:
                child.send_signal(kind)
                kills += 1
            child.wait(200)
            if kind == signal.SIGINT:
                assert child.returncode in (0, 130)
    assert kills >= 1
    weights = "model/model.safetensors"
    assert (folder / weights).read_bytes() == (whole.folder / weights).read_bytes()
    assert without_times(evaluation_of(Run.open(folder))) == without_times(evaluation_of(whole))


def test_nothing_is_overwritten_and_a_finished_run_is_not_resumed(whole: Run, demos: Path) -> None:
    before = files_of(whole.folder)
    with pytest.raises(RunError, match="nothing is overwritten"):
        fit(agent_recipe(whole.folder.parent, data={"path": str(demos)}), whole.folder)
    with pytest.raises(RunError, match="nothing to resume"):
        resume(whole.folder)
    assert files_of(whole.folder) == before


def interrupt(place: Path, monkeypatch: pytest.MonkeyPatch, **parts: Any) -> Path:
    with monkeypatch.context() as patched:
        loop = policy_optimization._Loop
        patched.setattr(loop, "_update", stop_after(2, loop._update))
        with pytest.raises(Stopped):
            agent_run(place, "run", **parts)
    return place / "run"


def test_a_recipe_demonstrations_or_game_that_changed_are_named(
    demos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shutil.copytree(demos, tmp_path / "demos")
    folder = interrupt(tmp_path, monkeypatch, data={"path": str(own)}, evaluate={"baselines": []})
    recipe = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(recipe.replace("gamma: 0.99", "gamma: 0.9"))
    with pytest.raises(RunError, match=r"this run began with other train\.gamma"):
        resume(folder)
    (folder / "recipe.yaml").write_text(recipe.replace("options: {}", "options: {features: [hp, mana]}", 1))
    with pytest.raises(RunError, match=r"this run began with other environment\.options"):
        resume(folder)
    (folder / "recipe.yaml").write_text(recipe)
    shutil.rmtree(own)
    with pytest.raises(DataError):
        resume(folder)
    record_env(ARENA, own, episodes=6, seed=9)
    with pytest.raises(RunError, match="this run began with other demonstrations"):
        resume(folder)
    shutil.rmtree(own)
    shutil.copytree(demos, own)
    assert resume(folder).finished


def test_a_game_of_other_spaces_is_named_at_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factory = tmp_path / "patched.py"
    text = "import gymnasium\n\ndef game(): return gymnasium.make('ngp/Arena-v0', features=%s).unwrapped\n"
    factory.write_text(text % "['hp', 'mana']")
    environment = {"id": f"{factory}:game", "count": 4}
    folder = interrupt(tmp_path, monkeypatch, environment=environment)
    factory.write_text(text % "['mana', 'hp']")
    with pytest.raises(RunError, match="this run began with other observations of the game"):
        resume(folder)
    factory.write_text(text % "['hp', 'mana']")
    assert resume(folder).finished


# --- what is refused, and what is left behind then ---------------------------------------------------------------


def test_a_start_of_other_spaces_is_refused_with_its_surgery_and_leaves_no_folder(scratch: Run, tmp_path: Path) -> None:
    options = {"features": ["mana", "hp"], "actions": ["wait", "cast", "kick"]}
    recipe = agent_recipe(tmp_path, environment={"id": ARENA, "options": options})
    with pytest.raises(PretrainedModelError) as caught:
        fit(recipe, tmp_path / "run", start=f"run:{scratch.folder}")
    assert f"ngp surgery run:{scratch.folder} --env {ARENA}" in caught.value.remedy
    assert '--option \'features=["mana", "hp"]\'' in caught.value.remedy
    told = [problem.remedy for problem in caught.value.problems]
    assert any(remedy.startswith("--map-obs") for remedy in told)
    assert any(remedy.startswith("--map-actions") for remedy in told)
    assert not (tmp_path / "run").exists()


def test_a_start_that_is_refused_late_leaves_no_folder_either(scratch: Run, tmp_path: Path) -> None:
    policy = load_policy(scratch.model_folder)
    policy.environment = ""
    save_policy(tmp_path / "unknown" / "model", policy)
    with pytest.raises(RecipeError, match="not known which game") as caught:
        agent_run(tmp_path, "run", start=f"run:{tmp_path / 'unknown'}")
    assert "environment.others" in caught.value.remedy
    assert not (tmp_path / "run").exists()


def test_demonstrations_of_other_spaces_list_every_difference_with_the_surgery(demos: Path, tmp_path: Path) -> None:
    options = {"features": ["mana", "hp", "stamina"], "actions": ["wait", "cast", "kick"]}
    recipe = agent_recipe(tmp_path, environment={"id": ARENA, "options": options}, data={"path": str(demos)})
    with pytest.raises(DataError) as caught:
        fit(recipe, tmp_path / "run")
    assert "ngp surgery RUN" in caught.value.remedy
    assert "--map-obs" in caught.value.remedy
    assert "--map-actions" in caught.value.remedy
    assert "stamina new" in str(caught.value)
    assert "kick new" in str(caught.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(NewGamePlusError) as checked:
        check(recipe)
    assert "ngp surgery RUN" in str(checked.value)


def test_retention_without_anything_to_retain_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nothing to keep"):
        agent_run(tmp_path, "run", retention={"terms": [{"kind": "ewc"}]})
    assert not (tmp_path / "run").exists()


def test_another_game_that_there_is_not_is_told_before_training(tmp_path: Path) -> None:
    environment = {"id": ARENA, "others": ["ngp/Arna-v0"]}
    with pytest.raises(GameError, match="ngp/Arna-v0") as caught:
        agent_run(tmp_path, "run", environment=environment)
    assert "ngp/Arena-v0" in caught.value.problems[0].remedy
    assert not (tmp_path / "run").exists()
    with pytest.raises(NewGamePlusError, match="ngp/Arna-v0") as caught:
        check(agent_recipe(tmp_path, environment=environment))
    assert caught.value.source == "environment.others"
    plan = check(agent_recipe(tmp_path, environment={"id": ARENA, "others": ["ngp/Masked-v0"]}))
    assert any("ngp/Masked-v0" in note for note in plan["notes"])


def test_levels_of_a_policy_no_better_than_random_stop_no_fit(tmp_path: Path) -> None:
    quick = {"train": {"steps": 128, "checkpoints": 1}, "evaluate": {"episodes": 2, "levels": 3}}
    run = agent_run(tmp_path, "run", environment={"id": "ngp/Memory-v0"}, **quick)
    assert any("strength" in note for note in evaluation_of(run)["notes"])


# --- demonstrations that are short, empty, doubled or damaged ----------------------------------------------------


def episodes_of(demos: Path) -> Any:
    return load_agent_game(agent_recipe(demos, data={"path": str(demos), "test": 0.0}))


def rewrite(demos: Path, folder: Path, change: Callable[[list[Any]], list[Any]]) -> Path:
    """Write demonstrations anew, changed."""
    game = episodes_of(demos)
    assert game.learned is not None
    with RecordingWriter(folder, game.observations, game.actions) as writer:
        for number, episode in enumerate(change(list(game.learned.episodes))):
            writer.add(episode, seed=number)
    return folder


def shortened(episode: Any, steps: int, **changes: Any) -> Any:
    from dataclasses import replace

    seen = {name: values[: steps + 1] for name, values in episode.observations.items()}
    return replace(
        episode, observations=seen, actions=episode.actions[:steps], rewards=episode.rewards[:steps], **changes
    )


def test_a_demonstration_of_one_step_is_learned_from(demos: Path, tmp_path: Path) -> None:
    made = rewrite(demos, tmp_path / "demos", lambda all_: [shortened(all_[0], 1, terminated=True), *all_[1:4]])
    run = agent_run(tmp_path, "run", data={"path": str(made)}, train={"steps": 256}, evaluate={"baselines": []})
    assert run.finished


def test_only_one_demonstration_leaves_none_to_measure_agreement_on(demos: Path, tmp_path: Path) -> None:
    made = rewrite(demos, tmp_path / "demos", lambda all_: [shortened(all_[0], 1, terminated=True)])
    run = agent_run(tmp_path, "run", data={"path": str(made)}, train={"steps": 0}, evaluate={"baselines": []})
    assert arms_of(run)["fine-tuned"]["agreement"] is None


def test_games_with_names_alike_are_not_taken_for_each_other(scratch: Run, tmp_path: Path) -> None:
    """What was played is kept in files, in whose names not every letter may stand."""
    text = "from newgameplus.games.toy_arena import Arena\n\ndef game(): return Arena(rules={'enemy_damage': %d})\n"
    others = []
    for number, name in enumerate(("a-b.py", "a_b.py", "a.b.py")):
        (tmp_path / name).write_text(text % (5 + 40 * number))
        others.append(f"{tmp_path / name}:game")
    environment = {"id": ARENA, "count": 8, "others": others}
    quick = {"train": {"steps": 256, "checkpoints": 1}, "evaluate": {"episodes": 4, "baselines": []}}
    run = agent_run(tmp_path, "run", environment=environment, **quick)
    games = arms_of(run)["fine-tuned"]["games"]
    assert len({json.dumps(games[name]["totals"]) for name in (ARENA, *others)}) == 4


def test_the_largest_seed_there_is(tmp_path: Path) -> None:
    quick = {"train": {"steps": 128, "checkpoints": 1}, "evaluate": {"episodes": 2}}
    run = agent_run(tmp_path, "run", environment={"id": "ngp/Memory-v0"}, seed=2**32 - 1, **quick)
    assert run.finished


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"observations": np.zeros((0, 7)), "actions": np.zeros(0), "rewards": np.zeros(0)}, "no|empty|0"),
        ({"actions": np.array([0, 1, 17, 2])}, "17"),
        ({"actions": np.array([0, 1, -1, 2])}, "-1"),
        ({"rewards": np.zeros(3)}, "3"),
        ({"observations": np.zeros((5, 6))}, "6"),
        ({"observations": np.full((4, 7), np.inf)}, "inf|finite"),
    ],
)
def test_demonstrations_that_cannot_be_are_refused_and_leave_no_folder(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    arrays: dict[str, Any] = {
        "observations": np.zeros((4, 7), np.float32),
        "actions": np.array([0, 1, 2, 3]),
        "rewards": np.ones(4),
        "terminated": np.array([False, False, False, True]),
    }
    arrays |= changes
    arrays["terminated"] = arrays["terminated"][: len(arrays["actions"])]
    np.savez(tmp_path / "demos.npz", **arrays)
    with pytest.raises(NewGamePlusError) as caught:
        agent_run(tmp_path, "run", data={"path": str(tmp_path / "demos.npz")})
    assert re.search(said, str(caught.value))
    assert all(problem.remedy for problem in caught.value.problems)
    assert not (tmp_path / "run").exists()
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none"):
        agent_run(tmp_path, "run", data={"path": str(tmp_path / "none")})


def test_rewards_of_a_billion_tear_nothing_apart(demos: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    def rich(episodes: list[Any]) -> list[Any]:
        return [replace(one, rewards=(one.rewards * 0 + 1e9).astype(np.float32)) for one in episodes[:6]]

    made = rewrite(demos, tmp_path / "demos", rich)
    run = agent_run(tmp_path, "run", data={"path": str(made)}, train={"steps": 512}, evaluate={"baselines": []})
    weights = load_policy(run.model_folder).network.parameters()
    assert all(bool(torch.isfinite(weight).all()) for weight in weights)
    own = {"id": f"{BAD}:LargeReward", "count": 4, "vectorize": "sync"}
    run = agent_run(tmp_path, "rich", environment=own, train={"steps": 512}, evaluate={"episodes": 4})
    weights = load_policy(run.model_folder).network.parameters()
    assert all(bool(torch.isfinite(weight).all()) for weight in weights)
    assert evaluation_of(run)["arms"][0]["games"][own["id"]]["mean"]["value"] > 9e8


def test_copies_of_demonstrations_are_left_out_and_counted(demos: Path, tmp_path: Path) -> None:
    made = rewrite(demos, tmp_path / "demos", lambda all_: [*all_[:3], *all_[:3], *all_[:3], *all_[:2]])
    recipe = agent_recipe(tmp_path, data={"path": str(made)}, train={"steps": 0}, evaluate={"baselines": []})
    game = load_agent_game(recipe)
    assert len(game.notes) == 4
    assert "5 more" in game.notes[-1]
    assert len(check(recipe)["left_out"]) == 8  # each of them, for who wants to know
    notes = evaluation_of(fit(recipe, tmp_path / "run"))["notes"]
    assert sum("the same as" in note for note in notes) == 3


def test_damaged_demonstrations_are_left_out_if_that_is_wanted(demos: Path, tmp_path: Path) -> None:
    made = tmp_path / "demos.npz"
    game = episodes_of(demos)
    assert game.learned is not None
    episodes = list(game.learned.episodes)[:4]
    rewards = np.concatenate([one.rewards for one in episodes])
    rewards[2] = np.nan
    np.savez(
        made,
        observations=np.concatenate([one.observations["observation"][:-1] for one in episodes]),
        actions=np.concatenate([one.actions for one in episodes]),
        rewards=rewards,
        terminated=np.concatenate([np.arange(len(one)) == len(one) - 1 for one in episodes]),
    )
    quick = {"train": {"steps": 0}, "evaluate": {"episodes": 4, "baselines": []}}
    with pytest.raises(DataError, match=r"nan|finite"):
        agent_run(tmp_path, "refused", data={"path": str(made)}, **quick)
    assert not (tmp_path / "refused").exists()
    run = agent_run(tmp_path, "run", data={"path": str(made), "skip_bad": True}, **quick)
    assert any("demos.npz" in note for note in evaluation_of(run)["notes"])


# --- games that break their promises -----------------------------------------------------------------------------


def fragile(folder: Path, what: str) -> dict[str, Any]:
    """Return a game that breaks its promises as long as a file is there, though not at once."""
    (folder / "fragile.py").write_text(
        f"import os, signal\nfrom pathlib import Path\nimport gymnasium, numpy as np\n\n"
        f"BAD = Path({str(folder / 'bad')!r})\n\n"
        "class Game(gymnasium.Env):\n"
        "    def __init__(self):\n"
        "        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)\n"
        "        self.action_space = gymnasium.spaces.Discrete(2)\n"
        "        self.steps = self.all = 0\n"
        "    def seen(self):\n"
        "        return np.array([self.steps / 10, self.np_random.random()], np.float32)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        super().reset(seed=seed)\n"
        "        self.steps = 0\n"
        "        return self.seen(), {}\n"
        "    def step(self, action):\n"
        "        self.steps += 1\n"
        "        self.all += 1\n"
        "        if self.all > 70 and BAD.exists():\n"
        f"            {what}\n"
        "        return self.seen(), float(action), self.steps >= 10, False, {}\n"
    )
    return {"id": f"{folder / 'fragile.py'}:Game", "count": 4}


BROKEN = {
    "raises": "raise RuntimeError('the dragon is missing')",
    "nan": "return np.full(2, np.nan, np.float32), 0.0, False, False, {}",
    "spaces": "return np.zeros(3, np.float32), 0.0, False, False, {}",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_game_that_fails_in_the_middle_loses_nothing(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = fragile(tmp_path, BROKEN[how]) | {"vectorize": "sync"}
    quick: dict[str, Any] = {
        "environment": environment,
        "train": {"steps": 768, "checkpoints": 8},
        "evaluate": {"episodes": 4, "baselines": []},
    }
    whole = agent_run(tmp_path, "whole", **quick)
    (tmp_path / "bad").touch()
    if how == "killed":
        quick["environment"] = environment | {"vectorize": "process"}
    with pytest.raises(GameError) as caught:
        agent_run(tmp_path, "run", **quick)
    assert "fragile.py" in str(caught.value)
    assert list((tmp_path / "run" / "checkpoints").glob("fine-tuned*"))
    assert f"ngp resume {tmp_path / 'run'}" in capsys.readouterr().err
    (tmp_path / "bad").unlink()
    run = resume(tmp_path / "run")
    weights = "model/model.safetensors"
    assert (run.folder / weights).read_bytes() == (whole.folder / weights).read_bytes()


def test_a_game_that_ignores_seeds_is_noted(tmp_path: Path) -> None:
    plan = check(agent_recipe(tmp_path, environment={"id": f"{BAD}:IgnoresSeeds"}))
    assert any("seed" in note for note in plan["notes"])


# --- the from-scratch baseline of starts with a borrowed backbone ------------------------------------------------


def test_the_scratch_baseline_of_a_borrowed_backbone_is_one_that_can_learn(tmp_path: Path) -> None:
    own = tmp_path / "pictures.py"
    own.write_text(
        "import gymnasium, numpy as np\n\n"
        "class Game(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(0, 255, (48, 48, 3), np.uint8)\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        super().reset(seed=seed)\n"
        "        return np.zeros((48, 48, 3), np.uint8), {}\n"
        "    def step(self, action):\n"
        "        return np.zeros((48, 48, 3), np.uint8), 0.0, True, False, {}\n"
    )
    recipe = agent_recipe(
        tmp_path, environment={"id": f"{own}:Game"}, model={"start": "behavior:bundled:doom-clips"}
    )  # fmt: skip
    game = load_agent_game(recipe)
    start = load_start(recipe, game)
    fresh = fresh_policy(recipe, game, start)
    assert start.shape.backbone
    assert not fresh.shape.backbone
    assert not [one for one in fresh.network.modules() if isinstance(one, torch.nn.modules.batchnorm._BatchNorm)]


def test_the_scratch_baseline_of_a_run_is_built_alike_with_other_weights(scratch: Run, tmp_path: Path) -> None:
    recipe = agent_recipe(tmp_path, model={"start": f"run:{scratch.folder}", "actor": [64, 64]})
    game = load_agent_game(recipe)
    start = load_start(recipe, game)
    fresh = fresh_policy(recipe, game, start)
    assert fresh.shape == start.shape
    assert not torch.equal(fresh.network.actor_head.weight, start.network.actor_head.weight)
    again = fresh_policy(recipe, game, start)
    assert torch.equal(fresh.network.actor_head.weight, again.network.actor_head.weight)
