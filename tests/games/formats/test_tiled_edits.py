"""Edits of Tiled maps change what they shall, keep everything else, and open in Tiled."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from newgameplus.errors import DataError
from newgameplus.games.formats import tiled
from newgameplus.games.scenes import NOTHING, Scene, SceneObject

COLORS = [(200, 40, 40), (40, 180, 40), (50, 50, 220), (220, 200, 40)]
MAP = """<?xml version="1.0" encoding="UTF-8"?>
<!-- made by hand -->
<map version="1.8" tiledversion="1.8.2" orientation="orthogonal" renderorder="right-down" width="4" height="3" \
tilewidth="8" tileheight="8" infinite="0" nextlayerid="20" nextobjectid="12">
 <editorsettings>
  <export target="out.json" format="json"/>
 </editorsettings>
 <properties>
  <property name="music" type="file" value="sounds/cave.ogg"/>
  <property name="gravity" type="float" value="9.5"/>
  <property name="words">two
lines</property>
  <property name="boss" type="object" value="7"/>
  <property name="theme" type="class" propertytype="Theme"><properties><property name="dark" type="bool" value="true"/>
  </properties></property>
 </properties>
 <tileset firstgid="1" name="t" tilewidth="8" tileheight="8" tilecount="4" columns="2">
  <image source="t.png" width="16" height="16"/>
  <tile id="0"><animation><frame tileid="0" duration="100"/><frame tileid="1" duration="100"/></animation></tile>
  <wangsets><wangset name="w" type="corner" tile="-1"><wangcolor name="c" color="#ff0000" tile="-1" probability="1"/>
   <wangtile tileid="0" wangid="0,1,0,1,0,1,0,1"/></wangset>
  </wangsets>
 </tileset>
 <imagelayer id="1" name="sky" offsetx="3"><image source="art/sky.png" width="9" height="9"/></imagelayer>
 <group id="2" name="G" opacity="0.5">
  <layer id="3" name="ground" width="4" height="3" tintcolor="#ff0000">
   <properties><property name="depth" type="int" value="2"/></properties>
   <data encoding="csv">
1,1,1,1,
2,0,0,2,
3,3,3,3
</data>
  </layer>
  <layer id="4" name="ground" width="4" height="3">
   <data encoding="base64" compression="zlib">
    eJxjYIAAAAAMAAE=
   </data>
  </layer>
 </group>
 <objectgroup id="5" name="things" color="#123456">
  <properties><property name="p" value="q"/></properties>
  <object id="3" name="hero" type="player" x="8" y="16" width="8" height="8" rotation="10">
   <properties><property name="lives" type="int" value="3"/></properties>
  </object>
  <object id="4" gid="2147483650" x="16" y="24" width="8" height="16"/>
  <object id="6" name="path" x="4" y="4"><polyline points="0,0 8,-4 -4,4"/></object>
  <object id="7" type="spot" x="12" y="2"><point/></object>
  <object id="8" name="round" x="0" y="0" width="4" height="4"><ellipse/></object>
  <object id="9" x="0" y="0" width="40" height="10"><text wrap="1">Hello &amp; welcome</text></object>
  <object id="10" template="stuff/coin.tx" x="24" y="8"/>
 </objectgroup>
 <objectgroup id="6" name="none"/>
</map>
"""
COIN = """<?xml version="1.0" encoding="UTF-8"?>
<template><tileset firstgid="1" source="c.tsx"/>
 <object name="c" type="coin" gid="2" width="4" height="8"><properties><property name="worth" type="int" value="5"/>
 </properties></object></template>
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "map.tmx").write_text(MAP.replace("eJxjYIAAAAAMAAE=", _zlib(np.zeros((3, 4)))))
    (tmp_path / "stuff").mkdir()
    (tmp_path / "stuff" / "coin.tx").write_text(COIN)
    return tmp_path


def _zlib(cells: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(cells.astype("<u4").tobytes())).decode()


def draw_tileset(folder: Path) -> None:
    from PIL import Image

    image = Image.new("RGB", (16, 16))
    for number, color in enumerate(COLORS):
        left, top = number % 2 * 8, number // 2 * 8
        image.paste(color, (left, top, left + 8, top + 8))
        image.paste((0, 0, 0), (left, top, left + 3, top + 3))  # a mark, to see flips
    image.save(folder / "t.png")


