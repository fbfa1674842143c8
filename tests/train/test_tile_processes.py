"""Tile models: two processes are one process with the same global batch, whatever stops them in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.train.launching import one_and_two, seen
from tests.train.several_tile_processes import GOES_ON, LEVELS, STOPS, VARIANTS, book, train

from newgameplus.errors import TrainingError
from newgameplus.train.levels import LevelBook
from newgameplus.train.team import Team


def test_parts_of_a_draw_are_the_windows_of_the_whole_draw() -> None:
    levels = LevelBook(book(LEVELS, 0).examples, ("enemies", "gaps", "density"), 24)
    whole = levels.draw(np.random.default_rng(3), 7)
    rng = np.random.default_rng(3)
    parts = levels.draw(rng, 7, range(3)) + levels.draw(np.random.default_rng(3), 7, range(3, 7))
    assert len(parts) == 7
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one.tokens.around, other.tokens.around)
        assert np.array_equal(one.tokens.wishes, other.tokens.wishes)
    again = np.random.default_rng(3)
    levels.draw(again, 7)
    assert rng.random() == again.random()  # what is drawn next does not depend on the part


def test_the_mean_of_a_part_is_its_share_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    team = Team(4)
    assert team.mean_of(torch.tensor(6.0), 3) == (torch.tensor(2.0), 6.0, 3)
    team.count = 2
    monkeypatch.setattr("newgameplus.train.team.add_up", lambda sums: sums.add_(torch.tensor([4.0, 7.0])))
    assert team.mean_of(torch.tensor(6.0), 3) == (torch.tensor(0.6), 10.0, 10)


def test_more_processes_than_windows_in_a_batch_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("newgameplus.train.team.process_count", lambda: 6)
    with pytest.raises(TrainingError, match="6 processes cannot share a batch of 5"):
        train(tmp_path, GOES_ON)


@pytest.mark.slow
def test_two_processes_end_where_one_does_and_either_goes_on_where_the_other_stopped(tmp_path: Path) -> None:
    ways = one_and_two(tmp_path, "tests.train.several_tile_processes", train, VARIANTS, GOES_ON, STOPS)
    steps: dict[str, int] = {}
    for name, one, two in ways:
        assert_same(one, two, name)
        steps[name] = one["steps"]
        if name not in (GOES_ON, STOPS):
            assert_each_seen_once(tmp_path / "one" / name, tmp_path / "two" / name)
    assert steps["harm, stopped early"] < VARIANTS["harm, stopped early"][0].steps


def assert_same(one: dict[str, Any], two: dict[str, Any], name: str) -> None:
    assert one["steps"] == two["steps"], name
    apart = {key: float((value - two["weights"][key]).abs().max()) for key, value in one["weights"].items()}
    # Adam makes whole steps (here 1e-2) of gradients of any size, of those that are little but rounding too.
    assert max(apart.values()) < 1e-4, (name, max(apart, key=lambda key: apart[key]), max(apart.values()))
    assert torch.allclose(one["bits"], two["bits"], rtol=1e-4), name
    assert len(one["rows"]) == len(two["rows"])
    for row, other in zip(one["rows"], two["rows"], strict=True):
        close = {
            key: value if isinstance(value, str) else pytest.approx(value, rel=1e-4) for key, value in other.items()
        }
        assert row == close, name


def assert_each_seen_once(one: Path, two: Path) -> None:
    alone, _ = seen(one, two)
    assert {len(line) for line in alone} == {5}
