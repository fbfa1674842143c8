"""Ways to make levels held against each other: the evaluation of the scene scenario, as plain data.

An evaluation, as written to ``evaluation.json`` and read by the report; an interval ``I`` is ``{"value", "low",
"high"}``, and whatever is not known is null::

    {"scenario": "scene", "rules": "platformer", "samples": 100, "confidence": 0.95,
     "training_levels": {"count", "heights": [least, most], "widths": [least, most]}, "held_out": 4,
     "arms": [{
       "name", "title", "kind": "fine-tuned" | "baseline" | "reference", "note",
       "raw": {
         "samples",                                        those that came to nothing included
         "playable": I, "playable_and_novel": I, "good": I,    good: playable, novel and without a flaw
         "flawed": I, "undecided": 0.0,                    of the levels made; share of samples the solver gave up on
         "novelty": {"mean_distance", "mean_share", "novel"},  edits to the nearest training level; novel: 5 or more
         "copied": {"1": 0.9, ..., "16": 0.1},             share of n-column windows that stand in a training level
         "diversity", "diversity_exact", "mean_distance",  largest set 5 or more edits apart, over n, and whether that
                                                           is exact or a lower bound; mean of all pairs
         "divergence": {"2x2", "3x3", "4x4"},              tile patterns, KL(samples || training) in nats
         "measures": {"enemies": {"mean", "training_mean"}}, "seconds_per_level"},
       "bits_per_tile": I,                                 on the held-out levels
       "delivered": {"asked", "delivered", "samples", "repairs", "samples_per_level", "seconds_per_level"},
       "control": {"requests", "met_exactly": I, "mean_error", "playable": I},
       "training": {"seconds", "steps", "trainable_parameters"}}],
     "verdict": {"outcome", "sentence", "against", "metric", "difference": I}, "tiles": [...], "notes": [...]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from newgameplus.errors import DataError
from newgameplus.evaluate.intervals import Interval
from newgameplus.evaluate.scene_arms import ControlTrial, Delivery, SceneArm
from newgameplus.evaluate.scene_intervals import mean_interval, ratio_interval, share_interval
from newgameplus.evaluate.scene_metrics import NOVEL_DISTANCE, NearestLevels, diversity, mean_distance
from newgameplus.evaluate.scene_patterns import copied_window_counts, pattern_divergence
from newgameplus.evaluate.scene_verdict import judge_scenes
from newgameplus.games.measures import measure, measures_of
from newgameplus.games.rules.contract import Answer, Budget, Rules
from newgameplus.games.scenes import Level
from newgameplus.progress import task

__all__ = ["SceneReference", "compare_scenes", "judge", "summarize"]

_PATTERN_SIZES = (2, 3, 4)
_FEWEST_SAMPLES = 30
_BUDGET = Budget()
_KINDS = ("fine-tuned", "baseline", "reference")


def judge(
    levels: Sequence[Level], rules: Rules, budget: Budget = _BUDGET, title: str = "solving levels"
) -> list[Answer]:
    """Solve levels one after another, each proof checked by the rules' own replayer.

    A proof that does not replay counts for nothing: that answer is ``undecided``, with what the replayer said.
    """
    answers = []
    with task(title, len(levels), "levels") as progress:
        for level in levels:
            answer = rules.solve(level, budget)
            if answer.proof is not None and (wrong := rules.replay(level, answer.proof)):
                answer = Answer("undecided", reason=f"the solver's proof does not hold: {wrong}", at=answer.at)
            answers.append(answer)
            progress.advance()
    return answers


class SceneReference:
    """What samples are held against: the training levels, with what is worth computing only once.

    Args:
        training: The training levels.
        rules: The rules, for flaws and for their name.
        answers: What the solver says of the training levels, for the measures that need it; None if unknown.

    Raises:
        DataError: There is no training level, or not one answer a level.
    """

    def __init__(self, training: Sequence[Level], rules: Rules, answers: Sequence[Answer] | None = None) -> None:
        if answers is not None and len(answers) != len(training):
            message = f"{len(training)} training levels, but {len(answers)} answers"
            raise DataError(message, source="training levels", remedy="judge each once")
        self.training, self.rules = training, rules
        self.nearest = NearestLevels(training)
        self.measures = measures_of(training)
        self.means = _means(training, answers or [None] * len(training), self.measures)

    def describe(self) -> dict[str, Any]:
        """Return how many training levels there are and their sizes, as plain data."""
        heights, widths = [level.height for level in self.training], [level.width for level in self.training]
        return {
            "count": len(self.training),
            "heights": [min(heights), max(heights)],
            "widths": [min(widths), max(widths)],
        }


def compare_scenes(
    arms: Sequence[SceneArm],
    reference: SceneReference,
    *,
    tiles: Sequence[Any] = (),
    notes: Sequence[str] = (),
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Evaluate all arms against the same training levels.

    Args:
        arms: The arms that ran.
        reference: The training levels and the rules.
        tiles: Passed through: how tiles of a pretrained model were mapped.
        notes: Passed through, with what this evaluation has to say behind them.
        confidence: Of the intervals.
        seed: Of the resampling.

    Returns:
        The evaluation, JSON-safe; see the head of this module. The fine-tuned model comes first, then baselines from
        the best to the worst, then references.

    Raises:
        DataError: There is no arm, two have the same name, or their bits are about different held-out levels.
    """
    _check(arms)
    rows = [summarize(arm, reference, confidence, seed) for arm in arms]
    rows.sort(key=lambda row: (_KINDS.index(row["kind"]), -_value(row["raw"]["good"])))
    bits = {arm.name: arm.bits for arm in arms if arm.bits is not None}
    return {
        "scenario": "scene",
        "rules": reference.rules.name,
        "samples": max(arm.samples for arm in arms),
        "confidence": confidence,
        "training_levels": reference.describe(),
        "held_out": max((len(one.tiles) for one in bits.values()), default=0),
        "arms": rows,
        "verdict": judge_scenes(rows, bits, confidence, seed),
        "tiles": list(tiles),
        "notes": [*notes, *_notes(arms, rows, reference.training)],
    }


