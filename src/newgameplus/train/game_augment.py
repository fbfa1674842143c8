"""Changes of training clips that another game, map or recording brings: palette, HUD, resolution, frame rate.

Each leaves the label true, takes uint8 clips [batch, frames, height, width, channels] and a generator, and gives uint8
clips of the same shape; about half of the clips of a batch are changed by each, the others stay as they are. A new one
is one function here and one line in :data:`AUGMENTATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from newgameplus.errors import RecipeError
from newgameplus.recipe import did_you_mean
from newgameplus.train.augment import augment_clips

__all__ = ["AUGMENTATIONS", "GAMES", "augment_by_names", "augmentation_names"]

Augment = Callable[[Tensor, np.random.Generator], Tensor]

GAMES = "games"
"""What a recipe says for all of them."""
_SHARE = 0.5
_TONES = 256
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def augmentation_names(choice: bool | str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of the augmentations that a recipe's ``train.augment`` asks for, in the registry's order.

    Args:
        choice: ``True`` is light alone, ``False`` nothing, ``"games"`` all; else one name or several.

    Raises:
        RecipeError: A name is not known.
    """
    if isinstance(choice, bool):
        return ("light",) if choice else ()
    wanted = [choice] if isinstance(choice, str) else list(choice)
    for name in wanted:
        if name not in AUGMENTATIONS and name != GAMES:
            known = [*AUGMENTATIONS, GAMES]
            remedy = f"{did_you_mean(name, known)}known: true, false, {', '.join(known)}"
            raise RecipeError(f"{name!r} is not an augmentation", source="train.augment", remedy=remedy)
    return tuple(name for name in AUGMENTATIONS if name in wanted or GAMES in wanted)


def augment_by_names(clips: Tensor, names: Sequence[str], generator: np.random.Generator) -> Tensor:
    """Vary clips by some of :data:`AUGMENTATIONS`, one after the other.

    Args:
        clips: uint8 [batch, frames, height, width, channels].
        names: Which.
        generator: Source of randomness; the same state gives the same result.

    Returns:
        uint8 of the same shape.
    """
    for name in names:
        clips = AUGMENTATIONS[name](clips, generator)
    return clips


def _some(clips: Tensor, generator: np.random.Generator, change: Augment) -> Tensor:
    """Change each clip [frames, height, width, channels] with a chance of one half."""
    changed = clips.clone()
    for index in np.flatnonzero(generator.random(len(clips)) < _SHARE):
        changed[index] = change(clips[index], generator)
    return changed


def vary_palette(clips: Tensor, generator: np.random.Generator) -> Tensor:
    """Show clips in other colours: channels exchanged, tinted by a curve of tones for each, or grey.

    All frames of a clip alike. Grey clips get another curve of tones.
    """
    return _some(clips, generator, _recolour)


def _recolour(clip: Tensor, generator: np.random.Generator) -> Tensor:
    channels = clip.shape[-1]
    kind = generator.choice(("exchange", "tint", "grey")) if channels > 1 else "tint"
    if kind == "exchange":
        return clip[..., torch.from_numpy(generator.permutation(channels))]
    if kind == "grey":
        weights = torch.tensor(_LUMA if channels == len(_LUMA) else [1 / channels] * channels)
        grey = (clip.float() @ weights).round_().to(torch.uint8)
        return grey.unsqueeze(-1).expand_as(clip)
    table = torch.from_numpy(np.stack([_tone_curve(generator) for _ in range(channels)], axis=-1))
    return torch.gather(table, 0, clip.reshape(-1, channels).long()).reshape(clip.shape)


def _tone_curve(generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return uint8 [256]: a rising curve from tone to tone, with another gamma and another darkest and brightest."""
    gamma = np.exp(generator.uniform(-0.6, 0.6))
    low, high = generator.uniform(0.0, 0.2), generator.uniform(0.7, 1.0)
    curve = low + (high - low) * np.linspace(0.0, 1.0, _TONES) ** gamma
    tones: npt.NDArray[np.uint8] = np.round(255.0 * curve).astype(np.uint8)
    return tones


def mask_hud(clips: Tensor, generator: np.random.Generator) -> Tensor:
    """Hide what stands where games put health, score and map: a strip below or above, or one or two corners.

    What is hidden is one colour, or noise that stands still, as in all frames of a clip.
    """
    return _some(clips, generator, _mask)


def _mask(clip: Tensor, generator: np.random.Generator) -> Tensor:
    _, height, width, channels = clip.shape
    masked = clip.clone()
    for place in generator.permutation(("bottom", "bottom", "top", "corner", "corner"))[: generator.integers(1, 3)]:
        if place == "corner":
            tall, wide = (max(1, round(generator.uniform(0.12, 0.3) * side)) for side in (height, width))
            left = generator.choice((0, width - wide))
        else:
            tall, wide, left = max(1, round(generator.uniform(0.06, 0.2) * height)), width, 0
        top = {"top": 0, "bottom": height - tall}.get(place, int(generator.choice((0, height - tall))))
        size = (tall, wide, channels) if generator.random() < _SHARE else (1, 1, channels)
        fill = torch.from_numpy(generator.integers(0, 256, size, dtype=np.uint8))
        masked[:, top : top + tall, left : left + wide] = fill
    return masked


def vary_resolution(clips: Tensor, generator: np.random.Generator) -> Tensor:
    """Show clips as if they had been recorded or drawn with 1.3 to 3 times fewer rows and columns."""
    return _some(clips, generator, _coarsen)


def _coarsen(clip: Tensor, generator: np.random.Generator) -> Tensor:
    _, height, width, _ = clip.shape
    factor = generator.uniform(1.3, 3.0)
    small = (max(1, round(height / factor)), max(1, round(width / factor)))
    planes = clip.permute(0, 3, 1, 2).float()
    planes = torch.nn.functional.interpolate(planes, small, mode="area")
    # Pixel art and old screens show squares, players of video smooth them.
    mode = "nearest" if generator.random() < _SHARE else "bilinear"
    planes = torch.nn.functional.interpolate(planes, (height, width), mode=mode)
    return planes.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def vary_frame_rate(clips: Tensor, generator: np.random.Generator) -> Tensor:
    """Show clips at another frame rate: slower, or with frames dropped and the one before shown in their place.

    Frames stay in order. Clips of fewer than 3 frames stay as they are: nothing would be left to move. Leave it out
    where the classes differ in speed alone.
    """
    return clips if clips.shape[1] < 3 else _some(clips, generator, _retime)


def _retime(clip: Tensor, generator: np.random.Generator) -> Tensor:
    frames = len(clip)
    if generator.random() < _SHARE:
        rate = generator.uniform(0.5, 0.9)
        start = generator.uniform(0.0, (frames - 1) * (1.0 - rate))
        shown = np.round(start + rate * np.arange(frames)).astype(np.int64)
    else:
        shown = np.arange(frames) // 2 * 2
        if frames % 2 == 0 and generator.random() < _SHARE:
            shown = np.minimum((np.arange(frames) + 1) // 2 * 2, frames - 1)
    return clip[torch.from_numpy(shown.clip(0, frames - 1))]


AUGMENTATIONS: MappingProxyType[str, Augment] = MappingProxyType(
    {
        "light": augment_clips,
        "palette": vary_palette,
        "hud": mask_hud,
        "resolution": vary_resolution,
        "frame-rate": vary_frame_rate,
    }
)
"""Augmentations by the name that a recipe gives them."""
