"""Damaged, malicious and huge Tiled files are refused at once, with the place and the remedy."""

from __future__ import annotations

import base64
import gzip
import importlib
import importlib.util
import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError, MissingExtraError
from newgameplus.games.formats import tiled, tiled_codec, tiled_parse

MAP = """<?xml version="1.0" encoding="UTF-8"?>
<map version="1.8" orientation="orthogonal" width="2" height="2" tilewidth="8" tileheight="8" infinite="0">
 <tileset firstgid="1" name="t" tilewidth="8" tileheight="8" tilecount="4" columns="2"/>
 <layer id="1" name="Ground" width="2" height="2">
  <data encoding="csv">
1,2,
3,4
</data>
 </layer>
 <objectgroup name="o"><object id="1" x="1" y="2"/></objectgroup>
</map>
"""
# Without a time inside: the text is part of a test's name, which must be the same in each process that collects it.
CUT_OFF_GZIP = gzip.compress(bytes(16), mtime=0)[:-9]
DATA = '<data encoding="csv">\n1,2,\n3,4\n</data>'
JSON_MAP = {
    "type": "map",
    "orientation": "orthogonal",
    "width": 2,
    "height": 2,
    "tilewidth": 8,
    "tileheight": 8,
    "layers": [{"type": "tilelayer", "name": "Ground", "width": 2, "height": 2, "data": [1, 2, 3, 4]}],
    "tilesets": [{"firstgid": 1, "name": "t", "tilewidth": 8, "tileheight": 8, "tilecount": 4, "columns": 2}],
}


def packed(plain: bytes, pack: object = bytes) -> str:
    return base64.b64encode(pack(plain)).decode()  # type: ignore[operator]


