"""A look at the models that a behavior recipe may start from, whatever its data are: clips or sequences of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from newgameplus.errors import NewGamePlusError, Problem
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.recipe import Recipe
from newgameplus.scenarios.behavior_after import adapter_problems, after_problems
from newgameplus.scenarios.behavior_candidates import find_candidates
from newgameplus.scenarios.behavior_costs import plan_costs
from newgameplus.scenarios.behavior_training import recipe_phases

__all__ = ["check_models"]


def check_models(
    recipe: Recipe,
    load: Callable[[str], PretrainedModel] | None,
    labels: Sequence[str] = (),
    split: Mapping[str, int] | None = None,
) -> tuple[list[Problem], dict[str, Any]]:
    """Look for everything about the models that would stop a fit, and estimate what the first of them will cost.

    Args:
        recipe: The recipe.
        load: Loads a model by name; None where data that it depends on cannot be used, and cards must do.
        labels: Class names.
        split: Examples in ``train``, ``validation`` and ``test``; None if they cannot be used.

    Returns:
        All problems found, and a plan: candidates, which are left out, and what a fit from the first costs.
    """
    problems: list[Problem] = []
    try:
        candidates = find_candidates(recipe)
    except NewGamePlusError as error:
        return list(error.problems), {}
    plan: dict[str, Any] = {
        "candidates": list(candidates.cards),
        "models_left_out": [dict(one) for one in candidates.left_out],
    }
    if load is None:
        return problems, plan
    for name in candidates.cards:
        try:
            start = load(name)
        except NewGamePlusError as error:
            problems += error.problems
            continue
        if split is not None and "model" not in plan:
            phases = recipe_phases(recipe.adapt, len(start.backbone.blocks()))
            problems += adapter_problems(start.backbone, phases)
            problems += after_problems(recipe, split["validation"], phases)
            plan |= plan_costs(recipe, start, labels, split)
    return problems, plan
