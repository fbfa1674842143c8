"""Recording a policy's episodes of a game, as a data set that Minari reads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from newgameplus import progress
from newgameplus.errors import DataError, GameError
from newgameplus.games.environment_contract import Environments
from newgameplus.games.environment_making import find_spec, is_factory, make_copy
from newgameplus.games.environment_sync import SyncEnvironments
from newgameplus.games.environments import make_environments
from newgameplus.games.record.episode_collection import Player, RandomPlayer, collect_episodes
from newgameplus.games.record.experts import ExpertPlayer
from newgameplus.games.record.recording_writer import RecordingWriter
from newgameplus.recipe_agent import EnvironmentSettings

__all__ = ["EnvironmentRecording", "environment_spec", "record_environment"]

_COPIES = 8
_SEED_STEP = 1_000_003


@dataclass(frozen=True)
class EnvironmentRecording:
    """What a recording left.

    Attributes:
        folder: Where it is.
        policy: Who played.
        returns: Sum of the rewards of each episode that was added.
        lengths: Steps of each.
        successes: Whether each reached the goal; None where the game does not say.
        before: Episodes that were there before.
    """

    folder: Path
    policy: str
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    successes: tuple[bool | None, ...]
    before: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self) | {
            "folder": str(self.folder),
            "returns": list(self.returns),
            "lengths": list(self.lengths),
            "successes": list(self.successes),
        }


def record_environment(
    settings: EnvironmentSettings,
    policy: Player | Literal["random", "expert"],
    episodes: int,
    out: Path,
    *,
    seed: int = 0,
    success_only: bool = False,
    append: bool = False,
    policy_name: str = "",
) -> EnvironmentRecording:
    """Record episodes. The same seed, number of copies and policy give the same file, byte for byte.

    Args:
        settings: The game, and how many copies are played at once (``auto``: 8, or fewer for fewer episodes).
        policy: Who plays; ``random``, or ``expert`` for the games that have one.
        episodes: Episodes to record.
        out: Folder of the recording. It appears when all episodes are there.
        seed: Of the game and of random play. Episodes that are added to others are begun with a seed of their own.
        success_only: Record only episodes that reach the goal.
        append: Add to the recording that is there, if there is one.
        policy_name: What to call the policy, if it has no name.

    Raises:
        DataError: The folder exists, or is of another game.
        GameError: There is no such game, it fails, has no expert, or too few attempts succeed.
        MissingExtraError: A package that the game or the recording needs is not installed.
        StorageError: The folder cannot be written.
    """
    if episodes < 1:
        raise DataError(f"{episodes} episodes are none", source="episodes", remedy="record at least one")
    name = policy_name or (policy if isinstance(policy, str) else type(policy).__name__)
    copies = settings.count if isinstance(settings.count, int) else min(_COPIES, episodes)
    totals, lengths, successes = [], [], []
    about = {"policy": name, "seed": seed, "copies": copies, "success_only": success_only}
    with _game(settings, policy, copies) as (environments, player):
        writer = RecordingWriter(
            Path(out),
            environments.observations,
            environments.actions,
            environment=settings.id,
            about=about | {"options": settings.options, "time_limit": settings.time_limit},
            policy=name,
            environment_spec=environment_spec(settings),
            append=append,
        )
        own = (seed + _SEED_STEP * writer.before) % 2**31
        player = player or RandomPlayer(environments.actions, own)
        title = f"recording {settings.id}"
        with writer, progress.task(title, episodes, "episodes") as shown:
            for attempt in collect_episodes(environments, player, episodes, own, success_only=success_only):
                writer.add(attempt.episode, about={"copy": attempt.copy, "start": attempt.start, "copies_seed": own})
                totals.append(attempt.episode.total)
                lengths.append(len(attempt.episode))
                successes.append(attempt.episode.success)
                shown.advance(note=f"return {sum(totals) / len(totals):.3g}")
    return EnvironmentRecording(Path(out), name, tuple(totals), tuple(lengths), tuple(successes), writer.before)


@contextmanager
def _game(
    settings: EnvironmentSettings, policy: Player | str, copies: int
) -> Iterator[tuple[Environments, Player | None]]:
    """Make copies of the game, and the one who plays them if that is not the random player."""
    if isinstance(policy, str) and policy not in ("random", "expert"):
        message = f"no policy is called {policy!r}"
        raise GameError(message, source="policy", remedy="give random, expert, or a policy")
    if policy != "expert":
        with make_environments(settings, count=copies) as environments:
            yield environments, None if isinstance(policy, str) else policy
        return
    made = [make_copy(settings) for _ in range(copies)]
    with SyncEnvironments(settings.id, made) as environments:
        yield environments, ExpertPlayer(settings.id, [copy.environment for copy in made])


def environment_spec(settings: EnvironmentSettings) -> str:
    """Return the game as Gymnasium writes it down (JSON); empty if it has no id or cannot be written."""
    if is_factory(settings.id):
        return ""
    from gymnasium.envs.registration import EnvSpec

    found = find_spec(settings.id)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spec = EnvSpec(
                found.id,
                found.entry_point,
                max_episode_steps=settings.time_limit or found.max_episode_steps,
                kwargs={**found.kwargs, **settings.options},
            )
            return str(spec.to_json())
    except (ValueError, TypeError, AttributeError):  # entry points that are no text, options that are no JSON
        return ""
