"""Labelled clips out of the real engine: ViZDoom episodes as video, trajectory and label files."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from newgameplus import progress
from newgameplus.errors import RecorderError
from newgameplus.files import atomic_path, write_json, write_text
from newgameplus.games.record.acting import ACTIONS, BUTTONS
from newgameplus.games.record.doom_engine import FRAME_RATE, RESOLUTIONS, VARIABLES, VIEWS, Frame, check_starts, play
from newgameplus.games.record.doom_maps import find_map
from newgameplus.games.record.labelling import BEHAVIORS, LabelledSpan, action_spans, behavior_spans, behaviors
from newgameplus.games.record.video_writer import video_writer
from newgameplus.games.trajectories import SUFFIX, Trajectory, load_trajectory, save_trajectory

__all__ = ["LABELS", "Recording", "record_doom"]

LABELS = {"action": ("actions.csv", action_spans), "behavior": ("behaviors.csv", behavior_spans)}
"""The two ways to label an episode: the file each is written to, and what finds its spans in a trajectory."""

_ABOUT = "recording.json"
_SHORTEST_SECONDS = 2.0
_LONGEST_SECONDS = 6 * 3600.0  # what the engine said about each frame is held until an episode ends


@dataclass(frozen=True)
class Recording:
    """What a recording left.

    Attributes:
        folder: Where it is.
        episodes: Names of the video files, in order.
        clips: Number of labelled spans for each label of the chosen scheme.
        frames: Number of frames in all.
        settings: What it was made with.
    """

    folder: Path
    episodes: tuple[str, ...]
    clips: dict[str, int]
    frames: int
    settings: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the recording as plain data; ``recording.json`` holds the same but for the folder's own name."""
        return asdict(self) | {"folder": str(self.folder), "episodes": list(self.episodes)}


def record_doom(
    map: str,  # noqa: A002 - the user's word for it, here and on the command line
    episodes: int,
    out: str | Path,
    *,
    seed: int = 0,
    players: int = 1,
    labels: str = "action",
    seconds: float = 20.0,
    width: int = 320,
    height: int = 240,
    skill: int = 3,
    weapon: str | None = None,
    view: str = "first",
    resume: bool = False,
) -> Recording:
    """Record labelled episodes of Doom (ViZDoom with Freedoom), headless.

    A seeded player holds one of eight actions at a time. ``actions.csv`` labels each hold by its action (without its
    first frames, while the player still slides the old way); ``behaviors.csv`` labels what the game variables say the
    player is doing. Both are exact, none is guessed. ``labels.csv`` is the one of the two that was asked for. Every
    episode is a group of its own. The same arguments give the same files.

    Args:
        map: ``freedoom2:MAP02``, ``freedoom1:E1M1``, or a bundled scenario such as ``basic``.
        episodes: How many episodes (video files).
        out: Folder to write into: new, empty, or with ``resume`` one that holds part of this same recording.
        seed: Episode ``i`` depends on this and on ``i`` alone.
        players: 1 to 8; player 1 is ours, the others are the engine's own bots, and it is a deathmatch.
        labels: ``action`` or ``behavior``: what goes into ``labels.csv``.
        seconds: Length of each episode.
        width: Columns of the video.
        height: Rows of the video; 3/4 of the width.
        skill: 1 (few monsters) to 5.
        weapon: Weapon that each life begins with (``Pistol``, ``Shotgun``, ``Chaingun`` ...), ``random`` for one per
            episode; ``None`` for the map's own.
        view: ``first`` through the player's eyes, ``behind`` with the player in the picture.
        resume: Go on with a recording that was interrupted.

    Raises:
        RecorderError: An argument is out of range, the engine does not start, or ``out`` holds something already.
        MissingExtraError: ViZDoom is not installed.
        StorageError: The folder cannot be written.
    """
    where = find_map(map)
    settings: dict[str, Any] = {
        "engine": "vizdoom",
        "map": where.name,
        "seed": seed,
        "players": players,
        "labels": labels,
        "seconds": float(seconds),
        "width": width,
        "height": height,
        "skill": skill,
        "weapon": weapon,
        "view": view,
    }
    _check(episodes, settings)
    check_starts(where, players)
    folder = Path(out)
    done = _already_there(folder, settings, resume)
    frames = round(seconds * FRAME_RATE)
    recorded = [(name, load_trajectory(_trajectory_path(folder / name))) for name in done[:episodes]]
    recording = _summary(folder, recorded, settings)
    with progress.task(f"recording {where.name}", total=episodes, unit="episodes", done=len(recorded)) as task:
        for number in range(len(recorded), episodes):
            name = f"episode-{number:03d}.mp4"
            about = settings | {"episode": number, "seed": seed}
            played = play(
                where,
                seed=_episode_seed(seed, number),
                frames=frames,
                size=(width, height),
                players=players,
                skill=skill,
                weapon=weapon,
                view=view,
            )
            recorded.append((name, _record_episode(folder / name, played, about)))
            recording = _summary(folder, recorded, settings)
            _write_tables(folder, recorded, labels)
            about_all = recording.as_dict()
            del about_all["folder"]  # the folder may be moved, and equal recordings should be equal files
            write_json(folder / _ABOUT, about_all)
            task.advance(1, f"{sum(recording.clips.values())} clips")
    return recording


