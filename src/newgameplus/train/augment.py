"""Small changes to training clips that leave the label true: light, contrast, position; and mirror images whose label
changes sides with them.
"""

from __future__ import annotations

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
        clips: uint8 [batch, frames, height, width, channels] in 0..255.
        generator: Source of randomness; the same state gives the same result.

    Returns:
        uint8 of the same shape.
    """
    batch, _, height, width, _ = clips.shape
    contrast = np.exp(generator.uniform(-_CONTRAST, _CONTRAST, size=batch))
    brightness = generator.uniform(-_BRIGHTNESS, _BRIGHTNESS, size=batch) * 255.0
    rows = generator.integers(-int(height * _LARGEST_SHIFT), int(height * _LARGEST_SHIFT) + 1, size=batch)
    columns = generator.integers(-int(width * _LARGEST_SHIFT), int(width * _LARGEST_SHIFT) + 1, size=batch)
    varied = torch.empty_like(clips)
    for index in range(batch):
        clip = _shift(clips[index], int(rows[index]), int(columns[index])).float()
        middle = clip.mean()
        clip = (clip - middle) * float(contrast[index]) + middle + float(brightness[index])
        varied[index] = clip.round_().clamp_(0, 255).to(torch.uint8)
    return varied


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


def _shift(clip: Tensor, rows: int, columns: int) -> Tensor:
    """Move a clip [frames, height, width, channels], repeating its edge."""
    _, height, width, _ = clip.shape
    row_index = (torch.arange(height) - rows).clamp_(0, height - 1)
    column_index = (torch.arange(width) - columns).clamp_(0, width - 1)
    return clip[:, row_index][:, :, column_index]
