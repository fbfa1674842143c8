"""The function of a policy survives any patch of its spaces and any growth of its layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.patched_policies import (
    answers,
    discrete,
    part_change,
    random_observations,
    random_policy,
    row_change,
    shapes,
    spec,
    translated,
    vector,
    wider,
)

from newgameplus.adapt.surgery import SurgeryPlan, operate, plan_surgery, prove
from newgameplus.errors import SurgeryError
from newgameplus.pretrained.policy import Policy, as_tensors
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ActionSpec, ObservationPart

EXACT = 1e-6
KINDS = ("vector", "choice")


def check(old: Policy, new: Policy, plan: SurgeryPlan, seen: dict[str, Any], steps: int = 1) -> None:
    """Hold the new policy against the old one, with nothing of the surgery's own proof."""
    shown = translated(plan.old.observations, plan.new.observations, seen)
    names, after = plan.old.actions.names, plan.new.actions.names
    kept = [name for name in names if name in after]
    for before, now in zip(answers(old, seen, steps), answers(new, shown, steps), strict=True):
        mine = before.distribution.answer[:, [names.index(name) for name in kept]]
        theirs = now.distribution.answer[:, [after.index(name) for name in kept]]
        scale = max(1.0, float(mine.abs().max()), float(before.values.abs().max()))
        torch.testing.assert_close(theirs, mine, rtol=0.0, atol=EXACT * scale)
        torch.testing.assert_close(now.values, before.values, rtol=0.0, atol=EXACT * scale)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_vectors_and_choices_survive_any_patch_and_any_growth(data: st.DataObject) -> None:
    first = data.draw(part_change("first", KINDS))
    second = data.draw(part_change("second", KINDS))
    extra = data.draw(part_change("extra", KINDS))[1]
    before, after = spec(first[0], second[0]), spec(*data.draw(st.permutations([first[1], second[1], extra])))
    names = data.draw(row_change())
    encoder = data.draw(st.sampled_from(("auto", "mlp")))
    shape = data.draw(shapes(before, discrete(*names[0]), encoder=encoder))
    plan = plan_surgery(shape, after, discrete(*names[1]), widths=data.draw(wider(shape)))
    old, seen = random_policy(shape)
    new = operate(old, plan, seen)
    assert not plan.losses
    assert SurgeryPlan.from_dict(plan.as_dict()) == plan
    assert max(len(line) for line in plan.text().splitlines()) <= 80
    check(old, new, plan, seen, steps=4)
    proof = prove(old, new, plan, seen)
    assert proof.preserved
    assert max(len(line) for line in proof.text().splitlines()) <= 80


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_pictures_and_grids_survive_any_patch_and_any_growth(data: st.DataObject) -> None:
    part = data.draw(part_change("view", ("image", "grid")))
    encoder = data.draw(st.sampled_from(("small-cnn", "impala-cnn", "flatten" if part[0].kind == "image" else "auto")))
    channels = data.draw(st.lists(st.integers(2, 4), min_size=1, max_size=2 if encoder == "impala-cnn" else 1))
    options = {"channels": channels, "padding": data.draw(st.integers(0, 1))}
    shape = data.draw(shapes(spec(part[0]), discrete("left", "right"), encoder=encoder, options=options))
    grown = data.draw(wider(shape))
    if encoder in ("small-cnn", "impala-cnn"):
        grown["channels"] = [width + data.draw(st.integers(0, 2)) for width in channels]
    plan = plan_surgery(shape, spec(part[1]), discrete("right", "jump", "left"), widths=grown)
    old, seen = random_policy(shape)
    new = operate(old, plan, seen)
    assert not plan.losses
    check(old, new, plan, seen, steps=4)
    assert prove(old, new, plan, seen).preserved


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_texts_survive_more_words_and_more_places(data: st.DataObject) -> None:
    text, numbers = data.draw(part_change("text", ("tokens",))), data.draw(part_change("numbers", ("vector",)))
    shape = data.draw(shapes(spec(text[0], numbers[0]), discrete("left", "right"), options={"layers": 1}))
    plan = plan_surgery(shape, spec(numbers[1], text[1]), discrete("right", "left"), widths=data.draw(wider(shape)))
    old, seen = random_policy(shape)
    new = operate(old, plan, seen)
    check(old, new, plan, seen, steps=4)
    assert prove(old, new, plan, seen).preserved


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_what_is_removed_is_held_constant(data: st.DataObject) -> None:
    parts = [data.draw(part_change(name, (*KINDS, "grid", "image"), removed=True)) for name in ("one", "two")]
    gone = data.draw(part_change("gone", (*KINDS, "grid", "tokens")))[0]
    shape = data.draw(shapes(spec(gone, *(p[0] for p in parts)), discrete("left", "right"), options={"layers": 1}))
    plan = plan_surgery(shape, spec(*(p[1] for p in parts)), discrete("left", "right"), map_observations="gone:removed")
    old, seen = random_policy(shape)
    new = operate(old, plan, seen)
    proof = prove(old, new, plan, seen)  # raises if the function with held inputs is another
    assert proof.preserved
    assert proof.raw is not None
    assert "gone" in new.facts["surgery"]["held"]


