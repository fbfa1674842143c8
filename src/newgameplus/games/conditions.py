"""What is asked of a level, as the numbers a model is told: for each measure its value and how much is still missing.

A *request* gives a measure a range; words such as "many enemies, few pipes" become requests by the quantiles of the
training levels. A model learns from levels that tell their own measures, some of them hidden at random.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.games.measures import MEASURES, find_measure
from newgameplus.games.scenes import Level
from newgameplus.recipe import did_you_mean

__all__ = [
    "FEATURES",
    "Request",
    "column_counts",
    "control_error",
    "parse_requests",
    "requests_from_words",
    "standard_measures",
    "wish_features",
]

FEATURES = 5
"""Numbers that a model is told about one measure: known, value, missing, missing per column left, none missing."""
_SHARES = {"density", "linearity", "leniency"}
#: Words of amount and the quantile of the training levels that they mean.
_AMOUNTS = {
    "no": -1.0, "without": -1.0, "zero": -1.0, "few": 0.1, "little": 0.1, "low": 0.1, "short": 0.1, "easy": 0.1,
    "some": 0.5, "medium": 0.5, "average": 0.5, "normal": 0.5, "many": 0.9, "much": 0.9, "high": 0.9, "long": 0.9,
    "hard": 0.9, "lots": 0.9, "most": 1.0, "maximal": 1.0,
}  # fmt: skip
#: What people call a measure besides its own name.
_SYNONYMS = {
    "enemy": "enemies", "monsters": "enemies", "monster": "enemies", "coin": "coins", "collectables": "coins",
    "rewards": "coins", "gap": "gaps", "pits": "gaps", "holes": "gaps", "key": "keys", "door": "doors", "box": "boxes",
    "crates": "boxes", "goal": "goals", "ladder": "ladders", "pipes": "pipe_tiles", "pipe": "pipe_tiles",
    "hazard": "hazards", "spikes": "hazards", "traps": "hazards", "walls": "solids", "wall": "solids",
    "blocks": "breakables", "water": "liquids", "path": "path_length", "way": "path_length", "easy": "difficulty",
    "hard": "difficulty", "dense": "density", "flat": "linearity", "forgiving": "leniency", "jump": "jumps",
    "push": "pushes", "wide": "length",
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """A wanted range of one measure, both ends included."""

    measure: str
    low: float
    high: float

    @property
    def target(self) -> float:
        """The middle of the range, which a model is told."""
        return (self.low + self.high) / 2

    @property
    def exact(self) -> bool:
        """Whether one value only will do."""
        return self.low == self.high

    def miss(self, achieved: float) -> float:
        """Return how far a value is from the range, 0 inside; infinite when it is not known."""
        if math.isnan(achieved):
            return math.inf
        return max(0.0, self.low - achieved - 1e-9, achieved - self.high - 1e-9)

    def __str__(self) -> str:
        low, high = f"{self.low:g}", f"{self.high:g}"
        return f"{self.measure}={low}" if self.exact else f"{self.measure}={low}..{high}"


def control_error(requests: Sequence[Request], achieved: Mapping[str, float]) -> dict[str, float]:
    """Return how far each requested measure is from its range."""
    return {request.measure: request.miss(achieved.get(request.measure, math.nan)) for request in requests}


def parse_requests(wanted: Mapping[str, str | float], level: Level, measures: Sequence[str]) -> list[Request]:
    """Read requests such as ``{"enemies": "5", "gaps": "2..4"}``.

    Args:
        wanted: Value or range by name of a measure.
        level: Any level of the game, for the names of its tiles.
        measures: What the model was told in training; other measures are refused.

    Raises:
        DataError: With every request that cannot be understood.
    """
    problems: list[Problem] = []
    requests: list[Request] = []
    for name, text in wanted.items():
        known = _SYNONYMS.get(name, name)
        source = f"--set {name}={text}"
        if known not in measures:
            remedy = f"{did_you_mean(known, list(measures))}this model knows: {', '.join(measures)}"
            problems.append(Problem(f"{name!r} is no measure of this model", source, remedy))
            continue
        request = _range(known, str(text))
        if request is None:
            problems.append(Problem(f"{text!r} is no number or range", source, "write enemies=5 or gaps=2..4"))
        elif find_measure(known, level).whole and math.floor(request.high) < math.ceil(request.low):
            problems.append(Problem(f"{known} is a whole number, {text!r} holds none", source, "round it"))
        elif any(known == other.measure for other in requests):
            problems.append(Problem(f"{known} is asked for twice", source, "ask once, for a value or a range"))
        else:
            requests.append(request)
    raise_problems(problems, DataError, f"{len(problems)} requests cannot be met")
    return requests


def _range(name: str, text: str) -> Request | None:
    low, dots, high = text.partition("..")
    try:
        first = float(low)
        last = float(high) if dots else first
    except ValueError:
        return None
    if not (math.isfinite(first) and math.isfinite(last)) or last < first or first < 0:
        return None
    return Request(name, first, last)


def requests_from_words(
    words: str, level: Level, training: Mapping[str, Sequence[float]], *, source: str = "--words"
) -> list[Request]:
    """Turn words into requests by the quantiles of the training levels.

    Args:
        words: Phrases such as ``many enemies, few pipes``, separated by commas or "and".
        level: Any level of the game.
        training: Values of each measure in the training levels.
        source: Where the words come from.

    Raises:
        DataError: A phrase names no amount or no measure; all at once.
    """
    problems, requests = [], []
    for phrase in filter(None, (part.strip() for part in re.split(r",|;|\band\b", words.lower()))):
        amount = next((word for word in phrase.split() if word in _AMOUNTS), None)
        rest = [word for word in phrase.split() if word not in _AMOUNTS and word not in ("a", "the", "of", "very")]
        names = ["_".join(rest), *rest, *([amount] if amount else [])]
        name = next((_SYNONYMS.get(one, one) for one in names if _SYNONYMS.get(one, one) in training), None)
        if amount is None or name is None:
            what = "no amount" if amount is None else "nothing that this model knows"
            remedy = f"say e.g. 'many {next(iter(training))}'; amounts: {', '.join(_AMOUNTS)}; it knows: "
            problems.append(Problem(f"{phrase!r} names {what}", source, remedy + ", ".join(training)))
            continue
        requests.append(_quantile_request(name, _AMOUNTS[amount], level, training[name]))
    raise_problems(problems, DataError, f"{len(problems)} phrases cannot be understood")
    return requests


def _quantile_request(name: str, quantile: float, level: Level, values: Sequence[float]) -> Request:
    if quantile < 0:
        return Request(name, 0.0, 0.0)
    known = np.asarray([value for value in values if not math.isnan(value)] or [0.0])
    low, high = np.quantile(known, [max(0.0, quantile - 0.1), min(1.0, quantile + 0.1)])
    if find_measure(name, level).whole:
        return Request(name, float(math.floor(low)), float(math.ceil(high)))
    return Request(name, float(low), float(high))


def column_counts(level: Level, names: Sequence[str], *, by_rows: bool = False) -> npt.NDArray[np.float64]:
    """Return float64 [measures, columns + 1]: how much of each measure the first columns hold; NaN if it is no sum.

    Args:
        level: The level.
        names: Measures.
        by_rows: Count along the rows instead, for levels that grow downwards.
    """
    steps = level.height if by_rows else level.width
    counts = np.full((len(names), steps + 1), np.nan)
    for number, name in enumerate(names):
        one = find_measure(name, level)
        if one.meanings or name.startswith("tile:"):
            tile = name.removeprefix("tile:")
            there = level.where(*one.meanings) if one.meanings else level.tiles == level.tileset.index[tile]
            counts[number] = np.concatenate([[0], np.cumsum(there.sum(axis=1 if by_rows else 0))])
        elif name == "gaps" and not by_rows:
            ground = np.logical_or.reduce(level.where("solid", "one-way", "liquid")[-2:], axis=0)
            begins = ~ground & np.concatenate([[True], ground[:-1]])
            counts[number] = np.concatenate([[0], np.cumsum(begins)])
    return counts


def wish_features(
    names: Sequence[str],
    values: Mapping[str, float],
    counts: npt.NDArray[np.float64],
    left: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.float32]:
    """Return float32 [columns, measures * FEATURES]: what a model is told at each column.

    Args:
        names: The model's measures, in its order.
        values: What is asked; measures that are absent or NaN are told as unknown.
        counts: float64 [measures, columns + 1] as :func:`column_counts` gives for what stands so far.
        left: int64 [columns]: columns left at each; by default ``counts`` is of the whole level.
    """
    columns = counts.shape[1] - 1
    features = np.zeros((columns, len(names), FEATURES), np.float32)
    left = np.arange(columns, 0, -1) if left is None else left
    for number, name in enumerate(names):
        value = values.get(name, math.nan)
        if math.isnan(value):
            continue
        features[:, number, 0] = 1.0
        features[:, number, 1] = 2 * value - 1 if name in _SHARES else math.log1p(max(0.0, value)) / 4
        so_far = counts[number, :-1]
        if not np.isnan(so_far).any():
            missing = np.maximum(0.0, value - so_far)
            features[:, number, 2] = np.log1p(missing) / 4
            features[:, number, 3] = np.log1p(10 * missing / np.maximum(left, 1)) / 3
            features[:, number, 4] = missing <= 0
    return features.reshape(columns, -1)


def standard_measures() -> tuple[str, ...]:
    """Return the measures that the bundled model knows, in its order."""
    return tuple(MEASURES)
