"""Scenes become levels and levels scenes again, without loss, over any layers and objects."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import DataError
from newgameplus.games import stacking
from newgameplus.games.scenes import NOTHING, Level, Scene, SceneObject, Tile, Tileset
from newgameplus.games.stacking import Stack, cell_of, parts_of, stack

TILES = Tileset(
    (Tile("floor", frozenset({"empty"})), Tile("wall", frozenset({"solid"})), Tile("moss", frozenset({"decoration"})))
)


def a_scene(*layers: object, objects: tuple[SceneObject, ...] = (), name: str = "a", tileset: Tileset = TILES) -> Scene:
    grids = np.array(layers, np.int32)
    return Scene(name, grids, ("ground", "roof", "top")[: len(grids)], tileset, objects, source=Path("maps/a.map"))


def mob(row: float, column: float, kind: str = "mob", layer: str = "actors") -> SceneObject:
    return SceneObject(kind, row, column, 1, 1, layer, token=(kind, row, column))


def test_one_layer_keeps_the_names_of_its_tiles() -> None:
    result, (level,) = stack([a_scene([[1, 0], [NOTHING, 1]])])
    assert result.tileset.names == ("wall", "floor", "nothing")
    assert level.tiles.tolist() == [[0, 1], [2, 0]]
    assert [set(tile.meanings) for tile in result.tileset.tiles] == [{"solid"}, {"empty"}, {"empty"}]


def test_layers_and_objects_are_combined() -> None:
    scene = a_scene([[1, 0]], [[2, NOTHING]], objects=(mob(0, 1), mob(0, 1, "coin")))
    result, (level,) = stack([scene], meanings={"@mob": ["enemy"], "@coin": ["collectable"]})
    assert result.layers == ("ground", "roof", "actors")
    assert result.objects == (False, False, True)
    assert result.tileset.names == ("wall|moss|-", "floor|-|@coin+@mob")
    assert [set(tile.meanings) for tile in result.tileset.tiles] == [{"solid", "decoration"}, {"enemy", "collectable"}]
    assert np.array_equal(result.scene(level, scene).layers, scene.layers)
    assert result.scene(level, scene).objects == scene.objects


def test_scenes_of_several_files_are_matched_by_name() -> None:
    other = Tileset((Tile("wall"), Tile("floor")))
    result, (first, second) = stack([a_scene([[1, 0]]), a_scene([[0, 1]], tileset=other)])
    assert first.tiles.tolist() == second.tiles.tolist()
    assert result.level(a_scene([[1, 1]], tileset=other)).tiles.tolist() == [[1, 1]]


def test_a_character_stands_where_its_feet_are() -> None:
    assert cell_of(SceneObject("p", 2.0, 3.0)) == (2, 3)
    assert cell_of(SceneObject("p", 2.0, 3.0, 1, 1)) == (2, 3)
    assert cell_of(SceneObject("p", 1.5, 2.75, 1.5, 1.5)) == (2, 3)
    assert cell_of(SceneObject("p", 1.0, 3.0, 2, 2)) == (2, 3)


def test_objects_off_the_map_and_without_kinds_are_not_stacked_by_themselves() -> None:
    scene = a_scene([[1, 0]], objects=(mob(0, 1, "", "shapes"), mob(9, 9, "note", "notes"), mob(0, 0)))
    result, (level,) = stack([scene])
    assert result.layers == ("ground", "actors")
    assert {one.layer for one in result.scene(level, scene).objects} == {"shapes", "notes", "actors"}


def test_a_new_level_is_written_over_a_template() -> None:
    scene = a_scene([[1, 0], [0, 0]], [[2, 2], [2, 2]], objects=(mob(0, 0), mob(1, 1, "sign", "signs")))
    result, (level,) = stack([scene], layers=["ground", "actors"])
    with_mob, bare = level.tiles[0, 0], level.tiles[1, 1]
    new = Level(np.array([[bare, bare, with_mob]], np.int32), result.tileset, "new")
    made = result.scene(new, scene)
    assert made.name == "new"
    assert made.layers.tolist() == [[[0, 0, 1]], [[2, 2, NOTHING]]]
    assert [(one.kind, one.row, one.column, one.token) for one in made.objects] == [("mob", 0, 2, ("mob", 0, 0))]
    assert np.array_equal(result.level(made).tiles, new.tiles)


def test_templates_are_found_again_after_saving() -> None:
    scene = a_scene([[1, 0]], objects=(mob(0, 0),))
    result, (level,) = stack([scene])
    again = Stack.from_dict(json.loads(json.dumps(result.as_dict())))
    assert again == result
    empty = replace(scene, objects=())
    assert again.scene(level, empty).objects[0].token is None
    assert again.bind([scene]).scene(level, empty).objects == scene.objects


def test_a_tile_that_the_template_has_not_seen_is_added_to_its_tiles() -> None:
    other = a_scene([[0, 0]], tileset=Tileset((Tile("floor"),)))
    result, (level, _) = stack([a_scene([[1, 0]]), other])
    made = result.scene(level, other)
    assert made.tileset.names == ("floor", "wall")
    assert result.level(made).tiles.tolist() == level.tiles.tolist()


def test_what_cannot_be_stacked_is_told() -> None:
    scene = a_scene([[1, 0]])
    with pytest.raises(DataError, match="no scenes"):
        stack([])
    with pytest.raises(DataError, match=r"(?s)maps/a.map a: the map has no layer 'rof'.*did you mean 'roof'"):
        stack([a_scene([[1]], [[0]])], layers=["rof"])
    with pytest.raises(DataError, match="no layers are chosen"):
        stack([scene], layers=[])
    with pytest.raises(DataError, match="no layer in common"):
        stack([scene, replace(scene, layer_names=("other",))])
    with pytest.raises(DataError, match="did you mean 'wall'"):
        stack([scene], meanings={"wal": ["solid"]})
    result, _ = stack([scene])
    with pytest.raises(DataError, match="row 0, column 1 holds 'moss', which no map"):
        result.level(a_scene([[1, 2]]))
    with pytest.raises(DataError, match="other symbols"):
        result.scene(Level(np.zeros((1, 1), np.int32), TILES), scene)
    with pytest.raises(DataError, match="beyond its tileset"):
        stack([a_scene([[7]])])


def test_too_many_combinations_are_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacking, "MAX_SYMBOLS", 3)
    with pytest.raises(DataError, match=r"(?s)more than 3 combinations.*choose fewer layers"):
        stack([a_scene([[0, 0, 1, 1]], [[1, 2, 1, 2]])])


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"layers": ["a"], "objects": [], "symbols": []},
        {"layers": 3},
        [],
        {"layers": ["a"], "objects": [0], "symbols": [1]},
    ],
)
def test_what_is_no_stack_is_told(content: object) -> None:
    with pytest.raises(DataError, match="not a stack"):
        Stack.from_dict(content)  # type: ignore[arg-type]


def test_names_that_collide_are_told_apart() -> None:
    odd = Tileset((Tile("a|b"), Tile("a"), Tile("b|-"), Tile("nothing")))
    result, _ = stack([a_scene([[0, 1]], [[NOTHING, 2]], tileset=odd)])
    assert len(set(result.tileset.names)) == 2
    single, (level,) = stack([a_scene([[3, NOTHING]], tileset=odd)])
    assert len(single.tileset) == 2
    assert level.tiles.tolist() == [[0, 1]]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    layers=st.integers(1, 3),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    count=st.integers(0, 8),
)
def test_scenes_survive_stacking(seed: int, layers: int, height: int, width: int, count: int) -> None:
    random = np.random.default_rng(seed)
    scenes = []
    for number in range(2):
        places = zip(random.integers(height, size=count), random.integers(width, size=count), strict=True)
        objects = tuple(mob(float(row), float(column), random.choice(["mob", "coin"])) for row, column in places)
        scenes.append(a_scene(*random.integers(-1, 3, (layers, height, width)), objects=objects, name=f"s{number}"))
    result, levels = stack(scenes)
    for scene, level, other in zip(scenes, levels, reversed(scenes), strict=True):
        assert np.array_equal(result.level(scene).tiles, level.tiles)
        same = result.scene(level, scene)
        assert np.array_equal(same.layers, scene.layers)
        assert same.objects == scene.objects
        over = result.scene(level, other)
        assert np.array_equal(over.layers, scene.layers)
        assert sorted((one.kind, *cell_of(one)) for one in over.objects) == sorted(
            (one.kind, *cell_of(one)) for one in scene.objects
        )
        assert np.array_equal(result.level(over).tiles, level.tiles)


def test_parts_are_what_scenes_show() -> None:
    scene = a_scene([[1, NOTHING]], objects=(mob(0, 0),))
    assert list(parts_of([scene])) == ["wall", "@mob", "nothing"]
