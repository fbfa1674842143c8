"""The little language of maps, what is guessed without one, and every difference with the surgery that mends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.patched_policies import discrete, random_policy, spec, vector

from newgameplus.adapt.surgery import (
    describe_differences,
    operate,
    plan_surgery,
    prove,
    read_plan,
    suggest_maps,
    write_plan,
)
from newgameplus.adapt.surgery_text import MapEntry, parse_map
from newgameplus.errors import RunError, SurgeryError
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ActionSpec, ObservationPart

ACTIONS = discrete("left", "right")


def unnamed(count: int, name: str = "observation") -> ObservationPart:
    return ObservationPart(name, "vector", (count,))


def sources(before: Any, after: Any, text: Any = "") -> dict[str, tuple[str, tuple[int, ...]]]:
    plan = plan_surgery(PolicyShape(before, ACTIONS), after, ACTIONS, map_observations=text)
    return {part.new: (part.old, part.map.items) for part in plan.parts}


def test_a_map_is_read_entry_by_entry() -> None:
    entries, problems = parse_map("hp:0..3->1..4, mana:new,a.b:2:removed ,jump->leap", "--map-obs")
    assert not problems
    assert [(e.place, e.old, e.new) for e in entries] == [
        ("hp", "0..3", "1..4"),
        ("", "", "mana"),
        ("a.b", "2", ""),
        ("", "jump", "leap"),
    ]
    same, _ = parse_map({"hp": "0..3->1..4", "mana": "new", "jump": "leap"}, "--map-obs")
    assert same[2] == MapEntry("", "jump", "leap", "jump->leap")
    assert same[:2] == entries[:2]


@pytest.mark.parametrize("text", ["hp", "hp:", "->a", "a->", "a->b->c", "a:b:c->d", "hp:old", "a:b:c:new", ":new"])
def test_what_is_no_entry_is_named(text: str) -> None:
    _, problems = parse_map(f"a->b,{text}", "--map-obs")
    assert [problem.message for problem in problems] == [f"{text!r} is no entry of a map"]


def test_the_issues_example() -> None:
    before = spec(unnamed(4, "hp"))
    after = spec(unnamed(4, "hp"), unnamed(2, "mana"))
    assert sources(before, after, "hp:0..3->0..3,mana:new") == {"hp": ("hp", (0, 1, 2, 3)), "mana": ("", (-1, -1))}


def test_features_are_found_by_number_by_name_and_by_part() -> None:
    assert sources(spec(unnamed(4)), spec(unnamed(5)), "0..3->1..4") == {
        "observation": ("observation", (-1, 0, 1, 2, 3))
    }
    before, after = spec(vector("hp", "mana")), spec(vector("gold", "life", "mana"))
    assert sources(before, after, "hp->life") == {"observation": ("observation", (-1, 0, 1))}
    assert sources(before, after, {"hp": "life"}) == {"observation": ("observation", (-1, 0, 1))}
    before = spec(vector("hp", name="one"), vector("mana", name="two"))
    after = spec(vector("mana", "gold", name="second"), vector("life", name="one"))
    found = sources(before, after, "two->second,hp->life")
    assert found == {"second": ("two", (0, -1)), "one": ("one", (0,))}


def test_names_decide_and_position_is_a_guess_that_is_said() -> None:
    assert sources(spec(vector("a", "b")), spec(vector("b", "c", "a")))["observation"][1] == (1, -1, 0)
    plan = plan_surgery(PolicyShape(spec(unnamed(2)), ACTIONS), spec(unnamed(3)), ACTIONS)
    assert "a guess" in plan.notes[0]
    assert "--map-obs" in plan.text()
    plan = plan_surgery(PolicyShape(spec(unnamed(2, "old")), ACTIONS), spec(unnamed(2, "new")), ACTIONS)
    assert plan.parts[0].old == "old"
    assert "the only vector left: a guess" in plan.notes[0]
    plan = plan_surgery(PolicyShape(spec(vector("a", "hp")), ACTIONS), spec(vector("a", "life")), ACTIONS)
    assert "hp->life" in " ".join(plan.notes)


def test_a_part_of_another_kind_is_removed_and_added() -> None:
    before = spec(unnamed(2, "a"), unnamed(2, "b"))
    after = spec(ObservationPart("a", "choice", (2,), "int64", sizes=(2, 2)), unnamed(2, "b"))
    plan = plan_surgery(PolicyShape(before, ACTIONS), after, ACTIONS)
    assert [part.old for part in plan.parts] == ["", "b"]
    old, seen = random_policy(PolicyShape(before, ACTIONS))
    assert prove(old, operate(old, plan, seen), plan, seen).preserved


def test_every_mistake_is_told_at_once() -> None:
    before = spec(vector("hp", "mana", name="stats"), unnamed(3, "pose"))
    after = spec(vector("hp", "gold", name="stats"), unnamed(3, "pose"))
    text = "nonsense,stat:0->0,stats:5->0,pose:0..1->0,pose:1->1,pose:1->2,mna->gold,stats.hp:0->0"
    with pytest.raises(SurgeryError) as caught:
        plan_surgery(
            PolicyShape(before, ACTIONS), after, ACTIONS, map_observations=text, map_actions="lft->left,a:0->1"
        )
    said = str(caught.value)
    for words in (
        "'nonsense' is no entry",
        "no part 'stat'",
        "did you mean 'stats'?",
        "'5' is outside 0..1",
        "2 before the arrow but 1 after it",
        "mentioned twice",
        "did you mean 'mana'?",
        "has no codes",
        "did you mean 'left'?",
        "discrete actions have no parts",
    ):
        assert words in said
    assert all(problem.source.startswith(("--map-obs", "--map-actions")) for problem in caught.value.problems)


def test_padding_stays_padding() -> None:
    text = ObservationPart("text", "tokens", (3,), "int64", sizes=(4,))
    with pytest.raises(SurgeryError, match="padding"):
        plan_surgery(PolicyShape(spec(text), ACTIONS), spec(text), ACTIONS, map_observations="text:0..1->1..2")


def test_a_plan_is_kept_as_json(tmp_path: Path) -> None:
    grid = ObservationPart("grid", "grid", (2, 3, 3), "int64", sizes=(3, 4), features=("object", "colour"))
    shape = PolicyShape(spec(grid, vector("hp")), ACTIONS)
    plan = plan_surgery(shape, spec(vector("hp", "gold"), grid), discrete("right", "jump"), widths={"actor": [64, 80]})
    write_plan(tmp_path / "plan.json", plan)
    assert json.loads((tmp_path / "plan.json").read_text())["schema"] == 1
    assert read_plan(tmp_path / "plan.json") == plan
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(RunError, match="cannot read the plan"):
        read_plan(tmp_path / "plan.json")


def test_differences_come_with_the_surgery_that_mends_them() -> None:
    before = spec(vector("hp", "mana", name="stats"), unnamed(3, "pose"), unnamed(1, "old"))
    image = ObservationPart("view", "image", (3, 8, 8), "uint8", high=255.0)
    after = spec(unnamed(4, "pose"), vector("mana", "hp", "gold", name="stats"), image)
    done = discrete("right", "jump", "left")
    problems = describe_differences(before, ACTIONS, after, done)
    told = {problem.message: problem.remedy for problem in problems}
    assert told["'old' (vector 1) is no longer seen"] == '--map-obs "old:removed"'
    assert told["'view' (image 3x8x8) was not seen before"] == '--map-obs "view:new"'
    assert any("gold new" in message for message in told)
    assert any("by position, a guess" in message for message in told)
    maps = suggest_maps(before, ACTIONS, after, done)
    assert maps == (
        "old:removed,pose:0..2->0..2,pose:3:new,stats:1->0,stats:0->1,stats:2:new,view:new",
        "1->0,0->2,1:new",
    )
    shape = PolicyShape(before, ACTIONS)
    plan = plan_surgery(shape, after, done, map_observations=maps[0], map_actions=maps[1])
    assert [(part.old, part.map.items) for part in plan.parts] == [
        ("pose", (0, 1, 2, -1)),
        ("stats", (1, 0, -1)),
        ("", (-1, -1, -1)),
    ]
    assert plan.answers == (1, -1, 0)


def test_same_spaces_have_no_difference_and_other_kinds_no_remedy() -> None:
    seen = spec(vector("hp"), unnamed(2, "pose"))
    assert describe_differences(seen, ACTIONS, seen, ACTIONS) == []
    found = describe_differences(seen, ACTIONS, seen, ActionSpec("binary", (2,)))
    assert len(found) == 1
    assert "no surgery can mend" in found[0].remedy
    bounds = [ActionSpec("continuous", (1,), (-1.0,), (high,)) for high in (1.0, 2.0)]
    assert "bounds" in describe_differences(seen, bounds[0], seen, bounds[1])[0].message
