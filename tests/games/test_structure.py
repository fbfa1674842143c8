"""Hard structure is what maps never break: pipes stay whole, borders closed, one player."""

from __future__ import annotations

import numpy as np
import pytest

from newgameplus.games.generators import make_levels
from newgameplus.games.scenes import Level
from newgameplus.games.structure import DIRECTIONS, EDGES, learn_structure, tile_habits

LEGEND = {
    ".": ("empty",), "#": ("solid",), "{": ("solid", "pipe"), "}": ("solid", "pipe"), "[": ("solid", "pipe"),
    "]": ("solid", "pipe"), "S": ("start",), "G": ("goal",), "o": ("collectable",),
}  # fmt: skip


def level(text: str) -> Level:
    return Level.from_text(text, LEGEND)


def course(*heights: int, width: int = 24) -> Level:
    """Flat ground with pipes of some heights on it."""
    grid = np.full((8, width), ".")
    grid[6:] = "#"
    for number, height in enumerate(heights):
        left = 3 + 6 * number
        grid[6 - height, left : left + 2] = list("{}")
        for row in range(7 - height, 6):
            grid[row, left : left + 2] = list("[]")
    return level("\n".join("".join(row) for row in grid))


COURSES = [course(2, 3, 4), course(1, 2, 3), course(4, 2), course(3, 3, 3)]


def change(one: Level, row: int, column: int, name: str) -> Level:
    tiles = one.tiles.copy()
    tiles[row, column] = one.tileset.index[name]
    return one.with_tiles(tiles)


def test_pipes_must_be_whole() -> None:
    structure = learn_structure(COURSES)
    assert not any(structure.breaks(one) for one in COURSES)
    index, beside = COURSES[0].tileset.index, dict(zip(DIRECTIONS, structure.beside, strict=True))
    assert [n for n in index if beside["right"][index["{"], index[n]]] == ["}"]
    assert [n for n in index if beside["left"][index["]"], index[n]]] == ["["]
    assert not beside["down"][index["{"], index["."]]
    assert not beside["right"][index["#"], index["}"]]  # nothing else may stand left of the right half
    for row, column, tile in [(4, 4, "."), (4, 3, "."), (5, 3, "#"), (5, 4, "."), (3, 12, "[")]:
        broken = change(COURSES[0], row, column, tile)
        assert structure.breaks(broken), (row, column, tile)
        assert all(abs(r - row) <= 1 and abs(c - column) <= 1 for r, c in structure.breaks(broken))


def test_a_pair_is_allowed_or_not_from_both_of_its_sides() -> None:
    beside = dict(zip(DIRECTIONS, learn_structure(COURSES).beside, strict=True))
    assert np.array_equal(beside["left"], beside["right"].T)
    assert np.array_equal(beside["up"], beside["down"].T)


def test_plain_ground_and_sky_bind_nothing() -> None:
    structure = learn_structure([level("....\n.o..\n####"), level("o...\n....\n####"), level("....\n..oo\n####")])
    index = structure.tileset.index
    for one in ".#o":
        for other in ".#o":
            assert structure.beside[:, index[one], index[other]].all() or "o" in one + other


def test_a_tile_seen_too_seldom_binds_nothing() -> None:
    structure = learn_structure([level("......\n..{}..\n..[]..\n######")])
    index = structure.tileset.index
    assert structure.beside[:, index["{"]].all()


def test_breaks_are_cells_of_the_level() -> None:
    structure = learn_structure(COURSES)
    rng = np.random.default_rng(0)
    noise = COURSES[0].with_tiles(rng.integers(0, len(LEGEND), (5, 7)))
    breaks = structure.breaks(noise)
    assert breaks == sorted(set(breaks))
    assert all(0 <= row < 5 and 0 <= column < 7 and type(row) is int for row, column in breaks)
    for size in ((1, 1), (1, 6), (6, 1)):
        structure.breaks(noise.with_tiles(np.zeros(size)))


