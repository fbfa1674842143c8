"""Several runs held against each other on the same clips: paired differences with intervals, for ``ngp compare``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.evaluate.intervals import Bootstrap
from newgameplus.evaluate.metrics import METRICS
from newgameplus.evaluate.predictions import check_predictions
from newgameplus.evaluate.tables import columns, shorten, wrap
from newgameplus.evaluate.verdict import number, signed, span
from newgameplus.shapes import Predictions

__all__ = ["compare_runs", "comparison_table", "mcnemar"]

_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "ece")
_REMEDY = "evaluate all runs on the same clips: ngp evaluate RUN CLIPS"


def compare_runs(
    evaluations: Sequence[tuple[str, Predictions]], *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Compare runs clip by clip; all are held against the first.

    Clips that not every run answered are left out, and counted. Classes may come in another order.

    Args:
        evaluations: Each run's name and its answers.
        resamples: Number of resamples of the groups.
        level: Of the intervals.
        seed: Of the resampling.

    Returns:
        JSON-safe data::

            {"runs": [{"name", "metrics": {"accuracy": {"value", "low", "high"}, ...}, "left_out": 0,
                       "difference": {"accuracy": {"value", "low", "high"}, ...},     this run minus the first, or null
                       "mcnemar": 0.03}],       exact p-value for equal accuracy, as if clips were independent, or null
             "clips", "groups", "unit", "level", "resamples", "seed", "cautions", "sentence"}

    Raises:
        DataError: There are fewer than two runs, two have one name, they know different classes, share no clip, or
            disagree about a clip's true class.
    """
    _check_names([name for name, _ in evaluations])
    for name, predictions in evaluations:
        check_predictions(predictions, name)
    paired = _pair(evaluations)
    first_name, first = paired[0]
    bootstrap = Bootstrap(first.groups, resamples=resamples, level=level, seed=seed)
    rows = [_row(name, predictions, bootstrap) for name, predictions in paired]
    for row, (_, predictions), (_, whole) in zip(rows, paired, evaluations, strict=True):
        row["left_out"] = len(whole.clips) - len(predictions.clips)
        if row is not rows[0]:
            row["difference"] = _difference(predictions, first, bootstrap)
            row["mcnemar"] = mcnemar(predictions, first)
    comparison: dict[str, Any] = {
        "runs": rows,
        "clips": len(first.clips),
        "groups": bootstrap.groups,
        "unit": bootstrap.unit,
        "level": level,
        "resamples": resamples,
        "seed": seed,
    }
    comparison["cautions"] = _cautions(comparison, bootstrap.caution)
    comparison["sentence"] = _sentence(comparison, first_name)
    return comparison


def _row(name: str, predictions: Predictions, bootstrap: Bootstrap) -> dict[str, Any]:
    resampled = bootstrap.values(predictions, _METRICS)
    metrics = {key: bootstrap.interval(METRICS[key].of(predictions), resampled[key]).as_dict() for key in _METRICS}
    return {"name": name, "metrics": metrics, "difference": None, "mcnemar": None}


def _difference(one: Predictions, other: Predictions, bootstrap: Bootstrap) -> dict[str, dict[str, float]]:
    here, there = bootstrap.values(one, _METRICS), bootstrap.values(other, _METRICS)
    differences = {}
    for key in _METRICS:
        value = METRICS[key].of(one) - METRICS[key].of(other)
        differences[key] = bootstrap.interval(value, here[key] - there[key], lowest=-1.0).as_dict()
    return differences


def _check_names(names: Sequence[str]) -> None:
    if len(names) < 2:
        raise DataError(f"{len(names)} run given, comparing takes two or more", remedy="name another run")
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DataError(f"run {repeated[0]!r} is given twice", remedy="name each run once")


def _pair(evaluations: Sequence[tuple[str, Predictions]]) -> list[tuple[str, Predictions]]:
    """Cut all runs down to the clips they share, in the first run's order of clips and classes."""
    first_name, first = evaluations[0]
    for name, predictions in evaluations:
        if repeated := len(predictions.clips) - len(set(predictions.clips)):
            raise DataError(f"{repeated} clips are there more than once", source=name, remedy=_REMEDY)
        if different := set(first.labels) ^ set(predictions.labels):
            named = ", ".join(map(repr, sorted(different)[:5]))
            raise DataError(
                f"{first_name} and {name} know different classes: {named}",
                remedy="compare runs that were fitted with the same classes",
            )
    shared = set(first.clips).intersection(*(predictions.clips for _, predictions in evaluations[1:]))
    if not shared:
        raise DataError("the runs have no clip in common", source=f"{first_name} and others", remedy=_REMEDY)
    order = [clip for clip in first.clips if clip in shared]
    paired = [(name, _select(predictions, order, first.labels)) for name, predictions in evaluations]
    for name, predictions in paired[1:]:
        _check_truths(first_name, paired[0][1], name, predictions)
    return paired


