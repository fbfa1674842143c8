"""What a set of levels is like beside the training levels: how new, how varied, how alike in style, how sound.

Distances are Levenshtein's over the tiles read row by row with a separator between rows, and novelty and diversity are
counted from them, as in Todd et al., "Level Generation Through Large Language Models", FDG 2023 (arXiv 2302.05817).
Tiles of different tilesets are the same tile when they have the same name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.evaluate.scene_diversity import Diversity, largest_independent_set
from newgameplus.evaluate.scene_tiles import Vocabulary
from newgameplus.games.rules.contract import Rules
from newgameplus.games.scenes import Level

__all__ = [
    "NOVEL_DISTANCE",
    "Diversity",
    "Nearest",
    "NearestLevels",
    "control_error",
    "diversity",
    "edit_distance",
    "far_apart",
    "flawed_share",
    "mean_distance",
    "nearest",
]

NOVEL_DISTANCE = 5
"""Edits that make a level another level (Todd et al. 2023)."""

_FEWEST_PAIRS, _MOST_PAIRS = 20, 5_000
#: Pairs of tiles to compare in all: some 20 seconds' work.
_MOST_CELLS = 500_000_000_000


@dataclass(frozen=True)
class Nearest:
    """The training level that a level resembles most.

    Attributes:
        index: Its place among the training levels; the first of equals.
        name: Its name.
        distance: Single-tile edits (insertions, deletions, substitutions) between the two.
        share: The distance over the length of the longer of the two, 0 (the same) to 1 (nothing in common).
    """

    index: int
    name: str
    distance: int
    share: float


def edit_distance(a: Level, b: Level) -> int:
    """Return the fewest insertions, deletions and substitutions of tiles and row ends that turn one into the other."""
    from rapidfuzz.distance import Levenshtein

    vocabulary = Vocabulary()
    return int(Levenshtein.distance(vocabulary.text(a), vocabulary.text(b)))


class NearestLevels:
    """Finds nearest training levels, for many levels against the same training levels.

    How often each tile occurs bounds the distance from below, so that most training levels need no closer look.

    Args:
        training: The training levels.

    Raises:
        DataError: There is no training level.
    """

    def __init__(self, training: Sequence[Level]) -> None:
        if not training:
            raise DataError("there is no training level to measure the distance to", source="training levels")
        self._vocabulary = Vocabulary()
        self._names = [level.name for level in training]
        self._texts = [self._vocabulary.text(level) for level in training]
        grids = [self._vocabulary.grid(level).ravel() for level in training]
        self._width = len(self._vocabulary)
        self._counts = np.stack([self._count(grid) for grid in grids])

    def _count(self, grid: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Return int32 [tiles of the training levels + 1]: how often each occurs; the last are all others."""
        return np.bincount(np.minimum(grid, self._width), minlength=self._width + 1).astype(np.int32)

    def find(self, level: Level) -> Nearest:
        """Return the nearest training level."""
        from rapidfuzz.distance import Levenshtein

        text = self._vocabulary.text(level)
        count = self._count(self._vocabulary.grid(level).ravel())
        surplus = count[None] - self._counts
        bounds = np.maximum(np.maximum(surplus, 0).sum(axis=1), np.maximum(-surplus, 0).sum(axis=1))
        best, at = max(len(text), *map(len, self._texts)) + 1, 0
        for candidate in np.argsort(bounds, kind="stable").tolist():
            if bounds[candidate] > best:
                break
            # Equals are looked at too, so that of equally near levels the first is named.
            distance = int(Levenshtein.distance(text, self._texts[candidate], score_cutoff=best))
            if distance < best or (distance == best and candidate < at):
                best, at = distance, candidate
        return Nearest(at, self._names[at], best, best / max(len(text), len(self._texts[at]), 1))


def nearest(level: Level, training: Sequence[Level]) -> Nearest:
    """Return the training level nearest to a level; for many levels, keep a :class:`NearestLevels`.

    Raises:
        DataError: There is no training level.
    """
    return NearestLevels(training).find(level)