ROOMS = [level("########\n#S.....#\n#..G...#\n#......#\n#......#\n#......#\n########"),
         level("########\n#......#\n#.SG...#\n#o.....#\n#......#\n#......#\n########"),
         level("#######\n#.....#\n#....G#\n#....S#\n#....##\n#######")]  # fmt: skip


def test_closed_borders_and_what_there_is_one_of() -> None:
    structure = learn_structure(ROOMS)
    index = structure.tileset.index
    assert structure.at_edge.tolist() == [[name == "#" for name in LEGEND]] * 4
    assert [name for name in LEGEND if structure.single[index[name]]] == ["S", "G"]
    for cell in ((0, 2), (6, 3), (3, 0), (4, 7)):
        assert structure.breaks(change(ROOMS[0], *cell, ".")) == [cell]
    assert not any(structure.breaks(room) for room in ROOMS)


def test_open_edges_and_few_maps_bind_nothing() -> None:
    index = COURSES[0].tileset.index
    plain = [index[name] for name in ".#o"]
    assert learn_structure(COURSES).at_edge[[0, 2, 3]][:, plain].all()
    assert learn_structure(ROOMS[:2]).at_edge.all()  # 16 cells at each edge are too few
    assert not learn_structure(ROOMS[:2]).single.any()  # two maps are too few to say that there is always one


def test_no_edge_cuts_a_pipe_unless_it_does_so_in_the_maps() -> None:
    left, right = EDGES.index("left"), EDGES.index("right")
    index = COURSES[0].tileset.index
    edges = learn_structure(COURSES).at_edge
    assert not edges[right, index["{"]]
    assert not edges[left, index["]"]]
    assert edges[right, index["}"]]
    cut = [*COURSES, COURSES[0].columns(4, 24)]
    assert learn_structure(cut).at_edge[left, index["]"]]


def test_rare_things_may_stand_beside_pipes_but_pipes_may_not_be_cut() -> None:
    """One coin beside a pipe in many maps is no slip; one pipe without its foot is."""
    maps = [course(2, 3, 4) for _ in range(12)]
    with_coin, cut = change(maps[0], 5, 5, "o"), change(maps[1], 5, 3, ".")
    structure = learn_structure([*maps, with_coin, cut])
    assert structure.breaks(with_coin) == []
    assert structure.breaks(cut)


def test_rules_in_words() -> None:
    said = learn_structure(COURSES).rules()
    assert "{ has } on its right" in said
    assert "} has { on its left" in said
    assert "the top edge is of #" in learn_structure(ROOMS).rules()


@pytest.mark.parametrize("seed", [1, 3, 11])
def test_levels_of_our_own_platformers_never_break_what_is_learnt_from_them(seed: int) -> None:
    levels = make_levels("platformer", 30, seed)
    structure = learn_structure(levels)
    broken = [structure.breaks(one) for one in levels]
    assert not any(broken), broken


def test_a_cut_pipe_of_our_own_platformers_is_found() -> None:
    levels = make_levels("platformer", 8, 1, width=60)
    structure = learn_structure(levels)
    index = levels[0].tileset.index
    found = 0
    for one in levels:
        for row, column in zip(*np.nonzero(one.tiles == index["}"]), strict=True):
            found += 1
            assert structure.breaks(change(one, row, column, "."))
            assert structure.breaks(change(one, row, column - 1, "."))
    assert found >= 3


def test_habits_say_how_a_tile_is_used() -> None:
    habits = tile_habits(COURSES)
    index = COURSES[0].tileset.index
    assert habits.shape == (len(LEGEND), 12)
    assert habits.min() >= 0
    assert habits.max() <= 1
    up, down, left, right = habits[index["}"]].reshape(4, 3)
    assert up[2] > 0.9  # the sky above
    assert down[1] == 1.0  # something solid below: the pipe or the ground
    assert left.tolist() == [0, 1, 0]  # always the left half
    assert right[2] == 1.0
    assert not habits[index["o"]].any()  # does not occur
    assert habits[index["#"]].reshape(4, 3)[2, 0] == 1.0  # ground beside ground
