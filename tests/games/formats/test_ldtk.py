"""LDtk projects: unchanged ones come back byte by byte; changed ones differ only where they changed."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError
from newgameplus.games.formats import ldtk, read_document
from newgameplus.games.formats.ldtk_text import array_text, items, members, numbers_text, spliced, with_values
from newgameplus.games.scenes import NOTHING, Scene, SceneObject

DATA = Path(os.environ.get("NGP_DATA", Path(__file__).parents[3] / "../shared/data")) / "maps" / "ldtk"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the measuring data (NGP_DATA, or ../shared/data) are not here"
)


def an_entity(kind: str, iid: str, x: int, y: int) -> dict[str, Any]:
    place = {"__grid": [x // 8, y // 8], "__pivot": [0.5, 1], "px": [x, y], "__worldX": 100 + x, "__worldY": y}
    fields = [
        {"__identifier": "life", "__type": "Int", "__value": 3, "realEditorValues": [{"id": "V_Int", "params": [3]}]}
    ]
    return {"__identifier": kind, **place, "iid": iid, "width": 8, "height": 16, "defUid": 20, "fieldInstances": fields}


def a_layer(uid: int, name: str, kind: str, grid: int, **content: Any) -> dict[str, Any]:
    size = {"__cWid": 48 // grid, "__cHei": 32 // grid, "__gridSize": grid, "__tilesetDefUid": 10 if uid == 2 else None}
    empty: dict[str, Any] = {"intGridCsv": [], "autoLayerTiles": [], "gridTiles": [], "entityInstances": []}
    head = {"__identifier": name, "__type": kind, **size, "__tilesetRelPath": "art/a.png" if uid == 2 else None}
    return {**head, "iid": f"layer-{uid}", "layerDefUid": uid, "pxOffsetX": 0, "pxOffsetY": 0, **empty, **content}


def a_level(name: str = "One") -> dict[str, Any]:
    tiles = [
        {"px": [8, 0], "src": [8, 0], "f": 1, "t": 1, "d": [1], "a": 1},
        {"px": [8, 0], "src": [16, 0], "f": 0, "t": 2, "d": [1], "a": 0.5},
        {"px": [0, 24], "src": [0, 8], "f": 2, "t": 4, "d": [18], "a": 1},
    ]
    layers = [
        a_layer(4, "Things", "Entities", 8, entityInstances=[an_entity("Player", f"{name}-p", 12, 16)]),
        a_layer(2, "Paint", "Tiles", 8, gridTiles=tiles),
        a_layer(
            1, "Walls", "IntGrid", 8, intGridCsv=[1] * 6 + [0, 2, 0, 0, 0, 7] + [0] * 12, autoLayerTiles=[{"t": 5}]
        ),
        a_layer(3, "Coarse", "IntGrid", 16, intGridCsv=[1, 0, 0, 0, 0, 1]),
        a_layer(5, "Shade", "AutoLayer", 8, autoLayerTiles=[{"t": 6}]),
    ]
    head = {"identifier": name, "iid": f"level-{name}", "worldX": 100, "worldY": 0, "pxWid": 48, "pxHei": 32}
    rest = {"useAutoIdentifier": True, "bgRelPath": None, "externalRelPath": None, "fieldInstances": []}
    return {**head, **rest, "layerInstances": layers, "__neighbours": [{"levelIid": "level-Two", "dir": "e"}]}


def a_project(*names: str) -> dict[str, Any]:
    kinds = [
        (1, "Walls", "IntGrid", 8),
        (2, "Paint", "Tiles", 8),
        (3, "Coarse", "IntGrid", 16),
        (4, "Things", "Entities", 8),
    ]
    layers = [
        {"identifier": name, "type": kind, "uid": uid, "gridSize": grid, "intGridValues": [], "autoRuleGroups": []}
        for uid, name, kind, grid in [*kinds, (5, "Shade", "AutoLayer", 8)]
    ]
    values = [(1, "walls"), (2, None)]
    layers[0]["intGridValues"] = [{"value": value, "identifier": word, "tile": None} for value, word in values]
    layers[0]["autoRuleGroups"] = layers[4]["autoRuleGroups"] = [{"rules": []}]
    layers[1]["tilesetDefUid"], layers[4]["autoSourceLayerDefUid"] = 10, 1
    sheet = {"identifier": "Art", "uid": 10, "relPath": "art/a.png", "tileGridSize": 8, "spacing": 0, "padding": 0}
    sheet |= {"__cWid": 3, "__cHei": 2, "enumTags": [{"enumValueId": "Water", "tileIds": [4]}]}
    thing = {"pivotX": 0.5, "pivotY": 1, "width": 8, "height": 16, "tags": [], "color": "#112233", "tileRect": None}
    entities = [{"identifier": "Player", "uid": 20, **thing}, {"identifier": "Mob", "uid": 21, **thing}]
    defs = {"layers": layers, "entities": entities, "tilesets": [sheet]}
    contents = [{"identifier": "Player", "instancesData": [{"iids": {"entityIid": f"{name}-p"}} for name in names]}]
    levels = [a_level(name) for name in names]
    head = {
        "__header__": {"fileType": "LDtk Project JSON"},
        "jsonVersion": "1.5.3",
        "toc": contents,
        "unknown": {"é": [1.50]},
    }
    return {**head, "externalLevels": False, "defs": defs, "levels": levels, "worlds": []}


def write(folder: Path, project: Any, indent: str | None = "\t") -> Path:
    path = folder / "game.ldtk"
    path.write_text(json.dumps(project, indent=indent, ensure_ascii=False), encoding="utf-8")
    return path


def read(folder: Path, project: Any) -> ldtk.LdtkDocument:
    return ldtk.read(write(folder, project))


def outside(folder: Path) -> dict[str, Any]:
    """Write a project whose levels have files of their own."""
    project = a_project("One", "Two")
    project["externalLevels"] = True
    (folder / "game").mkdir()
    for level in project["levels"]:
        name = f"game/{level['identifier']}.ldtkl"
        (folder / name).write_text(json.dumps(level, indent="\t"))
        level |= {"externalRelPath": name, "layerInstances": None}
    return project


def shown(scene: Scene, layer: int) -> list[list[str | None]]:
    return [[None if tile < 0 else scene.tileset.names[tile] for tile in row] for row in scene.layers[layer].tolist()]


def names_of(document: ldtk.LdtkDocument, layer: int, index: int = 0) -> list[list[str | None]]:
    return shown(document.scenes[index], layer)


def test_layers_tiles_and_entities_are_read(tmp_path: Path) -> None:
    document = read(tmp_path, a_project("One"))
    scene = document.scenes[0]
    assert scene.layer_names == ("Walls", "Paint")
    assert names_of(document, 0)[:2] == [["Walls:walls"] * 6, [None, "Walls:2", None, None, None, "Walls:7"]]
    assert names_of(document, 1)[0][1] == "Art#2"
    assert names_of(document, 1)[3][0] == "Art#4~v"
    tiles = scene.tileset.tiles
    assert tiles[scene.tileset.index["Walls:walls"]].meanings == {"solid"}
    assert tiles[scene.tileset.index["Art#4"]].meanings == {"liquid"}
    assert tiles[scene.tileset.index["Art#4"]].picture == (str(tmp_path / "art/a.png"), 8, 8, 8, 8)
    player = scene.objects[0]
    assert (player.kind, player.row, player.column, player.height, player.width) == ("Player", 0, 1, 2, 1)
    assert (player.layer, player.properties) == ("Things", {"life": 3})
    assert any("'Coarse' is kept untouched" in note for note in document.notes)
    assert any("lie under others" in note for note in document.notes)


@pytest.mark.parametrize("indent", ["\t", None])
def test_an_unchanged_project_comes_back_byte_by_byte(indent: str | None, tmp_path: Path) -> None:
    path = write(tmp_path, a_project("One", "Two"), indent)
    document = ldtk.read(path)
    for index, scene in enumerate(document.scenes):
        document = document.with_scene(index, scene)
    assert document.write(tmp_path / "other.ldtk")[0].read_bytes() == path.read_bytes()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 6), width=st.integers(1, 8), minified=st.booleans())
def test_any_scene_comes_back_as_written(
    seed: int, height: int, width: int, minified: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ldtk")
    document = ldtk.read(write(folder, a_project("One", "Two"), None if minified else "\t"))
    scene, random = document.scenes[0], np.random.default_rng(seed)
    layers = []
    for prefix in ("Walls:", "Art#"):
        numbers = [NOTHING, *(number for tile, number in scene.tileset.index.items() if tile.startswith(prefix))]
        layers.append(random.choice(np.array(numbers, np.int32), (height, width)))
    places = [(float(row), float(column)) for row, column in random.integers(0, 9, (random.integers(4), 2))]
    objects = [replace(scene.objects[0], row=row, column=column) for row, column in places]
    mobs = [SceneObject("Mob", 1.0, 2.0, layer="Things")] * int(random.integers(3))
    wanted = replace(scene, layers=np.stack(layers), objects=(*objects, *mobs))
    document.with_scene(0, wanted).write(folder / "new.ldtk")
    again = ldtk.read(folder / "new.ldtk")
    assert [names_of(again, layer) for layer in (0, 1)] == [shown(wanted, layer) for layer in (0, 1)]
    kinds = [(one.kind, one.row, one.column) for one in again.scenes[0].objects]
    assert kinds == [(one.kind, one.row, one.column) for one in wanted.objects]
    entities = json.loads((folder / "new.ldtk").read_text())["levels"][0]["layerInstances"][0]["entityInstances"]
    assert len({entity["iid"] for entity in entities}) == len(entities)
    assert names_of(again, 0, 1) == names_of(document, 0, 1)


def test_only_what_changed_differs(tmp_path: Path) -> None:
    path = write(tmp_path, a_project("One", "Two"))
    document = ldtk.read(path)
    scene = document.scenes[1]
    layers = scene.layers.copy()
    layers[1, 3, 0] = scene.tileset.index["Art#5"]
    new = document.with_scene(1, replace(scene, layers=layers)).write(tmp_path / "new.ldtk")[0]
    was, now = json.loads(path.read_text()), json.loads(new.read_text())
    tiles = now["levels"][1]["layerInstances"][1]["gridTiles"]
    assert tiles[2] == {"px": [0, 24], "src": [16, 8], "f": 0, "t": 5, "d": [18], "a": 1}
    was["levels"][1]["layerInstances"][1]["gridTiles"] = tiles
    assert now == was
    assert '"é": [' in new.read_text()
    assert "1.5\n" in new.read_text()


def test_derived_tiles_are_left_to_the_editor_when_their_layer_changed(tmp_path: Path) -> None:
    document = read(tmp_path, a_project("One"))
    scene = document.scenes[0]
    layers = scene.layers.copy()
    layers[0, 3, 3] = 0
    changed = document.with_scene(0, replace(scene, layers=layers))
    written = json.loads(changed.write(tmp_path / "new.ldtk")[0].read_text())["levels"][0]["layerInstances"]
    assert [layer["autoLayerTiles"] for layer in written] == [[], [], None, [], None]
    assert written[2]["intGridCsv"][21] == 1
    assert any("Walls, Shade anew" in note for note in changed.notes)


def test_another_size_reaches_every_layer(tmp_path: Path) -> None:
    document = read(tmp_path, a_project("One"))
    scene = document.scenes[0]
    bigger = np.pad(scene.layers, ((0, 0), (0, 0), (0, 3)), constant_values=NOTHING)
    new = document.with_scene(0, replace(scene, layers=bigger)).write(tmp_path / "new.ldtk")[0]
    level = json.loads(new.read_text())["levels"][0]
    assert (level["pxWid"], level["pxHei"]) == (72, 32)
    assert [layer["__cWid"] for layer in level["layerInstances"]] == [9, 9, 9, 5, 9]
    assert level["layerInstances"][3]["intGridCsv"] == [1, 0, 0, 0, 0, 0, 0, 1, 0, 0]
    assert [tile["d"] for tile in level["layerInstances"][1]["gridTiles"]] == [[1], [1], [27]]
    assert level["layerInstances"][4]["autoLayerTiles"] is None
    assert np.array_equal(ldtk.read(new).scenes[0].layers, bigger)


def test_entities_move_and_new_ones_get_identifiers_of_their_own(tmp_path: Path) -> None:
    document = read(tmp_path, a_project("One"))
    scene = document.scenes[0]
    player = scene.objects[0]
    objects = (replace(player, row=1.0), replace(player, column=4.0), SceneObject("Mob", 2.0, 0.0, layer="Things"))
    first = document.with_scene(0, replace(scene, objects=objects)).write(tmp_path / "1.ldtk")[0].read_text()
    again = document.with_scene(0, replace(scene, objects=objects)).write(tmp_path / "2.ldtk")[0].read_text()
    assert first == again
    moved, copied, mob = json.loads(first)["levels"][0]["layerInstances"][0]["entityInstances"]
    assert (moved["iid"], moved["px"], moved["__grid"], moved["__worldX"]) == ("One-p", [12, 24], [1, 2], 112)
    assert copied["px"] == [36, 16]
    assert len({moved["iid"], copied["iid"], mob["iid"]}) == 3
    assert copied["fieldInstances"] == moved["fieldInstances"]
    assert (mob["__identifier"], mob["defUid"], mob["px"]) == ("Mob", 21, [4, 32])
    gone = json.loads(document.with_scene(0, replace(scene, objects=())).write(tmp_path / "3.ldtk")[0].read_text())
    assert gone["toc"][0]["instancesData"] == []


def test_what_the_project_lacks_is_refused(tmp_path: Path) -> None:
    document = read(tmp_path, a_project("One"))
    scene = document.scenes[0]
    with pytest.raises(DataError, match=r"(?s)no layer of tiles 'Wals'.*did you mean 'Walls'"):
        document.with_scene(0, replace(scene, layer_names=("Wals", "Paint")))
    swapped = replace(scene, layers=scene.layers[::-1].copy())
    with pytest.raises(DataError, match="cannot be written here"):
        document.with_scene(0, swapped)
    with pytest.raises(DataError, match=r"(?s)no entity 'Playr'.*did you mean 'Player'"):
        document.with_scene(0, replace(scene, objects=(SceneObject("Playr", 0, 0, layer="Things"),)))
    with pytest.raises(DataError, match="no layer of entities 'Paint'"):
        document.with_scene(0, replace(scene, objects=(SceneObject("Player", 0, 0, layer="Paint"),)))


def test_one_level_alone_takes_a_name(tmp_path: Path) -> None:
    document = read(tmp_path, a_project("One", "Two", "Three"))
    for index in range(3):
        new = document.only(index, "made-1").write(tmp_path / "new.ldtk")[0]
        levels = json.loads(new.read_text())["levels"]
        assert [(level["identifier"], level["useAutoIdentifier"]) for level in levels] == [("made_1", False)]
        assert levels[0]["iid"] == document.scenes[index].name.join(["level-", ""])
        assert levels[0]["__neighbours"] == []
    assert json.loads(new.read_text())["toc"][0]["instancesData"] == [{"iids": {"entityIid": "Three-p"}}]


def test_levels_of_several_worlds(tmp_path: Path) -> None:
    project = a_project("One", "Two")
    levels = project["levels"]
    project |= {"levels": [], "worlds": [{"iid": "w1", "levels": levels[:1]}, {"iid": "w2", "levels": levels[1:]}]}
    document = read(tmp_path, project)
    assert [scene.name for scene in document.scenes] == ["One", "Two"]
    alone = json.loads(document.only(1).write(tmp_path / "new.ldtk")[0].read_text())
    assert [len(world["levels"]) for world in alone["worlds"]] == [0, 1]


def test_pictures_are_found_from_another_folder(tmp_path: Path) -> None:
    document = read(tmp_path, a_project("One"))
    written = json.loads(document.write(tmp_path / "out" / "deep" / "game.ldtk")[0].read_text())
    assert written["defs"]["tilesets"][0]["relPath"] == "../../art/a.png"
    assert written["levels"][0]["layerInstances"][1]["__tilesetRelPath"] == "../../art/a.png"


def test_levels_in_files_of_their_own(tmp_path: Path) -> None:
    document = read(tmp_path, outside(tmp_path))
    scene = document.scenes[1]
    layers = np.pad(scene.layers, ((0, 0), (0, 1), (0, 0)), constant_values=NOTHING)
    new, one, two = document.with_scene(1, replace(scene, layers=layers)).write(tmp_path / "more.ldtk")
    assert (one, two) == (tmp_path / "more" / "One.ldtkl", tmp_path / "more" / "Two.ldtkl")
    assert one.read_bytes() == (tmp_path / "game" / "One.ldtkl").read_bytes()
    stub = json.loads(new.read_text())["levels"][1]
    assert (stub["pxHei"], stub["externalRelPath"]) == (40, "more/Two.ldtkl")
    assert np.array_equal(ldtk.read(new).scenes[1].layers, layers)
    alone = document.only(0, "Fresh").write(tmp_path / "last.ldtk")
    assert alone[1] == tmp_path / "last" / "Fresh.ldtkl"
    assert ldtk.read(alone[0]).scenes[0].name == "Fresh"


@pytest.mark.parametrize(
    ("where", "value", "told"),
    [
        (("defs",), 3, "no defs"),
        (("defs", "layers", 0, "gridSize"), 0, "gridSize is 0"),
        (("defs", "layers", 1, "identifier"), "Walls", "two layers are called 'Walls'"),
        (("defs", "tilesets", 0, "__cWid"), "x", "__cWid is x"),
        (("levels",), [], "no levels"),
        (("levels",), 5, "levels is not a list"),
        (("levels", 0, "pxWid"), 10**9, "more than 100,000,000 cells"),
        (("levels", 0, "pxWid"), 1e999, "pxWid"),
        (("levels", 0, "layerInstances"), None, "layerInstances is not a list"),
        (("levels", 0, "layerInstances", 2, "intGridCsv"), [1, 2], "intGridCsv has 2 values, not 6 x 4 = 24"),
        (("levels", 0, "layerInstances", 2, "intGridCsv"), ["a"] * 24, "intGridCsv holds 'a'"),
        (("levels", 0, "layerInstances", 1, "__cHei"), 10**9, "cells"),
        (("levels", 0, "layerInstances", 1, "gridTiles", 0, "px"), [1], "not \\[x, y\\]"),
        (("levels", 0, "layerInstances", 1, "gridTiles", 0, "t"), -4, "t is -4"),
        (("levels", 0, "layerInstances", 0, "entityInstances", 0, "px"), "a", "not two numbers"),
        (("levels", 0, "layerInstances", 0, "entityInstances", 0, "width"), None, "width is None"),
        (("levels", 0, "externalRelPath"), "gone/One.ldtkl", "cannot be read"),
        (("levels", 0, "externalRelPath"), "../../One.ldtkl", "outside of the project's folder"),
    ],
)
def test_a_broken_project_is_told(where: tuple[str | int, ...], value: Any, told: str, tmp_path: Path) -> None:
    project = a_project("One")
    if where[-1] == "externalRelPath":
        project["levels"][0]["layerInstances"] = None
    holder: Any = project
    for key in where[:-1]:
        holder = holder[key]
    holder[where[-1]] = value
    with pytest.raises(DataError, match=told):
        read(tmp_path, project)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "no LDtk project"),
        ("[" * 200_000, "nested|not JSON"),
        ('{"a": 1}', "no LDtk"),
    ],
)
def test_what_is_no_project_is_told(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "game.ldtk").write_text(content)
    with pytest.raises(DataError, match=told):
        ldtk.read(tmp_path / "game.ldtk")


def test_all_levels_are_checked_at_once(tmp_path: Path) -> None:
    project = a_project("One", "Two")
    for level in project["levels"]:
        level["pxHei"] = -1
    with pytest.raises(DataError) as caught:
        read(tmp_path, project)
    assert len(caught.value.problems) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(value=st.dictionaries(st.text(max_size=3), JSON, max_size=5), indent=st.sampled_from([None, "\t", 1]))
def test_spans_are_those_of_the_values(value: dict[str, Any], indent: str | int | None) -> None:
    text = json.dumps(value, indent=indent)
    spans = members(text)
    assert {key: json.loads(text[slice(*span)]) for key, span in spans.items()} == value
    for key, span in spans.items():
        if isinstance(value[key], list):
            assert [json.loads(text[slice(*one)]) for one in items(text, span[0])] == value[key]
    assert spliced(text, []) == text
    new = dict.fromkeys(value, 7)
    assert json.loads(with_values(text, new)) == new


@given(numbers=st.lists(st.integers(0, 12), max_size=200), indent=st.sampled_from([None, "", "\t\t"]))
def test_arrays_are_json_whatever_their_style(numbers: list[int], indent: str | None) -> None:
    assert json.loads(numbers_text(numbers, indent)) == numbers
    assert json.loads(array_text(list(map(str, numbers)), indent)) == numbers


@needs_data
def test_real_projects_come_back_byte_by_byte(tmp_path: Path) -> None:
    files = sorted(DATA.glob("*.ldtk"))
    assert len(files) >= 5
    for file in files:
        shutil.copyfile(file, tmp_path / file.name)
        if (DATA / file.stem).is_dir():
            shutil.copytree(DATA / file.stem, tmp_path / file.stem, copy_function=shutil.copyfile)
        document = read_document(tmp_path / file.name)
        assert isinstance(document, ldtk.LdtkDocument)
        for index, scene in enumerate(document.scenes):
            assert document.with_scene(index, scene) is document
            alone = ldtk.read(document.only(index, "alone").write(tmp_path / f"alone-{index}.ldtk")[0])
            assert np.array_equal(alone.scenes[0].layers, scene.layers)
        assert document.write(tmp_path / file.name)[0].read_bytes() == file.read_bytes()


@needs_data
def test_a_change_to_a_real_project_touches_few_lines(tmp_path: Path) -> None:
    path = tmp_path / "Typical_2D_platformer_example.ldtk"
    shutil.copyfile(DATA / path.name, path)
    document = read_document(path)
    scene = document.scenes[2]
    layers = scene.layers.copy()
    layers[0, 0, :3] = scene.tileset.index["Collisions:ladder"]
    new = document.with_scene(2, replace(scene, layers=layers)).write(tmp_path / "new.ldtk")[0]
    was, now = (set(file.read_text().splitlines()) for file in (path, new))
    assert len(now - was) <= 3
    assert np.array_equal(read_document(new).scenes[2].layers, layers)
