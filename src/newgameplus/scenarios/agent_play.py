"""Playing whole episodes with a policy, each from its own seed, so that two policies can be compared game by game."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

from newgameplus import progress
from newgameplus.errors import GameError, Problem, RecipeError, raise_problems
from newgameplus.evaluate.agent_arms import PlayedEpisodes
from newgameplus.games.environment_contract import Environments, EpisodeEnd
from newgameplus.games.environment_sync import seed_of
from newgameplus.games.record.episode_collection import RandomPlayer
from newgameplus.pretrained.policy import Policy
from newgameplus.spaces import Actions, ActionSpec, Masks, Observations
from newgameplus.train.device import using_threads

__all__ = ["FULL_STRENGTH", "Handicap", "check_handicap", "play_episodes"]

_LONGEST = 200_000


@dataclass(frozen=True)
class Handicap:
    """What makes a policy weaker than it could be.

    Attributes:
        temperature: Of its choices: 0 the likeliest action, 1 as it learned, above more random.
        delay: Steps that it reacts late.
        randomness: Share of the actions that are drawn at random from all allowed ones, in 0..1.
    """

    temperature: float = 1.0
    delay: int = 0
    randomness: float = 0.0


def check_handicap(temperature: float | None, delay: int | None, seed: int | None = None) -> None:
    """Refuse what nobody can play with, before a game is opened.

    Raises:
        RecipeError: A value is out of range.
    """
    problems = []
    if temperature is not None and not 0.0 <= temperature < math.inf:
        told = "give 0 (always the likeliest action) or more; 1 is as it learned"
        problems.append(Problem(f"a temperature of {temperature:g}", "--temperature", told))
    if delay is not None and delay < 0:
        problems.append(Problem(f"{delay} steps late", "--delay", "give 0 or more steps"))
    if seed is not None and not 0 <= seed < 2**32:
        problems.append(Problem(f"seed {seed}", "--seed", f"give a whole number from 0 to {2**32 - 1}"))
    raise_problems(problems, RecipeError, "options cannot be used")


FULL_STRENGTH = Handicap()
"""As the policy learned to play."""


class _Player:
    """A policy (or none: random play) with its handicap, memory and randomness, for one round of episodes."""

    def __init__(self, policy: Policy | None, handicap: Handicap, actions: ActionSpec, count: int, seed: int) -> None:
        self.policy, self.handicap, self.count = policy, handicap, count
        self.random = RandomPlayer(actions, seed)
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.state = None if policy is None else policy.network.initial_state(count)
        self.seen: deque[Observations] = deque(maxlen=handicap.delay + 1)

    def act(self, observations: Observations, starts: torch.Tensor, masks: Masks | None) -> Actions:
        if self.policy is None:
            return self.random(observations, None, starts.numpy(), masks)[0]
        self.seen.append({name: values.copy() for name, values in observations.items()})
        chosen, self.state = self.policy.act(
            self.seen[0], self.state, starts, masks, temperature=self.handicap.temperature, generator=self.generator
        )
        if self.handicap.randomness > 0.0:
            blind = self.rng.random(self.count) < self.handicap.randomness
            chosen = chosen.copy()
            chosen[blind] = self.random(observations, None, starts.numpy(), masks)[0][blind]
        return chosen


def play_episodes(
    policy: Policy | None,
    environments: Environments,
    episodes: int,
    seed: int,
    *,
    handicap: Handicap = FULL_STRENGTH,
    title: str = "playing",
    copies: int | None = None,
) -> PlayedEpisodes:
    """Play episodes, each begun by a seed of its own that does not depend on who plays.

    Args:
        policy: Who plays; None plays at random.
        environments: Copies of the game; left open.
        episodes: How many.
        seed: Seed of the first episode and of the player.
        handicap: What makes the policy weaker.
        title: What progress is called.
        copies: Copies by which the seeds are counted, where fewer play: a film shows the episodes that others play at
            once (see :meth:`newgameplus.games.environment_film.RenderedGame.filmed`).

    Raises:
        GameError: The game fails, or an episode does not end.
    """
    ends: list[EpisodeEnd] = []
    count, counted = environments.count, copies or environments.count
    with progress.task(title, episodes, "episodes") as bar, using_threads(1):
        for first in range(0, episodes, count):
            player = _Player(policy, handicap, environments.actions, count, seed + first)
            found = _round(player, environments, seed + first)
            ends += found[: episodes - first]
            bar.advance(min(count, episodes - first), note=f"return {np.mean([end.total for end in ends]):.3g}")
    known = all(end.success is not None for end in ends)
    return PlayedEpisodes(
        environments.name,
        np.array([end.total for end in ends], np.float64),
        np.array([end.length for end in ends], np.int64),
        np.array([bool(end.success) for end in ends]) if known and ends else None,
        np.array([seed_of(seed + n - n % counted, n % counted) for n in range(episodes)], np.int64),
    )


def _round(player: _Player, environments: Environments, seed: int) -> list[EpisodeEnd]:
    """Play one episode in each copy, in the order of the copies."""
    count = environments.count
    observations = environments.reset(seed)
    starts = torch.ones(count, dtype=torch.bool)
    first: dict[int, EpisodeEnd] = {}
    for _ in range(_LONGEST):
        step = environments.step(player.act(observations, starts, environments.masks()))
        for end in step.episodes:
            first.setdefault(end.environment, end)
        if len(first) == count:
            return [first[copy] for copy in range(count)]
        observations, starts = step.observations, torch.from_numpy(step.ended.copy())
    remedy = "set environment.time_limit in the recipe"
    raise GameError(f"an episode of {_LONGEST:,} steps does not end", source=environments.name, remedy=remedy)
