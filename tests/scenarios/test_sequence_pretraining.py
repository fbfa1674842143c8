"""Going on with pretraining on numbers without labels: from recordings to a start that ``choose`` weighs."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.sequence_files import CHANNELS, KINDS, draw, write_csv, write_folder
from tests.stopped_pretraining import stopped_before

from newgameplus.errors import DataError, NewGamePlusError, PretrainedModelError, RecipeError, RunError, TrainingError
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.pretrained.sequence_backbone import SequenceBackbone
from newgameplus.recipe import Recipe
from newgameplus.scenarios.sequence_pretraining import load_numbers
from newgameplus.verbs import choose, fit, pretrain


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "sequences", 8, seed=0)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory, labelled: Path) -> Path:
    """Four long recordings, ten short ones, one too short, one that is tested on; columns in other orders."""
    folder = tmp_path_factory.mktemp("more") / "recordings"
    generator = np.random.default_rng(5)
    for number in range(4):
        parts = [draw(KINDS[n % 3], generator, 30) for n in range(5)]
        write_csv(folder / f"match {number}.csv", np.concatenate(parts))
    for number in range(10):
        values = draw(KINDS[number % 3], generator, 20)
        write_csv(folder / f"short {number}.csv", values[:, [2, 0, 1]], ("speed", "x", "y"))
    write_csv(folder / "tiny.csv", draw("circles", generator, 3))
    shutil.copy(labelled / "data" / "circles-0.csv", folder / "copied.csv")
    return folder


def make_recipe(labelled: Path, recordings: Path | None, runs: Path, **parts: Any) -> Recipe:
    content: dict[str, Any] = {
        "name": "moves",
        "runs": str(runs),
        "data": {"path": str(labelled), "test_groups": ["match-0"], "validation": 0.0},
        "model": {"start": "sequence:cnn", "options": {"steps": 24, "width": 16}},
        "train": {"epochs": 2, "batch_size": 8, "threads": 1},
        "evaluate": {"baselines": ["majority"]},
        "pretrain": {"path": str(recordings) if recordings else None, "steps": 6, "batch_size": 8},
    }
    for key, value in parts.items():
        content[key] = content.get(key, {}) | value if isinstance(value, dict) else value
    return Recipe.model_validate(content)


def weights_of(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_sequences_without_labels_make_a_start_that_choose_weighs(
    labelled: Path, recordings: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(labelled, recordings, tmp_path, pretrain={"steps": 30})
    result = pretrain(recipe)
    assert result["objectives"] == ["masked-steps"]
    assert result["sequences"] > 4 * 4 + 9  # the long ones were cut
    assert {Path(left["source"]).name for left in result["left_out"]} == {"copied.csv", "tiny.csv"}
    assert f"of {result['labelled_sequences']} training sequences" in result["sentence"]
    folder = tmp_path / "moves-pretrained"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 30
    assert rows[-1]["loss_masked-steps"] < rows[0]["loss_masked-steps"]
    assert not (folder / "checkpoints").exists()

    start = load_pretrained(result["start_from"])
    assert isinstance(start.backbone, SequenceBackbone)
    assert start.backbone.mean.abs().max() > 0.1  # standardized, and kept so
    other = make_recipe(labelled, None, tmp_path, data={"test_groups": ["match-1"]})
    names = ["sequence:cnn", result["start_from"]]
    answer = choose(other, candidates=names, short_run=False)
    assert {one["name"] for one in answer["candidates"]} == set(names)
    assert "without labels" not in answer["advice"]
    found = choose(other, candidates=["sequence:cnn", "auto"], short_run=False)
    assert result["start_from"] in {one["name"] for one in found["candidates"]}
    assert fit(recipe, tmp_path / "fit", start=result["start_from"]).finished

    again = pretrain(other, out=tmp_path / "again", start=result["start_from"], steps=2)
    further = load_pretrained(again["start_from"])
    torch.testing.assert_close(further.backbone.mean, start.backbone.mean)  # what was learned with it stays
    with pytest.raises(RunError, match="finished"):
        pretrain(recipe)


def test_a_model_that_saw_test_recordings_without_labels_is_said_to_have(labelled: Path, tmp_path: Path) -> None:
    recipe = make_recipe(labelled, None, tmp_path, pretrain={"steps": 1})
    result = pretrain(recipe)
    training = json.loads((tmp_path / "moves-pretrained" / "model" / "card.json").read_text())["training"]
    assert training["sequence_count"] == result["sequences"] == len(training["recordings"]) == 24 - 6
    other = make_recipe(labelled, None, tmp_path, data={"test_groups": ["match-1"]})
    answer = choose(other, candidates=[result["start_from"]], short_run=False)
    assert "without labels, on the recordings of 6 of the 6 test clips" in answer["advice"]


@pytest.mark.parametrize("minutes", [None, 100.0])
def test_the_same_call_goes_on_and_ends_the_same(
    labelled: Path, recordings: Path, tmp_path: Path, minutes: float | None
) -> None:
    settings = {"pretrain": {"minutes": minutes}, "train": {"checkpoint_seconds": 1e-9}}
    recipe = make_recipe(labelled, recordings, tmp_path, **settings)
    pretrain(recipe, out=tmp_path / "whole")
    with stopped_before(4):
        pretrain(recipe, out=tmp_path / "parted")
    with pytest.raises(RunError, match="data changed"):
        pretrain(recipe, labelled, tmp_path / "parted")
    pretrain(recipe, out=tmp_path / "parted")
    assert weights_of(tmp_path / "parted") == weights_of(tmp_path / "whole")


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_text_networks_go_on_too(labelled: Path, recordings: Path, tmp_path: Path, family: str) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if family == "bert":
        tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        network = transformers.BertModel(transformers.BertConfig(vocab_size=8, max_position_embeddings=32, **tiny))
    else:
        network = transformers.GPT2Model(
            transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=8, n_positions=32)
        )
    network.save_pretrained(tmp_path / family)
    start = {"start": f"transformers:{tmp_path / family}", "options": {"steps": 24}}
    recipe = make_recipe(labelled, recordings, tmp_path, model=start, pretrain={"steps": 2})
    result = pretrain(recipe)
    before = load_pretrained(start["start"], options={"steps": 24, "channels": 3}).backbone.body.state_dict()
    shutil.rmtree(tmp_path / family)  # what was made of it needs it no more
    after = load_pretrained(result["start_from"]).backbone.body.state_dict()
    assert any(not torch.equal(value, after[name]) for name, value in before.items())
    assert fit(recipe, tmp_path / "fit", start=result["start_from"]).finished


def test_what_cannot_be_is_refused_and_costs_nothing(
    labelled: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(error: type[NewGamePlusError], match: str, data: Path | None = recordings, **parts: Any) -> str:
        with pytest.raises(error, match=match) as caught:
            pretrain(make_recipe(labelled, data, tmp_path, **parts))
        assert not (tmp_path / "moves-pretrained" / "pretrain.yaml").exists()
        return str(caught.value)

    empty = tmp_path / "empty"
    empty.mkdir()
    refused(DataError, "no sequences in this folder", empty)
    refused(DataError, "held out", recordings / "copied.csv")
    assert "3 steps" in refused(DataError, "only 0 sequences", recordings / "tiny.csv")
    generator = np.random.default_rng(1)
    values = draw("circles", generator, 200)
    write_csv(empty / "other.csv", values[:, :2], CHANNELS[:2])
    refused(DataError, "lacks speed", empty)
    values[7, 1] = np.nan
    write_csv(empty / "other.csv", values)
    refused(DataError, "is nan, not a number", empty)
    refused(RecipeError, "two-views", pretrain={"objectives": ["two-views"]})
    refused(RecipeError, "one model", model={"start": ["sequence:gru", "sequence:cnn"]})
    refused(NewGamePlusError, "does not read numbers", model={"start": "bundled:doom-clips", "options": {}})
    refused(DataError, "no such file", data={"path": str(tmp_path / "nowhere")})
    with monkeypatch.context() as several:
        for key, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "here"}.items():
            several.setenv(key, value)
        with pytest.raises(TrainingError, match="2 processes"):
            load_numbers(make_recipe(labelled, recordings, tmp_path), "sequence:cnn")
    write_csv(empty / "more.csv", draw("circles", generator, 400))
    result = pretrain(make_recipe(labelled, empty, tmp_path, pretrain={"steps": 1}), skip_bad=True)
    assert Path(result["left_out"][0]["source"].partition(":")[0]).name == "other.csv"


def test_columns_without_names_are_not_guessed(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    rows = [["path", "label"]]
    (tmp_path / "wide").mkdir()
    for kind in KINDS:
        for number in range(5):
            rows.append([f"{kind}-{number}.npy", kind])
            (tmp_path / "own").mkdir(exist_ok=True)
            np.save(tmp_path / "own" / rows[-1][0], draw(kind, generator, 20))
    with (tmp_path / "own" / "labels.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    np.save(tmp_path / "wide" / "match.npy", np.column_stack([draw("circles", generator, 300)] * 2))
    recipe = make_recipe(tmp_path / "own", tmp_path / "wide", tmp_path, data={"test_groups": [], "test": 0.4})
    with pytest.raises(DataError, match="6 columns without names"):
        pretrain(recipe)


def test_a_run_keeps_the_sizes_that_it_was_made_with(labelled: Path, recordings: Path, tmp_path: Path) -> None:
    recipe = make_recipe(labelled, recordings, tmp_path, pretrain={"steps": 1})
    start = pretrain(recipe)["start_from"]
    assert load_pretrained(start, options={"steps": 24, "width": 16}).card.shape.steps == 24
    with pytest.raises(PretrainedModelError, match="made with steps 24, not 32"):
        load_pretrained(start, options={"steps": 32})
    with pytest.raises(PretrainedModelError, match="no option 'stepps'"):
        load_pretrained(start, options={"stepps": 24})