def _check(episodes: int, settings: dict[str, Any]) -> None:
    if episodes < 1:
        raise RecorderError(f"{episodes} episodes", source="episodes", remedy="take at least 1")
    if settings["seed"] < 0:
        raise RecorderError(f"seed {settings['seed']}", source="seed", remedy="take 0 or more")
    if not 1 <= settings["players"] <= 8:
        raise RecorderError(f"{settings['players']} players", source="players", remedy="take 1 to 8")
    if not 1 <= settings["skill"] <= 5:
        raise RecorderError(f"skill {settings['skill']}", source="skill", remedy="take 1 to 5")
    if not settings["seconds"] >= _SHORTEST_SECONDS:
        remedy = f"take at least {_SHORTEST_SECONDS:g}: shorter ones hold no labelled clip"
        raise RecorderError(f"episodes of {settings['seconds']} seconds", source="seconds", remedy=remedy)
    if settings["seconds"] > _LONGEST_SECONDS:
        remedy = f"take at most {_LONGEST_SECONDS:g}, and more episodes"
        raise RecorderError(f"episodes of {settings['seconds']:g} seconds", source="seconds", remedy=remedy)
    if settings["labels"] not in LABELS:
        remedy = f"take {' or '.join(LABELS)}"
        raise RecorderError(f"there are no labels {settings['labels']!r}", source="labels", remedy=remedy)
    if settings["view"] not in VIEWS:
        raise RecorderError(
            f"there is no view {settings['view']!r}", source="view", remedy=f"take {' or '.join(VIEWS)}"
        )
    size = (settings["width"], settings["height"])
    if size not in RESOLUTIONS:
        known = ", ".join(f"{w}x{h}" for w, h in RESOLUTIONS)
        raise RecorderError(
            f"the engine cannot draw {size[0]}x{size[1]}", source="width, height", remedy=f"take one of {known}"
        )


