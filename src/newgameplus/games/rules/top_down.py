"""Walking seen from above: rooms, keys and doors, one-way passages, things to reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.games.rules import top_down_replay
from newgameplus.games.rules.contract import Answer, Budget, Cell, Proof, Rules
from newgameplus.games.rules.top_down_map import Graph, Ground, Mask, Options, build_graph, kinds_of, read_ground
from newgameplus.games.rules.top_down_pieces import judge_pieces
from newgameplus.games.rules.top_down_reasons import missing_part, why_not
from newgameplus.games.rules.top_down_search import Aim, Outcome, Search, Stage, hopeless
from newgameplus.games.rules.top_down_walk import Walk, Walker, longest_walk, stages_of
from newgameplus.games.scenes import Level

__all__ = ["TopDown"]

_BUDGET = Budget()
_MOST_STARTS = 16
"""Rooms that are tried, largest first, when a level does not say where the player starts."""
_MOST_DOORS_TO_SPARE = 24
"""With more doors opened than this, a solution is not searched for doors that could have stayed shut."""
_LOST_NODES = 100
"""Stages searched of a level that cannot be won, to show how far one gets."""


class TopDown(Rules):
    """Walking in four directions among walls.

    ``solid``, ``void`` and ``box`` tiles block; ``door`` tiles are opened by keys of their kind (door tiles of one kind
    that touch are one door); ``one-way-*`` tiles are entered one way only; everything else is floor but for the
    options. The proof is the cells walked, with the facts ``doors`` and ``keys``: (step, row, column) of each door
    opened and key taken. The measures are ``path_length`` (cells of the way), ``keys_used``, ``doors_opened`` and
    ``nodes``.

    Args:
        diagonal: Whether one can also step slantwise, cutting no corners.
        hazards: Whether ``hazard`` tiles are ``"blocks"`` or ``"passable"``.
        liquid: The same for ``liquid`` tiles; those that are also ``empty`` never block.
        breakable: The same for ``breakable`` tiles, which are passable even if they are also solid.
        keys: ``"spent"`` by one door each, or ``"kept"``.
        doors: ``"need-keys"``, ``"open"``, or ``"auto"``: open when no tile of the tileset is a key.
        door_depth: How many solid cells may lie between two doors that face each other and lead into one another;
            ``"auto"`` is 2 where doors are open, as in dungeons of one screen a room, else 0.
        start: ``"needed"``, ``"free"`` (without a start, any room that works, the largest first), or ``"auto"``: needed
            when a tile of the tileset is a start.
        goals: Whether ``"all"`` or ``"any"`` of the goals must be reached. With ``"none"``, and when no tile of the
            tileset is a goal, most cells and all keys, locked doors and collectables must be within reach.
        share: How many of the passable cells most are, 0 to 1; ``"auto"`` is 0.9, or 0.7 for ``pieces``.
        pieces: ``"one"``, or ``"any"`` for maps that do not show how they hang together (bombed walls, stairs and warps
            are not drawn): doors are then open, most cells must be within reach of a door, and most doors must lead
            somewhere. ``"auto"`` is any when some tile of the tileset is a door and none is a start, a key or a goal.

    Raises:
        DataError: An option has a value that it cannot have; all such options at once.
    """

    name = "top-down"

    def __init__(
        self,
        *,
        diagonal: bool = False,
        hazards: Literal["blocks", "passable"] = "blocks",
        liquid: Literal["blocks", "passable"] = "blocks",
        breakable: Literal["blocks", "passable"] = "blocks",
        keys: Literal["spent", "kept"] = "spent",
        doors: Literal["auto", "need-keys", "open"] = "auto",
        door_depth: Literal["auto"] | int = "auto",
        start: Literal["auto", "needed", "free"] = "auto",
        goals: Literal["all", "any", "none"] = "all",
        share: Literal["auto"] | float = "auto",
        pieces: Literal["auto", "one", "any"] = "auto",
    ) -> None:
        self.options = Options(
            diagonal, hazards, liquid, breakable, keys, doors, door_depth, start, goals, share, pieces
        )
        _check(self.options)

    def solve(self, level: Level, budget: Budget = _BUDGET) -> Answer:
        """Judge a level. Levels of more than 64 rooms and doors use up several nodes of the budget a stage."""
        options = self.options
        if options.in_pieces(level):
            return self._solve_pieces(level)
        starts, goals = level.cells("start"), level.cells("goal")
        needed = options.start == "needed" or (options.start == "auto" and bool(level.tileset.flags("start").any()))
        if needed and not starts:
            return Answer("unplayable", reason="there is no start")
        if len(starts) > 1 and not _touching(starts):
            reason = f"there are {len(starts)} starts: the last is at row {starts[-1][0]}, column {starts[-1][1]}"
            return Answer("unplayable", reason=reason, at=starts[-1])
        if not goals and not options.covers(level):
            return Answer("unplayable", reason="there is no goal")
        ground = read_ground(level, options)
        if not ground.passable.any():
            return Answer("unplayable", reason="there is no cell to walk on")
        graph = build_graph(ground, options.diagonal)
        return _Judge(level, options, ground, graph).answer(starts, budget)

    def _solve_pieces(self, level: Level) -> Answer:
        ground = read_ground(level, self.options)
        if not ground.passable.any():
            return Answer("unplayable", reason="there is no cell to walk on")
        graph = build_graph(ground, self.options.diagonal)
        pieces = judge_pieces(level, ground, graph, self.options.depth(level))
        measures = {"nodes": 0.0, "pieces": float(pieces.count)}
        reason, at = "", None
        share = self.options.least_share(level)
        if pieces.outside and pieces.housed < share:
            at = pieces.outside
            reason = (
                f"only {pieces.housed:.0%} of the cells can be reached from a door: not row {at[0]}, column {at[1]}"
            )
        elif pieces.blind and pieces.leading < share:
            at = pieces.blind
            reason = f"only {pieces.leading:.0%} of the doors lead on: not the one at row {at[0]}, column {at[1]}"
        if reason:
            return Answer("unplayable", reason=reason, at=at, reached=pieces.largest, measures=measures)
        walk = longest_walk(graph, int(np.flatnonzero(pieces.largest)[0]))
        measures |= {"path_length": float(len(walk)), "keys_used": 0.0, "doors_opened": 0.0}
        proof = Proof(tuple(graph.cell(number) for number in walk))
        return Answer("playable", proof, reached=pieces.largest, measures=measures)

    def replay(self, level: Level, proof: Proof) -> str:
        """Walk a proof; return nothing if it holds, else what is wrong and at which step."""
        return top_down_replay.replay(level, proof, self.options)

    def needs(self, level: Level) -> list[str]:
        """Return meanings that the options ask for and no tile of the level's tileset has."""
        has = {one: bool(level.tileset.flags(one).any()) for one in ("start", "key", "door")}
        needs = ["start"] if self.options.start == "needed" and not has["start"] else []
        return needs + (["key"] if self.options.doors == "need-keys" and has["door"] and not has["key"] else [])


