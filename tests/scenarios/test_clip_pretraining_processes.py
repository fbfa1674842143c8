"""``ngp pretrain`` of recordings in several processes: the folder that one leaves, written once; what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.recordings import FRAME_RATE, LABELS, draw_span, record, write_video
from tests.stopped_pretraining import stopped_before
from tests.train.launching import launch

from newgameplus import launched, verbs
from newgameplus.errors import TrainingError
from newgameplus.games.trajectories import SUFFIX, Trajectory, save_trajectory
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.recipe import Recipe
from newgameplus.scenarios import behavior_sharing, pretraining, together
from newgameplus.tensors import load_tensors
from newgameplus.train import sharded, team

SCRIPT = """
import os, sys
from pathlib import Path
import yaml
from newgameplus.cli import app
from newgameplus.console import run

folder, rank = Path(sys.argv[1]), os.environ["RANK"]
recipe = str(folder / "recipe.yaml")
for out, more in (("two", ()), ("parted", ("--minutes", "100")), ("never", ())):
    if out == "never" and rank == "1":
        recipe = str(folder / "other.yaml")
    sys.argv = ["ngp", "pretrain", recipe, "--out", str(folder / out), *more]
    if out == "never":
        run(app)
    app(standalone_mode=False)
"""
OBJECTIVES = ["inverse-dynamics", "temporal-order", "two-views"]


def write_recordings(folder: Path) -> None:
    """Two recordings whose actions are known and one without, the second of them now and then."""
    folder.mkdir()
    generator = np.random.default_rng(3)
    for number in range(3):
        labels = [LABELS[(n + number) % 2] for n in range(8)]
        frames = np.concatenate([draw_span(label, generator) for label in labels])
        write_video(folder / f"m{number}.mp4", frames)
        if number < 2:
            actions = np.repeat([LABELS.index(label) for label in labels], 15).astype(np.int16)
            actions[: 30 * number] = -1
            save_trajectory(folder / f"m{number}{SUFFIX}", trajectory(actions))


def trajectory(actions: Any) -> Trajectory:
    rows = len(actions)
    none = np.zeros((rows, 0))
    return Trajectory(
        FRAME_RATE, (), none.astype(np.uint8), ("turn_left", "turn_right"), actions, (), np.full(rows, -1, np.int16),
        (), none.astype(np.float32), np.zeros(rows, np.bool_),
    )  # fmt: skip


def recipe_of(folder: Path, recordings: Path | None = None, **wanted: Any) -> dict[str, Any]:
    return {
        "name": "bars",
        "data": {"path": str(folder / "clips"), "test_groups": ["video 1"], "validation": 0.0},
        "train": {"threads": 1, "checkpoint_seconds": 1e-9},
        "pretrain": {"path": str(recordings), "steps": 6, "batch_size": 7, "objectives": OBJECTIVES, **wanted},
    }


@pytest.mark.slow
def test_two_processes_leave_the_folder_of_one_and_stop_where_their_recordings_differ(tmp_path: Path) -> None:
    record(tmp_path / "clips", 4, 0)
    write_recordings(tmp_path / "recordings")
    write_recordings(tmp_path / "other")
    actions = np.repeat([0, 1], 60).astype(np.int16)
    save_trajectory(tmp_path / "other" / f"m0{SUFFIX}", trajectory(actions))
    for name, place in (("recipe", "recordings"), ("other", "other")):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe_of(tmp_path, tmp_path / place)))
    one = verbs.pretrain(tmp_path / "recipe.yaml", out=tmp_path / "one")
    with stopped_before(4):
        verbs.pretrain(tmp_path / "recipe.yaml", out=tmp_path / "parted", minutes=100.0)
    script = tmp_path / "pretrain.py"
    script.write_text(SCRIPT)
    told = launch(str(script), str(tmp_path))
    assert one["objectives"] == OBJECTIVES
    for name in ("two", "parted"):
        assert_same_folder(tmp_path / "one", tmp_path / name)
    assert told.stdout.count("--from run:") + told.stdout.count("ngp choose") == 2  # the main process alone answers
    assert told.returncode != 0
    assert "the processes do not agree about the recordings" in told.stderr
    assert "m0.mp4#0.500-1.000: frames" in told.stderr
    assert "m1.mp4" not in told.stderr
    assert not (tmp_path / "never" / "model").exists()


def assert_same_folder(one: Path, two: Path) -> None:
    def files(folder: Path) -> list[str]:
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and "events" not in p.name)

    assert files(one) == files(two)
    rows, others = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] for folder in (one, two)
    )
    assert [row["step"] for row in rows] == [row["step"] for row in others] == [6]
    for name in ("train_loss", *(f"loss_{objective}" for objective in OBJECTIVES)):
        assert rows[0][name] == pytest.approx(others[0][name], rel=1e-3)
    weights, more = (load_tensors(folder / "model" / "model.safetensors")[0] for folder in (one, two))
    assert max(float((value.double() - more[name].double()).abs().max()) for name, value in weights.items()) < 1e-3
    result, same = (json.loads((folder / "pretrain.json").read_text()) for folder in (one, two))
    assert result["before"] == same["before"]
    assert {key: result[key] for key in ("clips", "steps", "batch_size", "objectives", "passed_over")} == {
        key: same[key] for key in ("clips", "steps", "batch_size", "objectives", "passed_over")
    }


def start(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    for module in (launched, together, team, sharded, pretraining):
        monkeypatch.setattr(module, "process_count", lambda: count)
    monkeypatch.setattr(together, "start", lambda: None)
    monkeypatch.setattr(together, "agree", lambda work: work())
    monkeypatch.setattr(together, "check_same", lambda *_: None)


def test_what_several_processes_cannot_pretrain_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(monkeypatch, 3)
    recipe = Recipe.model_validate(recipe_of(tmp_path, tmp_path, batch_size=2))
    assert not together.sharing_problems(recipe)
    with pytest.raises(TrainingError, match="3 processes cannot share a batch of 2") as small:
        pretraining.pretrain(recipe, tmp_path / "out")
    assert small.value.source == "pretrain.batch_size"
    assert "set pretrain.batch_size to 3 or more" in small.value.remedy
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    recipe = Recipe.model_validate(recipe_of(tmp_path, tmp_path))
    assert not together.sharing_problems(recipe)  # a fit's weights can be spread
    with pytest.raises(TrainingError, match=r"a pretraining cannot be spread over processes \(FSDP\)") as spread:
        pretraining.pretrain(recipe, tmp_path / "out")
    assert "without --use_fsdp" in spread.value.remedy
    assert not (tmp_path / "out").exists()


def test_processes_pretrain_with_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, 2)
    compared: list[dict[str, str]] = []
    monkeypatch.setattr(together, "check_same", lambda facts, *_: compared.append(facts))
    recipe = Recipe.model_validate(recipe_of(tmp_path, tmp_path))
    together.same_recipe(lambda: recipe, "pretrain")
    together.same_recipe(lambda: recipe)
    assert compared[0]["pretrain.steps"] == "6"
    assert "pretrain.path" not in compared[0]  # it may differ between machines
    assert not any(key.startswith("pretrain.") for key in compared[1])


def test_copies_of_recordings_differ_by_a_frame_or_an_action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path / "clips", 4, 0)
    write_recordings(tmp_path / "recordings")
    recipe = Recipe.model_validate(recipe_of(tmp_path, tmp_path / "recordings"))
    told: list[dict[str, str]] = []
    monkeypatch.setattr(behavior_sharing, "gather", lambda digest: [digest, b"another"])
    monkeypatch.setattr(behavior_sharing, "check_same", lambda facts, *_: told.append(facts))
    monkeypatch.setattr(behavior_sharing, "agree", lambda work: work())
    shape = load_pretrained("bundled:doom-clips").card.shape
    opener = behavior_sharing._load_recordings(recipe, shape)
    assert len(opener(shape)) == 24
    assert len(told[0]) == 24
    assert {fact.split("action ")[1] for fact in told[0].values()} == {"turn_left", "turn_right", "not known"}
