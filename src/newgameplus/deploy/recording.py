"""Recording episodes of any environment: by a run, a policy of any source, an expert, at random, or by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from newgameplus.errors import RecipeError
from newgameplus.games.record.environment import EnvironmentRecording, record_environment
from newgameplus.pretrained.policy import Policy
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.scenarios.agent_play import check_handicap
from newgameplus.scenarios.agent_player import open_player
from newgameplus.spaces import Actions, Masks, Observations

__all__ = ["PolicyPlayer", "record_env"]

_OWN = ("random", "expert")
KEYBOARD = "keyboard"


class PolicyPlayer:
    """A policy that plays for a recording; the same seed draws the same actions.

    Args:
        policy: The policy.
        seed: Of its draws.
        temperature: 0 takes the likeliest action.
    """

    def __init__(self, policy: Policy, seed: int, temperature: float = 1.0) -> None:
        self.policy, self.temperature = policy, temperature
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(
        self, observations: Observations, state: Any, starts: npt.NDArray[np.bool_], masks: Masks | None
    ) -> tuple[Actions, Any]:
        """See :class:`newgameplus.games.record.episode_collection.Player`."""
        begin = torch.from_numpy(np.array(starts))
        return self.policy.act(
            observations, state, begin, masks, temperature=self.temperature, generator=self.generator
        )


def record_env(
    environment: str,
    out: str | Path,
    *,
    policy: str = "random",
    options: Mapping[str, Any] | None = None,
    episodes: int = 20,
    seed: int = 0,
    success_only: bool = False,
    temperature: float = 1.0,
    keys: str = "",
) -> dict[str, Any]:
    """Record episodes as a data set that Minari reads.

    Args:
        environment: Gymnasium id, ``module:function`` or ``file.py:function``.
        out: New folder.
        policy: A run folder, a policy of any source, ``expert`` (MiniGrid, BabyAI), ``random``, or ``keyboard``.
        options: Keyword arguments of the environment.
        episodes: How many.
        seed: The same seed gives the same recording (but for the keyboard).
        success_only: Keep only episodes that reach the goal.
        temperature: Of a policy; 0 takes the likeliest action.
        keys: For the keyboard: ``KEY=ACTION,...``; by default what the game says.

    Returns:
        ``folder``, ``environment``, ``policy``, ``episodes``, ``steps``, ``returns`` (low, high, mean), ``successes``.

    Raises:
        NewGamePlusError: The game, the policy or the folder cannot be used.
    """
    check_handicap(temperature, None, seed)
    settings = EnvironmentSettings(id=environment, options=dict(options or {}))
    if policy == KEYBOARD:
        from newgameplus.games.record.keyboard import record_keyboard

        made = record_keyboard(settings, episodes, Path(out), seed=seed, keys=_keys(keys))
        return _told(made, environment)
    if keys:
        raise RecipeError("keys are for playing by hand", source="--keys", remedy="add --policy keyboard")
    if policy in _OWN:
        own: Any = policy
        made = record_environment(settings, own, episodes, Path(out), seed=seed, success_only=success_only)
        return _told(made, environment)
    player = open_player(policy, environment, options)
    player.open(1).close()  # says what does not fit, before anything is recorded
    plays = PolicyPlayer(player.policy, seed, temperature)
    made = record_environment(
        settings, plays, episodes, Path(out), seed=seed, success_only=success_only, policy_name=policy
    )
    return _told(made, environment)


def _keys(text: str) -> dict[str, str] | None:
    """Read ``KEY=ACTION,...``; None if nothing is said.

    Raises:
        RecipeError: It is no such text.
    """
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    if wrong := [piece for piece in pieces if not all(piece.partition("=")[::2])]:
        remedy = "write KEY=ACTION,KEY=ACTION, such as left=left,space=toggle"
        raise RecipeError(f"{wrong[0]!r} names no key and action", source="--keys", remedy=remedy)
    return {key.strip(): action.strip() for key, _, action in (piece.partition("=") for piece in pieces)} or None


def _told(made: EnvironmentRecording, environment: str) -> dict[str, Any]:
    known = [success for success in made.successes if success is not None]
    returns = made.returns or (0.0,)
    return {
        "folder": str(made.folder),
        "environment": environment,
        "policy": made.policy,
        "episodes": len(made.returns),
        "steps": int(sum(made.lengths)),
        "returns": {"low": min(returns), "high": max(returns), "mean": float(np.mean(returns))},
        "successes": sum(known) if len(known) == len(made.successes) else None,
    }
