"""Baselines: what the features can see, and that the forest learns it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from newgameplus.evaluate.baselines import majority, random_forest, simple_features


def sliding_clips(clips: int, seed: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A textured picture that slides left, right, up, down or not at all; where it starts says nothing."""
    rng = np.random.default_rng(seed)
    steps = np.array([(0, -3), (0, 3), (-3, 0), (3, 0), (0, 0)])
    targets = rng.integers(0, 5, clips)
    frames = np.zeros((clips, 6, 48, 64, channels), dtype=np.uint8)
    for clip, target in enumerate(targets):
        coarse = rng.integers(20, 236, (14, 18, channels)).astype(np.float32)
        world = np.kron(coarse, np.ones((6, 6, 1), dtype=np.float32))
        for frame in range(6):
            down, right = 18 + frame * steps[target] * 1
            frames[clip, frame] = world[down : down + 48, right : right + 64]
    return frames, targets


def test_the_forest_sees_which_way_the_picture_slides() -> None:
    train, train_targets = sliding_clips(150, 0)
    test, test_targets = sliding_clips(150, 1)
    answers = random_forest(simple_features([train]), train_targets, simple_features([test]), 5, trees=100)
    assert answers.shape == (150, 5)
    assert answers.sum(1) == pytest.approx(1.0)
    assert (answers.argmax(1) == test_targets).mean() > 0.9


def test_colour_counts() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 60)
    clips = rng.integers(0, 40, (60, 3, 20, 30, 3)).astype(np.uint8)
    # Red against blue of the same luma: grey pictures could not tell.
    clips[targets == 0, ..., 0] = 100
    clips[targets == 1, ..., 2] = 255
    features = simple_features([clips])
    answers = random_forest(features[:30], targets[:30], features[30:], 2, trees=50)
    assert (answers.argmax(1) == targets[30:]).mean() == 1.0


def test_batches_change_nothing() -> None:
    clips, _ = sliding_clips(30, 0, channels=3)
    whole = simple_features([clips])
    assert whole.dtype == np.float32
    assert simple_features(iter([clips[:7], clips[7:8], clips[8:]])) == pytest.approx(whole)


@pytest.mark.parametrize("shape", [(1, 60, 80, 1), (8, 60, 80, 3), (2, 1, 1, 1), (3, 5, 4, 3), (4, 224, 224, 3)])
def test_any_shape_of_clip_gives_finite_features(shape: tuple[int, ...]) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8)
    clips[0] = 0
    features = simple_features([clips])
    assert features.shape[0] == 3
    assert features.shape[1] > 0
    assert np.isfinite(features).all()


def test_the_forest_is_seeded_and_knows_classes_without_training_clips() -> None:
    features = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    targets = np.array([1, 3] * 20)
    one = random_forest(features, targets, features, 5, seed=7, trees=20)
    assert np.array_equal(one, random_forest(features, targets, features, 5, seed=7, trees=20))
    assert not np.array_equal(one, random_forest(features, targets, features, 5, seed=8, trees=20))
    assert one[:, [0, 2, 4]].max() == 0.0
    assert one.sum(1) == pytest.approx(1.0)


def test_majority_answers_the_most_frequent_class_with_the_class_shares() -> None:
    answers = majority(np.array([2, 2, 2, 0]), 4, 3)
    assert answers.tolist() == [[0.25, 0.0, 0.75, 0.0]] * 3


def test_features_keep_up_with_a_benchmark() -> None:
    clips = np.random.default_rng(0).integers(0, 256, (120, 8, 60, 80, 1)).astype(np.uint8)
    started = time.perf_counter()
    simple_features([clips])
    # A tenth of 1,200 clips; ten seconds are allowed for all of them, and this machine may be busy.
    assert time.perf_counter() - started < 2.0
