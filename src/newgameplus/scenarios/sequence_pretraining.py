"""Pretraining of a model of numbers over time that goes on with sequences without labels."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch

from newgameplus.errors import RecipeError, TrainingError
from newgameplus.launched import process_count
from newgameplus.pretrained.backbone import Backbone, PretrainedModel
from newgameplus.pretrained.catalog import describe_pretrained
from newgameplus.pretrained.sequence_backbone import SequenceBackbone, known_channels
from newgameplus.recipe import Recipe
from newgameplus.scenarios.sequence_data import SequenceGame, load_sequence_game, pretrained_for
from newgameplus.scenarios.unlabelled_clips import UnlabelledClips
from newgameplus.scenarios.unlabelled_sequences import find_unlabelled_sequences
from newgameplus.train.selfsupervision import Objective
from newgameplus.train.sequence_selfsupervision import GappedBackbone, MaskedSteps

__all__ = ["RATE_OF_SEQUENCES", "SEQUENCE_OBJECTIVES", "load_numbers", "objectives_of_numbers", "rebuilding"]

#: What may be learned from sequences without labels, by the name that a recipe uses, and its share of the loss.
SEQUENCE_OBJECTIVES: Mapping[str, float] = MappingProxyType({"masked-steps": 1.0})
RATE_OF_SEQUENCES = 1e-3


def load_numbers(recipe: Recipe, name: str) -> tuple[PretrainedModel, SequenceGame, UnlabelledClips]:
    """Load what a recipe for sequences goes on with, its labelled sequences, and those without labels.

    A model that was on no sequences before is standardized by all that it learns from here; no held-out one counts.

    Raises:
        NewGamePlusError: Model, sequences or recipe cannot be used, or several processes were started.
    """
    if process_count() > 1:
        message = f"{process_count()} processes were started, and pretraining on sequences works in one"
        raise TrainingError(message, source="scenario", remedy="start it as one: ngp pretrain RECIPE")
    game = load_sequence_game(recipe.data, recipe.seed)
    found = find_unlabelled_sequences(recipe, game)
    torch.manual_seed(recipe.seed)
    options = recipe.model.find(name).options
    start = pretrained_for(game, name, options=options)
    backbone = start.backbone
    if isinstance(backbone, SequenceBackbone) and not known_channels(describe_pretrained(name, options)):
        labelled = [game.sequences.values[index] for index in game.split.train.tolist()]
        backbone.standardize([*labelled, *found.sequences.values])
    return start, game, found.at(start.card.shape.steps)


def objectives_of_numbers(recipe: Recipe) -> tuple[str, ...]:
    """Return what to learn.

    Raises:
        RecipeError: The recipe asks for what clips have.
    """
    wanted = recipe.pretrain.objectives
    if wanted == "auto":
        return tuple(SEQUENCE_OBJECTIVES)
    for name in wanted:
        if name not in SEQUENCE_OBJECTIVES:
            remedy = f"for sequences: {', '.join(SEQUENCE_OBJECTIVES)}; or set pretrain.objectives: auto"
            raise RecipeError(
                f"{name} is learned from clips, not from numbers", source="pretrain.objectives", remedy=remedy
            )
    return tuple(dict.fromkeys(wanted))


def rebuilding(backbone: Backbone, generator: torch.Generator) -> tuple[Backbone, dict[Objective, float]]:
    """Return how a backbone of sequences is trained: what to hand to the loop in its place, and the objectives.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(backbone, SequenceBackbone):
        raise TypeError(type(backbone).__name__)
    return GappedBackbone(backbone), {MaskedSteps(backbone, generator): SEQUENCE_OBJECTIVES[MaskedSteps.name]}
