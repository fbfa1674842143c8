"""The scene scenario from maps to evaluation: what a run holds, how it resumes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.scene_maps import TMX_MEANINGS, quick_recipe, write_text_maps, write_tmx_maps

from newgameplus.errors import DataError, RunError
from newgameplus.finetune import fit, resume
from newgameplus.games.scenes import Level
from newgameplus.pretrained.tile_model import load_tile_model
from newgameplus.recipe import SceneRecipe
from newgameplus.run import Run
from newgameplus.scenarios import scene, scene_cards, scene_evaluation, scene_start
from newgameplus.train import tile_loop
from newgameplus.verbs import compare

ARMS = ("zero-shot", "scratch", "markov", "nearest-copy")
DATA = {"tiles": TMX_MEANINGS, "layers": ["play"]}


class Stopped(KeyboardInterrupt):
    """An interruption at a place of a test's choice."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene-runs")
    write_tmx_maps(folder / "maps", 6)
    return folder


def recipe_of(place: Path, name: str = "whole", **parts: Any) -> SceneRecipe:
    settings = {"data": DATA, "evaluate": {"baselines": list(ARMS), "samples": 3, "deliver": 2, "requests": 2}}
    for part, values in parts.items():
        settings[part] = {**settings.get(part, {}), **values}
    return quick_recipe(place / "maps", place, name=name, **settings)


@pytest.fixture(scope="module")
def whole(place: Path) -> Run:
    return fit(recipe_of(place), place / "whole")


def evaluation_of(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.folder / "evaluation.json").read_text())
    return found


def without_times(content: Any) -> Any:
    """Return an evaluation without what a clock said."""
    if isinstance(content, dict):
        return {key: without_times(value) for key, value in content.items() if "seconds" not in key}
    return [without_times(value) for value in content] if isinstance(content, list) else content


# --- a whole fit -------------------------------------------------------------------------------------------------


def test_a_fit_leaves_a_model_an_evaluation_and_a_report(whole: Run) -> None:
    names = {path.name for path in whole.folder.iterdir()}
    assert {"recipe.yaml", "environment.json", "evaluation.json", "report.html", "model", "metrics.jsonl"} <= names
    assert "checkpoints" not in names
    evaluation = evaluation_of(whole)
    assert next(arm["name"] for arm in evaluation["arms"]) == "fine-tuned"
    assert {arm["name"] for arm in evaluation["arms"]} == {"fine-tuned", *ARMS}
    assert evaluation["verdict"]["sentence"]
    assert evaluation["held_out"] == 1
    assert evaluation["training_levels"]["count"] == 5
    arms = {arm["name"]: arm for arm in evaluation["arms"]}
    assert arms["fine-tuned"]["delivered"]["asked"] == 2
    assert arms["fine-tuned"]["control"]["requests"] == len(evaluation["requests"]) == 2
    assert arms["fine-tuned"]["training"]["steps"] == 4
    assert arms["zero-shot"]["training"] is None
    assert arms["scratch"]["training"]["steps"] == 4
    assert arms["markov"]["bits_per_tile"] is None
    assert arms["fine-tuned"]["bits_per_tile"]["value"] > 0
    assert arms["nearest-copy"]["kind"] == "reference"
    assert len(evaluation["tiles"]) == 5
    report = (whole.folder / "report.html").read_text()
    assert all(arm["title"] in report for arm in evaluation["arms"])
    assert "data:image/png" in report


def test_the_model_of_a_run_knows_its_tiles_measures_and_values(whole: Run) -> None:
    model, content = load_tile_model(whole.model_folder)
    assert [tile.name for tile in model.tiles] == ["tiles#1", "tiles#2", "tiles#0", "tiles#5", "tiles#3"]
    assert set(content["values"]) == set(model.measures)
    assert all(len(values) == 5 for values in content["values"].values())
    assert {origin["tile"] if "tile" in origin else origin["name"] for origin in content["origins"]} >= {"tiles#0"}


def test_two_fits_of_one_recipe_give_the_same_evaluation(whole: Run, place: Path, tmp_path: Path) -> None:
    again = fit(recipe_of(place), tmp_path / "again")
    assert without_times(evaluation_of(again)) == without_times(evaluation_of(whole))


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
    "solving the maps": (scene, "load_scene_game", 1, False),
    "surgery": (scene_start, "change_vocabulary", 2, True),
    "a step of fine-tuning": (tile_loop._Loop, "_step", 3, False),
    "the last check of fine-tuning": (tile_loop._Loop, "_check", 3, False),
    "saving the model": (scene, "save_tile_model", 1, False),
    "a step of scratch": (tile_loop._Loop, "_step", 6, False),
    "saving scratch": (scene, "save_tile_model", 3, True),
    "raw samples": (scene_evaluation, "sample_raw", 2, True),
    "a delivery": (scene_evaluation, "_deliver", 1, True),
    "requests": (scene_evaluation, "try_control", 1, False),
    "baseline samples": (scene_evaluation, "draw_levels", 2, True),
    "the report": (scene_cards, "write_run_report", 1, True),
}


