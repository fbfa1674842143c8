# ruff: noqa: ARG001, ARG005 (every translation takes the call and what torch gives, needed or not)
"""Torch's ways to make, cut, join and look up tensors in TensorFlow; see ``tensorflow_graph``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import tensorflow as tf

__all__ = ["SHAPES"]

_END = 2**31 - 1
"""Torch says "to the end" by numbers from here on."""


def _lengths(sizes: Sequence[Any]) -> Any:
    """Return lengths of axes, some of them only known when the model runs, as one tensor."""
    if all(isinstance(size, int) for size in sizes):
        return tf.constant(list(sizes), tf.int32)
    return tf.stack([tf.cast(size, tf.int32) for size in sizes])


def _reshape(call: Any, x: Any, sizes: Sequence[Any]) -> Any:
    return tf.reshape(x, _lengths(sizes))


def _expand(call: Any, x: Any, sizes: Sequence[Any], **_: Any) -> Any:
    more = len(sizes) - len(x.shape)
    given = tf.shape(x)
    kept = [given[n - more] if isinstance(size, int) and size == -1 else size for n, size in enumerate(sizes)]
    return tf.broadcast_to(x, _lengths(kept))


def _repeat(call: Any, x: Any, times: Sequence[Any]) -> Any:
    for _ in range(len(times) - len(x.shape)):
        x = tf.expand_dims(x, 0)
    return tf.tile(x, _lengths(times))


def _cut(x: Any, dim: int, part: Any) -> Any:
    return x[(*(slice(None),) * (dim % len(x.shape)), part)]


def _slice(call: Any, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    end = None if isinstance(end, int) and end >= _END else end
    return _cut(x, dim, slice(start, end, step))


def _squeeze(call: Any, x: Any, dims: Any = None) -> Any:
    lengths = call.node.args[0].meta["val"].shape  # torch knows them where TensorFlow does not
    wanted = [dims] if isinstance(dims, int) else list(range(len(lengths)) if dims is None else dims)
    single = [dim for dim in wanted if isinstance(lengths[dim], int) and lengths[dim] == 1]
    return tf.squeeze(x, single) if single else x  # of an empty list TensorFlow makes "all"


def _as_strided(call: Any, x: Any, sizes: Sequence[Any], strides: Sequence[Any], offset: Any = None) -> Any:
    """Translate a view of the same numbers in the same order; torch's decompositions give no other."""
    before = call.node.args[0].meta["val"]
    expected, running = [], 1
    for size in reversed(call.value.shape):
        expected.append(running)
        running = running * size
    given = [(size, mine, wanted) for size, mine, wanted in zip(sizes, strides, reversed(expected), strict=True)]
    in_order = all((isinstance(size, int) and size == 1) or str(a) == str(b) for size, a, b in given)
    if not (in_order and not offset and before.is_contiguous() and str(before.numel()) == str(call.value.numel())):
        raise NotImplementedError("aten.as_strided with another order of the numbers")
    return tf.reshape(x, _lengths(sizes))


