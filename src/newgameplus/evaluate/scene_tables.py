"""Evaluations of scenes as plain text for a terminal: at most 80 columns, no color codes, the verdict first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from newgameplus.evaluate.scene_verdict import METRIC
from newgameplus.evaluate.tables import columns, shorten, wrap
from newgameplus.evaluate.verdict import number, span

__all__ = ["copied_width", "scene_table", "share_text"]

_NAME_WIDTH = 15
_UNKNOWN = "-"


def copied_width(evaluation: Mapping[str, Any]) -> str | None:
    """Return the widest window, as a key of ``copied``, whose copied share is known of some arm; None if none is."""
    known = [n for row in evaluation["arms"] for n, share in row["raw"]["copied"].items() if share is not None]
    return max(known, key=int, default=None)


def share_text(interval: Mapping[str, float] | None, ends: bool = True) -> str:
    """Write a share, with the ends of its interval or without; ``-`` where it is not known."""
    if not interval:
        return _UNKNOWN
    return f"{number(interval['value'])} {span(interval)}" if ends else number(interval["value"])


def _plain(value: float | None) -> str:
    return _UNKNOWN if value is None else number(value)


def _time(seconds: float | None) -> str:
    """Write seconds in at most five characters."""
    if seconds is None:
        return _UNKNOWN
    return f"{seconds:.3f}" if seconds < 0.1 else f"{seconds:.2f}" if seconds < 10 else f"{seconds:,.0f}"


def scene_table(evaluation: Mapping[str, Any]) -> str:
    """Return an evaluation as text of at most 80 columns.

    Args:
        evaluation: As ``scene_evaluation.compare_scenes`` makes it.

    Returns:
        The verdict, one line for each arm, then what was delivered, how requests were met, and the notes.
    """
    width = copied_width(evaluation)
    rows = [["", f"good ({evaluation['confidence'] * 100:g} %)", "play", "new", "broken", "copied", "KL 4x4", "s each"]]
    for row in evaluation["arms"]:
        raw = row["raw"]
        rows.append(
            [
                shorten(row["title"], _NAME_WIDTH),
                share_text(raw[METRIC]),
                share_text(raw["playable"], ends=False),
                _plain(raw["novelty"]["novel"]),
                share_text(raw["flawed"], ends=False),
                _plain(raw["copied"][width] if width else None),
                _plain(raw["divergence"]["4x4"]),
                _time(raw["seconds_per_level"]),
            ]
        )
    lines = [*wrap(evaluation["verdict"]["sentence"], ""), "", *columns(rows), *_legend(evaluation, width)]
    for row in evaluation["arms"]:
        lines += [line for part in _details(row) for line in wrap(f"{row['title']}, {part}")]
        lines += wrap(f"{row['title']}: {row['note']}") if row["note"] else []
    return "\n".join(lines + [line for note in evaluation["notes"] for line in wrap(f"note: {note}")])


def _legend(evaluation: Mapping[str, Any], width: str | None) -> list[str]:
    copied = f"; copied: windows of {width} columns that stand in a training level" if width else ""
    text = (
        f"raw samples under the rules {evaluation['rules']!r}; good: playable, new (5 or more edits from every "
        f"training level) and unbroken{copied}"
    )
    return wrap(text, "")


def _details(row: Mapping[str, Any]) -> list[str]:
    details = []
    if bits := row["bits_per_tile"]:
        details.append(f"held-out levels: {share_text(bits)} bits a tile")
    if made := row["delivered"]:
        each = ""
        if made["delivered"]:
            each = f"; {number(made['samples_per_level'])} samples and {_time(made['seconds_per_level'])} s a level"
        details.append(
            f"delivered: {made['delivered']} of {made['asked']} asked, solved, from {made['samples']} samples and "
            f"{made['repairs']} repairs{each}"
        )
    if control := row["control"]:
        details.append(
            f"{control['requests']} requests: met exactly {share_text(control['met_exactly'])}, mean error "
            f"{_plain(control['mean_error'])}, playable {share_text(control['playable'])}"
        )
    return details
