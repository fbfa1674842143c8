"""Heads: standardizing changes nothing, carrying over changes only what it names."""

from __future__ import annotations

import torch
from tests.small_backbone import SmallBackbone, moving_bars

from newgameplus.adapt import ClipClassifier, StandardizedHead
from newgameplus.adapt.answers import classify, zero_shot_probabilities
from newgameplus.adapt.classifier import match_labels
from newgameplus.pretrained.backbone import ZeroShotHead


def known_head() -> ZeroShotHead:
    torch.manual_seed(3)
    return ZeroShotHead(("jump", "turn_left", "idle"), torch.randn(3, 8), torch.randn(3))


def test_standardizing_leaves_the_logits_as_they_were() -> None:
    torch.manual_seed(0)
    head = StandardizedHead(8, 3)
    features = torch.randn(50, 8) * torch.tensor([1, 10, 100, 0.1, 1, 1, 1, 0.0]) + 5
    before = head(features)
    head.standardize(features)
    torch.testing.assert_close(head(features), before, rtol=1e-4, atol=1e-5)
    standardized = (features - head.mean) / head.scale
    torch.testing.assert_close(standardized.mean(dim=0), torch.zeros(8), atol=2e-3, rtol=0)
    torch.testing.assert_close(standardized.std(dim=0, correction=0)[:7], torch.ones(7), atol=2e-3, rtol=0)


def test_the_noise_of_a_nearly_dead_feature_is_not_blown_up() -> None:
    torch.manual_seed(0)
    head = StandardizedHead(8, 3)
    head.standardize(torch.randn(50, 8) * torch.tensor([1, 1, 1, 1, 1, 1, 1, 1e-5]))
    assert 0.005 < float(head.scale[7]) < 0.02


def test_a_constant_feature_is_left_unscaled() -> None:
    head = StandardizedHead(2, 2)
    head.standardize(torch.tensor([[1.0, 7.0], [2.0, 7.0], [3.0, 7.0]]))
    assert head.scale[1] == 1.0


def test_carried_rows_answer_like_the_known_head_before_and_after_standardizing() -> None:
    known, features = known_head(), torch.randn(20, 8)
    for first in (True, False):
        torch.manual_seed(1)
        head = StandardizedHead(8, 3)
        if first:
            head.standardize(features)
        carried = head.carry_over(["Turn Left", "swim", "jump"], known)
        if not first:
            head.standardize(features)
        assert carried == ("Turn Left", "jump")
        logits, theirs = head(features), known.logits(features)
        torch.testing.assert_close(logits[:, 0], theirs[:, 1], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(logits[:, 2], theirs[:, 0], rtol=1e-4, atol=1e-4)


def test_labels_match_but_for_case_blanks_and_hyphens() -> None:
    assert match_labels(["Turn-Left", " idle ", "fly"], ["idle", "turn_left"]) == {0: 1, 1: 0}


def test_zero_shot_answers_only_what_it_knows() -> None:
    known, features = known_head(), torch.randn(5, 8)
    probabilities = zero_shot_probabilities(features, known, ("idle", "swim", "jump"))
    assert probabilities is not None
    assert (probabilities[:, 1] == 0).all()
    torch.testing.assert_close(torch.from_numpy(probabilities.sum(axis=1)), torch.ones(5, dtype=torch.float64))
    expected = known.logits(features)[:, [2, 0]].double().softmax(dim=1)
    torch.testing.assert_close(torch.from_numpy(probabilities[:, [0, 2]]), expected)
    assert zero_shot_probabilities(features, known, ("idle", "swim")) is None


def test_classify_does_not_depend_on_batches_or_mode() -> None:
    torch.manual_seed(0)
    classifier = ClipClassifier(SmallBackbone(dropout=0.5), ["a", "b", "c"]).train()
    clips, _ = moving_bars(10)
    whole = classify(classifier, [clips.frames])
    parts = classify(classifier, [clips.frames[:3], clips.frames[3:]])
    assert whole.shape == (10, 3)
    torch.testing.assert_close(torch.from_numpy(whole), torch.from_numpy(parts), rtol=1e-5, atol=1e-6)
    assert classify(classifier, []).shape == (0, 3)
