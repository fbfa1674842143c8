"""A learning-rate range test: raise the rate step by step on a copy and see where the loss falls fastest."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from newgameplus import progress

__all__ = ["find_learning_rate"]

_LOWEST, _HIGHEST, _STEPS = 1e-6, 1.0, 60


def find_learning_rate(
    module: nn.Module,
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    batches: Iterator[tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    largest: float,
) -> float:
    """Return a peak learning rate for a module (Smith 2017, "Cyclical learning rates").

    The rate grows from 1e-6 to 1 in 60 steps on a copy of the module; the answer is a third of the rate at which the
    smoothed loss was lowest before it blew up, a common safe choice below the edge.

    Args:
        module: What would be trained; it is not changed.
        make_optimizer: Makes the optimizer for the copy; rates of its groups are taken relative to their largest.
        batches: Endless batches (inputs, targets).
        loss: (outputs, targets) to a scalar.
        largest: The answer is never above this.
    """
    trial = copy.deepcopy(module)
    optimizer = make_optimizer(trial)
    top = max(group["peak"] for group in optimizer.param_groups)
    rates = np.geomspace(_LOWEST, _HIGHEST, _STEPS)
    smoothed: list[float] = []
    average = 0.0
    with progress.task("learning-rate range test", total=_STEPS, unit="steps") as task:
        for step, rate in enumerate(rates):
            for group in optimizer.param_groups:
                group["lr"] = float(rate) * group["peak"] / top
            inputs, targets = next(batches)
            optimizer.zero_grad(set_to_none=True)
            value = loss(trial(inputs), targets)
            if not bool(torch.isfinite(value)):
                break
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            average = 0.8 * average + 0.2 * float(value.detach())
            smoothed.append(average / (1.0 - 0.8 ** (step + 1)))
            task.advance(1, f"rate {rate:.1e} loss {smoothed[-1]:.3f}")
            if smoothed[-1] > 4.0 * min(smoothed):
                break
    lowest = int(np.argmin(smoothed)) if smoothed else 0
    return float(min(rates[lowest] / 3.0, largest))
