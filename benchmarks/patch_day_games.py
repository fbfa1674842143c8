"""Games after a patch: they show more and otherwise, and let do more, than the policies of yesterday know.

Each keeps the old game's chances, so that a policy that does what it did plays the same episodes, number for number.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from newgameplus.games.environment_making import find_spec

RELOAD = 10
LASER_CHANNELS = ("brick", "loaded", "trail", "paddle", "ball")
LASER_ACTIONS = ("fire", "left", "noop", "right")
BREAKOUT_CHANNELS = ("paddle", "ball", "trail", "brick")
BREAKOUT_ACTIONS = ("noop", "left", "right")
DOORKEY_ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")
GROWN_ACTIONS = ("forward", "turn around", "left", "right", "toggle", "pickup", "drop", "done")
GROWN_CHANNELS = ("state", "object", "color")
NEW_KINDS = 2


class LaserBreakout(gymnasium.Wrapper[Any, Any, Any, Any]):
    """MinAtar's Breakout with a laser that breaks the lowest brick above the paddle, and then loads for ten steps.

    Channels and actions are in another order; the channel ``loaded`` and the action ``fire`` are new.
    """

    observation_names = {"observation": LASER_CHANNELS}  # noqa: RUF012 - read by name from the class
    action_names = LASER_ACTIONS
    _shown = [BREAKOUT_CHANNELS.index(name) for name in LASER_CHANNELS if name != "loaded"]  # noqa: RUF012
    _places = [place for place, name in enumerate(LASER_CHANNELS) if name != "loaded"]  # noqa: RUF012

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(0.0, 1.0, (10, 10, len(LASER_CHANNELS)), bool)
        self.action_space = spaces.Discrete(len(LASER_ACTIONS))
        self.wait = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin with a loaded laser."""
        seen, info = self.env.reset(seed=seed, options=options)
        self.wait = 0
        return self._see(seen), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Play on."""
        name, hit = LASER_ACTIONS[int(action)], 0
        self.wait = max(0, self.wait - 1)
        if name == "fire" and self.wait == 0:
            game = self.env.unwrapped.game.env  # type: ignore[attr-defined]
            rows = np.flatnonzero(game.brick_map[:, game.pos])
            hit, self.wait = len(rows[-1:]), RELOAD
            game.brick_map[rows[-1:], game.pos] = 0
        known = BREAKOUT_ACTIONS.index(name) if name != "fire" else 0
        seen, reward, over, cut, info = self.env.step(known)
        return self._see(seen), reward + hit, over, cut, info

    def _see(self, seen: npt.NDArray[Any]) -> npt.NDArray[Any]:
        found = np.full((10, 10, len(LASER_CHANNELS)), self.wait == 0)
        found[..., self._places] = seen[..., self._shown]
        return found


def laser_breakout() -> gymnasium.Env[Any, Any]:
    """Make Breakout with a laser."""
    return LaserBreakout(gymnasium.make(find_spec("MinAtar/Breakout-v1"), max_episode_steps=-1))


class GrownDoorKey(gymnasium.Wrapper[Any, Any, Any, Any]):
    """MiniGrid's DoorKey after an update of its engine.

    Two new kinds of objects stand in the middle of the list and push the rest on, there is a new color, the channels of
    the view are in another order, a vector ``pack`` is new (what is carried, and how much time is left), actions are in
    another order, and one can turn around at once.
    """

    observation_names = {  # noqa: RUF012 - read by name from the class
        "image": GROWN_CHANNELS,
        "direction": ("direction",),
        "pack": ("carries", "time left"),
    }
    observation_codes = {"image": (3, 11 + NEW_KINDS, 7)}  # noqa: RUF012
    action_names = GROWN_ACTIONS

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        old = env.observation_space.spaces  # type: ignore[attr-defined]
        self.observation_space = spaces.Dict(
            {
                "direction": old["direction"],
                "image": spaces.Box(0, 255, old["image"].shape, np.uint8),
                "pack": spaces.Box(0.0, 1.0, (2,), np.float32),
            }
        )
        self.action_space = spaces.Discrete(len(GROWN_ACTIONS))
        self.kinds = np.array([code if code < 4 else code + NEW_KINDS for code in range(11)], np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin."""
        seen, info = self.env.reset(seed=seed, options=options)
        return self._see(seen), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Play on."""
        name, inner = GROWN_ACTIONS[int(action)], self.env.unwrapped
        if name == "turn around":
            inner.agent_dir = (inner.agent_dir + 3) % 4  # type: ignore[attr-defined]
            name = "left"
        seen, reward, over, cut, info = self.env.step(DOORKEY_ACTIONS.index(name))
        return self._see(seen), reward, over, cut, info

    def _see(self, seen: dict[str, Any]) -> dict[str, Any]:
        image, inner = seen["image"], self.env.unwrapped
        view = np.stack((image[..., 2], self.kinds[image[..., 0]], image[..., 1]), axis=-1)
        left = 1.0 - inner.step_count / inner.max_steps  # type: ignore[attr-defined]
        pack = np.array([inner.carrying is not None, left], np.float32)  # type: ignore[attr-defined]
        return {"direction": seen["direction"], "image": view, "pack": pack}


def grown_doorkey(game: str = "MiniGrid-DoorKey-8x8-v0") -> gymnasium.Env[Any, Any]:
    """Make the patched DoorKey."""
    return GrownDoorKey(gymnasium.make(find_spec(game), max_episode_steps=-1, disable_env_checker=True))
