"""Strategies for tile models: which weights may move, in which phase. A new one is one function and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from torch import Tensor, nn

from newgameplus.errors import RecipeError
from newgameplus.recipe import did_you_mean

__all__ = ["TILE_STRATEGIES", "TilePhase", "plan_tile_phases"]


@dataclass(frozen=True)
class TilePhase:
    """One stretch of training.

    Attributes:
        name: What moves, in a word.
        share: Share of all steps.
        moving: ``vocabulary`` (what belongs to the game), ``adapters`` (that and low-rank updates), or ``all``.
        rate: Multiple of the recipe's learning rate.
    """

    name: str
    share: float
    moving: Literal["vocabulary", "adapters", "all"]
    rate: float = 1.0

    def apply(self, network: nn.Module) -> list[Tensor]:
        """Let only this phase's weights move, and return them."""
        own = {id(parameter) for parameter in network.vocabulary()}  # type: ignore[operator]
        moving: list[Tensor] = []
        for name, parameter in network.named_parameters():
            low_rank = "lora_" in name
            moves = self.moving == "all" or id(parameter) in own or (self.moving == "adapters" and low_rank)
            parameter.requires_grad_(moves)
            moving += [parameter] if moves else []
        return moving


#: A strategy gives phases whose shares sum to 1.
TILE_STRATEGIES: Mapping[str, Callable[[], list[TilePhase]]] = MappingProxyType(
    {
        "full": lambda: [TilePhase("full", 1.0, "all")],
        "probe": lambda: [TilePhase("vocabulary", 1.0, "vocabulary", 3.0)],
        "lp-ft": lambda: [TilePhase("vocabulary", 0.2, "vocabulary", 3.0), TilePhase("full", 0.8, "all")],
        "lora": lambda: [TilePhase("adapters", 1.0, "adapters", 2.0)],
    }
)


def plan_tile_phases(strategy: str) -> list[TilePhase]:
    """Return the phases of a strategy.

    Raises:
        RecipeError: There is no such strategy.
    """
    if strategy not in TILE_STRATEGIES:
        remedy = f"{did_you_mean(strategy, list(TILE_STRATEGIES))}known: {', '.join(TILE_STRATEGIES)}"
        raise RecipeError(f"{strategy!r} is no strategy for scenes", source="adapt.strategy", remedy=remedy)
    return TILE_STRATEGIES[strategy]()