def tree(content: bytes, *without: str) -> list[tuple[object, ...]]:
    """Return all elements with their attributes and text, but for the tags and attributes not to be compared."""
    found = []
    for element in ElementTree.fromstring(content).iter():
        values = {name: value for name, value in element.attrib.items() if f"{element.tag}.{name}" not in without}
        text = "" if element.tag in without else (element.text or "").strip()
        if f"<{element.tag}>" not in without:
            found.append((element.tag, tuple(values.items()), text))
    return found


def kinds(scene: Scene) -> list[str]:
    return [item.kind for item in scene.objects]


def test_the_objects_of_a_map_are_measured_in_tiles(folder: Path) -> None:
    document = tiled.read(folder / "map.tmx")
    scene = document.scenes[0]
    assert scene.layer_names == ("G/ground", "G/ground#2")
    assert kinds(scene) == ["player", "gid:t#1~h", "path", "spot", "round", "text", "coin"]
    places = [(item.row, item.column, item.height, item.width) for item in scene.objects]
    assert places[:5] == [(2, 1, 1, 1), (1, 2, 2, 1), (0, 0, 1, 1.5), (0.25, 1.5, 0, 0), (0, 0, 0.5, 0.5)]
    assert places[6] == (0, 3, 1, 0.5)
    assert scene.objects[0].properties == {"lives": 3}
    assert scene.objects[6].properties == {"worth": 5}
    assert scene.properties["gravity"] == 9.5
    assert scene.properties["words"] == "two\nlines"
    assert scene.properties["theme"] == {"dark": True}
    assert document.notes == ()


def test_edited_cells_leave_everything_else_as_it_was(folder: Path) -> None:
    document = tiled.read(folder / "map.tmx")
    scene = document.scenes[0]
    layers = scene.layers.copy()
    layers[0, 0] = [3, NOTHING, 0, 1]
    edited = document.with_scene(0, replace(scene, layers=layers))
    expected = document.content.replace(b"\n1,1,1,1,\n", b"\n4,0,1,2,\n")
    assert edited.content == expected
    assert edited.with_scene(0, scene).content == document.content


def test_a_new_size_cuts_and_pads_the_layers_that_a_scene_lacks(folder: Path) -> None:
    document = tiled.read(folder / "map.tmx")
    scene = document.scenes[0]
    upper = np.array([[[0, 1], [2, 3], [3, 2], [1, 0], [0, 0]]], np.int32)
    edited = document.with_scene(0, replace(scene, layers=upper, layer_names=("G/ground#2",)))
    after = edited.scenes[0]
    assert after.layers[1].tolist() == upper[0].tolist()
    assert after.layers[0].tolist() == [[0, 0], [1, -1], [2, 2], [-1, -1], [-1, -1]]
    sizes = [f"{tag}.{side}" for tag in ("map", "layer") for side in ("width", "height")]
    assert tree(edited.content, "data", *sizes) == tree(document.content, "data", *sizes)
    root = ElementTree.fromstring(edited.content)
    assert {(e.get("width"), e.get("height")) for e in [root, *root.iter("layer")]} == {("2", "5")}


