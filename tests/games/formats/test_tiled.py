"""Tiled maps are read as they are meant, and written as they were."""

from __future__ import annotations

import base64
import gzip
import importlib
import importlib.util
import json
import os
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.games.formats import tiled
from newgameplus.games.scenes import NOTHING

DATA = Path(os.environ.get("NGP_DATA", Path(__file__).parents[3] / "../shared/data")) / "maps" / "tiled"
MAPS = sorted(DATA.rglob("*.tm[xj]"))
COUNT = 12  # tiles in the built maps' tileset
FLIPS = [0, 0x80000000, 0x40000000, 0x20000000, 0xE0000000, 0x10000000]
needs_zstd = pytest.mark.skipif(importlib.util.find_spec("zstandard") is None, reason="zstandard is not installed")
ENCODINGS = [
    ("", ""),
    ("csv", ""),
    ("base64", ""),
    ("base64", "zlib"),
    ("base64", "gzip"),
    pytest.param(("base64", "zstd"), marks=needs_zstd),
]


def packed(cells: np.ndarray, encoding: str, compression: str) -> str:
    plain = cells.astype("<u4").tobytes()
    if encoding == "csv":
        return "\n" + ",\n".join(",".join(map(str, row)) for row in cells.tolist()) + "\n"
    if not encoding:
        return "\n" + "".join(f'    <tile gid="{cell}"/>\n' for cell in cells.ravel().tolist()) + "  "
    if compression == "zlib":
        plain = zlib.compress(plain)
    elif compression == "gzip":
        plain = gzip.compress(plain)
    elif compression == "zstd":
        plain = importlib.import_module("zstandard").compress(plain)
    return "\n   " + base64.b64encode(plain).decode() + "\n  "


def chunks_of(grid: np.ndarray, origin: tuple[int, int]) -> list[tuple[int, int, np.ndarray]]:
    """Cut a grid into chunks of three by four; those with nothing in them are left out, corners are not."""
    height, width = grid.shape
    found = []
    for top in range(0, height, 3):
        for left in range(0, width, 4):
            part = grid[top : top + 3, left : left + 4]
            corner = (top, left) == (0, 0) or (top + 3 >= height and left + 4 >= width)
            if corner or part.any():
                found.append((origin[1] + left, origin[0] + top, part))
    return found


def tmx(grids: list[np.ndarray], encoding: str, compression: str, origin: tuple[int, int] | None) -> bytes:
    height, width = grids[0].shape
    style = (f' encoding="{encoding}"' if encoding else "") + (f' compression="{compression}"' if compression else "")
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<map version="1.8" orientation="orthogonal" width="{width}" height="{height}" tilewidth="8" tileheight="8" \
infinite="{int(origin is not None)}" nextlayerid="9" nextobjectid="1">
 <tileset firstgid="1" name="t" tilewidth="8" tileheight="8" tilecount="{COUNT}" columns="4">
  <image source="t.png" width="32" height="24"/>
 </tileset>
