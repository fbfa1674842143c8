"""What earlier work left: ``run:FOLDER``, a finished behavior run, or what ``ngp pretrain`` wrote.

The fine-tuned backbone is the start, and the head that it learned is its zero-shot head. The card of the model that the
earlier work began from is carried along whole: it says how to build the network, and whose licence it stands under.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from newgameplus.errors import PretrainedModelError, Problem, raise_problems
from newgameplus.files import digest_file
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.catalog import check_options, did_you_mean, rebuild_pretrained

if TYPE_CHECKING:
    from torch import Tensor

    from newgameplus.pretrained.backbone import PretrainedModel, ZeroShotHead

__all__ = ["cards", "describe", "load", "model_folder", "rebuild"]

_WEIGHTS, _CARD = "model.safetensors", "card.json"
_BACKBONE, _HEAD = "backbone.", "head."
_KEEPS = "leave it out: a run keeps what it was made with"
_REMEDY = "restore the run from a copy, or fit again"
_PRETRAINED = "pretrained"


def load(name: str, *, fresh: bool = False, **options: Any) -> PretrainedModel:
    """Load the backbone of a run, with the head that it learned.

    Args:
        name: The run folder.
        fresh: Random weights (from torch's global random state) in the same architecture, and no head.
        options: Those of the source that the run's own start came from, so that one recipe may name that start and
            the run. The run keeps what it was made with; a size that is another one is refused.

    Raises:
        PretrainedModelError: There is no such run, it has no model yet, its files are damaged, or an option says
            something else than the run was made with.
    """
    from newgameplus.tensors import load_tensors

    folder = model_folder(name)
    content = _read(folder)
    card = _card(name, content)
    _check_options(card, options)
    model = rebuild(card)
    if fresh:
        model.card = replace(card, labels=(), digest="")
        return model
    path = folder / _WEIGHTS
    if not path.is_file() or digest_file(path) != card.digest:
        raise PretrainedModelError("the weights are missing or not those of the card", source=str(path), remedy=_REMEDY)
    tensors, _ = load_tensors(path, PretrainedModelError, remedy=_REMEDY)
    start = _BACKBONE if any(key.startswith(_BACKBONE) for key in tensors) else ""
    try:
        model.backbone.load_state_dict(
            {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}
        )
        model.zero_shot = _head(card.labels, tensors)
    except (RuntimeError, KeyError) as error:
        message = f"the weights do not fit the card: {error}"
        raise PretrainedModelError(message, source=str(path), remedy=_REMEDY) from error
    _check_finite(tensors, path)
    return model


def describe(name: str, **options: Any) -> ModelCard:
    """Return the card of a run's model without loading its weights; see :func:`load`.

    Raises:
        PretrainedModelError: There is no such run, it has no model yet, its card is damaged, or an option does not fit.
    """
    card = _card(name, _read(model_folder(name)))
    _check_options(card, options)
    return card


def _check_options(card: ModelCard, options: Mapping[str, Any]) -> None:
    """Refuse options that the run's start does not know, or that say something else than it was made with."""
    if not options:
        return
    architecture = card.facts["architecture"]
    check_options(str(architecture.get("name", "")), options)
    made_with = {**architecture.get("facts", {}), **card.shape.as_dict()}
    problems = [
        Problem(f"{card.name} was made with {key} {made_with[key]!r}, not {value!r}", f"model.options.{key}", _KEEPS)
        for key, value in options.items()
        if key in made_with and made_with[key] != value
    ]
    raise_problems(problems, PretrainedModelError, f"{len(problems)} options do not fit {card.name}")


def rebuild(card: ModelCard) -> PretrainedModel:
    """Build the architecture that the run's own start describes, with random weights; the run is not needed.

    Raises:
        PretrainedModelError: The card does not hold what is needed, or the architecture cannot be built here.
    """
    try:
        architecture = ModelCard.from_dict(card.facts["architecture"])
    except (KeyError, TypeError, ValueError) as error:
        message = f"the card of {card.name} does not say how its network is built ({error})"
        raise PretrainedModelError(message, source=card.name, remedy=_REMEDY) from error
    model = rebuild_pretrained(architecture)
    model.card, model.zero_shot = card, None
    return model


def cards() -> list[ModelCard]:
    """Return nothing: a run is named by its folder."""
    return []


def model_folder(name: str, source: str = "") -> Path:
    """Return the folder that holds a run's card and weights.

    Args:
        name: A run folder, or its model folder.
        source: Where the name stands, for messages.

    Raises:
        PretrainedModelError: There is no such folder, or no model in it.
    """
    folder, source = Path(name).expanduser(), source or f"run:{name}"
    for place in (folder / "model", folder):
        if (place / _CARD).is_file():
            return place
    if not folder.is_dir():
        runs = folder.parent if folder.parent.is_dir() else Path()
        known = sorted(str(path.parent.parent) for path in runs.glob(f"*/model/{_CARD}"))
        remedy = did_you_mean(name, known) if known else f"no folder in {str(runs)!r} holds a run with a model"
        raise PretrainedModelError(f"there is no run folder {name!r}", source=source, remedy=remedy)
    raise PretrainedModelError(
        f"the run {name!r} has no model yet",
        source=source,
        remedy="finish it first (ngp resume), or name another run",
    )


def _read(folder: Path) -> dict[str, Any]:
    """Read the card file of a run, and refuse those of other scenarios."""
    path = folder / _CARD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PretrainedModelError(f"this card is damaged ({error})", source=str(path), remedy=_REMEDY) from error
    if not isinstance(content, dict) or "start" not in content or "digest" not in content:
        raise PretrainedModelError(
            "this is no model of the behavior scenario",
            source=str(path),
            remedy="name a run of ngp fit on clips or trajectories, or what ngp pretrain made of such a model",
        )
    return content


def _card(name: str, content: dict[str, Any]) -> ModelCard:
    """Turn what the run's card says into the card of a starting point."""
    try:
        start = ModelCard.from_dict(content["start"])
        labels = tuple(str(label) for label in content.get("labels", ()))
        digest, training = str(content["digest"]), dict(content.get("training", {}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PretrainedModelError(f"this card is damaged ({error})", source=f"run:{name}", remedy=_REMEDY) from error
    if content.get("kind") == _PRETRAINED:
        description = f"{start.name}, pretrained further on recordings"
        labels = ()
    else:
        description = f"{start.name}, fine-tuned ({training.get('strategy', 'unknown strategy')}) for " + ", ".join(
            labels
        )
    of_run = start.name.startswith("run:")
    before = start.facts.get("lineage", []) if of_run else []
    earlier = [start.facts.get("training", {}), *start.facts.get("earlier_trainings", [])] if of_run else []
    architecture = start.facts.get("architecture", {}) if of_run else start.as_dict()
    return replace(
        start,
        name=f"run:{name}",
        digest=digest,
        labels=labels,
        description=description,
        facts={
            "architecture": architecture,
            "lineage": [*before, start.name],
            "training": training,
            "earlier_trainings": earlier,
        },
    )


def _head(labels: tuple[str, ...], tensors: dict[str, Tensor]) -> ZeroShotHead | None:
    """Return the learned head on plain features: its standardization is folded into weight and bias."""
    from newgameplus.pretrained.backbone import ZeroShotHead

    if not labels:
        return None
    mean, scale, weight, bias = (
        tensors[f"{_HEAD}{key}"].float() for key in ("mean", "scale", "linear.weight", "linear.bias")
    )
    weight = weight / scale
    return ZeroShotHead(labels, weight, bias - weight @ mean)


def _check_finite(tensors: dict[str, Tensor], path: Path) -> None:
    from newgameplus.pretrained.torch_file import check_finite

    check_finite(tensors, str(path))
