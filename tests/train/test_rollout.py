"""Rollouts: the same answers from NumPy as from torch, whatever the network; and episodes to remember."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.toy_games import Delayed, Identity, Masked, Remember, Steady, ToyEnvironments
from tests.train.small_policies import small_policy

from newgameplus.errors import GameError
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.spaces import SINGLE, ActionSpec, ObservationPart, ObservationSpec
from newgameplus.train.actors import array_actor, choose_actions, draw_noise
from newgameplus.train.rollout import Collector, expert_states

GAMES: dict[str, Any] = {
    "vector": lambda: Identity("discrete"),
    "choice": lambda: Identity("discrete", "choice"),
    "multi-discrete": lambda: Identity("multi-discrete"),
    "binary": lambda: Identity("binary"),
    "continuous": lambda: Identity("continuous"),
    "masked": Masked,
}


def warmed(network: PolicyNetwork) -> PolicyNetwork:
    """Give a network an opinion, and statistics."""
    with torch.no_grad():
        network.actor_head.weight.mul_(50.0)
    for name in network.normalizer.parts:
        width = network.normalizer.statistics(name)[0].shape[0]
        network.normalizer.update({name: torch.randn(100, width) * 3.0 + 1.0})
    return network


@pytest.mark.parametrize("name", list(GAMES))
@pytest.mark.parametrize("shape", [{}, {"encoder": "mlp", "features": 9, "activation": "relu"}, {"trunk": (7,)}])
def test_arrays_answer_as_torch_does(name: str, shape: dict[str, Any]) -> None:
    games = GAMES[name]()
    network = warmed(small_policy(games, **shape))
    actor = array_actor(network)
    assert actor is not None
    seen = games.reset(3)
    with torch.no_grad():
        expected = network({part: torch.as_tensor(values) for part, values in seen.items()}).distribution.answer
        network.actor_head.bias += 1.0
    np.testing.assert_allclose(actor(seen), expected.numpy() + 1.0, atol=1e-5)


def test_several_parts_are_put_together_in_their_order() -> None:
    parts = (
        ObservationPart("b", "vector", (3,)),
        ObservationPart("a", "choice", (2,), "int64", sizes=(3, 4)),
    )
    games = Identity("discrete")
    games.observations = ObservationSpec(parts)
    network = warmed(small_policy(games))
    actor = array_actor(network)
    assert actor is not None
    seen = {"a": np.array([[2, 0], [1, 3]]), "b": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)}
    with torch.no_grad():
        expected = network({part: torch.as_tensor(values) for part, values in seen.items()}).distribution.answer
    np.testing.assert_allclose(actor(seen), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("seen", "shape"), [("vector", {"memory": "gru"}), ("picture", {}), ("tokens", {"features": 8})]
)
def test_other_networks_are_left_to_torch(seen: str, shape: dict[str, Any]) -> None:
    assert array_actor(small_policy(Identity("discrete", seen), **shape)) is None


@pytest.mark.parametrize("kind", ["discrete", "multi-discrete", "binary", "continuous"])
def test_draws_have_the_probabilities_of_the_policy(kind: str) -> None:
    spec: ActionSpec = Identity.SPECS[kind]
    generator = np.random.default_rng(0)
    answer = np.tile(generator.normal(size=spec.width).astype(np.float32), (50_000, 1))
    drawn = choose_actions(spec, answer, draw_noise(spec, (50_000,), generator), np.zeros(spec.width, np.float32))
    assert drawn.dtype == np.dtype(spec.dtype)
    if kind == "continuous":
        np.testing.assert_allclose(drawn.mean(axis=0), answer[0], atol=0.03)
        np.testing.assert_allclose(drawn.std(axis=0), 1.0, atol=0.03)
        return
    if kind == "binary":
        np.testing.assert_allclose(drawn.mean(axis=0), 1 / (1 + np.exp(-answer[0])), atol=0.01)
        return
    columns = drawn.reshape(50_000, -1).T
    for column, logits in zip(columns, np.split(answer[0], np.cumsum(spec.sizes)[:-1]), strict=True):
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(np.bincount(column, minlength=len(logits)) / 50_000, expected, atol=0.01)


@pytest.mark.parametrize("name", list(GAMES))
def test_both_ways_of_playing_give_the_same_rollout(name: str) -> None:
    rollouts = []
    for quick in (True, False):
        games = GAMES[name]()
        collector = Collector(warmed(small_policy(games)), games, 20)
        if not quick:
            collector.fast = None
        collector.reset(1)
        rollouts.append(collector.collect(np.random.default_rng(0)))
    quick_one, slow_one = rollouts
    np.testing.assert_allclose(quick_one.actions, slow_one.actions, atol=1e-5)
    np.testing.assert_array_equal(quick_one.terminated, slow_one.terminated)
    for column in ("values", "log_probs", "rewards"):
        np.testing.assert_allclose(getattr(quick_one, column), getattr(slow_one, column), atol=1e-4)
    for part, values in quick_one.observations.items():
        np.testing.assert_allclose(values, slow_one.observations[part], atol=1e-5)


def test_a_network_with_memory_can_say_its_values_again() -> None:
    games = Remember()
    network = warmed(small_policy(games, memory="lstm", memory_width=6))
    collector = Collector(network, games, 13)
    collector.reset(1)
    for update in range(3):
        rollout = collector.collect(np.random.default_rng(update))
        values, chosen = rollout.values.copy(), rollout.log_probs.copy()
        collector.answer_again()
        np.testing.assert_allclose(rollout.values, values, atol=1e-5)
        np.testing.assert_allclose(rollout.log_probs, chosen, atol=1e-5)


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize("timed", [True, False])
def test_only_time_limits_ask_the_critic_what_would_have_come(timed: bool, memory: str) -> None:
    games = Steady(timed=timed)
    network = small_policy(games, memory=memory, memory_width=4)
    collector = Collector(network, games, 15)
    collector.reset(0)
    rollout = collector.collect(np.random.default_rng(0))
    assert rollout.ended[9].all()
    assert rollout.ended.sum() == games.count
    assert rollout.truncated.any() == timed
    if timed:
        state = network.initial_state(1)
        with torch.no_grad():
            for _ in range(11):
                answer = network({SINGLE: torch.ones(1, 1)}, state)
                state = answer.state
        np.testing.assert_allclose(rollout.after[9], float(answer.values), atol=1e-5)
    assert not rollout.after[:9].any()
    assert not (rollout.after[9].any() and not timed)
    assert len(rollout.episodes) == games.count
    assert rollout.episodes[0].total == 10.0


def test_episodes_to_remember_are_whole_and_have_all_that_happened() -> None:
    games = Masked(count=3)
    episodes = expert_states(warmed(small_policy(games)), games, 50, seed=1, successful=False)
    assert sum(map(len, episodes)) >= 50
    assert sum(map(len, episodes[:-1])) < 50
    for episode in episodes:
        assert len(episode) == games.length
        assert episode.terminated
        assert len(episode.observations[SINGLE]) == games.length + 1
        assert episode.masks is not None
        assert episode.masks[np.arange(len(episode)), episode.actions].all()


def test_successes_are_preferred() -> None:
    games = Delayed()
    network = small_policy(games)
    assert all(episode.success for episode in expert_states(network, games, 60, seed=0))
    assert not all(episode.success for episode in expert_states(network, games, 60, seed=0, successful=False))


class Never(ToyEnvironments):
    """Pays nothing, so that no episode is a success."""

    observations = Steady.observations
    actions = Steady.actions
    length = 4

    def move(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(self.count), np.zeros(self.count, np.bool_)

    def see(self) -> dict[str, np.ndarray]:
        return {SINGLE: np.ones((self.count, 1), np.float32)}


def test_without_a_success_what_was_played_is_kept_and_without_an_end_it_is_said() -> None:
    games = Never()
    assert len(expert_states(small_policy(games), games, 20, seed=0)) == 5
    games.length = 10**9
    with pytest.raises(GameError, match="no episode ended"):
        expert_states(small_policy(games), games, 20, seed=0)


@pytest.mark.parametrize("memory", ["gru", "lstm"])
@pytest.mark.parametrize("often", [0.0, 0.05, 0.5])
def test_whole_sequences_answer_as_single_steps_do(memory: str, often: float) -> None:
    games = Remember()
    network = warmed(small_policy(games, memory=memory, memory_width=6))
    steps, count = 20, 3
    seen, starts = torch.randn(steps, count, 4), torch.rand(steps, count) < often
    first = state = torch.randn(count, network.state_width)
    answers, values = [], []
    for step in range(steps):
        one = network({SINGLE: seen[step]}, state, starts[step])
        state = one.state
        answers.append(one.distribution.answer)
        values.append(one.values)
    whole = network.unroll({SINGLE: seen}, first, starts)
    torch.testing.assert_close(whole.distribution.answer, torch.cat(answers), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(whole.values, torch.cat(values), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(whole.state, state, atol=1e-4, rtol=1e-4)
    weights = [*network.memory.parameters()] if network.memory is not None else []
    mine = torch.autograd.grad(whole.distribution.answer.square().mean(), weights)
    theirs = torch.autograd.grad(torch.cat(answers).square().mean(), weights)
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)
