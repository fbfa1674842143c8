"""Sokoban played backwards: boxes that stand on their goals are pulled away, so that pushing them back solves it.

Boards are whole numbers with one bit a cell, so that a flood is a few shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from newgameplus.games.generators.canvas import Cell, Mask, pick

__all__ = ["Pulled", "pull_boxes"]


@dataclass(frozen=True)
class Pulled:
    """Where pulling ended, and how to push everything back.

    Attributes:
        boxes: Where the boxes stand now.
        player: Where the player stands now.
        cells: Cells of the player when everything is pushed back, first to last.
        moves: Its moves, ``udlr``, capitals push.
        pushes: How many of them push.
    """

    boxes: tuple[Cell, ...]
    player: Cell
    cells: tuple[Cell, ...]
    moves: str
    pushes: int


def pull_boxes(rng: np.random.Generator, floor: Mask, goals: Sequence[Cell], pulls: int) -> Pulled | None:
    """Pull boxes away from their goals at random, each pull rather going on with the same box than not.

    Args:
        rng: Where choices come from.
        floor: bool [height, width]: cells that are no wall; none at the edge.
        goals: Where the boxes stand at first.
        pulls: How many pulls to try.

    Returns:
        The hardest looking state that was passed, or None if no box could be pulled.
    """
    width = floor.shape[1]
    free = sum(1 << int(cell) for cell in np.flatnonzero(floor))
    boxes = [row * width + column for row, column in goals]
    origin = list(boxes)
    spots = [int(cell) for cell in np.flatnonzero(floor) if int(cell) not in set(boxes)]
    if not spots:
        return None
    player = pick(rng, spots)
    history: list[tuple[int, int]] = []
    best, best_score = 0, 0.0
    seen: set[tuple[int, ...]] = set()
    last, direction = -1, 0
    steps = (-width, width, -1, 1)
    dice = rng.random((pulls, 2)).tolist()
    for roll, choice in dice:
        blocked = sum(1 << box for box in boxes)
        reach = _flood(1 << player, free & ~blocked, width)
        options = [
            (number, step)
            for number, box in enumerate(boxes)
            for step in steps
            if reach >> (box + step) & 1 and (free & ~blocked) >> (box + 2 * step) & 1
        ]
        if not options:
            break
        same = [option for option in options if option[0] == last]
        on = [option for option in same if option[1] == direction]
        chosen = on if on and roll < 0.45 else same if same and roll < 0.8 else options
        last, direction = chosen[int(choice * len(chosen))]
        history.append((boxes[last], direction))
        boxes[last] += direction
        player = boxes[last] + direction
        state = tuple(sorted(boxes))
        if state not in seen:
            seen.add(state)
            score = _score(boxes, origin, width, history)
            if score > best_score:
                best, best_score = len(history), score
    return _played(rng, floor, goals, history[:best]) if best else None


def _flood(seed: int, free: int, stride: int) -> int:
    """Return the cells of ``free`` that can be walked to from ``seed``; the edge of the board must be walls."""
    while True:
        grown = seed | ((seed << 1 | seed >> 1 | seed << stride | seed >> stride) & free)
        if grown == seed:
            return seed
        seed = grown


def _score(boxes: list[int], origin: list[int], width: int, history: list[tuple[int, int]]) -> float:
    """How hard a state looks: boxes off all goals and far from their own, and many changes of box and direction."""
    goals = set(origin)
    away = sum(box not in goals for box in boxes)
    far = sum(
        abs(box // width - goal // width) + abs(box % width - goal % width)
        for box, goal in zip(boxes, origin, strict=True)
    )
    turns = sum(one[1] != other[1] for one, other in zip(history[-40:], history[-39:], strict=False))
    return 3.0 * away + far + 0.1 * turns


def _played(rng: np.random.Generator, floor: Mask, goals: Sequence[Cell], history: list[tuple[int, int]]) -> Pulled:
    """Redo the pulls to see where all stand, let the player walk off, then turn the pulls round into pushes with the
    walks between them."""
    width = floor.shape[1]
    boxes = [row * width + column for row, column in goals]
    for box, step in history:
        boxes[boxes.index(box)] = box + step
    flat = floor.ravel().tolist()
    now = set(boxes)
    free = sum(1 << cell for cell, open_ in enumerate(flat) if open_ and cell not in now)
    box, step = history[-1]
    reach = _flood(1 << (box + 2 * step), free, width)
    player = pick(rng, [cell for cell in range(len(flat)) if reach >> cell & 1])
    here, cells, moves = player, [player], []
    for box, step in reversed(history):
        # It was pulled from ``box`` to ``box + step``; it is pushed from behind, against the step.
        walk = _walk(flat, now, here, box + 2 * step, width)
        cells += [*walk, box + step]
        moves += [*_letters(here, walk, width), _letter(-step, width).upper()]
        now.discard(box + step)
        now.add(box)
        here = box + step
    places, standing = _cells(cells, width), _cells(boxes, width)
    return Pulled(standing, places[0], places, "".join(moves), len(history))


def _cells(flat: Sequence[int], width: int) -> tuple[Cell, ...]:
    return tuple((cell // width, cell % width) for cell in flat)


def _walk(flat: list[bool], boxes: set[int], start: int, end: int, width: int) -> list[int]:
    """Return the cells of a shortest walk, without its first."""
    came, edge = {start: start}, [start]
    while end not in came:
        beyond = []
        for here in edge:
            for step in (-width, width, -1, 1):
                there = here + step
                if flat[there] and there not in boxes and there not in came:
                    came[there] = here
                    beyond.append(there)
        edge = beyond
    way: list[int] = []
    here = end
    while here != start:
        way.append(here)
        here = came[here]
    return way[::-1]


def _letters(start: int, walk: list[int], width: int) -> list[str]:
    return [_letter(there - here, width) for here, there in zip([start, *walk], walk, strict=False)]


def _letter(step: int, width: int) -> str:
    return {-width: "u", width: "d", -1: "l", 1: "r"}[step]
