"""Masks let a line be finished whenever it can be, and counts are watched tile by tile."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scripted_tiles import empty_level

from newgameplus.games.conditions import Request
from newgameplus.games.scenes import Level
from newgameplus.games.structure import Structure, learn_structure
from newgameplus.generate.constraints import CountLimits, Frame

TILES = 3


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Frames that leave much to be desired."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from((0.3, 0.6, 0.9)))

    def flags(*shape: int) -> npt.NDArray[np.bool_]:
        return rng.random(shape) < share

    edges = [flags(TILES) for _ in range(4)]
    return Frame(flags(TILES, TILES), flags(TILES, TILES), *edges, np.zeros(TILES, np.bool_))


def lines_that_fit(
    frame: Frame,
    before: npt.NDArray[np.int32] | None,
    fixed: npt.NDArray[np.int32],
    following: npt.NDArray[np.int32] | None,
    is_last: bool,
) -> list[tuple[int, ...]]:
    """All lines that keep the frame, found by trying each."""
    free = [range(TILES) if tile < 0 else [int(tile)] for tile in fixed]
    found = []
    for line in itertools.product(*free):
        good = all(frame.after[a, b] for a, b in itertools.pairwise(line))
        for place, tile in enumerate(line):
            if fixed[place] >= 0:
                continue  # what is given is not judged
            good &= bool(frame.right[tile]) if is_last else bool(frame.beyond[tile].any())
            good &= bool(frame.left[tile]) if before is None else bool(frame.beyond[before[place], tile])
            good &= following is None or following[place] < 0 or bool(frame.beyond[tile, following[place]])
            good &= place > 0 or bool(frame.first[tile])
            good &= place < len(line) - 1 or bool(frame.last[tile])
        if good:
            found.append(line)
    return found


@settings(max_examples=150, deadline=None)
@given(frames(), st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.booleans())
def test_a_line_that_can_be_finished_is_never_left_unfinishable(
    frame: Frame, seed: int, first: bool, last: bool, more: bool
) -> None:
    rng = np.random.default_rng(seed)
    places = int(rng.integers(1, 5))
    before = None if first else rng.integers(0, TILES, places).astype(np.int32)
    fixed = np.where(rng.random(places) < 0.3, rng.integers(0, TILES, places), -1).astype(np.int32)
    following = (
        np.where(rng.random(places) < 0.5, rng.integers(0, TILES, places), -1).astype(np.int32) if more else None
    )
    fit = lines_that_fit(frame, before, fixed, following, last)
    mask = frame.line(before, fixed, following, last)
    if fit:
        for place in range(places):  # what is allowed after each beginning is what leads to a line that fits
            for beginning in {line[:place] for line in fit}:
                onward = {line[place] for line in fit if line[:place] == beginning}
                allowed = mask[place] & frame.after[beginning[-1]] if place else mask[place]
                assert set(np.flatnonzero(allowed).tolist()) == onward
    for place in np.flatnonzero(fixed >= 0):
        assert np.flatnonzero(mask[place]).tolist() == [fixed[place]]


def walled(rows: list[str]) -> Level:
    tiles = {".": ("empty",), "#": ("solid",), "[": ("pipe", "solid"), "]": ("pipe", "solid"), "@": ("start",)}
    return Level.from_text("\n".join(rows), tiles)


@pytest.fixture(scope="module")
def structure() -> Structure:
    maps = [
        walled(["########", "#......#", "#@.[]..#", "#..[]..#", "########"]),
        walled(["########", "#@....##", "#....[]#", "#....[]#", "########"]),
        walled(["########", "#......#", "#[]....#", "#[]..@.#", "########"]),
        walled(["########", "#.@....#", "#......#", "##.....#", "########"]),
    ]
    return learn_structure(maps)


@pytest.mark.parametrize("order", ["columns", "rows"])
def test_frames_know_borders_pipes_and_the_one_player(structure: Structure, order: str) -> None:
    frame = Frame.of(structure, order)  # type: ignore[arg-type]
    index = structure.tileset.index
    left, right, wall, free = index["["], index["]"], index["#"], index["."]
    assert np.flatnonzero(frame.single).tolist() == [index["@"]]
    for edge in (frame.first, frame.last, frame.left, frame.right):
        assert np.flatnonzero(edge).tolist() == [wall]
    beside = frame.beyond if order == "columns" else frame.after
    assert np.flatnonzero(beside[left]).tolist() == [right]
    assert np.flatnonzero(beside[:, right]).tolist() == [left]
    assert beside[free, free]


def test_an_edge_cuts_no_pipe_that_no_map_cuts() -> None:
    rows = ["......", "......", ".[]...", ".[]...", "######"]
    frame = Frame.of(learn_structure([walled(rows), walled(rows)]), "columns")
    left, right = 2, 3
    assert not frame.right[left]
    assert frame.right[right]
    assert not frame.left[right]
    mask = frame.line(np.zeros(5, np.int32), np.full(5, -1, np.int32), None, True)
    assert not mask[:, left].any()


def test_counts_are_watched_with_what_is_given_further_on() -> None:
    level = empty_level({".": ("empty",), "e": ("enemy",), "f": ("enemy",), "@": ("start",)})
    single = np.array([False, False, False, True])
    asked = [Request("enemies", 2, 3), Request("tile:f", 1, 1), Request("density", 0.1, 0.2)]
    limits = CountLimits(asked, level, single)
    assert limits.flags.shape == (3, 4)  # a share is left to the verifier
    scan = np.array([[1, 0], [2, -1], [-1, -1]], np.int32)
    fixed = np.array([[-1, -1], [-1, 3], [1, -1]], np.int32)
    counts = limits.counts(scan, fixed)
    assert counts.tolist() == [3.0, 1.0, 1.0]
    assert limits.allowed(counts).tolist() == [True, False, False, False]
    assert limits.allowed(np.array([1.0, 1.0, 0.0])).tolist() == [True, True, False, True]
    late = limits.pressure(np.array([0.0, 1.0, 0.0]), 0.95)
    assert late[1] > 0
    assert late[3] > 0
    assert late[0] == 0
    assert not limits.pressure(np.array([0.0, 1.0, 0.0]), 0.3).any()


def test_a_free_frame_allows_everything() -> None:
    mask = Frame.free(TILES).line(np.zeros(4, np.int32), np.full(4, -1, np.int32), None, True)
    assert mask.all()
