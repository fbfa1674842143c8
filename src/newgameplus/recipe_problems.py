"""What is wrong with a recipe, in words: every problem with its line in the file, the key, and the nearest known name.

Works for any schema made of :class:`~newgameplus.recipe_schema.Strict` sections.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
import reprlib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from newgameplus.errors import Problem
from newgameplus.recipe_schema import path_mark

__all__ = ["Explainer", "KnownNames", "did_you_mean", "node_size"]

KnownNames = Mapping[str, Sequence[str]]
"""Names that registries know, by dotted key: ``{"adapt.strategy": ["probe", ...]}``; ``tile:*`` stands for many; a key
``*`` for every section of a list."""
Keys = tuple[str, ...]

_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxother = 78


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """Return ``did you mean 'x'? `` for the nearest of ``names``, or nothing when none is near."""
    near = difflib.get_close_matches(name.lower(), [known.lower() for known in names], n=1, cutoff=0.5)
    match = next((known for known in names if near and known.lower() == near[0]), None)
    return f"did you mean {match!r}? " if match else ""


def node_size(node: yaml.Node | None, sizes: dict[int, int] | None = None) -> int:
    """Count the values of a YAML document as if all its aliases were written out, without writing them out."""
    sizes = {} if sizes is None else sizes
    if node is None or isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in sizes:
        sizes[id(node)] = 1  # an alias of what it stands in is found later, when it is walked
        items = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        sizes[id(node)] = 1 + sum(node_size(item, sizes) for item in items)
    return sizes[id(node)]


@dataclass
class Explainer:
    """Explains the problems of one recipe.

    Attributes:
        schema: What it is to follow.
        content: The recipe as plain data.
        source: File it was read from, for messages.
        others: Schemas of the other scenarios, by name, to which an unknown key may belong.
    """

    schema: type[BaseModel]
    content: Mapping[Any, Any]
    source: str
    others: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    lines: dict[Keys, int] = field(default_factory=dict)

    def read_lines(self, node: yaml.Node | None) -> list[Problem]:
        """Learn the line of every key and item, and return a problem for each key that is given twice."""
        return self._walk(node, ())

    def _walk(self, node: yaml.Node | None, prefix: Keys) -> list[Problem]:
        problems: list[Problem] = []
        if isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self.lines[*prefix, str(number)] = item.start_mark.line + 1
                problems += self._walk(item, (*prefix, str(number)))
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in seen:
                    message = f"{_dotted((*prefix, name))} is given twice, first on line {seen[name]}"
                    problems.append(Problem(message, f"{self.source}:{line}", "keep one of them"))
                seen[name] = line
                self.lines[*prefix, name] = line
                problems += self._walk(value, (*prefix, name))
        return problems

    def where(self, keys: Keys) -> str:
        """Return ``file:line (key)`` of a key, or of the nearest parent that stands in the file."""
        for end in range(len(keys), 0, -1):
            if (line := self.lines.get(keys[:end])) is not None:
                return f"{self.source}:{line} ({_dotted(keys)})"
        return f"{self.source} ({_dotted(keys)})" if keys else self.source

    def unknown_names(self, known: KnownNames, folder: Path | None = None) -> list[Problem]:
        """Return a problem for each name that no registry knows; files in ``folder`` will do where files may stand."""
        problems: list[Problem] = []
        for dotted, names in known.items():
            keys = tuple(dotted.split("."))
            if "*" in keys:
                problems += self._unknown_in_list(keys, names)
                continue
            value: Any = self.content
            for part in keys:
                value = value.get(part) if isinstance(value, dict) else None
            for number, name in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(name, str) or any(fnmatch.fnmatchcase(name, one) for one in names):
                    continue
                if folder is not None and self._is_file(keys, folder, name):
                    continue
                remedy = f"{did_you_mean(name, names)}known: {', '.join(names)}"
                line = self.lines.get((*keys, str(number))) if isinstance(value, list) else None
                where = f"{self.source}:{line} ({dotted})" if line else self.where(keys)
                problems.append(Problem(f"{_short(name)} is not known", where, remedy))
        return problems

    def _unknown_in_list(self, keys: Keys, names: Sequence[str]) -> list[Problem]:
        """Look at one key of every section of a list: ``retention.terms.*.kind``."""
        place = keys.index("*")
        items: Any = self.content
        for part in keys[:place]:
            items = items.get(part) if isinstance(items, dict) else None
        problems = []
        for number, item in enumerate(items if isinstance(items, list) else []):
            name = item.get(keys[-1]) if isinstance(item, dict) else None
            if isinstance(name, str) and name not in names:
                remedy = f"{did_you_mean(name, names)}known: {', '.join(names)}"
                where = self.where((*keys[:place], str(number), keys[-1]))
                problems.append(Problem(f"{_short(name)} is not known", where, remedy))
        return problems

    def _is_file(self, keys: Keys, folder: Path, name: str) -> bool:
        section = section_at(self.schema, keys[:-1])
        if section is None or keys[-1] not in section.model_fields or path_mark(section, keys[-1]) is None:
            return False
        try:
            return (folder / name).is_file()
        except (OSError, ValueError):
            return False

    def explain(self, error: ValidationError) -> list[Problem]:
        """Turn pydantic's errors into problems, one for each value that will not do."""
        merged: dict[str, Problem] = {}
        details = error.errors(include_url=False, include_context=False)
        places = [self._keys(detail["loc"]) for detail in details]
        for detail, keys in zip(details, places, strict=True):
            if any(len(keys) < len(one) and one[: len(keys)] == keys for one in places):
                continue  # of a choice between types, the one that was meant says more
            problem = self._explain(detail)
            first = merged.get(problem.source)
            if first is not None and " will not do: " in first.message:
                # A choice between types gives one error for each type, all about the same value.
                reason = problem.message.split(" will not do: ", 1)[-1].removeprefix("input should be ")
                known = reason in first.message
                problem = first if known else Problem(f"{first.message}, or {reason}", first.source, first.remedy)
            merged[problem.source] = problem
        return list(merged.values())

    def _explain(self, detail: Any) -> Problem:
        location = detail["loc"]
        keys = self._keys(location)
        if detail["type"] == "extra_forbidden":
            names = list(section.model_fields) if (section := section_at(self.schema, keys[:-1])) else []
            remedy = f"{did_you_mean(keys[-1], names)}known here: {', '.join(names)}"
            return Problem(f"unknown key {keys[-1]!r}", self.where(keys), self._of_another(keys) or remedy)
        if detail["type"] == "missing":
            return Problem(f"{_dotted(keys)} is missing", self.where(keys), f"add it: {self._remedy(keys)}")
        where = self.where(keys) if keys else self.source
        if location and location[-1] == "[key]":
            key = detail["input"]
            message = f"{_short(key)} will not do as a key: it is not text but {type(key).__name__}"
            return Problem(message, where, "put the key between quotes, as in '1' or 'no'")
        reason = re.sub(r" or instance of \w+$", "", detail["msg"].removeprefix("Value error, "))
        message = f"{_short(detail['input'])} will not do: {reason[0].lower()}{reason[1:]}"
        return Problem(message, where, self._remedy(keys))

    def _keys(self, location: Sequence[int | str]) -> Keys:
        """Return the keys of a location, without the names of types that pydantic adds where there is a choice."""
        keys: list[str] = []
        value: Any = self.content
        section: type[BaseModel] | None = self.schema
        for part in location:
            in_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
            if in_list or (isinstance(value, Mapping) and part in value):
                value = value[part]
            elif section is not None and part in section.model_fields:  # missing, or a default
                value = None
            else:
                continue
            keys.append(str(part))
            section = section_at(self.schema, keys)
        return tuple(keys)

    def _of_another(self, keys: Keys) -> str:
        """Say which other scenario knows a key, if the recipe does not say its scenario."""
        if "scenario" in self.content:
            return ""
        for name, schema in self.others.items():
            section = section_at(schema, keys[:-1])
            if section is not None and keys[-1] in section.model_fields:
                return f"it belongs to recipes of another scenario: start this one with: scenario: {name}"
        return ""

    def _remedy(self, keys: Keys) -> str:
        for end in range(len(keys), 0, -1):
            section = section_at(self.schema, keys[: end - 1])
            if section is not None and keys[end - 1] in section.model_fields:
                about = (section.model_fields[keys[end - 1]].description or "").replace("``", "")
                return " ".join(about.split()) or self._sections(keys[:end])
        return self._sections(())

    def _sections(self, keys: Keys) -> str:
        section = section_at(self.schema, keys) or self.schema
        return f"give keys of it: {', '.join(section.model_fields)}"


