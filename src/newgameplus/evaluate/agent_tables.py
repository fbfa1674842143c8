"""Evaluations of policies as plain text for a terminal: at most 80 columns, no color codes, the verdict first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from newgameplus.evaluate.agent_words import (
    percent,
    percent_span,
    score,
    score_signed,
    score_with_span,
    steps_text,
)
from newgameplus.evaluate.tables import columns, shorten, wrap
from newgameplus.evaluate.verdict import number

__all__ = ["agent_table", "fitted", "kept_text", "share_or_dash"]

_WIDTH = 80
_NAME_WIDTH = 15
_FEWEST_NAME = 6

Row = Mapping[str, Any]


def fitted(rows: list[list[str]], optional: Sequence[str] = ()) -> list[str]:
    """Lay rows out in columns of at most 80 cells: what is optional goes first, then letters of the names.

    Args:
        rows: The first is the head; the first cell of each is a name.
        optional: Heads of columns that may go, the least important first.
    """
    dropped = list(optional)
    while True:
        lines = columns(rows)
        width = max(map(len, lines))
        if width <= _WIDTH:
            return lines
        if dropped:
            name = dropped.pop(0)
            if name in rows[0]:
                place = rows[0].index(name)
                rows = [[*row[:place], *row[place + 1 :]] for row in rows]
            continue
        names = max(len(row[0]) for row in rows)
        if names <= _FEWEST_NAME:
            return lines
        rows = [[shorten(row[0], max(_FEWEST_NAME, names - (width - _WIDTH))), *row[1:]] for row in rows]


def share_or_dash(interval: Mapping[str, float] | None) -> str:
    """Write a share as whole percent; ``-`` where it is not known."""
    return "-" if interval is None else percent(interval["value"])


def kept_text(entry: Row, is_before: bool) -> str:
    """Write what an entry of the forgetting matrix says was kept."""
    if is_before:
        return "before"
    return percent_span(entry["kept"]) if entry["kept"] else "unknown"


def agent_table(evaluation: Row) -> str:
    """Return an evaluation as text of at most 80 columns.

    Args:
        evaluation: As ``agent_evaluation.compare_agents`` makes it, perhaps with ``strength``.

    Returns:
        The verdict, a table for the game that was trained on and one for each other game, then levels of strength,
        the arms that did not run and why, notes and cautions.
    """
    game = evaluation["game"]
    lines = [*wrap(evaluation["verdict"]["sentence"], ""), "", *_new_game(evaluation)]
    for other in evaluation["games"]:
        if other != game:
            lines += ["", *_old_game(evaluation, other)]
    if strength := evaluation.get("strength"):
        lines += ["", *_strength(strength)]
    for row in evaluation["arms"]:
        if row["agreement"]:
            lines += wrap(f"{row['title']}: agrees with demonstrations kept apart in {percent_span(row['agreement'])}")
        lines += wrap(f"{row['title']}: {row['note']}") if row["note"] else []
    lines += [line for name, why in evaluation["skipped"].items() for line in wrap(f"{name}: did not run, {why}")]
    lines += [line for note in evaluation["notes"] for line in wrap(f"note: {note}")]
    return "\n".join(lines + [line for caution in evaluation["cautions"] for line in wrap(f"caution: {caution}")])


def _level(evaluation: Row) -> str:
    return f"({evaluation['level'] * 100:g} %)"


def _new_game(evaluation: Row) -> list[str]:
    game, level = evaluation["game"], _level(evaluation)
    rows = [["", f"return {level}", "goal", "IQM", f"gain over it {level}", "P", "steps"]]
    for row in evaluation["arms"]:
        played, difference = row["games"][game], (row["difference"] or {}).get(game)
        rows.append(
            [
                shorten(row["title"], _NAME_WIDTH),
                score_with_span(played["mean"]),
                share_or_dash(played["success"]),
                score(played["iqm"]["value"]),
                score_signed(difference["mean"]) if difference else "",
                number(difference["probability"]["value"]) if difference else "",
                steps_text(row["steps"]),
            ]
        )
    if game in evaluation["random"]:
        rows.append(_random_cells(evaluation["random"][game], len(rows[0]), ["IQM"]))
    if all(row[2] == "-" for row in rows[1:]):
        rows = [[*row[:2], *row[3:]] for row in rows]
    table = fitted(rows, ["steps", "IQM", "goal"])
    return [*table, *_legend(evaluation, " IQM " in f"{table[0]} ")]


def _random_cells(played: Row, width: int, also: Sequence[str] = ()) -> list[str]:
    cells = ["at random", score_with_span(played["mean"]), share_or_dash(played["success"])]
    cells += [score(played["iqm"]["value"])] if also else []
    return cells + [""] * (width - len(cells))


def _legend(evaluation: Row, with_middle: bool) -> list[str]:
    counts = sorted({row["games"][evaluation["game"]]["episodes"] for row in evaluation["arms"]})
    episodes = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    middle = "IQM: mean of the middle half; " if with_middle else ""
    text = (
        f"{episodes} episode{'' if counts == [1] else 's'} of {evaluation['game']} each; {middle}"
        "P: chance that an episode of the first is better, ties half"
    )
    return wrap(text, "")


def _old_game(evaluation: Row, game: str) -> list[str]:
    matrix = evaluation["forgetting"]
    entries = {row["name"]: row["games"].get(game) for row in matrix["rows"]} if matrix else {}
    rows = [["", f"return {_level(evaluation)}", "goal", f"kept of the old skill {_level(evaluation)}"]]
    reasons = []
    order = [row["name"] for row in matrix["rows"]] if matrix else [row["name"] for row in evaluation["arms"]]
    for row in sorted(evaluation["arms"], key=lambda row: order.index(row["name"])):
        if game not in row["games"]:
            continue
        entry, played = entries.get(row["name"]), row["games"][game]
        kept = kept_text(entry, row["name"] == matrix["before"]) if entry else "unknown"
        rows.append(
            [
                shorten(row["title"], _NAME_WIDTH),
                score_with_span(played["mean"]),
                share_or_dash(played["success"]),
                kept,
            ]
        )
        if entry and entry["why"]:
            reasons.append(entry["why"])
    if game in evaluation["random"]:
        rows.append(_random_cells(evaluation["random"][game], len(rows[0])))
    if all(row[2] == "-" for row in rows[1:]):
        rows = [[*row[:2], *row[3:]] for row in rows]
    told = [line for why in dict.fromkeys(reasons) for line in wrap(f"unknown: {why}", "")]
    return [*wrap(f"on {game}:", ""), *fitted(rows, ["goal"]), *told]


def _strength(strength: Row) -> list[str]:
    rows = [["level", "score reached", "setting"]]
    for row in strength["levels"]:
        text = row["text"] if row["reached"] else f"{row['text']} (nearest there is)"
        rows.append([number(row["level"]), f"{number(row['score']['value'])} {_ends(row['score'])}", shorten(text, 46)])
    return [*wrap(f"strength, from 0 (at random) to 1 (full), on {strength['game']}:", ""), *columns(rows)]


def _ends(interval: Mapping[str, float]) -> str:
    return f"({number(interval['low'])} to {number(interval['high'])})"
