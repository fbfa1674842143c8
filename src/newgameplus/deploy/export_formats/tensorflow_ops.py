# ruff: noqa: ARG001, ARG005 (every translation takes the call and what torch gives, needed or not)
"""Torch's arithmetic, comparisons and reductions in TensorFlow; see ``tensorflow_graph``.

Each translation takes the call and the arguments of torch's operation. Torch mixes types of numbers where TensorFlow
does not, so arguments are brought to the type that torch says of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import tensorflow as tf

__all__ = ["OPERATIONS"]

Translation = Callable[..., Any]


def _one(function: Translation) -> Translation:
    """Translate a function of one tensor."""
    return lambda call, x, **_: function(call.cast(x))


def _two(function: Translation) -> Translation:
    """Translate a function of two tensors or numbers; torch's ``alpha`` multiplies the second."""

    def translate(call: Any, a: Any, b: Any, alpha: Any = 1) -> Any:
        b = call.cast(b)
        return function(call.cast(a), b if alpha == 1 else b * call.cast(alpha))

    return translate


def _compared(function: Translation) -> Translation:
    return lambda call, a, b: function(*call.together(a, b))


def _logical(function: Translation) -> Translation:
    return lambda call, *tensors: function(*(tf.cast(tensor, tf.bool) for tensor in tensors))


def _reduced(function: Translation) -> Translation:
    """Translate a reduction over some axes; none or an empty list means all."""

    def translate(call: Any, x: Any, dim: Any = None, keepdim: bool = False, **_: Any) -> Any:
        axes = dim if isinstance(dim, int) else (list(dim) if dim else None)
        return function(call.cast(x), axis=axes, keepdims=keepdim)

    return translate


