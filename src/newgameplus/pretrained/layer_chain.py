"""A row of linear layers with activations that is computed in NumPy where that is faster: on a CPU, in float32.

For the small networks of policies the time goes into the library's calls and into a slow ``tanh``, not into arithmetic;
this does the same arithmetic, forward and backward, in a third of the time. Names of weights are those of a Sequential.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

__all__ = ["LayerChain"]

Kinds = tuple[int, ...]
_TANH, _RELU, _NONE = 0, 1, 2
Floats = npt.NDArray[np.float32]


class LayerChain(nn.Sequential):
    """Linear layers, each followed by a tanh or a ReLU."""

    def forward(self, values: Tensor, head: nn.Linear | None = None) -> Tensor:
        """Turn float32 [batch, width] into float32 [batch, width of the last layer].

        Args:
            values: What goes in.
            head: A last layer without activation, if there is one.
        """
        layers = list(self._modules.values())
        known = all(isinstance(module, nn.Tanh | nn.ReLU) for module in layers[1::2])
        if not (layers or head) or not known or not self._plain(values):
            found = self._in_torch(values)
            return found if head is None else torch.nn.functional.linear(found, head.weight, head.bias)
        kinds = tuple(_TANH if isinstance(module, nn.Tanh) else _RELU for module in layers[1::2])
        linear = layers[::2]
        if head is not None:
            kinds, linear = (*kinds, _NONE), [*linear, head]
        weights = [weight for layer in linear for weight in layer._parameters.values() if weight is not None]
        if torch.is_grad_enabled():
            learnt: Tensor = _Chain.apply(kinds, values, *weights)  # type: ignore[no-untyped-call]
            return learnt
        return torch.from_numpy(_forward(kinds, values, weights)[-1])

    def _in_torch(self, values: Tensor) -> Tensor:
        for module in self:
            values = module(values)
        return values

    def _plain(self, values: Tensor) -> bool:
        """Say whether this is ordinary work on a CPU, not a compilation, an export or a transformation of functions."""
        plain = values.device.type == "cpu" and values.dtype == torch.float32 and values.ndim == 2
        return plain and type(values) is Tensor and not torch.compiler.is_compiling() and not _transformed()


def _transformed() -> bool:
    return torch._C._functorch.peek_interpreter_stack() is not None or torch._C._get_tracing_state() is not None


def _forward(kinds: Kinds, values: Tensor, weights: Sequence[Tensor]) -> list[Floats]:
    """Return what goes into each layer, and what comes out of the last."""
    hidden: Floats = values.detach().numpy()
    kept = [hidden]
    for number, kind in enumerate(kinds):
        hidden = hidden @ weights[2 * number].detach().numpy().T
        hidden += weights[2 * number + 1].detach().numpy()
        if kind == _TANH:
            np.tanh(hidden, out=hidden)
        elif kind == _RELU:
            np.maximum(hidden, np.float32(0.0), out=hidden)
        kept.append(hidden)
    return kept


class _Chain(torch.autograd.Function):
    """The chain rule, written out."""

    @staticmethod
    def forward(context: Any, kinds: Kinds, values: Tensor, *weights: Tensor) -> Tensor:
        context.kinds, context.kept = kinds, _forward(kinds, values, weights)
        context.save_for_backward(*weights)
        return torch.from_numpy(context.kept[-1])

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weights, kept, wanted = context.saved_tensors, context.kept, context.needs_input_grad
        found: list[Tensor | None] = [None] * (2 + len(weights))
        above: Floats = gradients[0].numpy()
        for number in range(len(context.kinds) - 1, -1, -1):
            after, kind = kept[number + 1], context.kinds[number]
            if kind == _TANH:
                slope = after * after
                np.subtract(np.float32(1.0), slope, out=slope)
                above = np.multiply(above, slope, out=slope)
            elif kind == _RELU:
                above = above * (after > 0)
            place = 2 + 2 * number
            if wanted[place]:
                found[place] = torch.from_numpy(above.T @ kept[number])
            if wanted[place + 1]:
                found[place + 1] = torch.from_numpy(above).sum(dim=0)
            if not any(wanted[1:place]):
                break
            above = above @ weights[2 * number].numpy()
        else:
            found[1] = torch.from_numpy(above)
        return tuple(found)
