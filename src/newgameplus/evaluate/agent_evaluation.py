"""Policies held against each other, on the new game and on the old ones: the evaluation of the agent scenario.

The evaluation (``evaluation.json``) is plain data; an interval ``I`` is ``{"value", "low", "high"}``, and whatever is
not known is null::

    {
      "schema": 1, "scenario": "agent",
      "game": "MyGame-v2", "games": ["MyGame-v2", "MyGame-v1"],     the one trained on, and all, it first
      "level": 0.95, "resamples": 2000, "seed": 0,                  how the intervals were made
      "reference": "fine-tuned",                 the arm that differences are taken from; null if it did not run
      "arms": [{
        "name", "title", "kind": "fine-tuned" | "baseline", "steps", "seconds", "note",
        "games": {"MyGame-v2": {
          "episodes", "mean": I, "iqm": I, "median": I, "success": I, "length": 41.2,     returns; mean steps
          "totals": [...], "lengths": [...], "successes": [...], "seeds": [...]}},        episode by episode
        "difference": {"MyGame-v2": {            reference minus this arm; null for itself
          "mean": I, "iqm": I, "success": I, "probability": I, "paired": true}},          P(an episode is better)
        "agreement": I,                          with held-out demonstrations, share of steps
        "curve": [{"game", "steps", "episodes", "mean": I, "success": I}]
      }],
      "random": {"MyGame-v2": {"episodes", "mean": I, ...}},        a policy that acts at random, where it was played
      "forgetting": {
        "before": "start", "games": [...],
        "rows": [{"name", "title", "games": {"MyGame-v1": {"score": I, "kept": I, "why": ""}}}]},
                                                 kept: (score - random) / (before - random); why: why it is unknown
      "profiles": {"MyGame-v2": {"thresholds": [...], "arms": {"start": {"value": [...], "low", "high"}}}},
      "skipped": {"cloning": "there are no demonstrations"}, "notes": [...], "cautions": [...],
      "verdict": {"outcome", "sentence", "metric", "against", "difference", "low", "high",
                  "memory": "kept" | "forgot" | "unsure" | null, "kept": {"MyGame-v1": I}}
    }

A scenario adds ``retention``, ``surgery`` and ``strength`` (see :mod:`newgameplus.evaluate.agent_report`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.evaluate.agent_arms import AgentArm, CurveSummary, CurveWindow, PlayedEpisodes
from newgameplus.evaluate.agent_forgetting import forgetting_matrix
from newgameplus.evaluate.agent_verdict import judge_agents
from newgameplus.evaluate.intervals import Interval
from newgameplus.evaluate.resamples import Sureness
from newgameplus.evaluate.returns import (
    aggregate_difference,
    aggregate_interval,
    mean_interval,
    performance_profile,
    probability_of_improvement,
    success_interval,
)
from newgameplus.evaluate.scene_intervals import ratio_interval, share_difference, share_interval
from newgameplus.evaluate.success_pairs import paired_share_difference

__all__ = ["START", "compare_agents", "difference_row", "played_row", "same_episodes"]

START = "start"
"""The arm that stands for before: the policy that fine-tuning began with."""

_FEWEST_EPISODES = 30
_THRESHOLDS = 41


def compare_agents(
    arms: Sequence[AgentArm],
    game: str,
    *,
    random: Mapping[str, PlayedEpisodes] | None = None,
    skipped: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    reference: str = "fine-tuned",
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Evaluate all arms.

    Args:
        arms: The arms that ran; each played ``game``, and any number of other games. The one named ``start`` says what
            there was to forget.
        game: The game that was trained on.
        random: Episodes of a policy that acts at random, by game: the floor from which skill is counted.
        skipped: Arms that did not run, each with the reason.
        notes: Passed through.
        reference: Name of the arm that the others are held against.
        resamples: Number of resamples.
        level: Of the intervals.
        seed: Of the resampling.

    Returns:
        The evaluation, JSON-safe; see the head of this module. The reference comes first, then baselines from the best
        to the worst mean return on ``game``.

    Raises:
        DataError: There is no arm, two have the same name, or one did not play ``game``.
    """
    _check(arms, game)
    how = Sureness(resamples, level, seed)
    random = _in_order(random or {})
    played = {arm.name: _in_order(arm.played) for arm in arms}
    games = list(dict.fromkeys([game, *(name for arm in arms for name in arm.played)]))
    rows = [_row(arm, played[arm.name], played.get(reference), arm.name == reference, how) for arm in arms]
    rows.sort(key=lambda row: (row["name"] != reference, -row["games"][game]["mean"]["value"]))
    titles = {row["name"]: row["title"] for row in rows}
    evaluation: dict[str, Any] = {
        "schema": 1,
        "scenario": "agent",
        "game": game,
        "games": games,
        "level": level,
        "resamples": resamples,
        "seed": seed,
        "reference": reference if reference in titles else None,
        "arms": rows,
        "random": {name: played_row(random[name], how) for name in games if name in random},
        "forgetting": forgetting_matrix(titles, played, games, random, how, START),
        "profiles": {name: _profiles(name, titles, played, how) for name in games},
        "skipped": dict(skipped or {}),
        "notes": list(notes),
    }
    evaluation["cautions"] = _cautions(rows, games)
    evaluation["verdict"] = judge_agents(evaluation)
    return evaluation


