"""Moments go along with their weights, are refilled before weights move, and so do demonstrations and a baseline."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from tests.patched_policies import discrete, random_observations, random_policy, spec, translated, vector

from newgameplus.adapt.surgery import convert_episodes, load_what_fits, operate, plan_surgery
from newgameplus.adapt.surgery_moments import carry_moments, fresh_entries, load_moments, moments_of, refilling
from newgameplus.errors import SurgeryError
from newgameplus.games.episodes import Demonstrations, Episode
from newgameplus.pretrained.policy import Policy, as_tensors
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ObservationPart

BEFORE, AFTER = spec(vector("hp", "mana", "gold")), spec(vector("gold", "hp", "mana"))
SHAPE = PolicyShape(BEFORE, discrete("left", "right", "jump"), actor=(8,), critic=(8,))


def learn(policy: Policy, optimizer: torch.optim.Optimizer, seen: Any, names: tuple[str, ...], steps: int) -> None:
    """Learn to jump where hp is high."""
    actions = torch.where(torch.as_tensor(seen["observation"]).sum(1) > 9.0, names.index("jump"), names.index("left"))
    for _ in range(steps):
        answer = policy.network(as_tensors(seen))
        optimizer.zero_grad()
        (answer.values.square().mean() - answer.distribution.log_prob(actions).mean()).backward()
        optimizer.step()


def adam(policy: Policy, kind: Any = torch.optim.Adam) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = kind(policy.network.parameters(), 1e-2)
    return optimizer


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_training_goes_on_as_if_nothing_had_moved(kind: Any) -> None:
    old, seen = random_policy(SHAPE)
    first = adam(old, kind)
    learn(old, first, seen, SHAPE.actions.names, 20)
    plan = plan_surgery(SHAPE, AFTER, discrete("jump", "left", "right"))
    new = operate(old, plan)
    second = adam(new, kind)
    carried = carry_moments(moments_of(first, old.network), plan)
    assert load_moments(second, new.network, carried) == len(list(new.network.parameters()))
    learn(old, first, seen, SHAPE.actions.names, 20)
    learn(new, second, translated(BEFORE, AFTER, seen), ("jump", "left", "right"), 20)
    again = operate(old, plan)
    for name, weight in again.network.named_parameters():
        torch.testing.assert_close(dict(new.network.named_parameters())[name], weight, atol=1e-4, rtol=1e-3)


def test_moments_of_new_weights_are_zero_and_the_others_are_kept() -> None:
    old, seen = random_policy(SHAPE)
    first = adam(old)
    learn(old, first, seen, SHAPE.actions.names, 5)
    plan = plan_surgery(SHAPE, spec(vector("hp", "x", "mana", "gold")), SHAPE.actions, widths={"actor": [10]})
    before = moments_of(first, old.network)
    after, fresh = carry_moments(before, plan), fresh_entries(plan)
    kept = after["actor.0.weight.exp_avg_sq"][:8][:, [0, 2, 3]]
    assert torch.equal(kept, before["actor.0.weight.exp_avg_sq"])
    assert after["actor.0.weight.step"] == 5
    assert fresh["actor.0.weight"].sum() == 2 * 4 + 8
    for name, mask in fresh.items():
        assert not after[f"{name}.exp_avg"][mask].any()


def test_moments_are_refilled_before_weights_move() -> None:
    old, seen = random_policy(SHAPE)
    first = adam(old)
    learn(old, first, seen, SHAPE.actions.names, 200)
    plan = plan_surgery(SHAPE, spec(vector("hp", "x", "mana", "gold")), SHAPE.actions, widths={"actor": [10]})
    new = operate(old, plan)
    second = adam(new)
    load_moments(second, new.network, carry_moments(moments_of(first, old.network), plan))
    shown = translated(BEFORE, plan.new.observations, seen)
    before, fresh = copy.deepcopy(new.network.state_dict()), fresh_entries(plan)
    with refilling(second, new.network, fresh):
        learn(new, second, shown, SHAPE.actions.names, 10)
    assert all(torch.equal(value, before[name]) for name, value in new.network.state_dict().items())
    assert second.param_groups[0]["lr"] == 1e-2
    weight = new.network.actor_head.weight
    assert weight.grad is not None
    # The same gradient ten times over: its square is what the corrected second moment must be.
    expected = weight.grad[fresh["actor_head.weight"]].square()
    torch.testing.assert_close(second.state[weight]["exp_avg_sq"][fresh["actor_head.weight"]], expected)
    learn(new, second, shown, SHAPE.actions.names, 1)
    moved = (weight - before["actor_head.weight"]).abs()[fresh["actor_head.weight"]]
    assert moved.max() < 1.1e-2  # without the correction it would be three times the rate


def test_unknown_moments_begin_anew() -> None:
    old, _ = random_policy(SHAPE)
    plan = plan_surgery(SHAPE, AFTER, SHAPE.actions)
    assert carry_moments({}, plan) == {}
    assert load_moments(adam(old), old.network, {}) == 0
    with refilling(adam(old), old.network):
        pass


def episodes(count: int, seen: Any = BEFORE, **settings: Any) -> Demonstrations:
    found = []
    for number in range(count):
        actions = np.arange(4) % 3 if number else np.zeros(4, np.int64)
        masks = np.ones((4, 3), np.bool_)
        found.append(Episode(random_observations(seen, 5, number), actions, np.ones(4, np.float32), True, masks=masks))
    return Demonstrations(seen, SHAPE.actions, tuple(found), **settings)


def test_demonstrations_are_brought_to_the_new_spaces() -> None:
    given = episodes(3)
    plan = plan_surgery(SHAPE, spec(vector("gold", "x", "hp", "mana")), discrete("jump", "dash", "right", "left"))
    found = convert_episodes(given, plan)
    assert (found.observations, found.actions) == (plan.new.observations, plan.new.actions)
    first, before = found.episodes[1], given.episodes[1]
    assert first.observations["observation"][:, [2, 3, 0]].tolist() == before.observations["observation"].tolist()
    assert not first.observations["observation"][:, 1].any()
    assert first.actions.tolist() == [3, 2, 0, 3]
    assert first.masks is not None
    assert first.masks[0].tolist() == [True, False, True, True]


def test_episodes_with_what_is_gone_are_left_out() -> None:
    plan = plan_surgery(SHAPE, BEFORE, discrete("left", "jump"))
    found = convert_episodes(episodes(3), plan)
    assert len(found.episodes) == 1
    assert "an action that is removed" in found.left_out[0]
    with pytest.raises(SurgeryError, match="none of"):
        convert_episodes(episodes(1), plan_surgery(SHAPE, BEFORE, discrete("right", "jump")))
    with pytest.raises(SurgeryError, match="other spaces"):
        convert_episodes(episodes(1, spec(vector("hp", name="other"))), plan)


def test_codes_that_are_gone_leave_an_episode_out() -> None:
    grid = ObservationPart("grid", "grid", (1, 3, 3), "int64", sizes=(5,))
    shape = PolicyShape(spec(grid), SHAPE.actions)
    plan = plan_surgery(shape, spec(ObservationPart("grid", "grid", (1, 3, 3), "int64", sizes=(2,))), SHAPE.actions)
    with pytest.raises(SurgeryError, match="no longer has"):
        convert_episodes(episodes(2, shape.observations), plan)


def test_the_baseline_loads_what_fits() -> None:
    old, _ = random_policy(SHAPE)
    new = load_what_fits(old, spec(vector("hp", "mana", "gold", "x")), discrete("left", "right", "jump"))
    assert "actor.0.weight" in new.facts["anew"]
    assert "actor_head.weight" in new.facts["loaded"]
    assert torch.equal(new.network.actor_head.weight, old.network.actor_head.weight)
    assert float(new.network.normalizer.count) == 0.0  # its statistics begin anew, and may move at once
    same = load_what_fits(old, BEFORE, SHAPE.actions)
    assert same.facts["anew"] == []
    assert float(same.network.normalizer.count) == float(old.network.normalizer.count)
