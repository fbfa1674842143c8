"""Step 1 of the behavior scenario: choose a pretrained model by what it makes of the training clips."""

from __future__ import annotations

import time

import numpy as np
import torch

from newgameplus import progress
from newgameplus.choose import Choice, decide, estimate
from newgameplus.scenarios.behavior_data import BehaviorGame
from newgameplus.scenarios.behavior_work import BehaviorWork

__all__ = ["choose_start"]


def choose_start(work: BehaviorWork, game: BehaviorGame) -> Choice:
    """Rank the candidates by what their frozen features say about the training clips; a run chooses once."""
    note = work.run.note("choice")
    if note is not None:
        with work.run.noted("choice"):
            return Choice.from_dict(note)
    candidates = []
    for name in work.recipe.model.candidates:
        start = work.pretrained(name)
        began = time.monotonic()
        features = work.features(game, start, "train")
        groups = np.unique([game.groups[i] for i in game.split.train], return_inverse=True)[1]
        targets = torch.from_numpy(game.targets[game.split.train])
        seconds = round(time.monotonic() - began, 3)
        candidates.append(
            estimate(features, targets, torch.from_numpy(groups), start.card, labels=game.labels, seconds=seconds)
        )
    choice = decide(candidates)
    work.run.keep_note("choice", choice.as_dict())
    progress.say(f"1 choose: {choice.reason}")
    return choice
