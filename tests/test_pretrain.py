"""``ngp pretrain``: recordings and maps without labels make a model better or are said not to; a fit starts from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.recordings import FRAME_RATE, LABELS, draw_span, record, write_video
from tests.scene_maps import quick_recipe, write_text_maps
from tests.stopped_pretraining import Stopped, stopped_before

from newgameplus.errors import DataError, NewGamePlusError, PretrainedModelError, RecipeError, RunError
from newgameplus.games.trajectories import SUFFIX, Trajectory, save_trajectory
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.pretrained.tile_model import load_start
from newgameplus.recipe import AgentRecipe, Recipe, SceneRecipe
from newgameplus.scenarios import behavior_pretraining
from newgameplus.scenarios.scene_data import load_scene_game
from newgameplus.train import tile_loop
from newgameplus.verbs import choose, fit, pretrain


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data") / "clips", videos=6, seed=0)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """Five recordings without labels, one of them too short, and one that is tested on."""
    folder = tmp_path_factory.mktemp("more") / "recordings"
    folder.mkdir()
    generator = np.random.default_rng(9)
    for number in range(4):
        spans = [draw_span(LABELS[n % 3], generator) for n in range(12)]
        write_video(folder / f"match {number}.mp4", np.concatenate(spans))
    write_video(folder / "short.mp4", draw_span("stands", generator)[:9])
    shutil.copy(clips / "video 1.mp4", folder / "copied.mp4")
    return folder


def make_recipe(clips: Path, recordings: Path | None, runs: Path, **parts: Any) -> Recipe:
    content: dict[str, Any] = {
        "name": "bars",
        "runs": str(runs),
        "data": {"path": str(clips), "test_groups": ["video 1"], "validation": 0.0},
        "train": {"epochs": 4, "batch_size": 16, "threads": 1},
        "evaluate": {"baselines": ["majority"]},
        "pretrain": {"path": str(recordings) if recordings else None, "steps": 6, "batch_size": 16},
    }
    for key, value in parts.items():
        content[key] = content.get(key, {}) | value if isinstance(value, dict) else value
    return Recipe.model_validate(content)


def weights_of(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_recordings_without_labels_make_a_start(clips: Path, recordings: Path, tmp_path: Path) -> None:
    recipe = make_recipe(clips, recordings, tmp_path)
    result = pretrain(recipe)
    folder = tmp_path / "bars-pretrained"
    assert result["folder"] == str(folder)
    assert result["clips"] == 48
    assert result["objectives"] == ["temporal-order", "two-views"]
    assert result["learning_rate"] == 3e-5
    assert "trajectories" in result["passed_over"]["inverse-dynamics"]
    assert {Path(left["source"]).name for left in result["left_out"]} == {"copied.mp4", "short.mp4"}
    assert f"{result['after']:.0%}" in result["sentence"]
    helped = f"ngp fit RECIPE --from run:{folder}"
    doubtful = f"ngp choose RECIPE --candidates bundled:doom-clips --candidates run:{folder}"
    assert result["next"] == (helped if result["helped"] else doubtful)
    assert json.loads((folder / "pretrain.json").read_text())["steps"] == 6
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 6
    assert any((folder / "tb" / "pretraining").iterdir())
    assert not (folder / "checkpoints").exists()

    start = load_pretrained(result["start_from"])
    before = load_pretrained("bundled:doom-clips").backbone.state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in start.backbone.state_dict().items())
    run = fit(recipe, tmp_path / "fit", start=result["start_from"])
    assert run.finished

    with pytest.raises(RunError, match="finished"):
        pretrain(recipe)


def test_a_model_that_saw_test_recordings_without_labels_is_said_to_have(
    clips: Path, recordings: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(clips, recordings, tmp_path, data={"test_groups": ["video 2"]}, pretrain={"steps": 1})
    start = pretrain(recipe)["start_from"]
    training = json.loads((tmp_path / "bars-pretrained" / "model" / "card.json").read_text())["training"]
    assert training["clip_count"] >= 48
    assert len(training["recordings"]) == 5
    told = "without labels, on the recordings of 9 of the 9 test clips"
    asked = choose(recipe, candidates=[start], short_run=False)
    assert told not in asked["advice"]
    other = make_recipe(clips, None, tmp_path)  # tests on a video that lies among the recordings under another name
    asked = choose(other, candidates=[start], short_run=False)
    assert told in asked["advice"]


@pytest.mark.parametrize("minutes", [None, 100.0])
def test_the_same_call_goes_on_and_ends_the_same(
    clips: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: float | None
) -> None:
    settings = {"pretrain": {"minutes": minutes}, "train": {"checkpoint_seconds": 1e-9}}
    recipe = make_recipe(clips, recordings, tmp_path, **settings)
    pretrain(recipe, out=tmp_path / "whole")
    with stopped_before(4):
        pretrain(recipe, out=tmp_path / "parted")
    other = make_recipe(clips, recordings, tmp_path, **settings | {"pretrain": {"steps": 7}})
    with pytest.raises(RunError, match="not the one") as caught:
        pretrain(other, out=tmp_path / "parted")
    assert "pretrain.steps" in str(caught.value)
    with pytest.raises(RunError, match="data changed"):
        pretrain(recipe, clips, tmp_path / "parted")
    judged: list[int] = []
    judge = behavior_pretraining._judge
    monkeypatch.setattr(behavior_pretraining, "_judge", lambda *some: judged.append(1) or judge(*some))
    pretrain(recipe, out=tmp_path / "parted")
    assert len(judged) == 1  # what the start was worth is kept
    assert weights_of(tmp_path / "parted") == weights_of(tmp_path / "whole")


def test_trajectories_beside_the_recordings_tell_what_was_held(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "engine"
    folder.mkdir()
    generator = np.random.default_rng(3)
    names = ("turn_left", "turn_right")
    for number in range(3):
        labels = [LABELS[(n + number) % 2] for n in range(8)]
        frames = np.concatenate([draw_span(label, generator) for label in labels])
        write_video(folder / f"m{number}.mp4", frames)
        rows = len(frames)
        actions = np.repeat([LABELS.index(label) for label in labels], 15).astype(np.int16)
        actions[:15] = -1
        cuts = np.zeros(rows, np.bool_)
        none = np.zeros((rows, 0))
        save_trajectory(
            folder / f"m{number}{SUFFIX}",
            Trajectory(
                FRAME_RATE, (), none.astype(np.uint8), names, actions, (), np.full(rows, -1, np.int16), (),
                none.astype(np.float32), cuts,
            ),
        )  # fmt: skip
    recipe = make_recipe(clips, folder, tmp_path, pretrain={"steps": 2})
    result = pretrain(recipe)
    assert result["objectives"] == ["inverse-dynamics"]  # alone: the others add time and no accuracy
    assert set(result["passed_over"]) == {"temporal-order", "two-views"}
    assert result["learning_rate"] == 3e-4
    row = json.loads((tmp_path / "bars-pretrained" / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["loss_inverse-dynamics"] > 0


def test_without_recordings_the_videos_that_are_not_tested_on_serve(clips: Path, tmp_path: Path) -> None:
    result = pretrain(make_recipe(clips, None, tmp_path, pretrain={"steps": 1}))
    assert result["clips"] == 5 * 9


def test_what_cannot_be_is_refused_and_costs_nothing(clips: Path, recordings: Path, tmp_path: Path) -> None:
    def refused(error: type[NewGamePlusError], match: str, recordings: Path | None = recordings, **parts: Any) -> str:
        with pytest.raises(error, match=match) as caught:
            pretrain(make_recipe(clips, recordings, tmp_path, **parts))
        assert not (tmp_path / "bars-pretrained" / "pretrain.yaml").exists()
        return str(caught.value)

    empty = tmp_path / "empty"
    empty.mkdir()
    refused(DataError, "no clips in this folder", empty)
    refused(DataError, "held out", recordings / "copied.mp4")
    assert "short" in refused(DataError, "only 0 clips", recordings / "short.mp4")
    refused(RecipeError, "one model", model={"start": ["bundled:doom-clips", "checkpoint:other.pt"]})
    asked = {"objectives": ["inverse-dynamics"]}
    assert "trajectories" in refused(RecipeError, "inverse-dynamics", pretrain=asked)
    (empty / "notes.mp4").write_text("no video")
    refused(DataError, "cannot be opened", empty)
    assert pretrain(make_recipe(clips, recordings, tmp_path, pretrain={"steps": 1}))["steps"] == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    with pytest.raises(RunError, match="holds something"):
        pretrain(make_recipe(clips, recordings, tmp_path), out=tmp_path / "mine")
    with pytest.raises(RecipeError, match="no such file"):
        pretrain(make_recipe(clips, recordings, tmp_path), tmp_path / "nowhere")
    with pytest.raises(RecipeError, match="makes no sense"):
        pretrain(make_recipe(clips, recordings, tmp_path), steps=0)
    agent = AgentRecipe.model_validate({"scenario": "agent", "data": {}, "environment": {"id": "CartPole-v1"}})
    with pytest.raises(RecipeError, match="policy") as caught:
        pretrain(agent)
    assert "clone" in str(caught.value)


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Maps of a recipe, and a folder of others: of the same tiles, one of them tested on, one with a tile more."""
    folder = tmp_path_factory.mktemp("maps")
    write_text_maps(folder / "own", "platformer", 11, height=12, width=40)
    legend = json.loads((folder / "own" / "legend.json").read_text())
    (folder / "more").mkdir()
    known = set("".join((folder / "own" / f"map{number:02d}.txt").read_text() for number in range(6)))
    for number in range(6, 11):
        path = folder / "own" / f"map{number:02d}.txt"
        if set(path.read_text()) <= known:
            shutil.move(path, folder / "more" / path.name)
        else:
            path.unlink()
    first = sorted((folder / "more").glob("*.txt"))[0]
    odd = next(key for key in "QZXYW" if key not in legend)
    (folder / "more" / "odd.txt").write_text(odd + first.read_text()[1:])
    (folder / "more" / "legend.json").write_text(json.dumps(legend | {odd: ["solid"]}))
    return folder