def test_objects_move_vanish_and_multiply(folder: Path) -> None:
    document = tiled.read(folder / "map.tmx")
    scene = document.scenes[0]
    player, tile, path, *_, coin = scene.objects
    objects = (
        replace(player, row=0.5, width=2),
        replace(tile, column=3, height=1.0),
        replace(path, row=1.0, column=1.25),
        replace(tile, row=0, column=0),
        replace(coin, row=2.0),
        replace(coin, row=1.0, layer="none"),
        SceneObject("spot", 1, 1, layer="none"),
        SceneObject("player", 0, 0, 1, 1),
        SceneObject("ghost & co", 2, 3, 1, 2, layer="things"),
        SceneObject("mark", 1, 0, layer="none"),
        SceneObject("gid:t#3~v", 1, 1, 1, 1, layer="none"),
    )
    edited = document.with_scene(0, replace(scene, objects=objects))
    after = edited.scenes[0]
    order = [0, 1, 2, 3, 4, 7, 8, 5, 6, 9, 10]
    for item, wanted in zip(after.objects, [objects[index] for index in order], strict=True):
        assert item.kind == wanted.kind
        assert (item.row, item.column, item.height, item.width) == pytest.approx(
            (wanted.row, wanted.column, wanted.height, wanted.width)
        )
    root = ElementTree.fromstring(edited.content)
    ids = [int(element.get("id", "")) for element in root.iter("object")]
    assert len(set(ids)) == len(ids)
    assert ids[:3] == [3, 4, 6]
    assert {10, 12, 13, 14, 15, 16, 17, 18} == set(ids[3:])
    assert root.get("nextobjectid") == "19"
    first = next(root.iter("object"))
    assert dict(first.attrib) == {
        "id": "3",
        "name": "hero",
        "type": "player",
        "x": "8",
        "y": "4",
        "width": "16",
        "height": "8",
        "rotation": "10",
    }
    assert tree(edited.content, "<object>", "<property>", "<properties>", "map.nextobjectid", *_SHAPES) == tree(
        document.content, "<object>", "<property>", "<properties>", *_SHAPES, "map.nextobjectid"
    )
    again = edited.with_scene(0, replace(after, objects=after.objects[:1]))
    assert kinds(again.scenes[0]) == ["player"]
    assert "Hello" not in again.content.decode()
    assert kinds(again.with_scene(0, replace(after, objects=())).scenes[0]) == []


_SHAPES = ("<polyline>", "<point>", "<ellipse>", "<text>")


def test_objects_of_another_map_become_objects_of_this_one(folder: Path) -> None:
    (folder / "other.tmx").write_text(
        (folder / "map.tmx").read_text().replace('firstgid="1" name', 'firstgid="1"  name')
    )
    ours, theirs = tiled.read(folder / "map.tmx"), tiled.read(folder / "other.tmx").scenes[0]
    edited = ours.with_scene(0, replace(ours.scenes[0], objects=theirs.objects))
    assert kinds(edited.scenes[0]) == kinds(theirs)
    assert [item.token.number for item in edited.scenes[0].objects] == list(range(12, 19))
    assert [item.token.path for item in edited.scenes[0].objects] == [folder / "map.tmx"] * 7


def test_references_lead_to_the_same_files_from_another_folder(folder: Path) -> None:
    document = tiled.read(folder / "map.tmx")
    [written] = document.write(folder / "new" / "deep" / "map.tmx")
    found = re.findall(r'(?:source|template|value)="([^"]*\.\w+)"', written.read_text())
    assert found == ["../../sounds/cave.ogg", "9.5", "../../t.png", "../../art/sky.png", "../../stuff/coin.tx"]
    again = tiled.read(written)
    assert again.scenes[0].tileset == document.scenes[0].tileset
    assert kinds(again.scenes[0]) == kinds(document.scenes[0])
    [back] = again.write(folder / "back.tmx")
    assert back.read_bytes() == document.content


def test_absolute_and_foreign_references_stay(folder: Path) -> None:
    text = (folder / "map.tmx").read_text().replace("t.png", "/art/t.png").replace("art/sky.png", "https://a.b/sky.png")
    (folder / "map.tmx").write_text(text)
    [written] = tiled.read(folder / "map.tmx").write(folder / "new" / "map.tmx")
    assert 'source="/art/t.png"' in written.read_text()
    assert 'source="https://a.b/sky.png"' in written.read_text()


