"""Weights kept along the way of a training, for what is made of them afterwards: interpolation and soups."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from newgameplus.adapt import ClipClassifier, Phase
from newgameplus.adapt.adapters import has_adapters, merge_adapters
from newgameplus.run import REDO
from newgameplus.tensors import load_tensors, save_tensors

__all__ = ["Snapshots"]


class Snapshots:
    """Keeps the weights after the head phase, and after some epochs of the last one.

    A file is written before the training's own checkpoint, so that a training that goes on finds all it passed.

    Args:
        path: Gives the file for a name, as ``Run.checkpoint`` does.
        name: Name of the training.
        phases: Its phases.
        epochs: How many epochs of the last phase to keep, evenly spaced up to its end; 0 keeps none.
    """

    def __init__(self, path: Callable[[str], Path], name: str, phases: Sequence[Phase], epochs: int) -> None:
        self._path, self._name, self._last, self._epochs = path, name, len(phases) - 1, epochs
        heads = [index for index, phase in enumerate(phases[:-1]) if phase.frozen_backbone]
        self._head = heads[0] if heads else -1

    def after_phase(self, phase: int, classifier: ClipClassifier) -> None:
        """Keep the weights that a phase ends with, if it is the head phase."""
        if phase == self._head:
            save_tensors(self._path(f"{self._name}-head"), classifier.state_dict())

    def after_epoch(self, phase: int, epoch: int, epochs: int, classifier: ClipClassifier) -> None:
        """Keep the weights after an epoch, if it is one of those wanted.

        Args:
            phase: Index of the phase.
            epoch: Epochs of the phase that are done, from 1.
            epochs: Epochs of the phase in all.
            classifier: Its adapters, if it has some, are merged in what is kept.
        """
        if phase == self._last and epoch in self._wanted(epochs):
            kept = classifier
            if has_adapters(classifier.backbone):
                kept = copy.deepcopy(classifier)
                merge_adapters(kept.backbone)
            save_tensors(self._epoch_path(epoch), kept.state_dict())

    def head(self) -> dict[str, Tensor]:
        """Return the weights after the head phase.

        Raises:
            RunError: They are missing or damaged.
        """
        return load_tensors(self._path(f"{self._name}-head"), remedy=REDO)[0]

    def epochs(self, epochs: int) -> dict[str, dict[str, Tensor]]:
        """Return the weights kept after epochs of the last phase, which may have stopped early, by name."""
        found = [(epoch, self._epoch_path(epoch)) for epoch in self._wanted(epochs)]
        return {f"epoch {epoch}": load_tensors(path, remedy=REDO)[0] for epoch, path in found if path.is_file()}

    def _epoch_path(self, epoch: int) -> Path:
        return self._path(f"{self._name}-epoch-{epoch:03d}")

    def _wanted(self, epochs: int) -> list[int]:
        count = min(self._epochs, epochs)
        return [round(epochs * (index + 1) / count) for index in range(count)]
