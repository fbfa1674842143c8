"""ViZDoom, started without a window or sound on any map that it brings, and an episode of it as a stream of frames."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import RecorderError
from newgameplus.games.record.acting import BUTTONS, ActingPlayer, Hold
from newgameplus.games.record.doom_maps import DoomMap, vizdoom
from newgameplus.games.record.labelling import SETTLE, SHORTEST

__all__ = ["FRAME_RATE", "RESOLUTIONS", "VARIABLES", "VIEWS", "Frame", "check_starts", "play"]

FRAME_RATE = 35.0
"""Tics of the engine a second; every tic is a frame."""

VARIABLES = (
    "HEALTH",
    "ARMOR",
    "POSITION_X",
    "POSITION_Y",
    "POSITION_Z",
    "ANGLE",
    "PITCH",
    "VELOCITY_X",
    "VELOCITY_Y",
    "VELOCITY_Z",
    "DEAD",
    "HITS_TAKEN",
    "DAMAGE_TAKEN",
    "HITCOUNT",
    "DAMAGECOUNT",
    "KILLCOUNT",
    "DEATHCOUNT",
    "FRAGCOUNT",
    "PLAYER_COUNT",
    "ITEMCOUNT",
    "SELECTED_WEAPON",
    "SELECTED_WEAPON_AMMO",
    "ATTACK_READY",
    *(f"AMMO{slot}" for slot in range(10)),
    *(f"WEAPON{slot}" for slot in range(10)),
)
"""Game variables kept for every frame."""

RESOLUTIONS = ((160, 120), (320, 240), (400, 300), (512, 384), (640, 480), (800, 600), (1024, 768))
"""Widths and heights that the engine can draw, all 4:3."""

VIEWS = ("first", "behind")
"""Where the camera may be."""

_HOLD_RANGE = (SETTLE + SHORTEST + 1, SETTLE + SHORTEST + 13)
_WAIT_TICS = 20
"""Tics played before anything is kept: the weapon comes up, monsters wake, a warp takes effect."""
_DEAD_TICS = 24
"""Tics that a death is shown before the player is born again."""
_WEAPONS = ("Pistol", "Shotgun", "Chaingun", "SuperShotgun", "PlasmaRifle", "Fist")
_ITEMS = frozenset(
    {
        "ArmorBonus", "Backpack", "BlueArmor", "BlueCard", "BlueSkull", "Cell", "CellPack", "Chaingun", "Chainsaw",
        "Clip", "ClipBox", "GreenArmor", "HealthBonus", "Infrared", "Medikit", "PlasmaRifle", "RadSuit", "RedCard",
        "RedSkull", "RocketAmmo", "RocketBox", "RocketLauncher", "Shell", "ShellBox", "Shotgun", "Soulsphere",
        "Stimpack", "SuperShotgun", "YellowCard", "YellowSkull"
    }
)  # fmt: skip
"""Things that lie where a player can stand, so that a new life may begin there."""


@dataclass(frozen=True)
class Frame:
    """One frame and what the engine knows about it.

    Attributes:
        picture: uint8 [height, width, 3]; red, green, blue.
        buttons: 0 or 1 for each of ``BUTTONS``, held on the way to this frame.
        action: Index of the action held, or -1.
        variables: float for each of ``VARIABLES``.
        cut: Whether this frame does not continue the one before.
    """

    picture: npt.NDArray[np.uint8]
    buttons: tuple[int, ...]
    action: int
    variables: npt.NDArray[np.float64]
    cut: bool


@contextlib.contextmanager
def _no_litter() -> Iterator[None]:
    """Remove the empty folder that the engine leaves in the current folder, wherever its settings are kept."""
    litter = Path.cwd() / "_vizdoom"
    was_there = litter.exists()
    try:
        yield
    finally:
        if not was_there:
            with contextlib.suppress(OSError):  # gone, or not empty: then it is not ours to remove
                litter.rmdir()


def check_starts(where: DoomMap, players: int) -> None:
    """Refuse what the engine could not start: it would crash, and take the whole process with it.

    Raises:
        RecorderError: The map has no place where that many players could begin.
    """
    if players > 1 and not where.deathmatch_starts:
        remedy = "take players=1, or a map with deathmatch starts: all of Freedoom's have them"
        raise RecorderError(f"{players} players have nowhere to begin on this map", source=where.name, remedy=remedy)
    if not where.player_starts and not where.deathmatch_starts:
        raise RecorderError("a player has nowhere to begin on this map", source=where.name, remedy="take another map")


def _start(where: DoomMap, seed: int, players: int, size: tuple[int, int], skill: int, home: Path) -> Any:
    engine = vizdoom()
    game = engine.DoomGame()
    game.set_doom_game_path(str(where.game))
    game.set_doom_scenario_path(str(where.wad))
    game.set_doom_map(where.map)
    game.set_doom_config_path(str(home / "engine.ini"))
    game.set_doom_skill(skill)
    game.set_seed(seed)
    game.set_mode(engine.Mode.PLAYER)
    game.set_sound_enabled(False)  # with sound on and no sound card the engine aborts
    game.set_window_visible(False)
    game.set_screen_resolution(getattr(engine.ScreenResolution, f"RES_{size[0]}X{size[1]}"))
    game.set_screen_format(engine.ScreenFormat.RGB24)
    game.set_render_hud(True)
    game.set_objects_info_enabled(True)
    game.set_available_buttons([getattr(engine.Button, name) for name in BUTTONS])
    game.set_available_game_variables([getattr(engine.GameVariable, name) for name in VARIABLES])
    game.set_episode_timeout(0)
    # Also one player is a host: only then can a dead player be born again in the same game.
    game.add_game_args("-host 1 +sv_cheats 1 +sv_infiniteammo 1 +sv_chasecam 1 +viz_respawn_delay 0 +timelimit 0")
    if players > 1 or not where.player_starts:
        game.add_game_args("-deathmatch +sv_forcerespawn 1 +sv_spawnfarthest 1")
    try:
        game.init()
    except engine.ViZDoomErrorException as error:
        remedy = "try another map; `ngp doctor` tells whether the engine works at all"
        raise RecorderError(f"the engine does not start: {error}", source=where.name, remedy=remedy) from error
    return game


class _Episode:
    """One running game, and our player in it."""

    def __init__(self, game: Any, random: np.random.Generator, weapon: str | None, view: str) -> None:
        self.game, self.random, self.weapon, self.view = game, random, weapon, view
        self.player = ActingPlayer(random, *_HOLD_RANGE)
        self.rest = (0,) * len(BUTTONS)
        self.born = self.behind = False
        self.cut = True

    def begin_life(self) -> None:
        """Put the player somewhere on the map, looking anywhere, with its weapon up."""
        state = self.game.get_state()
        places = sorted((o.position_x, o.position_y) for o in state.objects if o.name in _ITEMS) if state else []
        if places:
            x, y = places[int(self.random.integers(len(places)))]
            self.game.send_game_command(f"warp {x} {y}")
        if self.weapon:
            self.game.send_game_command(f"give {self.weapon}")
            self.game.send_game_command(f"use {self.weapon}")
        if self.view == "behind" and not self.behind:
            self.game.send_game_command("chase")
            self.behind = True  # the command switches to and fro; it outlasts a death
        turning = tuple(int(button == "TURN_LEFT") for button in BUTTONS)
        self.game.make_action(turning, int(self.random.integers(1, 52)))  # at most once around
        self.game.make_action(self.rest, _WAIT_TICS)
        self.born = self.cut = True

    def frame(self, buttons: tuple[int, ...], action: int) -> Frame | None:
        """Play one tic; return what is then seen, or nothing if the map just ended."""
        self.game.make_action(buttons)
        state = self.game.get_state()
        if state is None:
            return None
        cut, self.cut = self.cut, False
        return Frame(state.screen_buffer, buttons, action, state.game_variables, cut)

    def hold(self, hold: Hold) -> Iterator[Frame]:
        """Hold one action until its time is over, a wall is in the way, or the player is dead."""
        before = None
        for held in range(1, hold.tics + 1):
            frame = self.frame(hold.buttons, hold.action)
            if frame is None:
                return
            yield frame
            if self.game.is_player_dead():
                return
            here = frame.variables[[VARIABLES.index("POSITION_X"), VARIABLES.index("POSITION_Y")]]
            if before is not None and self.player.gives_up(hold, held, float(np.hypot(*(here - before)))):
                return
            before = here
        self.player.shown(hold)

    def death(self) -> Iterator[Frame]:
        """Show a death, then begin a new life."""
        for _ in range(_DEAD_TICS):
            frame = self.frame(self.rest, -1)
            if frame is None:
                break
            yield frame
        if not self.game.is_episode_finished() and self.game.is_player_dead():
            self.game.respawn_player()
            self.born = False


def play(
    where: DoomMap,
    *,
    seed: int,
    frames: int,
    size: tuple[int, int] = (320, 240),
    players: int = 1,
    skill: int = 3,
    weapon: str | None = None,
    view: str = "first",
) -> Iterator[Frame]:
    """Play one episode and yield its frames. The same arguments give the same frames, with bots too.

    Args:
        where: The map.
        seed: Seed of the engine and of the player.
        frames: How many frames to yield.
        size: Width and height of the pictures; one of ``RESOLUTIONS``.
        players: 1 to 8; all but the first are the engine's own bots, and then it is a deathmatch.
        skill: 1 (few monsters) to 5.
        weapon: The weapon that every life begins with, ``random`` for one chosen by the seed; ``None`` for the map's
            own.
        view: ``first`` through the player's eyes, ``behind`` with the player in the picture (one of ``VIEWS``).

    Raises:
        RecorderError: The engine does not start, or ends before its time.
    """
    check_starts(where, players)
    random = np.random.default_rng([seed, 35])
    if weapon == "random":
        weapon = str(random.choice(_WEAPONS))
    with _no_litter(), tempfile.TemporaryDirectory(prefix="newgameplus-doom-") as home:
        game = _start(where, seed, players, size, skill, Path(home))
        try:
            game.send_game_command("removebots")
            for _ in range(players - 1):
                game.send_game_command("addbot")
            episode = _Episode(game, random, weapon, view)
            yield from _frames(episode, frames)
        except vizdoom().ViZDoomErrorException as error:
            raise RecorderError(
                f"the engine stopped: {error}", source=where.name, remedy="take fewer players, or another map"
            ) from error
        finally:
            game.close()


def _frames(episode: _Episode, frames: int) -> Iterator[Frame]:
    game = episode.game
    done = 0
    while done < frames:
        if game.is_episode_finished():
            game.new_episode()
            episode.born = False
        if not episode.born:
            episode.begin_life()
            continue
        for frame in episode.death() if game.is_player_dead() else episode.hold(episode.player.next()):
            yield frame
            done += 1
            if done == frames:
                return
