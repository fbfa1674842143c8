"""The bundled backbones: the card tells the truth, the weights are the card's, and real frames go through."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from newgameplus.errors import PretrainedModelError
from newgameplus.files import digest_file
from newgameplus.games.record.acting import ACTIONS
from newgameplus.pretrained import bundled
from newgameplus.pretrained.catalog import list_models, load_pretrained
from newgameplus.pretrained.clip_network import ClipNetwork
from newgameplus.shapes import ClipShape

RESERVED = {"freedoom2:MAP02", "freedoom2:MAP05", "freedoom2:MAP07"}


@pytest.fixture
def model():
    return bundled.load("doom-clips")


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The folder of weights, copied, so that a test may damage it."""
    folder = tmp_path / "weights"
    shutil.copytree(bundled.FOLDER, folder)
    monkeypatch.setattr(bundled, "FOLDER", folder)
    return folder


def random_clips(shape: ClipShape, count: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, *shape.array), dtype=torch.uint8, generator=generator)


def test_the_card_tells_the_truth(model):
    path = bundled.FOLDER / "doom-clips.safetensors"
    card = model.card
    assert path.stat().st_size <= 10 * 2**20
    assert card.name == "bundled:doom-clips"
    assert card.digest == digest_file(path)
    assert card.parameters == sum(p.numel() for p in model.backbone.parameters())
    assert (card.feature_dim, card.shape) == (model.backbone.feature_dim, model.backbone.shape)
    assert card.license == "Apache-2.0"
    assert card.labels == model.zero_shot.labels == tuple(ACTIONS)
    assert card in bundled.cards()
    assert card in list_models()


def test_it_never_saw_the_reserved_maps(model):
    trained_on = set(model.card.facts["trained_on"])
    assert len(trained_on) > 40
    assert not trained_on & (RESERVED | set(model.card.facts["never_seen"]))
    assert set(model.card.facts["never_seen"]) >= RESERVED


def test_features_have_the_shape_that_the_card_says(model):
    clips = random_clips(model.card.shape)
    with torch.no_grad():
        features = model.backbone(clips)
        logits = model.zero_shot.logits(features)
    assert features.shape == (5, model.card.feature_dim)
    assert features.dtype == torch.float32
    assert torch.isfinite(features).all()
    assert logits.shape == (5, len(model.card.labels))
    assert not model.backbone.training


def test_a_clip_has_the_same_features_in_any_batch(model):
    clips = random_clips(model.card.shape, 7)
    with torch.no_grad():
        together = model.backbone(clips)
        alone = torch.cat([model.backbone(clip[None]) for clip in clips])
        as_floats = model.backbone(clips.float())
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(as_floats, together)


def test_black_white_and_frozen_clips_have_finite_features_and_gradients(model):
    shape = model.card.shape
    clips = torch.stack([torch.zeros(shape.array), torch.full(shape.array, 255.0), torch.full(shape.array, 7.0)])
    features = model.backbone(clips.to(torch.uint8))
    features.square().sum().backward()
    assert torch.isfinite(features).all()
    assert all(torch.isfinite(p.grad).all() for p in model.backbone.parameters())


def test_every_parameter_is_in_exactly_one_block(model):
    in_blocks = [id(p) for block in model.backbone.blocks() for p in block.parameters()]
    assert sorted(in_blocks) == sorted(id(p) for p in model.backbone.parameters())
    assert all(any(True for _ in block.parameters()) for block in model.backbone.blocks())


def test_fresh_means_random_weights_from_the_global_seed(model):
    torch.manual_seed(5)
    first = load_pretrained("bundled:doom-clips", fresh=True)
    torch.manual_seed(5)
    second = load_pretrained("bundled:doom-clips", fresh=True)
    assert first.zero_shot is None
    learned, one, two = (m.backbone.state_dict()["stem.0.weight"] for m in (model, first, second))
    assert torch.equal(one, two)
    assert not torch.equal(one, learned)


