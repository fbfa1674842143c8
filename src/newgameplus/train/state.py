"""All that a half-finished training needs to go on exactly: one safetensors file, written atomically."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from newgameplus.errors import RunError
from newgameplus.run import REDO
from newgameplus.tensors import load_tensors, save_tensors
from newgameplus.train.optimizers import WeightAverage
from newgameplus.train.sharded import like, whole

__all__ = ["Position", "TrainingState"]


@dataclass
class Position:
    """Where a training stands, as plain data.

    Attributes:
        phase: Index of the phase.
        epoch: Epoch in the phase, from 0.
        batch: Batches done in the epoch.
        step: Steps done in all phases.
        loss_sum: Sum of the losses of the epoch so far, times their clips.
        loss_count: Clips of the epoch so far.
        best_loss: Best validation loss of the phase.
        best_epoch: Its epoch, -1 before the first.
        seconds: Time worked, over all interruptions.
        rows: Finished epochs, as written to metrics.jsonl.
        done: Whether all phases are over.
        rates: Learning rates found by the range test, by phase name.
        sums: Sums of each objective's loss since the last row, by its name.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    best_loss: float | None = None
    best_epoch: int = -1
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False
    rates: dict[str, float] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)

    @property
    def in_phase(self) -> bool:
        """Whether a phase has begun and is not over."""
        return self.epoch > 0 or self.batch > 0


@dataclass
class TrainingState:
    """A training that can be saved at any step and taken up again.

    Attributes:
        module: The whole classifier.
        position: Where it stands.
        optimizer: The optimizer of the current phase; None between phases.
        average: The moving average of the weights of the current phase, if the recipe asks for one.
        best: Best weights of the phase by validation loss.
        scaler: The gradient scaler of fp16, if there is one.
        anchors: Pretrained weights of the backbone by name, if some phase holds it to them.
        prepare: Called before weights are loaded in the middle of a phase, to give the module what that phase gives it.
    """

    module: nn.Module
    position: Position = field(default_factory=Position)
    optimizer: torch.optim.Optimizer | None = None
    average: WeightAverage | None = None
    best: dict[str, Tensor] = field(default_factory=dict)
    scaler: Any = None
    anchors: dict[str, Tensor] = field(default_factory=dict)
    prepare: Callable[[Position], None] | None = None
    _worked_from: float = field(default_factory=time.monotonic, init=False, repr=False)

    def worked(self) -> float:
        """Add the time since the last call (or since this was made) to the position's, and return that."""
        now = time.monotonic()
        self.position.seconds += now - self._worked_from
        self._worked_from = now
        return self.position.seconds

    def save(self, path: Path, *, write: bool = True) -> None:
        """Write everything to ``path``; where weights are spread over processes, all ask and one writes."""
        tensors = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors |= {f"anchor.{name}": value for name, value in self.anchors.items()}
        tensors["random"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["random_cuda"] = torch.cuda.get_rng_state()
        content: dict[str, Any] = {"position": asdict(self.position)}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.values.items()}
            content["average_updates"] = self.average.updates
        if self.optimizer is not None:
            for index, values in self.optimizer.state_dict()["state"].items():
                kept = {key: torch.as_tensor(value) for key, value in values.items() if value is not None}
                tensors |= {f"optimizer.{index}.{key}": value for key, value in kept.items()}
            content["optimizer"] = True
        if self.scaler is not None:
            content["scaler"] = self.scaler.state_dict()
        tensors = whole(tensors)
        if write:
            save_tensors(path, tensors, content)

    def load_weights(self, path: Path) -> bool:
        """Take position, weights and best weights from a checkpoint; say whether there was one.

        Raises:
            RunError: The checkpoint is damaged or belongs to another network.
        """
        if not path.is_file():
            return False
        tensors, content = load_tensors(path, remedy=REDO)
        try:
            self.position = Position(**content["position"])
            if self.prepare is not None and self.position.in_phase:
                self.prepare(self.position)
            weights = _part(tensors, "module.")
            _check_names(self.module, weights, path)
            self.module.load_state_dict(weights)
        except (KeyError, TypeError, RuntimeError, IndexError) as error:
            raise RunError(f"the checkpoint does not fit: {error}", source=str(path), remedy=REDO) from error
        self.best = _part(tensors, "best.")
        self.anchors = _part(tensors, "anchor.")
        return True

    def load_optimizer(self, path: Path) -> None:
        """Take the optimizer's moments, the average, the scaler and the random state of the current phase."""
        tensors, content = load_tensors(path, remedy=REDO)
        torch.set_rng_state(tensors["random"])
        if "random_cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random_cuda"])
        if self.average is not None and "average_updates" in content:
            self.average.load(_part(tensors, "average."), content["average_updates"])
        if self.scaler is not None and "scaler" in content:
            self.scaler.load_state_dict(content["scaler"])
        if self.optimizer is None or not content.get("optimizer"):
            return
        moments: dict[int, dict[str, Tensor]] = {}
        parameters = [one for group in self.optimizer.param_groups for one in group["params"]]
        for name, value in _part(tensors, "optimizer.").items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = like(value, parameters[int(index)])
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check_names(module: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Refuse weights of another network in one line: torch would name every one of them.

    Raises:
        RunError: Names or shapes differ.
    """
    here = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    there = {name: tuple(value.shape) for name, value in weights.items()}
    differing = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    if differing:
        named = ", ".join(differing[:3]) + (", ..." if len(differing) > 3 else "")
        message = f"this checkpoint is of another network: {len(differing)} weights differ in name or shape ({named})"
        raise RunError(message, source=str(path), remedy=REDO)
