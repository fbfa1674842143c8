"""Baselines of the behavior scenario that need no training loop: majority, random forest, zero-shot."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from newgameplus import progress
from newgameplus.adapt.answers import zero_shot_probabilities
from newgameplus.evaluate.baselines import majority, random_forest
from newgameplus.evaluate.comparison import ARM_TITLES, FINE_TUNED, Arm
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.scenarios.behavior_data import BehaviorGame
from newgameplus.scenarios.behavior_work import BehaviorWork

__all__ = ["BASELINES", "untrained_arms"]

#: Baselines that are trained like the fine-tuned model; the others need no training loop.
_TRAINED = ("probe", "scratch")
BASELINES = MappingProxyType({name: title for name, title in ARM_TITLES.items() if name != FINE_TUNED})
"""Baselines that a recipe may name, and their titles."""


def untrained_arms(
    work: BehaviorWork, game: BehaviorGame, start: PretrainedModel, skipped: dict[str, str]
) -> list[Arm]:
    """Let the baselines that the recipe wants answer the test clips; add to ``skipped`` why others do not."""
    return _Untrained(work, game, start, skipped).arms()


class _Untrained:
    def __init__(self, work: BehaviorWork, game: BehaviorGame, start: PretrainedModel, skipped: dict[str, str]) -> None:
        self.work, self.recipe = work, work.recipe
        self.game, self.start, self.skipped = game, start, skipped

    def arms(self) -> list[Arm]:
        wanted = self.recipe.evaluate.baselines
        makers: dict[str, Callable[[], Arm | None]] = {
            "majority": self._majority,
            "random-forest": self._random_forest,
            "zero-shot": self._zero_shot,
        }
        arms: list[Arm] = []
        for name, make in makers.items():
            if name not in wanted:
                self.skipped[name] = "not asked for in the recipe"
                continue
            arm = make()
            if arm is not None:
                arms.append(arm)
        self.skipped |= {name: "not asked for in the recipe" for name in _TRAINED if name not in wanted}
        return arms

    def _baseline(self, name: str, probabilities: Any, seconds: float, note: str) -> Arm:
        predictions = self.work.predictions(self.game, probabilities)
        return Arm(name, ARM_TITLES[name], "baseline", predictions, round(seconds, 3), note=note)

    def _majority(self) -> Arm:
        game = self.game
        probabilities = majority(game.targets[game.split.train], len(game.labels), len(game.split.test))
        return self._baseline("majority", probabilities, 0.0, "the most frequent class of the training clips")

    def _random_forest(self) -> Arm:
        game, start = self.game, self.start
        began = time.monotonic()
        shape, split = start.card.shape, game.split
        with progress.task("random forest on simple features", total=2, unit="parts") as task:
            known = game.simple_features(shape, split.train)
            asked = game.simple_features(shape, split.test)
            task.advance()
            targets, classes = game.targets[split.train], len(game.labels)
            probabilities = random_forest(known, targets, asked, classes, seed=self.recipe.seed)
            task.advance()
        return self._baseline("random-forest", probabilities, time.monotonic() - began, game.forest_note)

    def _zero_shot(self) -> Arm | None:
        game, start = self.game, self.start
        if start.zero_shot is None:
            self.skipped["zero-shot"] = "the pretrained model brings no head"
            return None
        began = time.monotonic()
        features = self.work.features(game, start, "test")
        probabilities = zero_shot_probabilities(features, start.zero_shot, game.labels)
        if probabilities is None:
            known = ", ".join(start.zero_shot.labels[:8])
            self.skipped["zero-shot"] = f"no two class names match those that the model knows ({known})"
            return None
        note = "the pretrained model's own head, as it came"
        return self._baseline("zero-shot", probabilities, time.monotonic() - began, note)
