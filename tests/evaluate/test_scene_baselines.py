"""Baselines that make levels: what each promises about its levels, seeds, sizes, and what cannot be made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError
from newgameplus.evaluate.scene_baselines import SCENE_BASELINES, NoLevelError, draw_levels, fit_baseline
from newgameplus.evaluate.scene_baselines import wave_function_collapse as collapse_module
from newgameplus.evaluate.scene_baselines.markov import Markov
from newgameplus.evaluate.scene_baselines.nearest_copy import NearestCopy
from newgameplus.evaluate.scene_baselines.wave import Wave
from newgameplus.evaluate.scene_baselines.wave_function_collapse import WaveFunctionCollapse
from newgameplus.evaluate.scene_patterns import copied_window_counts
from newgameplus.games.scenes import Level

CHARACTERS = "-XSo<>[]#"


def level(text: str) -> Level:
    return Level.from_text(text, {character: [] for character in CHARACTERS})


COURSE = level(
    """
------------------------------
-----------o------------------
---SS-------------------S-----
--------------<>--------------
----------X---[]-----XX-------
XXXXXXXX-XX---[]XXXXXXXXX--XXX
"""
)
STRIPES = level("\n".join("X--" * 8 for _ in range(4)))


def windows(level: Level, size: int) -> set[bytes]:
    padded = np.pad(level.tiles, 1, constant_values=-1)
    views = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    return {window.tobytes() for row in views for window in row}


@pytest.mark.parametrize("name", SCENE_BASELINES)
def test_the_same_seed_gives_the_same_levels_of_the_wanted_sizes(name: str) -> None:
    sizes = [(6, 30), (6, 12), (6, 41)]
    one, two = (draw_levels(fit_baseline(name, [COURSE], seed=3), sizes, seed=5) for _ in range(2))
    other = draw_levels(fit_baseline(name, [COURSE], seed=3), sizes, seed=6)
    assert [made.tiles.shape for made in one.levels] == sizes
    assert one.missing == 0
    texts = [[made.to_text() for made in drawn.levels] for drawn in (one, two, other)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


@pytest.mark.parametrize("name", SCENE_BASELINES)
def test_baselines_take_levels_of_other_sizes_and_tilesets(name: str) -> None:
    small = Level.from_text("XX-X\n----\nXXXX", {"?": [], "X": [], "-": []})
    made = fit_baseline(name, [COURSE, small]).sample(np.random.default_rng(0), 6, 20)
    assert made.tiles.shape == (6, 20)
    assert made.tileset.names == (*CHARACTERS, "?")
    assert 0 <= made.tiles.min() <= made.tiles.max() < len(made.tileset)


@pytest.mark.parametrize("name", SCENE_BASELINES)
def test_baselines_need_levels_and_a_size(name: str) -> None:
    with pytest.raises(DataError, match="hold no tile"):
        fit_baseline(name, [])
    with pytest.raises(DataError, match="0x4 is no size"):
        fit_baseline(name, [COURSE]).sample(np.random.default_rng(0), 0, 4)


def test_an_unknown_baseline_is_named_with_a_guess() -> None:
    with pytest.raises(DataError, match=r"markof") as caught:
        fit_baseline("markof", [COURSE])
    assert "did you mean 'markov'" in str(caught.value)


def test_markov_goes_on_with_a_pattern_that_leaves_no_choice() -> None:
    made = Markov.fit([STRIPES]).sample(np.random.default_rng(0), 4, 24)
    assert made.to_text() == STRIPES.to_text()


def test_markov_draws_as_often_as_it_saw() -> None:
    rng = np.random.default_rng(1)
    noise = [COURSE.with_tiles(rng.choice(2, (6, 40), p=[0.8, 0.2])) for _ in range(20)]
    markov = Markov.fit(noise)
    made = np.stack([markov.sample(rng, 6, 40).tiles for _ in range(20)])
    assert made.mean() == pytest.approx(0.2, abs=0.02)


def test_markov_keeps_rows_apart_where_neighbors_do_not_tell() -> None:
    tall = level("\n".join(["-" * 10] * 3 + ["S" * 10] + ["-" * 10] * 3 + ["X" * 10]))
    made = Markov.fit([tall]).sample(np.random.default_rng(0), 8, 30)
    assert set(made.to_text().split("\n")) == {"-" * 30, "S" * 30, "X" * 30}


@st.composite
def maps(draw: st.DrawFn) -> Level:
    height, width = draw(st.integers(3, 6)), draw(st.integers(4, 8))
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    return COURSE.with_tiles(rng.choice(3, (height, width), p=[0.7, 0.2, 0.1]))


@settings(max_examples=25, deadline=None)
@given(maps(), st.integers(0, 100), st.integers(-1, 3))
def test_collapse_lays_only_patterns_that_it_saw(seen: Level, seed: int, wider: int) -> None:
    baseline = WaveFunctionCollapse.fit([seen])
    try:
        made = baseline.sample(np.random.default_rng(seed), seen.height, seen.width + wider)
    except NoLevelError:
        assert wider != 0, "its own size can always be made"
        assert baseline.failures > 0
        return
    assert windows(made, baseline.sizes_used[-1]) <= windows(seen, baseline.sizes_used[-1])


def test_collapse_by_chunks_lays_only_patterns_that_it_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = collapse_module._collapse

    def only_chunks(wave: Wave, rng: np.random.Generator, columns: int, backtracks: int) -> bool:
        return columns < wave.columns - 8 and whole(wave, rng, columns, backtracks)

    monkeypatch.setattr(collapse_module, "_CHUNK_TRIES", 3)
    monkeypatch.setattr(collapse_module, "_collapse", only_chunks)
    baseline = WaveFunctionCollapse.fit([COURSE])
    with pytest.raises(NoLevelError, match="6x60"):
        baseline.sample(np.random.default_rng(0), 6, 60)
    assert baseline.failures > 4, "the last chunk never succeeds, so those before it are undone again and again"

    def in_chunks(wave: Wave, rng: np.random.Generator, columns: int, backtracks: int) -> bool:
        return (wave.mark > 0 or columns < wave.columns) and whole(wave, rng, columns, backtracks)

    monkeypatch.setattr(collapse_module, "_collapse", in_chunks)
    baseline = WaveFunctionCollapse.fit([COURSE])
    made = baseline.sample(np.random.default_rng(0), 6, 60)
    assert baseline.failures == 1
    assert windows(made, 3) <= windows(COURSE, 3)


def test_collapse_says_when_there_is_no_level_and_counts_it() -> None:
    baseline = fit_baseline("wave-function-collapse", [level("-XS\no<>\n[]#")])
    drawn = draw_levels(baseline, [(3, 3), (3, 4), (5, 5)], seed=1)
    assert (len(drawn.levels), drawn.missing) == (1, 2)
    assert drawn.levels[0].to_text() == "-XS\no<>\n[]#"
    with pytest.raises(NoLevelError, match="no level of 3x4"):
        baseline.sample(np.random.default_rng(0), 3, 4)


def test_a_wave_goes_back_to_where_it_was() -> None:
    baseline = WaveFunctionCollapse.fit([COURSE])
    fresh = baseline.sample(np.random.default_rng(4), 6, 20).to_text()
    for seed in range(3):
        baseline.sample(np.random.default_rng(seed), 6, 20)
    assert baseline.sample(np.random.default_rng(4), 6, 20).to_text() == fresh


def test_copies_are_copies() -> None:
    training = [COURSE, level("\n".join(["-" * 12] * 5 + ["X" * 12]))]
    copier = NearestCopy.fit(training, seed=0)
    narrow = [copier.sample(np.random.default_rng(seed), 6, 10) for seed in range(4)]
    assert copied_window_counts(narrow, training, (1, 5, 10)).shares().tolist() == [1.0, 1.0, 1.0]
    wide = copier.sample(np.random.default_rng(0), 6, 100)
    assert copied_window_counts([wide], training, (1,)).shares().tolist() == [1.0]
    whole = {NearestCopy.fit([COURSE]).sample(np.random.default_rng(seed), 6, 30).to_text() for seed in range(3)}
    assert whole == {COURSE.to_text()}


def test_copies_keep_the_ground_where_the_height_differs() -> None:
    copier = NearestCopy.fit([COURSE])
    rng = np.random.default_rng(0)
    assert copier.sample(rng, 2, 30).to_text() == "\n".join(COURSE.to_text().split("\n")[-2:])
    tall = copier.sample(rng, 9, 30).to_text().split("\n")
    assert tall[3:] == COURSE.to_text().split("\n")
    assert set(tall[:3]) == {"-" * 30}