def test_a_removed_feature_counts_as_its_mean() -> None:
    shape = PolicyShape(spec(vector("hp", "mana", "gold")), discrete("left", "right"))
    old, seen = random_policy(shape)
    plan = plan_surgery(shape, spec(vector("gold", "hp")), discrete("left", "right"))
    new = operate(old, plan)
    mean = old.network.normalizer.statistics("observation")[0][1]
    steady = {"observation": seen["observation"].copy()}
    steady["observation"][:, 1] = float(mean)
    check(old, new, plan, steady)
    proof = prove(old, new, plan, seen)
    assert proof.raw is not None
    assert proof.raw.logits > 1e-3
    assert "held constant" in proof.text()


@pytest.mark.parametrize("normalize", [True, False])
def test_the_normalizer_goes_along(normalize: bool) -> None:
    shape = PolicyShape(spec(vector("hp", "mana")), discrete("left", "right"), normalize=normalize)
    old, _ = random_policy(shape)
    new = operate(old, plan_surgery(shape, spec(vector("mana", "gold", "hp")), discrete("left", "right")))
    if not normalize:
        assert new.network.normalizer.parts == ()
        return
    before, after = (p.network.normalizer.statistics("observation") for p in (old, new))
    assert after[0].tolist() == [float(before[0][1]), 0.0, float(before[0][0])]
    assert after[1].tolist() == [float(before[1][1]), 1.0, float(before[1][0])]
    assert new.network.normalizer.count == old.network.normalizer.count == 64


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_new_inputs_start_silent_and_learn_at_once(memory: Any) -> None:
    shape = PolicyShape(spec(vector("hp", "mana")), discrete("left", "right"), actor=(8,), critic=(8,), memory=memory)
    old, _ = random_policy(shape)
    plan = plan_surgery(shape, spec(vector("hp", "gold", "mana")), discrete("left", "right"), widths={"actor": [10]})
    new = operate(old, plan)
    seen = random_observations(plan.new.observations, 32)
    other = {"observation": seen["observation"].copy()}
    other["observation"][:, 1] += 5.0

    def gap() -> float:
        one, two = (answers(new, each)[0].distribution.answer for each in (seen, other))
        return float((one - two).abs().max())

    assert gap() == 0.0
    optimizer = torch.optim.Adam(new.network.parameters(), 1e-2)
    answer = new.network(as_tensors(seen))
    (answer.distribution.log_prob(torch.arange(32) % 2).mean() + answer.values.square().mean()).backward()
    reader = new.network.actor[0].weight if memory == "none" else new.network.memory.weight_ih  # type: ignore[union-attr]
    assert isinstance(reader, torch.Tensor)
    assert reader.grad is not None
    assert reader.grad[:, 1].abs().max() > 0
    assert new.network.actor_head.weight.grad is not None
    assert new.network.actor_head.weight.grad[:, 8:].abs().max() > 0  # new units are heard of, too
    optimizer.step()
    assert gap() > 0.0


