"""LoRA, L2-SP and surgical fine-tuning: what moves, how far, and what cannot be adapted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_backbone import SHAPE, SmallBackbone, moving_bars
from torch import Tensor, nn

from newgameplus.adapt import ClipClassifier, plan_phases, trainable_parameters
from newgameplus.adapt.adapters import adapter_parameters, add_adapters, has_adapters, merge_adapters
from newgameplus.errors import MissingExtraError, PretrainedModelError
from newgameplus.pretrained.backbone import Backbone
from newgameplus.recipe import TrainSettings
from newgameplus.train.examples import ClipExamples
from newgameplus.train.loop import train_classifier

SETTINGS = TrainSettings(epochs=10, batch_size=8, learning_rate=0.01, head_learning_rate=0.03, augment=False)
LABELS = ["left", "right", "still"]


def train(folder: Path, strategy: str, backbone: Backbone | None = None, **options: float) -> ClipClassifier:
    torch.manual_seed(0)
    classifier = ClipClassifier(backbone or SmallBackbone(), LABELS)
    clips, targets = moving_bars(45)
    phases = plan_phases(strategy, len(classifier.backbone.blocks()), 0.8, **options)  # type: ignore[arg-type]
    shown = ClipExamples(clips, np.arange(45), targets)
    train_classifier(classifier, phases, shown, None, SETTINGS, seed=0, arm="a", checkpoint=folder / "c", features={})
    return classifier


def start() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: value.clone() for name, value in ClipClassifier(SmallBackbone(), LABELS).state_dict().items()}


def distance(classifier: ClipClassifier) -> float:
    before = start()
    weights = classifier.backbone.named_parameters()
    return float(sum((value.detach() - before[f"backbone.{name}"]).square().sum() for name, value in weights) ** 0.5)


def test_l2_sp_holds_the_backbone_near_its_start(tmp_path: Path) -> None:
    free = distance(train(tmp_path / "free", "l2-sp", l2_sp=0.0))
    held = distance(train(tmp_path / "held", "l2-sp", l2_sp=1.0))
    firmly = distance(train(tmp_path / "firmly", "l2-sp", l2_sp=100.0))
    assert firmly < 0.5 * held < 0.5 * free
    assert firmly > 0


def test_l2_sp_leaves_the_head_its_plain_decay_and_takes_the_backbones(tmp_path: Path) -> None:
    from newgameplus.adapt import parameter_groups

    classifier = ClipClassifier(SmallBackbone(), LABELS)
    phase = plan_phases("l2-sp", 2, 0.8)[1]
    groups = parameter_groups(classifier, phase, backbone_rate=0.1, head_rate=0.1, weight_decay=0.3)
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert all(decays[id(parameter)] == 0.0 for parameter in classifier.backbone.parameters())
    assert decays[id(classifier.head.linear.weight)] == 0.3


@pytest.mark.parametrize(("strategy", "moving"), [("surgical-first", 0), ("surgical-last", 2), ("surgical-middle", 1)])
def test_surgical_moves_one_block_alone(strategy: str, moving: int) -> None:
    head, block = plan_phases(strategy, 3, 0.5)
    assert head.frozen_backbone
    assert [rate > 0 for rate in block.block_rates] == [index == moving for index in range(3)]


def test_surgical_weights_and_statistics_of_other_blocks_stand_still(tmp_path: Path) -> None:
    after, before = train(tmp_path, "surgical-first").state_dict(), start()
    assert not torch.equal(after["backbone.first.0.weight"], before["backbone.first.0.weight"])
    assert all(torch.equal(after[name], before[name]) for name in after if name.startswith("backbone.second."))


def test_lora_changes_maps_by_the_rank_alone_and_leaves_no_trace(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    classifier, before = train(tmp_path, "lora", lora_rank=2), start()
    assert set(classifier.state_dict()) == set(before)
    assert not has_adapters(classifier)
    for name, value in classifier.backbone.named_parameters():
        change = value.detach() - before[f"backbone.{name}"]
        if value.ndim == 4:
            assert 1 <= int(torch.linalg.matrix_rank(change.flatten(1), rtol=1e-3)) <= 2, name
        else:
            assert not change.any(), name


def test_adapters_count_as_trainable_before_and_after() -> None:
    pytest.importorskip("peft")
    classifier = ClipClassifier(SmallBackbone(), LABELS)
    phases = plan_phases("lora", 2, 0.8, lora_rank=2)
    counted = trainable_parameters(classifier, phases)
    head = sum(parameter.numel() for parameter in classifier.head.parameters())
    foretold = adapter_parameters(classifier.backbone, classifier.backbone.blocks(), 2)
    add_adapters(classifier.backbone, 2)
    there = sum(value.numel() for name, value in classifier.named_parameters() if "lora_" in name)
    assert foretold == there
    assert counted == there + head
    merge_adapters(classifier.backbone)
    assert trainable_parameters(classifier, phases) == counted


class OddBackbone(Backbone):
    """One block of layers of choice."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.shape, self.feature_dim = SHAPE, 4
        self.body = nn.Sequential(*layers)

    def forward(self, clips: Tensor) -> Tensor:
        maps: Tensor = self.body(clips[..., 0].float() / 255.0)
        return maps.mean(dim=(2, 3))

    def blocks(self) -> list[nn.Module]:
        return [self.body]


