"""Where pretrained models come from: a registry of sources, and one door to all of them.

A model is named ``source:name``, e.g. ``bundled:doom-clips`` or ``transformers:microsoft/resnet-50``. A source is one
module with ``load(name, *, fresh=False, ...) -> PretrainedModel``, ``cards() -> list[ModelCard]``,
``describe(name, ...) -> ModelCard`` (the facts alone, without the weights) and ``rebuild(card) -> PretrainedModel``;
a new one is one file and one line in :data:`SOURCES`.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from newgameplus import recipe
from newgameplus.errors import NewGamePlusError, PretrainedModelError, Problem, raise_problems
from newgameplus.pretrained.card import ModelCard

if TYPE_CHECKING:
    from newgameplus.pretrained.backbone import PretrainedModel

__all__ = [
    "SOURCES",
    "check_options",
    "describe_pretrained",
    "did_you_mean",
    "list_models",
    "load_pretrained",
    "rebuild_pretrained",
]

SOURCES: dict[str, str] = {
    "bundled": "newgameplus.pretrained.bundled",
    "transformers": "newgameplus.pretrained.transformers",
    "keras": "newgameplus.pretrained.keras",
    "torchvision": "newgameplus.pretrained.torchvision",
    "timm": "newgameplus.pretrained.timm",
    "checkpoint": "newgameplus.pretrained.checkpoint",
    "run": "newgameplus.pretrained.run",
    "sequence": "newgameplus.pretrained.sequence",
}


def load_pretrained(name: str, *, fresh: bool = False, options: Mapping[str, Any] | None = None) -> PretrainedModel:
    """Load a pretrained model by its full name.

    Args:
        name: ``source:name``, e.g. ``bundled:doom-clips``, ``transformers:microsoft/resnet-50`` or
            ``transformers:./my-folder``.
        fresh: Keep the architecture but start from random weights (from torch's global random state), as the
            from-scratch baseline does.
        options: What the source lets one choose, e.g. ``{"frames": 8}``; its ``load`` documents them.

    Returns:
        The model: card, backbone (in evaluation mode), and its own linear head if it has one.

    Raises:
        PretrainedModelError: There is no such source, name or option, or the model cannot be loaded.
        MissingExtraError: The source needs a package that is not installed.
    """
    source, rest = _split(name)
    module = _source_module(source)
    chosen = dict(options or {})
    _check_options(module, source, chosen)
    model: PretrainedModel = module.load(rest, fresh=fresh, **chosen)
    return replace(model, options=chosen)


def describe_pretrained(name: str, options: Mapping[str, Any] | None = None) -> ModelCard:
    """Return the facts about a pretrained model without loading its weights.

    Args:
        name: ``source:name``, as for :func:`load_pretrained`.
        options: What the source lets one choose.

    Returns:
        The card that :func:`load_pretrained` would give; its digest may be empty, because the weights were not read.

    Raises:
        PretrainedModelError: There is no such source, name or option, or the facts cannot be read.
        MissingExtraError: The source needs a package that is not installed.
    """
    source, rest = _split(name)
    module = _source_module(source)
    chosen = dict(options or {})
    _check_options(module, source, chosen)
    card: ModelCard = module.describe(rest, **chosen)
    return card


def rebuild_pretrained(card: ModelCard) -> PretrainedModel:
    """Build the architecture that a card describes, with random weights, to load saved weights into.

    A source whose cards hold the whole architecture needs neither the network nor the folder that the model once came
    from, so that a run folder keeps working without them.

    Raises:
        PretrainedModelError: The card's source is not known, or its architecture cannot be built here.
    """
    source, rest = _split(card.name)
    module = _source_module(source)
    rebuild = getattr(module, "rebuild", None)
    model: PretrainedModel = module.load(rest, fresh=True) if rebuild is None else rebuild(card)
    return model


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that the source of a model does not know.

    Raises:
        PretrainedModelError: With all of them; or there is no such source.
    """
    source, _ = _split(name)
    _check_options(_source_module(source), source, options)


def list_models() -> list[ModelCard]:
    """Return the cards of all models that can be listed (a hub's uncounted models cannot)."""
    return [card for source in SOURCES for card in _source_module(source).cards()]


def _split(name: str) -> tuple[str, str]:
    source, colon, rest = name.partition(":")
    if not colon:
        raise PretrainedModelError(
            f"pretrained model {name!r} does not say where it comes from",
            source="pretrained",
            remedy=f"write it as source:name, e.g. {_example(name)}; sources: {', '.join(SOURCES)}",
        )
    if source not in SOURCES:
        raise PretrainedModelError(
            f"no source of pretrained models is called {source!r}",
            source="pretrained",
            remedy=did_you_mean(source, SOURCES),
        )
    if not rest.strip():
        raise PretrainedModelError(
            f"pretrained model {name!r} has no name behind the colon",
            source="pretrained",
            remedy=f"e.g. {_example('')}",
        )
    return source, rest.strip()


def _example(name: str) -> str:
    """Guess what a bare name was meant to be: a bundled model, or a folder or hub name."""
    if "/" in name or name.startswith("."):
        return f"transformers:{name}"
    try:
        bundled = [card.name for card in _source_module("bundled").cards()]
    except NewGamePlusError:  # a damaged bundled model must not hide what is wrong with this name
        bundled = []
    near = difflib.get_close_matches(f"bundled:{name}", bundled, n=1, cutoff=0.5)
    return near[0] if near else "transformers:microsoft/resnet-50"


def _source_module(source: str) -> ModuleType:
    return importlib.import_module(SOURCES[source])


def _check_options(module: ModuleType, source: str, options: Mapping[str, Any]) -> None:
    """Compare the options with the keyword-only arguments of the source's ``load``; report all unknown ones."""
    parameters = inspect.signature(module.load).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name != "fresh"]
    problems = [
        Problem(f"the source {source!r} has no option {key!r}", "pretrained options", did_you_mean(key, known))
        for key in options
        if key not in known
    ]
    raise_problems(problems, PretrainedModelError, f"{len(problems)} options are not known")


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """Return a remedy that names the nearest of the known values, then all of them."""
    choices = list(known)
    return f"{recipe.did_you_mean(value, choices)}known: {', '.join(choices)}" if choices else "there are none"
