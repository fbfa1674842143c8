"""What fitting, choosing and pretraining of tile models share: a start with the game's tiles, and maps as windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from newgameplus.adapt.vocabulary import Origin, change_vocabulary
from newgameplus.games.structure import tile_habits
from newgameplus.pretrained.tile_model import TileFacts, TileModel, load_start
from newgameplus.recipe_scene import SceneRecipe
from newgameplus.scenarios.scene_data import SceneGame
from newgameplus.train.levels import LevelBook, LevelExample

__all__ = ["level_book", "open_start", "source_options"]

_CONTEXT = 448


def open_start(
    recipe: SceneRecipe, game: SceneGame, name: str, *, fresh: bool = False
) -> tuple[TileModel, list[Origin]]:
    """Load a pretrained model and give it the game's tiles and measures; also say where each tile starts from."""
    torch.manual_seed(recipe.seed)
    model = load_start(name, fresh=fresh, options=source_options(recipe))
    habits = tile_habits(game.some(game.train))
    tiles = [
        TileFacts(tile.name, game.way.meanings(number), tuple(round(float(share), 3) for share in habit))
        for number, (tile, habit) in enumerate(zip(game.way.tileset.tiles, habits[game.way.base], strict=True))
    ]
    return change_vocabulary(model, tiles, game.measures)


def level_book(
    recipe: SceneRecipe, game: SceneGame, examples: Sequence[LevelExample], model: TileModel | None = None
) -> LevelBook:
    """Return levels in windows as long as the recipe says and the model can see."""
    rows = max(example.scan.shape[1] for example in examples)
    window = recipe.train.window
    context = getattr(model.network, "context", _CONTEXT) if model is not None else _CONTEXT
    if window != "auto":
        context = min(context, window * rows)
    return LevelBook(examples, game.measures, max(context, rows), recipe.control.dropout)


def source_options(recipe: SceneRecipe) -> dict[str, Any]:
    """Options of the model's source; the text encoder of captions is another matter."""
    return {name: value for name, value in recipe.model.options.items() if name != "text_encoder"}
