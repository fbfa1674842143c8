"""The eight data sets of ``choose.py``: other maps, cameras, tasks, clip lengths and games, recorded and labelled here.

Each is a folder with videos and a label file, as a user has them; every episode is a group. About 128 labels are to
train on and the clips of whole other episodes to test on.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine_clips import action_names, play_game
from newgameplus.files import atomic_path, write_text
from newgameplus.games.record.acting import ACTIONS
from newgameplus.games.record.doom import record_doom
from newgameplus.games.record.doom_engine import FRAME_RATE
from newgameplus.games.record.video_writer import even_frame, video_writer
from newgameplus.games.trajectories import SUFFIX, load_trajectory
from newgameplus.recipe import DataSettings

__all__ = ["DATA_SETS", "DataSet", "prepare"]

_LABELS, _TEST = 128, 0.6
_GAME_RATE, _SHOWN = 24, 4  # a picture of a game that goes by steps is shown for 4 frames: 6 steps a second
_WINDOW = 1.2


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Attributes:
        name: For tables and folders.
        where: Map of Doom, or id of a game.
        episodes: How many are recorded.
        view: Camera; empty for games that are no Doom.
        labels: Label file.
    """

    name: str
    where: str
    episodes: int
    view: str = ""
    labels: str = "labels.csv"

    def folder(self, out: Path) -> Path:
        """Return where its videos lie."""
        return out / "clips" / f"{self.view}-{self.where}".strip("-").replace(":", "-").replace("/", "-")

    def settings(self, out: Path) -> DataSettings:
        """Return what a recipe says about it."""
        return DataSettings(path=str(self.folder(out)), labels=self.labels, test=_TEST, max_labels=_LABELS,
                            duplicates="drop")  # fmt: skip


DATA_SETS = (
    DataSet("behind MAP02, actions", "freedoom2:MAP02", 12, "behind", "actions.csv"),
    DataSet("behind MAP07, actions", "freedoom2:MAP07", 12, "behind", "actions.csv"),
    DataSet("first MAP05, actions", "freedoom2:MAP05", 12, "first", "actions.csv"),
    DataSet("first MAP02, behaviors", "freedoom2:MAP02", 12, "first", "behaviors.csv"),
    DataSet("first MAP07, long clips", "freedoom2:MAP07", 20, "first", "long.csv"),
    DataSet("DoorKey, expert", "MiniGrid-DoorKey-8x8-v0", 26),
    DataSet("Asterix, random", "MinAtar/Asterix-v1", 14),
    DataSet("arena, random", "ngp/Arena-v0", 40),
)


def prepare(data: DataSet, out: Path, episodes: int | None = None) -> Path:
    """Record a data set unless it is there, and return its label file."""
    folder = data.folder(out)
    path = folder / data.labels
    if path.exists():
        return path
    if data.view:
        record_doom(data.where, episodes or data.episodes, folder, seed=777, view=data.view, resume=True)
        if data.labels == "long.csv":
            _write(path, _long_spans(folder))
    else:
        _write(path, _record_game(data, folder, episodes or data.episodes))
    return path


def _long_spans(folder: Path) -> Iterable[list[str]]:
    """Cut episodes into equal windows; each is named by the action held longest in it, if that is for two fifths."""
    names = list(ACTIONS)
    length = round(_WINDOW * FRAME_RATE)
    for video in sorted(folder.glob("*.mp4")):
        actions = load_trajectory(video.with_name(video.stem + SUFFIX)).actions
        for start in range(0, len(actions) - length + 1, length):
            action, count = Counter(actions[start : start + length].tolist()).most_common(1)[0]
            if action >= 0 and count >= 0.4 * length:
                begin, end = start / FRAME_RATE, (start + length) / FRAME_RATE
                yield [video.name, names[action], f"{begin:.6f}", f"{end:.6f}", video.stem]


def _record_game(data: DataSet, folder: Path, episodes: int) -> Iterable[list[str]]:
    """Write a video of each episode; half a step before and after each change of picture shows the action between."""
    folder.mkdir(parents=True, exist_ok=True)
    noise, names = (0.2 if data.where.startswith("MiniGrid") else 1.0), action_names(data.where)
    for episode in range(episodes):
        name = f"episode-{episode:03d}.mp4"
        played = [(even_frame(picture), act) for picture, act, _ in play_game(data.where, 900 + episode, noise, 40)]
        height, width = played[0][0].shape[:2]
        with (
            atomic_path(folder / name) as temporary,
            video_writer(temporary, frame_rate=_GAME_RATE, width=width, height=height) as video,
        ):
            for picture, _ in played:
                for _ in range(_SHOWN):
                    video.add(picture)
        for step, (_, action) in enumerate(played[:-1]):
            start, end = (np.array([step + 0.5, step + 1.5]) * _SHOWN / _GAME_RATE).tolist()
            if names[action] != "drop":
                yield [name, names[action], f"{start:.6f}", f"{end:.6f}", Path(name).stem]


def _write(path: Path, rows: Iterable[list[str]]) -> None:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["path", "label", "start", "end", "group"])
    writer.writerows(rows)
    write_text(path, table.getvalue())
