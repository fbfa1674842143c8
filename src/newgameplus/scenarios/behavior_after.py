"""Adapters and mixtures of weights in the behavior scenario: what they need, and how a run mixes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from newgameplus.adapt import ClipClassifier, Phase, adapters
from newgameplus.errors import Problem, RecipeError
from newgameplus.pretrained.backbone import Backbone
from newgameplus.recipe import Recipe
from newgameplus.run import Run
from newgameplus.train.loop import TrainingResult
from newgameplus.train.snapshots import Snapshots

__all__ = ["Teach", "after_problems", "check_after", "refuse_unadaptable", "snapshots_of", "train_ingredients"]

_EPOCHS_KEPT = 5

Teach = Callable[[ClipClassifier, str, int, Snapshots], TrainingResult]
"""Trains a classifier under a name, with a seed, and keeps weights on the way."""


def after_problems(recipe: Recipe, validation: int, phases: Sequence[Phase]) -> list[Problem]:
    """Return why the recipe's ``adapt.after`` cannot be done with so many validation clips and these phases."""
    settings = recipe.adapt
    if settings.after == "none":
        return []
    problems = []
    if not validation:
        message = f"{settings.after} chooses by validation clips, and there are none"
        remedy = "set data.validation to a share such as 0.2 (auto keeps none with fewer than 500 labels)"
        problems.append(Problem(message, "adapt.after", remedy))
    begins_with_head = len(phases) > 1 and phases[0].frozen_backbone
    if settings.after == "wise-ft" and not begins_with_head:
        message = f"wise-ft mixes with the weights after the head phase, and {settings.strategy} has none before others"
        problems.append(Problem(message, "adapt.after", "use lp-ft, gradual, lora, l2-sp or a surgical strategy"))
    return problems


def refuse_unadaptable(name: str, backbone: Backbone, phases: Sequence[Phase]) -> None:
    """Refuse a model whose backbone can have no adapters where a phase wants some.

    Raises:
        PretrainedModelError: It can have none.
        MissingExtraError: PEFT is not installed.
    """
    if any(phase.adapter_rank for phase in phases):
        adapters.refuse_unadaptable(name, backbone, backbone.blocks())


def check_after(recipe: Recipe, validation: int, phases: Sequence[Phase]) -> None:
    """Refuse what :func:`after_problems` finds.

    Raises:
        RecipeError: It found something.
    """
    problems = after_problems(recipe, validation, phases)
    if problems:
        raise RecipeError("the weights cannot be mixed after this training", problems=problems)


def snapshots_of(run: Run, name: str, phases: Sequence[Phase]) -> Snapshots | None:
    """Return what keeps the weights that the recipe's ``adapt.after`` needs; None if it needs none."""
    after = run.recipe.adapt.after  # type: ignore[union-attr]
    if after == "none":
        return None
    return Snapshots(run.checkpoint, name, phases, _EPOCHS_KEPT if after == "soup" else 0)


def train_ingredients(
    run: Run, recipe: Recipe, name: str, phases: Sequence[Phase], make: Callable[[], ClipClassifier], teach: Teach
) -> tuple[list[Snapshots], list[TrainingResult]]:
    """Train the further classifiers of a soup over seeds: the same start, another order of the data.

    Args:
        run: The run at work.
        recipe: Its recipe.
        name: Name of the training that is done already.
        phases: Its phases.
        make: Makes a classifier as that training began.
        teach: Trains it.

    Returns:
        The weights kept and the costs, one each a further seed.
    """
    kept: list[Snapshots] = []
    costs: list[TrainingResult] = []
    for number in range(2, (recipe.adapt.soup_seeds if recipe.adapt.after == "soup" else 1) + 1):
        arm = f"{name}-seed-{number}"
        snapshots = Snapshots(run.checkpoint, arm, phases, _EPOCHS_KEPT)
        costs.append(teach(make(), arm, recipe.seed + 7919 * (number - 1), snapshots))
        kept.append(snapshots)
    return kept, costs
