"""Hidden spans of sequences, and rebuilding from what is left."""

from __future__ import annotations

import pytest
import torch

from newgameplus.pretrained.sequence import load
from newgameplus.pretrained.sequence_backbone import SequenceBackbone
from newgameplus.train.selfsupervision import ClipBatch
from newgameplus.train.sequence_selfsupervision import GappedBackbone, MaskedSteps, hidden_spans


def backbone(steps: int = 16) -> SequenceBackbone:
    torch.manual_seed(0)
    made = load("gru", steps=steps, channels=2, width=8).backbone
    assert isinstance(made, SequenceBackbone)
    return made


def test_hidden_spans_are_a_share_and_never_all_or_none() -> None:
    mask = torch.ones(2000, 20)
    mask[:1000, 12:] = 0
    hidden = hidden_spans(mask, 0.3, 4.0, torch.Generator().manual_seed(0))
    assert not hidden[mask == 0].any()
    assert hidden.any(dim=1).all()
    assert (hidden.sum(dim=1) < mask.sum(dim=1)).all()
    assert hidden[1000:].float().mean().item() == pytest.approx(0.3, abs=0.03)
    inner = hidden[1000:]
    begun = (inner[:, 1:] & ~inner[:, :-1]).sum() + inner[:, 0].sum()
    assert 2.5 < inner.sum().item() / begun.item() < 4.5  # runs, not single steps; some are cut off at the ends


def test_a_sequence_of_one_step_has_it_hidden() -> None:
    mask = torch.tensor([[1.0, 0.0, 0.0]])
    assert hidden_spans(mask, 0.3, 4.0, torch.Generator().manual_seed(0)).tolist() == [[True, False, False]]


def test_features_do_not_depend_on_what_is_hidden() -> None:
    reader = GappedBackbone(backbone())
    clips = torch.randn(4, 16, 3)
    clips[..., -1] = 1.0
    shown = torch.ones(4, 16, 1)
    shown[:, 5:9] = 0.0
    other = clips.clone()
    other[:, 5:9, :2] += 7.0
    hidden = reader(torch.cat([clips, shown], dim=-1))
    torch.testing.assert_close(hidden, reader(torch.cat([other, shown], dim=-1)))
    seen = reader(torch.cat([clips, torch.ones_like(shown)], dim=-1))
    torch.testing.assert_close(seen, reader.backbone(clips))
    assert not torch.allclose(hidden, seen)


def test_what_follows_a_rule_is_rebuilt_better_than_by_its_mean() -> None:
    network = backbone()
    network.mean.fill_(3.0)
    network.spread.fill_(2.0)
    generator = torch.Generator().manual_seed(1)
    objective = MaskedSteps(network, generator)
    reader = GappedBackbone(network)
    weights = [*network.parameters(), *objective.parameters()]
    optimizer = torch.optim.Adam(weights, 5e-3)
    losses = []
    for _ in range(120):
        phase = 6.28 * torch.rand(32, 1, generator=generator)
        angle = phase + 0.5 * torch.arange(16)
        wave = 3.0 + 2.0 * torch.stack([angle.sin(), angle.cos()], dim=-1) * 2**0.5
        batch = ClipBatch(torch.cat([wave, torch.ones(32, 16, 1)], dim=-1), torch.full((32,), -1))
        loss = objective.loss(reader, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(1.0, abs=0.2)  # standardized: guessing the mean costs 1
    assert sum(losses[-10:]) / 10 < 0.5