def section_at(schema: type[BaseModel], keys: Sequence[str]) -> type[BaseModel] | None:
    """Return the section that stands at a key of a schema, or None if a plain value stands there."""
    kind: Any = schema
    for key in keys:
        if _is_section(kind):
            found = kind.model_fields.get(str(key))
            kind = found.annotation if found is not None else None
        else:
            kind = _item(kind) if key.isdecimal() else None
    return kind if _is_section(kind) else None


def _is_section(kind: Any) -> bool:
    return typing.get_origin(kind) is None and isinstance(kind, type) and issubclass(kind, BaseModel)


def _item(kind: Any) -> Any:
    """Return the section that items of a list are or may be, where a list is what may stand there; else None."""
    parts = typing.get_args(kind)
    if typing.get_origin(kind) in (tuple, list):
        items = [inner for part in parts for inner in (part, *typing.get_args(part))]
        return next((one for one in items if _is_section(one)), None)
    return next((found for one in parts if (found := _item(one)) is not None), None)


def _dotted(keys: Keys) -> str:
    """Return ``data.path``; a key that is no word stands in brackets: ``data.tiles['.']``."""
    parts = (f".{key}" if re.fullmatch(r"[\w-]+", key) else f"[{key[:40]!r}]" for key in keys)
    return "".join(parts).removeprefix(".")


def _short(value: Any) -> str:
    """Show a value of any size in at most 80 characters."""
    text = " ".join(_SHORT.repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
