"""Features kept between runs: what ``ngp choose`` computed, ``ngp fit`` reads.

They lie in the cache folder under a name made of everything that they depend on (weights, options, frames, versions),
so that no others can be mistaken for them. They may be deleted at any time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from newgameplus import __version__, progress
from newgameplus.errors import NewGamePlusError
from newgameplus.files import digest_bytes
from newgameplus.pretrained.card import ModelCard
from newgameplus.scenarios.behavior_data import cache_folder
from newgameplus.tensors import load_tensors, save_tensors

__all__ = ["cached_features"]


def cached_features(
    card: ModelCard, options: Mapping[str, Any], digests: Sequence[str], compute: Callable[[], Tensor]
) -> Tensor:
    """Return the features of clips, from the cache folder if they are there; else compute and keep them.

    Args:
        card: The model's card; features of a model whose weights have no digest are not kept.
        options: The options that it was loaded with.
        digests: Digest of the frames of each clip, in order.
        compute: Computes them: float32 [clips, feature_dim].
    """
    if not card.digest:
        return compute()
    path = _path(card, options, digests)
    if path.is_file() and (found := _read(path, len(digests), card.feature_dim)) is not None:
        return found
    features = compute()
    try:
        save_tensors(path, {"features": features})
    except NewGamePlusError as error:  # a cache that cannot be written costs time later, not the work of now
        progress.say(f"note: features are not kept: {error}")
    return features


def _path(card: ModelCard, options: Mapping[str, Any], digests: Sequence[str]) -> Path:
    about = [card.digest, card.family, card.shape.as_dict(), card.facts, dict(options), __version__, torch.__version__]
    key = digest_bytes(json.dumps(about, sort_keys=True, default=str).encode(), "\n".join(digests).encode())
    return cache_folder() / "features" / f"{key}.safetensors"


def _read(path: Path, clips: int, width: int) -> Tensor | None:
    """Return the features of a file, or None if it is damaged: they are only computed again then."""
    try:
        features = load_tensors(path)[0].get("features")
    except NewGamePlusError as error:
        progress.say(f"note: features are computed again: {error}")
        return None
    return features if features is not None and tuple(features.shape) == (clips, width) else None
