"""Boxes that can never be moved, and what keeps them from being drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.games.jams import Jams, learn_jams
from newgameplus.games.rules import open_rules
from newgameplus.games.scenes import Level
from newgameplus.games.structure import learn_structure

TILES = {"#": ("solid",), " ": ("empty",), "$": ("box",), ".": ("goal",), "*": ("box", "goal"), "@": ("start",)}
JAMS = Jams.of(Level.from_text("#", TILES).tileset)


def jammed(text: str) -> list[tuple[int, int]]:
    cells = np.argwhere(JAMS.jammed(Level.from_text(text, TILES).tiles))
    return [(int(row), int(column)) for row, column in cells]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("     \n  #  \n #$  \n     \n     ", [(2, 2)]),  # a corner
        ("     \n  #  \n  $  \n  #  \n     ", []),  # walls on opposite sides: it can be pushed along
        ("     \n  #  \n #*  \n     \n     ", []),  # on its goal it may stay
        ("     \n ##  \n $$  \n     \n     ", [(2, 1), (2, 2)]),  # a square
        ("     \n #*  \n $*  \n     \n     ", [(2, 1)]),
        ("     \n ##  \n $ $ \n     \n     ", []),
        ("$    \n     \n     ", [(0, 0)]),  # the border is a wall
        ("  $  \n     \n     ", []),
    ],
)
def test_jammed_boxes_are_found(text: str, cells: list[tuple[int, int]]) -> None:
    assert jammed(text) == cells


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(3, 4), (4, 4), (5, 3)]))
def test_a_jammed_box_is_never_solved(seed: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    tiles = rng.choice(4, size=size, p=[0.3, 0.45, 0.15, 0.1]).astype(np.int32)
    level = Level.from_text(" ", TILES).with_tiles(tiles)
    cells = np.argwhere(tiles == 1)
    if len(cells):
        tiles[tuple(cells[rng.integers(len(cells))])] = 5
    if JAMS.jammed(tiles).any():
        assert not open_rules("sokoban", options={"spare_goals": True}).solve(level.with_tiles(tiles)).playable


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5))
def test_what_is_drawn_only_where_it_is_allowed_jams_no_box_but_at_the_last_edges(
    seed: int, height: int, width: int
) -> None:
    """Only corners with the far border are left: nothing is drawn there that could be ruled out."""
    rng = np.random.default_rng(seed)
    scan = np.full((width, height), -1, np.int32)
    for line in range(width):
        for place in range(height):
            allowed = JAMS.allowed(scan, line, place)
            tile = int(rng.integers(len(TILES)))
            scan[line, place] = tile if allowed[tile] else 1
            assert allowed[1]
    tiles = scan.T[::-1].copy()  # as platformers grow: columns to the right, each from its bottom upwards
    inside = JAMS.jammed(tiles)[1:, :-1]
    assert not inside.any()


def test_they_are_learned_only_from_maps_that_never_have_them() -> None:
    row = ["########", "#      #", "# $  . #", "#  @   #", "########"]
    good = [Level.from_text("\n".join(row), TILES)] * 25
    assert learn_jams(good) is not None
    assert learn_jams(good[:5]) is None, "too few boxes to tell"
    bad = Level.from_text("\n".join(row).replace("#      #", "#$   . #"), TILES)
    assert learn_jams([*good, bad]) is None
    structure = learn_structure(good)
    assert structure.breaks(bad) == [(1, 1)]
    assert any("no box" in rule for rule in structure.rules())
    assert learn_structure([Level.from_text("##\n  ", {"#": ("solid",), " ": ("empty",)})] * 3).jams is None