def _episode_seed(seed: int, number: int) -> int:
    """Give every episode a seed of its own that does not meet those of neighbouring recordings."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] % (1 << 31))


def _already_there(folder: Path, settings: dict[str, Any], resume: bool) -> list[str]:
    """Return the episodes that are finished; refuse a folder whose content is not ours to add to."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return []
    about = folder / _ABOUT
    if not about.is_file():
        if resume and folder.is_dir() and all(path.name.startswith(("episode-000", ".")) for path in folder.iterdir()):
            return []  # interrupted in its very first episode
        raise RecorderError("the folder is not empty", source=str(folder), remedy="choose a new folder")
    try:
        content = json.loads(about.read_text("utf-8"))
        before, done = content["settings"], [str(name) for name in content["episodes"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RecorderError(f"cannot be read ({error})", source=str(about), remedy="choose a new folder") from error
    if not resume:
        remedy = "choose a new folder, or go on with this one by --resume"
        raise RecorderError("a recording is there already and is not overwritten", source=str(folder), remedy=remedy)
    different = [
        f"{key}: {before.get(key)!r} then, {value!r} now" for key, value in settings.items() if before.get(key) != value
    ]
    if different:
        remedy = "repeat the first command's settings, or choose a new folder"
        raise RecorderError(f"made with other settings ({'; '.join(different)})", source=str(folder), remedy=remedy)
    return done


def _trajectory_path(video: Path) -> Path:
    return video.with_name(video.stem + SUFFIX)


def _record_episode(path: Path, played: Iterable[Frame], about: dict[str, Any]) -> Trajectory:
    """Write one video and its trajectory, each atomically."""
    rows = []
    with (
        atomic_path(path) as temporary,
        video_writer(temporary, frame_rate=FRAME_RATE, width=about["width"], height=about["height"]) as video,
    ):
        for frame in played:
            video.add(frame.picture)
            rows.append(frame)
    trajectory = to_trajectory(rows, about)
    save_trajectory(_trajectory_path(path), trajectory)
    return trajectory


def to_trajectory(frames: list[Frame], about: dict[str, Any]) -> Trajectory:
    """Put what the engine said about the frames of an episode into arrays, and find the behaviors in it."""
    values = np.array([frame.variables for frame in frames], dtype=np.float32)
    buttons = np.array([frame.buttons for frame in frames], dtype=np.uint8)
    cuts = np.array([frame.cut for frame in frames], dtype=np.bool_)
    named = {name: values[:, column] for column, name in enumerate(VARIABLES)}
    for total, slot in (("AMMO", "AMMO"), ("WEAPONS", "WEAPON")):
        named[total] = np.sum([named[f"{slot}{number}"] for number in range(10)], axis=0, dtype=np.float32)
    named["TRIGGER"] = buttons[:, BUTTONS.index("ATTACK")].astype(np.float32)
    return Trajectory(
        frame_rate=FRAME_RATE,
        button_names=BUTTONS,
        buttons=buttons,
        action_names=tuple(ACTIONS),
        actions=np.array([frame.action for frame in frames], dtype=np.int16),
        behavior_names=BEHAVIORS,
        behaviors=behaviors(named, cuts),
        variable_names=VARIABLES,
        variables=values,
        cuts=cuts,
        metadata=about,
    )


def _write_tables(folder: Path, recorded: list[tuple[str, Trajectory]], labels: str) -> None:
    for scheme, (name, spans_of) in LABELS.items():
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["path", "label", "start", "end", "group"])
        for video, trajectory in recorded:
            writer.writerows(_row(video, span) for span in spans_of(trajectory))
        write_text(folder / name, table.getvalue())
        if scheme == labels:
            write_text(folder / "labels.csv", table.getvalue())


def _row(video: str, span: LabelledSpan) -> list[str]:
    # Six digits: a time rounds to its own frame and to no other one.
    return [video, span.label, f"{span.first / FRAME_RATE:.6f}", f"{span.end / FRAME_RATE:.6f}", Path(video).stem]


def _summary(folder: Path, recorded: list[tuple[str, Trajectory]], settings: dict[str, Any]) -> Recording:
    spans_of = LABELS[settings["labels"]][1]
    counts = Counter(span.label for _, trajectory in recorded for span in spans_of(trajectory))
    frames = sum(trajectory.frames for _, trajectory in recorded)
    return Recording(folder, tuple(name for name, _ in recorded), dict(sorted(counts.items())), frames, settings)
