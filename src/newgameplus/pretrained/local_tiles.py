"""Tile models that this machine has already: own pretraining, bundled ones, causal language models of the cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from newgameplus.errors import NewGamePlusError
from newgameplus.pretrained.local import local_models
from newgameplus.pretrained.tile_model import CARD, list_tile_models

__all__ = ["local_tile_models"]

_CAUSAL = ("ForCausalLM", "LMHeadModel")
_TRANSFORMERS = "transformers:"


def local_tile_models(runs: str | Path | None = None) -> list[str]:
    """Return the names of all tile models that can be started from without a network.

    Args:
        runs: Folder of run folders, in which what ``ngp pretrain`` wrote counts. Fine-tuned runs do not: they may have
            learned maps that a new evaluation tests on; name one (``run:FOLDER``) to start from it all the same.

    Returns:
        Full names: own pretraining, bundled, language models of ``NGP_MODELS`` and the hub's cache.
    """
    own = _pretrained_in(Path(runs)) if runs is not None else []
    texts = [name for name in local_models(None) if name.startswith(_TRANSFORMERS) and _is_causal(name)]
    return list(dict.fromkeys([*own, *_bundled(), *texts]))


def _bundled() -> list[str]:
    try:
        return [str(card["name"]) for card in list_tile_models()]
    except NewGamePlusError:  # a damaged installation must not hide the models beside it; ngp doctor says so
        return []


def _pretrained_in(runs: Path) -> list[str]:
    found = []
    for path in sorted(runs.glob(f"*/model/{CARD}")):
        content = _json(path)
        if content.get("scenario") == "scene" and content.get("kind") == "pretrained":
            found.append(f"run:{path.parent.parent}")
    return found


def _is_causal(name: str) -> bool:
    """Whether the configuration of a Transformers model names a causal language model; nothing is loaded."""
    architectures = [one for path in _configurations(name) for one in _json(path).get("architectures") or ()]
    return any(str(one).endswith(_CAUSAL) for one in architectures)


def _configurations(name: str) -> list[Path]:
    rest = name.removeprefix(_TRANSFORMERS)
    if (Path(rest) / "config.json").is_file():
        return [Path(rest) / "config.json"]
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"models--{rest.replace('/', '--')}"
    return sorted(folder.glob("snapshots/*/config.json"))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