def test_json_maps_are_edited_alike(folder: Path) -> None:
    objects = [
        {
            "id": 1,
            "name": "",
            "type": "player",
            "x": 8,
            "y": 8,
            "width": 8,
            "height": 8,
            "visible": True,
            "rotation": 0,
        },
        {"id": 2, "name": "", "type": "spot", "x": 1.5, "y": 2, "width": 0, "height": 0, "point": True},
        {"id": 3, "name": "a", "type": "", "x": 4, "y": 4, "polygon": [{"x": 0, "y": 0}, {"x": 8, "y": -4}]},
    ]
    layers = [
        {"type": "tilelayer", "name": "a", "width": 2, "height": 2, "data": [1, 2, 3, 4], "custom": {"x": [1, 2]}},
        {"type": "objectgroup", "name": "o", "objects": objects},
        {"type": "objectgroup", "name": "p", "objects": []},
        {"type": "imagelayer", "name": "i", "image": "art/sky.png"},
    ]
    tileset = {"firstgid": 1, "name": "t", "tilewidth": 8, "tileheight": 8, "tilecount": 4, "columns": 2}
    tileset |= {
        "image": "t.png",
        "imagewidth": 16,
        "imageheight": 16,
        "wangsets": [{"wangtiles": [{"wangid": [0, 1]}]}],
    }
    properties = [{"name": "f", "type": "file", "value": "x.lua"}, {"name": "é", "type": "string", "value": "\u2028"}]
    content = {"type": "map", "orientation": "orthogonal", "infinite": False, "width": 2, "height": 2, "tilewidth": 8}
    content |= {"tileheight": 8, "layers": layers, "tilesets": [tileset], "properties": properties, "nextobjectid": 4}
    file = folder / "map.tmj"
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    document = tiled.read(file)
    scene = document.scenes[0]
    assert scene.properties == {"f": "x.lua", "é": "\u2028"}
    player, spot, corners = scene.objects
    assert (corners.row, corners.column, corners.height, corners.width) == (0, 0.5, 0.5, 1)

    moved = (replace(player, row=0.0), spot, replace(spot, row=1.0, layer="p"), SceneObject("x", 1, 1, 1, 1, "p"))
    tiles = np.array([[[0, 0, 1], [2, 3, NOTHING]]], np.int32)
    edited = document.with_scene(0, replace(scene, layers=tiles, objects=moved))
    assert edited.scenes[0].layers.tolist() == tiles.tolist()
    after = json.loads(edited.content)
    assert [item["id"] for item in after["layers"][1]["objects"]] == [1, 2]
    assert after["layers"][1]["objects"][0] == {**objects[0], "y": 0}
    assert after["layers"][2]["objects"][0] == {**objects[1], "id": 4, "y": 8}
    assert (after["nextobjectid"], after["width"], after["layers"][0]["width"]) == (6, 3, 3)
    assert after["layers"][0]["data"] == [1, 1, 2, 3, 4, 0]
    assert list(after) == list(content)
    assert after["tilesets"] == content["tilesets"]
    assert after["layers"][3] == layers[3]
    assert kinds(edited.scenes[0]) == ["player", "spot", "spot", "x"]

    [written] = document.write(folder / "new" / "map.json")
    there = json.loads(written.read_text(encoding="utf-8"))
    assert there["tilesets"][0]["image"] == "../t.png"
    assert there["layers"][3]["image"] == "../art/sky.png"
    assert there["properties"][0]["value"] == "../x.lua"


def test_infinite_maps_stay_in_chunks(folder: Path) -> None:
    text = (folder / "map.tmx").read_text().replace('infinite="0"', 'infinite="1"')
    chunk = (
        '<chunk x="-32" y="-16" width="2" height="2">\n1,2,\n3,4\n</chunk>\n <chunk x="0" y="0" width="1" height="1">4'
    )
    csv = "1,1,1,1,\n2,0,0,2,\n3,3,3,3\n"
    (folder / "map.tmx").write_text(re.sub(r">\s*eJ\S*\s*<", "><", text.replace(csv, f"  {chunk}</chunk>\n")))
    document = tiled.read(folder / "map.tmx")
    scene = document.scenes[0]
    assert (scene.height, scene.width) == (17, 33)
    assert scene.layers[0, :2, :2].tolist() == [[0, 1], [2, 3]]
    assert scene.layers[0, 16, 32] == 3
    assert (scene.layers != NOTHING).sum() == 5
    assert (scene.objects[0].row, scene.objects[0].column) == (2 + 16, 1 + 32)

    layers = scene.layers.copy()
    layers[0, 10, 20] = 1
    layers[1, 0, 0] = 2
    edited = document.with_scene(0, replace(scene, layers=layers))
    assert np.array_equal(edited.scenes[0].layers, layers)
    root = ElementTree.fromstring(edited.content)
    places = [[(c.get("x"), c.get("y"), c.get("width")) for c in layer.iter("chunk")] for layer in root.iter("layer")]
    assert places == [[("-32", "-16", "2"), ("0", "0", "1"), ("-16", "-16", "16")], [("-32", "-16", "16")]]
    assert b'width="2" height="2">\n1,2,\n3,4\n</chunk>' in edited.content

    bare = document.with_scene(0, replace(scene, layers=np.full((2, 20, 40), NOTHING, np.int32)))
    assert bare.scenes[0].layers.shape == (2, 20, 40)
    assert (bare.scenes[0].layers == NOTHING).all()
    assert bare.scenes[0].objects == scene.objects


