"""What consists of several tiles is whole, borders are closed, and counts that a game needs are right."""

from __future__ import annotations

import numpy as np
import pytest

from newgameplus.games.generators import make_levels, open_generator
from newgameplus.games.generators.canvas import STEPS, distances, farthest, noise, pick, regions, spread, trail
from newgameplus.games.generators.sokoban_pulls import pull_boxes
from newgameplus.games.rules import open_rules
from newgameplus.games.scenes import Level


def grids(kind: str, styles: int = 20, each: int = 2, style: dict | None = None) -> list[np.ndarray]:
    levels = [level for seed in range(styles) for level in make_levels(kind, each, 500 + seed, style=style)]
    return [characters(level) for level in levels]


def characters(level: Level) -> np.ndarray:
    return np.array([list(line) for line in level.to_text().split("\n")])


def beside(grid: np.ndarray, what: str, down: int, right: int) -> set[str]:
    """All that stands at an offset from all cells of one character; ``edge`` beyond the level."""
    wide = np.pad(grid.astype("<U4"), 1, constant_values="edge")
    rows, columns = np.nonzero(wide == what)
    return set(wide[rows + down, columns + right].tolist())


def test_pipes_are_two_columns_with_a_mouth_and_stand_on_the_ground() -> None:
    pipes = 0
    for grid in grids("platformer", 40):
        pipes += int((grid == "{").sum())
        assert beside(grid, "{", 0, 1) <= {"}"}
        assert beside(grid, "}", 0, -1) <= {"{"}
        assert beside(grid, "[", 0, 1) <= {"]"}
        assert beside(grid, "]", 0, -1) <= {"["}
        for mouth, body in (("{", "["), ("}", "]")):
            assert beside(grid, mouth, 1, 0) <= {body}
            assert beside(grid, body, -1, 0) <= {mouth, body}
            assert beside(grid, body, 1, 0) <= {body, "#"}
    assert pipes > 50


def test_cannons_flags_and_clouds_are_whole() -> None:
    for grid in grids("platformer", 40):
        assert beside(grid, "T", 1, 0) <= {"t", "#", "x"}
        assert beside(grid, "t", 1, 0) <= {"t", "#", "x"}
        assert beside(grid, "t", -1, 0) <= {"T", "t"}
        assert beside(grid, "|", 1, 0) <= {"|", "G"}
        assert beside(grid, "P", 0, 1) <= {"|"}
        assert beside(grid, "(", 0, 1) <= {")"}
        assert beside(grid, ")", 0, -1) <= {"("}
        assert np.count_nonzero(grid == "S") <= 1
        assert np.count_nonzero(grid == "G") <= 1


def test_trees_in_the_air_have_their_trunk_down_to_the_bottom() -> None:
    trunks = 0
    for grid in grids("platformer", 8, 3, {"ideas": {"islands": 1.0}, "islands": "tree", "gap": 4}):
        trunks += int((grid == "I").sum())
        assert beside(grid, "I", 1, 0) <= {"I", "edge", "~"}
        assert beside(grid, "I", -1, 0) <= {"I", "u"}
    assert trunks


def test_ladders_start_on_a_floor_and_are_not_cut() -> None:
    for grid in grids("tower", 20, 2, {"joins": {"ladders": 1.0}}):
        for ladder in "HY":
            assert beside(grid, ladder, 1, 0) <= {ladder, "#", "=", "-"}


@pytest.mark.parametrize("kind", ["cave", "arena", "dungeon", "maze", "rogue", "garden"])
def test_nobody_can_walk_out_of_a_level_with_borders(kind: str) -> None:
    generator = open_generator(kind)
    closed = {tile for tile, means in generator.TILES.items() if {"solid", "void"} & set(means)}
    ways_out = {tile for tile, means in generator.TILES.items() if {"goal", "start"} & set(means)}
    for grid in grids(kind):
        edge = set(np.concatenate([grid[0], grid[-1], grid[:, 0], grid[:, -1]]).tolist())
        assert edge <= closed | ways_out


@pytest.mark.parametrize("kind", ["cave", "dungeon", "maze", "rogue", "island", "town", "garden", "arena", "tower"])
def test_there_is_one_start_and_a_goal(kind: str) -> None:
    generator = open_generator(kind)
    start = next(tile for tile, means in generator.TILES.items() if "start" in means)
    goal = next(tile for tile, means in generator.TILES.items() if "goal" in means)
    for grid in grids(kind, 10):
        assert np.count_nonzero(grid == start) == 1
        assert np.count_nonzero(grid == goal) >= 1


def test_houses_of_towns_are_whole_and_each_has_one_door() -> None:
    houses = 0
    for grid in grids("town"):
        houses += int((grid == "[").sum())
        assert beside(grid, "[", -1, 0) <= {"/"}
        assert beside(grid, "]", -1, 0) <= {"\\"}
        assert beside(grid, "/", 1, 0) <= {"/", "["}
        assert beside(grid, "/", 0, 1) <= {"^"}
        assert beside(grid, "Y", 1, 0) <= {"I"}
        assert beside(grid, "I", -1, 0) <= {"Y"}
        for row, column in np.argwhere(grid == "["):
            line = "".join(grid[row, column:])
            house = line[: line.index("]") + 1]
            assert house.count("n") == 1
            assert set(house) <= set("[on]")
    assert houses > 50


