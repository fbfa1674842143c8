"""Backbones that come with the package: a safetensors file and a card each, in the folder ``weights``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from newgameplus.errors import PretrainedModelError
from newgameplus.files import digest_file, write_bytes, write_json
from newgameplus.pretrained.backbone import PretrainedModel, ZeroShotHead
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.catalog import did_you_mean
from newgameplus.pretrained.clip_network import ClipNetwork, statistics_dim

__all__ = ["FOLDER", "PREFIX", "cards", "describe", "load", "rebuild", "save"]

FOLDER = Path(__file__).with_name("weights")
"""Where the weights and cards are."""
PREFIX = "bundled:"

_HEAD = "zero_shot."
_REMEDY = "install newgameplus again: its files were changed or are incomplete"


def cards() -> list[ModelCard]:
    """Return the card of every bundled model.

    Raises:
        PretrainedModelError: A card is damaged.
    """
    return [_read_card(path) for path in sorted(FOLDER.glob("*.json"))]


def load(name: str, *, fresh: bool = False) -> PretrainedModel:
    """Load a bundled model.

    Args:
        name: As in its card, without ``bundled:``.
        fresh: Random weights (from torch's global random state) instead of the learned ones, and no head.

    Returns:
        The model in evaluation mode.

    Raises:
        PretrainedModelError: There is no such model, or its file is not the one that its card describes.
    """
    card = describe(name)
    model = rebuild(card)
    return model if fresh else _with_weights(model, FOLDER / f"{name}.safetensors")


def describe(name: str) -> ModelCard:
    """Return the card of a bundled model.

    Raises:
        PretrainedModelError: There is no such model, or its card is damaged.
    """
    known = {path.stem for path in FOLDER.glob("*.json")}
    if name not in known:
        remedy = did_you_mean(name, sorted(known))
        raise PretrainedModelError(f"no bundled model is called {name!r}", source="pretrained", remedy=remedy)
    return _read_card(FOLDER / f"{name}.json")


def rebuild(card: ModelCard) -> PretrainedModel:
    """Build the architecture that a card describes, with random weights, in evaluation mode.

    Raises:
        PretrainedModelError: The card is not of this architecture.
    """
    if card.family != "clip-cnn" or "width" not in card.facts:
        raise PretrainedModelError(f"family {card.family!r} is not bundled", source=card.name, remedy=_REMEDY)
    statistics = bool(card.facts.get("statistics", False))
    learned = card.feature_dim - (statistics_dim(card.shape) if statistics else 0)
    network = ClipNetwork(card.shape, int(card.facts["width"]), learned, statistics=statistics)
    return PretrainedModel(card, network.eval())


def save(folder: Path, model: PretrainedModel) -> ModelCard:
    """Write a model as ``<name>.safetensors`` and ``<name>.json``; return its card with digest and size filled in.

    The card asks for the statistics of light and change behind the learned features, which need no weights.

    Args:
        folder: Where to write.
        model: Its card's name begins with ``bundled:``; its backbone is a :class:`ClipNetwork`.

    Raises:
        StorageError: The files cannot be written.
    """
    stem = model.card.name.removeprefix(PREFIX)
    tensors = {name: value.contiguous() for name, value in model.backbone.state_dict().items()}
    learned = len(tensors["project.0.weight"])
    if model.zero_shot is not None:
        tensors |= {
            f"{_HEAD}weight": model.zero_shot.weight[:, :learned].contiguous(),
            f"{_HEAD}bias": model.zero_shot.bias,
        }
    path = folder / f"{stem}.safetensors"
    write_bytes(path, safetensors.torch.save({name: value.detach().cpu() for name, value in tensors.items()}))
    content = model.card.as_dict() | {
        "facts": model.card.facts | {"statistics": True},
        "feature_dim": learned + statistics_dim(model.card.shape),
        "digest": digest_file(path),
        "parameters": sum(p.numel() for p in model.backbone.parameters()),
    }
    write_json(folder / f"{stem}.json", content)
    return ModelCard.from_dict(content)


def _read_card(path: Path) -> ModelCard:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return ModelCard.from_dict(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PretrainedModelError(f"this card is damaged ({error})", source=str(path), remedy=_REMEDY) from error


def _with_weights(model: PretrainedModel, path: Path) -> PretrainedModel:
    """Put the learned weights into a rebuilt model, after checking that they are the ones its card describes."""
    if not path.is_file():
        raise PretrainedModelError("the weights are missing", source=str(path), remedy=_REMEDY)
    digest = digest_file(path)
    if digest != model.card.digest:
        message = f"the weights have the digest {digest}, the card says {model.card.digest}"
        raise PretrainedModelError(message, source=str(path), remedy=_REMEDY)
    try:
        tensors = safetensors.torch.load_file(path)
        head = {name: tensors.pop(_HEAD + name) for name in ("weight", "bias") if _HEAD + name in tensors}
        model.backbone.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        raise PretrainedModelError(f"the weights do not fit ({error})", source=str(path), remedy=_REMEDY) from error
    if head:
        weight = head["weight"].to(torch.float32)
        # The head was learned on the learned features alone.
        weight = torch.nn.functional.pad(weight, (0, model.card.feature_dim - weight.shape[1]))
        model.zero_shot = ZeroShotHead(model.card.labels, weight, head["bias"].to(torch.float32))
    return model
