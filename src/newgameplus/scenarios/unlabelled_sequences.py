"""Sequences of numbers without labels, cut out of whole recordings, with nothing in them that is tested on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.errors import DataError, Problem
from newgameplus.files import digest_bytes
from newgameplus.games.clips import Clip, ClipSet, raise_data_problems
from newgameplus.games.fixed_sequences import fix_sequences
from newgameplus.games.sequence_formats import read_sequence_file
from newgameplus.games.sequences import SequenceSet, find_sequences, load_sequences
from newgameplus.recipe import Recipe
from newgameplus.scenarios.sequence_data import SequenceGame
from newgameplus.scenarios.unlabelled_clips import UnlabelledClips, unseen, whole_recordings

__all__ = ["FoundSequences", "find_unlabelled_sequences"]

Floats = npt.NDArray[np.float32]
_FEWEST = 8
_FEWEST_STEPS = 4
_MOST = 2_000_000


@dataclass(frozen=True, eq=False)
class FoundSequences:
    """What there is to learn from without labels, not yet at a model's number of steps.

    Attributes:
        sequences: The numbers, each sequence at its own length.
        span: Seconds of those that were cut out of longer recordings.
        left_out: Recordings that are not learned from, and why.
    """

    sequences: SequenceSet
    span: float
    left_out: tuple[Problem, ...]

    def at(self, steps: int) -> UnlabelledClips:
        """Return all sequences at a model's number of steps."""
        fixed: Any = fix_sequences(self.sequences, steps)  # read like the cache of clips
        nobody_knows = np.full(len(self.sequences), -1, np.int64)
        return UnlabelledClips(fixed, nobody_knows, (), self.span, self.left_out, "sequences")


def find_unlabelled_sequences(recipe: Recipe, game: SequenceGame) -> FoundSequences:
    """Find the recordings that a recipe pretrains on, and cut long ones into sequences as long as the labelled ones.

    Args:
        recipe: The recipe.
        game: Its labelled sequences, of which those to test and validate on stay unseen.

    Raises:
        DataError: There are no recordings, they cannot be read, have other channels, or are too few or too short.
    """
    source = recipe.pretrain.path or recipe.data.path
    found, left_out = unseen(whole_recordings(recipe, game, find_sequences), game, source)
    whole = load_sequences(
        ClipSet(Path(source), tuple(found)), channels=game.channels, exactly=True, skip_bad=recipe.data.skip_bad
    )
    _same_width(whole, game, recipe)
    left_out += list(whole.clip_set.left_out)
    span = _span(game)
    held = {game.sequences.digests[index] for index in (*game.split.test, *game.split.validation)}
    clips: list[Clip] = []
    values: list[Floats] = []
    for clip, rows, rate in zip(whole.clip_set.clips, whole.values, whole.rates, strict=True):
        if len(rows) < _FEWEST_STEPS:
            message = f"left out: {len(rows)} steps, and {_FEWEST_STEPS} are the fewest"
            left_out.append(Problem(message, str(clip.path)))
            continue
        for first, last in _cuts(len(rows), span * rate, (recipe.pretrain.hop or span) * rate):
            end = None if last - first == len(rows) else round(last / rate, 4)
            clips.append(replace(clip, start=round(first / rate, 4), end=end))
            values.append(rows[first:last])
        if len(clips) > _MOST:
            remedy = "give more seconds from one sequence to the next"
            raise DataError(f"more than {_MOST:,} sequences", source="pretrain.hop", remedy=remedy)
    digests = [digest_bytes(rows.tobytes()) for rows in values]
    keep = [number for number, digest in enumerate(digests) if digest not in held]
    if len(keep) < len(digests):
        progress.say(f"left out {len(digests) - len(keep)} sequences with the same numbers as held-out ones")
    if len(keep) < _FEWEST:
        remedy = f"give longer recordings, or more: {_FEWEST} sequences of {_FEWEST_STEPS} steps are the fewest"
        message = f"only {len(keep)} sequences can be cut out of {len(found)} recordings"
        raise DataError(message, source=source, remedy=remedy, problems=left_out[:10])
    kept = replace(whole.clip_set, clips=tuple(clips[number] for number in keep))
    chosen = SequenceSet(
        kept, whole.channels, tuple(values[number] for number in keep), tuple(digests[number] for number in keep)
    )
    return FoundSequences(chosen, span, tuple(left_out))


def _same_width(whole: SequenceSet, game: SequenceGame, recipe: Recipe) -> None:
    """Refuse wider tables whose columns have no names: which of them is which, nobody knows.

    Raises:
        DataError: There are such.
    """
    width = len(game.channels)
    if recipe.data.channels or game.channels != tuple(f"c{index}" for index in range(width)):
        return
    remedy = "give the same columns as in the labelled sequences, or names to all columns"
    widths = {path: len(read_sequence_file(path).channels) for path in {clip.path for clip in whole.clip_set.clips}}
    problems = [
        Problem(f"{count} columns without names, and the labelled sequences have {width}", str(path), remedy)
        for path, count in sorted(widths.items())
        if count != width
    ]
    raise_data_problems(problems, f"{len(problems)} recordings have other columns")


def _span(game: SequenceGame) -> float:
    """Return the median length of the labelled training sequences in seconds."""
    sequences = game.sequences
    return float(np.median([len(sequences.values[index]) / sequences.rates[index] for index in game.split.train]))


def _cuts(rows: int, length: float, hop: float) -> Iterator[tuple[int, int]]:
    """Yield where to cut a recording: not at all if it is shorter than two sequences."""
    size, step = max(_FEWEST_STEPS, round(length)), max(1, round(hop))
    if rows < 2 * size:
        yield 0, rows
        return
    for first in range(0, rows - size + 1, step):
        yield first, first + size
