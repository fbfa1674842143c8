"""Grids in CSV: separators, quotes, blanks and endings stay as they were written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError
from newgameplus.games.formats import csv_grid, read_document
from newgameplus.games.scenes import NOTHING

CELLS = st.sampled_from(["0", "1", " 7", "12 ", "-1", "", "wall", '"wall"', '"a ""b"""', "water"])


def a_grid(folder: Path, content: str) -> Path:
    path = folder / "grid.csv"
    path.write_bytes(content.encode())
    return path


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(2, 5).flatmap(
        lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=5)
    ),
    separator=st.sampled_from(",;\t"),
    newline=st.sampled_from(["\n", "\r\n"]),
    final=st.booleans(),
    mark=st.booleans(),
)
def test_any_grid_comes_back_byte_by_byte(
    rows: list[list[str]],
    separator: str,
    newline: str,
    final: bool,
    mark: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rows[-1][0] = rows[-1][0].strip() or "3"
    content = ("\ufeff" if mark else "") + newline.join(map(separator.join, rows)) + newline * final
    folder = tmp_path_factory.mktemp("csv")
    document = csv_grid.read(a_grid(folder, content))
    scene = document.scenes[0]
    assert scene.height == len(rows)
    for changed in (document, document.with_scene(0, scene)):
        assert changed.write(folder / "new.csv")[0].read_bytes() == content.encode()


def test_values_are_tiles_and_minus_one_is_nothing(tmp_path: Path) -> None:
    scene = csv_grid.read(a_grid(tmp_path, '10,2\n-1,"two words"\n')).scenes[0]
    names = [[None if tile == NOTHING else scene.tileset.names[tile] for tile in row] for row in scene.layers[0]]
    assert names == [["10", "2"], [None, "two words"]]


def test_a_closing_separator_is_no_column(tmp_path: Path) -> None:
    content = "1,2,\n3,4,\n5,6\n"
    document = csv_grid.read(a_grid(tmp_path, content))
    scene = document.scenes[0]
    assert (scene.height, scene.width) == (3, 2)
    bigger = np.pad(scene.layers, ((0, 0), (0, 0), (0, 1)), constant_values=scene.tileset.index["1"])
    new = document.with_scene(0, replace(scene, layers=bigger)).write(tmp_path / "new.csv")[0]
    assert new.read_text() == "1,2,1,\n3,4,1,\n5,6,1\n"


def test_only_changed_cells_are_written_anew(tmp_path: Path) -> None:
    document = csv_grid.read(a_grid(tmp_path, '"wall"; floor;"a;b"\r\nfloor;"wall";-1'))
    scene = document.scenes[0]
    tiles = scene.layers.copy()
    tiles[0, 1, 0], tiles[0, 0, 1], tiles[0, 0, 0] = tiles[0, 0, 2], NOTHING, tiles[0, 0, 0]
    new = document.with_scene(0, replace(scene, layers=tiles)).write(tmp_path / "new.csv")[0]
    assert new.read_bytes() == b'"wall";-1;"a;b"\r\n"a;b";"wall";-1'


def test_a_legend_gives_values_their_meanings(tmp_path: Path) -> None:
    (tmp_path / "legend.json").write_text(json.dumps({"0": ["empty"], "1": ["solid"]}))
    scene = read_document(a_grid(tmp_path, "0,1\n1,1\n")).scenes[0]
    assert [set(tile.meanings) for tile in scene.tileset.tiles] == [{"empty"}, {"solid"}]
    with pytest.raises(DataError, match=r"grid.csv:2:1: unknown tile '7'"):
        csv_grid.read(a_grid(tmp_path, "0,1\n7,1\n"))


@pytest.mark.parametrize(
    ("content", "told"),
    [("", "empty"), ("1,2\n3\n", r"grid.csv:2: 1 cells"), ('1,"2\n3,4\n', "not CSV at column 3"), ("1,\x07\n", "x07")],
)
def test_bad_grids_are_told(content: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told):
        csv_grid.read(a_grid(tmp_path, content))


def test_a_file_of_labels_is_no_grid(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="of no known map format"):
        read_document(a_grid(tmp_path, "path,label\na.mp4,run\n"))
