"""What the training of an operated policy does besides: moments come along and are refilled, new actions are lifted."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from newgameplus.adapt.surgery_actions import lift_new_actions
from newgameplus.adapt.surgery_moments import carry_moments, fresh_entries, load_moments, refilling
from newgameplus.adapt.surgery_plan import SurgeryPlan
from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.tensors import load_tensors, save_tensors

__all__ = ["MOMENTS", "AfterSurgery", "load_moments_of", "save_moments"]

MOMENTS = "optimizer.safetensors"
"""File with an optimizer's moments beside the weights in a model folder."""


class AfterSurgery:
    """The first steps of an operated policy.

    A trainer calls :meth:`begin` once before its first step (not when it goes on from a checkpoint, which has the
    moments), wraps one update in :meth:`refilling` before the first that moves the critic or the policy, calls
    :meth:`lift` after each update and :meth:`finish` at the end. All of it is a function of the share of the steps that
    are done, so a resumed training is the same training. Of a policy never operated on, all of it does nothing.

    Args:
        policy: The operated policy; its facts say what was done.
        moments: Moments of the optimizer that trained it before, by name, as in :data:`MOMENTS`; empty if unknown.
    """

    def __init__(self, policy: Policy, moments: Mapping[str, Tensor] | None = None) -> None:
        self.lifts: dict[str, Any] = dict(policy.facts.get("new_actions", {}))
        self.moments = dict(moments or {})
        operation = policy.facts.get("surgery")
        self.plan = SurgeryPlan.from_dict(operation["plan"]) if operation else None

    def begin(self, optimizer: torch.optim.Optimizer, network: PolicyNetwork) -> None:
        """Give the optimizer the moments of before."""
        if self.plan is not None:
            load_moments(optimizer, network, self.moments)

    def refilling(
        self, optimizer: torch.optim.Optimizer, network: PolicyNetwork, *, critic: bool = True
    ) -> AbstractContextManager[None]:
        """Return the context in which gradients are seen and no weight moves.

        Args:
            optimizer: The optimizer.
            network: The policy.
            critic: Whether the critic's moments are refilled too; not if they were before its warm-up.
        """
        if self.plan is None:
            return nullcontext()
        critics = {id(weight) for weight in network.critic_parameters()}
        done = set() if critic else {name for name, weight in network.named_parameters() if id(weight) in critics}
        fresh = {name: mask for name, mask in fresh_entries(self.plan).items() if name not in done}
        return refilling(optimizer, network, fresh)

    @property
    def refills(self) -> bool:
        """Whether there is anything to refill."""
        return self.plan is not None

    def lift(self, network: PolicyNetwork, before: float, now: float) -> None:
        """Let new actions be tried a little more.

        Args:
            network: The policy.
            before: Share of the steps in which the policy moves that were done at the last call, in 0..1.
            now: Share done now.
        """
        lift_new_actions(network, self.lifts, max(0.0, before), max(0.0, now))

    @staticmethod
    def finish(policy: Policy) -> None:
        """Note that a trained policy is past all this, so that the next training does not begin with it again."""
        policy.facts.pop("new_actions", None)
        if "surgery" in policy.facts:
            policy.facts["operated"] = policy.facts.pop("surgery")


def save_moments(folder: Path, moments: Mapping[str, Tensor], plan: SurgeryPlan | None = None) -> None:
    """Write an optimizer's moments into a model folder, atomically; through an operation, if a plan is given.

    Raises:
        StorageError: There is no space or no permission.
    """
    kept = carry_moments(moments, plan) if plan is not None else moments
    if kept:
        save_tensors(folder / MOMENTS, kept)


def load_moments_of(folder: Path) -> dict[str, Tensor]:
    """Return the moments in a model folder; none if it has none.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / MOMENTS
    return dict(load_tensors(path)[0]) if path.is_file() else {}
