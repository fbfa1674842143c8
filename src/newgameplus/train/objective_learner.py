"""How a backbone learns from objectives without labels: one step, and the plain loop over endless batches.

Several processes share a step: each learns from its part of the batch, and gradients are added up.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from newgameplus import progress
from newgameplus.errors import DivergedError
from newgameplus.shapes import SequenceShape
from newgameplus.train.normalization import normalizing_together
from newgameplus.train.processes import add_up
from newgameplus.train.selfsupervision import ClipBatch, Objective
from newgameplus.train.team import Team

__all__ = ["MovingAverage", "ObjectiveLearner", "pretrain", "pretraining_rate"]

_LARGEST_GRADIENT = 2.0


class MovingAverage:
    """The exponential moving average of a network's weights and statistics; young, it forgets its random start fast.

    Args:
        network: What is averaged.
        decay: How much of the old average stays in each step, once the average is old enough.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._live = [value for value in network.state_dict().values() if value.is_floating_point()]
        self._mean = [value.detach().clone() for value in self._live]

    def update(self, step: int) -> None:
        """Take in the weights after step number ``step``."""
        stays = min(self._decay, (1.0 + step) / (10.0 + step))
        torch._foreach_lerp_(self._mean, [value.detach() for value in self._live], 1.0 - stays)

    def load(self) -> None:
        """Put the average into the network."""
        for value, mean in zip(self._live, self._mean, strict=True):
            value.detach().copy_(mean)


