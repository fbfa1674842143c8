"""Several agent runs held against each other: their fine-tuned policies on the games that all of them played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from newgameplus.errors import DataError
from newgameplus.evaluate.agent_arms import PlayedEpisodes
from newgameplus.evaluate.agent_evaluation import difference_row
from newgameplus.evaluate.agent_tables import fitted, share_or_dash
from newgameplus.evaluate.agent_words import percent, score, score_signed, score_with_span
from newgameplus.evaluate.resamples import Sureness
from newgameplus.evaluate.tables import shorten, wrap
from newgameplus.evaluate.verdict import number

__all__ = ["agent_runs_table", "compare_agent_runs"]

_NAME_WIDTH = 16

Row = Mapping[str, Any]


def compare_agent_runs(evaluations: Mapping[str, Row]) -> dict[str, Any]:
    """Compare runs on every game that all of them played; all are held against the first.

    Args:
        evaluations: What ``agent_evaluation.compare_agents`` made, by the run's name.

    Returns:
        JSON-safe data; an interval ``I`` is ``{"value", "low", "high"}``::

            {"scenario": "agent", "games": [...],                 the game that was trained on first
             "runs": [{"name", "game", "steps", "games": {GAME: {
               "episodes", "mean": I, "iqm": I, "success": I, "kept": I,
               "difference": {"mean": I, "iqm": I, "success": I, "probability": I, "paired": true}}}}],
                                                                  this run against the first; null there
             "level", "cautions", "sentence"}

    Raises:
        DataError: There are fewer than two runs, one holds no fine-tuned policy, or no game was played by all.
    """
    if len(evaluations) < 2:
        raise DataError(f"{len(evaluations)} run given, comparing takes two or more", remedy="name another run")
    arms = {name: _fine_tuned(name, evaluation) for name, evaluation in evaluations.items()}
    first_name, first = next(iter(evaluations.items()))
    games = [game for game in first["games"] if all(game in arm["games"] for arm in arms.values())]
    if not games:
        remedy = "play one game with all of them: ngp evaluate RUN --on GAME"
        raise DataError("the runs have no game in common", source=", ".join(evaluations), remedy=remedy)
    how = Sureness(int(first["resamples"]), float(first["level"]), int(first["seed"]))
    rows = []
    for name, arm in arms.items():
        base = None if name == first_name else arms[first_name]
        entries = {game: _entry(arm, base, evaluations[name], game, how) for game in games}
        rows.append({"name": name, "game": evaluations[name]["game"], "steps": arm["steps"], "games": entries})
    return {
        "scenario": "agent",
        "games": games,
        "runs": rows,
        "level": how.level,
        "cautions": _cautions(evaluations, rows, games),
        "sentence": _sentence(rows, games[0]),
    }


def _fine_tuned(name: str, evaluation: Row) -> Row:
    if evaluation.get("scenario") != "agent":
        message = f"it is no run of the agent scenario: {evaluation.get('scenario', 'another')}"
        raise DataError(message, source=name, remedy="compare runs of one scenario")
    for arm in evaluation["arms"]:
        if arm["kind"] == "fine-tuned":
            found: Row = arm
            return found
    raise DataError("its evaluation has no fine-tuned policy", source=name, remedy=f"ngp evaluate {name}")


def _played(arm: Row, game: str) -> PlayedEpisodes:
    row = arm["games"][game]
    columns = {"successes": np.bool_, "seeds": np.int64}
    known: dict[str, Any] = {
        key: None if row[key] is None else np.asarray(row[key], kind) for key, kind in columns.items()
    }
    return PlayedEpisodes(game, np.asarray(row["totals"], np.float64), np.asarray(row["lengths"], np.int64), **known)


def _entry(arm: Row, first: Row | None, evaluation: Row, game: str, how: Sureness) -> dict[str, Any]:
    played = arm["games"][game]
    kept = None
    if evaluation["forgetting"] and game != evaluation["game"]:
        row = next((row for row in evaluation["forgetting"]["rows"] if row["name"] == arm["name"]), None)
        kept = row["games"][game]["kept"] if row is not None and game in row["games"] else None
    difference = None
    if first is not None:
        difference = difference_row(_played(arm, game).in_order(), _played(first, game).in_order(), how)
    same = {key: played[key] for key in ("episodes", "mean", "iqm", "success")}
    return {**same, "kept": kept, "difference": difference}


def _cautions(evaluations: Mapping[str, Row], rows: Sequence[Row], games: Sequence[str]) -> list[str]:
    cautions = []
    if len(trained := sorted({evaluation["game"] for evaluation in evaluations.values()})) > 1:
        cautions.append(f"the runs were trained on different games: {', '.join(trained)}")
    left_out = sorted({game for evaluation in evaluations.values() for game in evaluation["games"]} - set(games))
    if left_out:
        cautions.append(f"not every run played {', '.join(left_out)}: left out")
    differences = [row["games"][game]["difference"] for row in rows for game in games]
    if any(one is not None and not one["paired"] for one in differences):
        cautions.append("not all runs played the same episodes, so differences are wider than they need to be")
    cautions.append("each run is one training: another seed can come out otherwise")
    return cautions


def _sentence(rows: Sequence[Row], game: str) -> str:
    best = max(rows, key=lambda row: row["games"][game]["mean"]["value"])
    entry = best["games"][game]
    head = f"return {score_with_span(entry['mean'])} on {game}"
    if entry["difference"] is None:
        if all(row["games"][game]["difference"]["mean"]["high"] < 0 for row in rows[1:]):
            return f"{best['name']} is best: {head}, surely above every other run."
        return f"{best['name']} is ahead: {head}, but not surely above every other run."
    gain = f"{score_signed(entry['difference']['mean'])} against {rows[0]['name']}"
    if entry["difference"]["mean"]["low"] > 0:
        return f"{best['name']} is better: {head}, {gain}."
    return f"No sure difference: {best['name']} has {head}, {gain}."


def agent_runs_table(comparison: Row) -> str:
    """Return what :func:`compare_agent_runs` gave as text of at most 80 columns."""
    level = f"({comparison['level'] * 100:g} %)"
    lines = wrap(comparison["sentence"], "")
    for game in comparison["games"]:
        rows = [["run", f"return {level}", "goal", "IQM", "kept", "against the first", "P"]]
        for row in comparison["runs"]:
            entry, difference = row["games"][game], row["games"][game]["difference"]
            rows.append(
                [
                    shorten(row["name"], _NAME_WIDTH),
                    score_with_span(entry["mean"]),
                    share_or_dash(entry["success"]),
                    score(entry["iqm"]["value"]),
                    percent(entry["kept"]["value"]) if entry["kept"] else "-",
                    score_signed(difference["mean"]) if difference else "",
                    number(difference["probability"]["value"]) if difference else "",
                ]
            )
        unknown = [place for place in (2, 4) if all(row[place] == "-" for row in rows[1:])]
        rows = [[cell for place, cell in enumerate(row) if place not in unknown] for row in rows]
        lines += ["", *wrap(f"on {game}:", ""), *fitted(rows, ["IQM", "goal"])]
    lines += wrap("kept: of the skill before fine-tuning; P: chance that an episode is better, ties half", "")
    return "\n".join(lines + [line for caution in comparison["cautions"] for line in wrap(f"caution: {caution}")])
