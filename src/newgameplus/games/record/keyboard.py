"""Recording a person who plays with the keyboard. An episode is kept only if the player says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from newgameplus.errors import DataError
from newgameplus.games.environment_making import make_copy
from newgameplus.games.environment_sync import SyncEnvironments
from newgameplus.games.episodes import Episode
from newgameplus.games.record.environment import EnvironmentRecording, environment_spec
from newgameplus.games.record.episode_collection import History
from newgameplus.games.record.keyboard_keys import KeyMap, key_map
from newgameplus.games.record.keyboard_screens import Screen, open_screen
from newgameplus.games.record.recording_writer import RecordingWriter
from newgameplus.recipe_agent import EnvironmentSettings

__all__ = ["record_keyboard"]

_FRAME_RATE = 15.0
_YES, _NO = ("y", "return"), ("n", "backspace")
_SEED_STEP = 1_000_003


def record_keyboard(
    settings: EnvironmentSettings,
    episodes: int,
    out: Path,
    *,
    seed: int = 0,
    keys: Mapping[str, Any] | None = None,
    screen: Screen | str = "auto",
    frame_rate: float | None = None,
    append: bool = False,
) -> EnvironmentRecording:
    """Let a person play, and record the episodes that they want to keep.

    Escape ends playing (what was kept is recorded, the unfinished episode is not); backspace begins anew. Games that
    have an action for doing nothing go on by themselves; others wait for a key.

    Args:
        settings: The game; one copy of it is played.
        episodes: Episodes to keep, at most.
        out: Folder of the recording. It appears when playing ends, if any episode was kept.
        seed: Of the game.
        keys: Action by key; see :func:`newgameplus.games.record.keyboard_keys.key_map`.
        screen: Where to play: ``window``, ``terminal``, ``auto``, or a screen of one's own.
        frame_rate: Steps a second of a game that goes on by itself; by default its own, or 15.
        append: Add to the recording that is there, if there is one.

    Raises:
        DataError: The folder exists, or is of another game.
        GameError: There is no such game, it shows no pictures, fails, or no keys are known for it.
        MissingExtraError: A package that the game or the recording needs is not installed.
        StorageError: The folder cannot be written.
    """
    if episodes < 1:
        raise DataError(f"{episodes} episodes are none", source="episodes", remedy="record at least one")
    copy = make_copy(settings, render=True)
    game = SyncEnvironments(settings.id, [copy])
    with game:
        chosen = key_map(game.actions, copy.environment, keys)
        writer = RecordingWriter(
            Path(out),
            game.observations,
            game.actions,
            environment=settings.id,
            about={"policy": "keyboard", "seed": seed, "options": settings.options},
            policy="keyboard",
            environment_spec=environment_spec(settings),
            append=append,
        )
        rate = frame_rate or _rate_of(copy.environment)
        with writer, open_screen(screen) if isinstance(screen, str) else screen as shown:
            play = _Play(game, shown, chosen, rate, episodes)
            for episode in play.run((seed + _SEED_STEP * writer.before) % 2**31):
                writer.add(episode)
    kept = play.kept
    returns, lengths = tuple(one.total for one in kept), tuple(len(one) for one in kept)
    return EnvironmentRecording(
        Path(out), "keyboard", returns, lengths, tuple(one.success for one in kept), writer.before
    )


def _rate_of(environment: Any) -> float:
    rate = (getattr(environment, "metadata", None) or {}).get("render_fps")
    return float(rate) if isinstance(rate, (int, float)) and rate > 0 else _FRAME_RATE


class _QuitError(Exception):
    """The player has had enough."""


@dataclass(eq=False)
class _Play:
    """A person at a game."""

    game: SyncEnvironments
    screen: Screen
    keys: KeyMap
    rate: float
    wanted: int
    kept: list[Episode] = field(default_factory=list)

    def run(self, seed: int) -> Iterator[Episode]:
        """Yield the episodes that are kept."""
        number = 0
        while len(self.kept) < self.wanted:
            try:
                episode = self._episode(seed + number)
                number += 1
                if episode is not None and self._keep(episode):
                    self.kept.append(episode)
                    yield episode
            except _QuitError:
                return

    def _show(self, *lines: str) -> None:
        head = f"kept {len(self.kept)} of {self.wanted}   escape: end   backspace: begin anew"
        self.screen.show(self.game.render(), [*lines, head])

    def _episode(self, seed: int) -> Episode | None:
        """Play one episode to its end; None if it was begun anew."""
        observations = self.game.reset(seed)
        history = History(observations, 0)
        total, length = 0.0, 0
        while True:
            self._show(f"step {length}   return {total:g}", str(self.keys))
            masks = self.game.masks()
            masks = None if masks is None else masks.copy()
            action = self._action(masks)
            if action is None:
                return None
            actions = np.asarray(action, self.game.actions.dtype)[None]
            step = self.game.step(actions)
            history.add(step, actions, masks, 0)
            total, length = total + float(step.rewards[0]), length + 1
            if step.ended[0]:
                return history.close(bool(step.terminated[0]), step.episodes[0].success)

    def _action(self, masks: Any) -> Any:
        """Return what the player does; None to begin anew."""
        while True:
            key = self.screen.key(None if self.keys.idle is None else 1.0 / self.rate)
            if key == "escape":
                raise _QuitError
            if key == "backspace":
                return None
            action = self.keys.idle if key is None else self.keys.actions.get(key)
            if action is None:
                continue  # of no meaning here
            if masks is not None and self.game.actions.kind == "discrete" and not masks[0, int(action)]:
                continue
            return action

    def _keep(self, episode: Episode) -> bool:
        reached = {True: ", goal reached", False: ", goal not reached", None: ""}[episode.success]
        said = f"over: {len(episode)} steps, return {episode.total:g}{reached}"
        self._show(said, "keep this episode?   y: keep   n: throw away")
        while True:
            key = self.screen.key(None)
            if key in _YES:
                return True
            if key in _NO:
                return False
            if key == "escape":
                raise _QuitError