@pytest.mark.parametrize("activation", ["relu", "leaky-relu", "gelu", "silu"])
@pytest.mark.parametrize("before", [(), (4,), (4, 5)])
def test_deeper_layers_pass_on_what_they_get(activation: Any, before: tuple[int, ...]) -> None:
    shape = PolicyShape(
        spec(vector("hp", "mana")),
        discrete("left", "right"),
        trunk=before,
        actor=before,
        critic=before,
        activation=activation,
    )
    widths = {name: [*(width + 1 for width in before), 11, 24] for name in ("trunk", "actor", "critic")}
    old, seen = random_policy(shape)
    plan = plan_surgery(
        shape,
        spec(vector("mana", "gold", "hp")),
        discrete("left", "jump", "right"),
        widths={"trunk": [*before]} | widths,
    )
    new = operate(old, plan, seen)
    assert not plan.losses
    check(old, new, plan, seen)
    assert prove(old, new, plan, seen).preserved


def test_deeper_tanh_layers_are_measured_and_said() -> None:
    shape = PolicyShape(spec(vector("hp", "mana")), discrete("left", "right"), actor=(6,))
    old, seen = random_policy(shape)
    plan = plan_surgery(shape, shape.observations, shape.actions, widths={"actor": [6, 6]})
    assert "tanh" in plan.losses[0]
    proof = prove(old, operate(old, plan), plan, seen)
    assert not proof.preserved
    assert 1e-6 < proof.exact.logits < 0.01
    assert "not preserved" in proof.text()


def picture(height: int, width: int, channels: int = 2) -> ObservationPart:
    return ObservationPart("view", "image", (channels, height, width), "uint8", high=255.0)


@pytest.mark.parametrize("encoder", ["nature-cnn", "small-cnn"])
def test_a_larger_picture_keeps_what_it_showed(encoder: Any) -> None:
    shape = PolicyShape(spec(picture(40, 38)), discrete("left", "right"), encoder=encoder, features=8)
    old, seen = random_policy(shape)
    plan = plan_surgery(shape, spec(picture(44, 40, 3)), discrete("left", "right"), map_observations="view:0..1->1..2")
    assert prove(old, operate(old, plan), plan, seen).preserved


def test_a_smaller_picture_is_measured() -> None:
    shape = PolicyShape(spec(picture(12, 12)), discrete("left", "right"))
    old, seen = random_policy(shape)
    plan = plan_surgery(shape, spec(picture(10, 12)), discrete("left", "right"))
    assert "no longer seen" in plan.losses[0]
    proof = prove(old, operate(old, plan, seen), plan, seen)
    assert proof.exact.logits > 1e-4


def test_a_picture_that_outgrows_its_encoder_keeps_it() -> None:
    shape = PolicyShape(spec(picture(30, 30)), discrete("left", "right"))
    old, seen = random_policy(shape)
    plan = plan_surgery(shape, spec(picture(40, 40)), discrete("left", "right"))
    assert prove(old, operate(old, plan), plan, seen).preserved


def test_pixels_in_another_unit_are_scaled() -> None:
    shape = PolicyShape(spec(picture(8, 8)), discrete("left", "right"))
    old, seen = random_policy(shape)
    floats = replace(picture(8, 8), dtype="float32", high=1.0)
    plan = plan_surgery(shape, spec(floats), discrete("left", "right"))
    new = operate(old, plan)
    with torch.no_grad():
        before = old.network(as_tensors(seen)).values
        after = new.network({"view": torch.as_tensor(seen["view"]).float() / 255.0}).values
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)


def test_codes_and_words_can_be_mapped() -> None:
    grid = ObservationPart("grid", "grid", (2, 4, 4), "int64", sizes=(3, 4), features=("object", "colour"))
    text = ObservationPart("text", "tokens", (4,), "int64", sizes=(5,))
    shape = PolicyShape(spec(grid, text), discrete("left", "right"), features=8, options={"layers": 1})
    old, seen = random_policy(shape)
    after = spec(replace(grid, sizes=(4, 4)), replace(text, sizes=(6,)))
    plan = plan_surgery(
        shape, after, shape.actions, map_observations="grid.object:0..2->1..3,text:0->0,text:1..4->2..5"
    )
    new = operate(old, plan, seen)
    shown = {"grid": seen["grid"] + np.array([1, 0]).reshape(1, 2, 1, 1), "text": seen["text"] + (seen["text"] > 0)}
    for before, now in zip(answers(old, seen), answers(new, shown), strict=True):
        torch.testing.assert_close(now.distribution.answer, before.distribution.answer, atol=EXACT, rtol=0.0)


