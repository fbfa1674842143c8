"""A Keras model as a plain torch network: its graph is kept, its layers become torch modules that own the weights.

Keras on its torch backend keeps all variables as parameters, moving statistics too, and decides by a flag of its own
whether a layer trains: ``.eval()`` would not stop its BatchNormalization, and an optimizer could move its statistics.
Here dense, convolution, normalization and dropout layers become torch's own modules with the same numbers, so that
freezing, low-rank updates and export treat them like any other network's. Every other layer is called as Keras wrote
it, statelessly, with weights and states held by the module around it: in evaluation mode its states stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from newgameplus.pretrained.keras_library import import_keras

__all__ = ["KerasNetwork"]


class KerasNetwork(nn.Module):
    """The graph of a Keras model, run step by step.

    ``blocks`` holds the layers, from input to output, cut where everything flows through a single tensor: a residual
    block with what belongs to it, or a convolution with its normalization.

    Args:
        model: A functional or sequential model with one input and one output; its weights are taken over.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        model.trainable = True  # what a file froze is frozen here by the strategy, or not
        steps = list(_steps(model, "", None))
        places: dict[int, str] = {}
        parts = [nn.ModuleDict()]
        for segment in _segments(steps, id(model.inputs[0]), id(model.outputs[0])):
            calls = {id(step.operation): step for step in segment if step.operation is not None}
            made = {step.name: _as_module(step.operation) for key, step in calls.items() if key not in places}
            # An activation, a normalization or a pooling belongs to the layer before it.
            if _has_matrices(made.values()) and next(parts[-1].parameters(), None) is not None:
                parts.append(nn.ModuleDict())
            parts[-1].update(made)
            places |= {key: f"blocks.{len(parts) - 1}.{step.name}" for key, step in calls.items() if step.name in made}
        self.blocks = nn.ModuleList(parts)
        self._graph = _Shared(
            [(places.get(id(step.operation), ""), step) for step in steps], id(model.inputs[0]), id(model.outputs[0])
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Turn float32 [batch, height, width, channels] (or as the model has it) into what the model gives."""
        keras = import_keras()
        graph = self._graph
        known: dict[int, Any] = {graph.entry: pixels}
        with keras.device(str(pixels.device)):
            for place, step in graph.steps:
                if step.operation is None:
                    known.update({new: known[old] for new, old in step.aliases})
                    continue
                arguments, options = step.arguments.fill_in(known)
                given = {key: value for key, value in options.items() if key != "mask" or value is not None}
                outputs = self.get_submodule(place)(*arguments, **given | step.options)
                found = outputs if isinstance(outputs, list | tuple) else [outputs]
                known.update(zip(step.gives, found, strict=True))
        result: Tensor = known[graph.exit]
        return result


@dataclass(frozen=True)
class _Step:
    """One call of one operation, or, without one, other names for known tensors."""

    name: str
    operation: Any
    arguments: Any
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    options: dict[str, Any]
    aliases: tuple[tuple[int, int], ...] = ()


class _Shared:
    """The graph, which holds no weights and is therefore shared by copies of a network."""

    def __init__(self, steps: list[tuple[str, _Step]], entry: int, exit_: int) -> None:
        self.steps, self.entry, self.exit = steps, entry, exit_

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


class _KerasLayer(nn.Module):
    """A Keras layer, called statelessly: what it learns are parameters here, its states are buffers."""

    def __init__(self, operation: Any) -> None:
        super().__init__()
        self._held = _Held(operation)
        for name, variable in self._variables():
            value = variable.value.detach()
            if variable.trainable:
                self.register_parameter(name, nn.Parameter(value.clone()))
            else:
                self.register_buffer(name, value.clone())

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """Call the layer as the model's graph does."""
        operation, keras = self._held.operation, import_keras()
        if getattr(operation, "_call_has_training_arg", False) and options.get("training") is None:
            options["training"] = self.training
        variables = list(self._variables())
        if not variables:
            return operation(*arguments, **options)
        values = [(variable, getattr(self, name)) for name, variable in variables]
        with keras.StatelessScope(values, initialize_variables=False) as scope:
            outputs = operation(*arguments, **options)
            states = [(name, scope.get_current_value(one)) for name, one in variables if not one.trainable]
        if self.training:
            with torch.no_grad():
                for name, value in states:
                    getattr(self, name).copy_(value)
        return outputs

    def _variables(self) -> Iterator[tuple[str, Any]]:
        for index, variable in enumerate(getattr(self._held.operation, "variables", ())):
            yield f"{variable.name}_{index}".replace(".", "_"), variable


class _Held:
    """Keeps a Keras layer out of the module tree: it is a torch module too, with parameters of its own."""

    def __init__(self, operation: Any) -> None:
        self.operation = operation

    def __deepcopy__(self, memo: dict[int, Any]) -> _Held:
        return self


class _Dense(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        kernel = layer.kernel.value.detach()
        self.linear = _skeleton(nn.Linear, kernel.shape[0], kernel.shape[1], bias=layer.use_bias)
        self.linear.weight = nn.Parameter(kernel.t().contiguous())
        if layer.use_bias:
            self.linear.bias = nn.Parameter(layer.bias.value.detach().clone())
        self.activation = layer.activation

    def forward(self, inputs: Tensor) -> Any:
        return self.activation(self.linear(inputs))


class _Convolution(nn.Module):
    """A two-dimensional convolution, plain or depthwise, with the padding that TensorFlow has."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        kernel = layer.kernel.value.detach()
        rows, columns, inputs, outputs = kernel.shape
        if _is(layer, "DepthwiseConv2D"):
            weight = kernel.permute(2, 3, 0, 1).reshape(inputs * outputs, 1, rows, columns)
            inputs, outputs, groups = inputs, inputs * outputs, inputs
        else:
            weight, groups = kernel.permute(3, 2, 0, 1), layer.groups
            inputs = inputs * groups
        self.convolution = _skeleton(
            nn.Conv2d,
            inputs,
            outputs,
            (rows, columns),
            stride=tuple(layer.strides),
            dilation=tuple(layer.dilation_rate),
            groups=groups,
            bias=layer.use_bias,
        )
        self.convolution.weight = nn.Parameter(weight.contiguous())
        if layer.use_bias:
            self.convolution.bias = nn.Parameter(layer.bias.value.detach().clone())
        # Kept here too, because an adapter around the convolution does not show them.
        self.geometry = ((rows, columns), tuple(layer.strides), tuple(layer.dilation_rate))
        self.same = layer.padding == "same"
        self.activation = layer.activation

    def forward(self, inputs: Tensor) -> Any:
        planes = inputs.movedim(-1, 1)
        if self.same:
            planes = functional.pad(planes, self._padding(planes.shape[-2:]))
        return self.activation(self.convolution(planes).movedim(1, -1))

    def _padding(self, size: torch.Size) -> list[int]:
        """Return what TensorFlow adds left, right, above and below: the odd one comes last."""
        padding: list[int] = []
        sides = zip(size, *self.geometry, strict=True)
        for length, kernel, stride, dilation in reversed(list(sides)):
            total = max(0, (-(-length // stride) - 1) * stride + (kernel - 1) * dilation + 1 - length)
            padding += [total // 2, total - total // 2]
        return padding


class _Normalization(nn.Module):
    """Batch normalization over the last axis; Keras counts momentum the other way round."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        gamma = layer.gamma.value.detach()
        self.norm = nn.BatchNorm2d(len(gamma), eps=layer.epsilon, momentum=1.0 - layer.momentum)
        self.norm.weight = nn.Parameter(gamma.clone())
        self.norm.bias = nn.Parameter(layer.beta.value.detach().clone())
        self.norm.running_mean = layer.moving_mean.value.detach().clone()
        self.norm.running_var = layer.moving_variance.value.detach().clone()

    def forward(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        planes = inputs.movedim(-1, 1)
        if training is False and self.norm.training:  # the model's author asked for the statistics never to move
            norm = self.norm
            planes = functional.batch_norm(
                planes, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps
            )
        else:
            planes = self.norm(planes)
        return planes.movedim(1, -1)


class _Dropout(nn.Dropout):
    """Dropout by torch's global random state, as in every other network here."""

    def forward(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return inputs if training is False else super().forward(inputs)


def _has_matrices(modules: Iterable[nn.Module]) -> bool:
    return any(parameter.ndim >= 2 for module in modules for parameter in module.parameters())


def _as_module(operation: Any) -> nn.Module:
    """Return the torch module that computes what a Keras operation does."""
    builders: tuple[tuple[bool, Callable[[Any], nn.Module]], ...] = (
        (_is(operation, "Dense") and operation.quantization_mode is None, _Dense),
        (_is(operation, "Conv2D", "DepthwiseConv2D") and _last_axis(operation), _Convolution),
        (_is(operation, "BatchNormalization") and _usual_normalization(operation), _Normalization),
        (_is(operation, "Dropout") and operation.noise_shape is None, lambda layer: _Dropout(layer.rate)),
    )
    build = next((builder for fits, builder in builders if fits), _KerasLayer)
    return build(operation)


def _is(operation: Any, *names: str) -> bool:
    layers = import_keras().layers
    return type(operation) in [getattr(layers, name) for name in names]


def _last_axis(layer: Any) -> bool:
    return bool(layer.data_format == "channels_last" and layer.padding in ("same", "valid"))


def _usual_normalization(layer: Any) -> bool:
    pictures = layer.axis in (-1, 3) and len(layer.moving_mean.shape) == 1 and layer.input_spec.ndim == 4
    return bool(pictures and layer.scale and layer.center and not getattr(layer, "renorm", False))


def _skeleton(kind: type[nn.Module], *sizes: Any, **options: Any) -> Any:
    """Make a module whose weights are about to be replaced, without drawing random numbers for them."""
    return kind(*sizes, device="meta", **options)


def _steps(model: Any, prefix: str, training: bool | None) -> Iterator[_Step]:
    """Yield the calls of a model in the order of the data; models within it are unfolded."""
    names: dict[int, str] = {}
    # Depth counts from the output: what is deeper comes first.
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.operation is None or node.is_input:
                continue
            operation = node.operation
            name = names.setdefault(id(operation), _name(f"{prefix}{operation.name}"))
            takes, gives = (tuple(id(one) for one in ones) for ones in (node.input_tensors, node.outputs))
            forced = node.arguments.kwargs.get("training", training)
            inner = _inner(operation)
            if inner is not None:
                yield _Step("", None, None, takes, (id(inner.inputs[0]),), {}, ((id(inner.inputs[0]), takes[0]),))
                yield from _steps(inner, f"{name}_", forced)
                end = id(inner.outputs[0])
                yield _Step("", None, None, (end,), gives, {}, ((gives[0], end),))
            else:
                options = {"training": False} if forced is False and _trains(operation) else {}
                yield _Step(name, operation, node.arguments, takes, gives, options)


def _inner(operation: Any) -> Any:
    """Return the graph inside an operation that is itself a model, or None."""
    keras = import_keras()
    if isinstance(operation, keras.Sequential):
        return keras.Model(operation.inputs, operation.outputs)
    plain = isinstance(operation, keras.Model) and hasattr(operation, "_nodes_by_depth")
    return operation if plain and len(operation.inputs) == len(operation.outputs) == 1 else None


def _trains(operation: Any) -> bool:
    return bool(getattr(operation, "_call_has_training_arg", False))


def _name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _segments(steps: list[_Step], entry: int, exit_: int) -> Iterator[list[_Step]]:
    """Cut the steps where a single tensor is all that the rest needs."""
    last_use = {tensor: index for index, step in enumerate(steps) for tensor in step.takes}
    last_use[exit_] = len(steps)
    alive = {entry}
    segment: list[_Step] = []
    for index, step in enumerate(steps):
        segment.append(step)
        alive = {tensor for tensor in (*alive, *step.gives) if last_use.get(tensor, -1) > index}
        if len(alive) == 1:
            yield segment
            segment = []
    if segment:
        yield segment
