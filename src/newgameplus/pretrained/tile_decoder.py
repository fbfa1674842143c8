"""Decoding a tile network one tile at a time with NumPy: at this size most of PyTorch's time a step is not arithmetic.

The same function as :class:`TileNetwork` for one more token a level, on the same cache. What does not change within a
line of the level, or within a decoding, is worked out once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from newgameplus.pretrained.tile_network import Cache, TileNetwork, rotary
from newgameplus.pretrained.tile_tokens import LineTokens

__all__ = ["TileDecoder"]

Floats = npt.NDArray[np.float32]
_HALF, _ONE = np.float32(0.5), np.float32(1.0)
_BEND, _STEEP = np.float32(0.044715), np.float32(math.sqrt(2.0 / math.pi))


def _array(tensor: Tensor) -> Floats:
    return np.asarray(tensor.detach().numpy(), np.float32)


def _turned(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(_array(tensor).T)


def _normal(values: Floats, weight: Floats, bias: Floats) -> Floats:
    width = values.shape[-1]
    centred = values - np.add.reduce(values, axis=-1, keepdims=True) / width
    spread = np.add.reduce(centred * centred, axis=-1, keepdims=True) / width
    normal: Floats = centred / np.sqrt(spread + 1e-5) * weight + bias
    return normal


def _gelu(values: Floats) -> Floats:
    """Return the Gaussian error unit in its tanh form, as the network has it."""
    cubes = values * values * values
    return np.asarray(_HALF * values * (_ONE + np.tanh(_STEEP * (values + _BEND * cubes))), np.float32)


class _Layer:
    """The weights of one block, turned for rows from the left."""

    def __init__(self, block: Any) -> None:
        self.norms = [_array(p) for m in (block.before_attention, block.before_expand) for p in (m.weight, m.bias)]
        self.mix, self.mix_bias = _turned(block.mix.weight), _array(block.mix.bias)
        self.out, self.out_bias = _turned(block.out.weight), _array(block.out.bias)
        self.expand, self.expand_bias = _turned(block.expand.weight), _array(block.expand.bias)
        self.shrink, self.shrink_bias = _turned(block.shrink.weight), _array(block.shrink.bias)


class TileDecoder:
    """One decoding with a network whose weights do not change meanwhile.

    Args:
        network: On the CPU, in float32, in evaluation mode.
    """

    def __init__(self, network: TileNetwork) -> None:
        shape = network.shape
        self.heads, self.size = shape.heads, shape.width // shape.heads
        inputs, outputs = (_array(table) for table in network.tables())
        around = _array(network.around.weight).reshape(shape.width, -1, shape.embedding)
        # float32 [offsets, specials and tiles, width]: what each tile in each place around adds.
        self.near = np.ascontiguousarray(np.einsum("te,woe->otw", inputs, around, optimize=True))
        self.near_bias = _array(network.around.bias)
        self.offsets = np.arange(len(self.near))
        self.places = [_array(table.weight) for table in network.place]  # type: ignore[arg-type]
        self.wishes = _turned(network.wishes.weight)
        norm: Any = network.enter[0]
        enter: Any = network.enter[1]
        self.enter_norm = (_array(norm.weight), _array(norm.bias))
        self.enter, self.enter_bias = _turned(enter.weight), _array(enter.bias)
        self.layers = [_Layer(block) for block in network.layers]
        self.leave = (_array(network.leave.weight), _array(network.leave.bias))
        # Leaving and answering are linear, so they are one.
        self.answer = np.ascontiguousarray((outputs @ _array(network.answer.weight)).T)
        self.answer_bias = outputs @ _array(network.answer.bias) + _array(network.bias)

    def begin_line(self, line: LineTokens) -> None:
        """Prepare for the places of a line."""
        self._line = line
        place, position, wishes = line.line_facts()
        told = self.near_bias + (wishes @ self.wishes if len(self.wishes) else 0.0)
        self._told = np.asarray(told, np.float32).reshape(len(wishes), -1)
        self._entered = np.add.reduce([table[place[:, n]] for n, table in enumerate(self.places)])
        cosines, sines = rotary(torch.from_numpy(position), self.size)
        self._cosines, self._sines = _array(cosines), _array(sines)

    def step(self, place: int, cache: Cache) -> Floats:
        """Return float32 [levels, tiles]: logits of one place of the line; its keys and values go to the cache."""
        near = self.near[self.offsets, self._line.around(place)]
        entered = np.add.reduce(near, axis=1) + self._told + self._entered[place]
        hidden: Floats = entered + _gelu(_normal(entered, *self.enter_norm) @ self.enter + self.enter_bias)
        cosines, sines = self._cosines[place], self._sines[place]
        keys, values = cache.keys.numpy(), cache.values.numpy()
        for number, layer in enumerate(self.layers):
            hidden = self._layer(layer, hidden, (cosines, sines), keys[number], values[number], cache.length)
        cache.length += 1
        logits: Floats = _normal(hidden, *self.leave) @ self.answer + self.answer_bias
        return logits

    def _layer(
        self, layer: _Layer, hidden: Floats, turn: tuple[Floats, Floats], keys: Floats, values: Floats, length: int
    ) -> Floats:
        mixed = _normal(hidden, layer.norms[0], layer.norms[1]) @ layer.mix + layer.mix_bias
        mixed = mixed.reshape(len(hidden), 3, self.heads, self.size)
        half = self.size // 2
        first, second = mixed[:, :2, :, :half], mixed[:, :2, :, half:]
        turned = np.empty_like(mixed[:, :2])
        turned[..., :half] = first * turn[0] - second * turn[1]
        turned[..., half:] = first * turn[1] + second * turn[0]
        keys[:, :, length], values[:, :, length] = turned[:, 1], mixed[:, 2]
        query = turned[:, 0] * np.float32(1.0 / math.sqrt(self.size))
        scores = np.matmul(keys[:, :, : length + 1], query[..., None])[..., 0]
        scores -= np.maximum.reduce(scores, axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= np.add.reduce(scores, axis=-1, keepdims=True)
        seen = np.matmul(scores[:, :, None], values[:, :, : length + 1]).reshape(hidden.shape)
        hidden = hidden + (seen @ layer.out + layer.out_bias)
        expanded = _gelu(_normal(hidden, layer.norms[2], layer.norms[3]) @ layer.expand + layer.expand_bias)
        summed: Floats = hidden + (expanded @ layer.shrink + layer.shrink_bias)
        return summed
