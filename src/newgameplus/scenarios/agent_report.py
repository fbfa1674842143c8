"""The report of a policy: what evaluation found, with strips of frames of how it plays."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.errors import NewGamePlusError
from newgameplus.evaluate.agent_report import Film, Video, write_agent_report
from newgameplus.games.environment_film import RenderedGame, make_rendered
from newgameplus.games.record.video_writer import even_frame, video_writer
from newgameplus.pretrained.policy import Policy
from newgameplus.recipe import dump_recipe
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.run import Run
from newgameplus.scenarios.agent_data import settings_for
from newgameplus.scenarios.agent_play import play_episodes

__all__ = ["film_policies", "write_report_of"]

_FRAMES = 8
_MOST_FRAMES = 600
_FRAME_RATE = 15.0


def write_report_of(
    run: Run, evaluation: Mapping[str, Any], films: Sequence[Film] = (), videos: Sequence[Video] = ()
) -> None:
    """Write ``report.html`` of a run."""
    write_agent_report(
        run.folder / "report.html",
        evaluation,
        title=run.name,
        recipe_yaml=dump_recipe(run.recipe),
        environment=run.environment,
        films=films,
        videos=videos,
    )


def film_policies(
    policies: Mapping[str, Policy], settings: EnvironmentSettings, games: list[str], seed: int
) -> tuple[list[Film], list[Video]]:
    """Let each policy play one episode of each game, the same for all; keep a few frames, and the first one's video.

    A game that gives no pictures gives no films; that is said, and stops nothing.

    Args:
        policies: By what to call them.
        settings: How the games are made.
        games: Their ids.
        seed: Of the episodes.
    """
    films: list[Film] = []
    videos: list[Video] = []
    for game in games:
        for title, policy in policies.items():
            try:
                with make_rendered(settings_for(settings, game)) as rendered:
                    told, frames = _film(title, policy, rendered, seed)
                    rate = rendered.frame_rate or _FRAME_RATE
            except NewGamePlusError as error:
                progress.say(f"note: no film of it: {error.message}")
                break
            chosen = np.linspace(0, len(frames) - 1, min(_FRAMES, len(frames))).round().astype(int)
            films.append(Film(told, [frames[number] for number in chosen]))
            if not videos:
                videos.append(Video(told, _encoded(frames, rate)))
    return films, videos


def _encoded(frames: list[npt.NDArray[np.uint8]], rate: float) -> bytes:
    """Return frames as an mp4 file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "episode.mp4"
        height, width = even_frame(frames[0]).shape[:2]
        with video_writer(path, frame_rate=rate, height=height, width=width, quality=30) as writer:
            for frame in frames:
                writer.add(np.ascontiguousarray(even_frame(frame)[:height, :width]))
        return path.read_bytes()


def _film(title: str, policy: Policy, rendered: RenderedGame, seed: int) -> tuple[str, list[npt.NDArray[np.uint8]]]:
    """Play one episode; return what to call it, and its frames."""
    frames: list[npt.NDArray[np.uint8]] = []

    def keep(frame: npt.NDArray[np.uint8]) -> None:
        if len(frames) < _MOST_FRAMES:
            frames.append(frame)

    played = play_episodes(policy, rendered.filmed(keep, seed, 1), 1, seed, title=f"filming {title}")
    end = "" if played.successes is None else (", reached the goal" if played.successes[0] else ", did not reach it")
    return f"{title}: {played.game}, return {played.totals[0]:.3g} in {played.lengths[0]} steps{end}", frames
