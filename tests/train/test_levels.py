"""Levels as examples: windows cover them, whole() counts each tile once, and what is told tells nothing later."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_tiles import LEGEND, MEASURES, example_of, logits_of, random_scan, small_model, stripes

from newgameplus.games.conditions import FEATURES, column_counts, wish_features
from newgameplus.games.measures import measure
from newgameplus.games.scanning import from_scan, to_scan
from newgameplus.games.scenes import Level
from newgameplus.pretrained.tile_tokens import encode_window
from newgameplus.train.levels import LevelBook, LevelExample, collate

TEMPLATE = Level.from_text(".", LEGEND)


def numbered(columns: int, rows: int, **more: object) -> LevelExample:
    """A level in which every tile is another one, so that one can see where a window comes from."""
    scan = np.arange(columns * rows, dtype=np.int32).reshape(columns, rows)
    return LevelExample(scan, {}, np.zeros((0, columns + 1)), **more)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 40))
def test_whole_counts_each_tile_exactly_once(columns: int, rows: int, context: int) -> None:
    book = LevelBook([numbered(columns, rows)], (), context)
    windows = book.whole()[0]
    counted = np.concatenate([window.targets[window.counted] for window in windows])
    assert sorted(counted.tolist()) == list(range(columns * rows))
    for window in windows:
        assert len(window.targets) <= max(context, rows)
        assert len(window.targets) % rows == 0
        assert np.array_equal(window.targets, np.arange(window.targets[0], window.targets[-1] + 1))
    span = min(columns, max(1, context // rows))
    for window in windows[1:]:
        assert window.counted.argmax() // rows >= span // 2  # half a window at least stands before what counts


def test_whole_asks_for_nothing() -> None:
    book = LevelBook([example_of(level) for level in stripes(3)], MEASURES, 16)
    for windows in book.whole():
        assert not any(window.tokens.wishes.any() for window in windows)


def test_drawn_windows_cover_every_column_and_count_all_they_hold() -> None:
    book = LevelBook([numbered(20, 3)], (), 15)
    windows = book.draw(np.random.default_rng(0), 600)
    assert all(len(window.targets) == 15 and window.counted.all() for window in windows)
    assert all(window.targets[0] % 3 == 0 for window in windows)
    seen = Counter(int(column) for window in windows for column in window.targets[::3] // 3)
    assert set(seen) == set(range(20))
    assert min(seen.values()) > 0.3 * max(seen.values())  # the edges are not starved


def test_a_level_shorter_than_the_context_is_drawn_whole() -> None:
    windows = LevelBook([numbered(4, 3)], (), 100).draw(np.random.default_rng(0), 5)
    assert all(window.targets.tolist() == list(range(12)) for window in windows)


def test_a_column_higher_than_the_context_is_drawn_alone() -> None:
    windows = LevelBook([numbered(4, 30)], (), 16).draw(np.random.default_rng(0), 20)
    assert {len(window.targets) for window in windows} == {30}


def test_levels_are_drawn_by_their_columns_or_weights() -> None:
    rng = np.random.default_rng(0)

    def shares(*examples: LevelExample) -> list[float]:
        drawn = Counter(len(window.targets) for window in LevelBook(examples, (), 10_000).draw(rng, 3000))
        return [drawn[example.scan.size] / 3000 for example in examples]

    assert shares(numbered(10, 1), numbered(30, 1)) == pytest.approx([0.25, 0.75], abs=0.04)
    assert shares(numbered(10, 1, weight=3.0), numbered(30, 1, weight=1.0)) == pytest.approx([0.75, 0.25], abs=0.04)
    assert shares(numbered(10, 1, weight=0.0), numbered(30, 1)) == [0.0, 1.0]


def test_drawing_is_decided_by_the_seed() -> None:
    book = LevelBook([example_of(level) for level in stripes(5)], MEASURES, 16)

    def drawn(seed: int) -> list[bytes]:
        windows = book.draw(np.random.default_rng(seed), 6)
        return [window.targets.tobytes() + window.tokens.wishes.tobytes() for window in windows]

    assert drawn(1) == drawn(1) != drawn(2)


def test_measures_are_hidden_as_often_as_asked() -> None:
    def known(hide: float) -> np.ndarray:
        book = LevelBook([example_of(level) for level in stripes(5)], MEASURES, 16, hide)
        windows = book.draw(np.random.default_rng(0), 800)
        return np.array([window.tokens.wishes.reshape(-1, len(MEASURES), FEATURES)[0, :, 0] for window in windows])

    assert known(0.0).all()
    assert not known(1.0).any()
    some = known(0.3)
    # All are hidden in 15 % of the windows, and each by itself in 30 % of the others.
    assert 1 - some.mean(axis=0) == pytest.approx([0.405] * 3, abs=0.06)
    assert (some.sum(axis=1) == 0).mean() == pytest.approx(0.15 + 0.85 * 0.3**3, abs=0.04)
    assert {tuple(row) for row in some} == {(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)}


def test_a_measure_that_is_not_known_is_never_told() -> None:
    example = replace(example_of(stripes(1)[0]), values={"enemies": 3.0, "gaps": float("nan")})
    windows = LevelBook([example], MEASURES, 16, hide=0.0).draw(np.random.default_rng(0), 5)
    for window in windows:
        wishes = window.tokens.wishes.reshape(-1, len(MEASURES), FEATURES)
        assert wishes[:, 0].any()
        assert not wishes[:, 1:].any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 8), st.integers(2, 5), st.data())
def test_what_is_told_at_a_column_tells_nothing_of_it_or_of_later_ones(
    seed: int, columns: int, rows: int, data: st.DataObject
) -> None:
    """Given the same request, only columns before decide how much is missing: no answer leaks into its question."""
    rng = np.random.default_rng(seed)
    scan = random_scan(rng, columns, rows)
    changed = data.draw(st.integers(0, columns - 1))
    other = scan.copy()
    other[changed:] = random_scan(rng, columns - changed, rows)
    asked = {"enemies": 4.0, "gaps": 1.0, "density": 0.5}
    told = [
        wish_features(MEASURES, asked, column_counts(TEMPLATE.with_tiles(from_scan(one, "columns")), MEASURES))
        for one in (scan, other)
    ]
    assert np.array_equal(told[0][: changed + 1], told[1][: changed + 1])


def test_collate_stacks_windows_of_different_lengths_without_changing_answers() -> None:
    model = small_model()
    rng = np.random.default_rng(0)
    levels = [TEMPLATE.with_tiles(from_scan(random_scan(rng, columns, 4), "columns")) for columns in (3, 7, 5)]
    examples = [example_of(level) for level in levels]
    windows = LevelBook(examples, MEASURES, 100, hide=0.0).whole()
    tokens, targets, counted, allowed = collate([window[0] for window in windows])
    assert targets.shape == counted.shape == (3, 28)
    assert counted.sum(dim=1).tolist() == [12, 28, 20]
    assert allowed is None
    together = logits_of(model, tokens)
    for number, window in enumerate(windows):
        alone = logits_of(model, collate(window)[0])[0]
        assert torch.allclose(together[number, : len(alone)], alone, atol=1e-5)
        assert targets[number, : len(alone)].tolist() == to_scan(levels[number].tiles, "columns").ravel().tolist()


def test_collate_keeps_the_tiles_that_each_game_has() -> None:
    masks = [np.array([True, False, True]), np.array([False, True, True])]
    books = [LevelBook([numbered(2, 2, allowed=mask)], (), 8) for mask in masks]
    allowed = collate([book.whole()[0][0] for book in books])[3]
    assert allowed is not None
    assert allowed.tolist() == [mask.tolist() for mask in masks]


def test_windows_are_those_of_the_whole_level() -> None:
    level = stripes(1, columns=20)[0]
    book = LevelBook([example_of(level)], MEASURES, 16, hide=0.0)
    wishes = wish_features(MEASURES, measure(level, MEASURES), column_counts(level, MEASURES))
    whole = encode_window(to_scan(level.tiles, "columns"), wishes, 0, 20)
    for window in book.draw(np.random.default_rng(0), 10):
        start = int(window.tokens.position[0, 0]) * 4
        for name, values in vars(window.tokens).items():
            assert np.array_equal(values, getattr(whole, name)[start : start + 16]), name
