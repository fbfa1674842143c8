"""Step 1 of the behavior scenario: choose a pretrained model by what it makes of the training clips."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from newgameplus import progress
from newgameplus.choose import Candidate, Choice, Task, advise, combine, decide, estimate, shortlist
from newgameplus.errors import NewGamePlusError
from newgameplus.recipe_start import AUTO
from newgameplus.scenarios.behavior_after import refuse_unadaptable
from newgameplus.scenarios.behavior_candidates import resolve_candidates
from newgameplus.scenarios.behavior_costs import candidate_cost
from newgameplus.scenarios.behavior_data import BehaviorGame
from newgameplus.scenarios.behavior_seen import refuse_seen, seen_without_labels
from newgameplus.scenarios.behavior_short_run import ShortRuns
from newgameplus.scenarios.behavior_training import recipe_phases
from newgameplus.scenarios.behavior_work import BehaviorWork

__all__ = ["ChoiceSettings", "choose_start"]

#: Training clips that are looked at; more make no better estimate.
_MOST_CLIPS = 2000


@dataclass(frozen=True)
class ChoiceSettings:
    """How to choose.

    Attributes:
        top: How many of the best get a short run.
        short_run: Whether any do.
    """

    top: int = 3
    short_run: bool = True


def choose_start(work: BehaviorWork, game: BehaviorGame, settings: ChoiceSettings | None = None) -> Choice:
    """Choose what to start from: estimates order the candidates, short runs of the best decide; a run chooses once.

    Args:
        work: The run at work.
        game: The clips.
        settings: How to choose.

    Raises:
        PretrainedModelError: No candidate can be used.
    """
    note = work.run.note("choice")
    if note is not None:
        with work.run.noted("choice"):
            return Choice.from_dict(note)
    choice = _Choosing(work, game, settings or ChoiceSettings()).choose()
    work.run.keep_note("choice", choice.as_dict())
    progress.say(f"1 choose: {choice.reason}")
    return choice


class _Choosing:
    def __init__(self, work: BehaviorWork, game: BehaviorGame, settings: ChoiceSettings) -> None:
        self.work, self.game, self.settings = work, game, settings
        self.indices = _sample(game.split.train, work.recipe.seed)
        self.left_out: list[Mapping[str, str]] = []
        self.told: list[str] = []

    def choose(self) -> Choice:
        found = resolve_candidates(self.work.run, self.work.recipe)
        self.left_out += found.left_out
        automatic = AUTO in self.work.recipe.model.candidates
        candidates = [one for name in found.cards if (one := self._estimate(name, automatic)) is not None]
        if len(candidates) > 1:
            candidates = self._try_best(candidates)
        choice = decide(candidates, left_out=self.left_out)
        targets = self.game.targets[self.game.split.train]
        counts = np.bincount(targets, minlength=len(self.game.labels)).tolist()
        groups = len({self.game.groups[index] for index in self.game.split.train.tolist()})
        return replace(choice, advice=" ".join([advise(choice, Task(counts, groups)), *self.told]))

    def _estimate(self, name: str, automatic: bool) -> Candidate | None:
        """Score and time one candidate; one that ``auto`` found is left out if it cannot be loaded."""
        work, game = self.work, self.game
        began = time.monotonic()
        try:
            start = work.pretrained(name)
            refuse_seen(name, start.card, game)
            phases = recipe_phases(work.recipe.adapt, len(start.backbone.blocks()))
            refuse_unadaptable(name, start.backbone, phases)
        except NewGamePlusError as error:
            if not automatic or name in work.recipe.model.candidates:
                raise
            self.left_out.append({"name": name, "message": error.message, "remedy": error.remedy})
            return None
        if told := seen_without_labels(name, start.card, game):
            self.told.append(told)
        if len(self.indices) == len(game.split.train):
            features = work.features(game, start, "train")
        else:
            features = work.features_at(game, start, self.indices, "features of a sample")
        groups = np.unique([game.groups[index] for index in self.indices.tolist()], return_inverse=True)[1]
        targets = torch.from_numpy(game.targets[self.indices])
        found = estimate(features, targets, torch.from_numpy(groups), start.card, labels=game.labels)
        cost = candidate_cost(work.recipe, start, game.labels, len(game.split.train))
        seconds = round(time.monotonic() - began, 3)
        named = work.recipe.model.find(name)
        return replace(found, name=name, start=named.name, options=dict(named.options), seconds=seconds, cost=cost)

    def _try_best(self, candidates: list[Candidate]) -> list[Candidate]:
        """Let the best few have a short run."""
        if not self.settings.short_run:
            return candidates
        runs = ShortRuns(self.work, self.game, self.indices)
        if not runs.possible:
            progress.say("1 choose: too few training groups to hold some out, so estimates decide without short runs")
            return candidates
        best = {one.name for one in shortlist(candidates, self.settings.top)}
        order = combine(candidates)
        return [replace(one, short_run=runs.run(one)) if one.name in best else one for one in order]


def _sample(indices: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
    """Return at most so many of the training clips, drawn at random."""
    if len(indices) <= _MOST_CLIPS:
        return indices
    drawn = np.random.default_rng([seed, 0xC1]).choice(len(indices), _MOST_CLIPS, replace=False)
    return indices[np.sort(drawn)]