"""
    for number, grid in enumerate(grids):
        text += f' <layer id="{number}" name="L{number}" width="{width}" height="{height}">\n  <data{style}>'
        if origin is None:
            text += packed(grid, encoding, compression)
        else:
            for x, y, part in chunks_of(grid, origin):
                size = f'width="{part.shape[1]}" height="{part.shape[0]}"'
                text += f'\n   <chunk x="{x}" y="{y}" {size}>{packed(part, encoding, compression)}</chunk>'
            text += "\n  "
        text += "</data>\n </layer>\n"
    return (text + "</map>\n").encode()


def tmj(grids: list[np.ndarray], encoding: str, compression: str, origin: tuple[int, int] | None) -> bytes:
    def data(cells: np.ndarray) -> object:
        return packed(cells, encoding, compression).strip() if encoding == "base64" else cells.ravel().tolist()

    height, width = grids[0].shape
    layers = []
    for number, grid in enumerate(grids):
        layer: dict[str, object] = {"name": f"L{number}", "type": "tilelayer", "width": width, "height": height}
        layer.update({"encoding": encoding} if encoding else {})
        layer.update({"compression": compression} if compression else {})
        if origin is None:
            layer["data"] = data(grid)
        else:
            layer["chunks"] = [
                {"x": x, "y": y, "width": part.shape[1], "height": part.shape[0], "data": data(part)}
                for x, y, part in chunks_of(grid, origin)
            ]
        layers.append(layer)
    tileset = {"firstgid": 1, "name": "t", "tilewidth": 8, "tileheight": 8, "tilecount": COUNT, "columns": 4}
    tileset |= {"image": "t.png", "imagewidth": 32, "imageheight": 24, "margin": 0, "spacing": 0}
    content = {"type": "map", "orientation": "orthogonal", "infinite": origin is not None, "width": width}
    content |= {"height": height, "tilewidth": 8, "tileheight": 8, "layers": layers, "tilesets": [tileset]}
    return json.dumps(content, indent=1 if width % 2 else None).encode()


def cells(height: int, width: int) -> st.SearchStrategy[np.ndarray]:
    tile = st.builds(lambda gid, flip: gid | flip, st.integers(1, COUNT), st.sampled_from(FLIPS))
    cell = st.one_of(st.just(0), st.just(0), tile)
    rows = st.lists(cell, min_size=height * width, max_size=height * width)
    return rows.map(lambda row: np.array(row, np.uint32).reshape(height, width))


@st.composite
def maps(draw: st.DrawFn) -> tuple[list[np.ndarray], tuple[int, int] | None, list[np.ndarray]]:
    size = st.tuples(st.integers(1, 9), st.integers(1, 9))
    height, width = draw(size)
    count = draw(st.integers(1, 2))
    grids = [draw(cells(height, width)) for _ in range(count)]
    origin = draw(st.none() | st.tuples(st.integers(-20, 20), st.integers(-20, 20)))
    height, width = draw(st.just((height, width)) | size)
    return grids, origin, [draw(cells(height, width)) for _ in range(count)]


def name_of(cell: int) -> str | None:
    letters = "".join(
        letter for letter, flag in zip("hvdr", (1 << 31, 1 << 30, 1 << 29, 1 << 28), strict=True) if cell & flag
    )
    return None if cell == 0 else f"t#{(cell & 0xFFFFFFF) - 1}" + (f"~{letters}" if letters else "")


def names_in(document: tiled.TiledDocument) -> list[list[list[str | None]]]:
    scene = document.scenes[0]
    names = [*scene.tileset.names, None]
    return [[[names[tile] for tile in row] for row in layer] for layer in scene.layers.tolist()]


def names_of(grids: list[np.ndarray]) -> list[list[list[str | None]]]:
    return [[[name_of(cell) for cell in row] for row in grid.tolist()] for grid in grids]


@pytest.mark.parametrize("build", [tmx, tmj])
@pytest.mark.parametrize("style", ENCODINGS)
@settings(max_examples=25, deadline=None)
@given(case=maps())
def test_any_map_is_read_and_written_in_every_encoding(tmp_path_factory, build, style, case) -> None:
    grids, origin, others = case
    folder = tmp_path_factory.getbasetemp() / "maps"
    folder.mkdir(exist_ok=True)
    file = folder / ("map.tmx" if build is tmx else "map.tmj")
    file.write_bytes(build(grids, *style, origin))

    document = tiled.read(file)
    assert names_in(document) == names_of(grids)
    assert document.with_scene(0, document.scenes[0]).write(folder / f"again{file.suffix}")
    assert (folder / f"again{file.suffix}").read_bytes() == file.read_bytes()

    donor = folder / "other.tmx"
    donor.write_bytes(tmx(others, "csv", "", None))
    edited = document.with_scene(0, replace(document.scenes[0], **_tiles_of(tiled.read(donor))))
    assert names_in(edited) == names_of(others)
    [written] = edited.write(folder / f"edited{file.suffix}")
    assert names_in(tiled.read(written)) == names_of(others)
    assert edited.scenes[0].tileset.names[: len(document.scenes[0].tileset)] == document.scenes[0].tileset.names


def _tiles_of(document: tiled.TiledDocument) -> dict[str, object]:
    scene = document.scenes[0]
    return {"layers": scene.layers, "tileset": scene.tileset}


@pytest.mark.skipif(not MAPS, reason=f"no maps of Tiled's own in {DATA}")
@pytest.mark.parametrize("file", MAPS, ids=lambda file: file.name)
def test_tileds_own_examples_are_written_as_they_were(tmp_path: Path, file: Path) -> None:
    document = tiled.read(file)
    scene = document.scenes[0]
    assert document.generable == ("hexagonal" not in file.name)
    assert document.with_scene(0, scene).content == file.read_bytes()

    [moved] = document.write(tmp_path / "deep" / file.name)
    again = tiled.read(moved)
    assert again.scenes[0].tileset == scene.tileset  # its pictures are still where they were
    assert np.array_equal(again.scenes[0].layers, scene.layers)
    assert len(again.scenes[0].objects) == len(scene.objects)
    if len(scene.layers):
        layers = np.roll(scene.layers, 1, axis=2)
        edited = again.with_scene(0, replace(again.scenes[0], layers=layers))
        assert np.array_equal(edited.scenes[0].layers, layers)
        assert edited.with_scene(0, again.scenes[0]).scenes[0].layers.tolist() == scene.layers.tolist()


TSX = """<?xml version="1.0" encoding="UTF-8"?>
<tileset version="1.8" name="Cave" tilewidth="16" tileheight="16" spacing="2" margin="1" tilecount="6" columns="3">
 <image source="art/cave.png" width="56" height="38"/>
 <tile id="0" type="Solid"/>
 <tile id="1"><properties>
   <property name="hazard" type="bool" value="true"/>
   <property name="solid" type="bool" value="false"/>
   <property name="speed" type="int" value="3"/>
 </properties></tile>
 <tile id="2"><properties><property name="meaning" value="door:red, one_way, nonsense"/></properties></tile>
 <tile id="3" class="torch"/>
