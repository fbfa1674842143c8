"""Tiny games, each of which asks for one thing that a learner must be able to do. For tests, examples and teaching.

``ngp/Identity-v0`` (do what is shown), ``ngp/Memory-v0`` (recall what was shown), ``ngp/Delayed-v0`` (be paid only at
the end), ``ngp/Masked-v0`` (choose among what is allowed), ``ngp/AppleRetrieval-v0`` (do not forget the way back while
learning the way there), ``ngp/Arena-v0`` (a small fight whose features and actions a patch can change; see
:mod:`newgameplus.games.toy_arena`). Importing this module needs gymnasium; :func:`register` makes the ids known.
"""

from __future__ import annotations

from typing import Any, Literal

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

__all__ = ["AppleRetrieval", "Delayed", "Identity", "Masked", "Memory", "register"]

Vector = npt.NDArray[np.float32]
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_IDS = {
    "ngp/Identity-v0": "newgameplus.games.toy_environments:Identity",
    "ngp/Memory-v0": "newgameplus.games.toy_environments:Memory",
    "ngp/Delayed-v0": "newgameplus.games.toy_environments:Delayed",
    "ngp/Masked-v0": "newgameplus.games.toy_environments:Masked",
    "ngp/AppleRetrieval-v0": "newgameplus.games.toy_environments:AppleRetrieval",
    "ngp/Arena-v0": "newgameplus.games.toy_arena:Arena",
}


def register() -> None:
    """Make the ids known to Gymnasium; may be called twice."""
    for name, entry in _IDS.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry, order_enforce=False, disable_env_checker=True)


