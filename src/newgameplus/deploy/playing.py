"""Letting a policy play: a table of returns with intervals, at any strength, and a video to watch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import RecipeError, RunError
from newgameplus.evaluate.agent_arms import PlayedEpisodes
from newgameplus.evaluate.returns import mean_interval, success_interval
from newgameplus.files import atomic_path
from newgameplus.games.environment_film import make_rendered
from newgameplus.games.record.video_writer import even_frame, video_writer
from newgameplus.scenarios.agent_play import Handicap, check_handicap, play_episodes
from newgameplus.scenarios.agent_player import Player, open_player
from newgameplus.scenarios.agent_strength import LevelChoice, choose_level

__all__ = ["play"]

_MOST_COPIES = 64
_FRAME_RATE = 15.0


def play(
    policy: str,
    episodes: int = 5,
    *,
    env: str | None = None,
    options: Mapping[str, Any] | None = None,
    level: float | None = None,
    by: str = "auto",
    seed: int = 0,
    temperature: float | None = None,
    delay: int | None = None,
    video: str | Path | None = None,
) -> dict[str, Any]:
    """Let a policy play.

    Args:
        policy: Run folder, or a policy of any source (with ``env``).
        episodes: How many.
        env: Another game than the policy's own.
        options: Keyword arguments of the game.
        level: Strength from 0 (random play) to 1 (the full policy) by measured score; measured once for a run and kept
            in its ``strength.json``.
        by: What makes it weaker: ``temperature``, ``delay``, ``randomness``, ``snapshot``; ``auto`` takes what reaches
            the level most closely.
        seed: The same seed plays the same games.
        temperature: 0 always takes the likeliest action; not together with ``level``.
        delay: Steps that it reacts late; not together with ``level``.
        video: Write the episodes to this mp4 file, which must not be there yet.

    Returns:
        Episodes (seed, return, steps, success), mean return and success with intervals, strength table, video.

    Raises:
        NewGamePlusError: The policy, the game or an option cannot be used.
    """
    if episodes < 1:
        raise RecipeError(f"{episodes} episodes", source="--episodes", remedy="play 1 or more")
    check_handicap(temperature, delay, seed)
    if level is not None and (temperature is not None or delay is not None):
        remedy = "give --level, or --temperature and --delay"
        raise RecipeError("a level says temperature and delay by itself", source="--level", remedy=remedy)
    if video is not None and Path(video).suffix.lower() != ".mp4":
        remedy = "give it a name that ends with .mp4"
        raise RecipeError(f"{Path(video).name!r} is no name of a video", source="--video", remedy=remedy)
    if video is not None and Path(video).exists():
        raise RunError("this file exists, and nothing is overwritten", source=str(video), remedy="choose another name")
    player = open_player(policy, env, options)
    choice = None if level is None else choose_level(player, level, by)
    handicap = choice.handicap if choice else Handicap(1.0 if temperature is None else temperature, delay or 0)
    if choice is not None:
        player = choice.player
    if video is not None:
        played = _filmed(player, episodes, seed, handicap, Path(video))
    else:
        with player.open(min(episodes, _MOST_COPIES)) as environments:
            played = play_episodes(player.policy, environments, episodes, seed, handicap=handicap)
    return _answer(policy, played, choice, video)


def _answer(name: str, played: PlayedEpisodes, choice: LevelChoice | None, video: str | Path | None) -> dict[str, Any]:
    successes = played.successes
    seeds = played.seeds if played.seeds is not None else np.arange(len(played))
    rows = [
        {
            "seed": int(seeds[n]),
            "return": float(played.totals[n]),
            "steps": int(played.lengths[n]),
            "success": None if successes is None else bool(successes[n]),
        }
        for n in range(len(played))
    ]
    answer: dict[str, Any] = {
        "policy": name,
        "game": played.game,
        "episodes": rows,
        "return": mean_interval(played.totals).as_dict(),
        "success": None if successes is None else success_interval(successes).as_dict(),
        "video": None if video is None else str(video),
    }
    if choice is not None:
        answer["strength"] = choice.as_dict()
    return answer


def _filmed(player: Player, episodes: int, seed: int, handicap: Handicap, path: Path) -> PlayedEpisodes:
    """Play one episode after the other and film each step.

    Raises:
        GameError: The game gives no pictures.
    """
    player.open(1).close()  # says what does not fit
    with make_rendered(player.settings) as game, atomic_path(path) as temporary:
        height, width = even_frame(game.frame_after_reset(seed)).shape[:2]
        rate = game.frame_rate or _FRAME_RATE
        with video_writer(temporary, frame_rate=rate, height=height, width=width) as writer:

            def film(frame: npt.NDArray[np.uint8]) -> None:
                writer.add(np.ascontiguousarray(even_frame(frame)[:height, :width]))

            copies = min(episodes, _MOST_COPIES)
            filmed = game.filmed(film, seed, copies)
            return play_episodes(player.policy, filmed, episodes, seed, handicap=handicap, copies=copies)