def mean_distance(levels: Sequence[Level], seed: int = 0) -> float:
    """Return the mean edit distance between two of the levels.

    Over all pairs where there are at most 5,000, else over 5,000 pairs drawn with ``seed``, and over fewer where levels
    are very large; NaN for fewer than two levels.
    """
    from rapidfuzz.distance import Levenshtein

    if len(levels) < 2:
        return float("nan")
    texts = _texts(levels)
    first, second = np.triu_indices(len(texts), 1)
    longest = max(map(len, texts))
    most = max(_FEWEST_PAIRS, min(_MOST_PAIRS, _MOST_CELLS // max(1, longest * longest)))
    if len(first) > most:
        drawn = np.random.default_rng(seed).choice(len(first), most, replace=False)
        first, second = first[drawn], second[drawn]
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    return float(np.mean([Levenshtein.distance(texts[one], texts[other]) for one, other in pairs]))


def diversity(levels: Sequence[Level], distance: int = NOVEL_DISTANCE, budget: int = 20_000) -> Diversity:
    """Return the size of the largest set of levels that all lie apart, over their number (Todd et al. 2023).

    Args:
        levels: The levels.
        distance: Least edit distance between any two of the set.
        budget: Branches of the exact search; when they end, the best set found so far is a lower bound.
    """
    from rapidfuzz.distance import Levenshtein

    texts = _texts(levels)
    close = [0] * len(texts)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    for position, one in enumerate(order):
        for other in order[position + 1 :]:
            if len(texts[other]) - len(texts[one]) >= distance:
                break
            if Levenshtein.distance(texts[one], texts[other], score_cutoff=distance - 1) < distance:
                close[one] |= 1 << other
                close[other] |= 1 << one
    size, exact = largest_independent_set(close, budget)
    return Diversity(size / len(texts) if texts else float("nan"), size, exact)


def far_apart(levels: Sequence[Level], distance: int = NOVEL_DISTANCE) -> list[int]:
    """Return numbers of levels that lie ``distance`` edits or more from each other; of near ones the first stays."""
    from rapidfuzz.distance import Levenshtein

    kept: list[int] = []
    texts = _texts(levels)
    for number, text in enumerate(texts):
        rivals = (texts[other] for other in kept if abs(len(texts[other]) - len(text)) < distance)
        if all(Levenshtein.distance(text, other, score_cutoff=distance - 1) >= distance for other in rivals):
            kept.append(number)
    return kept


def _texts(levels: Sequence[Level]) -> list[str]:
    vocabulary = Vocabulary()
    return [vocabulary.text(level) for level in levels]


def flawed_share(levels: Sequence[Level], rules: Rules) -> float:
    """Return the share of levels with a broken structure, 0 to 1; NaN without levels."""
    return float(np.mean([bool(rules.flaws(level)) for level in levels])) if levels else float("nan")


def control_error(requested: Mapping[str, tuple[float, float]], achieved: Mapping[str, float]) -> dict[str, Any]:
    """Hold what was asked of a level against what it has.

    Args:
        requested: Lowest and highest wanted value of each measure; the two are equal for an exact request.
        achieved: Values of the level; one that is absent or NaN counts as not met, and has no error.

    Returns:
        ``{"exact": whether every value lies in its range, "errors": {measure: distance from the nearer end of its
        range, 0 inside, None if unknown}, "mean_error": over the known ones, or None}``, in each measure's own unit.

    Raises:
        DataError: A range ends before it begins, or is not a number.
    """
    errors: dict[str, float | None] = {}
    for name, (low, high) in requested.items():
        if not low <= high:
            remedy = "write the lower end first: 2..4"
            raise DataError(f"{low:g}..{high:g} is not a range", source=name, remedy=remedy)
        value = achieved.get(name, float("nan"))
        errors[name] = float(max(low - value, value - high, 0.0)) if isfinite(value) else None
    known = [error for error in errors.values() if error is not None]
    exact = all(error == 0 for error in errors.values())
    return {"exact": exact, "errors": errors, "mean_error": float(np.mean(known)) if known else None}
