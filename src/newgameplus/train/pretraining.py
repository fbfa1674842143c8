"""The loop that continues the pretraining of a backbone on clips without labels: exact to resume.

Several processes share it (see :mod:`newgameplus.train.team`): each learns from its part of every batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from newgameplus import progress
from newgameplus.errors import DivergedError
from newgameplus.pretrained.backbone import Backbone
from newgameplus.recipe_schema import StepSettings
from newgameplus.train.device import make_accelerator, threads_for, using_threads
from newgameplus.train.examples import Clips
from newgameplus.train.loop import TrainingResult
from newgameplus.train.objective_learner import ObjectiveLearner, pretraining_rate
from newgameplus.train.optimizers import WeightAverage
from newgameplus.train.processes import from_main, is_main, process_count
from newgameplus.train.selfsupervision import ClipBatch, Objective
from newgameplus.train.sharing import shared
from newgameplus.train.state import TrainingState
from newgameplus.train.team import Team, part_of

__all__ = ["ClipBatches", "Pretraining", "continue_pretraining", "epoch_batch", "steps_in"]

Rows = list[dict[str, Any]]
ARM = "pretraining"
_TIMED = 3


@dataclass(frozen=True)
class Pretraining:
    """What a backbone's pretraining goes on with, and how.

    Attributes:
        objectives: Each with its weight; their random choices come from ``generator``.
        generator: Seeded anew at each step, so that a step is a function of the seed and its number alone.
        batches: Gives the batch of a step; of several processes, this one's part of it. They can share it only if it
            can be handed over: :class:`ClipBatches` can, a function within a function cannot.
        steps: Steps in all.
        learning_rate: The highest.
        settings: Device, precision and threads.
        seed: Seed of all choices.
        checkpoint: File to save to and to go on from.
        weight_decay: Of AdamW, on matrices and kernels alone.
        warm_up: Share of the steps in which the rate rises.
        average: Decay of the moving average of the weights, which is what is kept.
        every: Steps between two rows.
    """

    objectives: Mapping[Objective, float]
    generator: torch.Generator
    batches: Callable[[int], ClipBatch]
    steps: int
    learning_rate: float
    settings: StepSettings
    seed: int
    checkpoint: Path
    weight_decay: float = 0.05
    warm_up: float = 0.05
    average: float = 0.998
    every: int = 25


@dataclass(frozen=True, eq=False)
class ClipBatches:
    """Gives the batch of a step out of clips that stand ready; of several processes, this one's part of it.

    Attributes:
        clips: The clips.
        actions: int64 [clips]; what was held, -1 where nobody knows.
        size: Clips of a batch, of all processes together.
        seed: Seed of the order.
    """

    clips: Clips
    actions: npt.NDArray[np.int64]
    size: int
    seed: int

    def __call__(self, step: int) -> ClipBatch:
        """Return the batch of a step, numbered from 0."""
        rows = epoch_batch(len(self.actions), self.size, self.seed, step)
        part = part_of(len(rows))
        clips = torch.from_numpy(self.clips.gather(rows[part]))
        return ClipBatch(clips, torch.from_numpy(self.actions[rows]), part)


def epoch_batch(clips: int, size: int, seed: int, step: int) -> npt.NDArray[np.int64]:
    """Return which clips a step learns from: every clip once a round, the last few that fill no batch left for later.

    Args:
        clips: How many there are.
        size: Clips of a batch; all clips if there are no more.
        seed: Seed of the order.
        step: Number of the step, from 0.

    Returns:
        int64 [min(size, clips)].
    """
    batches = max(1, clips // size)
    order = np.random.default_rng([seed, step // batches]).permutation(clips)
    begin = step % batches * size
    return order[begin : begin + size]


def continue_pretraining(
    backbone: Backbone, pretraining: Pretraining, on_row: Callable[[Rows], None] | None = None
) -> TrainingResult:
    """Train a backbone on its objectives, or go on from the checkpoint, exactly; several processes do it together.

    Args:
        backbone: Changed in place; it ends up with the moving average of its weights, in evaluation mode.
        pretraining: Everything else.
        on_row: Called with all rows so far after each, and once after a resume.

    Raises:
        DivergedError: The loss is not finite.
        RunError: The checkpoint is damaged or belongs to another network.
        StorageError: The checkpoint cannot be written.
        TrainingError: The processes cannot share it.
    """
    return _continue(backbone, pretraining, pretraining.checkpoint, on_row)


@shared(alone=("on_row",), files=("checkpoint",))
def _continue(
    backbone: Backbone, pretraining: Pretraining, checkpoint: Path, on_row: Callable[[Rows], None] | None
) -> TrainingResult:
    pretraining = replace(pretraining, checkpoint=checkpoint)
    with using_threads(threads_for(backbone, pretraining.settings)):
        return _Loop(backbone, pretraining, on_row).run()


@shared()
def steps_in(backbone: Backbone, pretraining: Pretraining, minutes: float) -> int:
    """Return how many steps fit into a time, as the first few tell, at most those that were asked for.

    The weights are put back as they were. Several processes take these steps together, and the main one's clock counts.
    """
    before = {name: value.detach().clone() for name, value in backbone.state_dict().items()}
    heads = [{name: value.clone() for name, value in o.state_dict().items()} for o in pretraining.objectives]
    with using_threads(threads_for(backbone, pretraining.settings)):
        loop = _Loop(backbone, pretraining, None)
        loop.learner.whole.train()
        loop.step(0)  # the first one sets things up
        began = time.monotonic()
        for step in range(1, 1 + _TIMED):
            loop.step(step)
        seconds = from_main((time.monotonic() - began) / _TIMED)
    backbone.load_state_dict(before)
    for objective, head in zip(pretraining.objectives, heads, strict=True):
        objective.load_state_dict(head)
    return max(1, min(pretraining.steps, int(minutes * 60.0 / max(seconds, 1e-9))))


class _Loop:
    """The state of one call of :func:`continue_pretraining`."""

    def __init__(self, backbone: Backbone, pretraining: Pretraining, on_row: Callable[[Rows], None] | None) -> None:
        self.pretraining, self.on_row = pretraining, on_row
        self.team = Team(process_count())
        self.learner = ObjectiveLearner(
            backbone,
            pretraining.objectives,
            learning_rate=pretraining.learning_rate,
            weight_decay=pretraining.weight_decay,
            accelerator=make_accelerator(pretraining.settings),
            team=self.team,
        )
        self.backbone = backbone
        self.state = TrainingState(self.learner.whole)
        self.saved_at = time.monotonic()

    def run(self) -> TrainingResult:
        pretraining, whole = self.pretraining, self.learner.whole
        resumed = self.state.load_weights(pretraining.checkpoint)
        position = self.state.position
        self.state.optimizer = self.learner.optimizer
        self.state.average = WeightAverage(whole, pretraining.average)
        if resumed and not position.done:
            self.state.load_optimizer(pretraining.checkpoint)
        if resumed:
            self._tell()
        whole.train()
        with progress.task(ARM, total=pretraining.steps, unit="steps", done=position.step) as bar:
            while not position.done:
                bar.advance(1, f"loss {self._advance():.3f}")
        self.backbone.eval().cpu()
        return TrainingResult(position.step, position.seconds, position.rows)

    def _advance(self) -> float:
        """Take a step, and keep what it calls for: a row, a checkpoint, or the end."""
        position, pretraining = self.state.position, self.pretraining
        loss = self.step(position.step)
        position.step += 1
        self.state.average.update(self.learner.whole)  # type: ignore[union-attr]
        if position.step % pretraining.every == 0 or position.step == pretraining.steps:
            self._row()
        if position.step == pretraining.steps:
            self._end()
        elif time.monotonic() - self.saved_at > pretraining.settings.checkpoint_seconds:
            self._save()
        return loss

    def step(self, step: int) -> float:
        """Take one step; it depends on the weights, the seed and its number alone (dropout: on the process too)."""
        pretraining, position = self.pretraining, self.state.position
        seed = int(np.random.SeedSequence([pretraining.seed, 1, step]).generate_state(1)[0])
        pretraining.generator.manual_seed(seed)
        torch.manual_seed(seed + self.team.rank)  # dropout draws in each process for itself
        try:
            loss, losses = self.learner.step(pretraining.batches(step), self._rate(step), step)
        except DivergedError as error:
            remedy = "lower pretrain.learning_rate"
            raise DivergedError(error.message, source="pretrain.learning_rate", remedy=remedy) from error
        for name, value in losses.items():
            position.sums[name] = position.sums.get(name, 0.0) + value
        position.loss_sum, position.loss_count = position.loss_sum + loss, position.loss_count + 1
        return loss

    def _rate(self, step: int) -> float:
        pretraining = self.pretraining
        return pretraining.learning_rate * pretraining_rate(step / pretraining.steps, pretraining.warm_up)

    def _row(self) -> None:
        self.team.level(self.learner.whole)
        position = self.state.position
        count = max(1, position.loss_count)
        row: dict[str, Any] = {
            "arm": ARM,
            "phase": ARM,
            "epoch": position.epoch + 1,
            "step": position.step,
            "train_loss": position.loss_sum / count,
            "learning_rate": self._rate(position.step - 1),
            "seconds": round(self.state.worked(), 3),
        }
        row |= {f"loss_{name}": value / count for name, value in position.sums.items()}
        position.rows.append(row)
        position.epoch, position.loss_sum, position.loss_count, position.sums = position.epoch + 1, 0.0, 0, {}
        self._tell()

    def _end(self) -> None:
        self.learner.whole.load_state_dict(self.state.average.values)  # type: ignore[union-attr]
        self.state.position.done = True
        self.state.optimizer, self.state.average = None, None
        self._save()

    def _tell(self) -> None:
        if self.on_row is not None:
            self.on_row(self.state.position.rows)

    def _save(self) -> None:
        self.state.worked()
        if is_main():
            self.state.save(self.pretraining.checkpoint)
        self.saved_at = time.monotonic()