def test_fountains_of_gardens_have_four_tiles() -> None:
    for grid in grids("garden", 20, 1, {"center": "fountain"}):
        assert beside(grid, "(", 0, 1) <= {")"}
        assert beside(grid, "(", 1, 0) <= {"{"}
        assert beside(grid, ")", 1, 0) <= {"}"}
        assert beside(grid, "{", 0, 1) <= {"}"}


def test_sokoban_has_as_many_boxes_as_goals_one_player_and_closed_walls() -> None:
    for grid in grids("sokoban", 40):
        boxes, goals = np.isin(grid, ("c", "C")), np.isin(grid, ("o", "C", "I"))
        assert boxes.sum() == goals.sum() >= 1
        assert np.isin(grid, ("i", "I")).sum() == 1
        assert not (boxes & goals).all() or not boxes.any()
        floor = np.pad(~np.isin(grid, ("W", "-")), 1)
        player = tuple(np.argwhere(np.pad(np.isin(grid, ("i", "I")), 1))[0])
        labels, _ = regions(floor)
        inside = labels == labels[player]
        outside = np.pad(np.isin(grid, ("-",)), 1, constant_values=True)
        for down, right in STEPS:
            assert not (inside & np.roll(outside, (down, right), (0, 1))).any()


def test_pulls_turned_round_solve_the_puzzle() -> None:
    floor = np.zeros((8, 9), np.bool_)
    floor[1:-1, 1:-1] = True
    floor[3, 4] = False
    goals, rules = [(2, 2), (2, 3), (5, 6)], open_rules("sokoban")
    meanings = {"#": ["solid"], " ": ["empty"], "$": ["box"], ".": ["goal"], "*": ["box", "goal"], "@": ["start"]}
    for seed in range(20):
        pulled = pull_boxes(np.random.default_rng(seed), floor, goals, 60)
        assert pulled is not None
        grid = np.where(floor, " ", "#")
        for cell in goals:
            grid[cell] = "."
        for cell in pulled.boxes:
            grid[cell] = "*" if grid[cell] == "." else "$"
        if grid[pulled.player] != " ":
            continue
        grid[pulled.player] = "@"
        level = Level.from_text("\n".join("".join(row) for row in grid), meanings)
        assert sum(move.isupper() for move in pulled.moves) == pulled.pushes
        answer = rules.solve(level)
        assert answer.playable
        assert answer.measures["pushes"] <= pulled.pushes


def test_a_perfect_maze_has_one_way_between_any_two_places() -> None:
    plain = {"braid": 0.0, "rooms": 0, "passage": 1, "one_ways": 0.0, "locks": 0}
    for grid in grids("maze", 12, 1, plain):
        free = ~np.isin(grid, ("#", "H", "."))
        steps = (free[1:] & free[:-1]).sum() + (free[:, 1:] & free[:, :-1]).sum()
        assert steps == free.sum() - 1


def test_a_braided_maze_has_no_dead_ends() -> None:
    for grid in grids("maze", 12, 1, {"braid": 1.0, "outline": "whole", "passage": 1}):
        free = np.pad(~np.isin(grid, ("#", "H", ".")), 1)
        ways = sum(np.roll(free, step, (0, 1)) for step in STEPS)
        assert not (free & (ways < 2)).any()


def test_dungeons_have_a_key_for_every_lock() -> None:
    locked = 0
    for grid in grids("dungeon", 30, 2, {"locks": [1, 3], "door": 1}):
        for door, key in ("Dk", "Rr", "Bb"):
            assert np.count_nonzero(grid == door) == np.count_nonzero(grid == key)
            locked += np.count_nonzero(grid == door)
    assert locked > 40


def test_bridges_of_islands_continue_a_road() -> None:
    bridges = 0
    for grid in grids("island", 30, 2, {"rivers": 3, "roads": True}):
        wide = np.pad(grid, 1, constant_values="~")
        for row, column in np.argwhere(wide == "="):
            bridges += 1
            around = [wide[row + down, column + right] for down, right in STEPS]
            assert sum(one in ("+", "=", "S", "G") for one in around) >= 2
    assert bridges


def test_floods_and_trails_agree_with_counting_steps() -> None:
    free = np.array([[c == "." for c in line] for line in ("..#.", ".##.", "....")])
    steps = distances(free, (0, 1))
    assert steps.tolist() == [[1, 0, -1, 8], [2, -1, -1, 7], [3, 4, 5, 6]]
    assert farthest(free, (0, 1)) == (0, 3)
    way = trail(free, (0, 1), (0, 3))
    assert len(way) == 9
    assert way[0] == (0, 1)
    assert way[-1] == (0, 3)
    assert trail(free & (np.arange(4) < 2), (0, 1), (0, 3)) == []


def test_noise_and_choices_stay_in_their_ranges() -> None:
    rng = np.random.default_rng(0)
    field = noise(rng, 20, 30, 5.0)
    assert field.shape == (20, 30)
    assert field.min() == 0.0
    assert field.max() == 1.0
    assert np.abs(np.diff(field, axis=1)).mean() < 0.2
    assert {pick(rng, "ab", (1, 0)) for _ in range(20)} == {"a"}
    cells = spread(rng, np.ones((10, 10), np.bool_), 5, 4)
    assert all(max(abs(a[0] - b[0]), abs(a[1] - b[1])) >= 4 for a in cells for b in cells if a != b)
