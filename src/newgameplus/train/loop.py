"""The one supervised loop: phases of epochs over examples, exact to resume, for everything that has a loss."""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from newgameplus import progress
from newgameplus.adapt import ClipClassifier, Phase, apply_phase, parameter_groups, training_mode
from newgameplus.adapt.adapters import add_adapters, merge_adapters
from newgameplus.errors import DivergedError
from newgameplus.recipe import TrainSettings
from newgameplus.train.device import make_accelerator, threads_for, using_threads
from newgameplus.train.examples import ClipExamples, Examples, FeatureExamples
from newgameplus.train.learning_rate_finder import find_learning_rate
from newgameplus.train.objectives import class_weights, classification_loss, explain_divergence
from newgameplus.train.optimizers import WeightAverage, averaged, make_optimizer, rate_factor
from newgameplus.train.order import phase_epochs, shuffled_batches
from newgameplus.train.processes import from_main, is_main
from newgameplus.train.pull import Pull
from newgameplus.train.recording import epoch_note
from newgameplus.train.sharded import check_sharding, whole
from newgameplus.train.shared_features import features_of
from newgameplus.train.sharing import shared
from newgameplus.train.snapshots import Snapshots
from newgameplus.train.state import TrainingState
from newgameplus.train.team import Team

__all__ = ["TrainingResult", "phase_epochs", "train_classifier"]

Rows = list[dict[str, Any]]
# Adam moves every weight of the head alike, so its answer moves by rate times width: wider heads get a lower rate.
_HEAD_WIDTH = 256


@dataclass(frozen=True)
class TrainingResult:
    """What a training did.

    Attributes:
        steps: Optimizer steps in all phases.
        seconds: Time worked, over all interruptions.
        rows: One row an epoch, as in metrics.jsonl.
    """

    steps: int
    seconds: float
    rows: Rows


@shared(alone=("on_epoch", "keep"), files=("checkpoint",))
def train_classifier(
    classifier: ClipClassifier,
    phases: Sequence[Phase],
    train: ClipExamples,
    validation: ClipExamples | None,
    settings: TrainSettings,
    *,
    seed: int,
    arm: str,
    checkpoint: Path,
    backbone_rate: float | None = None,
    features: Mapping[str, Tensor] | None = None,
    on_epoch: Callable[[Rows], None] | None = None,
    keep: Snapshots | None = None,
) -> TrainingResult:
    """Train a classifier through its phases, or go on from its checkpoint.

    Args:
        classifier: Backbone and head; trained in place.
        phases: What moves, and for which share of the epochs.
        train: Training clips.
        validation: Clips that decide when to stop and which weights to keep; None trains to the end.
        settings: The recipe's ``train``.
        seed: Seed of data order, augmentation and dropout.
        arm: Name of this training, for the rows and the seed.
        checkpoint: File to save to and to go on from.
        backbone_rate: Peak rate of the last block instead of the recipe's ``learning_rate``.
        features: Features of the untouched backbone for ``train`` and ``validation``, if they are known already; an
            empty mapping says that the backbone is not pretrained, so that its features need no standardizing.
        on_epoch: Called with all rows so far after each epoch, and once after a resume.
        keep: Keeps weights along the way.

    Raises:
        DivergedError: A loss is not a finite number.
        StorageError: The checkpoint cannot be written.
    """
    training = _Training(classifier, phases, train, validation, settings, seed, arm, checkpoint, backbone_rate)
    training.on_epoch, training.keep = on_epoch, keep
    with using_threads(threads_for(classifier, settings)):
        return training.run(features)


