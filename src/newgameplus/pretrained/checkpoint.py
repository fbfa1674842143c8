"""Weights of the user's own network: ``checkpoint:FILE``, safetensors or what ``torch.save`` wrote, and a factory.

The factory is the user's own function that builds the network for pictures or clips; it is run. The file is only read:
tensors by name, nothing else. What does not fit is named, all of it at once; ``partial`` lets what is new start afresh.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from newgameplus import progress
from newgameplus.errors import PretrainedModelError, Problem, raise_problems
from newgameplus.files import digest_file
from newgameplus.pretrained.card import ModelCard
from newgameplus.shapes import ClipShape

if TYPE_CHECKING:
    from torch import Tensor, nn

    from newgameplus.pretrained.backbone import PretrainedModel

__all__ = ["cards", "describe", "load", "rebuild"]

_SIZE = 224
_FRAMES_OF_VIDEO_MODELS = 16
_LAYOUTS = ("chw", "tchw", "cthw")
# What wrappers put before every name (DataParallel, torch.compile).
_WRAPPERS = ("module.", "_orig_mod.")
_COUNTER = "num_batches_tracked"


def load(
    name: str,
    *,
    fresh: bool = False,
    factory: str = "",
    frames: int | None = None,
    height: int = _SIZE,
    width: int = _SIZE,
    channels: int = 3,
    mean: float | str | Sequence[float] | None = None,
    std: float | str | Sequence[float] | None = None,
    pooling: str | None = None,
    layout: str = "chw",
    labels: str = "",
    key: str | None = None,
    prefix: str = "",
    partial: bool = False,
    license: str = "unknown",  # noqa: A002 - what a card calls it
) -> PretrainedModel:
    """Load weights from a file into a network of the user's own.

    Args:
        name: The file.
        fresh: Random weights (from torch's global random state) in the same network; the file is then not needed.
        factory: ``file.py:function`` or ``module:function`` that returns the network, a ``torch.nn.Module``; it may
            take ``frames``, ``height``, ``width`` and ``channels`` by name.
        frames: Frames of a clip; 4 for a network of pictures, 16 for one of clips.
        height: Rows of pixels.
        width: Columns of pixels.
        channels: 3 for red, green, blue; 1 for grey.
        mean: Mean of each channel (of values in 0..1), or of all; ImageNet's by default.
        std: Spread of each channel, likewise.
        pooling: How features of frames become those of a clip, see :mod:`newgameplus.pretrained.pooling`.
        layout: Axes of the network's input behind the batch: ``chw`` for pictures; for clips ``tchw`` or ``cthw``.
        labels: Class names of its head, with commas between them; for zero-shot use.
        key: Entry of the file in which the tensors stand; the usual ones are looked for.
        prefix: What stands before the names in the file and not in the network's, such as ``encoder.``; tensors without
            it are left out.
        partial: Let parts of the network that the file lacks start afresh, and leave out what has no place.
        license: SPDX identifier of the weights, for the card.

    Raises:
        PretrainedModelError: The file or the factory is missing or cannot be used, or they do not fit each other.
    """
    settings = dict(locals())
    for other in ("name", "fresh"):
        settings.pop(other)
    card = _card(name, settings)
    network = _build(card)
    facts: dict[str, Any] = {}
    keep_head = not fresh
    if not fresh:
        path = Path(name).expanduser()
        facts = _fill(network, _tensors(path, key, prefix), partial=partial, source=str(path))
        keep_head = not facts.get("new_parts")
        card = replace(card, digest=digest_file(path), facts=card.facts | facts)
    return _assemble(card if keep_head else replace(card, labels=()), network, keep_head=keep_head)


def describe(name: str, **settings: Any) -> ModelCard:
    """Return the card of a checkpoint without reading its weights: the factory builds the network from shapes alone.

    Args:
        name: The file.
        settings: Options of :func:`load`.

    Raises:
        PretrainedModelError: The factory is missing or cannot be used.
    """
    from newgameplus.pretrained.torch_network import describe_network

    defaults = {
        one.name: one.default
        for one in inspect.signature(load).parameters.values()
        if one.kind is one.KEYWORD_ONLY and one.name != "fresh"
    }
    card = _card(name, defaults | settings)
    return describe_network(lambda: _build(card), lambda network: _assemble(card, network, keep_head=True))


def rebuild(card: ModelCard) -> PretrainedModel:
    """Build the network that a card describes, with random weights; the factory must still be there.

    Raises:
        PretrainedModelError: It is not, or it builds another network.
    """
    factory = Path(str(card.facts.get("factory", "")).rpartition(":")[0])
    if factory.suffix == ".py" and not factory.is_file():
        raise PretrainedModelError(
            f"the program that builds this network is gone: {factory}",
            source=card.name,
            remedy="put it back: weights alone do not say which network they are of",
        )
    return _assemble(card, _build(card), keep_head=False)


def cards() -> list[ModelCard]:
    """Return nothing: a file is named by its path."""
    return []


def _card(name: str, settings: Mapping[str, Any]) -> ModelCard:
    """Check the options and write what is known before anything is built."""
    from newgameplus.pretrained.catalog import did_you_mean
    from newgameplus.pretrained.pixel_backbone import FRAMES_OF_IMAGE_MODELS, check_counts, check_pooling
    from newgameplus.pretrained.preprocessing import read_preprocessing
    from newgameplus.pretrained.torch_network import network_facts

    counts = {option: settings[option] for option in ("frames", "height", "width", "channels")}
    check_counts(**counts)
    problems = []
    if not settings["factory"] or not isinstance(settings["factory"], str):
        remedy = "options: {factory: my_model.py:build}, a function that returns the network"
        problems.append(Problem("weights alone do not say which network they are of", "model.options.factory", remedy))
    if settings["layout"] not in _LAYOUTS:
        remedy = did_you_mean(str(settings["layout"]), _LAYOUTS)
        problems.append(Problem(f"no layout is called {settings['layout']!r}", "model.options.layout", remedy))
    if settings["channels"] not in (1, 3):
        problems.append(Problem(f"channels is {settings['channels']}", "model.options.channels", "give 1 or 3"))
    raise_problems(problems, PretrainedModelError, f"{len(problems)} options cannot be used")
    video = "t" in settings["layout"]
    shape = ClipShape(
        settings["frames"] or (_FRAMES_OF_VIDEO_MODELS if video else FRAMES_OF_IMAGE_MODELS),
        settings["height"],
        settings["width"],
        settings["channels"],
    )
    size = (shape.height, shape.width)
    source = f"checkpoint:{name}"
    preprocessing = read_preprocessing(
        None,
        channels=shape.channels,
        default_size=size,
        source=source,
        mean=settings["mean"],
        std=settings["std"],
    )
    pooling = check_pooling(settings["pooling"], shape.frames, video=video, family="network of clips", source=source)
    return ModelCard(
        name=source,
        family=str(settings["factory"]).rpartition(":")[2],
        modality="clip" if video else "image",
        parameters=0,
        feature_dim=0,
        shape=shape,
        license=str(settings["license"]),
        labels=tuple(one.strip() for one in str(settings["labels"]).split(",") if one.strip()),
        description=f"weights of {Path(name).name} in the network of {settings['factory']}",
        facts={
            "factory": _absolute(settings["factory"]),
            **network_facts(preprocessing, pooling, settings["layout"]),
        },
    )


def _absolute(factory: str) -> str:
    where, _, function = factory.rpartition(":")
    path = Path(where).expanduser()
    return f"{path.resolve()}:{function}" if path.suffix == ".py" else factory


def _build(card: ModelCard) -> nn.Module:
    """Let the factory build the network."""
    from torch import nn

    from newgameplus.pretrained.weights_file import call_factory

    shape = card.shape
    offered = {"frames": shape.frames, "height": shape.height, "width": shape.width, "channels": shape.channels}
    factory = str(card.facts.get("factory", ""))
    network = call_factory(factory, offered)
    if not isinstance(network, nn.Module):
        raise PretrainedModelError(
            f"the factory gave {type(network).__name__}",
            source=factory,
            remedy="return the network itself, a torch.nn.Module",
        )
    return network.float()


def _assemble(card: ModelCard, network: nn.Module, *, keep_head: bool) -> PretrainedModel:
    from newgameplus.pretrained.torch_network import assemble

    return assemble(card, network, labels=card.labels, keep_head=keep_head)


def _tensors(path: Path, key: str | None, prefix: str) -> dict[str, Tensor]:
    """Read the file, and take off what stands before all names."""
    from newgameplus.pretrained.weights_file import read_weights

    tensors = read_weights(path, key)
    for start in (*_WRAPPERS, prefix):
        stripped = {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}
        if start and (start == prefix or len(stripped) == len(tensors)):
            if not stripped:
                raise PretrainedModelError(
                    f"none of its tensors begins with {start!r}",
                    source=str(path),
                    remedy=f"correct the option prefix; it has: {', '.join(list(tensors)[:20])}",
                )
            tensors = stripped
    return tensors


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], *, partial: bool, source: str) -> dict[str, Any]:
    """Put the tensors in, or name everything that does not fit; return what the card should say of it."""
    import torch

    wanted = network.state_dict()
    missing = [name for name in wanted if name not in tensors and not name.endswith(_COUNTER)]
    other = [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape]
    extra = [name for name in tensors if name not in wanted]
    new = _parts([*missing, *other])
    if (missing or other or extra) and not partial:
        _refuse(wanted, tensors, missing, other, extra, source)
    fitting = [name for name in wanted if name in tensors and name not in other]
    if not fitting:
        raise PretrainedModelError(
            "none of its tensors fits the network", source=source, remedy="name the right factory, or the option prefix"
        )
    if missing or other or extra:
        told = f"{len(fitting)} of {len(wanted)} tensors come from {source}"
        told += f"; new, with random weights: {', '.join(new)}" if new else ""
        progress.say(told + (f"; left out: {', '.join(_parts(extra))}" if extra else ""))
    with torch.no_grad():
        for name in fitting:
            wanted[name].copy_(tensors[name])
    return ({"new_parts": new} if new else {}) | ({"unused_weights": extra} if extra else {})


def _refuse(
    wanted: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    missing: Sequence[str],
    other: Sequence[str],
    extra: Sequence[str],
    source: str,
) -> None:
    problems = [Problem(f"{name} {tuple(wanted[name].shape)} is missing", source) for name in missing]
    problems += [
        Problem(f"{name} is {tuple(tensors[name].shape)} in the file, {tuple(wanted[name].shape)} here", source)
        for name in other
    ]
    problems += [Problem(f"{name} {tuple(tensors[name].shape)} has no place in the network", source) for name in extra]
    new = _parts([*missing, *other])
    remedy = "correct the factory, or the option prefix"
    if new:
        remedy += f"; or set the option partial: true, and these parts start anew: {', '.join(new)}"
    else:
        remedy += "; or set the option partial: true, and what has no place is left out"
    summary = f"the file and the network differ in {len(problems)} tensors"
    raise PretrainedModelError(summary, source=source, remedy=remedy, problems=problems)


def _parts(names: Sequence[str]) -> list[str]:
    """Return the parts that tensors belong to: their names without the last word."""
    return list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
