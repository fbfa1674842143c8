"""How returns are written: as many digits as their size needs, so that a reward of 0.93 and one of 1e9 can be read."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

__all__ = ["percent", "percent_span", "score", "score_signed", "score_span", "score_with_span", "steps_text"]

_PERCENT = "\u00a0%"  # no line breaks before the sign
_COMPACT = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def _digits(size: float) -> int:
    return 4 if 0 < size < 0.002 else 3 if 0 < size < 0.02 else 2 if size < 10 else 1 if size < 1000 else 0


def score(value: float | None, size: float | None = None) -> str:
    """Write a return; ``size`` is the largest number that stands beside it and sets how many digits are worth it."""
    if value is None or not isfinite(value):
        return "-"
    biggest = max(abs(value), size or 0.0)
    if biggest >= 1e5:
        return _compact(value, biggest)
    digits = _digits(biggest)
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _compact(value: float, biggest: float) -> str:
    if biggest >= 1e15:
        return f"{value:.1e}".replace("e+", "e")
    unit, letter = next((unit, letter) for unit, letter in _COMPACT if biggest >= unit)
    scaled = value / unit
    return f"{scaled:.0f}{letter}" if biggest >= 100 * unit else f"{scaled:.1f}{letter}"


def _size(interval: Mapping[str, float]) -> float:
    return max(abs(interval[key]) for key in ("value", "low", "high"))


def score_span(interval: Mapping[str, float]) -> str:
    """Write the ends of an interval of returns: ``(0.90 to 0.95)``."""
    size = _size(interval)
    return f"({score(interval['low'], size)} to {score(interval['high'], size)})"


def score_with_span(interval: Mapping[str, float]) -> str:
    """Write a return with its interval: ``0.93 (0.90 to 0.95)``."""
    return f"{score(interval['value'], _size(interval))} {score_span(interval)}"


def score_signed(interval: Mapping[str, float]) -> str:
    """Write a difference of returns with its sign and interval: ``+0.21 (0.15 to 0.27)``."""
    text = score(interval["value"], _size(interval))
    nothing = not any(letter in "123456789" for letter in text)
    sign = "+" if interval["value"] > 0 and not nothing else ""
    return f"{sign}{text.removeprefix('-') if nothing else text} {score_span(interval)}"


def percent(value: float | None) -> str:
    """Write a share as whole percent: ``98 %``."""
    return "-" if value is None or not isfinite(value) else f"{round(100 * value) + 0:d}{_PERCENT}"


def percent_span(interval: Mapping[str, float]) -> str:
    """Write a share with its interval: ``98 % (94 to 101 %)``."""
    ends = [round(100 * interval[key]) + 0 for key in ("low", "high")]
    return f"{percent(interval['value'])} ({ends[0]} to {ends[1]}{_PERCENT})"


def steps_text(steps: int) -> str:
    """Write a number of steps in at most five letters: ``200k``; a dash for none."""
    if steps <= 0:
        return "-"
    for unit, letter in _COMPACT:
        if steps >= unit:
            scaled = steps / unit
            return f"{scaled:.1f}{letter}" if scaled < 10 and scaled != int(scaled) else f"{scaled:.0f}{letter}"
    return str(steps)
