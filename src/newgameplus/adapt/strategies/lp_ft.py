"""LP-FT: first the head alone, then everything, so that a raw head does not spoil good features."""

from newgameplus.adapt.phases import Phase, StrategyOptions, layer_rates

__all__ = ["lp_ft"]

_HEAD_SHARE = 0.3


def lp_ft(blocks: int, options: StrategyOptions) -> list[Phase]:
    """Return a head phase and a phase for all (Kumar et al. 2022, "Fine-tuning can distort pretrained features").

    The head goes on at a third of its rate in the second phase: it is nearly right already.
    """
    return [
        Phase("head", _HEAD_SHARE, layer_rates(blocks, options.layer_decay, moving=0)),
        Phase("all", 1.0 - _HEAD_SHARE, layer_rates(blocks, options.layer_decay), head_rate=1 / 3),
    ]
