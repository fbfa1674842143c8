"""Frozen parts are really frozen: weights, normalization statistics and dropout."""

from __future__ import annotations

import pytest
import torch
from tests.small_backbone import SmallBackbone, moving_bars, same_weights

from newgameplus.adapt import (
    STRATEGIES,
    ClipClassifier,
    apply_phase,
    parameter_groups,
    plan_phases,
    trainable_parameters,
    training_mode,
)
from newgameplus.adapt.adapters import add_adapters, merge_adapters
from newgameplus.adapt.phases import Phase, layer_rates
from newgameplus.errors import PretrainedModelError, RecipeError
from newgameplus.recipe import Recipe


def step(classifier: ClipClassifier, phase: Phase) -> None:
    torch.manual_seed(0)
    if phase.adapter_rank:
        add_adapters(classifier.backbone, phase.adapter_rank)
    apply_phase(classifier, phase)
    training_mode(classifier, phase)
    groups = parameter_groups(classifier, phase, backbone_rate=0.1, head_rate=0.1, weight_decay=0.1)
    optimizer = torch.optim.AdamW(groups)
    clips, targets = moving_bars(12)
    loss = torch.nn.functional.cross_entropy(classifier(torch.from_numpy(clips.frames)), torch.from_numpy(targets))
    loss.backward()
    optimizer.step()
    if phase.adapter_rank:
        merge_adapters(classifier.backbone)


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_each_phase_moves_exactly_what_it_says(strategy: str) -> None:
    torch.manual_seed(0)
    classifier = ClipClassifier(SmallBackbone(dropout=0.3), ["a", "b", "c"])
    for phase in plan_phases(strategy, 2, 0.5):
        before = {name: value.clone() for name, value in classifier.state_dict().items()}
        step(classifier, phase)
        after = classifier.state_dict()
        for index, prefix in enumerate(("backbone.first", "backbone.second")):
            moved = any(not torch.equal(after[name], before[name]) for name in after if name.startswith(prefix))
            assert moved == (phase.block_rates[index] > 0), (phase.name, prefix)
        assert not torch.equal(after["head.linear.weight"], before["head.linear.weight"])


def test_a_frozen_batch_norm_keeps_its_statistics() -> None:
    classifier = ClipClassifier(SmallBackbone(), ["a", "b", "c"])
    phase = Phase("last 1 of 2 blocks", 1.0, layer_rates(2, 0.5, moving=1))
    before = classifier.backbone.first[1].running_mean.clone()
    moving_before = classifier.backbone.second[1].running_mean.clone()
    step(classifier, phase)
    assert torch.equal(classifier.backbone.first[1].running_mean, before)
    assert not torch.equal(classifier.backbone.second[1].running_mean, moving_before)


def test_a_frozen_backbone_has_no_dropout() -> None:
    classifier = ClipClassifier(SmallBackbone(dropout=0.9), ["a", "b", "c"])
    training_mode(classifier, plan_phases("probe", 2, 1.0)[0])
    assert not classifier.backbone.dropout.training
    assert classifier.head.training


@pytest.mark.parametrize("strategy", list(STRATEGIES))
@pytest.mark.parametrize("blocks", [1, 2, 3, 12])
def test_shares_sum_to_one_and_the_last_phase_moves_what_it_should(strategy: str, blocks: int) -> None:
    phases = plan_phases(strategy, blocks, 0.8)
    assert sum(phase.share for phase in phases) == pytest.approx(1.0)
    assert all(len(phase.block_rates) == blocks for phase in phases)
    moving = 0 if strategy == "probe" else 1 if strategy.startswith("surgical") else blocks
    assert sum(rate > 0 for rate in phases[-1].block_rates) == moving


def test_layer_rates_fall_towards_the_input() -> None:
    assert layer_rates(3, 0.5) == (0.25, 0.5, 1.0)
    assert layer_rates(3, 0.5, moving=2) == (0.0, 0.5, 1.0)
    assert layer_rates(3, 0.5, moving=0) == (0.0, 0.0, 0.0)


def test_groups_have_layer_wise_rates_and_decay_only_matrices() -> None:
    classifier = ClipClassifier(SmallBackbone(), ["a", "b"])
    phase = Phase("all", 1.0, (0.5, 1.0), head_rate=2.0)
    groups = parameter_groups(classifier, phase, backbone_rate=0.1, head_rate=0.01, weight_decay=0.3)
    rates = {group["lr"] for group in groups}
    assert rates == {0.05, 0.1, 0.02}
    for group in groups:
        assert all((p.ndim >= 2) == (group["weight_decay"] > 0) for p in group["params"])
    everything = {id(p) for group in groups for p in group["params"]}
    assert everything == {id(p) for p in classifier.parameters()}


def test_trainable_parameters() -> None:
    classifier = ClipClassifier(SmallBackbone(), ["a", "b"])
    head = 8 * 2 + 2
    assert trainable_parameters(classifier, plan_phases("probe", 2, 1.0)) == head
    whole = sum(p.numel() for p in classifier.parameters())
    for strategy in ("full", "lp-ft", "gradual"):
        assert trainable_parameters(classifier, plan_phases(strategy, 2, 1.0)) == whole


def test_an_unknown_strategy_and_a_wrong_number_of_blocks_are_told() -> None:
    with pytest.raises(RecipeError, match="did you mean 'gradual'"):
        plan_phases("gradualy", 2, 1.0)
    with pytest.raises(PretrainedModelError, match="3 blocks"):
        apply_phase(ClipClassifier(SmallBackbone(), ["a"]), plan_phases("full", 3, 1.0)[0])


def test_the_recipe_default_is_a_strategy() -> None:
    recipe = Recipe.model_validate({"data": {"path": "x"}})
    assert recipe.adapt.strategy in STRATEGIES


def test_same_weights_helper_sees_a_difference() -> None:
    one, other = SmallBackbone(), SmallBackbone()
    assert same_weights(one, one)
    assert not same_weights(one, other)