def _pad(call: Any, x: Any, pads: Sequence[int], value: float = 0.0) -> Any:
    """Pad; torch names the axes from the last one on, and cuts where a number is below 0."""
    axes = [[0, 0] for _ in x.shape]
    for number in range(len(pads) // 2):
        axes[-1 - number] = list(pads[2 * number : 2 * number + 2])
    x = tf.pad(x, [[max(0, n) for n in axis] for axis in axes], constant_values=call.cast(value))
    cuts = [slice(max(0, -first), min(0, last) or None) for first, last in axes]
    return x[tuple(cuts)]


def _not_below(index: Any, length: Any) -> Any:
    """Return indices counted from the front; torch counts from the end below 0."""
    return tf.where(index < 0, index + tf.cast(length, index.dtype), index)


def _index(call: Any, x: Any, indices: Sequence[Any]) -> Any:
    """Look up by integer tensors on neighbouring axes."""
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    chosen = [indices[axis] for axis in axes]
    if any(index.dtype is tf.bool for index in chosen) or axes != list(range(axes[0], axes[0] + len(axes))):
        raise NotImplementedError("aten.index.Tensor by a mask or on scattered axes")
    lengths = tf.shape(x)
    chosen = [_not_below(index, lengths[axis]) for index, axis in zip(chosen, axes, strict=True)]
    if len(axes) == 1:
        return tf.gather(x, chosen[0], axis=axes[0])
    front, rest = axes, [axis for axis in range(len(x.shape)) if axis not in axes]
    found = tf.gather_nd(tf.transpose(x, [*front, *rest]), tf.stack(_broadcast(chosen), axis=-1))
    width = len(found.shape) - len(rest)
    order = [*range(width, width + axes[0]), *range(width), *range(width + axes[0], len(found.shape))]
    return tf.transpose(found, order)


def _broadcast(tensors: Sequence[Any]) -> list[Any]:
    shape = tf.shape(tensors[0])
    for tensor in tensors[1:]:
        shape = tf.broadcast_dynamic_shape(shape, tf.shape(tensor))
    kind = tf.int64 if any(tensor.dtype == tf.int64 for tensor in tensors) else tensors[0].dtype
    return [tf.broadcast_to(tf.cast(tensor, kind), shape) for tensor in tensors]


def _gather(call: Any, x: Any, dim: int, index: Any, **_: Any) -> Any:
    return tf.experimental.numpy.take_along_axis(x, index, axis=dim)


def _scatter_value(call: Any, x: Any, dim: int, index: Any, value: Any) -> Any:
    """Put one value at places along an axis, where the other axes are alike: what one-hot codes are made with."""
    axis = dim % len(x.shape)
    hot = tf.reduce_any(tf.one_hot(index, tf.shape(x)[axis], on_value=True, off_value=False, dtype=tf.bool), axis=axis)
    last = len(x.shape) - 1
    return tf.where(tf.transpose(hot, [*range(axis), last, *range(axis, last)]), call.cast(value), x)


def _cat(call: Any, tensors: Sequence[Any], dim: int = 0) -> Any:
    return tf.concat([call.cast(tensor) for tensor in tensors], axis=dim)


def _split(call: Any, x: Any, sizes: Any, dim: int = 0) -> list[Any]:
    if isinstance(sizes, int):
        length = x.shape[dim]
        sizes = [min(sizes, length - start) for start in range(0, length, sizes)]
    found: list[Any] = tf.split(x, sizes, axis=dim)
    return found


def _arange(call: Any, start: Any, end: Any = None, step: Any = 1, **_: Any) -> Any:
    start, end = (0, start) if end is None else (start, end)
    return tf.range(call.cast(start), call.cast(end), call.cast(step))


def _full(call: Any, sizes: Sequence[Any], value: Any = 0, **_: Any) -> Any:
    return tf.fill(_lengths(sizes), call.cast(value))


def _full_like(call: Any, x: Any, value: Any = 0, **_: Any) -> Any:
    return tf.fill(tf.shape(x), call.cast(value))


def _size(call: Any, x: Any, dim: int) -> Any:
    known = x.shape[dim]
    return tf.shape(x)[dim] if known is None else int(known)


def _flip(call: Any, x: Any, dims: Sequence[int]) -> Any:
    return tf.reverse(x, [dim % len(x.shape) for dim in dims])


SHAPES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "aten.sym_size.int": _size,
        "aten.sym_numel.default": lambda call, x: tf.size(x) if None in x.shape else math.prod(x.shape),
        "aten.view.default": _reshape,
        "aten._unsafe_view.default": _reshape,
        "aten.reshape.default": _reshape,
        "aten.as_strided.default": _as_strided,
        "aten.permute.default": lambda call, x, dims: tf.transpose(x, [dim % len(x.shape) for dim in dims]),
        "aten.expand.default": _expand,
        "aten.repeat.default": _repeat,
        "aten.unsqueeze.default": lambda call, x, dim: tf.expand_dims(x, dim),
        "aten.squeeze.dims": _squeeze,
        "aten.squeeze.dim": _squeeze,
        "aten.squeeze.default": _squeeze,
        "aten.slice.Tensor": _slice,
        "aten.select.int": lambda call, x, dim, index: _cut(x, dim, index),
        "aten.flip.default": _flip,
        "aten.roll.default": lambda call, x, shifts, dims=(): tf.roll(x, shifts, list(dims)),
        "aten.constant_pad_nd.default": _pad,
        "aten.cat.default": _cat,
        "aten.split_with_sizes.default": _split,
        "aten.split.Tensor": _split,
        "aten.unbind.int": lambda call, x, dim=0: tf.unstack(x, axis=dim),
        "aten.index.Tensor": _index,
        "aten.index_select.default": lambda call, x, dim, index: tf.gather(x, index, axis=dim),
        "aten.embedding.default": lambda call, weight, index, *_: tf.gather(weight, index),
        "aten.gather.default": _gather,
        "aten.scatter.value": _scatter_value,
        "aten.arange.start_step": _arange,
        "aten.arange.start": _arange,
        "aten.arange.default": _arange,
        "aten.full.default": _full,
        "aten.zeros.default": _full,
        "aten.ones.default": lambda call, sizes, **_: _full(call, sizes, 1),
        "aten.empty.memory_format": _full,
        "aten.full_like.default": _full_like,
        "aten.zeros_like.default": _full_like,
        "aten.ones_like.default": lambda call, x, **_: _full_like(call, x, 1),
        "aten.scalar_tensor.default": lambda call, value, **_: call.cast(value),
    }
)
