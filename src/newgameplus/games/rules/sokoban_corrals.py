"""Corrals: parts of a Sokoban board that the player cannot get to, and that must be opened sooner or later.

Where every push that could open such a part leads into it and can be made at once, nothing is lost by making one of
them now: all other pushes can wait. Sokoban programmers call these PI-corrals; the idea is Brian Damgaard's.
"""

from __future__ import annotations

from newgameplus.games.rules.sokoban_board import Board, flood

__all__ = ["Corrals", "Pushes"]

Pushes = tuple[int, int, int, int]
"""Boxes that may be pushed right, left, down and up, as bitboards."""


class Corrals:
    """Finds corrals that must be opened next.

    Args:
        board: The level.
        alive: Cells that are no dead squares; pushes onto others are never made.
    """

    def __init__(self, board: Board, alive: int) -> None:
        self._board, self._alive = board, alive
        self._can_fill = board.boxes.bit_count() == board.goals.bit_count()

    def first_pushes(self, boxes: int, reach: int) -> Pushes | None:
        """Return the only pushes that need to be tried in a position; None when there is no such corral.

        Args:
            boxes: Where the boxes stand.
            reach: Where the player can walk.

        Returns:
            The pushes into the corral that can be opened in the fewest ways; if there are none, the position is lost.
        """
        stride, floor = self._board.stride, self._board.floor
        rest = floor & ~boxes & ~reach
        best: Pushes | None = None
        fewest = 0
        while rest:
            area = flood(rest & -rest, floor & ~boxes, stride)
            rest &= ~area
            pushes = self._opening(area, boxes, reach)
            if pushes is not None:
                count = sum(one.bit_count() for one in pushes)
                if best is None or count < fewest:
                    best, fewest = pushes, count
                if not count:
                    break
        return best

    def _opening(self, area: int, boxes: int, reach: int) -> Pushes | None:
        """Return the pushes that open a part of the board, or None if it can wait or be left alone.

        The part grows by the boxes and other closed parts that stand in the way of a push.
        """
        stride, goals = self._board.stride, self._board.goals
        shut = self._board.floor & ~boxes & ~reach
        fence = boxes & self._around(area)
        while True:
            inside = area | fence
            pushes: list[int] = []
            wider = 0
            for step in (1, -1, stride, -stride):
                ahead, behind = self._sides(fence, step, inside)
                # Where the player would stand, and where the box would go.
                moving = ahead & behind
                if moving & _from(reach, step) & _to(reach, step):
                    return None
                others = (boxes | shut) & ~inside
                wider |= _back(moving & _from(others, step), step) | _on(moving & _to(others, step), step)
                pushes.append(moving & _from(reach, step) & _to(area, step))
            if not wider:
                break
            while wider & shut:
                grown = flood(wider & shut & -(wider & shut), shut, stride)
                area |= grown
                wider &= ~grown
            fence |= wider | boxes & self._around(area)
        if fence & ~goals or (self._can_fill and area & goals):
            return pushes[0], pushes[1], pushes[2], pushes[3]
        return None

    def _sides(self, fence: int, step: int, inside: int) -> tuple[int, int]:
        """Return the boxes that have room ahead, and those that have room for the player outside, behind them."""
        ahead = fence & _to(self._alive, step) & ~_to(fence, step)
        return ahead, fence & _from(self._board.floor & ~inside, step)

    def _around(self, area: int) -> int:
        stride = self._board.stride
        return area << 1 | area >> 1 | area << stride | area >> stride


def _on(cells: int, step: int) -> int:
    return cells << step if step > 0 else cells >> -step


def _back(cells: int, step: int) -> int:
    return cells >> step if step > 0 else cells << -step


# A box is pushed from a cell if the cell is one step behind it, and to a cell if that is one step ahead.
_from = _on
_to = _back
