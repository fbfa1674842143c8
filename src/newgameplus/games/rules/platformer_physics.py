"""What a platformer's player can do, as data: jump arcs, and which cells carry, stop or harm.

An arc is a list of cells ``[columns, rows]`` counted from the take-off, up negative, for a jump to the right; jumps to
the left are mirrored. A player takes off from any cell that carries, follows the arc cell by cell and stops before
the first cell that cannot be entered; above the top row an arc slides along it. After an arc, and over nothing, the
player falls a row a step and may drift a column with it. So moves the path solver of the Video Game Level Corpus
(Summerville et al., "The VGLC", 2016), whose arcs can be given as they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.games.scenes import Level
from newgameplus.recipe import did_you_mean

__all__ = ["Arcs", "Physics", "Terrain", "arcs", "read_arcs"]

Bools = npt.NDArray[np.bool_]
Arcs = tuple[tuple[tuple[int, int], ...], ...]
"""Jumps; each is cells (columns, rows) from the take-off, up negative."""

_MOST_ARCS, _MOST_STEPS, _LARGEST_FILE = 64, 128, 1 << 20


@dataclass(frozen=True)
class Physics:
    """What the player can do.

    Attributes:
        jumps: Arcs of the jumps.
        enemies: ``passable`` (one can beat or dodge them) or ``hazard``.
        liquids: ``swim`` (any direction), ``air`` (falls through) or ``hazard``.
        leave: Where an arc may be left to fall: ``anywhere``, or only at a ``landing`` (or where it is blocked).
        drift: Whether a falling player may move a column for each row.
        above: Whether an arc may slide along the top row instead of ending there.
    """

    jumps: Arcs
    enemies: str = "passable"
    liquids: str = "swim"
    leave: str = "anywhere"
    drift: bool = True
    above: bool = True

    @cached_property
    def deltas(self) -> npt.NDArray[np.int32]:
        """Steps, int32 [jump and direction, step, (rows, columns)]: right, left, right …; past an arc's end (9, 9)."""
        longest = max(map(len, self.jumps), default=0)
        steps = np.full((2 * len(self.jumps), longest, 2), 9, np.int32)
        for number, arc in enumerate(self.jumps):
            cells = np.diff(np.array([(0, 0), *arc], np.int32), axis=0)
            for side, sign in enumerate((1, -1)):
                steps[2 * number + side, : len(arc)] = cells[:, ::-1] * (1, sign)
        return steps


