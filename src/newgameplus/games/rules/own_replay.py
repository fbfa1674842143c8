"""Checks a proof of rules by moves, one step at a time, on the level's tiles and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from newgameplus.games.rules.contract import Cell, Proof
from newgameplus.games.scenes import Level, Tile

if TYPE_CHECKING:
    from newgameplus.games.rules.own_moves import Move, MoveTable

__all__ = ["replay_moves"]


def replay_moves(table: MoveTable, level: Level, proof: Proof) -> str:
    """Return what is wrong with a proof and at which step, or nothing."""
    names = proof.facts.get("moves", [])
    if not proof.cells:
        return "the proof has no cells"
    if not isinstance(names, Sequence) or len(names) != len(proof.cells) - 1:
        return f"the proof has {len(proof.cells)} cells, but does not name a move between each two"
    player = _Player(table, level)
    wrong = player.begin(proof.cells[0])
    for number, (name, cell) in enumerate(zip(names, proof.cells[1:], strict=True), start=1):
        if wrong:
            break
        wrong = player.move(str(name), cell)
        wrong = wrong and f"step {number} ({name}) to row {cell[0]}, column {cell[1]}: {wrong}"
    return wrong or player.end()


class _Player:
    """Where the player is, and what they have and have done."""

    def __init__(self, table: MoveTable, level: Level) -> None:
        self.table, self.level = table, level
        self.at: Cell = (0, 0)
        self.bag: Counter[str] = Counter()
        self.taken: set[Cell] = set()
        self.opened: set[Cell] = set()
        self.visited: set[Cell] = set()

    def begin(self, cell: Cell) -> str:
        tile = self._tile(cell)
        if tile is None or not tile.means(*self.table.start):
            return f"step 0: nobody begins at row {cell[0]}, column {cell[1]}"
        self.at = cell
        return self._enter(cell)

    def move(self, name: str, cell: Cell) -> str:
        step = cell[0] - self.at[0], cell[1] - self.at[1]
        falls = self.table.gravity and not self._is_held()
        moves = (self.table.fall,) if falls else self.table.moves
        if not any(move.name == name and move.step == step and self._allows(move) for move in moves):
            return "one falls here" if falls else "no such move can be made here"
        self.at = cell
        return self._enter(cell)

    def end(self) -> str:
        goals = [
            (row, column)
            for row in range(self.level.height)
            for column in range(self.level.width)
            if self.level.tileset.tiles[int(self.level.tiles[row, column])].means(*self.table.goal)
        ]
        if not self.visited:
            return "no goal is reached"
        missing = [goal for goal in goals if goal not in self.visited]
        if missing and self.table.goals == "all":
            return f"the goal at row {missing[0][0]}, column {missing[0][1]} is never visited"
        return ""

    def _tile(self, cell: Cell) -> Tile | None:
        row, column = cell
        if 0 <= row < self.level.height and 0 <= column < self.level.width:
            return self.level.tileset.tiles[int(self.level.tiles[row, column])]
        return None

    def _means(self, offset: Cell, meanings: Sequence[str]) -> bool:
        tile = self._tile((self.at[0] + offset[0], self.at[1] + offset[1]))
        return tile is not None and tile.means(*meanings)

    def _is_held(self) -> bool:
        return self._means((0, 0), self.table.floats) or self._means((1, 0), self.table.carries)

    def _allows(self, move: Move) -> bool:
        good = all(self._means(cell, words) for place, words in move.needs.items() for cell in move.offsets(place))
        bad = any(self._means(cell, words) for place, words in move.forbids.items() for cell in move.offsets(place))
        return good and not bad and self._tile((self.at[0] + move.step[0], self.at[1] + move.step[1])) is not None

    def _enter(self, cell: Cell) -> str:
        tile = self._tile(cell)
        words = sorted(tile.meanings) if tile is not None else []
        keys = [word.partition(":")[2] for word in words if word.partition(":")[0] == "key"]
        doors = [word.partition(":")[2] for word in words if word.partition(":")[0] == "door"]
        if doors and cell not in self.opened and self.table.keys != "ignore":
            if self.bag[doors[0]] < 1:
                return "the door is closed and there is no key for it"
            if self.table.keys == "spend":
                self.bag[doors[0]] -= 1
                self.opened.add(cell)
        if keys and cell not in self.taken and self.table.keys != "ignore":
            self.bag[keys[0]] += 1
            self.taken.add(cell)
        if tile is not None and tile.means(*self.table.goal):
            self.visited.add(cell)
        return ""
