"""Candidates with options of their own, from the recipe's file to a finished run of clips."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from tests.recordings import record
from torch import nn
from typer.testing import CliRunner

from newgameplus.adapt.saving import load_classifier
from newgameplus.cli import app
from newgameplus.errors import NewGamePlusError, RecipeError
from newgameplus.finetune import read_recipe
from newgameplus.run import Run
from newgameplus.scenarios import behavior_candidates, behavior_choice, behavior_short_run
from newgameplus.scenarios.behavior import BehaviorScenario
from newgameplus.verbs import check, choose, evaluate, fit, predict, pretrain, resume

NETWORKS = '''
"""Networks of somebody's own."""
import torch
from torch import nn


def made(width):
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.ReLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, 3),
    )


def narrow():
    return made(4)


def wide():
    return made(8)


class Scaled(nn.Module):
    """Nothing of torch that an adapter could stand beside."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, pictures):
        return pictures * self.scale


def bare():
    return nn.Sequential(Scaled(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
'''
SIZE = {"height": 24, "width": 32}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    record(folder / "clips", videos=5, seed=0, spans=6)
    (folder / "networks.py").write_text(NETWORKS)
    made: dict[str, Any] = {}
    exec(compile(NETWORKS, "networks", "exec"), made)
    for name in ("narrow", "wide", "bare"):
        torch.manual_seed(1)
        network: nn.Module = made[name]()
        save_file(network.state_dict(), folder / f"{name}.safetensors")
    return folder


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behavior_short_run, "STEPS", 4)


def own(name: str, file: str = "", **options: Any) -> dict[str, Any]:
    return {
        "start": f"checkpoint:{file or name}.safetensors",
        "options": {"factory": f"networks.py:{name}", "frames": 2} | SIZE | options,
    }


def write(home: Path, folder: Path, *start: Any, **parts: Any) -> Path:
    content = {
        "runs": str(folder / "runs"),
        "data": {"path": "clips", "test": 0.4},
        "model": {"start": list(start)},
        "train": {"epochs": 1, "batch_size": 16, "threads": 1, "augment": False},
        "evaluate": {"baselines": ["majority"], "resamples": 100},
    }
    path = home / f"{folder.name}.yaml"
    path.write_text(yaml.safe_dump(content | parts))
    return path


def test_files_of_different_factories_stand_in_one_list_on_the_command_line(home: Path, tmp_path: Path) -> None:
    recipe = write(home, tmp_path, "bundled:doom-clips", own("narrow"), own("wide"), own("wide", frames=3))
    found = CliRunner().invoke(app, ["choose", str(recipe), "--out", str(tmp_path / "choice.json"), "--top", "4"])
    assert found.exit_code == 0, found.stderr
    choice = json.loads((tmp_path / "choice.json").read_text())
    wide = f"checkpoint:{home / 'wide.safetensors'}"
    told = {one["name"]: (one["start"], one["options"].get("frames")) for one in choice["candidates"]}
    assert told == {
        "bundled:doom-clips": ("bundled:doom-clips", None),
        f"checkpoint:{home / 'narrow.safetensors'}": (f"checkpoint:{home / 'narrow.safetensors'}", 2),
        f"{wide} (frames=2)": (wide, 2),
        f"{wide} (frames=3)": (wide, 3),
    }
    assert sorted(choice["by_prior"]) == sorted(told)
    lines = [line for line in found.stdout.splitlines() if "next: " not in line and "written to" not in line]
    assert [line for line in lines if len(line) > 80 and " " in line] == []
    assert {"    (frames=2)", "    (frames=3)"} <= set(lines)
    last = shlex.split(found.stdout.splitlines()[-1])
    again = read_recipe(recipe, start=last[last.index("--from") + 1])
    assert again.model.starts[0].options == choice["candidates"][0]["options"]


def test_two_of_one_file_are_measured_each_with_its_own_options(home: Path, tmp_path: Path) -> None:
    def scores(*start: Any) -> list[dict[str, float]]:
        recipe = read_recipe(write(home, tmp_path, *start))
        found = choose(recipe, short_run=False)["candidates"]
        return [one["scores"] for one in sorted(found, key=lambda one: one["options"]["frames"])]

    both = scores(own("wide", frames=4), own("wide", frames=1))
    assert both == [*scores(own("wide", frames=1)), *scores(own("wide", frames=4))]
    assert both[0]["logme"] != both[1]["logme"]


def test_the_winner_s_options_go_on_through_the_run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write(home, tmp_path, own("wide", frames=1), own("wide", frames=3), evaluate={"baselines": ["scratch"]})
    label = read_recipe(recipe).model.candidates[1]
    decide = behavior_choice.decide
    monkeypatch.setattr(behavior_choice, "decide", lambda *some, **named: replace(decide(*some, **named), name=label))

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BehaviorScenario, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, tmp_path / "run")
    monkeypatch.setattr(behavior_choice, "decide", stop)  # a run chooses once
    run = resume(tmp_path / "run")
    assert load_classifier(run.model_folder).card.shape.frames == 3  # type: ignore[union-attr]
    assert [one.options["frames"] for one in Run.open(run.folder).recipe.model.starts] == [1, 3]
    evaluation = json.loads((run.folder / "evaluation.json").read_text())
    assert evaluation["choice"]["name"] == label
    assert "(frames=3)" in (run.folder / "report.html").read_text()
    again = evaluate(run, home / "clips")
    assert again["arms"]
    assert predict(run, home / "clips" / "video 0.mp4")


def test_pretraining_goes_on_with_one_candidate_and_its_options(home: Path, tmp_path: Path) -> None:
    recipe = write(home, tmp_path, "bundled:doom-clips", own("wide", frames=3))
    with pytest.raises(RecipeError, match="not 2"):
        pretrain(recipe, steps=1)
    result = pretrain(recipe, start=f"checkpoint:{home / 'wide.safetensors'}", steps=1)
    card = json.loads((Path(result["folder"]) / "model" / "card.json").read_text())
    assert card["start"]["shape"]["frames"] == 3


def test_check_looks_at_the_strategy_for_each_candidate(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    lora = {"adapt": {"strategy": "lora"}}
    recipe = write(home, tmp_path, own("wide"), own("bare"), own("narrow", layout="x"), own("wide", fctory="x"), **lora)
    with pytest.raises(NewGamePlusError) as caught:
        check(recipe)
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 3
    assert any("bare.safetensors: no layer of this" in line for line in told)
    assert any("model.start.2.options.layout: checkpoint:" in line for line in told)
    assert any("model.start.3.options: checkpoint:" in line and "did you mean 'factory'" in line for line in told)
    plan = check(write(home, tmp_path, own("wide"), own("wide", frames=3), **lora))
    assert [name[-10:] for name in plan["candidates"]] == ["(frames=2)", "(frames=3)"]
    bare = f"checkpoint:{home / 'bare.safetensors'}"
    monkeypatch.setattr(behavior_candidates, "local_models", lambda _: [bare])
    found = write(home, tmp_path, model={"start": ["auto", own("wide")], "options": own("bare")["options"]}, **lora)
    assert [one["name"] for one in check(found)["models_left_out"]] == [bare]
    left_out = choose(read_recipe(found), short_run=False)["left_out"]
    assert ["low-rank adapter" in one["message"] for one in left_out] == [True]
