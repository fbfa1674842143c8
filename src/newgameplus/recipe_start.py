"""What a recipe names to start from: plain names, which share the recipe's options, and candidates with their own.

Every candidate has a label that no other has: its name, and where two have the same name, the options in which they
differ as well. Steps, tables and notes know a candidate by its label.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, JsonValue

from newgameplus.errors import Problem
from newgameplus.recipe_schema import Strict

__all__ = ["AUTO", "CandidateSettings", "OneName", "Start", "StartSettings"]

_OPTIONS = ("model.options", "pretrained options")  # how problems say that an option is wrong
AUTO = "auto"
"""What ``model.start`` says to choose among all models of this machine."""


@dataclass(frozen=True)
class Start:
    """One model that a recipe may start from.

    Attributes:
        name: Its full name, ``source:name``.
        options: Options of its source.
        label: What it is called among the candidates.
    """

    name: str
    options: Mapping[str, Any]
    label: str


def _no_auto(name: str) -> str:
    if name == AUTO:
        raise ValueError("auto finds models, which take model.options: write it in the list as it is")
    return name


OneName = Annotated[str, AfterValidator(_no_auto)]
"""The name of one model, which is not ``auto``."""


class CandidateSettings(Strict):
    """One model to choose from, with options of its own."""

    start: OneName
    """Its name, as ``model.start`` takes it."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Options of its source, in place of ``model.options``."""


class StartSettings(Strict):
    """What the section ``model`` of all scenarios' recipes knows about where to start from."""

    start: str | tuple[str | CandidateSettings, ...] = AUTO
    """A name, or several candidates."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Options of the source."""

    shared_options: ClassVar[tuple[str, ...]] = ()
    """Options that are not the source's: they hold whatever a recipe starts from."""

    @property
    def starts(self) -> tuple[Start, ...]:
        """What to choose from, in the recipe's order; what is named twice with the same options comes once."""
        pairs = {_key(name, options): (name, options) for name, options in map(self._pair, self._items)}
        labels = _labels(list(pairs.values()))
        return tuple(Start(name, options, label) for (name, options), label in zip(pairs.values(), labels, strict=True))

    @property
    def candidates(self) -> tuple[str, ...]:
        """The labels of what to choose from."""
        return tuple(one.label for one in self.starts)

    @property
    def _items(self) -> tuple[str | CandidateSettings, ...]:
        return (self.start,) if isinstance(self.start, str) else self.start

    def _pair(self, item: str | CandidateSettings) -> tuple[str, Mapping[str, Any]]:
        return (item, self.options) if isinstance(item, str) else (item.start, item.options)

    def with_found(self, find: Callable[[], Iterable[str]]) -> tuple[str, ...]:
        """Return the labels with ``auto``, if it is there, replaced by models that are found and not named anyway."""
        starts = self.starts
        named = [one for one in starts if one.name != AUTO]
        names = {one.name for one in named}
        found = find() if len(named) < len(starts) else ()
        return (*(one.label for one in named), *(name for name in dict.fromkeys(found) if name not in names))

    def find(self, label: str) -> Start:
        """Return a candidate by its label; what is none of them is a name that takes the recipe's options."""
        return next((one for one in self.starts if one.label == label), Start(label, self.options, label))

    def about(self, label: str, problems: Iterable[Problem]) -> list[Problem]:
        """Return the problems of a candidate so that each says, where there are several, whose it is and where."""
        items = self._items
        if len(items) < 2:
            return list(problems)
        one = self.find(label)
        place = next((n for n, item in enumerate(items) if self._is(item, one) and not isinstance(item, str)), None)
        found = []
        for problem in problems:
            source = problem.source
            beginning = next((words for words in _OPTIONS if source.startswith(words)), "")
            if place is not None and beginning:
                source = f"model.start.{place}.options{source.removeprefix(beginning)}"
            known = label in f"{problem.message} {source}"
            message = problem.message if known else f"{label}: {problem.message}"
            found.append(replace(problem, source=source, message=message))
        return found

    def _is(self, item: str | CandidateSettings, one: Start) -> bool:
        return _key(*self._pair(item)) == _key(one.name, one.options)

    def only(self, label: str) -> Self:
        """Return the section as if it named one of its candidates alone, with the options that are for it."""
        one = self.find(label)
        shared = {name: value for name, value in self.options.items() if name in self.shared_options}
        return self.model_copy(update={"start": one.name, "options": {**shared, **one.options}})

    def with_starts(self, names: Sequence[str]) -> Self:
        """Return the section with other models to start from.

        Args:
            names: Labels or names. A candidate of the recipe keeps its own options; the name of several of them stands
                for all of those.
        """
        known = [(item, *self._pair(item)) for item in self._items]
        labels = {_key(one.name, one.options): one.label for one in self.starts}
        chosen: list[str | CandidateSettings] = []
        for name in names:
            both = name, _resolved(name)
            exact = [item for item, own, options in known if labels[_key(own, options)] in both]
            same = [item for item, own, _ in known if own != AUTO and own in both]
            chosen += exact[:1] or same or [name]
        single = chosen[0] if len(chosen) == 1 else None
        return self.model_copy(update={"start": single if isinstance(single, str) else tuple(chosen)})


def _resolved(name: str) -> str:
    """Return the name or label of a file with its path as recipes that were read from a file have it: absolute."""
    whole, bracket, told = name.partition(" (")
    source, colon, rest = whole.partition(":")
    try:
        path = Path(rest).expanduser().resolve()
        return f"{source}:{path}{bracket}{told}" if colon and rest and path.exists() else name
    except (ValueError, RuntimeError, OSError):
        return name


def _key(name: str, options: Mapping[str, Any]) -> tuple[str, str]:
    return name, json.dumps(dict(options), sort_keys=True, default=str)


def _labels(pairs: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return a label for each name with options, no two alike."""
    alike = {name: [options for other, options in pairs if other == name] for name, _ in pairs}
    labels = [_label(name, options, alike[name], short=True) for name, options in pairs]
    often = Counter(labels)
    return [
        label if often[label] == 1 else _label(name, options, alike[name], short=False)
        for label, (name, options) in zip(labels, pairs, strict=True)
    ]


def _label(name: str, options: Mapping[str, Any], alike: Sequence[Mapping[str, Any]], *, short: bool) -> str:
    """Return a name with the options that not all candidates of that name have in common.

    Args:
        name: The name.
        options: The options.
        alike: Options of all candidates of that name.
        short: Leave out the folders of files.
    """
    own = {key: value for key, value in options.items() if any(_differs(other, key, value) for other in alike)}
    told = ", ".join(f"{key}={_told(value, short=short)}" for key, value in own.items())
    return f"{name} ({told})" if told else name


def _differs(options: Mapping[str, Any], key: str, value: Any) -> bool:
    return key not in options or json.dumps(options[key], sort_keys=True) != json.dumps(value, sort_keys=True)


def _told(value: Any, *, short: bool) -> str:
    """Write a value so that no two different ones look alike; without folders if it is to be short."""
    if not isinstance(value, str):
        return json.dumps(value, sort_keys=True)
    if short and Path(value).is_absolute():
        return Path(value).name
    try:
        json.loads(value)
    except ValueError:
        return json.dumps(value) if set(value) & set('",()') else value
    return json.dumps(value)
