"""Models of torchvision: ``torchvision:resnet50``, of pictures (``torchvision.models``) and of video (``r3d_18``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.card import ModelCard
from newgameplus.shapes import ClipShape

if TYPE_CHECKING:
    from torch import nn

    from newgameplus.pretrained.backbone import PretrainedModel

__all__ = ["cards", "describe", "load", "rebuild"]

_SIZE = 224
_FRAMES_OF_VIDEO_MODELS = 16
_NONE, _DEFAULT = "none", "default"
_OPTIONS = ("weights", "frames", "height", "width", "pooling", "mean", "std")


def load(
    name: str,
    *,
    fresh: bool = False,
    weights: str = _DEFAULT,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    pooling: str | None = None,
    mean: float | str | Sequence[float] | None = None,
    std: float | str | Sequence[float] | None = None,
) -> PretrainedModel:
    """Load a classifier of torchvision as a backbone for clips.

    Args:
        name: As ``torchvision.models.list_models()`` spells it.
        fresh: Random weights (from torch's global random state), and no head.
        weights: ``default`` (torchvision's best), the name of others (``IMAGENET1K_V1``), or ``none``: random.
        frames: Frames of a clip; 4 for a network of pictures, 16 for one of video.
        height: Rows of pixels. Default: what the weights were measured at.
        width: Columns of pixels, likewise.
        pooling: How features of frames become those of a clip, see :mod:`newgameplus.pretrained.pooling`.
        mean: Mean of each channel (of values in 0..1), or of all, instead of what goes with the weights.
        std: Spread of each channel, likewise.

    Raises:
        MissingExtraError: Torchvision is not installed.
        PretrainedModelError: It is broken, there is no such network or weights, or they cannot be fetched.
    """
    from newgameplus.pretrained.torch_network import assemble, digest_weights

    settings = dict(locals())
    card, chosen = _card(name, {key: settings[key] for key in _OPTIONS})
    known = not fresh and chosen is not None
    network = _build(card, chosen if known else None)
    if known:
        card = replace(card, digest=digest_weights(network, card.name))
    labels = tuple(str(one) for one in chosen.meta.get("categories", ())) if known and chosen is not None else ()
    return assemble(card, network, labels=labels, keep_head=known)


def describe(name: str, **settings: Any) -> ModelCard:
    """Return the card of a network without its weights: it is built from shapes alone.

    Args:
        name: As for :func:`load`.
        settings: Options of :func:`load`.

    Raises:
        MissingExtraError: Torchvision is not installed.
        PretrainedModelError: It is broken, or there is no such network or weights.
    """
    from newgameplus.pretrained.torch_network import assemble, describe_network

    card, chosen = _card(name, {"weights": _DEFAULT} | dict.fromkeys(_OPTIONS[1:]) | settings)
    labels = tuple(str(one) for one in chosen.meta.get("categories", ())) if chosen is not None else ()
    return describe_network(
        lambda: _build(card, None),
        lambda network: assemble(card, network, labels=labels, keep_head=chosen is not None),
    )


def rebuild(card: ModelCard) -> PretrainedModel:
    """Build the architecture that a card describes, with random weights; nothing is fetched.

    Raises:
        MissingExtraError: Torchvision is not installed.
        PretrainedModelError: It is broken, or this version does not know the network.
    """
    from newgameplus.pretrained.torch_network import assemble

    return assemble(card, _build(card, None))


def cards() -> list[ModelCard]:
    """Return nothing: torchvision lists its own models, and a wrong name is answered with the nearest."""
    return []


def _card(name: str, settings: dict[str, Any]) -> tuple[ModelCard, Any]:
    """Return the card as far as it is known without the network, and torchvision's entry of the weights, or None."""
    from newgameplus.pretrained.pixel_backbone import FRAMES_OF_IMAGE_MODELS, check_counts, check_pooling
    from newgameplus.pretrained.preprocessing import read_preprocessing
    from newgameplus.pretrained.torch_network import network_facts

    check_counts(**{key: settings[key] for key in ("frames", "height", "width")})
    chosen = _weights(name, str(settings["weights"]))
    video = name in _names("video")
    transform = chosen.transforms() if chosen is not None else None
    side = _pair(getattr(transform, "crop_size", None)) or (_SIZE, _SIZE)
    size = (settings["height"] or side[0], settings["width"] or side[1])
    source = f"torchvision:{name}"
    preprocessing = read_preprocessing(
        None,
        channels=3,
        default_size=size,
        source=source,
        mean=settings["mean"] if settings["mean"] is not None else _numbers(transform, "mean"),
        std=settings["std"] if settings["std"] is not None else _numbers(transform, "std"),
    )
    frames = settings["frames"] or (_FRAMES_OF_VIDEO_MODELS if video else FRAMES_OF_IMAGE_MODELS)
    pooling = check_pooling(settings["pooling"], frames, video=video, family="network of video", source=source)
    card = ModelCard(
        name=source,
        family=name,
        modality="clip" if video else "image",
        parameters=0,
        feature_dim=0,
        shape=ClipShape(frames, *size, 3),
        description=f"{name} of torchvision, weights {chosen.name if chosen is not None else _NONE}",
        facts={"network": name, **network_facts(preprocessing, pooling, "cthw" if video else "chw")},
    )
    return card, chosen


def _names(kind: str = "") -> list[str]:
    from newgameplus.pretrained.vision_extras import import_vision

    models = import_vision("torchvision").models
    if kind:
        return [str(one) for one in models.list_models(module=models.video)]
    pictures = [str(one) for one in models.list_models(module=models)]
    return [*pictures, *_names("video")]


def _weights(name: str, weights: str) -> Any:
    from newgameplus.pretrained.catalog import did_you_mean
    from newgameplus.pretrained.vision_extras import import_vision

    if name not in (known := _names()):
        raise PretrainedModelError(
            f"torchvision has no classifier {name!r}", source=f"torchvision:{name}", remedy=did_you_mean(name, known)
        )
    entries = import_vision("torchvision").models.get_model_weights(name)
    if weights.lower() == _NONE:
        return None
    if weights.lower() == _DEFAULT:
        return entries.DEFAULT
    if weights not in entries.__members__:
        remedy = did_you_mean(weights, [_DEFAULT, _NONE, *entries.__members__])
        message = f"{name} of torchvision has no weights {weights!r}"
        raise PretrainedModelError(message, source="model.options.weights", remedy=remedy)
    return entries[weights]


def _build(card: ModelCard, weights: Any) -> nn.Module:
    from newgameplus.pretrained.transformers_blueprint import explained
    from newgameplus.pretrained.vision_extras import import_vision

    models = import_vision("torchvision").models
    name = str(card.facts.get("network", ""))
    remedy = "pip install -U torchvision (with --no-deps, so that torch stays)"
    with explained(f"torchvision cannot build {name!r}", card.name, remedy):
        network: nn.Module = models.get_model(name, weights=None, **_options(name))
    if weights is not None:
        network.load_state_dict(_fetch(weights, card.name), strict=not _options(name))
    return network.eval()


def _options(name: str) -> dict[str, bool]:
    """Networks whose auxiliary heads would answer in training: they are built without."""
    return {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}


def _fetch(weights: Any, source: str) -> dict[str, Any]:
    """Read weights from torch's cache, or fetch them; a file of torch is read without running anything in it."""
    from pathlib import Path

    import torch

    from newgameplus.pretrained.network_timeout import network_timeout
    from newgameplus.pretrained.torch_file import check_finite

    file = str(weights.url).rpartition("/")[2]
    place = Path(torch.hub.get_dir()) / "checkpoints" / file
    try:
        with network_timeout():
            state = torch.hub.load_state_dict_from_url(
                weights.url, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
    except Exception as error:  # no network, a broken file, a refused pickle
        said = " ".join(str(error).split())[:200] or type(error).__name__
        if place.is_file():
            message, remedy = f"the weights {place.name} cannot be read ({said})", f"delete {place} and fetch it again"
        else:
            message = f"the weights are not in torch's cache and cannot be fetched ({said}): {file} is missing"
            remedy = (
                f"connect to the network, or fetch {weights.url} on a machine with one and copy it to {place}; "
                "options: {weights: none} starts from random weights"
            )
        raise PretrainedModelError(message, source=source, remedy=remedy) from error
    return dict(check_finite(state, str(place)))


def _numbers(transform: Any, key: str) -> list[float] | None:
    value = getattr(transform, key, None)
    return None if value is None else [float(one) for one in value]


def _pair(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = [int(one) for one in size] if isinstance(size, list | tuple) else [int(size)]
    return (sides[0], sides[-1])
