"""Rules in a YAML file: what tiles mean, and either ready rules with options or a table of moves.

Ready rules for one's own tiles::

    name: my platformer
    tiles:
      W: [solid]
      "^": [hazard]
    base: platformer
    options:
      jumps: {height: 3, reach: 6}

A game of one's own, here a knight that can leap one cell over a gap and must not step on spikes::

    name: leaping knight
    tiles: {".": [empty], "#": [solid], "^": [hazard], "K": ["key:gold"], "D": ["door:gold"], "@": [start], "X": [goal]}
    moves:
      - {name: right, step: [0, 1], forbids: {target: [solid, hazard]}}
      - {name: left, step: [0, -1], forbids: {target: [solid, hazard]}}
      - {name: leap, step: [0, 2], forbids: {target: [solid, hazard], between: [solid, door]}, needs: {below: [solid]}}
    gravity: true       # over nothing that carries, the player can only fall
    goals: all          # or any
    keys: spend         # or keep, or ignore

A move's ``needs`` and ``forbids`` name places (``from``, ``target``, ``below``, ``above`` the player, ``between``) and
the meanings wanted or not wanted there. Where a move does not say what its target forbids, that is solid, hazard and
void.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from newgameplus.errors import DataError, NewGamePlusError, Problem, raise_problems
from newgameplus.games.rules.contract import Rules
from newgameplus.games.rules.own_moves import FALL, PLACES, Move, MoveRules, MoveTable
from newgameplus.games.rules.tile_table import Retiled
from newgameplus.games.scenes import MEANINGS
from newgameplus.recipe import did_you_mean

__all__ = ["load_rules", "rules_from_mapping"]

_LARGEST_FILE, _DEEPEST = 1 << 18, 20
_KEYS = ("name", "tiles", "base", "options", "moves", "gravity", "carries", "floats", "start", "goal", "goals", "keys")
_ONLY_MOVES = _KEYS[5:]
_CHOICES = {"goals": ("all", "any"), "keys": ("spend", "keep", "ignore")}
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_REMEDY = "see the examples in the documentation of rules"


def load_rules(path: Path, *, options: Mapping[str, object] | None = None) -> Rules:
    """Read and check a file of rules. Paths in it are relative to the file.

    Args:
        path: YAML file.
        options: Options that go before those in the file.

    Raises:
        DataError: With every problem in the file at once, each with its line and key.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise DataError("too large for a file of rules", source=str(path), remedy=_REMEDY)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DataError(f"cannot read the rules: {why}", source=str(path), remedy="name a file of rules") from error
    except ValueError as error:
        raise DataError(f"these are no rules: {error}", source=str(path), remedy=_REMEDY) from error
    content, lines = _parse(text, str(path))
    if options:
        content = {**content, "options": {**(content.get("options") or {}), **options}}
    return rules_from_mapping(content, source=str(path), folder=path.parent, lines=lines)