def _check(arms: Sequence[AgentArm], game: str) -> None:
    if not arms:
        raise DataError("there is nothing to compare: no arm ran", remedy="evaluate at least one policy")
    names = [arm.name for arm in arms]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DataError(f"two arms are named {repeated[0]!r}", remedy="give every arm its own name")
    for arm in arms:
        if game not in arm.played:
            known = ", ".join(arm.played) or "nothing"
            raise DataError(f"it played {known}, not {game!r}", source=arm.name, remedy=f"let every arm play {game}")


def _in_order(played: Mapping[str, PlayedEpisodes]) -> dict[str, PlayedEpisodes]:
    """Return episodes in the order of their seeds, under the name that the evaluation has for their game."""
    return {name: replace(episodes.in_order(), game=name) for name, episodes in played.items()}


def _row(
    arm: AgentArm,
    played: Mapping[str, PlayedEpisodes],
    reference: Mapping[str, PlayedEpisodes] | None,
    is_reference: bool,
    how: Sureness,
) -> dict[str, Any]:
    difference = None
    if reference is not None and not is_reference:
        shared = [game for game in played if game in reference]
        difference = {game: difference_row(reference[game], played[game], how) for game in shared}
    agreement = arm.agreement
    agreed = None
    if agreement is not None:
        known = agreement.steps > 0
        ratio = ratio_interval(agreement.matches[known], agreement.steps[known], how.level, how.seed)
        agreed = ratio and replace(ratio, low=max(0.0, ratio.low), high=min(1.0, ratio.high))  # few episodes overshoot
    return {
        "name": arm.name,
        "title": arm.title,
        "kind": arm.kind,
        "steps": int(arm.steps),
        "seconds": float(arm.seconds),
        "note": arm.note,
        "games": {game: played_row(episodes, how) for game, episodes in played.items()},
        "difference": difference,
        "agreement": _plain(agreed),
        "curve": _curve(arm.curve, how),
    }


def _plain(interval: Interval | None) -> dict[str, float] | None:
    return interval.as_dict() if interval is not None else None


def played_row(played: PlayedEpisodes, how: Sureness) -> dict[str, Any]:
    """Return what one policy reached on one game, with the episodes themselves."""
    scores, draws = {played.game: played.totals}, how.of(played.game)
    return {
        "episodes": len(played),
        "mean": aggregate_interval(scores, "mean", **draws).as_dict(),
        "iqm": aggregate_interval(scores, "iqm", **draws).as_dict(),
        "median": aggregate_interval(scores, "median_run", **draws).as_dict(),
        "success": None if played.successes is None else success_interval(played.successes, how.level).as_dict(),
        "length": float(np.mean(played.lengths)),
        "totals": [float(total) for total in played.totals],
        "lengths": [int(length) for length in played.lengths],
        "successes": None if played.successes is None else [bool(reached) for reached in played.successes],
        "seeds": None if played.seeds is None else [int(seed) for seed in played.seeds],
    }


def same_episodes(one: PlayedEpisodes, other: PlayedEpisodes) -> bool:
    """Whether both began the same episodes, in the same order."""
    return one.seeds is not None and other.seeds is not None and bool(np.array_equal(one.seeds, other.seeds))