def _value(interval: Mapping[str, float] | None) -> float:
    return interval["value"] if interval else 0.0


def _check(arms: Sequence[SceneArm]) -> None:
    if not arms:
        raise DataError("there is nothing to compare: no arm ran", remedy="evaluate at least one model")
    names = [arm.name for arm in arms]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DataError(f"two arms are named {repeated[0]!r}", remedy="give every arm its own name")
    first = next((arm for arm in arms if arm.bits is not None), None)
    for arm in arms:
        if first is None or arm.bits is None or first.bits is None:
            continue
        if len(arm.bits.bits) != len(arm.bits.tiles) or not np.array_equal(arm.bits.tiles, first.bits.tiles):
            message = f"bits of {arm.name} and of {first.name} are not about the same held-out levels"
            raise DataError(message, source="bits per tile", remedy="score the same levels in the same order")


def summarize(arm: SceneArm, reference: SceneReference, confidence: float = 0.95, seed: int = 0) -> dict[str, Any]:
    """Return one arm's row of an evaluation; see the head of this module."""
    bits = None
    if arm.bits is not None:
        bits = ratio_interval(arm.bits.bits, arm.bits.tiles, confidence, seed, positive=True)
    training = arm.training
    return {
        "name": arm.name,
        "title": arm.title,
        "kind": arm.kind,
        "note": arm.note,
        "raw": _raw(arm, reference, confidence, seed),
        "bits_per_tile": _plain(bits),
        "delivered": _delivered(arm.delivery) if arm.delivery is not None else None,
        "control": _control(arm.control, confidence) if arm.control is not None else None,
        "training": None
        if training is None
        else {
            "seconds": _finite(training.seconds),
            "steps": int(training.steps),
            "trainable_parameters": int(training.trainable_parameters),
        },
    }


