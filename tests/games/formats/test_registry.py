"""Formats are told by suffix and content, folders are read in natural order, and all problems come at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from newgameplus.errors import DataError
from newgameplus.games.formats import FORMATS, _module, read_document, read_documents

LEVEL = "; a\n\n#####\n#@$.#\n#####\n"


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_offers_the_same(name: str) -> None:
    module = _module(name)
    assert name == module.NAME
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in module.SUFFIXES)
    assert isinstance(module.sniff(Path("a" + module.SUFFIXES[0]), b"x"), bool)


def test_a_folder_is_read_in_natural_order_without_what_lies_beside_maps(tmp_path: Path) -> None:
    for name in ("10.txt", "2.txt", "b/1.lvl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("X-\nXX\n")
    for name in (".hidden.txt", "README.txt", "a.md", "set.tsx", "one.ldtkl", "captions.csv", "x.labels.csv", "z.png"):
        (tmp_path / name).write_text("?")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.txt").write_text("X")
    (tmp_path / "legend.json").write_text('{"X": ["solid"], "-": ["empty"]}')
    (tmp_path / "labels.json").write_text("[]")
    documents, problems = read_documents(tmp_path)
    assert [document.path.relative_to(tmp_path).as_posix() for document in documents] == ["2.txt", "10.txt", "b/1.lvl"]
    assert problems == []
    assert documents[0].scenes[0].tileset.names == ("X", "-")


def test_maps_without_a_legend_share_their_tiles(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("ab")
    (tmp_path / "2.txt").write_text("bc")
    documents, _ = read_documents(tmp_path)
    assert documents[0].scenes[0].tileset is documents[1].scenes[0].tileset
    assert documents[0].scenes[0].tileset.names == ("a", "b", "c")
    assert [document.scenes[0].layers.tolist() for document in documents] == [[[[0, 1]]], [[[1, 2]]]]


def test_all_problems_come_at_once_or_bad_files_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("ab\na\n")
    (tmp_path / "2.txt").write_bytes(b"a\xff")
    (tmp_path / "3.txt").write_text("ab\n")
    with pytest.raises(DataError) as caught:
        read_documents(tmp_path)
    assert "1.txt:2: 1 characters" in str(caught.value)
    assert "2.txt: not UTF-8" in str(caught.value)
    documents, problems = read_documents(tmp_path, skip_bad=True)
    assert [document.path.name for document in documents] == ["3.txt"]
    assert len(problems) == 2
    (tmp_path / "3.txt").unlink()
    with pytest.raises(DataError):
        read_documents(tmp_path, skip_bad=True)


def test_a_level_may_be_called_as_notes_are(tmp_path: Path) -> None:
    (tmp_path / "credits.xsb").write_text(LEVEL)
    assert len(read_documents(tmp_path)[0]) == 1


def test_an_empty_folder_lists_the_formats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)no maps are there.*xsb \(\.xsb \.sok \.txt\)"):
        read_documents(tmp_path)


def test_what_is_no_map_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("X")
    with pytest.raises(DataError, match=r"(?s)of no known map format.*ldtk"):
        read_document(tmp_path / "a.xyz")
    (tmp_path / "level-1.txt").write_text("X")
    with pytest.raises(DataError, match=r"did you mean 'level-1.txt'"):
        read_document(tmp_path / "level1.txt")
    for name in ("a\0b.txt", "x" * 5000):
        with pytest.raises(DataError, match="no such file"):
            read_document(tmp_path / name)


def test_a_format_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LEVEL)
    assert read_document(tmp_path / "a.txt").format == "xsb"
    with pytest.raises(DataError, match="not JSON"):
        read_document(tmp_path / "a.txt", format="ldtk")
    with pytest.raises(DataError, match="did you mean 'tiled'"):
        read_documents(tmp_path, format="tield")


def test_a_pipe_or_a_loop_in_the_folder_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dead.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("ab")
    assert [document.path.name for document in read_documents(tmp_path)[0]] == ["a.txt"]


def test_a_legend_says_that_text_is_no_sokoban_whatever_it_looks_like(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(LEVEL)
    assert read_document(path).format == "xsb"
    elsewhere = tmp_path / "elsewhere" / "words.json"
    elsewhere.parent.mkdir()
    legend = '{"#": ["solid"], "@": ["enemy"], "$": ["collectable"], ".": ["empty"]}'
    elsewhere.write_text(legend)
    path.write_text("#####\n#@$.#\n#####\n")
    assert read_document(path).format == "xsb"
    assert read_document(path, legend=elsewhere).format == "text"
    assert read_document(path, legend=elsewhere, format="xsb").format == "xsb"
    (tmp_path / "legend.json").write_text(legend)
    assert read_document(path).format == "text"