@pytest.mark.parametrize("orientation", ["isometric", "staggered", "hexagonal"])
def test_other_orientations_are_kept_but_not_generated(folder: Path, orientation: str) -> None:
    text = (folder / "map.tmx").read_text().replace("orthogonal", orientation)
    (folder / "map.tmx").write_text(text)
    document = tiled.read(folder / "map.tmx")
    assert not document.generable
    assert document.notes == (f"{orientation}: read and kept, not generated yet",)
    [written] = document.write(folder / "copy.tmx")
    assert written.read_text() == text


def test_scenes_that_do_not_fit_are_refused_with_what_would(folder: Path) -> None:
    document = tiled.read(folder / "map.tmx")
    scene = document.scenes[0]
    with pytest.raises(DataError, match="tile layer 'G/grund' is not in the map") as error:
        document.with_scene(0, replace(scene, layer_names=("G/grund", "G/ground#2")))
    assert "did you mean 'G/ground'" in str(error.value)
    stranger = replace(scene.tileset, tiles=tuple(replace(tile, name=f"x{tile.name}") for tile in scene.tileset.tiles))
    with pytest.raises(DataError, match="3 tiles cannot be written") as error:
        document.with_scene(0, replace(scene, tileset=stranger))
    assert "tile 'xt#0' is in none of the map's tilesets" in str(error.value)
    with pytest.raises(DataError, match="no object layer is called 'thing'"):
        document.with_scene(0, replace(scene, objects=(SceneObject("a", 0, 0, layer="thing"),)))
    with pytest.raises(DataError, match="shape"):
        document.with_scene(0, replace(scene, layers=scene.layers[:, :0]))
    with pytest.raises(DataError, match="shape"):
        document.with_scene(0, replace(scene, layers=scene.layers[0]))
    with pytest.raises(DataError, match="one map"):
        document.with_scene(1, scene)
    with pytest.raises(DataError, match="not converted"):
        document.write(folder / "map.tmj")
    renamed = document.only(0, "other")
    assert renamed.scenes[0].name == renamed.with_scene(0, scene).scenes[0].name == "other"


