"""A saved run evaluated anew: fresh samples, against its own maps or others, and never over an older evaluation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.scene_maps import TMX_MEANINGS, quick_recipe, tmx_text, write_tmx_maps

from newgameplus.cli_text import evaluation_text
from newgameplus.errors import DataError, RunError
from newgameplus.finetune import fit
from newgameplus.run import Run
from newgameplus.scenarios.scene_evaluation import evaluate_scene_run
from newgameplus.verbs import evaluate


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("evaluate")
    write_tmx_maps(place / "maps", 5)
    data = {"tiles": TMX_MEANINGS, "layers": ["play"]}
    return fit(quick_recipe(place / "maps", place, data=data, evaluate={"deliver": 0, "requests": 0}), place / "run")


def test_a_run_is_evaluated_anew_with_fresh_samples(run: Run) -> None:
    before = (run.folder / "evaluation.json").read_bytes()
    first = evaluate(run.folder, samples=3)
    assert first["samples"] == 3
    assert {arm["name"] for arm in first["arms"]} == {"fine-tuned", "markov", "nearest-copy"}
    assert json.loads(Path(first["written_to"]).read_text()) == first
    again = evaluate(run.folder, samples=3)
    assert again["written_to"] != first["written_to"]
    assert [arm["raw"]["diversity"] for arm in again["arms"]] == [arm["raw"]["diversity"] for arm in first["arms"]]
    assert evaluate(run.folder, samples=3, seed=7)["seed"] == 7
    assert (run.folder / "evaluation.json").read_bytes() == before
    assert max(map(len, evaluation_text(first).splitlines())) <= 100


def test_a_run_is_held_against_other_maps_in_whatever_order_their_tiles_come(run: Run, tmp_path: Path) -> None:
    shutil.copy(Path(run.recipe.data.path) / "tiles.png", tmp_path)  # type: ignore[union-attr]
    for number, rows in enumerate((["@..g", "..#.", "...."], ["g#..", "...@", "#..."])):
        (tmp_path / f"small{number}.tmx").write_text(tmx_text(rows))
    found = evaluate_scene_run(run, tmp_path, samples=2)
    assert found["training_levels"] == {"count": 2, "heights": [3, 3], "widths": [4, 4]}
    (tmp_path / "strange.tmx").write_text(tmx_text(["@.g.", "...."]).replace("3,1,4", "3,8,4"))
    with pytest.raises(DataError, match="no map of the stack has"):
        evaluate_scene_run(run, tmp_path, samples=2)
    with pytest.raises(DataError, match="no such file"):
        evaluate_scene_run(run, tmp_path / "nowhere", samples=2)


def test_maps_that_moved_or_other_tiles_are_told(run: Run, tmp_path: Path) -> None:
    maps = Path(run.recipe.data.path)  # type: ignore[union-attr]
    maps.rename(tmp_path / "away")
    try:
        with pytest.raises(RunError, match="cannot be read any more") as caught:
            evaluate_scene_run(run, samples=1)
        assert str(maps) in caught.value.source
        maps.mkdir()
        (maps / "room.tmx").write_text(tmx_text(["g...", "..@."]))
        with pytest.raises(RunError, match="other tiles"):
            evaluate_scene_run(run, samples=1)
    finally:
        shutil.rmtree(maps, ignore_errors=True)
        (tmp_path / "away").rename(maps)
