"""The loop for tile models: steps over windows of levels, exact to resume, with checks on validation levels.

Several processes share it (see :mod:`newgameplus.train.team`): all draw the same windows, each learns from its part.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from newgameplus import progress
from newgameplus.adapt.phases import layer_rates
from newgameplus.adapt.tile_strategies import TilePhase
from newgameplus.errors import DivergedError
from newgameplus.recipe_scene import SceneTrainSettings
from newgameplus.train.device import make_accelerator, threads_for, using_threads
from newgameplus.train.levels import LevelBook, collate
from newgameplus.train.loop import TrainingResult
from newgameplus.train.optimizers import WeightAverage, rate_factor
from newgameplus.train.processes import gather, is_main
from newgameplus.train.pull import Pull
from newgameplus.train.sharing import shared
from newgameplus.train.state import TrainingState
from newgameplus.train.team import Team, part_of

__all__ = ["TileTraining", "level_bits", "train_tiles"]

Rows = list[dict[str, Any]]
_AT_ONCE = 8


@dataclass(frozen=True)
class TileTraining:
    """One training of a tile model: what it learns from, how, and where it is kept.

    Attributes:
        arm: Name, for the rows and the seed.
        phases: What moves, and for which share of the steps.
        train: Levels to learn from.
        validation: Levels that decide when to stop and which weights to keep; None trains to the end.
        settings: The recipe's ``train``.
        seed: Seed of data order and of what is hidden.
        checkpoint: File to save to and to go on from.
        rate: Peak learning rate.
        hide_own: Share of the windows in which tiles are known by their meanings alone (pretraining).
        layer_decay: Rate of each block as a multiple of the next one's; the last block's is that of all else.
    """

    arm: str
    phases: Sequence[TilePhase]
    train: LevelBook
    validation: LevelBook | None
    settings: SceneTrainSettings
    seed: int
    checkpoint: Path
    rate: float
    hide_own: float = 0.0
    layer_decay: float = 1.0


def train_tiles(
    network: nn.Module, training: TileTraining, on_check: Callable[[Rows], None] | None = None
) -> TrainingResult:
    """Train a tile network through its phases, or go on from its checkpoint, exactly.

    Args:
        network: Trained in place; left in evaluation mode.
        training: Everything else.
        on_check: Called with all rows so far after each check, and once after a resume.

    Raises:
        DivergedError: A loss is not a finite number.
        StorageError: The checkpoint cannot be written.
        TrainingError: There are more processes than windows in a batch.
    """
    return _train_tiles(network, training, training.checkpoint, on_check)


@shared(alone=("on_check",), files=("checkpoint",))
def _train_tiles(
    network: nn.Module, training: TileTraining, checkpoint: Path, on_check: Callable[[Rows], None] | None
) -> TrainingResult:
    training = replace(training, checkpoint=checkpoint)
    with using_threads(threads_for(network, training.settings)):
        return _Loop(network, training, on_check).run()


def window_loss(
    network: nn.Module, batch: tuple[Any, Tensor, Tensor, Tensor | None], own: Tensor | None, smoothing: float = 0.0
) -> tuple[Tensor, int]:
    """Return the summed cross-entropy in nats over the tiles that count, and their number."""
    tokens, targets, counted, allowed = batch
    logits = network(tokens, own=own).float()
    if allowed is not None:
        logits = logits.masked_fill(~allowed.unsqueeze(1), -1e9)
    flat, truth = logits[counted], targets[counted]
    if allowed is None or not smoothing:
        total = functional.cross_entropy(flat, truth, reduction="sum", label_smoothing=smoothing)
    else:  # spread over what is allowed; the library would spread it over what is masked, too
        possible = allowed.unsqueeze(1).expand_as(logits)[counted]
        shares = (1.0 - smoothing) * functional.one_hot(truth, flat.shape[-1]) + smoothing * (
            possible / possible.sum(dim=-1, keepdim=True)
        )
        total = -(shares * flat.log_softmax(dim=-1)).sum()
    return total, int(counted.sum())


@shared()
@torch.no_grad()
def level_bits(network: nn.Module, book: LevelBook) -> npt.NDArray[np.float64]:
    """Return float64 [levels, 2]: bits that the network needs for each level's tiles, nothing asked, and its tiles.

    Several processes look at a part of the levels each; the answer is the same in all, and that of one.
    """
    network.eval()
    answers = []
    device = next(network.parameters()).device
    for windows in book.whole(part_of(len(book.examples))):
        bits, count = 0.0, 0
        for start in range(0, len(windows), _AT_ONCE):
            total, tiles = window_loss(network, collate(windows[start : start + _AT_ONCE], device), None)
            bits, count = bits + float(total) / math.log(2), count + tiles
        answers.append((bits, count))
    return np.concatenate(gather(np.array(answers, np.float64).reshape(-1, 2)))


class _Loop:
    """The state of one call of :func:`train_tiles`."""

    def __init__(self, network: nn.Module, training: TileTraining, on_check: Callable[[Rows], None] | None) -> None:
        self.accelerator = make_accelerator(training.settings)
        self.device: torch.device = self.accelerator.device
        self.network, self.training, self.on_check = network.to(self.device), training, on_check
        self.settings = training.settings
        self.team = Team(self.settings.batch_size)
        steps = self.settings.steps
        self.steps = [max(1, round(steps * phase.share)) for phase in training.phases]
        self.seeds = (training.seed, zlib.crc32(training.arm.encode()))
        self.state = TrainingState(network)
        self.position = self.state.position
        self.pull: Pull | None = None
        self.saved_at = time.monotonic()

    def run(self) -> TrainingResult:
        resumed = self.state.load_weights(self.training.checkpoint)
        if not resumed and any(phase.pull for phase in self.training.phases):
            weights = self.network.named_parameters()
            self.state.anchors = {name: value.detach().clone() for name, value in weights}
        self.position = self.state.position
        if resumed:
            self._tell()
        total = sum(self.steps)
        with progress.task(f"training {self.training.arm}", total, "steps", self.position.step) as bar:
            while not self.position.done:
                self._phase(self.training.phases[self.position.phase], bar, resumed)
                resumed = False
        self.network.eval()
        return TrainingResult(self.position.step, self.position.seconds, self.position.rows)

    def _phase(self, phase: TilePhase, bar: progress.Task, resumed: bool) -> None:
        moving = phase.apply(self.network)
        peak = self.training.rate * phase.rate
        own = self.network.vocabulary()  # type: ignore[operator]
        self.pull = Pull(self.network, self.state.anchors, phase.pull, own) if phase.pull else None
        held = set() if self.pull is None else {id(one) for one in moving} - {id(one) for one in own}
        self.optimizer = torch.optim.AdamW(self._groups(moving, peak, held), betas=(0.9, 0.98))
        self.state.optimizer = self.optimizer
        self.state.average = WeightAverage(self.network, self.settings.ema) if self.settings.ema else None
        if resumed and self.position.batch:
            self.state.load_optimizer(self.training.checkpoint)
        else:
            torch.manual_seed(self.seeds[0] + self.seeds[1] + self.position.phase)
            self._check(phase, keep_only=True)
        steps = self.steps[self.position.phase]
        # Asked before each step, so that a training that was interrupted after its last check goes no step further.
        while self.position.batch < steps and not self._no_better():
            self._step(peak, steps, moving)
            bar.advance(note=self._note())
            if self.position.batch % self.settings.check_every == 0 or self.position.batch == steps:
                self._check(phase)
            elif time.monotonic() - self.saved_at > self.settings.checkpoint_seconds:
                self._save()
        if skipped := steps - self.position.batch:
            progress.say(f"  {self.training.arm}, {phase.name}: stopped {skipped} steps early, no better loss")
            bar.advance(skipped)
        self._end()

    def _groups(self, moving: Sequence[Tensor], peak: float, held: set[int]) -> list[dict[str, Any]]:
        """Return what moves, by rate and by whether it decays: matrices only, and none that is held to its start."""
        rates: dict[int, float] = {}
        if self.training.layer_decay < 1.0:
            blocks = self.network.blocks()  # type: ignore[operator]
            for block, rate in zip(blocks, layer_rates(len(blocks), self.training.layer_decay), strict=True):
                rates |= {id(parameter): rate for parameter in block.parameters()}
        groups: dict[tuple[float, bool], dict[str, Any]] = {}
        for decays in (True, False):
            for parameter in (one for one in moving if (one.ndim >= 2 and id(one) not in held) == decays):
                rate = rates.get(id(parameter), 1.0)
                decay = self.settings.weight_decay if decays else 0.0
                begun = {"params": [], "lr": peak * rate, "rate": rate, "weight_decay": decay}
                groups.setdefault((rate, decays), begun)["params"].append(parameter)
        return list(groups.values())

    def _no_better(self) -> bool:
        """Whether as many checks as the recipe has patience for brought no better loss on the validation levels."""
        position, patience = self.position, self.settings.patience
        if patience is None or self.training.validation is None:
            return False
        return position.epoch - 1 - position.best_epoch >= patience

    def _step(self, peak: float, steps: int, moving: list[Tensor]) -> None:
        position, settings = self.position, self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = peak * group["rate"] * rate_factor(position.batch, steps, settings)
        seeds = (*self.seeds, position.step)
        rng = np.random.default_rng(seeds)
        part, _ = self.team.part(np.arange(settings.batch_size), rng, seeds)
        windows = self.training.train.draw(rng, settings.batch_size, part)
        own = None
        if self.training.hide_own:
            shown = rng.random(settings.batch_size)[part] >= self.training.hide_own
            own = torch.from_numpy(shown.astype(np.float32)).to(self.device)
        self.network.train()
        with self.accelerator.autocast():
            batch = collate(windows, self.device)
            loss, total, tiles = self.team.mean_of(*window_loss(self.network, batch, own, settings.label_smoothing))
        if not math.isfinite(total):
            remedy = "lower train.learning_rate, or start from a checkpoint of an earlier run"
            message = f"the loss is {total / tiles} at step {position.step}"
            raise DivergedError(message, source="train.learning_rate", remedy=remedy)
        self.optimizer.zero_grad(set_to_none=True)
        (loss if self.pull is None else loss + self.pull.loss() / self.team.count).backward()  # type: ignore[no-untyped-call]
        self.team.add_gradients(moving)
        if settings.gradient_clip is not None:
            nn.utils.clip_grad_norm_(moving, settings.gradient_clip)
        self.optimizer.step()
        if self.state.average is not None:
            self.state.average.update(self.network)
        position.loss_sum += total
        position.loss_count += tiles
        position.step, position.batch = position.step + 1, position.batch + 1

    def _note(self) -> str:
        position = self.position
        return f"{position.loss_sum / max(1, position.loss_count) / math.log(2):.3f} bits a tile"

    def _check(self, phase: TilePhase, *, keep_only: bool = False) -> None:
        """Look at the validation levels and keep the best weights; then save and tell, unless it is to keep only."""
        self.team.level(self.network)
        position, validation = self.position, self.training.validation
        row: dict[str, Any] = {"arm": self.training.arm, "phase": phase.name, "step": position.step}
        if not keep_only:
            row |= {
                "epoch": position.epoch,
                "train_loss": position.loss_sum / max(1, position.loss_count) / math.log(2),
                "learning_rate": max(group["lr"] for group in self.optimizer.param_groups),
            }
        if validation is not None and self.settings.patience is not None:
            current = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
            if self.state.average is not None:
                self.network.load_state_dict(self.state.average.values)
            found = level_bits(self.network, validation).sum(axis=0)
            loss = row["validation_loss"] = float(found[0] / found[1])
            if position.best_loss is None or loss < position.best_loss:
                position.best_loss, position.best_epoch = loss, position.epoch
                self.state.best = {n: v.detach().clone() for n, v in self.network.state_dict().items()}
            if self.state.average is not None:
                self.network.load_state_dict(current)
        if keep_only:
            position.best_epoch = -1
            return
        position.rows.append(row)
        position.epoch, position.loss_sum, position.loss_count = position.epoch + 1, 0.0, 0
        self._save()
        self._tell()

    def _end(self) -> None:
        if self.state.best:
            self.network.load_state_dict(self.state.best)
        elif self.state.average is not None:
            self.network.load_state_dict(self.state.average.values)
        position = self.position
        position.phase, position.epoch, position.batch = position.phase + 1, 0, 0
        position.best_loss, position.best_epoch = None, -1
        position.loss_sum, position.loss_count = 0.0, 0
        position.done = position.phase == len(self.training.phases)
        self.state.best, self.state.optimizer, self.state.average = {}, None, None
        self._save()

    def _tell(self) -> None:
        if self.on_check is not None:
            self.on_check(self.position.rows)

    def _save(self) -> None:
        self.state.worked()
        self.saved_at = time.monotonic()
        if is_main():
            self.state.save(self.training.checkpoint)
