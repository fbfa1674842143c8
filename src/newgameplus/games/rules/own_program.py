"""A function of one's own as rules: it looks at a level and says whether it can be played."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from newgameplus.errors import RecipeError
from newgameplus.games.rules.contract import Answer, Budget, Proof, Rules
from newgameplus.games.scenes import Level
from newgameplus.recipe import did_you_mean

__all__ = ["Callback", "describe_failure", "find_function"]

_BUDGET = Budget()


class Callback(Rules):
    """Rules made of a function.

    The function takes a level and returns an :class:`Answer`; True or False; such a truth value and a reason; or the
    cells of the player's way, an empty list where there is none. What it raises makes the answer undecided.

    A proof of cells is checked for being inside the level; then, and where there are no cells, by asking once more,
    unless ``check`` is there to do it.

    Args:
        function: Level to verdict.
        check: Level and proof to what is wrong with it: words, or True where it holds; or its
            ``module:function``.
        name: What to call the rules; the function's own name if nothing is given.
        folder: What the path of ``file.py:check`` is relative to.

    Raises:
        RecipeError: One of the two is no function.
    """

    def __init__(
        self,
        *,
        function: Callable[[Level], Any],
        check: Callable[[Level, Proof], Any] | str | None = None,
        name: str = "",
        folder: Path | None = None,
    ) -> None:
        if isinstance(check, str):
            check = find_function(check, folder)
        for one, what in ((function, "function"), (check, "check")):
            if one is not None and not callable(one):
                raise RecipeError(f"{one!r:.80} is no function", source=f"rules.{what}", remedy="give a function")
        self.function = function
        self.check = check
        self.name = name or str(getattr(function, "__qualname__", type(function).__name__))

    def solve(self, level: Level, budget: Budget = _BUDGET) -> Answer:  # noqa: ARG002 - the function has its own
        """See :meth:`Rules.solve`."""
        try:
            verdict = self.function(level)
        except Exception as error:  # noqa: BLE001 - a user's program may raise anything; the answer says so
            return Answer("undecided", reason=describe_failure(self.name, error))
        return self._answer(verdict)

    def _answer(self, verdict: Any) -> Answer:
        reason = ""
        if isinstance(verdict, Answer):
            return verdict
        if isinstance(verdict, tuple) and len(verdict) == 2 and _is_truth(verdict[0]) and isinstance(verdict[1], str):
            verdict, reason = verdict
        if _is_truth(verdict):
            if verdict:
                return Answer("playable", Proof((), facts={"by": self.name}), reason=reason)
            return Answer("unplayable", reason=reason or f"{self.name} says so, and gives no reason")
        cells = _cells(verdict)
        if cells is None:
            kind = type(verdict).__name__
            wanted = "an Answer, True or False, (True or False, reason), or cells"
            return Answer("undecided", reason=f"{self.name} returned {verdict!r:.80} ({kind}), not {wanted}")
        if not cells:
            return Answer("unplayable", reason=f"{self.name} found no way")
        proof = Proof(cells, facts={"by": self.name})
        return Answer("playable", proof, measures={"path_length": float(len(cells))})

    def replay(self, level: Level, proof: Proof) -> str:
        """See :meth:`Rules.replay`."""
        for number, cell in enumerate(proof.cells):
            if not (0 <= cell[0] < level.height and 0 <= cell[1] < level.width):
                return f"step {number}: row {cell[0]}, column {cell[1]} is outside of the level"
        if self.check is None:
            again = self.solve(level)
            if not again.playable:
                return f"asked again, {self.name} says: {again.reason}"
            same = again.proof is None or again.proof.cells == proof.cells
            return "" if same else f"asked again, {self.name} gives other cells"
        try:
            wrong = self.check(level, proof)
        except Exception as error:  # noqa: BLE001 - a user's program may raise anything; the answer says so
            return describe_failure(str(getattr(self.check, "__qualname__", "check")), error)
        if wrong is True or wrong is None or wrong == "":
            return ""
        return wrong if isinstance(wrong, str) else "the proof does not hold"


def describe_failure(name: str, error: Exception) -> str:
    """Say in one sentence what a user's program raised, and where."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    words = " ".join(str(error).split())[:200]
    return f"{name} failed: {type(error).__name__}{': ' if words else ''}{words}{place}"


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")


def _cells(verdict: Any) -> tuple[tuple[int, int], ...] | None:
    if isinstance(verdict, (str, bytes)) or not isinstance(verdict, Sequence):
        return None
    try:
        return tuple((int(row), int(column)) for row, column in verdict)
    except (TypeError, ValueError):
        return None


def find_function(spec: str, folder: Path | None = None) -> Callable[..., Any]:
    """Import a function by the words of its user.

    Args:
        spec: ``module.path:function`` or ``file.py:function``.
        folder: What a file's path is relative to.

    Raises:
        RecipeError: There is no such file, module or function, or it cannot be imported.
    """
    where, _, attribute = spec.rpartition(":")
    if not where or not attribute.replace(".", "_").isidentifier():
        remedy = "write module.path:function or file.py:function"
        raise RecipeError(f"{spec!r:.200} names no function", source="rules", remedy=remedy)
    module = _import_file((folder or Path()) / where, spec) if where.endswith(".py") else _import_module(where, spec)
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            names = [one for one in vars(module) if not one.startswith("_")]
            remedy = f"{did_you_mean(attribute, names)}it has: {', '.join(names[:20]) or 'nothing'}"
            raise RecipeError(f"{where} has no {attribute!r}", source=spec, remedy=remedy)
        found = getattr(found, name)
    if not callable(found):
        raise RecipeError(f"{attribute!r} in {where} is no function", source=spec, remedy="name a function")
    function: Callable[..., Any] = found
    return function


def _import_file(path: Path, spec: str) -> ModuleType:
    if not path.is_file():
        raise RecipeError(f"there is no file {path}", source=spec, remedy="correct the path")
    plan = importlib.util.spec_from_file_location(f"newgameplus_own_{path.stem}", path)
    if plan is None or plan.loader is None:
        raise RecipeError(f"{path} cannot be imported", source=spec, remedy="name a Python file")
    module = importlib.util.module_from_spec(plan)
    sys.modules[plan.name] = module
    try:
        plan.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[plan.name]
        words = f"{type(error).__name__}: {error}"
        raise RecipeError(
            f"importing {path} failed: {words:.200}", source=spec, remedy="correct the program"
        ) from error
    return module


def _import_module(name: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        words = f"{type(error).__name__}: {error}"
        remedy = "correct it, or install what it needs; for a file write file.py:function"
        raise RecipeError(f"importing {name} failed: {words:.200}", source=spec, remedy=remedy) from error
