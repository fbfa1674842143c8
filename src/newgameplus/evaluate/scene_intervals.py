"""Intervals for scenes: shares of samples, their differences, means, and bits per tile on held-out levels.

Samples of one model are independent of each other and of another model's, so shares take closed forms that stay honest
at 0 and 100 %: Wilson's score interval, and for a difference Newcombe's hybrid of two of them ("Interval Estimation for
the Difference Between Independent Proportions", Statistics in Medicine 17, 1998, method 10). Means and bits per tile
are resampled, with the ends of :class:`newgameplus.evaluate.intervals.Bootstrap`.

Bits cannot be negative, and the ends for few levels, which lie as far below a number as above it, do not know that. The
ends of what is positive are therefore found on its logarithm: as many times lower as higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from newgameplus.evaluate.intervals import FEWEST_GROUPS, Bootstrap, Interval, interval_ends

__all__ = ["mean_interval", "ratio_difference", "ratio_interval", "share_difference", "share_interval"]

Floats = npt.NDArray[np.float64]

_RESAMPLES = 2_000
_FAR = 1e6


def share_interval(count: int, total: int, confidence: float = 0.95) -> Interval | None:
    """Return ``count / total`` with Wilson's interval; None for a total of 0."""
    if not total:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    low, high = max(0.0, min(middle - reach, share)), min(1.0, max(middle + reach, share))
    return Interval(share, low, high, confidence, total)


def share_difference(count: int, total: int, other: int, other_total: int, confidence: float = 0.95) -> Interval | None:
    """Return how much higher ``count / total`` is than ``other / other_total``, with Newcombe's interval.

    None where a total is 0.
    """
    one, two = share_interval(count, total, confidence), share_interval(other, other_total, confidence)
    if one is None or two is None:
        return None
    value = one.value - two.value
    low = value - sqrt((one.value - one.low) ** 2 + (two.high - two.value) ** 2)
    high = value + sqrt((one.high - one.value) ** 2 + (two.value - two.low) ** 2)
    return Interval(value, max(-1.0, low), min(1.0, high), confidence, total + other_total)


def mean_interval(values: Sequence[float] | Floats, confidence: float = 0.95, seed: int = 0) -> Interval | None:
    """Return the mean of the finite values with its bootstrap interval; None where there is none."""
    array = np.asarray(values, np.float64)
    array = array[np.isfinite(array)]
    return ratio_interval(array, np.ones_like(array), confidence, seed)


def ratio_interval(
    numerators: Floats,
    denominators: npt.ArrayLike,
    confidence: float = 0.95,
    seed: int = 0,
    *,
    positive: bool = False,
) -> Interval | None:
    """Return the ratio of two sums, such as bits over tiles, resampling whole levels.

    Args:
        numerators: float64 [levels].
        denominators: Numbers above 0 [levels].
        confidence: Of the interval.
        seed: Of the resampling.
        positive: The ratio cannot be 0 or less, whatever the levels: nor can the ends. Not for differences.

    Returns:
        None without levels. One level alone has no spread: both ends are the value itself.
    """
    tops, bottoms = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    if not len(tops):
        return None
    bootstrap = Bootstrap(list(map(str, range(len(tops)))), resamples=_RESAMPLES, level=confidence, seed=seed)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(tops), np.full(len(tops), 1 / len(tops)), size=_RESAMPLES)
    resampled = (drawn @ tops) / (drawn @ bottoms)
    value = float(tops.sum() / bottoms.sum())
    if positive and 1 < len(tops) < FEWEST_GROUPS and (tops > 0).all():  # with more, percentiles are on no scale
        freedom = len(tops) - 1
        ends = interval_ends(np.log(value), np.log(resampled), confidence, freedom=freedom, growth=len(tops) / freedom)
        low, high = (float(np.exp(end)) for end in ends)
        return Interval(value, low, high, confidence, len(tops), _RESAMPLES)
    # Bootstrap.interval is made for shares and cuts at 1: far below that, it only scales.
    scale = _FAR * max(float(np.abs(tops / bottoms).max()), 1.0)
    scaled = bootstrap.interval(value / scale, resampled / scale, lowest=-1.0)
    return Interval(value, scaled.low * scale, scaled.high * scale, confidence, len(tops), _RESAMPLES)


def ratio_difference(
    numerators: Floats, others: Floats, denominators: npt.ArrayLike, confidence: float = 0.95, seed: int = 0
) -> Interval | None:
    """Return how much higher one ratio of sums is than another over the same levels, paired level by level."""
    difference = np.asarray(numerators, np.float64) - np.asarray(others, np.float64)
    return ratio_interval(difference, denominators, confidence, seed)
