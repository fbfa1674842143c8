"""The whole road for numbers over time: init, check, fit, evaluate, predict."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.sequence_files import KINDS, draw, write_csv, write_folder

from newgameplus.errors import DataError, NewGamePlusError
from newgameplus.recipe import Recipe
from newgameplus.run import Run
from newgameplus.verbs import check, evaluate, fit, init, predict


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "sequences", 12, seed=0)


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = Recipe.model_validate(
        {
            "data": {"path": str(folder), "test": 0.34},
            "model": {"start": "sequence:cnn", "options": {"steps": 24, "width": 32}},
            "adapt": {"strategy": "full"},
            "train": {"epochs": 12, "batch_size": 8, "threads": 1, "learning_rate": 0.002},
        }
    )
    return fit(recipe, tmp_path_factory.mktemp("runs") / "first")


def test_it_learns_far_above_chance_and_draws_the_channels(finished: Run) -> None:
    evaluation = json.loads((finished.folder / "evaluation.json").read_text())
    arms = {arm["name"]: arm for arm in evaluation["arms"]}
    assert set(arms) == {"fine-tuned", "majority", "random-forest", "probe", "scratch"}
    assert arms["fine-tuned"]["metrics"]["accuracy"]["value"] > 0.7
    assert "summary statistics" in arms["random-forest"]["note"]
    report = (finished.folder / "report.html").read_text()
    assert "data:image/svg+xml" in report
    assert "24 steps of" in report


def test_new_sequences_are_named_and_evaluated(finished: Run, tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    for kind in KINDS:
        values = draw(kind, generator, 30)
        write_csv(tmp_path / "new" / f"{kind}.csv", values[:, [2, 0, 1]], ("speed", "x", "y"))  # by name, in any order
    answers = predict(finished, tmp_path / "new")
    assert sum(Path(answer.path).stem == answer.label for answer in answers) >= 2
    assert [answer.end for answer in answers] == [1.0, 1.0, 1.0]
    result = evaluate(finished, write_folder(tmp_path / "other", 4, seed=9))
    assert result["arms"][0]["metrics"]["accuracy"]["value"] > 0.6
    write_csv(tmp_path / "less.csv", np.ones((5, 2)), ("x", "y"))
    with pytest.raises(DataError, match="lacks speed"):
        predict(finished, tmp_path / "less.csv")


def test_init_writes_a_recipe_that_passes_its_check(folder: Path, tmp_path: Path) -> None:
    text = init("behavior", folder)
    (tmp_path / "recipe.yaml").write_text(text)
    assert "3 channels: x, y, speed" in text
    plan = check(tmp_path / "recipe.yaml")
    assert plan["model"] == "sequence:gru"
    assert plan["channels"] == ["x", "y", "speed"]


@pytest.mark.parametrize(
    ("adapt", "message"),
    [
        ({"after": "wise-ft", "strategy": "lp-ft"}, "there are none"),
        ({"after": "wise-ft", "strategy": "full"}, "full has none"),
        ({"strategy": "lora"}, "peft"),
    ],
)
def test_check_refuses_what_the_fit_would(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapt: dict[str, str], message: str
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)  # not installed
    model = {"start": "sequence:cnn", "options": {"steps": 24, "width": 8}}
    recipe = Recipe.model_validate({"data": {"path": str(folder)}, "model": model, "adapt": adapt})
    with pytest.raises(NewGamePlusError, match=message):
        check(recipe)
    with pytest.raises(NewGamePlusError, match=message):
        fit(recipe, tmp_path / "run")


def test_models_and_data_of_different_kinds_are_told_apart(folder: Path) -> None:
    recipe = Recipe.model_validate({"data": {"path": str(folder)}, "model": {"start": "bundled:doom-clips"}})
    for verb in (check, fit):
        with pytest.raises(NewGamePlusError, match="holds numbers over time") as caught:
            verb(recipe)
        assert "sequence:gru" in caught.value.problems[0].remedy
