"""Starting work in several processes: the main one walks the road, the others join in where work is shared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

from newgameplus.errors import Problem, TrainingError, raise_problems
from newgameplus.recipe import AnyRecipe, dump_recipe, parse_recipe, recipe_settings
from newgameplus.run import Run
from newgameplus.scenarios import SCENARIOS
from newgameplus.train.processes import agree, check_same, from_main, is_main, process_count, start
from newgameplus.train.sharded import wants_sharding
from newgameplus.train.sharing import lead
from newgameplus.train.team import batch_problem

__all__ = ["follow_main", "in_all", "recipe_of_all", "same_recipe", "sharing_plan", "sharing_problems"]

Part = Literal["train", "pretrain"]
"""The section of a recipe that says how to do what is to be shared."""
_Result = TypeVar("_Result")


def same_recipe(read: Callable[[], AnyRecipe], part: Part = "train") -> AnyRecipe:
    """Read the recipe in every process, and make sure that all read the same; paths of data may differ.

    Args:
        read: Reads it.
        part: What is to be shared.

    Raises:
        TrainingError: The recipes differ, or the scenario cannot be shared.
        RecipeError: As ``read`` raises it.
    """
    if process_count() == 1:
        return read()
    start()
    recipe = agree(read)
    facts = {key: str(value) for key, value in recipe_settings(recipe).items()} | {"scenario": recipe.scenario}
    if part == "pretrain":
        settings = getattr(recipe, part).model_dump(exclude={"path"})
        facts |= {f"{part}.{key}": str(value) for key, value in settings.items()}
    check_same(facts, "the recipe", "start all processes with the same recipe")
    _can_be_shared(recipe, part)
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


def sharing_problems(recipe: AnyRecipe, part: Part = "train") -> list[Problem]:
    """Return what the processes that were started cannot do with a part of a recipe; nothing in one process."""
    count, job = process_count(), SCENARIOS[recipe.scenario]
    if count == 1:
        return []
    if not job.follow:
        able = ", ".join(name for name, job in SCENARIOS.items() if job.follow)
        message = f"{count} processes were started, and the {recipe.scenario} scenario trains in one"
        remedy = f"start it as one: ngp fit RECIPE; several processes share the training of: {able}"
        return [Problem(message, "scenario", remedy)]
    problems = []
    if wants_sharding() and not (job.shards and part == "train"):
        what = f"the {recipe.scenario} scenario" if part == "train" else "a pretraining"
        message = f"the weights of {what} cannot be spread over processes (FSDP)"
        remedy = "start the processes without --use_fsdp: each then holds all weights, and they share every batch"
        problems.append(Problem(message, "ACCELERATE_USE_FSDP", remedy))
    size = getattr(recipe, part).batch_size
    if size < count:
        problems.append(batch_problem(size, f"{part}.batch_size"))
    return problems


def sharing_plan(recipe: AnyRecipe) -> str:
    """Say how the processes that were started will work together."""
    count, size = process_count(), recipe.train.batch_size
    spread = ", with the weights spread over all (FSDP)" if wants_sharding() else ""
    return (
        f"{count} share the training, each its part of every batch of {size}{spread}; the main one does all else and "
        "writes the run folder"
    )


def _can_be_shared(recipe: AnyRecipe, part: Part = "train") -> None:
    problems = sharing_problems(recipe, part)
    what = "fit" if part == "train" else "pretraining"
    raise_problems(problems, TrainingError, f"{process_count()} processes cannot share this {what}")


def follow_main(recipe: AnyRecipe) -> Run:
    """Join in until the main process is done; gives a stand-in for the run, which only the main process holds."""
    SCENARIOS[recipe.scenario].part("follow")(recipe)
    return Run(Path(), recipe, {})


def in_all(recipe: AnyRecipe, work: Callable[[], _Result], part: Part = "train") -> _Result:
    """Let the main process work and the others join in where work is shared; all get its result (plain data).

    Args:
        recipe: The recipe.
        work: What the main process does.
        part: The section of the recipe that says how.

    Raises:
        TrainingError: The recipes differ, the scenario cannot be shared, or the main process stopped.
    """
    if process_count() == 1:
        return work()
    recipe = same_recipe(lambda: recipe, part)
    if not is_main():
        follow_main(recipe)
        return from_main()  # type: ignore[no-any-return]
    with lead():
        result = work()
    told: _Result = from_main(result)
    return told
