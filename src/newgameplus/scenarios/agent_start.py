"""Step 1 for policies: where to start from, whether it fits the game, and what to keep of it."""

from __future__ import annotations

import copy

from newgameplus.adapt.surgery import describe_differences
from newgameplus.errors import PretrainedModelError, RecipeError
from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_request import build_network
from newgameplus.pretrained.policy_sources import load_policy_start
from newgameplus.recipe_agent import AgentRecipe, RetentionTerm
from newgameplus.scenarios.agent_data import AgentGame, surgery_command
from newgameplus.train.retention import RETENTION

__all__ = ["FRESH", "copy_policy", "fresh_policy", "is_fresh", "load_start", "retention_of"]

FRESH = "fresh"


def is_fresh(policy: Policy) -> bool:
    """Say whether a policy starts from random weights."""
    return policy.name == FRESH


def fresh_policy(recipe: AgentRecipe, game: AgentGame, like: Policy | None = None) -> Policy:
    """Return a policy with random weights.

    Args:
        recipe: Says how it is built, and the seed.
        game: Its spaces.
        like: Built like this policy instead, for the from-scratch baseline, unless that sees through a backbone which
            another source brought.
    """
    # A backbone that another source brings is no fair one with random weights: its statistics of batches stay frozen.
    if like is not None and not is_fresh(like) and not like.shape.backbone:
        return Policy(FRESH, build_network(like.shape, recipe.seed), recipe.environment.id)
    return load_policy_start(
        FRESH,
        settings=recipe.model,
        observations=game.observations,
        actions=game.actions,
        environment=recipe.environment.id,
        seed=recipe.seed,
    )


def load_start(recipe: AgentRecipe, game: AgentGame) -> Policy:
    """Load what the recipe starts from.

    Raises:
        PretrainedModelError: It cannot be loaded, or its spaces are not those of the game; every difference is listed
            with the surgery that would mend it.
    """
    name = recipe.model.candidates[0]
    try:
        return load_policy_start(
            name,
            settings=recipe.model,
            observations=game.observations,
            actions=game.actions,
            environment=recipe.environment.id,
            seed=recipe.seed,
        )
    except PretrainedModelError as error:
        shape = getattr(error, "shape", None)
        if shape is None:
            raise
        problems = describe_differences(shape.observations, shape.actions, game.observations, game.actions)
        message = f"{name} was made for other spaces than those of {recipe.environment.id}"
        spaces = (shape.observations, shape.actions), (game.observations, game.actions)
        remedy = f"operate on it first: {surgery_command(name, recipe.environment, *spaces)}"
        raise PretrainedModelError(message, source="model.start", remedy=remedy, problems=problems) from error


def copy_policy(policy: Policy) -> Policy:
    """Return a policy of the same weights that can be trained without moving the first one."""
    return Policy(policy.name, copy.deepcopy(policy.network), policy.environment, dict(policy.facts))


def retention_of(recipe: AgentRecipe, game: AgentGame, start: Policy) -> tuple[RetentionTerm, ...]:
    """Return what keeps the policy from forgetting; ``auto`` goes by what there is to keep.

    Raises:
        RecipeError: A term is not known, or the start knows nothing that it could keep.
    """
    terms = recipe.retention.terms
    knows = not is_fresh(start) or game.learned is not None
    if terms == "auto":
        return (RetentionTerm(kind="cloning"),) if knows else ()
    for term in terms:
        if term.kind not in RETENTION:
            remedy = f"known: {', '.join(RETENTION)}"
            raise RecipeError(f"{term.kind!r} is not known", source="retention.terms", remedy=remedy)
    if terms and not knows:
        remedy = "start from a policy (model.start) or from demonstrations (data.path), or leave terms empty"
        raise RecipeError("a fresh policy has nothing to keep", source="retention.terms", remedy=remedy)
    return terms