def refused(folder: Path, content: str | bytes, name: str = "map.tmx") -> str:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as error:
        tiled.read(folder / name)
    assert all(problem.source and problem.remedy for problem in error.value.problems)
    return str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</layer>", "", "map.tmx:11: not well-formed XML (mismatched tag)"),
        ("</map>\n", "", "map.tmx:11: not well-formed XML (no element found)"),
        ("<map", "<tileset/><map", "not well-formed XML (junk after document element)"),
        ('width="2" height="2" tile', 'height="2" tile', "map.tmx:2: 'width' is missing"),
        ('width="2" height="2" tile', 'width="-2" height="2" tile', "map.tmx:2: width is -2"),
        ('width="2" height="2" tile', 'width="0" height="2" tile', "map.tmx:2: width is 0"),
        ('width="2" height="2" tile', 'width="2.5" height="2" tile', "map.tmx:2: width is '2.5', not a whole number"),
        ('width="2" height="2" tile', 'width="99999999" height="9999999" tile', "map.tmx:2: a map of 99999999 x"),
        ('width="2" height="2">', 'width="10000" height="20000">', "200,000,000 cells"),
        ('width="2" height="2">', 'width="2">', "map.tmx:4: 'height' is missing"),
        ('tilewidth="8" tileheight="8" infinite', 'tileheight="8" infinite', "map.tmx:2: 'tilewidth' is missing"),
        ('orientation="orthogonal" ', "", "map.tmx:2: 'orientation' is missing"),
        ('firstgid="1"', "", "map.tmx:3: 'firstgid' is missing"),
        ('firstgid="1"', 'firstgid="0"', "map.tmx:3: firstgid is 0"),
        ('firstgid="1"', 'firstgid="4000000000"', "firstgid 4000000000 is too large"),
        ('firstgid="1" name="t" tilewidth="8"', 'firstgid="1" name="t"', "map.tmx:3: 'tilewidth' is missing"),
        ('firstgid="1" name="t"', 'firstgid="1" source="sets/lost.tsx"', "tileset file 'sets/lost.tsx' is missing"),
        ('firstgid="1" name="t"', 'firstgid="1" source="map.tmx"', "is no tileset but a map"),
        ('firstgid="1" name="t"', 'firstgid="1" source="."', "map.tmx:3: the tileset file '.' is missing"),
        ("1,2,\n3,4", "1,2,\n3", "layer 'Ground': layer data of 3 cells where there must be 4"),
        ("1,2,\n3,4", "1,2,\n3,4,", "layer data of 5 cells"),
        ("1,2,\n3,4", "", "layer data of 0 cells"),
        ("1,2,\n3,4", "1,2,\nx,4", "layer data with 'x' between the commas"),
        ("1,2,\n3,4", "1,2,\n-3,4", "layer data with '-3' between the commas"),
        ("1,2,\n3,4", "1,2,\n99999999999,4", "layer data with 99999999999"),
        ("1,2,\n3,4", "1,2,\n,4", "layer data with '' between the commas"),
        ("1,2,\n3,4", "1,2,\n77,4", "layer 'Ground', row 1, column 0: gid 77 is in no tileset"),
        ("1,2,\n3,4", "1,2147483653,\n3,4", "layer 'Ground', row 0, column 1: gid 5 is in no tileset"),
        (DATA, "", "a tile layer without <data>"),
        (DATA, '<data encoding="runes">1</data>', "unknown encoding 'runes'"),
        (DATA, '<data encoding="base64">A*A=</data>', "layer data that are not base64"),
        (
            DATA,
            f'<data encoding="base64">{packed(bytes(12))}</data>',
            "layer data of 12 bytes, but its 4 cells need 16",
        ),
        (DATA, f'<data encoding="base64">{packed(bytes(17))}</data>', "layer data of more than 16 bytes"),
        (DATA, f'<data encoding="base64" compression="lzma">{packed(bytes(16))}</data>', "unknown compression 'lzma'"),
        (DATA, f'<data encoding="base64" compression="zlib">{packed(bytes(16))}</data>', "not zlib"),
        (DATA, f'<data encoding="base64" compression="gzip">{packed(CUT_OFF_GZIP)}</data>', "cut off"),
        (DATA, '<data><tile gid="1"/></data>', "layer data of 1 cells"),
        (DATA, '<data><tile gid="1"/><tile gid="x"/></data>', "map.tmx:5: a cell with the gid 'x'"),
        (DATA, '<data encoding="csv"><chunk x="0" y="0" width="2">1</chunk></data>', "map.tmx:5: 'height' is missing"),
        ('x="1" y="2"', 'x="nan" y="2"', "map.tmx:10: x is 'nan', not a number"),
        ('x="1" y="2"', 'gid="9" x="1" y="2"', "layer 'o': object 1 has gid 9"),
        ('x="1" y="2"/>', 'x="1" y="2"><polygon points="1,2 3"/></object>', "points that are not pairs of numbers"),
        ('encoding="UTF-8"', 'encoding="ISO-8859-1"', "map.tmx:1: written in ISO-8859-1, not in UTF-8"),
        ('name="Ground"', 'name="&boss;"', "not well-formed XML (undefined entity)"),
        ("<map ", '<!DOCTYPE map SYSTEM "file:///etc/passwd"><map ', "map.tmx:2: a document type or entities"),
    ],
)
def test_xml_maps(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in MAP
    assert message in refused(tmp_path, MAP.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"type": "map", ', '"type": "tileset", ', "a tileset, not a map"),
        ("[1, 2, 3, 4]", "[1, 2, 3", "map.tmj:1: not JSON: ',' or ']' expected, but there is"),
        ("[1, 2, 3, 4]", "[1, 2, 3]", "layer data of 3 cells where there must be 4"),
        ("[1, 2, 3, 4]", "[1, 2, 3, 04]", "not JSON"),
        ("[1, 2, 3, 4]", "[1, 2, 3, 4.5]", "layer data that are not a list of gids"),
        ("[1, 2, 3, 4]", "[1, 2, 3, -4]", "layer data that are not a list of gids"),
        ("[1, 2, 3, 4]", "[1, 2, 3, 5000000000]", "layer data with 5000000000"),
        ("[1, 2, 3, 4]", f"[1, 2, 3, {'9' * 6000}]", "not JSON"),
        ("[1, 2, 3, 4]", "[1, 2, 3, 40]", "row 1, column 1: gid 40 is in no tileset"),
        ("[1, 2, 3, 4]", '"AAAA"', "layer data that are not a list of gids"),
        ("[1, 2, 3, 4]", '[1, 2, 3, 4], "encoding": "base64"', "layer data that are not base64"),
        ('"data": [1, 2, 3, 4]', '"x": NaN', "not JSON: a value expected, but there is 'NaN}"),
        ('"data": [1, 2, 3, 4]', '"x": 1', "a tile layer without 'data'"),
        ('"data": [1, 2, 3, 4]', '"x": "\\ud800"', "a text with valid escapes expected"),
        ('"data": [1, 2, 3, 4]', '"x": "\\q"', "a text with valid escapes expected"),
        ('"data": [1, 2, 3, 4]', '"x": "op\nen"', "a text between double quotes expected"),
        ('"data": [1, 2, 3, 4]', '"chunks": 3', "'chunks' is not a list of objects"),
        ('"width": 2', '"width": true', "width is 'True', not a whole number"),
        ('"width": 2', '"width": 1e400', "width is 'inf', not a whole number"),
        ('"tilesets": [', '"tilesets": [{"firstgid": 9, "source": "a\\u0000.tsj"},', "is missing"),
        (
            '"tilesets": [',
            '"tilesets": [{"firstgid": 1, "name": "u", "tilewidth": 1, "tileheight": 1},',
            "firstgid 1 is",
        ),
    ],
)
def test_json_maps(tmp_path: Path, old: str, new: str, message: str) -> None:
    content = json.dumps(JSON_MAP)
    assert old in content
    assert message in refused(tmp_path, content.replace(old, new, 1), "map.tmj")


