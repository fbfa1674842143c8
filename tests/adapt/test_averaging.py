"""Weights mixed after training: exact ends, plain averages, statistics that fit again, and choices by validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_backbone import SmallBackbone, moving_bars

from newgameplus.adapt import ClipClassifier, plan_phases
from newgameplus.adapt.averaging import average_weights, interpolate, measure_statistics, same_statistics
from newgameplus.recipe import TrainSettings
from newgameplus.train.examples import ClipExamples
from newgameplus.train.loop import phase_epochs, train_classifier
from newgameplus.train.snapshots import Snapshots
from newgameplus.train.weight_choice import WeightChoice, choose_weights

SETTINGS = TrainSettings(epochs=10, batch_size=8, learning_rate=0.01, head_learning_rate=0.03, augment=False)
LABELS = ["left", "right", "still"]


def examples(count: int, seed: int) -> ClipExamples:
    clips, targets = moving_bars(count, seed)
    return ClipExamples(clips, np.arange(count), targets)


def classifiers() -> tuple[ClipClassifier, ClipClassifier]:
    torch.manual_seed(0)
    return ClipClassifier(SmallBackbone(), LABELS), ClipClassifier(SmallBackbone(), LABELS)


def test_the_ends_of_an_interpolation_are_exact_and_its_middle_is_the_mean() -> None:
    first, second = (one.state_dict() for one in classifiers())
    for share, end in ((0.0, first), (1.0, second)):
        assert all(torch.equal(value, end[name]) for name, value in interpolate(first, second, share).items())
    middle = interpolate(first, second, 0.5)
    name = "backbone.first.0.weight"
    assert torch.allclose(middle[name], (first[name] + second[name]) / 2)
    assert middle["backbone.first.1.num_batches_tracked"].dtype == torch.int64


def test_an_average_of_equals_changes_nothing() -> None:
    state = classifiers()[0].state_dict()
    assert all(torch.allclose(value, state[name]) for name, value in average_weights([state, state, state]).items())


def test_statistics_are_measured_anew_and_nothing_else_moves() -> None:
    classifier = classifiers()[0]
    classifier.backbone.dropout.p = 0.9
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    clips = torch.from_numpy(moving_bars(32)[0].frames)
    measure_statistics(classifier, clips.split(16))
    with torch.no_grad():
        maps = classifier.backbone.first[0](clips[..., 0].float() / 127.5 - 1.0)
    layer = classifier.backbone.first[1]
    assert torch.allclose(layer.running_mean, maps.mean(dim=(0, 2, 3)), atol=1e-5)
    assert layer.momentum == 0.1
    assert not classifier.training
    assert not layer.training
    moved = {name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])}
    assert all("running_" in name or "num_batches" in name for name in moved)
    assert not same_statistics(classifier, [before, classifier.state_dict()])
    assert same_statistics(classifier, [before, before])


def choose(folder: Path, after: str, seeds: int = 1) -> tuple[ClipClassifier, WeightChoice]:
    phases = plan_phases("lp-ft", 2, 0.8)
    train, validation = examples(24, 0), examples(15, 1)
    kept, trained = [], []
    for seed in range(seeds):
        torch.manual_seed(0)
        classifier = ClipClassifier(SmallBackbone(), LABELS)
        keep = Snapshots(lambda name: folder / f"{name}.safetensors", f"a{seed}", phases, 3)
        checkpoint = folder / f"c{seed}"
        train_classifier(
            classifier, phases, train, validation, SETTINGS, seed=seed, arm="a", checkpoint=checkpoint, keep=keep
        )
        kept.append(keep)
        trained.append(classifier)
    epochs = phase_epochs(phases, 24, SETTINGS)[-1]
    return trained[0], choose_weights(after, trained[0], kept, epochs, train, validation, SETTINGS)


def loss_of(classifier: ClipClassifier) -> float:
    shown = examples(15, 1)
    clips, targets = shown.batch(np.arange(15), None)
    with torch.no_grad():
        return float(torch.nn.functional.cross_entropy(classifier.eval()(clips), targets))


def test_wise_ft_takes_the_share_that_validation_likes_best(tmp_path: Path) -> None:
    classifier, choice = choose(tmp_path, "wise-ft")
    assert set(choice.losses) == {f"{share}% fine-tuned" for share in (0, 20, 40, 50, 60, 80, 100)}
    assert loss_of(classifier) == pytest.approx(min(choice.losses.values()), abs=1e-5)
    assert "WiSE-FT" in choice.text


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_soup_is_never_worse_than_its_best_ingredient(tmp_path: Path, seeds: int) -> None:
    classifier, choice = choose(tmp_path, "soup", seeds)
    ingredients = {name: loss for name, loss in choice.losses.items() if name != "soup"}
    assert len(ingredients) == 1 + 3 * seeds
    assert choice.losses["soup"] <= min(ingredients.values())
    assert loss_of(classifier) == pytest.approx(choice.losses["soup"], abs=1e-5)


def test_a_choice_made_again_from_the_files_is_the_same(tmp_path: Path) -> None:
    first, one = choose(tmp_path, "soup")
    again, other = choose(tmp_path, "soup")  # the training is done: all comes from the checkpoints
    assert one == other
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())


def test_snapshots_in_the_middle_of_a_lora_phase_have_plain_weights(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    phases = plan_phases("lora", 2, 0.8, lora_rank=2)
    classifier = classifiers()[0]
    keep = Snapshots(lambda name: tmp_path / name, "a", phases, 2)
    train_classifier(
        classifier, phases, examples(24, 0), None, SETTINGS, seed=0, arm="a", checkpoint=tmp_path / "c", keep=keep
    )
    epochs = phase_epochs(phases, 24, SETTINGS)[-1]
    kept = keep.epochs(epochs)
    assert len(kept) == 2
    last = kept[f"epoch {epochs}"]
    assert set(last) == set(classifier.state_dict())
    assert all(torch.allclose(value, last[name], atol=1e-6) for name, value in classifier.state_dict().items())
