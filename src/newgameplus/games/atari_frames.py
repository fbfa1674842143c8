"""Atari games one at a time, seen as their maker's vector environment shows them.

Four grey pictures of 84 x 84 pixels, each the brighter of the last two frames of four; up to 30 idle steps at the
beginning, and a press of FIRE where the game waits for it (Mnih et al. 2015; Machado et al. 2018).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.recipe_agent import EnvironmentSettings

__all__ = ["ATARI_OPTIONS", "AtariFrames", "is_atari"]

Picture = npt.NDArray[np.uint8]
ATARI_OPTIONS = frozenset({"repeat_action_probability", "full_action_space", "max_num_frames_per_episode"})
"""Options that leave the pictures as they are."""
_SIDE, _STACK, _SKIP, _IDLE = 84, 4, 4, 30


def is_atari(settings: EnvironmentSettings) -> bool:
    """Whether a game is an Atari game that is to be seen so; any other option leaves it as Gymnasium has it."""
    return settings.id.startswith("ALE/") and set(settings.options) <= ATARI_OPTIONS


class AtariFrames:
    """One Atari game.

    Args:
        environment: ALE's environment, made with ``frameskip=1`` and ``obs_type="grayscale"``.
    """

    def __init__(self, environment: Any) -> None:
        from gymnasium import spaces

        self.env = environment
        self.unwrapped = environment.unwrapped
        self.metadata = {**environment.metadata, "render_fps": 15}
        self.action_space = environment.action_space
        self.observation_space = spaces.Box(0, 255, (_STACK, _SIDE, _SIDE), np.uint8)
        height, width = environment.observation_space.shape
        self._down, self._across = _shares(height), _shares(width).T
        self._fire = 1 if environment.unwrapped.get_action_meanings()[1] == "FIRE" else None
        self._stack = np.zeros((_STACK, _SIDE, _SIDE), np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Picture, dict[str, Any]]:
        """Begin an episode, idle for a while, and press FIRE if need be."""
        frame, info = self.env.reset(seed=seed, options=options)
        idle = int(self.env.unwrapped.np_random.integers(_IDLE + 1))
        for action in [0] * idle + ([self._fire] if self._fire is not None else []):
            frame, _, over, cut, info = self.env.step(action)
            if over or cut:
                frame, info = self.env.reset()
        self._stack[:] = 0
        self._stack[-1] = self._small(frame)
        return self._stack.copy(), info

    def step(self, action: int) -> tuple[Picture, float, bool, bool, dict[str, Any]]:
        """Take an action for four frames."""
        total = 0.0
        frames: list[Picture] = []
        for _ in range(_SKIP):
            frame, reward, over, cut, info = self.env.step(action)
            total += float(reward)
            frames.append(frame)
            if over or cut:
                break
        brighter = np.maximum.reduce(frames[-2:])
        self._stack = np.roll(self._stack, -1, axis=0)
        self._stack[-1] = self._small(brighter)
        return self._stack.copy(), total, over, cut, info

    def render(self) -> Any:
        """Return a picture of the game in color."""
        return self.env.render()

    def close(self) -> None:
        """Close the game."""
        self.env.close()

    def _small(self, frame: Picture) -> Picture:
        small: Picture = np.rint(self._down @ frame.astype(np.float32) @ self._across).astype(np.uint8)
        return small


def _shares(size: int) -> npt.NDArray[np.float32]:
    """Return how much of each old pixel each new one holds, [new, old]."""
    edges = np.linspace(0.0, size, _SIDE + 1)
    pixels = np.arange(size)
    begin = np.maximum(edges[:-1, None], pixels)
    end = np.minimum(edges[1:, None], pixels + 1)
    shares: npt.NDArray[np.float32] = (np.clip(end - begin, 0.0, None) * _SIDE / size).astype(np.float32)
    return shares
