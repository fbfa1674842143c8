"""How sure a number is: intervals by bootstrap over groups, and paired differences over the same resampled groups.

Clips of one episode or one player resemble each other, so resampling clips would promise too much: whole groups are
drawn with replacement. Each group enters as its sums (see ``metrics.Sums``), a resample as a row of weights.

The ends of an interval are percentiles of the resampled values, moved outward for few groups (the expanded percentile
interval of Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69(4), 2015): plain
percentiles ignore that the spread was estimated and come out too narrow, by a quarter with six groups. Under five
groups no percentile reaches far enough; there the ends lie Student's t times the bootstrap standard error away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from newgameplus.evaluate.metrics import METRICS, Floats, Sums
from newgameplus.evaluate.predictions import check_paired, check_predictions
from newgameplus.shapes import Predictions

__all__ = ["FEWEST_GROUPS", "Bootstrap", "Interval", "difference", "interval", "interval_ends"]

FEWEST_GROUPS = 5
"""With fewer groups than this an interval comes with a caution."""

_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A number and how far it can be trusted.

    Attributes:
        value: The metric (or difference) on all clips.
        low: Lower end.
        high: Upper end.
        level: Share of such intervals that hold the truth, if groups are like those to come (0.95).
        groups: Number of groups in the data.
        resamples: Number of resamples.
        caution: Why to trust it less; empty if there is nothing to say.
    """

    value: float
    low: float
    high: float
    level: float = 0.95
    groups: int = 0
    resamples: int = 0
    caution: str = ""

    def as_dict(self) -> dict[str, float]:
        """Return value, low and high as plain data."""
        return {"value": self.value, "low": self.low, "high": self.high}


