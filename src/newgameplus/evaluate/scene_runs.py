"""Several runs that make levels held against each other, for ``ngp compare``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from newgameplus.errors import DataError
from newgameplus.evaluate.scene_tables import share_text
from newgameplus.evaluate.scene_verdict import METRIC, good_difference
from newgameplus.evaluate.tables import columns, shorten, wrap
from newgameplus.evaluate.verdict import number, signed, span

__all__ = ["compare_scene_runs", "scene_runs_table"]


def compare_scene_runs(evaluations: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Compare the fine-tuned models of several runs by their raw samples; all are held against the first.

    Args:
        evaluations: Each run's evaluation, as ``scene_evaluation.compare_scenes`` makes it, by the run's name.

    Returns:
        JSON-safe data; an interval ``I`` is ``{"value", "low", "high"}``::

            {"scenario": "scene",
             "runs": [{"name", "rules", "samples", "good": I, "playable": I, "flawed": I, "copied": {"1": ...},
                       "divergence": {"2x2", "3x3", "4x4"}, "diversity", "bits_per_tile": I, "delivered": {...},
                       "difference": I}],                 share of good levels, this run minus the first; null there
             "confidence", "cautions", "sentence"}

    Raises:
        DataError: There are fewer than two runs, or one holds no fine-tuned model that made levels.
    """
    if len(evaluations) < 2:
        raise DataError(f"{len(evaluations)} run given, comparing takes two or more", remedy="name another run")
    arms = {name: _fine_tuned(name, evaluation) for name, evaluation in evaluations.items()}
    first = next(iter(arms.values()))
    confidence = float(next(iter(evaluations.values()))["confidence"])
    rows = [_row(name, evaluations[name]["rules"], arm) for name, arm in arms.items()]
    for row, arm in zip(rows[1:], list(arms.values())[1:], strict=True):
        row["difference"] = good_difference(arm, first, confidence)
    return {
        "scenario": "scene",
        "runs": rows,
        "confidence": confidence,
        "cautions": _cautions(evaluations),
        "sentence": _sentence(rows),
    }


def _fine_tuned(name: str, evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    if evaluation.get("scenario") != "scene":
        message = f"it is no run of the scene scenario: {evaluation.get('scenario', 'another')}"
        raise DataError(message, source=name, remedy="compare runs of one scenario")
    for arm in evaluation["arms"]:
        if arm["kind"] == "fine-tuned" and arm["raw"][METRIC]:
            found: Mapping[str, Any] = arm
            return found
    raise DataError("its evaluation has no level of a fine-tuned model", source=name, remedy=f"ngp evaluate {name}")


def _row(name: str, rules: str, arm: Mapping[str, Any]) -> dict[str, Any]:
    raw = arm["raw"]
    same = ("samples", METRIC, "playable", "flawed", "copied", "divergence", "diversity")
    return {
        "name": name,
        "rules": rules,
        **{key: raw[key] for key in same},
        "bits_per_tile": arm["bits_per_tile"],
        "delivered": arm["delivered"],
        "difference": None,
    }


def _cautions(evaluations: Mapping[str, Mapping[str, Any]]) -> list[str]:
    cautions = []
    if len(rules := sorted({evaluation["rules"] for evaluation in evaluations.values()})) > 1:
        cautions.append(f"the runs were judged by different rules: {', '.join(rules)}")
    if len({str(evaluation["training_levels"]) for evaluation in evaluations.values()}) > 1:
        cautions.append("the training levels differ, so new, copied and KL are against different levels")
    if len({evaluation["held_out"] for evaluation in evaluations.values()}) > 1:
        cautions.append("the held-out levels differ, so bits a tile do not compare")
    return cautions


def _sentence(rows: list[dict[str, Any]]) -> str:
    best = max(rows, key=lambda row: row[METRIC]["value"])
    head = f"{share_text(best[METRIC])} of its {best['samples']} raw samples are good"
    if best["difference"] is None:
        if all(row["difference"]["high"] < 0 for row in rows[1:]):
            return f"{best['name']} is best: {head}, surely more than in every other run."
        if level := [row["name"] for row in rows[1:] if row[METRIC]["value"] == best[METRIC]["value"]]:
            return f"No sure difference: {best['name']} and {', '.join(level)} are level, {head}."
        return f"{best['name']} is ahead: {head}, but not surely above every other run."
    gain = f"{_gain(best['difference'])} against {rows[0]['name']}"
    if best["difference"]["low"] > 0:
        return f"{best['name']} is better: {head}, {gain}."
    return f"No sure difference: in {best['name']} {head}, {gain}."


def _gain(difference: Mapping[str, float]) -> str:
    return f"{signed(difference['value'])} {span(difference)}"


def scene_runs_table(comparison: Mapping[str, Any]) -> str:
    """Return what :func:`compare_scene_runs` gave as text of at most 80 columns."""
    rows = [["run", f"good ({comparison['confidence'] * 100:g} %)", "play", "KL 4x4", "bits", "against the first"]]
    for row in comparison["runs"]:
        divergence = row["divergence"]["4x4"]
        rows.append(
            [
                shorten(row["name"], 14),
                share_text(row[METRIC]),
                share_text(row["playable"], ends=False),
                "-" if divergence is None else number(divergence),
                share_text(row["bits_per_tile"], ends=False),
                _gain(row["difference"]) if row["difference"] else "",
            ]
        )
    lines = [*wrap(comparison["sentence"], ""), "", *columns(rows)]
    lines += wrap("good: raw samples that can be played, are new and unbroken; bits: a tile on held-out levels", "")
    return "\n".join(lines + [line for caution in comparison["cautions"] for line in wrap(f"caution: {caution}")])