def _parse(text: str, source: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the content of a YAML text and the line of every dotted key."""
    try:
        depth = 0
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
            if depth > _DEEPEST:
                line = token.start_mark.line + 1
                raise DataError(
                    "this is no YAML of rules: nested too deeply", source=f"{source}:{line}", remedy=_REMEDY
                )
            if isinstance(token, yaml.AliasToken):
                line = token.start_mark.line + 1
                raise DataError("aliases (*) are not read here", source=f"{source}:{line}", remedy="write it out")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        message = f"this is no YAML: {error.problem or error.context}"
        raise DataError(message, source=f"{source}:{line}", remedy=_REMEDY) from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"this is no YAML: {str(error)[:200]}", source=source, remedy=_REMEDY) from error
    if not isinstance(content, dict):
        raise DataError("rules must be keys and values", source=source, remedy=_REMEDY)
    lines: dict[str, int] = {}
    twice: list[Problem] = []
    _note_lines(node, "", lines, twice, source)
    raise_problems(twice, DataError, f"{len(twice)} keys are given twice")
    return content, lines


def _note_lines(node: Any, dotted: str, lines: dict[str, int], twice: list[Problem], source: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            place, line = f"{dotted}{key.value}", key.start_mark.line + 1
            if str(key.value) in seen:
                twice.append(Problem(f"{place} is given twice", f"{source}:{line}", "keep one of them"))
            seen.add(str(key.value))
            lines[place] = line
            _note_lines(value, f"{place}.", lines, twice, source)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            lines[f"{dotted}{number}"] = value.start_mark.line + 1
            _note_lines(value, f"{dotted}{number}.", lines, twice, source)


def rules_from_mapping(
    content: Mapping[str, Any],
    *,
    source: str = "rules",
    folder: Path | None = None,
    lines: Mapping[str, int] | None = None,
) -> Rules:
    """Make rules of the content of a rules file.

    Args:
        content: As in the examples above.
        source: Where it comes from.
        folder: What paths in it are relative to.
        lines: Line of each dotted key.

    Raises:
        DataError: With every problem at once.
    """
    check = _Check(source, dict(lines or {}))
    for key in content:
        if key not in _KEYS:
            check.bad(str(key), f"unknown key {key!r}", f"{did_you_mean(str(key), _KEYS)}known: {', '.join(_KEYS)}")
    name = content.get("name", Path(source).stem)
    if not isinstance(name, str) or not name.strip():
        check.bad("name", f"{name!r:.60} is no name", "give it in quotes")
    tiles = check.tiles(content.get("tiles") or {})
    rules = _based(content, check, folder) if "base" in content else _moved(content, check, str(name))
    check.done()
    return Retiled(rules, tiles, str(name)) if rules is not None and tiles else _named(rules, str(name))


def _named(rules: Rules | None, name: str) -> Rules:
    if rules is None:  # ``done`` has raised then
        raise DataError("these rules cannot be used", source=name, remedy=_REMEDY)
    rules.name = name
    return rules


def _based(content: Mapping[str, Any], check: _Check, folder: Path | None) -> Rules | None:
    from newgameplus.games.rules import RULES, open_rules

    for key in ("moves", *_ONLY_MOVES):
        if key in content:
            check.bad(key, f"{key} cannot be given with base", "delete one of the two")
    base, options = content["base"], content.get("options") or {}
    if base not in RULES:
        remedy = f"{did_you_mean(str(base), list(RULES))}known: {', '.join(RULES)}"
        check.bad("base", f"no ready rules are called {base!r:.60}", remedy)
        return None
    if not isinstance(options, Mapping):
        check.bad("options", f"options must be keys and values, not {options!r:.60}", _REMEDY)
        return None
    try:
        return open_rules(str(base), options={str(key): value for key, value in options.items()}, folder=folder)
    except NewGamePlusError as error:
        for problem in error.problems:
            key = problem.source.rpartition(": ")[2].removeprefix("rules.").partition(".")[0]
            dotted = f"options.{key}" if key in options else "options"
            check.bad(dotted, problem.message, problem.remedy)
        return None


def _moved(content: Mapping[str, Any], check: _Check, name: str) -> Rules | None:
    if "options" in content:
        check.bad("options", "options go with base", "delete them, or name a base")
    moves = content.get("moves")
    if not isinstance(moves, list) or not 1 <= len(moves) <= 100:
        check.bad("moves", "moves must be a list of 1 to 100 moves", f"or name a base; {_REMEDY}")
        moves = []
    made = [check.move(f"moves.{number}", move) for number, move in enumerate(moves)]
    values = _settings(content, check)
    if check.problems:
        return None
    return MoveRules(MoveTable(tuple(move for move in made if move is not None), **values), name)


def _settings(content: Mapping[str, Any], check: _Check) -> dict[str, Any]:
    """Take what a table of moves says besides its moves."""
    values: dict[str, Any] = {}
    if "gravity" in content:
        values["gravity"] = content["gravity"]
        if not isinstance(content["gravity"], bool):
            check.bad("gravity", f"gravity is {content['gravity']!r:.60}", "true or false")
    for key in ("carries", "floats", "start", "goal"):
        if key in content:
            values[key] = check.meanings(key, content[key])
    for key, known in _CHOICES.items():
        if key in content:
            values[key] = content[key]
            if content[key] not in known:
                remedy = f"{did_you_mean(str(content[key]), known)}known: {', '.join(known)}"
                check.bad(key, f"{key} is {content[key]!r:.60}", remedy)
    return values


class _Check:
    """Collects what is wrong, with line and key."""

    def __init__(self, source: str, lines: Mapping[str, int]) -> None:
        self.source = source
        self.lines = lines
        self.problems: list[Problem] = []

    def bad(self, dotted: str, message: str, remedy: str) -> None:
        line, key = None, dotted
        while line is None and key:
            line = self.lines.get(key)
            key = key.rpartition(".")[0]
        where = f"{self.source}:{line}" if line is not None else self.source
        self.problems.append(Problem(f"{dotted}: {message}", where, remedy))

    def done(self) -> None:
        raise_problems(self.problems, DataError, f"{len(self.problems)} things are wrong with the rules")

    def meanings(self, dotted: str, value: Any) -> tuple[str, ...]:
        """Take one meaning or a list of them."""
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            self.bad(dotted, f"{value!r:.60} is no meaning, nor a list of them", "like [solid, hazard]")
            return ()
        for word in words:
            kind, colon, rest = word.partition(":")
            if kind not in MEANINGS or (colon and (kind not in ("key", "door") or not rest)):
                self.bad(dotted, f"{word!r:.60} is no meaning", f"{did_you_mean(kind, list(MEANINGS))}{_REMEDY}")
        return tuple(words)

    def tiles(self, value: Any) -> dict[str, tuple[str, ...]]:
        """Take a table of meanings by tile name."""
        if not isinstance(value, Mapping):
            self.bad("tiles", f"tiles must be names and meanings, not {value!r:.60}", _REMEDY)
            return {}
        return {str(tile): self.meanings(f"tiles.{tile}", words) for tile, words in value.items()}

    def move(self, dotted: str, value: Any) -> Move | None:
        """Take one move."""
        known = ("name", "step", "needs", "forbids")
        if not isinstance(value, Mapping):
            self.bad(dotted, f"{value!r:.60} is no move", "like {name: right, step: [0, 1]}")
            return None
        for key in value:
            if key not in known:
                self.bad(f"{dotted}.{key}", f"unknown key {key!r:.60}", f"{did_you_mean(str(key), known)}{known}")
        name, step = value.get("name", dotted), value.get("step")
        if not isinstance(name, str) or not name or name == FALL:
            self.bad(f"{dotted}.name", f"{name!r:.60} cannot be a move's name", "any other word")
        if not (
            isinstance(step, list)
            and len(step) == 2
            and all(type(number) is int and abs(number) <= 32 for number in step)
            and step != [0, 0]
        ):
            self.bad(f"{dotted}.step", f"step is {step!r:.60}", "rows and columns, up to 32: [0, 1] is right")
            return None
        needs = self._places(f"{dotted}.needs", value.get("needs") or {})
        forbids = self._places(f"{dotted}.forbids", value.get("forbids") or {})
        forbids.setdefault("target", ("solid", "hazard", "void"))
        move = Move(str(name), (step[0], step[1]), needs, forbids)
        down, right = abs(step[0]), abs(step[1])
        if ("between" in needs or "between" in forbids) and 0 not in (down, right) and down != right:
            self.bad(f"{dotted}.step", "nothing lies straight between for a step like this", "delete between")
        return move

    def _places(self, dotted: str, value: Any) -> dict[str, tuple[str, ...]]:
        if not isinstance(value, Mapping):
            self.bad(dotted, f"{value!r:.60} names no places", f"like {{target: [solid]}}; known: {', '.join(PLACES)}")
            return {}
        for place in value:
            if place not in PLACES:
                remedy = f"{did_you_mean(str(place), PLACES)}known: {', '.join(PLACES)}"
                self.bad(f"{dotted}.{place}", f"{place!r:.60} is no place", remedy)
        return {str(place): self.meanings(f"{dotted}.{place}", words) for place, words in value.items()}
