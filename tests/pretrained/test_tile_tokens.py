"""Tokens: nothing that is still to be made is in them, and making them one by one gives those of the whole level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_tiles import random_scan, random_wishes

from newgameplus.pretrained.tile_tokens import (
    BORDER,
    EDGE_LIMIT,
    HIDDEN,
    OFFSETS,
    SPECIALS,
    LineTokens,
    TileTokens,
    encode_window,
)

SIZES = st.tuples(st.integers(1, 8), st.integers(1, 6))


def same(one: TileTokens, other: TileTokens) -> bool:
    return all(np.array_equal(value, getattr(other, name)) for name, value in vars(one).items())


def test_every_neighbour_comes_before_its_cell() -> None:
    assert len(set(OFFSETS)) == len(OFFSETS)
    assert all(back > 0 or up < 0 for back, up in OFFSETS)


@settings(max_examples=30, deadline=None)
@given(SIZES, st.integers(1, 3), st.integers(0, 2**32))
def test_made_line_by_line_they_are_those_of_the_whole_level(size: tuple[int, int], levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scans = [random_scan(rng, *size) for _ in range(levels)]
    wishes = [random_wishes(rng, size[0]) for _ in range(levels)]
    wholes = [encode_window(scan, wish, 0, size[0]) for scan, wish in zip(scans, wishes, strict=True)]
    for line in range(size[0]):
        unfinished = [np.where(np.arange(size[0])[:, None] < line, scan, -1).astype(np.int32) for scan in scans]
        near = LineTokens(unfinished, np.stack([wish[line] for wish in wishes]), line)
        for place in range(size[1]):
            made = near.at(place, "cpu")
            for number, whole in enumerate(wholes):
                for name, values in vars(whole).items():
                    assert np.array_equal(getattr(made, name)[number, 0].numpy(), values[line * size[1] + place]), name
                near.put(number, place, int(scans[number][line, place]))


@settings(max_examples=30, deadline=None)
@given(SIZES, st.data())
def test_a_window_is_a_part_of_the_whole(size: tuple[int, int], data: st.DataObject) -> None:
    columns, rows = size
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    scan, wishes = random_scan(rng, columns, rows), random_wishes(rng, columns)
    start = data.draw(st.integers(0, columns - 1))
    end = data.draw(st.integers(start + 1, columns))
    whole, window = encode_window(scan, wishes, 0, columns), encode_window(scan, wishes, start, end)
    part = TileTokens(*(value[start * rows : end * rows] for value in vars(whole).values()))
    assert same(window, part)
    # The first columns of a level that is still being made, told how wide it will be.
    assert same(encode_window(scan[:end], wishes, start, end, width=columns), part)


@settings(max_examples=30, deadline=None)
@given(SIZES, st.data())
def test_no_token_holds_its_own_tile_or_a_later_one(size: tuple[int, int], data: st.DataObject) -> None:
    columns, rows = size
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    scan, wishes = random_scan(rng, columns, rows), random_wishes(rng, columns)
    changed = data.draw(st.integers(0, columns * rows - 1))
    other = scan.copy()
    other.ravel()[changed:] = rng.integers(4, 8, columns * rows - changed)
    one, two = encode_window(scan, wishes, 0, columns), encode_window(other, wishes, 0, columns)
    assert all(np.array_equal(getattr(two, name)[: changed + 1], v[: changed + 1]) for name, v in vars(one).items())
    if changed + 1 < columns * rows:
        assert two.previous[changed + 1] == other.ravel()[changed] + SPECIALS


def test_specials_stand_outside_and_where_nothing_is_known() -> None:
    scan = np.array([[0, 1], [-1, 2]], np.int32)
    tokens = encode_window(scan, np.zeros((2, 1), np.float32), 0, 2)
    assert tokens.previous.tolist() == [BORDER, SPECIALS, 1 + SPECIALS, HIDDEN]
    below, left = OFFSETS.index((0, -1)), OFFSETS.index((1, 0))
    assert tokens.around[:, below].tolist() == [BORDER, SPECIALS, BORDER, HIDDEN]
    assert tokens.around[:, left].tolist() == [BORDER, BORDER, SPECIALS, 1 + SPECIALS]


def test_places_count_from_all_edges_up_to_a_limit() -> None:
    columns = EDGE_LIMIT + 10
    tokens = encode_window(np.zeros((columns, 3), np.int32), np.zeros((columns, 1), np.float32), 0, columns)
    assert tokens.place[0].tolist() == [0, 2, 0, EDGE_LIMIT - 1]
    assert tokens.place[-1].tolist() == [2, 0, EDGE_LIMIT - 1, 0]
    assert tokens.position[-1].tolist() == [columns - 1, 2]


@pytest.mark.parametrize("rows", [1, 5])
def test_tensors_have_the_types_that_a_network_takes(rows: int) -> None:
    tokens = encode_window(np.zeros((2, rows), np.int32), np.zeros((2, 4), np.float32), 0, 2).to_tensors()
    assert tokens.around.shape == (2 * rows, len(OFFSETS))
    assert all(getattr(tokens, name).dtype == torch.int64 for name in ("around", "previous", "place", "position"))
    assert tokens.wishes.dtype == torch.float32
