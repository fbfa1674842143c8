"""A torch graph said again in TensorFlow's own operations, so that the SavedModel needs nothing but TensorFlow.

No package does this for us: onnx2tf pins versions of numpy, onnx and protobuf that cannot be installed beside torch,
litert-torch writes TFLite only, and torchax hands TensorFlow one opaque XLA call. The graph that ``torch.export``
gives is made of some eighty operations, each of which is a line or a few in ``tensorflow_ops`` and
``tensorflow_layers``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import torch
from torch.fx import Node

from newgameplus.deploy.export_formats.tensorflow_layers import LAYERS
from newgameplus.deploy.export_formats.tensorflow_ops import OPERATIONS
from newgameplus.deploy.export_formats.tensorflow_shapes import SHAPES

__all__ = ["Call", "TensorflowGraph", "unknown_operations"]

_DTYPES = {
    torch.float32: tf.float32, torch.float64: tf.float64, torch.float16: tf.float16, torch.bfloat16: tf.bfloat16,
    torch.int64: tf.int64, torch.int32: tf.int32, torch.int16: tf.int16, torch.int8: tf.int8, torch.uint8: tf.uint8,
    torch.bool: tf.bool,
}  # fmt: skip
#: Arithmetic on the lengths of axes, and on the tuples that some operations give.
_PYTHON: Mapping[Any, Callable[..., Any]] = {
    operator.getitem: operator.getitem, operator.add: operator.add, operator.sub: operator.sub,
    operator.mul: operator.mul, operator.floordiv: operator.floordiv, operator.mod: operator.mod,
    operator.neg: operator.neg, operator.eq: operator.eq, operator.ge: operator.ge, operator.le: operator.le,
    operator.gt: operator.gt, operator.lt: operator.lt,
}  # fmt: skip
#: What only checks, and gives nothing.
_CHECKS = ("aten._assert_tensor_metadata.default", "aten._assert_scalar.default", "aten._assert_async.msg",
           "aten.sym_constrain_range.default", "aten.sym_constrain_range_for_size.default")  # fmt: skip
_ALL: Mapping[str, Callable[..., Any]] = {**OPERATIONS, **SHAPES, **LAYERS}


@dataclass(frozen=True, eq=False)
class Call:
    """One operation of the graph, as its translation sees it.

    Attributes:
        node: The operation in torch's graph.
        channels_last: Names of the weights of convolutions that are kept in TensorFlow's order.
    """

    node: Node
    channels_last: frozenset[str]

    @property
    def value(self) -> Any:
        """What torch says of the answer: shape, strides and type."""
        return self.node.meta["val"]

    @property
    def dtype(self) -> Any:
        """Type of the answer, as TensorFlow calls it."""
        return _DTYPES[self.value.dtype]

    def cast(self, value: Any) -> Any:
        """Return a number or a tensor in the type of the answer."""
        return as_type(value, self.dtype)

    def together(self, *values: Any) -> list[Any]:
        """Return the arguments in the type that torch compares them in."""
        metas: list[Any] = [arg.meta["val"] if isinstance(arg, Node) else arg for arg in self.node.args[: len(values)]]
        kind = _DTYPES[torch.result_type(metas[0], metas[1])]
        return [as_type(value, kind) for value in values]

    def kept_channels_last(self, place: int) -> bool:
        """Whether an argument is a weight in TensorFlow's order."""
        argument = self.node.args[place]
        return isinstance(argument, Node) and argument.name in self.channels_last


def as_type(value: Any, kind: Any) -> Any:
    """Return a number or a tensor in a type."""
    return tf.cast(value, kind) if tf.is_tensor(value) or isinstance(value, tf.Variable) else tf.constant(value, kind)


def unknown_operations(program: torch.export.ExportedProgram) -> list[str]:
    """Return the operations of a graph that cannot be translated."""
    found = {str(node.target) for node in program.graph.nodes if node.op == "call_function" and not _known(node)}
    return sorted(found)


def _known(node: Node) -> bool:
    return node.target in _PYTHON or str(node.target) in _CHECKS or str(node.target) in _ALL


class TensorflowGraph(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """A torch graph as a TensorFlow module.

    Args:
        program: The graph, decomposed into core operations.
    """

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self._nodes = list(program.graph.nodes)
        signature = program.graph_signature
        held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        tensors: dict[str, Any] = {name: _held(program, target) for name, target in held.items()}
        constants = signature.inputs_to_lifted_tensor_constants
        tensors |= {name: program.constants[target] for name, target in constants.items()}
        kernels = frozenset(node.name for node in self._nodes if node.name in tensors and _only_kernel(node))
        self._channels_last = kernels
        self.weights = [
            tf.Variable(_plain(tensor, last=name in kernels), trainable=False, name=name)
            for name, tensor in tensors.items()
        ]
        self._places = {name: number for number, name in enumerate(tensors)}

    def __call__(self, *inputs: Any) -> list[Any]:
        """Return the outputs for inputs, both in torch's order."""
        waiting = list(inputs)
        values: dict[str, Any] = {}
        for node in self._nodes:
            if node.op == "placeholder":
                place = self._places.get(node.name)
                values[node.name] = waiting.pop(0) if place is None else self.weights[place]
            elif node.op == "output":
                return [tf.identity(_filled(one, values)) for one in node.args[0]]
            elif str(node.target) not in _CHECKS:
                values[node.name] = self._translate(node, values)
        raise ValueError("a graph without an output")

    def _translate(self, node: Node, values: dict[str, Any]) -> Any:
        arguments, named = _filled(list(node.args), values), _filled(dict(node.kwargs), values)
        if node.target in _PYTHON:
            return _PYTHON[node.target](*arguments)
        return _ALL[str(node.target)](Call(node, self._channels_last), *arguments, **named)


def _held(program: torch.export.ExportedProgram, target: str) -> torch.Tensor:
    found: torch.Tensor = program.state_dict[target] if target in program.state_dict else program.constants[target]
    return found


def _only_kernel(node: Node) -> bool:
    """Whether a weight is nothing but the kernel of convolutions."""
    return bool(node.users) and all(
        str(user.target) == "aten.convolution.default" and user.args[1] is node and user.args[0] is not node
        for user in node.users
    )


def _plain(tensor: torch.Tensor, *, last: bool) -> Any:
    """Return a weight as numpy; kernels go from [out, in, ...] to [..., in, out]."""
    values = tensor.detach().cpu()
    values = values.permute(*range(2, values.ndim), 1, 0) if last else values
    return np.ascontiguousarray(values.float().numpy() if values.dtype is torch.bfloat16 else values.numpy())


def _filled(argument: Any, values: Mapping[str, Any]) -> Any:
    """Put values in the place of nodes."""
    if isinstance(argument, Node):
        return values[argument.name]
    if isinstance(argument, list | tuple):
        return [_filled(one, values) for one in argument]
    if isinstance(argument, dict):
        return {key: _filled(one, values) for key, one in argument.items()}
    return argument
