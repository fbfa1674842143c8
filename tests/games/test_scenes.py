"""Tiles say what they mean, tilesets name each once, levels come from text and go back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError
from newgameplus.games.scenes import MEANINGS, NOTHING, Level, Scene, SceneObject, Tile, Tileset, check_meanings

LEGEND = {".": ("empty",), "#": ("solid",), "k": ("key:red",), "D": ("door:red", "solid"), "?": ()}


def tileset() -> Tileset:
    return Tileset(tuple(Tile(name, frozenset(meanings)) for name, meanings in LEGEND.items()))


def test_a_tile_of_a_kind_means_the_meaning() -> None:
    tile = Tile("k", frozenset({"key:red"}))
    assert tile.means("key")
    assert tile.means("key:red")
    assert tile.means("solid", "key")
    assert not tile.means("key:blue")
    assert not tile.means("ke")
    assert not tile.means()
    assert not Tile("one", frozenset({"one-way-up"})).means("one-way")


def test_flags_end_with_nothing() -> None:
    assert tileset().flags("solid").tolist() == [False, True, False, True, False, False]
    assert tileset().flags("solid", "key").tolist() == [False, True, True, True, False, False]
    assert not tileset().flags(*MEANINGS)[NOTHING]
    assert tileset().flags().tolist() == [False] * 6


def test_names_and_numbers_of_tiles() -> None:
    tiles = tileset()
    assert len(tiles) == 5
    assert tiles.names == tuple(LEGEND)
    assert [tiles.index[name] for name in tiles.names] == list(range(5))


def test_tiles_that_share_a_name_are_refused() -> None:
    with pytest.raises(DataError, match="share a name: a, b"):
        Tileset(tuple(Tile(name) for name in "abcab"))


def test_meanings_can_be_corrected_by_name() -> None:
    corrected = tileset().with_meanings({"?": ["hazard"], "#": ["solid", "breakable"]})
    assert corrected.names == tileset().names
    assert [sorted(tile.meanings) for tile in corrected.tiles] == [
        ["empty"],
        ["breakable", "solid"],
        ["key:red"],
        ["door:red", "solid"],
        ["hazard"],
    ]
    assert tileset().with_meanings({}) == tileset()
    assert tileset().with_meanings({"#": []}).tiles[1].meanings == frozenset()


def test_all_wrong_meanings_are_told_at_once_with_the_nearest() -> None:
    wrong = {"#": ["sollid"], "K": ["key"], "k": ["key:", "goal:red", "door:blue"], "?": [""]}
    with pytest.raises(DataError) as caught:
        tileset().with_meanings(wrong)
    said = str(caught.value)
    assert len(caught.value.problems) == 5
    assert "'sollid' is no meaning" in said
    assert "solid" in said.partition("'sollid'")[2]
    assert "no tile is called 'K'" in said
    assert "'key:' is no meaning" in said
    assert "'goal:red' is no meaning" in said
    assert "door:blue" not in said


def test_meanings_can_be_checked_without_tiles() -> None:
    check_meanings({"anything": tuple(meaning for meaning in MEANINGS)})
    with pytest.raises(DataError, match=r"data\.tiles"):
        check_meanings({"x": ["magic"]}, source="data.tiles")


def test_every_meaning_is_explained() -> None:
    assert all(text and name == name.lower() and ":" not in name for name, text in MEANINGS.items())


def test_a_scene_knows_its_size() -> None:
    scene = Scene("one", np.full((2, 3, 4), NOTHING, np.int32), ("back", "front"), tileset(), source=Path("a.tmx"))
    assert (scene.height, scene.width) == (3, 4)
    thing = SceneObject("coin", 1.5, 2.0)
    assert (thing.height, thing.width, dict(thing.properties)) == (0.0, 0.0, {})


def test_where_tiles_with_a_meaning_are() -> None:
    level = Level.from_text("#.k\nD?#", LEGEND, "one")
    assert (level.height, level.width, level.name) == (2, 3, "one")
    assert level.where("solid").tolist() == [[True, False, False], [True, False, True]]
    assert level.cells("solid") == [(0, 0), (1, 0), (1, 2)]
    assert level.cells("key", "door") == [(0, 2), (1, 0)]
    assert level.cells("goal") == []
    assert all(type(value) is int for cell in level.cells("solid") for value in cell)


def test_columns_and_other_tiles_make_other_levels() -> None:
    level = Level.from_text("#.k\nD?#", LEGEND, "one")
    assert level.columns(1, 3).to_text() == ".k\n?#"
    other = level.with_tiles(np.zeros((1, 2), np.int64))
    assert other.tiles.dtype == np.int32
    assert (other.name, level.with_tiles(other.tiles, "two").name) == ("one", "two")
    assert other.tileset is level.tileset
    assert level.to_text() == "#.k\nD?#"


LINES = st.integers(1, 6).flatmap(
    lambda width: st.lists(st.text("".join(LEGEND), min_size=width, max_size=width), min_size=1, max_size=6)
)


@settings(max_examples=30, deadline=None)
@given(LINES)
def test_text_comes_back(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert Level.from_text(text, LEGEND).to_text() == text
    assert Level.from_text(f"\n{text}\n", LEGEND).to_text() == text


def test_spaces_are_tiles_like_others() -> None:
    level = Level.from_text("  #\n#  ", {" ": ("empty",), "#": ("solid",)})
    assert level.where("solid").tolist() == [[False, False, True], [True, False, False]]


def test_bad_text_is_told() -> None:
    with pytest.raises(DataError, match=r"map 3: .*differ in length"):
        Level.from_text("..\n...", LEGEND, "map 3")
    with pytest.raises(DataError, match="unknown characters 'x y'"):
        Level.from_text(".x\ny.", LEGEND)
    with pytest.raises(DataError, match="'sollid' is no meaning"):
        Level.from_text("..", {".": ("sollid",)})
