"""A behavior run leaves as: clips (bytes) or sequences (numbers) in, logits and probabilities out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from newgameplus.adapt.classifier import ClipClassifier
from newgameplus.adapt.saving import SavedClassifier, load_classifier
from newgameplus.deploy.export_parity import MOST_SAMPLES
from newgameplus.deploy.exportable import Exportable, ExportedInput, ExportedOutput
from newgameplus.errors import DataError, RunError
from newgameplus.games.cache import cache_clips
from newgameplus.games.clips import load_clips
from newgameplus.games.fixed_sequences import fix_sequences
from newgameplus.games.sequences import find_sequences, load_sequences
from newgameplus.pretrained.sequence_backbone import known_channels
from newgameplus.recipe import Recipe
from newgameplus.run import Run
from newgameplus.scenarios.behavior_data import cache_folder, load_game
from newgameplus.shapes import SequenceShape

__all__ = ["ClipAnswers", "open_behavior"]


class ClipAnswers(nn.Module):
    """A classifier that says its probabilities too.

    Args:
        classifier: As a run keeps it.
    """

    def __init__(self, classifier: ClipClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Turn uint8 [batch, frames, height, width, channels] into logits and probabilities [batch, classes]."""
        logits = self.classifier(clips)
        return logits, logits.softmax(dim=1)


def open_behavior(run: Run, data: str | Path | None) -> Exportable:
    """Return a behavior run's classifier.

    Args:
        run: The run.
        data: Clips to check with, labelled or not; by default the run's own test clips.

    Raises:
        RunError: There is no model, or the run's clips are gone and no others are given.
        DataError: The clips given cannot be read.
    """
    saved = load_classifier(run.model_folder)
    clips, origin = _own_clips(run, saved) if data is None else _given_clips(saved, data)
    shape, labels = saved.card.shape, saved.classifier.labels
    numbers = isinstance(shape, SequenceShape)
    axes = "batch, steps, channels" if numbers else "batch, frames, rows, columns, channels; intensities 0..255"
    name, dtype = ("sequences", "float32") if numbers else ("clips", "uint8")
    return Exportable(
        module=ClipAnswers(saved.classifier).eval(),
        inputs=(ExportedInput(name, dtype, tuple(shape.array), f"{_time_words(saved)}; axes: {axes}"),),
        outputs=(
            ExportedOutput("logits", "one number a class, before the softmax", (len(labels),)),
            ExportedOutput("probabilities", "one number in 0..1 a class; they sum to 1", (len(labels),)),
        ),
        samples={name: clips},
        origin=origin,
        facts=_facts(saved),
        source=str(run.folder),
    )


def _own_clips(run: Run, saved: SavedClassifier) -> tuple[npt.NDArray[Any], str]:
    recipe = run.recipe
    if not isinstance(recipe, Recipe):
        remedy = "give a behavior run"
        raise RunError("this is not a run of the behavior scenario", source=str(run.folder), remedy=remedy)
    try:
        game = load_game(recipe.data, saved.card.shape, recipe.seed)
    except DataError as error:
        message = "the clips of this run cannot be read any more, and an export is checked on real clips"
        remedy = "put them back, or give others: --data CLIPS"
        raise RunError(message, source=recipe.data.path, remedy=remedy, problems=error.problems) from error
    return game.at(saved.card.shape).gather(_spread(game.split.test)), "test clips of the run"


def _given_clips(saved: SavedClassifier, data: str | Path) -> tuple[npt.NDArray[Any], str]:
    rate = float(saved.training.get("frame_rate") or 30.0)
    if isinstance(saved.card.shape, SequenceShape):
        found = find_sequences(data, require_labels=False, frame_rate=rate)
        read = load_sequences(found, channels=known_channels(saved.card), exactly=True)
        fixed = fix_sequences(read, saved.card.shape.steps)
        return fixed.gather(_spread(np.arange(len(read)))), f"sequences of {data}"
    cached = cache_clips(load_clips(data, require_labels=False, frame_rate=rate), saved.card.shape, cache_folder())
    return cached.gather(_spread(np.arange(len(cached)))), f"clips of {data}"


def _spread(indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return at most so many of them, from all over."""
    places = np.linspace(0, len(indices) - 1, min(len(indices), MOST_SAMPLES)).round().astype(np.int64)
    return indices[places]


def _time_words(saved: SavedClassifier) -> str:
    shape, span = saved.card.shape, saved.training.get("median_span") or 1.0
    if isinstance(shape, SequenceShape):
        return f"{shape.steps} steps of {', '.join(known_channels(saved.card))}, and a mask of 1 where there is a step"
    window = shape.window or span
    return f"{shape.frames} frames of {shape.height} x {shape.width}, spread evenly over {window:.3g} seconds of video"


def _preparing_words(saved: SavedClassifier) -> str:
    shape = saved.card.shape
    if isinstance(shape, SequenceShape):
        return f"{_time_words(saved)}; longer spans are resampled, shorter ones padded; scaling is inside the model"
    return (
        f"{_time_words(saved)}, the whole picture scaled to that size (by averaging over areas), "
        f"{'grey' if shape.channels == 1 else 'red, green, blue'} in 0..255; scaling to the network's own range is "
        "inside the model"
    )


def _facts(saved: SavedClassifier) -> dict[str, Any]:
    card = saved.card
    return {
        "scenario": "behavior",
        "labels": list(saved.classifier.labels),
        "preprocessing": _preparing_words(saved),
        "frame_rate": saved.training.get("frame_rate"),
        "seconds": saved.training.get("median_span"),
        "license": card.license,
        "card": card.as_dict(),
    }
