"""The networks of ``keras.applications``: built by name, with ImageNet's weights or none, and what pixels they eat."""

from __future__ import annotations

import inspect
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from newgameplus import progress
from newgameplus.errors import NewGamePlusError, PretrainedModelError
from newgameplus.pretrained.catalog import did_you_mean
from newgameplus.pretrained.keras_library import import_keras, quiet_keras, without_weights
from newgameplus.pretrained.network_timeout import network_timeout
from newgameplus.pretrained.preprocessing import Preprocessing

__all__ = ["IMAGENET", "NONE", "applications", "build_application", "imagenet_labels", "preprocessing_of", "usual_size"]

IMAGENET, NONE = "imagenet", "none"

_FAILED_URL = re.compile(r"URL fetch failure on (\S+?):? ")


def applications() -> dict[str, Any]:
    """Return the functions of ``keras.applications`` that build a network, by name."""
    found = import_keras().applications
    return {name: getattr(found, name) for name in sorted(dir(found)) if name[0].isupper()}


def build_application(name: str, *, weights: str, top: bool, size: tuple[int, int] | None) -> Any:
    """Build a network.

    Args:
        name: As Keras spells it, such as ``ResNet50``.
        weights: ``imagenet`` (Keras's own, from its cache or fetched), ``none`` (random), or a file of such weights.
        top: With the layers behind the last map, which end in ImageNet's classes.
        size: Height and width; None takes the usual ones.

    Raises:
        PretrainedModelError: There is no such network, it does not take this size, or its weights cannot be had.
    """
    known = applications()
    if name not in known:
        remedy = did_you_mean(name, known)
        raise PretrainedModelError(f"keras.applications has no network {name!r}", source=f"keras:{name}", remedy=remedy)
    options: dict[str, Any] = {"weights": None if weights == NONE else weights, "include_top": top}
    if size is not None:
        options["input_shape"] = (*size, 3)
    if weights == IMAGENET:
        progress.say(f"reading the ImageNet weights of {name} (fetched into {_folder()} at first)")
    try:
        with quiet_keras(), network_timeout():
            return known[name](**options)
    except NewGamePlusError:
        raise
    except Exception as error:
        raise _explain(error, name, weights) from error


def usual_size(name: str) -> tuple[int, int]:
    """Return height and width that a network was made for, found without making weights."""
    with without_weights():
        model = build_application(name, weights=NONE, top=True, size=None)
    return int(model.input_shape[1]), int(model.input_shape[2])


def preprocessing_of(name: str, size: tuple[int, int]) -> Preprocessing:
    """Return how a network's own ``preprocess_input`` turns pixels into its input, found by giving it pixels.

    What it does is the same for every pixel: channels in another order, each times one number plus another.
    """
    function: Any = getattr(inspect.getmodule(applications()[name]), "preprocess_input")  # noqa: B009 - untyped module
    colours = np.zeros((4, 1, 1, 3), np.float32)
    colours[1:, 0, 0] = 255.0 * np.eye(3)
    with quiet_keras():
        black, *lit = np.asarray(function(colours.copy()))[:, 0, 0].astype(np.float64)
    change = np.stack(lit) - black  # [input channel, output channel]
    order = np.abs(change).argmax(axis=1).tolist()
    slope = np.abs(change).max(axis=0) / 255.0
    if order not in ([0, 1, 2], [2, 1, 0]) or not (slope > 0).all():
        raise PretrainedModelError(
            f"preprocess_input of {name} is none that New Game+ knows",
            source=f"keras:{name}",
            remedy="choose another network, or report this",
        )
    mean, std = -black / slope, 1.0 / slope
    return Preprocessing(*size, 1.0, 0.0, tuple(mean.tolist()), tuple(std.tolist()), reverse_channels=order[0] == 2)


def imagenet_labels() -> tuple[str, ...]:
    """Return ImageNet's class names if Keras has them in its cache, else nothing; they are not worth a download."""
    try:
        content = json.loads((_folder() / "imagenet_class_index.json").read_text(encoding="utf-8"))
        return tuple(str(content[str(index)][1]) for index in range(len(content)))
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return ()


def _folder() -> Path:
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"


def _explain(error: Exception, name: str, weights: str) -> PretrainedModelError:
    said = " ".join(str(error).split())[:300] or type(error).__name__
    source = f"keras:{name}"
    failed = _FAILED_URL.search(str(error))
    if failed:
        address = failed.group(1)
        place = _folder() / address.rpartition("/")[2]
        return PretrainedModelError(
            f"the weights of {name} are not in Keras's cache and cannot be fetched: {place.name} is missing",
            source=source,
            remedy=f"connect to the network, or fetch {address} on a machine with one and copy it to {place}; "
            "options: {weights: none} starts from random weights",
        )
    if weights not in (IMAGENET, NONE):
        message = f"these weights do not fit {name} ({said})"
        return PretrainedModelError(
            message, source=str(weights), remedy="give a file that Keras wrote for this network"
        )
    remedy = "correct the options height, width and top"
    return PretrainedModelError(f"Keras cannot build {name} ({said})", source=source, remedy=remedy)
