"""A phase of training, as plain data: what moves, how fast, for how long."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Phase", "StrategyOptions", "layer_rates"]


@dataclass(frozen=True)
class Phase:
    """One stretch of training in which the same weights may move.

    Attributes:
        name: What moves, in a word.
        share: Share of all epochs, in 0..1.
        block_rates: For each block of the backbone, from input to output, its learning rate as a multiple of the
            backbone's; 0 freezes it, normalization statistics too.
        head_rate: The head's learning rate as a multiple of the head's own.
        adapter_rank: Rank of low-rank updates beside the layers of the moving blocks, whose own weights then stand
            still; 0 moves the weights themselves.
        pull: How strongly the backbone is held to its pretrained weights: the loss gets half of this times the squared
            distance.
    """

    name: str
    share: float
    block_rates: tuple[float, ...]
    head_rate: float = 1.0
    adapter_rank: int = 0
    pull: float = 0.0

    @property
    def frozen_backbone(self) -> bool:
        """Whether only the head moves, so that features can be computed once."""
        return not any(self.block_rates)


@dataclass(frozen=True)
class StrategyOptions:
    """What a recipe says about all strategies; each uses what it needs.

    Attributes:
        layer_decay: Rate of each block as a share of the next block's, in (0, 1].
        lora_rank: Rank of low-rank updates, 1 or more.
        l2_sp: Strength of the pull towards the pretrained weights, 0 or more.
    """

    layer_decay: float = 0.8
    lora_rank: int = 8
    l2_sp: float = 0.1


def layer_rates(blocks: int, decay: float, moving: int | None = None) -> tuple[float, ...]:
    """Return layer-wise rates: 1 for the last block, ``decay`` times the next one's for each before it.

    Args:
        blocks: Number of blocks.
        decay: In (0, 1]; 1 gives all the same rate.
        moving: How many blocks, counted from the output, may move; the others get 0. All by default.
    """
    moving = blocks if moving is None else moving
    return tuple(decay ** (blocks - 1 - index) if index >= blocks - moving else 0.0 for index in range(blocks))
