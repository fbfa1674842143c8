import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from newgameplus.errors import GameError, MissingExtraError, NewGamePlusError
from newgameplus.games.environment_check import random_actions
from newgameplus.games.environment_process import ProcessEnvironments
from newgameplus.games.environments import make_environments
from newgameplus.recipe_agent import EnvironmentSettings

OWN = __file__.replace("test_environment_process.py", "bad_environments.py")


def in_processes(name, count=3, processes=2, **more):
    return ProcessEnvironments(EnvironmentSettings(id=name, **more), count, processes)


def play(games, steps, seed=0):
    rng = np.random.default_rng(seed)
    steps_seen = []
    masks = []
    games.reset(seed)
    for _ in range(steps):
        masks.append(games.masks())
        steps_seen.append(games.step(random_actions(games.actions, games.count, rng, masks[-1])))
    return steps_seen, masks


def left_behind():
    memory = Path("/dev/shm")
    return list(memory.glob("newgameplus-*")) if memory.is_dir() else []


@pytest.mark.parametrize("name", ["ngp/Masked-v0", "MiniGrid-Empty-5x5-v0"])
def test_it_is_the_same_as_one_after_the_other(name):
    settings = EnvironmentSettings(id=name, vectorize="sync", time_limit=30)
    with make_environments(settings, count=3) as one, in_processes(name, time_limit=30) as many:
        assert one.observations == many.observations
        assert one.actions == many.actions
        assert one.masked == many.masked
        (first, masks), (second, other_masks) = play(one, 80), play(many, 80)
    assert any(step.episodes for step in first)
    for a, b in zip(first, second, strict=True):
        assert a.episodes == b.episodes
        assert np.array_equal(a.rewards, b.rewards)
        assert np.array_equal(a.terminated, b.terminated)
        assert np.array_equal(a.truncated, b.truncated)
        for part in one.observations.names:
            assert np.array_equal(a.observations[part], b.observations[part])
            if a.final is not None:
                assert np.array_equal(a.final[part][a.ended], b.final[part][a.ended])
    assert all((a is None and b is None) or np.array_equal(a, b) for a, b in zip(masks, other_masks, strict=True))


@pytest.mark.parametrize(
    ("name", "words"),
    [("Raises", "copy 0: step failed: RuntimeError: the dragon is missing"), ("NanSeen", "holds nan")],
)
def test_what_goes_wrong_in_a_process_is_told_here(name, words):
    games = in_processes(f"{OWN}:{name}")
    with pytest.raises(GameError, match=words):
        play(games, 10)
    assert all(not Path(f"/proc/{pid}").exists() for pid in games.processes)
    with pytest.raises(GameError, match="closed"):
        games.reset(0)


def test_actions_outside_of_the_space_are_refused_and_do_no_harm():
    with in_processes("CartPole-v1") as games:
        games.reset(0)
        with pytest.raises(GameError, match="action 2 of copy 1"):
            games.step(np.array([0, 2, 0]))
        games.step(np.array([0, 1, 0]))


def test_a_killed_process_is_noticed_and_the_others_end():
    games = in_processes("CartPole-v1")
    games.reset(0)
    os.kill(games.processes[1], signal.SIGKILL)
    with pytest.raises(GameError, match="the process of copy 2 was killed by SIGKILL") as caught:
        games.step(np.zeros(3, np.int64))
    assert "ngp resume" in str(caught.value)
    assert all(not Path(f"/proc/{pid}").exists() for pid in games.processes)
    assert not left_behind()


def test_a_game_that_kills_its_process_is_noticed():
    games = in_processes(f"{OWN}:Dies", count=1)
    with pytest.raises(GameError, match="SIGKILL"):
        play(games, 10)


def test_a_game_that_hangs_can_be_closed():
    games = in_processes(f"{OWN}:Sleeps", count=1, options={"at": 1})
    games.reset(0)
    games._order(0, b"step\n")
    begun = time.monotonic()
    games.close()
    assert time.monotonic() - begun < 30
    assert not Path(f"/proc/{games.processes[0]}").exists()


def test_a_game_that_cannot_be_made_is_told():
    with pytest.raises(GameError, match="without 'reset'"):
        in_processes("builtins:dict")
    assert not left_behind()


def test_a_missing_package_is_told(monkeypatch, tmp_path):
    (tmp_path / "minigrid.py").write_text("raise ModuleNotFoundError('No module', name='minigrid')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match=r"newgameplus\[minigrid\]"):
        in_processes("MiniGrid-Empty-5x5-v0")


def test_an_id_of_this_program_alone_says_how_to_name_it():
    gymnasium.register("OnlyHere-v0", "gymnasium.envs.classic_control.cartpole:CartPoleEnv")
    try:
        with pytest.raises(NewGamePlusError, match="module:Id-v0"):
            in_processes("OnlyHere-v0")
    finally:
        del gymnasium.registry["OnlyHere-v0"]


def test_a_script_needs_no_guard_and_leaves_nothing_behind(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys\n"
        "from newgameplus.games.environment_process import ProcessEnvironments\n"
        "from newgameplus.recipe_agent import EnvironmentSettings\n"
        "games = ProcessEnvironments(EnvironmentSettings(id='CartPole-v1'), 2, 2)\n"
        "games.reset(0)\n"
        "print(*games.processes, flush=True)\n"
        "if sys.argv[1] == 'kill': os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for how in ("end", "kill"):
        done = subprocess.run([sys.executable, str(script), how], capture_output=True, text=True, timeout=120)
        workers = [int(word) for word in done.stdout.split()]
        assert len(workers) == 2, done.stderr
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not left_behind()


def test_what_a_game_prints_does_no_harm(tmp_path):
    (tmp_path / "loud.py").write_text(
        "import gymnasium\n"
        "def make():\n"
        "    print('made')\n"
        "    game = gymnasium.make('CartPole-v1')\n"
        "    step = game.step\n"
        "    game.step = lambda action: (print('step'), step(action))[1]\n"
        "    return game\n"
    )
    with in_processes(f"{tmp_path / 'loud.py'}:make") as games:
        play(games, 5)
