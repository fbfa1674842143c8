"""Writing episodes as a data set that Minari reads (https://minari.farama.org), with what else we know beside it.

A recording is a folder with ``data/main_data.hdf5`` and ``data/metadata.json``. What a policy sees is what is stored:
channels first, texts as tokens. A new recording is written beside its place and then renamed; when episodes are added,
the new file of episodes comes first and the metadata that count them last, so that every moment between is a whole data
set: readers take as many episodes as the metadata say.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.files import storage_errors, write_json
from newgameplus.games.demonstration_formats.minari import DATA, EPISODES, FORMAT, KEY, MASKS, METADATA, import_h5py
from newgameplus.games.demonstration_formats.minari_spaces import actions_as_space, observations_as_space
from newgameplus.games.episodes import Episode
from newgameplus.games.record.guarded_file import GuardedFile
from newgameplus.spaces import SINGLE, ActionSpec, ObservationSpec

__all__ = ["RecordingWriter"]

_MINARI = "0.5.0"  # the first version whose readers take what is written here
_COMPRESSION: dict[str, Any] = {"compression": "gzip", "compression_opts": 4, "shuffle": True}


class RecordingWriter:
    """A recording that is being written; it is there when the block ends without an error, and not before.

    Args:
        folder: Where the recording shall be. It must not exist, or be a recording with ``append``.
        observations: What is seen.
        actions: What can be done.
        environment: Game, as it was asked for.
        about: Anything else worth keeping, as plain JSON data.
        policy: Who plays.
        environment_spec: The game as Gymnasium writes it down (JSON), for Minari's readers; empty if there is none.
        append: Add to the recording that is there, if there is one.

    Attributes:
        before: Episodes that were there before.

    Raises:
        DataError: The folder exists (without ``append``), is no recording of ours, or of other spaces.
        MissingExtraError: h5py is not installed.
        StorageError: The folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        observations: ObservationSpec,
        actions: ActionSpec,
        *,
        environment: str = "",
        about: Mapping[str, Any] | None = None,
        policy: str = "",
        environment_spec: str = "",
        append: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.observations, self.actions = observations, actions
        self._h5py = import_h5py()
        self._about = dict(about or {})
        self._metadata: dict[str, Any] = {
            "total_episodes": 0,
            "total_steps": 0,
            "data_format": "hdf5",
            "jpeg_encoding": False,
            "observation_space": json.dumps(observations_as_space(observations)),
            "action_space": json.dumps(actions_as_space(actions)),
            "dataset_id": _dataset_id(self.folder.name),
            "minari_version": _MINARI,
            "algorithm_name": policy,
            "description": "Recorded with New Game+. Pictures have their channels first, texts are tokens.",
        }
        if environment_spec:
            self._metadata["env_spec"] = environment_spec
        self._metadata[KEY] = {
            "format": FORMAT,
            "environment": environment,
            "observations": observations.as_dict(),
            "actions": actions.as_dict(),
            "recordings": [],
        }
        self._adding = self.folder.exists() or self.folder.is_symlink()
        if self._adding:
            self._metadata = self._there(append)
        self.before: int = self._metadata["total_episodes"]
        self._file: Any = None
        self._guard: GuardedFile | None = None
        self._temporary = self.folder.with_name(f".{self.folder.name}.{uuid.uuid4().hex[:8]}.partial")
        if self._adding:
            self._temporary = self.folder / DATA / f".{EPISODES}.{uuid.uuid4().hex[:8]}.partial"

    def _there(self, append: bool) -> dict[str, Any]:
        """Return the metadata of the recording that is there, made sure that episodes of ours fit into it."""
        source = str(self.folder)
        if not append:
            remedy = "choose another folder, or add to it (append)"
            raise DataError(
                "there is something already, and recordings are never overwritten", source=source, remedy=remedy
            )
        try:
            metadata = json.loads((self.folder / DATA / METADATA).read_text(encoding="utf-8"))
            ours = metadata[KEY]
            found = ObservationSpec.from_dict(ours["observations"]), ActionSpec.from_dict(ours["actions"])
            usable = ours["format"] == FORMAT and isinstance(metadata["total_episodes"], int)
        except (OSError, ValueError, KeyError, TypeError):
            usable = False
        if not usable:
            raise DataError(
                "this is no recording that could be added to", source=source, remedy="choose another folder"
            )
        if found != (self.observations, self.actions):
            remedy = "record into another folder"
            raise DataError("the recording that is there is of other spaces", source=source, remedy=remedy)
        return dict(metadata)

    def __enter__(self) -> RecordingWriter:
        with storage_errors(self.folder):
            if self._adding:
                shutil.copyfile(self.folder / DATA / EPISODES, self._temporary)
                self._file = self._open(self._temporary, "r+")
                for name in [name for name in self._file if int(name.rpartition("_")[2]) >= self.before]:
                    del self._file[name]  # left by a recording that was killed between its two files
            else:
                self.folder.parent.mkdir(parents=True, exist_ok=True)
                (self._temporary / DATA).mkdir(parents=True)
                self._file = self._open(self._temporary / DATA / EPISODES, "w")
        return self

    def _open(self, path: Path, mode: str) -> Any:
        self._guard = GuardedFile(path, fresh=mode == "w")
        return self._h5py.File(self._guard, mode, track_order=True)

    def add(self, episode: Episode, *, seed: int | None = None, about: Mapping[str, Any] | None = None) -> None:
        """Write one episode.

        Args:
            episode: Of the spaces of the recording.
            seed: Seed that its game began with, if it had one of its own.
            about: Numbers and texts to keep as attributes of the episode.

        Raises:
            DataError: The episode is of other shapes.
            StorageError: It cannot be written.
        """
        self._check(episode)
        number = self._metadata["total_episodes"]
        length = len(episode)
        group = self._file.create_group(f"episode_{number}", track_order=True)
        group.attrs.update({"id": number, "total_steps": length, "return": episode.total, **(about or {})})
        if seed is not None:
            group.attrs["seed"] = seed
        if episode.success is not None:
            group.attrs["success"] = bool(episode.success)
        if episode.group:
            group.attrs["group"] = episode.group
        for name, rows in episode.observations.items():
            self._put(group, "observations" if name == SINGLE else f"observations/{name}", rows)
        actions = episode.actions.astype(np.int8) if self.actions.kind == "binary" else episode.actions
        self._put(group, "actions", actions)
        self._put(group, "rewards", episode.rewards.astype(np.float32))
        ended = np.arange(length) == length - 1
        self._put(group, "terminations", ended & episode.terminated)
        self._put(group, "truncations", ended & (not episode.terminated))
        if episode.masks is not None:
            last = np.ones_like(episode.masks[:1])
            self._put(group, f"infos/{MASKS}", np.concatenate([episode.masks, last]))
        self._file.flush()
        self._raise_errors()
        self._metadata["total_episodes"] += 1
        self._metadata["total_steps"] += length

    def _put(self, group: Any, name: str, rows: Any) -> None:
        packed = _COMPRESSION if rows.nbytes > 1024 else {}
        group.create_dataset(name, data=rows, chunks=True, maxshape=(None, *rows.shape[1:]), **packed)

    def _check(self, episode: Episode) -> None:
        length = len(episode)
        wanted = {part.name: (length + 1, *part.shape) for part in self.observations.parts}
        found = {name: rows.shape for name, rows in episode.observations.items()}
        problems = []
        if found != wanted:
            problems.append(Problem(f"an episode has observations {found}, not {wanted}", str(self.folder)))
        if episode.actions.shape != (length, *self.actions.shape):
            message = f"an episode of {length} steps has actions of shape {episode.actions.shape}"
            problems.append(Problem(message, str(self.folder)))
        if not length:
            problems.append(Problem("an episode has no steps", str(self.folder)))
        raise_problems(problems, DataError, "the episode cannot be recorded")

    def _raise_errors(self) -> None:
        """Raise what went wrong while HDF5 was writing."""
        if self._guard is not None and self._guard.error is not None:
            with storage_errors(self.folder):
                raise self._guard.error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._file.close()
                self._raise_errors()
                self._commit()
        finally:
            self._file.close()
            if self._guard is not None:
                self._guard.close()
            with contextlib.suppress(OSError):
                shutil.rmtree(self._temporary) if self._temporary.is_dir() else self._temporary.unlink(missing_ok=True)

    def _commit(self) -> None:
        added = self._metadata["total_episodes"] - self.before
        if not added:
            return
        self._metadata[KEY]["recordings"].append({"episodes": added, **self._about})
        episodes = self._temporary if self._adding else self._temporary / DATA / EPISODES
        self._metadata["dataset_size"] = round(episodes.stat().st_size / 1e6, 1)
        with storage_errors(self.folder):
            with episodes.open("rb+") as handle:
                os.fsync(handle.fileno())
            if self._adding:
                os.replace(episodes, self.folder / DATA / EPISODES)
                write_json(self.folder / DATA / METADATA, self._metadata)
            else:
                write_json(self._temporary / DATA / METADATA, self._metadata)
                if self.folder.exists():  # made by someone else meanwhile; a rename would replace an empty one
                    raise DataError(
                        "there is something by now", source=str(self.folder), remedy="choose another folder"
                    )
                os.rename(self._temporary, self.folder)


def _dataset_id(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "recording"
    return plain if re.fullmatch(r".+-v\d+", plain) else f"{plain}-v0"
