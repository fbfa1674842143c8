"""GPT-2 on maps: every strategy from a language model to levels, and what it moved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.scene_maps import quick_recipe, write_text_maps
from tests.small_tiles import save_gpt2

from newgameplus.finetune import fit
from newgameplus.pretrained.tile_model import load_start, load_tile_model
from newgameplus.run import read_json

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpt2-maps")
    write_text_maps(folder / "maps", "cave", 5, height=12, width=14)
    save_gpt2(folder / "gpt2", tokenizer=True)
    return folder


@pytest.mark.parametrize("strategy", ["probe", "lp-ft", "full", "lora"])
def test_gpt2_learns_maps_by_every_strategy(place: Path, tmp_path: Path, strategy: str) -> None:
    name = f"transformers:{place / 'gpt2'}"
    recipe = quick_recipe(
        place / "maps", tmp_path, rules="reachability", model={"start": name}, adapt={"strategy": strategy},
        evaluate={"baselines": ["zero-shot"], "samples": 1, "deliver": 0, "requests": 0, "resamples": 100},
        train={"steps": 30, "batch_size": 4, "threads": 1, "check_every": 30, "learning_rate": 0.01},
    )  # fmt: skip
    run = fit(recipe, tmp_path / strategy)
    tuned, zero_shot = read_json(run.folder / "evaluation.json")["arms"][:2]
    assert tuned["bits_per_tile"]["value"] < zero_shot["bits_per_tile"]["value"]
    model, _ = load_tile_model(run.model_folder)
    before = load_start(name).network.body.state_dict()  # type: ignore[union-attr]
    after = model.network.body.state_dict()  # type: ignore[union-attr]
    assert not any("lora" in key for key in after)  # the updates are merged
    body = [key for key in before if key.startswith("h.")]
    assert body
    moved = any(not torch.equal(before[key], after[key]) for key in body)
    assert moved == (strategy != "probe")
