"""Strategies: how weights may move. One file each; a new one is a new file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from newgameplus.adapt.phases import Phase, StrategyOptions
from newgameplus.adapt.strategies.full import full
from newgameplus.adapt.strategies.gradual import gradual
from newgameplus.adapt.strategies.l2_sp import l2_sp
from newgameplus.adapt.strategies.lora import lora
from newgameplus.adapt.strategies.lp_ft import lp_ft
from newgameplus.adapt.strategies.probe import probe
from newgameplus.adapt.strategies.surgical import surgical_first, surgical_last, surgical_middle
from newgameplus.errors import RecipeError
from newgameplus.recipe import did_you_mean

__all__ = ["STRATEGIES", "plan_phases"]

#: A strategy turns a number of blocks and options into phases whose shares sum to 1.
STRATEGIES: MappingProxyType[str, Callable[[int, StrategyOptions], list[Phase]]] = MappingProxyType(
    {
        "probe": probe,
        "lp-ft": lp_ft,
        "full": full,
        "gradual": gradual,
        "lora": lora,
        "l2-sp": l2_sp,
        "surgical-first": surgical_first,
        "surgical-middle": surgical_middle,
        "surgical-last": surgical_last,
    }
)


def plan_phases(
    strategy: str, blocks: int, layer_decay: float, *, lora_rank: int = 8, l2_sp: float = 0.1
) -> list[Phase]:
    """Return the phases of a strategy for a backbone with this many blocks.

    Args:
        strategy: Its name.
        blocks: Number of blocks of the backbone.
        layer_decay: Rate of each block as a share of the next block's.
        lora_rank: Rank of the updates of ``lora``.
        l2_sp: Strength of the pull of ``l2-sp``.

    Raises:
        RecipeError: There is no such strategy.
    """
    if strategy not in STRATEGIES:
        remedy = f"{did_you_mean(strategy, list(STRATEGIES))}known: {', '.join(STRATEGIES)}"
        raise RecipeError(f"{strategy!r} is not a strategy", source="adapt.strategy", remedy=remedy)
    return STRATEGIES[strategy](blocks, StrategyOptions(layer_decay, lora_rank, l2_sp))