def scene_recipe(maps: Path, runs: Path, more: Path | None, **parts: Any) -> SceneRecipe:
    own = {"pretrain": {"path": str(more) if more else None, "steps": 4, "batch_size": 2}, "name": "hills"}
    return quick_recipe(maps / "own", runs, rules="platformer", **own | parts)


def test_maps_of_the_same_tiles_make_a_start(maps: Path, tmp_path: Path) -> None:
    recipe = scene_recipe(maps, tmp_path, maps / "more")
    tested = load_scene_game(recipe)
    shutil.copy(tested.groups[tested.test[0]], maps / "more" / "tested.txt")
    result = pretrain(recipe)
    assert {Path(left["source"].split(" (")[0]).name for left in result["left_out"]} == {"odd.txt", "tested.txt"}
    assert result["held_out"] == len(tested.train)
    assert result["levels"] == len(list((maps / "more").glob("map*.txt")))
    assert result["after"] != result["before"]
    assert result["helped"] <= (result["after"] < result["before"])
    assert f"{result['after']:.3f} bits" in result["sentence"]
    start = load_start(result["start_from"])
    assert start.name == result["start_from"]
    run = fit(recipe, tmp_path / "fit", start=result["start_from"])
    assert run.finished
    assert load_start(f"run:{run.folder}").measures == tested.measures
    again = pretrain(recipe, maps / "own", tmp_path / "again", start=f"run:{run.folder}", steps=2)
    assert again["held_out"] == 1  # nothing but its own maps: one of them is kept to measure by
    with pytest.raises(PretrainedModelError, match="scene scenario"):
        load_start(f"run:{wrong_run(tmp_path)}")
    with pytest.raises(RunError, match="finished"):
        pretrain(recipe)


