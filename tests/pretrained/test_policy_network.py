"""The policy network: shapes of every kind, memory, names of its parts, and what a file keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from newgameplus.errors import PretrainedModelError, RunError
from newgameplus.pretrained.action_distribution import ActionDistribution
from newgameplus.pretrained.policy import Policy, load_policy, save_policy
from newgameplus.pretrained.policy_encoders import (
    ConvolutionEncoder,
    Encoder,
    Flatten,
    Pixels,
    TokenEncoder,
    make_encoder,
)
from newgameplus.pretrained.policy_network import Normalizer, PolicyNetwork
from newgameplus.pretrained.policy_request import build_network, shape_of
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.recipe_agent import AgentModelSettings
from newgameplus.spaces import ActionSpec, ObservationPart, ObservationSpec

VECTOR = ObservationPart("vector", "vector", (5,))
IMAGE = ObservationPart("image", "image", (3, 40, 44), "uint8", 0.0, 255.0)
SMALL = ObservationPart("small", "image", (4, 10, 10), "uint8", 0.0, 1.0)
GRID = ObservationPart("grid", "grid", (3, 7, 6), "uint8", sizes=(11, 6, 4))
TOKENS = ObservationPart("tokens", "tokens", (9,), "int64", sizes=(20,))
CHOICE = ObservationPart("choice", "choice", (2,), "int64", sizes=(4, 3))
ALL = ObservationSpec((VECTOR, IMAGE, SMALL, GRID, TOKENS, CHOICE))
DISCRETE = ActionSpec("discrete", (5,))
ACTIONS = {
    "discrete": DISCRETE,
    "multi-discrete": ActionSpec("multi-discrete", (3, 2, 4)),
    "binary": ActionSpec("binary", (6,)),
    "continuous": ActionSpec("continuous", (2,), (-1.0, -2.0), (1.0, 2.0)),
}


def shown(spec: ObservationSpec, count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Draw observations."""
    random = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for part in spec.parts:
        size = (count, *part.shape)
        if part.kind == "vector":
            found[part.name] = random.normal(2.0, 3.0, size).astype(np.float32)
        elif part.kind == "image":
            found[part.name] = random.integers(0, int(part.high or 255) + 1, size).astype(part.dtype)
        elif part.kind == "tokens":
            found[part.name] = random.integers(0, part.sizes[0], size)
        else:
            axis = (1, len(part.sizes)) + (1,) * (len(part.shape) - 1)
            found[part.name] = (random.random(size) * np.array(part.sizes).reshape(axis)).astype(part.dtype)
    return {name: torch.as_tensor(values) for name, values in found.items()}


def network_of(shape: PolicyShape, seed: int = 1) -> PolicyNetwork:
    """Build a network that answers more than next to nothing."""
    network = build_network(shape, seed)
    with torch.no_grad():
        network.actor_head.weight.mul_(100)
    return network


@pytest.mark.parametrize("kind", list(ACTIONS))
@pytest.mark.parametrize("memory", ["none", "gru", "lstm"])
@pytest.mark.parametrize("share", [True, False])
def test_every_kind_answers_and_survives_its_file(kind: str, memory: Any, share: bool, tmp_path: Path) -> None:
    shape = PolicyShape(ALL, ACTIONS[kind], features=16, trunk=(12,), memory=memory, memory_width=8, share=share)
    network = network_of(shape)
    network.normalizer.update(shown(ALL, 50, seed=9))
    observations = shown(ALL, 4)
    answer = network(observations)
    assert answer.distribution.answer.shape == (4, ACTIONS[kind].width)
    assert answer.values.shape == (4,)
    assert answer.state.shape == (4, network.state_width)
    actions = answer.distribution.sample(torch.Generator().manual_seed(0))
    assert actions.shape == (4, *ACTIONS[kind].shape)
    assert answer.distribution.log_prob(actions).shape == answer.distribution.entropy().shape == (4,)
    save_policy(tmp_path, Policy("here", network, "Game-v1", {"a": 1}))
    loaded = load_policy(tmp_path)
    assert loaded.shape.as_dict() == shape.as_dict()
    assert (loaded.name, loaded.environment, loaded.facts) == ("here", "Game-v1", {"a": 1})
    again = loaded.network(observations)
    assert torch.equal(again.distribution.answer, answer.distribution.answer)
    assert torch.equal(again.values, answer.values)
    assert torch.equal(again.state, answer.state)
    assert torch.equal(again.distribution.log_prob(actions), answer.distribution.log_prob(actions))
    assert torch.equal(again.distribution.entropy(), answer.distribution.entropy())
    assert torch.equal(again.distribution.mode(), answer.distribution.mode())
    assert (again.distribution.divergence_to(answer.distribution).detach().abs() < 1e-6).all()


