"""A short fine-tuning of a candidate on some of the training groups, judged on the others; test clips are never asked.

The training groups are dealt to folds. With few clips every fold is held out once, so that each clip is asked; with
many, one fold is enough. All candidates get the same folds, the same steps and the same seeds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from newgameplus import progress
from newgameplus.adapt import ClipClassifier, plan_phases
from newgameplus.adapt.answers import classify
from newgameplus.choose import Candidate, ShortRun
from newgameplus.evaluate.intervals import interval
from newgameplus.files import digest_bytes
from newgameplus.recipe import TrainSettings
from newgameplus.scenarios.behavior_data import BehaviorGame
from newgameplus.scenarios.behavior_training import gentle, own_head_accuracy
from newgameplus.scenarios.behavior_work import AT_ONCE, BehaviorWork
from newgameplus.shapes import Predictions
from newgameplus.train.device import threads_for, using_threads
from newgameplus.train.loop import train_classifier

__all__ = ["ShortRuns", "deal_folds"]

STEPS = 20
"""Steps that each fold's short run aims at (the loop makes at least four passes): with three folds of three candidates
choosing must stay well below the cost of fine-tuning all."""
#: With more clips than this one fold is held out, and no more than this many are trained on.
_MANY_CLIPS = 600
_FOLDS = 3

Indices = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Fold:
    """Positions among the clips: to train on, and to ask."""

    train: Indices
    held_out: Indices


def deal_folds(groups: Indices, folds: int, seed: int) -> list[Indices]:
    """Deal whole groups to folds of about the same size.

    Args:
        groups: int64 [clips]; group of each clip.
        folds: How many folds at most; no more than there are groups.
        seed: The same seed deals the same.

    Returns:
        For each fold the positions of its clips, ascending.
    """
    names, counts = np.unique(groups, return_counts=True)
    order = np.random.default_rng([seed, 0xF01D]).permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    hands: list[list[int]] = [[] for _ in range(min(folds, len(names)))]
    sizes = np.zeros(len(hands))
    for group in order.tolist():
        smallest = int(sizes.argmin())
        hands[smallest].append(int(names[group]))
        sizes[smallest] += counts[group]
    return [np.flatnonzero(np.isin(groups, hand)) for hand in hands]


class ShortRuns:
    """Short runs of several candidates on the same folds.

    Args:
        work: The run at work.
        game: The clips.
        indices: int64 [n]; the training clips to use.
    """

    def __init__(self, work: BehaviorWork, game: BehaviorGame, indices: Indices) -> None:
        self.work, self.game, self.indices = work, game, indices
        self.targets = game.targets[indices]
        self.groups = np.unique([game.groups[index] for index in indices.tolist()], return_inverse=True)[1]
        self.folds = self._folds(work.recipe.seed)

    @property
    def possible(self) -> bool:
        """Whether there are groups to hold out."""
        return bool(self.folds)

    def _folds(self, seed: int) -> list[_Fold]:
        parts = deal_folds(self.groups, _FOLDS, seed)
        if len(parts) < 2:
            return []
        folds = []
        for part in parts if len(self.indices) <= _MANY_CLIPS else parts[:1]:
            rest = np.setdiff1d(np.arange(len(self.indices)), part)
            kept = np.random.default_rng([seed, 0xC11B]).permutation(rest)[:_MANY_CLIPS]
            if len(np.unique(self.targets[kept])) > 1:
                folds.append(_Fold(np.sort(kept), part))
        return folds

    def run(self, candidate: Candidate) -> ShortRun:
        """Fine-tune a candidate for a few steps on each fold; once done it is kept in the run's notes."""
        key = f"short-{digest_bytes(candidate.name.encode())[:12]}"
        note = self.work.run.note(key)
        if note is not None:
            with self.work.run.noted(key):
                return ShortRun(**note)
        began, steps = time.monotonic(), 0
        progress.say(f"1 choose: short fine-tuning of {candidate.name} on training groups, others held out")
        answers = []
        for number, fold in enumerate(self.folds):
            probabilities, done = self._fold(candidate, fold, f"{key}-{number}")
            answers.append(probabilities)
            steps = max(steps, done)
        asked = np.concatenate([fold.held_out for fold in self.folds])
        predictions = self._predictions(np.concatenate(answers), asked)
        settings = self.work.recipe.evaluate
        found = interval(predictions, resamples=settings.resamples, level=settings.level, seed=self.work.recipe.seed)
        seconds = round(time.monotonic() - began, 3)
        result = ShortRun(found.value, found.low, found.high, steps, seconds)
        self.work.run.keep_note(key, vars(result))
        return result

    def _fold(self, candidate: Candidate, fold: _Fold, arm: str) -> tuple[np.ndarray[Any, Any], int]:
        recipe, game = self.work.recipe, self.game
        start = self.work.pretrained(candidate.name)
        features = self.work.features_at(game, start, self.indices, "features")[torch.from_numpy(fold.train)]
        train = self.indices[fold.train]
        settings = short_settings(recipe.train)
        torch.manual_seed(recipe.seed)
        classifier = ClipClassifier(start.backbone, game.labels)
        own = own_head_accuracy(start, features, game.targets[train], game.labels)
        if recipe.adapt.head == "auto" and own is not None and own > candidate.scores["knn"]:
            classifier.head.carry_over(game.labels, start.zero_shot)  # type: ignore[arg-type]
            settings = gentle(settings)
        phases = plan_phases("lp-ft", len(start.backbone.blocks()), recipe.adapt.layer_decay)
        shape = start.card.shape
        checkpoint = self.work.run.checkpoint(arm)
        result = train_classifier(
            classifier,
            phases,
            game.examples(shape, train, augment=settings.augment, mirror=settings.mirror == "auto"),
            None,
            settings,
            seed=recipe.seed,
            arm="short run",
            checkpoint=checkpoint,
            features={"train": features},
        )
        with using_threads(threads_for(classifier, settings)):
            held_out = game.examples(shape, self.indices[fold.held_out])
            probabilities = classify(classifier, held_out.batches(AT_ONCE))
        checkpoint.unlink(missing_ok=True)
        return probabilities, result.steps

    def _predictions(self, probabilities: np.ndarray[Any, Any], positions: Indices) -> Predictions:
        game, asked = self.game, self.indices[positions]
        return Predictions(
            game.labels,
            probabilities,
            game.targets[asked],
            tuple(game.groups[index] for index in asked.tolist()),
            tuple(game.identities[index] for index in asked.tolist()),
        )


def short_settings(settings: TrainSettings) -> TrainSettings:
    """Return a recipe's settings for so few steps: the same rates, no range test and no early stop."""
    rate = settings.learning_rate if settings.learning_rate != "find" else TrainSettings().learning_rate
    return settings.model_copy(
        update={"epochs": "auto", "steps": STEPS, "patience": None, "ema": None, "learning_rate": rate}
    )
