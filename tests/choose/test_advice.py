"""Advice: every sentence follows from numbers, and says them."""

from __future__ import annotations

import pytest

from newgameplus.choose import Candidate, Choice, Cost, ShortRun, Task, advise, similarity


def candidate(
    name: str, parameters: int, knn: float = 0.9, run: float | None = None, latency: float = 0.0
) -> Candidate:
    short_run = None if run is None else ShortRun(run, run, run, 60, 1.0)
    cost = Cost(latency, 1.0, 1) if latency else None
    return Candidate(name, parameters, {"knn": knn}, cost=cost, short_run=short_run)


def advice(*candidates: Candidate, counts: tuple[int, ...] = (40, 40), groups: int = 10) -> str:
    return advise(Choice(candidates[0].name, candidates, ""), Task(counts, groups))


def test_similarity_is_measured_from_guessing_to_certainty() -> None:
    assert similarity(0.5, 0.5) == 0.0
    assert similarity(0.2, 0.5) == 0.0
    assert similarity(1.0, 0.5) == 1.0
    assert similarity(0.75, 0.5) == 0.5
    assert similarity(1.0, 1.0) == 0.0


def test_the_task_is_counted_over_classes_that_have_clips() -> None:
    task = Task((30, 0, 10), 4)
    assert (task.classes, task.rarest, task.majority) == (2, 10, 0.75)


@pytest.mark.parametrize(
    ("counts", "knn", "strategy"),
    [
        ((5, 5), 0.95, "probe or lp-ft"),
        ((5, 5), 0.6, "lp-ft or lora"),
        ((200, 200), 0.55, "full or lp-ft"),
        ((200, 200), 0.95, "strategy lp-ft:"),
        ((40, 40), 0.7, "strategy lp-ft:"),
    ],
)
def test_the_strategy_follows_from_labels_and_nearness(counts: tuple[int, ...], knn: float, strategy: str) -> None:
    told = advice(candidate("one", 10**6, knn), counts=counts)
    assert strategy in told
    assert f"{knn:.0%}" in told
    assert f"{sum(counts)} labelled" in told
    assert "rules of thumb" in told


def test_few_groups_are_said() -> None:
    assert "rests on 2 training groups" in advice(candidate("one", 10), groups=2)
    assert "training groups" not in advice(candidate("one", 10), groups=9)


def test_a_smaller_model_that_came_close_is_named_with_what_it_saves() -> None:
    told = advice(
        candidate("large", 80_000_000, run=0.905, latency=0.05), candidate("small", 2_000_000, run=0.9, latency=0.004)
    )
    assert "small came within 1 point of it with 2.0 million weights instead of 80.0 million" in told
    assert "4.0 ms an answer against 50.0 ms" in told


def test_whether_size_paid() -> None:
    assert "paid" in advice(candidate("large", 80_000_000, run=0.9), candidate("small", 10, run=0.6))
    assert "suffice" in advice(candidate("small", 10, run=0.9), candidate("large", 80_000_000, run=0.6))
    assert "estimates alone" in advice(candidate("a", 10), candidate("b", 20))
    assert "one candidate" in advice(candidate("a", 10))