@pytest.mark.parametrize("memory", ["none", "gru", "lstm"])
def test_a_sequence_at_once_is_step_by_step(memory: Any) -> None:
    spec = ObservationSpec((VECTOR, GRID, TOKENS))
    network = network_of(PolicyShape(spec, DISCRETE, features=16, memory=memory, memory_width=8))
    steps, count = 7, 3
    flat = shown(spec, steps * count)
    together = {name: values.view(steps, count, *values.shape[1:]) for name, values in flat.items()}
    starts = torch.zeros(steps, count, dtype=torch.bool)
    starts[0, 0] = starts[3, 1] = starts[4, :] = True
    first = torch.randn(count, network.state_width, generator=torch.Generator().manual_seed(0))
    masks = torch.rand(steps, count, 5, generator=torch.Generator().manual_seed(1)) > 0.3
    masks[..., 0] = True
    unrolled = network.unroll(together, first, starts, masks)
    state = first
    for step in range(steps):
        observations = {name: values[step] for name, values in together.items()}
        answer = network(observations, state, starts[step], masks[step])
        state = answer.state
        rows = slice(step * count, (step + 1) * count)
        assert torch.allclose(unrolled.distribution.answer[rows], answer.distribution.answer, atol=1e-6)
        assert torch.allclose(unrolled.values[rows], answer.values, atol=1e-6)
    assert torch.allclose(unrolled.state, state, atol=1e-6)


@pytest.mark.parametrize("memory", ["gru", "lstm"])
def test_a_new_episode_forgets_the_old_one(memory: Any) -> None:
    spec = ObservationSpec((VECTOR,))
    network = network_of(PolicyShape(spec, DISCRETE, memory=memory, memory_width=8))
    observations = shown(spec, 2)
    old = torch.ones(2, network.state_width)
    fresh = network(observations)
    kept = network(observations, old, torch.tensor([False, False]))
    begun = network(observations, old, torch.tensor([True, False]))
    assert torch.equal(begun.distribution.answer[0], fresh.distribution.answer[0])
    assert torch.equal(begun.distribution.answer[1], kept.distribution.answer[1])
    assert not torch.equal(kept.distribution.answer, fresh.distribution.answer)


def test_parts_have_the_names_that_files_and_surgery_rely_on() -> None:
    spec = ObservationSpec((VECTOR, IMAGE))
    own = {"normalizer", "encoders", "trunk", "memory", "actor", "actor_head", "critic", "critic_head", "log_scale"}
    apart = {"critic_encoders", "critic_trunk"}
    shape = PolicyShape(spec, ACTIONS["continuous"], trunk=(8,), memory="gru")
    assert {name.partition(".")[0] for name in PolicyNetwork(shape).state_dict()} == own
    alone = replace(shape, memory="none", share=False)
    network = PolicyNetwork(alone)
    assert {name.partition(".")[0] for name in network.state_dict()} == own - {"memory"} | apart
    critic = {id(weight) for weight in network.critic_parameters()}
    actor = {id(weight) for weight in network.actor_parameters()}
    assert not critic & actor
    assert len(critic | actor) == len(list(network.parameters()))


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize("share", [True, False])
def test_every_weight_counts(memory: Any, share: bool) -> None:
    network = network_of(PolicyShape(ALL, ACTIONS["continuous"], trunk=(8,), memory=memory, share=share))
    answer = network(shown(ALL, 4), torch.ones(4, network.state_width))
    actions = answer.distribution.sample(torch.Generator().manual_seed(0))
    (answer.distribution.log_prob(actions).sum() + answer.values.sum()).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_actor_weights_do_not_depend_on_the_critic_alone() -> None:
    network = network_of(PolicyShape(ALL, DISCRETE, share=False))
    before = network(shown(ALL, 4)).distribution.answer
    with torch.no_grad():
        for weight in network.critic_parameters():
            weight.add_(1.0)
    after = network(shown(ALL, 4))
    assert torch.equal(after.distribution.answer, before)


def test_a_seed_makes_the_weights_and_leaves_the_rest_alone() -> None:
    shape = PolicyShape(ALL, DISCRETE)
    torch.manual_seed(5)
    first, drawn = build_network(shape, 3), torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)
    second, third = build_network(shape, 3), build_network(shape, 4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True))


