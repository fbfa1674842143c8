"""Several processes on one behavior run or pretraining: each loads its own copy of the clips, and all compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from newgameplus.errors import DataError, Problem, TrainingError
from newgameplus.files import digest_bytes
from newgameplus.games.fingerprint import data_changes, data_fingerprint
from newgameplus.recipe import Recipe
from newgameplus.scenarios.behavior_data import BehaviorGame, load_game
from newgameplus.scenarios.unlabelled_clips import UnlabelledClips, load_unlabelled
from newgameplus.shapes import ClipShape
from newgameplus.train.processes import agree, check_same, from_main, gather, process_count
from newgameplus.train.sharing import OpenClips, follow, tell

__all__ = ["follow_behavior", "share_game", "share_recordings"]

_REMEDY = "give every process the same files, with the same labels; data.path may differ between machines"
_SAME_RECORDINGS = (
    "give every process the same recordings, with the same trajectories beside them; pretrain.path may differ between "
    "machines"
)


def share_game(game: BehaviorGame, shape: ClipShape) -> None:
    """Let the other processes load their copy of the clips, and compare; nothing in one process.

    Raises:
        TrainingError: Copies differ, or one cannot be read.
    """
    _share(("clips", shape), lambda: _compare(game, shape))


def share_recordings(unlabelled: UnlabelledClips, shape: ClipShape) -> None:
    """Let the other processes load their copy of the recordings without labels, and compare; nothing in one process.

    Raises:
        TrainingError: Copies differ, or one cannot be read.
    """
    _share(("recordings", shape), lambda: _compare_recordings(unlabelled))


def _share(wanted: tuple[str, ClipShape], compare: Callable[[], None]) -> None:
    """Let the others load what is wanted (see :func:`follow_behavior`), and compare with them."""
    if process_count() > 1:
        tell("load", wanted)
        agree(lambda: None)
        compare()


def follow_behavior(recipe: Recipe) -> None:
    """Wait for the main process and join in; see :func:`newgameplus.train.sharing.follow`."""

    def load(wanted: tuple[str, ClipShape]) -> OpenClips:
        kind, shape = wanted
        if kind == "recordings":
            return _load_recordings(recipe, shape)
        game = agree(lambda: load_game(recipe.data, shape, recipe.seed))
        _compare(game, shape)
        return game.at

    follow(load)


def _load_recordings(recipe: Recipe, shape: ClipShape) -> OpenClips:
    unlabelled = agree(lambda: load_unlabelled(recipe, load_game(recipe.data, shape, recipe.seed), shape))
    _compare_recordings(unlabelled)
    return lambda _: unlabelled.cached


def _compare_recordings(unlabelled: UnlabelledClips) -> None:
    """Compare one digest of all first: there may be millions of clips."""
    cached, names = unlabelled.cached, (*unlabelled.action_names, "not known")  # -1 is the last
    facts = {
        clip.identity: f"frames {digest[:8]}, action {names[action]}"
        for clip, digest, action in zip(cached.clip_set.clips, cached.digests, unlabelled.actions, strict=True)
    }
    if len(set(gather(digest_bytes(repr(list(facts.items())).encode())))) > 1:
        check_same(facts, "the recordings", _SAME_RECORDINGS)


def _compare(game: BehaviorGame, shape: ClipShape) -> None:
    """Compare digests first; only copies that differ are told apart clip by clip."""
    own = data_fingerprint(game.clip_set.clips, game.at(shape).digests, game.split)
    digests = gather(digest_bytes(repr(own).encode()))
    if len(set(digests)) == 1:
        return
    theirs = from_main(own)
    changes = gather(_told(theirs, own))
    problems = [Problem("; ".join(lines), f"process {rank}") for rank, lines in enumerate(changes) if lines]
    message = "the processes do not have the same data; against the main process:"
    raise TrainingError(message, source="data.path", remedy=_REMEDY, problems=[*problems, Problem(_counts(digests))])


def _told(theirs: dict[str, Any], own: dict[str, Any]) -> list[str]:
    try:
        return data_changes(theirs, own)
    except DataError as error:
        return [str(error)]


def _counts(digests: list[str]) -> str:
    return "digest of the data: " + ", ".join(f"{one[:8]} in process {rank}" for rank, one in enumerate(digests))
