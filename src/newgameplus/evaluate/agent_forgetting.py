"""What was forgotten: every policy's score on every game beside that of the policy before, and the share kept.

Kept is ``(score - random) / (before - random)``: 1 means as well as before, 0 no better than acting at random, above 1
better than before. Where no random policy was played, skill is counted from a return of 0. The interval resamples all
three, and episodes that both policies played are drawn together. Where the policy before was not surely better than
random there was nothing to forget, and the share says nothing: it is then unknown, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from newgameplus.evaluate.agent_arms import PlayedEpisodes
from newgameplus.evaluate.intervals import Interval
from newgameplus.evaluate.resamples import Resamples, Sureness
from newgameplus.evaluate.returns import Floats, aggregate_difference, aggregate_interval

__all__ = ["KEPT", "forgetting_matrix", "memory_of", "share_kept"]

KEPT = 0.9
"""From this share of the old skill on it counts as kept."""


def forgetting_matrix(
    titles: Mapping[str, str],
    played: Mapping[str, Mapping[str, PlayedEpisodes]],
    games: Sequence[str],
    random: Mapping[str, PlayedEpisodes],
    how: Sureness,
    before: str,
) -> dict[str, Any] | None:
    """Return every arm's score on every game and the share of the old skill that it kept.

    Args:
        titles: Arms in the order of the rows, with what people read.
        played: Episodes by arm and game, in the order of their seeds.
        games: Games in the order of the columns.
        random: Episodes at random, by game.
        how: How intervals are made.
        before: The arm that stands for before.

    Returns:
        Plain data as :mod:`newgameplus.evaluate.agent_evaluation` says; None if ``before`` was not played.
    """
    if before not in played:
        return None
    rows = [
        {
            "name": name,
            "title": titles[name],
            "games": {
                game: _entry(played[name][game], played[before].get(game), random.get(game), how, name == before)
                for game in games
                if game in played[name]
            },
        }
        for name in sorted(titles, key=lambda name: name != before)
    ]
    return {"before": before, "games": list(games), "rows": rows}


def _entry(
    after: PlayedEpisodes, before: PlayedEpisodes | None, random: PlayedEpisodes | None, how: Sureness, itself: bool
) -> dict[str, Any]:
    score = aggregate_interval({after.game: after.totals}, "mean", **how.of(after.game)).as_dict()
    if itself:
        return {"score": score, "kept": None, "why": ""}
    kept, why = (None, "it was not played before") if before is None else share_kept(after, before, random, how)
    return {"score": score, "kept": None if kept is None else kept.as_dict(), "why": why}


def share_kept(
    after: PlayedEpisodes, before: PlayedEpisodes, random: PlayedEpisodes | None, how: Sureness
) -> tuple[Interval | None, str]:
    """Return the share of the old skill that was kept on one game, or None and why it is unknown.

    Args:
        after: Episodes of the policy now, in the order of their seeds.
        before: Of the policy that it was, likewise.
        random: Of a policy that acts at random; None counts skill from 0.
        how: How intervals are made.
    """
    game, draws = after.game, how.of(after.game)
    if min(len(after), len(before)) < 2:
        return None, "one episode does not tell"
    if random is None:
        skill = aggregate_interval({game: before.totals}, "mean", **draws)
        floor_name = "above 0, and no random policy was played"
    else:
        skill = aggregate_difference({game: before.totals}, {game: random.totals}, "mean", **draws)
        floor_name = "better than random"
    if skill.low <= 0:
        return None, f"before, it was not surely {floor_name}"
    paired = after.seeds is not None and before.seeds is not None and np.array_equal(after.seeds, before.seeds)
    now, resamples = _means(after, how, 0)
    then, _ = _means(before, how, 0 if paired else 1)
    floor = np.zeros_like(now) if random is None else _means(random, how, 2)[0]
    low = 0.0 if random is None else float(random.totals.mean())
    value = (float(after.totals.mean()) - low) / skill.value
    # Some resample of few episodes can come close to no skill before; its ratio is held at that of a small one.
    least = 0.05 * skill.value
    return resamples.interval(value, (now - floor) / np.maximum(then - floor, least)), ""


def _means(played: PlayedEpisodes, how: Sureness, stream: int) -> tuple[Floats, Resamples]:
    """Return the mean return in every resample, and the resamples; equal streams draw equal episodes."""
    draws = how.of(played.game)
    drawn = Resamples(
        {played.game: len(played)}, resamples=how.resamples, level=how.level, seed=[*draws["seed"], stream]
    )
    return np.concatenate([rows @ played.totals for (rows,) in drawn.weights()]), drawn


def memory_of(kept: Mapping[str, Mapping[str, float] | None]) -> str | None:
    """Return ``forgot``, ``kept`` or ``unsure``, from the share kept of each old game; None where nothing is known."""
    known = [share for share in kept.values() if share is not None]
    if not known:
        return None
    if any(share["high"] < KEPT for share in known):
        return "forgot"
    return "kept" if all(share["low"] >= KEPT for share in known) else "unsure"