class _Training:
    """The state of one call of :func:`train_classifier`."""

    def __init__(
        self,
        classifier: ClipClassifier,
        phases: Sequence[Phase],
        train: ClipExamples,
        validation: ClipExamples | None,
        settings: TrainSettings,
        seed: int,
        arm: str,
        checkpoint: Path,
        backbone_rate: float | None,
    ) -> None:
        self.accelerator = make_accelerator(settings)
        self.device: torch.device = self.accelerator.device
        self.classifier = classifier.to(self.device)
        self.phases, self.train, self.validation, self.settings = list(phases), train, validation, settings
        self.arm, self.checkpoint, self.backbone_rate = arm, checkpoint, backbone_rate
        self.loss = classification_loss(train.targets, len(classifier.labels), settings)
        self.team = Team(settings.batch_size, class_weights(train.targets, len(classifier.labels), settings))
        self.epochs = phase_epochs(phases, len(train.targets), settings)
        self.batches = -(-len(train.targets) // settings.batch_size)
        self.seeds = [seed, zlib.crc32(arm.encode())]
        self.state = TrainingState(classifier)
        self.position = self.state.position
        self.on_epoch: Callable[[Rows], None] | None = None
        self.keep: Snapshots | None = None
        self.pull: Pull | None = None
        self.features: dict[str, Tensor] = {}
        self.saved_at = time.monotonic()

    def run(self, features: Mapping[str, Tensor] | None) -> TrainingResult:
        self.features = dict(features or {})
        check_sharding(self.settings, self.phases, self.keep is not None)
        self.state.prepare = lambda position: self._adapt(self.phases[position.phase])
        resumed = self.state.load_weights(self.checkpoint)
        if not resumed and any(phase.pull for phase in self.phases):
            weights = self.classifier.backbone.named_parameters()
            self.state.anchors = {name: value.detach().clone() for name, value in weights}
        self.position = self.state.position
        if resumed:
            self._tell()
        elif features is None or features:
            self.classifier.head.standardize(self._features("train", self.train).to(self.device))
        total = sum(self.epochs) * self.batches
        with progress.task(f"training {self.arm}", total=total, unit="steps", done=self.position.step) as bar:
            while not self.position.done:
                self._phase(self.phases[self.position.phase], bar, resumed)
                resumed = False
        return TrainingResult(self.position.step, self.position.seconds, self.position.rows)

    def _features(self, name: str, examples: ClipExamples) -> Tensor:
        if name not in self.features:
            title = f"features ({self.arm}, {name})"
            self.features[name] = features_of(self.classifier.backbone, examples, title)
        return self.features[name]

    def _phase(self, phase: Phase, bar: progress.Task, resumed: bool) -> None:
        if not self.position.in_phase:
            torch.manual_seed(int(np.random.SeedSequence([*self.seeds, self.position.phase]).generate_state(1)[0]))
            self._adapt(phase)
        apply_phase(self.classifier, phase)
        self.pull = Pull(self.classifier.backbone, self.state.anchors, phase.pull) if phase.pull else None
        learner: nn.Module = self.classifier
        train: Examples = self.train
        validation: Examples | None = self.validation
        if phase.frozen_backbone:
            learner = self.classifier.head
            train = FeatureExamples(self._features("train", self.train), self.train.targets)
            if self.validation is not None:
                features = self._features("validation", self.validation)
                validation = FeatureExamples(features, self.validation.targets)
        else:
            self.features.clear()
            learner = self.classifier = self.state.module = self.team.shard(self.classifier)
        fresh = self._begin(phase, learner, train, resumed)
        if fresh and validation is not None:
            # The weights that a phase starts from are a candidate too: a few labels must not make a good start worse.
            self._keep_if_best(learner, self._loss_and_accuracy(learner, validation)[0], epoch=-1)
        while self.position.epoch < self.epochs[self.position.phase]:
            self.team.level(learner)
            self._epoch(phase, learner, train, bar)
            row = self._validate(phase, learner, validation)
            bar.advance(0, epoch_note(row))
            if self.keep is not None:
                done, epochs = self.position.epoch, self.epochs[self.position.phase]
                with (
                    averaged(self.state.average, self.classifier)
                    if learner is self.classifier
                    else contextlib.nullcontext()
                ):
                    self.keep.after_epoch(self.position.phase, done, epochs, self.classifier)
            if self._should_stop():
                skipped = self.epochs[self.position.phase] - self.position.epoch
                progress.say(f"  {self.arm}, {phase.name}: stopped {skipped} epochs early, no better validation loss")
                break
            self._save()
        self._end(learner)

    def _adapt(self, phase: Phase) -> None:
        if not phase.adapter_rank:
            return
        layers = add_adapters(self.classifier.backbone, phase.adapter_rank)
        left_out = f"; {len(layers.skipped)} cannot have one" if layers.skipped else ""
        progress.say(f"  {self.arm}: adapters of rank {phase.adapter_rank} at {len(layers.names)} layers{left_out}")

    def _begin(self, phase: Phase, learner: nn.Module, train: Examples, resumed: bool) -> bool:
        """Set up the optimizer of a phase; say whether the phase is at its very start."""
        fresh = not self.position.in_phase
        rate = self._backbone_rate(phase, learner, train)
        optimizer = self._optimizer(self.classifier, phase, rate)
        self.state.optimizer = self.accelerator.prepare_optimizer(optimizer)
        self.state.scaler = self.accelerator.scaler
        self.state.average = WeightAverage(learner, self.settings.ema) if self.settings.ema else None
        if resumed and not fresh:
            self.state.load_optimizer(self.checkpoint)
        return fresh

    def _optimizer(self, classifier: ClipClassifier, phase: Phase, rate: float) -> torch.optim.Optimizer:
        settings = self.settings
        groups = parameter_groups(
            classifier,
            phase,
            backbone_rate=rate,
            head_rate=settings.head_learning_rate * min(1.0, _HEAD_WIDTH / classifier.backbone.feature_dim),
            weight_decay=settings.weight_decay,
        )
        return make_optimizer(groups, settings)

    def _backbone_rate(self, phase: Phase, learner: nn.Module, train: Examples) -> float:
        if self.backbone_rate is not None:
            return self.backbone_rate
        if self.settings.learning_rate != "find":
            return self.settings.learning_rate
        if phase.frozen_backbone:
            return 0.0
        if phase.name not in self.position.rates:
            training_mode(self.classifier, phase)

            def make(trial: nn.Module) -> torch.optim.Optimizer:
                return self._optimizer(trial, phase, self.settings.head_learning_rate)  # type: ignore[arg-type]

            top, found = self.settings.head_learning_rate, 0.0
            if is_main():
                found = find_learning_rate(learner, make, self._endless(train), self.loss, largest=top)
            found = self.position.rates[phase.name] = from_main(found)
            progress.say(f"  {self.arm}, {phase.name}: learning rate {found:.2e} by range test")
        return self.position.rates[phase.name]

    def _endless(self, train: Examples) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = 0
        while True:
            for positions in self._order(train, epoch):
                yield self._batch(train, positions, None)
            epoch += 1

    def _order(self, train: Examples, epoch: int) -> list[np.ndarray[Any, Any]]:
        """Positions of each batch of an epoch: a function of seed, arm, phase and epoch alone."""
        seeds = [*self.seeds, self.position.phase, epoch]
        return shuffled_batches(seeds, len(train.targets), self.settings.batch_size)

    def _batch(
        self, examples: Examples, positions: np.ndarray[Any, Any], generator: np.random.Generator | None
    ) -> tuple[Tensor, Tensor]:
        inputs, targets = examples.batch(positions, generator)
        return inputs.to(self.device), targets.to(self.device)

    def _epoch(self, phase: Phase, learner: nn.Module, train: Examples, bar: progress.Task) -> None:
        position = self.position
        training_mode(self.classifier, phase)
        for batch, positions in enumerate(self._order(train, position.epoch)):
            if batch < position.batch:
                continue
            seeds = [*self.seeds, position.phase, position.epoch, batch]
            mine, generator = self.team.part(positions, np.random.default_rng(seeds), seeds)
            with self.team.together(learner):
                loss = self._step(learner, *self._batch(train, mine, generator))
            position.loss_sum += loss * len(positions)
            position.loss_count += len(positions)
            position.batch, position.step = batch + 1, position.step + 1
            bar.advance(1, f"{phase.name}, epoch {position.epoch + 1}, loss {loss:.3f}")
            if time.monotonic() - self.saved_at > self.settings.checkpoint_seconds:
                self._save()

    def _step(self, learner: nn.Module, inputs: Tensor, targets: Tensor) -> float:
        optimizer: Any = self.state.optimizer
        steps = self.epochs[self.position.phase] * self.batches
        factor = rate_factor(self.position.epoch * self.batches + self.position.batch, steps, self.settings)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        optimizer.zero_grad(set_to_none=True)
        with self.accelerator.autocast():
            outputs = learner(inputs)
        loss, value = self.team.weigh(self.loss(outputs, targets), targets)
        if not np.isfinite(value):
            raise self._diverged(value, learner, inputs)
        self.accelerator.backward(loss if self.pull is None else loss + self.pull.loss() / self.team.count)
        self.team.add_gradients(learner.parameters())
        if self.settings.gradient_clip is not None:
            self.accelerator.clip_grad_norm_(learner.parameters(), self.settings.gradient_clip)
        optimizer.step()
        if self.state.average is not None:
            self.state.average.update(learner)
        return value

    def _diverged(self, value: float, learner: nn.Module, inputs: Tensor) -> DivergedError:
        optimizer: Any = self.state.optimizer
        rate = max(group["lr"] for group in optimizer.param_groups)
        where = f"{self.arm}, epoch {self.position.epoch + 1}, step {self.position.step + 1}, rate {rate:.1e}"
        return explain_divergence(value, learner, inputs, where)

    def _validate(self, phase: Phase, learner: nn.Module, validation: Examples | None) -> dict[str, Any]:
        position = self.position
        optimizer: Any = self.state.optimizer
        row: dict[str, Any] = {
            "arm": self.arm,
            "phase": phase.name,
            "epoch": position.epoch + 1,
            "step": position.step,
            "train_loss": position.loss_sum / max(1, position.loss_count),
            "learning_rate": max(group["lr"] for group in optimizer.param_groups),
        }
        if validation is not None:
            loss, accuracy = self._loss_and_accuracy(learner, validation)
            row |= {"validation_loss": loss, "validation_accuracy": accuracy}
            self._keep_if_best(learner, loss, position.epoch)
        row["seconds"] = round(self.state.worked(), 3)
        position.rows.append(row)
        position.epoch, position.batch, position.loss_sum, position.loss_count = position.epoch + 1, 0, 0.0, 0
        self._tell()
        return row

    def _tell(self) -> None:
        if self.on_epoch is not None:
            self.on_epoch(self.position.rows)

    def _keep_if_best(self, learner: nn.Module, loss: float, epoch: int) -> None:
        position = self.position
        if self.settings.patience is None or (position.best_loss is not None and loss >= position.best_loss):
            return
        position.best_loss, position.best_epoch = loss, epoch
        source = self.state.average.values if self.state.average else learner.state_dict()
        self.state.best = {name: value.detach().clone() for name, value in whole(source).items()}

    @torch.no_grad()
    def _loss_and_accuracy(self, learner: nn.Module, validation: Examples) -> tuple[float, float]:
        with averaged(self.state.average, learner):
            learner.eval()
            return self._score(learner, validation)

    def _score(self, learner: nn.Module, validation: Examples) -> tuple[float, float]:
        total, correct = 0.0, 0
        for start in self.team.mine(range(0, len(validation.targets), 64)):
            positions = np.arange(start, min(start + 64, len(validation.targets)))
            inputs, targets = self._batch(validation, positions, None)
            with self.accelerator.autocast():
                outputs = learner(inputs)
            total += float(self.loss(outputs, targets)) * len(positions)
            correct += int((outputs.argmax(dim=1) == targets).sum())
        total, right = self.team.total(total, correct)
        return total / len(validation.targets), right / len(validation.targets)

    def _should_stop(self) -> bool:
        position, patience = self.position, self.settings.patience
        return (
            patience is not None
            and position.best_loss is not None
            and (position.epoch - 1 - position.best_epoch >= patience)
        )

    def _end(self, learner: nn.Module) -> None:
        if learner is self.classifier:
            learner = self.classifier = self.state.module = self.team.unshard(self.classifier)
        if self.state.best:
            learner.load_state_dict(self.state.best)
        elif self.state.average is not None:
            learner.load_state_dict(whole(self.state.average.values))
        position = self.position
        if self.phases[position.phase].adapter_rank:
            merge_adapters(self.classifier.backbone)
        if self.keep is not None:
            self.keep.after_phase(position.phase, self.classifier)
        position.phase, position.epoch, position.batch = position.phase + 1, 0, 0
        position.best_loss, position.best_epoch = None, -1
        position.done = position.phase == len(self.phases)
        self.state.best, self.state.optimizer, self.state.average = {}, None, None
        self._save()

    def _save(self) -> None:
        self.state.worked()
        if is_main() or self.team.sharded:
            self.state.save(self.checkpoint, write=is_main())
        self.saved_at = time.monotonic()
