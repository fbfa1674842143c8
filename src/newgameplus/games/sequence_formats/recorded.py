"""Sequences as ``ngp record doom`` writes them beside each video: the engine's variables and the buttons held."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from newgameplus.games.sequence_formats.contract import Table, finite_table
from newgameplus.games.trajectories import load_trajectory

__all__ = ["read"]


def read(path: Path) -> Table:
    """Read a trajectory: its variables by their names, then its buttons as ``button NAME`` (0 or 1).

    Raises:
        DataError: The file is missing, damaged or holds values that are no finite numbers.
    """
    recorded = load_trajectory(path)
    channels = [*recorded.variable_names, *(f"button {name}" for name in recorded.button_names)]
    values = np.concatenate([recorded.variables, recorded.buttons], axis=1, dtype=np.float64)
    return finite_table(path, channels, values, rate=recorded.frame_rate)
