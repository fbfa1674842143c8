"""Recipes of the scene scenario: as strict as the others, in the same file format, told apart by their scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newgameplus.errors import RecipeError
from newgameplus.finetune import read_recipe
from newgameplus.recipe import (
    Recipe,
    SceneRecipe,
    dump_recipe,
    load_recipe,
    parse_recipe,
    parse_size,
    recipe_settings,
)
from newgameplus.run import Run
from newgameplus.scenarios import SCENARIOS, known_names


def problems_of(text: str, known: Any = None) -> dict[str, str]:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml", known)
    return {problem.source: f"{problem.message} | {problem.remedy}" for problem in caught.value.problems}


def test_the_scenario_picks_the_schema() -> None:
    assert isinstance(parse_recipe("data: {path: clips}"), Recipe)
    assert isinstance(parse_recipe("scenario: behavior\ndata: {path: clips}"), Recipe)
    scene = parse_recipe("scenario: scene\ndata: {path: maps}")
    assert isinstance(scene, SceneRecipe)
    assert scene.model.candidates == ("bundled:tiles",)
    assert scene.data.rules == "reachability"


def test_all_defaults_are_written_out_and_survive_a_round_trip() -> None:
    recipe = parse_recipe("scenario: scene\ndata: {path: maps, tiles: {'#': solid, '.': [empty], 'no': []}}")
    text = dump_recipe(recipe)
    assert parse_recipe(text) == recipe
    for key in ("tiles:", "measures:", "check_every:", "min_distance:", "baselines:", "lora_rank:", "solver_nodes:"):
        assert key in text


def test_all_problems_come_at_once_with_key_line_and_nearest_name() -> None:
    text = "\n".join(
        [
            "scenario: scene",
            "data:",
            "  path: maps",
            "  tiles:",
            "    '#': solid",
            "    1: [empty]",
            "    'x.y': [solid, 3]",
            "  scan: column",
            "  rulez: platformer",
            "control:",
            "  measures:",
            "    - enemies",
            "    - gps",
            "    - tile:X",
            "generate: {size: 14by150, top_p: 0}",
            "train: {steps: many}",
        ]
    )
    found = problems_of(text, {"control.measures": ["auto", "enemies", "gaps", "tile:*"]})
    assert set(found) == {
        "r.yaml:6 (data.tiles.1)",
        "r.yaml:7 (data.tiles['x.y'].1)",
        "r.yaml:8 (data.scan)",
        "r.yaml:9 (data.rulez)",
        "r.yaml:13 (control.measures)",
        "r.yaml:15 (generate.size)",
        "r.yaml:15 (generate.top_p)",
        "r.yaml:16 (train.steps)",
    }
    assert "between quotes" in found["r.yaml:6 (data.tiles.1)"]
    assert "did you mean 'rules'" in found["r.yaml:9 (data.rulez)"]
    assert "did you mean 'gaps'" in found["r.yaml:13 (control.measures)"]
    assert "14by150" in found["r.yaml:15 (generate.size)"]
    assert "14x150" in found["r.yaml:15 (generate.size)"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scenario: scne\ndata: {path: x}", "did you mean 'scene'"),
        ("scenario: dance\ndata: {path: x}", "known: behavior, scene"),
        ("scenario: [scene]\ndata: {path: x}", "is no scenario"),
        ("scenario: scene", "data is missing"),
        ("scenario: scene\ndata: maps", "give keys of it: path, format"),
        ("scenario: scene\ndata: {path: x, labels: y}", "unknown key 'labels'"),
        ("data: {path: x}\ngenerate: {size: 14x14}", "scenario: scene"),
        ("scenario: scene\ndata: {path: x, layers: []}", "at least 1"),
        ("scenario: scene\ndata: {path: x}\ngenerate: {size: '0x5'}", "0x5 tiles"),
        ("scenario: scene\ndata: {path: x}\ngenerate: {size: 9999x9999}", "9999x9999"),
        ("scenario: scene\ndata: {path: x}\ngenerate: {temperature: .nan}", "nan will not do"),
        ("scenario: scene\ndata: {path: x}\nevaluate: {samples: 0}", "0 will not do"),
    ],
)
def test_what_cannot_be_used_says_why(text: str, expected: str) -> None:
    told = " ".join(problems_of(text).values())
    assert expected in told
    assert len(told) < 1000


def test_an_unknown_scenario_that_is_near_a_known_one_hides_no_other_mistake() -> None:
    found = problems_of("scenario: scne\ndata: {path: x}\ncontrol: {measure: auto}")
    assert any("did you mean 'measures'" in told for told in found.values())
    assert len(found) == 2


def test_aliases_that_grow_out_of_all_measure_are_refused_at_once() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    with pytest.raises(RecipeError, match="more than 200,000 values"):
        parse_recipe(bomb)


def test_paths_are_relative_to_the_recipe_and_names_of_rules_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "jumps.json").write_text("[]")
    (tmp_path / "my rules").write_text("")
    text = "scenario: scene\ndata: {path: maps, legend: l.json, captions: c.csv, rules: %s, rules_options: {jumps: %s}}"

    def load(rules: str, jumps: str = "jumps.json") -> SceneRecipe:
        (tmp_path / "recipe.yaml").write_text(text % (rules, jumps))
        recipe = load_recipe(tmp_path / "recipe.yaml", known=known_names)
        assert isinstance(recipe, SceneRecipe)
        return recipe

    recipe = load("platformer")
    assert recipe.data.path == str(tmp_path / "maps")
    assert recipe.data.legend == str(tmp_path / "l.json")
    assert recipe.data.captions == str(tmp_path / "c.csv")
    assert recipe.data.rules == "platformer"
    assert recipe.data.rules_options == {"jumps": str(tmp_path / "jumps.json")}
    assert recipe.runs == str(tmp_path / "runs")
    assert load("own.yaml").data.rules == str(tmp_path / "own.yaml")
    assert load("my rules").data.rules == str(tmp_path / "my rules")
    assert load("'own.py:judge'").data.rules == f"{tmp_path / 'own.py'}:judge"
    assert load("'gymnasium:FrozenLake-v1'").data.rules == "gymnasium:FrozenLake-v1"
    assert load("sokoban", "[[0, 1]]").data.rules_options == {"jumps": [[0, 1]]}
    with pytest.raises(RecipeError, match="did you mean 'platformer'"):
        load("platfromer")


def test_where_data_lie_is_no_setting_of_a_result(tmp_path: Path) -> None:
    one, other = (
        SceneRecipe.model_validate({"data": {"path": f"{place}/maps", "rules": f"{place}/own.yaml"}, "runs": place})
        for place in ("/here", "/there")
    )
    assert recipe_settings(one) == recipe_settings(other)
    changed = one.model_copy(update={"generate": one.generate.model_copy(update={"repairs": 7})})
    assert recipe_settings(one) != recipe_settings(changed)


def test_registries_are_checked_when_a_recipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "scenario: scene\ndata: {path: x, format: tild}\nadapt: {strategy: lor}\n"
        "control: {measures: [enemys]}\nevaluate: {baselines: [markow, scratch]}\n"
    )
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    told = str(caught.value)
    assert len(caught.value.problems) == 4
    for name in ("tiled", "lora", "enemies", "markov"):
        assert f"did you mean '{name}'" in told
    path.write_text("scenario: scene\ndata: {path: x}\n")
    assert read_recipe(path, skip_bad=True).data.skip_bad


def test_defaults_are_names_that_the_registries_know() -> None:
    recipe = parse_recipe("scenario: scene\ndata: {path: x}")
    assert parse_recipe(dump_recipe(recipe), known=known_names("scene") | {"data.format": ["None"]}) == recipe
    assert {"behavior", "scene"} <= set(SCENARIOS)


def test_a_run_folder_keeps_a_scene_recipe(tmp_path: Path) -> None:
    recipe = parse_recipe("scenario: scene\ndata: {path: /maps, tiles: {'#': solid}}")
    run = Run.create(recipe, tmp_path / "run")
    assert Run.open(run.folder).recipe == recipe


@pytest.mark.parametrize(("text", "size"), [("14x150", (14, 150)), (" 1X1 ", (1, 1)), ("1000x1000", (1000, 1000))])
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "14", "x", "14x", "14x-3", "1.5x2", "0x3", "10001x1", "1001x1000", "9" * 99])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="tiles"):
        parse_size(text)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1, 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@given(
    tiles=st.dictionaries(st.text(max_size=6), st.lists(st.sampled_from(["solid", "empty", "key:red"]), max_size=3)),
    options=st.dictionaries(st.text(max_size=6), plain, max_size=3),
    size=st.none() | st.tuples(st.integers(1, 999), st.integers(1, 999)).map(lambda pair: f"{pair[0]}x{pair[1]}"),
)
def test_round_trip(tiles: dict[str, list[str]], options: dict[str, Any], size: str | None) -> None:
    recipe = SceneRecipe.model_validate(
        {"data": {"path": "maps", "tiles": tiles, "rules_options": options}, "generate": {"size": size}}
    )
    assert parse_recipe(dump_recipe(recipe)) == recipe


def refusal(text: str) -> RecipeError | None:
    try:
        parse_recipe(text)
    except RecipeError as error:
        return error
    return None


@given(text=st.text(max_size=60) | st.text("{}[]:-&*#'\" \nab1", max_size=40))
def test_no_text_ends_in_anything_but_a_recipe_or_a_recipe_error(text: str) -> None:
    for head in ("", "scenario: scene\ndata: {path: x}\n", "scenario: scene\ndata:\n  path: x\n  tiles:\n    "):
        error = refusal(head + text)
        assert error is None or all(problem.message and problem.source for problem in error.problems)
