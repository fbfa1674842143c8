"""Policies that come with the package: ``bundled:NAME``, a folder of card and weights each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from newgameplus.errors import PretrainedModelError, RunError
from newgameplus.pretrained.catalog import did_you_mean
from newgameplus.pretrained.policy import Policy, load_policy
from newgameplus.pretrained.policy_request import PolicyRequest

__all__ = ["FOLDER", "list_policies", "load"]

FOLDER = Path(__file__).with_name("weights") / "policies"
"""Where their folders are."""
_CARD = "card.json"
_REMEDY = "install newgameplus again: its files were changed or are incomplete"


def list_policies() -> list[dict[str, Any]]:
    """Return what is known of the bundled policies, as plain data for ``ngp models``.

    Raises:
        PretrainedModelError: A card is damaged.
    """
    found = []
    for path in sorted(FOLDER.glob(f"*/{_CARD}")):
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
            facts = card["facts"]
            about = {key: facts.get(key, "") for key in ("license", "description", "algorithm", "measures")}
            same = {key: card[key] for key in ("parameters", "digest", "environment")}
            spaces = {key: card["shape"][key] for key in ("observations", "actions")}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"this card is damaged ({error})"
            raise PretrainedModelError(message, source=str(path), remedy=_REMEDY) from error
        found.append({"name": f"bundled:{path.parent.name}", "modality": "policy", **same, **about, **spaces})
    return found


def load(name: str, request: PolicyRequest) -> Policy:
    """Load a bundled policy.

    Args:
        name: Without ``bundled:``.
        request: Says where the name stands; the rest does not count.

    Raises:
        PretrainedModelError: There is no such policy, or its files are not those that were shipped.
    """
    known = sorted(path.parent.name for path in FOLDER.glob(f"*/{_CARD}"))
    if name not in known:
        remedy = did_you_mean(name, known)
        raise PretrainedModelError(f"no bundled policy is called {name!r}", source=request.source_key, remedy=remedy)
    try:
        policy = load_policy(FOLDER / name)
    except RunError as error:
        raise PretrainedModelError(error.message, source=error.source, remedy=_REMEDY) from error
    policy.name = f"bundled:{name}"
    return policy
