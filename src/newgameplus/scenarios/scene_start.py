"""What fitting, choosing and pretraining of tile models share: a start with the game's tiles, and maps as windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from newgameplus.adapt import adapters
from newgameplus.adapt.tile_strategies import plan_tile_phases
from newgameplus.adapt.vocabulary import Origin, change_vocabulary
from newgameplus.games.structure import tile_habits
from newgameplus.pretrained.tile_model import TileFacts, TileModel, load_start
from newgameplus.recipe_scene import SceneRecipe
from newgameplus.scenarios.scene_data import SceneGame
from newgameplus.train.levels import LevelBook, LevelExample

__all__ = ["level_book", "load_candidate", "open_start", "refuse_unadaptable"]

_CONTEXT = 448


def open_start(
    recipe: SceneRecipe, game: SceneGame, name: str, *, fresh: bool = False
) -> tuple[TileModel, list[Origin]]:
    """Load a pretrained model and give it the game's tiles and measures; also say where each tile starts from.

    Args:
        recipe: The recipe.
        game: The maps.
        name: Label of one of the recipe's candidates, which brings its own options; or a name.
        fresh: Keep the architecture but start from random weights.
    """
    torch.manual_seed(recipe.seed)
    model = load_candidate(recipe, name, fresh=fresh)
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


def load_candidate(recipe: SceneRecipe, name: str, *, fresh: bool = False) -> TileModel:
    """Load one of a recipe's candidates by its label, as it comes; the text encoder of captions is another matter.

    Raises:
        PretrainedModelError: There is no such model or option, or it cannot be loaded.
    """
    start = recipe.model.find(name)
    options = {key: value for key, value in start.options.items() if key not in recipe.model.shared_options}
    return load_start(start.name, fresh=fresh, options=options)


def refuse_unadaptable(recipe: SceneRecipe, name: str, model: TileModel) -> None:
    """Refuse a model that the recipe's strategy cannot be used with.

    Raises:
        RecipeError: There is no such strategy.
        PretrainedModelError: The strategy puts adapters beside layers, and no layer of the model can have one.
        MissingExtraError: It needs a package that is not installed.
    """
    network: Any = model.network
    settings = recipe.adapt
    phases = plan_tile_phases(settings.strategy, len(network.blocks()), l2_sp=settings.l2_sp)
    if any(phase.moving == "adapters" for phase in phases):
        adapters.refuse_unadaptable(name, network, network.blocks())
