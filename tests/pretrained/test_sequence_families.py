"""Families of sequence networks through the strategies, on real recorded trajectories of Doom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from newgameplus.adapt.answers import classify
from newgameplus.adapt.classifier import ClipClassifier
from newgameplus.adapt.saving import load_classifier, save_classifier
from newgameplus.games.record.doom import record_doom
from newgameplus.recipe import DataSettings, Recipe, TrainSettings
from newgameplus.recipe_behavior import AdaptSettings
from newgameplus.scenarios.behavior_training import recipe_phases
from newgameplus.scenarios.sequence_data import SequenceGame, load_sequence_game, pretrained_for
from newgameplus.train.loop import train_classifier
from newgameplus.verbs import check

transformers = pytest.importorskip("transformers")
pytest.importorskip("vizdoom")

pytestmark = pytest.mark.engine
SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 30, "bos_token_id": 1, "eos_token_id": 2}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doom") / "basic"
    return record_doom("freedoom2:MAP03", 4, folder, seed=4, seconds=6.0, width=160, height=120).folder


@pytest.fixture(scope="module")
def game(recording: Path) -> SequenceGame:
    data = DataSettings(path=str(recording), test=0.25, channels=("POSITION_*", "ANGLE", "button *"))
    return load_sequence_game(data, 0)


@pytest.fixture(scope="module", params=["BertConfig", "GPT2Config"])
def body(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    config = getattr(transformers, request.param)(hidden_size=32, **SMALL)
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    return folder


def test_a_recording_gives_sequences_by_the_engines_own_names(game: SequenceGame) -> None:
    assert "POSITION_X" in game.channels
    assert any(name.startswith("button ") for name in game.channels)
    assert len(game.labels) >= 2
    assert all(clip.path.name.endswith(".trajectory.npz") for clip in game.clip_set.clips)


@pytest.mark.parametrize("strategy", ["probe", "lp-ft", "full", "lora"])
def test_what_should_move_moves_and_the_saved_model_answers_the_same(
    game: SequenceGame, body: Path, strategy: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    start = pretrained_for(game, f"transformers:{body}", options={"steps": 16})
    assert start.card.modality == "sequence"
    assert start.card.facts["pooling"] == ("mean" if "Bert" in body.name else "last")
    before = {name: value.detach().clone() for name, value in start.backbone.state_dict().items()}
    classifier = ClipClassifier(start.backbone, game.labels)
    phases = recipe_phases(AdaptSettings(strategy=strategy, lora_rank=2), len(start.backbone.blocks()))
    examples = game.examples(start.card.shape, game.split.train, augment=True)
    settings = TrainSettings(epochs=2, batch_size=16, threads=1)
    train_classifier(classifier, phases, examples, None, settings, seed=0, arm="t", checkpoint=tmp_path / "state")
    moved = {
        name for name, value in classifier.backbone.named_parameters() if not torch.equal(value.detach(), before[name])
    }
    if strategy == "probe":
        assert not moved
    elif strategy == "lora":
        assert any("attn" in name or "attention" in name for name in moved)
        assert not any("norm" in name.lower() or "ln_" in name for name in moved)
    else:
        assert "projection.weight" in moved
        # A key's bias shifts all scores of a row alike, so its gradient is noise around zero.
        assert len(moved) >= len(list(classifier.backbone.parameters())) - 4
    for name in ("mean", "spread"):
        assert torch.equal(classifier.backbone.state_dict()[name], before[name])
    save_classifier(tmp_path / "model", classifier, start.card, {})
    loaded = load_classifier(tmp_path / "model")
    asked = game.examples(start.card.shape, game.split.test)
    ours, theirs = (classify(one, asked.batches(8)) for one in (classifier, loaded.classifier))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_standardization_is_of_the_training_sequences_alone(game: SequenceGame) -> None:
    start = pretrained_for(game, "sequence:cnn", options={"steps": 16})
    rows = np.concatenate([game.sequences.values[index] for index in game.split.train])
    np.testing.assert_allclose(start.backbone.mean.numpy(), rows.mean(0, dtype=np.float64), rtol=1e-3, atol=1e-3)


def test_check_offers_no_clip_model_the_wrong_data(recording: Path, tmp_path: Path, body: Path) -> None:
    recipe = Recipe.model_validate({"data": {"path": str(recording)}, "model": {"start": f"transformers:{body}"}})
    assert check(recipe)["model"].startswith("transformers:")
