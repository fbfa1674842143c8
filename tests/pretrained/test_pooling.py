"""Pooling over time: what each pooling must and must not see."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.pretrained.pooling import POOLINGS, change_over_time, pool_over_time, pooled_dim


def features(seed: int, frames: int, batch: int = 3, width: int = 5) -> torch.Tensor:
    return torch.randn(batch, frames, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_the_promised_width_comes_out(pooling, frames):
    pooled = pool_over_time(features(0, frames), pooling)
    assert pooled.shape == (3, pooled_dim(5, pooling))
    assert torch.isfinite(pooled).all()


@given(seed=st.integers(0, 10_000), frames=st.integers(2, 9))
@settings(max_examples=30, deadline=None)
def test_mean_and_max_do_not_see_the_order_of_frames(seed, frames):
    clip = features(seed, frames)
    shuffled = clip[:, torch.randperm(frames, generator=torch.Generator().manual_seed(seed))]
    for pooling in ("mean", "max"):
        torch.testing.assert_close(pool_over_time(shuffled, pooling), pool_over_time(clip, pooling))


@given(seed=st.integers(0, 10_000), frames=st.integers(2, 9))
@settings(max_examples=30, deadline=None)
def test_played_backwards_the_change_turns_its_sign_and_the_mean_stays(seed, frames):
    clip = features(seed, frames)
    forwards, backwards = pool_over_time(clip, "mean-change"), pool_over_time(clip.flip(1), "mean-change")
    torch.testing.assert_close(backwards[:, :5], forwards[:, :5])
    torch.testing.assert_close(backwards[:, 5:], -forwards[:, 5:])
    assert forwards[:, 5:].abs().max() > 1e-3


def test_change_of_a_steady_movement_is_last_minus_first():
    first, last = features(1, 1), features(2, 1)
    steps = torch.linspace(0, 1, 6)[None, :, None]
    clip = first + steps * (last - first)
    torch.testing.assert_close(change_over_time(clip), (last - first)[:, 0])


def test_change_looks_at_the_frames_between_the_first_and_the_last():
    clip = features(3, 6)
    other = clip.clone()
    other[:, 1] += 1.0
    assert (change_over_time(other) - change_over_time(clip)).abs().min() > 0.1


def test_two_frames_change_by_their_difference_and_one_by_nothing():
    clip = features(4, 2)
    torch.testing.assert_close(change_over_time(clip), clip[:, 1] - clip[:, 0])
    assert not change_over_time(clip[:, :1]).any()


def test_gradients_reach_every_frame():
    clip = features(5, 4).requires_grad_()
    pool_over_time(clip, "mean-change").square().sum().backward()
    assert clip.grad is not None
    assert (clip.grad.abs().sum(dim=(0, 2)) > 0).all()
