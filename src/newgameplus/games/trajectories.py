"""What an engine knows about every frame of a recorded episode: buttons, variables and the labels that follow."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.files import atomic_path

__all__ = ["SUFFIX", "Trajectory", "load_trajectory", "save_trajectory"]

SUFFIX = ".trajectory.npz"
_FORMAT = 1
_ARRAYS = ("buttons", "actions", "behaviors", "variables", "cuts")


@dataclass(frozen=True)
class Trajectory:
    """One episode, a row per frame of its video: row ``i`` belongs to the frame shown from ``i / frame_rate`` seconds.

    Attributes:
        frame_rate: Frames per second of the video, and rows per second here.
        button_names: Names of the columns of ``buttons``.
        buttons: uint8 [frames, buttons]; 1 where a button was held on the way from the frame before to this one.
        action_names: Names that ``actions`` counts in.
        actions: int16 [frames]; which action was held on the way to this frame; -1 where none was (dead, just born).
        behavior_names: Names that ``behaviors`` counts in.
        behaviors: int16 [frames]; what the variables say the player is doing; -1 where they do not say.
        variable_names: Names of the columns of ``variables``.
        variables: float32 [frames, variables]; the engine's game variables as of this frame.
        cuts: bool [frames]; true where this frame does not continue the one before (a new life or a new map).
        metadata: Anything else worth keeping, as plain JSON data.
    """

    frame_rate: float
    button_names: tuple[str, ...]
    buttons: npt.NDArray[np.uint8]
    action_names: tuple[str, ...]
    actions: npt.NDArray[np.int16]
    behavior_names: tuple[str, ...]
    behaviors: npt.NDArray[np.int16]
    variable_names: tuple[str, ...]
    variables: npt.NDArray[np.float32]
    cuts: npt.NDArray[np.bool_]
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.actions)

    def variable(self, name: str) -> npt.NDArray[np.float32]:
        """Return float32 [frames]: one game variable over time.

        Raises:
            DataError: The trajectory has no variable of that name.
        """
        if name not in self.variable_names:
            known = ", ".join(self.variable_names)
            raise DataError(f"the trajectory has no variable {name!r}", remedy=f"it has {known}")
        return self.variables[:, self.variable_names.index(name)]


def save_trajectory(path: Path, trajectory: Trajectory) -> None:
    """Write a trajectory atomically as a compressed NumPy archive without pickles; equal content gives equal bytes.

    Raises:
        StorageError: The file cannot be written.
    """
    about = {
        "format": _FORMAT,
        "frame_rate": trajectory.frame_rate,
        "button_names": list(trajectory.button_names),
        "action_names": list(trajectory.action_names),
        "behavior_names": list(trajectory.behavior_names),
        "variable_names": list(trajectory.variable_names),
        "metadata": trajectory.metadata,
    }
    arrays = {name: getattr(trajectory, name) for name in _ARRAYS}
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, about=np.array(json.dumps(about, sort_keys=True)), **arrays)


def load_trajectory(path: str | Path) -> Trajectory:
    """Read what :func:`save_trajectory` wrote.

    Raises:
        DataError: The file is missing, damaged, of another format, or its arrays disagree.
    """
    path = Path(path)
    remedy = "record the episode again"
    if not path.is_file():
        raise DataError("there is no such trajectory file", source=str(path), remedy=remedy)
    try:
        # Opened here, not by NumPy: it would leave a damaged file open.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            about = json.loads(str(archive["about"]))
            arrays = {name: archive[name] for name in _ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"this is no readable trajectory ({error})", source=str(path), remedy=remedy) from error
    if about.get("format") != _FORMAT:
        raise DataError(f"trajectory format {about.get('format')!r} is not {_FORMAT}", source=str(path), remedy=remedy)
    trajectory = Trajectory(
        frame_rate=float(about["frame_rate"]),
        button_names=tuple(about["button_names"]),
        action_names=tuple(about["action_names"]),
        behavior_names=tuple(about["behavior_names"]),
        variable_names=tuple(about["variable_names"]),
        metadata=about["metadata"],
        **arrays,
    )
    lengths = {name: len(array) for name, array in arrays.items()}
    widths = (trajectory.buttons.shape[1:], trajectory.variables.shape[1:])
    if len(set(lengths.values())) != 1 or widths != ((len(about["button_names"]),), (len(about["variable_names"]),)):
        raise DataError(f"the arrays disagree in length or width: {lengths}", source=str(path), remedy=remedy)
    return trajectory
