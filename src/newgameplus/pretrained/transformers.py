"""Pretrained models of the Transformers library: any image or video classifier or backbone, by folder or hub name.

Where the features come out: a classifier's head is the linear layer whose output is the logits, found by watching a
forward pass. It is taken off, and what it was given are the features (ResNet: the pooled map; ViT: the CLS token;
VideoMAE: the normed mean of its tokens; DINOv2: CLS and mean side by side), so features and head give the classifier's
own logits. Without a head: the pooled output if its weights are in the checkpoint, else the mean of the last hidden
state. Weights come from safetensors only, and no code from a checkpoint is ever run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from newgameplus import progress
from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.checkpoint_folder import CheckpointFolder, find_checkpoint
from newgameplus.pretrained.preprocessing import Preprocessing, read_preprocessing
from newgameplus.shapes import ClipShape

if TYPE_CHECKING:
    from newgameplus.pretrained.backbone import PretrainedModel
    from newgameplus.pretrained.transformers_blueprint import Blueprint

__all__ = ["cards", "describe", "load", "rebuild"]

_FRAMES_OF_VIDEO_MODELS = 16
_SIZE = 224


def load(
    name: str,
    *,
    fresh: bool = False,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    pooling: str | None = None,
    mean: float | str | Sequence[float] | None = None,
    std: float | str | Sequence[float] | None = None,
    revision: str | None = None,
    steps: int | None = None,
    channels: int | None = None,
) -> PretrainedModel:
    """Load an image or video model of the Transformers library as a backbone for clips, or a text model for sequences.

    Args:
        name: A folder that ``save_pretrained`` wrote (``./my-folder``), or a name on the Hugging Face Hub.
        fresh: Random weights (from torch's global random state) in the same architecture; the folder then needs none.
        frames: Frames of a clip. Default: what a video model was trained on; 4 for an image model.
        height: Rows of pixels, if the network can take another size than the checkpoint's own.
        width: Columns of pixels, likewise.
        pooling: How an image model's features of frames become those of a clip: ``mean-change`` (default; the mean, and
            the change from first to last, see :mod:`newgameplus.pretrained.pooling`), ``mean`` or ``max``. A video
            model has none.
        mean: Mean of each channel (of values in 0..1), or of all, where the checkpoint has no preprocessor_config.json.
        std: Spread of each channel, likewise.
        revision: Branch, tag or commit on the hub.
        steps: Text models only: steps that sequences of numbers are brought to, see
            :mod:`newgameplus.pretrained.sequence_transformers`.
        channels: Text models only: numbers at each step; the scenario sets it to what the data have.

    Returns:
        The model. It brings a zero-shot head if the checkpoint has a linear one (and pooling is not ``max``, of which
        that head knows nothing); over ``mean-change`` its weights for the change are zero.

    Raises:
        MissingExtraError: Transformers is not installed.
        PretrainedModelError: The checkpoint is missing, damaged, pickled, incomplete, of another kind, or does not take
            the frames and size asked for.
    """
    pixels = {"frames": frames, "height": height, "width": width, "pooling": pooling, "mean": mean, "std": std}
    folder = find_checkpoint(name, revision=revision, weights_needed=not fresh)
    if _reads_text(name, folder, pixels, {"steps": steps, "channels": channels}):
        from newgameplus.pretrained.sequence_transformers import load_text

        return load_text(name, folder, fresh=fresh, steps=steps, channels=channels)
    plan = _plan(name, folder, **pixels)  # type: ignore[arg-type]
    if plan.preprocessing.assumed:
        progress.say(
            f"{name} does not say how its pictures were normalized: assuming ImageNet's mean and spread "
            "(the options mean and std set others)"
        )
    card = replace(plan.card, digest="" if fresh else folder.digest)
    return _assemble(card, plan.blueprint, plan.preprocessing, folder=None if fresh else folder, keep_head=not fresh)


def describe(name: str, **options: Any) -> ModelCard:
    """Return the card of a model without loading its weights: the network is built from shapes alone.

    Args:
        name: As for :func:`load`; of a hub model that is not in the cache only the configuration is fetched (without
            the weights nobody knows whether they have a pooler that a network without a head would use).
        options: Those of :func:`load`.

    Raises:
        MissingExtraError: Transformers is not installed.
        PretrainedModelError: As for :func:`load`, but for what only the weights can show.
    """
    numbers = {"steps": options.pop("steps", None), "channels": options.pop("channels", None)}
    folder = find_checkpoint(name, revision=options.pop("revision", None), weights_needed=False, whole=False)
    if _reads_text(name, folder, options, numbers):
        import torch

        from newgameplus.pretrained.sequence_transformers import load_text

        with torch.random.fork_rng(devices=[]):
            return load_text(name, folder, weights=False, **numbers).card
    plan = _plan(name, folder, **options)
    settings = (plan.card, plan.blueprint, plan.preprocessing)
    try:
        return _assemble(*settings, folder=None, device="meta", keep_head=True).card
    except PretrainedModelError:  # a network that computes with numbers while it is built
        return _assemble(*settings, folder=None, keep_head=True).card


def rebuild(card: ModelCard) -> PretrainedModel:
    """Build the architecture that a card of this source describes, with random weights; no folder or hub is needed.

    Raises:
        PretrainedModelError: The card does not hold what is needed, or this version of Transformers cannot build it.
    """
    from newgameplus.pretrained.transformers_blueprint import read_blueprint

    if card.modality == "sequence":
        from newgameplus.pretrained.sequence_transformers import rebuild_text

        return rebuild_text(card)
    missing = [key for key in ("config", "pooler", "pooling", "preprocessing") if key not in card.facts]
    if missing:
        raise PretrainedModelError(
            f"the card of {card.name} lacks {', '.join(missing)}", source=card.name, remedy="load the model again"
        )
    blueprint = read_blueprint(card.facts["config"], frozenset(), source=card.name, pooler=bool(card.facts["pooler"]))
    return _assemble(card, blueprint, Preprocessing.from_dict(card.facts["preprocessing"]), folder=None)


def _reads_text(name: str, folder: CheckpointFolder, pixels: Mapping[str, Any], numbers: Mapping[str, Any]) -> bool:
    """Say from the configuration whether this is a text network, and refuse options of the other kind."""
    from newgameplus.pretrained.sequence_transformers import is_text_config

    text = is_text_config(folder.config)
    wrong = [key for key, value in (pixels if text else numbers).items() if value is not None]
    if wrong:
        takes = "numbers over time (steps, channels)" if text else "pictures (frames, height, width ...)"
        message = f"this network takes {takes}, and has no option {', '.join(wrong)}"
        remedy = "leave it out" if text else "for numbers over time choose a text network, or sequence:gru"
        raise PretrainedModelError(message, source=f"transformers:{name}", remedy=remedy)
    return text


def cards() -> list[ModelCard]:
    """Return nothing: the hub's models cannot be listed, and a folder is named by its path."""
    return []


