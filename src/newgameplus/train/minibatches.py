"""Rollouts as tensors, shuffled once an epoch and cut into minibatches; whole sequences where there is memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from newgameplus.pretrained.policy_network import PolicyAnswer, PolicyNetwork
from newgameplus.train.rollout import Floats, Rollout

__all__ = ["Minibatch", "rollout_batch"]


@dataclass(eq=False)
class Minibatch:
    """Steps to learn from.

    Attributes:
        observations: By part, each [n, ...]; with memory [steps, environments, ...].
        columns: Anything else by name, with the same first axes: ``actions``, ``log_probs``, ``values``,
            ``advantages``, ``returns``, ``masks`` and ``starts`` if there are any, and what retention terms added.
        state: float32 [environments, state_width] before the first step; None without memory.
        generator: Source of whatever a term draws: a function of seed, arm, update and minibatch.
        answer: What the network says to it, once :meth:`ask` was called.
    """

    observations: dict[str, Tensor]
    columns: dict[str, Tensor]
    state: Tensor | None = None
    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    answer: PolicyAnswer | None = None

    def __len__(self) -> int:
        """Rows that are shuffled: steps, or with memory environments."""
        return self.columns["actions"].shape[0 if self.state is None else 1]

    def take(self, order: Tensor) -> Minibatch:
        """Return the rows in another order."""
        axis = 0 if self.state is None else 1
        seen = {name: values.index_select(axis, order) for name, values in self.observations.items()}
        columns = {name: values.index_select(axis, order) for name, values in self.columns.items()}
        return Minibatch(seen, columns, None if self.state is None else self.state[order])

    def split(self, pieces: int) -> Iterator[Minibatch]:
        """Cut into pieces of nearly the same size, without copies."""
        axis = 0 if self.state is None else 1
        seen = {name: values.tensor_split(pieces, axis) for name, values in self.observations.items()}
        columns = {name: values.tensor_split(pieces, axis) for name, values in self.columns.items()}
        states = None if self.state is None else self.state.tensor_split(pieces)
        for number in range(pieces):
            yield Minibatch(
                {name: values[number] for name, values in seen.items()},
                {name: values[number] for name, values in columns.items()},
                None if states is None else states[number],
            )

    def ask(self, network: PolicyNetwork) -> PolicyAnswer:
        """Return the network's answer, flattened to [steps] or [steps * environments], and keep it."""
        masks = self.columns.get("masks")
        if self.state is None:
            self.answer = network(self.observations, masks=masks)
        else:
            self.answer = network.unroll(self.observations, self.state, self.columns["starts"], masks)
        return self.answer

    def flat(self, name: str) -> Tensor:
        """Return a column with the axes of steps and environments put together, as answers are."""
        values = self.columns[name]
        return values if self.state is None else values.flatten(0, 1)


def rollout_batch(network: PolicyNetwork, rollout: Rollout, advantages: Floats) -> Minibatch:
    """Return a rollout as one batch of tensors on the network's device.

    Args:
        network: Tells whether sequences must be kept.
        rollout: As it was collected.
        advantages: float32 [steps, environments].
    """
    device = network.actor_head.weight.device
    steps = rollout.steps
    arrays = {
        "actions": rollout.actions,
        "log_probs": rollout.log_probs,
        "values": rollout.values[:steps],
        "advantages": advantages,
        "returns": advantages + rollout.values[:steps],
    }
    if rollout.masks is not None:
        arrays["masks"] = rollout.masks[:steps]
    recurrent = network.memory is not None
    if recurrent:
        arrays["starts"] = rollout.starts[:steps]
    columns = {name: torch.as_tensor(values, device=device) for name, values in arrays.items()}
    seen = {name: torch.as_tensor(values[:steps], device=device) for name, values in rollout.observations.items()}
    if recurrent:
        return Minibatch(seen, columns, torch.as_tensor(rollout.state, device=device))
    flat = {name: values.flatten(0, 1) for name, values in columns.items()}
    return Minibatch({name: values.flatten(0, 1) for name, values in seen.items()}, flat)
