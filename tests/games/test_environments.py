import os

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newgameplus.errors import GameError, MissingExtraError
from newgameplus.games import environment_making
from newgameplus.games.environment_check import random_actions
from newgameplus.games.environment_process import ProcessEnvironments
from newgameplus.games.environments import describe_spaces, known_ids, make_environments, make_rendered
from newgameplus.recipe_agent import EnvironmentSettings

OWN = __file__.replace("test_environments.py", "bad_environments.py")


def game(name, *, count=2, how="sync", **more):
    return make_environments(EnvironmentSettings(id=name, vectorize=how, **more), count=count)


def own(name, **more):
    return game(f"{OWN}:{name}", **more)


def play(games, steps, seed=0, reset=True):
    rng = np.random.default_rng(seed)
    if reset:
        games.reset(seed)
    return [games.step(random_actions(games.actions, games.count, rng, games.masks())) for _ in range(steps)]


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def same_steps(one, other):
    for a, b in zip(one, other, strict=True):
        assert same(a.observations, b.observations)
        assert np.array_equal(a.rewards, b.rewards)
        assert np.array_equal(a.terminated, b.terminated)
        assert np.array_equal(a.truncated, b.truncated)
        assert a.episodes == b.episodes
        assert (a.final is None) == (b.final is None)
        if a.final is not None:
            assert all(np.array_equal(a.final[name][a.ended], b.final[name][a.ended]) for name in a.final)


class TestEpisodes:
    def test_an_end_hands_out_the_last_sight_and_the_first_of_the_next(self):
        with game("ngp/Delayed-v0", count=3) as games:
            steps = play(games, 8)
        assert all(step.final is None and not step.episodes for step in steps[:7])
        last = steps[7]
        assert last.terminated.all()
        assert not last.truncated.any()
        assert (last.final["observation"][:, 2] == 1.0).all()  # the time is up
        assert (last.observations["observation"][:, 2] == 0.0).all()
        assert [end.length for end in last.episodes] == [8, 8, 8]
        assert [end.environment for end in last.episodes] == [0, 1, 2]
        assert [end.total for end in last.episodes] == pytest.approx(last.rewards.tolist())
        assert all(end.success == (end.total == 1.0) for end in last.episodes)

    def test_a_time_limit_is_no_end_of_the_game(self):
        with game("ngp/Delayed-v0", time_limit=5) as games:
            steps = play(games, 5)
        assert steps[-1].truncated.all()
        assert not steps[-1].terminated.any()

    def test_where_both_come_at_once_the_game_ended(self):
        with game("ngp/Delayed-v0", time_limit=8) as games:
            steps = play(games, 8)
        assert steps[-1].terminated.all()
        assert not steps[-1].truncated.any()

    def test_the_games_own_limit_is_kept(self):
        with game("MountainCar-v0") as games:
            steps = play(games, 200)
        assert steps[-1].truncated.all()

    def test_episodes_follow_gymnasium(self):
        with game("CartPole-v1", count=1) as games:
            seen = games.reset(5)["observation"][0]
            reference = gymnasium.make("CartPole-v1")
            from newgameplus.games.environment_sync import seed_of

            expected, _ = reference.reset(seed=seed_of(5, 0))
            rng = np.random.default_rng(0)
            for _ in range(200):
                assert np.array_equal(seen, expected)
                action = int(rng.integers(2))
                step = games.step(np.array([action]))
                expected, reward, over, cut, _ = reference.step(action)
                assert step.rewards[0] == reward
                assert (step.terminated[0], step.truncated[0]) == (over, cut)
                if over or cut:
                    assert np.array_equal(step.final["observation"][0], expected)
                    expected, _ = reference.reset()
                seen = step.observations["observation"][0]

    def test_a_seed_decides_everything_and_copies_differ(self):
        with game("MinAtar/Breakout-v1", count=4) as games:
            first = play(games, 60, seed=3)
            second = play(games, 60, seed=3)
            other = play(games, 60, seed=4)
        same_steps(first, second)
        assert any(not np.array_equal(a.rewards, b.rewards) for a, b in zip(first, other, strict=True))
        assert any(len(np.unique(step.observations["observation"], axis=0)) > 1 for step in first)

    def test_what_was_handed_out_stays_as_it_was(self):
        with game("CartPole-v1") as games:
            (step,) = play(games, 1)
            kept = step.observations["observation"].copy()
            play(games, 5, reset=False)
        assert np.array_equal(kept, step.observations["observation"])

    def test_a_step_before_a_reset_is_refused(self):
        with game("CartPole-v1") as games, pytest.raises(GameError, match="not reset"):
            games.step(np.zeros(2, np.int64))

    def test_closing_twice_does_no_harm(self):
        games = game("CartPole-v1")
        games.close()
        games.close()


