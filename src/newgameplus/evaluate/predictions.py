"""A classifier's answers as plain data: checked before anything is counted, kept as JSON, paired by clip."""

from __future__ import annotations

from typing import Any

import numpy as np

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.shapes import Predictions

__all__ = ["check_paired", "check_predictions", "predictions_from_dict", "predictions_to_dict"]

_DECIMALS = 6
_KEYS = ("labels", "probabilities", "targets", "groups", "clips")


def check_predictions(predictions: Predictions, source: str = "") -> None:
    """Refuse answers that cannot be scored, naming everything that is wrong at once.

    Args:
        predictions: What to check.
        source: Where it came from (a run, a file), for the message.

    Raises:
        DataError: There are no clips, sizes do not fit, a class name is there twice, a target names no class, or a row
            of probabilities is not one.
    """
    problems = [Problem(message, source, remedy) for message, remedy in _faults(predictions)]
    raise_problems(problems, DataError, f"predictions cannot be scored: {len(problems)} problems")


def _faults(predictions: Predictions) -> list[tuple[str, str]]:
    shape, clips, classes = predictions.probabilities.shape, len(predictions.targets), len(predictions.labels)
    if clips == 0:
        return [("there are no clips to score", "give at least one labelled clip")]
    faults: list[tuple[str, str]] = []
    if shape != (clips, classes):
        faults.append(
            (f"probabilities have shape {shape}, {clips} targets and {classes} labels need {(clips, classes)}", "")
        )
    for name in ("groups", "clips"):
        if len(getattr(predictions, name)) != clips:
            faults.append((f"{len(getattr(predictions, name))} {name} for {clips} targets", ""))
    if repeated := sorted({label for label in predictions.labels if predictions.labels.count(label) > 1}):
        faults.append((f"class {repeated[0]!r} is named more than once", "give every class its own name"))
    if np.any((predictions.targets < 0) | (predictions.targets >= classes)):
        wrong = int(np.flatnonzero((predictions.targets < 0) | (predictions.targets >= classes))[0])
        faults.append((f"target {int(predictions.targets[wrong])} names none of the {classes} classes", ""))
    if not faults:
        faults += _faults_of_rows(predictions)
    return faults


def _faults_of_rows(predictions: Predictions) -> list[tuple[str, str]]:
    probabilities = predictions.probabilities
    sums = probabilities.sum(axis=1)
    bad = ~(np.isfinite(sums) & (probabilities.min(axis=1) >= -1e-6) & (np.abs(sums - 1) <= 1e-3))
    if not bad.any():
        return []
    first = int(np.flatnonzero(bad)[0])
    message = f"{int(bad.sum())} rows are no probabilities; the first belongs to clip {predictions.clips[first]!r}"
    return [(f"{message} and sums to {sums[first]:.4g}", "a row must hold numbers from 0 to 1 that sum to 1")]


def check_paired(one: Predictions, other: Predictions) -> None:
    """Refuse to pair answers about different clips, classes, truths or groups.

    Raises:
        DataError: The two cannot be compared clip by clip.
    """
    if one.labels != other.labels:
        difference = sorted(set(one.labels) ^ set(other.labels)) or list(other.labels)
        raise DataError(
            f"the two sets of predictions know different classes: {', '.join(map(repr, difference[:5]))}",
            remedy="compare models with the same classes in the same order",
        )
    if one.clips != other.clips or one.groups != other.groups:
        raise DataError(
            "the two sets of predictions are about different clips", remedy="predict the same clips in the same order"
        )
    if not np.array_equal(one.targets, other.targets):
        first = int(np.flatnonzero(one.targets != other.targets)[0])
        raise DataError(
            f"the two sets of predictions disagree about the true class of clip {one.clips[first]!r}",
            remedy="evaluate both on the same labels",
        )


def predictions_to_dict(predictions: Predictions) -> dict[str, Any]:
    """Return predictions as JSON-safe data.

    Probabilities are rounded to 6 decimals; a row whose most probable class would change by that is kept whole.

    Returns:
        ``{"labels": [...], "probabilities": [[...]], "targets": [...], "groups": [...], "clips": [...]}``.
    """
    exact = np.asarray(predictions.probabilities, dtype=np.float64)
    rounded = np.round(exact, _DECIMALS)
    changed = np.argmax(rounded, axis=1) != np.argmax(exact, axis=1)
    rounded[changed] = exact[changed]
    return {
        "labels": list(predictions.labels),
        "probabilities": rounded.tolist(),
        "targets": predictions.targets.tolist(),
        "groups": list(predictions.groups),
        "clips": list(predictions.clips),
    }


def predictions_from_dict(content: Any, source: str = "") -> Predictions:
    """Read predictions back from what :func:`predictions_to_dict` gave.

    Args:
        content: The data, as JSON gave it.
        source: The file it came from, for messages.

    Raises:
        DataError: Something is missing or does not fit together.
    """
    remedy = "evaluate the run again to write them anew"
    missing = [key for key in _KEYS if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise DataError(f"not predictions: no list {missing[0]!r}", source=source, remedy=remedy)
    try:
        predictions = Predictions(
            labels=tuple(map(str, content["labels"])),
            probabilities=np.array(content["probabilities"], dtype=np.float64).reshape(
                len(content["targets"]), len(content["labels"])
            ),
            targets=np.array(content["targets"], dtype=np.int64),
            groups=tuple(map(str, content["groups"])),
            clips=tuple(map(str, content["clips"])),
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"not predictions: {error}", source=source, remedy=remedy) from error
    check_predictions(predictions, source)
    return predictions