</tileset>
"""
TSJ = {
    "type": "tileset",
    "name": "Cave",
    "tilewidth": 16,
    "tileheight": 16,
    "tilecount": 2,
    "columns": 0,
    "tiles": [
        {"id": 0, "image": "one.png", "imagewidth": 20, "imageheight": 30, "type": "goal"},
        {"id": 7, "image": "two.png", "properties": [{"name": "meanings", "type": "string", "value": "key:blue"}]},
    ],
}


def test_tiles_know_their_names_meanings_and_pictures(tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "cave.tsx").write_text(TSX)
    (tmp_path / "sets" / "more.tsj").write_text(json.dumps(TSJ))
    content = tmx([np.array([[1, 100 | 0x80000000], [107, 0]], np.uint32)], "csv", "", None).decode()
    start, end = content.index(" <tileset"), content.index(" <layer")
    sets = '<tileset firstgid="1" source="sets/cave.tsx"/><tileset firstgid="100" source="sets/more.tsj"/>\n'
    (tmp_path / "map.tmx").write_text(content[:start] + sets + content[end:])

    document = tiled.read(tmp_path / "map.tmx")
    scene = document.scenes[0]
    tiles = {tile.name: tile for tile in scene.tileset.tiles}
    assert names_in(document) == [[["Cave#0", "Cave#2#0~h"], ["Cave#2#7", None]]]
    assert tiles["Cave#0"].meanings == {"solid"}
    assert tiles["Cave#1"].meanings == {"hazard"}
    assert tiles["Cave#2"].meanings == {"door:red", "one-way"}
    assert tiles["Cave#3"].meanings == frozenset()
    assert tiles["Cave#2#0~h"].meanings == {"goal"}
    assert tiles["Cave#2#7"].meanings == {"key:blue"}
    assert tiles["Cave#4"].picture == (str(tmp_path / "sets/art/cave.png"), 19, 19, 16, 16)
    assert tiles["Cave#2#0"].picture == (str(tmp_path / "sets/one.png"), 0, 0, 20, 30)
    assert tiles["Cave#2#7"].picture is None
    assert scene.tileset.names[14:] == ("Cave#2#0~h",)


def test_of_large_tilesets_only_what_is_used_becomes_a_tile(tmp_path: Path) -> None:
    content = tmx([np.array([[5, 3]], np.uint32)], "csv", "", None).replace(b'tilecount="12"', b'tilecount="5000"')
    (tmp_path / "map.tmx").write_bytes(content)
    document = tiled.read(tmp_path / "map.tmx")
    scene = document.scenes[0]
    assert scene.tileset.names == ("t#2", "t#4")
    other = replace(scene.tileset, tiles=(*scene.tileset.tiles, replace(scene.tileset.tiles[0], name="t#4999~hv")))
    edited = document.with_scene(0, replace(scene, tileset=other, layers=np.full((1, 2, 2), 2, np.int32)))
    assert edited.scenes[0].tileset.names == ("t#2", "t#4", "t#4999~hv")


def test_maps_as_tiled_wrote_them_long_ago(tmp_path: Path) -> None:
    old = {
        "orientation": "orthogonal",
        "width": 2,
        "height": 1,
        "tilewidth": 8,
        "tileheight": 8,
        "properties": {"music": "cave"},
        "layers": [{"name": "a", "type": "tilelayer", "width": 2, "height": 1, "data": [1, 3]}],
        "tilesets": [
            {
                "firstgid": 1,
                "name": "t",
                "tilewidth": 8,
                "tileheight": 8,
                "image": "t.png",
                "imagewidth": 17,
                "imageheight": 16,
                "tileproperties": {"2": {"solid": True}},
                "tiles": {"1": {"type": "goal"}},
            }
        ],
    }
    (tmp_path / "old.json").write_text(json.dumps(old))
    scene = tiled.read(tmp_path / "old.json").scenes[0]
    assert scene.properties == {"music": "cave"}
    assert [sorted(tile.meanings) for tile in scene.tileset.tiles] == [[], ["goal"], ["solid"], []]


def test_marks_line_ends_and_blanks_of_a_file_are_kept(tmp_path: Path) -> None:
    for name, build in (("map.tmx", tmx), ("map.json", tmj)):
        content = b"\xef\xbb\xbf" + build([np.array([[1, 2], [3, 4]], np.uint32)], "csv", "", None)
        content = content.replace(b"\n", b"\r\n") + b"\r\n"
        (tmp_path / name).write_bytes(content)
        document = tiled.read(tmp_path / name)
        assert document.with_scene(0, document.scenes[0]).content == content
        layers = document.scenes[0].layers.copy()
        layers[0, 1, 1] = NOTHING
        edited = document.with_scene(0, replace(document.scenes[0], layers=layers)).content
        assert edited == (content.replace(b"3,4", b"3,0") if build is tmx else content.replace(b"3, 4]", b"3, 0]"))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.tmx", "<map/>", True),
        ("a.TMJ", "{}", True),
        ("a.xsb", "###", False),
        ("a.json", '{"height":3, "layers":[], "tilewidth":16, "type":"map"}', True),
        ("a.json", '{"orientation": "orthogonal", "tilewidth" : 16}', True),
        ("a.json", '{"columns":3, "tilewidth":16, "type":"tileset"}', False),
        ("a.json", '{"__header__": {"app": "LDtk"}, "levels": []}', False),
        ("a.json", '{"tiles": {"#": ["solid"]}}', False),
        ("a.json", "", False),
    ],
)
def test_maps_are_told_from_other_files(tmp_path: Path, name: str, content: str, expected: bool) -> None:
    (tmp_path / name).write_text(content)
    assert tiled.sniff(tmp_path / name, content.encode()[:512]) is expected


def test_the_keys_of_a_long_json_map_stand_at_its_end(tmp_path: Path) -> None:
    grid = np.ones((200, 300), np.uint32)
    content = json.dumps(dict(sorted(json.loads(tmj([grid], "", "", None)).items()))).encode()
    (tmp_path / "map.json").write_bytes(content)
    assert tiled.sniff(tmp_path / "map.json", content[:1024])
    assert not tiled.sniff(tmp_path / "missing.json", content[:1024])
