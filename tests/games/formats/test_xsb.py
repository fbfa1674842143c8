"""Sokoban collections: names, comments and rows stay as written; floor is told from what lies outside."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError
from newgameplus.games.formats import read_document, xsb

DATA = Path(os.environ.get("NGP_DATA", Path(__file__).parents[3] / "../shared/data")) / "scenes" / "sokoban"
ABOVE = (
    "My set\r\n\r\n; one\r\n\r\n  ####\r\n###. #\r\n#@$- #\r\n######\r\n\r\n; 2 'Deux'\r\n\r\n#####\r\n#@$.#\r\n#####"
)
BELOW = "####\n#+$#\n#--#\n####\nTitle: First\nAuthor: me\n\n#####\n#@$.#\n#####\nTitle: Second\n"


def a_set(folder: Path, content: str, name: str = "set.xsb") -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


def shown(document: xsb.XsbDocument, index: int) -> list[list[str]]:
    scene = document.scenes[index]
    return [[scene.tileset.names[tile] for tile in row] for row in scene.layers[0]]


def test_levels_their_names_and_their_tiles(tmp_path: Path) -> None:
    document = xsb.read(a_set(tmp_path, ABOVE))
    assert [scene.name for scene in document.scenes] == ["one", "2 'Deux"]
    assert shown(document, 0)[0] == ["outside", "outside", "wall", "wall", "wall", "wall"]
    assert shown(document, 0)[2] == ["wall", "player", "box", "floor", "floor", "wall"]
    titled = xsb.read(a_set(tmp_path, BELOW))
    assert [scene.name for scene in titled.scenes] == ["First", "Second"]
    assert shown(titled, 0)[1][1] == "player on goal"


@pytest.mark.parametrize("content", [ABOVE, BELOW])
def test_collections_come_back_byte_by_byte(content: str, tmp_path: Path) -> None:
    document = xsb.read(a_set(tmp_path, content))
    for index, scene in enumerate(document.scenes):
        document = document.with_scene(index, scene)
    assert document.write(tmp_path / "new.xsb")[0].read_bytes() == content.encode()


def test_one_level_alone_keeps_its_comments_and_takes_a_new_name(tmp_path: Path) -> None:
    above = xsb.read(a_set(tmp_path, ABOVE)).only(1, "made 1")
    assert above.write(tmp_path / "a.xsb")[0].read_bytes() == b"; made 1\r\n\r\n#####\r\n#@$.#\r\n#####\r\n"
    assert xsb.read(tmp_path / "a.xsb").scenes[0].name == "made 1"
    below = xsb.read(a_set(tmp_path, BELOW)).only(0, "made 2")
    assert below.write(tmp_path / "b.xsb")[0].read_text().splitlines()[4:] == ["Title: made 2", "Author: me"]
    assert xsb.read(tmp_path / "b.xsb").scenes[0].name == "made 2"


def test_a_changed_level_moves_the_others_but_leaves_them_as_written(tmp_path: Path) -> None:
    document = xsb.read(a_set(tmp_path, BELOW))
    scene = document.scenes[0]
    taller = np.concatenate([scene.layers[:, :3], scene.layers[:, 2:]], axis=1)
    changed = document.with_scene(0, replace(scene, layers=taller))
    assert np.array_equal(changed.scenes[0].layers, taller)
    assert np.array_equal(changed.scenes[1].layers, document.scenes[1].layers)
    text = changed.write(tmp_path / "new.xsb")[0].read_text()
    assert text == BELOW.replace("#--#\n", "#--#\n#--#\n")


@settings(max_examples=50, deadline=None)
@given(inner=st.lists(st.lists(st.sampled_from("# .$*@+"), min_size=4, max_size=4), min_size=2, max_size=5))
def test_any_walled_level_comes_back_as_it_is(inner: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("xsb")
    rows = ["######", *("#" + "".join(row) + "#" for row in inner), "######"]
    document = xsb.read(a_set(folder, "; a\n\n" + "\n".join(rows) + "\n"))
    scene = document.scenes[0]
    assert "outside" not in {name for row in shown(document, 0) for name in row}
    other = xsb.read(a_set(folder, "; b\n\n####\n#@ #\n####\n", "other.xsb"))
    written = other.with_scene(0, scene)
    assert np.array_equal(written.scenes[0].layers, scene.layers)
    assert written.write(folder / "new.xsb")[0].read_text() == "; b\n\n" + "\n".join(rows) + "\n"


def test_an_open_level_is_all_floor_where_somebody_stands(tmp_path: Path) -> None:
    rows = shown(xsb.read(a_set(tmp_path, "# ###\n#@$.#\n#####\n")), 0)
    assert rows[0][1] == "floor"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "no Sokoban level"),
        ("hello\n", "no Sokoban level"),
        ("####\n#@x#\n#$.#\n####\n", r"set.xsb:2:3: unknown character 'x'"),
        ("4#\n#@$.#\n5#\n", r"set.xsb:1: run lengths"),
        ("####\n#\0 #\n", "zero"),
    ],
)
def test_bad_collections_are_told(content: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told):
        xsb.read(a_set(tmp_path, content))


def test_text_is_taken_for_sokoban_only_if_it_is(tmp_path: Path) -> None:
    assert read_document(a_set(tmp_path, ABOVE, "a.txt")).format == "xsb"
    assert read_document(a_set(tmp_path, "####\n#@.#\n####\n", "b.txt")).format == "text"


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    document = xsb.read(a_set(tmp_path, ABOVE))
    scene = document.scenes[0]
    with pytest.raises(DataError, match="no layer 'roof'"):
        document.with_scene(0, replace(scene, layer_names=("roof",)))
    with pytest.raises(DataError, match="close the level with walls"):
        document.with_scene(0, replace(scene, layers=np.zeros_like(scene.layers)))


@pytest.mark.skipif(not DATA.is_dir(), reason="the Sokoban data (NGP_DATA, or ../shared/data) are not here")
def test_real_collections_come_back_byte_by_byte(tmp_path: Path) -> None:
    files = sorted([*DATA.glob("microban/*.txt"), *DATA.glob("boxoban_medium/valid/*.txt")])
    for path in files:
        document = read_document(path)
        assert isinstance(document, xsb.XsbDocument)
        for index in (0, len(document.scenes) - 1):
            document = document.with_scene(index, document.scenes[index])
            alone = document.only(index)
            assert np.array_equal(alone.scenes[0].layers, document.scenes[index].layers)
        assert document.write(tmp_path / "a.txt")[0].read_bytes() == path.read_bytes()
        assert all(scene.tileset.flags("box")[scene.layers].any() for scene in document.scenes)
    assert len(read_document(files[0]).scenes) == 1000
