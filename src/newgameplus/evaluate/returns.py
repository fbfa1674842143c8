"""How well policies play, and how sure that is: the measures of rliable, with intervals that respect the games.

After Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021, arXiv
2108.13264). *Scores* are numbers by *task* (a game, a level): one number for each run of an algorithm, or one for each
episode of a single run. Tasks weigh alike, however many runs each has. Resampling is stratified: runs are drawn with
replacement within their task, and the tasks stay.

A resample is a row of weights, so every measure here takes weights: the interquartile mean gives the runs at its two
cuts the fraction of themselves that lies between them, and needs no sorting for each resample.

The ends of intervals are those of :func:`newgameplus.evaluate.intervals.interval_ends`, wider for few runs than plain
percentiles. A single run has no spread to learn from: then both ends are the number itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.evaluate.intervals import Interval, interval_ends
from newgameplus.evaluate.resamples import Resamples
from newgameplus.evaluate.scene_intervals import share_interval

__all__ = [
    "AGGREGATES",
    "Profile",
    "Scores",
    "aggregate",
    "aggregate_difference",
    "aggregate_interval",
    "interquartile_mean",
    "mean_interval",
    "performance_profile",
    "probability_of_improvement",
    "sample_median",
    "success_interval",
]

Floats = npt.NDArray[np.float64]
Scores = Mapping[str, npt.ArrayLike]
"""By task, float64 [runs]; finite numbers, at least one a task."""

Measure = Callable[[Sequence[Floats], Sequence[Floats]], Floats]
"""From each task's values [runs] and weights [resamples, runs] (rows sum to 1) to one number a resample."""


