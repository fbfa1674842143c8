"""Gradual: the head first, then block after block is unfrozen from the output to the input."""

import math

from newgameplus.adapt.phases import Phase, StrategyOptions, layer_rates

__all__ = ["gradual"]

_HEAD_SHARE = 0.2
_LARGEST_NUMBER_OF_STAGES = 4


def gradual(blocks: int, options: StrategyOptions) -> list[Phase]:
    """Return a head phase, then up to four phases of equal length that unfreeze more and more blocks.

    After Howard and Ruder 2018 (ULMFiT), with blocks of deep networks unfrozen several at a time.
    """
    stages = min(blocks, _LARGEST_NUMBER_OF_STAGES)
    phases = [Phase("head", _HEAD_SHARE, layer_rates(blocks, options.layer_decay, moving=0))]
    for stage in range(1, stages + 1):
        moving = math.ceil(blocks * stage / stages)
        name = "all" if moving == blocks else f"last {moving} of {blocks} blocks"
        phases.append(
            Phase(name, (1.0 - _HEAD_SHARE) / stages, layer_rates(blocks, options.layer_decay, moving), 1 / 3)
        )
    return phases
