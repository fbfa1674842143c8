"""Optimizers, their schedule, and an average of the weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from newgameplus.recipe import TrainSettings
from newgameplus.recipe_schema import StepSettings
from newgameplus.train.sharded import like

__all__ = ["WeightAverage", "averaged", "make_optimizer", "rate_factor"]


def make_optimizer(groups: list[dict[str, Any]], settings: TrainSettings) -> torch.optim.Optimizer:
    """Make the recipe's optimizer; each group's ``lr`` is its peak rate and is kept in ``peak``."""
    for group in groups:
        group["peak"] = group["lr"]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=settings.momentum)
    return torch.optim.AdamW(groups)


def rate_factor(step: int, steps: int, settings: StepSettings) -> float:
    """Return the share of the peak rate at a step: linear warm-up, then cosine to zero or constant.

    Args:
        step: From 0.
        steps: Steps of the whole phase.
        settings: ``warmup`` and ``schedule``.
    """
    warmup = round(settings.warmup * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if settings.schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * done))


class WeightAverage:
    """Exponential moving average of a module's weights and buffers (Polyak averaging with a warm start).

    Args:
        module: The module that learns.
        decay: Largest share of the old average kept at each step; early steps keep less.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.values = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights after one step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                self.values[name].lerp_(value, 1.0 - decay)
            else:
                self.values[name].copy_(value)

    @contextlib.contextmanager
    def standing_in(self, module: nn.Module) -> Iterator[None]:
        """Let the module have the averaged weights while the block runs."""
        current = {name: value.detach().clone() for name, value in module.state_dict().items()}
        module.load_state_dict(self.values)
        yield
        module.load_state_dict(current)

    def load(self, values: dict[str, Tensor], updates: int) -> None:
        """Go on from a saved average."""
        self.updates = updates
        for name, value in values.items():
            self.values[name].copy_(like(value, self.values[name]))


def averaged(average: WeightAverage | None, module: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Let a module have its averaged weights while a block runs, if there is an average."""
    return contextlib.nullcontext() if average is None else average.standing_in(module)
