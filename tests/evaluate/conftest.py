"""Made-up predictions whose skill, size and groups a test can choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from newgameplus.evaluate.comparison import ARM_TITLES, Arm
from newgameplus.shapes import Predictions

Make = Callable[..., Predictions]


def make(
    clips: int = 240,
    classes: int = 4,
    groups: int = 8,
    skill: float = 2.0,
    seed: int = 1,
    labels: Sequence[str] | None = None,
    targets: np.ndarray | None = None,
) -> Predictions:
    """Answers whose logit for the true class is ``skill`` above noise; truth and groups do not depend on ``seed``."""
    world = np.random.default_rng(0)
    truth = world.integers(0, classes, clips) if targets is None else targets
    group = np.arange(clips) * groups // clips
    logits = np.random.default_rng(seed).normal(0, 1, (clips, classes))
    logits[np.arange(clips), truth] += skill
    odds = np.exp(1.5 * logits)
    return Predictions(
        labels=tuple(labels or [f"class {i}" for i in range(classes)]),
        probabilities=odds / odds.sum(1, keepdims=True),
        targets=truth.astype(np.int64),
        groups=tuple(f"episode {i}" for i in group),
        clips=tuple(f"episode {i}.mp4#{place}" for place, i in enumerate(group)),
    )


def make_arms(**sizes: object) -> list[Arm]:
    """A fine-tuned model that clearly beats its baselines."""
    skills = {"fine-tuned": 2.5, "majority": -0.5, "random-forest": 0.4, "zero-shot": 1.0, "scratch": 0.3}
    return [
        Arm(
            name,
            ARM_TITLES[name],
            "fine-tuned" if name == "fine-tuned" else "baseline",
            make(skill=skill, seed=seed, **sizes),
        )  # type: ignore[arg-type]
        for seed, (name, skill) in enumerate(skills.items())
    ]


@pytest.fixture(name="make")
def _make() -> Make:
    return make


@pytest.fixture(name="make_arms")
def _make_arms() -> Callable[..., list[Arm]]:
    return make_arms
