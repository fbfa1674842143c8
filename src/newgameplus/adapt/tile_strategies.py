"""Strategies for tile models: which weights may move, in which phase. A new one is one function and one line here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from torch import Tensor, nn

from newgameplus.adapt.adapters import is_adapter
from newgameplus.errors import RecipeError
from newgameplus.recipe import did_you_mean

__all__ = ["TILE_STRATEGIES", "TilePhase", "plan_tile_phases"]

_STAGES = 4


@dataclass(frozen=True)
class TilePhase:
    """One stretch of training.

    Attributes:
        name: What moves, in a word.
        share: Share of all steps.
        moving: ``vocabulary`` (what belongs to the game), ``adapters`` (that and low-rank updates), ``blocks`` (that
            and some blocks), or ``all``.
        rate: Multiple of the recipe's learning rate.
        blocks: First block that moves, and the one after the last, where ``moving`` is ``blocks``.
        pull: How strongly the body is held to the weights that the training began with.
    """

    name: str
    share: float
    moving: Literal["vocabulary", "adapters", "blocks", "all"]
    rate: float = 1.0
    blocks: tuple[int, int] = (0, 0)
    pull: float = 0.0

    def apply(self, network: nn.Module) -> list[Tensor]:
        """Let only this phase's weights move, and return them."""
        chosen = {id(parameter) for parameter in network.vocabulary()}  # type: ignore[operator]
        if self.moving == "blocks":
            blocks = network.blocks()[slice(*self.blocks)]  # type: ignore[operator]
            chosen |= {id(parameter) for block in blocks for parameter in block.parameters()}
        moving: list[Tensor] = []
        for name, parameter in network.named_parameters():
            low_rank = self.moving == "adapters" and is_adapter(name)
            moves = self.moving == "all" or id(parameter) in chosen or low_rank
            parameter.requires_grad_(moves)
            moving += [parameter] if moves else []
        return moving


def _gradual(blocks: int, _: float) -> list[TilePhase]:
    """Unfreeze block after block from the output to the input, several at a time (Howard and Ruder 2018)."""
    stages = min(blocks, _STAGES)
    phases = [TilePhase("vocabulary", 0.2, "vocabulary", 3.0)]
    for stage in range(1, stages):
        moving = math.ceil(blocks * stage / stages)
        name = f"last {moving} of {blocks} blocks"
        phases.append(TilePhase(name, 0.8 / stages, "blocks", blocks=(blocks - moving, blocks)))
    return [*phases, TilePhase("full", 0.8 / stages, "all")]


def _surgical(place: Callable[[int], int]) -> Callable[[int, float], list[TilePhase]]:
    """Move one block after the vocabulary (Lee et al. 2022, "Surgical fine-tuning")."""

    def plan(blocks: int, _: float) -> list[TilePhase]:
        one = place(blocks)
        name = f"block {one + 1} of {blocks}"
        return [
            TilePhase("vocabulary", 0.2, "vocabulary", 3.0),
            TilePhase(name, 0.8, "blocks", blocks=(one, one + 1)),
        ]

    return plan


#: A strategy turns a number of blocks and the recipe's ``l2_sp`` into phases whose shares sum to 1.
TILE_STRATEGIES: Mapping[str, Callable[[int, float], list[TilePhase]]] = MappingProxyType(
    {
        "full": lambda _blocks, _pull: [TilePhase("full", 1.0, "all")],
        "probe": lambda _blocks, _pull: [TilePhase("vocabulary", 1.0, "vocabulary", 3.0)],
        "lp-ft": lambda _blocks, _pull: [
            TilePhase("vocabulary", 0.2, "vocabulary", 3.0),
            TilePhase("full", 0.8, "all"),
        ],
        "gradual": _gradual,
        "lora": lambda _blocks, _pull: [TilePhase("adapters", 1.0, "adapters", 2.0)],
        "l2-sp": lambda _blocks, pull: [
            TilePhase("vocabulary", 0.2, "vocabulary", 3.0),
            TilePhase("full, held", 0.8, "all", pull=pull),
        ],
        "surgical-first": _surgical(lambda _: 0),
        "surgical-middle": _surgical(lambda blocks: blocks // 2),
        "surgical-last": _surgical(lambda blocks: blocks - 1),
    }
)


def plan_tile_phases(strategy: str, blocks: int = 1, *, l2_sp: float = 0.1) -> list[TilePhase]:
    """Return the phases of a strategy.

    Args:
        strategy: Its name.
        blocks: Number of blocks of the network.
        l2_sp: Strength of the pull of ``l2-sp``.

    Raises:
        RecipeError: There is no such strategy.
    """
    if strategy not in TILE_STRATEGIES:
        remedy = f"{did_you_mean(strategy, list(TILE_STRATEGIES))}known: {', '.join(TILE_STRATEGIES)}"
        raise RecipeError(f"{strategy!r} is no strategy for scenes", source="adapt.strategy", remedy=remedy)
    return TILE_STRATEGIES[strategy](blocks, l2_sp)
