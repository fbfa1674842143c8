"""Name what a character does in new videos: windows slide over each, and equal answers in a row become one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from newgameplus import progress
from newgameplus.adapt.answers import classify
from newgameplus.adapt.saving import SavedClassifier, load_classifier
from newgameplus.errors import DataError, Problem
from newgameplus.games.clips import Clip, load_clips, raise_data_problems
from newgameplus.games.video import decode_spans, probe_video
from newgameplus.recipe import TrainSettings
from newgameplus.run import Run
from newgameplus.train.device import threads_for, using_threads

__all__ = ["Answer", "join_answers", "meeting_stretches", "predict"]

_WINDOWS_AT_ONCE = 256
_MOST_WINDOWS = 1_000_000


@dataclass(frozen=True)
class Answer:
    """What happens in one stretch of a video.

    Attributes:
        path: The video.
        start: Seconds from its beginning.
        end: Seconds from its beginning.
        label: Most probable class.
        probability: Its probability, 0..1, averaged over the windows that were joined.
    """

    path: str
    start: float
    end: float
    label: str
    probability: float

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as plain data."""
        return asdict(self)


def predict(
    run: str | Path | Run,
    videos: str | Path | Sequence[str | Path],
    *,
    window: float | None = None,
    hop: float | None = None,
    join: bool = True,
    skip_bad: bool = False,
) -> list[Answer]:
    """Name what happens in videos, or in sequences if the run learned from such.

    Args:
        run: A finished run.
        videos: One video, a folder of videos, or several of either; files of numbers over time likewise.
        window: Seconds that are looked at together; by default the median length of the training clips.
        hop: Seconds between the beginnings of two windows; by default half a window.
        join: Whether windows in a row with the same answer become one stretch.
        skip_bad: Leave out videos that cannot be read, and say which on standard error.

    Returns:
        Answers in the order of the videos and of time, without gaps or overlaps.

    Raises:
        RunError: The run has no model yet.
        DataError: Videos cannot be read (all of them are named), or window or hop make no sense.
    """
    opened = run if isinstance(run, Run) else Run.open(run)
    saved = load_classifier(opened.model_folder)
    given = [videos] if isinstance(videos, str | Path) else list(videos)
    if saved.card.modality == "sequence":
        from newgameplus.deploy.sequence_prediction import predict_sequences

        return predict_sequences(saved, given, window=window, hop=hop, join=join, skip_bad=skip_bad)
    window = window if window is not None else (saved.training.get("median_span") or 1.0)
    hop = hop if hop is not None else window / 2
    for name, value in (("window", window), ("hop", hop)):
        if not (np.isfinite(value) and value > 0):
            raise DataError(f"{name} is {value}", source=f"--{name}", remedy="give seconds above 0")
    clips = [clip for path in given for clip in load_clips(path, require_labels=False, skip_bad=skip_bad).clips]
    frame_rate = float(saved.training.get("frame_rate") or 30.0)
    # Before the long work, so that a bad file among many good ones is told at once.
    bad = (
        []
        if skip_bad
        else [problem for path in sorted({clip.path for clip in clips}) for problem in _faults(path, frame_rate)]
    )
    raise_data_problems(bad, f"{len(bad)} videos cannot be read")
    answers: list[Answer] = []
    with using_threads(threads_for(saved.classifier, TrainSettings())):
        for clip in clips:
            try:
                answers += _predict_one(saved, clip, window, hop, join)
            except DataError as error:
                remedy = "correct or replace it, or leave such videos out with --skip-bad"
                bad += [p if p.remedy else replace(p, remedy=remedy) for p in error.problems]
    if skip_bad and answers:
        for problem in dict.fromkeys(bad):
            progress.say(f"left out {problem}")
    else:
        raise_data_problems(bad, f"{len(bad)} of {len(clips)} videos cannot be read")
    return answers


def _faults(path: Path, frame_rate: float) -> list[Problem]:
    try:
        probe_video(path, frame_rate)
    except DataError as error:
        return list(error.problems)
    return []


def _predict_one(saved: SavedClassifier, clip: Clip, window: float, hop: float, join: bool) -> list[Answer]:
    frame_rate = float(saved.training.get("frame_rate") or 30.0)
    end = clip.end if clip.end is not None else probe_video(clip.path, frame_rate).duration
    if (end - clip.start) / hop > _MOST_WINDOWS:
        message = f"{(end - clip.start) / hop:,.0f} windows in {clip.name or clip.path}"
        raise DataError(message, source="--hop", remedy="give more seconds from one window to the next")
    starts = np.arange(clip.start, max(end - window, clip.start) + hop / 2, hop)
    spans = [(float(start), float(min(start + window, end))) for start in starts]
    probabilities = []
    with progress.task(f"predicting {clip.path.name}", total=len(spans), unit="windows") as task:
        for some in _chunks(spans):
            frames = decode_spans(clip.path, some, saved.card.shape, frame_rate)
            probabilities.append(classify(saved.classifier, _batches(frames)))
            task.advance(len(some))
    stretches = meeting_stretches(spans, end)
    return join_answers(str(clip.path), stretches, np.concatenate(probabilities), saved.classifier.labels, join)


def _chunks(spans: list[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    for start in range(0, len(spans), _WINDOWS_AT_ONCE):
        yield spans[start : start + _WINDOWS_AT_ONCE]


def _batches(frames: np.ndarray[Any, Any]) -> Iterable[np.ndarray[Any, Any]]:
    return (frames[start : start + 64] for start in range(0, len(frames), 64))


def meeting_stretches(spans: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """Give each window the time around its middle, so that the stretches meet without gaps or overlaps."""
    middles = [(start + stop) / 2 for start, stop in spans]
    meets = [(a + b) / 2 for a, b in itertools.pairwise(middles)]
    edges = [spans[0][0], *meets, end]
    return list(itertools.pairwise(edges))


def join_answers(
    path: str,
    stretches: list[tuple[float, float]],
    probabilities: np.ndarray[Any, Any],
    labels: tuple[str, ...],
    join: bool,
) -> list[Answer]:
    """Return one answer for each stretch, or for each row of stretches with the same class."""
    answers: list[Answer] = []
    begin = 0
    best = probabilities.argmax(axis=1)
    for index in range(len(stretches)):
        last = index + 1 == len(stretches)
        if join and not last and best[index + 1] == best[index]:
            continue
        probability = float(probabilities[begin : index + 1, best[index]].mean())
        start, end = stretches[begin][0], stretches[index][1]
        answers.append(Answer(path, round(start, 3), round(end, 3), labels[best[index]], round(probability, 4)))
        begin = index + 1
    return answers
