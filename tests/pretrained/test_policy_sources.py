"""Sources of policies: names, options, runs, bundled ones, clip backbones and text bodies."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from newgameplus.adapt.classifier import ClipClassifier
from newgameplus.adapt.saving import save_classifier
from newgameplus.errors import NewGamePlusError, PretrainedModelError, RunError
from newgameplus.pretrained import policy_bundled
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.pretrained.policy import Policy, load_policy, save_policy
from newgameplus.pretrained.policy_behavior import BehaviorEncoder
from newgameplus.pretrained.policy_request import PolicyRequest, build_network
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.pretrained.policy_sources import (
    POLICY_SOURCES,
    SpacesDifferError,
    load_policy_source,
    load_policy_start,
    policy_card_text,
    policy_facts,
    space_differences,
)
from newgameplus.recipe_agent import AgentModelSettings
from newgameplus.spaces import ActionSpec, ObservationPart, ObservationSpec

VECTOR = ObservationPart("vector", "vector", (4,), features=("x", "y", "vx", "vy"))
IMAGE = ObservationPart("screen", "image", (3, 60, 80), "uint8", 0.0, 255.0)
TOKENS = ObservationPart("mission", "tokens", (7,), "int64", sizes=(12,))
ACTIONS = ActionSpec("discrete", (3,), names=("left", "right", "jump"))


def start(name: str, *parts: ObservationPart, actions: ActionSpec = ACTIONS, **settings: Any) -> Policy:
    return load_policy_start(
        name,
        settings=AgentModelSettings(start=name, **settings),
        observations=ObservationSpec(parts),
        actions=actions,
        environment="Game-v1",
        seed=3,
    )


def moved(policy: Policy) -> Policy:
    """Bring all weights away from where they begin."""
    with torch.no_grad():
        for weight in policy.network.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * 0.05)
    return policy


def assert_alike(mine: Policy, other: Policy, observations: dict[str, Any]) -> None:
    with torch.no_grad():
        first, second = mine.network(observations), other.network(observations)
    assert torch.equal(first.distribution.answer, second.distribution.answer)
    assert torch.equal(first.values, second.values)


def refused(said: str, name: str, *parts: ObservationPart, **settings: Any) -> NewGamePlusError:
    with pytest.raises(NewGamePlusError, match=said) as caught:
        start(name, *parts, **settings)
    assert "remedy" in str(caught.value)
    return caught.value


def test_names_that_are_not_known() -> None:
    assert "did you mean 'fresh'" in str(refused("does not say where", "frsh", VECTOR))
    assert "did you mean 'run'" in str(refused("no source", "runs:x", VECTOR))
    assert "run:runs/old" in str(refused("does not say where", "runs/old", VECTOR))
    assert "sb3:old.zip" in str(refused("does not say where", "old.zip", VECTOR))
    refused("no name behind", "sb3:", VECTOR)
    refused("does not say where", "", VECTOR)
    assert "did you mean 'part'" in str(
        refused("no option 'parts'", "behavior:bundled:doom-clips", IMAGE, options={"parts": "x"})
    )


@pytest.mark.parametrize("source", list(POLICY_SOURCES))
def test_nothing_there(source: str) -> None:
    refused("no |cannot", f"{source}:./nowhere/at_all", VECTOR, IMAGE, TOKENS)


def test_sources_that_need_a_game_say_so() -> None:
    for name in ("fresh", "behavior:bundled:doom-clips"):
        with pytest.raises(PretrainedModelError, match="needs a game"):
            load_policy_source(name)


def test_a_run_is_the_policy_it_was(tmp_path: Path) -> None:
    policy = moved(start("fresh", VECTOR))
    save_policy(tmp_path / "old" / "model", policy)
    again = start(f"run:{tmp_path / 'old'}", VECTOR)
    assert again.name == f"run:{tmp_path / 'old'}"
    assert again.environment == "Game-v1"
    assert again.facts["origin"] == "fresh"
    assert_alike(policy, again, {"vector": torch.randn(5, 4)})
    assert_alike(policy, load_policy_source(f"run:{tmp_path / 'old' / 'model'}"), {"vector": torch.randn(5, 4)})


def test_runs_that_cannot_be_used(tmp_path: Path) -> None:
    save_policy(tmp_path / "first" / "model", start("fresh", VECTOR))
    assert "did you mean" in str(refused("no run folder", f"run:{tmp_path / 'frst'}", VECTOR))
    (tmp_path / "begun").mkdir()
    assert "ngp resume" in str(refused("no model yet", f"run:{tmp_path / 'begun'}", VECTOR))
    (tmp_path / "first" / "model" / "model.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match="not those of the card"):
        start(f"run:{tmp_path / 'first'}", VECTOR)


def test_every_difference_of_the_spaces_is_named(tmp_path: Path) -> None:
    save_policy(tmp_path / "model", start("fresh", VECTOR, IMAGE, TOKENS))
    turned = replace(VECTOR, features=("y", "x", "vx", "vy"))
    larger = replace(TOKENS, sizes=(13,))
    bright = replace(IMAGE, high=1.0)
    more = ObservationPart("hp", "vector", (1,))
    other = replace(ACTIONS, sizes=(4,), names=("left", "right", "dash", "fire"))
    with pytest.raises(SpacesDifferError) as caught:
        start(f"run:{tmp_path}", turned, larger, bright, more, actions=other)
    found = {(one.side, one.part, one.what) for one in caught.value.differences}
    assert found == {
        ("observation", "vector", "names"),
        ("observation", "screen", "range"),
        ("observation", "mission", "sizes"),
        ("observation", "hp", "new"),
        ("action", "", "sizes"),
    }
    assert caught.value.shape is not None
    assert caught.value.shape.observations.names == ("vector", "screen", "mission")
    text = str(caught.value)
    assert "another order" in text
    assert "new: dash, fire; gone: jump" in text
    assert len(caught.value.problems) == 5


def test_what_does_not_count_as_a_difference() -> None:
    mine = ObservationSpec((VECTOR, TOKENS)), ACTIONS
    same = ObservationSpec((TOKENS, replace(VECTOR, features=(), low=-1.0, high=1.0, dtype="float64")))
    assert space_differences(mine, (same, replace(ACTIONS, names=()))) == ()
    gone = space_differences(mine, (ObservationSpec((TOKENS,)), ActionSpec("binary", (3,))))
    assert [(one.side, one.what) for one in gone] == [("observation", "missing"), ("action", "kind")]


def test_bundled_policies_are_listed_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = moved(start("fresh", VECTOR))
    save_policy(tmp_path / "small", policy, {"license": "MIT", "description": "made here"})
    monkeypatch.setattr(policy_bundled, "FOLDER", tmp_path)
    listed = policy_bundled.list_policies()
    assert [one["name"] for one in listed] == ["bundled:small"]
    assert listed[0]["license"] == "MIT"
    assert "made here" in policy_card_text({**listed[0], "facts": listed[0]})
    assert_alike(policy, start("bundled:small", VECTOR), {"vector": torch.randn(5, 4)})
    assert "did you mean 'small'" in str(refused("no bundled policy", "bundled:smal", VECTOR))
    (tmp_path / "small" / "model.safetensors").write_bytes(b"x")
    assert "install newgameplus again" in str(refused("not those of the card", "bundled:small", VECTOR))
    (tmp_path / "small" / "card.json").write_text("{}")
    with pytest.raises(PretrainedModelError, match="damaged"):
        policy_bundled.list_policies()


def test_bundled_policies_that_are_shipped_can_be_loaded() -> None:
    for card in policy_bundled.list_policies():
        policy = load_policy_source(card["name"])
        answer = policy.act(policy.shape.observations.empty(2))
        assert len(answer[0]) == 2
        assert card["license"]


def test_facts_are_plain_data() -> None:
    policy = start("fresh", VECTOR, IMAGE)
    facts = policy_facts(policy)
    assert json.loads(json.dumps(facts))["parameters"] == policy.parameters
    text = policy_card_text(facts)
    assert "screen (image 3x60x80)" in text
    assert "Game-v1" in text


@pytest.mark.parametrize(
    ("channels", "side", "colours"),
    [(3, (60, 80), None), (1, (84, 84), None), (4, (30, 40), None), (9, (60, 80), 3), (9, (60, 80), 1)],
)
def test_a_clip_backbone_sees(channels: int, side: tuple[int, int], colours: int | None, tmp_path: Path) -> None:
    part = replace(IMAGE, shape=(channels, *side))
    options = {} if colours is None else {"colours": colours}
    policy = moved(start("behavior:bundled:doom-clips", part, VECTOR, options=options))
    encoder = policy.network.encoders[0]
    assert isinstance(encoder, BehaviorEncoder)
    values = {"screen": torch.randint(0, 256, (2, channels, *side), dtype=torch.uint8), "vector": torch.randn(2, 4)}
    assert encoder.clips(values["screen"]).shape == (2, 6, 60, 80, 1)
    save_policy(tmp_path, policy)
    assert_alike(policy, load_policy(tmp_path), values)
    with torch.no_grad():
        before = policy.network(values).values
        assert torch.equal(policy.network.train()(values).values, before)
        assert not torch.equal(policy.network({**values, "screen": 255 - values["screen"]}).values, before)


def test_a_clip_backbone_is_given_what_it_was_trained_on() -> None:
    model = load_pretrained("bundled:doom-clips")
    stack = replace(IMAGE, shape=(6, 60, 80))
    policy = start("behavior:bundled:doom-clips", stack, options={"colours": 1})
    clips = torch.randint(0, 256, (3, 6, 60, 80, 1), dtype=torch.uint8)
    encoder = policy.network.encoders[0]
    with torch.no_grad():
        assert torch.equal(encoder(clips[..., 0]), model.backbone(clips))
    single = BehaviorEncoder(replace(IMAGE, shape=(1, 60, 80), high=1.0), model, 1)
    still = single.clips(torch.full((1, 1, 60, 80), 0.5))
    assert torch.equal(still, torch.full((1, 6, 60, 80, 1), 127.5))
    two = BehaviorEncoder(replace(IMAGE, shape=(2, 60, 80)), model, 1)
    frames = torch.stack([torch.zeros(60, 80), torch.ones(60, 80)])[None]
    assert two.clips(frames)[0, :, 0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]
    many = BehaviorEncoder(replace(IMAGE, shape=(8, 60, 80)), model, 1)
    frames = torch.arange(8.0)[None, :, None, None].expand(1, 8, 60, 80)
    assert many.clips(frames)[0, :, 0, 0, 0].tolist() == [2, 3, 4, 5, 6, 7]


def test_a_run_of_the_behavior_scenario(tmp_path: Path) -> None:
    model = load_pretrained("bundled:doom-clips")
    with torch.no_grad():
        for weight in model.backbone.parameters():
            weight.mul_(1.1)
    classifier = ClipClassifier(model.backbone, ("a", "b"))
    save_classifier(tmp_path / "clips" / "model", classifier.eval(), model.card, {})
    policy = start(f"behavior:{tmp_path / 'clips'}", IMAGE)
    mine = policy.network.encoders[0].get_submodule("backbone").state_dict()
    theirs = classifier.backbone.state_dict()
    assert all(torch.equal(mine[name], value) for name, value in theirs.items())
    assert policy.facts["backbone"] == "bundled:doom-clips"
    shutil.copy(tmp_path / "clips" / "model" / "card.json", tmp_path / "card.json")
    with pytest.raises(RunError, match="not those of the card"):
        start(f"behavior:{tmp_path}", IMAGE)
    save_policy(tmp_path / "policy", start("fresh", VECTOR))
    assert "but a policy" in str(refused("no model of the behavior scenario", f"behavior:{tmp_path / 'policy'}", IMAGE))


def test_parts_for_a_clip_backbone() -> None:
    assert "none of them: vector" in str(refused("kind image", "behavior:bundled:doom-clips", VECTOR))
    second = replace(IMAGE, name="map")
    assert "part: screen" in str(refused("shows 2", "behavior:bundled:doom-clips", IMAGE, second))
    policy = start("behavior:bundled:doom-clips", IMAGE, second, options={"part": "map"}, share=False)
    kinds = [isinstance(one, BehaviorEncoder) for one in policy.network.encoders]
    assert kinds == [isinstance(one, BehaviorEncoder) for one in policy.network.critic_encoders] == [False, True]
    pairs = zip(policy.network.encoders[1].parameters(), policy.network.critic_encoders[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert "'map'" in str(refused("'maps'", "behavior:bundled:doom-clips", IMAGE, second, options={"part": "maps"}))
    refused("no frames of 2", "behavior:bundled:doom-clips", IMAGE, options={"colours": 2})


def test_sources_are_deterministic_by_seed() -> None:
    first, second = (start("behavior:bundled:doom-clips", IMAGE) for _ in range(2))
    assert_alike(first, second, {"screen": torch.randint(0, 256, (2, 3, 60, 80), dtype=torch.uint8)})


def test_a_brought_encoder_keeps_its_weights_and_others_begin_orthogonal() -> None:
    second = replace(IMAGE, name="map", shape=(3, 60, 60))
    policy = start("behavior:bundled:doom-clips", IMAGE, second, options={"part": "screen"})
    weight = policy.network.encoders[1].get_submodule("linear").weight.detach()  # type: ignore[union-attr, operator]
    assert torch.allclose(weight @ weight.T, 2.0 * torch.eye(len(weight)), atol=1e-4)


def test_random_state_of_the_caller_is_left_alone() -> None:
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    start("fresh", VECTOR, TOKENS)
    build_network(PolicyShape(ObservationSpec((VECTOR,)), ACTIONS), 0)
    assert torch.equal(torch.rand(1), expected)


def test_request_without_a_game_loads_a_run(tmp_path: Path) -> None:
    save_policy(tmp_path / "model", start("fresh", VECTOR))
    request = PolicyRequest(environment="Other-v1")
    assert load_policy_source(f"run:{tmp_path}", request).environment == "Game-v1"
