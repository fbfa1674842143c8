"""Scores of features: a neighbour of the same group never helps, evidence is the greatest there is, better ones win."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from newgameplus.choose import h_score, leave_one_out_knn, log_evidence


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


def plain_log_evidence(features: np.ndarray, targets: np.ndarray) -> float:
    """LogME as in the paper's algorithm, with explicit inverses and none of our shortcuts."""
    clips, width = features.shape
    found = []
    for target in np.unique(targets):
        labels = (targets == target).astype(float)
        alpha = beta = 1.0
        for _ in range(500):
            precision = alpha * np.eye(width) + beta * features.T @ features
            weights = beta * np.linalg.solve(precision, features.T @ labels)
            used = width - alpha * np.trace(np.linalg.inv(precision))
            alpha = used / (weights @ weights)
            beta = (clips - used) / ((labels - features @ weights) ** 2).sum()
        precision = alpha * np.eye(width) + beta * features.T @ features
        weights = beta * np.linalg.solve(precision, features.T @ labels)
        value = width * np.log(alpha) + clips * np.log(beta) - clips * np.log(2 * np.pi)
        value -= np.linalg.slogdet(precision)[1]
        value -= beta * ((labels - features @ weights) ** 2).sum() + alpha * weights @ weights
        found.append(value / 2 / clips)
    return float(np.mean(found))


def greatest_evidence(features: np.ndarray, labels: np.ndarray) -> float:
    """The greatest density of the labels under N(0, F F'/alpha + 1/beta), by plain numerical search."""

    def loss(logarithms: np.ndarray) -> float:
        alpha, beta = np.exp(logarithms)
        covariance = features @ features.T / alpha + np.eye(len(labels)) / beta
        density = len(labels) * np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1]
        return float(density + labels @ np.linalg.solve(covariance, labels)) / 2

    starts = [(a, b) for a in (-2.0, 2.0, 6.0) for b in (-1.0, 2.0)]
    return -min(minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-6}).fun for start in starts)


@pytest.mark.parametrize("spread", [0.5, 3.0, 30.0])
def test_log_evidence_against_the_plain_algorithm(spread: float) -> None:
    features, targets, _ = blobs(spread)
    expected = plain_log_evidence(features.double().numpy(), targets.numpy())
    assert log_evidence(features, targets) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("spread", "clips"), [(1.0, 60), (4.0, 60), (4.0, 12)])
def test_log_evidence_is_the_greatest_there_is(spread: float, clips: int) -> None:
    features, targets, _ = blobs(spread)
    features, targets = features[:clips], targets[:clips]  # 12 clips are fewer than the 16 features
    expected = [
        greatest_evidence(features.double().numpy(), (targets == target).double().numpy()) for target in range(3)
    ]
    assert log_evidence(features, targets) == pytest.approx(np.mean(expected) / clips, abs=1e-3)


@pytest.mark.parametrize("score", [log_evidence, h_score])
def test_separate_classes_score_higher_than_noise(score: Callable[[torch.Tensor, torch.Tensor], float]) -> None:
    found = []
    for spread in (0.3, 2.0, 8.0, 40.0):
        features, targets, _ = blobs(spread)
        found.append(score(features, targets))
    assert found == sorted(found, reverse=True)
    assert all(np.isfinite(found))


@pytest.mark.parametrize("score", [log_evidence, h_score])
def test_features_that_say_nothing_or_all_give_finite_scores(
    score: Callable[[torch.Tensor, torch.Tensor], float],
) -> None:
    targets = torch.arange(12) % 3
    exact = torch.nn.functional.one_hot(targets).float()
    more_features_than_clips = torch.randn(12, 40, generator=torch.Generator().manual_seed(0))
    found = [score(features, targets) for features in (torch.zeros(12, 4), exact, more_features_than_clips)]
    assert all(np.isfinite(found))
    assert found[1] > found[0]


def test_log_evidence_knows_no_scale_and_no_order_of_classes() -> None:
    features, targets, _ = blobs(4.0)
    value = log_evidence(features, targets)
    assert log_evidence(features * 1000, targets) == pytest.approx(value, rel=1e-5)
    assert log_evidence(features, 2 - targets) == pytest.approx(value)
    assert log_evidence(features, targets + 5) == pytest.approx(value)  # classes that do not occur do not count


def test_h_score_against_its_definition() -> None:
    """With many clips the shrinkage is nearly nothing, and what is left is tr(cov(F)^-1 cov(E[F|y]))."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(6000) % 3
    features = torch.randn(3, 4, generator=generator)[targets] + torch.randn(6000, 4, generator=generator)
    matrix = features.double().numpy()
    means = np.stack([matrix[targets.numpy() == target].mean(axis=0) for target in range(3)])[targets.numpy()]
    expected = np.trace(np.linalg.inv(np.cov(matrix.T)) @ np.cov(means.T))
    assert h_score(features, targets) == pytest.approx(expected, rel=0.02)
