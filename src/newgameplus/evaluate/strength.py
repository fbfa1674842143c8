"""How strong a policy plays under a handicap, and which handicap gives a wanted strength: measured, never assumed.

Strength is a score between that of a policy that acts at random (0) and of the full policy (1). Settings (an earlier
snapshot, a temperature, a delay) are given in the order in which they are expected to get stronger; what was measured
of each is noisy, so a curve that never falls is fitted to it (isotonic regression by pooling adjacent violators, each
setting weighing as many episodes as were played). A wanted level gets the setting whose fitted strength is nearest.

Intervals resample episodes within each setting, and of the two ends of the scale, and fit the curve anew each time, so
they hold what the fit and the scale cost. A level counts as reached only where the chosen setting's strength is within
a tolerance of it; a level that no setting comes near is said to be out of reach, with the nearest there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.evaluate.intervals import Interval
from newgameplus.evaluate.resamples import Resamples, Sureness
from newgameplus.evaluate.returns import Floats, aggregate_difference

__all__ = ["MeasuredSetting", "StrengthChoice", "StrengthCurve", "fit_strength", "isotonic"]

TOLERANCE = 0.05
"""How far the strength of a setting may lie from the wanted level and still count as reached."""


@dataclass(frozen=True, eq=False)
class MeasuredSetting:
    """What was measured of one setting.

    Attributes:
        key: What the setting is, as plain data, such as ``{"temperature": 2.0, "delay": 1}``.
        text: The same for people.
        scores: float64 [episodes]: returns, or 0 and 1 for lost and won.
    """

    key: Any
    text: str
    scores: npt.NDArray[np.float64]


@dataclass(frozen=True)
class StrengthChoice:
    """The setting that was chosen for a level.

    Attributes:
        level: What was wanted, 0..1.
        setting: Its place in the curve.
        key: Of the setting.
        text: For people.
        score: Its fitted strength, 0 at random and 1 full, with the interval.
        raw: Its fitted score in the game's own unit.
        reached: Whether the strength is within the tolerance of the level.
    """

    level: float
    setting: int
    key: Any
    text: str
    score: Interval
    raw: float
    reached: bool

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "level": self.level,
            "key": self.key,
            "text": self.text,
            "score": self.score.as_dict(),
            "raw": self.raw,
            "reached": self.reached,
        }


@dataclass(frozen=True, eq=False)
class StrengthCurve:
    """Fitted strength of every setting.

    Attributes:
        game: On which game.
        settings: In their order, from weak to strong.
        random: Mean score at random.
        full: Mean score of the full policy.
        measured: float64 [settings]: strength as measured.
        fitted: Strength by the curve that never falls, with intervals.
    """

    game: str
    settings: tuple[MeasuredSetting, ...]
    random: float
    full: float
    measured: Floats
    fitted: tuple[Interval, ...]

    @property
    def weakest(self) -> float:
        """The lowest strength that a setting has."""
        return min(one.value for one in self.fitted)

    @property
    def strongest(self) -> float:
        """The highest strength that a setting has."""
        return max(one.value for one in self.fitted)

    def choose(self, level: float, tolerance: float = TOLERANCE) -> StrengthChoice:
        """Return the setting whose strength is nearest to a level; of equals the one measured nearest.

        Args:
            level: 0 plays like a random policy, 1 like the full one.
            tolerance: How far it may be off and still count as reached.

        Raises:
            DataError: The level is not within 0 and 1.
        """
        if not 0.0 <= level <= 1.0:
            raise DataError(f"level is {level}", source="level", remedy="give a number from 0 (random) to 1 (full)")
        fitted = np.array([one.value for one in self.fitted])
        off = np.abs(fitted - level)
        place = int(np.lexsort((np.abs(self.measured - level), off.round(9)))[0])
        setting = self.settings[place]
        raw = self.random + float(fitted[place]) * (self.full - self.random)
        reached = bool(off[place] <= tolerance)
        return StrengthChoice(level, place, setting.key, setting.text, self.fitted[place], raw, reached)

    def table(self, levels: Sequence[float], tolerance: float = TOLERANCE) -> dict[str, Any]:
        """Return levels against strength as plain data, and the whole curve.

        Returns:
            JSON-safe data::

                {"game", "random", "full", "weakest", "strongest", "tolerance",
                 "levels": [{"level", "key", "text", "score": I, "raw", "reached"}],
                 "settings": [{"key", "text", "episodes", "measured", "score": I}], "unreached": [0.1, ...]}
        """
        rows = [self.choose(level, tolerance).as_dict() for level in levels]
        return {
            "game": self.game,
            "random": self.random,
            "full": self.full,
            "weakest": self.weakest,
            "strongest": self.strongest,
            "tolerance": tolerance,
            "levels": rows,
            "unreached": [row["level"] for row in rows if not row["reached"]],
            "settings": [
                {
                    "key": setting.key,
                    "text": setting.text,
                    "episodes": len(setting.scores),
                    "measured": float(measured),
                    "score": fitted.as_dict(),
                }
                for setting, measured, fitted in zip(self.settings, self.measured, self.fitted, strict=True)
            ],
        }


def fit_strength(
    settings: Sequence[MeasuredSetting],
    random: npt.ArrayLike,
    full: npt.ArrayLike,
    *,
    game: str = "",
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> StrengthCurve:
    """Fit strength to what was measured.

    Args:
        settings: In the order in which they are expected to get stronger, at least one, each with episodes.
        random: float64 [episodes]: scores at random, the zero of the scale.
        full: float64 [episodes]: scores of the full policy, the one of the scale.
        game: On which game; passed through.
        resamples: Number of resamples.
        level: Of the intervals.
        seed: Of the resampling.

    Raises:
        DataError: There is no setting, one has no episode or a score that is not finite, or the full policy is not
            surely better than a random one, so that there is nothing between the two.
    """
    floor, top = np.asarray(random, np.float64), np.asarray(full, np.float64)
    if not settings:
        raise DataError("no setting was measured", source="strength", remedy="measure at least one setting")
    how = Sureness(resamples, level, seed)
    better = aggregate_difference({"full": top}, {"full": floor}, "mean", **how.of("full"))
    if better.low <= 0 or better.groups < 2:
        message = f"the full policy scores {top.mean():.4g}, a random one {floor.mean():.4g}: not surely better"
        raise DataError(message, source=game or "strength", remedy="train it further, or measure more episodes")
    arrays = [np.asarray(one.scores, np.float64) for one in settings]
    for one, array in zip(settings, arrays, strict=True):
        if not len(array) or not np.isfinite(array).all():
            message = f"{len(array)} scores, of which {int((~np.isfinite(array)).sum())} are not finite"
            raise DataError(message, source=one.text, remedy="measure the setting again")
    counts = np.array([len(array) for array in arrays], np.float64)
    means = np.array([array.mean() for array in arrays])
    scale = float(top.mean() - floor.mean())
    measured = (means - floor.mean()) / scale
    fitted = isotonic(measured, counts)
    intervals = _intervals(arrays, floor, top, fitted, counts, how)
    return StrengthCurve(game, tuple(settings), float(floor.mean()), float(top.mean()), measured, intervals)


def _intervals(
    arrays: Sequence[Floats], floor: Floats, top: Floats, fitted: Floats, counts: Floats, how: Sureness
) -> tuple[Interval, ...]:
    """Return each setting's fitted strength with the interval of fits to resampled episodes."""
    low, high = _resampled_means(floor, how, "random"), _resampled_means(top, how, "full")
    # Few episodes of the scale's ends can come close to each other in some resample; their distance is held apart.
    scale = np.maximum(high - low, 0.05 * float(top.mean() - floor.mean()))
    means = np.stack([_resampled_means(array, how, f"setting {place}") for place, array in enumerate(arrays)], axis=1)
    strengths = (means - low[:, None]) / scale[:, None]
    refitted = np.stack([isotonic(row, counts) for row in strengths])
    draws = how.of("strength")
    found = []
    for place, array in enumerate(arrays):
        drawn = Resamples({"setting": len(array)}, resamples=how.resamples, level=how.level, seed=draws["seed"])
        found.append(drawn.interval(float(fitted[place]), refitted[:, place]))
    return tuple(found)


def _resampled_means(scores: Floats, how: Sureness, name: str) -> Floats:
    draws = how.of(name)
    drawn = Resamples({name: len(scores)}, resamples=how.resamples, level=how.level, seed=draws["seed"])
    return np.concatenate([rows @ scores for (rows,) in drawn.weights()])


def isotonic(values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Floats:
    """Return the sequence that never falls and lies nearest, in weighted squares (pool adjacent violators).

    Args:
        values: float64 [n].
        weights: float64 [n], above 0; equal ones if None.
    """
    array = np.asarray(values, np.float64)
    given = np.ones_like(array) if weights is None else np.asarray(weights, np.float64)
    pools: list[tuple[float, float, int]] = []  # mean, weight, members
    for value, weight in zip(array.tolist(), given.tolist(), strict=True):
        pool = (value, weight, 1)
        while pools and pools[-1][0] >= pool[0]:
            mean, mass, members = pools.pop()
            total = mass + pool[1]
            pool = ((mean * mass + pool[0] * pool[1]) / total, total, members + pool[2])
        pools.append(pool)
    return np.repeat([mean for mean, _, _ in pools], [members for _, _, members in pools]).astype(np.float64)