def arcs(height: int = 4, reach: int = 8, widths: Sequence[int] = ()) -> Arcs:
    """Make jump arcs from a thrown body's path, laid on the grid.

    A jump rises to ``height``, and ends with the fall one row above its take-off. Two steep jumps for places beside a
    wall are added: up and then a column aside, at once or from the next column.

    Args:
        height: Rows that the highest jump rises, 1 to 32.
        reach: Columns that the widest jump has covered at its end, 0 to 32.
        widths: Columns that each jump covers; a quarter, half, three quarters and all of ``reach`` if none are given.

    Raises:
        DataError: A number is out of range.
    """
    if not widths and type(reach) is int:
        widths = tuple(reach * part // 4 for part in (1, 2, 3, 4))
    numbers = {"height": (height, 1), "reach": (reach, 0)} | {f"widths.{i}": (w, 0) for i, w in enumerate(widths)}
    problems = [
        Problem(f"{name} is {value!r}, not a whole number from {least} to 32", f"jumps.{name}", "correct it")
        for name, (value, least) in numbers.items()
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 32
    ]
    raise_problems(problems, DataError, f"{len(problems)} numbers of the jumps cannot be used")
    rise = tuple((0, -row) for row in range(1, height + 1))
    found = [(*rise, (1, -height)), ((1, -1), *((1, -row) for row in range(2, height + 1)), (2, -height))]
    found += [_thrown(height, width) for width in widths if width > 0]
    return tuple(dict.fromkeys(_tidy(arc) for arc in found))


def _thrown(height: int, reach: int) -> tuple[tuple[int, int], ...]:
    """Lay a parabola on the grid that rises to ``height`` and is one row above the take-off again at ``reach``."""
    width = 2.0 * reach / (1.0 + math.sqrt(1.0 - 1.0 / height))
    columns = np.linspace(0.0, reach, 64 * (height + reach))
    rows = 4.0 * height * (columns / width) * (1.0 - columns / width)
    cells = np.rint(np.stack([columns, -rows], axis=1)).astype(int).tolist()
    return tuple((across, down) for across, down in cells)


def _tidy(arc: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Leave out steps that stand still."""
    return tuple(cell for before, cell in zip([(0, 0), *arc], arc, strict=False) if cell != before)


def read_arcs(jumps: Any, folder: Path | None = None) -> Arcs:
    """Take jump arcs as an option gives them.

    Args:
        jumps: None for :func:`arcs` as they are; its arguments as a mapping; arcs; or a JSON file with arcs, alone or
            under the key ``jumps``.
        folder: What a file's path is relative to.

    Raises:
        DataError: With everything that is wrong.
    """
    if jumps is None:
        return arcs()
    source = "jumps"
    if isinstance(jumps, (str, Path)):
        path = (folder or Path()) / jumps
        source = str(path)
        jumps = _load(path)
        if isinstance(jumps, Mapping) and "jumps" in jumps:
            jumps = jumps["jumps"]
    if isinstance(jumps, Mapping):
        known = ("height", "reach", "widths")
        problems = [
            Problem(f"unknown option {key!r}", f"{source}.{key}", f"{did_you_mean(str(key), known)}{', '.join(known)}")
            for key in jumps
            if key not in known
        ]
        raise_problems(problems, DataError, f"{len(problems)} options of the jumps are unknown")
        return arcs(**{str(key): value for key, value in jumps.items()})
    return _check_arcs(jumps, source)


def _load(path: Path) -> Any:
    remedy = 'JSON like {"jumps": [[[0, -1], [1, -2]]]}: columns and rows from the take-off'
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise DataError("too large for jump arcs", source=str(path), remedy=remedy)
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DataError(f"cannot read the jump arcs: {why}", source=str(path), remedy=remedy) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"these are no jump arcs: {error}", source=str(path), remedy=remedy) from error


def _check_arcs(jumps: Any, source: str) -> Arcs:
    remedy = "a list of arcs, each a list of [columns, rows] from the take-off, at most one of each further a step"
    if not isinstance(jumps, Sequence) or isinstance(jumps, str) or not 1 <= len(jumps) <= _MOST_ARCS:
        raise DataError(f"jumps must be 1 to {_MOST_ARCS} arcs", source=source, remedy=remedy)
    problems, taken = [], []
    for number, arc in enumerate(jumps):
        why, cells = _check_arc(arc)
        if why:
            problems.append(Problem(f"arc {number}: {why}", source, remedy))
        taken.append(cells)
    raise_problems(problems, DataError, f"{len(problems)} jump arcs cannot be used")
    return tuple(taken)


def _check_arc(arc: Any) -> tuple[str, tuple[tuple[int, int], ...]]:
    if not isinstance(arc, Sequence) or isinstance(arc, str) or not 1 <= len(arc) <= _MOST_STEPS:
        return f"{arc!r:.60} is not 1 to {_MOST_STEPS} cells", ()
    cells: list[tuple[int, int]] = []
    for step, cell in enumerate(arc):
        whole = isinstance(cell, Sequence) and len(cell) == 2 and all(type(number) is int for number in cell)
        if not whole:
            return f"step {step} is {cell!r:.60}, not two whole numbers", ()
        before = cells[-1] if cells else (0, 0)
        if max(abs(cell[0] - before[0]), abs(cell[1] - before[1])) > 1:
            return f"step {step} leaps from {list(before)} to {list(cell)}", ()
        cells.append((int(cell[0]), int(cell[1])))
    return "", tuple(cells)


@dataclass(frozen=True, eq=False)
class Terrain:
    """What a level's cells do to a player, all bool [height, width].

    Attributes:
        free: Can be entered.
        from_above: Can be entered by moving down.
        supported: The player does not fall from here: stands, climbs or swims.
        floating: Climbable, or liquid to swim in: lets the player move up and down.
    """

    free: Bools
    from_above: Bools
    supported: Bools
    floating: Bools

    @classmethod
    def of(cls, level: Level, physics: Physics) -> Terrain:
        """Look at a level with a player's eyes. A start tile can always be entered."""
        one_way, climbable = level.where("one-way"), level.where("climbable")
        solid = level.where("solid", "box", "door", "breakable") & ~one_way
        enemy, liquid = level.where("enemy"), level.where("liquid")
        harm = level.where("hazard") & ~enemy & ~one_way
        if physics.enemies == "hazard":
            harm |= enemy
        if physics.liquids == "hazard":
            harm |= liquid
        free = ~(solid | harm | level.where("void")) | level.where("start")
        floating = free & (climbable | (liquid if physics.liquids == "swim" else False))
        supported = floating & True
        supported[:-1] |= (solid | one_way | climbable)[1:]
        return cls(free, free & ~(one_way & ~climbable), free & supported, floating)
