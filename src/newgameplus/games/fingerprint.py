"""What a run learned from, clip by clip, so that going on with other data is noticed and never passes in silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from newgameplus.games.clips import Clip
from newgameplus.games.splits import Split

__all__ = ["data_changes", "data_fingerprint"]

_TOLD = 5


def data_fingerprint(clips: Sequence[Clip], digests: Sequence[str], split: Split) -> dict[str, Any]:
    """Return what must be the same for the same result, as plain data.

    Args:
        clips: The clips.
        digests: Digest of the frames of each.
        split: Which of them are trained, validated and tested on.

    Returns:
        ``{"clips": [[identity, digest, label, group, part], ...]}`` in the order of the clips; ``part`` is ``train``,
        ``validation``, ``test``, or empty for clips that are not used.
    """
    parts = [""] * len(clips)
    for name in ("train", "validation", "test"):
        for index in getattr(split, name).tolist():
            parts[index] = name
    return {
        "clips": [
            [clip.identity, digest, clip.label, clip.group, part]
            for clip, digest, part in zip(clips, digests, parts, strict=True)
        ]
    }


def data_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say how two fingerprints differ.

    Args:
        before: The first, as JSON gave it back.
        now: The second.

    Returns:
        One line for each of the first few clips that changed, then how many more; empty if nothing did.
    """
    then = {str(entry[0]): entry[1:] for entry in before["clips"]}
    today = {str(entry[0]): entry[1:] for entry in now["clips"]}
    lines = [f"{name} is gone" for name in then if name not in today]
    lines += [f"{name} is new" for name in today if name not in then]
    lines += [
        f"{name}: {_change(then[name], today[name])}" for name in then if then[name] != today.get(name, then[name])
    ]
    if not lines and list(then) != list(today):
        lines.append("the clips stand in another order")
    more = [f"and {len(lines) - _TOLD:,} more clips"] if len(lines) > _TOLD else []
    return [*lines[:_TOLD], *more]


def _change(then: list[Any], today: list[Any]) -> str:
    told = []
    if then[0] != today[0]:
        told.append("other frames")
    for place, name in ((1, "label"), (2, "group"), (3, "part")):
        if then[place] != today[place]:
            told.append(f"{name} {then[place] or 'none'!r} is now {today[place] or 'none'!r}")
    return ", ".join(told)
