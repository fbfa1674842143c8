"""Self-training in the scene scenario: what is learned is proven, new and apart; runs resume exactly; reports tell."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.scenarios.test_scene import Stopped, evaluation_of, recipe_of, stop_after, without_times
from tests.scene_maps import write_tmx_maps

from newgameplus.errors import RunError
from newgameplus.evaluate.scene_metrics import NearestLevels, edit_distance
from newgameplus.finetune import fit, resume
from newgameplus.games.rules.contract import Answer
from newgameplus.pretrained.tile_model import load_tile_model
from newgameplus.recipe import SceneRecipe
from newgameplus.run import Run
from newgameplus.scenarios import scene, scene_self_training
from newgameplus.scenarios.scene import SceneScenario
from newgameplus.scenarios.scene_costs import estimate_costs
from newgameplus.scenarios.scene_data import scene_recipe
from newgameplus.scenarios.scene_self_training import SelfMade, describe_rounds
from newgameplus.train import tile_loop

TRAIN = {"self_training_rounds": 2, "self_training_levels": 10, "self_training_steps": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("self-training")
    write_tmx_maps(folder / "maps", 6)
    return folder


def rounds_recipe(place: Path, **parts: Any) -> SceneRecipe:
    evaluate = {"baselines": ["scratch"], "samples": 2, "deliver": 1, "requests": 0}
    settings = {"train": TRAIN, "evaluate": evaluate, "generate": {"min_distance": 3}} | parts
    return recipe_of(place, **settings)


@pytest.fixture(scope="module", autouse=True)
def small_chunks() -> Any:
    """Save after every four levels, so that a round has several chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene_self_training, "_CHUNK", 4)
        yield


@pytest.fixture(scope="module")
def whole(place: Path) -> Run:
    return fit(rounds_recipe(place), place / "whole")


def test_both_networks_take_the_same_rounds_and_the_run_tells_what_came_of_them(whole: Run) -> None:
    evaluation = evaluation_of(whole)
    arms = {arm["name"]: arm for arm in evaluation["arms"]}
    assert arms["fine-tuned"]["training"]["steps"] == arms["scratch"]["training"]["steps"] == 4 + 2 * 2
    _, card = load_tile_model(whole.model_folder)
    assert len(card["self_training"]) == 2
    for one in card["self_training"]:
        assert one["made"] == 10 >= one["playable"] >= one["new"] >= one["learned"] >= 0
    assert sum(one["learned"] for one in card["self_training"]) > 0
    told = [note for note in evaluation["notes"] if "made 20 levels" in note]
    assert len(told) == 2
    assert told[0].startswith("fine-tuned, rounds 1 to 2")
    assert told[0] in (whole.folder / "report.html").read_text()
    phases = [row["phase"] for row in whole.metrics() if row["arm"] == "fine-tuned"]
    assert list(dict.fromkeys(phases)) == ["full", "round 1", "round 2"]


#: Where a self-training is interrupted: module, attribute, at which call, and whether before it is done.
STAGES = {
    "a chunk of levels": (scene_self_training, "sample_raw", 2, True),
    "solving them": (scene_self_training, "judge", 1, True),
    "a step of a round": (tile_loop._Loop, "_step", 5, False),
    "the last step of a round": (tile_loop._Loop, "_step", 6, False),
    "levels of the second round": (scene_self_training, "sample_raw", 4, False),
    "the last step of all": (tile_loop._Loop, "_step", 8, False),
    "saving the model": (scene, "save_tile_model", 1, True),
    "levels of scratch": (scene_self_training, "sample_raw", 8, True),
}
QUICK = ("a chunk of levels", "the last step of a round")