def _check(options: Options) -> None:
    known: dict[str, tuple[object, ...]] = {
        "diagonal": (True, False), "hazards": ("blocks", "passable"), "liquid": ("blocks", "passable"),
        "breakable": ("blocks", "passable"), "keys": ("spent", "kept"), "doors": ("auto", "need-keys", "open"),
        "start": ("auto", "needed", "free"), "goals": ("all", "any", "none"), "pieces": ("auto", "one", "any"),
    }  # fmt: skip
    problems = []
    for key, values in known.items():
        value = getattr(options, key)
        if value not in values:
            problems.append(Problem(f"{key} is {value!r}", "top-down", f"known: {', '.join(map(str, values))}"))
    depth, share = options.door_depth, options.share
    if depth != "auto" and not (isinstance(depth, int) and 0 <= depth <= 16):
        problems.append(Problem(f"door_depth is {depth!r}", "top-down", "auto, or a whole number from 0 to 16"))
    if share != "auto" and not (isinstance(share, int | float) and 0.0 <= share <= 1.0):
        problems.append(Problem(f"share is {share!r}", "top-down", "auto, or a number from 0 to 1"))
    raise_problems(problems, DataError, f"{len(problems)} options of the top-down rules cannot be used")


def _touching(cells: list[Cell]) -> bool:
    """Say whether cells hang together: a start that is drawn over several tiles is one start."""
    left, edge = set(cells[1:]), [cells[0]]
    while edge:
        row, column = edge.pop()
        near = {(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)} & left
        left -= near
        edge += near
    return not left


