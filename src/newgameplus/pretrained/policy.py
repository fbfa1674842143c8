"""A policy with its facts, on disk as safetensors and a card; where it came from does not matter any more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from newgameplus.errors import RunError
from newgameplus.files import digest_file, write_json
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import Actions, Masks, Observations
from newgameplus.tensors import load_tensors, save_tensors

__all__ = ["Policy", "as_tensors", "load_policy", "save_policy"]

_WEIGHTS, _CARD = "model.safetensors", "card.json"


def as_tensors(observations: Mapping[str, Any], device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Return observations as tensors, without a copy where that can be."""
    return {name: torch.as_tensor(values, device=device) for name, values in observations.items()}


@dataclass(eq=False)
class Policy:
    """A policy that can play.

    Attributes:
        name: Where it came from, e.g. ``sb3:ppo.zip``, ``run:runs/old`` or ``fresh``.
        network: Actor and critic; observation normalization included.
        environment: Game that it was made for; empty if unknown.
        facts: Anything else worth keeping: licence, algorithm, training, measured scores.
    """

    name: str
    network: PolicyNetwork
    environment: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> PolicyShape:
        """The blueprint of the network."""
        return self.network.shape

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.network.parameters())

    @torch.no_grad()
    def act(
        self,
        observations: Observations,
        state: Tensor | None = None,
        starts: Tensor | None = None,
        masks: Masks | None = None,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Actions, Tensor]:
        """Choose actions.

        Args:
            observations: Arrays [environments, ...] by part.
            state: Memory from the last call; None begins anew.
            starts: bool [environments], True where an episode begins.
            masks: Where actions may be taken.
            temperature: 0 takes the likeliest action.
            generator: Source of randomness.

        Returns:
            The actions, continuous ones clipped to what the game allows, and the memory for the next call.
        """
        device = self.network.actor_head.weight.device
        answer = self.network(
            as_tensors(observations, device), state, starts, None if masks is None else torch.as_tensor(masks)
        )
        chosen = (
            answer.distribution.mode()
            if temperature <= 0
            else answer.distribution.tempered(temperature).sample(generator)
        )
        return clip_actions(self.shape, chosen.cpu().numpy()), answer.state


def clip_actions(shape: PolicyShape, actions: Actions) -> Actions:
    """Return continuous actions clipped to what the game allows; others as they are."""
    if shape.actions.kind != "continuous" or not shape.actions.low:
        return actions
    clipped: Actions = np.clip(
        actions, np.asarray(shape.actions.low, np.float32), np.asarray(shape.actions.high, np.float32)
    )
    return clipped


def save_policy(folder: Path, policy: Policy, extra: Mapping[str, Any] | None = None) -> None:
    """Write ``model.safetensors`` and ``card.json`` into ``folder``, atomically each.

    Args:
        folder: Model folder of a run.
        policy: The policy.
        extra: More facts for the card, such as where it started from.

    Raises:
        StorageError: There is no space or no permission.
    """
    weights = folder / _WEIGHTS
    save_tensors(weights, policy.network.state_dict())
    content = {
        "schema": 1,
        "kind": "policy",
        "name": policy.name,
        "environment": policy.environment,
        "parameters": policy.parameters,
        "digest": digest_file(weights),
        "shape": policy.shape.as_dict(),
        "facts": {**policy.facts, **(extra or {})},
    }
    write_json(folder / _CARD, content)


def load_policy(folder: Path) -> Policy:
    """Load what :func:`save_policy` wrote, checking its digest; in evaluation mode.

    Raises:
        RunError: A file is missing, damaged, or does not belong to the other.
    """
    remedy = "finish the run first (ngp resume), restore it from a copy, or fit again"
    try:
        content = json.loads((folder / _CARD).read_text(encoding="utf-8"))
        if content.get("kind") != "policy":
            raise ValueError(f"this is a model of another kind ({content.get('kind', 'no policy')!r})")
        shape, digest = PolicyShape.from_dict(content["shape"]), content["digest"]
        name, environment, facts = str(content["name"]), str(content["environment"]), dict(content["facts"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"cannot read the policy: {error}", source=str(folder / _CARD), remedy=remedy) from error
    weights = folder / _WEIGHTS
    if not weights.is_file() or digest_file(weights) != digest:
        raise RunError("the weights are missing or not those of the card", source=str(weights), remedy=remedy)
    network = PolicyNetwork(shape)
    tensors, _ = load_tensors(weights)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(f"the weights do not fit the card: {error}", source=str(weights), remedy=remedy) from error
    return Policy(name, network.eval(), environment, facts)