class TestSuccess:
    def test_a_key_of_info_tells_it(self):
        with own("Won", success="won", count=1, options={"length": 6}) as games:
            ends = [end for step in play(games, 24) for end in step.episodes]
        assert [end.success for end in ends] == [False, True, False, True]

    def test_a_reward_can_tell_it(self):
        with own("Game", success="reward", count=1) as games:
            (end,) = [end for step in play(games, 20) for end in step.episodes]
        assert end.success is True

    def test_a_game_that_says_nothing_leaves_it_open(self):
        with own("Game", count=1) as games:
            (end,) = [end for step in play(games, 20) for end in step.episodes]
        assert end.success is None

    def test_minigrid_pays_for_success_alone(self):
        with game("MiniGrid-Empty-5x5-v0", time_limit=300) as games:
            ends = [end for step in play(games, 400) for end in step.episodes]
        assert {end.success for end in ends} == {True, False} or all(end.success == (end.total > 0) for end in ends)


class TestMasks:
    def test_a_method_gives_them(self):
        with game("ngp/Masked-v0", count=3) as games:
            assert games.masked
            games.reset(0)
            assert (games.masks().sum(axis=1) == 2).all()
            steps = play(games, 40)
        assert all(end.length == 16 for step in steps for end in step.episodes)

    def test_info_gives_them(self):
        with game("Taxi-v4") as games:
            assert games.masked
            play(games, 30)
            assert games.masks().shape == (2, 6)

    def test_a_game_without_has_none(self):
        with game("CartPole-v1") as games:
            games.reset(0)
            assert not games.masked
            assert games.masks() is None

    @pytest.mark.parametrize(("name", "words"), [("EmptyMask", "allows nothing"), ("WrongMask", "not 3 truth values")])
    def test_bad_ones_are_told(self, name, words):
        with own(name) as games, pytest.raises(GameError, match=words):
            play(games, 10)


