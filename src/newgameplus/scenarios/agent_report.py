"""The report of a policy: what evaluation found, with strips of frames of how it plays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.errors import NewGamePlusError
from newgameplus.evaluate.agent_report import Film, write_agent_report
from newgameplus.games.environment_film import RenderedGame, make_rendered
from newgameplus.pretrained.policy import Policy
from newgameplus.recipe import dump_recipe
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.run import Run
from newgameplus.scenarios.agent_data import settings_for
from newgameplus.scenarios.agent_play import play_episodes

__all__ = ["film_policies", "write_report_of"]

_FRAMES = 8
_MOST_FRAMES = 2_000


def write_report_of(run: Run, evaluation: Mapping[str, Any], films: list[Film] | None = None) -> None:
    """Write ``report.html`` of a run."""
    write_agent_report(
        run.folder / "report.html",
        evaluation,
        title=run.name,
        recipe_yaml=dump_recipe(run.recipe),
        environment=run.environment,
        films=films or (),
    )


def film_policies(
    policies: Mapping[str, Policy], settings: EnvironmentSettings, games: list[str], seed: int
) -> list[Film]:
    """Let each policy play one episode of each game, the same for all, and keep a few of its frames.

    A game that gives no pictures gives no films; that is said, and stops nothing.

    Args:
        policies: By what to call them.
        settings: How the games are made.
        games: Their ids.
        seed: Of the episodes.
    """
    films: list[Film] = []
    for game in games:
        for title, policy in policies.items():
            try:
                with make_rendered(settings_for(settings, game)) as rendered:
                    films.append(_film(title, policy, rendered, seed))
            except NewGamePlusError as error:
                progress.say(f"note: no film of it: {error.message}")
                break
    return films


def _film(title: str, policy: Policy, rendered: RenderedGame, seed: int) -> Film:
    frames: list[npt.NDArray[np.uint8]] = []

    def keep(frame: npt.NDArray[np.uint8]) -> None:
        if len(frames) < _MOST_FRAMES:
            frames.append(frame)

    played = play_episodes(policy, rendered.filmed(keep, seed, 1), 1, seed, title=f"filming {title}")
    chosen = np.linspace(0, len(frames) - 1, min(_FRAMES, len(frames))).round().astype(int)
    end = "" if played.successes is None else (", reached the goal" if played.successes[0] else ", did not reach it")
    told = f"{title}: {played.game}, return {played.totals[0]:.3g} in {played.lengths[0]} steps{end}"
    return Film(told, [frames[number] for number in chosen])
