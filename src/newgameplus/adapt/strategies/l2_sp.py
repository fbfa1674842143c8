"""L2-SP: LP-FT, with the backbone held near the weights that it was pretrained to."""

from dataclasses import replace

from newgameplus.adapt.phases import Phase, StrategyOptions
from newgameplus.adapt.strategies.lp_ft import lp_ft

__all__ = ["l2_sp"]


def l2_sp(blocks: int, options: StrategyOptions) -> list[Phase]:
    """Return the phases of LP-FT with a pull in place of the backbone's weight decay.

    After Li, Grandvalet and Davoine 2018, "Explicit inductive bias for transfer learning with convolutional networks";
    the head, which has no pretrained weights, keeps its plain decay.
    """
    head, everything = lp_ft(blocks, options)
    return [head, replace(everything, name="all, held", pull=options.l2_sp)]
