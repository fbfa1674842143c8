"""Games that break their promises, one way each; tests name them as ``bad_environments.py:function``."""

import os
import signal
import time

import gymnasium
import numpy as np
from gymnasium import spaces


class Game(gymnasium.Env):
    """Counts its steps; at step ``at`` of an episode it does what a subclass does."""

    def __init__(self, at=5, length=20):
        self.observation_space = spaces.Box(-1e12, 1e12, (3,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.at, self.length, self.steps = at, length, 0

    def seen(self):
        return np.full(3, self.steps, np.float32) + self.np_random.random(3).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.seen(), {}

    def step(self, action):
        self.steps += 1
        return self.bad() if self.steps == self.at else self.good()

    def good(self):
        return self.seen(), 1.0, self.steps >= self.length, False, {}

    def bad(self):
        return self.good()


class Shape(Game):
    def bad(self):
        return np.zeros(4, np.float32), 0.0, False, False, {}


class Kind(Game):
    def bad(self):
        return np.zeros(3, np.uint8), 0.0, False, False, {}


class Text(Game):
    def bad(self):
        return np.array(["a", "b", "c"]), 0.0, False, False, {}


class NanSeen(Game):
    def bad(self):
        return np.array([0.0, np.nan, 0.0], np.float32), 0.0, False, False, {}


class NanReward(Game):
    def bad(self):
        return self.seen(), float("nan"), False, False, {}


class EndlessReward(Game):
    def bad(self):
        return self.seen(), float("inf"), False, False, {}


class NoReward(Game):
    def bad(self):
        return self.seen(), None, False, False, {}


class Raises(Game):
    def bad(self):
        raise RuntimeError("the dragon is missing")


class Dies(Game):
    def bad(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Sleeps(Game):
    def bad(self):
        time.sleep(60)


class LargeReward(Game):
    def bad(self):
        return self.seen(), 1e9, False, False, {}


class OldStep(Game):
    def bad(self):
        return self.seen(), 0.0, False, {}


class OldReset(Game):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class NoSeed(Game):
    def reset(self):
        return super().reset()


class BadReset(Game):
    def reset(self, *, seed=None, options=None):
        if seed is None:
            raise KeyError("level 2")
        return super().reset(seed=seed)


class IgnoresSeeds(Game):
    def seen(self):
        return np.random.default_rng().random(3).astype(np.float32)


class EmptyMask(Game):
    def action_masks(self):
        return np.array([True] * 3) if self.steps < self.at else np.array([False] * 3)


class WrongMask(Game):
    def action_masks(self):
        return np.array([True] * 4)


class Graph(Game):
    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Graph(spaces.Box(0, 1, (2,)), None)


class WrongNames(Game):
    def __init__(self):
        super().__init__()
        self.observation_names = ["hp", "mana"]


class Won(Game):
    """Says at the end whether it was won: every second time."""

    episodes = 0

    def good(self):
        seen, reward, over, cut, info = super().good()
        if over:
            self.episodes += 1
            info = {"won": self.episodes % 2 == 0}
        return seen, reward, over, cut, info


class Mixed(gymnasium.Env):
    """Shows a bit of everything."""

    def __init__(self):
        self.observation_space = spaces.Dict(
            {
                "body": spaces.Dict({"hp": spaces.Box(0, 100, (), np.float64), "buffs": spaces.MultiBinary(3)}),
                "camera": spaces.Box(0, 255, (12, 16, 3), np.uint8),
                "pair": spaces.Tuple((spaces.Discrete(3, start=5), spaces.MultiDiscrete([2, 4]))),
                "says": spaces.Text(10),
            }
        )
        self.action_space = spaces.Dict({"move": spaces.Discrete(5), "use": spaces.MultiDiscrete([2, 3])})
        self.observation_names = {"body.buffs": ["fire", "ice", "stone"]}
        self.given = None

    def seen(self):
        return {
            "body": {"hp": 3.5, "buffs": np.array([1, 0, 1], np.int8)},
            "camera": np.arange(576, dtype=np.uint8).reshape(12, 16, 3),
            "pair": (7, np.array([1, 3])),
            "says": "hello you",
        }

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.seen(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        return self.seen(), 0.0, False, False, {}
