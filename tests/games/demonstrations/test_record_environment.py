"""Recording games: whole, unbiased, the same for the same seed, by random play, experts and policies."""

from __future__ import annotations

import json

import gymnasium
import numpy as np
import pytest
from made_episodes import equal

from newgameplus.errors import DataError, GameError
from newgameplus.games.demonstrations import describe_demonstrations, load_demonstrations
from newgameplus.games.environments import describe_spaces, make_environments
from newgameplus.games.record.environment import record_environment
from newgameplus.games.record.episode_collection import RandomPlayer, collect_episodes
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.spaces import ActionSpec

CART = EnvironmentSettings(id="CartPole-v1")
DOOR = EnvironmentSettings(id="MiniGrid-DoorKey-5x5-v0")


class Uneven(gymnasium.Env):
    """Episodes of one step, or of twenty; the first number seen tells which."""

    observation_space = gymnasium.spaces.Box(0, 20, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.choice([1, 20]))
        return np.array([self.left], np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.array([self.left], np.float32), 1.0, self.left == 0, False, {"success": self.np_random.random() < 0.5}


class Masked(gymnasium.Env):
    """Allows one action at a time."""

    observation_space = gymnasium.spaces.Box(0, 3, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.array([0], np.float32), {}

    def action_masks(self):
        return np.arange(3) == self.time % 3

    def step(self, action):
        assert action == self.time % 3
        self.time += 1
        return np.array([self.time % 3], np.float32), 0.0, self.time == 4, False, {}


@pytest.fixture
def own(monkeypatch):
    """Let games of this module be asked for by name."""
    for name in ("Uneven", "Masked"):
        gymnasium.register(f"{name}-v0", globals()[name])
    yield
    for name in ("Uneven", "Masked"):
        del gymnasium.registry[f"{name}-v0"]


def load(folder, settings):
    observations, actions = describe_spaces(settings)
    return load_demonstrations(folder, observations=observations, actions=actions).episodes


def test_random_play_is_recorded_and_read_back(tmp_path):
    made = record_environment(CART, "random", 10, tmp_path / "demos", seed=1)
    found = load(tmp_path / "demos", CART)
    assert [len(one) for one in found] == list(made.lengths)
    assert [one.total for one in found] == pytest.approx(made.returns)
    assert all(one.terminated for one in found)
    summary = describe_demonstrations(tmp_path / "demos")
    assert summary.environment == "CartPole-v1"
    assert json.dumps(made.as_dict())


def test_what_was_recorded_is_what_the_game_does_again(tmp_path):
    record_environment(CART.model_copy(update={"count": 1}), "random", 1, tmp_path / "demos", seed=5)
    episode = load(tmp_path / "demos", CART)[0]
    with make_environments(CART, count=1) as games:
        seen = games.reset(5)
        assert np.array_equal(seen["observation"][0], episode.observations["observation"][0])
        for number, action in enumerate(episode.actions):
            step = games.step(np.array([action]))
            shown = step.final if step.final is not None else step.observations
            assert np.array_equal(shown["observation"][0], episode.observations["observation"][number + 1])
        assert step.terminated[0]


def test_the_same_seed_records_the_same_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        record_environment(CART, "random", 5, tmp_path / name, seed=seed)
    one, other, third = ((tmp_path / name / "data" / "main_data.hdf5").read_bytes() for name in "abc")
    assert one == other
    assert one != third


def test_added_episodes_are_new_ones(tmp_path):
    record_environment(CART, "random", 4, tmp_path / "demos", seed=1)
    made = record_environment(CART, "random", 4, tmp_path / "demos", seed=1, append=True)
    found = load(tmp_path / "demos", CART)
    assert made.before == 4
    assert len(found) == 8  # none is the same as another, or it would have been left out
    with pytest.raises(DataError, match="never overwritten"):
        record_environment(CART, "random", 4, tmp_path / "demos")


def test_short_episodes_are_not_preferred(own):
    settings = EnvironmentSettings(id="Uneven-v0")
    with make_environments(settings, count=7) as games:
        player = RandomPlayer(games.actions, 0)
        attempts = list(collect_episodes(games, player, 400, 0))
    assert [(one.start, one.copy) for one in attempts] == [(n // 7, n % 7) for n in range(400)]
    assert 0.42 < np.mean([len(one.episode) == 20 for one in attempts]) < 0.58


def test_only_successes_on_request(own, tmp_path):
    settings = EnvironmentSettings(id="Uneven-v0")
    made = record_environment(settings, "random", 20, tmp_path / "demos", success_only=True)
    assert made.successes == (True,) * 20
    assert 0.2 < np.mean(np.array(made.lengths) == 20) < 0.8
    with pytest.raises(GameError, match="does not say what success is"):
        record_environment(CART, "random", 2, tmp_path / "cart", success_only=True)
    with pytest.raises(GameError, match="only 0 of 100 attempts"):
        record_environment(
            EnvironmentSettings(id="MiniGrid-LavaGapS7-v0", time_limit=2),
            "random",
            2,
            tmp_path / "lava",
            success_only=True,
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demos"]


def test_masks_are_recorded_and_kept_to(own, tmp_path):
    settings = EnvironmentSettings(id="Masked-v0")
    record_environment(settings, "random", 3, tmp_path / "demos")
    found = load(tmp_path / "demos", settings)  # all are the same, so two are left out
    assert len(found) == 1
    assert found[0].masks.tolist() == (np.arange(3) == np.arange(4)[:, None] % 3).tolist()


def test_a_policy_remembers_within_an_episode_only(own, tmp_path):
    told = []

    def player(observations, state, starts, masks):
        state = np.where(starts, 0, (state if state is not None else 0)) + 1
        told.append(state.copy())
        return np.zeros(len(starts), np.int64), state

    made = record_environment(EnvironmentSettings(id="Uneven-v0", count=3), player, 9, tmp_path / "demos")
    assert max(map(max, told)) == 20
    assert made.policy == "function"


def test_minari_makes_the_game_again(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    record_environment(
        CART.model_copy(update={"options": {"sutton_barto_reward": True}}), "random", 2, tmp_path / "c-v0"
    )
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = minari.load_dataset("c-v0")
    game = dataset.recover_environment()
    assert game.spec.id == "CartPole-v1"
    assert game.unwrapped._sutton_barto_reward
    assert dataset.observation_space.shape == game.observation_space.shape
    game.close()


@pytest.mark.parametrize(
    "level",
    [
        "MiniGrid-DoorKey-8x8-v0",
        "MiniGrid-FourRooms-v0",
        "MiniGrid-SimpleCrossingS9N3-v0",
        "MiniGrid-LavaCrossingS9N2-v0",
        "MiniGrid-Empty-Random-6x6-v0",
        "MiniGrid-Unlock-v0",
        "MiniGrid-UnlockPickup-v0",
        "MiniGrid-BlockedUnlockPickup-v0",
        "MiniGrid-KeyCorridorS3R1-v0",
        "MiniGrid-KeyCorridorS3R3-v0",
        "MiniGrid-ObstructedMaze-1Dlhb-v0",
        "MiniGrid-MultiRoom-N4-S5-v0",
        "MiniGrid-LockedRoom-v0",
        "MiniGrid-MemoryS9-v0",
        "MiniGrid-RedBlueDoors-6x6-v0",
        "MiniGrid-PutNear-6x6-N2-v0",
        "MiniGrid-Fetch-8x8-N3-v0",
        "MiniGrid-GoToDoor-6x6-v0",
        "MiniGrid-GoToObject-8x8-N2-v0",
        "MiniGrid-DistShift2-v0",
        "BabyAI-GoToLocal-v0",
        "BabyAI-Pickup-v0",
        "BabyAI-OpenDoorsOrderN2-v0",
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_experts_always_reach_the_goal(tmp_path, level, seed):
    made = record_environment(EnvironmentSettings(id=level), "expert", 8, tmp_path / "demos", seed=seed)
    assert made.successes == (True,) * 8


def test_the_expert_takes_the_shortest_way(tmp_path):
    made = record_environment(EnvironmentSettings(id="MiniGrid-Empty-8x8-v0"), "expert", 2, tmp_path / "demos")
    assert made.lengths == (11, 11)  # five steps, a turn, five steps
    found = load(tmp_path / "demos", EnvironmentSettings(id="MiniGrid-Empty-8x8-v0"))
    assert len(found) == 1  # it is always the same, and counts once


@pytest.mark.parametrize("game", ["CartPole-v1", "MiniGrid-Dynamic-Obstacles-5x5-v0"])
def test_games_without_an_expert_say_so(tmp_path, game):
    with pytest.raises(GameError, match="no expert"):
        record_environment(EnvironmentSettings(id=game), "expert", 1, tmp_path / "demos")
    assert not (tmp_path / "demos").exists()


def test_what_cannot_be_asked_for(tmp_path):
    with pytest.raises(DataError, match="0 episodes"):
        record_environment(CART, "random", 0, tmp_path / "demos")
    with pytest.raises(GameError, match="no policy is called 'expret'"):
        record_environment(CART, "expret", 1, tmp_path / "demos")
    with pytest.raises(GameError, match="no game"):
        record_environment(EnvironmentSettings(id="CartPol-v1"), "random", 1, tmp_path / "demos")


@pytest.mark.parametrize(
    "spec",
    [
        ActionSpec("discrete", (3,)),
        ActionSpec("multi-discrete", (2, 3)),
        ActionSpec("binary", (4,)),
        ActionSpec("continuous", (2,), (-1.0, -np.inf), (2.0, np.inf)),
    ],
    ids=lambda spec: spec.kind,
)
def test_random_play_covers_the_space(spec):
    starts = np.ones(1000, bool)
    actions, _ = RandomPlayer(spec, 0)({}, None, starts, None)
    again, _ = RandomPlayer(spec, 0)({}, None, starts, None)
    assert np.array_equal(actions, again)
    assert actions.shape == (1000, *spec.shape)
    assert actions.dtype == spec.dtype
    if spec.kind == "continuous":
        assert actions[:, 0].min() >= -1
        assert actions[:, 0].max() <= 2
        assert actions[:, 0].std() > 0.8
    else:
        tops = [2] * 4 if spec.kind == "binary" else spec.sizes
        for column, top in zip(actions.reshape(1000, -1).T, tops, strict=True):
            assert np.bincount(column, minlength=top).min() > 800 / top
    if spec.kind != "continuous":
        masks = np.zeros((1000, spec.width), bool)
        masks[:, [0, 2]] = True
        actions, _ = RandomPlayer(spec, 0)({}, None, starts, masks)
        flat = actions.reshape(1000, -1)
        assert not (flat == 1).any() if spec.kind == "discrete" else not (flat[:, [1]] == 1).all()


def test_the_same_episodes_come_from_another_process(own, tmp_path):
    for name, how in (("sync", "sync"), ("process", "process")):
        settings = CART.model_copy(update={"vectorize": how, "count": 4})
        record_environment(settings, "random", 6, tmp_path / name, seed=3)
    one, other = (load(tmp_path / name, CART) for name in ("sync", "process"))
    assert all(equal(a, b) for a, b in zip(one, other, strict=True))
