"""Models of timm: ``timm:convnext_tiny``, any of the image networks that ``timm.create_model`` builds."""

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

_DEFAULT, _NONE = "default", "none"
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
    """Load an image network of timm as a backbone for clips.

    Args:
        name: As ``timm.list_models()`` spells it, with or without a tag (``vit_tiny_patch16_224.augreg_in21k``).
        fresh: Random weights (from torch's global random state), and no head.
        weights: ``default`` (those that timm names), or ``none``: random.
        frames: Frames of a clip.
        height: Rows of pixels. Default: what the weights were trained on.
        width: Columns of pixels, likewise.
        pooling: How features of frames become those of a clip, see :mod:`newgameplus.pretrained.pooling`.
        mean: Mean of each channel (of values in 0..1), or of all, instead of what goes with the weights.
        std: Spread of each channel, likewise.

    Raises:
        MissingExtraError: Timm is not installed.
        PretrainedModelError: It (or its torchvision) is broken, there is no such network, or its weights cannot be had.
    """
    from newgameplus.pretrained.torch_network import assemble, digest_weights

    settings = dict(locals())
    card = _card(name, {key: settings[key] for key in _OPTIONS})
    known = not fresh and weights != _NONE
    network = _build(card, pretrained=known)
    if known:
        card = replace(card, digest=digest_weights(network, card.name))
    return assemble(card, network, labels=_labels(network) if known else (), keep_head=known)


def describe(name: str, **settings: Any) -> ModelCard:
    """Return the card of a network without its weights: it is built from shapes alone.

    Args:
        name: As for :func:`load`.
        settings: Options of :func:`load`.

    Raises:
        MissingExtraError: Timm is not installed.
        PretrainedModelError: It is broken, or there is no such network.
    """
    from newgameplus.pretrained.torch_network import assemble, describe_network

    settings = {"weights": _DEFAULT} | dict.fromkeys(_OPTIONS[1:]) | settings
    card, known = _card(name, settings), settings["weights"] != _NONE
    return describe_network(
        lambda: _build(card, pretrained=False),
        lambda network: assemble(card, network, labels=_labels(network), keep_head=known),
    )


def rebuild(card: ModelCard) -> PretrainedModel:
    """Build the architecture that a card describes, with random weights; nothing is fetched.

    Raises:
        MissingExtraError: Timm is not installed.
        PretrainedModelError: It is broken, or this version does not know the network.
    """
    from newgameplus.pretrained.torch_network import assemble

    return assemble(card, _build(card, pretrained=False))


def cards() -> list[ModelCard]:
    """Return nothing: timm lists its own models, and a wrong name is answered with the nearest."""
    return []


def _card(name: str, settings: dict[str, Any]) -> ModelCard:
    from newgameplus.pretrained.catalog import did_you_mean
    from newgameplus.pretrained.pixel_backbone import FRAMES_OF_IMAGE_MODELS, check_counts, check_pooling
    from newgameplus.pretrained.preprocessing import read_preprocessing
    from newgameplus.pretrained.torch_network import network_facts
    from newgameplus.pretrained.vision_extras import import_vision

    check_counts(**{key: settings[key] for key in ("frames", "height", "width")})
    source, weights = f"timm:{name}", settings["weights"]
    if weights not in (_DEFAULT, _NONE):
        message = f"weights is {weights!r}"
        raise PretrainedModelError(
            message, source="model.options.weights", remedy=did_you_mean(str(weights), [_DEFAULT, _NONE])
        )
    timm = import_vision("timm")
    if not timm.is_model(name):
        import difflib

        near = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        remedy = f"did you mean {', '.join(near)}? " if near else ""
        raise PretrainedModelError(
            f"timm {timm.__version__} has no network {name!r}",
            source=source,
            remedy=f"{remedy}all names: python -c 'import timm; print(timm.list_models())'",
        )
    known = timm.get_pretrained_cfg(name)
    config: dict[str, Any] = known.to_dict() if known is not None else {}
    channels, *sides = config.get("input_size") or (3, 224, 224)
    size = (settings["height"] or sides[0], settings["width"] or sides[1])
    preprocessing = read_preprocessing(
        None,
        channels=channels,
        default_size=size,
        source=source,
        mean=settings["mean"] if settings["mean"] is not None else config.get("mean"),
        std=settings["std"] if settings["std"] is not None else config.get("std"),
    )
    frames = settings["frames"] or FRAMES_OF_IMAGE_MODELS
    pooling = check_pooling(settings["pooling"], frames, video=False, family=name, source=source)
    return ModelCard(
        name=source,
        family=str(config.get("architecture") or name),
        modality="image",
        parameters=0,
        feature_dim=0,
        shape=ClipShape(frames, *size, channels),
        license=str(config.get("license") or "unknown"),
        description=f"{name} of timm, weights {config.get('tag') or weights if weights != _NONE else _NONE}",
        facts={
            "network": name,
            "resized": list(size) != list(sides),
            **network_facts(preprocessing, pooling, "chw"),
        },
    )


