"""How many epochs each phase has, and in which order an epoch goes through its examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from newgameplus.adapt import Phase
from newgameplus.recipe import TrainSettings

__all__ = ["phase_epochs", "shuffled_batches"]


def phase_epochs(phases: Sequence[Phase], examples: int, settings: TrainSettings) -> list[int]:
    """Return the epochs of each phase; ``auto`` aims at the recipe's steps within 4 to 80 epochs in all."""
    steps_per_epoch = -(-examples // settings.batch_size)
    automatic = min(80, max(4, round(settings.steps / steps_per_epoch)))
    total = automatic if settings.epochs == "auto" else settings.epochs
    return [max(1, round(total * phase.share)) for phase in phases]


def shuffled_batches(seeds: Sequence[int], examples: int, batch_size: int) -> list[np.ndarray[Any, Any]]:
    """Return int64 positions of each batch of an epoch, a function of its seeds alone."""
    order = np.random.default_rng(seeds).permutation(examples)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    # Normalization over a batch needs two examples: a lone last one joins the batch before.
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches
