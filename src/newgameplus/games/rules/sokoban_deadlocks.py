"""Positions of Sokoban that can no longer be won, seen without searching: dead squares and boxes that freeze."""

from __future__ import annotations

from collections.abc import Mapping

from newgameplus.games.rules.sokoban_board import FAR, Board, from_bits

__all__ = ["Freezer", "alive_cells"]


def alive_cells(distances: Mapping[int, tuple[int, ...]]) -> int:
    """Return the cells from which a box alone can be pushed to some goal; the rest are dead squares."""
    alive = [cell for cell, row in distances.items() if min(row, default=FAR) < FAR]
    return from_bits(alive, 1 + max(alive, default=0))


class Freezer:
    """Finds boxes that can never move again.

    A box is held along an axis when a wall or a held box stands on one of its two sides, or when both sides are dead
    squares. The boxes that are held along both axes by walls and by one another are the largest set for which this is
    true: start with all boxes, and let go of those that can move until nothing changes. Blocks of 2x2 and boxes in
    corners are the smallest cases.

    Args:
        board: The level.
        alive: Cells that are no dead squares.
    """

    def __init__(self, board: Board, alive: int) -> None:
        self._stride = stride = board.stride
        everywhere = (1 << (board.rows + 2) * stride) - 1
        # One row of walls above the first: a shift out at the low end would lose it.
        self._shift = stride
        floor, dead = board.floor << stride, (board.floor & ~alive) << stride
        self._walls = walls = everywhere & ~floor
        self._flat = walls << 1 | walls >> 1 | (dead << 1 & dead >> 1)
        self._tall = walls << stride | walls >> stride | (dead << stride & dead >> stride)

    def frozen(self, boxes: int) -> int:
        """Return the boxes that can never move again, or only onto a dead square."""
        stride, flat, tall = self._stride, self._flat, self._tall
        held = boxes << stride
        while held:
            kept = held & (flat | held << 1 | held >> 1) & (tall | held << stride | held >> stride)
            if kept == held:
                break
            held = kept
        return held >> stride
