"""Twins of tiles with the solver's way on them: drawn in, told apart, taken off."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.games.rules import open_rules
from newgameplus.games.scenes import Level
from newgameplus.games.way_tiles import ON_THE_WAY, WAY_MEANING, WayTiles

TILES = {"#": ("solid",), ".": ("empty",), "e": ("enemy",)}
LEVEL = Level.from_text("..e\n.##", TILES)


def test_only_tiles_that_ways_cross_get_twins() -> None:
    way = WayTiles.of([LEVEL], [[(1, 0), (0, 0), (0, 1)]], throughout=True)
    assert way.tileset.names == ("#", ".", "e", f".{ON_THE_WAY}")
    assert way.base.tolist() == [0, 1, 2, 1]
    assert way.twin.tolist() == [0, 3, 2]
    assert way.drawn
    assert way.throughout
    assert way.on_way.tolist() == [False, False, False, True]
    assert way.meanings(1) == ("empty",)
    assert way.meanings(3) == ("empty", WAY_MEANING)
    assert way.draw(LEVEL, [(0, 0)]).tolist() == [[3, 1, 2], [1, 0, 0]]
    assert way.draw(LEVEL, [(0, 2), (1, 1)]).tolist() == LEVEL.tiles.tolist(), "these have no twin"


def test_no_way_no_twins() -> None:
    for way in (WayTiles.none(LEVEL.tileset), WayTiles.of([LEVEL], [[]])):
        assert not way.drawn
        assert way.tileset.names == LEVEL.tileset.names
        assert (way.draw(LEVEL, [(0, 0)]) == LEVEL.tiles).all()


def test_twins_are_told_from_the_names_of_a_model() -> None:
    way = WayTiles.of_names(LEVEL.tileset, ("#", ".", "e", f"e{ON_THE_WAY}", f".{ON_THE_WAY}"))
    assert way is not None
    assert way.base.tolist() == [0, 1, 2, 2, 1]
    assert way.twin.tolist() == [0, 4, 3]
    assert WayTiles.of_names(LEVEL.tileset, ("#", "e", ".")) is None, "another order"
    assert WayTiles.of_names(LEVEL.tileset, ("#", ".", "e", f"x{ON_THE_WAY}")) is None, "another game"


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_what_is_drawn_in_comes_off_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    level = LEVEL.with_tiles(rng.integers(3, size=(4, 6)).astype(np.int32))
    cells = [(int(row), int(column)) for row, column in rng.integers((4, 6), size=(int(rng.integers(9)), 2))]
    way = WayTiles.of([level], [cells])
    assert (way.plain(way.draw(level, cells)) == level.tiles).all()
    assert (way.plain(np.full((2, 2), -1, np.int32)) == -1).all()


def test_of_sokoban_the_trails_of_boxes_are_drawn_and_of_platformers_the_player() -> None:
    tiles = {"#": ("solid",), " ": ("empty",), "$": ("box",), ".": ("goal",), "@": ("start",)}
    level = Level.from_text("########\n#      #\n# @$ . #\n#      #\n########", tiles)
    rules = open_rules("sokoban")
    proof = rules.solve(level).proof
    assert proof is not None
    assert rules.way(proof) == ((2, 3), (2, 4), (2, 5))
    assert rules.draws_way
    assert not rules.grows
    course = Level.from_text("........\n........\n########", {"#": ("solid",), ".": ("empty",)})
    side = open_rules("platformer")
    run = side.solve(course).proof
    assert run is not None
    assert side.way(run) == run.cells
    assert side.draws_way
