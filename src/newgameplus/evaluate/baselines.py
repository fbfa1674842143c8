"""What fine-tuning must beat without a network: the most frequent class, and a random forest on simple features.

The features are what a careful person would compute by hand for short game clips: where the picture is bright, where
it changes, how far it slides left, right, up and down between frames (in all, and in each half, so that turning,
strafing and walking differ), and its colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["majority", "random_forest", "simple_features"]

Floats = npt.NDArray[np.float32]
_GRID = (6, 8)
_LARGEST_SIDE = 96
_VALUES_AT_ONCE = 4_000_000


def majority(train_targets: npt.NDArray[np.int64], classes: int, clips: int) -> npt.NDArray[np.float64]:
    """Answer every clip with the class shares of the training clips; the most frequent one is the prediction.

    Args:
        train_targets: int64 [training clips].
        classes: Number of classes.
        clips: Number of clips to answer.

    Returns:
        float64 [clips, classes]; each row sums to 1.
    """
    shares = np.bincount(train_targets, minlength=classes) / max(len(train_targets), 1)
    return np.tile(shares.astype(np.float64), (clips, 1))


def random_forest(
    train_features: Floats,
    train_targets: npt.NDArray[np.int64],
    test_features: Floats,
    classes: int,
    *,
    seed: int = 0,
    trees: int = 300,
    jobs: int = 1,
) -> npt.NDArray[np.float64]:
    """Fit a random forest and answer the test clips.

    Args:
        train_features: float32 [training clips, features], of :func:`simple_features`.
        train_targets: int64 [training clips].
        test_features: float32 [test clips, features].
        classes: Number of classes; those without a training clip get probability 0.
        seed: Of the forest.
        trees: Number of trees.
        jobs: Processor cores to use.

    Returns:
        float64 [test clips, classes]; each row sums to 1.
    """
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(trees, random_state=seed, n_jobs=jobs)
    forest.fit(train_features, train_targets)
    probabilities = np.zeros((len(test_features), classes))
    if len(test_features):
        probabilities[:, forest.classes_] = forest.predict_proba(test_features)
    return probabilities


def simple_features(batches: Iterable[npt.NDArray[np.uint8]]) -> Floats:
    """Compute simple features of clips.

    Args:
        batches: uint8 arrays [clips, frames, height, width, channels], all of the same shape but for the first axis.

    Returns:
        float32 [clips, features].
    """
    parts = [_features(part) for batch in batches for part in _small(batch)]
    return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)


def _small(batch: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    """Cut a batch so that the float arrays of one piece stay within some tens of megabytes."""
    at_once = max(1, _VALUES_AT_ONCE // max(1, int(np.prod(batch.shape[1:]))))
    for start in range(0, len(batch), at_once):
        yield batch[start : start + at_once]


def _features(clips: npt.NDArray[np.uint8]) -> Floats:
    """Return float32 [clips, features] of one small batch."""
    colour = _shrink(clips)
    grey = colour @ _luma(colour.shape[-1])
    change = np.diff(grey, axis=1) if grey.shape[1] > 1 else np.zeros_like(grey)
    magnitude = np.abs(change)
    cells = _grid(grey)
    parts = [
        cells.mean(1),
        cells[:, -1] - cells[:, 0],
        _grid(magnitude).mean(1),
        _grid(magnitude).max(1),
        grey.mean((2, 3)),
        grey.std((2, 3)),
        magnitude.mean((2, 3)),
        *_colours(colour),
        *_shifts(grey),
    ]
    return np.concatenate([part.reshape(len(clips), -1) for part in parts], axis=1).astype(np.float32)


def _luma(channels: int) -> Floats:
    """Return BT.601 weights for red, green, blue; plain means for anything else."""
    return np.array([0.299, 0.587, 0.114] if channels == 3 else [1 / channels] * channels, dtype=np.float32)


def _shrink(clips: npt.NDArray[np.uint8]) -> Floats:
    """Average blocks of pixels until no side is longer than 96, as float32 in 0..1; a rest at the edge is cut off."""
    height, width = clips.shape[2:4]
    block = -(-max(height, width) // _LARGEST_SIDE)
    rows, columns = max(height // block, 1), max(width // block, 1)
    tall, wide = min(block, height), min(block, width)
    cut: Floats = clips[:, :, : rows * tall, : columns * wide].astype(np.float32) / np.float32(255)
    blocks = cut.reshape(*clips.shape[:2], rows, tall, columns, wide, clips.shape[4])
    return cut if block == 1 else np.asarray(blocks.mean((3, 5)), dtype=np.float32)


def _grid(pictures: Floats, shape: tuple[int, int] = _GRID) -> Floats:
    """Average [clips, frames, height, width] over the cells of a grid: [clips, frames, rows, columns]."""
    height, width = pictures.shape[2:]
    rows, columns = min(shape[0], height), min(shape[1], width)
    tall = np.linspace(0, height, rows, endpoint=False).astype(int)
    wide = np.linspace(0, width, columns, endpoint=False).astype(int)
    sums = np.add.reduceat(np.add.reduceat(pictures, tall, axis=2), wide, axis=3)
    areas = np.diff(np.append(tall, height))[:, None] * np.diff(np.append(wide, width))[None, :]
    return np.asarray(sums / areas, dtype=np.float32)


def _colours(colour: Floats) -> list[Floats]:
    """Return channel means and spreads, and channel means on a 3x4 grid; nothing for grey."""
    if colour.shape[-1] == 1:
        return []
    cells = [_grid(colour[..., channel], (3, 4)).mean(1) for channel in range(colour.shape[-1])]
    return [colour.mean((1, 2, 3)), colour.std((1, 2, 3)), *cells]


def _shifts(grey: Floats) -> list[Floats]:
    """Estimate how far the picture slides between successive frames: sideways and up or down, in all and in halves."""
    if grey.shape[1] < 2:
        return []
    height, width = grey.shape[2:]
    areas = {
        "sideways": [
            grey.mean(2),
            grey[:, :, : height // 2 or 1].mean(2),
            grey[:, :, height // 2 :].mean(2),
            grey[..., : width // 2 or 1].mean(2),
            grey[..., width // 2 :].mean(2),
        ],
        "upright": [grey.mean(3), grey[..., : width // 2 or 1].mean(3), grey[..., width // 2 :].mean(3)],
    }
    parts: list[Floats] = []
    for profile in [*areas["sideways"], *areas["upright"]]:
        shift, fit = _slide(profile)
        parts += [shift, fit.mean(1), shift.mean(1), shift.std(1), np.abs(shift).mean(1), shift.sum(1)]
    return parts


def _slide(profile: Floats) -> tuple[Floats, Floats]:
    """Find the shift that best lays each frame's brightness profile over the next one's.

    Args:
        profile: float32 [clips, frames, length].

    Returns:
        Shift as a share of the length, and the mean squared difference there over that at no shift (0..1); both
        [clips, frames - 1].
    """
    length = profile.shape[2]
    reach = min(max(1, length // 4), length - 1)
    before, after = profile[:, :-1], profile[:, 1:]
    costs = np.stack([_misfit(before, after, shift) for shift in range(-reach, reach + 1)], axis=-1)
    best = costs.argmin(-1)
    still = costs[..., reach]
    lowest = np.take_along_axis(costs, best[..., None], axis=-1)[..., 0]
    fit = np.where(still > 1e-8, lowest / np.maximum(still, 1e-8), 1.0)
    shift = np.where(still > 1e-8, (best - reach) / length, 0.0)
    return shift.astype(np.float32), fit.astype(np.float32)


def _misfit(before: Floats, after: Floats, shift: int) -> Floats:
    """Return the mean squared difference where ``after`` moved by ``shift`` overlaps ``before``."""
    length = before.shape[-1]
    one = before[..., max(0, -shift) : length - max(0, shift)]
    other = after[..., max(0, shift) : length - max(0, -shift)]
    return np.asarray(np.square(one - other).mean(-1), dtype=np.float32)