def _raw(arm: SceneArm, reference: SceneReference, confidence: float, seed: int) -> dict[str, Any]:
    near = [reference.nearest.find(level) for level in arm.levels]
    playable = np.array([answer.playable for answer in arm.answers], np.bool_)
    novel = np.array([one.distance >= NOVEL_DISTANCE for one in near], np.bool_)
    flawed = np.array([bool(reference.rules.flaws(level)) for level in arm.levels], np.bool_)
    undecided = sum(answer.status == "undecided" for answer in arm.answers)

    def share(which: Any, total: int = arm.samples) -> dict[str, float] | None:
        return _plain(share_interval(int(which.sum()), total, confidence))

    return {
        "samples": arm.samples,
        "playable": share(playable),
        "playable_and_novel": share(playable & novel),
        "good": share(playable & novel & ~flawed),
        "flawed": share(flawed, len(arm.levels)),
        "undecided": _finite(undecided / arm.samples) if arm.samples else None,
        "novelty": {
            "mean_distance": _mean([one.distance for one in near]),
            "mean_share": _mean([one.share for one in near]),
            "novel": _mean(novel.tolist()),
        },
        **_likeness(arm, reference, seed),
        "seconds_per_level": _finite(arm.seconds / arm.samples) if arm.seconds is not None and arm.samples else None,
    }


def _likeness(arm: SceneArm, reference: SceneReference, seed: int) -> dict[str, Any]:
    """Return what the samples are like as a set, beside the training levels."""
    copied = copied_window_counts(arm.levels, reference.training)
    apart = diversity(arm.levels)
    means = _means(arm.levels, arm.answers, reference.measures)
    return {
        "copied": {str(n): _finite(share) for n, share in zip(copied.windows, copied.shares(), strict=True)},
        "diversity": _finite(apart.share),
        "diversity_exact": apart.exact,
        "mean_distance": _finite(mean_distance(arm.levels, seed)),
        "divergence": {
            f"{size}x{size}": _finite(pattern_divergence(arm.levels, reference.training, size))
            for size in _PATTERN_SIZES
        },
        "measures": {
            name: {"mean": means[name], "training_mean": reference.means[name]}
            for name in reference.measures
            if means[name] is not None or reference.means[name] is not None
        },
    }


def _means(levels: Sequence[Level], answers: Sequence[Answer | None], names: Sequence[str]) -> dict[str, float | None]:
    values = [measure(level, names, answer) for level, answer in zip(levels, answers, strict=True)]
    return {name: _mean([one[name] for one in values]) for name in names}


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if isfinite(value)]
    return float(np.mean(known)) if known else None


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def _plain(interval: Interval | None) -> dict[str, float] | None:
    return interval.as_dict() if interval is not None else None


def _delivered(delivery: Delivery) -> dict[str, Any]:
    per_level = max(delivery.delivered, 1)
    return {
        "asked": delivery.asked,
        "delivered": delivery.delivered,
        "samples": delivery.samples,
        "repairs": delivery.repairs,
        "samples_per_level": delivery.samples / per_level if delivery.delivered else None,
        "seconds_per_level": _finite(delivery.seconds / per_level) if delivery.delivered else None,
    }


def _control(trial: ControlTrial, confidence: float) -> dict[str, Any]:
    requests = len(trial.exact)
    errors = mean_interval([error for error in trial.errors if error is not None], confidence)
    return {
        "requests": requests,
        "met_exactly": _plain(share_interval(sum(map(bool, trial.exact)), requests, confidence)),
        "mean_error": errors.value if errors is not None else None,
        "playable": _plain(share_interval(sum(map(bool, trial.playable)), requests, confidence)),
    }


def _notes(arms: Sequence[SceneArm], rows: Sequence[Mapping[str, Any]], training: Sequence[Level]) -> list[str]:
    notes = [
        f"{arm.title}: {arm.missing} of {arm.samples} samples came to nothing; they count as unplayable"
        for arm in arms
        if arm.missing
    ]
    notes += [
        f"{row['title']}: the diversity is a lower bound, the exact search took too long"
        for row in rows
        if not row["raw"]["diversity_exact"]
    ]
    heights = {level.height for arm in arms for level in arm.levels}
    fitting = sum(level.height in heights for level in training)
    if heights and fitting < len(training):
        notes.append(f"copied columns are looked for in the {fitting} of {len(training)} training levels as high")
    few = [f"{arm.samples} of {arm.title}" for arm in arms if arm.samples < _FEWEST_SAMPLES]
    return [*notes, f"few samples ({', '.join(few)}), so the numbers are rough"] if few else notes
