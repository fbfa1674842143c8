"""Regions and sides of a map, what its game implies, and which of several candidates fits what is given."""

from __future__ import annotations

import numpy as np
import pytest
from tests.scripted_tiles import empty_level, scripted_model

from newgameplus.errors import DataError
from newgameplus.games.conditions import Request
from newgameplus.games.rules.contract import Answer, Proof
from newgameplus.games.scenes import Level
from newgameplus.generate.delivery import Delivered
from newgameplus.generate.editing import best_seams, has_seam, open_region, open_side, seam
from newgameplus.generate.implied import implied_requests
from newgameplus.generate.sampler import Sampler

TILES = {".": ("empty",), "#": ("solid",), "e": ("enemy",)}


def test_a_region_opens_exactly_its_cells() -> None:
    level = empty_level(TILES, 4, 6)
    fixed = open_region(level, (1, 2, 3, 2))
    assert (fixed == -1).sum() == 6
    assert (fixed[2:4, 1:4] == -1).all()
    assert (level.tiles == 0).all()


@pytest.mark.parametrize(
    ("region", "nearest"),
    [
        ((4, 0, 3, 2), "4,0,2,2"),
        ((0, 3, 2, 2), "0,3,2,1"),
        ((9, 9, 1, 1), "5,3,1,1"),
        ((-1, 0, 2, 2), "0,0,2,2"),
        ((0, 0, 0, 2), "0,0,1,2"),
        ((0, 0, 99, 99), "0,0,6,4"),
    ],
)
def test_a_region_outside_of_the_map_is_refused_with_the_nearest(region: tuple[int, ...], nearest: str) -> None:
    with pytest.raises(DataError, match="not inside of the map") as caught:
        open_region(empty_level(TILES, 4, 6), region, "map.tmx")
    assert ",".join(map(str, region)) in caught.value.message
    assert caught.value.source == "map.tmx"
    assert nearest in caught.value.remedy


@pytest.mark.parametrize(("side", "kept"), [("left", (0, 2)), ("right", (0, 0)), ("up", (2, 0)), ("down", (0, 0))])
def test_a_map_grows_at_one_side(side: str, kept: tuple[int, int]) -> None:
    level = empty_level(TILES, 4, 6)
    fixed = open_side(level, side, 2)  # type: ignore[arg-type]
    assert fixed.shape == ((4, 8) if side in ("left", "right") else (6, 6))
    row, column = kept
    assert (fixed[row : row + 4, column : column + 6] == 0).all()
    assert (fixed == -1).sum() == fixed.size - 24


def test_sides_and_counts_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DataError, match="'rigth' is no side") as caught:
        open_side(empty_level(TILES), "rigth", 2)  # type: ignore[arg-type]
    assert "did you mean 'right'" in caught.value.remedy
    with pytest.raises(DataError, match="cannot grow by 0"):
        open_side(empty_level(TILES), "left", 0)


def sampler_that_likes_runs() -> Sampler:
    """A model to which a tile is likely to be what stood before it in the scan."""
    return Sampler(
        scripted_model(TILES, lambda column, row, before: [3.0 if tile == before else 0.0 for tile in range(3)]),
        empty_level(TILES),
    )


def candidate(rows: list[str]) -> Delivered:
    level = Level.from_text("\n".join(rows), TILES)
    return Delivered(level, Answer("playable", Proof(((0, 0),))), (), {}, ("", 0), 1, 0)


def test_the_candidate_is_taken_after_which_the_given_tiles_are_likeliest() -> None:
    sampler = sampler_that_likes_runs()
    fixed = np.array([[0, -1, 1, 1, 0]], np.int32)
    made = [candidate([f".{tile}##."]) for tile in ".#e#"]
    best = best_seams(sampler, made, fixed, 4)
    assert best[0].level.to_text() == ".###."
    assert len(best) == 3  # twins are one
    assert len(best_seams(sampler, made, fixed, 2)) == 2
    scores = [seam(sampler, one, fixed) for one in made]
    assert scores[1] == scores[3] > scores[0] == scores[2]


def test_given_tiles_of_the_same_line_count_too() -> None:
    fixed = np.array([[1, 1, 1], [1, -1, 1], [1, 1, 1]], np.int32)
    made = [candidate(["###", f"#{tile}#", "###"]) for tile in ".#"]
    assert best_seams(sampler_that_likes_runs(), made, fixed, 1)[0].level.to_text() == "###\n###\n###"


def test_only_what_is_given_behind_makes_a_seam() -> None:
    sampler = sampler_that_likes_runs()
    assert not has_seam(sampler, np.array([[0, 1, -1, -1]], np.int32))
    assert has_seam(sampler, np.array([[-1, -1, 0, 1]], np.int32))
    assert has_seam(sampler, np.array([[1], [-1], [0]], np.int32))  # columns are made upwards
    assert not has_seam(sampler, np.zeros((2, 2), np.int32))


def boxes(*texts: str) -> list[Level]:
    meanings = {" ": ("empty",), "$": ("box",), ".": ("goal",)}
    return [Level.from_text(text, meanings) for text in texts]


MEASURES = ("boxes", "goals", "solids")


def test_as_many_boxes_as_goals_are_implied_where_every_map_has_them() -> None:
    rng = np.random.default_rng(0)
    maps = boxes("$. ", "$.$.")
    found = {request.measure: request for request in implied_requests(maps, MEASURES, [], rng)}
    assert set(found) == {"boxes", "goals"}
    assert found["boxes"].low == found["boxes"].high == found["goals"].low in (1.0, 2.0)
    asked = implied_requests(maps, MEASURES, [Request("boxes", 7, 7), Request("solids", 1, 2)], rng)
    assert {str(request) for request in asked} == {"boxes=7", "goals=7", "solids=1..2"}
    ranged = implied_requests(maps, MEASURES, [Request("goals", 2, 5)], rng)
    assert {str(request) for request in ranged} == {"boxes=2", "goals=2"}
    none_fits = implied_requests(maps, MEASURES, [Request("goals", 5, 9)], rng)
    assert {str(request) for request in none_fits} == {"boxes=5", "goals=5"}


def test_nothing_is_implied_where_maps_differ_or_boxes_are_not_measured() -> None:
    rng = np.random.default_rng(0)
    assert implied_requests(boxes("$. ", "$. ."), MEASURES, [], rng) == []
    wish = [Request("solids", 1, 1)]
    assert implied_requests(boxes("$. "), ("solids",), wish, rng) == wish
