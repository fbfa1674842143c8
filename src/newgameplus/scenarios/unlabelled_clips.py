"""Clips without labels, cut out of whole recordings, with nothing in them that is tested on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.errors import DataError, Problem
from newgameplus.games.cache import CachedClips, cache_clips
from newgameplus.games.clips import Clip, ClipSet, load_clips, raise_data_problems
from newgameplus.games.trajectories import SUFFIX, Trajectory, load_trajectory
from newgameplus.games.video import probe_video
from newgameplus.recipe import Recipe
from newgameplus.scenarios.behavior_data import BehaviorGame, cache_folder
from newgameplus.scenarios.behavior_seen import recording_bytes, recording_digest
from newgameplus.shapes import ClipShape

__all__ = ["UnlabelledClips", "fingerprint", "load_unlabelled", "unseen", "whole_recordings"]

_FEWEST = 8
_MOST = 2_000_000
_TIMED_VIDEOS = 50
_HELD = 0.8


@dataclass(frozen=True, eq=False)
class UnlabelledClips:
    """What there is to learn from without labels.

    Attributes:
        cached: The clips, or sequences of numbers.
        actions: int64 [clips]; the action that the engine held, -1 where none is known.
        action_names: What they count in; empty if no recording says.
        span: Seconds of a clip.
        left_out: Recordings that are not learned from, and why.
        what: What they are called: ``clips`` or ``sequences``.
    """

    cached: CachedClips
    actions: npt.NDArray[np.int64]
    action_names: tuple[str, ...]
    span: float
    left_out: tuple[Problem, ...]
    what: str = "clips"


def load_unlabelled(recipe: Recipe, game: BehaviorGame, shape: ClipShape) -> UnlabelledClips:
    """Find the recordings that a recipe pretrains on, cut them into clips as long as the labelled ones, decode them.

    Args:
        recipe: The recipe.
        game: Its labelled clips, of which those to test and validate on stay unseen.
        shape: What the model takes.

    Raises:
        DataError: There are no recordings, they cannot be read, or none is long enough.
    """
    source = recipe.pretrain.path or recipe.data.path
    videos, left_out = unseen(whole_recordings(recipe, game), game, source)
    span = _span(game, recipe)
    clips, actions, names, problems = _cut(videos, span, recipe)
    left_out += problems
    if len(clips) < _FEWEST:
        remedy = f"give longer recordings, or more: {_FEWEST} clips of {span:.2f} s are the fewest"
        message = f"only {len(clips)} clips can be cut out of {len(videos)} recordings"
        raise DataError(message, source=source, remedy=remedy, problems=left_out[:10])
    cached = cache_clips(ClipSet(Path(source), tuple(clips)), shape, cache_folder(), skip_bad=recipe.data.skip_bad)
    left_out += list(cached.clip_set.left_out)
    kept = {clip.identity: number for number, clip in enumerate(clips)}
    rows = np.array([kept[clip.identity] for clip in cached.clip_set.clips], np.int64)
    cached, rows = _without_test_frames(cached, rows, game, shape)
    return UnlabelledClips(cached, actions[rows], names, span, tuple(left_out))


def whole_recordings(recipe: Recipe, game: BehaviorGame, find: Callable[..., ClipSet] = load_clips) -> list[Clip]:
    """Return the recordings that a recipe pretrains on, each whole.

    Args:
        recipe: The recipe.
        game: Its labelled data; without ``pretrain.path``, recordings of which nothing is held out serve.
        find: Finds clips, or sequences.

    Raises:
        DataError: There are none.
    """
    settings = recipe.pretrain
    if settings.path is None:
        split = game.split
        held = {game.clip_set.clips[index].path for index in (*split.test, *split.validation)}
        found: Iterable[Clip] = (clip for clip in game.clip_set.clips if clip.path not in held)
    else:
        rate, skip = recipe.data.frame_rate, recipe.data.skip_bad
        found = find(settings.path, require_labels=False, skip_bad=skip, frame_rate=rate).clips
    whole = {clip.path: replace(clip, label=None, start=0.0, end=None) for clip in found}
    if not whole:
        remedy = "name a folder of recordings: --data FOLDER, or pretrain.path in the recipe"
        raise DataError("nothing is left to pretrain on: all is tested on", source=recipe.data.path, remedy=remedy)
    return list(whole.values())


def unseen(videos: list[Clip], game: BehaviorGame, source: str) -> tuple[list[Clip], list[Problem]]:
    """Leave out recordings with the same content as one that is tested or validated on.

    Raises:
        DataError: None is left.
    """
    sizes: dict[int, set[Path]] = defaultdict(set)
    for index in (*game.split.test, *game.split.validation):
        path = game.clip_set.clips[index].path
        sizes[recording_bytes(path)].add(path)
    kept, left_out = [], []
    held: dict[int, dict[str, Path]] = {}
    for video in videos:
        size = recording_bytes(video.path)
        if size in sizes and size not in held:
            held[size] = {recording_digest(path): path for path in sizes[size]}
        same = held.get(size, {}).get(recording_digest(video.path)) if size in sizes else None
        if same is None:
            kept.append(video)
        else:
            left_out.append(Problem(f"left out: the same recording as {same.name}, which is held out", str(video.path)))
    if not kept:
        remedy = "give recordings that are neither tested nor validated on"
        raise DataError("every recording here is held out", source=source, remedy=remedy, problems=left_out[:10])
    return kept, left_out


def _span(game: BehaviorGame, recipe: Recipe) -> float:
    """Return how long a clip is: as the labelled ones, whether they are spans or whole videos."""
    span = game.median_span()
    if span > 0:
        return span
    paths = sorted({game.clip_set.clips[index].path for index in game.split.train})[:_TIMED_VIDEOS]
    return float(np.median([probe_video(path, recipe.data.frame_rate).duration for path in paths]))


def _cut(
    videos: list[Clip], span: float, recipe: Recipe
) -> tuple[list[Clip], npt.NDArray[np.int64], tuple[str, ...], list[Problem]]:
    """Cut recordings into clips; also say which action was held in each, and what could not be cut."""
    hop = recipe.pretrain.hop or span
    clips: list[Clip] = []
    held: list[str] = []
    left_out: list[Problem] = []
    bad: list[Problem] = []
    with progress.task("looking at recordings", total=len(videos), unit="recordings") as task:
        for video in videos:
            task.advance()
            try:
                duration = probe_video(video.path, recipe.data.frame_rate).duration
                trajectory = _trajectory(video.path)
            except DataError as error:
                bad += error.problems
                continue
            if duration < span * (1.0 - 1e-6):
                left_out.append(Problem(f"left out: {duration:.2f} s are shorter than {span:.2f} s", str(video.path)))
                continue
            starts = [round(float(start), 4) for start in np.arange(0.0, duration - span + 1e-6, hop)]
            clips += [replace(video, start=start, end=round(start + span, 4)) for start in starts]
            held += [_held(trajectory, start, start + span) for start in starts]
            if len(clips) > _MOST:
                message = f"more than {_MOST:,} clips"
                raise DataError(message, source="pretrain.hop", remedy="give more seconds from one clip to the next")
    if not recipe.data.skip_bad:
        raise_data_problems(bad, f"{len(bad)} recordings cannot be read")
    names = tuple(sorted(set(held) - {""}))
    number = {name: index for index, name in enumerate(names)}
    actions = np.array([number.get(name, -1) for name in held], np.int64)
    return clips, actions, names if len(names) > 1 else (), [*left_out, *bad]


def _trajectory(video: Path) -> Trajectory | None:
    path = video.with_name(video.stem + SUFFIX)
    return load_trajectory(path) if path.is_file() else None


def _held(trajectory: Trajectory | None, start: float, end: float) -> str:
    """Return the action that was held for most of a span of one life, or nothing."""
    if trajectory is None:
        return ""
    first, last = (round(second * trajectory.frame_rate) for second in (start, end))
    actions = trajectory.actions[first + 1 : last]
    if not len(actions) or trajectory.cuts[first + 1 : last].any():
        return ""
    found, counts = np.unique(actions, return_counts=True)
    most = int(counts.argmax())
    enough = found[most] >= 0 and counts[most] >= _HELD * len(actions)
    return trajectory.action_names[int(found[most])] if enough else ""


def _without_test_frames(
    cached: CachedClips, rows: npt.NDArray[np.int64], game: BehaviorGame, shape: ClipShape
) -> tuple[CachedClips, npt.NDArray[np.int64]]:
    """Leave out clips whose very frames are held out, wherever they come from."""
    digests = game.at(shape).digests
    held = {digests[index] for index in (*game.split.test, *game.split.validation)}
    keep = np.array([digest not in held for digest in cached.digests], np.bool_)
    if keep.all():
        return cached, rows
    progress.say(f"left out {int((~keep).sum())} clips with the same frames as held-out ones")
    if not keep.any():
        remedy = "give recordings that are neither tested nor validated on"
        raise DataError("every clip here is held out", source=str(cached.clip_set.root), remedy=remedy)
    clips = tuple(clip for clip, kept in zip(cached.clip_set.clips, keep, strict=True) if kept)
    fewer = replace(
        cached,
        clip_set=replace(cached.clip_set, clips=clips),
        digests=tuple(digest for digest, kept in zip(cached.digests, keep, strict=True) if kept),
        rows=cached.rows[keep],
    )
    return fewer, rows[keep]


def fingerprint(unlabelled: UnlabelledClips) -> Mapping[str, str]:
    """Return the digest of each clip's content by its name, to notice when it changes."""
    clips = unlabelled.cached.clip_set.clips
    return {clip.identity: digest for clip, digest in zip(clips, unlabelled.cached.digests, strict=True)}
