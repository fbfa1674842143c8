"""Every family of image and video networks through every kind of strategy, on clips of a real game.

What should move does, what is frozen stays as it was bit by bit, statistics of normalization too, and a saved model
answers as the trained one did without what it was loaded from.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_backbone import ArrayClips

from newgameplus.adapt import ClipClassifier, plan_phases
from newgameplus.adapt.answers import classify
from newgameplus.adapt.saving import load_classifier, save_classifier
from newgameplus.errors import MissingExtraError
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.recipe import TrainSettings
from newgameplus.train.examples import ClipExamples
from newgameplus.train.loop import train_classifier

transformers = pytest.importorskip("transformers")
pytest.importorskip("minigrid")
pytest.importorskip("peft")

LABELS = ("turn_left", "turn_right", "forward")
SIZE, FRAMES, CLIPS = 32, 2, 12
SETTINGS = TrainSettings(epochs=3, batch_size=6, learning_rate=0.002, augment=False, patience=None)

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": SIZE,
    "patch_size": 8,
}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 2]}
TRANSFORMERS: dict[str, tuple[str, Callable]] = {
    "resnet": ("ResNetModel", lambda: transformers.ResNetConfig(embedding_size=8, **STAGES)),
    "mobilenet_v2": ("MobileNetV2Model", lambda: transformers.MobileNetV2Config(depth_multiplier=0.35)),
    "convnext": ("ConvNextModel", lambda: transformers.ConvNextConfig(num_stages=2, **STAGES)),
    "vit": ("ViTModel", lambda: transformers.ViTConfig(**TINY)),
    "videomae": ("VideoMAEModel", lambda: transformers.VideoMAEConfig(**TINY, num_frames=FRAMES)),
}
KERAS = ("VGG16", "ResNet50")
FAMILIES = [*TRANSFORMERS, *(pytest.param(name, marks=pytest.mark.slow) for name in KERAS)]
STRATEGIES = ("probe", "lp-ft", "full", "lora")


@pytest.fixture(scope="module")
def examples() -> ClipExamples:
    """Frames of MiniGrid while its agent turns left, turns right or walks."""
    import gymnasium
    import minigrid  # noqa: F401 - registers its games

    frames, targets = [], []
    for number in range(CLIPS):
        game = gymnasium.make("MiniGrid-Empty-Random-6x6-v0", max_steps=100)
        game.reset(seed=number)
        clip = []
        for _ in range(FRAMES):
            picture = game.unwrapped.get_frame(tile_size=6, agent_pov=False)
            clip.append(np.asarray(picture, np.uint8)[:SIZE, :SIZE])
            game.step(number % 3)
        game.close()
        frames.append(np.stack(clip))
        targets.append(number % 3)
    assert np.stack(frames).shape == (CLIPS, FRAMES, SIZE, SIZE, 3)
    return ClipExamples(ArrayClips(np.stack(frames)), np.arange(CLIPS), np.array(targets))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """A folder a family, with random weights, as ``save_pretrained`` writes it."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    folders = {}
    for family, (class_name, config) in TRANSFORMERS.items():
        torch.manual_seed(7)
        folders[family] = tmp_path_factory.mktemp(family)
        network = getattr(transformers, class_name)(config())
        for _ in range(20):  # statistics of batches that were never measured let signals fade out in a deep network
            network.train()(torch.randn(4, *((FRAMES,) if family == "videomae" else ()), 3, SIZE, SIZE))
        network.save_pretrained(folders[family])
    logging.enable_progress_bar()
    return folders


def load(family: str, checkpoints: dict[str, Path]) -> PretrainedModel:
    torch.manual_seed(5)
    size = {"height": SIZE, "width": SIZE, "frames": FRAMES}
    if family in TRANSFORMERS:
        eaten = {"mean": 0.5, "std": 0.5}
        return load_pretrained(f"transformers:{checkpoints[family]}", options=size | eaten)
    try:
        return load_pretrained(f"keras:{family}", options=size | {"weights": "none"})
    except MissingExtraError:
        pytest.skip("Keras is not installed")


def moved(classifier: ClipClassifier, before: dict[str, torch.Tensor]) -> dict[str, bool]:
    after = classifier.state_dict()
    assert after.keys() == before.keys()  # nothing of a strategy is left in the network
    return {name: not torch.equal(after[name], value) for name, value in before.items() if value.is_floating_point()}


def is_matrix(name: str, before: dict[str, torch.Tensor]) -> bool:
    return name.startswith("backbone.") and name.endswith("weight") and before[name].ndim >= 2


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_through_a_strategy(family, strategy, checkpoints, examples, tmp_path):
    model = load(family, checkpoints)
    classifier = ClipClassifier(model.backbone, LABELS)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    phases = plan_phases(strategy, len(model.backbone.blocks()), 0.9, lora_rank=2)
    result = train_classifier(
        classifier, phases, examples, None, SETTINGS, seed=0, arm="fine-tuned", checkpoint=tmp_path / "state"
    )
    assert all(np.isfinite(row["train_loss"]) for row in result.rows)

    change = moved(classifier, before)
    assert change["head.linear.weight"]
    backbone = {name: value for name, value in change.items() if name.startswith("backbone.")}
    matrices = {name: value for name, value in backbone.items() if is_matrix(name, before)}
    statistics = {name: value for name, value in backbone.items() if "running_" in name}
    assert bool(statistics) == (family in ("resnet", "mobilenet_v2", "ResNet50"))
    if strategy == "probe":
        assert not any(backbone.values())
    elif strategy == "lora":
        assert not any(value for name, value in backbone.items() if name not in matrices)
        assert sum(matrices.values()) >= len(matrices) / 2
        assert low_rank(classifier, before, matrices, rank=2)
    else:
        assert all(matrices.values())
        assert all(statistics.values())

    save_classifier(tmp_path / "model", classifier, model.card, {})
    answers = classify(classifier, examples.batches(64))
    loaded = load_classifier(tmp_path / "model").classifier
    np.testing.assert_array_equal(classify(loaded, examples.batches(64)), answers)


def low_rank(classifier: ClipClassifier, before: dict[str, torch.Tensor], matrices: dict[str, bool], rank: int) -> bool:
    """Whether linear layers changed by an update of this rank: what is left of it beyond is rounding."""
    after = classifier.state_dict()
    for name in matrices:
        change = after[name] - before[name]
        if change.ndim == 2 and min(change.shape) > rank and change.abs().max() > 0:
            values = torch.linalg.svdvals(change)
            if values[rank] > 1e-3 * values[0]:
                return False
    return True


def test_a_saved_model_needs_nothing_of_what_it_came_from(checkpoints, examples, tmp_path):
    folder = Path(shutil.copytree(checkpoints["vit"], tmp_path / "vit"))
    model = load("vit", {"vit": folder})
    classifier = ClipClassifier(model.backbone, LABELS).eval()
    save_classifier(tmp_path / "model", classifier, model.card, {})
    shutil.rmtree(folder)
    loaded = load_classifier(tmp_path / "model").classifier
    np.testing.assert_array_equal(classify(loaded, examples.batches(64)), classify(classifier, examples.batches(64)))
