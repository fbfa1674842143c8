"""The order in which a level is read and made: column by column from the left, or row by row from the top."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Order", "from_scan", "scan_cell", "to_scan"]

Order = Literal["columns", "rows"]


def to_scan(tiles: npt.NDArray[np.int32], order: Order) -> npt.NDArray[np.int32]:
    """Return int32 [lines, cells]: columns read upwards, or rows read to the right."""
    return np.ascontiguousarray(tiles[::-1].T if order == "columns" else tiles)


def from_scan(scan: npt.NDArray[np.int32], order: Order) -> npt.NDArray[np.int32]:
    """Undo :func:`to_scan`: return int32 [height, width]."""
    return np.ascontiguousarray(scan.T[::-1] if order == "columns" else scan)


def scan_cell(row: int, column: int, height: int, order: Order) -> tuple[int, int]:
    """Return the line and the place in it of a cell of a level."""
    return (column, height - 1 - row) if order == "columns" else (row, column)
