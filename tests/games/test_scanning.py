"""Scanning reads every cell once and can be undone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.games.scanning import Order, from_scan, scan_cell, to_scan

ORDERS: tuple[Order, ...] = ("columns", "rows")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 7), st.integers(0, 7), st.sampled_from(ORDERS))
def test_it_can_be_undone(height: int, width: int, order: Order) -> None:
    tiles = np.arange(height * width, dtype=np.int32).reshape(height, width)
    scan = to_scan(tiles, order)
    assert scan.shape == ((width, height) if order == "columns" else (height, width))
    assert scan.flags.c_contiguous
    back = from_scan(scan, order)
    assert np.array_equal(back, tiles)
    assert back.dtype == np.int32


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from(ORDERS), st.data())
def test_cells_are_where_they_are_said_to_be(height: int, width: int, order: Order, data: st.DataObject) -> None:
    tiles = np.arange(height * width, dtype=np.int32).reshape(height, width)
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    assert to_scan(tiles, order)[scan_cell(row, column, height, order)] == tiles[row, column]


@pytest.mark.parametrize(("order", "first"), [("columns", [4, 2, 0]), ("rows", [0, 1])])
def test_columns_are_read_upwards_and_rows_to_the_right(order: Order, first: list[int]) -> None:
    assert to_scan(np.array([[0, 1], [2, 3], [4, 5]], np.int32), order)[0].tolist() == first
