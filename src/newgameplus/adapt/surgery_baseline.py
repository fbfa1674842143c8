"""The usual answer to changed spaces, to be beaten: load the weights that fit, and begin anew with the rest."""

from __future__ import annotations

from dataclasses import replace

import torch

from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.spaces import ActionSpec, ObservationSpec

__all__ = ["load_what_fits"]


def load_what_fits(policy: Policy, observations: ObservationSpec, actions: ActionSpec, seed: int = 0) -> Policy:
    """Return a policy for new spaces that takes over each tensor whose name and shape are the same.

    Args:
        policy: The old policy; it is not changed.
        observations: What the new game shows.
        actions: What the new game takes.
        seed: Seed of the rest.

    Returns:
        A policy; ``facts["loaded"]`` and ``facts["anew"]`` name its tensors.
    """
    shape = replace(policy.shape, observations=observations, actions=actions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PolicyNetwork(shape)
    old, state = policy.network.state_dict(), network.state_dict()
    fits = [name for name, value in state.items() if name in old and old[name].shape == value.shape]
    if any(name.startswith("normalizer.") and name not in fits for name in state):
        fits.remove("normalizer.count")  # statistics that begin anew must not be held still by the old ones' weight
    network.load_state_dict(state | {name: old[name] for name in fits})
    facts = {"loaded": fits, "anew": [name for name in state if name not in fits]}
    return Policy(policy.name, network.eval(), policy.environment, {**policy.facts, **facts})