def test_play_begins_undecided() -> None:
    network = build_network(PolicyShape(ALL, DISCRETE), 0)
    answer = network(shown(ALL, 30))
    assert (answer.distribution.entropy() > 0.98 * np.log(5)).all()


def test_convolutions_and_layers_begin_orthogonal() -> None:
    network = build_network(PolicyShape(ObservationSpec((IMAGE, VECTOR)), DISCRETE, trunk=(32,)), 0)
    for name in ("encoders.0.convolutions.2", "encoders.0.linear", "trunk.0", "actor.0", "critic.2"):
        layer = network.get_submodule(name)
        weight = layer.weight.detach().flatten(1)  # type: ignore[union-attr, operator]
        short = weight if weight.shape[0] <= weight.shape[1] else weight.T
        assert torch.allclose(short @ short.T, 2.0 * torch.eye(len(short)), atol=1e-4)
        assert not layer.bias.any()  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("encoder", ["auto", "flatten", "mlp", "nature-cnn", "impala-cnn", "small-cnn", "transformer"])
def test_every_encoder_takes_every_part_that_it_fits(encoder: Any) -> None:
    spec = ObservationSpec(ALL.parts if encoder != "nature-cnn" else (VECTOR, IMAGE, TOKENS, CHOICE))
    shape = PolicyShape(spec, DISCRETE, encoder=encoder, features=16)
    observations = shown(spec, 3)
    for part in spec.parts:
        built = make_encoder(part, shape)
        assert built(observations[part.name]).shape == (3, built.width)


def test_what_auto_takes() -> None:
    shape = PolicyShape(ALL, DISCRETE)
    kinds = {part.name: type(make_encoder(part, shape)) for part in ALL.parts}
    assert kinds["vector"] is kinds["choice"] is Flatten
    assert kinds["image"] is kinds["small"] is kinds["grid"] is ConvolutionEncoder
    assert kinds["tokens"] is TokenEncoder
    convolutions = {part: make_encoder(part, shape).get_submodule("convolutions") for part in (IMAGE, SMALL, GRID)}
    assert [len(convolutions[part]) for part in (IMAGE, SMALL, GRID)] == [6, 2, 2]  # type: ignore[arg-type]


def test_options_reach_their_encoder() -> None:
    options: Mapping[str, Any] = {"channels": [5, 7], "layers": 3, "heads": 2, "padding": 1}
    shape = PolicyShape(ALL, DISCRETE, features=16, options=options)
    small = make_encoder(GRID, shape)
    widths = [weight.shape[0] for name, weight in small.named_parameters() if name.endswith("weight")]
    assert widths == [5, 7, 16]
    assert small.get_submodule("linear").weight.shape[1] == 7 * 7 * 6  # type: ignore[union-attr, operator]
    tokens = make_encoder(TOKENS, shape)
    assert isinstance(tokens, TokenEncoder)
    assert len(tokens.layers.layers) == 3
    impala = make_encoder(IMAGE, replace(shape, encoder="impala-cnn"))
    assert [weight.shape[0] for name, weight in impala.named_parameters() if weight.ndim == 4][::5] == [5, 7]


def test_a_part_may_have_an_encoder_of_its_own() -> None:
    parts = {"image": {"encoder": "flatten"}, "small": {"encoder": "mlp", "features": 6}, "grid": {"numbers": True}}
    shape = PolicyShape(ALL, DISCRETE, features=16, options={"parts": parts})
    observations = shown(ALL, 2)
    flat = make_encoder(IMAGE, shape)
    expected = observations["image"].float().flatten(1) / 255.0
    assert torch.allclose(flat(observations["image"]), expected)
    assert make_encoder(SMALL, shape).width == 6
    assert make_encoder(GRID, shape).get_submodule("convolutions.0").weight.shape[1] == 3  # type: ignore[union-attr, operator]
    assert make_encoder(TOKENS, shape).width == 16


def test_pictures_too_small_for_a_network_are_named() -> None:
    tiny = ObservationPart("tiny", "grid", (1, 2, 2), "uint8", sizes=(3,))
    spec = ObservationSpec((tiny,))
    assert make_encoder(tiny, PolicyShape(spec, DISCRETE))(shown(spec, 2)["tiny"]).shape == (2, 128)
    for encoder in ("nature-cnn", "small-cnn"):
        with pytest.raises(PretrainedModelError, match="too small") as caught:
            make_encoder(tiny, PolicyShape(spec, DISCRETE, encoder=encoder))
        assert "padding" in str(caught.value)


