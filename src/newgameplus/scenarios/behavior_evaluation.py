"""A saved run on other labelled clips, and several runs against each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.adapt.answers import classify
from newgameplus.adapt.saving import load_classifier
from newgameplus.errors import DataError, RunError
from newgameplus.evaluate.baselines import majority
from newgameplus.evaluate.comparison import ARM_TITLES, FINE_TUNED, Arm, compare
from newgameplus.evaluate.predictions import predictions_from_dict, predictions_to_dict
from newgameplus.files import write_json
from newgameplus.games.cache import CachedClips, cache_clips
from newgameplus.games.clips import load_clips
from newgameplus.games.fixed_sequences import FixedSequences, fix_sequences
from newgameplus.games.sequences import find_sequences, load_sequences
from newgameplus.pretrained.sequence_backbone import known_channels
from newgameplus.recipe import Recipe, did_you_mean
from newgameplus.run import Run, read_json
from newgameplus.scenarios.behavior_data import cache_folder
from newgameplus.scenarios.behavior_seen import learned_clips
from newgameplus.shapes import Predictions
from newgameplus.train.device import threads_for, using_threads
from newgameplus.train.examples import ClipExamples

__all__ = ["evaluate_run", "read_predictions"]

Indices = npt.NDArray[np.int64]


def evaluate_run(
    run: Run, clips: str | Path, *, labels: str | None = None, skip_bad: bool = False, keep: bool = True
) -> dict[str, Any]:
    """Evaluate a finished run on labelled clips that it has not seen.

    Groups that hold a clip which the run was trained on (known by its frames) are left out, and counted.

    Args:
        run: The run.
        clips: Labelled clips in any form that a recipe's ``data.path`` takes.
        labels: Label file inside the folder.
        skip_bad: Leave out clips that cannot be read.
        keep: Whether to write the evaluation into the run's ``evaluations/``.

    Returns:
        The evaluation, with the most frequent class of the training clips as baseline.

    Raises:
        DataError: A label is unknown to the run, a clip cannot be read, or the run was trained on all groups.
    """
    if not isinstance(run.recipe, Recipe):
        message = f"this run is of the scenario {run.recipe.scenario}, which names nothing in clips"
        raise RunError(message, source=str(run.folder), remedy="give a run of the behavior scenario")
    saved = load_classifier(run.model_folder)
    known = saved.classifier.labels
    frame_rate = float(saved.training.get("frame_rate") or 30.0)
    numbers = saved.card.modality == "sequence"
    find = find_sequences if numbers else load_clips
    clip_set = find(clips, labels=labels, skip_bad=skip_bad, frame_rate=frame_rate)
    if unknown := sorted(set(clip_set.labels) - set(known)):
        remedy = f"{did_you_mean(unknown[0], known)}the run knows: {', '.join(known)}"
        raise DataError(f"labels that the run does not know: {', '.join(unknown)}", source=str(clips), remedy=remedy)
    cached: Any
    if numbers:
        sequences = load_sequences(clip_set, channels=known_channels(saved.card), skip_bad=skip_bad, exactly=True)
        cached = fix_sequences(sequences, saved.card.shape.steps)
    else:
        cached = cache_clips(clip_set, saved.card.shape, cache_folder(), skip_bad=skip_bad)
    kept = cached.clip_set
    indices = _never_seen(cached, learned_clips(saved.training), str(clips))
    targets = cached.targets(known)[indices]
    chosen = [kept.clips[index] for index in indices]
    examples = ClipExamples(cached, indices, targets)
    with using_threads(threads_for(saved.classifier, run.recipe.train)):
        probabilities = classify(saved.classifier, examples.batches(64))
    counts = saved.training["class_counts"]
    seen = np.repeat(np.arange(len(known)), [counts[label] for label in known])

    def answered(values: np.ndarray[Any, Any]) -> Predictions:
        identities = tuple(clip.identity for clip in chosen)
        return Predictions(known, values, targets, tuple(clip.group for clip in chosen), identities)

    arms = [
        Arm(FINE_TUNED, ARM_TITLES[FINE_TUNED], "fine-tuned", answered(probabilities), note=run.name),
        Arm("majority", ARM_TITLES["majority"], "baseline", answered(majority(seen, len(known), len(targets)))),
    ]
    settings = run.recipe.evaluate
    skipped = {name: "only in the fit's own evaluation" for name in ARM_TITLES if name not in (FINE_TUNED, "majority")}
    evaluation = compare(arms, skipped=skipped, resamples=settings.resamples, level=settings.level)
    evaluation["clips_from"] = str(clips)
    evaluation["trained_on"] = len(cached) - len(indices)
    if evaluation["trained_on"]:
        told = f"left out {evaluation['trained_on']} clips of groups that the run was trained on"
        evaluation["cautions"].append(told)
    evaluation["left_out"] = [{"message": p.message, "source": p.source} for p in kept.left_out]
    if keep:
        path = run.next_file("evaluations", ".json")
        kept_predictions = {arm.name: predictions_to_dict(arm.predictions) for arm in arms}
        write_json(path, json.loads(json.dumps(evaluation)) | {"predictions": kept_predictions})
        evaluation["written_to"] = str(path)
    return evaluation


def _never_seen(cached: CachedClips | FixedSequences, known: set[str], source: str) -> Indices:
    """Return the clips of groups none of whose clips has the frames of a training clip."""
    groups = cached.groups
    seen = {group for group, digest in zip(groups, cached.digests, strict=True) if digest in known}
    indices = np.array([index for index, group in enumerate(groups) if group not in seen], dtype=np.int64)
    if not len(indices):
        remedy = "give clips of recordings that the run has not seen"
        raise DataError("the run was trained on clips of every group in it", source=source, remedy=remedy)
    return indices


def read_predictions(folders: Sequence[str | Path]) -> list[tuple[str, Predictions]]:
    """Read the fine-tuned model's answers to the test clips of several finished runs.

    Raises:
        RunError: A folder is no finished run.
    """
    answers = []
    for folder in folders:
        run = Run.open(folder)
        if not run.finished:
            remedy = f"finish it first: ngp resume {folder}"
            raise RunError("this run is not finished", source=str(folder), remedy=remedy)
        path = run.folder / "predictions.json"
        content = read_json(path)
        remedy = "restore it from a copy, or fit again into another folder"
        if not isinstance(content, dict) or FINE_TUNED not in content:
            raise RunError("no answers of the fine-tuned model in it", source=str(path), remedy=remedy)
        try:
            answers.append((str(folder), predictions_from_dict(content[FINE_TUNED], str(path))))
        except DataError as error:
            raise RunError(error.message, source=str(path), remedy=remedy) from error
    return answers
