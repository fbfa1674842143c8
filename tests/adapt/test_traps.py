"""Traps of fine-tuning, each reproduced once in another tool: a test for each that fails when it comes back.

1. LoRA leaves the new head frozen.                4. A frozen module's BatchNorm statistics still move.
2. LoRA gives the new head a low-rank update only. 5. Layers are looked for by names that change with versions.
3. LoRA lets BatchNorm statistics drift unsaved.   6. Everything moves while the head is still raw.

7 (a resumed training ends elsewhere) has its home in tests/train/test_loop.py and tests/scenarios,
8 (an export that answers differently) in tests/deploy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_backbone import SmallBackbone, moving_bars, same_weights
from torch import Tensor, nn

from newgameplus.adapt import STRATEGIES, ClipClassifier, Phase, plan_phases
from newgameplus.adapt.adapters import add_adapters
from newgameplus.adapt.saving import load_classifier, save_classifier
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.recipe import Recipe, TrainSettings
from newgameplus.train.examples import ClipExamples
from newgameplus.train.loop import train_classifier
from newgameplus.train.snapshots import Snapshots

SETTINGS = TrainSettings(epochs=6, batch_size=8, learning_rate=0.01, head_learning_rate=0.03, augment=False)
LABELS = ["left", "right", "still"]


def examples(count: int = 45, seed: int = 0) -> ClipExamples:
    clips, targets = moving_bars(count, seed)
    return ClipExamples(clips, np.arange(count), targets)


def adapters_only(rank: int) -> list[Phase]:
    """A LoRA phase with no head phase before it: what the head learns, it learns beside adapters."""
    return [Phase("adapters", 1.0, (5.0, 5.0), adapter_rank=rank)]


def train(folder: Path, phases: list[Phase]) -> tuple[ClipClassifier, dict[str, Tensor]]:
    torch.manual_seed(0)
    classifier = ClipClassifier(SmallBackbone(), LABELS)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    checkpoint = folder / "checkpoint"
    train_classifier(
        classifier, phases, examples(), None, SETTINGS, seed=0, arm="a", checkpoint=checkpoint, features={}
    )
    return classifier, before


def test_trap_1_and_2_lora_trains_the_head_whole(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    classifier, before = train(tmp_path, adapters_only(rank=1))
    change = classifier.head.linear.weight.detach() - before["head.linear.weight"]
    assert (change != 0).all()
    assert (classifier.head.linear.bias.detach() != before["head.linear.bias"]).all()
    singular = torch.linalg.svdvals(change)
    assert singular[1] > 0.01 * singular[0]  # a low-rank update of this rank would have one singular value


def test_trap_3_lora_keeps_batch_norm_statistics(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    classifier, before = train(tmp_path, adapters_only(rank=2))
    after = classifier.state_dict()
    statistics = [name for name in after if "running_" in name or "num_batches" in name]
    assert len(statistics) == 6
    assert all(torch.equal(after[name], before[name]) for name in statistics)


def test_trap_3_a_lora_model_answers_the_same_once_saved_and_loaded(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    start = load_pretrained("bundled:doom-clips")
    frames = np.random.default_rng(0).integers(0, 256, (8, *start.card.shape.array), dtype=np.uint8)

    class Held:
        def gather(self, indices: np.ndarray) -> np.ndarray:
            return frames[indices]

    torch.manual_seed(0)
    classifier = ClipClassifier(start.backbone, LABELS)
    shown = ClipExamples(Held(), np.arange(8), np.arange(8) % 3)
    phases = plan_phases("lora", len(start.backbone.blocks()), 0.8, lora_rank=2)
    settings = SETTINGS.model_copy(update={"epochs": 3, "threads": 1})
    train_classifier(classifier, phases, shown, None, settings, seed=0, arm="a", checkpoint=tmp_path / "c")
    clips = torch.from_numpy(frames)
    with torch.no_grad():
        expected = classifier.eval()(clips)
    (tmp_path / "model").mkdir()
    save_classifier(tmp_path / "model", classifier, start.card, {})
    with torch.no_grad():
        assert torch.equal(load_classifier(tmp_path / "model").classifier(clips), expected)
        untouched = load_pretrained("bundled:doom-clips").backbone(clips)
        assert not torch.allclose(classifier.backbone(clips), untouched, atol=1e-3)  # it did learn something


@pytest.mark.parametrize("strategy", ["probe", "surgical-last"])
def test_trap_4_statistics_of_frozen_blocks_stand_still(tmp_path: Path, strategy: str) -> None:
    classifier, before = train(tmp_path, plan_phases(strategy, 2, 0.8))
    after = classifier.state_dict()
    frozen = [name for name in after if name.startswith("backbone.first.")]
    assert any("running_mean" in name for name in frozen)
    assert all(torch.equal(after[name], before[name]) for name in frozen)


class Attention(nn.Module):
    """Two linear maps under names of choice."""

    def __init__(self, query: str, value: str) -> None:
        super().__init__()
        self.add_module(query, nn.Linear(4, 4))
        self.add_module(value, nn.Linear(4, 4))

    def blocks(self) -> list[nn.Module]:
        return [self]


@pytest.mark.parametrize("names", [("q_proj", "v_proj"), ("query", "value"), ("wq", "anything")])
def test_trap_5_adapters_are_found_whatever_layers_are_called(names: tuple[str, str]) -> None:
    pytest.importorskip("peft")
    network = Attention(*names)
    assert set(add_adapters(network, 2).names) == set(names)
    assert {name.split(".")[0] for name, _ in network.named_parameters() if "lora_" in name} == set(names)


def test_trap_6_the_head_comes_first_by_default() -> None:
    default = Recipe.model_validate({"data": {"path": "x"}}).adapt.strategy
    assert default != "full"
    for strategy in set(STRATEGIES) - {"full"}:
        assert plan_phases(strategy, 5, 0.8)[0].frozen_backbone, strategy


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - {"full", "probe"}))
def test_trap_6_the_backbone_is_untouched_until_the_head_is_trained(tmp_path: Path, strategy: str) -> None:
    if strategy == "lora":
        pytest.importorskip("peft")
    torch.manual_seed(0)
    classifier, untouched = ClipClassifier(SmallBackbone(), LABELS), SmallBackbone()
    untouched.load_state_dict(classifier.backbone.state_dict())
    raw = classifier.head.linear.weight.detach().clone()
    phases = plan_phases(strategy, 2, 0.8)
    keep = Snapshots(lambda name: tmp_path / name, "a", phases, 0)
    train_classifier(
        classifier,
        phases,
        examples(),
        None,
        SETTINGS,
        seed=0,
        arm="a",
        checkpoint=tmp_path / "c",
        features={},
        keep=keep,
    )
    moved = not same_weights(classifier.backbone, untouched)
    head = keep.head()
    classifier.load_state_dict(head)
    assert same_weights(classifier.backbone, untouched)
    assert moved
    assert not torch.equal(head["head.linear.weight"], raw)