def _joined(values: Sequence[Floats], weights: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Put all tasks into one sample, in which each weighs alike."""
    return np.concatenate(values), np.concatenate(weights, axis=-1) / len(values)


def interquartile_mean(values: npt.ArrayLike, weights: Floats | None = None) -> Floats:
    """Return the mean of the middle half of values; those at the cuts count by the fraction that lies inside.

    Args:
        values: float64 [n], n at least 1.
        weights: float64 [..., n], rows that sum to 1; equal ones if None.

    Returns:
        float64 [...].
    """
    array = np.asarray(values, np.float64)
    rows = np.full(len(array), 1 / len(array)) if weights is None else weights
    order = np.argsort(array, kind="stable")
    upper = np.cumsum(rows[..., order], axis=-1)
    upper /= upper[..., -1:]
    inside = np.diff(np.clip(upper, 0.25, 0.75), axis=-1, prepend=0.25)
    inside /= inside.sum(axis=-1, keepdims=True)
    found: Floats = inside @ array[order]
    return found


def sample_median(values: npt.ArrayLike, weights: Floats | None = None) -> Floats:
    """Return the median of values; between two of them where the weights are halved exactly there.

    Args:
        values: float64 [n], n at least 1.
        weights: float64 [..., n], rows that sum to 1; equal ones if None.

    Returns:
        float64 [...].
    """
    array = np.asarray(values, np.float64)
    rows = np.full(len(array), 1 / len(array)) if weights is None else weights
    order = np.argsort(array, kind="stable")
    below = np.cumsum(rows[..., order], axis=-1)
    small = 1e-9  # sums of fractions miss one half by less than this
    first = np.argmax(below >= 0.5 - small, axis=-1)
    second = np.argmax(below > 0.5 + small, axis=-1)
    found: Floats = (array[order][first] + array[order][second]) / 2
    return found


def _mean(values: Sequence[Floats], weights: Sequence[Floats]) -> Floats:
    found: Floats = np.mean([row @ value for value, row in zip(values, weights, strict=True)], axis=0)
    return found


def _median_of_tasks(values: Sequence[Floats], weights: Sequence[Floats]) -> Floats:
    found: Floats = np.median([row @ value for value, row in zip(values, weights, strict=True)], axis=0)
    return found


def _interquartile_mean(values: Sequence[Floats], weights: Sequence[Floats]) -> Floats:
    return interquartile_mean(*_joined(values, weights))


def _median_of_runs(values: Sequence[Floats], weights: Sequence[Floats]) -> Floats:
    return sample_median(*_joined(values, weights))


def _optimality_gap(values: Sequence[Floats], weights: Sequence[Floats]) -> Floats:
    return 1 - _mean([np.minimum(value, 1.0) for value in values], weights)


AGGREGATES: Mapping[str, Measure] = MappingProxyType(
    {
        "mean": _mean,
        "median": _median_of_tasks,
        "iqm": _interquartile_mean,
        "optimality_gap": _optimality_gap,
        "median_run": _median_of_runs,
    }
)
"""Numbers for all tasks together. ``mean``: of the tasks' means; ``median``: of the tasks' means; ``iqm``: the middle
half of all runs; ``optimality_gap``: how far scores stay below 1 on average, more than 1 counting as 1 (for scores
that are normalized so that 1 is the aim); ``median_run``: of all runs, not a measure of rliable."""


def _checked(scores: Scores, name: str = "scores") -> dict[str, Floats]:
    """Return scores as arrays.

    Raises:
        DataError: There is no task, or one has no run or a number that is not finite.
    """
    arrays = {task: np.asarray(runs, np.float64) for task, runs in scores.items()}
    if not arrays:
        raise DataError("there is no score", source=name, remedy="play at least one episode of one game")
    for task, runs in arrays.items():
        if runs.ndim != 1 or not len(runs):
            raise DataError(f"scores have the shape {runs.shape}, not [runs]", source=f"{name}, {task}",
                            remedy="give one number for each run")  # fmt: skip
        if not np.isfinite(runs).all():
            bad = runs[~np.isfinite(runs)][0]
            raise DataError(f"a score is {bad}", source=f"{name}, {task}", remedy="find the episode that gave it")
    return arrays


def _sizes(scores: Mapping[str, Floats]) -> dict[str, int]:
    return {task: len(runs) for task, runs in scores.items()}


def _even(scores: Mapping[str, Floats]) -> list[Floats]:
    return [np.full(len(runs), 1 / len(runs)) for runs in scores.values()]


def aggregate(scores: Scores, measure: str = "iqm") -> float:
    """Return one number for all tasks.

    Args:
        scores: By task, a number for each run.
        measure: Name out of ``AGGREGATES``.

    Raises:
        DataError: A task has no run, or a score is not finite.
    """
    arrays = _checked(scores)
    return float(AGGREGATES[measure](list(arrays.values()), _even(arrays)))


def aggregate_interval(
    scores: Scores, measure: str = "iqm", *, resamples: int = 2000, level: float = 0.95, seed: int | Sequence[int] = 0
) -> Interval:
    """Return one number for all tasks with its stratified bootstrap interval; see :func:`aggregate`."""
    arrays = _checked(scores)
    drawn = Resamples(_sizes(arrays), resamples=resamples, level=level, seed=seed)
    values = list(arrays.values())
    resampled = np.concatenate([AGGREGATES[measure](values, weights) for weights in drawn.weights()])
    return drawn.interval(float(AGGREGATES[measure](values, _even(arrays))), resampled)


def aggregate_difference(
    one: Scores,
    other: Scores,
    measure: str = "mean",
    *,
    paired: bool = False,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int | Sequence[int] = 0,
) -> Interval:
    """Return how much higher a measure is in ``one`` than in ``other``.

    Args:
        one: By task, a number for each run.
        other: The same tasks.
        measure: Name out of ``AGGREGATES``.
        paired: Whether run ``n`` of both is about the same thing (such as the same level), to be drawn together.
        resamples: Number of resamples.
        level: Of the interval.
        seed: Of the resampling.

    Raises:
        DataError: The tasks differ, a score is not finite, or paired runs differ in number.
    """
    first, second = _same_tasks(one, other, paired)
    here, there = _pair_of_resamples(first, second, paired, resamples, level, seed)
    take = AGGREGATES[measure]
    parts = [
        take(list(first.values()), weights) - take(list(second.values()), others)
        for weights, others in _together(here, there)
    ]
    value = take(list(first.values()), _even(first)) - take(list(second.values()), _even(second))
    return _looser(here, there).interval(float(value), np.concatenate(parts))


def _same_tasks(one: Scores, other: Scores, paired: bool) -> tuple[dict[str, Floats], dict[str, Floats]]:
    first, second = _checked(one), _checked(other)
    if set(first) != set(second):
        named = ", ".join(sorted(set(first) ^ set(second))[:5])
        raise DataError(f"only one of the two has scores of {named}", source="scores", remedy="compare the same games")
    second = {task: second[task] for task in first}
    if paired and _sizes(first) != _sizes(second):
        message = f"runs cannot be paired: {_sizes(first)} against {_sizes(second)}"
        raise DataError(message, source="scores", remedy="compare without pairing, or play the same episodes")
    return first, second


def _pair_of_resamples(
    first: Mapping[str, Floats],
    second: Mapping[str, Floats],
    paired: bool,
    resamples: int,
    level: float,
    seed: int | Sequence[int],
) -> tuple[Resamples, Resamples]:
    """Return the resamples of both; paired ones are the very same object."""
    key = [seed] if isinstance(seed, int) else list(seed)
    here = Resamples(_sizes(first), resamples=resamples, level=level, seed=key)
    if paired:
        return here, here
    return here, Resamples(_sizes(second), resamples=resamples, level=level, seed=[*key, 1])


def _together(here: Resamples, there: Resamples) -> Iterator[tuple[list[Floats], list[Floats]]]:
    """Give the weights of both, row by row the same resamples."""
    if here is there:
        for weights in here.weights():
            yield weights, weights
        return
    at_once = min(here._at_once, there._at_once)
    here._at_once = there._at_once = at_once
    yield from zip(here.weights(), there.weights(), strict=True)


def _looser(here: Resamples, there: Resamples) -> Resamples:
    """Return the one whose runs are fewer: its interval reaches further, which errs on the modest side."""
    return min(here, there, key=lambda drawn: drawn.freedom)


def probability_of_improvement(
    one: Scores,
    other: Scores,
    *,
    paired: bool = False,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int | Sequence[int] = 0,
) -> Interval:
    """Return how likely a run of ``one`` beats a run of ``other`` on the same task, ties counted half.

    It is the Mann-Whitney statistic over the number of pairs, averaged over tasks. Where every run of one lies above
    every run of the other, resampling shows no spread, which says more than few runs can know: there the interval is
    Wilson's, of as many trials as the smaller of the two has runs.

    Args:
        one: By task, a number for each run.
        other: The same tasks.
        paired: Whether runs are drawn together (see :func:`aggregate_difference`); the number itself is the same.
        resamples: Number of resamples.
        level: Of the interval.
        seed: Of the resampling.

    Raises:
        DataError: The tasks differ, a score is not finite, or paired runs differ in number.
    """
    first, second = _same_tasks(one, other, paired)
    wins = [_wins(first[task], second[task]) for task in first]
    value = float(np.mean([table.mean() for table in wins]))
    here, there = _pair_of_resamples(first, second, paired, resamples, level, seed)
    parts = [
        np.mean([((row @ table) * col).sum(axis=1) for row, table, col in zip(left, wins, right, strict=True)], axis=0)
        for left, right in _together(here, there)
    ]
    found = _looser(here, there).interval(value, np.concatenate(parts), lowest=0.0, highest=1.0)
    low, high = max(0.0, found.low), min(1.0, found.high)
    trials = sum(min(table.shape) for table in wins)
    if value in (0.0, 1.0) and (edge := share_interval(round(value * trials), trials, level)) is not None:
        low, high = edge.low, edge.high
    return Interval(value, low, high, level, found.groups, resamples, found.caution)


def _wins(one: Floats, other: Floats) -> Floats:
    """Return float64 [runs of one, runs of other]: 1 where one is higher, 0.5 where they are equal, else 0."""
    table: Floats = (one[:, None] > other) + 0.5 * (one[:, None] == other)
    return table


@dataclass(frozen=True, eq=False)
class Profile:
    """Share of runs with a score above each threshold.

    Attributes:
        thresholds: float64 [thresholds].
        values: float64 [thresholds], averaged over tasks.
        low: Lower ends of its intervals, each for one threshold.
        high: Upper ends.
    """

    thresholds: Floats
    values: Floats
    low: Floats
    high: Floats


def performance_profile(
    scores: Scores,
    thresholds: npt.ArrayLike,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int | Sequence[int] = 0,
) -> Profile:
    """Return which share of runs scores above each threshold (rliable's score distribution, tasks weighing alike).

    Args:
        scores: By task, a number for each run.
        thresholds: float64 [thresholds].
        resamples: Number of resamples.
        level: Of the intervals, each for its threshold alone.
        seed: Of the resampling.

    Raises:
        DataError: A task has no run, or a score is not finite.
    """
    arrays = _checked(scores)
    cuts = np.asarray(thresholds, np.float64)
    above = [(runs[:, None] > cuts).astype(np.float64) for runs in arrays.values()]
    values: Floats = np.mean([table.mean(axis=0) for table in above], axis=0)
    drawn = Resamples(_sizes(arrays), resamples=resamples, level=level, seed=seed)
    if drawn.freedom < 1:
        return Profile(cuts, values, values, values)
    resampled = np.concatenate(
        [np.mean([row @ table for row, table in zip(rows, above, strict=True)], axis=0) for rows in drawn.weights()]
    )
    growth = drawn.units / drawn.freedom
    low, high = interval_ends(values, resampled, level, freedom=drawn.freedom, growth=growth, lowest=0.0, highest=1.0)
    return Profile(cuts, values, np.maximum(low, 0.0), np.minimum(high, 1.0))


def mean_interval(
    values: npt.ArrayLike, *, resamples: int = 2000, level: float = 0.95, seed: int | Sequence[int] = 0
) -> Interval:
    """Return the mean of one run's episodes with its bootstrap interval.

    Args:
        values: float64 [episodes], at least one.
        resamples: Number of resamples.
        level: Of the interval.
        seed: Of the resampling.

    Raises:
        DataError: There is no episode, or a number that is not finite.
    """
    return aggregate_interval({"": values}, "mean", resamples=resamples, level=level, seed=seed)


def success_interval(successes: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Return the share of episodes that reached the goal with Wilson's interval.

    Args:
        successes: bool [episodes], at least one.
        level: Of the interval.

    Raises:
        DataError: There is no episode.
    """
    reached = np.asarray(successes, np.bool_)
    found = share_interval(int(reached.sum()), len(reached), level)
    if found is None:
        raise DataError("there is no episode", source="successes", remedy="play at least one episode")
    return found