def _select(predictions: Predictions, clips: Sequence[str], labels: tuple[str, ...]) -> Predictions:
    """Return the answers for ``clips`` with the classes in the order of ``labels``."""
    places = {clip: place for place, clip in enumerate(predictions.clips)}
    rows = np.array([places[clip] for clip in clips], dtype=np.int64)
    class_order = [predictions.labels.index(label) for label in labels]
    new_index = np.argsort(class_order).astype(np.int64)
    return Predictions(
        labels=labels,
        probabilities=predictions.probabilities[rows][:, class_order],
        targets=new_index[predictions.targets[rows]],
        groups=tuple(predictions.groups[row] for row in rows),
        clips=tuple(clips),
    )


def _check_truths(first_name: str, first: Predictions, name: str, predictions: Predictions) -> None:
    different = np.flatnonzero(first.targets != predictions.targets)
    if len(different):
        clip = int(different[0])
        truths = [first.labels[one.targets[clip]] for one in (first, predictions)]
        raise DataError(
            f"{first_name} and {name} disagree about the true class of {len(different)} clips; "
            f"{first.clips[clip]!r} is {truths[0]!r} in one and {truths[1]!r} in the other",
            remedy="evaluate all runs with the same label file",
        )


def mcnemar(one: Predictions, other: Predictions) -> float:
    """Return the exact two-sided p-value of McNemar's test that both are right equally often on the same clips.

    It treats clips as independent, which clips of one group are not: read it beside the interval, not instead of it.
    """
    from scipy.special import bdtr  # type: ignore[import-untyped]

    right_one: npt.NDArray[np.bool_] = one.predicted == one.targets
    right_other: npt.NDArray[np.bool_] = other.predicted == other.targets
    only_one, only_other = int((right_one & ~right_other).sum()), int((right_other & ~right_one).sum())
    total = only_one + only_other
    return min(1.0, 2 * float(bdtr(min(only_one, only_other), total, 0.5))) if total else 1.0


def _cautions(comparison: dict[str, Any], caution: str) -> list[str]:
    cautions = [caution] if caution else []
    if any(row["left_out"] for row in comparison["runs"]):
        counts = ", ".join(f"{row['left_out']} of {row['name']}" for row in comparison["runs"] if row["left_out"])
        cautions.append(f"not every run answered every clip; left out: {counts}")
    return cautions


def _sentence(comparison: dict[str, Any], first_name: str) -> str:
    best = max(comparison["runs"], key=lambda row: row["metrics"]["accuracy"]["value"])
    accuracy = best["metrics"]["accuracy"]
    head = f"accuracy {number(accuracy['value'])} {span(accuracy)} on {comparison['clips']:,} shared clips"
    if best["difference"] is None:
        surely = [row for row in comparison["runs"][1:] if row["difference"]["accuracy"]["high"] < 0]
        if len(surely) == len(comparison["runs"]) - 1:
            return f"{first_name} is best: {head}, surely above every other run."
        if level := [
            row["name"] for row in comparison["runs"][1:] if row["metrics"]["accuracy"]["value"] == accuracy["value"]
        ]:
            return f"No sure difference: {first_name} and {', '.join(level)} are level, {head}."
        return f"{first_name} is ahead: {head}, but not surely above every other run."
    difference = best["difference"]["accuracy"]
    gain = f"{signed(difference['value'])} {span(difference)} against {first_name}"
    if difference["low"] > 0:
        return f"{best['name']} is better: {head}, {gain}."
    return f"No sure difference: {best['name']} has {head}, {gain}."


def comparison_table(comparison: dict[str, Any]) -> str:
    """Return what :func:`compare_runs` gave as text of at most 80 columns."""
    level = f"({comparison['level'] * 100:g} %)"
    rows = [["run", f"accuracy {level}", "macro F1", "against the first", "p"]]
    for row in comparison["runs"]:
        accuracy, difference = row["metrics"]["accuracy"], row["difference"]
        rows.append(
            [
                shorten(row["name"], 16),
                f"{number(accuracy['value'])} {span(accuracy)}",
                number(row["metrics"]["macro_f1"]["value"]),
                f"{signed(difference['accuracy']['value'])} {span(difference['accuracy'])}" if difference else "",
                "" if row["mcnemar"] is None else f"{row['mcnemar']:.2g}",
            ]
        )
    lines = [*wrap(comparison["sentence"], ""), "", *columns(rows)]
    lines.append("p: exact McNemar test; it takes clips for independent, so trust the interval")
    return "\n".join(lines + [line for caution in comparison["cautions"] for line in wrap(f"caution: {caution}")])