def test_codes_of_a_grid_are_one_hot() -> None:
    values = shown(ObservationSpec((GRID,)), 3)["grid"]
    hot = Pixels(GRID, {})(values)
    assert hot.shape == (3, 21, 7, 6)
    assert torch.equal(hot.sum(dim=1), torch.full((3, 7, 6), 3.0))
    for channel, (start, size) in enumerate(((0, 11), (11, 6), (17, 4))):
        assert torch.equal(hot[:, start : start + size].argmax(dim=1), values[:, channel].long())


def test_choices_are_one_hot() -> None:
    found = Flatten(CHOICE, {})(torch.tensor([[3, 0], [0, 2]]))
    assert found.tolist() == [[0, 0, 0, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0, 1]]


def test_padding_tokens_change_nothing() -> None:
    encoder = TokenEncoder(TOKENS, 16, {})
    short = torch.tensor([[4, 7, 0, 0, 0, 0, 0, 0, 0]])
    alone = TokenEncoder(replace(TOKENS, shape=(2,)), 16, {})
    weights = encoder.state_dict()
    weights["places.weight"] = weights["places.weight"][:2]
    alone.load_state_dict(weights)
    assert torch.allclose(encoder(short), alone(short[:, :2]), atol=1e-6)
    nothing = encoder(torch.zeros(1, 9, dtype=torch.long))
    assert torch.isfinite(nothing).all()
    assert not torch.allclose(encoder(torch.tensor([[7, 4] + [0] * 7])), encoder(short), atol=1e-4)


def test_normalization_is_of_all_that_was_seen() -> None:
    spec = ObservationSpec((VECTOR, replace(VECTOR, name="other", shape=(2,)), GRID))
    normalizer = Normalizer(spec, active=True)
    batches = [shown(spec, count, seed) for seed, count in enumerate((1, 50, 7, 200))]
    for batch in batches:
        normalizer.update(batch)
    assert normalizer.parts == ("vector", "other")
    assert float(normalizer.count) == 258
    for name in normalizer.parts:
        together = torch.cat([batch[name] for batch in batches]).double()
        mean, variance = normalizer.statistics(name)
        assert torch.allclose(mean, together.mean(dim=0))
        assert torch.allclose(variance, together.var(dim=0, correction=0))
        normal = normalizer({key: torch.cat([batch[key] for batch in batches]) for key in spec.names})
        assert torch.allclose(normal[name].mean(dim=0), torch.zeros(1), atol=1e-5)
        assert torch.equal(normal["grid"], torch.cat([batch["grid"] for batch in batches]))


def test_normalization_clips_and_may_be_of_some_parts_only() -> None:
    spec = ObservationSpec((VECTOR, replace(VECTOR, name="other")))
    shape = PolicyShape(spec, DISCRETE, options={"normalized": ["other"], "clip": 2.0})
    normalizer = PolicyNetwork(shape).normalizer
    far = {"vector": torch.full((1, 5), 1e6), "other": torch.full((1, 5), 1e6)}
    found = normalizer(far)
    assert found["vector"].max() == 1e6
    assert found["other"].max() == 2.0
    off = PolicyNetwork(replace(shape, normalize=False)).normalizer
    off.update(far)
    assert off(far)["other"].max() == 1e6
    assert float(off.count) == 0


def test_masks_forbid() -> None:
    for kind in ("discrete", "multi-discrete", "binary"):
        spec = ACTIONS[kind]
        mask = torch.zeros(200, spec.width, dtype=torch.bool)
        start = 0
        for size in spec.sizes if kind == "multi-discrete" else (spec.width,):
            mask[:, start + size - 1] = True
            start += size
        answer = torch.randn(200, spec.width, generator=torch.Generator().manual_seed(0))
        distribution = ActionDistribution(spec, answer, mask=mask)
        drawn = distribution.sample(torch.Generator().manual_seed(1))
        if kind == "binary":
            assert not drawn[:, :-1].any()
            assert drawn[:, -1].any()
        else:
            last = torch.tensor(spec.sizes) - 1
            assert (drawn == (last[0] if kind == "discrete" else last)).all()
            assert torch.allclose(distribution.log_prob(drawn), torch.zeros(200), atol=1e-5)
        assert torch.isfinite(distribution.entropy()).all()
        assert torch.isfinite(distribution.tempered(0.1).log_prob(drawn)).all()