def test_a_policy_that_is_not_the_same_is_refused() -> None:
    shape = PolicyShape(spec(vector("hp", "mana")), discrete("left", "right"))
    old, seen = random_policy(shape)
    plan = plan_surgery(shape, spec(vector("mana", "hp", "gold")), discrete("left", "right"))
    new = operate(old, plan)
    with torch.no_grad():
        new.network.actor[0].weight[0, 0] += 0.01
    with pytest.raises(SurgeryError, match="not preserved"):
        prove(old, new, plan, seen)
    with pytest.raises(SurgeryError, match="another shape"):
        operate(new, plan)


def test_growth_that_cannot_be_is_refused_at_once() -> None:
    shape = PolicyShape(spec(vector("hp")), discrete("left"), actor=(8, 8), activation="elu")
    wrong: dict[str, Any] = {"actor": [4, 8], "critc": [3], "memory": 9, "critic": [64, 64, 64], "trunk": [0]}
    with pytest.raises(SurgeryError) as caught:
        plan_surgery(shape, shape.observations, shape.actions, widths=wrong)
    text = str(caught.value)
    assert "did you mean 'critic'" in text
    assert "no memory to widen" in text
    assert "no width" in text
    for widths, message in (({"actor": [4, 8]}, "can only grow"), ({"actor": [8, 8, 8]}, "behind elu")):
        with pytest.raises(SurgeryError, match=message):
            plan_surgery(shape, shape.observations, shape.actions, widths=widths)
    signed = replace(shape, activation="relu", actor=(), trunk=())
    with pytest.raises(SurgeryError, match="cannot pass"):
        plan_surgery(signed, shape.observations, shape.actions, widths={"actor": [1]})


def test_the_same_seed_gives_the_same_policy() -> None:
    shape = PolicyShape(spec(vector("hp")), ActionSpec("binary", (2,)))
    old, _ = random_policy(shape)
    plans = [
        plan_surgery(shape, shape.observations, shape.actions, widths={"actor": [70, 70]}, seed=s) for s in (3, 3, 4)
    ]
    first, second, third = (operate(old, plan).network.actor[0].weight for plan in plans)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_channels_that_were_never_named_can_be_widened() -> None:
    shape = PolicyShape(spec(picture(8, 8)), discrete("left", "right"), features=8)
    old, seen = random_policy(shape)
    plan = plan_surgery(shape, spec(picture(8, 8)), shape.actions, widths={"channels": [24]})
    assert "channels" in plan.text()
    assert prove(old, operate(old, plan), plan, seen).preserved
    for widths in ([8], [16, 16]):
        with pytest.raises(SurgeryError, match="wider, not more"):
            plan_surgery(shape, spec(picture(8, 8)), shape.actions, widths={"channels": widths})
    with pytest.raises(SurgeryError, match="nature-cnn has its own"):
        plan_surgery(
            replace(shape, observations=spec(picture(40, 40))),
            spec(picture(40, 40)),
            shape.actions,
            widths={"channels": [64]},
        )


def test_a_picture_too_small_for_the_network_is_refused() -> None:
    shape = PolicyShape(spec(picture(40, 40)), discrete("left", "right"), encoder="nature-cnn", features=8)
    with pytest.raises(SurgeryError, match="too small for nature-cnn"):
        plan_surgery(shape, spec(picture(30, 40)), shape.actions)


def test_a_text_of_nothing_but_padding_is_left_out_of_the_proof() -> None:
    text = ObservationPart("text", "tokens", (3,), "int64", sizes=(4,))
    shape = PolicyShape(spec(text), discrete("left", "right"), features=4, options={"layers": 1})
    old, seen = random_policy(shape)
    seen["text"][:5] = 0
    plan = plan_surgery(shape, spec(replace(text, shape=(5,))), shape.actions)
    proof = prove(old, operate(old, plan), plan, seen)
    assert proof.preserved
    assert proof.left_out == 5
