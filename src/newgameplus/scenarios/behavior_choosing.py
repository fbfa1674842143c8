"""``ngp choose`` for clips: the first two steps of a fit, with nothing left behind but cached frames and features."""

from __future__ import annotations

import tempfile
from pathlib import Path

from newgameplus.choose import Choice
from newgameplus.recipe import Recipe
from newgameplus.run import Run
from newgameplus.scenarios.behavior import BehaviorScenario
from newgameplus.scenarios.behavior_choice import ChoiceSettings, choose_start

__all__ = ["choose_behavior"]


def choose_behavior(recipe: Recipe, *, top: int = 3, short_run: bool = True) -> Choice:
    """Rank the models that a recipe may start from, on its training clips.

    Args:
        recipe: The recipe; ``model.start`` names the candidates.
        top: How many of the best get a short run.
        short_run: Whether any do.

    Raises:
        NewGamePlusError: The data or a model cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="ngp-choose-") as folder:
        scenario = BehaviorScenario(Run(Path(folder), recipe, {}))
        game = scenario.load()
        return choose_start(scenario.work, game, ChoiceSettings(top, short_run))
