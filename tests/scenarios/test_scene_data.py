"""What a recipe's maps become: levels, what they measure, how they split, and whether they are still the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.scene_maps import TMX_MEANINGS, quick_recipe, write_text_maps, write_tmx_maps, write_xsb_maps

from newgameplus.errors import DataError, RunError
from newgameplus.recipe import Recipe
from newgameplus.run import Run
from newgameplus.scenarios.scene_data import SceneGame, choose_measures, load_scene_game, scene_recipe
from newgameplus.scenarios.scene_makers import draw_sizes, random_requests

DATA = {"tiles": TMX_MEANINGS, "layers": ["play"]}


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "maps"
    write_tmx_maps(folder, 8)
    return folder


def load(maps: Path, **data: Any) -> SceneGame:
    return load_scene_game(quick_recipe(maps, maps.parent, data={**DATA, **data}))


def test_maps_become_levels_with_answers_values_and_names(maps: Path) -> None:
    game = load(maps)
    assert [level.name for level in game.levels] == [f"room{number}" for number in range(8)]
    assert all(answer.playable for answer in game.answers)
    assert {"goals", "solids", "coins"} <= set(game.measures)
    assert "enemies" not in game.measures
    assert game.values[2]["goals"] == 2.0 == game.values[6]["goals"]
    assert game.values[0]["solids"] == game.levels[0].where("solid").sum()
    assert not game.left_out


def test_no_map_is_on_two_sides_of_the_split(maps: Path) -> None:
    game = load(maps, test=0.25, validation=0.2)
    parts = [set(part.tolist()) for part in (game.train, game.validation, game.test)]
    assert [len(part) for part in parts] == [5, 1, 2]
    assert set().union(*parts) == set(range(8))
    assert load(maps, test=0.25, validation=0.2).test.tolist() == game.test.tolist()
    assert [len(part) for part in (load(maps, test=0.0).test, load(maps).validation)] == [0, 0]


def test_maps_of_one_file_are_split_level_by_level_and_others_file_by_file(tmp_path: Path) -> None:
    level = "#####\n#@$.#\n#####\n"
    many = "\n".join(f"; {number}\n\n{level}" for number in range(6))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "all.xsb").write_text(many)
    game = load_scene_game(quick_recipe(tmp_path / "one", tmp_path, rules="sokoban", data={"test": 0.34}))
    assert len(game.test) == 2
    assert len(game.train) == 4
    (tmp_path / "one" / "more.xsb").write_text(many)
    game = load_scene_game(quick_recipe(tmp_path / "one", tmp_path, rules="sokoban", data={"test": 0.34}))
    assert {game.groups[n] for n in game.test}.isdisjoint(game.groups[n] for n in game.train)


def test_other_maps_can_be_the_test(maps: Path, tmp_path: Path) -> None:
    write_tmx_maps(tmp_path / "other", 3)
    game = load(maps, test_path=str(tmp_path / "other"))
    assert len(game.train) == 8
    assert [game.groups[n] for n in game.test] == [str(tmp_path / "other" / f"room{n}.tmx") for n in range(3)]


def test_fewer_maps_can_be_used_with_the_same_test(maps: Path) -> None:
    few, all_of_them = load(maps, max_levels=2), load(maps)
    assert len(few.train) == 2
    assert few.test.tolist() == all_of_them.test.tolist()
    assert set(few.train.tolist()) < set(all_of_them.train.tolist())


def test_a_fingerprint_tells_maps_of_one_name_apart(tmp_path: Path) -> None:
    for world in ("a", "b"):
        write_tmx_maps(tmp_path / "maps" / world, 2)
    before = load(tmp_path / "maps").fingerprint()
    assert len(before["levels"]) == 4
    assert load(tmp_path / "maps").fingerprint() == before
    path = tmp_path / "maps" / "b" / "room1.tmx"
    path.write_text(path.read_text().replace("2,1,1,", "2,1,2,", 1))
    after = load(tmp_path / "maps").fingerprint()
    assert sum(after["levels"][name] != digest for name, digest in before["levels"].items()) == 1


def test_captions_belong_to_maps_by_name(maps: Path, tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text('name,caption\nroom1,"dark, narrow"\nroom2.tmx,wide\n')
    game = load(maps, captions=str(tmp_path / "captions.csv"))
    assert [level.caption for level in game.levels[:4]] == ["", "dark, narrow", "wide", ""]
    (tmp_path / "captions.csv").write_text("map,words\nroom1,dark\n")
    with pytest.raises(DataError, match="columns are map, words") as caught:
        load(maps, captions=str(tmp_path / "captions.csv"))
    assert "name and caption" in caught.value.remedy
    with pytest.raises(DataError, match="cannot read the captions"):
        load(maps, captions=str(tmp_path / "nowhere.csv"))


def test_measures_of_the_recipe_must_exist(maps: Path) -> None:
    recipe = quick_recipe(maps, maps.parent, data=DATA, control={"measures": ["goals", "tile:tiles#1"]})
    assert load_scene_game(recipe).measures == ("goals", "tile:tiles#1")
    with pytest.raises(DataError, match="goalz"):
        choose_measures(
            quick_recipe(maps, maps.parent, control={"measures": ["goalz"]}), load_scene_game(recipe).levels, True
        )


def test_mirror_images_are_learned_only_where_they_keep_the_structure(tmp_path: Path) -> None:
    write_text_maps(tmp_path / "dungeon", "dungeon", 3, height=11, width=12)
    game = load_scene_game(quick_recipe(tmp_path / "dungeon", tmp_path))
    plain = game.examples(game.train, "columns")
    mirrored = game.examples(game.train, "columns", mirror=True)
    assert len(plain) == len(game.train)
    assert len(plain) < len(mirrored) <= 4 * len(plain)
    write_text_maps(tmp_path / "platformer", "platformer", 3, height=12, width=40)
    side = load_scene_game(quick_recipe(tmp_path / "platformer", tmp_path, rules="platformer"))
    assert len(side.examples(side.train, "columns", mirror=True)) == len(side.train)


def test_sokoban_is_learned_with_the_trails_of_boxes_also_in_mirror_images(tmp_path: Path) -> None:
    write_xsb_maps(tmp_path / "maps", 6)
    recipe = quick_recipe(tmp_path / "maps", tmp_path, rules="sokoban")
    game = load_scene_game(recipe)
    assert game.way.drawn
    assert not game.way.throughout
    assert game.way.tileset.names[len(game.way.twin) :]
    examples = game.examples(game.train, "columns", mirror=True)
    assert len(examples) == 8 * len(game.train), "four mirror images, and the same turned"
    assert {example.scan.shape for example in examples} == {(8, 6), (6, 8)}
    boxes = game.way.tileset.flags("box")[:-1] & ~game.way.tileset.flags("goal")[:-1]
    for example in examples:
        assert game.way.on_way[example.scan[boxes[example.scan]]].all(), "every box off its goal is pushed along"
    plain = load_scene_game(quick_recipe(tmp_path / "maps", tmp_path, rules="sokoban", data={"draw_way": "never"}))
    assert not plain.way.drawn


def test_maps_without_a_way_are_not_learned_where_the_others_have_one(tmp_path: Path) -> None:
    write_xsb_maps(tmp_path / "maps", 6)
    stuck = "########\n#$   . #\n#      #\n#  @   #\n#   $ .#\n########\n"
    (tmp_path / "maps" / "stuck.xsb").write_text(stuck)
    settings = {"draw_way": "auto", "unplayable": "learn", "test": 0.0}
    game = load_scene_game(quick_recipe(tmp_path / "maps", tmp_path, rules="sokoban", data=settings))
    assert len(game.train) == 6
    assert all(game.answers[n].playable for n in game.train)
    settings["draw_way"] = "never"
    assert len(load_scene_game(quick_recipe(tmp_path / "maps", tmp_path, rules="sokoban", data=settings)).train) == 7


def test_random_requests_are_together_in_no_map(maps: Path) -> None:
    game = load(maps)
    drawn = [random_requests(game, np.random.default_rng(seed)) for seed in range(20)]
    assert any(drawn)
    for wanted in filter(None, drawn):
        assert not any(all(r.miss(game.values[n][r.measure]) == 0 for r in wanted) for n in game.train)
        for request in wanted:
            assert any(request.miss(game.values[n][request.measure]) == 0 for n in game.train)


def test_sizes_are_those_of_the_maps_or_of_the_recipe(maps: Path) -> None:
    recipe = quick_recipe(maps, maps.parent, data=DATA)
    game = load_scene_game(recipe)
    assert draw_sizes(game, recipe, 3, 0) == [(6, 12)] * 3
    sized = quick_recipe(maps, maps.parent, data=DATA, generate={"size": "7x30"})
    assert draw_sizes(game, sized, 2, 0) == [(7, 30)] * 2


def test_a_recipe_of_another_scenario_is_refused(tmp_path: Path) -> None:
    run = Run.create(Recipe.model_validate({"data": {"path": "/clips"}}), tmp_path / "run")
    with pytest.raises(RunError, match="makes no levels"):
        scene_recipe(run)
    assert json.loads((tmp_path / "run" / "environment.json").read_text())
