"""Models that this machine has already: bundled ones, the hub's cache, folders that the user names, own pretraining.

``NGP_MODELS`` lists folders as ``PATH`` does; each is a model, or holds one in every folder. Only names are looked at:
whether a model can be used is found out by describing it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from newgameplus.errors import NewGamePlusError
from newgameplus.pretrained.card import ModelCard

__all__ = ["ENVIRONMENT_VARIABLE", "cached_models", "is_here", "local_models"]

ENVIRONMENT_VARIABLE = "NGP_MODELS"
"""Names the folders of the user's own models."""
_RUN, _TRANSFORMERS = "run", "transformers"
_HUB_PREFIX = "models--"


def local_models(runs: str | Path | None = None) -> list[str]:
    """Return the names of all models for clips that can be started from without a network.

    Args:
        runs: Folder of run folders, in which what ``ngp pretrain`` wrote counts. Fine-tuned runs do not: their models
            know labels that a new evaluation may ask for; name one (``run:FOLDER``) to start from it all the same.

    Returns:
        Full names in the order bundled, own pretraining, ``NGP_MODELS``, hub; none twice.
    """
    names = [*_bundled(), *_pretrained_in(Path(runs) if runs is not None else None), *_named(), *_hub()]
    return list(dict.fromkeys(names))


def is_here(card: ModelCard) -> bool:
    """Whether a model's weights are on this machine."""
    source, _, name = card.name.partition(":")
    if source == "bundled":
        return True
    return Path(name).expanduser().exists() or card.name in _hub()


def _bundled() -> list[str]:
    from newgameplus.pretrained.bundled import cards

    try:
        return [card.name for card in cards()]
    except NewGamePlusError:  # a damaged installation must not hide the models beside it; ngp doctor says so
        return []


def _pretrained_in(runs: Path | None) -> list[str]:
    found = [] if runs is None else sorted(_folders(runs))
    return [f"{_RUN}:{folder}" for folder in found if _kind(folder / "model" / "card.json") == "pretrained"]


def _kind(card: Path) -> str:
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    is_clip_model = isinstance(content, dict) and "start" in content
    return str(content.get("kind", "fitted")) if is_clip_model else ""


def _named() -> list[str]:
    places = [Path(place).expanduser() for place in os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep) if place]
    found = []
    for place in places:
        own = _model_in(place)
        found += [own] if own else [name for folder in sorted(_folders(place)) if (name := _model_in(folder))]
    return found


def _model_in(folder: Path) -> str:
    if _kind(folder / "model" / "card.json"):
        return f"{_RUN}:{folder.resolve()}"
    return f"{_TRANSFORMERS}:{folder.resolve()}" if (folder / "config.json").is_file() else ""


def _folders(place: Path) -> Iterable[Path]:
    try:
        return [path for path in place.iterdir() if path.is_dir()]
    except OSError:
        return []


def cached_models() -> list[str]:
    """Return the hub's names (owner/model) of the models in its cache that have a configuration and safetensors."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        return []
    names = []
    for folder in sorted(Path(HF_HUB_CACHE).glob(f"{_HUB_PREFIX}*")):
        snapshots = _folders(folder / "snapshots")
        if any((one / "config.json").is_file() and any(one.glob("*.safetensors")) for one in snapshots):
            names.append(folder.name.removeprefix(_HUB_PREFIX).replace("--", "/"))
    return names


def _hub() -> list[str]:
    return [f"{_TRANSFORMERS}:{name}" for name in cached_models()]
