"""Scores that choose a model: a neighbour of the same group never helps, and the better features win."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from newgameplus.choose import Candidate, leave_one_out_knn, rank_candidates
from newgameplus.errors import PretrainedModelError


def blobs(spread: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features around one centre for each of 3 classes; 10 groups that hold all classes."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(150) % 3
    groups = torch.arange(150) // 15
    centres = torch.randn(3, 16, generator=generator) * 3
    return centres[targets] + spread * torch.randn(150, 16, generator=generator), targets, groups


def test_separate_classes_score_one_and_noise_scores_chance() -> None:
    features, targets, groups = blobs(0.1)
    assert leave_one_out_knn(features, targets, groups) == 1.0
    noise = torch.randn(150, 16, generator=torch.Generator().manual_seed(1))
    assert abs(leave_one_out_knn(noise, targets, groups) - 1 / 3) < 0.15


def test_neighbours_of_the_same_group_do_not_count() -> None:
    """Every group is a class of its own looks: only its own clips are near, and they may not vote."""
    groups = torch.arange(60) // 10
    targets = groups % 2
    features = torch.nn.functional.one_hot(groups).float() + 0.01 * torch.randn(60, 6)
    assert leave_one_out_knn(features, targets, groups) < 0.7
    assert leave_one_out_knn(features, targets, torch.arange(60)) == 1.0


def test_one_group_says_nothing() -> None:
    features, targets, _ = blobs(0.1)
    assert leave_one_out_knn(features, targets, torch.zeros(150, dtype=torch.int64)) == 0.0


def test_against_a_plain_loop() -> None:
    features, targets, groups = blobs(4.0)
    standardized = ((features - features.mean(0)) / features.std(0)).numpy()
    directions = standardized / np.linalg.norm(standardized, axis=1, keepdims=True)
    right = 0
    for clip in range(150):
        others = [other for other in range(150) if groups[other] != groups[clip]]
        likeness = {other: float(directions[clip] @ directions[other]) for other in others}
        votes = np.zeros(3)
        for other in sorted(others, key=lambda other: -likeness[other])[:5]:
            votes[int(targets[other])] += likeness[other] + 1.0
        right += int(votes.argmax() == targets[clip])
    assert leave_one_out_knn(features, targets, groups) == pytest.approx(right / 150)


def test_the_best_score_wins_and_the_smaller_model_a_tie() -> None:
    weak, small, large = (
        Candidate("weak", 0.4, 10, 1.0),
        Candidate("small", 0.7, 10, 1.0),
        Candidate("large", 0.7, 99, 1.0),
    )
    choice = rank_candidates([weak, large, small])
    assert choice.name == "small"
    assert [candidate.name for candidate in choice.candidates] == ["small", "large", "weak"]
    assert "70%" in choice.reason
    assert choice.as_dict()["candidates"][0]["knn"] == 0.7
    assert "only candidate" in rank_candidates([weak]).reason
    with pytest.raises(PretrainedModelError, match="no pretrained model"):
        rank_candidates([])
