"""Minari data sets (https://minari.farama.org) kept as HDF5: other people's, and our own recordings, which are such.

Our own name the spaces of a policy in their metadata; others name those of a Gymnasium environment, which are
translated as an environment's are. Arrays are read as they stand, and fitted to the game's spaces later.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from newgameplus.errors import DataError, MissingExtraError
from newgameplus.games.demonstration_formats.contract import DemonstrationFile, Outline, RawEpisode, check_size
from newgameplus.games.demonstration_formats.minari_spaces import (
    describe_spaces,
    flatten,
    inner,
    is_picture,
    joined,
    space_of,
    start_of,
)
from newgameplus.recipe_problems import did_you_mean
from newgameplus.spaces import ActionSpec, ObservationSpec

__all__ = [
    "DATA",
    "EPISODES",
    "FORMAT",
    "KEY",
    "MASKS",
    "METADATA",
    "NAME",
    "import_h5py",
    "local_set",
    "open",
    "sniff",
]

NAME = "Minari data set, or our recording"
DATA, EPISODES, METADATA = "data", "main_data.hdf5", "metadata.json"
KEY = "newgameplus"
"""Key of the metadata under which stands what Minari does not know."""
FORMAT = 1
"""Version of what stands there."""
MASKS = "action_mask"
"""Name of the masks among an episode's ``infos``: [length + 1, width], the last row of no meaning."""

_SUCCESS = ("success", "is_success")
_ARRAYS = ("observations", "actions", "rewards", "terminations", "truncations")
_REMEDY = "download or record it again"
_LARGEST_METADATA = 1 << 28
_DAMAGE = (OSError, RuntimeError, KeyError, TypeError, ValueError)


