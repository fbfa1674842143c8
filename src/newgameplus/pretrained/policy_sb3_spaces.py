"""How the spaces of a Stable-Baselines3 archive stand to a game's: which number it saw is which of ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from newgameplus.pretrained.policy_sb3_file import Sb3File, Sb3Space
from newgameplus.spaces import SINGLE, ActionKind, ActionSpec, ObservationPart, ObservationSpec

__all__ = ["Match", "match_actions", "match_observations"]


@dataclass(frozen=True, eq=False)
class Match:
    """One part of the observation, as this library sees it and as Stable-Baselines3 saw it.

    Attributes:
        part: As here.
        key: Its name there; empty for the only part.
        start: Where its features begin there.
        width: How many they are there.
        columns: int64 [features here]: which feature there, counted from ``start``, is which of ours; -1 for one that
            was not seen there (a button that is not pressed).
        options: What its encoder needs, see :class:`newgameplus.pretrained.policy_shape.PolicyShape`.
    """

    part: ObservationPart
    key: str
    start: int
    width: int
    columns: Tensor
    options: Mapping[str, Any] = field(default_factory=dict)


def match_observations(file: Sb3File, wanted: ObservationSpec | None, images: Mapping[str, int]) -> list[Match]:
    """Match all parts, in the game's order where all of them fit, else in the archive's.

    Args:
        file: The archive.
        wanted: What the game shows; None if there is no game.
        images: Width of the features of each part that goes through convolutions, by its name there.
    """
    space = file.observations
    spaces = space.parts if space.kind == "dict" else (("", space),)
    divide = file.flag("normalize_images", True)
    found: list[Match] = []
    start = 0
    for key, one in spaces:
        features = images.get(key)
        part = _wanted_part(key, wanted)
        width = one.width if features is None else features
        columns = None if part is None else _columns(one, part, convolved=features is not None)
        if part is None or columns is None:
            part = _own_part(key, one, convolved=features is not None)
            columns = torch.arange(one.width)
        options: dict[str, Any] = {}
        if features is not None:
            options, columns = {"encoder": "nature-cnn", "features": features}, torch.arange(features)
        if part.kind in ("image", "grid"):
            options["scale"] = 1.0 / 255.0 if one.is_image and divide else 1.0
            options |= {"numbers": True} if part.kind == "grid" else {}
        found.append(Match(part, key, start, width, columns, options))
        start += width
    order = {} if wanted is None else {part.name: number for number, part in enumerate(wanted.parts)}
    if all(match.part.name in order for match in found):
        found.sort(key=lambda match: order[match.part.name])
    return found


def _wanted_part(key: str, wanted: ObservationSpec | None) -> ObservationPart | None:
    if wanted is None:
        return None
    return wanted.part(key) if key else (wanted.parts[0] if len(wanted.parts) == 1 else None)


def _columns(space: Sb3Space, part: ObservationPart, *, convolved: bool) -> Tensor | None:
    """Return which number of the archive's is which of the part's; None if they are not the same numbers."""
    if space.kind == "box":
        if convolved or part.kind in ("image", "grid"):
            return _pixel_columns(space.shape, part, convolved=convolved)
        return torch.arange(space.width) if part.kind == "vector" and part.shape == (space.width,) else None
    if space.kind == "multi-binary":
        if part.kind == "vector" and part.shape == (space.width,):
            return torch.arange(space.width)
        if part.kind == "choice" and part.sizes == (2,) * space.width:
            return torch.stack([torch.full((space.width,), -1), torch.arange(space.width)], dim=1).flatten()
        return None
    return torch.arange(space.width) if part.kind == "choice" and part.sizes == space.sizes else None


def _pixel_columns(shape: tuple[int, ...], part: ObservationPart, *, convolved: bool) -> Tensor | None:
    if part.kind not in ("image", "grid") or math.prod(shape) != math.prod(part.shape):
        return None
    numbers = torch.arange(math.prod(shape))
    if shape == part.shape or (len(shape) == 2 and (1, *shape) == part.shape):
        return numbers
    if len(shape) == 3 and not convolved and (shape[2], shape[0], shape[1]) == part.shape:
        return numbers.reshape(shape).permute(2, 0, 1).flatten()
    return None


def _own_part(key: str, space: Sb3Space, *, convolved: bool) -> ObservationPart:
    """Describe a part as the archive tells of it."""
    name = key or SINGLE
    if space.kind in ("discrete", "multi-discrete"):
        return ObservationPart(name, "choice", (len(space.sizes),), "int64", sizes=space.sizes)
    if space.kind == "box" and (space.is_image or convolved):
        high = max(space.high) if space.high else None
        return ObservationPart(name, "image", space.shape, space.dtype, min(space.low, default=None), high)
    return ObservationPart(name, "vector", (space.width,))


def match_actions(space: Sb3Space, wanted: ActionSpec | None) -> ActionSpec:
    """Return the game's actions where they are the archive's, else the archive's."""
    kinds: dict[str, ActionKind] = {
        "discrete": "discrete",
        "multi-discrete": "multi-discrete",
        "multi-binary": "binary",
        "box": "continuous",
    }
    sizes = (space.width,) if space.kind == "box" else space.sizes
    own = ActionSpec(kinds.get(space.kind, "discrete"), sizes, *_bounds(space))
    if wanted is None or wanted.kind != own.kind or wanted.sizes != own.sizes:
        return own
    pairs = ((own.low, wanted.low), (own.high, wanted.high))
    # Bounds are printed with eight digits.
    alike = all(not mine or (len(mine) == len(other) and np.allclose(mine, other, rtol=1e-5)) for mine, other in pairs)
    return wanted if alike else own


def _bounds(space: Sb3Space) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the bounds of continuous actions, one for each number; none if they were not printed whole."""
    if space.kind != "box" or not space.low or not space.high:
        return (), ()
    low, high = (bound * space.width if len(bound) == 1 else bound for bound in (space.low, space.high))
    return (low, high) if len(low) == len(high) == space.width else ((), ())
