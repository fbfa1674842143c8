"""A look at the models that a behavior recipe may start from, whatever its data are: clips or sequences of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from newgameplus.errors import NewGamePlusError, Problem
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.recipe import Recipe
from newgameplus.recipe_start import Start
from newgameplus.scenarios.behavior_after import after_problems, refuse_unadaptable
from newgameplus.scenarios.behavior_candidates import look_for_candidates
from newgameplus.scenarios.behavior_costs import plan_costs
from newgameplus.scenarios.behavior_training import recipe_phases

__all__ = ["check_models"]


def check_models(
    recipe: Recipe,
    load: Callable[[Start], PretrainedModel] | None,
    labels: Sequence[str] = (),
    split: Mapping[str, int] | None = None,
) -> tuple[list[Problem], dict[str, Any]]:
    """Look for everything about the models that would stop a fit, and estimate what the first of them will cost.

    Args:
        recipe: The recipe.
        load: Loads a model with its options; None where data that it depends on cannot be used, and cards must do.
        labels: Class names.
        split: Examples in ``train``, ``validation`` and ``test``; None if they cannot be used.

    Returns:
        All problems found, and a plan: candidates, which are left out, and what a fit from the first costs. What
        ``auto`` found is left out where a model that was named would be a problem.
    """
    try:
        candidates, problems = look_for_candidates(recipe)
    except NewGamePlusError as error:
        return list(error.problems), {}
    usable: list[str] = []
    left_out = [dict(one) for one in candidates.left_out]
    plan: dict[str, Any] = {"candidates": usable, "models_left_out": left_out}
    for name in candidates.cards:
        found, start = ([], None) if load is None else _look_at(recipe, name, load)
        if start is not None and split is not None and "model" not in plan:
            phases = recipe_phases(recipe.adapt, len(start.backbone.blocks()))
            problems += after_problems(recipe, split["validation"], phases)
            plan |= plan_costs(recipe, start, labels, split)
        if not found:
            usable.append(name)
        elif name in recipe.model.candidates:
            problems += found
        else:
            left_out += [{"name": name, "message": one.message, "remedy": one.remedy} for one in found[:1]]
    if not usable and not problems:
        problems += [Problem(one["message"], one["name"], one["remedy"]) for one in left_out]
    return problems, plan


def _look_at(
    recipe: Recipe, name: str, load: Callable[[Start], PretrainedModel]
) -> tuple[list[Problem], PretrainedModel | None]:
    """Return why a candidate could not be fitted, and the candidate if it can be loaded and adapted."""
    try:
        start = load(recipe.model.find(name))
        refuse_unadaptable(name, start.backbone, recipe_phases(recipe.adapt, len(start.backbone.blocks())))
    except NewGamePlusError as error:
        return recipe.model.about(name, error.problems), None
    return [], start
