"""Sokoban boards as whole numbers: one bit a cell, so that floods and deadlock checks are a few shifts.

Rows are stored with one spare column between them: a step off the right edge lands in it, and it is never floor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from newgameplus.games.rules.contract import Cell
from newgameplus.games.scenes import Level

__all__ = ["FAR", "Board", "Plan", "bits", "flood", "from_bits", "push_distances", "read_plan"]

FAR = 10**9
"""Distance to a goal that a box can never be pushed to."""

_LARGE = 4096

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Plan:
    """What a level's tiles mean to Sokoban: bool [height, width] each."""

    walls: Mask
    boxes: Mask
    goals: Mask
    starts: Mask


@dataclass(frozen=True)
class Board:
    """A level as bitboards, cut to the part that the player could walk if no box were in the way.

    Attributes:
        stride: Bits from one row to the next.
        top: First row of the part in the level.
        left: First column of the part in the level.
        rows: Rows of the part.
        floor: Cells that are no wall.
        boxes: Where the boxes stand at first.
        goals: Where they must go.
        player: Where the player stands at first.
    """

    stride: int
    top: int
    left: int
    rows: int
    floor: int
    boxes: int
    goals: int
    player: int

    def cell(self, index: int) -> Cell:
        """Return (row, column) in the level of a bit's number."""
        row, column = divmod(index, self.stride)
        return row + self.top, column + self.left

    def grid(self, board: int, height: int, width: int) -> Mask:
        """Return bool [height, width]: a bitboard as a grid of the level's size."""
        size = self.rows * self.stride
        raw = np.frombuffer(board.to_bytes((size + 7) // 8, "little"), np.uint8)
        part = np.unpackbits(raw, bitorder="little")[:size].reshape(self.rows, self.stride)[:, :-1]
        whole = np.zeros((height, width), np.bool_)
        whole[self.top : self.top + self.rows, self.left : self.left + self.stride - 1] = part
        return whole

    @classmethod
    def of(cls, plan: Plan) -> Board:
        """Make the board of a plan with one start on no wall; boxes and goals out of the player's way are left out."""
        from scipy import ndimage  # type: ignore[import-untyped]

        labels, _ = ndimage.label(~plan.walls)
        inside = np.asarray(labels == labels[plan.starts][0])
        (top, bottom), (left, right) = ((int(axis.min()), int(axis.max()) + 1) for axis in np.nonzero(inside))
        part = np.s_[top:bottom, left:right]

        def pack(mask: Mask) -> int:
            padded = np.pad((mask & inside)[part], ((0, 0), (0, 1)))
            return int.from_bytes(np.packbits(padded, bitorder="little").tobytes(), "little")

        boards = (pack(mask) for mask in (inside, plan.boxes, plan.goals, plan.starts))
        return cls(right - left + 1, top, left, bottom - top, *boards)


def read_plan(level: Level) -> Plan:
    """Return what a level's tiles mean; a box or start that is also called solid is still a box or start."""
    boxes, starts = level.where("box"), level.where("start")
    return Plan(level.where("solid", "void") & ~boxes & ~starts, boxes, level.where("goal"), starts)


def bits(board: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set, lowest first."""
    if board.bit_length() > _LARGE:
        # Each step below handles the whole number, which adds up on large boards.
        raw = np.frombuffer(board.to_bytes((board.bit_length() + 7) // 8, "little"), np.uint8)
        yield from np.flatnonzero(np.unpackbits(raw, bitorder="little")).tolist()
        return
    while board:
        low = board & -board
        yield low.bit_length() - 1
        board ^= low


def from_bits(numbers: Iterable[int], size: int) -> int:
    """Return the board whose bits of these numbers are set; ``size`` is one more than the highest there can be."""
    flags = np.zeros(size, np.uint8)
    flags[list(numbers)] = 1
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


def flood(seed: int, free: int, stride: int) -> int:
    """Return the cells of ``free`` that can be walked to from ``seed``."""
    reach = seed
    while True:
        grown = reach | ((reach << 1 | reach >> 1 | reach << stride | reach >> stride) & free)
        if grown == reach:
            return reach
        # A second step before the next comparison: most floods take many.
        reach = grown | ((grown << 1 | grown >> 1 | grown << stride | grown >> stride) & free)


def push_distances(board: Board) -> dict[int, tuple[int, ...]]:
    """Return pushes from each cell to each goal on a board without other boxes, wherever the player stands.

    Boxes are pulled from the goals: one that is pushed from q to p needs floor at q and, for the player, behind q.

    Returns:
        One tuple a floor cell (by bit number), with one entry a goal, lowest bit first; ``FAR`` where no push leads.
    """
    goals = list(bits(board.goals))
    table = {cell: [FAR] * len(goals) for cell in bits(board.floor)}
    steps = (1, -1, board.stride, -board.stride)
    for column, goal in enumerate(goals):
        table[goal][column] = 0
        edge, distance = [goal], 0
        while edge:
            distance += 1
            beyond = []
            for place in edge:
                for step in steps:
                    row = table.get(place - step)
                    if row is not None and row[column] == FAR and place - 2 * step in table:
                        row[column] = distance
                        beyond.append(place - step)
            edge = beyond
    return {cell: tuple(row) for cell, row in table.items()}
