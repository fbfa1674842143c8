"""What a pretrained model has seen of the clips that a recipe tests on: with labels, refused; without, told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from newgameplus.errors import DataError
from newgameplus.files import digest_bytes, digest_file
from newgameplus.games.images import frame_files
from newgameplus.pretrained.card import ModelCard
from newgameplus.scenarios.behavior_data import BehaviorGame

__all__ = [
    "learned_clips",
    "name_clips",
    "name_recordings",
    "recording_bytes",
    "recording_digest",
    "refuse_seen",
    "seen_without_labels",
]

#: In the facts of a training: digests of the clips whose labels it learned, and recordings that it saw without labels.
_CLIPS, _RECORDINGS = "clip_digests", "recordings"
#: What early runs called the digests; early pretrainings kept a count of clips under the same name.
_EARLY_CLIPS = "clips"


def name_clips(digests: Iterable[str]) -> dict[str, Any]:
    """Return the fact of a training that says whose labels it learned."""
    return {_CLIPS: list(digests)}


def name_recordings(paths: Iterable[Path]) -> dict[str, Any]:
    """Return the fact of a training that says what it saw without labels."""
    whole = sorted(set(paths))
    return {_RECORDINGS: [{"digest": recording_digest(path), "bytes": recording_bytes(path)} for path in whole]}


def learned_clips(training: Mapping[str, Any]) -> set[str]:
    """Return the digests of the clips whose labels a training learned, as its facts say."""
    digests = training.get(_CLIPS, training.get(_EARLY_CLIPS, ()))
    return set(digests) if isinstance(digests, list | tuple) else set()


def recording_bytes(path: Path) -> int:
    """Return the size of a recording: a video, or a folder of frames."""
    files = frame_files(path) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def recording_digest(path: Path) -> str:
    """Return the digest of a recording's content, wherever it lies."""
    if not path.is_dir():
        return digest_file(path)
    return digest_bytes(*(digest_file(file).encode() for file in frame_files(path)))


def refuse_seen(name: str, card: ModelCard, game: BehaviorGame) -> None:
    """Refuse a model that learned the labels of clips which are to be tested on: its score would mean nothing.

    Raises:
        DataError: It did, or the model did that it was made from.
    """
    learned = set().union(*(learned_clips(training) for training in _trainings(card)))
    if not learned:
        return
    digests = game.at(card.shape).digests
    seen = sum(digests[index] in learned for index in game.split.test.tolist())
    if seen:
        message = f"{name} was trained on {seen:,} of the {len(game.split.test):,} test clips"
        remedy = "test on what it was tested on (the same data.test, data.test_groups and seed), or start elsewhere"
        raise DataError(message, source="model.start", remedy=remedy)


def seen_without_labels(name: str, card: ModelCard, game: BehaviorGame) -> str:
    """Return a sentence if a model was pretrained on recordings that are to be tested on; else nothing."""
    found = [recording for training in _trainings(card) for recording in training.get(_RECORDINGS, ())]
    digests, sizes = {one["digest"] for one in found}, {one["bytes"] for one in found}
    tested = [game.clip_set.clips[index].path for index in game.split.test.tolist()]
    same = {path for path in set(tested) if recording_bytes(path) in sizes and recording_digest(path) in digests}
    clips = sum(path in same for path in tested)
    if not clips:
        return ""
    return (
        f"{name} was pretrained, without labels, on the recordings of {clips:,} of the {len(tested):,} test clips: "
        "how it does on them says less about recordings that it never saw."
    )


def _trainings(card: ModelCard) -> list[Mapping[str, Any]]:
    """Return the facts of all trainings that a model went through here."""
    facts = card.facts
    return [facts.get("training", {}), *facts.get("earlier_trainings", ())]
