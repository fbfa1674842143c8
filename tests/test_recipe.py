"""Recipes: strict, every problem at once, and the same after a round trip."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newgameplus.errors import RecipeError
from newgameplus.finetune import read_recipe
from newgameplus.recipe import Recipe, dump_recipe, load_recipe, parse_recipe

KNOWN = {"adapt.strategy": ["probe", "lp-ft", "full", "gradual"], "evaluate.baselines": ["majority", "probe"]}


def test_only_the_path_is_needed_and_all_defaults_are_written_out() -> None:
    recipe = parse_recipe("data: {path: clips}")
    text = dump_recipe(recipe)
    assert parse_recipe(text) == recipe
    for key in ("learning_rate", "strategy", "baselines", "max_labels", "seed"):
        assert f"{key}:" in text


def test_all_problems_come_at_once_with_key_line_and_nearest_name() -> None:
    text = "\n".join(
        [
            "scenario: behavior",
            "nmae: x",
            "data:",
            "  path: clips",
            "  test: 1.5",
            "train:",
            "  learning_rat: 3",
            "  epochs: many",
            "adapt:",
            "  strategy: lpft",
        ]
    )
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml", KNOWN)
    found = {problem.source: problem for problem in caught.value.problems}
    assert set(found) == {
        "r.yaml:2 (nmae)",
        "r.yaml:5 (data.test)",
        "r.yaml:7 (train.learning_rat)",
        "r.yaml:8 (train.epochs)",
        "r.yaml:10 (adapt.strategy)",
    }
    assert "did you mean 'name'" in found["r.yaml:2 (nmae)"].remedy
    assert "did you mean 'learning_rate'" in found["r.yaml:7 (train.learning_rat)"].remedy
    assert "did you mean 'lp-ft'" in found["r.yaml:10 (adapt.strategy)"].remedy
    assert "1.5" in found["r.yaml:5 (data.test)"].message
    assert "auto" in found["r.yaml:8 (train.epochs)"].message
    assert "integer" in found["r.yaml:8 (train.epochs)"].message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "found nothing"),
        ("- a\n- b", "found list"),
        ("data: [", "not valid YAML"),
        ("data: {path: a}\ndata: {path: b}", "given twice"),
        ("data: {test: 0.2}", "data.path is missing"),
        ("data: {path: x}\ntrain: {learning_rate: .nan}", "nan will not do"),
        ("data: {path: x}\nname: '../evil'", "will not do"),
        ("data: {path: x}\nseed: -1", "-1 will not do"),
    ],
)
def test_what_cannot_be_used_says_why(text: str, expected: str) -> None:
    with pytest.raises(RecipeError, match=expected):
        parse_recipe(text)


def test_a_recipe_cannot_run_code(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="not valid YAML"):
        parse_recipe(f"data: !!python/object/apply:os.system ['touch {tmp_path / 'x'}']")
    assert not (tmp_path / "x").exists()


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("data: {path: clips, test_path: other}\nruns: out\n")
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert recipe.data.path == str(tmp_path / "clips")
    assert recipe.data.test_path == str(tmp_path / "other")
    assert recipe.runs == str(tmp_path / "out")


def test_a_missing_recipe_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="ngp init") as caught:
        read_recipe(tmp_path / "none.yaml")
    assert str(tmp_path / "none.yaml") in str(caught.value)


def test_registries_are_checked_when_a_recipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {path: x}\nadapt: {strategy: lora2}\nevaluate: {baselines: [majorty]}\n")
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert len(caught.value.problems) == 2
    assert "did you mean 'majority'" in str(caught.value)


@given(
    seed=st.integers(0, 2**32 - 1),
    path=st.text(min_size=1, max_size=30).filter(lambda text: "\x00" not in text),
    rate=st.floats(1e-8, 10.0),
    groups=st.lists(st.text(max_size=10), max_size=3),
)
def test_round_trip(seed: int, path: str, rate: float, groups: list[str]) -> None:
    recipe = Recipe.model_validate(
        {"seed": seed, "data": {"path": path, "test_groups": groups}, "train": {"learning_rate": rate}}
    )
    assert parse_recipe(dump_recipe(recipe)) == recipe


@pytest.mark.parametrize(("scenario", "other"), [("behavior", "bundled:doom-clips"), ("scene", "bundled:tiles")])
def test_runs_to_start_from_lie_where_the_recipe_does(tmp_path: Path, scenario: str, other: str) -> None:
    (tmp_path / "runs" / "old").mkdir(parents=True)
    text = f"scenario: {scenario}\ndata: {{path: data}}\nmodel: {{start: ['run:runs/old', '{other}', 'run:none']}}\n"
    (tmp_path / "recipe.yaml").write_text(text)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert recipe.model.start == (f"run:{tmp_path / 'runs' / 'old'}", other, "run:none")
