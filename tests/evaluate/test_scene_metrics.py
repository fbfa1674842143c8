"""Distances, nearest levels, diversity, control errors: against plain counting, and what must hold for any levels."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError
from newgameplus.evaluate.scene_diversity import largest_independent_set
from newgameplus.evaluate.scene_metrics import (
    NearestLevels,
    control_error,
    diversity,
    edit_distance,
    far_apart,
    flawed_share,
    mean_distance,
    nearest,
)
from newgameplus.evaluate.scene_tiles import Vocabulary, share_tileset
from newgameplus.games.rules.contract import Answer, Budget, Flaw, Proof, Rules
from newgameplus.games.scenes import Level, Tile, Tileset

BUDGET = Budget()
TILES = Tileset(tuple(map(Tile, "-X?")))


def level(text: str, characters: str = "-X?", name: str = "") -> Level:
    return Level.from_text(text, {character: [] for character in characters}, name)


@st.composite
def levels(draw: st.DrawFn) -> Level:
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    tiles = draw(st.lists(st.integers(0, 2), min_size=height * width, max_size=height * width))
    return Level(np.array(tiles, np.int32).reshape(height, width), TILES)


def plain_distance(one: str, other: str) -> int:
    """The textbook table."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


@settings(max_examples=60, deadline=None)
@given(levels(), levels(), levels())
def test_edit_distance_is_a_distance(a: Level, b: Level, c: Level) -> None:
    assert edit_distance(a, b) == edit_distance(b, a) == plain_distance(a.to_text(), b.to_text())
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert (edit_distance(a, b) == 0) == (a.tiles.shape == b.tiles.shape and bool((a.tiles == b.tiles).all()))


def test_tiles_are_the_same_by_name_not_by_number() -> None:
    assert edit_distance(level("-X\nXX"), level("-X\nXX", "?X-")) == 0
    assert edit_distance(level("-X"), level("-?", "?-")) == 1


def test_rows_of_other_lengths_are_told_apart_by_the_separator() -> None:
    assert edit_distance(level("XXXX"), level("XX\nXX")) == 1


def test_text_stays_one_character_a_tile_for_very_large_tilesets() -> None:
    many = Tileset(tuple(Tile(f"sheet#{i}") for i in range(60_000)))
    grid = np.array([[0, 55_294, 55_295], [55_296, 57_343, 59_999]], np.int32)
    text = Vocabulary().text(Level(grid, many))
    assert len(text) == 7
    assert len(set(text)) == 7
    assert not any(0xD800 <= ord(character) < 0xE000 for character in text)


@settings(max_examples=40, deadline=None)
@given(levels(), st.lists(levels(), min_size=1, max_size=6))
def test_nearest_agrees_with_looking_at_every_training_level(one: Level, training: list[Level]) -> None:
    distances = [edit_distance(one, other) for other in training]
    found = nearest(one, training)
    assert found.distance == min(distances)
    assert found.index == distances.index(min(distances))
    longest = max(len(one.to_text()), len(training[found.index].to_text()))
    assert found.share == pytest.approx(found.distance / longest)


def test_nearest_names_the_training_level_and_knows_tiles_it_never_saw() -> None:
    index = NearestLevels([level("XXXX", name="a"), level("X--X", name="b")])
    assert index.find(level("X--X")).name == "b"
    assert index.find(level("X-oX", "oX-")).distance == 1
    assert index.find(level("oooo", "o")).share == 1.0


def test_nearest_needs_a_training_level() -> None:
    with pytest.raises(DataError, match="no training level"):
        nearest(level("X"), [])


def test_diversity_counts_levels_that_lie_apart() -> None:
    base = ["X" * 12, "-" * 12, "?" * 12]
    near = ["X" * 11 + "-", "-" * 10 + "XX"]
    found = diversity([level(text) for text in base + near])
    assert (found.size, found.share, found.exact) == (3, 0.6, True)
    assert diversity([level(base[0])] * 10).share == 0.1
    assert np.isnan(diversity([]).share)


def brute_force(edges: list[int]) -> int:
    nodes = range(len(edges))
    for size in range(len(edges), 0, -1):
        for chosen in combinations(nodes, size):
            mask = sum(1 << node for node in chosen)
            if not any(edges[node] & mask for node in chosen):
                return size
    return 0


