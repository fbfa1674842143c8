"""Low-rank adapters: found by structure, trained with the vocabulary, merged without a trace."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_tiles import (
    FACTS,
    MEASURES,
    batch_of,
    example_of,
    logits_of,
    random_scan,
    random_wishes,
    save_gpt2,
    small_model,
    stripes,
)

from newgameplus.adapt.adapters import add_adapters, merge_adapters
from newgameplus.adapt.tile_strategies import plan_tile_phases
from newgameplus.adapt.vocabulary import change_vocabulary
from newgameplus.errors import MissingExtraError
from newgameplus.pretrained.tile_model import TileModel, load_start, load_tile_model, save_tile_model
from newgameplus.pretrained.tile_tokens import TileTokens
from newgameplus.recipe_scene import SceneTrainSettings
from newgameplus.train.levels import LevelBook
from newgameplus.train.tile_loop import TileTraining, train_tiles

FAST = SceneTrainSettings(steps=12, batch_size=4, check_every=6, patience=None, threads=1, learning_rate=0.01)


@pytest.fixture(params=["decoder", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> TileModel:
    pytest.importorskip("peft")
    if request.param == "decoder":
        return small_model()
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    return change_vocabulary(load_start(f"transformers:{save_gpt2(tmp_path / 'gpt2')}"), FACTS, MEASURES)[0]


@pytest.fixture
def tokens() -> TileTokens:
    rng = np.random.default_rng(1)
    return batch_of([random_scan(rng, 5, 4)] * 2, [random_wishes(rng, 5)] * 2)


def learn(model: TileModel, checkpoint: Path) -> None:
    book = LevelBook([example_of(level) for level in stripes(6)], MEASURES, 24)
    phases = plan_tile_phases("lora")
    train_tiles(model.network, TileTraining("lora", phases, book, None, FAST, 0, checkpoint, FAST.learning_rate))


def test_every_linear_map_of_the_blocks_gets_one_and_nothing_changes_yet(model: TileModel, tokens: TileTokens) -> None:
    before = logits_of(model, tokens)
    assert len(add_adapters(model.network, 2).names) == 2 * 4  # two blocks of four maps, in both families
    adapted = {name for name, _ in model.network.named_parameters() if "lora_" in name}
    assert len(adapted) == 2 * 2 * 4
    assert all(".layers." in f".{name}" or ".h." in name for name in adapted)
    assert torch.equal(logits_of(model, tokens), before)


def test_body_frozen_vocabulary_and_adapters_trained_then_merged(
    model: TileModel, tokens: TileTokens, tmp_path: Path
) -> None:
    add_adapters(model.network, 2)
    before = {name: value.detach().clone() for name, value in model.network.named_parameters()}
    own = {id(parameter) for parameter in model.network.vocabulary()}  # type: ignore[operator]
    learn(model, tmp_path / "checkpoint")
    for name, parameter in model.network.named_parameters():
        if "lora_" in name or id(parameter) in own:
            # Biases and embeddings of places that never occurred may stand still; maps may not.
            assert not torch.equal(parameter, before[name]), name
        else:
            assert torch.equal(parameter, before[name]), name
    trained = logits_of(model, tokens)
    merge_adapters(model.network)
    assert not [name for name, _ in model.network.named_modules() if "lora" in name.lower()]
    assert torch.allclose(logits_of(model, tokens), trained, atol=1e-4)


def test_a_merged_model_is_saved_and_loads_without_peft(
    model: TileModel, tokens: TileTokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_adapters(model.network, 2)
    learn(model, tmp_path / "checkpoint")
    merge_adapters(model.network)
    save_tile_model(tmp_path / "model", model)
    for name in [name for name in sys.modules if name.partition(".")[0] == "peft"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "peft", None)
    kept, _ = load_tile_model(tmp_path / "model")
    assert torch.allclose(logits_of(kept, tokens), logits_of(model, tokens), atol=1e-6)


def test_a_training_with_adapters_goes_on_from_its_checkpoint(model: TileModel, tmp_path: Path) -> None:
    add_adapters(model.network, 2)
    start = {name: value.clone() for name, value in model.network.state_dict().items()}
    learn(model, tmp_path / "checkpoint")
    done = {name: value.clone() for name, value in model.network.state_dict().items()}
    model.network.load_state_dict(start)
    learn(model, tmp_path / "checkpoint")  # all of it is done already
    assert all(torch.equal(value, done[name]) for name, value in model.network.state_dict().items())


def test_without_peft_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match="lora"):
        add_adapters(small_model().network, 2)


def test_other_adapters_can_be_added_once_the_first_are_merged(model: TileModel, tokens: TileTokens) -> None:
    """As in each round of self-training."""
    for _ in range(2):
        add_adapters(model.network, 2)
        merge_adapters(model.network)
    assert not any("lora_" in name for name, _ in model.network.named_parameters())
    assert logits_of(model, tokens).isfinite().all()
