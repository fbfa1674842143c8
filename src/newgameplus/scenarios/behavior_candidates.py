"""Which models a behavior recipe can start from: those it names, or with ``auto`` all of this machine that fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from newgameplus import progress
from newgameplus.errors import NewGamePlusError, PretrainedModelError, Problem, raise_problems
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.catalog import describe_pretrained
from newgameplus.pretrained.licences import caution, use_problem
from newgameplus.pretrained.local import ENVIRONMENT_VARIABLE, local_models
from newgameplus.pretrained.memory import memory_problem
from newgameplus.recipe import Recipe
from newgameplus.recipe_start import AUTO
from newgameplus.run import Run
from newgameplus.scenarios.sequence_data import misfit

__all__ = ["Candidates", "find_candidates", "look_for_candidates", "resolve_candidates", "start_problems"]


@dataclass(frozen=True)
class Candidates:
    """The models to choose from.

    Attributes:
        cards: Their cards by label, described without loading weights.
        left_out: Models that ``auto`` found and that cannot be used, and why.
    """

    cards: Mapping[str, ModelCard]
    left_out: tuple[Mapping[str, str], ...] = ()


def find_candidates(recipe: Recipe, names: Iterable[str] | None = None) -> Candidates:
    """Describe and filter the models that a recipe may start from; none is loaded.

    Args:
        recipe: The recipe.
        names: Labels of models to choose from, instead of the recipe's.

    Returns:
        The candidates. What a recipe names must be usable; what ``auto`` finds is left out otherwise.

    Raises:
        PretrainedModelError: A model that was named cannot be used (all are told at once), or there is none.
    """
    candidates, problems = look_for_candidates(recipe, names)
    raise_problems(problems, PretrainedModelError, f"{len(problems)} problems with what to start from")
    return candidates


def look_for_candidates(recipe: Recipe, names: Iterable[str] | None = None) -> tuple[Candidates, list[Problem]]:
    """Do what :func:`find_candidates` does, and return what is wrong with models that were named beside the others.

    Raises:
        PretrainedModelError: There is no model, and nothing is wrong with one that was named.
    """
    named = list(dict.fromkeys(recipe.model.candidates if names is None else names))
    wanted = recipe.model.with_found(lambda: local_models(recipe.runs)) if AUTO in named else named
    cards: dict[str, ModelCard] = {}
    problems: list[Problem] = []
    left_out: list[Mapping[str, str]] = []
    for name in wanted:
        card, wrong = _describe(recipe, name)
        if card is not None and not wrong:
            cards[name] = card
        elif name in named:
            problems += recipe.model.about(name, wrong)
        else:
            left_out += [{"name": name, "message": one.message, "remedy": one.remedy} for one in wrong[:1]]
    if not cards and not problems:
        why = "; ".join(f"{one['name']}: {one['message']}" for one in left_out)
        remedy = f"name a model, or a folder of models in {ENVIRONMENT_VARIABLE}"
        raise PretrainedModelError(f"no model on this machine can be used ({why})", source="model.start", remedy=remedy)
    return Candidates(cards, tuple(left_out)), problems


def resolve_candidates(run: Run, recipe: Recipe) -> Candidates:
    """Return the models that a run chooses from; a run that goes on chooses from those that it began with.

    Raises:
        PretrainedModelError: A model cannot be used (any more).
        RunError: The run's note is damaged.
    """
    if AUTO not in recipe.model.candidates:
        return find_candidates(recipe)
    note = run.note("candidates")
    if note is not None:
        with run.noted("candidates"):
            names, left_out = [str(name) for name in note["names"]], tuple(note["left_out"])
        return Candidates(find_candidates(recipe, names).cards, left_out)
    found = find_candidates(recipe)
    run.keep_note("candidates", {"names": list(found.cards), "left_out": [dict(one) for one in found.left_out]})
    return found


def _describe(recipe: Recipe, name: str) -> tuple[ModelCard | None, list[Problem]]:
    try:
        start = recipe.model.find(name)
        card = describe_pretrained(start.name, start.options)
    except NewGamePlusError as error:
        return None, list(error.problems)
    problem = misfit(name, card, recipe.data)
    return card, [*start_problems(recipe, card), *([problem] if problem is not None else [])]


def start_problems(recipe: Recipe, card: ModelCard) -> list[Problem]:
    """Return why a recipe may not start from a model: its licence, or its size; nothing is loaded to know.

    What should only be looked up is said on standard error.
    """
    settings = recipe.model
    if (told := caution(card.license, settings.use)) is not None:
        progress.say(f"note: {card.name}: {told}")
    strategy, batch_size = recipe.adapt.strategy, recipe.train.batch_size
    wrong = [
        use_problem(card.name, card.license, settings.use),
        memory_problem(card, strategy=strategy, batch_size=batch_size),
    ]
    return [problem for problem in wrong if problem is not None]
