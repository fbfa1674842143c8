"""The order among candidates: each score gives a ranking, their mean rank an order, and short runs of the best decide.

Scores live on different scales (points, a share, nats), and how far apart two of them are says little; ranks can be
averaged. The model that a single score puts first is always tried too, so that the choice is no worse than any score
as long as the short runs tell the better one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from newgameplus.choose.candidates import Candidate, Choice
from newgameplus.errors import PretrainedModelError

__all__ = ["SCORE_WEIGHTS", "combine", "decide", "rank_by", "shortlist"]

SCORE_WEIGHTS: Mapping[str, float] = {"prior": 1.0, "knn": 1.0, "logme": 1.0}
"""How much each score's ranks count in the common order."""


def rank_by(candidates: Sequence[Candidate], score: str) -> tuple[Candidate, ...]:
    """Return candidates by one score, best first; the smaller model wins a tie."""
    return tuple(sorted(candidates, key=lambda one: (-one.scores[score], one.parameters, one.name)))


def combine(candidates: Sequence[Candidate], weights: Mapping[str, float] = SCORE_WEIGHTS) -> tuple[Candidate, ...]:
    """Return candidates by their mean rank over scores, best first; the smaller model wins a tie.

    Args:
        candidates: Any number; only scores that all of them have are used.
        weights: How much each score counts.
    """
    used = {name: weight for name, weight in weights.items() if all(name in one.scores for one in candidates)}
    ranks = {name: _ranks([one.scores[name] for one in candidates]) for name in used}
    means = [sum(weight * ranks[name][index] for name, weight in used.items()) for index in range(len(candidates))]
    order = sorted(
        range(len(candidates)),
        key=lambda index: (round(means[index], 9), candidates[index].parameters, candidates[index].name),
    )
    return tuple(candidates[index] for index in order)


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, 0 for the greatest; equal ones share the mean of their ranks."""
    array = np.asarray(values, dtype=np.float64)
    better = (array[None, :] > array[:, None]).sum(axis=1)
    equal = (array[None, :] == array[:, None]).sum(axis=1) - 1
    return [float(rank) for rank in better + equal / 2]


def shortlist(
    candidates: Sequence[Candidate], count: int, weights: Mapping[str, float] = SCORE_WEIGHTS
) -> tuple[Candidate, ...]:
    """Return the few candidates worth a short run: the best together, then the best by each score, then the next.

    Args:
        candidates: All of them.
        count: How many to return at most.
        weights: How much each score counts.
    """
    order = combine(candidates, weights)
    if not order:
        return ()
    scores = [name for name in weights if all(name in one.scores for one in candidates)]
    wanted = [order[0], *(rank_by(candidates, name)[0] for name in scores), *order]
    return tuple({one.name: one for one in wanted}.values())[:count]


def decide(
    candidates: Sequence[Candidate],
    weights: Mapping[str, float] = SCORE_WEIGHTS,
    *,
    advice: str = "",
    left_out: Sequence[Mapping[str, str]] = (),
) -> Choice:
    """Choose: the best short run if there are any, else the best mean rank; a tie of short runs goes by mean rank.

    Easy data ties several short runs at the top: there the size alone would prefer a small model that knows nothing.

    Args:
        candidates: All of them; those of the shortlist with their short runs.
        weights: How much each score counts.
        advice: The paragraph to go with the choice.
        left_out: Candidates that could not be used.

    Raises:
        PretrainedModelError: There is no candidate.
    """
    if not candidates:
        raise PretrainedModelError("no pretrained model to start from", source="model.start", remedy="name one")
    order = combine(candidates, weights)
    tried = sorted(  # stable, so that the order stays among equals
        (one for one in order if one.short_run is not None),
        key=lambda one: -one.short_run.value if one.short_run else 0.0,
    )
    ranked = (*tried, *(one for one in order if one.short_run is None))
    has_prior = all("prior" in one.scores for one in candidates)
    by_prior = tuple(one.name for one in rank_by(candidates, "prior")) if has_prior else ()
    return Choice(ranked[0].name, ranked, _reason(ranked), by_prior, advice, tuple(left_out))


def _reason(ranked: Sequence[Candidate]) -> str:
    best = ranked[0]
    if len(ranked) == 1:
        return f"{best.name} is the only candidate; {_told(best)} (an estimate)"
    second = ranked[1]
    run, other = best.short_run, second.short_run
    if run is None or other is None:
        return f"{best.name}: {_told(best)}; {second.name}: {_told(second)} (estimates)"
    tie = ", a tie that the estimates break" if run.value == other.value else ""
    return (
        f"{best.name}: {run.steps} steps of fine-tuning reached {run.measure} {run.value:.3f} on training groups held "
        f"out from them, against {other.value:.3f} for {second.name}{tie} (an estimate of what a whole fit reaches)"
    )


def _told(candidate: Candidate) -> str:
    scores = candidate.scores
    if "knn" in scores:
        return f"its frozen features name {scores['knn']:.0%} of the training clips rightly by their nearest neighbours"
    return ", ".join(f"{name} {value:.3g}" for name, value in scores.items()) or "nothing was measured"
