"""LoRA: the head first, then low-rank updates beside the backbone's layers, whose own weights stand still."""

from newgameplus.adapt.phases import Phase, StrategyOptions, layer_rates

__all__ = ["lora"]

_HEAD_SHARE = 0.3
_RATE = 5.0


def lora(blocks: int, options: StrategyOptions) -> list[Phase]:
    """Return a head phase and a phase for the adapters (Hu et al. 2021, "LoRA", doi 10.48550/arXiv.2106.09685).

    The head moves whole in both. The updates begin at zero and are small, so they take a higher rate than weights do.
    """
    rates = tuple(_RATE * rate for rate in layer_rates(blocks, options.layer_decay))
    return [
        Phase("head", _HEAD_SHARE, layer_rates(blocks, options.layer_decay, moving=0)),
        Phase("adapters", 1.0 - _HEAD_SHARE, rates, head_rate=1 / 3, adapter_rank=options.lora_rank),
    ]
