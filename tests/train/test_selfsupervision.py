"""Pretraining objectives: each learns what it says, from clips whose content is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from newgameplus.errors import DivergedError
from newgameplus.pretrained.clip_network import ClipNetwork
from newgameplus.shapes import ClipShape
from newgameplus.train.objective_learner import MovingAverage, pretrain
from newgameplus.train.selfsupervision import (
    Augmentation,
    ClipBatch,
    InverseDynamics,
    TemporalOrder,
    TwoViews,
    mirrored_label,
)

SHAPE = ClipShape(frames=4, height=32, width=40, channels=1)
LABELS = ("attack", "idle", "turn_left", "turn_right")


def moving_clips(count: int, seed: int = 0) -> ClipBatch:
    """Blurred noise that stands still, flashes in the middle, or slides aside as the view turns."""
    random = np.random.default_rng(seed)
    clips = np.zeros((count, *SHAPE.array), np.uint8)
    actions = random.integers(0, len(LABELS), count)
    for clip, action in zip(clips, actions, strict=True):
        scene = random.normal(size=(SHAPE.height, SHAPE.width + 32))
        for axis in (0, 1):
            scene = (scene + np.roll(scene, 1, axis) + np.roll(scene, 2, axis)) / 3
        picture = np.clip(128 + 90 * scene, 0, 255)
        for number in range(SHAPE.frames):
            left = 16 + {2: -4, 3: 4}.get(int(action), 0) * number
            clip[number, :, :, 0] = picture[:, left : left + SHAPE.width]
            if action == 0 and number == 2:
                clip[number, 12:24, 14:26] = 255
    return ClipBatch(torch.from_numpy(clips), torch.from_numpy(actions))


def endless(data: ClipBatch, size: int = 32):
    random = np.random.default_rng(1)
    while True:
        chosen = torch.from_numpy(random.integers(0, len(data.clips), size))
        yield ClipBatch(data.clips[chosen], data.actions[chosen])


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def network() -> ClipNetwork:
    torch.manual_seed(0)
    return ClipNetwork(SHAPE, width=8, feature_dim=32)


def late_loss(network, objective, data, steps=100) -> float:
    """Train; return the mean loss of the last twenty steps."""
    rows: list[float] = []
    pretrain(
        network,
        {objective: 1.0},
        endless(data),
        steps=steps,
        learning_rate=4e-3,
        half_precision=False,
        every=1,
        each=lambda row: rows.append(row["losses"][objective.name]),
    )
    assert len(rows) == steps
    return float(np.mean(rows[-20:]))


def test_inverse_dynamics_learns_actions_that_it_has_not_seen(network, generator):
    augment = Augmentation(generator, 0.5)
    objective = InverseDynamics(LABELS, network.feature_dim, augment, generator, smoothing=0.0)
    assert late_loss(network, objective, moving_clips(400)) < 0.5 * math.log(4)
    fresh = moving_clips(200, seed=9)
    with torch.no_grad():
        right = objective.head(network(fresh.clips)).argmax(1) == fresh.actions
    assert right.float().mean() > 0.8


def test_temporal_order_learns_which_order_frames_are_in(network, generator):
    moving = moving_clips(400)
    turning = moving.actions >= 2  # what stands still has no order
    data = ClipBatch(moving.clips[turning], moving.actions[turning])
    objective = TemporalOrder(SHAPE.frames, network.feature_dim, Augmentation(generator, 0.3), generator)
    assert late_loss(network, objective, data) < 0.6 * math.log(4)


def test_two_views_bring_views_together_without_collapse(network, generator):
    collapsed = 1.0  # the loss where all features are alike: no spread, and nothing to bring together
    objective = TwoViews(network.feature_dim, Augmentation(generator, 1.0), width=64)
    assert late_loss(network, objective, moving_clips(200), steps=60) < 0.75 * collapsed
    augment, data = Augmentation(generator, 1.0), moving_clips(64, seed=3)
    with torch.no_grad():
        first, second = (objective.expander(network(augment(data.clips))) for _ in range(2))
    same = (first - second).square().sum(1).mean()
    different = (first - second.roll(1, dims=0)).square().sum(1).mean()
    assert same < 0.6 * different
    assert first.std(0).mean() > 0.1


def test_mirrored_labels():
    mirror = {"turn_left": "turn_right", "strafe_right": "strafe_left", "idle": "idle", "move_forward": "move_forward"}
    assert {label: mirrored_label(label) for label in mirror} == mirror
    assert mirrored_label("leftover") == "leftover"


def test_augmentation_keeps_shape_and_range_and_changes_all_frames_alike(generator):
    clips = torch.randint(0, 256, (8, 4, 32, 40, 3), dtype=torch.uint8, generator=generator)
    still = clips[:, :1].expand(-1, 4, -1, -1, -1)
    changed = Augmentation(generator)(still)
    assert changed.shape == still.shape
    assert changed.dtype == torch.float32
    assert changed.min() >= 0
    assert changed.max() <= 255
    noisy = torch.arange(8) % 4 == 0
    quiet = changed[~noisy]
    torch.testing.assert_close(quiet, quiet[:, :1].expand_as(quiet))  # still clips stay still
    assert not torch.equal(changed, still.float())
    torch.testing.assert_close(Augmentation(generator, 0.0)(clips), clips.float(), atol=1e-3, rtol=0)


def test_the_same_seeds_give_the_same_weights():
    digests = set()
    for _ in range(2):
        torch.manual_seed(3)
        generator = torch.Generator().manual_seed(3)
        network = ClipNetwork(SHAPE, width=8, feature_dim=32)
        objective = InverseDynamics(LABELS, 32, Augmentation(generator), generator)
        pretrain(network, {objective: 1.0}, endless(moving_clips(64)), steps=5)
        digests.add(tuple(float(value.double().sum()) for value in network.state_dict().values()))
    assert len(digests) == 1


def test_training_stops_on_time_and_ends_in_evaluation_mode(network, generator):
    objective = TwoViews(network.feature_dim, Augmentation(generator), width=16)
    data = endless(moving_clips(32), size=8)
    steps = pretrain(network, {objective: 1.0}, data, steps=10**6, seconds=0.5)
    assert 0 < steps < 1000
    assert not network.training
    assert not objective.training


def test_a_loss_that_is_not_finite_is_explained(network, generator):
    objective = InverseDynamics(LABELS, network.feature_dim, Augmentation(generator), generator)
    with torch.no_grad():
        objective.head.weight.fill_(float("inf"))
    with pytest.raises(DivergedError, match="step 0") as caught:
        pretrain(network, {objective: 1.0}, endless(moving_clips(32)), steps=3)
    assert "learning_rate" in str(caught.value)


def test_the_moving_average_forgets_its_start():
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(1000.0)
    mean = MovingAverage(layer, 0.99)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    for step in itertools.count(1):
        mean.update(step)
        if step == 100:
            break
    mean.load()
    assert abs(layer.weight.item() - 1.0) < 0.5
