"""Networks whose answers are known, and rules that say what a test wants: making levels without any learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from newgameplus.games.rules.contract import Answer, Budget, Proof, Rules
from newgameplus.games.scenes import Level, Tile, Tileset
from newgameplus.pretrained.tile_model import TileFacts, TileModel
from newgameplus.pretrained.tile_tokens import TileTokens

_BUDGET = Budget()
#: float64 [tiles] for a tile by its column, its row in the scan and the tile before it (-1 before the first).
Script = Callable[[int, int, int], Sequence[float]]


class ScriptedCache:
    """Counts tokens, as a real cache does."""

    def __init__(self, capacity: int) -> None:
        self.length, self.capacity = 0, capacity


class ScriptedNetwork(nn.Module):
    """Says what a function says, and remembers how many tokens it was asked for."""

    def __init__(self, script: Script, capacity: int = 10_000) -> None:
        super().__init__()
        self.script, self.capacity, self.asked = script, capacity, 0
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(
        self, tokens: TileTokens, cache: ScriptedCache | None = None, own: Tensor | None = None, tables: object = None
    ) -> Tensor:
        batch, count = tokens.previous.shape
        self.asked += batch * count
        if cache is not None:
            cache.length += count
            assert cache.length <= cache.capacity
        answers = [
            [
                self.script(int(column), int(row), int(before) - 2)
                for (column, row), before in zip(places, befores, strict=True)
            ]
            for places, befores in zip(tokens.position.tolist(), tokens.previous.tolist(), strict=True)
        ]
        return torch.tensor(answers, dtype=torch.float32)

    def tables(self) -> None:
        return None

    def new_cache(self, batch: int, least: int = 0) -> ScriptedCache:
        return ScriptedCache(max(self.capacity, least))

    def vocabulary(self) -> list[Tensor]:
        return []


def scripted_model(
    tiles: Mapping[str, Sequence[str]], script: Script | None = None, capacity: int = 10_000
) -> TileModel:
    """Return a model over tiles; all of them are alike to it if there is no script."""
    count = len(tiles)
    facts = tuple(TileFacts(name, tuple(meanings)) for name, meanings in tiles.items())
    network = ScriptedNetwork(script or (lambda column, row, before: [0.0] * count), capacity)
    return TileModel("scripted", network, facts, (), ("solid",))


def empty_level(tiles: Mapping[str, Sequence[str]], height: int = 1, width: int = 1) -> Level:
    """Return a level of the first tile."""
    tileset = Tileset(tuple(Tile(name, frozenset(meanings)) for name, meanings in tiles.items()))
    return Level(np.zeros((height, width), np.int32), tileset, "empty")


class ScriptedRules(Rules):
    """Rules that find playable what a function does, with the level's corner as the proof."""

    name = "scripted"

    def __init__(self, playable: Callable[[Level], bool], *, at: tuple[int, int] | None = None) -> None:
        self.playable, self.at, self.solved, self.refused = playable, at, 0, False

    def solve(self, level: Level, budget: Budget = _BUDGET) -> Answer:
        self.solved += 1
        if self.playable(level):
            return Answer("playable", Proof(((0, 0),)), measures={"path_length": 1.0})
        return Answer("unplayable", reason="it was said so", at=self.at)

    def replay(self, level: Level, proof: Proof) -> str:
        return "step 0 is refused" if self.refused else ""
