"""What an action was worth: against sums written out, and with rewards that no game should give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.train.advantages import ReturnScale, advantage_weights, generalized_advantages


def naive(
    rewards: np.ndarray, values: np.ndarray, after: np.ndarray, ended: np.ndarray, gamma: float, smoothing: float
) -> np.ndarray:
    """Sum over all later steps, as the definition says."""
    steps, count = rewards.shape
    found = np.zeros((steps, count))
    for row in range(count):
        for step in range(steps):
            weight = 1.0
            for later in range(step, steps):
                following = after[later, row] if ended[later, row] else values[later + 1, row]
                found[step, row] += weight * (rewards[later, row] + gamma * following - values[later, row])
                weight *= gamma * smoothing
                if ended[later, row]:
                    break
    return found


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**31),
    steps=st.integers(1, 12),
    count=st.integers(1, 4),
    gamma=st.floats(0.0, 1.0),
    smoothing=st.floats(0.0, 1.0),
)
def test_advantages_are_the_sum_of_the_definition(
    seed: int, steps: int, count: int, gamma: float, smoothing: float
) -> None:
    generator = np.random.default_rng(seed)
    rewards, after = generator.normal(size=(2, steps, count)).astype(np.float32)
    values = generator.normal(size=(steps + 1, count)).astype(np.float32)
    ended = generator.random((steps, count)) < 0.3
    after = np.where(generator.random((steps, count)) < 0.5, after, 0.0).astype(np.float32)
    found = generalized_advantages(rewards, values, after, ended, gamma, smoothing)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, naive(rewards, values, after, ended, gamma, smoothing), atol=1e-4)


def test_the_scale_is_the_deviation_of_the_discounted_return() -> None:
    generator = np.random.default_rng(0)
    rewards = generator.normal(3.0, 2.0, (400, 6)).astype(np.float32)
    ended = generator.random((400, 6)) < 0.1
    scale = ReturnScale(0.9)
    for part in range(0, 400, 50):
        scale.update(rewards[part : part + 50], ended[part : part + 50])
    returns, running = [], np.zeros(6)
    for step in range(400):
        running = 0.9 * running + rewards[step]
        returns.append(running.copy())
        running[ended[step]] = 0.0
    assert scale.scale == pytest.approx(np.std(returns), rel=1e-6)
    np.testing.assert_allclose(scale.scaled(rewards), rewards / np.float32(np.std(returns)), rtol=1e-5)


def test_the_scale_can_be_kept_and_taken_up_again() -> None:
    scale, other = ReturnScale(0.99), ReturnScale(0.99)
    scale.update(np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32), np.zeros((20, 3), np.bool_))
    other.load(scale.as_dict())
    assert other.scale == scale.scale
    assert scale.as_dict()["count"] == 60


@pytest.mark.parametrize("early", [True, False])
def test_a_monstrous_reward_hardly_moves_the_scale(early: bool) -> None:
    rewards = np.ones((100, 4), np.float32)
    monstrous = rewards.copy()
    monstrous[5, 0] = 1e9
    ended = np.zeros((100, 4), np.bool_)
    scale = ReturnScale(0.9)
    if not early:
        scale.update(rewards, ended)
    scale.update(monstrous, ended)
    assert 0.1 < scale.scale < 100.0
    assert np.abs(scale.scaled(monstrous)).max() == 10.0


def test_nothing_is_scaled_where_that_is_not_wanted_or_nothing_was_paid() -> None:
    rewards = np.full((10, 2), 5.0, np.float32)
    plain = ReturnScale(0.9, active=False, clip=None)
    plain.update(rewards, np.zeros((10, 2), np.bool_))
    np.testing.assert_array_equal(plain.scaled(rewards), rewards)
    empty = ReturnScale(0.9)
    empty.update(np.zeros((10, 2), np.float32), np.zeros((10, 2), np.bool_))
    assert empty.scale == 1.0


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 40))
def test_weights_of_better_steps_are_higher_and_their_mean_is_one(seed: int, count: int) -> None:
    advantages = torch.tensor(np.random.default_rng(seed).normal(size=count), dtype=torch.float32)
    weights = advantage_weights(advantages)
    assert float(weights.mean()) == pytest.approx(1.0, abs=1e-4)
    order = advantages.argsort()
    assert bool((weights[order].diff() >= 0).all())
