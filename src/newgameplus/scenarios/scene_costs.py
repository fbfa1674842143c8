"""What a scene fit will cost: a rough estimate of time, memory and disk, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from newgameplus.pretrained.tile_model import TileModel
from newgameplus.recipe import SceneRecipe
from newgameplus.scenarios.scene_data import SceneGame
from newgameplus.train.device import threads_for

__all__ = ["estimate_costs"]

_MIB = 2**20
#: What the estimates rest on, measured on two cores of a common server: floating-point operations a second of one
#: core in training and while decoding, seconds of a decoding step of a batch besides, and bytes that Python with torch
#: takes before there is a model.
_TRAIN_FLOPS, _DECODE_FLOPS, _STEP_SECONDS, _PROCESS_BYTES = 1e10, 6e9, 2e-3, 450 * _MIB
_AT_ONCE = 8
_MOST_CORES = 8
#: Bytes that each token keeps for the backward pass: of every layer for each feature, and of the answer for each tile.
_LAYER_BYTES, _ANSWER_BYTES = 80, 12
_LEVEL_FILES = 20_000


@dataclass(frozen=True)
class _Work:
    """How much there is to do: training runs, steps of each, levels to make with networks, and levels to solve."""

    trainings: int
    steps: int
    made: int
    solved: int

    @classmethod
    def of(cls, recipe: SceneRecipe) -> _Work:
        evaluate = recipe.evaluate
        networks = 1 + sum(name in evaluate.baselines for name in ("zero-shot", "scratch"))
        kept = evaluate.deliver + evaluate.requests
        arms, trainings = 1 + len(evaluate.baselines), 1 + ("scratch" in evaluate.baselines)
        learned = trainings * recipe.train.self_training_rounds * recipe.train.self_training_levels
        return cls(
            trainings=trainings,
            steps=recipe.train.steps + recipe.train.self_training_rounds * recipe.train.self_training_steps,
            made=evaluate.samples * networks + 2 * kept + learned,
            solved=evaluate.samples * arms + kept * (1 + recipe.generate.repairs) + 2 * learned,
        )


def estimate_costs(recipe: SceneRecipe, model: TileModel, game: SceneGame, solve_seconds: float) -> dict[str, Any]:
    """Estimate what a fit will take. Rough: within a factor of three on common machines without a GPU.

    Args:
        recipe: The recipe.
        model: What it starts from.
        game: The maps.
        solve_seconds: What one map took to read and solve.

    Returns:
        ``model``, ``strategy``, ``parameters``, ``symbols`` (tiles that the model learns to tell apart), ``steps``,
        ``batch_size``, ``estimated_seconds``, ``estimated_memory_bytes``, ``estimated_disk_bytes``.
    """
    settings, work, weights = recipe.train, _Work.of(recipe), model.parameters
    cores = min(threads_for(model.network, settings), _MOST_CORES)
    context = int(getattr(model.network, "context", 640))
    tokens = settings.batch_size * min(context, max(level.tiles.size for level in game.levels))
    tiles = float(np.mean([level.tiles.size for level in game.levels]))
    checks = settings.steps / settings.check_every * tiles * len(game.validation)
    training = work.trainings * (work.steps * tokens * 6 + checks * 2) * weights / (_TRAIN_FLOPS * cores)
    each = 2 * weights / (_DECODE_FLOPS * cores) + _STEP_SECONDS / _AT_ONCE
    seconds = training + work.made * tiles * each + work.solved * solve_seconds
    shape: Mapping[str, Any] = model.description()["network"].get("shape", {})
    symbols = len(game.stack.tileset)
    wide = int(shape.get("layers", 12)) * int(shape.get("width", 768))
    return {
        "model": model.name,
        "strategy": recipe.adapt.strategy,
        "parameters": weights,
        "steps": work.steps,
        "batch_size": settings.batch_size,
        "symbols": symbols,
        "estimated_seconds": round(seconds, 1),
        "estimated_memory_bytes": int(
            _PROCESS_BYTES + weights * 16 + tokens * (wide * _LAYER_BYTES + symbols * _ANSWER_BYTES)
        ),
        "estimated_disk_bytes": int(weights * 4 * (1 + 4 * work.trainings) + work.made * _LEVEL_FILES + 2 * _MIB),
    }
