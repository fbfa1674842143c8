"""The recipe: what to do, strictly checked as a whole before anything runs.

A recipe is YAML or Python. Its ``scenario`` says which schema it follows: :class:`Recipe` (behavior),
:class:`SceneRecipe` or :class:`AgentRecipe`. Unknown keys are answered with the nearest known one, and all errors come
at once, each with its line in the file. What a recipe leaves out has a default; the resolved recipe writes out all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from newgameplus.errors import Problem, RecipeError, raise_problems
from newgameplus.recipe_agent import (
    AgentAdaptSettings,
    AgentCandidate,
    AgentDataSettings,
    AgentEvaluateSettings,
    AgentModelSettings,
    AgentRecipe,
    AgentTrainSettings,
    CloneSettings,
    EnvironmentSettings,
    RetentionSettings,
    RetentionTerm,
)
from newgameplus.recipe_behavior import (
    AdaptSettings,
    BehaviorCandidate,
    DataSettings,
    EvaluateSettings,
    ModelSettings,
    Recipe,
    TrainSettings,
)
from newgameplus.recipe_pretrain import PretrainSettings, ScenePretrainSettings
from newgameplus.recipe_problems import Explainer, KnownNames, did_you_mean, node_size
from newgameplus.recipe_scene import (
    ControlSettings,
    GenerateSettings,
    SceneAdaptSettings,
    SceneCandidate,
    SceneDataSettings,
    SceneEvaluateSettings,
    SceneModelSettings,
    SceneRecipe,
    SceneTrainSettings,
    parse_size,
)
from newgameplus.recipe_schema import PathMark, StepSettings, path_mark

__all__ = [
    "SCHEMAS",
    "AdaptSettings",
    "AgentAdaptSettings",
    "AgentCandidate",
    "AgentDataSettings",
    "AgentEvaluateSettings",
    "AgentModelSettings",
    "AgentRecipe",
    "AgentTrainSettings",
    "AnyRecipe",
    "BehaviorCandidate",
    "CloneSettings",
    "ControlSettings",
    "DataSettings",
    "EnvironmentSettings",
    "EvaluateSettings",
    "GenerateSettings",
    "KnownNames",
    "ModelSettings",
    "PretrainSettings",
    "Recipe",
    "RetentionSettings",
    "RetentionTerm",
    "SceneAdaptSettings",
    "SceneCandidate",
    "SceneDataSettings",
    "SceneEvaluateSettings",
    "SceneModelSettings",
    "ScenePretrainSettings",
    "SceneRecipe",
    "SceneTrainSettings",
    "StepSettings",
    "TrainSettings",
    "did_you_mean",
    "dump_recipe",
    "load_recipe",
    "parse_recipe",
    "parse_size",
    "recipe_settings",
]

AnyRecipe = Recipe | SceneRecipe | AgentRecipe
"""A recipe of any scenario."""
Known = KnownNames | Callable[[str], KnownNames]
"""Known names, or what gives them for a scenario."""
SCHEMAS: Mapping[str, type[Recipe] | type[SceneRecipe] | type[AgentRecipe]] = MappingProxyType(
    {"behavior": Recipe, "scene": SceneRecipe, "agent": AgentRecipe}
)
"""Schema of each scenario's recipe."""

_MOST_VALUES = 200_000
_Section = TypeVar("_Section", bound=BaseModel)


def load_recipe(path: str | Path, known: Known | None = None) -> AnyRecipe:
    """Read and check a recipe file. Paths in it are relative to the file.

    Args:
        path: YAML file.
        known: Names that registries know, by dotted key, so that a misspelt one is reported with the rest; or a
            function that gives them for a scenario.

    Raises:
        RecipeError: With every problem in the file at once.
    """
    path = Path(path)
    remedy = "write one with: ngp init behavior CLIPS, ngp init scene MAPS, or ngp init agent --env ID > recipe.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise RecipeError(f"cannot read the recipe: {why}", source=str(path), remedy=remedy) from error
    except UnicodeDecodeError as error:
        message = f"this is no recipe: it is not UTF-8 text (byte {error.start})"
        raise RecipeError(message, source=str(path), remedy=remedy) from error
    folder = path.resolve().parent
    recipe = _parse(text, str(path), known, folder)
    return _anchor(recipe, folder, str(path))


def _anchor(section: _Section, folder: Path, source: str) -> _Section:
    """Make the paths of a recipe absolute, so that it means the same from anywhere."""
    update: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        mark = path_mark(type(section), name)
        if isinstance(value, BaseModel):
            update[name] = _anchor(value, folder, source)
        elif mark is not None and isinstance(value, dict):
            update[name] = {key: _absolute(inner, mark, folder, source) for key, inner in value.items()}
        elif mark is not None:
            update[name] = _absolute(value, mark, folder, source)
    return section.model_copy(update=update)


def _absolute(value: Any, mark: PathMark, folder: Path, source: str) -> Any:
    """Return a path as an absolute one, and whatever is no path as it is."""
    if isinstance(value, tuple):
        return tuple(_absolute(one, mark, folder, source) for one in value)
    if isinstance(value, BaseModel):
        return _anchor(value, folder, source)
    if not isinstance(value, str):
        return value
    if mark.prefixes:
        return _absolute_after_prefix(value, mark, folder)
    text, colon, function = value.partition(":") if mark.or_name and ".py:" in value else (value, "", "")
    try:
        path = (folder / Path(text).expanduser()).resolve()
        is_path = not mark.or_name or colon or text.lower().endswith(mark.suffixes or "/") or path.is_file()
    except (ValueError, RuntimeError, OSError) as error:
        message = f"{value!r} cannot be a path: {error}"
        raise RecipeError(message, source=source, remedy="correct the path in the recipe") from error
    return f"{path}{colon}{function}" if is_path else value


