"""Choosing for any scenario: which candidates, by whose job, and where the result is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from newgameplus.choose import Choice
from newgameplus.errors import RunError
from newgameplus.files import write_json
from newgameplus.launched import process_count
from newgameplus.recipe import AnyRecipe
from newgameplus.scenarios import SCENARIOS

__all__ = ["choose"]

_NAME = "choose"


def choose(
    recipe: AnyRecipe,
    candidates: Sequence[str] | None = None,
    *,
    top: int = 3,
    short_run: bool = True,
    out: str | Path | None = None,
    beside: Path | None = None,
) -> dict[str, Any]:
    """Rank what a recipe may start from.

    Args:
        recipe: The recipe.
        candidates: Names to choose from, instead of the recipe's ``model.start``; those that it names keep their own
            options.
        top: How many of the best get a short fine-tuning.
        short_run: Whether any do.
        out: File to write.
        beside: Without ``out``, the folder to write a new ``choose.json`` in; None writes nothing.

    Returns:
        The choice as plain data, ``scenario``, and ``written_to`` (None if nothing was written).

    Raises:
        NewGamePlusError: The data or a model cannot be used.
        RunError: ``out`` exists; nothing is overwritten.
    """
    if candidates:
        recipe = recipe.model_copy(update={"model": recipe.model.with_starts(candidates)})
    if process_count() == 1:
        return _choose(recipe, top, short_run, out, beside)
    from newgameplus.scenarios.together import in_all

    return in_all(recipe, lambda: _choose(recipe, top, short_run, out, beside))


def _choose(
    recipe: AnyRecipe, top: int, short_run: bool, out: str | Path | None, beside: Path | None
) -> dict[str, Any]:
    target = Path(out) if out is not None else None
    if target is not None and target.exists():
        raise RunError(
            "this file exists, and nothing is overwritten", source=str(target), remedy="name another (--out)"
        )
    choice: Choice = SCENARIOS[recipe.scenario].part("choose")(recipe, top=top, short_run=short_run)
    result = {"scenario": recipe.scenario} | choice.as_dict()
    if target is None and beside is not None:
        target = _free_name(beside)
    if target is not None:
        write_json(target, result)
    return result | {"written_to": None if target is None else str(target)}


def _free_name(folder: Path) -> Path:
    """Return ``choose.json`` in a folder, with a number if there is one already."""
    path, number = folder / f"{_NAME}.json", 2
    while path.exists():
        path, number = folder / f"{_NAME}-{number:03d}.json", number + 1
    return path
