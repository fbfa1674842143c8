"""One vector a group moves as torch's Adam moves its weights, and its moments can be kept."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from newgameplus.train.flat_adam import FlatAdam


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))


def groups(module: nn.Sequential) -> list[dict[str, object]]:
    return [{"params": list(module[0].parameters()), "lr": 0.01}, {"params": list(module[2].parameters()), "lr": 0.03}]


def learn(module: nn.Sequential, optimizer: torch.optim.Optimizer, steps: int, largest: float | None = None) -> None:
    generator = torch.Generator().manual_seed(3)
    for _ in range(steps):
        loss = (module(torch.randn(8, 4, generator=generator)) - 1.0).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if isinstance(optimizer, FlatAdam):
            assert optimizer.descend(largest)
            continue
        if largest is not None:
            for group in optimizer.param_groups:
                nn.utils.clip_grad_norm_(group["params"], largest)
        optimizer.step()


@pytest.mark.parametrize("largest", [None, 0.1])
def test_it_moves_as_torchs_adam(largest: float | None) -> None:
    mine, theirs = network(), network()
    learn(mine, FlatAdam(groups(mine)), 20, largest)
    learn(theirs, torch.optim.Adam(groups(theirs), eps=1e-5), 20, largest)
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_moments_that_were_kept_go_on_bit_for_bit_and_have_torchs_form() -> None:
    whole, cut = network(), network()
    learn(whole, FlatAdam(groups(whole)), 5)
    first = FlatAdam(groups(cut))
    learn(cut, first, 5)
    kept = copy.deepcopy(first.state_dict())
    again = copy.deepcopy(cut)
    second = FlatAdam(groups(again))
    second.load_state_dict(kept)
    learn(cut, first, 5)
    learn(again, second, 5)
    assert all(torch.equal(one, other) for one, other in zip(cut.parameters(), again.parameters(), strict=True))
    plain = torch.optim.Adam(groups(again), eps=1e-5).state_dict()
    assert [group["params"] for group in kept["param_groups"]] == [group["params"] for group in plain["param_groups"]]
    assert {name for state in kept["state"].values() for name in state} == {"step", "exp_avg", "exp_avg_sq"}


def test_a_group_without_gradients_stays_and_nothing_moves_by_what_is_not_finite() -> None:
    module = network()
    optimizer = FlatAdam(groups(module))
    start = copy.deepcopy(module)
    module[0].requires_grad_(False)
    learn(module, optimizer, 3)
    assert torch.equal(module[0].weight, start[0].weight)
    assert not torch.equal(module[2].weight, start[2].weight)
    before = copy.deepcopy(module)
    optimizer.zero_grad()
    (module(torch.full((1, 4), float("nan")))).sum().backward()
    assert not optimizer.descend(None)
    assert torch.equal(module[2].weight, before[2].weight)
