"""The rules of platformers: can a player with these jumps get from the left to the right, or from start to goal?

Tiles that mean ``solid``, ``box``, ``door`` or ``breakable`` block and carry the player; ``one-way`` tiles carry, and
can be entered from below and from the sides; ``climbable`` tiles are climbed; ``hazard`` and ``void`` tiles are never
entered. A tile that is solid and a hazard (a cannon) counts as solid, an enemy as the option ``enemies`` says.
A player begins on a start tile, else standing in one of the first columns or, if none of them carries, dropping into
them from above; and arrives in a goal tile (beside it, if it is solid), else anywhere in the last column.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import Problem, RecipeError, raise_problems
from newgameplus.games.rules.contract import Answer, Budget, Cell, Flaw, Proof, Rules
from newgameplus.games.rules.platformer_graph import Search, build_graph
from newgameplus.games.rules.platformer_physics import Bools, Physics, Terrain, read_arcs
from newgameplus.games.rules.platformer_replay import Replay
from newgameplus.games.rules.platformer_structures import find_flaws, read_structures
from newgameplus.games.scenes import Level
from newgameplus.recipe import did_you_mean

__all__ = ["Platformer"]

_BUDGET = Budget()
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "enemies": ("passable", "hazard"),
    "liquids": ("swim", "air", "hazard"),
    "leave": ("anywhere", "landing"),
    "drift": (True, False),
    "above": (True, False),
}


class Platformer(Rules):
    """A side view with gravity.

    Args:
        jumps: Arcs of the jumps; their height and reach (``{"height": 4, "reach": 8}``); or a JSON file of arcs.
        structures: What must stand beside tiles of structures: patterns such as ``[["<", ">"], ["[", "]"]]``, or what
            ``platformer_structures.learn_structures`` learnt.
        enemies: ``passable`` or ``hazard``.
        liquids: ``swim``, ``air`` or ``hazard``.
        leave: ``anywhere`` if a jump can be broken off in the air (the VGLC solver), ``landing`` if not.
        drift: Whether one can move sideways while falling.
        above: Whether one can jump along the upper edge of the level.
        start_columns: Columns to begin in where no tile is a start.
        margin: Last columns of which one must be reached in a level that is still being made.
        folder: What the path of a file of arcs is relative to.

    Raises:
        DataError: The arcs or structures are wrong.
        RecipeError: An option is wrong.
    """

    name = "platformer"
    grows = True
    draws_way = True

    def __init__(
        self,
        *,
        jumps: Any = None,
        structures: Any = (),
        enemies: str = "passable",
        liquids: str = "swim",
        leave: str = "anywhere",
        drift: bool = True,
        above: bool = True,
        start_columns: int = 3,
        margin: int = 1,
        folder: Path | None = None,
    ) -> None:
        chosen = {"enemies": enemies, "liquids": liquids, "leave": leave, "drift": drift, "above": above}
        counts = {"start_columns": start_columns, "margin": margin}
        raise_problems(_wrong_options(chosen, counts), RecipeError, "options of the platformer cannot be used")
        self.physics = Physics(read_arcs(jumps, folder), enemies, liquids, leave, drift, above)
        self.structures = read_structures(structures)
        self.start_columns = start_columns
        self.margin = margin

    def solve(self, level: Level, budget: Budget = _BUDGET) -> Answer:
        """See :meth:`Rules.solve`. Nodes of the budget are cells that a player can be in."""
        return self._solve(level, budget, _goals(level))

    def solve_part(self, level: Level, budget: Budget = _BUDGET) -> Answer:
        """See :meth:`Rules.solve_part`. It is enough to be in one of the last columns, standing or in the air."""
        goals = np.zeros(level.tiles.shape, np.bool_)
        goals[:, -self.margin :] = True
        if level.where("goal").any():
            goals |= _goals(level)
        return self._solve(level, budget, goals)

    def replay(self, level: Level, proof: Proof) -> str:
        """See :meth:`Rules.replay`."""
        return Replay(level, self.physics, self.start_columns).check(proof)

    def flaws(self, level: Level, *, part: bool = False) -> list[Flaw]:
        """Return tiles of structures that miss a neighbor; those cut by the right edge not, if it is a ``part``."""
        return find_flaws(level, self.structures, part=part)

    def needs(self, level: Level) -> list[str]:
        """See :meth:`Rules.needs`: something must be there to stand on."""
        carrying = level.tileset.flags("solid", "one-way", "climbable", "box", "door", "breakable", "liquid").any()
        return [] if carrying else ["solid (the ground to stand on)"]

    def _solve(self, level: Level, budget: Budget, goals: Bools) -> Answer:
        terrain = Terrain.of(level, self.physics)
        nodes = int(terrain.free.sum())
        if nodes > budget.nodes:
            return Answer("undecided", reason=f"{nodes} cells to be in, more than the budget of {budget.nodes} nodes")
        starts = self._starts(level, terrain)
        if not len(starts):
            nowhere = np.zeros(level.tiles.shape, np.bool_)
            where = f"the first {min(self.start_columns, level.width)} columns"
            reason = f"nowhere to begin: no start tile, and no room to stand or to drop in, in {where}"
            return Answer("unplayable", reason=reason, at=(0, 0), reached=nowhere, measures={"nodes": 0.0})
        goals = goals & terrain.free
        search = build_graph(terrain, self.physics, goals).search(starts)
        return self._answer(level, terrain, goals, search)

    def _starts(self, level: Level, terrain: Terrain) -> npt.NDArray[np.int64]:
        """Return cells to begin in. Dropping in is only for where one cannot stand, as it leads over any wall."""
        begin = level.where("start")
        if not begin.any():
            first = slice(self.start_columns)
            begin[:, first] = terrain.supported[:, first]
            if not begin.any():
                begin[:1, first] = terrain.free[:1, first]
        return np.flatnonzero(begin)

    def _answer(self, level: Level, terrain: Terrain, goals: Bools, search: Search) -> Answer:
        reached = search.reached
        nodes = float(reached.sum())
        wins = np.flatnonzero(goals & reached)
        if len(wins):
            goal = int(wins[np.argmin(search.distance[wins])])
            cells, deeds = search.way_to(goal, self.physics)
            jumps = sum(deed[0] == "jump" and deed[3] == 0 for deed in deeds)
            measures = {"path_length": float(len(cells)), "jumps": float(jumps), "nodes": nodes}
            return Answer("playable", Proof(tuple(cells), facts={"steps": deeds}), reached=reached, measures=measures)
        at = _stuck_at(level, terrain, reached)
        reason = _why_stuck(level, terrain, reached, at)
        return Answer("unplayable", reason=reason, at=at, reached=reached, measures={"nodes": nodes})


def _wrong_options(chosen: Mapping[str, Any], counts: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for name, value in chosen.items():
        known = _CHOICES[name]
        if not any(value is one or (isinstance(value, str) and value == one) for one in known):
            words = ", ".join(str(one).lower() for one in known)
            near = did_you_mean(str(value), [str(one) for one in known])
            problems.append(Problem(f"{name} is {value!r}", f"rules.{name}", f"{near}known: {words}"))
    for name, value in counts.items():
        if type(value) is not int or not 1 <= value <= 1000:
            problems.append(Problem(f"{name} is {value!r}", f"rules.{name}", "a whole number from 1 to 1000"))
    return problems


def _goals(level: Level) -> Bools:
    """Where a level is won: goal tiles and, in case they cannot be entered, what is beside them; or the last column."""
    goals = level.where("goal")
    if not goals.any():
        goals[:, -1:] = True
        return goals
    hard = goals & level.where("solid", "box", "door", "breakable", "void", "hazard")
    won = goals.copy()
    won[1:] |= hard[:-1]
    won[:-1] |= hard[1:]
    won[:, 1:] |= hard[:, :-1]
    won[:, :-1] |= hard[:, 1:]
    return won


def _stuck_at(level: Level, terrain: Terrain, reached: Bools) -> Cell:
    """Return the reached place to stand (else cell) nearest to the goal: by columns, or to the first goal tile."""
    places = reached & terrain.supported if (reached & terrain.supported).any() else reached
    rows, columns = np.nonzero(places)
    goals = level.cells("goal")
    if goals:
        best = int(np.argmin(np.abs(rows - goals[0][0]) + np.abs(columns - goals[0][1])))
    else:
        best = int(np.argmax(columns))
    return int(rows[best]), int(columns[best])


def _why_stuck(level: Level, terrain: Terrain, reached: Bools, at: Cell) -> str:
    stuck = f"stuck at row {at[0]}, column {at[1]}"
    farthest = int(np.flatnonzero(reached.any(axis=0))[-1])
    far = f"farthest column {farthest} of {level.width}"
    goals = level.cells("goal")
    if goals:
        more = f", nor the other {len(goals) - 1}" if len(goals) > 1 else ""
        return f"the goal at row {goals[0][0]}, column {goals[0][1]} cannot be reached{more}: {stuck} ({far})"
    ahead = terrain.supported & ~reached
    ahead[:, : at[1] + 1] = False
    columns = np.flatnonzero(ahead.any(axis=0))
    if not len(columns):
        return f"{stuck}: nothing to land on after it ({far})"
    row = int(np.flatnonzero(ahead[:, columns[0]])[-1])
    return f"{stuck}: the next place to stand, row {row}, column {columns[0]}, is out of reach ({far})"