class ObjectiveLearner:
    """A backbone and the heads of its objectives, and how they take one step: AdamW on the weighted sum.

    Args:
        backbone: Changed in place.
        objectives: Each with its weight; their heads are changed in place.
        learning_rate: The highest.
        weight_decay: Of AdamW, on matrices and kernels alone.
        accelerator: Accelerate's, for device and precision; None computes where the weights are.
        half_precision: Without an accelerator: compute in bfloat16 where that is safe.
        team: The processes that share each step; needs an accelerator. None: this process alone.
    """

    def __init__(
        self,
        backbone: nn.Module,
        objectives: Mapping[Objective, float],
        *,
        learning_rate: float,
        weight_decay: float,
        accelerator: Any = None,
        half_precision: bool = False,
        team: Team | None = None,
    ) -> None:
        self.whole = nn.ModuleDict({"backbone": backbone, "objectives": nn.ModuleList(objectives)})
        self._eater: nn.Module = backbone
        self.objectives = objectives
        self._accelerator, self._half_precision = accelerator, half_precision
        self._team = team if team is not None and team.count > 1 else None
        if accelerator is not None:
            self.whole.to(accelerator.device)
            self._eater = _Fed(backbone, accelerator.device)
        matrices = [p for p in self.whole.parameters() if p.ndim > 1]
        vectors = [p for p in self.whole.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay)
        self.optimizer: Any = optimizer if accelerator is None else accelerator.prepare_optimizer(optimizer)

    def step(self, batch: ClipBatch, rate: float, step: int) -> tuple[float, dict[str, float]]:
        """Learn from one batch.

        Args:
            batch: The clips; of several processes, this one's part.
            rate: Learning rate.
            step: Its number, for messages.

        Returns:
            The weighted sum of the losses, and each objective's own; in every process those of the whole batch.

        Raises:
            DivergedError: The loss is not finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self._together():
            with self._autocast():
                losses = {o.name: (weight, o.loss(self._eater, batch)) for o, weight in self.objectives.items()}
            loss = torch.stack([weight * value for weight, value in losses.values()]).sum()
            total, *values = self._totals([loss, *(value for _, value in losses.values())])
            if not math.isfinite(total):
                raise DivergedError(f"the loss is {total} at step {step}", remedy="lower learning_rate")
            self.optimizer.zero_grad(set_to_none=True)
            if self._accelerator is None:
                loss.backward()  # type: ignore[no-untyped-call]
            else:
                self._accelerator.backward(loss)
        self._descend()
        return total, dict(zip(losses, values, strict=True))

    def _descend(self) -> None:
        """Follow the gradient of the whole batch, if it is long a part of the way."""
        parameters = list(self.whole.parameters())
        if self._team is not None:
            self._team.add_gradients(parameters)
        if self._accelerator is None:
            nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT)
        else:
            self._accelerator.clip_grad_norm_(parameters, _LARGEST_GRADIENT)
        self.optimizer.step()

    def _totals(self, losses: list[Tensor]) -> list[float]:
        """Return losses of the whole batch, of which these are shares."""
        if self._team is None:
            return [loss.item() for loss in losses]
        shares = torch.stack([loss.detach().double() for loss in losses])
        add_up(shares)
        return [float(total) for total in shares.tolist()]

    def _together(self) -> contextlib.AbstractContextManager[None]:
        """Let batch normalization see the whole batch while the block runs."""
        if self._team is None or not isinstance(self._eater, _Fed):
            return contextlib.nullcontext()
        fed = self._eater
        return normalizing_together(self.whole, lambda: not fed.idle)

    def _autocast(self) -> Any:
        if self._accelerator is not None:
            return self._accelerator.autocast()
        return torch.autocast("cpu", torch.bfloat16, enabled=self._half_precision)


class _Fed(nn.Module):
    """Gives a backbone of any source what all of them take: whole numbers for pixels, where the backbone is.

    A process that has no clip of a batch runs a blank one along, with no weight: normalization waits for all processes.

    Attributes:
        idle: Whether the last batch was without a clip.
    """

    def __init__(self, backbone: nn.Module, device: torch.device) -> None:
        super().__init__()
        self._backbone, self._device = backbone, device
        self._pixels = not isinstance(getattr(backbone, "shape", None), SequenceShape)
        self.idle = False

    def forward(self, clips: Tensor) -> Any:
        self.idle = not len(clips)
        if self.idle:
            clips = clips.new_zeros((1, *clips.shape[1:]))
        taken = clips.round().to(torch.uint8) if self._pixels else clips
        features = self._backbone(taken.to(self._device))
        return features[:0] if self.idle else features


def pretraining_rate(done: float, warm_up: float) -> float:
    """Return the share of the highest rate after a share of the steps: a linear warm-up, and a cosine to zero."""
    return min(1.0, done / warm_up + 1e-2) * 0.5 * (1.0 + math.cos(math.pi * done))


def pretrain(
    backbone: nn.Module,
    objectives: Mapping[Objective, float],
    batches: Iterator[ClipBatch],
    *,
    steps: int,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.05,
    warm_up: float = 0.05,
    average: float = 0.998,
    half_precision: bool = True,
    seconds: float | None = None,
    each: Callable[[dict[str, Any]], None] | None = None,
    every: int = 100,
) -> int:
    """Train a backbone on a weighted sum of objectives; it ends up with the moving average of its weights.

    AdamW with a linear warm-up and a cosine to zero; the moving average covers heads and normalization statistics too.

    Args:
        backbone: Changed in place.
        objectives: Each with its weight; their heads are changed in place.
        batches: Endless.
        steps: Number of batches to learn from.
        learning_rate: The highest.
        weight_decay: Of AdamW, on matrices and kernels alone.
        warm_up: Part of the steps in which the rate rises.
        average: Decay of the moving average, for each step.
        half_precision: Compute in bfloat16 where that is safe.
        seconds: If given, the schedule follows the clock as well: training ends after that time, its rate then at zero.
        each: Called with a row (step, learning_rate, seconds and each objective's mean loss) every ``every`` steps.
        every: Steps between two rows.

    Returns:
        Number of steps taken.

    Raises:
        DivergedError: The loss is not finite.
    """
    learner = ObjectiveLearner(
        backbone,
        objectives,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        half_precision=half_precision,
    )
    whole = learner.whole
    mean = MovingAverage(whole, average)
    started = time.monotonic()
    sums: dict[str, float] = dict.fromkeys([o.name for o in objectives], 0.0)
    whole.train()
    step = 0
    with progress.task("pretraining", total=steps, unit="steps") as task:
        while step < steps:
            spent = time.monotonic() - started
            done = max(step / steps, min(spent / seconds, 1.0) if seconds else 0.0)
            if done >= 1.0:
                break
            rate = learning_rate * pretraining_rate(done, warm_up)
            loss, losses = learner.step(next(batches), rate, step)
            step += 1
            mean.update(step)
            for name, value in losses.items():
                sums[name] += value / every
            if step % every == 0:
                row = {"step": step, "learning_rate": rate, "seconds": time.monotonic() - started, "losses": dict(sums)}
                sums = dict.fromkeys(sums, 0.0)
                if each:
                    each(row)
            task.advance(1, f"loss {loss:.3f}")
    mean.load()
    whole.eval()
    return step