class Identity(gymnasium.Env[Any, Any]):  # type: ignore[misc]
    """Do what is shown: the reward is 1 for the action that is shown, less for others.

    Args:
        actions: Kind of the actions: one of ``size``, one of ``size`` of each of 2, any of ``size`` buttons, or
            2 numbers in -1..1.
        sight: How the target is shown: numbers (one-hot), a choice, an image, a grid of codes, a text, or a dictionary
            of numbers and a choice. Only actions of kind ``discrete`` can be shown in all ways; others as numbers.
        size: Number of targets, 2 to 10.
        length: Steps of an episode.
    """

    def __init__(
        self,
        actions: Literal["discrete", "multi-discrete", "binary", "continuous"] = "discrete",
        sight: Literal["vector", "choice", "image", "grid", "text", "dict"] = "vector",
        size: int = 4,
        length: int = 16,
    ) -> None:
        if not 2 <= size <= len(_WORDS) or length < 1:
            raise ValueError(f"size {size} is not in 2..{len(_WORDS)}, or length {length} is below 1")
        if actions != "discrete" and sight != "vector":
            raise ValueError(f"{actions} actions are shown as 'vector', not as {sight!r}")
        self._kind, self._sight, self._size, self._length = actions, sight, size, length
        numbers = {"discrete": size, "multi-discrete": 2 * size, "binary": size, "continuous": 2}[actions]
        vector = spaces.Box(-1.0, 1.0, (numbers,), np.float32)
        self.observation_space = {
            "vector": vector,
            "choice": spaces.Discrete(size),
            "image": spaces.Box(0, 255, (12, 12, 1), np.uint8),
            "grid": spaces.Box(0, size, (5, 5, 1), np.uint8),
            "text": spaces.Text(24, charset="abcdefghijklmnopqrstuvwxyz "),
            "dict": spaces.Dict({"choice": spaces.Discrete(size), "numbers": vector}),
        }[sight]
        self.action_space = {
            "discrete": spaces.Discrete(size),
            "multi-discrete": spaces.MultiDiscrete([size, size]),
            "binary": spaces.MultiBinary(size),
            "continuous": spaces.Box(-1.0, 1.0, (2,), np.float32),
        }[actions]
        self._target: Any = None
        self._steps = self._right = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:  # noqa: ARG002
        """Begin an episode."""
        super().reset(seed=seed)
        self._steps = self._right = 0
        return self._draw(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Compare the action with what was shown."""
        if self._kind == "continuous":
            reward = 1.0 - float(np.abs(np.asarray(action) - self._target).mean())
        else:
            reward = float(np.mean(np.asarray(action) == self._target))
        self._right += reward > 0.9
        self._steps += 1
        over = self._steps == self._length
        return self._draw(), reward, over, False, {"is_success": self._right == self._length} if over else {}

    def _draw(self) -> Any:
        size, rng = self._size, self.np_random
        if self._kind == "continuous":
            self._target = rng.uniform(-0.8, 0.8, 2).astype(np.float32)
            return self._target.copy()
        if self._kind == "binary":
            self._target = rng.integers(0, 2, size)
            return self._target.astype(np.float32)
        if self._kind == "multi-discrete":
            self._target = rng.integers(0, size, 2)
            return np.eye(size, dtype=np.float32)[self._target].ravel()
        self._target = int(rng.integers(0, size))
        return self._show(self._target)

    def _show(self, target: int) -> Any:
        numbers = np.eye(self._size, dtype=np.float32)[target]
        if self._sight == "image":
            image = np.zeros((12, 12, 1), np.uint8)
            image[2 * (target // 4) : 2 * (target // 4) + 2, 3 * (target % 4) : 3 * (target % 4) + 2] = 255
            return image
        if self._sight == "grid":
            grid = np.zeros((5, 5, 1), np.uint8)
            grid[tuple(self.np_random.integers(0, 5, 2))] = target + 1
            return grid
        if self._sight == "dict":
            return {"choice": target, "numbers": numbers}
        return {"vector": numbers, "choice": target, "text": f"press {_WORDS[target]} now"}[self._sight]


class Memory(gymnasium.Env[Any, Any]):  # type: ignore[misc]
    """Recall at the end which cue was shown at the beginning; a policy without memory can only guess.

    Args:
        delay: Steps between the cue and the question.
        cues: Number of cues.
    """

    def __init__(self, delay: int = 4, cues: int = 2) -> None:
        if delay < 0 or cues < 2:
            raise ValueError(f"delay {delay} is below 0, or cues {cues} below 2")
        self._delay, self._cues = delay, cues
        self.observation_space = spaces.Box(0.0, 1.0, (cues + 1,), np.float32)
        self.action_space = spaces.Discrete(cues)
        self.observation_names = [*(f"cue {cue}" for cue in range(cues)), "asked"]
        self._cue = self._steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Vector, dict[str, Any]]:  # noqa: ARG002
        """Show a cue."""
        super().reset(seed=seed)
        self._cue, self._steps = int(self.np_random.integers(self._cues)), 0
        return self._look(), {}

    def step(self, action: int) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Wait, or answer."""
        over = self._steps == self._delay + 1
        reward = float(over and action == self._cue)
        self._steps += 1
        return self._look(), reward, over, False, {"is_success": reward > 0.0} if over else {}

    def _look(self) -> Vector:
        seen = np.zeros(self._cues + 1, np.float32)
        if self._steps == 0:
            seen[self._cue] = 1.0
        seen[-1] = self._steps == self._delay + 1
        return seen


class Delayed(gymnasium.Env[Any, Any]):  # type: ignore[misc]
    """Follow a sign at each step, and learn only at the end how often that was right.

    Args:
        length: Steps of an episode.
    """

    def __init__(self, length: int = 8) -> None:
        if length < 1:
            raise ValueError(f"length {length} is below 1")
        self._length = length
        self.observation_space = spaces.Box(0.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.observation_names = ["left sign", "right sign", "time"]
        self.action_names = ["left", "right"]
        self._sign = self._steps = self._right = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Vector, dict[str, Any]]:  # noqa: ARG002
        """Begin an episode."""
        super().reset(seed=seed)
        self._steps = self._right = 0
        return self._look(), {}

    def step(self, action: int) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Go left or right."""
        self._right += action == self._sign
        self._steps += 1
        over = self._steps == self._length
        reward = self._right / self._length if over else 0.0
        return self._look(), reward, over, False, {"is_success": self._right == self._length} if over else {}

    def _look(self) -> Vector:
        self._sign = int(self.np_random.integers(2))
        return np.array([self._sign == 0, self._sign == 1, self._steps / self._length], np.float32)


class Masked(gymnasium.Env[Any, Any]):  # type: ignore[misc]
    """Take the lower or the higher of two allowed actions, as a sign says; another ends the episode.

    Which two are allowed is told by the action mask alone, so that a learner without masks cannot do well.

    Args:
        size: Number of actions.
        length: Steps of an episode.
    """

    def __init__(self, size: int = 6, length: int = 16) -> None:
        if size < 3 or length < 1:
            raise ValueError(f"size {size} is below 3, or length {length} below 1")
        self._size, self._length = size, length
        self.observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
        self.action_space = spaces.Discrete(size)
        self.observation_names = ["lower pays", "higher pays"]
        self._allowed = np.array([0, 1])
        self._higher = False
        self._steps = self._right = 0

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return bool [size], True for the two actions that are allowed."""
        mask = np.zeros(self._size, np.bool_)
        mask[self._allowed] = True
        return mask

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Vector, dict[str, Any]]:  # noqa: ARG002
        """Begin an episode."""
        super().reset(seed=seed)
        self._steps = self._right = 0
        return self._draw(), {}

    def step(self, action: int) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Take an action."""
        forbidden = action not in self._allowed
        right = action == self._allowed[int(self._higher)]
        self._right += bool(right)
        self._steps += 1
        over = forbidden or self._steps == self._length
        info = {"is_success": self._right == self._length} if over else {}
        return self._draw(), float(right), bool(over), False, info

    def _draw(self) -> Vector:
        self._allowed = np.sort(self.np_random.choice(self._size, 2, replace=False))
        self._higher = bool(self.np_random.integers(2))
        return np.array([not self._higher, self._higher], np.float32)


class AppleRetrieval(gymnasium.Env[Any, Any]):  # type: ignore[misc]
    """Walk along a line to an apple, and bring it home; one sees only whether one carries it.

    The smallest game in which fine-tuning forgets for want of seeing (a state-coverage gap): a policy that can bring
    the apple home sees, as long as it has not learnt to fetch it, no state in which that skill is used. After Wolczyk
    et al., "Fine-tuning Reinforcement Learning Models is Secretly a Forgetting Mitigation Problem" (ICML 2024).

    Args:
        distance: Steps from home to the apple.
        signal: How strongly one sees what one carries: ``-signal`` without the apple and ``signal`` with it.
        start: Where episodes begin: at ``home``, or with the ``apple`` in hand, for the second half alone.
        limit: Most steps of an episode.
    """

    def __init__(
        self,
        distance: int = 10,
        signal: float = 1.0,
        start: Literal["home", "apple"] = "home",
        limit: int = 100,
    ) -> None:
        if distance < 1 or limit < 2 * distance or start not in ("home", "apple"):
            raise ValueError(f"distance {distance}, limit {limit} and start {start!r} leave no way to win")
        self._distance, self._signal, self._start, self._limit = distance, float(signal), start, limit
        self.observation_space = spaces.Box(-abs(signal), abs(signal), (1,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.observation_names = ["apple"]
        self.action_names = ["left", "right"]
        self._place = self._steps = 0
        self._carries = False

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Vector, dict[str, Any]]:  # noqa: ARG002
        """Begin an episode."""
        super().reset(seed=seed)
        self._carries = self._start == "apple"
        self._place, self._steps = (self._distance if self._carries else 0), 0
        return self._look(), {}

    def step(self, action: int) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Go left or right; the right way pays 1, the wrong one costs 1."""
        way = 1 if action == 1 else -1
        reward = float(-way if self._carries else way)
        self._place = max(0, self._place + way)
        self._carries = self._carries or self._place >= self._distance
        self._place = min(self._place, self._distance)
        self._steps += 1
        home = self._carries and self._place == 0
        late = self._steps >= self._limit and not home
        info = {"is_success": home, "fetched": self._carries} if home or late else {}
        return self._look(), reward, home, late, info

    def _look(self) -> Vector:
        return np.array([self._signal if self._carries else -self._signal], np.float32)
