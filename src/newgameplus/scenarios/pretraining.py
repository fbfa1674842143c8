"""Pretraining that goes on with a user's own data without labels: the folder that it leaves, and who does it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from newgameplus import progress
from newgameplus.errors import NewGamePlusError, RecipeError, RunError
from newgameplus.files import storage_errors, write_json, write_text
from newgameplus.launched import process_count
from newgameplus.recipe import AnyRecipe, dump_recipe, parse_recipe, recipe_settings
from newgameplus.recipe_start import AUTO
from newgameplus.run import Run, describe_environment
from newgameplus.scenarios import SCENARIOS

__all__ = ["RECIPE", "RESULT", "one_start", "pretrain", "refuse_agents", "same_data", "with_settings"]

RECIPE, RESULT = "pretrain.yaml", "pretrain.json"
_WHAT_MATTERS = ("scenario", "seed", "data.", "model.")


def pretrain(recipe: AnyRecipe, out: Path | None = None) -> dict[str, Any]:
    """Go on with the pretraining of what a recipe starts from, on data without labels; several processes share it.

    The same call goes on with an interrupted pretraining, to the same result.

    Args:
        recipe: The recipe; its section ``pretrain`` says how.
        out: Folder of the result; by default ``<runs>/<name>-pretrained``.

    Returns:
        What was done and whether it helped, as kept in ``pretrain.json``, with ``folder``, ``start_from``, and in
        ``next`` the command that comes next, with ``RECIPE`` for the recipe's path.

    Raises:
        NewGamePlusError: Something in the recipe, the data or on the disk stands in the way; it says what to do.
    """
    if recipe.scenario == "agent":
        SCENARIOS[recipe.scenario].part("pretrain")(recipe, None)
    if process_count() == 1:
        return _pretrain(recipe, out)
    from newgameplus.scenarios.together import in_all

    return in_all(recipe, lambda: _pretrain(recipe, out), "pretrain")


def _pretrain(recipe: AnyRecipe, out: Path | None) -> dict[str, Any]:
    work = SCENARIOS[recipe.scenario].part("pretrain")
    run = _open_folder(recipe, out or Path(recipe.runs) / f"{recipe.name}-pretrained")
    try:
        with run.working():
            progress.say(f"pretraining folder: {run.folder}")
            result: dict[str, Any] = work(recipe, run)
            write_json(run.folder / RESULT, json.loads(json.dumps(result)))
            run.prune()
    except NewGamePlusError:
        if not any((run.folder / "checkpoints").glob("*.safetensors")) and not run.model_folder.exists():
            (run.folder / RECIPE).unlink(missing_ok=True)  # so that the recipe may be mended
            run.prune()
        raise
    name = f"run:{run.folder}"
    return result | {
        "folder": str(run.folder),
        "start_from": name,
        "next": _next(result, name),
    }


def _next(result: Mapping[str, Any], name: str) -> str:
    """Return the command that comes next: a model that did not surely gain is held against the one it came from."""
    if result["helped"]:
        return f"ngp fit RECIPE --from {shlex.quote(name)}"
    return f"ngp choose RECIPE --candidates {shlex.quote(result['start'])} --candidates {shlex.quote(name)}"


def with_settings(recipe: AnyRecipe, data: str | Path | None, steps: int | None, minutes: float | None) -> AnyRecipe:
    """Return a recipe with other settings of its section ``pretrain``; None keeps the recipe's.

    Raises:
        RecipeError: A setting makes no sense.
    """
    section = getattr(recipe, "pretrain", None)
    if section is None:
        return recipe
    if data is not None and not Path(data).exists():
        raise RecipeError("no such file or folder", source=f"--data {data}", remedy="correct the path")
    given = {"path": None if data is None else str(Path(data).resolve()), "steps": steps, "minutes": minutes}
    changed = {key: value for key, value in given.items() if value is not None}
    try:
        wanted = type(section).model_validate(section.model_dump() | changed)
    except ValueError as error:
        named = ", ".join(f"--{'data' if key == 'path' else key} {value}" for key, value in changed.items())
        raise RecipeError("this makes no sense", source=named, remedy="give numbers above 0") from error
    return recipe.model_copy(update={"pretrain": wanted})


def refuse_agents(recipe: AnyRecipe, _: Run | None) -> NoReturn:
    """Say that policies are not pretrained like this.

    Raises:
        RecipeError: Always.
    """
    remedy = "let it copy recorded play first: name demonstrations in data.path, and set train.clone.steps"
    message = "a policy cannot go on with pretraining on data without actions"
    raise RecipeError(message, source=f"scenario: {recipe.scenario}", remedy=remedy)


def one_start(recipe: AnyRecipe) -> str:
    """Return the label of the one model that a recipe starts from.

    Raises:
        RecipeError: It names several, or leaves the choice to a measurement.
    """
    candidates = recipe.model.candidates
    if len(candidates) == 1 and candidates[0] != AUTO:
        return candidates[0]
    message = "pretraining goes on with one model" + ("" if len(candidates) == 1 else f", not {len(candidates)}")
    remedy = "name it: ngp pretrain RECIPE --from NAME; see which suits: ngp choose RECIPE"
    raise RecipeError(message, source="model.start", remedy=remedy)


def same_data(run: Run, now: Mapping[str, Any], path: str) -> None:
    """Keep what the pretraining learns from; one that goes on must find the same.

    Raises:
        RunError: The data changed.
    """
    plain = json.loads(json.dumps(now))
    before = run.note("data")
    if before is None:
        run.keep_note("data", plain)
    elif before != plain:
        changed = [name for name in {**before, **plain} if before.get(name) != plain.get(name)]
        told = f"{', '.join(sorted(changed)[:5])}{' and more' if len(changed) > 5 else ''}"
        remedy = "put them back as they were, or pretrain into another folder (--out)"
        raise RunError(f"the data changed since this pretraining began: {told}", source=path, remedy=remedy)


def _open_folder(recipe: AnyRecipe, folder: Path) -> Run:
    """Make the folder of a pretraining, or open it to go on.

    Raises:
        RunError: It is finished, began with another recipe, or holds something else.
    """
    other = "choose another folder (--out)"
    if (folder / RESULT).is_file():
        remedy = f"start from it: ngp fit RECIPE --from {shlex.quote(f'run:{folder}')}; or {other}"
        raise RunError("this pretraining is finished, and nothing is overwritten", source=str(folder), remedy=remedy)
    if (folder / RECIPE).is_file():
        return _go_on(recipe, folder)
    taken = folder.exists() and (not folder.is_dir() or any(not _left_behind(path) for path in folder.iterdir()))
    if taken:
        raise RunError("this folder holds something already", source=str(folder), remedy=other)
    environment = describe_environment(recipe.seed)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "environment.json", environment)
    write_text(folder / RECIPE, dump_recipe(recipe))
    return Run(folder, recipe, environment)


def _left_behind(path: Path) -> bool:
    """Whether a file is one that a pretraining leaves that was stopped before it began."""
    return path.name in {"environment.json", "log.txt", ".lock"} or path.suffix == ".partial"


def _go_on(recipe: AnyRecipe, folder: Path) -> Run:
    path = folder / RECIPE
    try:
        before = parse_recipe(path.read_text(encoding="utf-8"), source=str(path))
    except (OSError, UnicodeDecodeError, RecipeError) as error:
        remedy = "restore it from a copy, or pretrain into another folder (--out)"
        raise RunError(f"cannot be read: {error}", source=str(path), remedy=remedy) from error
    was, now = _settings(before), _settings(recipe)
    other = [f"{key}: {was.get(key)!r} then" for key in {**was, **now} if was.get(key) != now.get(key)]
    if other:
        message = "this recipe is not the one that the pretraining began with"
        remedy = f"put it back ({'; '.join(sorted(other)[:5])}), or pretrain into another folder (--out)"
        raise RunError(message, source=str(path), remedy=remedy)
    progress.say("going on with what was begun")
    return Run(folder, recipe, {})


def _settings(recipe: AnyRecipe) -> dict[str, Any]:
    """Return what the result of a pretraining depends on, by dotted key."""
    kept = {key: value for key, value in recipe_settings(recipe).items() if key.startswith(_WHAT_MATTERS)}
    section = getattr(recipe, "pretrain", None)
    own = section.model_dump(mode="json") if section is not None else {}
    return kept | {f"pretrain.{key}": value for key, value in own.items() if key != "path"}
