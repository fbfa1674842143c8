"""Free words about levels: a text encoder turns captions into what the captioned maps measure.

Captions of training maps and of a wish are encoded by a frozen model from Transformers (an extra). The maps whose
captions say what the wish says, weighted by how alike they are, give the values that the model is asked for, but only
of the few counts in which they differ from the others: a level cannot be like them in everything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, MissingExtraError, PretrainedModelError
from newgameplus.games.conditions import Request
from newgameplus.games.measures import find_measure
from newgameplus.pretrained.checkpoint_folder import find_checkpoint
from newgameplus.scenarios.scene_data import SceneGame

__all__ = ["encode_captions", "requests_from_caption"]

_SHARPNESS = 20.0
_MOST = 3
"""Counts that a caption may ask for: those in which the maps it means differ most from all maps."""
_TELLING = 0.25
"""Standard deviations by which they must differ."""


def encode_captions(captions: Sequence[str], encoder: str) -> npt.NDArray[np.float32]:
    """Return float32 [captions, features]: the mean of each caption's last hidden states, of unit length.

    Args:
        captions: Words.
        encoder: Folder or hub name of a text model with a tokenizer.

    Raises:
        MissingExtraError: Transformers is not installed.
        PretrainedModelError: The encoder cannot be loaded.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "transformers") from error
    folder = find_checkpoint(encoder)
    transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder.path, local_files_only=True)
        model = transformers.AutoModel.from_pretrained(folder.path, use_safetensors=True, local_files_only=True).eval()
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        remedy = "give a folder of a text model such as BERT, with its tokenizer and model.safetensors"
        raise PretrainedModelError(f"cannot load the text encoder: {error}", source=encoder, remedy=remedy) from error
    vectors = []
    with torch.no_grad():
        for caption in captions:
            pieces = tokenizer(caption, return_tensors="pt", truncation=True)
            vectors.append(model(**pieces).last_hidden_state[0].mean(dim=0).numpy())
    stacked = np.stack(vectors).astype(np.float32)
    stacked -= 0.0 if len(stacked) == 1 else stacked[:-1].mean(axis=0)
    return np.asarray(stacked / np.maximum(np.linalg.norm(stacked, axis=1, keepdims=True), 1e-9), np.float32)


def requests_from_caption(caption: str, game: SceneGame, content: Mapping[str, Any]) -> list[Request]:
    """Turn free words into requests, by the maps whose captions are most alike.

    Args:
        caption: The wish.
        game: The maps, with captions.
        content: The model's card; ``encoder`` names the text encoder.

    Raises:
        DataError: The maps have no captions, or the recipe names no text encoder.
    """
    captioned = [n for n in game.train if game.levels[n].caption]
    encoder = content.get("encoder")
    if not captioned or not encoder:
        missing = "captions (data.captions)" if not captioned else "a text encoder (model.options.text_encoder)"
        remedy = f"give the recipe {missing} and fit again, or use --words"
        raise DataError("this model knows no captions", source="--caption", remedy=remedy)
    vectors = encode_captions([*(game.levels[n].caption for n in captioned), caption], str(encoder))
    likeness = _SHARPNESS * (vectors[:-1] @ vectors[-1])
    weights = np.exp(likeness - likeness.max())
    weights /= weights.sum()
    told: list[tuple[float, Request]] = []
    for name in game.measures:
        values = np.array([game.values[n].get(name, math.nan) for n in captioned])
        counted = find_measure(name, game.levels[0]).additive and not name.startswith("tile:")
        if not counted or np.isnan(values).any() or np.ptp(values) == 0:
            continue
        middle = float(weights @ values)
        spread = float(np.sqrt(weights @ (values - middle) ** 2))
        low, high = math.floor(middle - spread), math.ceil(middle + spread)
        told.append((abs(middle - float(values.mean())) / float(values.std()), Request(name, max(0.0, low), high)))
    told.sort(key=lambda pair: -pair[0])
    return [request for strength, request in told[:_MOST] if strength > _TELLING]