@pytest.mark.parametrize(
    "stage", [stage if stage in QUICK else pytest.param(stage, marks=pytest.mark.slow) for stage in STAGES]
)
def test_an_interrupted_self_training_resumes_to_the_same_weights_and_evaluation(
    stage: str, whole: Run, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, calls, before = STAGES[stage]
    with monkeypatch.context() as patched:
        patched.setattr(module, name, stop_after(calls, getattr(module, name), before))
        with pytest.raises(Stopped):
            fit(rounds_recipe(place), tmp_path / "run")
    run = resume(tmp_path / "run")
    assert without_times(evaluation_of(run)) == without_times(evaluation_of(whole))
    model = "model/model.safetensors"
    assert (run.folder / model).read_bytes() == (whole.folder / model).read_bytes()


def self_made(run: Run, whole: Run) -> SelfMade:
    """What a run whose first training is over makes of itself."""
    model, _ = load_tile_model(whole.model_folder)
    return SelfMade(run, SceneScenario(run).load(), scene_recipe(run), model, "fine-tuned")


def test_what_is_learned_is_proven_new_and_apart(place: Path, whole: Run, tmp_path: Path) -> None:
    run = Run.create(rounds_recipe(place), tmp_path / "run")
    made = self_made(run, whole)
    examples = made.gather(1)
    pool = [level for level, _ in made._pool]
    assert len(pool) == made.rounds[0]["learned"] > 0
    assert len(examples) >= len(pool)  # with mirror images
    nearest = NearestLevels(made.game.known)
    for level, answer in made._pool:
        assert answer.playable
        assert answer.proof is not None
        assert made.game.rules.replay(level, answer.proof) == ""
        assert nearest.find(level).distance >= 3
    assert all(edit_distance(one, other) >= 3 for one, other in itertools.combinations(pool, 2))
    assert len(made.gather(2)) >= len(examples)  # levels of earlier rounds stay


def test_levels_that_are_kept_are_not_made_again(
    place: Path, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(rounds_recipe(place), tmp_path / "run")
    made = self_made(run, whole)
    made.gather(1)
    monkeypatch.setattr(scene_self_training, "sample_raw", lambda *_, **__: pytest.fail("made again"))
    again = SelfMade(run, made.game, made.recipe, made.model, "fine-tuned")
    again.gather(1)
    assert again.rounds == made.rounds
    assert [level.tiles.tolist() for level, _ in again._pool] == [level.tiles.tolist() for level, _ in made._pool]


def test_a_proof_that_does_not_hold_teaches_nothing(
    place: Path, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(rounds_recipe(place), tmp_path / "run")
    made = self_made(run, whole)
    monkeypatch.setattr(type(made.game.rules), "replay", lambda *_: "step 1: through a wall")
    assert made.gather(1) == []
    assert made.rounds[0]["playable"] == 0


def test_a_level_that_is_not_proven_again_is_left_out(
    place: Path, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules of one's own may change their mind; then the level is simply not learned."""
    run = Run.create(rounds_recipe(place), tmp_path / "run")
    made = self_made(run, whole)
    made.gather(1)
    again = SelfMade(run, made.game, made.recipe, made.model, "fine-tuned")
    monkeypatch.setattr(scene_self_training, "judge", lambda levels, *_: [Answer("undecided") for _ in levels])
    assert again.gather(1) == []


def test_damaged_notes_name_their_file(place: Path, whole: Run, tmp_path: Path) -> None:
    run = Run.create(rounds_recipe(place), tmp_path / "run")
    made = self_made(run, whole)
    made.gather(1)
    note = run.folder / "checkpoints" / "fine-tuned.round-1.levels-1.json"
    content = json.loads(note.read_text())
    for damaged in ("{", json.dumps({"made": 4}), json.dumps(content | {"good": [["a", "b"]]})):
        note.write_text(damaged)
        with pytest.raises(RunError) as caught:
            SelfMade(run, made.game, made.recipe, made.model, "fine-tuned").gather(1)
        assert "levels-1.json" in caught.value.source
        assert "delete this file" in caught.value.remedy


@pytest.mark.slow
def test_low_rank_updates_are_merged_before_levels_are_made(place: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    settings = {"baselines": [], "samples": 1, "deliver": 0, "requests": 0}
    run = fit(rounds_recipe(place, adapt={"strategy": "lora", "lora_rank": 2}, evaluate=settings), tmp_path / "run")
    _, content = load_tile_model(run.model_folder)
    assert content["network"]["family"] == "tile-decoder"
    assert len(content["self_training"]) == 2


def test_costs_count_rounds(place: Path) -> None:
    shutil.rmtree(place / "costs", ignore_errors=True)
    run = Run.create(rounds_recipe(place), place / "costs")
    scenario = SceneScenario(run)
    game = scenario.load()
    model = scenario.choose(game)
    some = estimate_costs(scenario.recipe, model, game, 0.1)
    none = rounds_recipe(place, train={"self_training_rounds": 0})
    without = estimate_costs(none, model, game, 0.1)
    assert some["steps"] == without["steps"] + 4
    assert some["estimated_seconds"] > without["estimated_seconds"]


def test_rounds_are_described_in_a_line() -> None:
    one = {"made": 9, "playable": 5, "new": 4, "learned": 3}
    assert describe_rounds("x", [one], 4) == "x, round 4: made 9 levels, 5 playable, 4 of them new, 3 learned"
    assert describe_rounds("x", [one, one]).startswith("x, rounds 1 to 2: made 18 levels")
