"""The data of the behavior scenario: clips, their classes, and a split that no group straddles."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.errors import DataError
from newgameplus.evaluate.baselines import simple_features
from newgameplus.games.cache import CachedClips, cache_clips
from newgameplus.games.clips import ClipSet, load_clips
from newgameplus.games.splits import Split, check_leaks, split_by_group, split_by_names
from newgameplus.recipe import DataSettings
from newgameplus.shapes import ClipShape, InputShape, SequenceShape
from newgameplus.train.augment import mirrored_classes
from newgameplus.train.examples import ClipExamples

__all__ = ["BehaviorGame", "cache_folder", "load_behavior_clips", "load_game", "split_clips"]

Indices = npt.NDArray[np.int64]
_FEW_CLIPS = 500


def cache_folder() -> Path:
    """Return where frame caches live: ``NGP_CACHE``, else ``newgameplus`` in the user's cache folder."""
    chosen = os.environ.get("NGP_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "newgameplus"


@dataclass
class BehaviorGame:
    """What the game gives: clips at a model's size, classes, groups, and the split.

    Attributes:
        clip_set: The clips that could be read.
        labels: Class names.
        targets: int64 [clips]; class of each clip.
        split: Indices of training, validation and test clips.
        cached: The clips at each size asked for so far.
        skip_bad: Whether unreadable clips are left out.
    """

    clip_set: ClipSet
    labels: tuple[str, ...]
    targets: Indices
    split: Split
    cached: dict[ClipShape, CachedClips] = field(default_factory=dict)
    skip_bad: bool = False
    forest_note = "300 trees on brightness, change and shift of the frames"

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of each clip."""
        return tuple(clip.group for clip in self.clip_set.clips)

    @property
    def identities(self) -> tuple[str, ...]:
        """Identity of each clip, the same on every machine."""
        return tuple(clip.identity for clip in self.clip_set.clips)

    def at(self, shape: ClipShape) -> CachedClips:
        """Return all clips decoded at the size of a model."""
        if shape not in self.cached:
            self.cached[shape] = cache_clips(self.clip_set, shape, cache_folder(), skip_bad=self.skip_bad)
        return self.cached[shape]

    def examples(
        self, shape: ClipShape, indices: Indices, *, augment: bool | str | Sequence[str] = False, mirror: bool = False
    ) -> ClipExamples:
        """Return clips at a size as examples to learn from; mirrored too only if the class names have sides."""
        mirrored = mirrored_classes(self.labels) if mirror else None
        return ClipExamples(self.at(shape), indices, self.targets[indices], augment=augment, mirror=mirrored)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels of sequences; empty for clips."""
        return ()

    def simple_features(self, shape: InputShape, indices: Indices) -> npt.NDArray[np.float32]:
        """Return what a random forest is given of some clips: float32 [clips, features]."""
        return simple_features(self.examples(shape, indices).batches(64))

    def median_span(self) -> float:
        """Return the median length of the labelled spans in seconds, 0 if none has an end."""
        spans = [clip.end - clip.start for clip in self.clip_set.clips if clip.end is not None]
        return float(np.median(spans)) if spans else 0.0


def load_behavior_clips(
    data: DataSettings, find: Callable[..., ClipSet] = load_clips
) -> tuple[ClipSet, tuple[str, ...]]:
    """Read the label files of a recipe.

    Args:
        data: What the recipe says about data.
        find: Finds clips, or sequences.

    Returns:
        All clips, those of ``test_path`` last, and the groups to test on (empty: a share).
    """
    clips = find(data.path, labels=data.labels, skip_bad=data.skip_bad, frame_rate=data.frame_rate)
    if data.test_path is None:
        return clips, data.test_groups
    if data.test_groups:
        remedy = "keep one of the two"
        raise DataError("test_path and test_groups are both given", source="data.test_groups", remedy=remedy)
    other = find(data.test_path, skip_bad=data.skip_bad, frame_rate=data.frame_rate)
    if unknown := sorted(set(other.labels) - set(clips.labels)):
        remedy = f"the training clips have: {', '.join(clips.labels)}"
        message = f"labels that no training clip has: {', '.join(unknown)}"
        raise DataError(message, source=str(data.test_path), remedy=remedy)
    return _join(clips, other)


def _join(clips: ClipSet, other: ClipSet) -> tuple[ClipSet, tuple[str, ...]]:
    """Put two sets of clips together; those of the second get its folder's name, since both may have episode-000."""
    name = other.root.name
    renamed = tuple(
        dataclasses.replace(clip, group=f"{name}/{clip.group}", name=f"{name}/{clip.name}") for clip in other.clips
    )
    joined = dataclasses.replace(
        clips, clips=clips.clips + renamed, left_out=tuple(clips.left_out) + tuple(other.left_out)
    )
    return joined, tuple(sorted({clip.group for clip in renamed}))


def split_clips(clip_set: ClipSet, test_groups: tuple[str, ...], data: DataSettings, seed: int) -> Split:
    """Split whole groups into training, validation and test, and keep at most ``max_labels`` labelled clips.

    Raises:
        DataError: The clips cannot be split so.
    """
    try:
        return _split(clip_set, test_groups, data, seed)
    except DataError as error:
        if error.source or len(error.problems) > 1:
            raise
        raise DataError(error.message, source=data.path, remedy=error.remedy) from error


def _split(clip_set: ClipSet, test_groups: tuple[str, ...], data: DataSettings, seed: int) -> Split:
    labels = clip_set.labels
    targets = np.array([labels.index(clip.label or "") for clip in clip_set.clips], dtype=np.int64)
    share = _validation_share(len(clip_set.clips), data)
    groups = [clip.group for clip in clip_set.clips]
    if test_groups or data.validation_groups:
        split = _named_split(groups, targets, test_groups, data.validation_groups, share, seed, labels)
    else:
        split = split_by_group(groups, targets, test=data.test, validation=share, seed=seed, labels=labels)
    if data.max_labels is None:
        return split
    chosen = _choose_labelled(np.concatenate([split.train, split.validation]), targets, data.max_labels, seed)
    return Split(
        train=np.intersect1d(split.train, chosen),
        validation=np.intersect1d(split.validation, chosen),
        test=split.test,
    )


def _validation_share(clips: int, data: DataSettings) -> float:
    """Return the share of the validation part; with few labels each is worth more in training."""
    if data.validation != "auto":
        return data.validation
    return 0.0 if min(clips, data.max_labels or clips) < _FEW_CLIPS else 0.15


def _named_split(
    groups: list[str],
    targets: Indices,
    test_groups: tuple[str, ...],
    validation_groups: tuple[str, ...],
    share: float,
    seed: int,
    labels: tuple[str, ...],
) -> Split:
    fixed = split_by_names(groups, targets, test_groups=test_groups, validation_groups=validation_groups, labels=labels)
    if validation_groups or share == 0:
        return fixed
    kept = fixed.train
    rest = [groups[index] for index in kept]
    inner = split_by_group(rest, targets[kept], test=0.0, validation=share, seed=seed, labels=labels)
    return Split(train=kept[inner.train], validation=kept[inner.validation], test=fixed.test)


def _choose_labelled(indices: Indices, targets: Indices, count: int, seed: int) -> Indices:
    """Choose ``count`` clips at random, each class in proportion and with at least one clip."""
    if count >= len(indices):
        return indices
    order = np.random.default_rng([seed, 1]).permutation(np.sort(indices))
    places = np.empty(len(order))
    # The k-th clip of a class with n clips comes at (k + jitter) / n: any prefix then has each class in proportion.
    for target in np.unique(targets[order]):
        of_class = np.flatnonzero(targets[order] == target)
        places[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
        places[of_class[0]] = -1.0
    chosen = order[np.argsort(places, kind="stable")[:count]]
    missing = np.setdiff1d(targets[order], targets[chosen])
    if len(missing):
        remedy = f"use at least {len(np.unique(targets[order]))} labels, one for each class"
        raise DataError(f"max_labels {count} leaves classes without a clip", source="data.max_labels", remedy=remedy)
    return chosen


def load_game(data: DataSettings, shape: InputShape, seed: int) -> BehaviorGame:
    """Read, decode and split the clips (or sequences) of a recipe, and check that no group or frame leaks.

    Raises:
        DataError: A clip cannot be read, or the clips cannot be split.
        SplitLeakError: The same frames stand on both sides of a split.
    """
    if isinstance(shape, SequenceShape):
        from newgameplus.scenarios.sequence_data import load_sequence_game

        return load_sequence_game(data, seed)
    clip_set, test_groups = load_behavior_clips(data)
    cached = cache_clips(clip_set, shape, cache_folder(), skip_bad=data.skip_bad)
    kept = cached.clip_set
    if kept.left_out:
        progress.say(f"left out {len(kept.left_out)} clips that could not be read")
    split = split_clips(kept, test_groups, data, seed)
    labels = kept.labels
    targets = cached.targets(labels)
    split = check_leaks(kept.clips, cached.digests, split, duplicates=data.duplicates)
    return BehaviorGame(kept, labels, targets, split, {shape: cached}, data.skip_bad)
