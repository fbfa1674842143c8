"""Candidates with options of their own: labels, what each name takes, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from newgameplus.errors import RecipeError
from newgameplus.recipe import AnyRecipe, BehaviorCandidate, ModelSettings, dump_recipe, load_recipe, parse_recipe
from newgameplus.recipe import recipe_settings as settings_of

_DATA = {"behavior": "data: {path: x}", "scene": "data: {path: x}", "agent": "environment: {id: x}"}


def parse(model: str, scenario: str = "behavior") -> AnyRecipe:
    return parse_recipe(f"scenario: {scenario}\n{_DATA[scenario]}\nmodel: {model}\n")


def candidate(start: str, **options: Any) -> BehaviorCandidate:
    return BehaviorCandidate(start=start, options=options)


def labels(*start: str | BehaviorCandidate, **options: Any) -> tuple[str, ...]:
    return ModelSettings(start=start, options=options).candidates


@pytest.mark.parametrize("scenario", list(_DATA))
def test_plain_names_take_the_recipe_s_options_and_mappings_their_own(scenario: str) -> None:
    recipe = parse(
        "{start: [run:a, {start: run:b, options: {revision: x}}, {start: run:c}], options: {s: 4}}", scenario
    )
    assert recipe.model.candidates == ("run:a", "run:b", "run:c")
    assert [dict(one.options) for one in recipe.model.starts] == [{"s": 4}, {"revision": "x"}, {}]
    only = recipe.model.only("run:b")
    assert (only.start, dict(only.options)) == ("run:b", {"revision": "x"})
    assert dict(recipe.model.only("run:elsewhere").options) == {"s": 4}
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_two_of_a_name_are_told_apart_by_what_differs() -> None:
    assert labels("a:x", candidate("a:x", frames=8)) == ("a:x", "a:x (frames=8)")
    assert labels("a:x", candidate("a:x", frames=8), frames=4) == ("a:x (frames=4)", "a:x (frames=8)")
    two = candidate("a:x", factory="/p/net.py:make", steps=4), candidate("a:x", factory="/p/net.py:other", steps=4)
    assert labels(*two, "a:y") == ("a:x (factory=net.py:make)", "a:x (factory=net.py:other)", "a:y")
    folders = candidate("a:x", factory="/p/net.py:make"), candidate("a:x", factory="/q/net.py:make")
    assert labels(*folders) == ("a:x (factory=/p/net.py:make)", "a:x (factory=/q/net.py:make)")
    assert labels(candidate("a:x", w=1), candidate("a:x", w="1")) == ("a:x (w=1)", 'a:x (w="1")')
    assert labels("a:x", "a:x", candidate("a:x", frames=8), frames=8) == ("a:x",)


def test_other_names_from_the_command_line_keep_the_options_of_candidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pt").write_text("")
    (tmp_path / "r.yaml").write_text(
        "data: {path: x}\nmodel:\n  start: [b:y, {start: checkpoint:a.pt, options: {factory: net.py:one}},"
        " {start: checkpoint:a.pt, options: {factory: net.py:two}}]\n"
    )
    model = load_recipe(tmp_path / "r.yaml").model
    path = f"checkpoint:{tmp_path / 'a.pt'}"
    assert model.candidates == ("b:y", f"{path} (factory=net.py:one)", f"{path} (factory=net.py:two)")
    second = model.with_starts([model.candidates[2]])
    assert [dict(one.options) for one in second.starts] == [{"factory": str(tmp_path / "net.py:two")}]
    monkeypatch.chdir(tmp_path)
    assert model.with_starts(["checkpoint:a.pt"]).candidates == model.candidates[1:]
    assert model.with_starts(["checkpoint:a.pt (factory=net.py:two)"]).starts == second.starts
    assert model.with_starts(["b:y"]).start == "b:y"
    assert model.with_starts(["c:z", path]).candidates == ("c:z", *model.candidates[1:])


def test_auto_finds_nothing_again_that_a_list_names() -> None:
    model = ModelSettings(start=("auto", candidate("a:x", frames=8)))
    assert model.with_found(lambda: ["a:z", "a:x"]) == ("a:x", "a:z")
    assert dict(model.find("a:x").options) == {"frames": 8}


def test_where_files_lie_is_no_setting_in_a_list_either() -> None:
    model = ModelSettings(start=("b:y", candidate("checkpoint:/p/a.pt", factory="/p/net.py:one")))
    recipe = parse("{start: b:y}").model_copy(update={"model": model})
    start = settings_of(recipe)["model.start"]
    assert start == ["b:y", {"start": "checkpoint:a.pt", "options": {"factory": "net.py:one"}}]


@pytest.mark.parametrize("scenario", list(_DATA))
def test_all_mistakes_in_candidates_are_told_at_once(scenario: str) -> None:
    text = "{start: [run:a, {strat: run:b}, {start: auto, optoins: {}}, {start: 3}, 5], use: anyy}"
    with pytest.raises(RecipeError) as caught:
        parse(text, scenario)
    told = [str(problem) for problem in caught.value.problems]
    for part in (
        "(model.start.1.start): model.start.1.start is missing",
        "(model.start.1.strat): unknown key 'strat'",
        "(model.start.2.start): 'auto' will not do",
        "(model.start.2.optoins): unknown key 'optoins'",
        "(model.start.3.start): 3 will not do",
        "(model.start.4): 5 will not do: input should be a valid string, or a valid dictionary\n",
        "(model.use): 'anyy' will not do",
    ):
        assert any(part in line for line in told), part
    assert sum("did you mean" in line for line in told) == 2
    assert len(told) == 7


def test_a_text_encoder_is_no_option_of_a_source() -> None:
    recipe = parse("{start: [{start: run:a, options: {revision: x}}], options: {text_encoder: e}}", "scene")
    assert recipe.model.only("run:a").options == {"text_encoder": "e", "revision": "x"}
    with pytest.raises(RecipeError, match="write it under"):
        parse("{start: [{start: run:a, options: {text_encoder: e}}]}", "scene")
