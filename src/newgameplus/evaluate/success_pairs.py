"""How much more often one policy reaches the goal than another in the very same episodes."""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

from newgameplus.evaluate.intervals import Interval
from newgameplus.evaluate.scene_intervals import share_interval

__all__ = ["paired_share_difference"]


def paired_share_difference(one: npt.ArrayLike, other: npt.ArrayLike, confidence: float = 0.95) -> Interval | None:
    """Return the difference of two shares over the same episodes, with Newcombe's interval for pairs.

    Two Wilson intervals are joined by the correlation of the two answers, corrected for continuity ("Improved
    Confidence Intervals for the Difference Between Binomial Proportions Based on Paired Data", Statistics in Medicine
    17, 1998, method 10). It stays honest where both succeed always or never.

    Args:
        one: bool [episodes].
        other: bool [episodes], of the same episodes.
        confidence: Of the interval.

    Returns:
        How much higher the share in ``one`` is; None without an episode.
    """
    first, second = np.asarray(one, np.bool_), np.asarray(other, np.bool_)
    total = len(first)
    here = share_interval(int(first.sum()), total, confidence)
    there = share_interval(int(second.sum()), total, confidence)
    if here is None or there is None:
        return None
    link = _correlation(first, second)
    value = here.value - there.value
    down, up = here.value - here.low, there.high - there.value
    low = value - sqrt(max(0.0, down * down - 2 * link * down * up + up * up))
    up, down = here.high - here.value, there.value - there.low
    high = value + sqrt(max(0.0, up * up - 2 * link * up * down + down * down))
    return Interval(value, max(-1.0, low), min(1.0, high), confidence, total)


def _correlation(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """Return the phi coefficient of two columns, drawn toward 0 by half an episode; 0 where one never varies."""
    total = len(one)
    both, neither = int((one & other).sum()), int((~one & ~other).sum())
    only_one, only_other = int((one & ~other).sum()), int((~one & other).sum())
    margins = (both + only_one) * (only_other + neither) * (both + only_other) * (only_one + neither)
    if not margins:
        return 0.0
    product = both * neither - only_one * only_other
    if product > 0:
        product = max(product - total / 2, 0)  # type: ignore[assignment]
    return float(product / sqrt(margins))
