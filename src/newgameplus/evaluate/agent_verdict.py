"""The verdict on a policy: did fine-tuning help on the new game, against what, by how much, and what did it forget?

The new game is judged by the difference in mean return between the fine-tuned policy and the best baseline:

- ``helped``: the whole interval lies above 0;
- ``hurt``: the whole interval lies below 0;
- ``no gain``: it holds 0 and leaves no room for a gain worth having (5 % of the skill of the better of the two, counted
  from a random policy's return, or from 0 where none was played);
- ``undecided``: such a gain is possible, or there are fewer than five episodes: there is too little data to tell.

The best baseline is picked on the same episodes, which favors the baseline: the verdict errs on the modest side. Plain
fine-tuning without retention is no such baseline, as it is fine-tuning: it is told beside the verdict, with its
difference in the new game and what it kept of the old ones, for that is the price and the gain of retention.

Of old games, those the new one was not, the verdict says how much was kept: ``forgot`` if on any of them surely less
than 90 %, ``kept`` if on each surely that much, else ``unsure``; null where none was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from newgameplus.evaluate.agent_forgetting import memory_of
from newgameplus.evaluate.agent_words import percent_span, score, score_span, score_with_span
from newgameplus.evaluate.intervals import FEWEST_GROUPS

__all__ = ["PLAIN", "WORTHWHILE_SHARE", "judge_agents"]

PLAIN = "plain"
"""The arm that is fine-tuned without retention."""

WORTHWHILE_SHARE = 0.05
"""The smallest gain worth having, as a share of skill; where it is ruled out, the verdict says "no gain"."""

_OPENINGS = {
    ("helped", "kept"): "Fine-tuning helped and kept the old skill",
    ("helped", "forgot"): "Fine-tuning helped, but it forgot",
    ("helped", ""): "Fine-tuning helped",
    ("hurt", "kept"): "Fine-tuning hurt, though the old skill was kept",
    ("hurt", "forgot"): "Fine-tuning hurt, and it forgot",
    ("hurt", ""): "Fine-tuning hurt",
    ("no gain", "kept"): "No gain, though the old skill was kept",
    ("no gain", "forgot"): "No gain, and it forgot",
    ("no gain", ""): "No gain",
    ("undecided", "kept"): "Too little data to tell whether it helped; the old skill was kept",
    ("undecided", "forgot"): "Too little data to tell whether it helped, but it forgot",
    ("undecided", ""): "Too little data to tell",
}
_MOST_GAMES = 3

Row = Mapping[str, Any]


def judge_agents(evaluation: Row) -> dict[str, Any]:
    """Judge an evaluation.

    Args:
        evaluation: As ``agent_evaluation.compare_agents`` makes it; its verdict is not read.

    Returns:
        ``{"outcome", "sentence", "metric", "against", "difference", "low", "high", "memory", "kept"}``; outcome is
        ``helped``, ``no gain``, ``hurt`` or ``undecided``; against is the best baseline's name. Without a fine-tuned
        policy or a baseline, the outcome is ``undecided`` and against, difference and its ends are null. Kept holds
        an interval (or null) for each old game.
    """
    game = evaluation["game"]
    ours = next((row for row in evaluation["arms"] if row["name"] == evaluation["reference"]), None)
    rivals = [row for row in evaluation["arms"] if row["kind"] == "baseline" and row is not ours]
    rivals = [row for row in rivals if row["name"] != PLAIN]
    if ours is None:
        return _verdict("undecided", "No verdict: the fine-tuned policy was not played.")
    kept = _kept(evaluation, ours["name"])
    memory = memory_of(kept)
    reached = f"return {score_with_span(ours['games'][game]['mean'])} on {game}{_success(ours['games'][game])}"
    tail = f"{_memory_sentence(evaluation, kept)}{_plain_sentence(evaluation)}"
    if not rivals:
        sentence = f"No verdict: {reached}, but no baseline ran to hold it against.{tail}"
        return _verdict("undecided", sentence, memory=memory, kept=kept)
    best = max(rivals, key=lambda row: (row["games"][game]["mean"]["value"], -row["difference"][game]["mean"]["low"]))
    difference = best["difference"][game]["mean"]
    outcome = _outcome(difference, evaluation, ours, best)
    opening = _OPENINGS[outcome, memory if memory in ("kept", "forgot") else ""]
    sentence = f"{opening}: {reached}, {_against(best, game)}.{tail}"
    return _verdict(outcome, sentence, best["name"], difference, memory, kept)


def _verdict(
    outcome: str,
    sentence: str,
    against: str | None = None,
    difference: Mapping[str, float] | None = None,
    memory: str | None = None,
    kept: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    difference = difference or {}
    return {
        "outcome": outcome,
        "sentence": sentence,
        "metric": "mean return",
        "against": against,
        "difference": difference.get("value"),
        "low": difference.get("low"),
        "high": difference.get("high"),
        "memory": memory,
        "kept": dict(kept or {}),
    }


def _outcome(difference: Mapping[str, float], evaluation: Row, ours: Row, best: Row) -> str:
    game = evaluation["game"]
    if min(ours["games"][game]["episodes"], best["games"][game]["episodes"]) < FEWEST_GROUPS:
        return "undecided"
    if difference["low"] > 0:
        return "helped"
    if difference["high"] < 0:
        return "hurt"
    floor = evaluation["random"][game]["mean"]["value"] if game in evaluation["random"] else 0.0
    skill = max(abs(row["games"][game]["mean"]["value"] - floor) for row in (ours, best))
    worthwhile = WORTHWHILE_SHARE * skill
    return "no gain" if difference["high"] < worthwhile or difference["high"] == 0 else "undecided"


def _success(row: Row) -> str:
    success = row["success"]
    episodes = "1 episode" if row["episodes"] == 1 else f"{row['episodes']:,} episodes"
    return f" ({'' if success is None else f'goal reached in {percent_span(success)} of '}{episodes})"


def _against(best: Row, game: str) -> str:
    difference = best["difference"][game]["mean"]
    named = f"the best baseline ({best['title']}, {score(best['games'][game]['mean']['value'])})"
    size = max(abs(difference[key]) for key in ("value", "low", "high"))
    if not any(letter in "123456789" for letter in score(difference["value"], size)):
        return f"the same as {named}, difference {score_span(difference)}"
    if difference["value"] > 0:
        return f"{score_with_span(difference)} above {named}"
    return f"{score_with_span(_turned(difference))} below {named}"


def _turned(difference: Mapping[str, float]) -> dict[str, float]:
    return {"value": -difference["value"], "low": -difference["high"], "high": -difference["low"]}


def _old_games(evaluation: Row) -> list[str]:
    return [game for game in evaluation["games"] if game != evaluation["game"]]


def _entries(evaluation: Row, arm: str) -> dict[str, Row]:
    """Return the entries of the forgetting matrix of an arm, by old game."""
    matrix = evaluation["forgetting"]
    rows: Sequence[Row] = matrix["rows"] if matrix else []
    row = next((row for row in rows if row["name"] == arm), None)
    games = row["games"] if row is not None else {}
    return {game: games[game] for game in _old_games(evaluation) if game in games}


def _kept(evaluation: Row, arm: str) -> dict[str, Any]:
    return {game: entry["kept"] for game, entry in _entries(evaluation, arm).items()}


def _memory_sentence(evaluation: Row, kept: Mapping[str, Any]) -> str:
    old = _old_games(evaluation)
    if not old:
        return " What it forgot was not measured: no other game was played."
    if evaluation["forgetting"] is None:
        return " What it forgot was not measured: the start policy was not played."
    entries, before = _entries(evaluation, evaluation["reference"]), _entries(evaluation, "start")
    parts = []
    for game in old[:_MOST_GAMES]:
        if game not in entries:
            parts.append(f"{game} was not played")
            continue
        moved = f"return {score(_before(before, game))} before, {score(entries[game]['score']['value'])} after"
        share = kept.get(game)
        head = percent_span(share) if share else f"unknown, as {entries[game]['why']},"
        parts.append(f"{head} on {game} ({moved})")
    more = f"; and {len(old) - _MOST_GAMES} more games" if len(old) > _MOST_GAMES else ""
    return f" Kept of the old skill: {'; '.join(parts)}{more}."


def _before(before: Mapping[str, Row], game: str) -> float | None:
    return float(before[game]["score"]["value"]) if game in before else None


def _plain_sentence(evaluation: Row) -> str:
    """Say what fine-tuning without retention came to."""
    plain = next((row for row in evaluation["arms"] if row["name"] == PLAIN), None)
    game = evaluation["game"]
    if plain is None or evaluation["reference"] == PLAIN:
        return ""
    told = f" Without retention: return {score(plain['games'][game]['mean']['value'])}"
    if plain["difference"]:
        ours_more = plain["difference"][game]["mean"]
        higher = ours_more["value"] <= 0
        more = _turned(ours_more) if higher else ours_more
        told += f", {score_with_span(more)} {'higher' if higher else 'lower'}"
    shares = [f"{percent_span(share)} on {old}" for old, share in _kept(evaluation, PLAIN).items() if share]
    return f"{told}{'; kept ' + ', '.join(shares[:_MOST_GAMES]) if shares else ''}."
