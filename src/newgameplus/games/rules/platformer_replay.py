"""Checks a platformer's proof step by step, with the rules spelled out a second time and no search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from newgameplus.games.rules.contract import Cell, Proof
from newgameplus.games.rules.platformer_physics import Physics
from newgameplus.games.scenes import Level, Tile

__all__ = ["Replay"]


@dataclass(frozen=True, eq=False)
class Replay:
    """One player in one level, asked about one cell at a time.

    Attributes:
        level: The level.
        physics: What the player can do.
        start_columns: How many columns one may begin in where no tile is a start.
    """

    level: Level
    physics: Physics
    start_columns: int = 3

    def check(self, proof: Proof) -> str:
        """Return what is wrong with a proof and at which step, or nothing."""
        cells, deeds = list(proof.cells), proof.facts.get("steps", [])
        if not cells:
            return "the proof has no cells"
        if not isinstance(deeds, Sequence) or len(deeds) != len(cells) - 1:
            return f"the proof has {len(cells)} cells, but does not say what is done between each two"
        if not self.begins(cells[0]):
            return f"step 0: nobody begins at {_place(cells[0])}"
        for number, deed in enumerate(deeds):
            before = deeds[number - 1] if number else None
            wrong = self._wrong(cells[number], cells[number + 1], deed, before)
            if wrong:
                return f"step {number + 1}, {_place(cells[number])} to {_place(cells[number + 1])}: {wrong}"
        return "" if self.ends(cells[-1]) else f"the last step ends at {_place(cells[-1])}, which is no goal"

    def tile(self, cell: Cell) -> Tile | None:
        """Return the tile of a cell, or None outside of the level."""
        row, column = cell
        if not (0 <= row < self.level.height and 0 <= column < self.level.width):
            return None
        return self.level.tileset.tiles[int(self.level.tiles[row, column])]

    def enters(self, cell: Cell, *, downwards: bool = False) -> bool:
        """Whether the player can get into a cell."""
        tile = self.tile(cell)
        if tile is None:
            return False
        if downwards and tile.means("one-way") and not tile.means("climbable"):
            return False
        if tile.means("start"):
            return True
        one_way = tile.means("one-way")
        if tile.means("void") or (tile.means("solid", "box", "door", "breakable") and not one_way):
            return False
        if tile.means("liquid") and self.physics.liquids == "hazard":
            return False
        if tile.means("enemy"):
            return self.physics.enemies == "passable"
        return one_way or not tile.means("hazard")

    def floats(self, cell: Cell) -> bool:
        """Whether the player can move up and down in a cell."""
        tile = self.tile(cell)
        wet = tile is not None and tile.means("liquid") and self.physics.liquids == "swim"
        return tile is not None and self.enters(cell) and (wet or tile.means("climbable"))

    def stands(self, cell: Cell) -> bool:
        """Whether the player does not fall from a cell."""
        if self.floats(cell):
            return True
        below = self.tile((cell[0] + 1, cell[1]))
        return below is not None and below.means("solid", "box", "door", "breakable", "one-way", "climbable")

    def begins(self, cell: Cell) -> bool:
        """Whether a player may begin in a cell."""
        tile = self.tile(cell)
        if tile is None:
            return False
        if self._has("start"):
            return tile.means("start")
        if cell[1] >= self.start_columns or not self.enters(cell):
            return False
        first = [(row, column) for column in range(self.start_columns) for row in range(self.level.height)]
        return self.stands(cell) or (cell[0] == 0 and not any(self.enters(one) and self.stands(one) for one in first))

    def ends(self, cell: Cell) -> bool:
        """Whether a level is won in a cell."""
        if not self._has("goal"):
            return cell[1] == self.level.width - 1
        for row, column in (cell, *((cell[0] + r, cell[1] + c) for r, c in ((0, 1), (0, -1), (1, 0), (-1, 0)))):
            tile = self.tile((row, column))
            if tile is not None and tile.means("goal") and ((row, column) == cell or not self.enters((row, column))):
                return True
        return False

    def _has(self, meaning: str) -> bool:
        return any(self.level.tileset.tiles[number].means(meaning) for number in set(self.level.tiles.flat))

    def _wrong(self, at: Cell, to: Cell, deed: Any, before: Any) -> str:
        if not isinstance(deed, Sequence) or isinstance(deed, str) or not deed:
            return f"{deed!r:.40} says nothing"
        down, right = to[0] - at[0], to[1] - at[1]
        if not self.enters(to, downwards=down > 0):
            return "the cell cannot be entered"
        if deed[0] == "jump":
            return self._wrong_jump(at, (down, right), list(deed[1:]), before)
        if self.physics.leave == "landing" and self._is_in_the_air(at, before):
            return "the jump is left in the air"
        if deed[0] == "walk":
            good = self.stands(at) and down == 0 and abs(right) == 1
        elif deed[0] == "climb":
            down_to = down == 1 and (self.floats(at) or self.floats(to))
            good = right == 0 and (down_to or (down == -1 and self.floats(at)))
        elif deed[0] == "fall":
            aside = right == 0 or (self.physics.drift and self.enters((at[0] + 1, at[1]), downwards=True))
            good = not self.stands(at) and down == 1 and abs(right) <= 1 and aside
        else:
            return f"{deed[0]!r:.40} is no kind of step"
        return "" if good else f"one cannot {deed[0]} so"

    def _wrong_jump(self, at: Cell, move: tuple[int, int], jump: list[Any], before: Any) -> str:
        if len(jump) != 3 or not all(type(number) is int for number in jump):
            return f"{jump!r:.40} is no jump"
        arc, side, step = jump
        if not (0 <= arc < len(self.physics.jumps) and side in (1, -1) and 0 <= step < len(self.physics.jumps[arc])):
            return "there is no such jump"
        if step == 0 and not self.stands(at):
            return "one cannot take off from the air"
        if step == 0 and self.physics.leave == "landing" and self._is_in_the_air(at, before):
            return "the jump is left in the air"
        if step > 0 and list(before or ()) != ["jump", arc, side, step - 1]:
            return "the jump does not go on where it was"
        path = ((0, 0), *self.physics.jumps[arc])
        across, rise = path[step + 1][0] - path[step][0], path[step + 1][1] - path[step][1]
        if at[0] + rise < 0:
            rise = -at[0] if self.physics.above else rise
        return "" if move == (rise, side * across) else "the jump goes elsewhere"

    def _is_in_the_air(self, at: Cell, before: Any) -> bool:
        """Whether a jump that was under way could go on, where arcs may be left only at a landing."""
        if not before or before[0] != "jump" or self.stands(at):
            return False
        _, arc, side, step = before
        path = self.physics.jumps[arc]
        if step + 1 >= len(path):
            return False
        row = at[0] + path[step + 1][1] - path[step][1]
        to = max(row, 0) if self.physics.above else row, at[1] + side * (path[step + 1][0] - path[step][0])
        return self.enters(to, downwards=to[0] > at[0])


def _place(cell: Cell) -> str:
    return f"row {cell[0]}, column {cell[1]}"