@dataclass(frozen=True)
class _Plan:
    """What is to be loaded, before any weights are."""

    card: ModelCard
    blueprint: Blueprint
    preprocessing: Preprocessing


def _plan(
    name: str,
    folder: CheckpointFolder,
    *,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    pooling: str | None = None,
    mean: float | str | Sequence[float] | None = None,
    std: float | str | Sequence[float] | None = None,
) -> _Plan:
    """Read configuration and preprocessing, and check the options against them."""
    from newgameplus.pretrained.pixel_backbone import check_counts, check_pooling
    from newgameplus.pretrained.transformers_blueprint import read_blueprint

    check_counts(frames=frames, height=height, width=width)
    blueprint = read_blueprint(folder.config, folder.weight_names(), source=str(folder.path / "config.json"))
    preprocessing = _preprocessing(folder, blueprint, mean, std)
    preprocessing = replace(preprocessing, height=height or preprocessing.height, width=width or preprocessing.width)
    shape = _clip_shape(blueprint, preprocessing, frames)
    pooling = check_pooling(
        pooling, shape.frames, video=blueprint.video, family=blueprint.family, source=str(folder.path)
    )
    card = ModelCard(
        name=f"transformers:{name}",
        family=blueprint.family,
        modality="clip" if blueprint.video else "image",
        parameters=0,
        feature_dim=0,
        shape=shape,
        license=folder.license,
        description=f"{blueprint.class_name} from {name}" + (f" at {folder.revision}" if folder.revision else ""),
        facts={
            "config": dict(folder.config),
            "pooler": blueprint.pooler,
            "pooling": pooling,
            "preprocessing": preprocessing.as_dict(),
            "revision": folder.revision,
        },
    )
    return _Plan(card, blueprint, preprocessing)


def _assemble(
    card: ModelCard,
    blueprint: Blueprint,
    preprocessing: Preprocessing,
    *,
    folder: CheckpointFolder | None,
    device: str = "cpu",
    keep_head: bool = False,
) -> PretrainedModel:
    """Build the network, with the folder's weights if there is one, and complete the card."""
    from newgameplus.pretrained.backbone import PretrainedModel
    from newgameplus.pretrained.pixel_backbone import zero_shot_head
    from newgameplus.pretrained.transformers_network import build_network, take_apart

    network, unused = build_network(blueprint, folder, source=card.name, device=device)
    backbone, head = take_apart(
        network, blueprint, card.shape, preprocessing, pooling=card.facts["pooling"], source=card.name
    )
    zero_shot = zero_shot_head(head, backbone, blueprint.labels) if keep_head and head is not None else None
    completed = replace(
        card,
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        feature_dim=backbone.feature_dim,
        labels=zero_shot.labels if zero_shot else () if keep_head else card.labels,
        facts=card.facts | ({"unused_weights": unused} if unused else {}),
    )
    return PretrainedModel(completed, backbone, zero_shot)


def _preprocessing(
    folder: CheckpointFolder,
    blueprint: Blueprint,
    mean: float | str | Sequence[float] | None,
    std: float | str | Sequence[float] | None,
) -> Preprocessing:
    return read_preprocessing(
        folder.preprocessing,
        channels=blueprint.channels,
        default_size=blueprint.image_size or (_SIZE, _SIZE),
        source=str(folder.path / "preprocessor_config.json"),
        mean=mean,
        std=std,
    )


def _clip_shape(blueprint: Blueprint, preprocessing: Preprocessing, frames: int | None) -> ClipShape:
    from newgameplus.pretrained.pixel_backbone import FRAMES_OF_IMAGE_MODELS

    usual = (blueprint.frames or _FRAMES_OF_VIDEO_MODELS) if blueprint.video else FRAMES_OF_IMAGE_MODELS
    return ClipShape(frames or usual, preprocessing.height, preprocessing.width, blueprint.channels)
