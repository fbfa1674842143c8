"""Variations of sequences that keep what happens in them: time runs unevenly, begins late, sizes and noise vary.

Nothing is mirrored: what a channel means, and so what its mirror image would be, only the user knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from newgameplus.errors import RecipeError
from newgameplus.recipe import did_you_mean

__all__ = ["SEQUENCE_AUGMENTATIONS", "augment_sequences", "sequence_augmentations"]

Floats = npt.NDArray[np.float32]
_WARP = 0.2
_CROP = 0.15
_NOISE = 0.03
_SCALE = 0.1


def warp(values: Floats, generator: np.random.Generator) -> Floats:
    """Let time run up to a fifth faster here and slower there (Um et al. 2017, arXiv 1706.00527)."""
    if len(values) < 3:
        return values
    speed = np.interp(np.linspace(0, 3, len(values) - 1), np.arange(4), np.exp(generator.uniform(-_WARP, _WARP, 4)))
    clock = np.concatenate([[0.0], np.cumsum(speed)])
    return _at(values, clock / clock[-1] * (len(values) - 1))


def crop(values: Floats, generator: np.random.Generator) -> Floats:
    """Leave out up to 15 % of the time at either end together, and stretch the rest."""
    lost = generator.uniform(0, _CROP) * (len(values) - 1)
    start = generator.uniform(0, lost)
    return _at(values, np.linspace(start, len(values) - 1 - lost + start, len(values)))


def scale(values: Floats, generator: np.random.Generator) -> Floats:
    """Stretch each channel by up to a tenth around its mean."""
    factor = np.exp(generator.uniform(-_SCALE, _SCALE, values.shape[1])).astype(np.float32)
    middle = values.mean(axis=0)
    return np.asarray((values - middle) * factor + middle, dtype=np.float32)


def noise(values: Floats, generator: np.random.Generator) -> Floats:
    """Add noise of 3 % of each channel's own spread; a channel that stands still gets none."""
    drawn = generator.standard_normal(values.shape).astype(np.float32)
    return np.asarray(values + drawn * values.std(axis=0) * np.float32(_NOISE), dtype=np.float32)


SEQUENCE_AUGMENTATIONS: MappingProxyType[str, Callable[[Floats, np.random.Generator], Floats]] = MappingProxyType(
    {"warp": warp, "crop": crop, "scale": scale, "noise": noise}
)
"""Variations by the name that ``train.augment`` knows them by; each is given float32 [steps, channels]."""


def sequence_augmentations(wanted: bool | str | Sequence[str]) -> tuple[str, ...]:
    """Return the names that a recipe's ``train.augment`` asks for; ``true`` asks for all of them.

    Raises:
        RecipeError: A name is one of another kind of data, or of none.
    """
    if isinstance(wanted, bool):
        return tuple(SEQUENCE_AUGMENTATIONS) if wanted else ()
    names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    for name in names:
        if name not in SEQUENCE_AUGMENTATIONS:
            known = list(SEQUENCE_AUGMENTATIONS)
            remedy = f"{did_you_mean(name, known)}known for sequences: {', '.join(known)}"
            raise RecipeError(f"sequences cannot be varied by {name!r}", source="train.augment", remedy=remedy)
    return names


def augment_sequences(batch: Floats, names: Sequence[str], generator: np.random.Generator) -> Floats:
    """Vary each sequence of a batch by itself, where its mask says that there is something.

    Args:
        batch: float32 [batch, steps, channels + 1]; the last channel is the mask.
        names: Keys of :data:`SEQUENCE_AUGMENTATIONS`.
        generator: Source of randomness; the same state gives the same result.

    Returns:
        float32 of the same shape, with the same masks.
    """
    varied = batch.copy()
    for row in varied:
        length = int(row[:, -1].sum())
        for name in names:
            row[:length, :-1] = SEQUENCE_AUGMENTATIONS[name](row[:length, :-1], generator)
    return varied


def _at(values: Floats, places: npt.NDArray[np.float64]) -> Floats:
    """Return the rows at fractional places, by linear interpolation."""
    if len(values) < 2:
        return values
    low = np.floor(places).astype(np.int64).clip(0, len(values) - 2)
    part = (places - low).astype(np.float32)[:, None]
    return np.asarray(values[low] * (1 - part) + values[low + 1] * part, dtype=np.float32)
