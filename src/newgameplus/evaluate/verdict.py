"""The verdict: one sentence with intervals on whether fine-tuning helped, against the best baseline.

How it is judged, by the paired difference in accuracy between the fine-tuned model and the best baseline:

- ``helped``: the whole interval lies above 0;
- ``hurt``: the whole interval lies below 0;
- ``no gain``: it holds 0 and leaves no room for a gain of 0.03 or more;
- ``undecided``: it holds 0, but a gain of 0.03 or more is possible: there is too little data to tell; or nothing but
  the most frequent class was there to beat, which any model does.

The best baseline is picked on the test clips themselves, which favours the baseline: the verdict errs on the modest
side. Where classes are imbalanced (the largest has over 4 times the clips of the smallest), accuracy can hide what
happens to rare classes, so the sentence also gives the difference in macro F1 to the best baseline by macro F1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["WORTHWHILE", "judge", "number", "signed", "span"]

WORTHWHILE = 0.03
"""The smallest gain in accuracy worth having; where it is ruled out, the verdict says "no gain"."""

_OPENINGS = {
    "helped": "Fine-tuning helped",
    "hurt": "Fine-tuning hurt",
    "no gain": "No gain",
    "undecided": "Too little data to tell",
}


def number(value: float) -> str:
    """Write a share with two decimals, without a negative zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def signed(value: float) -> str:
    """Write a difference with its sign: ``+0.07``, ``-0.02``, ``0.00``."""
    text = number(value)
    return f"+{text}" if value > 0 and text != "0.00" else text.replace("-0.00", "0.00")


def span(interval: Mapping[str, float]) -> str:
    """Write the ends of an interval: ``(0.77 to 0.85)``."""
    return f"({number(interval['low'])} to {number(interval['high'])})"


def _outcome(difference: dict[str, float]) -> str:
    if difference["low"] > 0:
        return "helped"
    if difference["high"] < 0:
        return "hurt"
    return "no gain" if difference["high"] < WORTHWHILE else "undecided"


def judge(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Judge an evaluation.

    Args:
        evaluation: As ``comparison.compare`` makes it; its verdict is not read.

    Returns:
        ``{"outcome", "sentence", "metric", "against", "difference", "low", "high"}``; outcome is ``helped``,
        ``no gain``, ``hurt`` or ``undecided``; against is the best baseline's name. Without a fine-tuned model or a
        baseline, the outcome is ``undecided`` and the last four are null.
    """
    reference = next((row for row in evaluation["arms"] if row["name"] == evaluation["reference"]), None)
    baselines = [row for row in evaluation["arms"] if row["kind"] == "baseline" and row is not reference]
    if reference is None or not baselines:
        return _unjudged(evaluation, reference)
    best = _best(baselines, "accuracy")
    difference = best["difference"]["accuracy"]
    outcome, opening = _outcome(difference), ""
    if outcome == "helped" and evaluation["skipped"] and all(row["name"] == "majority" for row in baselines):
        outcome, opening = "undecided", "No verdict, as no other model was held against it"
    sentence = f"{opening or _OPENINGS[outcome]}: {_accuracy(reference, evaluation)}, "
    sentence += _against(difference, best, "accuracy")
    if evaluation["imbalanced"]:
        sentence += f"; {_macro(reference, baselines)}"
    return {
        "outcome": outcome,
        "sentence": f"{sentence}.",
        "metric": "accuracy",
        "against": best["name"],
        "difference": difference["value"],
        "low": difference["low"],
        "high": difference["high"],
    }


def _best(baselines: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    """Return the baseline with the highest value; of equals the one that fine-tuning beats least surely."""
    return max(baselines, key=lambda row: (row["metrics"][metric]["value"], -row["difference"][metric]["low"]))


def _where(evaluation: dict[str, Any]) -> str:
    groups = evaluation["groups"]
    return "1 group never seen" if groups == 1 else f"{groups} groups never seen"


def _accuracy(row: dict[str, Any], evaluation: dict[str, Any]) -> str:
    accuracy = row["metrics"]["accuracy"]
    return f"accuracy {number(accuracy['value'])} {span(accuracy)} on {_where(evaluation)}"


def _against(difference: dict[str, float], baseline: dict[str, Any], metric: str) -> str:
    named = f"the best baseline ({baseline['title']}, {number(baseline['metrics'][metric]['value'])})"
    if number(difference["value"]) in ("0.00", "-0.00"):
        return f"the same as {named}, difference {span(difference)}"
    if difference["value"] > 0:
        return f"{number(difference['value'])} {span(difference)} above {named}"
    turned = {"low": -difference["high"], "high": -difference["low"]}
    return f"{number(-difference['value'])} {span(turned)} below {named}"


def _macro(reference: dict[str, Any], baselines: list[dict[str, Any]]) -> str:
    best = _best(baselines, "macro_f1")
    value = number(reference["metrics"]["macro_f1"]["value"])
    return f"by macro F1, as classes are uneven: {value}, {_against(best['difference']['macro_f1'], best, 'macro_f1')}"


def _unjudged(evaluation: dict[str, Any], reference: dict[str, Any] | None) -> dict[str, Any]:
    if reference is None:
        sentence = "No verdict: the fine-tuned model was not evaluated."
    else:
        accuracy = _accuracy(reference, evaluation)
        sentence = f"No verdict: {accuracy}, but no baseline ran to hold it against."
    return {
        "outcome": "undecided",
        "sentence": sentence,
        "metric": "accuracy",
        "against": None,
        "difference": None,
        "low": None,
        "high": None,
    }
