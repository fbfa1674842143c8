"""Plain reachability: can every goal be walked to, in any direction, through cells that do not block?

Without a start, the largest connected region must hold all goals and most of the cells that can be entered, which is
what one asks of a cave or an island. Doors count as open here: ``top-down`` minds keys.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from newgameplus.errors import Problem, RecipeError, raise_problems
from newgameplus.games.rules.contract import Answer, Budget, Cell, Proof, Rules
from newgameplus.games.scenes import MEANINGS, Level
from newgameplus.recipe import did_you_mean

__all__ = ["Reachability"]

_BUDGET = Budget()
_SIDES: tuple[Cell, ...] = ((0, 1), (1, 0), (0, -1), (-1, 0))
_CORNERS: tuple[Cell, ...] = ((1, 1), (1, -1), (-1, -1), (-1, 1))


class Reachability(Rules):
    """Four or eight directions, and tiles that block.

    Args:
        neighbors: 4 for steps to the sides only, 8 for diagonal steps as well.
        share: Where a level has no start or no goal, the least share of the enterable cells that the player's (or
            the largest) region must hold, 0 to 1.
        blocked: Meanings that cannot be entered; goals and starts always can.

    Raises:
        RecipeError: An option is wrong.
    """

    name = "reachability"

    def __init__(
        self,
        *,
        neighbors: int = 4,
        share: float = 0.9,
        blocked: Sequence[str] = ("solid", "hazard", "breakable", "box", "void"),
    ) -> None:
        problems = []
        if neighbors not in (4, 8) or type(neighbors) is not int:
            problems.append(Problem(f"neighbors is {neighbors!r}", "rules.neighbors", "4 or 8"))
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.0 <= share <= 1.0:
            problems.append(Problem(f"share is {share!r}", "rules.share", "a number from 0 to 1"))
        if isinstance(blocked, str) or not isinstance(blocked, Sequence):
            problems.append(Problem(f"blocked is {blocked!r:.60}", "rules.blocked", "a list of meanings"))
            blocked = ()
        problems += [
            Problem(f"{one!r:.60} is no meaning", "rules.blocked", f"{did_you_mean(str(one), list(MEANINGS))}")
            for one in blocked
            if one not in MEANINGS
        ]
        raise_problems(problems, RecipeError, "options of reachability cannot be used")
        self.steps = _SIDES if neighbors == 4 else _SIDES + _CORNERS
        self.share = float(share)
        self.blocked = tuple(blocked)

    def solve(self, level: Level, budget: Budget = _BUDGET) -> Answer:
        """See :meth:`Rules.solve`. Nodes of the budget are cells that can be entered."""
        free = ~level.where(*self.blocked) | level.where("goal", "start")
        nodes = int(free.sum())
        if nodes > budget.nodes:
            return Answer("undecided", reason=f"{nodes} cells to enter, more than the budget of {budget.nodes} nodes")
        starts, goals = level.cells("start"), level.cells("goal")
        if not nodes:
            return Answer("unplayable", reason="there is no cell that can be entered", reached=free)
        regions = self._regions(free)
        sizes = np.bincount(regions.ravel())
        sizes[0] = 0
        numbers = list(dict.fromkeys(int(regions[cell]) for cell in starts))
        numbers = numbers or np.flatnonzero(sizes == sizes.max()).tolist()
        home = max(numbers, key=lambda number: (sum(regions[goal] == number for goal in goals), sizes[number]))
        reached = regions == home
        missing = [goal for goal in goals if not reached[goal]]
        measures = {"nodes": float(sizes[home]), "regions": float(len(sizes) - 1)}
        if missing:
            reason, at = self._why_not(missing, starts, reached)
            return Answer("unplayable", reason=reason, at=at, reached=reached, measures=measures)
        if not (starts and goals) and sizes[home] < self.share * nodes:
            at = _first_cell(free & ~reached)
            reason = (
                f"the {'start' if starts else 'largest'} region holds {int(sizes[home])} of {nodes} enterable cells, "
                f"less than a share of {self.share:g}: row {at[0]}, column {at[1]} is cut off"
            )
            return Answer("unplayable", reason=reason, at=at, reached=reached, measures=measures)
        begin = next((cell for cell in starts if reached[cell]), None) or (goals[0] if goals else _first_cell(reached))
        cells = self._walk(reached, begin, goals)
        measures["path_length"] = float(len(cells))
        return Answer("playable", Proof(tuple(cells)), reached=reached, measures=measures)

    def _regions(self, free: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
        from scipy import ndimage  # type: ignore[import-untyped]

        structure = np.ones((3, 3), np.int8) if len(self.steps) == 8 else None
        labels: npt.NDArray[np.int32] = ndimage.label(free, structure)[0]
        return labels

    def _why_not(
        self, missing: Sequence[Cell], starts: Sequence[Cell], reached: npt.NDArray[np.bool_]
    ) -> tuple[str, Cell]:
        goal = missing[0]
        rows, columns = np.nonzero(reached)
        near = int(np.argmin(np.abs(rows - goal[0]) + np.abs(columns - goal[1])))
        at = int(rows[near]), int(columns[near])
        more = f", nor {len(missing) - 1} more" if len(missing) > 1 else ""
        origin = f"from the start at row {starts[0][0]}, column {starts[0][1]}" if starts else "from the largest region"
        reason = f"the goal at row {goal[0]}, column {goal[1]} cannot be reached {origin}{more}"
        return f"{reason}: stuck at row {at[0]}, column {at[1]}", at

    def _walk(self, region: npt.NDArray[np.bool_], begin: Cell, goals: Sequence[Cell]) -> list[Cell]:
        """Return cells from ``begin`` past all goals: on a tree of shortest ways, there and back on each branch."""
        before = self._tree(region, begin)
        needed = {begin}
        for cell in goals:
            while cell not in needed:
                needed.add(cell)
                cell = before[cell]
        branches: dict[Cell, list[Cell]] = {}
        for cell in before:
            if cell in needed and cell != begin:
                branches.setdefault(before[cell], []).append(cell)
        cells, missing = [begin], set(goals) - {begin}
        while missing:
            onward = branches.get(cells[-1])
            cells.append(onward.pop() if onward else before[cells[-1]])
            missing.discard(cells[-1])
        return cells

    def _tree(self, region: npt.NDArray[np.bool_], begin: Cell) -> dict[Cell, Cell]:
        height, width = region.shape
        before, queue = {begin: begin}, deque([begin])
        while queue:
            cell = queue.popleft()
            for down, right in self.steps:
                row, column = cell[0] + down, cell[1] + right
                if 0 <= row < height and 0 <= column < width and region[row, column] and (row, column) not in before:
                    before[row, column] = cell
                    queue.append((row, column))
        return before

    def replay(self, level: Level, proof: Proof) -> str:
        """See :meth:`Rules.replay`."""
        cells = [(int(row), int(column)) for row, column in proof.cells]
        if not cells:
            return "the proof has no cells"
        for number, (row, column) in enumerate(cells):
            if not (0 <= row < level.height and 0 <= column < level.width and self._enters(level, row, column)):
                return f"step {number}: row {row}, column {column} cannot be entered"
            if number and (row - cells[number - 1][0], column - cells[number - 1][1]) not in self.steps:
                return f"step {number}: row {row}, column {column} is no neighbor of the cell before"
        starts, goals = level.cells("start"), level.cells("goal")
        if starts and cells[0] not in starts:
            return f"step 0: nobody begins at row {cells[0][0]}, column {cells[0][1]}"
        missing = sorted(set(goals) - set(cells))
        if missing:
            return f"the goal at row {missing[0][0]}, column {missing[0][1]} is never visited"
        return "" if starts and goals else self._check_share(level, cells[0])

    def _enters(self, level: Level, row: int, column: int) -> bool:
        tile = level.tileset.tiles[int(level.tiles[row, column])]
        return tile.means("goal", "start") or not tile.means(*self.blocked)

    def _check_share(self, level: Level, begin: Cell) -> str:
        """Grow the region from a cell once more, and compare it with all that can be entered."""
        free = {(r, c) for r in range(level.height) for c in range(level.width) if self._enters(level, r, c)}
        total, edge = len(free), {begin}
        free.discard(begin)
        size = 1
        while edge:
            edge = {(r + down, c + right) for r, c in edge for down, right in self.steps} & free
            free -= edge
            size += len(edge)
        return "" if size >= self.share * total else f"the region holds {size} of {total} enterable cells"


def _first_cell(where: npt.NDArray[np.bool_]) -> Cell:
    row, column = divmod(int(np.flatnonzero(where)[0]), where.shape[1])
    return row, column
