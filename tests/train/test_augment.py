"""Augmentation leaves the label true, or changes it the way the picture changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.small_backbone import ArrayClips

from newgameplus.train.augment import augment_clips, mirror_clips, mirrored_classes
from newgameplus.train.examples import ClipExamples, FeatureExamples


def noise(clips: int = 6) -> torch.Tensor:
    return torch.randint(0, 256, (clips, 3, 20, 30, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_same_generator_gives_the_same_clips() -> None:
    one, same = (augment_clips(noise(), np.random.default_rng(3)) for _ in range(2))
    other = augment_clips(noise(), np.random.default_rng(4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.dtype == torch.uint8
    assert one.shape == noise().shape


def test_all_frames_of_a_clip_change_alike_so_that_movement_stays() -> None:
    still = noise(4)[:, :1].expand(-1, 3, -1, -1, -1).contiguous()
    varied = augment_clips(still, np.random.default_rng(0))
    assert torch.equal(varied[:, 0], varied[:, 1])
    assert torch.equal(varied[:, 0], varied[:, 2])
    assert not torch.equal(varied, still)


@pytest.mark.parametrize(
    "shape", [(5, 3, 20, 30, 1), (4, 1, 40, 17, 3), (3, 2, 1, 1, 3), (2, 2, 9, 60, 4), (0, 2, 9, 9, 1)]
)
def test_light_and_position_change_as_the_formula_says(shape: tuple[int, ...]) -> None:
    """Pixel by pixel, in floating point: moved with the edge repeated, then contrast about the mean, then light."""
    clips = np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)
    draws, (batch, _, height, width, _) = np.random.default_rng(3), shape
    contrast = np.exp(draws.uniform(-0.28, 0.28, size=batch))
    light = draws.uniform(-0.15, 0.15, size=batch) * 255.0
    most = int(height * 0.06), int(width * 0.06)
    down, right = (draws.integers(-side, side + 1, size=batch) for side in most)
    wanted = np.empty_like(clips)
    for index in range(batch):
        rows = np.clip(np.arange(height) - down[index], 0, height - 1)
        columns = np.clip(np.arange(width) - right[index], 0, width - 1)
        moved = clips[index][:, rows][:, :, columns].astype(np.float32)
        middle, factor, more = moved.mean(dtype=np.float64), contrast[index], light[index]
        changed = (moved - np.float32(middle)) * np.float32(factor) + np.float32(middle) + np.float32(more)
        wanted[index] = changed.round().clip(0, 255)
    varied = augment_clips(torch.from_numpy(clips), np.random.default_rng(3))
    assert np.array_equal(varied.numpy(), wanted)


def test_names_say_what_a_mirror_does() -> None:
    assert mirrored_classes(["turn_left", "idle", "turn_right"]).tolist() == [2, 1, 0]
    assert mirrored_classes(["Strafe Right", "Strafe Left"]).tolist() == [1, 0]


@pytest.mark.parametrize(
    "labels", [["jump", "idle"], ["turn_left", "idle"], ["left", "right", "turn_left"], ["a left", "A Left", "a right"]]
)
def test_names_without_sides_or_without_their_counterpart_are_never_mirrored(labels: list[str]) -> None:
    assert mirrored_classes(labels) is None


def test_mirroring_twice_gives_the_clip_back() -> None:
    chosen = np.array([True, False, True, False, False, True])
    once = mirror_clips(noise(), chosen)
    assert torch.equal(once[1], noise()[1])
    assert torch.equal(once[0], noise()[0].flip(2))
    assert torch.equal(mirror_clips(once, chosen), noise())


def test_labels_change_sides_with_the_picture() -> None:
    """Clips bright on the left are class 0, on the right class 1: that must stay so in every batch."""
    frames = np.zeros((40, 3, 8, 10, 1), dtype=np.uint8)
    targets = np.arange(40, dtype=np.int64) % 2
    frames[targets == 0, :, :, :3] = 200
    frames[targets == 1, :, :, -3:] = 200
    examples = ClipExamples(
        ArrayClips(frames), np.arange(40), targets, augment=True, mirror=mirrored_classes(["left", "right"])
    )
    clips, classes = examples.batch(np.arange(40), np.random.default_rng(0))
    bright_right = clips[:, :, :, 5:].float().mean(dim=(1, 2, 3, 4)) > clips[:, :, :, :5].float().mean(dim=(1, 2, 3, 4))
    assert torch.equal(bright_right.long(), classes)
    assert not torch.equal(classes, torch.from_numpy(targets))
    plain, same = examples.batch(np.arange(40), None)
    assert torch.equal(plain, torch.from_numpy(frames))
    assert torch.equal(same, torch.from_numpy(targets))


def test_features_are_never_varied() -> None:
    features = torch.randn(5, 3)
    inputs, targets = FeatureExamples(features, np.arange(5)).batch(np.array([3, 1]), np.random.default_rng(0))
    assert torch.equal(inputs, features[[3, 1]])
    assert targets.tolist() == [3, 1]
