"""Actions come, go, move and get other names; the others keep their chances against each other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.patched_policies import answers, discrete, random_observations, random_policy, row_change, spec, vector

from newgameplus.adapt.surgery import operate, plan_surgery, prove
from newgameplus.adapt.surgery_actions import convert_actions, convert_masks, lift_new_actions
from newgameplus.errors import SurgeryError
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ActionSpec

SEEN = spec(vector("hp", "mana"))


@settings(max_examples=20, deadline=None)
@given(change=row_change(removed=True), chance=st.floats(1e-4, 0.1))
def test_new_actions_start_at_the_chosen_probability(change: Any, chance: float) -> None:
    old, seen = random_policy(PolicyShape(SEEN, discrete(*change[0])))
    plan = plan_surgery(old.shape, SEEN, discrete(*change[1]), new_action_probability=chance)
    new = operate(old, plan, seen)
    before, after = (answers(p, seen)[0].distribution.answer.softmax(1) for p in (old, new))
    added = [n for n, name in enumerate(change[1]) if name not in change[0]]
    for place in added:
        assert float(after[:, place].mean()) == pytest.approx(chance, rel=1e-4)
    kept = [(change[0].index(name), n) for n, name in enumerate(change[1]) if name in change[0]]
    mine, theirs = (table[:, list(rows)] for table, rows in zip((before, after), zip(*kept, strict=True), strict=True))
    torch.testing.assert_close(
        theirs / theirs.sum(1, keepdim=True), mine / mine.sum(1, keepdim=True), atol=1e-6, rtol=0
    )
    proof = prove(old, new, plan, seen)
    assert proof.preserved
    assert proof.exact.agreement == 1.0
    assert set(proof.new_actions) == {change[1][n] for n in added}
    assert set(proof.removed_actions) == set(change[0]) - set(change[1])


def test_without_observations_the_mean_answer_counts() -> None:
    old, seen = random_policy(PolicyShape(SEEN, discrete("left", "right")))
    new = operate(old, plan_surgery(old.shape, SEEN, discrete("left", "right", "jump")))
    assert float(answers(new, seen)[0].distribution.answer.softmax(1)[:, 2].mean()) == pytest.approx(0.01, rel=0.5)


def test_renamed_actions_keep_their_rows() -> None:
    old, seen = random_policy(PolicyShape(SEEN, discrete("left", "jump", "idle")))
    after = discrete("dash", "leap", "left")
    plan = plan_surgery(old.shape, SEEN, after, map_actions="jump->leap,dash:new,idle:removed")
    assert plan.answers == (-1, 1, 0)
    assert "jump -> leap" in plan.text()
    assert any("shared out" in loss for loss in plan.losses)
    assert prove(old, operate(old, plan, seen), plan, seen).preserved
    assert convert_actions(plan, np.array([0, 1, 2])).tolist() == [2, 1, -1]
    assert convert_masks(plan, np.array([[True, False, True]])).tolist() == [[False, False, True]]


def test_buttons_are_pressed_as_before() -> None:
    before, after = (ActionSpec("binary", (len(names),), names=names) for names in (("a", "b"), ("b", "x", "a")))
    old, seen = random_policy(PolicyShape(SEEN, before))
    plan = plan_surgery(old.shape, SEEN, after, new_action_probability=0.02)
    new = operate(old, plan, seen)
    pressed = answers(new, seen)[0].distribution.answer.sigmoid()
    assert float(pressed[:, 1].mean()) == pytest.approx(0.02, rel=1e-5)
    assert prove(old, new, plan, seen).preserved
    assert convert_actions(plan, np.array([[1, 0], [1, 1]])).tolist() == [[0, 0, 1], [1, 0, 1]]


def test_several_choices_keep_their_chances() -> None:
    old, seen = random_policy(PolicyShape(SEEN, ActionSpec("multi-discrete", (2, 3))))
    after = ActionSpec("multi-discrete", (4, 2, 3))
    maps = "0->2,1->0,1:new,1:0..2->1..3"
    plan = plan_surgery(old.shape, SEEN, after, map_actions=maps, new_action_probability=0.03)
    assert plan.actions.items == (1, -1, 0)
    assert plan.answers == (-1, 2, 3, 4, -1, -1, 0, 1, -1)
    new = operate(old, plan, seen)
    first, second, third = torch.split(answers(new, seen)[0].distribution.answer, [4, 2, 3], dim=1)
    assert float(first.softmax(1)[:, 0].mean()) == pytest.approx(0.03, rel=1e-4)
    assert torch.equal(second, torch.zeros_like(second))
    assert float(third.softmax(1)[:, 2].mean()) == pytest.approx(0.03, rel=1e-4)
    assert prove(old, new, plan, seen).preserved
    assert convert_actions(plan, np.array([[1, 2], [0, 0]])).tolist() == [[3, 0, 1], [1, 0, 0]]


def test_continuous_actions_keep_mean_and_deviation() -> None:
    before = ActionSpec("continuous", (2,), (-1.0, -1.0), (1.0, 1.0), ("steer", "gas"))
    after = ActionSpec("continuous", (3,), (-2.0, 0.0, -1.0), (2.0, 1.0, 1.0), ("gas", "brake", "steer"))
    old, seen = random_policy(PolicyShape(SEEN, before))
    plan = plan_surgery(old.shape, SEEN, after)
    assert any("-2..2" in note for note in plan.notes)
    new = operate(old, plan, seen)
    assert prove(old, new, plan, seen).preserved
    assert old.network.log_scale is not None
    assert new.network.log_scale is not None
    assert new.network.log_scale[[2, 0]].tolist() == old.network.log_scale.tolist()
    brake = answers(new, seen)[0].distribution.answer[:, 1]
    assert torch.equal(brake, torch.full_like(brake, 0.5))
    assert "new_actions" not in new.facts


def test_new_actions_are_lifted_in_steps_that_add_up() -> None:
    old, seen = random_policy(PolicyShape(SEEN, discrete("left", "right")))
    plan = plan_surgery(old.shape, SEEN, discrete("left", "right", "jump"), new_action_probability=0.01, anneal_to=0.1)
    ways = []
    for shares in ((0.0, 1.0), (0.0, 0.01, 0.05, 0.07, 0.5, 1.0)):
        new = operate(old, plan, seen)
        facts = new.facts["new_actions"]
        assert (facts["rows"], facts["starts"], facts["ends"]) == ([2], [0.01], [0.1])
        for before, now in pairwise(shares):
            lift_new_actions(new.network, facts, before, now)
        ways.append(answers(new, seen)[0].distribution.answer)
    torch.testing.assert_close(ways[0], ways[1], atol=1e-6, rtol=0)
    chance = float(ways[0].softmax(1)[:, 2].mean())
    assert chance == pytest.approx(0.1, rel=0.1)
    lift_new_actions(old.network, {}, 0.0, 1.0)  # nothing to lift


def test_other_kinds_of_actions_and_wrong_probabilities_are_refused() -> None:
    old, _ = random_policy(PolicyShape(SEEN, discrete("left", "right")))
    with pytest.raises(SurgeryError, match="no surgery can turn"):
        plan_surgery(old.shape, SEEN, ActionSpec("binary", (2,)))
    for chance in (0.0, 0.5, 1.0):
        with pytest.raises(SurgeryError, match="cannot start at probability"):
            plan_surgery(old.shape, SEEN, old.shape.actions, new_action_probability=chance)


def test_many_new_actions_leave_half_to_the_old_ones() -> None:
    old, seen = random_policy(PolicyShape(SEEN, discrete("left", "right")))
    names = ("left", "right", *(f"emote{n}" for n in range(10)))
    new = operate(old, plan_surgery(old.shape, SEEN, discrete(*names), new_action_probability=0.2), seen)
    assert (
        float(answers(new, random_observations(SEEN, 64))[0].distribution.answer.softmax(1)[:, :2].sum(1).mean()) > 0.4
    )


def test_a_second_operation_keeps_what_is_still_to_be_lifted() -> None:
    old, seen = random_policy(PolicyShape(SEEN, discrete("left", "right")))
    once = operate(old, plan_surgery(old.shape, SEEN, discrete("left", "right", "jump")), seen)
    plan = plan_surgery(once.shape, SEEN, discrete("dash", "jump", "left", "right"), new_action_probability=0.02)
    facts = operate(once, plan, seen).facts["new_actions"]
    assert (facts["rows"], facts["starts"], facts["ends"]) == ([1, 0], [0.01, 0.02], [0.05, 0.05])