def test_saving_and_loading_gives_the_same_model(model, tmp_path, monkeypatch):
    card = bundled.save(tmp_path, model)
    assert card == model.card
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    clips = random_clips(card.shape)
    with torch.no_grad():
        torch.testing.assert_close(bundled.load("doom-clips").backbone(clips), model.backbone(clips), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("flip a bit", ["digest"]),
        ("truncate", ["digest"]),
        ("delete", ["missing"]),
        ("card", ["card is damaged"]),
        ("other family", ["resnet"]),
        ("other width", ["do not fit"]),
    ],
)
def test_what_was_changed_is_refused(copied, damage, words):
    weights, card = copied / "doom-clips.safetensors", copied / "doom-clips.json"
    whole = weights.read_bytes()
    if damage == "flip a bit":
        weights.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    if damage == "truncate":
        weights.write_bytes(whole[: len(whole) // 2])
    if damage == "delete":
        weights.unlink()
    if damage == "card":
        card.write_text(card.read_text()[:40])
    if damage == "other family":
        card.write_text(card.read_text().replace('"clip-cnn"', '"resnet"'))
    if damage == "other width":
        width = bundled.load("doom-clips").card.facts["width"]
        card.write_text(card.read_text().replace(f'"width": {width}', '"width": 4', 1))
        card.write_text(card.read_text().replace('"width": 80', '"width": 80'))
    with pytest.raises(PretrainedModelError) as caught:
        bundled.load("doom-clips")
    for word in [*words, "install newgameplus again"]:
        assert word in str(caught.value)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(PretrainedModelError, match="doom-clip'") as caught:
        bundled.load("doom-clip")
    assert "did you mean 'doom-clips'" in str(caught.value)


@pytest.mark.parametrize("shape", [ClipShape(6, 60, 80, 1), ClipShape(3, 32, 32, 3), ClipShape(2, 33, 47, 1)])
def test_the_architecture_takes_other_clips(shape):
    network = ClipNetwork(shape, width=8, feature_dim=24)
    assert network(random_clips(shape)).shape == (5, 24)


@pytest.mark.engine
def test_it_knows_actions_on_a_map_that_it_has_never_seen(model):
    """Zero-shot, and by a probe on half of the episodes, on frames straight from the engine."""
    pytest.importorskip("vizdoom")
    clips, actions, episodes = engine_clips(model.card.shape)
    with torch.no_grad():
        features = model.backbone(clips)
        answers = model.zero_shot.logits(features).argmax(1).numpy()
    chance = np.bincount(actions).max() / len(actions)
    assert np.mean(answers == actions) > chance + 0.3
    half = episodes % 2 == 0
    probe = LogisticRegression(C=0.1, max_iter=500).fit(features[half], actions[half])
    assert probe.score(features[~half], actions[~half]) > chance + 0.15


def engine_clips(shape: ClipShape) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Record four short episodes of a validation map and cut one clip out of every hold."""
    from newgameplus.games.record.doom import to_trajectory
    from newgameplus.games.record.doom_engine import play
    from newgameplus.games.record.doom_maps import find_map
    from newgameplus.games.record.labelling import action_spans

    clips, actions, episodes = [], [], []
    for episode in range(4):
        frames = list(play(find_map("freedoom2:MAP11"), seed=50 + episode, frames=400))
        for span in action_spans(to_trajectory(frames, {})):
            first = (span.first + span.end) // 2 - 6
            colour = np.stack([frames[first + 2 * t].picture for t in range(shape.frames)])
            small = colour.reshape(shape.frames, shape.height, 4, shape.width, 4, 3).mean((2, 4))
            grey = small @ [0.299, 0.587, 0.114]
            clips.append((grey[..., None] if shape.channels == 1 else small).round().astype(np.uint8))
            actions.append(list(ACTIONS).index(span.label))
            episodes.append(episode)
    return torch.from_numpy(np.stack(clips)), np.array(actions), np.array(episodes)