def rasterized(file: Path) -> np.ndarray:
    from PIL import Image

    picture = file.with_suffix(".png")
    arguments = ["tmxrasterizer", str(file), str(picture)]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(file.parent)}
    done = subprocess.run(arguments, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    with Image.open(picture) as image:
        return np.asarray(image.convert("RGBA"))


def drawn(cells: np.ndarray) -> np.ndarray:
    """Draw cells as the tileset of the tests has them: a color with a dark mark in a corner, mirrored by the flips."""
    picture = np.zeros((cells.shape[0] * 8, cells.shape[1] * 8, 4), np.uint8)
    for (row, column), cell in np.ndenumerate(cells):
        if not cell:
            continue
        tile = np.zeros((8, 8, 4), np.uint8)
        tile[:] = (*COLORS[(int(cell) & 0xFFFFFFF) - 1], 255)
        tile[:3, :3, :3] = 0
        tile = tile[:, ::-1] if cell & (1 << 31) else tile
        tile = tile[::-1] if cell & (1 << 30) else tile
        picture[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = tile
    return picture


@pytest.mark.skipif(shutil.which("tmxrasterizer") is None, reason="Tiled is not installed")
@pytest.mark.parametrize(
    "kind", ["csv", "base64", "base64 zlib", "base64 gzip", "base64 zstd", "tiles", "tmj", "infinite", "infinite tmj"]
)
def test_what_is_written_opens_in_tiled_and_looks_right(tmp_path: Path, kind: str) -> None:
    draw_tileset(tmp_path)
    (tmp_path / "new").mkdir()
    file = tmp_path / ("map.tmj" if "tmj" in kind else "map.tmx")
    file.write_text(_plain_map(kind))
    document = tiled.read(file)
    scene = document.scenes[0]
    rng = np.random.default_rng(3)
    wanted = (rng.integers(1, 5, (6, 7)) | rng.choice([0, 1 << 31, 1 << 30, 3 << 30], (6, 7))).astype(np.uint32)
    wanted[2, 3] = wanted[0, 1] = 0
    names = ["t#0", *sorted({_name(int(cell)) for cell in wanted.ravel() if cell} - {"t#0"})]
    tileset = replace(scene.tileset, tiles=tuple(replace(scene.tileset.tiles[0], name=name) for name in names))
    numbers = [[tileset.index[_name(int(cell))] if cell else NOTHING for cell in row] for row in wanted]
    edited = document.with_scene(0, replace(scene, layers=np.array([numbers], np.int32), tileset=tileset))
    [written] = edited.write(tmp_path / "new" / file.name)
    picture = rasterized(written)
    assert np.array_equal(picture[:48, :56], drawn(wanted))
    assert not picture[48:].any()
    assert not picture[:, 56:].any()


def _name(cell: int) -> str:
    flips = ("h" if cell & (1 << 31) else "") + ("v" if cell & (1 << 30) else "")
    return f"t#{(cell & 0xFFFFFFF) - 1}" + (f"~{flips}" if flips else "")


def _plain_map(kind: str) -> str:
    head: dict[str, object] = {"orientation": "orthogonal", "width": 2, "height": 2, "tilewidth": 8, "tileheight": 8}
    if "tmj" in kind:
        tileset = {"firstgid": 1, "name": "t", "tilewidth": 8, "tileheight": 8, "tilecount": 4, "columns": 2}
        tileset |= {"image": "t.png", "imagewidth": 16, "imageheight": 16, "margin": 0, "spacing": 0}
        layer = {
            "type": "tilelayer",
            "name": "a",
            "id": 1,
            "width": 2,
            "height": 2,
            "data": [1, 2, 3, 4],
            "x": 0,
            "y": 0,
        }
        layer |= {"visible": True, "opacity": 1}
        if "infinite" in kind:
            layer |= {"chunks": [{"x": -32, "y": 16, "width": 2, "height": 2, "data": layer.pop("data")}]}
        head["infinite"] = "infinite" in kind
        return json.dumps({"type": "map", "version": "1.8", **head, "layers": [layer], "tilesets": [tileset]})
    cells = np.array([[1, 2], [3, 4]], np.uint32)
    style, text = 'encoding="csv"', "1,2,\n3,4"
    if kind == "tiles":
        style, text = "", "".join(f'<tile gid="{cell}"/>\n' for cell in cells.ravel())
    elif kind == "infinite":
        text = '<chunk x="-16" y="-32" width="2" height="2">1,2,3,4</chunk>'
    elif kind != "csv":
        if "zstd" in kind:
            pack = pytest.importorskip("zstandard").compress
        else:
            pack = {"base64 zlib": zlib.compress, "base64 gzip": gzip.compress}.get(kind, bytes)
        style = 'encoding="base64"' + (f' compression="{kind[7:]}"' if kind[7:] else "")
        text = base64.b64encode(pack(cells.tobytes())).decode()
    attributes = " ".join(f'{name}="{value}"' for name, value in head.items())
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<map version="1.8" {attributes} infinite="{int(kind == "infinite")}">
 <tileset firstgid="1" name="t" tilewidth="8" tileheight="8" tilecount="4" columns="2">
  <image source="t.png" width="16" height="16"/>
 </tileset>
 <layer id="1" name="a" width="2" height="2">
  <data {style}>
   {text}
  </data>
 </layer>
</map>
"""
