"""A phase of training, as plain data: what moves, how fast, for how long."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Phase", "layer_rates"]


@dataclass(frozen=True)
class Phase:
    """One stretch of training in which the same weights may move.

    Attributes:
        name: What moves, in a word.
        share: Share of all epochs, in 0..1.
        block_rates: For each block of the backbone, from input to output, its learning rate as a multiple of the
            backbone's; 0 freezes it, normalization statistics too.
        head_rate: The head's learning rate as a multiple of the head's own.
    """

    name: str
    share: float
    block_rates: tuple[float, ...]
    head_rate: float = 1.0

    @property
    def frozen_backbone(self) -> bool:
        """Whether only the head moves, so that features can be computed once."""
        return not any(self.block_rates)


def layer_rates(blocks: int, decay: float, moving: int | None = None) -> tuple[float, ...]:
    """Return layer-wise rates: 1 for the last block, ``decay`` times the next one's for each before it.

    Args:
        blocks: Number of blocks.
        decay: In (0, 1]; 1 gives all the same rate.
        moving: How many blocks, counted from the output, may move; the others get 0. All by default.
    """
    moving = blocks if moving is None else moving
    return tuple(decay ** (blocks - 1 - index) if index >= blocks - moving else 0.0 for index in range(blocks))
