"""Made-up policies whose skill a test can choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from newgameplus.evaluate.agent_arms import AGENT_ARM_TITLES, AgentArm, Agreement, CurveWindow, PlayedEpisodes
from newgameplus.evaluate.agent_evaluation import compare_agents

NEW, OLD = "MiniGrid-DoorKey-8x8-v0", "MiniGrid-Empty-8x8-v0"

SKILLS = {
    "fine-tuned": {NEW: 0.85, OLD: 0.95},
    "start": {NEW: 0.2, OLD: 0.96},
    "scratch": {NEW: 0.5, OLD: 0.4},
    "plain": {NEW: 0.86, OLD: 0.35},
    "cloning": {NEW: 0.6, OLD: 0.7},
}
AGREEMENT = {
    "fine-tuned": Agreement(np.arange(30.0, 38.0), np.full(8, 40)),
    "cloning": Agreement(np.arange(32.0, 40.0), np.full(8, 40)),
}
RANDOM = {NEW: 0.02, OLD: 0.1}


def play(
    game: str, skill: float, *, episodes: int = 100, seed: int = 0, success: bool = True, seeds: bool = True
) -> PlayedEpisodes:
    """Play levels whose difficulty goes by their seed; a return of 0.5 to 1 where the goal was reached, else 0."""
    difficulty = np.random.default_rng(len(game)).uniform(0, 1, episodes)
    luck = np.random.default_rng([seed, len(game)]).normal(0, 0.1, episodes)
    reached = difficulty + luck < skill
    totals = np.where(reached, 1 - difficulty / 2, 0.0)
    lengths = np.where(reached, 20 + 100 * difficulty, 160).astype(np.int64)
    return PlayedEpisodes(
        game, totals, lengths, reached if success else None, np.arange(episodes) if seeds else None
    )  # fmt: skip


def curve(skill: float, points: int = 20, game: str = "") -> tuple[CurveWindow, ...]:
    rng = np.random.default_rng(abs(int(1000 * skill)))
    windows = []
    for place in range(1, points + 1):
        reached = rng.uniform(size=25) < skill * (1 - np.exp(-4 * place / points))
        windows.append(CurveWindow(place * 10_000, np.where(reached, 0.9, 0.0), reached, game))
    return tuple(windows)


def arms(skills: Mapping[str, Mapping[str, float]] = SKILLS, **how: object) -> list[AgentArm]:
    """Make arms; the start policy did not learn anything."""
    return [
        AgentArm(
            name,
            AGENT_ARM_TITLES[name],
            "fine-tuned" if name == "fine-tuned" else "baseline",
            {game: play(game, skill, seed=place, **how) for game, skill in games.items()},  # type: ignore[arg-type]
            steps=0 if name == "start" else 200_000,
            seconds=0.0 if name == "start" else 83.0 + place,
            curve=() if name == "start" else curve(games[NEW]),
            agreement=AGREEMENT.get(name),
        )
        for place, (name, games) in enumerate(skills.items())
    ]


def evaluation(skills: Mapping[str, Mapping[str, float]] = SKILLS, **how: object) -> dict[str, Any]:
    """Compare them all, with a random policy for every game."""
    games = {game: None for skill in skills.values() for game in skill}
    random = {game: play(game, RANDOM[game], seed=99, **how) for game in games}  # type: ignore[arg-type]
    return compare_agents(arms(skills, **how), NEW, random=random, resamples=500)
