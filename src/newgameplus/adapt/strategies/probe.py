"""Probe: the backbone stays as it is and only the head learns, on features computed once."""

from newgameplus.adapt.phases import Phase, StrategyOptions, layer_rates

__all__ = ["probe"]


def probe(blocks: int, options: StrategyOptions) -> list[Phase]:
    """Return one phase in which only the head moves (Alain and Bengio 2016, linear classifier probes)."""
    return [Phase("head", 1.0, layer_rates(blocks, options.layer_decay, moving=0))]
