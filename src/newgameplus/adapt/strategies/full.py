"""Full: everything moves from the first step."""

from newgameplus.adapt.phases import Phase, StrategyOptions, layer_rates

__all__ = ["full"]


def full(blocks: int, options: StrategyOptions) -> list[Phase]:
    """Return one phase in which everything moves, earlier blocks more slowly."""
    return [Phase("all", 1.0, layer_rates(blocks, options.layer_decay))]