def test_billion_laughs_are_refused_before_the_first_one(tmp_path: Path) -> None:
    entities = '<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefghi", "bcdefghij", strict=True)
    )
    laughs = f"<!DOCTYPE map [{entities}]>"
    assert "document type or entities" in refused(
        tmp_path, MAP.replace("<map ", laughs + "<map ").replace("Ground", "&j;")
    )


@pytest.mark.parametrize("compression", ["zlib", "gzip", "zstd"])
def test_bombs_are_not_unpacked(tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if compression == "zstd":
        pack = pytest.importorskip("zstandard").compress
    else:
        pack = {"zlib": zlib.compress, "gzip": gzip.compress}[compression]
    data = f'<data encoding="base64" compression="{compression}">{packed(bytes(50_000_000), pack)}</data>'
    import tracemalloc

    tracemalloc.start()
    try:
        assert "layer data of more than 16 bytes" in refused(tmp_path, MAP.replace(DATA, data))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(importlib.util.find_spec("zstandard") is None, reason="zstandard is not installed")
def test_damaged_zstandard_is_told(tmp_path: Path) -> None:
    whole = importlib.import_module("zstandard").compress(bytes(range(16)))
    for damaged, message in ((b"nonsense" * 3, "not zstd"), (whole[:-4], "layer data")):
        data = f'<data encoding="base64" compression="zstd">{packed(damaged)}</data>'
        assert message in refused(tmp_path, MAP.replace(DATA, data))


def test_without_zstandard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(tiled_codec.importlib, "import_module", absent)
    (tmp_path / "map.tmx").write_text(MAP.replace(DATA, '<data encoding="base64" compression="zstd">AAAA</data>'))
    with pytest.raises(MissingExtraError, match="zstandard is not installed") as error:
        tiled.read(tmp_path / "map.tmx")
    assert "newgameplus[tiled]" in str(error.value)


def test_chunks_far_apart_are_refused_before_the_space_between_is_made(tmp_path: Path) -> None:
    far = "".join(f'<chunk x="{x}" y="{x}" width="1" height="1">1</chunk>' for x in (-30_000, 30_000))
    content = MAP.replace('infinite="0"', 'infinite="1"').replace(DATA, f'<data encoding="csv">{far}</data>')
    assert "a map of 60001 x 60001 tiles" in refused(tmp_path, content)
    many = '<chunk x="0" y="0" width="9000" height="9000">1</chunk>' * 2
    content = MAP.replace('infinite="0"', 'infinite="1"').replace(DATA, f'<data encoding="csv">{many}</data>')
    assert "162,000,000 cells" in refused(tmp_path, content)


def test_files_that_are_no_text_empty_too_deep_or_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the file is empty" in refused(tmp_path, " \n")
    assert "map.tmx:4: not UTF-8 text" in refused(tmp_path, MAP.encode().replace(b"Ground", b"Gr\xfcnd"))
    assert "map.tmj:1: not UTF-8 text" in refused(tmp_path, b'{"a": "\xfc"}', "map.tmj")
    assert "not UTF-8 text" in refused(tmp_path, MAP.encode("utf-16"))
    assert "not well-formed" in refused(tmp_path, "hello")
    assert "not a JSON object" in refused(tmp_path, "[[1]]", "map.tmj")
    assert "something else, not a map" in refused(tmp_path, "{}", "map.tmj")
    assert "nested more than 100 deep" in refused(tmp_path, "<map>" + "<group>" * 5000)
    assert "nested at most 100 deep" in refused(tmp_path, "[" * 5000, "map.tmj")
    monkeypatch.setattr(tiled_parse, "MAX_NODES", 10)
    assert "more than 10" in refused(tmp_path, "<map>" + "<a/>" * 10 + "</map>")
    assert "at most 10 values" in refused(tmp_path, json.dumps(JSON_MAP), "map.tmj")
    monkeypatch.setattr(tiled_parse, "MAX_FILE", 100)
    assert "MiB" in refused(tmp_path, MAP)
    with pytest.raises(DataError, match="no such file"):
        tiled.read(tmp_path / "none.tmx")


def test_a_broken_tileset_file_is_told_by_its_own_name(tmp_path: Path) -> None:
    content = MAP.replace('name="t" tilewidth', 'source="t.tsx" tilewidth')
    (tmp_path / "t.tsx").write_text("<tileset name='t'><image></tileset>")
    assert "t.tsx:1: not well-formed XML" in refused(tmp_path, content)
    (tmp_path / "t.tsx").write_text(
        "<tileset name='t' tilewidth='8' tileheight='8'><image source='a' width='-4'/></tileset>"
    )
    assert "t.tsx:1: width is -4" in refused(tmp_path, content)
    (tmp_path / "t.tsx").write_text("<tileset name='t' tilewidth='0' tileheight='8'><image source='a'/></tileset>")
    assert "t.tsx:1: tilewidth is 0" in refused(tmp_path, content)


def test_a_missing_template_is_a_note_and_its_objects_stay(tmp_path: Path) -> None:
    text = MAP.replace('x="1" y="2"', 'template="lost.tx" x="1" y="2"')
    (tmp_path / "map.tmx").write_text(text)
    document = tiled.read(tmp_path / "map.tmx")
    assert [note for note in document.notes if "lost.tx" in note]
    [written] = document.write(tmp_path / "copy.tmx")
    assert written.read_text() == text


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_refused_or_harmless(tmp_path_factory, data) -> None:
    """Whatever happens to a file, it is read or refused with a DataError, and what is read is written again."""
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    is_xml = data.draw(st.booleans())
    content = (MAP if is_xml else json.dumps(JSON_MAP)).encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(start + 6, len(content))))
    piece = data.draw(st.binary(max_size=3) | st.sampled_from([b"<", b'"', b"-9", b"[", b"{}", b"null", b"/>", b"1e9"]))
    damaged = content[:start] + piece + content[end:]
    file = folder / ("map.tmx" if is_xml else "map.tmj")
    file.write_bytes(damaged)
    try:
        document = tiled.read(file)
    except DataError:
        return
    assert document.with_scene(0, document.scenes[0]).content == damaged
