"""WiSE-FT and soups in a run: refused where nothing could choose, and the same after an interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.recordings import record

from newgameplus.adapt.saving import load_classifier
from newgameplus.errors import NewGamePlusError, RecipeError
from newgameplus.recipe import Recipe
from newgameplus.scenarios import behavior_training
from newgameplus.verbs import check, fit, resume


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data") / "clips", videos=8, seed=0)


def make_recipe(clips: Path, validation: float = 0.25, **adapt: Any) -> Recipe:
    content = {
        "data": {"path": str(clips), "test": 0.4, "validation": validation},
        "adapt": adapt,
        "train": {"epochs": 4, "batch_size": 16, "threads": 1},
        "evaluate": {"baselines": ["majority"], "resamples": 100},
    }
    return Recipe.model_validate(content)


@pytest.mark.parametrize(
    ("adapt", "validation", "message"),
    [
        ({"after": "wise-ft"}, 0.0, "there are none"),
        ({"after": "soup"}, 0.0, "there are none"),
        ({"after": "wise-ft", "strategy": "full"}, 0.25, "full has none"),
    ],
)
def test_check_and_fit_refuse_what_cannot_be_mixed(
    clips: Path, tmp_path: Path, adapt: dict[str, Any], validation: float, message: str
) -> None:
    recipe = make_recipe(clips, validation, **adapt)
    with pytest.raises(NewGamePlusError, match=r"adapt\.after") as caught:
        check(recipe)
    assert message in str(caught.value)
    with pytest.raises(RecipeError, match=r"adapt\.after"):
        fit(recipe, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("adapt", [{"after": "wise-ft", "strategy": "lora"}, {"after": "soup", "soup_seeds": 2}])
def test_an_interrupted_choice_ends_with_the_same_weights(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapt: dict[str, Any]
) -> None:
    if adapt.get("strategy") == "lora":
        pytest.importorskip("peft")
    recipe = make_recipe(clips, **adapt)
    whole = fit(recipe, tmp_path / "whole")
    arms = json.loads((whole.folder / "evaluation.json").read_text())["arms"]
    note = next(arm["note"] for arm in arms if arm["name"] == "fine-tuned")
    assert ("WiSE-FT" in note) == (adapt["after"] == "wise-ft")
    original = behavior_training.choose_weights

    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(behavior_training, "choose_weights", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path / "part")
    monkeypatch.setattr(behavior_training, "choose_weights", original)
    resume(tmp_path / "part")
    one, other = (load_classifier(tmp_path / name / "model").classifier.state_dict() for name in ("whole", "part"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
