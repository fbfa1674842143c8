"""What keeps a policy from forgetting: each term pulls where it says it does, and plain fine-tuning forgets."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.toy_games import AppleRetrieval, Identity, Masked, Remember
from tests.train.small_policies import FAST, same_weights, small_policy, train

from newgameplus.errors import RecipeError, TrainingError
from newgameplus.games.episodes import StepTable, step_table
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.recipe_agent import AgentTrainSettings, RetentionTerm
from newgameplus.spaces import SINGLE
from newgameplus.train.advantages import ReturnScale
from newgameplus.train.minibatches import Minibatch, rollout_batch
from newgameplus.train.retention import RETENTION, Retention, build_retention
from newgameplus.train.retention.ewc import fisher_diagonal
from newgameplus.train.rollout import Collector, expert_states
from newgameplus.train.sequences import Sequences

MAKERS: dict[str, Any] = {
    "perceptron": (lambda: Identity("discrete"), {}),
    "continuous": (lambda: Identity("continuous"), {}),
    "masked": (Masked, {}),
    "gru": (Remember, {"memory": "gru", "memory_width": 6}),
    "lstm": (Remember, {"memory": "lstm", "memory_width": 6}),
}


def states_of(network: PolicyNetwork, games: Any, count: int = 80) -> StepTable:
    return step_table(expert_states(network, games, count, 0, successful=False), 0.99)


def moved(network: PolicyNetwork) -> PolicyNetwork:
    other = copy.deepcopy(network)
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in other.parameters():
            weight += 0.3 * torch.randn_like(weight)
    return other


def retention(kind: str, teacher: PolicyNetwork | None, states: StepTable | None, **more: Any) -> Retention:
    return build_retention([RetentionTerm(kind=kind, **more)], teacher, states, ReturnScale(0.99), seed=0)


def own_steps(network: PolicyNetwork, games: Any, terms: Retention) -> Minibatch:
    collector = Collector(network, games, 12)
    collector.reset(1)
    terms.restart(games.count)
    rollout = collector.collect(np.random.default_rng(0))
    batch = rollout_batch(network, rollout, np.zeros_like(rollout.rewards))
    batch.columns |= terms.columns(rollout, batch)
    batch.ask(network)
    return batch


@pytest.mark.parametrize("name", list(MAKERS))
@pytest.mark.parametrize("kind", list(RETENTION))
def test_a_term_is_smallest_at_the_start_and_pulls_back_to_it(name: str, kind: str) -> None:
    make, shape = MAKERS[name]
    games = make()
    teacher = small_policy(games, **shape)
    with torch.no_grad():
        teacher.actor_head.weight.mul_(30.0)
    states = states_of(teacher, games)
    terms = retention(kind, teacher, states)
    [(weight, loss)] = terms.weighted(0.0).values()
    assert weight > 0.0
    away = moved(teacher)
    optimizer = torch.optim.Adam(away.parameters(), lr=3e-3)
    values = []
    for _ in range(60):
        value = loss(away, own_steps(away, games, terms))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert np.mean(values[-5:]) < 0.8 * np.mean(values[:5])
    if kind != "memory":
        at_start = float(loss(teacher, own_steps(teacher, games, terms)).detach())
        assert at_start == pytest.approx(0.0, abs=1e-6)
        assert at_start < values[-1]


def test_kickstarting_is_the_divergence_on_own_steps() -> None:
    games = Identity("discrete")
    teacher = small_policy(games)
    student = moved(teacher)
    terms = retention("kickstarting", teacher, None)
    batch = own_steps(student, games, terms)
    [(_, loss)] = terms.weighted(0.0).values()
    with torch.no_grad():
        theirs = teacher(batch.observations).distribution.answer.log_softmax(-1)
        mine = student(batch.observations).distribution.answer.log_softmax(-1)
        expected = (theirs.exp() * (theirs - mine)).sum(-1).mean()
        assert float(loss(student, batch)) == pytest.approx(float(expected), rel=1e-4)


def test_a_teacher_with_memory_remembers_across_rollouts_and_forgets_at_a_restart() -> None:
    games = Remember()
    teacher = small_policy(games, memory="gru", memory_width=6)
    student = moved(teacher)
    terms = retention("kickstarting", teacher, None)
    collector = Collector(student, games, 7)
    collector.reset(1)
    terms.restart(games.count)
    state = teacher.initial_state(games.count)
    for update in range(3):
        rollout = collector.collect(np.random.default_rng(update))
        batch = rollout_batch(student, rollout, np.zeros_like(rollout.rewards))
        found = terms.columns(rollout, batch)["kickstarting"]
        with torch.no_grad():
            starts = torch.as_tensor(rollout.starts[:7])
            answer = teacher.unroll(batch.observations, state, starts)
            state = answer.state
        torch.testing.assert_close(found.flatten(0, 1), answer.distribution.answer)


def test_the_fisher_information_is_that_of_a_softmax() -> None:
    """One layer: the information about a bias is p (1 - p), about a weight the same times the input squared."""
    games = Identity("discrete")
    network = small_policy(games, actor=(), critic=(), normalize=False)
    with torch.no_grad():
        network.actor_head.weight.mul_(100.0)
    states = states_of(network, games, 4000)
    found = dict(zip(["weight", "bias"], fisher_diagonal(network, states, 0), strict=True))
    seen = torch.as_tensor(states.observations[SINGLE])
    with torch.no_grad():
        share = network({SINGLE: seen}).distribution.answer.softmax(-1)
    spread = share * (1 - share)
    torch.testing.assert_close(found["bias"], spread.mean(0), atol=0.02, rtol=0.15)
    expected = (spread.unsqueeze(2) * seen.unsqueeze(1).square()).mean(0)
    torch.testing.assert_close(found["weight"], expected, atol=0.02, rtol=0.15)
    assert all(weight.grad is None for weight in network.parameters())


def test_the_schedules_fall_as_they_say() -> None:
    def weights(**more: Any) -> list[float]:
        terms = retention("l2-sp", small_policy(Identity("discrete")), None, weight=2.0, **more)
        return [terms.weighted(progress)["l2-sp"][0] for progress in (0.0, 0.25, 0.5, 1.0)]

    assert weights() == [2.0, 2.0, 2.0, 2.0]
    assert weights(schedule="linear", until=0.5) == [2.0, 1.0, 0.0, 0.0]
    assert weights(schedule="exponential", until=0.5) == pytest.approx([2.0, 0.2, 0.02, 0.0002])
    assert weights(schedule="linear", until=0.0)[1:] == [0.0, 0.0, 0.0]


def test_what_a_term_lacks_is_said() -> None:
    games = Identity("discrete")
    network = small_policy(games)
    for kind in ("kickstarting", "ewc", "l2-sp"):
        with pytest.raises(TrainingError, match="fresh start knows nothing"):
            retention(kind, None, states_of(network, games))
    for kind in ("cloning", "ewc", "memory"):
        with pytest.raises(TrainingError, match="needs expert states"):
            retention(kind, network, None)
    with pytest.raises(RecipeError, match="l3-sp") as caught:
        retention("l3-sp", network, None)
    assert "l2-sp" in str(caught.value)


def test_terms_add_up_and_the_same_kind_may_come_twice() -> None:
    games = Identity("discrete")
    network = small_policy(games)
    kinds = [RetentionTerm(kind=kind) for kind in ("cloning", "l2-sp", "cloning")]
    terms = build_retention(kinds, network, states_of(network, games), ReturnScale(0.99), 0)
    assert list(terms.weighted(0.0)) == ["cloning-1", "l2-sp", "cloning-3"]


def test_without_a_teacher_cloning_follows_the_demonstrators(tmp_path: Path) -> None:
    games = Identity("discrete")
    expert = small_policy(games)
    train(expert, games, tmp_path, fresh=True)
    states = states_of(expert, games, 400)
    (tmp_path / "b").mkdir()
    pupil = small_policy(games, seed=9)
    settings = FAST.model_copy(update={"steps": 1024, "learning_rate": 5e-3})
    train(
        pupil,
        games,
        tmp_path / "b",
        settings,
        fresh=True,
        states=states,
        terms=(RetentionTerm(kind="cloning", weight=5.0),),
    )
    with torch.no_grad():
        assert pupil({SINGLE: torch.eye(4)}).distribution.mode().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("memory", ["gru", "lstm"])
def test_sequences_have_the_answers_and_memories_of_whole_episodes(memory: str) -> None:
    games = Remember()
    network = small_policy(games, memory=memory, memory_width=5)
    table = states_of(network, games, 90)
    sequences = Sequences(table, network, length=8)
    sequences.refresh(network)
    starts = torch.as_tensor(table.starts)[:, None]
    seen = {name: torch.as_tensor(values)[:, None] for name, values in table.observations.items()}
    with torch.no_grad():
        whole = network.unroll(seen, network.initial_state(1), starts).distribution.answer
        torch.testing.assert_close(sequences.ask(network), whole)
        for number in range(len(sequences)):
            batch = sequences.take([number])
            first = int(sequences.firsts[number])
            torch.testing.assert_close(batch.ask(network).distribution.answer, whole[first : first + 8])
    assert set(np.concatenate([np.arange(f, f + 8) for f in sequences.firsts])) == set(range(len(table)))


@pytest.mark.slow
def test_plain_fine_tuning_forgets_what_it_does_not_visit_and_cloning_keeps_it(tmp_path: Path) -> None:
    """Wolczyk et al. 2024: a policy that knows the way home learns the way out, and is never asked for the way home."""
    home, out = AppleRetrieval("home"), AppleRetrieval("out")
    settings = AgentTrainSettings(
        steps=16_000, rollout=64, batch_size=256, learning_rate=0.03, critic_learning_rate=0.01, checkpoints=1
    )

    def homeward(network: PolicyNetwork) -> float:
        with torch.no_grad():
            answer = network({SINGLE: torch.tensor([[AppleRetrieval.contrast]])}).distribution.answer
        return float(answer.softmax(-1)[0, 0])

    def outward(rows: list[dict[str, Any]]) -> float:
        return float(rows[-1]["return"])

    start = small_policy(home, actor=(), critic=(), normalize=False)
    train(start, home, tmp_path, settings, fresh=True)
    known = homeward(start)
    assert known > 0.9
    states = step_table(expert_states(start, home, 500, 0), 0.99)
    kept, learnt = {}, {}
    for kind in ("plain", "cloning", "ewc", "memory"):
        folder = tmp_path / kind
        folder.mkdir()
        network = copy.deepcopy(start)
        # Both ways pull at the same two weights: holding on takes more than the default, which is for larger networks.
        weight = 1.0 if kind == "cloning" else "auto"
        terms = () if kind == "plain" else (RetentionTerm(kind=kind, weight=weight),)
        result = train(network, out, folder, settings, terms=terms, states=states)
        kept[kind], learnt[kind] = homeward(network), outward(result.rows)
    assert learnt["plain"] > 0.4
    assert kept["plain"] < 0.8 * known
    for kind in ("cloning", "ewc", "memory"):
        assert learnt[kind] > 0.3, kind
        assert kept[kind] > 0.9 * known, kind


def test_a_teacher_of_ones_own_can_be_given(tmp_path: Path) -> None:
    games = Identity("discrete")
    start, teacher = small_policy(games), moved(small_policy(games))
    before = copy.deepcopy(teacher)
    settings = FAST.model_copy(update={"steps": 512, "critic_warmup": 0.0})
    result = train(start, games, tmp_path, settings, teacher=teacher, terms=(RetentionTerm(kind="kickstarting"),))
    assert result.rows[0]["retention_kickstarting"] > 0.01
    assert same_weights(teacher, before)
