"""Policies of real games are operated on, and proved on what they really see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.patched_policies import discrete

from newgameplus.adapt.surgery import operate, plan_surgery, prove
from newgameplus.adapt.surgery_moments import moments_of
from newgameplus.adapt.surgery_training import AfterSurgery, load_moments_of, save_moments
from newgameplus.games.environments import make_environments
from newgameplus.pretrained.policy import Policy, as_tensors, load_policy, save_policy
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.spaces import ActionSpec, ObservationPart, Observations, ObservationSpec


def played(game: str, shape: dict[str, object], steps: int = 40) -> tuple[Policy, Observations]:
    """Return a policy of a game, and what it sees there."""
    torch.manual_seed(0)
    with make_environments(EnvironmentSettings(id=game), count=2) as environments:
        network = PolicyNetwork(PolicyShape(environments.observations, environments.actions, **shape))  # type: ignore[arg-type]
        torch.nn.init.orthogonal_(network.actor_head.weight, 1.0)
        policy = Policy("fresh", network.eval(), game)
        seen, generator = [environments.reset(0)], torch.Generator().manual_seed(0)
        for _ in range(steps):
            actions, _ = policy.act(seen[-1], generator=generator)
            seen.append(environments.step(actions).observations)
        return policy, {name: np.concatenate([one[name] for one in seen]) for name in seen[0]}


def test_breakout_gets_a_channel_and_a_button_and_a_wider_network() -> None:
    pytest.importorskip("minatar")
    old, seen = played("MinAtar/Breakout-v1", {"actor": (32,), "critic": (32,), "activation": "relu"})
    part = old.shape.observations.parts[0]
    after = ObservationSpec(
        (replace(part, shape=(5, 10, 10), features=("brick", "shield", "ball", "trail", "paddle")),)
    )
    actions = discrete("noop", "fire", "right", "left")
    plan = plan_surgery(old.shape, after, actions, widths={"channels": [24], "actor": [40, 64], "critic": [64]})
    new = operate(old, plan, seen)
    proof = prove(old, new, plan, seen)
    assert proof.preserved
    assert proof.observations == 82
    assert proof.exact.largest < 1e-12
    assert proof.single.agreement == 1.0
    assert proof.new_actions["fire"] == pytest.approx(0.01, rel=1e-3)


def test_a_recurrent_minigrid_policy_meets_new_objects_words_and_numbers() -> None:
    pytest.importorskip("minigrid")
    shape = {"memory": "lstm", "memory_width": 16, "actor": (16,), "critic": (16,), "features": 16}
    old, seen = played("MiniGrid-DoorKey-5x5-v0", {**shape, "options": {"layers": 1}})
    parts = {part.name: part for part in old.shape.observations.parts}
    view = parts["image"]
    after = ObservationSpec(
        (
            ObservationPart("health", "vector", (2,)),
            replace(view, sizes=(view.sizes[0] + 2, *view.sizes[1:]), features=("object", "color", "state")),
            replace(parts["mission"], sizes=(parts["mission"].sizes[0] + 9,), shape=(parts["mission"].shape[0] + 3,)),
            parts["direction"],
        )
    )
    names = (*old.shape.actions.names, "swap")
    maps = f"health:new,image.object:0..3->0..3,image.object:4..{view.sizes[0] - 1}->6..{view.sizes[0] + 1}"
    plan = plan_surgery(old.shape, after, discrete(*names), map_observations=maps, memory_width=20)
    new = operate(old, plan, seen)
    proof = prove(old, new, plan, seen)
    assert proof.preserved
    assert proof.steps == 8
    assert proof.exact.state < 1e-9


def test_what_is_trained_on_begins_with_its_moments_and_is_kept(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    old, seen = played("CartPole-v1", {"actor": (16,), "critic": (16,)})
    shown = as_tensors(seen)
    optimizer = torch.optim.Adam(old.network.parameters(), 1e-3)

    def step(policy: Policy, adam: torch.optim.Optimizer, given: Observations) -> None:
        answer = policy.network(as_tensors(given))
        adam.zero_grad()
        (answer.values.mean() + answer.distribution.entropy().mean()).backward()
        adam.step()

    for _ in range(3):
        step(old, optimizer, seen)
    after = ObservationSpec((replace(old.shape.observations.parts[0], shape=(5,)),))
    maps = {"map_observations": "0..3->1..4", "map_actions": "0..1->0..1,2:new"}
    plan = plan_surgery(old.shape, after, ActionSpec("discrete", (3,)), **maps)  # type: ignore[arg-type]
    new = operate(old, plan, seen)
    save_policy(folder, new)
    save_moments(folder, moments_of(optimizer, old.network), plan)

    loaded = load_policy(folder)
    start = AfterSurgery(loaded, load_moments_of(folder))
    adam = torch.optim.Adam(loaded.network.parameters(), 1e-3)
    start.begin(adam, loaded.network)
    assert int(adam.state[loaded.network.actor_head.weight]["step"]) == 3
    weights = {name: value.clone() for name, value in loaded.network.state_dict().items()}
    given = {"observation": np.pad(seen["observation"], ((0, 0), (1, 0)))}
    with start.refilling(adam, loaded.network):
        step(loaded, adam, given)
    assert all(torch.equal(value, weights[name]) for name, value in loaded.network.state_dict().items())
    start.lift(loaded.network, -0.5, 0.05)
    assert loaded.network.actor_head.bias[2] > weights["actor_head.bias"][2]
    start.finish(loaded)
    again = AfterSurgery(loaded)
    assert not again.refills
    assert not again.lifts
    assert loaded.facts["operated"]["from"] == "fresh"
    assert shown["observation"].shape[1] == 4
    assert load_moments_of(folder / "nowhere") == {}
