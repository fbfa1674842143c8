"""Measures count what they say, and tell when they do not know."""

from __future__ import annotations

import math

import numpy as np
import pytest

from newgameplus.errors import DataError
from newgameplus.games.measures import MEASURES, find_measure, ground_heights, measure, measures_of, standing
from newgameplus.games.rules.contract import Answer, Proof
from newgameplus.games.scenes import Level

LEGEND = {
    ".": ("empty",), "#": ("solid",), "-": ("one-way",), "e": ("enemy",), "^": ("hazard",), "o": ("collectable",),
    "~": ("liquid", "hazard"), "[": ("solid", "pipe"), "k": ("key:red",), "$": ("box",), "G": ("goal",),
    "S": ("start",),
}  # fmt: skip


def level(text: str) -> Level:
    return Level.from_text(text, LEGEND)


def one(text: str, name: str, answer: Answer | None = None) -> float:
    return measure(level(text), [name], answer)[name]


PLAIN = """
.o..o...k.
S..e.-..eG
##..[[#.##
##..[[#~##
"""


def test_kinds_of_tiles_are_counted() -> None:
    counted = {"enemies": 2, "coins": 2, "keys": 1, "goals": 1, "pipe_tiles": 4, "one_ways": 1, "liquids": 1}
    counted |= {"hazards": 1, "solids": 14, "boxes": 0, "doors": 0, "tile:o": 2, "tile:[": 4, "length": 10}
    assert measure(level(PLAIN), counted) == counted


@pytest.mark.parametrize(
    ("text", "gaps"),
    [("....\n####", 0), ("....\n#..#", 1), ("....\n.##.", 2), ("....\n....", 1), ("#", 0), (".", 1), ("..\n#.\n..", 1),
     ("...\n#~#", 0), ("...\n#-#", 0), ("#.#.#.#", 3), ("##\n..\n..", 1)],
)  # fmt: skip
def test_gaps_are_runs_of_columns_without_ground_in_the_two_lowest_rows(text: str, gaps: int) -> None:
    assert one(text, "gaps") == gaps


def test_ground_is_where_one_can_stand() -> None:
    text = "..-.\n#...\n#.#.\n####"
    assert standing(level(text)).astype(int).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1]]
    assert ground_heights(level(text)).tolist() == [3, 1, 4, 1]
    heights = ground_heights(level("..\n#."))
    assert heights[0] == 1
    assert math.isnan(heights[1])


def test_shares_are_shares() -> None:
    assert one("....\n##..", "density") == 0.25
    assert one("....\n####", "linearity") == pytest.approx(1.0)
    assert one("...#\n..##\n.###\n####", "linearity") == pytest.approx(1.0)  # a straight slope
    assert one("#.#.#.\n######", "linearity") < 0.75
    assert math.isnan(one("....\n##..", "linearity"))  # a line through two points fits always
    assert one("." * 10 + "\n" + "#" * 10, "leniency") == 1.0
    assert one(".e.e......\n##########", "leniency") == 0.0
    assert one(".e" + "." * 38 + "\n" + "#" * 40, "leniency") == pytest.approx(1 - 0.5 / 4)


def test_what_the_solver_says_is_told_and_unknown_without_it() -> None:
    answer = Answer("playable", Proof(((0, 0), (0, 1), (0, 2))), measures={"path_length": 3.0, "jumps": 1.0})
    assert one("S.G", "path_length", answer) == 3.0
    assert one("S.G", "jumps", answer) == 1.0
    for name in ("path_length", "jumps", "pushes", "difficulty"):
        assert math.isnan(one("S.G", name))
    assert math.isnan(one("S.G", "pushes", answer))
    assert math.isnan(one("S.G", "difficulty", Answer("unplayable")))


def test_difficulty_grows_with_the_way_the_work_and_the_dangers() -> None:
    straight = Answer("playable", Proof(((0, 0), (0, 1), (0, 2))), measures={})
    jumping = Answer("playable", straight.proof, measures={"jumps": 2.0})
    around = Answer("playable", Proof(((0, 0), (1, 0), (1, 1), (1, 2), (0, 2))), measures={})
    plain, dangerous = "S.G\n...", "S.G\n.^."
    easy = one(plain, "difficulty", straight)
    assert easy == pytest.approx(1.5)
    assert one(plain, "difficulty", jumping) > easy
    assert one(plain, "difficulty", around) > easy
    assert one(dangerous, "difficulty", straight) > easy
    still = Answer("playable", Proof(((0, 0),)), measures={"pushes": 0.0})
    assert one("S", "difficulty", still) == 1.0


def test_unknown_measures_and_tiles_are_told_with_the_nearest() -> None:
    with pytest.raises(DataError, match="enemies"):
        find_measure("enemys", level("."))
    with pytest.raises(DataError, match="no tile is called 'x'"):
        find_measure("tile:x", level("."))


def test_only_measures_that_the_tiles_can_have() -> None:
    found = measures_of([level(".e"), level("#o")])
    assert {"enemies", "coins", "solids"} <= set(found)
    assert not {"keys", "boxes", "doors"} & set(found)
    assert {"gaps", "density", "length", "difficulty"} <= set(found)
    assert found == [name for name in MEASURES if name in found]


def test_every_measure_works_on_every_size() -> None:
    answer = Answer("playable", Proof(((0, 0),)), measures={})
    for text in (".", "#", ".\n#", "S.G", PLAIN):
        for found in measure(level(text), MEASURES, answer).values():
            assert isinstance(found, float)
    for name, found in MEASURES.items():
        assert found.name == name
        assert found.about


def test_additive_measures_add_up_over_columns() -> None:
    whole = level(PLAIN)
    for name, found in MEASURES.items():
        if found.additive and name != "gaps":  # a gap may lie on both sides of a cut
            parts = sum(measure(whole.columns(c, c + 1), [name])[name] for c in range(whole.width))
            assert parts == measure(whole, [name])[name], name


def test_numbers_are_whole_where_they_say_so() -> None:
    values = measure(level(PLAIN), MEASURES)
    assert all(np.isnan(value) or value.is_integer() for name, value in values.items() if MEASURES[name].whole)