class TestNames:
    def test_an_unknown_id_brings_the_nearest(self):
        with pytest.raises(GameError, match="did you mean 'CartPole-v1'"):
            game("CartPol-v1")

    def test_a_wrong_version_brings_the_right_one(self):
        with pytest.raises(GameError, match="did you mean 'MiniGrid-DoorKey-8x8-v0'"):
            game("MiniGrid-DoorKey-8x8-v7")

    def test_a_package_that_is_missing_brings_its_extra(self, monkeypatch):
        def missing(name):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        monkeypatch.setattr(environment_making.importlib, "import_module", missing)
        monkeypatch.setattr(environment_making, "import_gymnasium", lambda: gymnasium)
        with pytest.raises(MissingExtraError, match=r"newgameplus\[minigrid\]"):
            game("MiniGrid-Empty-5x5-v0")
        with pytest.raises(MissingExtraError, match=r"newgameplus\[atari\]"):
            game("ALE/Pong-v5")

    def test_a_file_without_a_function_is_told(self):
        with pytest.raises(GameError, match="no function in it"):
            game("game.py")

    def test_a_function_of_a_module_makes_a_game(self):
        with game("gymnasium.envs.classic_control.cartpole:CartPoleEnv", time_limit=9) as games:
            assert play(games, 9)[-1].ended.any()

    def test_an_id_with_its_module_is_found(self):
        with game("minigrid:MiniGrid-Empty-5x5-v0") as games:
            assert games.observations.names == ("direction", "image", "mission")

    def test_wrong_options_are_told(self):
        with pytest.raises(GameError, match="unexpected keyword"):
            game("CartPole-v1", options={"gravity": 3})

    def test_what_is_no_environment_is_told(self):
        with pytest.raises(GameError, match="without 'reset'"):
            game("builtins:dict")

    def test_all_packages_are_listed(self):
        ids = known_ids()
        assert {"CartPole-v1", "MiniGrid-DoorKey-8x8-v0", "MinAtar/Breakout-v1", "ngp/Arena-v0"} <= set(ids)

    def test_features_and_actions_have_names(self):
        seen, done = describe_spaces(EnvironmentSettings(id="ngp/Arena-v0"))
        assert seen.parts[0].features[:3] == ("hp", "mana", "enemy_hp")
        assert done.names[3] == "strike"
        seen, done = describe_spaces(EnvironmentSettings(id="MinAtar/Breakout-v1"))
        assert seen.parts[0].features == ("paddle", "ball", "trail", "brick")
        assert done.names == ("noop", "left", "right")
        seen, done = describe_spaces(EnvironmentSettings(id="MiniGrid-DoorKey-5x5-v0"))
        assert seen.part("image").features == ("object", "color", "state")
        assert done.names[:3] == ("left", "right", "forward")


class TestMixed:
    def test_dictionaries_tuples_texts_and_mixed_actions(self):
        with own("Mixed", count=3) as games:
            seen = games.reset(0)
            assert games.observations.names == (
                "body.buffs",
                "body.hp",
                "camera",
                "pair.0",
                "pair.1",
                "says",
            )
            assert games.observations.part("body.buffs").features == ("fire", "ice", "stone")
            assert games.actions.kind == "multi-discrete"
            assert games.actions.sizes == (5, 2, 3)
            assert seen["camera"].shape == (3, 3, 12, 16)
            assert seen["camera"][0, 1, 0, 0] == 1
            assert seen["pair.0"].tolist() == [[2]] * 3
            assert seen["pair.1"].tolist() == [[1, 3]] * 3
            assert (seen["says"][:, :2] > 0).all()
            play(games, 5)

    @pytest.mark.parametrize("actions", ["discrete", "multi-discrete", "binary", "continuous"])
    def test_all_kinds_of_actions(self, actions):
        with game("ngp/Identity-v0", options={"actions": actions}) as games:
            assert games.actions.kind == actions
            steps = play(games, 20)
        assert all(step.rewards.max() <= 1.0 for step in steps)

    @pytest.mark.parametrize(
        ("sight", "kinds"),
        [
            ("vector", ("vector",)),
            ("choice", ("choice",)),
            ("image", ("image",)),
            ("grid", ("grid",)),
            ("text", ("tokens",)),
            ("dict", ("choice", "vector")),
        ],
    )
    def test_all_kinds_of_sight(self, sight, kinds):
        with game("ngp/Identity-v0", options={"sight": sight}) as games:
            assert tuple(part.kind for part in games.observations.parts) == kinds
            play(games, 20)


