"""Models of Keras, on its torch backend: ``keras:ResNet50``, all of keras.applications, ``.keras`` and ``.h5`` files.

Where the features come out: in front of the last dense layer, which is the model's own head if it has two classes or
more; of a model without one, its output, averaged over places. TensorFlow is not needed, and no code of a file is run.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from newgameplus import progress
from newgameplus.errors import PretrainedModelError
from newgameplus.files import digest_file
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.preprocessing import Preprocessing

if TYPE_CHECKING:
    from newgameplus.pretrained.backbone import PretrainedModel, ZeroShotHead
    from newgameplus.pretrained.pixel_backbone import PixelBackbone

__all__ = ["cards", "describe", "load", "rebuild"]

_FACTS = ("config", "preprocessing", "pooling", "layout", "keras")


def load(
    name: str,
    *,
    fresh: bool = False,
    weights: str = "imagenet",
    top: bool | None = None,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    pooling: str | None = None,
    preprocessing: str | None = None,
    mean: float | str | Sequence[float] | None = None,
    std: float | str | Sequence[float] | None = None,
) -> PretrainedModel:
    """Load a model of Keras as a backbone for clips.

    Args:
        name: A network of keras.applications (``ResNet50``, ``VGG16``), or a ``.keras`` or ``.h5`` file.
        fresh: Random weights (from torch's global random state) in the same architecture, and no head.
        weights: Of a network of keras.applications: ``imagenet``, ``none`` (random), or a file of its weights.
        top: Of such a network: keep the layers behind its last map. Default: where the size is its usual one. VGG16
            has 119 of its 134 million weights there.
        frames: Frames of a clip; 4 for a network of pictures.
        height: Rows of pixels, where the model leaves it open.
        width: Columns of pixels, likewise.
        pooling: How features of frames become those of a clip, see :mod:`newgameplus.pretrained.pooling`.
        preprocessing: What a file's model eats: ``raw`` (0..255), ``unit`` (0..1), ``tf`` (-1..1), ``caffe`` or
            ``torch`` (ImageNet's mean, and spread). Default: what its layers and their names tell.
        mean: Mean of each channel (of values in 0..1), or of all, instead.
        std: Spread of each channel, likewise.

    Raises:
        MissingExtraError: Keras is not installed.
        PretrainedModelError: The model or its weights are missing or damaged, hold code of their own, are not finite,
            or do not take the frames and size asked for.
    """
    settings = dict(locals())
    fresh = settings.pop("fresh")
    plan = _plan(settings.pop("name"), settings, fresh=fresh)
    model = _rebuilt(plan.card) if fresh and plan.file else None
    known = not fresh and (plan.file is not None or weights != "none")
    return _assemble(plan, known=known, trunk=model)


def describe(name: str, **settings: Any) -> ModelCard:
    """Return the card of a model without making or reading its weights.

    Args:
        name: As for :func:`load`.
        settings: Options of :func:`load`.

    Raises:
        MissingExtraError: Keras is not installed.
        PretrainedModelError: As for :func:`load`, but for what only the weights can show.
    """
    from newgameplus.pretrained.keras_library import without_weights

    defaults = {
        one.name: one.default
        for one in inspect.signature(load).parameters.values()
        if one.kind is one.KEYWORD_ONLY and one.name != "fresh"
    }
    settings = defaults | settings
    with without_weights():
        plan = _plan(name, settings, fresh=True, weightless=True)
        plan.trunk.trainable = True
        parameters = sum(_size(variable.shape) for variable in plan.trunk.trainable_variables)
    known = plan.file is not None or settings["weights"] != "none"
    labels = plan.labels if known and plan.head is not None and plan.card.facts["pooling"] != "max" else ()
    channels = plan.trunk.output_shape[1 if plan.card.facts["layout"] == "chw" else -1]
    return replace(plan.card, parameters=parameters, feature_dim=_pooled(int(channels), plan.card), labels=labels)


def rebuild(card: ModelCard) -> PretrainedModel:
    """Build the architecture that a card describes, with random weights; neither file nor cache is needed.

    Raises:
        MissingExtraError: Keras is not installed.
        PretrainedModelError: The card does not hold what is needed, or this version of Keras cannot build it.
    """
    from newgameplus.pretrained.backbone import PretrainedModel

    return PretrainedModel(card, _backbone(card, _rebuilt(card)))


def cards() -> list[ModelCard]:
    """Return nothing: keras.applications can be named without Keras being imported, and a file is named by its path."""
    return []


@dataclass(frozen=True)
class _Plan:
    """A model taken apart.

    Attributes:
        card: All but what the weights show.
        trunk: The Keras model without its head.
        head: Its last dense layer, or None.
        labels: Class names of the head.
        file: The file it came from, or None.
    """

    card: ModelCard
    trunk: Any
    head: Any
    labels: tuple[str, ...]
    file: Path | None


def _plan(name: str, settings: Mapping[str, Any], *, fresh: bool, weightless: bool = False) -> _Plan:
    """Get the model, and find out what it eats and where its features come out."""
    from newgameplus.pretrained import keras_model
    from newgameplus.pretrained.keras_files import SUFFIXES
    from newgameplus.pretrained.keras_library import import_keras, seeded_keras
    from newgameplus.pretrained.pixel_backbone import check_counts, check_pooling

    check_counts(**{key: settings[key] for key in ("frames", "height", "width")})
    keras = import_keras()
    with seeded_keras():
        if name.lower().endswith(SUFFIXES) or "/" in name or Path(name).expanduser().exists():
            file: Path | None = Path(name).expanduser()
            found = keras_model.from_file(Path(name).expanduser(), settings, weightless=weightless)
        else:
            file = None
            found = keras_model.from_applications(name, settings, fresh=fresh)
    trunk, head = keras_model.cut(found.model, f"keras:{name}")
    layout, shape = keras_model.clip_shape(found, settings)
    video = layout.startswith("t")
    source = f"keras:{name}"
    pooling = check_pooling(settings["pooling"], shape.frames, video=video, family="model of clips", source=source)
    if found.assumed:
        progress.say(
            f"{name} does not say how its pictures were normalized: assuming numbers from 0 to 1 "
            "(the option preprocessing sets others)"
        )
    card = ModelCard(
        name=source,
        family=found.family,
        modality="clip" if video else "image",
        parameters=0,
        feature_dim=0,
        shape=shape,
        description=found.description,
        facts={
            "config": json.loads(trunk.to_json()),
            "preprocessing": replace(found.preprocessing, height=shape.height, width=shape.width).as_dict(),
            "pooling": pooling,
            "layout": layout,
            "keras": str(keras.__version__),
        },
    )
    units = getattr(head, "units", 0)
    labels = found.labels if len(found.labels) == units else tuple(f"LABEL_{index}" for index in range(units))
    return _Plan(card, trunk, head if units > 1 else None, labels, file)


def _assemble(plan: _Plan, *, known: bool, trunk: Any = None) -> PretrainedModel:
    """Turn the Keras model into a backbone, and its dense layer into a head if its weights are known."""
    from newgameplus.pretrained.backbone import PretrainedModel
    from newgameplus.pretrained.torch_network import digest_weights

    backbone = _backbone(plan.card, plan.trunk if trunk is None else trunk)
    zero_shot = _zero_shot(plan, backbone) if known and plan.head is not None else None
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    labels = zero_shot.labels if zero_shot else ()
    card = replace(plan.card, parameters=parameters, feature_dim=backbone.feature_dim, labels=labels)
    if known:
        digest = digest_weights(backbone.network, card.name)  # looks for what is not finite, too
        card = replace(card, digest=digest_file(plan.file) if plan.file else digest)
    return PretrainedModel(card, backbone, zero_shot)


def _backbone(card: ModelCard, trunk: Any) -> PixelBackbone:
    """Build the torch network around a Keras model; one pass shows that it takes such clips."""
    import torch

    from newgameplus.pretrained.keras_network import KerasNetwork
    from newgameplus.pretrained.pixel_backbone import PixelBackbone, normalize, probe_clips, read_features
    from newgameplus.pretrained.transformers_blueprint import explained

    layout, shape = str(card.facts["layout"]), card.shape
    preprocessing = Preprocessing.from_dict(card.facts["preprocessing"])
    network = KerasNetwork(trunk).eval()
    features = "output" if layout == "chw" else "output-channels-last"
    clips = probe_clips(shape)
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    pixels = normalize(clips if layout.startswith("t") else clips[0, :1], preprocessing, mean, std, layout)
    remedy = "leave out the options frames, height and width"
    with (
        explained(f"it does not take {shape.frames} frames of {shape.height} x {shape.width}", card.name, remedy),
        torch.random.fork_rng(devices=[]),
        torch.no_grad(),
    ):
        sample = read_features(network(pixels), features)
    return PixelBackbone(
        network,
        shape,
        preprocessing,
        pooling=card.facts["pooling"],
        features=features,
        network_dim=int(sample.shape[-1]),
        block_names=[f"blocks.{index}" for index in range(len(network.blocks))],
        layout=layout,
    ).eval()


def _rebuilt(card: ModelCard) -> Any:
    """Build the Keras model of a card anew."""
    from newgameplus.pretrained.keras_files import model_from_config
    from newgameplus.pretrained.keras_library import seeded_keras

    missing = [key for key in _FACTS if key not in card.facts]
    if missing:
        raise PretrainedModelError(
            f"the card of {card.name} lacks {', '.join(missing)}", source=card.name, remedy="load the model again"
        )
    with seeded_keras():
        return model_from_config(card.facts["config"], card.name, str(card.facts["keras"]))


def _zero_shot(plan: _Plan, backbone: PixelBackbone) -> ZeroShotHead | None:
    import torch

    from newgameplus.pretrained.pixel_backbone import zero_shot_head
    from newgameplus.pretrained.structure import Head

    kernel = plan.head.kernel.value.detach()
    inputs, units = kernel.shape
    linear = torch.nn.Linear(inputs, units, device="meta")
    linear.weight = torch.nn.Parameter(kernel.t().contiguous())
    bias = plan.head.bias.value.detach().clone() if plan.head.use_bias else kernel.new_zeros(kernel.shape[1])
    linear.bias = torch.nn.Parameter(bias)
    return zero_shot_head(Head("", linear), backbone, plan.labels)


def _pooled(channels: int, card: ModelCard) -> int:
    from newgameplus.pretrained.pooling import pooled_dim

    return channels if card.facts["pooling"] is None else pooled_dim(channels, card.facts["pooling"])


def _size(shape: Sequence[int]) -> int:
    import math

    return math.prod(shape)
