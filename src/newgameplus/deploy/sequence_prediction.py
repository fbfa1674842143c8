"""Name what happens in new sequences: each as a whole, or in windows if the training sequences were spans of time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from newgameplus import progress
from newgameplus.adapt.answers import classify
from newgameplus.adapt.saving import SavedClassifier
from newgameplus.deploy.prediction import Answer, join_answers, meeting_stretches
from newgameplus.errors import DataError
from newgameplus.games.fixed_sequences import fit_steps
from newgameplus.games.sequence_formats import read_sequence_file
from newgameplus.games.sequences import SequenceSet, find_sequences, load_sequences
from newgameplus.pretrained.sequence_backbone import known_channels
from newgameplus.recipe import TrainSettings
from newgameplus.train.device import threads_for, using_threads

__all__ = ["predict_sequences"]

_MOST_WINDOWS = 1_000_000


def _read(saved: SavedClassifier, path: str | Path, *, skip_bad: bool, labels: bool) -> SequenceSet:
    """Read sequences for a trained model: they need the channels that it knows, and may have more.

    Raises:
        DataError: A sequence cannot be read, or lacks a channel.
    """
    known = known_channels(saved.card)
    rate = float(saved.training.get("frame_rate") or 30.0)
    found = find_sequences(path, require_labels=labels, skip_bad=skip_bad, frame_rate=rate)
    return load_sequences(found, channels=known, skip_bad=skip_bad, exactly=True)


def predict_sequences(
    saved: SavedClassifier,
    paths: Sequence[str | Path],
    *,
    window: float | None,
    hop: float | None,
    join: bool,
    skip_bad: bool,
) -> list[Answer]:
    """Name what happens in sequences; see :func:`newgameplus.deploy.prediction.predict`.

    Args:
        saved: The model.
        paths: Files, folders or label files.
        window: Seconds that are looked at together; by default what the training spans had, or all of a file.
        hop: Seconds between the beginnings of two windows; half a window by default.
        join: Whether windows in a row with the same answer become one stretch.
        skip_bad: Leave out files that cannot be read.
    """
    window = window if window is not None else (saved.training.get("median_span") or None)
    for name, value in (("window", window), ("hop", hop)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise DataError(f"{name} is {value}", source=f"--{name}", remedy="give seconds above 0")
    answers: list[Answer] = []
    with using_threads(threads_for(saved.classifier, TrainSettings())):
        for path in paths:
            sequences = _read(saved, path, skip_bad=skip_bad, labels=False)
            for problem in sequences.clip_set.left_out:
                progress.say(f"left out {problem}")
            for clip, values in zip(sequences.clip_set.clips, sequences.values, strict=True):
                rate = _rate(clip.path, clip.frame_rate)
                spans = _windows(len(values), rate, window, hop)
                steps = saved.card.shape.steps
                batch: Any = np.stack([fit_steps(values[first:last], steps) for first, last in spans])
                probabilities = classify(saved.classifier, [batch[at : at + 64] for at in range(0, len(batch), 64)])
                times = [(clip.start + first / rate, clip.start + last / rate) for first, last in spans]
                stretches = meeting_stretches(times, clip.start + len(values) / rate)
                answers += join_answers(str(clip.path), stretches, probabilities, saved.classifier.labels, join)
    return answers


def _rate(path: Path, otherwise: float) -> float:
    return read_sequence_file(path).rate or otherwise


def _windows(length: int, rate: float, window: float | None, hop: float | None) -> list[tuple[int, int]]:
    """Return first and last row of each window; the whole sequence without a window."""
    if window is None or window * rate >= length:
        return [(0, length)]
    wide = max(1, round(window * rate))
    every = max(1, round((hop if hop is not None else window / 2) * rate))
    if (length - wide) / every > _MOST_WINDOWS:
        remedy = "give more seconds from one window to the next"
        raise DataError(f"{length / every:,.0f} windows in one sequence", source="--hop", remedy=remedy)
    starts = np.arange(0, length - wide + every / 2, every).astype(int).tolist()
    return [(start, min(start + wide, length)) for start in starts]