def difference_row(one: PlayedEpisodes, other: PlayedEpisodes, how: Sureness) -> dict[str, Any]:
    """Return how much better one policy did than another on one game, paired where both played the same episodes.

    Args:
        one: Its episodes, in the order of their seeds.
        other: The other's, likewise.
        how: How intervals are made.
    """
    paired = same_episodes(one, other)
    first, second = {one.game: one.totals}, {one.game: other.totals}
    draws = how.of(one.game) | {"paired": paired}
    return {
        "mean": aggregate_difference(first, second, "mean", **draws).as_dict(),
        "iqm": aggregate_difference(first, second, "iqm", **draws).as_dict(),
        "success": _success_difference(one, other, paired, how.level),
        "probability": probability_of_improvement(first, second, **draws).as_dict(),
        "paired": paired,
    }


def _success_difference(
    one: PlayedEpisodes, other: PlayedEpisodes, paired: bool, level: float
) -> dict[str, float] | None:
    if one.successes is None or other.successes is None:
        return None
    if paired:
        return _plain(paired_share_difference(one.successes, other.successes, level))
    counts = int(one.successes.sum()), len(one), int(other.successes.sum()), len(other)
    return _plain(share_difference(*counts, level))


def _curve(points: Sequence[CurveWindow | CurveSummary], how: Sureness) -> list[dict[str, Any]]:
    known = [point for point in points if isinstance(point, CurveSummary) or len(point.totals)]
    return [_summary(point, how) if isinstance(point, CurveSummary) else _window(point, how) for point in known]


def _window(window: CurveWindow, how: Sureness) -> dict[str, Any]:
    """Return a point of a learning curve from its episodes."""
    success = None if window.successes is None else success_interval(window.successes, how.level).as_dict()
    draws = how.of(window.game or "curve") | {"resamples": 500}
    return {
        "game": window.game,
        "steps": int(window.steps),
        "episodes": len(window.totals),
        "mean": mean_interval(window.totals, **draws).as_dict(),
        "success": success,
    }


def _summary(point: CurveSummary, how: Sureness) -> dict[str, Any]:
    """Return a point of a learning curve from its sums: Student's interval for the mean, Wilson's for the share."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    reach, success = 0.0, None
    if point.deviation is not None and point.episodes > 1:
        reach = float(stdtrit(point.episodes - 1, (1 + how.level) / 2)) * point.deviation / sqrt(point.episodes)
    if point.success is not None:
        success = _plain(share_interval(round(point.success * point.episodes), point.episodes, how.level))
    return {
        "game": point.game,
        "steps": point.steps,
        "episodes": point.episodes,
        "mean": {"value": point.mean, "low": point.mean - reach, "high": point.mean + reach},
        "success": success,
    }


def _profiles(
    game: str, arms: Mapping[str, str], played: Mapping[str, Mapping[str, PlayedEpisodes]], how: Sureness
) -> dict[str, Any]:
    """Return the share of episodes above each return, for every arm that played a game."""
    totals = {name: played[name][game].totals for name in arms if game in played[name]}
    joined = np.concatenate(list(totals.values()))
    thresholds = _thresholds(joined)
    profiles = {name: performance_profile({game: array}, thresholds, **how.of(game)) for name, array in totals.items()}
    return {
        "thresholds": thresholds.tolist(),
        "arms": {
            name: {"value": one.values.tolist(), "low": one.low.tolist(), "high": one.high.tolist()}
            for name, one in profiles.items()
        },
    }


def _thresholds(totals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return thresholds from just under the lowest return to the highest."""
    low, high = float(totals.min()), float(totals.max())
    room = 0.02 * (high - low) or max(1e-6, 0.02 * abs(low))
    return np.linspace(low - room, high, _THRESHOLDS)


def _cautions(rows: Sequence[Mapping[str, Any]], games: Sequence[str]) -> list[str]:
    cautions = []
    for game in games:
        counts = {row["title"]: row["games"][game]["episodes"] for row in rows if game in row["games"]}
        fewest = min(counts.values())
        if fewest < _FEWEST_EPISODES:
            episodes = "1 episode" if fewest == 1 else f"{fewest} episodes"
            cautions.append(f"only {episodes} of {game}: the numbers are rough")
        missing = [row["title"] for row in rows if game not in row["games"]]
        if missing:
            cautions.append(f"{game} was not played by: {', '.join(missing)}")
    if any(not part["paired"] for row in rows for part in (row["difference"] or {}).values()):
        cautions.append("not all arms played the same episodes, so differences are wider than they need to be")
    return cautions
