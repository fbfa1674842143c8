import contextlib
import io

import gymnasium
import numpy as np
import pytest

pytest.importorskip("minigrid")

from newgameplus.games.environment_making import known_ids
from newgameplus.games.minigrid_view import quicken

IDS = [
    "MiniGrid-DoorKey-8x8-v0",
    "MiniGrid-Dynamic-Obstacles-8x8-v0",
    "MiniGrid-ObstructedMaze-Full-v1",
    "MiniGrid-MultiRoom-N6-v0",
    "MiniGrid-LavaCrossingS9N2-v0",
    "MiniGrid-Fetch-8x8-N3-v0",
    "BabyAI-BossLevel-v0",
    "BabyAI-KeyInBox-v0",
]


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in IDS] + [(IDS[0], {"agent_view_size": 5}), (IDS[0], {"see_through_walls": True})],
)
def test_it_sees_what_minigrid_sees(name, options):
    known_ids()
    slow, fast = (gymnasium.make(name, disable_env_checker=True, **options).unwrapped for _ in range(2))
    assert quicken(fast)
    rng = np.random.default_rng(0)
    with contextlib.redirect_stdout(io.StringIO()):
        one, _ = slow.reset(seed=4)
        other, _ = fast.reset(seed=4)
        for _ in range(250):
            assert other["image"].dtype == one["image"].dtype
            assert np.array_equal(other["image"], one["image"])
            assert (other["direction"], other["mission"]) == (one["direction"], one["mission"])
            action = int(rng.choice([0, 1, 2, 2, 2, 3, 4, 5]))
            one, *rest = slow.step(action)
            other, *other_rest = fast.step(action)
            assert rest == other_rest
            if rest[1] or rest[2]:
                (one, _), (other, _) = slow.reset(), fast.reset()


def test_a_game_that_looks_in_its_own_way_is_left_alone():
    from minigrid.envs import EmptyEnv

    class Own(EmptyEnv):
        def gen_obs(self):
            return {**super().gen_obs(), "image": np.zeros((7, 7, 3), np.uint8)}

    game = Own()
    assert not quicken(game)
    assert not game.reset(seed=0)[0]["image"].any()


def test_other_games_are_left_alone():
    assert not quicken(gymnasium.make("CartPole-v1").unwrapped)


def test_building_a_level_prints_nothing(capsys):
    known_ids()
    game = gymnasium.make("BabyAI-GoToLocal-v0", disable_env_checker=True).unwrapped
    quicken(game)
    capsys.readouterr()
    for seed in range(10):
        game.reset(seed=seed)
    assert capsys.readouterr().out == ""
