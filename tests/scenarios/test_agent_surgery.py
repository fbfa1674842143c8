"""A patch changed what is seen and done: the policy is operated on, proved, measured, and goes on from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.agent_runs import ARENA, agent_run, arms_of, evaluation_of

from newgameplus.deploy.playing import play
from newgameplus.errors import NewGamePlusError, RecipeError, RunError, SurgeryError
from newgameplus.finetune import resume
from newgameplus.games.toy_arena import FIRST_ACTIONS, FIRST_FEATURES
from newgameplus.games.toy_environments import register
from newgameplus.pretrained.policy import load_policy
from newgameplus.run import Run
from newgameplus.scenarios import agent_surgery
from newgameplus.scenarios.agent_player import open_player
from newgameplus.scenarios.agent_surgery import operate_on, parse_widths

FEATURES, ACTIONS = list(FIRST_FEATURES), list(FIRST_ACTIONS)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return agent_run(tmp_path_factory.mktemp("surgery"), "old", evaluate={"episodes": 2})


def same_play(old: Run, new: str | Path, **options: Any) -> None:
    """Hold two runs to the same episodes; the likeliest action is taken."""
    one = play(str(old.folder), 8, seed=2, temperature=0.0)["episodes"]
    assert play(str(new), 8, seed=2, temperature=0.0, **options)["episodes"] == one


@pytest.mark.parametrize(
    "features",
    [[*FEATURES, "stamina"], ["stamina", *FEATURES[::-1]], ["potions", *FEATURES[3:], *FEATURES[:3], "last_damage"]],
)
def test_more_features_in_any_order_play_the_same(old: Run, tmp_path: Path, features: list[str]) -> None:
    done = operate_on(str(old.folder), tmp_path / "new", options={"features": features}, episodes=8)
    assert done["proof"]["preserved"]
    assert done["run"] == str(tmp_path / "new")
    same_play(old, tmp_path / "new")
    before = play(str(old.folder), 8, seed=evaluation_seed(tmp_path / "new"))["episodes"]
    assert done["score"]["value"] == pytest.approx(np.mean([row["return"] for row in before]))
    assert load_policy(tmp_path / "new" / "model").facts["proof"]["preserved"]


def evaluation_seed(folder: Path) -> int:
    """Return the seed that episodes at step 0 begin with."""
    assert (folder / "evaluation.json").is_file()
    return agent_surgery._SEED


def test_a_removed_feature_is_a_loss_that_is_said(old: Run, tmp_path: Path) -> None:
    options = {"features": [one for one in FEATURES if one != "enemy_raised"]}
    done = operate_on(str(old.folder), tmp_path / "new", options=options, episodes=0)
    assert "removed  enemy_raised (4)" in done["plan_text"]
    assert done["proof"]["raw"]["probability"] > done["proof"]["exact"]["probability"]
    assert "still seen" in done["proof_text"]
    assert done["score"] is None
    assert not Run.open(tmp_path / "new").finished
    assert play(str(tmp_path / "new"), 2)["episodes"]


def test_new_actions_start_at_the_probability_asked_for(old: Run, tmp_path: Path) -> None:
    options = {"actions": ["kick", *ACTIONS, "dash"]}
    operate_on(str(old.folder), tmp_path / "new", options=options, new_action_probability=0.2, episodes=0)
    policy = open_player(tmp_path / "new").policy
    seen = {"observation": np.random.default_rng(0).random((256, 7)).astype(np.float32)}
    acted = np.concatenate([policy.act(seen, generator=torch.Generator().manual_seed(n))[0] for n in range(8)])
    assert [(acted == new).mean() for new in (0, 7)] == pytest.approx([0.2, 0.2], abs=0.05)
    assert load_policy(old.model_folder).shape.actions.names == tuple(ACTIONS)


def test_wider_layers_play_the_same(old: Run, tmp_path: Path) -> None:
    done = operate_on(str(old.folder), tmp_path / "new", wider="actor=32 critic=24", episodes=0)
    assert done["proof"]["preserved"]
    shape = load_policy(tmp_path / "new" / "model").shape
    assert (shape.actor, shape.critic) == ((32,), (24,))
    same_play(old, tmp_path / "new")


def test_only_a_plan_writes_nothing(old: Run, tmp_path: Path) -> None:
    found = operate_on(
        str(old.folder), tmp_path / "new", options={"features": [*FEATURES, "stamina"]}, plan_only=True
    )  # fmt: skip
    assert "stamina" in found["plan_text"]
    assert set(found) == {"plan", "plan_text"}
    assert not (tmp_path / "new").exists()
    json.dumps(found)


def test_a_finished_operation_is_a_run_with_plan_proof_and_report(old: Run, tmp_path: Path) -> None:
    options = {"features": [*FEATURES, "stamina"]}
    operate_on(f"run:{old.folder}", tmp_path / "new", options=options, episodes=4)
    run = Run.open(tmp_path / "new")
    assert run.finished
    names = {path.name for path in run.folder.iterdir()}
    assert {"surgery.json", "report.html", "evaluation.json", "model", "recipe.yaml"} <= names
    content = json.loads((run.folder / "surgery.json").read_text())
    assert content["proof"]["preserved"]
    assert content["plan"]
    evaluation = evaluation_of(run)
    assert evaluation["surgery"]["largest_difference"] <= evaluation["surgery"]["tolerance"]
    assert "Surgery" in (run.folder / "report.html").read_text()
    assert run.recipe.environment.options == options  # type: ignore[union-attr]


def test_a_fit_goes_on_from_an_operated_policy(old: Run, tmp_path: Path) -> None:
    options = {"features": ["stamina", *FEATURES], "actions": [*ACTIONS, "kick"]}
    operate_on(str(old.folder), tmp_path / "new", options=options, episodes=0)
    environment = {"id": ARENA, "count": 8, "options": options}
    run = agent_run(
        tmp_path, "fit", environment=environment, start=f"run:{tmp_path / 'new'}", evaluate={"episodes": 4}
    )  # fmt: skip
    assert set(arms_of(run)) == {"fine-tuned", "start", "scratch", "plain"}
    assert load_policy(run.model_folder).shape.actions.names[-1] == "kick"


def test_an_old_game_that_is_gone_does_not_matter(tmp_path: Path) -> None:
    factory = tmp_path / "old_game.py"
    factory.write_text("from newgameplus.games.toy_arena import Arena as Game\n")
    made = agent_run(
        tmp_path, "old", environment={"id": f"{factory}:Game", "count": 4}, train={"steps": 256},
        evaluate={"episodes": 2}
    )  # fmt: skip
    factory.unlink()
    done = operate_on(
        str(made.folder), tmp_path / "new", env=ARENA, options={"features": ["stamina", *FEATURES]}, episodes=2
    )  # fmt: skip
    assert done["proof"]["preserved"]
    assert done["score"]["value"] is not None


def test_a_policy_of_stable_baselines3_is_operated_on(tmp_path: Path) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    gym = pytest.importorskip("gymnasium")
    register()
    sb3.PPO("MlpPolicy", gym.make(ARENA), n_steps=64, seed=0, device="cpu").save(tmp_path / "old.zip")
    names = "observation:0..6->1..7,observation:0:new"
    done = operate_on(
        f"sb3:{tmp_path / 'old.zip'}", tmp_path / "new", env=ARENA, options={"features": ["stamina", *FEATURES]},
        map_obs=names, episodes=2,
    )  # fmt: skip
    assert done["proof"]["preserved"]
    one = play(f"sb3:{tmp_path / 'old.zip'}", 4, env=ARENA, seed=2, temperature=0.0)["episodes"]
    assert play(str(tmp_path / "new"), 4, seed=2, temperature=0.0)["episodes"] == one


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"map_obs": "hp"}, SurgeryError),
        ({"map_obs": "nothing:0..3->0..3"}, SurgeryError),
        ({"map_actions": "fly->strike"}, SurgeryError),
        ({"wider": "actor"}, RecipeError),
        ({"wider": "actor=8"}, SurgeryError),
        ({"wider": "arms=64"}, SurgeryError),
        ({"new_action_probability": 1.5, "options": {"actions": [*ACTIONS, "kick"]}}, NewGamePlusError),
        ({"memory_width": 64}, SurgeryError),
        ({"env": "ngp/Arna-v0"}, NewGamePlusError),
        ({"episodes": -1}, RecipeError),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_no_folder(
    old: Run, tmp_path: Path, settings: dict[str, Any], error: type[NewGamePlusError]
) -> None:
    with pytest.raises(error) as caught:
        operate_on(str(old.folder), tmp_path / "new", **{"episodes": 0, **settings})
    assert all(problem.remedy for problem in caught.value.problems)
    assert not (tmp_path / "new").exists()


def test_an_operated_policy_is_never_trained_over_by_a_resume(old: Run, tmp_path: Path) -> None:
    operate_on(str(old.folder), tmp_path / "new", wider="actor=32", episodes=0)
    before = (tmp_path / "new" / "model" / "model.safetensors").read_bytes()
    with pytest.raises(RunError, match="made by surgery") as caught:
        resume(tmp_path / "new")
    assert f"--from run:{tmp_path / 'new'}" in caught.value.remedy
    assert (tmp_path / "new" / "model" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("where", ["prove", "_measure"])
def test_an_operation_that_is_stopped_can_be_started_again(
    where: str, old: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(agent_surgery, where, stop)
        with pytest.raises(KeyboardInterrupt):
            operate_on(str(old.folder), tmp_path / "new", wider="actor=32", episodes=2)
    assert not (tmp_path / "new").exists()
    assert operate_on(str(old.folder), tmp_path / "new", wider="actor=32", episodes=0)["run"]


def test_a_folder_that_is_taken_is_refused(old: Run) -> None:
    with pytest.raises(RunError, match="nothing is overwritten"):
        operate_on(str(old.folder), old.folder, wider="actor=32")


def test_widths_are_read() -> None:
    assert parse_widths("actor=128,64 critic=256") == {"actor": [128, 64], "critic": [256]}
    assert parse_widths("") == {}
    for wrong in ("actor", "actor=", "actor=a", "actor=1,,2", "=3"):
        with pytest.raises(RecipeError):
            parse_widths(wrong)