def import_h5py() -> Any:
    """Import h5py.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        why = "" if isinstance(error, ModuleNotFoundError) and error.name == "h5py" else str(error)
        raise MissingExtraError("h5py", "minari", why) from error
    return h5py


def sniff(path: Path) -> bool:
    """Say whether a folder (or the file of episodes in it) is a Minari data set."""
    return _data_folder(path) is not None


def _data_folder(path: Path) -> Path | None:
    if path.name in (EPISODES, METADATA) and path.is_file():
        path = path.parent
    for folder in (path, path / DATA):
        if (folder / METADATA).is_file():
            return folder
    return None


def local_set(name: str) -> Path | None:
    """Return the folder of a data set that Minari has downloaded to this machine, by its id."""
    root = os.environ.get("MINARI_DATASETS_PATH")
    base = Path(root) if root else Path.home() / ".minari" / "datasets"
    folder = base / name
    return folder if name and ".." not in Path(name).parts and (folder / DATA / METADATA).is_file() else None


def open(path: Path) -> DemonstrationFile:  # noqa: A001 - every format has it
    """Open a data set.

    Raises:
        DataError: It is damaged, or kept in another way than HDF5.
        MissingExtraError: h5py is not installed; or Gymnasium is not, for a data set that is not ours.
    """
    folder = _data_folder(path)
    if folder is None:
        raise DataError("this is no Minari data set", source=str(path), remedy=f"it has {DATA}/{METADATA}")
    return _MinariFolder(folder)


class _MinariFolder(DemonstrationFile):
    """An open data set."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._metadata = _read_metadata(folder / METADATA)
        kept = self._metadata.get("data_format", "hdf5")
        if kept != "hdf5":
            remedy = "make an HDF5 data set of it with Minari (data_format='hdf5')"
            raise DataError(f"kept as {kept!r}, not HDF5", source=str(folder), remedy=remedy)
        count = self._metadata.get("total_episodes")
        if not isinstance(count, int) or count < 0:
            raise DataError(f"total_episodes is {count!r}", source=str(folder / METADATA), remedy=_REMEDY)
        self._count = count
        self._seen_space: dict[str, Any] | None = None
        self._done_space: dict[str, Any] | None = None
        self._ours = KEY in self._metadata
        self.loose = not self._ours
        if self._ours:
            self._take_ours(self._metadata[KEY])
        else:
            self._take_foreign()
        self._place = folder.parent if folder.name == DATA else folder
        self._file = self._open(folder / EPISODES)

    def _take_ours(self, ours: Any) -> None:
        source = str(self._folder / METADATA)
        try:
            version = ours["format"]
            if version != FORMAT:
                message = f"a recording of format {version!r}, not {FORMAT}"
                raise DataError(message, source=source, remedy="update New Game+, or record again")
            self.observations = ObservationSpec.from_dict(ours["observations"])
            self.actions = ActionSpec.from_dict(ours["actions"])
            self.environment = str(ours.get("environment", ""))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            message = f"what our recordings say is damaged ({type(error).__name__}: {error})"
            raise DataError(message, source=source, remedy=_REMEDY) from error

    def _take_foreign(self) -> None:
        source = str(self._folder / METADATA)
        self.environment = _environment(self._metadata)
        if "observation_space" not in self._metadata or "action_space" not in self._metadata:
            return  # old data sets leave that to the environment
        self._seen_space = space_of(self._metadata["observation_space"], source)
        self._done_space = space_of(self._metadata["action_space"], source)
        self.observations, self.actions = describe_spaces(self._seen_space, self._done_space, source)

    def _open(self, path: Path) -> Any:
        h5py = import_h5py()
        if not path.is_file():
            raise DataError("the file of episodes is missing", source=str(path), remedy=_REMEDY)
        try:
            return h5py.File(str(path), "r")
        except _DAMAGE as error:
            message = f"no readable HDF5 file: empty, cut off or damaged ({error})"
            raise DataError(message, source=str(path), remedy=_REMEDY) from error

    def close(self) -> None:
        self._file.close()

    def _group(self, number: int) -> Any:
        name = f"episode_{number}"
        try:
            group = self._file.get(name)
            keys = list(group) if hasattr(group, "keys") else None
            count = len(self._file)
        except _DAMAGE as error:
            raise DataError(f"damaged ({error})", source=self._where(number), remedy=_REMEDY) from error
        if keys is None:
            message = f"{name} is missing: the file has {count} of {self._count} episodes"
            raise DataError(message, source=str(self._folder / EPISODES), remedy=_REMEDY)
        missing = [key for key in _ARRAYS if key not in keys]
        if missing:
            hints = "; ".join(did_you_mean(key, keys).strip() for key in missing)
            message = f"the episode has no {', '.join(missing)}; it has {', '.join(keys) or 'nothing'}"
            raise DataError(message, source=self._where(number), remedy=hints.strip("; ") or _REMEDY)
        return group

    def _where(self, number: int) -> str:
        return f"{self._place}: episode {number}"

    def outlines(self) -> tuple[Outline, ...]:
        return tuple(self._outline(number) for number in range(self._count))

    def _outline(self, number: int) -> Outline:
        try:
            group = self._group(number)
            rewards = self._array(group["rewards"], number)
            return Outline(self._where(number), len(rewards), float(rewards.sum(dtype=np.float64)), _success(group))
        except (DataError, *_DAMAGE):
            return Outline(self._where(number), 0, float("nan"))  # reading it will say why

    def _array(self, dataset: Any, number: int) -> npt.NDArray[Any]:
        if not hasattr(dataset, "shape") or dataset.shape is None or dataset.shape == ():
            raise DataError("an array is missing or no array", source=self._where(number), remedy=_REMEDY)
        check_size(dataset.shape, dataset.dtype.itemsize, self._where(number))
        return np.asarray(dataset[()])

    def read(self, number: int) -> RawEpisode:
        group = self._group(number)
        try:
            seen = self._tree(group["observations"], self._seen_space, number)
            done = self._tree(group["actions"], self._done_space, number)
            rewards, terminations = (self._array(group[key], number) for key in ("rewards", "terminations"))
            success, masks = _success(group), self._masks(group, number)
            within = str(group.attrs.get("group", ""))
        except _DAMAGE as error:
            raise DataError(f"damaged ({error})", source=self._where(number), remedy=_REMEDY) from error
        ended = bool(len(terminations) and terminations[-1])
        observations = flatten(seen, "/" if self._ours else ".")
        actions = joined(done, self._where(number))
        place = self._where(number)
        return RawEpisode(
            observations, actions, rewards, ended, success, within, masks, translated=self._ours, place=place
        )

    def _masks(self, group: Any, number: int) -> npt.NDArray[np.bool_] | None:
        masks = group.get(f"infos/{MASKS}")
        return None if masks is None else self._array(masks, number)[:-1].astype(bool)

    def _tree(self, node: Any, space: Any, number: int) -> Any:
        """Read arrays in dictionaries as they are in the file, but choices counted from 0 and pictures unpacked."""
        if hasattr(node, "keys"):
            return {name.removeprefix("_index_"): self._tree(node[name], inner(space, name), number) for name in node}
        rows = self._array(node, number)
        if rows.dtype == object and len(rows) and isinstance(rows[0], bytes):
            return np.array([row.decode("utf-8", "replace") for row in rows])
        shape = tuple((space or {}).get("shape") or ())
        if self._metadata.get("jpeg_encoding", True) and is_picture(space) and rows.shape[1:] != shape:
            return _unpacked(rows, shape, self._where(number))
        return rows if self._ours else rows - start if (start := start_of(space)) is not None else rows


def _unpacked(rows: npt.NDArray[Any], shape: tuple[int, ...], place: str) -> npt.NDArray[np.uint8]:
    """Return pictures that Minari packed as JPEG."""
    check_size((len(rows), *shape), 1, place)
    pictures = np.zeros((len(rows), *shape), np.uint8)
    for number, row in enumerate(rows):
        with Image.open(io.BytesIO(np.asarray(row, np.uint8).tobytes()), formats=["JPEG"]) as picture:
            pictures[number] = np.asarray(picture)
    return pictures


def _read_metadata(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_METADATA:
            raise DataError("too large for metadata", source=str(path), remedy=_REMEDY)
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"no readable JSON ({error})", source=str(path), remedy=_REMEDY) from error
    if not isinstance(metadata, dict):
        raise DataError("no metadata of a data set", source=str(path), remedy=_REMEDY)
    return metadata


def _environment(metadata: Mapping[str, Any]) -> str:
    try:
        return str(json.loads(metadata["env_spec"])["id"])
    except (KeyError, TypeError, ValueError):
        return ""


def _success(group: Any) -> bool | None:
    if "success" in group.attrs:
        return bool(group.attrs["success"])
    for name in _SUCCESS:
        said = group.get(f"infos/{name}")
        if said is not None and getattr(said, "shape", None) and said.ndim == 1 and len(said):
            return bool(said[-1])
    return None