QUICK = ("a step of fine-tuning", "saving the model", "a delivery")
"""Stages that are tried whenever tests run; the others are for the whole suite."""


@pytest.mark.parametrize(
    "stage", [stage if stage in QUICK else pytest.param(stage, marks=pytest.mark.slow) for stage in STAGES]
)
def test_an_interrupted_fit_resumes_to_the_same_samples_and_evaluation(
    stage: str, whole: Run, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, calls, before = STAGES[stage]
    with monkeypatch.context() as patched:
        patched.setattr(module, name, stop_after(calls, getattr(module, name), before))
        with pytest.raises(Stopped):
            fit(recipe_of(place), tmp_path / "run")
    run = resume(tmp_path / "run")
    assert without_times(evaluation_of(run)) == without_times(evaluation_of(whole))
    assert (run.model_folder / "model.safetensors").read_bytes() == (
        whole.model_folder / "model.safetensors"
    ).read_bytes()


def test_a_finished_run_is_not_resumed(whole: Run) -> None:
    with pytest.raises(RunError, match="nothing to resume"):
        resume(whole.folder)


def interrupted(place: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **parts: Any) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(tile_loop._Loop, "_step", stop_after(1, tile_loop._Loop._step))
        with pytest.raises(Stopped):
            fit(recipe_of(place, **parts), folder)


def test_a_recipe_or_maps_that_changed_before_a_resume_are_named(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = tmp_path / "maps"
    shutil.copytree(place / "maps", maps)
    interrupted(tmp_path, tmp_path / "run", monkeypatch)
    recipe = (tmp_path / "run" / "recipe.yaml").read_text()
    (tmp_path / "run" / "recipe.yaml").write_text(recipe.replace("batch_size: 2", "batch_size: 3"))
    with pytest.raises(RunError, match="this recipe is not the one") as caught:
        resume(tmp_path / "run")
    assert "train.batch_size" in caught.value.remedy or "train" in caught.value.remedy
    (tmp_path / "run" / "recipe.yaml").write_text(recipe)
    room = (maps / "room3.tmx").read_text()
    (maps / "room3.tmx").write_text(room.replace("2,1,1,", "2,1,2,", 1))
    with pytest.raises(RunError, match="these are not the maps") as caught:
        resume(tmp_path / "run")
    assert "room3" in caught.value.remedy
    (maps / "room3.tmx").write_text("<map")
    with pytest.raises(RunError, match="cannot be read any more") as caught:
        resume(tmp_path / "run")
    assert "room3" in str(caught.value)
    maps.rename(tmp_path / "away")
    with pytest.raises(RunError, match="cannot be read any more"):
        resume(tmp_path / "run")
    (tmp_path / "away").rename(maps)
    (maps / "room3.tmx").write_text(room)
    assert resume(tmp_path / "run").finished


def test_damaged_notes_of_samples_name_their_file(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(scene_evaluation, "_deliver", stop_after(1, scene_evaluation._deliver, before=True))
        with pytest.raises(Stopped):
            fit(recipe_of(place), tmp_path / "run")
    note = tmp_path / "run" / "checkpoints" / "fine-tuned.levels.json"
    content = json.loads(note.read_text())
    for damaged in ("{", json.dumps(content | {"levels": [["a", "b"]]}), json.dumps({"levels": content["levels"]})):
        note.write_text(damaged)
        with pytest.raises(RunError, match=r"fine-tuned\.levels\.json|damaged|cannot be read") as caught:
            resume(tmp_path / "run")
        assert "fine-tuned.levels.json" in caught.value.source
        assert "delete this file" in caught.value.remedy
    note.unlink()
    assert resume(tmp_path / "run").finished


# --- what is refused before training -----------------------------------------------------------------------------


def test_rules_that_no_map_passes_are_refused_before_training_with_a_picture(place: Path, tmp_path: Path) -> None:
    wrong = {**TMX_MEANINGS, "tiles#0": ["solid"]}
    folder = tmp_path / "run"
    with pytest.raises(DataError, match="none of the 6 maps can be played") as caught:
        fit(recipe_of(place, data={"tiles": wrong}), folder)
    assert "room0" in caught.value.message
    assert "data.tiles" in caught.value.remedy
    picture = folder / "first-failing-map.png"
    assert str(picture) in caught.value.remedy
    assert picture.stat().st_size > 100
    assert [path.name for path in folder.iterdir()] == ["first-failing-map.png"]
    quick = {"baselines": [], "samples": 1, "deliver": 0, "requests": 0}
    run = fit(recipe_of(place, evaluate=quick), folder)  # the same folder does once the meanings are right
    assert run.finished
    assert not picture.exists()


def test_maps_too_hard_for_the_budget_ask_for_a_larger_one(place: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the 6 maps") as caught:
        fit(recipe_of(place, data={"rules": "reachability"}, generate={"solver_nodes": 1}), tmp_path / "run")
    assert "generate.solver_nodes" in caught.value.remedy


def test_some_maps_that_fail_are_a_note(place: Path, tmp_path: Path) -> None:
    write_tmx_maps(tmp_path / "maps", 5)
    text = (tmp_path / "maps" / "room2.tmx").read_text()
    (tmp_path / "maps" / "room2.tmx").write_text(text.replace("4,2,", "1,2,").replace("4,\n", "1,\n"))
    quick = {"baselines": [], "samples": 1, "deliver": 0, "requests": 0}
    run = fit(recipe_of(tmp_path, evaluate=quick), tmp_path / "run")
    notes = evaluation_of(run)["notes"]
    assert any("1 of 5 maps cannot be played" in note and "room2" in note for note in notes)


# --- unusual maps ------------------------------------------------------------------------------------------------


def test_one_map_only_can_be_fitted(place: Path, tmp_path: Path) -> None:
    write_tmx_maps(tmp_path / "maps", 1)
    run = fit(recipe_of(tmp_path, evaluate={"baselines": ["markov"], "samples": 2, "requests": 2}), tmp_path / "run")
    evaluation = evaluation_of(run)
    assert evaluation["held_out"] == 0
    assert evaluation["training_levels"]["count"] == 1
    assert evaluation["arms"][0]["bits_per_tile"] is None


def test_levels_of_different_sizes_are_made_in_the_sizes_of_the_maps(tmp_path: Path) -> None:
    shapes = ((11, 12), (13, 16), (12, 20))
    for number, (height, width) in enumerate(shapes):
        write_text_maps(tmp_path / "maps" / str(number), "dungeon", 2, height=height, width=width)
    legend = tmp_path / "maps" / "0" / "legend.json"
    settings = {"baselines": ["wave-function-collapse"], "samples": 4, "deliver": 1, "requests": 0}
    run = fit(
        quick_recipe(
            tmp_path / "maps", tmp_path, data={"legend": str(legend), "test": 0.0}, evaluate=settings,
        ),
        tmp_path / "run",
    )  # fmt: skip
    evaluation = evaluation_of(run)
    assert evaluation["training_levels"] == {"count": 6, "heights": [11, 13], "widths": [12, 20]}
    assert evaluation["arms"][0]["raw"]["samples"] == 4


def test_rows_and_low_rank_updates_and_several_candidates(place: Path, tmp_path: Path) -> None:
    recipe = recipe_of(
        place,
        data={"scan": "rows"},
        adapt={"strategy": "lora", "lora_rank": 2},
        model={"start": ["bundled:tiles"]},
        evaluate={"baselines": [], "samples": 2, "deliver": 1, "requests": 0},
    )
    run = fit(recipe, tmp_path / "run")
    assert evaluation_of(run)["arms"][0]["raw"]["samples"] == 2
    _, content = load_tile_model(run.model_folder)
    assert content["network"]["family"] == "tile-decoder"  # the updates are merged


# --- evaluating and comparing ------------------------------------------------------------------------------------


def test_a_run_is_compared_with_another(whole: Run, place: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(whole.folder, other)
    comparison = compare([whole.folder, other])
    assert [row["name"] for row in comparison["runs"]] == [str(whole.folder), str(other)]
    assert comparison["runs"][1]["difference"]["value"] == 0.0
    assert comparison["sentence"]


def test_levels_of_a_level_note_come_back_as_they_were(whole: Run, tmp_path: Path) -> None:
    run = Run(tmp_path, whole.recipe, {})
    level = Level.from_text("#.\n.#", {"#": ["solid"], ".": ["empty"]}, "one")

    class Game:
        levels = (level,)

    made = scene_evaluation._kept_levels(run, Game(), "arm", lambda: ([level], {"seconds": 1.0}))  # type: ignore[arg-type]
    kept = scene_evaluation._kept_levels(run, Game(), "arm", lambda: pytest.fail("made twice"))  # type: ignore[arg-type]
    assert kept[0][0].name == made[0][0].name == "one"
    assert (kept[0][0].tiles == level.tiles).all()
    assert kept[1] == {"seconds": 1.0}
