"""Where policies come from: a registry of sources, and one door to all of them.

A policy is named ``source:name``, e.g. ``run:runs/old`` or ``sb3:ppo.zip``; ``fresh`` starts anew. A source is one
module with ``load(name, request, **options) -> Policy`` and one line in :data:`POLICY_SOURCES`; its options are the
keyword-only arguments of ``load``.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from newgameplus.errors import PretrainedModelError, Problem, raise_problems
from newgameplus.pretrained.catalog import did_you_mean
from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_request import PolicyRequest, fresh_policy, shape_of
from newgameplus.pretrained.policy_spaces import SpacesDifferError, check_spaces, space_differences
from newgameplus.recipe_agent import AgentModelSettings
from newgameplus.spaces import ActionSpec, ObservationSpec

__all__ = [
    "FRESH",
    "POLICY_SOURCES",
    "SpacesDifferError",
    "load_policy_source",
    "load_policy_start",
    "policy_card_text",
    "policy_facts",
    "shape_of",
    "space_differences",
]

FRESH = "fresh"
POLICY_SOURCES: dict[str, str] = {
    "bundled": "newgameplus.pretrained.policy_bundled",
    "run": "newgameplus.pretrained.policy_run",
    "sb3": "newgameplus.pretrained.policy_sb3",
    "checkpoint": "newgameplus.pretrained.policy_checkpoint",
    "behavior": "newgameplus.pretrained.policy_behavior",
    "transformers": "newgameplus.pretrained.policy_transformers",
}
_EXAMPLES = {
    "bundled": "bundled:minigrid",
    "run": "run:runs/old",
    "sb3": "sb3:ppo.zip",
    "checkpoint": "checkpoint:policy.safetensors",
    "behavior": "behavior:bundled:doom-clips",
    "transformers": "transformers:./my-folder",
}


def load_policy_start(
    name: str,
    *,
    settings: AgentModelSettings,
    observations: ObservationSpec,
    actions: ActionSpec,
    environment: str,
    seed: int,
    source_key: str = "model.start",
) -> Policy:
    """Load the policy that a run starts from, and check that it fits the game.

    Args:
        name: ``fresh``, or ``source:name``.
        settings: Section ``model`` of the recipe: options of the source, and how what starts anew is built.
        observations: What the game shows.
        actions: What the game takes.
        environment: Name of the game.
        seed: Seed of the weights that start anew.
        source_key: Where the name stands, for messages.

    Returns:
        The policy, in evaluation mode.

    Raises:
        SpacesDifferError: It was made for other spaces; every difference is named.
        PretrainedModelError: There is no such source, name or option, or the policy cannot be loaded safely.
        RunError: The run that it comes from is damaged or not finished.
        MissingExtraError: The source needs a package that is not installed.
    """
    request = PolicyRequest(observations, actions, settings, environment, seed, source_key)
    policy = load_policy_source(name, request)
    check_spaces(policy.name, policy.shape, (observations, actions), environment=environment, source_key=source_key)
    return policy


def load_policy_source(name: str, request: PolicyRequest | None = None) -> Policy:
    """Load a policy with the spaces it was made for, whether they fit a game or not (as surgery does).

    Args:
        name: ``fresh``, or ``source:name``.
        request: What is known of the game, options and seed; sources that need a game say so if it is missing.

    Returns:
        The policy, in evaluation mode.

    Raises:
        PretrainedModelError: There is no such source, name or option, or the policy cannot be loaded safely.
        RunError: The run that it comes from is damaged or not finished.
        MissingExtraError: The source needs a package that is not installed.
    """
    asked = request or PolicyRequest()
    if name.strip() == FRESH:
        return fresh_policy(asked)
    source, rest = _split(name, asked.source_key)
    module = importlib.import_module(POLICY_SOURCES[source])
    options = dict(asked.settings.options)
    _check_options(module, source, options)
    policy: Policy = module.load(rest, asked, **options)
    policy.network.eval()
    return policy


def policy_facts(policy: Policy) -> dict[str, Any]:
    """Return a policy's facts as plain data, for ``ngp models --json``."""
    shape = policy.shape
    return {
        "name": policy.name,
        "environment": policy.environment,
        "parameters": policy.parameters,
        "observations": shape.observations.as_dict(),
        "actions": shape.actions.as_dict(),
        "encoder": str(shape.backbone.get("kind", "")) or shape.encoder,
        "memory": shape.memory,
        "facts": policy.facts,
    }


def policy_card_text(content: Mapping[str, Any]) -> str:
    """Return what :func:`policy_facts` or a card says, in a few lines for the screen."""
    shape: Mapping[str, Any] = content.get("shape", content)
    observations = ObservationSpec.from_dict(shape["observations"])
    actions = ActionSpec.from_dict(shape["actions"])
    seen = ", ".join(f"{part.name} ({part.kind} {'x'.join(map(str, part.shape))})" for part in observations.parts)
    facts: Mapping[str, Any] = content.get("facts", {})
    lines = [
        f"{content['name']}: {content['parameters']:,} weights, made for {content['environment'] or 'an unknown game'}",
        f"  sees {seen}",
        f"  does {actions.kind} {', '.join(map(str, actions.sizes))}",
    ]
    lines += [f"  {key}: {facts[key]}" for key in ("description", "license", "algorithm") if facts.get(key)]
    return "\n".join(lines)


def _split(name: str, source_key: str) -> tuple[str, str]:
    source, colon, rest = name.strip().partition(":")
    if not colon:
        guess = "run" if "/" in name else "sb3" if name.endswith(".zip") else "bundled"
        remedy = f"write it as source:name, e.g. {guess}:{name}; sources: {FRESH}, {', '.join(POLICY_SOURCES)}"
        if not name.strip() or ("/" not in name and "." not in name):
            remedy = did_you_mean(name, [FRESH, *POLICY_SOURCES])
        raise PretrainedModelError(
            f"policy {name!r} does not say where it comes from", source=source_key, remedy=remedy
        )
    if source not in POLICY_SOURCES:
        remedy = did_you_mean(source, [FRESH, *POLICY_SOURCES])
        raise PretrainedModelError(f"no source of policies is called {source!r}", source=source_key, remedy=remedy)
    if not rest.strip():
        raise PretrainedModelError(
            f"policy {name!r} has no name behind the colon", source=source_key, remedy=f"e.g. {_EXAMPLES[source]}"
        )
    return source, rest.strip()


def _check_options(module: ModuleType, source: str, options: Mapping[str, Any]) -> None:
    """Compare the options with the keyword-only arguments of the source's ``load``; report all unknown ones."""
    parameters = inspect.signature(module.load).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    problems = [
        Problem(f"the source {source!r} has no option {key!r}", "model.options", did_you_mean(key, known))
        for key in options
        if key not in known
    ]
    raise_problems(problems, PretrainedModelError, f"{len(problems)} options are not known")
