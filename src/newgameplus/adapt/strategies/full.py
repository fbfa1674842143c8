"""Full: everything moves from the first step."""

from newgameplus.adapt.phases import Phase, layer_rates

__all__ = ["full"]


def full(blocks: int, layer_decay: float) -> list[Phase]:
    """Return one phase in which everything moves, earlier blocks more slowly."""
    return [Phase("all", 1.0, layer_rates(blocks, layer_decay))]
