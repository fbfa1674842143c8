"""Play the moves of a Sokoban proof, one by one, on the level as it is drawn; shares nothing with the search."""

from __future__ import annotations

from newgameplus.games.rules.contract import Cell, Proof
from newgameplus.games.scenes import Level

__all__ = ["replay"]

_STEPS = {"u": (-1, 0), "d": (1, 0), "l": (0, -1), "r": (0, 1)}


def replay(level: Level, proof: Proof, spare_goals: bool = False) -> str:
    """Play a proof's moves.

    Args:
        level: The level to be solved.
        proof: Moves ``udlr`` (capitals push) and the player's cells, one more than moves.
        spare_goals: Whether there may be more goals than boxes.

    Returns:
        Nothing if every move is legal, the cells are those of the moves and all boxes end on goals, else what is wrong.
    """
    boxes, goals, starts = set(level.cells("box")), set(level.cells("goal")), level.cells("start")
    walls = set(level.cells("solid", "void")) - boxes - set(starts)
    if len(starts) != 1 or not boxes or starts[0] in boxes:
        return f"{len(starts)} starts and {len(boxes)} boxes: not a level"
    if len(boxes) > len(goals) or (len(boxes) < len(goals) and not spare_goals):
        return f"{len(boxes)} boxes and {len(goals)} goals: not a level"
    if len(proof.cells) != len(proof.moves) + 1:
        return f"{len(proof.cells)} cells for {len(proof.moves)} moves"
    player = starts[0]
    if tuple(proof.cells[0]) != player:
        return f"step 0: the player starts at {player}, not at {tuple(proof.cells[0])}"
    for number, (move, claimed) in enumerate(zip(proof.moves, proof.cells[1:], strict=True), start=1):
        wrong = _step(level, walls, boxes, player, move)
        if wrong:
            return f"step {number}: {wrong}"
        down, right = _STEPS[move.lower()]
        player = (player[0] + down, player[1] + right)
        if tuple(claimed) != player:
            return f"step {number}: the player is at {player}, not at {tuple(claimed)}"
    left = sorted(boxes - goals)
    return f"after step {len(proof.moves)}: the box at {left[0]} is on no goal" if left else ""


def _step(level: Level, walls: set[Cell], boxes: set[Cell], player: Cell, move: str) -> str:
    """Make a move, pushing a box in ``boxes`` if there is one; return what is wrong with it."""
    if move.lower() not in _STEPS:
        return f"{move!r} is no move"
    down, right = _STEPS[move.lower()]
    ahead = (player[0] + down, player[1] + right)
    if _blocked(level, walls, ahead):
        return f"a wall at {ahead}"
    if (ahead in boxes) != move.isupper():
        return f"{move!r}, but {'a' if ahead in boxes else 'no'} box at {ahead}"
    if ahead in boxes:
        beyond = (ahead[0] + down, ahead[1] + right)
        if beyond in boxes or _blocked(level, walls, beyond):
            return f"the box at {ahead} cannot be pushed to {beyond}"
        boxes.remove(ahead)
        boxes.add(beyond)
    return ""


def _blocked(level: Level, walls: set[Cell], cell: Cell) -> bool:
    return cell in walls or not (0 <= cell[0] < level.height and 0 <= cell[1] < level.width)