class TestBadGames:
    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("Shape", r"shape \(4,\), but its space promises \(3,\)"),
            ("Kind", "was float32 and became uint8"),
            ("Text", "became <U1"),
            ("NanSeen", "holds nan in 'observation', number 1"),
            ("NanReward", "the reward is nan"),
            ("EndlessReward", "the reward is inf"),
            ("NoReward", "NoneType"),
            ("Raises", "step failed: RuntimeError: the dragon is missing at bad_environments.py:"),
            ("OldStep", "4 values"),
            ("OldReset", "not \\(observation, info\\)"),
            ("NoSeed", "must take a seed"),
            ("BadReset", "level 2"),
            ("Graph", "Graph space"),
            ("WrongNames", "3 features, but 2 different names"),
        ],
    )
    def test_what_a_game_does_wrong_is_told_with_its_copy(self, name, words):
        with pytest.raises(GameError, match=words) as caught, own(name) as games:
            play(games, 45)
        if name not in ("Graph", "WrongNames"):
            assert "copy 0" in str(caught.value)
        assert caught.value.problems[0].remedy

    def test_large_rewards_are_allowed(self):
        with own("LargeReward") as games:
            assert max(float(step.rewards.max()) for step in play(games, 10)) == pytest.approx(1e9)

    @pytest.mark.parametrize(
        ("name", "options", "actions", "words"),
        [
            ("CartPole-v1", {}, np.array([0, 2]), "action 2 of copy 1 is outside of the space, which allows 0..1"),
            ("CartPole-v1", {}, np.array([-1, 0]), "action -1 of copy 0"),
            ("CartPole-v1", {}, np.array([0]), "shape"),
            ("CartPole-v1", {}, np.array([0.0, 1.0]), "float64"),
            ("Pendulum-v1", {}, np.array([[0.0], [2.5]]), r"2.5, outside of -2..2"),
            ("Pendulum-v1", {}, np.array([[np.nan], [0.0]]), "nan"),
            ("ngp/Identity-v0", {"actions": "binary"}, np.full((2, 4), 2), "action 2"),
            ("ngp/Identity-v0", {"actions": "multi-discrete"}, np.array([[0, 4], [0, 0]]), "for number 1"),
        ],
    )
    def test_actions_outside_of_the_space_are_refused(self, name, options, actions, words):
        with game(name, options=options) as games:
            games.reset(0)
            with pytest.raises(GameError, match=words):
                games.step(actions)


class TestNative:
    @pytest.mark.parametrize("name", ["CartPole-v1", "MinAtar/Breakout-v1", "MinAtar/Seaquest-v0"])
    def test_it_is_the_game_that_is_stepped_one_by_one(self, name):
        with game(name, time_limit=60) as one, game(name, how="native", time_limit=60) as all_at_once:
            assert type(one) is not type(all_at_once)
            assert one.observations == all_at_once.observations
            assert one.actions == all_at_once.actions
            for seed in (1, 2):
                first, second = play(one, 200, seed), play(all_at_once, 200, seed)
                assert any(step.episodes for step in first)
                for a, b in zip(first, second, strict=True):
                    assert np.allclose(a.observations["observation"], b.observations["observation"], atol=1e-4)
                    assert a.episodes == b.episodes
                    assert np.array_equal(a.truncated, b.truncated)

    def test_auto_takes_it_where_it_is_the_same_game(self):
        settings = EnvironmentSettings(id="CartPole-v1")
        with make_environments(settings) as games:
            assert type(games).__name__ == "CartPoleEnvironments"
            assert games.count == 64

    def test_a_game_that_nobody_steps_is_told(self):
        pytest.importorskip("envpool")
        with pytest.raises(GameError, match="no maker steps 'ngp/Arena-v0'"):
            game("ngp/Arena-v0", how="native")

    @pytest.mark.parametrize("how", ["sync", "native"])
    def test_atari_is_seen_alike_however_it_is_stepped(self, how):
        pytest.importorskip("ale_py")
        with game("ALE/Pong-v5", how=how, time_limit=12) as games:
            part = games.observations.parts[0]
            assert (part.kind, part.shape, part.dtype) == ("image", (4, 84, 84), "uint8")
            assert games.actions.names[0] == "noop"
            first = play(games, 30, seed=2)
            same_steps(first, play(games, 30, seed=2))
        ends = [end for step in first for end in step.episodes]
        assert [end.length for end in ends] == [12] * 4
        assert all(step.truncated.all() for step in first if step.episodes)

    @pytest.mark.parametrize("name", ["Acrobot-v1", "MiniGrid-DoorKey-5x5-v0", "BabyAI-GoToLocal-v0"])
    def test_envpool_has_the_spaces_of_gymnasium(self, name):
        pytest.importorskip("envpool")
        with game(name) as one, game(name, how="native", time_limit=40) as pool:
            assert one.observations == pool.observations
            assert one.actions == pool.actions
            first = play(pool, 90, seed=3)
            same_steps(first, play(pool, 90, seed=3))
        assert any(step.final is not None for step in first)
        assert all(end.length <= 40 for step in first for end in step.episodes)


