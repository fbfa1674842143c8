"""A recipe written for maps is ready to run; check says what stands in the way before anything is trained."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from newgameplus.cli_text import plan_text
from newgameplus.errors import DataError, NewGamePlusError, RecipeError
from newgameplus.games.generators import make_levels
from newgameplus.recipe import SceneRecipe, parse_recipe
from newgameplus.verbs import check, init

DATA = Path(os.environ.get("NGP_DATA", Path(__file__).parents[3] / "shared" / "data"))
LEGEND = {"#": ["solid"], ".": ["empty"], "@": ["start"], "<": ["goal"]}


def write_maps(folder: Path, count: int = 6, legend: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rows = ["#" * 12, *(f"#{'.' * 10}#" for _ in range(5)), "#" * 12]
        rows[1] = f"#@{'.' * number}#{'.' * (8 - number)}#"
        rows[5] = f"#{'.' * 9}<#"
        (folder / f"map {number}.txt").write_text("\n".join(rows) + "\n")
    if legend:
        (folder / "legend.json").write_text(json.dumps(LEGEND))
    return folder


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    return write_maps(tmp_path / "maps")


def read(text: str) -> SceneRecipe:
    recipe = parse_recipe(text)
    assert isinstance(recipe, SceneRecipe)
    return recipe


def test_a_written_recipe_names_what_was_found_and_every_tile_with_a_reason(maps: Path) -> None:
    text = init("scene", maps, name="my maps")
    assert "# Found: 6 maps in 6 files (6 text), 7x12 tiles." in text
    assert max(map(len, text.splitlines())) <= 120
    recipe = read(text)
    assert recipe.name == "my-maps"
    assert set(recipe.data.tiles) == set(LEGEND)
    assert recipe.data.tiles["#"] == ("solid",)
    assert recipe.data.rules == "top-down"
    for tile in LEGEND:
        line = next(line for line in text.splitlines() if line.startswith(f"    '{tile}':"))
        assert "times; " in line
    assert text.count("#") > 25


def test_a_written_recipe_passes_check_as_it_is(maps: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(init("scene", maps))
    plan = check(path)
    assert plan["scenario"] == "scene"
    assert plan["split"] == {"train": 5, "validation": 0, "test": 1}
    assert plan["solved"] == {"playable": 6, "unplayable": 0, "undecided": 0}
    assert plan["symbols"] == 4
    assert plan["parameters"] > 1000
    assert plan["estimated_seconds"] > 0
    text = plan_text(plan)
    assert "top-down: 6 playable" in text
    assert max(map(len, text.splitlines())) <= 80


def test_names_that_yaml_would_read_as_something_else_are_quoted(tmp_path: Path) -> None:
    folder = tmp_path / "my 'maps': #1"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.txt").write_text("##########\n#'-~*&!?0#\n##########\n")
    recipe = read(init("scene", folder))
    assert recipe.data.path == str(folder)
    assert {"'", "-", "~", "*", "&", "!", "?", "0", "#"} <= set(recipe.data.tiles)


def test_tall_levels_grow_downwards(tmp_path: Path) -> None:
    (tmp_path / "tower.txt").write_text("##.##\n" * 30)
    assert read(init("scene", tmp_path / "tower.txt")).data.scan == "rows"


def test_one_map_says_that_it_is_few_and_maps_that_cannot_be_read_can_be_left_out(maps: Path, tmp_path: Path) -> None:
    assert "1 map: few to learn from" in init("scene", maps / "map 0.txt")
    (maps / "broken.tmx").write_text("<map>")
    with pytest.raises(DataError, match=r"broken\.tmx"):
        init("scene", maps)
    assert read(init("scene", maps, skip_bad=True)).data.skip_bad


def test_init_refuses_what_it_cannot_use(maps: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        init("scene", tmp_path / "nowhere")
    with pytest.raises(RecipeError, match="did you mean 'scene'"):
        init("scenes", maps)
    with pytest.raises(RecipeError, match="knows no legend"):
        init("behavior", maps, legend="x.json")


def make_recipe(maps: Path, **data: Any) -> SceneRecipe:
    content = {"data": {"path": str(maps), "rules": "top-down"} | data}
    return SceneRecipe.model_validate(content)


def test_rules_that_no_map_passes_are_a_problem_that_names_the_first_map(maps: Path) -> None:
    with pytest.raises(NewGamePlusError) as caught:
        check(make_recipe(maps, rules="sokoban"))
    told = str(caught.value)
    assert "none of the 6 maps can be played" in told
    assert "map 0" in told
    assert "box" in told
    assert "ngp check-scenes" in told


def test_rules_that_some_maps_fail_are_a_note_with_the_count(maps: Path) -> None:
    (maps / "map 3.txt").write_text("############\n#@#........#\n############\n#.........<#\n############\n")
    plan = check(make_recipe(maps))
    assert plan["solved"]["unplayable"] == 1
    assert any("1 of 6 maps cannot be played" in note and "map 3" in note for note in plan["notes"])


def test_all_problems_of_maps_and_model_come_together(maps: Path) -> None:
    recipe = SceneRecipe.model_validate(
        {
            "data": {"path": str(maps), "rules": "top-down", "tiles": {"#": ["sold"], "%": ["solid"]}},
            "model": {"start": ["bundled:tile", "nowhere:x"]},
        }
    )
    with pytest.raises(NewGamePlusError) as caught:
        check(recipe)
    told = str(caught.value)
    assert "did you mean 'solid'" in told
    assert "'%'" in told
    assert "bundled:tile" in told
    assert len(caught.value.problems) >= 4


def test_maps_on_both_sides_of_the_split_are_noted(maps: Path) -> None:
    text = (maps / "map 0.txt").read_text()
    for number in range(1, 6):
        (maps / f"map {number}.txt").write_text(text)
    assert any("test maps are also for training" in note for note in check(make_recipe(maps))["notes"])


def test_one_level_only_can_be_planned(maps: Path) -> None:
    plan = check(make_recipe(maps / "map 0.txt"))
    assert plan["split"] == {"train": 1, "validation": 0, "test": 0}
    assert any("no map is left to test on" in note for note in plan["notes"])


@pytest.mark.parametrize("kind", ["cave", "dungeon", "platformer", "sokoban"])
def test_levels_of_our_own_generators_are_understood(kind: str, tmp_path: Path) -> None:
    levels = make_levels(kind, 3, seed=5)
    for number, level in enumerate(levels):
        (tmp_path / f"{number}.txt").write_text(level.to_text() + "\n")
    meanings = {tile.name: sorted(tile.meanings) for tile in levels[0].tileset.tiles}
    (tmp_path / "legend.json").write_text(json.dumps(meanings))
    content = yaml.safe_load(init("scene", tmp_path, legend=tmp_path / "legend.json"))
    content["data"]["rules"] = {"platformer": "platformer", "sokoban": "sokoban"}.get(kind, "top-down")
    assert check(SceneRecipe.model_validate(content))["solved"]["playable"] == 3


@pytest.mark.skipif(not (DATA / "scenes").is_dir(), reason="the real maps are not here (NGP_DATA)")
@pytest.mark.parametrize(
    ("folder", "legend", "rules", "count"),
    [("mario/smb", "mario/smb.json", "platformer", 15), ("sokoban/microban", None, "sokoban", 482)],
)
def test_real_maps_are_understood(folder: str, legend: str | None, rules: str, count: int) -> None:
    maps = DATA / "scenes" / folder
    text = init("scene", maps, legend=DATA / "scenes" / legend if legend else None)
    assert read(text).data.rules == rules
    assert f"Found: {count} maps" in text