def _any(call: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return tf.reduce_any(tf.cast(x, tf.bool), axis=dim, keepdims=keepdim)


def _variance(call: Any, x: Any, dim: Any = None, correction: Any = 1, keepdim: bool = False) -> Any:
    axes = list(dim) if dim else list(range(len(x.shape)))
    spread = tf.reduce_sum(tf.square(x - tf.reduce_mean(x, axes, keepdims=True)), axes, keepdims=keepdim)
    count = tf.reduce_prod(tf.gather(tf.shape(x), [axis % len(x.shape) for axis in axes]))
    return spread / (tf.cast(count, x.dtype) - tf.cast(1 if correction is None else correction, x.dtype))


def _arg(function: Translation) -> Translation:
    def translate(call: Any, x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        found = function(tf.reshape(x, [-1]) if dim is None else x, axis=0 if dim is None else dim)
        return tf.expand_dims(found, dim) if keepdim and dim is not None else found

    return translate


def _largest(reduce: Translation, arg: Translation) -> Translation:
    def translate(call: Any, x: Any, dim: int, keepdim: bool = False) -> Any:
        place = arg(x, axis=dim)
        return reduce(x, axis=dim, keepdims=keepdim), tf.expand_dims(place, dim) if keepdim else place

    return translate


def _clamp(call: Any, x: Any, low: Any = None, high: Any = None) -> Any:
    x = call.cast(x)
    x = x if low is None else tf.maximum(x, call.cast(low))
    return x if high is None else tf.minimum(x, call.cast(high))


def _divided(call: Any, a: Any, b: Any, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return call.cast(a) / call.cast(b)
    if rounding_mode == "floor":
        return tf.math.floordiv(call.cast(a), call.cast(b))
    if call.dtype.is_floating:
        whole = call.cast(a) / call.cast(b)
        return tf.where(whole < 0, tf.math.ceil(whole), tf.math.floor(whole))
    return tf.truncatediv(call.cast(a), call.cast(b))


def _gelu(call: Any, x: Any, approximate: str = "none") -> Any:
    return tf.nn.gelu(x, approximate=approximate == "tanh")


def _elu(call: Any, x: Any, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Any:
    return scale * tf.where(x > 0, x, alpha * (tf.math.expm1(tf.minimum(x, 0) * input_scale)))


def _leaky(call: Any, x: Any, slope: float = 0.01) -> Any:
    return tf.nn.leaky_relu(x, slope)


def _six(x: Any) -> Any:
    return tf.clip_by_value(x + 3.0, 0.0, 6.0) / 6.0


def _where(call: Any, condition: Any, a: Any, b: Any) -> Any:
    return tf.where(condition, call.cast(a), call.cast(b))


def _softplus(call: Any, x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    return tf.where(x * beta > threshold, x, tf.math.softplus(x * beta) / beta)


def _bits(logical: Translation, bitwise: Translation) -> Translation:
    """Translate an operation that is logical on truth values and bitwise on numbers."""
    return lambda call, *x: (logical if call.dtype is tf.bool else bitwise)(*(call.cast(one) for one in x))


_ONE: Mapping[str, Translation] = {
    "abs": tf.abs, "neg": tf.negative, "exp": tf.exp, "expm1": tf.math.expm1, "log": tf.math.log,
    "log1p": tf.math.log1p, "sqrt": tf.sqrt, "rsqrt": tf.math.rsqrt, "reciprocal": tf.math.reciprocal, "sin": tf.sin,
    "cos": tf.cos, "tanh": tf.tanh, "sigmoid": tf.sigmoid, "relu": tf.nn.relu, "erf": tf.math.erf,
    "floor": tf.math.floor, "ceil": tf.math.ceil, "round": tf.math.round, "sign": tf.sign, "silu": tf.nn.silu,
    "relu6": tf.nn.relu6, "mish": lambda x: x * tf.tanh(tf.math.softplus(x)), "hardsigmoid": _six,
    "hardswish": lambda x: x * _six(x), "clone": tf.identity, "alias": tf.identity, "detach": tf.identity,
    "lift_fresh_copy": tf.identity, "_to_copy": tf.identity,
}  # fmt: skip
_TWO: Mapping[str, Translation] = {
    "add": tf.add, "sub": tf.subtract, "mul": tf.multiply, "maximum": tf.maximum, "minimum": tf.minimum,
    "remainder": tf.math.floormod, "fmod": tf.truncatemod,
    "atan2": tf.atan2,
}  # fmt: skip
_COMPARED: Mapping[str, Translation] = {
    "eq": tf.equal, "ne": tf.not_equal, "lt": tf.less, "le": tf.less_equal, "gt": tf.greater, "ge": tf.greater_equal,
}  # fmt: skip


def _table() -> dict[str, Translation]:
    """Put the operations together under torch's full names."""
    table: dict[str, Translation] = {f"aten.{name}.default": _one(function) for name, function in _ONE.items()}
    for name, function in _TWO.items():
        for form in ("default", "Tensor", "Scalar"):
            table[f"aten.{name}.{form}"] = _two(function)
    for name, function in _COMPARED.items():
        table |= {f"aten.{name}.{form}": _compared(function) for form in ("Tensor", "Scalar")}
    for form in ("Tensor_Scalar", "Scalar", "Tensor_Tensor"):
        table[f"aten.pow.{form}"] = _two(tf.pow)
    for form in ("Tensor", "Scalar", "Tensor_mode", "Scalar_mode"):
        table[f"aten.div.{form}"] = _divided
    for form in ("default", "dim", "dims"):
        table[f"aten.any.{form}"] = _any
    return table


OPERATIONS: Mapping[str, Translation] = MappingProxyType(
    {
        **_table(),
        "aten.rsub.Scalar": _two(lambda a, b: b - a),
        "aten.logical_and.default": _logical(tf.logical_and),
        "aten.logical_or.default": _logical(tf.logical_or),
        "aten.logical_xor.default": _logical(tf.math.logical_xor),
        "aten.logical_not.default": _logical(tf.logical_not),
        "aten.bitwise_and.Tensor": _bits(tf.logical_and, tf.bitwise.bitwise_and),
        "aten.bitwise_or.Tensor": _bits(tf.logical_or, tf.bitwise.bitwise_or),
        "aten.bitwise_not.default": _bits(tf.logical_not, tf.bitwise.invert),
        "aten.isnan.default": lambda call, x: tf.math.is_nan(x),
        "aten.isinf.default": lambda call, x: tf.math.is_inf(x),
        "aten.sum.default": _reduced(tf.reduce_sum),
        "aten.sum.dim_IntList": _reduced(tf.reduce_sum),
        "aten.mean.default": _reduced(tf.reduce_mean),
        "aten.mean.dim": _reduced(tf.reduce_mean),
        "aten.amax.default": _reduced(tf.reduce_max),
        "aten.amin.default": _reduced(tf.reduce_min),
        "aten.prod.dim_int": _reduced(tf.reduce_prod),
        "aten.var.correction": _variance,
        "aten.argmax.default": _arg(tf.argmax),
        "aten.argmin.default": _arg(tf.argmin),
        "aten.max.dim": _largest(tf.reduce_max, tf.argmax),
        "aten.min.dim": _largest(tf.reduce_min, tf.argmin),
        "aten.cumsum.default": lambda call, x, dim, **_: tf.cumsum(call.cast(x), axis=dim),
        "aten.clamp.default": _clamp,
        "aten.clamp.Tensor": _clamp,
        "aten.clamp_min.default": _clamp,
        "aten.hardtanh.default": lambda call, x, low=-1.0, high=1.0: _clamp(call, x, low, high),
        "aten.gelu.default": _gelu,
        "aten.elu.default": _elu,
        "aten.leaky_relu.default": _leaky,
        "aten.softplus.default": _softplus,
        "aten._softmax.default": lambda call, x, dim, _half: tf.nn.softmax(x, axis=dim),
        "aten._log_softmax.default": lambda call, x, dim, _half: tf.nn.log_softmax(x, axis=dim),
        "aten.where.self": _where,
        "aten.mm.default": lambda call, a, b: tf.matmul(a, b),
        "aten.bmm.default": lambda call, a, b: tf.matmul(a, b),
        "aten.addmm.default": lambda call, c, a, b, beta=1, alpha=1: beta * c + alpha * tf.matmul(a, b),
    }
)
