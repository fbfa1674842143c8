"""A Transformers network as a backbone: clips of frames in, features out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from newgameplus.pretrained.backbone import Backbone
from newgameplus.pretrained.pooling import pool_over_time, pooled_dim
from newgameplus.pretrained.preprocessing import Preprocessing
from newgameplus.pretrained.structure import block_modules
from newgameplus.shapes import ClipShape

__all__ = ["TransformersBackbone", "read_features"]

# Without gradients, work in pieces of at most this many pixels (32 frames of 224 x 224): what a network keeps of a
# piece is then bounded, about 0.5 GB for a ResNet-50, however large the batch is.
_PIXELS_AT_ONCE = 32 * 224 * 224


class TransformersBackbone(Backbone):
    """Turns clips into features with a network of the Transformers library.

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
        arguments: dict[str, Any],
    ) -> None:
        super().__init__()
        self.network = network
        self.shape = shape
        self.preprocessing = preprocessing
        self.pooling = pooling
        self.features = features
        self.feature_dim = network_dim if pooling is None else pooled_dim(network_dim, pooling)
        self.block_names = block_names
        self.arguments = arguments
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
        pixels = normalize(inputs, self.preprocessing, self.mean, self.std)
        outputs = self.network(pixels, **self.arguments)
        return read_features(outputs, self.features).float()


def normalize(inputs: Tensor, preprocessing: Preprocessing, mean: Tensor, std: Tensor) -> Tensor:
    """Turn uint8 [..., height, width, channels] into the float32 [..., channels, height, width] that a network eats.

    The memory stays in the order channels-last, in which convolutions on a processor are fastest.
    """
    pixels = inputs.flip(-1) if preprocessing.reverse_channels else inputs
    scaled = (pixels.to(mean.dtype) * preprocessing.factor - preprocessing.offset - mean) / std
    return scaled.movedim(-1, -3)


def read_features(outputs: Any, where: str) -> Tensor:
    """Take flat features out of what a Transformers network returns.

    Args:
        outputs: What the network returned.
        where: ``logits`` (a classifier whose head was replaced by the identity: what the head was given),
            ``pooler_output``, ``last_hidden_state`` (its mean over tokens or places) or ``feature_maps`` (the mean of
            the last map).

    Returns:
        float [batch, width].
    """
    found = outputs.feature_maps[-1] if where == "feature_maps" else getattr(outputs, where)
    if found.dim() == 4:  # [batch, channels, height, width]
        return torch.as_tensor(found.mean(dim=(2, 3)))
    if found.dim() == 3:  # [batch, tokens, channels]
        return torch.as_tensor(found.mean(dim=1))
    return torch.as_tensor(found)
