"""Policies of earlier agent runs, and what surgery made of them: ``run:FOLDER``."""

from __future__ import annotations

from pathlib import Path

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.catalog import did_you_mean
from newgameplus.pretrained.policy import Policy, load_policy
from newgameplus.pretrained.policy_request import PolicyRequest

__all__ = ["load", "model_folder"]

_CARD = "card.json"


def model_folder(name: str, source_key: str) -> Path:
    """Return the folder that holds a run's card and weights.

    Args:
        name: A run folder, or its model folder.
        source_key: Where the name stands, for messages.

    Raises:
        PretrainedModelError: There is no such folder, or no model in it.
    """
    folder = Path(name).expanduser()
    for place in (folder / "model", folder):
        if (place / _CARD).is_file():
            return place
    if not folder.is_dir():
        runs = folder.parent if folder.parent.is_dir() else Path()
        known = sorted(str(path.parent.parent) for path in runs.glob(f"*/model/{_CARD}"))
        remedy = did_you_mean(name, known) if known else f"no folder in {str(runs)!r} holds a run with a model"
        raise PretrainedModelError(f"there is no run folder {name!r}", source=source_key, remedy=remedy)
    raise PretrainedModelError(
        f"the run {name!r} has no model yet",
        source=source_key,
        remedy="finish it first (ngp resume), or name another run",
    )


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
