"""Policies learn trivial games, go on exactly where they were cut off, and are not torn apart by a new critic."""

from __future__ import annotations

import copy
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.toy_games import Delayed, Identity, Masked, Remember, Steady, ToyEnvironments
from tests.train.small_policies import FAST, same_weights, small_policy, train

from newgameplus.adapt.surgery_moments import refilling
from newgameplus.adapt.surgery_training import AfterSurgery
from newgameplus.errors import DivergedError, GameError, TrainingError
from newgameplus.games.environment_contract import Step
from newgameplus.pretrained.policy import Policy
from newgameplus.recipe_agent import AgentTrainSettings, RetentionTerm
from newgameplus.spaces import SINGLE, Actions
from newgameplus.tensors import load_tensors
from newgameplus.train import policy_optimization
from newgameplus.train.policy_update import UpdateStatistics

GAMES = {
    "discrete": (lambda: Identity("discrete"), {}, 0.9),
    "choice": (lambda: Identity("discrete", "choice"), {}, 0.9),
    "multi-discrete": (lambda: Identity("multi-discrete"), {}, 0.7),
    "binary": (lambda: Identity("binary"), {}, 0.8),
    "continuous": (lambda: Identity("continuous"), {"log_scale": -1.0}, 0.65),
    "masked": (Masked, {}, 0.9),
    "delayed": (Delayed, {}, 0.9 / 6),
}
SHAPES = {
    "small-cnn": ("picture", {"features": 16, "encoder": "small-cnn"}),
    "transformer": ("tokens", {"features": 16, "options": {"layers": 1}}),
}


def reached(rows: list[dict[str, Any]], length: int) -> float:
    """Mean reward a step over the last rows."""
    return float(np.mean([row["return"] for row in rows[-3:]])) / length


@pytest.mark.slow
@pytest.mark.parametrize("name", list(GAMES))
def test_a_perceptron_learns(name: str, tmp_path: Path) -> None:
    make, shape, threshold = GAMES[name]
    games = make()
    settings = FAST.model_copy(update={"steps": 20_000})
    result = train(small_policy(games, **shape), games, tmp_path, settings, fresh=True)
    assert reached(result.rows, games.length) > threshold


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SHAPES))
def test_other_encoders_learn(name: str, tmp_path: Path) -> None:
    seen, shape = SHAPES[name]
    games = Identity("discrete", seen)
    result = train(small_policy(games, **shape), games, tmp_path, fresh=True)
    assert reached(result.rows, games.length) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["gru", "lstm"])
def test_memory_remembers_what_a_perceptron_cannot(memory: str, tmp_path: Path) -> None:
    games = Remember()
    settings = FAST.model_copy(update={"steps": 16_384, "rollout": 16, "batch_size": 64, "learning_rate": 5e-3})
    network = small_policy(games, memory=memory, memory_width=32, actor=(), critic=())
    result = train(network, games, tmp_path, settings, fresh=True)
    assert reached(result.rows, 1) > 0.9


def test_what_is_not_shared_learns_too(tmp_path: Path) -> None:
    games = Identity("discrete")
    network = small_policy(games, share=False, trunk=(16,))
    assert reached(train(network, games, tmp_path, fresh=True).rows, games.length) > 0.6


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_the_same_seed_gives_the_same_weights_and_another_does_not(memory: str, tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"steps": 2048})
    networks = []
    for number, seed in enumerate((3, 3, 4)):
        games = Identity("discrete")
        network = small_policy(games, memory=memory, memory_width=8)
        folder = tmp_path / str(number)
        folder.mkdir()
        train(network, games, folder, settings, seed=seed, fresh=True)
        networks.append(network)
    assert same_weights(networks[0], networks[1])
    assert not same_weights(networks[0], networks[2])


class Failing(Identity):
    """Raises after a number of steps, as a worker that died does."""

    def __init__(self, after: int) -> None:
        super().__init__("discrete")
        self.left = after

    def step(self, actions: Actions) -> Step:
        self.left -= 1
        if self.left < 0:
            raise GameError("copy 0 died", source=self.name, remedy="run ngp resume")
        return super().step(actions)