def _absolute_after_prefix(value: str, mark: PathMark, folder: Path) -> str:
    """Return ``source:path`` with an absolute path if there is something at it, and anything else as it is."""
    prefix, colon, rest = value.partition(":")
    if not colon or prefix not in mark.prefixes:
        return value
    try:
        path = (folder / Path(rest).expanduser()).resolve()
        return f"{prefix}:{path}" if path.exists() else value
    except (ValueError, RuntimeError, OSError):
        return value


def parse_recipe(text: str, source: str = "recipe", known: Known | None = None) -> AnyRecipe:
    """Check the YAML text of a recipe.

    Raises:
        RecipeError: With every problem at once; each names its key and line.
    """
    return _parse(text, source, known, None)


def _parse(text: str, source: str, known: Known | None, folder: Path | None) -> AnyRecipe:
    content, node = _read_yaml(text, source)
    scenario, problem = _scenario(content)
    schema = SCHEMAS.get(scenario, Recipe)
    others = {name: other for name, other in SCHEMAS.items() if other is not schema}
    explainer = Explainer(schema, content, source, others)
    problems = _guarded(lambda: explainer.read_lines(node), source)
    if problem is not None:
        problems.append(Problem(problem.message, explainer.where(("scenario",)), problem.remedy))
    recipe: AnyRecipe | None = None
    if scenario in SCHEMAS:  # what else is wrong can only be said where it is known which keys are right
        names = known(scenario) if callable(known) else known
        problems += explainer.unknown_names(names or {}, folder)
        try:
            recipe = schema.model_validate(content if problem is None else content | {"scenario": scenario})
        except ValidationError as error:
            problems += explainer.explain(error)
    if recipe is None or problems:
        raise_problems(problems, RecipeError, f"the recipe has {len(problems)} problems")
        raise RecipeError("the recipe cannot be used", source=source)
    return recipe


def _scenario(content: Mapping[Any, Any]) -> tuple[str, Problem | None]:
    """Return the scenario of a recipe, the nearest one if its name is not known, or nothing if none is near."""
    name = content.get("scenario", "behavior")
    if isinstance(name, str) and name in SCHEMAS:
        return name, None
    near = did_you_mean(str(name)[:100], list(SCHEMAS))
    problem = Problem(f"{str(name)[:60]!r} is no scenario", "", f"{near}known: {', '.join(SCHEMAS)}")
    return next((known for known in SCHEMAS if repr(known) in near), ""), problem


def _read_yaml(text: str, source: str) -> tuple[dict[Any, Any], yaml.Node | None]:
    try:
        node = _guarded(lambda: yaml.compose(text, Loader=yaml.SafeLoader), source)
        if _guarded(lambda: node_size(node), source) > _MOST_VALUES:
            message = f"the recipe holds more than {_MOST_VALUES:,} values, aliases (*name) written out"
            raise RecipeError(message, source=source, remedy="write it without aliases of aliases")
        content = _guarded(lambda: yaml.safe_load(text), source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        remedy = "check indentation, quotes and colons near this line"
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise RecipeError(f"this is not valid YAML: {what}", source=where, remedy=remedy) from error
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        remedy = f"start with: scenario: {' or '.join(SCHEMAS)}"
        raise RecipeError(f"a recipe is a list of keys, found {found}", source=source, remedy=remedy)
    return content, node


_Result = TypeVar("_Result")


def _guarded(read: Callable[[], _Result], source: str) -> _Result:
    """Read something of a recipe, and say so if a value in it cannot be read at all."""
    try:
        return read()
    except (ValueError, OverflowError, RecursionError) as error:  # a date that is none, too many digits or brackets
        what = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        remedy = "correct the value, or put it between quotes if it is text"
        raise RecipeError(f"a value cannot be read: {what}", source=source, remedy=remedy) from error


def dump_recipe(recipe: AnyRecipe) -> str:
    """Return the resolved recipe as YAML, every default written out."""
    content = recipe.model_dump(mode="json")
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    # Some rare line separators do not survive unescaped; they are then written as escapes.
    return text if yaml.safe_load(text) == content else yaml.safe_dump(content, sort_keys=False)


def recipe_settings(recipe: AnyRecipe) -> dict[str, Any]:
    """Return what a recipe's result depends on, as plain data by dotted key; where data lie is not part of it.

    Of a file that stands where a name may stand too, such as a file of rules, its own name is part of it.
    """
    free = {"name", "data.labels", "train.checkpoint_seconds"}
    settings: dict[str, Any] = {}
    for prefix, section in {"": recipe, **_sections(recipe)}.items():
        if prefix == "pretrain.":  # another verb's affair
            continue
        plain = section.model_dump(mode="json")
        for name in type(section).model_fields:
            mark, key, value = path_mark(type(section), name), f"{prefix}{name}", plain[name]
            if isinstance(getattr(section, name), BaseModel) or key in free or (mark and not mark.or_name):
                continue
            settings[key] = value if mark is None else _file_name(value)
    return settings


def _file_name(value: Any) -> Any:
    """Return the names of files without their folders, and whatever is no path as it is."""
    if isinstance(value, dict):
        return {key: _file_name(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_file_name(inner) for inner in value]
    if isinstance(value, str) and ":/" in value:  # source:/folder/file
        prefix, _, rest = value.partition(":")
        return f"{prefix}:{Path(rest).name}"
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _sections(recipe: AnyRecipe) -> dict[str, BaseModel]:
    values = ((name, getattr(recipe, name)) for name in type(recipe).model_fields)
    return {f"{name}.": value for name, value in values if isinstance(value, BaseModel)}
