"""What every map of a game keeps without anyone asking: as many boxes as goals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from newgameplus.games.conditions import Request
from newgameplus.games.measures import measure
from newgameplus.games.scenes import Level

__all__ = ["implied_requests"]

_TIED = ("boxes", "goals")


def implied_requests(
    levels: Sequence[Level], measures: Sequence[str], wanted: Sequence[Request], rng: np.random.Generator
) -> list[Request]:
    """Return the requests of a level with those that its game implies.

    Where every map has as many boxes as goals, a level without a wish for either gets the number of a random map.

    Args:
        levels: The training levels.
        measures: What the model can be asked for.
        wanted: What was asked.
        rng: Draws the map.
    """
    if not set(_TIED) <= set(measures):
        return list(wanted)
    counts = [measure(level, _TIED) for level in levels]
    if any(count["boxes"] != count["goals"] for count in counts):
        return list(wanted)
    asked = {request.measure: request for request in wanted}
    given = asked.get("boxes") or asked.get("goals")
    if given is None or not given.exact:
        fit = [count["boxes"] for count in counts if given is None or given.miss(count["boxes"]) == 0]
        number = float(rng.choice(fit)) if fit else given.low if given is not None else 1.0
    else:
        number = given.low
    others = [request for request in wanted if request.measure not in _TIED]
    return [*others, *(Request(name, number, number) for name in _TIED)]