def wrong_run(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "card.json").write_text(json.dumps({"schema": 1, "labels": ["a", "b"]}))
    return folder


def test_maps_go_on_and_end_the_same(maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"train": {"threads": 1, "check_every": 2, "checkpoint_seconds": 1e-9}}
    recipe = scene_recipe(maps, tmp_path, None, **settings)
    pretrain(recipe, out=tmp_path / "whole", minutes=100.0)
    step = tile_loop._Loop._step

    def stopping(self: Any, *some: Any) -> None:
        if self.position.step == 3 and self.steps[0] == 4:
            raise Stopped
        step(self, *some)

    monkeypatch.setattr(tile_loop._Loop, "_step", stopping)
    with pytest.raises(Stopped):
        pretrain(recipe, out=tmp_path / "parted", minutes=100.0)
    monkeypatch.undo()
    pretrain(recipe, out=tmp_path / "parted", minutes=100.0)
    assert weights_of(tmp_path / "parted") == weights_of(tmp_path / "whole")


def test_maps_of_other_tiles_are_refused(maps: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "map.txt").write_text("QQQ\nQQQ\n")
    (other / "legend.json").write_text(json.dumps({"Q": ["solid"]}))
    with pytest.raises(DataError, match="tiles alone"):
        pretrain(scene_recipe(maps, tmp_path, other))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError):
        pretrain(scene_recipe(maps, tmp_path, empty))


def test_a_backbone_over_pictures_goes_on_too(clips: Path, recordings: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    config = transformers.ViTConfig(image_size=16, patch_size=8, **tiny)
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    start = {"start": f"transformers:{tmp_path / 'vit'}", "options": {"frames": 4, "pooling": "mean"}}
    result = pretrain(make_recipe(clips, recordings, tmp_path, model=start, pretrain={"steps": 2}))
    assert result["objectives"] == ["two-views"]
    assert "order of the frames" in result["passed_over"]["temporal-order"]
    shutil.rmtree(tmp_path / "vit")  # what was made of it needs it no more
    went_on = load_pretrained(result["start_from"])
    assert went_on.card.modality == "image"
    assert went_on.card.shape.frames == 4
