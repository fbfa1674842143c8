"""Small changes to training clips that leave the label true: light, contrast, position; and mirror images whose label
changes sides with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["augment_clips", "mirror_clips", "mirrored_classes"]

_BRIGHTNESS = 0.15
_CONTRAST = 0.28  # natural logarithm: 0.76 to 1.32 times
_LARGEST_SHIFT = 0.06


def augment_clips(clips: Tensor, generator: np.random.Generator) -> Tensor:
    """Vary each clip as a whole, the same for all its frames, so that movement between frames stays as it was.

    Args:
        clips: uint8 [batch, frames, height, width, channels] in 0..255, in the processor's memory.
        generator: Source of randomness; the same state gives the same result.

    Returns:
        uint8 of the same shape.
    """
    batch, _, height, width, _ = clips.shape
    contrast = np.exp(generator.uniform(-_CONTRAST, _CONTRAST, size=batch))
    brightness = generator.uniform(-_BRIGHTNESS, _BRIGHTNESS, size=batch) * 255.0
    rows = generator.integers(-int(height * _LARGEST_SHIFT), int(height * _LARGEST_SHIFT) + 1, size=batch)
    columns = generator.integers(-int(width * _LARGEST_SHIFT), int(width * _LARGEST_SHIFT) + 1, size=batch)
    varied = np.empty(clips.shape, np.uint8)
    for clip, moved, down, right in zip(clips.numpy(), varied, rows, columns, strict=True):
        _shift(clip, moved, int(down), int(right))
    for moved, table in zip(varied, _tone_tables(varied, contrast, brightness), strict=True):
        np.take(table, moved, out=moved, mode="clip")  # any uint8 is a place in the table; the mode spares a check
    return torch.from_numpy(varied)


def _tone_tables(
    clips: npt.NDArray[np.uint8], contrast: npt.NDArray[np.float64], brightness: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Return uint8 [batch, 256]: what each value of a clip becomes; contrast leaves the clip's mean where it is."""
    levels, size = np.arange(256, dtype=np.float32), math.prod(clips.shape[1:])
    means = clips.reshape(len(clips), size).sum(axis=1, dtype=np.int64) / size
    middle, factor, light = (part.astype(np.float32)[:, None] for part in (means, contrast, brightness))
    tables: npt.NDArray[np.uint8] = ((levels - middle) * factor + middle + light).round().clip(0, 255).astype(np.uint8)
    return tables


def mirrored_classes(labels: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """Return the class that each class becomes in a mirror, read from names such as ``turn_left`` and ``turn_right``.

    Args:
        labels: Class names.

    Returns:
        int64 [classes], or None where the names do not say it: no name has a side, or one lacks its counterpart.
    """
    places = {label.casefold(): place for place, label in enumerate(labels)}
    mirrored = [_other_side(label.casefold()) for label in labels]
    if mirrored == list(places) or len(places) < len(labels) or any(name not in places for name in mirrored):
        return None
    return np.array([places[name] for name in mirrored], dtype=np.int64)


def _other_side(name: str) -> str:
    return name.replace("left", "\0").replace("right", "left").replace("\0", "right")


def mirror_clips(clips: Tensor, chosen: npt.NDArray[np.bool_]) -> Tensor:
    """Return the clips [batch, frames, height, width, channels] with the chosen ones mirrored left to right."""
    mirrored = clips.clone()
    mirrored[torch.from_numpy(chosen)] = clips[torch.from_numpy(chosen)].flip(3)
    return mirrored


def _shift(clip: npt.NDArray[np.uint8], moved: npt.NDArray[np.uint8], rows: int, columns: int) -> None:
    """Write a clip [frames, height, width, channels] to another place of ``moved``, repeating its edge.

    Whole rows are copied: choosing pixels one by one took most of the time of a variation.
    """
    _, height, width, _ = clip.shape
    top, bottom = max(0, rows), min(height, height + rows)
    left, right = max(0, columns), min(width, width + columns)
    moved[:, top:bottom, left:right] = clip[:, top - rows : bottom - rows, left - columns : right - columns]
    moved[:, top:bottom, :left] = moved[:, top:bottom, left : left + 1]
    moved[:, top:bottom, right:] = moved[:, top:bottom, right - 1 : right]
    moved[:, :top] = moved[:, top : top + 1]
    moved[:, bottom:] = moved[:, bottom - 1 : bottom]