class TestAuto:
    def test_fast_games_stay_in_this_process(self):
        with game("ngp/Arena-v0", how="auto") as games:
            assert not isinstance(games, ProcessEnvironments)

    def test_slow_games_get_processes(self, monkeypatch):
        from newgameplus.games import environments

        monkeypatch.setattr(environments, "cores", lambda: 2)
        monkeypatch.setattr(environments, "_SLOW", 0.0)
        with game("ngp/Arena-v0", how="auto") as games:
            assert isinstance(games, ProcessEnvironments)

    def test_parts_can_be_chosen(self):
        with game("MiniGrid-Empty-5x5-v0", parts=("image",)) as games:
            assert games.observations.names == ("image",)
            play(games, 3)


class TestPictures:
    def test_every_frame_is_handed_on(self):
        frames = []
        with make_rendered(EnvironmentSettings(id="ngp/Arena-v0", time_limit=4)) as rendered:
            first = rendered.frame_after_reset(0)
            assert first.dtype == np.uint8
            assert first.shape == (96, 192, 3)
            games = rendered.filmed(frames.append)
            play(games, 4)
        assert len(frames) == 1 + 4 + 1  # the first, one a step, and the first of the next episode
        assert np.array_equal(frames[0], first)

    def test_episodes_can_be_those_that_many_copies_play_at_once(self):
        seen, frames = [], []
        with game("ngp/Arena-v0", count=3) as games:
            first = games.reset(9)["observation"]
        with make_rendered(EnvironmentSettings(id="ngp/Arena-v0", time_limit=4)) as rendered:
            games = rendered.filmed(frames.append, 9, 3)
            for number in range(4):
                seen.append(games.reset(9 + number)["observation"][0])
                for _ in range(4):
                    games.step(np.zeros(1, np.int64))
        assert np.array_equal(np.stack(seen[:3]), first)
        assert len(frames) == 4 * (1 + 4)  # of each episode the first picture and one a step, and none of any other

    @pytest.mark.parametrize(
        ("there", "driver"), [({}, "dummy"), ({"DISPLAY": ":0"}, None), ({"SDL_VIDEODRIVER": "x11"}, "x11")]
    )
    def test_sdl_is_told_that_there_is_no_screen_only_where_there_is_none(self, there, driver, monkeypatch):
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
            monkeypatch.delenv(name, raising=False)
        for name, value in there.items():
            monkeypatch.setenv(name, value)
        with make_rendered(EnvironmentSettings(id="ngp/Arena-v0")):
            assert os.environ.get("SDL_VIDEODRIVER") == driver
        monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)

    @pytest.mark.parametrize("name", ["ngp/Identity-v0", f"{OWN}:Game"])
    def test_a_game_without_pictures_is_told(self, name):
        with pytest.raises(GameError, match="picture"), make_rendered(EnvironmentSettings(id=name)) as rendered:
            rendered.frame_after_reset(0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3), st.sampled_from(["ngp/Arena-v0", "ngp/Memory-v0", "FrozenLake-v1"]))
def test_totals_and_lengths_are_those_of_the_steps(seed, count, name):
    with game(name, count=count) as games:
        steps = play(games, 60, seed)
    for row in range(count):
        total, length = 0.0, 0
        for step in steps:
            total, length = total + float(step.rewards[row]), length + 1
            if step.ended[row]:
                (end,) = [end for end in step.episodes if end.environment == row]
                assert end.length == length
                assert end.total == pytest.approx(total, abs=1e-4)
                total, length = 0.0, 0
