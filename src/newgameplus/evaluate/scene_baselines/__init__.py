"""Baselines that make levels: what fine-tuning must beat. One file each; a new one is a new file and one line here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

import numpy as np

from newgameplus.errors import DataError
from newgameplus.evaluate.scene_baselines.contract import NoLevelError, SceneBaseline
from newgameplus.games.scenes import Level
from newgameplus.progress import task
from newgameplus.recipe import did_you_mean

__all__ = ["SCENE_BASELINES", "Drawn", "NoLevelError", "SceneBaseline", "draw_levels", "fit_baseline"]

#: Name of each baseline, and the module whose ``fit`` makes it.
SCENE_BASELINES: MappingProxyType[str, str] = MappingProxyType(
    {
        "markov": "newgameplus.evaluate.scene_baselines.markov",
        "wave-function-collapse": "newgameplus.evaluate.scene_baselines.wave_function_collapse",
        "nearest-copy": "newgameplus.evaluate.scene_baselines.nearest_copy",
    }
)


@dataclass(frozen=True)
class Drawn:
    """Levels that a baseline made.

    Attributes:
        levels: The levels.
        missing: Samples for which it found none; they count as levels that cannot be played.
        seconds: Time it took.
    """

    levels: tuple[Level, ...]
    missing: int
    seconds: float


def fit_baseline(name: str, levels: Sequence[Level], seed: int = 0) -> SceneBaseline:
    """Fit a baseline by its name.

    Raises:
        DataError: There is no such baseline, or the levels hold no tile.
    """
    if name not in SCENE_BASELINES:
        remedy = f"{did_you_mean(name, list(SCENE_BASELINES))}known: {', '.join(SCENE_BASELINES)}"
        raise DataError(f"no baseline is called {name!r}", source="baseline", remedy=remedy)
    baseline: SceneBaseline = import_module(SCENE_BASELINES[name]).fit(levels, seed)
    return baseline


def draw_levels(baseline: SceneBaseline, sizes: Sequence[tuple[int, int]], seed: int = 0, title: str = "") -> Drawn:
    """Make one level of each size.

    Args:
        baseline: A fitted baseline.
        sizes: Height and width of each level.
        seed: Level i depends on the seed and i only, not on how many are made.
        title: What the progress line says.
    """
    levels, missing = [], 0
    started = time.perf_counter()
    with task(title or "making levels", len(sizes), "levels") as progress:
        for number, (height, width) in enumerate(sizes):
            try:
                made = baseline.sample(np.random.default_rng([seed, number]), height, width)
            except NoLevelError:
                missing += 1
            else:
                levels.append(made)
            progress.advance()
    return Drawn(tuple(levels), missing, time.perf_counter() - started)
