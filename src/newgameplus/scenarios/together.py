"""Starting a fit in several processes: the main one walks the road, the others join in where work is shared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from newgameplus.errors import TrainingError
from newgameplus.recipe import AnyRecipe, dump_recipe, parse_recipe, recipe_settings
from newgameplus.run import Run
from newgameplus.scenarios import SCENARIOS
from newgameplus.train.processes import agree, check_same, from_main, is_main, process_count, start

__all__ = ["follow_main", "recipe_of_all", "same_recipe"]


def same_recipe(read: Callable[[], AnyRecipe]) -> AnyRecipe:
    """Read the recipe in every process, and make sure that all read the same; paths of data may differ.

    Raises:
        TrainingError: The recipes differ, or the scenario cannot be shared.
        RecipeError: As ``read`` raises it.
    """
    if process_count() == 1:
        return read()
    start()
    recipe = agree(read)
    facts = {key: str(value) for key, value in recipe_settings(recipe).items()} | {"scenario": recipe.scenario}
    check_same(facts, "the recipe", "start all processes with the same recipe")
    _can_be_shared(recipe)
    return recipe


def recipe_of_all(open_run: Callable[[], Run]) -> tuple[Run | None, AnyRecipe]:
    """Open a run in the main process, and give its recipe to all; the others need not see the folder."""
    start()
    run = agree(lambda: open_run() if is_main() else None)
    recipe = run.recipe if run is not None else None
    text = from_main(dump_recipe(recipe) if recipe is not None else "")
    recipe = recipe or parse_recipe(text)
    _can_be_shared(recipe)
    return run, recipe


def _can_be_shared(recipe: AnyRecipe) -> None:
    if not SCENARIOS[recipe.scenario].follow:
        able = ", ".join(name for name, job in SCENARIOS.items() if job.follow)
        message = f"{process_count()} processes were started, and the {recipe.scenario} scenario trains in one"
        remedy = f"start it as one: ngp fit RECIPE; several processes share the training of: {able}"
        raise TrainingError(message, source="scenario", remedy=remedy)


def follow_main(recipe: AnyRecipe) -> Run:
    """Join in until the main process is done; gives a stand-in for the run, which only the main process holds."""
    SCENARIOS[recipe.scenario].part("follow")(recipe)
    return Run(Path(), recipe, {})
