"""Vocabulary surgery: give a tile model the tiles and measures of a new game, each starting from what is most alike.

A new tile takes over the embedding of the known tile that means the same and stands among the same neighbours; where
none is alike, its meanings alone must do. Known measures keep their weights, new ones start silent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from newgameplus.adapt.rows import move_columns, move_rows
from newgameplus.pretrained.tile_model import TileFacts, TileModel, meaning_table
from newgameplus.pretrained.tile_network import TileNetwork

__all__ = ["Origin", "change_vocabulary", "find_origins"]

_ALIKE = 0.5
_HABITS = 0.3
_NAMES = 0.05


@dataclass(frozen=True)
class Origin:
    """Where a tile of the new game starts from.

    Attributes:
        name: The new tile.
        meanings: What it means.
        start: The known tile it starts from; empty if it starts from its meanings alone.
        similarity: How alike they are, in 0..1: overlap of meanings and of neighbours.
    """

    name: str
    meanings: tuple[str, ...]
    start: str
    similarity: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, with the key ``from`` for the start."""
        return {
            "name": self.name,
            "meanings": list(self.meanings),
            "from": self.start,
            "similarity": round(self.similarity, 3),
        }


def find_origins(known: Sequence[TileFacts], new: Sequence[TileFacts]) -> list[Origin]:
    """Find for each new tile the known one that is most alike.

    Similarity is the Jaccard index of the meanings, plus how alike the neighbours are, plus a little for the same
    name; below one half a tile starts from its meanings alone.
    """
    origins = []
    for tile in new:
        scores = [_similarity(tile, other) for other in known]
        best = max(range(len(known)), key=lambda n: (scores[n], known[n].name == tile.name), default=-1)
        if best < 0 or scores[best] < _ALIKE:
            origins.append(Origin(tile.name, tile.meanings, "", max(scores, default=0.0)))
        else:
            origins.append(Origin(tile.name, tile.meanings, known[best].name, scores[best]))
    return origins


def _similarity(one: TileFacts, other: TileFacts) -> float:
    if one == other:
        return 1.0
    mine = {meaning.partition(":")[0] for meaning in one.meanings}
    theirs = {meaning.partition(":")[0] for meaning in other.meanings}
    meanings = len(mine & theirs) / max(1, len(mine | theirs))
    habits = 0.0
    if one.habits and other.habits:
        distance = sum(abs(a - b) for a, b in zip(one.habits, other.habits, strict=True)) / len(one.habits)
        habits = 1.0 - distance
    same = float(one.name.rpartition(":")[2] == other.name.rpartition(":")[2])
    return (meanings + _HABITS * habits + _NAMES * same) / (1.0 + _HABITS + _NAMES)


def change_vocabulary(
    model: TileModel, tiles: Sequence[TileFacts], measures: Sequence[str]
) -> tuple[TileModel, list[Origin]]:
    """Return a model for the tiles and measures of a new game, and where each tile started from.

    The body of the network is kept as it is. The same tiles and measures give back the same function.

    Args:
        model: The pretrained model; it is not changed.
        tiles: Tiles of the new game.
        measures: What its levels can be asked for.
    """
    tiles, measures = tuple(tiles), tuple(measures)
    if not isinstance(model.network, TileNetwork):
        from newgameplus.pretrained.text_tiles import change_text_vocabulary

        changed, starts = change_text_vocabulary(model, tiles, measures)
        return changed, [Origin(t.name, t.meanings, start, 0.0) for t, start in zip(tiles, starts, strict=True)]
    origins = find_origins(model.tiles, tiles)
    return _operated(model, model.network, tiles, measures, origins), origins


def _operated(
    model: TileModel,
    old: TileNetwork,
    tiles: tuple[TileFacts, ...],
    measures: tuple[str, ...],
    origins: list[Origin],
) -> TileModel:
    number = {tile.name: index for index, tile in enumerate(model.tiles)}
    rows = [number.get(origin.start, -1) for origin in origins]
    shape = replace(old.shape, tiles=len(tiles), wishes=len(measures) * _features(model, old))
    network = TileNetwork(shape, meaning_table(tiles, model.meanings))
    shared = {
        name: value
        for name, value in old.state_dict().items()
        if name not in ("meanings", "own", "answer_own", "bias", "wishes.weight")
    }
    network.load_state_dict(shared, strict=False)
    copies = Counter(row for row in rows if row >= 0)
    with torch.no_grad():
        network.own.copy_(move_rows(old.own, rows))
        network.answer_own.copy_(move_rows(old.answer_own, rows))
        # Several tiles that start from one share its probability.
        shared_out = torch.tensor([math.log(copies[row]) if row >= 0 else 0.0 for row in rows])
        network.bias.copy_(move_rows(old.bias, rows, fill=old.bias.min()) - shared_out)
        network.wishes.weight.copy_(_wish_columns(old.wishes.weight, model.measures, measures, _features(model, old)))
    return TileModel(model.name, network.eval(), tiles, measures, model.meanings, dict(model.facts))


def _features(model: TileModel, network: TileNetwork) -> int:
    return network.shape.wishes // max(1, len(model.measures))


def _wish_columns(weight: Tensor, known: Sequence[str], new: Sequence[str], features: int) -> Tensor:
    """Move the columns of known measures to their new places; new measures start silent."""
    places = {name: place for place, name in enumerate(known)}
    sources = [
        places[name] * features + feature if name in places else -1 for name in new for feature in range(features)
    ]
    return move_columns(weight, sources)
