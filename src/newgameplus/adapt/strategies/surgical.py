"""Surgical: the head first, then the head and one block alone: the first, the middle or the last."""

from newgameplus.adapt.phases import Phase, StrategyOptions

__all__ = ["surgical_first", "surgical_last", "surgical_middle"]

_HEAD_SHARE = 0.3


def surgical_first(blocks: int, _options: StrategyOptions) -> list[Phase]:
    """Move the first block: for pictures that look different (Lee et al. 2022, "Surgical fine-tuning")."""
    return _one_block(blocks, 0)


def surgical_middle(blocks: int, _options: StrategyOptions) -> list[Phase]:
    """Move the middle block: for parts that are put together differently (Lee et al. 2022)."""
    return _one_block(blocks, blocks // 2)


def surgical_last(blocks: int, _options: StrategyOptions) -> list[Phase]:
    """Move the last block: for names that mean something else (Lee et al. 2022)."""
    return _one_block(blocks, blocks - 1)


def _one_block(blocks: int, moving: int) -> list[Phase]:
    rates = tuple(float(index == moving) for index in range(blocks))
    return [
        Phase("head", _HEAD_SHARE, (0.0,) * blocks),
        Phase(f"block {moving + 1} of {blocks}", 1.0 - _HEAD_SHARE, rates, head_rate=1 / 3),
    ]
