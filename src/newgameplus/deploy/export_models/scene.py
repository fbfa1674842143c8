"""A scene run leaves as its tile network: tokens of a level in, logits of the tile at every token out.

The network alone makes no level that can be played: rules, solver and repair stay in ``ngp generate``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from newgameplus.deploy.export_parity import MOST_SAMPLES
from newgameplus.deploy.exportable import Arrays, Exportable, ExportedInput, ExportedOutput
from newgameplus.deploy.generation import open_scene
from newgameplus.errors import ExportError, RunError
from newgameplus.pretrained.tile_model import TileModel
from newgameplus.pretrained.tile_network import TileNetwork
from newgameplus.pretrained.tile_tokens import OFFSETS, TileTokens
from newgameplus.run import Run
from newgameplus.train.levels import LevelBook, collate

__all__ = ["open_tiles"]

_MOST_TOKENS = 96


class _Answers(nn.Module):
    """A tile network with plain tensors in and out, one full pass without a cache."""

    def __init__(self, network: TileNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, around: Tensor, place: Tensor, position: Tensor, wishes: Tensor) -> tuple[Tensor]:
        tokens = TileTokens(around, around[..., 0], place, position, wishes)
        return (self.network(tokens),)


def open_tiles(run: Run, data: str | Path | None) -> Exportable:
    """Return a scene run's tile network, with windows of its own maps as real inputs.

    Args:
        run: The run.
        data: Must be None.

    Raises:
        RunError: There is no model, its maps are gone, or ``data`` is given.
        ExportError: The network is a causal language model, which works on text, not on tiles.
    """
    if data is not None:
        message = "a scene run is checked on its own maps"
        raise RunError(message, source=f"--data {data}", remedy="leave out --data")
    model, _, game, recipe = open_scene(run)
    network = model.network
    if not isinstance(network, TileNetwork):
        message = "this run's network is a language model: its tiles are words of a text, which only ngp generate makes"
        remedy = "serve it with ngp generate, or fit from bundled:tiles and export that"
        raise ExportError(message, source=str(run.folder), remedy=remedy)
    if not network.shape.wishes:
        message = "this run's network has no wishes, and an input without numbers cannot leave"
        remedy = "set control.measures in the recipe and fit again, or serve it with ngp generate"
        raise ExportError(message, source=str(run.folder), remedy=remedy)
    numbers = game.test if len(game.test) else game.train
    examples = game.examples(numbers, recipe.data.scan)
    book = LevelBook(examples, model.measures, min(network.context, _MOST_TOKENS))
    return Exportable(
        module=_Answers(network).eval(),
        inputs=(
            ExportedInput("around", "int64", ("tokens", len(OFFSETS)), "tiles around, as number in tiles + 2; "
                          "0 outside of the level, 1 where not known yet"),
            ExportedInput("place", "int64", ("tokens", 4), "distance to bottom, top, left and right, at most 31"),
            ExportedInput("position", "int64", ("tokens", 2), "column and row"),
            ExportedInput("wishes", "float32", ("tokens", network.shape.wishes), "what is asked of the level"),
        ),
        outputs=(ExportedOutput("logits", "one number a tile for every token", (network.shape.tiles,)),),
        samples=_windows(book),
        origin="windows of the run's maps",
        facts=_facts(model),
        source=str(run.folder),
    )  # fmt: skip


def _windows(book: LevelBook) -> Arrays:
    tokens, _, _, _ = collate(book.draw(np.random.default_rng(0), MOST_SAMPLES))
    named = {name: getattr(tokens, name) for name in ("around", "place", "position", "wishes")}
    return {name: torch.as_tensor(values).numpy() for name, values in named.items()}


def _facts(model: TileModel) -> dict[str, Any]:
    return {
        "scenario": "scene",
        "tiles": [tile.name for tile in model.tiles],
        "offsets": [list(offset) for offset in OFFSETS],
        "measures": list(model.measures),
        "preprocessing": "a level is scanned column by column, from the bottom up; offsets are (columns back, rows "
        "up) of each tile around; levels made with this network alone are not checked: ngp generate does that",
        "license": str(model.facts.get("license", "unknown")),
        "card": {"name": model.name, "parameters": model.parameters, "facts": model.facts},
    }
