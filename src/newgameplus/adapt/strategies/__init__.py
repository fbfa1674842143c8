"""Strategies: how weights may move. One file each; a new one is a new file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from newgameplus.adapt.phases import Phase
from newgameplus.adapt.strategies.full import full
from newgameplus.adapt.strategies.gradual import gradual
from newgameplus.adapt.strategies.lp_ft import lp_ft
from newgameplus.adapt.strategies.probe import probe
from newgameplus.errors import RecipeError
from newgameplus.recipe import did_you_mean

__all__ = ["STRATEGIES", "plan_phases"]

#: A strategy turns (number of blocks, layer decay) into phases whose shares sum to 1.
STRATEGIES: MappingProxyType[str, Callable[[int, float], list[Phase]]] = MappingProxyType(
    {"probe": probe, "lp-ft": lp_ft, "full": full, "gradual": gradual}
)


def plan_phases(strategy: str, blocks: int, layer_decay: float) -> list[Phase]:
    """Return the phases of a strategy for a backbone with this many blocks.

    Raises:
        RecipeError: There is no such strategy.
    """
    if strategy not in STRATEGIES:
        remedy = f"{did_you_mean(strategy, list(STRATEGIES))}known: {', '.join(STRATEGIES)}"
        raise RecipeError(f"{strategy!r} is not a strategy", source="adapt.strategy", remedy=remedy)
    return STRATEGIES[strategy](blocks, layer_decay)