class _Judge:
    """Judges one level."""

    def __init__(self, level: Level, options: Options, ground: Ground, graph: Graph) -> None:
        self.level, self.options, self.ground, self.graph = level, options, ground, graph
        kinds = kinds_of(level, "key")
        self.keys = {
            number: kinds[tile] or ""
            for number in self._numbers(level.where("key") & ground.passable)
            for tile in [int(level.tiles.flat[number])]
        }
        self.covers = options.covers(level)
        self.aim = self._aim()

    def _numbers(self, mask: Mask) -> list[int]:
        return [int(number) for number in np.flatnonzero(mask)]

    def _nodes(self, numbers: list[int]) -> tuple[int, ...]:
        return tuple(int(self.graph.nodes[number]) for number in numbers)

    def _aim(self) -> Aim:
        keys, kinds = self._nodes(list(self.keys)), tuple(self.keys.values())
        kept = self.options.keys == "kept"
        if not self.covers:
            goals = self._nodes(self._numbers(self.level.where("goal") & self.ground.passable))
            return Aim(keys, kinds, goals, self.options.goals == "any", (), 0, kept)
        wanted = self._numbers(self.level.where("key", "collectable") & self.ground.passable)
        targets = (*self._nodes(wanted), *self.graph.door_nodes)
        floor = self.ground.passable & (self.ground.passages == 0)
        sizes = np.bincount(self.graph.nodes[floor.ravel()], minlength=len(self.graph.out))
        enough = int(np.ceil(self.options.least_share(self.level) * floor.sum() - 1e-9))
        return Aim(keys, kinds, targets, False, tuple(sizes.tolist()), enough, kept)

    def answer(self, starts: list[Cell], budget: Budget) -> Answer:
        """Try the start, or where there is none, one room after the other; return the first way, or the best try."""
        blocked = self._blocked_goal()
        tried: tuple[int, Outcome] | None = None
        spent = 0
        for cell in self._starts(starts):
            lost = hopeless(self.graph, self.aim, int(self.graph.nodes[cell]))
            # Of a level that is known to be lost, a short search shows how far one gets.
            nodes = min(budget.nodes - spent, _LOST_NODES if lost else budget.nodes)
            outcome = self._search(cell, replace(budget, nodes=nodes))
            outcome.complete |= lost
            spent += outcome.nodes
            if outcome.stage is not None and blocked is None:
                return self._playable(cell, outcome, spent)
            # The largest room comes first, and its failure tells most.
            tried = tried or (cell, outcome)
            if not outcome.complete:
                tried = (cell, outcome)
                break
        if tried is None:
            return Answer("unplayable", reason="there is no cell to start from")
        return self._failed(*tried, spent, blocked)

    def _starts(self, starts: list[Cell]) -> Iterator[int]:
        """Yield numbers of cells to start from."""
        if starts:
            yield starts[0][0] * self.level.width + starts[0][1]
            return
        rooms = self.graph.nodes.copy()
        rooms[(self.ground.doors.ravel() >= 0) | (self.ground.passages.ravel() > 0)] = -1
        sizes = np.bincount(rooms[rooms >= 0], minlength=len(self.graph.out))
        for node in np.argsort(-sizes, kind="stable")[:_MOST_STARTS]:
            if sizes[node]:
                yield int(np.flatnonzero(rooms == node)[0])

    def _search(self, cell: int, budget: Budget, closed: int = 0) -> Outcome:
        return Search(self.graph, self.aim, int(self.graph.nodes[cell]), budget, closed).run()

    def _blocked_goal(self) -> Cell | None:
        """Return a goal that must be reached and stands where none can walk."""
        if self.covers:
            return None
        goals = self._numbers(self.level.where("goal"))
        blocked = [number for number in goals if self.graph.nodes[number] < 0]
        needed = self.options.goals == "all" or len(blocked) == len(goals)
        return self.graph.cell(blocked[0]) if blocked and needed else None

    def _playable(self, cell: int, outcome: Outcome, nodes: int) -> Answer:
        last = outcome.stage
        if last is None:
            raise ValueError("no solution to walk")
        last = self._thrift(cell, last, nodes)
        goals = [] if self.covers else self._numbers(self.level.where("goal") & self.ground.passable)
        walk = Walker(self.graph, self.aim, cell, self.keys, goals).follow(stages_of(last))
        measures = {
            "path_length": float(len(walk.cells)), "keys_used": float(len(walk.taken)),
            "doors_opened": float(len(walk.opened)), "nodes": float(nodes),
        }  # fmt: skip
        return Answer("playable", self._proof(walk), reached=self._grid(outcome.reached), measures=measures)

    def _thrift(self, cell: int, last: Stage, nodes: int) -> Stage:
        """Return a solution that opens no door it could leave shut; where most cells count, any is as good."""
        if self.covers or last.opened.bit_count() > _MOST_DOORS_TO_SPARE:
            return last
        closed = ~last.opened & ((1 << len(self.graph.door_nodes)) - 1)
        for door in range(len(self.graph.door_nodes)):
            if not closed >> door & 1:
                shorter = self._search(cell, Budget(nodes + 100), closed | 1 << door).stage
                if shorter is not None:
                    last, closed = shorter, closed | 1 << door
        return last

    def _proof(self, walk: Walk) -> Proof:
        facts = {
            name: tuple((step, *self.graph.cell(number)) for step, number in events)
            for name, events in (("doors", walk.opened), ("keys", walk.taken))
        }
        return Proof(tuple(self.graph.cell(number) for number in walk.cells), facts=facts)

    def _grid(self, nodes: int) -> Mask:
        """Return bool [height, width]: the cells of some nodes."""
        flags = np.array([*(nodes >> node & 1 > 0 for node in range(len(self.graph.out))), False])
        return np.asarray(flags[self.graph.nodes].reshape(self.level.tiles.shape))

    def _failed(self, cell: int, outcome: Outcome, nodes: int, blocked: Cell | None) -> Answer:
        reached, measures = self._grid(outcome.reached), {"nodes": float(nodes)}
        if blocked is not None:
            reason = f"the goal at row {blocked[0]}, column {blocked[1]} stands where one cannot walk"
            return Answer("unplayable", reason=reason, at=blocked, reached=reached, measures=measures)
        if self.covers:
            wanted = self.level.where("key", "collectable") & self.ground.passable
            reason, at = missing_part(self.graph, self.aim, outcome, reached, wanted, self.ground.passable)
        else:
            goals = self._numbers(self.level.where("goal") & self.ground.passable)
            reason, at = why_not(self.graph, self.aim, outcome, cell, goals)
        if not outcome.complete:
            reason = f"no way found within {nodes} stages: {reason}"
        status: Literal["unplayable", "undecided"] = "unplayable" if outcome.complete else "undecided"
        return Answer(status, reason=reason, at=at, reached=reached, measures=measures)
