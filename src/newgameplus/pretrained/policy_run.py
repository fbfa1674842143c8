"""Policies of earlier agent runs, and what surgery made of them: ``run:FOLDER``."""

from __future__ import annotations

from newgameplus.pretrained.policy import Policy, load_policy
from newgameplus.pretrained.policy_request import PolicyRequest
from newgameplus.pretrained.run import model_folder

__all__ = ["load", "model_folder"]


def load(name: str, request: PolicyRequest) -> Policy:
    """Load the policy of a run.

    Args:
        name: Its folder.
        request: Says where the name stands; the rest does not count.

    Raises:
        PretrainedModelError: There is no such run.
        RunError: The run's model is damaged, or none of a policy.
    """
    policy = load_policy(model_folder(name, request.source_key))
    policy.facts = {**policy.facts, "origin": policy.facts.get("origin", policy.name)}
    policy.name = f"run:{name}"
    return policy