def _build(card: ModelCard, *, pretrained: bool) -> nn.Module:
    from newgameplus.pretrained.network_timeout import network_timeout
    from newgameplus.pretrained.transformers_blueprint import explained
    from newgameplus.pretrained.vision_extras import import_vision

    timm = import_vision("timm")
    name = str(card.facts.get("network", ""))
    # Networks of fixed size take another one as an argument; the others know no such argument and need none.
    options = {"img_size": (card.shape.height, card.shape.width)} if card.facts.get("resized") else {}
    try:
        with network_timeout():
            if pretrained:
                _ask_hub(timm.get_pretrained_cfg(name))
            network: nn.Module = _create(timm, name, pretrained, options)
    except Exception as error:  # no network, no such argument, a weights file that does not fit
        raise _explain(error, name, card, pretrained=pretrained) from error
    with explained("the weights cannot be used", card.name, "choose another network"):
        return network.float().eval()


def _ask_hub(config: Any) -> None:
    """Ask the hub once, with a timeout, for weights that are not in the cache; timm itself would try for a minute."""
    hub = str(getattr(config, "hf_hub_id", "") or "")
    if not hub:
        return
    import huggingface_hub

    from newgameplus.pretrained.network_timeout import TIMEOUT_SECONDS

    files = ("model.safetensors", "pytorch_model.bin")
    if not any(isinstance(huggingface_hub.try_to_load_from_cache(hub, file), str) for file in files):
        huggingface_hub.HfApi().model_info(hub, timeout=TIMEOUT_SECONDS)


def _create(timm: Any, name: str, pretrained: bool, options: dict[str, Any]) -> Any:
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        return timm.create_model(name, pretrained=pretrained)


def _explain(error: Exception, name: str, card: ModelCard, *, pretrained: bool) -> PretrainedModelError:
    said = " ".join(str(error).split())[:300] or type(error).__name__
    if not pretrained:
        message, remedy = (
            f"timm cannot build {name!r} ({said})",
            "pip install -U --no-deps timm, or choose another network",
        )
        return PretrainedModelError(message, source=card.name, remedy=remedy)
    from newgameplus.pretrained.vision_extras import import_vision

    config = import_vision("timm").get_pretrained_cfg(name)
    hub = str(getattr(config, "hf_hub_id", "") or "")
    where = f"`hf download {hub}`, which fills the same cache (~/.cache/huggingface)" if hub else "its address in timm"
    return PretrainedModelError(
        f"the weights of {name} are not in the cache and cannot be fetched ({said}): "
        f"model.safetensors{f' of {hub}' if hub else ''} is missing",
        source=card.name,
        remedy=f"connect to the network, or on a machine with one run {where} and copy that; "
        "options: {weights: none} starts from random weights",
    )


def _labels(network: nn.Module) -> tuple[str, ...]:
    """Return the class names that timm has for a head of ImageNet's 1,000 classes, in words; else nothing."""
    names = getattr(network, "pretrained_cfg", {}).get("label_names") or ()
    return tuple(str(one) for one in names)
