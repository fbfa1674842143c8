"""Small policies for toy games, and trainings of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from newgameplus.games.environment_contract import Environments
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.recipe_agent import AgentTrainSettings
from newgameplus.train.policy_optimization import PolicyResult, PolicyTraining, train_policy

FAST = AgentTrainSettings(
    steps=8192, rollout=32, batch_size=128, learning_rate=2e-3, critic_learning_rate=2e-3, checkpoints=4
)


def small_policy(environments: Environments, seed: int = 0, **more: Any) -> PolicyNetwork:
    torch.manual_seed(seed)
    settings = {"actor": (32,), "critic": (32,), **more}
    return PolicyNetwork(PolicyShape(environments.observations, environments.actions, **settings))


def train(
    network: PolicyNetwork,
    environments: Environments,
    folder: Path,
    settings: AgentTrainSettings = FAST,
    *,
    seed: int = 0,
    on_check: Callable[[list[dict[str, Any]]], None] | None = None,
    **more: Any,
) -> PolicyResult:
    training = PolicyTraining("arm", settings, seed, folder / "checkpoint.safetensors", **more)
    return train_policy(network, environments, training, on_check)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())