class Standardized(nn.Conv2d):
    """A convolution that changes its weights before it uses them."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight - self.weight.mean(), self.bias)


ODD = {
    "grouped": nn.Conv2d(4, 4, 3, groups=4),
    "dilated": nn.Conv2d(4, 4, 3, dilation=2),
    "reflecting": nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    "standardized": Standardized(4, 4, 1),
    "normalized": torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1)),
}


@pytest.mark.parametrize("kind", list(ODD))
def test_layers_whose_adapters_would_not_merge_exactly_are_skipped_with_a_reason(kind: str) -> None:
    pytest.importorskip("peft")
    torch.manual_seed(0)
    backbone = OddBackbone(nn.Conv2d(4, 4, 1), ODD[kind])
    layers = add_adapters(backbone, 2)
    assert layers.names == ("body.0",)
    assert list(layers.skipped) == ["body.1"]
    for name, value in backbone.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(value)
    clips = torch.from_numpy(moving_bars(3)[0].frames)
    with torch.no_grad():
        adapted = backbone(clips)
        merge_adapters(backbone)
        assert torch.allclose(backbone(clips), adapted, atol=1e-5)


def test_a_backbone_without_a_layer_to_adapt_is_told_with_the_reason(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    with pytest.raises(PretrainedModelError, match=r"body.0: it is a grouped convolution(?s:.*)use lp-ft"):
        train(tmp_path, "lora", OddBackbone(nn.Conv2d(4, 4, 3, groups=4)))


class Hoarder(OddBackbone):
    """Hands out the layers that it began with, whatever took their place."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(4, 4, 1))
        self.first = [self.body[0]]

    def blocks(self) -> list[nn.Module]:
        return list(self.first)


def test_adapters_that_no_block_would_train_are_told() -> None:
    pytest.importorskip("peft")
    with pytest.raises(PretrainedModelError, match="keeps layers that adapters replaced"):
        add_adapters(Hoarder(), 2)


def test_layers_of_keras_are_refused_clearly() -> None:
    pytest.importorskip("peft")

    class Conv1D(nn.Module):
        """Named like the linear map of GPT-2, as Keras' convolution is."""

        weight = nn.Parameter(torch.zeros(4, 4))

    network = nn.Sequential(Conv1D())
    with pytest.raises(PretrainedModelError, match="no linear map or convolution of torch"):
        add_adapters(network, 2, blocks=[network])


def test_attention_of_torch_reads_past_adapters_and_is_left_alone() -> None:
    pytest.importorskip("peft")
    network = nn.Sequential(nn.TransformerEncoderLayer(4, 2, 8), nn.Linear(4, 4))
    layers = add_adapters(network, 2, blocks=[network])
    assert layers.names == ("1",)
    assert {"0.linear1", "0.linear2", "0.self_attn.out_proj"} == set(layers.skipped)


def test_layers_outside_the_blocks_and_names_that_end_alike_are_left_alone() -> None:
    pytest.importorskip("peft")
    network = nn.ModuleDict({"map": nn.Linear(4, 4), "other": nn.ModuleDict({"map": nn.Linear(4, 4)})})
    add_adapters(network, 2, blocks=[network["map"]])
    assert all(not name.startswith("other") for name, _ in network.named_parameters() if "lora_" in name)


def test_without_peft_its_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match="lora"):
        train(tmp_path, "lora")
