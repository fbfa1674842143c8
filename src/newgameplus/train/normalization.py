"""Batch normalization over the batch of all processes, on any device.

PyTorch's own ``SyncBatchNorm`` works on GPUs only. This one adds sums up with a gradient of their own, so the mean, the
variance and every gradient are those of one process with the whole batch, and the running statistics are the same
everywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from newgameplus.train.summing import summed

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


def _normalize(layer: _BatchNorm, inputs: Tensor, weight: float) -> Tensor:
    values = inputs.float()
    dimensions = [0, *range(2, values.ndim)]
    shape = [1, -1] + [1] * (values.ndim - 2)
    own = values.new_tensor([weight * values.numel() / values.shape[1]])
    sums = summed(torch.cat([weight * values.sum(dim=dimensions), own]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centred = values - mean.view(shape)
    variance = summed(weight * centred.square().sum(dim=dimensions)) / count
    _keep_statistics(layer, mean.detach(), variance.detach(), count)
    answer = centred * torch.rsqrt(variance + layer.eps).view(shape)
    if layer.affine:
        answer = answer * layer.weight.view(shape) + layer.bias.view(shape)
    return answer.to(inputs.dtype)


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