class Bootstrap:
    """Resamples of groups, the same for every model and metric that is asked for.

    Args:
        groups: Group of each clip.
        resamples: Number of resamples.
        level: Of the intervals, e.g. 0.95.
        seed: Of the resampling.

    Attributes:
        unit: ``group``, or ``clip`` where a single group leaves nothing else to resample.
        units: How many of them there are.
        groups: Number of groups.
        caution: What to say beside its intervals; empty if nothing.
    """

    def __init__(self, groups: Sequence[str], *, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> None:
        names, members = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
        self.groups = len(names)
        self.resamples, self.level, self.seed = resamples, level, seed
        self.unit = "group" if self.groups > 1 else "clip"
        self._members = members.astype(np.int64) if self.groups > 1 else np.arange(len(groups))
        self.units = self.groups if self.groups > 1 else len(groups)
        self.caution = self._caution()

    def _caution(self) -> str:
        if self.groups == 1:
            return (
                "all test clips are of one group, so the intervals come from resampling single clips: they say nothing "
                "about other groups and are likely too narrow"
            )
        if self.groups < FEWEST_GROUPS:
            return f"only {self.groups} test groups, so the intervals are wide; {FEWEST_GROUPS} or more make them firm"
        return ""

    def _weights(self, width: int) -> Iterator[Floats]:
        """Give float64 [some resamples, units] at a time: how often each unit was drawn. Always the same draws."""
        rng = np.random.default_rng(self.seed)
        at_once = max(1, _NUMBERS_AT_ONCE // max(self.units, width))
        for start in range(0, self.resamples, at_once):
            rows = min(at_once, self.resamples - start)
            drawn = rng.integers(0, self.units, size=(rows, self.units)) + np.arange(rows)[:, None] * self.units
            yield np.bincount(drawn.ravel(), minlength=rows * self.units).reshape(rows, -1).astype(np.float64)

    def _by_unit(self, sums: Sums) -> Any:
        """Return a sparse float64 [units, width] matrix of each unit's sums."""
        from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

        rows = np.repeat(self._members, sums.columns.shape[1])
        return csr_matrix((sums.values.ravel(), (rows, sums.columns.ravel())), shape=(self.units, sums.width))

    def values(self, predictions: Predictions, metrics: Sequence[str] = ("accuracy",)) -> dict[str, Floats]:
        """Compute metrics in every resample.

        Args:
            predictions: Answers for the clips whose groups this was made with.
            metrics: Names out of ``METRICS``.

        Returns:
            For each name float64 [resamples]; entry i is from the same resampled groups for every model and metric.
        """
        values: dict[str, Floats] = {}
        for sums_of in dict.fromkeys(METRICS[name].sums for name in metrics):
            sums = sums_of(predictions)
            by_unit = self._by_unit(sums)
            names = [name for name in dict.fromkeys(metrics) if METRICS[name].sums is sums_of]
            parts = [
                [METRICS[name].value(resampled) for name in names]
                for resampled in (np.asarray(weights @ by_unit) for weights in self._weights(sums.width))
            ]
            values |= {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}
        return values

    def interval(self, value: float, resampled: Floats, *, lowest: float = 0.0) -> Interval:
        """Return the interval around ``value`` from its resampled values.

        It always holds ``value`` itself, which resampling can leave outside for a biased metric (calibration).

        Args:
            value: The metric, or the difference, on all clips.
            resampled: float64 [resamples].
            lowest: The least that is possible: 0 for a metric, -1 for a difference; the most is 1.
        """
        if self.units < 2:
            return Interval(value, value, value, self.level, self.groups, self.resamples, self.caution)
        growth = self.units / (self.units - 1)
        low, high = interval_ends(
            np.float64(value), resampled, self.level, freedom=self.units - 1, growth=growth, lowest=lowest, highest=1.0
        )
        return Interval(value, float(low), float(high), self.level, self.groups, self.resamples, self.caution)


def interval_ends(
    value: Any,
    resampled: Floats,
    level: float,
    *,
    freedom: int,
    growth: float,
    lowest: float = -np.inf,
    highest: float = np.inf,
) -> tuple[Floats, Floats]:
    """Return where intervals around numbers begin and end; each holds its number.

    Args:
        value: float64 [...]: the numbers on all data.
        resampled: float64 [resamples, ...]: the same in every resample.
        level: Of the intervals.
        freedom: Degrees of freedom: units that were resampled, less one for each stratum; at least 1.
        growth: Units over degrees of freedom: by how much resampling understates the variance.
        lowest: The least that is possible; only for the few units that percentiles do not serve.
        highest: The most that is possible, likewise.

    Returns:
        Lower and upper ends, each float64 [...].
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    reach = float(stdtrit(freedom, (1 + level) / 2)) * sqrt(growth)
    if freedom + 1 < FEWEST_GROUPS:
        error = resampled.std(axis=0)
        low, high = np.clip([value - reach * error, value + reach * error], lowest, highest)
    else:
        tail = NormalDist().cdf(-reach)
        low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return np.minimum(low, value), np.maximum(high, value)


def interval(
    predictions: Predictions, metric: str = "accuracy", *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return a metric with its interval.

    Args:
        predictions: Answers beside the truth.
        metric: Name out of ``METRICS``.
        resamples: Number of resamples of the groups.
        level: Of the interval.
        seed: Of the resampling; the same seed gives the same interval.

    Raises:
        DataError: The predictions do not fit together.
    """
    check_predictions(predictions)
    bootstrap = Bootstrap(predictions.groups, resamples=resamples, level=level, seed=seed)
    return bootstrap.interval(METRICS[metric].of(predictions), bootstrap.values(predictions, (metric,))[metric])


def difference(
    one: Predictions,
    other: Predictions,
    metric: str = "accuracy",
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return how much higher a metric is in ``one`` than in ``other``, over the same clips and resampled groups.

    Args:
        one: Answers beside the truth.
        other: Other answers about the same clips.
        metric: Name out of ``METRICS``.
        resamples: Number of resamples of the groups.
        level: Of the interval.
        seed: Of the resampling.

    Raises:
        DataError: The two are not about the same clips, classes and truths.
    """
    check_predictions(one)
    check_predictions(other)
    check_paired(one, other)
    bootstrap = Bootstrap(one.groups, resamples=resamples, level=level, seed=seed)
    resampled = bootstrap.values(one, (metric,))[metric] - bootstrap.values(other, (metric,))[metric]
    return bootstrap.interval(METRICS[metric].of(one) - METRICS[metric].of(other), resampled, lowest=-1.0)