@st.composite
def graphs(draw: st.DrawFn) -> list[int]:
    nodes = draw(st.integers(0, 9))
    edges = [0] * nodes
    for one, other in combinations(range(nodes), 2):
        if draw(st.booleans()):
            edges[one] |= 1 << other
            edges[other] |= 1 << one
    return edges


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_largest_set_agrees_with_brute_force(edges: list[int]) -> None:
    assert largest_independent_set(edges) == (brute_force(edges), True)


def test_largest_set_says_when_it_is_only_a_lower_bound() -> None:
    rng = np.random.default_rng(0)
    edges = [0] * 60
    for one, other in combinations(range(60), 2):
        if rng.random() < 0.3:
            edges[one] |= 1 << other
            edges[other] |= 1 << one
    bound, exact = largest_independent_set(edges, budget=2)
    best, sure = largest_independent_set(edges)
    assert (exact, sure) == (False, True)
    assert 0 < bound <= best


def test_mean_distance_is_over_pairs() -> None:
    assert mean_distance([level("XXXX"), level("XXX-"), level("XX--")]) == pytest.approx((1 + 2 + 1) / 3)
    assert np.isnan(mean_distance([level("X")]))
    many = [level("".join("X-"[bit == "1"] for bit in f"{i:08b}")) for i in range(120)]
    assert mean_distance(many, seed=3) == mean_distance(many, seed=3)


class Picky(Rules):
    """A level with a ``?`` is broken."""

    name = "picky"

    def solve(self, level: Level, budget: Budget = BUDGET) -> Answer:
        return Answer("undecided")

    def replay(self, level: Level, proof: Proof) -> str:
        return ""

    def flaws(self, level: Level) -> list[Flaw]:
        return [Flaw("question", (0, 0), "a question") for row in level.to_text() if "?" in row]


def test_flawed_share_counts_levels_not_flaws() -> None:
    assert flawed_share([level("??"), level("X-"), level("--"), level("?X")], Picky()) == 0.5
    assert np.isnan(flawed_share([], Picky()))


def test_control_error_is_the_distance_outside_the_range() -> None:
    found = control_error({"enemies": (5, 5), "gaps": (2, 4), "coins": (0, 3)}, {"enemies": 7, "gaps": 3, "coins": 3})
    assert found == {"exact": False, "errors": {"enemies": 2.0, "gaps": 0.0, "coins": 0.0}, "mean_error": 2 / 3}
    assert control_error({"gaps": (2, 4)}, {"gaps": 1})["errors"] == {"gaps": 1.0}
    assert control_error({"gaps": (2, 4)}, {"gaps": 2})["exact"]


def test_control_error_does_not_know_what_was_not_measured() -> None:
    found = control_error({"jumps": (1, 2)}, {"jumps": float("nan")})
    assert found == {"exact": False, "errors": {"jumps": None}, "mean_error": None}
    assert not control_error({"jumps": (1, 2)}, {})["exact"]


@pytest.mark.parametrize("low_high", [(4.0, 2.0), (float("nan"), 2.0)])
def test_control_error_refuses_what_is_no_range(low_high: tuple[float, float]) -> None:
    with pytest.raises(DataError, match=r"is not a range"):
        control_error({"gaps": low_high}, {"gaps": 3})


def test_shared_tilesets_keep_every_tile_once() -> None:
    tileset, grids = share_tileset([level("-X"), level("?-", "?-")])
    assert tileset.names == ("-", "X", "?")
    assert [grid.tolist() for grid in grids] == [[[0, 1]], [[2, 0]]]
    with pytest.raises(DataError, match="hold no tile"):
        share_tileset([])


@settings(max_examples=40, deadline=None)
@given(st.lists(levels(), max_size=8), st.integers(1, 6))
def test_levels_far_apart_are_all_that_can_be_kept_in_their_order(some: list[Level], distance: int) -> None:
    kept = far_apart(some, distance)
    assert kept == sorted(kept)
    for number, level in enumerate(some):
        before = [edit_distance(level, some[other]) for other in kept if other < number]
        assert (number in kept) == all(apart >= distance for apart in before)
