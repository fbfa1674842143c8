"""What stands inside a room of a top-down game: patterns of blocks, all symmetric in some way, and never in the way of
the doors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from newgameplus.games.generators.canvas import Cell, Mask, between, chance, pick, regions

__all__ = ["PATTERNS", "draw_pattern", "furnish"]

Pattern = Callable[[np.random.Generator, int, int], Mask]
"""Height and width of a room's inside to the cells that are filled, bool [height, width]."""


def _empty(rng: np.random.Generator, height: int, width: int) -> Mask:  # noqa: ARG001 (as all patterns)
    return np.zeros((height, width), np.bool_)


def _corners(rng: np.random.Generator, height: int, width: int) -> Mask:
    """Four blocks or small squares, one near each corner."""
    mask = _empty(rng, height, width)
    size = 2 if min(height, width) >= 8 and chance(rng, 0.4) else 1
    inset = between(rng, 1, max(1, min(height, width) // 4))
    mask[inset : inset + size, inset : inset + size] = True
    return mask | mask[::-1] | mask[:, ::-1] | mask[::-1, ::-1]


def _pillars(rng: np.random.Generator, height: int, width: int) -> Mask:
    """Pillars in rows and columns."""
    mask = _empty(rng, height, width)
    down, right = between(rng, 2, 3), between(rng, 2, 4)
    top, left = ((height - 1) % down) // 2 or 1, ((width - 1) % right) // 2 or 1
    mask[top : height - 1 : down, left : width - 1 : right] = True
    return mask


def _center(rng: np.random.Generator, height: int, width: int) -> Mask:
    """One block in the middle."""
    mask = _empty(rng, height, width)
    down, right = max(1, height // between(rng, 4, 6)), max(1, width // between(rng, 4, 6))
    mask[height // 2 - down : (height + 1) // 2 + down, width // 2 - right : (width + 1) // 2 + right] = True
    return mask & (min(height, width) >= 5)


def _ring(rng: np.random.Generator, height: int, width: int) -> Mask:
    """A ring with openings in the middle of two or four sides."""
    mask = _empty(rng, height, width)
    if min(height, width) < 7:
        return mask
    inset = between(rng, 1, 2)
    mask[inset:-inset, inset:-inset] = True
    mask[inset + 1 : -inset - 1, inset + 1 : -inset - 1] = False
    if chance(rng, 0.5):
        mask[:, (width - 1) // 2 : width // 2 + 1] = False
    if mask[height // 2].any() and (chance(rng, 0.5) or mask[inset, width // 2]):
        mask[(height - 1) // 2 : height // 2 + 1] = False
    return mask


def _bars(rng: np.random.Generator, height: int, width: int) -> Mask:
    """Bars from one side to the other that leave a way at one end in turn, or at both."""
    mask = _empty(rng, height, width)
    both, space = chance(rng, 0.5), between(rng, 2, 3)
    for number, row in enumerate(range(space - 1, height - 1, space)):
        mask[row, 1 if both or number % 2 else 0 : width - (1 if both or not number % 2 else 0)] = True
    return mask


def _checkers(rng: np.random.Generator, height: int, width: int) -> Mask:
    """Every other cell of every other row, shifted."""
    rows, columns = np.mgrid[:height, :width]
    mask = ((rows + columns) % 4 == 0) & (rows % 2 == 0)
    mask[[0, -1]] = False
    mask[:, [0, -1]] = False
    return np.asarray(mask & mask[:, ::-1] if chance(rng, 0.3) else mask)


def _diagonal(rng: np.random.Generator, height: int, width: int) -> Mask:
    """A diagonal line, or two that make a cross or an arrow."""
    rows, columns = np.mgrid[:height, :width]
    shift = (width - height) // 2
    mask = np.asarray(rows == columns - shift)
    mask[[0, -1]] = False
    mask[:, [0, -1]] = False
    return mask | mask[:, ::-1] if chance(rng, 0.6) else mask


def _cross(rng: np.random.Generator, height: int, width: int) -> Mask:
    """A cross of one or two cells' width that does not touch the walls."""
    mask = _empty(rng, height, width)
    inset = between(rng, 1, max(1, min(height, width) // 3))
    mask[inset : height - inset, (width - 1) // 2 : width // 2 + 1] = True
    mask[(height - 1) // 2 : height // 2 + 1, inset : width - inset] = True
    return mask


def _sides(rng: np.random.Generator, height: int, width: int) -> Mask:
    """Blocks along two opposite sides."""
    mask = _empty(rng, height, width)
    deep = between(rng, 1, max(1, min(height, width) // 4))
    step = pick(rng, (1, 2, 2))
    if chance(rng, 0.5):
        mask[:deep, ::step] = True
        return mask | mask[::-1]
    mask[::step, :deep] = True
    return mask | mask[:, ::-1]


def _scatter(rng: np.random.Generator, height: int, width: int) -> Mask:
    """A few blocks anywhere, mirrored."""
    mask = np.asarray(rng.random((height, width)) < rng.uniform(0.05, 0.12))
    return mask | mask[:, ::-1] if chance(rng, 0.7) else mask | mask[::-1]


def _diamond(rng: np.random.Generator, height: int, width: int) -> Mask:
    """The corners cut off, so that the floor is a diamond, or only a diamond's rim."""
    rows, columns = np.mgrid[:height, :width]
    far = np.abs(rows - (height - 1) / 2) / height + np.abs(columns - (width - 1) / 2) / width
    edge = rng.uniform(0.5, 0.75)
    return np.asarray(far > edge if chance(rng, 0.6) else (far > 0.3) & (far < 0.42))


#: Every pattern by name.
PATTERNS: Mapping[str, Pattern] = MappingProxyType(
    {
        "empty": _empty, "corners": _corners, "pillars": _pillars, "center": _center, "ring": _ring, "bars": _bars,
        "checkers": _checkers, "diagonal": _diagonal, "cross": _cross, "sides": _sides, "scatter": _scatter,
        "diamond": _diamond,
    }
)  # fmt: skip


def draw_pattern(rng: np.random.Generator, weights: Mapping[str, float], height: int, width: int) -> Mask:
    """Return one pattern for a room's inside, by the style's weights."""
    return PATTERNS[pick(rng, list(weights), list(weights.values()))](rng, height, width)


def furnish(mask: Mask, doors: Sequence[Cell]) -> Mask:
    """Clear a pattern where it is in the way: before the doors, and where it would cut the floor in parts.

    Args:
        mask: Filled cells of a room's inside.
        doors: Cells of the inside that one steps on when coming through the doors.

    Returns:
        The filled cells, such that all floor is one region.
    """
    mask = mask.copy()
    height, width = mask.shape
    for row, column in doors:
        mask[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = False
    labels, sizes = regions(~mask)
    if len(sizes) <= 2:
        return mask
    if len({int(labels[door]) for door in doors}) <= 1:
        home = int(labels[doors[0]]) if doors else int(sizes.argmax())
        rest = (labels > 0) & (labels != home)
        if rest.sum() <= 0.15 * mask.size:
            return np.asarray(mask | rest)
    # Two straight aisles join everything that the pattern parts.
    mask[(height - 1) // 2 : height // 2 + 1] = False
    mask[:, (width - 1) // 2 : width // 2 + 1] = False
    for row, column in doors:
        mask[min(row, height // 2) : max(row, height // 2) + 1, column] = False
    labels, sizes = regions(~mask)
    return np.asarray(labels != labels[height // 2, width // 2])
