"""The verdict on scenes: did fine-tuning make more good levels than the best baseline that learns?

A raw sample is good when it can be played, lies five or more edits from every training level, and has no broken
structure. The fine-tuned model is held against the baseline with the largest share of good levels, the nearest-copy
cheat left out:

- ``helped``: the whole interval of the difference lies above 0;
- ``worse``: the whole interval lies below 0;
- ``no gain``: it holds 0, or there is nothing to hold it against.

The best baseline is picked on the same samples, which favors the baseline: the verdict errs on the modest side.
Bits per tile on held-out levels, paired level by level, are told beside it and decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from newgameplus.evaluate.scene_arms import COPY_CHEAT, HeldOutBits
from newgameplus.evaluate.scene_intervals import ratio_difference, share_difference
from newgameplus.evaluate.verdict import number, span

__all__ = ["METRIC", "good_difference", "judge_scenes"]

METRIC = "good"

_OPENINGS = {"helped": "Fine-tuning helped", "worse": "Fine-tuning made it worse", "no gain": "No sure gain"}
_BITS_AGAINST = ("scratch", "zero-shot")
_GOOD = "are good (playable, new, unbroken)"

Row = Mapping[str, Any]


def good_difference(one: Row, other: Row, confidence: float = 0.95) -> dict[str, float] | None:
    """Return how much larger the share of good levels is in one arm's row than in another's, as an interval."""
    counts = [_count(row) for row in (one, other) if row["raw"][METRIC]]
    if len(counts) < 2:
        return None
    found = share_difference(*counts[0], *counts[1], confidence)
    return found.as_dict() if found is not None else None


def _count(row: Row) -> tuple[int, int]:
    """Return how many raw samples are good, and of how many."""
    samples = int(row["raw"]["samples"])
    return round(row["raw"][METRIC]["value"] * samples), samples


def judge_scenes(
    rows: Sequence[Row], bits: Mapping[str, HeldOutBits], confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Judge the arms of an evaluation.

    Args:
        rows: The arms, as ``scene_evaluation.summarize`` makes them.
        bits: Bits on the same held-out levels, by arm.
        confidence: Of the intervals.
        seed: Of the resampling.

    Returns:
        ``{"outcome", "sentence", "against", "metric", "difference"}``; against and difference are null where there is
        no fine-tuned model, no baseline that learns, or no sample.
    """
    ours = next((row for row in rows if row["kind"] == "fine-tuned"), None)
    rivals = [row for row in rows if row["kind"] == "baseline" and row["name"] != COPY_CHEAT and row["raw"][METRIC]]
    if ours is None or not ours["raw"][METRIC]:
        return _verdict("no gain", "No verdict: the fine-tuned model made no levels.")
    held_out = _bits_sentence(ours, rows, bits, confidence, seed)
    if not rivals:
        sentence = f"No verdict: {_share(ours)}, but no baseline that learns ran to hold it against.{held_out}"
        return _verdict("no gain", sentence)
    best = max(rivals, key=lambda row: (row["raw"][METRIC]["value"], row["raw"]["samples"]))
    difference = good_difference(ours, best, confidence)
    if difference is None:
        return _verdict("no gain", f"No verdict: {_share(ours)}.{held_out}")
    outcome = _outcome(difference)
    sentence = f"{_OPENINGS[outcome]}: {_share(ours)}, {_against(difference, best)}.{held_out}"
    return _verdict(outcome, sentence, best["name"], difference)


def _verdict(
    outcome: str, sentence: str, against: str | None = None, difference: dict[str, float] | None = None
) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "sentence": sentence,
        "against": against,
        "metric": METRIC,
        "difference": difference,
    }


def _outcome(difference: Mapping[str, float]) -> str:
    if difference["low"] > 0:
        return "helped"
    return "worse" if difference["high"] < 0 else "no gain"


def _share(row: Row) -> str:
    good, (count, samples) = row["raw"][METRIC], _count(row)
    return f"{count} of {samples} raw samples {_GOOD}, {number(good['value'])} {span(good)}"


def _against(difference: Mapping[str, float], best: Row) -> str:
    named = f"the best baseline that learns ({best['title']}, {number(best['raw'][METRIC]['value'])})"
    if number(abs(difference["value"])) == "0.00":
        return f"the same as {named}, difference {span(difference)}"
    if difference["value"] > 0:
        return f"{number(difference['value'])} {span(difference)} above {named}"
    turned = {"low": -difference["high"], "high": -difference["low"]}
    return f"{number(-difference['value'])} {span(turned)} below {named}"


def _bits_sentence(
    ours: Row, rows: Sequence[Row], bits: Mapping[str, HeldOutBits], confidence: float, seed: int
) -> str:
    """Say how many bits a tile the model needs on held-out levels beside those it should beat; empty if unknown."""
    own = bits.get(ours["name"])
    if own is None or not ours["bits_per_tile"]:
        return ""
    parts = []
    for row in rows:
        other = bits.get(row["name"])
        if row["name"] not in _BITS_AGAINST or other is None or not row["bits_per_tile"]:
            continue
        saved = ratio_difference(other.bits, own.bits, own.tiles, confidence, seed)
        if saved is not None:
            parts.append(f"{row['title']} {_saved(saved.as_dict(), len(own.tiles))}")
    count = f"{len(own.tiles)} held-out level{'s' if len(own.tiles) > 1 else ''}"
    against = f"; {', '.join(parts)}" if parts else ""
    return f" On {count} it needs {number(ours['bits_per_tile']['value'])} bits a tile{against}."


def _saved(saved: Mapping[str, float], levels: int) -> str:
    """Write what another model needs more, or fewer, bits than ours."""
    if levels < 2:
        more = "more" if saved["value"] >= 0 else "fewer"
        return f"{number(abs(saved['value']))} {more} (one level: no interval)"
    if saved["value"] < 0:
        turned = {"low": -saved["high"], "high": -saved["low"]}
        return f"{number(-saved['value'])} {span(turned)} fewer{'' if saved['high'] < 0 else ', not surely'}"
    return f"{number(saved['value'])} {span(saved)} more{'' if saved['low'] > 0 else ', not surely'}"