@pytest.mark.parametrize("memory", ["none", "lstm"])
@pytest.mark.parametrize("after", [5, 70, 140, 250])
def test_a_training_that_a_game_broke_goes_on_exactly(memory: str, after: int, tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"steps": 2048, "checkpoints": 3})
    more: dict[str, Any] = {"terms": (RetentionTerm(kind="kickstarting", schedule="linear"),)}
    whole, broken = (small_policy(Identity("discrete"), memory=memory, memory_width=8) for _ in range(2))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    expected = train(whole, Identity("discrete"), tmp_path / "a", settings, **more)
    start = copy.deepcopy(broken)
    with pytest.raises(GameError, match="died"):
        train(broken, Failing(after), tmp_path / "b", settings, **more)
    again = copy.deepcopy(start)
    told: list[int] = []
    result = train(
        again, Identity("discrete"), tmp_path / "b", settings, on_check=lambda rows: told.append(len(rows)), **more
    )
    assert same_weights(again, whole)
    times = ("seconds", "steps_per_second")

    def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: value for name, value in row.items() if name not in times} for row in rows]

    assert plain(result.rows) == plain(expected.rows)
    assert told[-1] == len(result.rows)


PROGRAM = """
import sys, time
from pathlib import Path
from tests.toy_games import Identity
from tests.train.small_policies import FAST, small_policy, train

class Slow(Identity):
    def step(self, actions):
        time.sleep(float(sys.argv[2]))
        return super().step(actions)

games = Slow("discrete")
network = small_policy(games)
print("begun", flush=True)
train(network, games, Path(sys.argv[1]), FAST.model_copy(update={"steps": 8192, "checkpoints": 8}), fresh=True)
"""


def test_a_killed_training_goes_on_exactly(tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"steps": 8192, "checkpoints": 8})
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = small_policy(Identity("discrete"))
    train(whole, Identity("discrete"), tmp_path / "a", settings, fresh=True)
    checkpoint = tmp_path / "b" / "checkpoint.safetensors"
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "b"), "0.003"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not checkpoint.is_file() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert load_tensors(checkpoint)[1]["position"]["epoch"] < 8
    again = small_policy(Identity("discrete"))
    train(again, Identity("discrete"), tmp_path / "b", settings, fresh=True)
    assert same_weights(again, whole)


def test_ctrl_c_loses_no_more_than_the_block(tmp_path: Path) -> None:
    class Interrupted(Failing):
        def step(self, actions: Actions) -> Step:
            try:
                return super().step(actions)
            except GameError:
                raise KeyboardInterrupt from None

    games = Identity("discrete")
    with pytest.raises(KeyboardInterrupt):
        train(small_policy(games), Interrupted(100), tmp_path, FAST.model_copy(update={"steps": 2048}))
    position = load_tensors(tmp_path / "checkpoint.safetensors")[1]["position"]
    assert position["epoch"] == 1
    assert position["step"] == 512


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    games = Identity("discrete")
    network = small_policy(games)
    first = train(network, games, tmp_path, FAST.model_copy(update={"steps": 1024}))
    again = small_policy(games)
    second = train(again, Failing(0), tmp_path, FAST.model_copy(update={"steps": 1024}))
    assert same_weights(network, again)
    assert second.rows == first.rows


def test_no_steps_change_nothing(tmp_path: Path) -> None:
    games = Identity("discrete")
    network, start = small_policy(games), small_policy(games)
    result = train(network, games, tmp_path, FAST.model_copy(update={"steps": 0}))
    assert same_weights(network, start)
    assert result.steps == 0
    assert result.rows == []


@pytest.mark.parametrize("shape", [{}, {"memory": "gru", "memory_width": 8}, {"trunk": (16,)}, {"share": False}])
def test_the_policy_stays_bit_for_bit_while_the_critic_warms_up(shape: dict[str, Any], tmp_path: Path) -> None:
    games = Identity("discrete")
    network = small_policy(games, **shape)
    network.normalizer.update({SINGLE: torch.randn(50, 4)})
    start = copy.deepcopy(network)
    settings = FAST.model_copy(update={"steps": 2048, "critic_warmup": 0.99, "checkpoints": 2})
    seen: list[bool] = []

    def look(_: Any) -> None:
        critics = {name for name, _ in start.named_parameters() if name.startswith("critic")}
        now, before = network.state_dict(), start.state_dict()
        seen.append(all(torch.equal(now[name], before[name]) for name in before if name not in critics))
        assert any(not torch.equal(now[name], before[name]) for name in critics)

    result = train(network, games, tmp_path, settings, on_check=look)
    assert seen == [True, True]
    assert {row["phase"] for row in result.rows} == {"critic"}
    assert result.rows[-1]["value_loss"] < result.rows[0]["value_loss"]
    assert all(weight.requires_grad for weight in network.parameters())


