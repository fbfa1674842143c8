"""Tile patterns and copied columns: against plain counting, and against published numbers where the data are."""

from __future__ import annotations

import os
from collections import Counter
from math import isnan, log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError
from newgameplus.evaluate.scene_patterns import copied_window_counts, copied_windows, pattern_divergence
from newgameplus.games.scenes import Level, Tile, Tileset

TILES = Tileset(tuple(map(Tile, "-X?")))
DATA = Path(os.environ.get("NGP_DATA", Path(__file__).parents[3] / "shared" / "data")) / "scenes" / "mario"


def random_levels(seed: int, count: int, height: int = 5, width: int = 12) -> list[Level]:
    rng = np.random.default_rng(seed)
    return [Level(rng.integers(0, 3, (height, width)).astype(np.int32), TILES, f"{i}") for i in range(count)]


@st.composite
def sets(draw: st.DrawFn) -> list[Level]:
    shapes = draw(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), min_size=1, max_size=3))
    return [
        Level(
            np.array(draw(st.lists(st.integers(0, 2), min_size=h * w, max_size=h * w)), np.int32).reshape(h, w), TILES
        )
        for h, w in shapes
    ]


def plain_counts(levels: list[Level], size: int) -> Counter[bytes]:
    return Counter(
        level.tiles[row : row + size, column : column + size].tobytes()
        for level in levels
        for row in range(level.height - size + 1)
        for column in range(level.width - size + 1)
    )


def plain_divergence(p: Counter[bytes], q: Counter[bytes], epsilon: float) -> float:
    kinds = set(p) | set(q)
    one, other = (sum(counts.values()) + epsilon * len(kinds) for counts in (p, q))
    parts = [((p[kind] + epsilon) / one, (q[kind] + epsilon) / other) for kind in kinds]
    return sum(a * log(a / b) for a, b in parts)


@settings(max_examples=60, deadline=None)
@given(sets(), sets(), st.integers(1, 3), st.sampled_from([0.0, 0.5, 1.0]))
def test_divergence_agrees_with_plain_counting(a: list[Level], b: list[Level], size: int, weight: float) -> None:
    found = pattern_divergence(a, b, size, epsilon=1e-3, weight=weight)
    p, q = plain_counts(a, size), plain_counts(b, size)
    if not p or not q:
        assert isnan(found)
        return
    expected = weight * plain_divergence(p, q, 1e-3) + (1 - weight) * plain_divergence(q, p, 1e-3)
    assert found == pytest.approx(expected, abs=1e-9)
    assert found >= 0
    assert pattern_divergence(a, a, size) == pytest.approx(0, abs=1e-12)


def test_divergence_tells_patterns_that_the_reference_never_has() -> None:
    flat = [Level(np.zeros((4, 10), np.int32), TILES)]
    assert pattern_divergence(random_levels(0, 3), flat, 2) > 5
    assert pattern_divergence(random_levels(0, 30), random_levels(1, 30), 2) < 0.1


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": 2, "epsilon": 0.0}, {"size": 2, "weight": 1.5}])
def test_divergence_refuses_what_it_cannot_use(wrong: dict[str, float]) -> None:
    with pytest.raises(DataError, match="cannot be used"):
        pattern_divergence(random_levels(0, 1), random_levels(0, 1), **wrong)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(sets(), sets(), st.integers(1, 4))
def test_copies_agree_with_plain_counting(levels: list[Level], training: list[Level], columns: int) -> None:
    def windows(level: Level) -> list[tuple[int, bytes]]:
        ends = range(level.width - columns + 1)
        return [(level.height, level.tiles[:, start : start + columns].tobytes()) for start in ends]

    known = {window for level in training for window in windows(level)}
    heights = {level.height for level in training}
    for level in levels:
        own = windows(level) if level.height in heights else []
        found = copied_windows(level, training, columns)
        assert isnan(found) if not own else found == pytest.approx(sum(window in known for window in own) / len(own))


def test_own_levels_are_copies_at_every_width() -> None:
    training = random_levels(0, 4, width=20)
    counts = copied_window_counts(training, training)
    assert counts.windows == tuple(range(1, 17))
    assert counts.shares().tolist() == [1.0] * 16
    assert counts.total[:, 15].tolist() == [5] * 4


def test_a_window_does_not_run_from_one_training_level_into_the_next() -> None:
    left, right = random_levels(0, 2, width=6)
    both = left.with_tiles(np.concatenate([left.tiles, right.tiles], axis=1))
    assert copied_windows(both, [left, right], 6) == pytest.approx(2 / 7)
    assert copied_windows(both, [both, left], 6) == 1.0


def test_copies_are_unknown_without_a_training_level_of_that_height() -> None:
    counts = copied_window_counts(random_levels(0, 2, height=5), random_levels(0, 2, height=6), (1, 2))
    assert counts.total.sum() == 0
    assert np.isnan(counts.shares()).all()
    assert isnan(copied_windows(random_levels(0, 1, width=3)[0], random_levels(0, 1), 4))


def test_copies_refuse_windows_of_no_columns() -> None:
    with pytest.raises(DataError, match="0 columns"):
        copied_windows(random_levels(0, 1)[0], random_levels(0, 1), 0)


def read(folder: str) -> list[Level]:
    texts = [path.read_text() for path in sorted((DATA / folder).glob("*.txt"))]
    return [Level.from_text(text, {character: [] for character in "-XS?QE<>[]oBbY"}) for text in texts]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the levels of Super Mario Bros. are not at {DATA}")
def test_known_numbers_of_real_levels() -> None:
    """MarioGPT's 100 levels beside SMB and SMB2J, which are cut or filled up to its 14 rows for the patterns."""
    made, training = read("rivals/mariogpt"), read("smb") + read("smb2j")
    assert (len(made), len(training)) == (100, 37)
    lows = [one.tiles[-14:] for one in training]
    filled = [
        one.with_tiles(np.pad(low, ((14 - len(low), 0), (0, 0)))) for one, low in zip(training, lows, strict=True)
    ]
    assert round(pattern_divergence(made, filled, 2), 3) == 0.045
    assert round(pattern_divergence(made, filled, 4), 3) == 0.463
    assert round(float(copied_window_counts(made, training).shares()[15]), 3) == 0.157
