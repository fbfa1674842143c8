from __future__ import annotations

import sys
from pathlib import Path

import pytest

from newgameplus.errors import DataError, MissingExtraError, NewGamePlusError, RecipeError
from newgameplus.games.rules import RULES, Rules, open_rules


@pytest.mark.parametrize("name", RULES)
def test_every_registered_name_opens(name: str) -> None:
    rules = open_rules(name)
    assert isinstance(rules, Rules)
    assert rules.name == name
    assert open_rules(rules) is rules


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(RecipeError) as caught:
        open_rules("platfromer")
    assert "did you mean 'platformer'" in str(caught.value)
    assert "gymnasium:" in str(caught.value)


def test_unknown_options_come_at_once_with_the_nearest() -> None:
    with pytest.raises(RecipeError) as caught:
        open_rules("platformer", options={"jmps": 3, "enemy": "hazard"})
    assert len(caught.value.problems) == 2
    assert "did you mean 'jumps'" in str(caught.value)
    assert "did you mean 'enemies'" in str(caught.value)


def test_options_of_open_rules_and_of_functions() -> None:
    with pytest.raises(RecipeError, match="take no options"):
        open_rules(open_rules("platformer"), options={"drift": False})
    with pytest.raises(RecipeError, match="unknown option"):
        open_rules(lambda level: True, options={"drift": False})


def test_a_mapping_is_the_content_of_a_file() -> None:
    rules = open_rules({"base": "reachability", "options": {"share": 0.5}, "name": "cave"})
    assert rules.name == "cave"
    assert rules.share == 0.5
    with pytest.raises(DataError, match="did you mean 'base'"):
        open_rules({"bas": "reachability"})


def test_options_of_a_mapping_go_first() -> None:
    rules = open_rules({"base": "reachability", "options": {"share": 0.5}}, options={"share": 0.25})
    assert rules.share == 0.25


@pytest.mark.parametrize("spec", [None, 3, "", "nothing.yaml", "x:y:z", ":", "gymnasium:", "a b"])
def test_whatever_is_given_gets_an_answer(spec: object) -> None:
    with pytest.raises(NewGamePlusError) as caught:
        open_rules(spec)
    assert str(caught.value)


def test_gymnasium_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingExtraError, match="gymnasium"):
        open_rules("gymnasium:Some-v0")


def test_nothing_is_imported_from_a_folder_that_only_looks_like_it(tmp_path: Path) -> None:
    (tmp_path / "platformer.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "rules.yaml").write_text("base: platformer\n")
    assert open_rules("rules.yaml", folder=tmp_path).name == "rules"
