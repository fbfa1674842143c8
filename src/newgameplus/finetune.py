"""The whole story in one screen: choose, adapt, train, evaluate.

Read this file to know what the product does; every line of :func:`_carry_on` is one step, and each step's room holds
the how.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from newgameplus import progress
from newgameplus.errors import NewGamePlusError, RunError
from newgameplus.launched import is_main, process_count
from newgameplus.recipe import AnyRecipe, load_recipe
from newgameplus.run import Run
from newgameplus.scenarios import known_names, open_scenario

__all__ = ["fit", "read_recipe", "resume"]


def read_recipe(recipe: AnyRecipe | str | Path, *, start: str | None = None, skip_bad: bool = False) -> AnyRecipe:
    """Return a recipe as given, or read from a file with all registries' names checked.

    Args:
        recipe: A recipe, or the path of one.
        start: Set ``model.start``, whatever the recipe says; a candidate that it names keeps its own options.
        skip_bad: Set ``data.skip_bad``, whatever the recipe says.
    """
    if isinstance(recipe, str | Path):
        recipe = load_recipe(recipe, known=known_names)
    if skip_bad:
        data = recipe.data.model_copy(update={"skip_bad": True})
        recipe = recipe.model_copy(update={"data": data})
    if start is not None:
        recipe = recipe.model_copy(update={"model": recipe.model.with_starts([start])})
    return recipe


def fit(
    recipe: AnyRecipe | str | Path,
    out: str | Path | None = None,
    *,
    start: str | None = None,
    skip_bad: bool = False,
) -> Run:
    """Fine-tune as a recipe says, with every baseline and a verdict.

    Args:
        recipe: A recipe, or the path of one.
        out: Run folder; by default ``<runs>/<date>-<name>``.
        start: What to start from, whatever the recipe says: ``run:FOLDER``, ``sb3:FILE.zip`` ...
        skip_bad: Leave out data that cannot be read, whatever the recipe says.

    Returns:
        The finished run.

    Raises:
        NewGamePlusError: Something in the recipe, the data or on the disk stands in the way; it says what to do.
    """
    if process_count() > 1:
        return _fit_together(lambda: read_recipe(recipe, start=start, skip_bad=skip_bad), out)
    return _fit(read_recipe(recipe, start=start, skip_bad=skip_bad), out)


def _fit(recipe: AnyRecipe, out: str | Path | None) -> Run:
    run = Run.create(recipe, Path(out) if out is not None else None)
    try:
        return _carry_on(run)
    except NewGamePlusError:
        run.discard_if_unused()  # so that the same command works once what is wrong is put right
        if (run.folder / "recipe.yaml").is_file():
            progress.say(f"what was done is kept; once the cause is mended, go on with: ngp resume {run.quoted}")
        raise


def resume(folder: str | Path) -> Run:
    """Go on with an interrupted run, to the same result as if it had never been interrupted.

    Raises:
        RunError: The folder is no run, or the run is finished.
    """
    if process_count() > 1:
        return _resume_together(folder)
    return _carry_on(_open_unfinished(folder))


def _open_unfinished(folder: str | Path) -> Run:
    run = Run.open(folder)
    if run.finished:
        remedy = f"look at {run.folder / 'report.html'}; to train anew, fit into another folder"
        raise RunError("this run is finished: there is nothing to resume", source=str(run.folder), remedy=remedy)
    return run


def _fit_together(read: Callable[[], AnyRecipe], out: str | Path | None) -> Run:
    """Fit in several processes: the main one walks the road, and the others join in where work is shared."""
    from newgameplus.scenarios.together import follow_main, same_recipe
    from newgameplus.train.sharing import lead

    recipe = same_recipe(read)
    if not is_main():
        return follow_main(recipe)
    with lead():
        return _fit(recipe, out)


def _resume_together(folder: str | Path) -> Run:
    """Go on in several processes, however many they were before."""
    from newgameplus.scenarios.together import follow_main, recipe_of_all
    from newgameplus.train.sharing import lead

    run, recipe = recipe_of_all(lambda: _open_unfinished(folder))
    if run is None:
        return follow_main(recipe)
    with lead():
        return _carry_on(run)


@contextlib.contextmanager
def _told_how_to_go_on(run: Run) -> Iterator[None]:
    """Let an interruption know its remedy."""
    try:
        yield
    except KeyboardInterrupt as stop:
        done = "the run is finished" if run.finished else f"go on where it stopped: ngp resume {run.quoted}"
        stop.add_note(done)
        raise


def _carry_on(run: Run) -> Run:
    with run.working(), _told_how_to_go_on(run):
        progress.say(f"run folder: {run.folder}")
        scenario = open_scenario(run)
        game = scenario.load()
        start = scenario.choose(game)
        plans = scenario.adapt(start)
        trained = scenario.train(game, start, plans)
        scenario.evaluate(game, start, trained)
        run.prune()
    return run
