"""Maps of text: any map round-trips byte by byte, and what cannot be read is told with its line and column."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError
from newgameplus.games.formats import read_document, text
from newgameplus.games.scenes import NOTHING, Scene, Tile, Tileset

DATA = Path(os.environ.get("NGP_DATA", Path(__file__).parents[3] / "../shared/data")) / "scenes"
LEGEND = {"X": ["solid"], "-": ["empty"], "E": ["enemy"]}


def a_map(folder: Path, content: str, legend: object = None) -> Path:
    path = folder / "one.txt"
    path.write_bytes(content.encode())
    if legend is not None:
        (folder / "legend.json").write_text(json.dumps(legend))
    return path


def problems(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        text.read(path)
    return str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    grid=st.integers(1, 5).flatmap(
        lambda width: st.lists(st.text("X-E#@\u2588\u00e9 ", min_size=width, max_size=width), min_size=1, max_size=5)
    ),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    end=st.sampled_from([0, 1, 3]),
    mark=st.booleans(),
)
def test_any_map_comes_back_byte_by_byte(
    grid: list[str], newline: str, end: int, mark: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("text")
    content = ("\ufeff" if mark else "") + newline.join(grid) + newline * end
    path = a_map(folder, content)
    document = text.read(path)
    scene = document.scenes[0]
    assert ["".join(scene.tileset.names[tile] for tile in row) for row in scene.layers[0]] == grid
    for changed in (document, document.with_scene(0, scene)):
        assert changed.write(folder / "two.txt")[0].read_bytes() == content.encode()


def test_a_changed_map_keeps_its_endings_and_its_other_rows(tmp_path: Path) -> None:
    document = text.read(a_map(tmp_path, "X-X\r\nX-X\r\nXXX", LEGEND))
    scene = document.scenes[0]
    tiles = np.pad(scene.layers, ((0, 0), (0, 1), (0, 1)), constant_values=scene.tileset.index["X"])
    tiles[0, 0, 1] = scene.tileset.index["E"]
    new = document.with_scene(0, replace(scene, layers=tiles)).write(tmp_path / "new.txt")[0]
    assert new.read_bytes() == b"XEXX\r\nX-XX\r\nXXXX\r\nXXXX"


def test_a_legend_is_found_beside_the_map_or_its_folder(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    path = a_map(tmp_path / "maps", "X-\n")
    (tmp_path / "maps.json").write_text(json.dumps({"tiles": {"X": ["solid", "ground"], "-": ["passable", "empty"]}}))
    tileset = text.read(path).scenes[0].tileset
    assert tileset.tiles == (Tile("X", frozenset({"solid"})), Tile("-", frozenset({"empty"})))
    (tmp_path / "maps" / "one.json").write_text(json.dumps({"X": ["hazard"], "-": ["empty"]}))
    assert text.read(path).scenes[0].tileset.tiles[0].meanings == {"hazard"}


def test_words_of_the_corpus_become_meanings(tmp_path: Path) -> None:
    words = {"E": ["enemy", "damaging", "hazard", "moving"], "B": ["Cannon top", "cannon", "solid", "hazard"]}
    words |= {"<": ["solid", "top-left pipe", "pipe"], "o": ["coin", "collectable", "passable"]}
    tileset = text.read(a_map(tmp_path, "EB<o", {"tiles": words})).scenes[0].tileset
    expected = [{"enemy"}, {"solid", "spawner"}, {"solid", "pipe"}, {"collectable"}]
    assert [set(tile.meanings) for tile in tileset.tiles] == expected


def test_json_that_is_no_legend_is_left_alone_unless_it_is_named_one(tmp_path: Path) -> None:
    path = a_map(tmp_path, "X-")
    (tmp_path / "one.json").write_text('{"nodes": {"a": ["room"]}, "edges": 3}')
    assert not text.read(path).declared
    with pytest.raises(DataError, match="no legend"):
        text.read(path, legend=tmp_path / "one.json")


def test_an_unknown_character_is_told_with_its_place_and_its_nearest(tmp_path: Path) -> None:
    message = problems(a_map(tmp_path, "X-X\nXeX\nX?X\n", LEGEND))
    assert "one.txt:2:2: unknown character 'e'" in message
    assert "did you mean 'E'?" in message
    assert "one.txt:3:2: unknown character '?'" in message


def test_lines_of_different_lengths_are_told(tmp_path: Path) -> None:
    message = problems(a_map(tmp_path, "XXX\nXX\nXXX\n\nXXX"))
    assert "one.txt:2: 2 characters" in message
    assert "one.txt:4: 0 characters" in message
    assert "the widest line, 1, has 3" in message


def test_trimmed_spaces_are_put_back_and_stay_trimmed(tmp_path: Path) -> None:
    content = "###\n# #\n#\n###\n"
    document = text.read(a_map(tmp_path, content))
    assert document.scenes[0].width == 3
    assert document.with_scene(0, document.scenes[0]).write(tmp_path / "b.txt")[0].read_text() == content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"XX\0X", "byte 2 is zero"),
        (b"X\xff", "not UTF-8"),
        ("XX".encode("utf-16"), "UTF-16"),
        (b"X\tX", "a tab is no tile"),
        (b"X\x07X", "U\\+0007"),
    ],
)
def test_what_is_no_text_is_told(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_bytes(content)
    with pytest.raises(DataError, match=told):
        text.read(tmp_path / "one.txt")


@pytest.mark.parametrize(
    ("legend", "told"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "no legend"),
        ('{"X": ["sold"]}', "did you mean 'solid'"),
        ('{"X": [1]}', "no list of words"),
    ],
)
def test_a_bad_legend_is_told(legend: str, told: str, tmp_path: Path) -> None:
    path = a_map(tmp_path, "X")
    (tmp_path / "legend.json").write_text(legend)
    with pytest.raises(DataError, match=told):
        text.read(path)


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    document = text.read(a_map(tmp_path, "X-", LEGEND))
    scene = document.scenes[0]
    with pytest.raises(DataError, match="'#' cannot be written"):
        document.with_scene(0, Scene("a", np.zeros((1, 1, 1), np.int32), ("tiles",), Tileset((Tile("#"),))))
    with pytest.raises(DataError, match="no layer 'roof'"):
        document.with_scene(0, replace(scene, layer_names=("roof",)))
    with pytest.raises(DataError, match="nothing cannot be written"):
        document.with_scene(0, replace(scene, layers=np.full_like(scene.layers, NOTHING)))


@pytest.mark.skipif(not DATA.is_dir(), reason="the measuring data (NGP_DATA, or ../shared/data) are not here")
def test_real_maps_come_back_byte_by_byte(tmp_path: Path) -> None:
    files = sorted([*DATA.glob("mario/smb*/*.txt"), *DATA.glob("zelda/dungeons/tloz*.txt")])
    assert len(files) > 50
    for path in files:
        document = read_document(path)
        assert document.format == "text"
        same = document.with_scene(0, document.scenes[0])
        assert same.write(tmp_path / "a.txt")[0].read_bytes() == path.read_bytes()
