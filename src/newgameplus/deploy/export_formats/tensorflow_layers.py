# ruff: noqa: ARG001 (every translation takes the call and what torch gives, needed or not)
"""Torch's layers in TensorFlow: convolutions, pools and normalizations; see ``tensorflow_graph``.

TensorFlow convolves on a CPU only with channels last, so that pictures are turned before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["LAYERS"]


def _last(x: Any) -> Any:
    """Channels from the second place to the last."""
    rank = len(x.shape)
    return tf.transpose(x, [0, *range(2, rank), 1])


def _first(x: Any) -> Any:
    """Channels from the last place to the second."""
    rank = len(x.shape)
    return tf.transpose(x, [0, rank - 1, *range(1, rank - 1)])


def _each(values: Sequence[int], count: int) -> list[int]:
    return list(values) * count if len(values) == 1 else list(values)


def _padded(x: Any, pads: Sequence[int], value: float = 0.0) -> Any:
    if not any(pads):
        return x
    return tf.pad(x, [[0, 0], *([pad, pad] for pad in pads), [0, 0]], constant_values=tf.constant(value, x.dtype))


def _convolution(
    call: Any, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, *rest: Any
) -> Any:
    groups = int(rest[-1])
    if transposed:
        raise NotImplementedError("a transposed convolution")
    spatial = len(x.shape) - 2
    stride, padding, dilation = (_each(values, spatial) for values in (stride, padding, dilation))
    kernel = weight if call.kept_channels_last(1) else tf.transpose(weight, [*range(2, spatial + 2), 1, 0])
    x = _padded(_last(x), padding)
    if groups == 1:
        found = tf.nn.convolution(x, kernel, strides=stride, dilations=dilation)
    elif groups == x.shape[-1] and spatial == 2 and stride[0] == stride[1]:
        found = _depthwise(x, kernel, groups, stride, dilation)
    else:
        parts = zip(tf.split(x, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True)
        each = [tf.nn.convolution(one, own, strides=stride, dilations=dilation) for one, own in parts]
        found = tf.concat(each, axis=-1)
    return _first(found if bias is None else found + bias)


def _depthwise(x: Any, kernel: Any, groups: int, stride: Sequence[int], dilation: Sequence[int]) -> Any:
    """Convolve each channel by itself: the kernel goes from [h, w, 1, in * n] to [h, w, in, n]."""
    height, width, _, outputs = kernel.shape
    own = tf.reshape(kernel, [height, width, groups, outputs // groups])
    return tf.nn.depthwise_conv2d(x, own, strides=[1, *stride, 1], padding="VALID", dilations=list(dilation))


def _refuse_ceiling(ceil_mode: bool) -> None:
    if ceil_mode:
        raise NotImplementedError("a pool with ceil_mode")


def _max_pool(
    call: Any, x: Any, size: Any, stride: Any = (), padding: Any = (0,), dilation: Any = (1,), ceil_mode: bool = False
) -> tuple[Any, None]:
    _refuse_ceiling(ceil_mode)
    size = _each(size, 2)
    stride = _each(stride, 2) if stride else size
    x = _padded(_last(x), _each(padding, 2), -np.inf)
    found = tf.nn.pool(x, size, "MAX", strides=stride, padding="VALID", dilations=_each(dilation, 2))
    return _first(found), None


def _average_pool(
    call: Any,
    x: Any,
    size: Any,
    stride: Any = (),
    padding: Any = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    _refuse_ceiling(ceil_mode)
    size, padding = _each(size, 2), _each(padding, 2)
    stride = _each(stride, 2) if stride else size
    x = _last(x)

    def pooled(values: Any) -> Any:
        return tf.nn.pool(_padded(values, padding), size, "AVG", strides=stride, padding="VALID")

    found = pooled(x)
    if any(padding) and not count_include_pad:
        found /= pooled(tf.ones_like(x))
    if divisor_override:
        found *= size[0] * size[1] / divisor_override
    return _first(found)


def _averages(length: int, parts: int) -> Any:
    """Return float32 [parts, length]: how torch averages an axis into parts that may overlap by one."""
    table = np.zeros((parts, length), np.float32)
    for part in range(parts):
        start, end = part * length // parts, -(-(part + 1) * length // parts)
        table[part, start:end] = 1.0 / (end - start)
    return tf.constant(table)


def _adaptive_average(call: Any, x: Any, size: Any) -> Any:
    rows, columns = (int(length) for length in size)
    down, across = _averages(int(x.shape[-2]), rows), _averages(int(x.shape[-1]), columns)
    return tf.einsum("rh,bchw,kw->bcrk", down, x, across)


def _by_channel(values: Any, rank: int) -> Any:
    return tf.reshape(values, [1, -1, *([1] * (rank - 2))])


def _batch_norm(
    call: Any, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, momentum: float, epsilon: float
) -> tuple[Any, None, None]:
    rank = len(x.shape)
    scale = tf.math.rsqrt(variance + epsilon)
    found = (x - _by_channel(mean, rank)) * _by_channel(scale if weight is None else scale * weight, rank)
    return found if bias is None else found + _by_channel(bias, rank), None, None


def _layer_norm(
    call: Any, x: Any, shape: Sequence[int], weight: Any, bias: Any, epsilon: float
) -> tuple[Any, None, None]:
    axes = list(range(-len(shape), 0))
    mean = tf.reduce_mean(x, axes, keepdims=True)
    off = x - mean
    found = off * tf.math.rsqrt(tf.reduce_mean(tf.square(off), axes, keepdims=True) + epsilon)
    found = found if weight is None else found * weight
    return found if bias is None else found + bias, None, None


def _group_norm(
    call: Any, x: Any, weight: Any, bias: Any, batch: Any, channels: int, inner: Any, groups: int, epsilon: float
) -> tuple[Any, None, None]:
    rank = len(x.shape)
    parts = tf.reshape(x, tf.stack([tf.shape(x)[0], groups, -1]))
    off = parts - tf.reduce_mean(parts, 2, keepdims=True)
    normal = off * tf.math.rsqrt(tf.reduce_mean(tf.square(off), 2, keepdims=True) + epsilon)
    found = tf.reshape(normal, tf.shape(x))
    found = found if weight is None else found * _by_channel(weight, rank)
    return found if bias is None else found + _by_channel(bias, rank), None, None


LAYERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "aten.convolution.default": _convolution,
        "aten.max_pool2d_with_indices.default": _max_pool,
        "aten.avg_pool2d.default": _average_pool,
        "aten._adaptive_avg_pool2d.default": _adaptive_average,
        "aten._native_batch_norm_legit_no_training.default": _batch_norm,
        "aten.native_layer_norm.default": _layer_norm,
        "aten.native_group_norm.default": _group_norm,
    }
)