@pytest.mark.parametrize("kind", list(ACTIONS))
def test_distributions_agree_with_torch(kind: str) -> None:
    spec = ACTIONS[kind]
    generator = torch.Generator().manual_seed(0)
    answer, other = (torch.randn(50, spec.width, generator=generator) for _ in range(2))
    scale, other_scale = (torch.randn(spec.width, generator=generator) * 0.3 for _ in range(2))
    continuous = kind == "continuous"
    mine = ActionDistribution(spec, answer, scale if continuous else None)
    theirs = ActionDistribution(spec, other, other_scale if continuous else None)
    actions = mine.sample(generator)

    def reference(logits: torch.Tensor, spread: torch.Tensor) -> list[torch.distributions.Distribution]:
        if continuous:
            normal = torch.distributions.Normal(logits, spread.exp())
            return [torch.distributions.Independent(normal, 1)]
        if kind == "binary":
            return [torch.distributions.Independent(torch.distributions.Bernoulli(logits=logits), 1)]
        return [torch.distributions.Categorical(logits=part) for part in logits.split(list(spec.sizes), dim=1)]

    expected = reference(answer, scale)
    if kind == "multi-discrete":
        log_prob = sum(one.log_prob(actions[:, n]) for n, one in enumerate(expected))
    else:
        log_prob = expected[0].log_prob(actions.float() if kind == "binary" else actions)
    pairs = zip(expected, reference(other, other_scale), strict=True)
    divergence = sum(torch.distributions.kl_divergence(a, b) for a, b in pairs)
    assert torch.allclose(mine.log_prob(actions), torch.as_tensor(log_prob), atol=1e-5)
    assert torch.allclose(mine.entropy(), torch.as_tensor(sum(one.entropy() for one in expected)), atol=1e-5)
    assert torch.allclose(mine.divergence_to(theirs), torch.as_tensor(divergence), atol=1e-5)


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0, 0.5]]).expand(20_000, -1)
    drawn = ActionDistribution(DISCRETE, logits).sample(torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=5) / 20_000
    assert torch.allclose(shares, torch.softmax(logits[0], dim=0), atol=0.015)


def test_continuous_actions_are_clipped_to_what_the_game_allows() -> None:
    spec = ObservationSpec((VECTOR,))
    network = network_of(PolicyShape(spec, ACTIONS["continuous"], log_scale=3.0))
    actions, _ = Policy("here", network).act(
        {name: values.numpy() for name, values in shown(spec, 50).items()}, generator=torch.Generator().manual_seed(0)
    )
    assert np.abs(actions[:, 0]).max() == 1.0
    assert np.abs(actions[:, 1]).max() == 2.0


@pytest.mark.parametrize("kind", ["tanh", "relu", "leaky-relu", "elu", "gelu", "silu"])
def test_activations(kind: Any) -> None:
    spec = ObservationSpec((VECTOR,))
    shape = PolicyShape(spec, DISCRETE, activation=kind)
    assert PolicyShape.from_dict(shape.as_dict()) == shape
    assert torch.isfinite(PolicyNetwork(shape)(shown(spec, 2)).values).all()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    save_policy(tmp_path, Policy("here", PolicyNetwork(PolicyShape(ObservationSpec((VECTOR,)), DISCRETE))))
    weights = tmp_path / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RunError, match="not those of the card"):
        load_policy(tmp_path)
    (tmp_path / "card.json").write_text('{"kind": "tiles"}')
    with pytest.raises(RunError, match="another kind"):
        load_policy(tmp_path)


def test_settings_make_the_blueprint() -> None:
    settings = AgentModelSettings(features=32, trunk=(16,), memory="gru", activation="relu", options={"heads": 2})
    shape = shape_of(settings, ALL, DISCRETE)
    assert (shape.features, shape.trunk, shape.memory, shape.activation) == (32, (16,), "gru", "relu")
    assert shape.options == {"heads": 2}
    assert shape_of(settings.model_copy(update={"start": "sb3:x.zip"}), ALL, DISCRETE).options == {}
    wrong = AgentModelSettings(options={"head": 2, "layers": 0, "padding": 7, "channels": "16"})
    with pytest.raises(PretrainedModelError) as caught:
        shape_of(wrong, ALL, DISCRETE)
    assert len(caught.value.problems) == 4
    assert "did you mean 'heads'" in str(caught.value)
    with pytest.raises(PretrainedModelError, match="cannot be split"):
        shape_of(AgentModelSettings(options={"heads": 3}), ALL, DISCRETE)


def test_encoders_are_encoders() -> None:
    shape = PolicyShape(ALL, DISCRETE)
    assert all(isinstance(make_encoder(part, shape), Encoder) for part in ALL.parts)
