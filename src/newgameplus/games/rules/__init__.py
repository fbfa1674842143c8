"""What says that a level can be played: rules by name, from a file, or one's own program."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from newgameplus.errors import NewGamePlusError, Problem, RecipeError, raise_problems
from newgameplus.games.rules.contract import Answer, Budget, Cell, Flaw, Proof, Rules
from newgameplus.recipe import did_you_mean

__all__ = ["RULES", "Answer", "Budget", "Cell", "Flaw", "Proof", "Rules", "open_rules"]

#: Rules that come ready: name to ``module:Class``; every option is a keyword of the class.
RULES: Mapping[str, str] = {
    "platformer": "newgameplus.games.rules.platformer:Platformer",
    "top-down": "newgameplus.games.rules.top_down:TopDown",
    "sokoban": "newgameplus.games.rules.sokoban:Sokoban",
    "reachability": "newgameplus.games.rules.reachability:Reachability",
}


def open_rules(
    spec: str | Path | Mapping[str, Any] | Rules | Callable[..., Any],
    *,
    options: Mapping[str, object] | None = None,
    folder: Path | None = None,
) -> Rules:
    """Open rules.

    Args:
        spec: A name of :data:`RULES`; a YAML file of rules, or its content; ``module.path:function`` or
            ``file.py:function``; ``gymnasium:ENVIRONMENT-ID``; a function of a level; or rules, which come back as
            they are. A program is imported only from where the user's own words say, never found by itself.
        options: Keywords of the rules. For a file, they go before what it says.
        folder: What paths are relative to; the working folder if none is given.

    Raises:
        RecipeError: There are no such rules or options.
        DataError: The file or an option's content is wrong.
        MissingExtraError: Gymnasium is needed and not installed.
    """
    chosen = dict(options or {})
    if isinstance(spec, Rules):
        if chosen:
            raise RecipeError("rules that are open take no options", source="rules", remedy="give them when opening")
        return spec
    if isinstance(spec, Mapping):
        from newgameplus.games.rules.own import rules_from_mapping

        content = {**spec, "options": {**(spec.get("options") or {}), **chosen}} if chosen else spec
        return rules_from_mapping(content, source="rules", folder=folder)
    if isinstance(spec, (str, Path)):
        return _open_named(str(spec), chosen, folder)
    if callable(spec):
        from newgameplus.games.rules.own_program import Callback

        return build(Callback, {"function": spec, **chosen}, "rules", folder)
    raise RecipeError(f"{spec!r:.80} names no rules", source="rules", remedy=f"known: {', '.join(RULES)}")


def _open_named(spec: str, chosen: dict[str, object], folder: Path | None) -> Rules:
    if spec in RULES:
        return build(_load_class(spec), chosen, f"rules {spec!r}", folder)
    if spec.startswith("gymnasium:"):
        from newgameplus.games.rules.gymnasium_rules import GymnasiumRules

        return build(GymnasiumRules, {"environment": spec.removeprefix("gymnasium:"), **chosen}, spec, folder)
    if Path(spec).suffix.lower() in (".yaml", ".yml"):
        from newgameplus.games.rules.own import load_rules

        return load_rules((folder or Path()) / spec, options=chosen)
    if ":" in spec:
        from newgameplus.games.rules.own_program import Callback, find_function

        function = find_function(spec, folder)
        return build(Callback, {"function": function, "name": spec, **chosen}, spec, folder)
    remedy = (
        f"{did_you_mean(spec, list(RULES))}known: {', '.join(RULES)}; or a rules file (.yaml), module:function, "
        "file.py:function, gymnasium:ENVIRONMENT-ID"
    )
    raise RecipeError(f"there are no rules called {spec!r}", source="rules", remedy=remedy)


def _load_class(name: str) -> Callable[..., Rules]:
    module, _, attribute = RULES[name].partition(":")
    found: Callable[..., Rules] = getattr(importlib.import_module(module), attribute)
    return found


def build(make: Callable[..., Rules], options: Mapping[str, object], source: str, folder: Path | None = None) -> Rules:
    """Make rules of a class with options, telling all that it does not know.

    Raises:
        RecipeError: An option is unknown or missing.
    """
    parameters = inspect.signature(make).parameters
    known = [name for name in parameters if name != "folder"]
    problems = [
        Problem(f"unknown option {key!r}", f"{source}: {key}", f"{did_you_mean(key, known)}known: {', '.join(known)}")
        for key in options
        if key not in known
    ]
    needed = [name for name in known if parameters[name].default is inspect.Parameter.empty and name not in options]
    problems += [Problem(f"the option {name!r} is missing", source, "add it") for name in needed]
    raise_problems(problems, RecipeError, f"{len(problems)} options of {source} cannot be used")
    extra = {"folder": folder} if "folder" in parameters else {}
    try:
        return make(**options, **extra)
    except NewGamePlusError:
        raise
    except (TypeError, ValueError) as error:
        raise RecipeError(f"the options cannot be used: {error}", source=source, remedy="correct them") from error