def test_a_policy_that_knows_something_keeps_its_normalizer_and_a_fresh_one_gathers(tmp_path: Path) -> None:
    games = Identity("discrete")
    for fresh in (False, True):
        (tmp_path / str(fresh)).mkdir()
        network = small_policy(games)
        train(network, games, tmp_path / str(fresh), FAST.model_copy(update={"steps": 512}), fresh=fresh)
        assert float(network.normalizer.count) == (512 if fresh else 0)


@pytest.mark.parametrize(
    ("strategy", "moving"),
    [
        ("full", {"encoders", "trunk", "actor", "actor_head", "critic", "critic_head"}),
        ("frozen-encoder", {"trunk", "actor", "actor_head", "critic", "critic_head"}),
        ("heads", {"actor_head", "critic_head"}),
    ],
)
def test_only_what_may_move_moves(strategy: str, moving: set[str], tmp_path: Path) -> None:
    games = Identity("discrete")
    network = small_policy(games, encoder="mlp", features=8, trunk=(8,))
    start = copy.deepcopy(network)
    settings = FAST.model_copy(update={"steps": 1024, "critic_warmup": 0.0, "kl_stop": None})
    train(network, games, tmp_path, settings, strategy=strategy)
    before = start.state_dict()
    changed = {name.split(".")[0] for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    assert changed == moving


@pytest.mark.parametrize(("timed", "expected"), [(True, 10.0), (False, 5.5)])
def test_time_limits_are_no_ends(timed: bool, expected: float, tmp_path: Path) -> None:
    """A reward of 1 for ever is worth 1 / (1 - 0.9) = 10; ten of them, seen from anywhere, sum up to less."""
    games = Steady(timed=timed)
    network = small_policy(games)
    settings = FAST.model_copy(
        update={"gamma": 0.9, "normalize_returns": False, "steps": 20_000, "schedule": "constant"}
    )
    train(network, games, tmp_path, settings, fresh=True)
    with torch.no_grad():
        value = float(network({SINGLE: torch.ones(1, 1)}).values)
    if not timed:  # every place in the episode looks alike: the mean of (1 - 0.9^n) / (1 - 0.9) over n = 1..10
        expected = float(np.mean([(1 - 0.9**left) / 0.1 for left in range(1, 11)]))
    assert value == pytest.approx(expected, rel=0.12)


def _watch(monkeypatch: pytest.MonkeyPatch) -> list[UpdateStatistics]:
    seen: list[UpdateStatistics] = []
    real = policy_optimization.update_policy

    def update(*arguments: Any, **named: Any) -> UpdateStatistics:
        seen.append(real(*arguments, **named))
        return seen[-1]

    monkeypatch.setattr(policy_optimization, "update_policy", update)
    return seen


def test_an_update_ends_where_the_policy_has_gone_far_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _watch(monkeypatch)
    games = Identity("discrete")
    for stop in (None, 0.01):
        (tmp_path / str(stop)).mkdir()
        settings = FAST.model_copy(update={"steps": 2048, "learning_rate": 0.02, "epochs": 20, "kl_stop": stop})
        train(small_policy(games), games, tmp_path / str(stop), settings, fresh=True)
    free, held = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert all(each.epochs == 20 for each in free)
    assert all(each.epochs < 20 for each in held if each.kl > 0.01)
    assert max(each.kl for each in held) < max(each.kl for each in free)


class Monstrous(Identity):
    """Pays 1e9 now and then, for nothing."""

    def step(self, actions: Actions) -> Step:
        step = super().step(actions)
        step.rewards[:] = np.where(self.generator.random(self.count) < 0.01, np.float32(1e9), step.rewards)
        return step


def test_monstrous_rewards_do_not_destroy_a_policy(tmp_path: Path) -> None:
    games = Identity("discrete")
    network = small_policy(games)
    train(network, games, tmp_path, fresh=True)
    (tmp_path / "b").mkdir()
    train(network, Monstrous("discrete"), tmp_path / "b", FAST.model_copy(update={"steps": 4096}))
    with torch.no_grad():
        chosen = network({SINGLE: torch.eye(4)}).distribution.mode()
    assert chosen.tolist() == [0, 1, 2, 3]


class NotANumber(Identity):
    def see(self) -> dict[str, Any]:
        seen = super().see()
        seen[SINGLE][0, 0] = math.nan
        return seen


def test_a_game_that_shows_nan_is_named(tmp_path: Path) -> None:
    games = NotANumber("discrete")
    with pytest.raises(DivergedError, match="'observation' is not finite") as caught:
        train(small_policy(games), games, tmp_path)
    assert "ngp check" in str(caught.value)


def test_a_rate_that_is_far_too_high_is_explained(tmp_path: Path) -> None:
    games = Identity("continuous")
    settings = AgentTrainSettings(
        steps=8192, rollout=32, learning_rate=100.0, gradient_clip=None, kl_stop=None, reward_clip=None, clip=1e6
    )
    with pytest.raises(DivergedError) as caught:
        train(small_policy(games), games, tmp_path, settings, fresh=True)
    assert "learning_rate" in str(caught.value)


def test_tiny_batches_and_copies_work(tmp_path: Path) -> None:
    for count, rollout, batch in ((1, 1, 1), (1, 3, 2), (3, 2, 1000)):
        folder = tmp_path / f"{count}-{rollout}"
        folder.mkdir()
        games = Identity("discrete", count=count)
        settings = FAST.model_copy(update={"steps": 12, "rollout": rollout, "batch_size": batch, "value_clip": 0.2})
        network = small_policy(games)
        result = train(network, games, folder, settings, fresh=True)
        assert result.steps == 12
        assert all(bool(torch.isfinite(weight).all()) for weight in network.parameters())


def test_a_policy_for_another_game_is_refused(tmp_path: Path) -> None:
    network = small_policy(Identity("discrete"))
    with pytest.raises(TrainingError, match="made to see"):
        train(network, Delayed(), tmp_path)
    with pytest.raises(TrainingError, match="answers discrete"):
        train(network, _OtherActions(), tmp_path)


class _OtherActions(ToyEnvironments):
    observations = Identity("discrete").observations
    actions = Remember.actions


def test_environments_that_were_made_for_a_training_are_closed(tmp_path: Path) -> None:
    made: list[Identity] = []

    def make() -> Identity:
        made.append(Identity("discrete"))
        return made[-1]

    games = Identity("discrete")
    training = policy_optimization.PolicyTraining(
        "arm", FAST.model_copy(update={"steps": 256}), 0, tmp_path / "c.safetensors"
    )
    policy_optimization.train_policy(small_policy(games), make, training)
    assert made[0].closed
    assert not games.closed


class _Recorded(AfterSurgery):
    """Says when it is called, and lets moments be refilled as if something had been operated on."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.calls: list[Any] = []

    def begin(self, optimizer: torch.optim.Optimizer, network: Any) -> None:
        self.calls.append("begin")

    def refilling(self, optimizer: torch.optim.Optimizer, network: Any, *, critic: bool = True) -> Any:
        self.calls.append(("refill", critic))
        self.before = copy.deepcopy(network)
        return refilling(optimizer, network)

    def lift(self, network: Any, before: float, now: float) -> None:
        if isinstance(self.calls[-1], tuple) and self.calls[-1][0] == "refill":
            assert same_weights(network, self.before)
        self.calls.append(("lift", round(max(0.0, before), 3), round(max(0.0, now), 3)))


def test_an_operated_policy_takes_its_first_steps_with_care(tmp_path: Path) -> None:
    games = Identity("discrete")
    network = small_policy(games)
    surgery = _Recorded(Policy("operated", network))
    settings = FAST.model_copy(update={"steps": 1536, "critic_warmup": 0.34})
    result = train(network, games, tmp_path, settings, surgery=surgery)
    lifts = [("lift", 0.0, 0.0)] * 2 + [("lift", n / 4, (n + 1) / 4) for n in range(4)]
    assert surgery.calls == [
        "begin",
        ("refill", True),
        *lifts[:2],
        ("refill", False),
        *lifts[2:],
    ]
    assert {name.rsplit(".", 1)[0] for name in result.moments} >= {name for name, _ in network.named_parameters()}
    surgery.calls.clear()
    train(small_policy(games), games, tmp_path, settings, surgery=surgery)
    assert surgery.calls == []
