"""Requests are read with all their mistakes told at once, and what a model is told agrees with what is measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError
from newgameplus.games.conditions import (
    FEATURES,
    Request,
    column_counts,
    control_error,
    parse_requests,
    requests_from_words,
    standard_measures,
    wish_features,
)
from newgameplus.games.measures import MEASURES, measure
from newgameplus.games.scenes import Level

LEGEND = {".": ("empty",), "#": ("solid",), "e": ("enemy",), "o": ("collectable",), "~": ("liquid",)}
LEVEL = Level.from_text("..e.o\n##.~#", LEGEND)
KNOWN = ("enemies", "gaps", "density", "coins", "tile:o")
COUNTS = {"enemies": [0, 2, 4, 6, 8, 10], "density": [0.1, 0.2, 0.3, 0.4], "pipe_tiles": [0.0, 0.0, float("nan"), 8.0]}


def read(**wanted: str | float) -> list[Request]:
    return parse_requests(wanted, LEVEL, KNOWN)


def test_values_and_ranges() -> None:
    assert read(enemies="5", gaps="2..4", density=0.25) == [
        Request("enemies", 5, 5), Request("gaps", 2, 4), Request("density", 0.25, 0.25),
    ]  # fmt: skip
    assert parse_requests({"tile:o": "1..2"}, LEVEL, KNOWN) == [Request("tile:o", 1, 2)]
    assert parse_requests({}, LEVEL, KNOWN) == []


def test_what_people_call_a_measure() -> None:
    assert read(monsters="3", coin="1..2") == [Request("enemies", 3, 3), Request("coins", 1, 2)]


def test_all_mistakes_are_told_at_once() -> None:
    wanted = {
        "enemys": "5", "gaps": "many", "coins": "2.2..2.8", "density": "nan", "enemies": "4..2", "tile:o": "-1",
        "keys": "1",
    }  # fmt: skip
    with pytest.raises(DataError) as caught:
        parse_requests(wanted, LEVEL, KNOWN)
    said = str(caught.value)
    assert len(caught.value.problems) == len(wanted)
    assert all(f"--set {name}={text}" in said for name, text in wanted.items())
    assert "enemies" in said.partition("'enemys'")[2].partition("this model knows")[0]  # did you mean
    assert "whole number" in said


@pytest.mark.parametrize("text", ["", "..", "5..", "..5", "1...2", "1,2", "inf", "1e999", "-1", "5..x", "0x5", "--"])
def test_what_is_no_number_or_range(text: str) -> None:
    with pytest.raises(DataError, match="no number or range"):
        read(gaps=text)


def test_a_range_of_a_whole_number_needs_to_hold_one() -> None:
    assert read(gaps="2.5..3.5") == [Request("gaps", 2.5, 3.5)]
    assert read(gaps="2..2.5") == [Request("gaps", 2, 2.5)]
    assert read(density="0.21..0.22") == [Request("density", 0.21, 0.22)]
    for text in ("2.5", "2.1..2.9"):
        with pytest.raises(DataError, match="gaps is a whole number"):
            read(gaps=text)


def test_the_same_measure_by_two_names_is_asked_for_twice() -> None:
    with pytest.raises(DataError, match="twice"):
        read(enemies="3", monsters="4")


def test_a_request_says_how_far_a_value_is_off() -> None:
    request = Request("gaps", 2, 4)
    assert [request.miss(value) for value in (0, 2, 3, 4, 6.5)] == pytest.approx([2, 0, 0, 0, 2.5])
    assert request.miss(math.nan) == math.inf
    assert Request("density", 0.1, 0.1).miss(0.1 + 1e-12) == 0.0
    assert (request.target, request.exact, Request("gaps", 2, 2).exact) == (3, False, True)
    assert [str(request), str(Request("density", 0.5, 0.5))] == ["gaps=2..4", "density=0.5"]
    error = control_error([request, Request("coins", 1, 1)], {"gaps": 5.0})
    assert error["gaps"] == pytest.approx(1.0)
    assert error["coins"] == math.inf


def words(text: str) -> list[Request]:
    return requests_from_words(text, LEVEL, COUNTS)


def test_words_are_quantiles_of_the_training_levels() -> None:
    many, few, some, most = (words(f"{amount} enemies")[0] for amount in ("many", "few", "some", "most"))
    assert (few.low, few.high) == (0, 2)  # quantiles 0 and 0.2
    assert (some.low, some.high) == (4, 6)
    assert (many.low, many.high) == (8, 10)
    assert (most.low, most.high) == (9, 10)
    assert words("No enemies")[0] == words("without enemies")[0] == Request("enemies", 0, 0)
    dense = words("high density")[0]
    assert 0.3 < dense.low < dense.high == pytest.approx(0.4)


def test_several_phrases_and_other_words() -> None:
    found = words("Many monsters, few pipes and a low density")
    assert [request.measure for request in found] == ["enemies", "pipe_tiles", "density"]
    assert words("") == words(" , and ; ") == []
    told = requests_from_words("long way; hard", LEVEL, {"path_length": [9], "difficulty": [2]})
    assert [request.measure for request in told] == ["path_length", "difficulty"]


def test_values_that_are_not_known_do_not_count() -> None:
    assert words("many pipes")[0].high == 8
    assert requests_from_words("many coins", LEVEL, {"coins": [math.nan]})[0] == Request("coins", 0, 0)


def test_all_phrases_that_say_nothing_are_told_at_once() -> None:
    with pytest.raises(DataError) as caught:
        words("enemies, many dragons, purple")
    said = [problem.message for problem in caught.value.problems]
    assert said[0] == "'enemies' names no amount"
    assert "'many dragons' names nothing" in said[1]
    assert len(said) == 3
    assert "density" in str(caught.value)


TILES = st.integers(1, 6).flatmap(
    lambda width: st.lists(
        st.lists(st.integers(0, len(LEGEND) - 1), min_size=width, max_size=width), min_size=1, max_size=5
    )
)


@settings(max_examples=40, deadline=None)
@given(TILES)
def test_counts_of_columns_add_up_to_the_measure(tiles: list[list[int]]) -> None:
    level = LEVEL.with_tiles(np.array(tiles))
    names = (*standard_measures(), "tile:o")
    counts, whole = column_counts(level, names), measure(level, names)
    assert counts.shape == (len(names), level.width + 1)
    sums = [name for number, name in enumerate(names) if not np.isnan(counts[number]).any()]
    assert set(sums) == {name for name in names if name == "tile:o" or MEASURES[name].meanings} | {"gaps"}
    for number, name in enumerate(names):
        if name in sums:
            assert counts[number, 0] == 0
            assert counts[number, -1] == whole[name], name
            for column in range(1, level.width + 1):  # and so for every beginning of the level
                assert counts[number, column] == measure(level.columns(0, column), [name])[name], name
        else:
            assert np.isnan(counts[number]).all()


@settings(max_examples=20, deadline=None)
@given(TILES)
def test_counts_by_rows_add_up_too(tiles: list[list[int]]) -> None:
    level = LEVEL.with_tiles(np.array(tiles))
    counts = column_counts(level, ("enemies", "tile:o", "gaps"), by_rows=True)
    assert counts.shape == (3, level.height + 1)
    assert counts[:2, -1].tolist() == list(measure(level, ("enemies", "tile:o")).values())
    assert np.isnan(counts[2]).all()


@settings(max_examples=30, deadline=None)
@given(TILES, st.booleans())
def test_told_step_by_step_as_when_told_at_once(tiles: list[list[int]], by_rows: bool) -> None:
    """While a level is made only its first columns are known; a model is told the same as when it learnt."""
    level = LEVEL.with_tiles(np.array(tiles))
    names = ("enemies", "gaps", "density", "length", "tile:o")
    asked = {"enemies": 3.0, "gaps": 1.0, "density": 0.5, "tile:o": 2.0}
    whole = wish_features(names, asked, column_counts(level, names, by_rows=by_rows))
    total = level.height if by_rows else level.width
    for line in range(total):
        so_far = level.with_tiles(level.tiles[:line] if by_rows else level.tiles[:, :line])
        counts = column_counts(so_far, names, by_rows=by_rows)
        padded = np.concatenate([counts, counts[:, -1:]], axis=1)
        made = wish_features(names, asked, padded, left=np.arange(total, total - line - 1, -1))
        assert np.array_equal(made, whole[: line + 1])


def test_the_numbers_that_a_model_is_told() -> None:
    counts = np.array([[0, 0, 2, 3], [np.nan] * 4, [0, 1, 2, 3]])
    told = wish_features(("enemies", "density", "coins"), {"enemies": 2.0, "density": 0.75}, counts).reshape(3, 3, -1)
    assert told.shape == (3, 3, FEATURES)
    assert told.dtype == np.float32
    assert not told[:, 2].any()  # not asked for
    known, value, missing, needed, done = told[:, 0].T
    assert known.tolist() == [1, 1, 1]
    assert value == pytest.approx([math.log1p(2) / 4] * 3)
    assert missing == pytest.approx([math.log1p(2) / 4, math.log1p(2) / 4, 0])
    assert needed == pytest.approx([math.log1p(20 / 3) / 3, math.log1p(10) / 3, 0])
    assert done.tolist() == [0, 0, 1]
    assert told[:, 1].tolist() == [[1, 0.5, 0, 0, 0]] * 3  # of a share it is not told how much is missing
    assert not wish_features(("enemies",), {"enemies": math.nan}, counts[:1]).any()
