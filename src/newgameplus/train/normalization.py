"""Batch normalization over the batch of all processes, on any device.

PyTorch's own ``SyncBatchNorm`` works on GPUs only. This one adds sums up with a gradient of their own, so the mean, the
variance and every gradient are those of one process with the whole batch, and the running statistics are the same
everywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from newgameplus.train.processes import add_up

__all__ = ["normalizing_together"]


@contextlib.contextmanager
def normalizing_together(module: nn.Module, takes_part: Callable[[], bool]) -> Iterator[None]:
    """Let every batch normalization in ``module`` that is in training mode see the batch of all processes.

    Args:
        module: What is trained.
        takes_part: Whether this process's part of the current batch counts.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        layer.forward = _make_forward(layer, takes_part)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _make_forward(layer: _BatchNorm, takes_part: Callable[[], bool]) -> Callable[[Tensor], Tensor]:
    alone = type(layer).forward

    def forward(inputs: Tensor) -> Tensor:
        if not layer.training:
            answer: Tensor = alone(layer, inputs)
            return answer
        return _normalize(layer, inputs, 1.0 if takes_part() else 0.0)

    return forward


def _normalize(layer: _BatchNorm, inputs: Tensor, share: float) -> Tensor:
    values = inputs.float()
    weight = layer.weight.float() if layer.affine else values.new_ones(values.shape[1])
    bias = layer.bias.float() if layer.affine else values.new_zeros(values.shape[1])
    answer, mean, variance, count = _Normalize.apply(values, weight, bias, layer.eps, share)  # type: ignore[no-untyped-call]
    _keep_statistics(layer, mean, variance, count)
    normalized: Tensor = answer.to(inputs.dtype)
    return normalized


class _Normalize(torch.autograd.Function):
    """Normalization by mean and variance of all processes' values; its gradient goes through both.

    Written out with PyTorch's fused kernels, one sum over the processes each way: one operation after the other took
    more time than a second process saved.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float, share: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what is normalized, and mean, variance (of the whole batch, biased) and count for the statistics."""
        mean, variance, count = _moments(values, share)
        ctx.save_for_backward(values, weight, mean, variance, count)
        ctx.eps, ctx.share = eps, share
        answer = functional.batch_norm(values, mean, variance, weight, bias, False, 0.0, eps)
        ctx.mark_non_differentiable(mean, variance, count)
        return answer, mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Return the gradients of values, weight and bias; those of weight and bias are this process's part."""
        values, weight, mean, variance, count = ctx.saved_tensors
        deviation = torch.rsqrt(variance + ctx.eps)
        if gradient.stride() != values.stride():  # the kernel is slow where the two lie in memory in different orders
            gradient = torch.empty_like(values).copy_(gradient)
        through, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, values, weight, mean, variance, mean, deviation, False, ctx.eps, [True, True, True]
        )
        totals = torch.stack([of_weight, of_bias])
        add_up(totals)
        if ctx.share:  # mean and variance depend on these values, so their gradient comes back to them
            shape = _channels_of(values)
            slope = weight * deviation.square() * totals[0] / count
            offset = weight * deviation * totals[1] / count - slope * mean
            through.addcmul_(values, slope.view(shape), value=-1.0).sub_(offset.view(shape))
        return through, of_weight, of_bias, None, None


def _channels_of(values: Tensor) -> list[int]:
    return [1, -1] + [1] * (values.ndim - 2)


def _moments(values: Tensor, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and variance [channels] of all processes' values, and how many values of a channel there are."""
    dimensions = [0, *range(2, values.ndim)]
    count = values.numel() // values.shape[1]
    mean = values.sum(dim=dimensions) / count
    spread = (values - mean.view(_channels_of(values))).square_().sum(dim=dimensions).double()
    mean = mean.double()
    # Sums of squares about zero lose nothing in double precision, and all parts can be added up at once.
    sums = share * torch.cat([count * mean, spread + count * mean.square(), mean.new_tensor([float(count)])])
    add_up(sums)
    total = sums[-1]
    first, second = (sums[:-1] / total).chunk(2)
    variance = (second - first.square()).clamp_min_(0.0)
    return first.to(values.dtype), variance.to(values.dtype), total.to(values.dtype)


@torch.no_grad()
def _keep_statistics(layer: _BatchNorm, mean: Tensor, variance: Tensor, count: Tensor) -> None:
    if not layer.track_running_stats or layer.running_mean is None or layer.running_var is None:
        return
    if layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
    momentum = layer.momentum
    if momentum is None:
        momentum = 1.0 / float(layer.num_batches_tracked) if layer.num_batches_tracked is not None else 0.0
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), momentum)
    unbiased = variance * count / (count - 1).clamp_min(1)
    layer.running_var.lerp_(unbiased.to(layer.running_var.dtype), momentum)
