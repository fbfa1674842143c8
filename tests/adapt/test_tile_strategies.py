"""Strategies say which weights move, in which phase."""

from __future__ import annotations

import pytest
from tests.small_tiles import small_model

from newgameplus.adapt.tile_strategies import TILE_STRATEGIES, plan_tile_phases
from newgameplus.errors import RecipeError

VOCABULARY = {"own", "answer_own", "bias", "wishes.weight"}


@pytest.mark.parametrize("strategy", list(TILE_STRATEGIES))
def test_phases_fill_the_training(strategy: str) -> None:
    phases = plan_tile_phases(strategy, 6)
    assert sum(phase.share for phase in phases) == pytest.approx(1.0)
    assert all(phase.rate > 0 for phase in phases)
    assert len({phase.name for phase in phases}) == len(phases)


@pytest.mark.parametrize(
    ("strategy", "moving"),
    [("probe", ["vocabulary"]), ("full", ["all"]), ("lp-ft", ["vocabulary", "all"]), ("lora", ["vocabulary"])],
)
def test_what_moves(strategy: str, moving: list[str]) -> None:
    network = small_model().network
    everything = {name for name, _ in network.named_parameters()}
    for phase, expected in zip(plan_tile_phases(strategy), moving, strict=True):
        returned = {id(parameter) for parameter in phase.apply(network)}
        moves = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        assert moves == (everything if expected == "all" else VOCABULARY)
        assert returned == {id(parameter) for parameter in network.parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("strategy", "moving"),
    [
        ("gradual", [[], [1], [0, 1]]),
        ("surgical-first", [[], [0]]),
        ("surgical-middle", [[], [1]]),
        ("surgical-last", [[], [1]]),
    ],
)
def test_which_blocks_move(strategy: str, moving: list[list[int]]) -> None:
    network = small_model().network
    blocks = network.blocks()  # type: ignore[operator]
    for phase, expected in zip(plan_tile_phases(strategy, len(blocks)), moving, strict=True):
        phase.apply(network)
        states = [{parameter.requires_grad for parameter in block.parameters()} for block in blocks]
        assert states == [{index in expected} for index in range(len(blocks))]
        named = dict(network.named_parameters())
        assert all(named[name].requires_grad for name in VOCABULARY)


def test_an_unknown_strategy_is_told_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="'lpft'") as caught:
        plan_tile_phases("lpft")
    assert "lp-ft" in str(caught.value)
    assert "adapt.strategy" in str(caught.value)
