"""Step 1 of the behavior scenario: choose a pretrained model by what it makes of the training clips."""

from __future__ import annotations

import time

import numpy as np
import torch

from newgameplus import progress
from newgameplus.choose import Candidate, Choice, leave_one_out_knn, rank_candidates
from newgameplus.scenarios.behavior_data import BehaviorGame
from newgameplus.scenarios.behavior_work import BehaviorWork

__all__ = ["choose_start"]


def choose_start(work: BehaviorWork, game: BehaviorGame) -> Choice:
    """Rank the candidates by what their frozen features say about the training clips; a run chooses once."""
    note = work.run.note("choice")
    if note is not None:
        with work.run.noted("choice"):
            candidates = [Candidate(**candidate) for candidate in note["candidates"]]
            return Choice(note["name"], tuple(candidates), note["reason"])
    candidates = []
    for name in work.recipe.model.candidates:
        start = work.pretrained(name)
        began = time.monotonic()
        features = work.features(game, start, "train")
        groups = np.unique([game.groups[i] for i in game.split.train], return_inverse=True)[1]
        targets = torch.from_numpy(game.targets[game.split.train])
        knn = leave_one_out_knn(features, targets, torch.from_numpy(groups))
        candidates.append(Candidate(name, knn, start.card.parameters, round(time.monotonic() - began, 3)))
    choice = rank_candidates(candidates)
    work.run.keep_note("choice", choice.as_dict())
    progress.say(f"1 choose: {choice.reason}")
    return choice
