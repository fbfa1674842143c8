"""What every format of sequences gives: a table of finite numbers, a row for each step of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, Problem
from newgameplus.games.clips import raise_data_problems

__all__ = ["Table", "finite_table"]

#: Values beyond this cannot be squared in float32 and averaged any more.
_LARGEST = 1e15


@dataclass(frozen=True)
class Table:
    """Numbers over time.

    Attributes:
        channels: Names of the columns.
        values: float32 [steps, channels], finite.
        rate: Steps per second, if the file says it; ``None`` if it does not.
    """

    channels: tuple[str, ...]
    values: npt.NDArray[np.float32]
    rate: float | None = None


def finite_table(
    path: Path,
    channels: Sequence[str],
    values: npt.NDArray[np.float64],
    lines: Sequence[int] | None = None,
    rate: float | None = None,
) -> Table:
    """Return a table after making sure that there is something in it, and nothing that is no number.

    Args:
        path: The file, for messages.
        channels: Names of the columns.
        values: float64 [steps, channels].
        lines: Line of the file that each row stands in; ``None``: messages count rows from 0.
        rate: Steps per second.

    Raises:
        DataError: With every column that is wrong, each with its first bad place.
    """
    remedy = "correct or replace it, or leave such sequences out with --skip-bad"
    if not len(values) or not len(channels):
        raise DataError("no rows of numbers in it", source=str(path), remedy=remedy)
    problems = [
        Problem(f"two columns are called {name!r}", str(path), "give each its own name")
        for name in dict.fromkeys(channels)
        if list(channels).count(name) > 1
    ]
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(values) <= _LARGEST)
    for column in np.flatnonzero(bad.any(axis=0)).tolist():
        rows = np.flatnonzero(bad[:, column])
        first = int(rows[0])
        place = f"{path}:{lines[first]}" if lines is not None else f"{path}, row {first}"
        more = f" (and {len(rows) - 1:,} more rows)" if len(rows) > 1 else ""
        what = values[first, column]
        told = f"is {what}, not a number to compute with" if not np.isfinite(what) else f"is {what:g}, too large"
        problems.append(Problem(f"column {channels[column]!r} {told}{more}", place, remedy))
    raise_data_problems(problems, f"{path}: {len(problems)} problems in the numbers")
    return Table(tuple(channels), values.astype(np.float32), rate)
