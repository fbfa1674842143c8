"""What the steps of the behavior scenario share: the run, models as the recipe asks for them, features kept."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from newgameplus.errors import PretrainedModelError, RunError
from newgameplus.files import digest_bytes
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.recipe import Recipe
from newgameplus.run import REDO, Run
from newgameplus.scenarios.behavior_candidates import resolve_candidates
from newgameplus.scenarios.behavior_data import BehaviorGame
from newgameplus.scenarios.behavior_features import cached_features
from newgameplus.scenarios.sequence_data import SequenceGame, pretrained_for
from newgameplus.shapes import InputShape, Predictions
from newgameplus.tensors import load_tensors, save_tensors
from newgameplus.train.device import threads_for, using_threads
from newgameplus.train.shared_features import features_of

__all__ = ["AT_ONCE", "BehaviorWork"]

AT_ONCE = 64
"""Clips answered at once."""


class BehaviorWork:
    """A behavior run at work.

    Args:
        run: The run folder.

    Raises:
        RunError: It is a run of another scenario.
    """

    def __init__(self, run: Run) -> None:
        if not isinstance(run.recipe, Recipe):
            message = f"this is a run of the {run.recipe.scenario} scenario, not of behavior"
            raise RunError(message, source=str(run.folder), remedy="give a behavior run")
        self.run, self.recipe = run, run.recipe
        self.game: BehaviorGame | None = None
        self._features: dict[str, Tensor] = {}

    def pretrained(self, name: str, *, fresh: bool = False) -> PretrainedModel:
        """Load a model, by its label among the recipe's candidates, with the options that are for it and the seed."""
        torch.manual_seed(self.recipe.seed)
        start = self.recipe.model.find(name)
        if isinstance(self.game, SequenceGame):
            return pretrained_for(self.game, start.name, fresh=fresh, options=start.options)
        model = load_pretrained(start.name, fresh=fresh, options=start.options)
        if self.game is not None and model.card.modality == "sequence":
            message = f"{name} reads numbers over time, and this run learns from clips"
            raise PretrainedModelError(message, source="model.start", remedy="leave it out")
        return model

    def settle(self, label: str) -> PretrainedModel:
        """Load the candidate that was chosen; from here on the recipe starts from it alone."""
        self.recipe = self.recipe.model_copy(update={"model": self.recipe.model.only(label)})
        return self.pretrained(self.recipe.model.candidates[0])

    def input_shape(self) -> InputShape:
        """Return what the first candidate takes, after making sure that the data are of its kind.

        Raises:
            PretrainedModelError: No model can be used, such as one of clips that meets sequences.
        """
        name, card = next(iter(resolve_candidates(self.run, self.recipe).cards.items()))
        return card.shape if card.modality == "sequence" else self.pretrained(name).card.shape

    def features(self, game: BehaviorGame, start: PretrainedModel, part: str) -> Tensor:
        """Features of the untouched backbone, computed once for probe, zero-shot and the head of the fine-tune."""
        options = json.dumps(dict(start.options), sort_keys=True)
        key = f"{start.card.name} {options} {part}"
        if key not in self._features:
            about = f"{start.card.digest or start.card.family} {options}"
            path = self.run.checkpoint(f"features-{part}-{digest_bytes(about.encode())[:12]}")
            if path.is_file():
                tensors = load_tensors(path, remedy=REDO)[0]
                if len(tensors.get("features", ())) != len(game.split.parts()[part]):
                    raise RunError("these are not the features of the clips", source=str(path), remedy=REDO)
                self._features[key] = tensors["features"]
            else:
                features = self.features_at(game, start, game.split.parts()[part], f"features, {part}")
                save_tensors(path, {"features": features})
                self._features[key] = features
        return self._features[key]

    def features_at(
        self, game: BehaviorGame, start: PretrainedModel, indices: np.ndarray[Any, Any], title: str
    ) -> Tensor:
        """Features of the untouched backbone for some clips, from the cache folder if an earlier run left them there.

        Args:
            game: The clips.
            start: The pretrained model.
            indices: int64 [n]; which clips.
            title: What to call the work in the progress shown.

        Returns:
            float32 [n, feature_dim].
        """
        digests = game.at(start.card.shape).digests

        def compute() -> Tensor:
            examples = game.examples(start.card.shape, indices)
            with using_threads(threads_for(start.backbone, self.recipe.train)):
                return features_of(start.backbone, examples, title, AT_ONCE)

        if isinstance(game, SequenceGame):  # they also depend on how the training part was standardized
            return compute()
        asked = [digests[index] for index in indices.tolist()]
        return cached_features(start.card, start.options, asked, compute)

    def predictions(self, game: BehaviorGame, probabilities: np.ndarray[Any, Any]) -> Predictions:
        """Return probabilities of the test clips beside the truth."""
        test = game.split.test
        return Predictions(
            game.labels,
            probabilities,
            game.targets[test],
            tuple(game.groups[i] for i in test),
            tuple(game.identities[i] for i in test),
        )
