"""Judge maps that do not show how they hang together: dungeons whose bombed walls, stairs and warps are not drawn.

Such a map has open doors, but no start, key or goal to say what to reach. What can be asked of it is that its pieces
are rooms: most cells can be walked to from a door, and most doors lead somewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from newgameplus.games.rules.contract import Cell
from newgameplus.games.rules.top_down_map import Graph, Ground, Mask
from newgameplus.games.scenes import Level

__all__ = ["Pieces", "judge_pieces"]

_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8


@dataclass(frozen=True, eq=False)
class Pieces:
    """What the pieces of a map are like.

    Attributes:
        count: Pieces, of any size.
        largest: bool [height, width]: cells of the largest piece.
        housed: Share of the cells that can be walked to from a door.
        leading: Share of the doors that lead somewhere.
        outside: First cell that cannot be walked to from a door, if any.
        blind: First door that leads nowhere, if any.
    """

    count: int
    largest: Mask
    housed: float
    leading: float
    outside: Cell | None
    blind: Cell | None


def judge_pieces(level: Level, ground: Ground, graph: Graph, depth: int) -> Pieces:
    """Look at the pieces of a map.

    Args:
        level: The map; some cell is passable.
        ground: What its cells are to a walker; its doors are open.
        graph: Its graph.
        depth: How many solid cells may lie between a door and the edge of the map that it leads over.
    """
    shape = ground.passable.shape
    piece = np.array([*_connected(graph), -1])[graph.nodes].reshape(shape)
    doors = level.where("door") & ~level.where("start")
    floor = ground.passable & (ground.passages == 0)
    sizes = np.bincount(piece[floor])
    with_door = np.zeros(len(sizes), np.bool_)
    with_door[np.unique(piece[doors])] = True
    lost = floor & ~np.append(with_door, False)[piece]
    blind, leading = _blind_doors(level, ground, doors, depth)
    return Pieces(
        len(sizes),
        np.asarray(piece == sizes.argmax()),
        1.0 - float(lost.sum() / floor.sum()),
        leading,
        _first(lost),
        _first(blind),
    )


def _connected(graph: Graph) -> list[int]:
    """Return the piece that each node belongs to, one-way steps taken either way."""
    piece = [-1] * len(graph.out)
    count = 0
    for first in range(len(piece)):
        if piece[first] >= 0:
            continue
        edge = [first]
        piece[first] = count
        while edge:
            node = edge.pop()
            for other in (*graph.out[node], *graph.into[node]):
                if piece[other] < 0:
                    piece[other] = count
                    edge.append(other)
        count += 1
    return piece


def _blind_doors(level: Level, ground: Ground, doors: Mask, depth: int) -> tuple[Mask, float]:
    """Return the cells of doors that lead nowhere, and the share of doors that lead on.

    A door (with the one it faces) leads on if there is room, or the edge of the map, on two opposite sides of it. Water
    is room: what crosses it may not be drawn either.
    """
    from scipy import ndimage  # type: ignore[import-untyped]

    labels, count = ndimage.label(doors | (ground.passages > 0))
    sides = np.zeros(count + 1, np.int64)
    space = np.pad(~level.where("solid", "void", "box") & ~doors & (ground.passages == 0), 1)
    solid = level.where("solid") & ~doors
    for bit, (down, right) in ((_UP, (-1, 0)), (_DOWN, (1, 0)), (_LEFT, (0, -1)), (_RIGHT, (0, 1))):
        near = space[1 + down : space.shape[0] - 1 + down, 1 + right : space.shape[1] - 1 + right]
        touching = doors & (near | _edge_near(solid, down, right, depth))
        sides[np.unique(labels[touching])] |= bit
    across = (sides & (_UP | _DOWN) == (_UP | _DOWN)) | (sides & (_LEFT | _RIGHT) == (_LEFT | _RIGHT))
    real = np.unique(labels[doors])
    leading = float(across[real].mean()) if len(real) else 1.0
    return doors & ~across[labels], leading


def _edge_near(solid: Mask, down: int, right: int, depth: int) -> Mask:
    """Return the cells from which only solid cells, at most ``depth``, lie between them and the edge that way."""
    turned = solid if right else solid.T
    if down + right < 0:
        turned = turned[:, ::-1]
    near = np.zeros(turned.shape, np.bool_)
    near[:, -1:] = True
    for step in range(1, min(depth, turned.shape[1] - 1) + 1):
        near[:, -1 - step] = near[:, -step] & turned[:, -step]
    if down + right < 0:
        near = near[:, ::-1]
    return np.asarray(near if right else near.T)


def _first(mask: Mask) -> Cell | None:
    found = np.argwhere(mask)
    return (int(found[0][0]), int(found[0][1])) if len(found) else None
