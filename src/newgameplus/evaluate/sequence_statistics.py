"""Summary statistics of sequences: what a random forest, the baseline to beat, is given of numbers over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["sequence_statistics"]

Floats = npt.NDArray[np.float32]
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def sequence_statistics(sequences: Sequence[Floats]) -> Floats:
    """Compute statistics of each channel: mean, spread, extremes, quantiles, ends, and how it changes.

    Args:
        sequences: float32 [steps, channels] each, of any length.

    Returns:
        float32 [sequences, features]; the last feature is the number of steps.
    """
    return np.stack([_statistics(values) for values in sequences]).astype(np.float32)


def _statistics(values: Floats) -> Floats:
    wide = values.astype(np.float64)
    change = np.diff(wide, axis=0) if len(wide) > 1 else np.zeros_like(wide)
    half = max(1, len(wide) // 2)
    parts = [
        wide.mean(axis=0),
        wide.std(axis=0),
        wide.min(axis=0),
        wide.max(axis=0),
        *np.quantile(wide, _QUANTILES, axis=0),
        wide[0],
        wide[-1],
        wide[-1] - wide[0],
        wide[half:].mean(axis=0) - wide[:half].mean(axis=0) if len(wide) > half else np.zeros(wide.shape[1]),
        wide.argmax(axis=0) / len(wide),
        wide.argmin(axis=0) / len(wide),
        change.mean(axis=0),
        change.std(axis=0),
        np.abs(change).mean(axis=0),
        np.abs(change).max(axis=0),
        np.array([len(wide)]),
    ]
    return np.concatenate(parts).astype(np.float32)
