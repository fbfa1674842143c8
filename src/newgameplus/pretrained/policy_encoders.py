"""How each part of an observation becomes features: one encoder a part, by its kind.

Networks: the convolutions of Mnih et al. 2015 (``nature-cnn``) and Espeholt et al. 2018, IMPALA (``impala-cnn``, one
block a stage), one 3x3 convolution for small boards as in Young and Tian 2019, MinAtar (``small-cnn``), and a
transformer encoder over tokens (Vaswani et al. 2017). A source may bring another, see :data:`BACKBONES`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ObservationPart

__all__ = ["BACKBONES", "NATURE_SIDE", "Encoder", "make_encoder"]

NATURE_SIDE = 36
"""Smallest side of a picture for ``nature-cnn``."""
#: Encoders that sources bring: ``module:function`` of a part and the backbone's facts that returns an Encoder.
BACKBONES: dict[str, str] = {
    "transformers": "newgameplus.pretrained.policy_transformers:build_encoder",
    "behavior": "newgameplus.pretrained.policy_behavior:build_encoder",
}


class Encoder(nn.Module):
    """A network from one part of the observation to features.

    Attributes:
        width: Width of the features.
        orthogonal: Whether its linear layers and convolutions begin orthogonal, as the rest of a policy does; not for
            transformers, nor for weights that were learned before.
    """

    width: int
    orthogonal: bool = True


class Flatten(Encoder):
    """Numbers as they are (pixels brought to 0..1); choices one-hot."""

    def __init__(self, part: ObservationPart, own: Mapping[str, Any]) -> None:
        super().__init__()
        self.sizes = part.sizes if part.kind == "choice" else ()
        self.scale = _scale(part, own) if part.kind in ("image", "grid") else 1.0
        self.width = sum(self.sizes) if self.sizes else math.prod(part.shape)

    def forward(self, values: Tensor) -> Tensor:
        """Turn [batch, ...] into float32 [batch, width]."""
        if not self.sizes:
            found = values.to(torch.get_default_dtype()).flatten(1)
            return found if self.scale == 1.0 else found * self.scale
        numbers = values.long().reshape(values.shape[0], -1)  # len() would fix the batch axis of an export
        parts = [functional.one_hot(numbers[:, n], size) for n, size in enumerate(self.sizes)]
        return torch.cat(parts, dim=1).to(torch.get_default_dtype())


def _scale(part: ObservationPart, own: Mapping[str, Any]) -> float:
    """What an image's intensities, or a grid's codes taken as numbers, are multiplied with."""
    if "scale" in own:
        return float(own["scale"])
    return 1.0 / part.high if part.kind == "image" and part.high else 1.0


class Pixels(nn.Module):
    """Images brought to 0..1, codes of a grid one-hot; channels first, float32."""

    def __init__(self, part: ObservationPart, own: Mapping[str, Any]) -> None:
        super().__init__()
        self.sizes = part.sizes if part.kind == "grid" and not own.get("numbers") else ()
        self.channels = sum(self.sizes) if self.sizes else part.shape[0]
        self.scale = _scale(part, own)
        if self.sizes:
            starts = torch.tensor([sum(self.sizes[:n]) for n in range(len(self.sizes))])
            self.register_buffer("starts", starts, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        if not self.sizes:
            return values.to(torch.get_default_dtype()) * self.scale
        batch, _, height, width = values.shape
        starts: Tensor = self.starts  # type: ignore[assignment]
        places = values.long() + starts[:, None, None]
        hot = torch.zeros(batch, self.channels, height, width, device=values.device)
        return hot.scatter_(1, places, 1.0)


class ConvolutionEncoder(Encoder):
    """Convolutions and one linear layer on images or grids."""

    def __init__(
        self, part: ObservationPart, kind: str, features: int, options: Mapping[str, Any], own: Mapping[str, Any]
    ) -> None:
        super().__init__()
        _check_size(part, kind, options)
        self.pixels = Pixels(part, own)
        layers = {"nature-cnn": _nature, "impala-cnn": _impala, "small-cnn": _small}[kind]
        self.convolutions = nn.Sequential(*layers(self.pixels.channels, options))
        with torch.no_grad():
            empty = torch.zeros(1, self.pixels.channels, *part.shape[1:])
            flat = self.convolutions(empty).flatten(1).shape[1]
        self.linear = nn.Linear(flat, features)
        self.width = features

    def forward(self, values: Tensor) -> Tensor:
        """Turn [batch, channels, height, width] into float32 [batch, width]."""
        found: Tensor = torch.relu(self.linear(self.convolutions(self.pixels(values)).flatten(1)))
        return found


def _check_size(part: ObservationPart, kind: str, options: Mapping[str, Any]) -> None:
    """Raise if a network's convolutions would leave nothing of a picture."""
    least = {"nature-cnn": NATURE_SIDE, "impala-cnn": 1}.get(kind, 0)
    if kind == "small-cnn":
        least = 1 + (2 - 2 * int(options.get("padding", 0))) * len(options.get("channels", (16,)))
    if min(part.shape[1:]) < least:
        height, width = part.shape[1:]
        raise PretrainedModelError(
            f"{part.name!r} is {width} x {height} and too small for {kind}, which needs {least} x {least}",
            source="model.encoder",
            remedy="take encoder: auto, or small-cnn with options: {padding: 1}",
        )


def _nature(channels: int, _: Mapping[str, Any]) -> list[nn.Module]:
    sizes = ((channels, 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1))
    layers: list[nn.Module] = []
    for before, after, kernel, stride in sizes:
        layers += [nn.Conv2d(before, after, kernel, stride), nn.ReLU()]
    return layers


def _small(channels: int, options: Mapping[str, Any]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in options.get("channels", (16,)):
        layers += [nn.Conv2d(channels, int(width), 3, padding=int(options.get("padding", 0))), nn.ReLU()]
        channels = int(width)
    return layers


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, values: Tensor) -> Tensor:
        found: Tensor = values + self.second(torch.relu(self.first(torch.relu(values))))
        return found


def _impala(channels: int, options: Mapping[str, Any]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in options.get("channels", (16, 32, 32)):
        layers += [nn.Conv2d(channels, int(width), 3, padding=1), nn.MaxPool2d(3, 2, padding=1)]
        layers += [_Residual(int(width)), _Residual(int(width))]
        channels = int(width)
    return [*layers, nn.ReLU()]


class TokenEncoder(Encoder):
    """A transformer over tokens; 0 is padding, and what is not padding is averaged."""

    orthogonal = False

    def __init__(self, part: ObservationPart, features: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.tokens = nn.Embedding(part.sizes[0], features, padding_idx=0)
        self.places = nn.Embedding(part.shape[0], features)
        heads = int(options.get("heads", 4 if features % 4 == 0 else 1))
        layer = nn.TransformerEncoderLayer(
            features, heads, 2 * features, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, int(options.get("layers", 2)), enable_nested_tensor=False)
        nn.init.normal_(self.tokens.weight, std=0.1)
        nn.init.normal_(self.places.weight, std=0.1)
        self.width = features

    def forward(self, values: Tensor) -> Tensor:
        """Turn integers [batch, length] into float32 [batch, width]."""
        numbers = values.long()
        padding = numbers == 0
        padding = padding & ~padding.all(dim=1, keepdim=True)  # a row of nothing but padding must not become NaN
        embedded = self.tokens(numbers) + self.places.weight[: numbers.shape[1]]
        found = self.layers(embedded, src_key_padding_mask=padding)
        kept = (~padding).to(found.dtype).unsqueeze(-1)
        averaged: Tensor = (found * kept).sum(dim=1) / kept.sum(dim=1)
        return averaged


class Perceptron(Encoder):
    """One hidden layer on numbers."""

    def __init__(self, part: ObservationPart, features: int, own: Mapping[str, Any]) -> None:
        super().__init__()
        self.flatten = Flatten(part, own)
        self.linear = nn.Linear(self.flatten.width, features)
        self.width = features

    def forward(self, values: Tensor) -> Tensor:
        """Turn [batch, ...] into float32 [batch, width]."""
        return torch.relu(self.linear(self.flatten(values)))


def make_encoder(part: ObservationPart, shape: PolicyShape) -> Encoder:
    """Return the encoder of one part as a blueprint says."""
    if shape.backbone and part.name == shape.backbone.get("part", part.name):
        module, _, name = BACKBONES[str(shape.backbone["kind"])].partition(":")
        built: Encoder = getattr(importlib.import_module(module), name)(part, shape)
        return built
    own: Mapping[str, Any] = shape.options.get("parts", {}).get(part.name, {})
    kind, features = str(own.get("encoder", shape.encoder)), int(own.get("features", shape.features))
    if part.kind == "tokens":
        return TokenEncoder(part, features, shape.options)
    if part.kind in ("image", "grid"):
        if kind in ("nature-cnn", "impala-cnn", "small-cnn"):
            return ConvolutionEncoder(part, kind, features, shape.options, own)
        if kind in ("flatten", "mlp") and (part.kind == "image" or own.get("numbers")):
            return Flatten(part, own) if kind == "flatten" else Perceptron(part, features, own)
        small = part.kind == "grid" or min(part.shape[1:]) < NATURE_SIDE
        options = {"padding": 1, **shape.options} if min(part.shape[1:]) < 3 else shape.options
        return ConvolutionEncoder(part, "small-cnn" if small else "nature-cnn", features, options, own)
    return Perceptron(part, features, own) if kind == "mlp" else Flatten(part, own)
