"""Stratified resamples of runs, as rows of weights: drawn with replacement within each task, while the tasks stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from newgameplus.evaluate.intervals import FEWEST_GROUPS, Interval, interval_ends

__all__ = ["Resamples", "Sureness"]

Floats = npt.NDArray[np.float64]

_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Sureness:
    """How intervals are made.

    Attributes:
        resamples: Number of resamples.
        level: Of the intervals.
        seed: Of the resampling.
    """

    resamples: int = 2000
    level: float = 0.95
    seed: int = 0

    def of(self, game: str) -> dict[str, Any]:
        """Return the arguments of the functions here, with draws of its own for each game."""
        return {"resamples": self.resamples, "level": self.level, "seed": [self.seed, crc32(game.encode())]}


class Resamples:
    """Stratified resamples of runs, as rows of weights; the same for every measure that is asked for.

    Args:
        sizes: Runs of each task.
        resamples: Number of resamples.
        level: Of the intervals.
        seed: Of the resampling. A task's draws depend on the seed, its name and its size alone, so algorithms that
            played the same runs are resampled alike.
    """

    def __init__(
        self, sizes: Mapping[str, int], *, resamples: int = 2000, level: float = 0.95, seed: int | Sequence[int] = 0
    ) -> None:
        self.sizes = dict(sizes)
        self.resamples, self.level = resamples, level
        self.seed = [seed] if isinstance(seed, int) else list(seed)
        self.units = sum(self.sizes.values())
        self.freedom = self.units - len(self.sizes)
        self._at_once = max(1, _NUMBERS_AT_ONCE // max(self.units, 1))

    @property
    def caution(self) -> str:
        """What to say beside the intervals; empty if nothing."""
        if self.freedom < 1:
            return "one run of a task has no spread: there is no interval"
        if self.freedom + 1 < FEWEST_GROUPS:
            return f"only {self.units} runs, so the intervals are wide; {FEWEST_GROUPS} or more make them firm"
        return ""

    def weights(self) -> Iterator[list[Floats]]:
        """Give, for some resamples at a time, each task's float64 [resamples, runs]; rows sum to 1."""
        draws = [np.random.default_rng([*self.seed, crc32(task.encode())]) for task in self.sizes]
        for start in range(0, self.resamples, self._at_once):
            rows = min(self._at_once, self.resamples - start)
            yield [
                rng.multinomial(size, np.full(size, 1 / size), size=rows) / size
                for rng, size in zip(draws, self.sizes.values(), strict=True)
            ]

    def interval(
        self, value: float, resampled: Floats, *, lowest: float = -np.inf, highest: float = np.inf
    ) -> Interval:
        """Return the interval around ``value`` from float64 [resamples]."""
        low: Any = value
        high: Any = value
        if self.freedom >= 1:
            limits = {"lowest": lowest, "highest": highest, "growth": self.units / self.freedom}
            low, high = interval_ends(np.float64(value), resampled, self.level, freedom=self.freedom, **limits)
        return Interval(float(value), float(low), float(high), self.level, self.units, self.resamples, self.caution)
