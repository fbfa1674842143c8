"""Any network of pictures or of video as a backbone: pixels prepared, features read, frames pooled over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from newgameplus.errors import PretrainedModelError, Problem, raise_problems
from newgameplus.pretrained.backbone import Backbone, ZeroShotHead
from newgameplus.pretrained.catalog import did_you_mean
from newgameplus.pretrained.pooling import POOLINGS, pool_over_time, pooled_dim
from newgameplus.pretrained.preprocessing import Preprocessing
from newgameplus.pretrained.structure import Head, block_modules
from newgameplus.shapes import ClipShape

__all__ = [
    "FRAMES_OF_IMAGE_MODELS",
    "PixelBackbone",
    "check_counts",
    "check_pooling",
    "normalize",
    "probe_clips",
    "read_features",
    "zero_shot_head",
]

FRAMES_OF_IMAGE_MODELS = 4
"""Frames of a clip that a network of single pictures gets, if nothing else is asked for."""

_POOLING_OF_IMAGE_MODELS = "mean-change"
# Without gradients, work in pieces of at most this many pixels (32 frames of 224 x 224): what a network keeps of a
# piece is then bounded, about 0.5 GB for a ResNet-50, however large the batch is.
_PIXELS_AT_ONCE = 32 * 224 * 224
# Axes of a network's input behind the batch: t frames, c channels, h rows, w columns. A network of pictures has no t.
_LAYOUTS = {"chw": (-1, -3), "tchw": (-1, -3), "cthw": (-1, -4), "hwc": (-1, -1), "thwc": (-1, -1)}


class PixelBackbone(Backbone):
    """Turns clips into features with a network of pictures or of video.

    A video network takes a clip as a whole. An image network takes every frame for itself, and the features of the
    frames are pooled over time.

    Args:
        network: The network, its head already taken off.
        shape: The clips it takes.
        preprocessing: How pixels become its input.
        pooling: How features of frames become features of the clip; ``None`` for a video network.
        features: Where its features come out, see :func:`read_features`.
        network_dim: Width of these features.
        block_names: Its blocks, in order, as :func:`newgameplus.pretrained.structure.find_blocks` names them.
        layout: Axes of its input behind the batch: ``chw``, ``hwc``, or with frames ``tchw``, ``cthw``, ``thwc``.
        arguments: Further arguments of every call of the network.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        shape: ClipShape,
        preprocessing: Preprocessing,
        *,
        pooling: str | None,
        features: str,
        network_dim: int,
        block_names: list[str],
        layout: str = "chw",
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.shape = shape
        self.preprocessing = preprocessing
        self.pooling = pooling
        self.features = features
        self.feature_dim = network_dim if pooling is None else pooled_dim(network_dim, pooling)
        self.block_names = block_names
        self.layout = layout
        self.arguments = dict(arguments or {})
        # Known from the preprocessing, so not part of the weights.
        self.register_buffer("mean", torch.tensor(preprocessing.mean), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std), persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        """Turn clips, uint8 [batch, frames, height, width, channels], into features, float32 [batch, feature_dim].

        Without gradients and in evaluation mode the batch is worked through in pieces, so that memory stays bounded.
        """
        batch, frames = clips.shape[:2]
        inputs = clips if self.pooling is None else clips.flatten(0, 1)
        features = self._in_pieces(inputs)
        if self.pooling is not None:
            features = pool_over_time(features.reshape(batch, frames, -1), self.pooling)
        return features

    def blocks(self) -> list[nn.Module]:
        """Return the parts that hold all weights, from input to output."""
        return block_modules(self.network, self.block_names)

    def _in_pieces(self, inputs: Tensor) -> Tensor:
        if torch.is_grad_enabled() or self.training:
            return self._network_features(inputs)
        pixels = inputs[0].numel() // inputs.shape[-1] if len(inputs) else 1
        pieces = torch.split(inputs, max(1, _PIXELS_AT_ONCE // pixels))
        return torch.cat([self._network_features(piece) for piece in pieces])

    def _network_features(self, inputs: Tensor) -> Tensor:
        pixels = normalize(inputs, self.preprocessing, self.mean, self.std, self.layout)
        return read_features(self.network(pixels, **self.arguments), self.features).float()


def normalize(inputs: Tensor, preprocessing: Preprocessing, mean: Tensor, std: Tensor, layout: str = "chw") -> Tensor:
    """Turn uint8 [..., height, width, channels] into the float32 of a layout that a network eats.

    The memory stays in the order channels-last, in which convolutions on a processor are fastest.
    """
    pixels = inputs.flip(-1) if preprocessing.reverse_channels else inputs
    scaled = (pixels.to(mean.dtype) * preprocessing.factor - preprocessing.offset - mean) / std
    return scaled.movedim(*_LAYOUTS[layout])


def read_features(outputs: Any, where: str) -> Tensor:
    """Take flat features out of what a network returns.

    Args:
        outputs: What the network returned.
        where: ``output`` (a tensor, or the first of several), ``output-channels-last`` (a tensor whose last axis holds
            the channels), or of a network of Transformers ``logits`` (a classifier whose head was replaced by the
            identity: what the head was given), ``pooler_output``, ``last_hidden_state`` (its mean over tokens or
            places) or ``feature_maps`` (the mean of the last map).

    Returns:
        float [batch, width].
    """
    if where.startswith("output"):
        found = outputs[0] if isinstance(outputs, tuple | list) else outputs
        if where == "output-channels-last" and found.dim() > 2:
            return torch.as_tensor(found.flatten(1, -2).mean(dim=1))
    else:
        found = outputs.feature_maps[-1] if where == "feature_maps" else getattr(outputs, where)
    if found.dim() >= 4:  # [batch, channels, (frames,) height, width]
        return torch.as_tensor(found.flatten(2).mean(dim=2))
    if found.dim() == 3:  # [batch, tokens, channels]
        return torch.as_tensor(found.mean(dim=1))
    return torch.as_tensor(found)


def zero_shot_head(head: Head, backbone: PixelBackbone, labels: tuple[str, ...]) -> ZeroShotHead | None:
    """Fit a frame classifier's own head to features pooled over time.

    Over a mean it gives the mean of the frames' logits; what is appended to the mean gets the weight 0. A maximum is
    nothing that the head was trained on.
    """
    if backbone.pooling == "max":
        return None
    weight = head.linear.weight.detach().clone()
    padding = weight.new_zeros(weight.shape[0], backbone.feature_dim - weight.shape[1])
    bias = weight.new_zeros(weight.shape[0]) if head.linear.bias is None else head.linear.bias.detach().clone()
    if len(labels) != len(weight):
        labels = tuple(f"LABEL_{index}" for index in range(len(weight)))
    return ZeroShotHead(labels, torch.cat([weight, padding], dim=1), bias)


def probe_clips(shape: ClipShape, device: str = "cpu") -> Tensor:
    """Return one uint8 clip of this shape with something to see in it, to watch a network at work."""
    if device == "meta":
        return torch.zeros(1, *shape.array, dtype=torch.uint8, device=device)
    return (torch.arange(torch.Size((1, *shape.array)).numel()) * 37 % 251).to(torch.uint8).reshape(1, *shape.array)


def check_counts(**options: object) -> None:
    """Refuse options that are no whole numbers above 0; ``None`` stands for a default.

    Raises:
        PretrainedModelError: With all that are not.
    """
    problems = [
        Problem(f"{key} is {value!r}", "pretrained options", "give a whole number, 1 or more")
        for key, value in options.items()
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1)
    ]
    raise_problems(problems, PretrainedModelError, f"{len(problems)} options are not usable")


def check_pooling(pooling: str | None, frames: int, *, video: bool, family: str, source: str) -> str | None:
    """Return the pooling asked for, or the usual one; ``None`` for a network of video.

    Raises:
        PretrainedModelError: There is no such pooling, or nothing to pool.
    """
    if video:
        if pooling is not None:
            raise PretrainedModelError(
                f"pooling is {pooling!r}, but a {family} takes a clip as a whole: there is nothing to pool",
                source=source,
                remedy="leave out the option pooling",
            )
        return None
    if pooling is None:
        return _POOLING_OF_IMAGE_MODELS if frames > 1 else "mean"
    if pooling not in POOLINGS:
        raise PretrainedModelError(
            f"no pooling is called {pooling!r}",
            source="pretrained options",
            remedy=did_you_mean(str(pooling), POOLINGS),
        )
    if pooling == "mean-change" and frames < 2:
        raise PretrainedModelError(
            "pooling is 'mean-change', but one frame does not change",
            source="pretrained options",
            remedy="give frames 2 or more, or pooling 'mean'",
        )
    return pooling
