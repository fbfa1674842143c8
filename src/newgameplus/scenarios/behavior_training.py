"""Steps 2 and 3 of the behavior scenario: plan what may move; train the fine-tuned model and its trained baselines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from newgameplus import progress
from newgameplus.adapt import ClipClassifier, Phase, plan_phases, trainable_parameters
from newgameplus.adapt.answers import classify, zero_shot_probabilities
from newgameplus.adapt.saving import load_classifier, save_classifier
from newgameplus.choose import Choice
from newgameplus.errors import RunError
from newgameplus.evaluate.comparison import ARM_TITLES, FINE_TUNED, Arm
from newgameplus.evaluate.predictions import predictions_from_dict, predictions_to_dict
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.recipe import AdaptSettings, TrainSettings
from newgameplus.scenarios.behavior_after import check_after, snapshots_of, train_ingredients
from newgameplus.scenarios.behavior_data import BehaviorGame
from newgameplus.scenarios.behavior_seen import name_clips
from newgameplus.scenarios.behavior_work import AT_ONCE, BehaviorWork
from newgameplus.train.device import threads_for, using_threads
from newgameplus.train.loop import TrainingResult, phase_epochs, train_classifier
from newgameplus.train.recording import epoch_recorder
from newgameplus.train.snapshots import Snapshots
from newgameplus.train.weight_choice import choose_weights

__all__ = ["BehaviorTraining", "TrainingPlan", "gentle", "own_head_accuracy", "plan_training", "recipe_phases"]

#: Share of the recipe's rates for a model whose own head does the task already; measured on the validation maps.
_GENTLE = 0.1


@dataclass(frozen=True)
class TrainingPlan:
    """One classifier to train: the fine-tuned model, or a baseline that shares its loop.

    Attributes:
        name: Name of the arm.
        phases: What moves, and for how long.
        fresh: Start from random weights.
        note: What a reader of the table should know.
    """

    name: str
    phases: tuple[Phase, ...]
    fresh: bool = False
    note: str = ""


def recipe_phases(settings: AdaptSettings, blocks: int) -> tuple[Phase, ...]:
    """Return the phases that a recipe asks for, for a backbone with this many blocks."""
    rank, pull = settings.lora_rank, settings.l2_sp
    return tuple(plan_phases(settings.strategy, blocks, settings.layer_decay, lora_rank=rank, l2_sp=pull))


def plan_training(work: BehaviorWork, start: PretrainedModel, skipped: dict[str, str]) -> list[TrainingPlan]:
    """Plan what may move, for the fine-tuned model and the baselines trained beside it; add to ``skipped`` why not."""
    settings, wanted = work.recipe.adapt, work.recipe.evaluate.baselines
    blocks = len(start.backbone.blocks())
    phases = recipe_phases(settings, blocks)
    plans = [TrainingPlan(FINE_TUNED, phases, note=f"{start.card.name}, {settings.strategy}")]
    if "probe" in wanted:
        if settings.strategy == "probe" and settings.head == "fresh":
            skipped["probe"] = "the recipe's own strategy is probe"
        else:
            plans.append(TrainingPlan("probe", tuple(plan_phases("probe", blocks, 1.0)), note="fresh head"))
    if "scratch" in wanted:
        phases = tuple(plan_phases("full", blocks, 1.0))
        plans.append(TrainingPlan("scratch", phases, fresh=True, note="same network, same number of steps"))
    return plans


class BehaviorTraining:
    """Trains the plans of one run.

    Args:
        work: The run at work.
        game: The clips.
        start: The pretrained model.
        choice: How it was chosen.
    """

    def __init__(self, work: BehaviorWork, game: BehaviorGame, start: PretrainedModel, choice: Choice) -> None:
        self.work, self.run, self.recipe = work, work.run, work.recipe
        self.game, self.start, self.choice = game, start, choice

    def train(self, plan: TrainingPlan) -> Arm:
        """Train a plan and let it answer the test clips, or take both from the checkpoints of an interrupted run."""
        return self._kept(plan.name, lambda: self._train_plan(plan))

    def _kept(self, name: str, make: Callable[[], Arm]) -> Arm:
        """Make an arm, or take it from the checkpoints of an interrupted run."""
        note = self.run.note(f"{name}.arm")
        if note is not None and not (name == FINE_TUNED and self._model_is_damaged()):
            with self.run.noted(f"{name}.arm"):
                return Arm(**(note | {"predictions": predictions_from_dict(note["predictions"])}))
        arm = make()
        content = {key: value for key, value in vars(arm).items() if key != "predictions"}
        self.run.keep_note(f"{name}.arm", content | {"predictions": predictions_to_dict(arm.predictions)})
        return arm

    def _model_is_damaged(self) -> bool:
        """Whether the saved model has to be written again from its checkpoint."""
        try:
            load_classifier(self.run.model_folder)
        except RunError as error:
            progress.say(f"the model is written again: {error.source}: {error.message}")
            return True
        return False

    def _train_plan(self, plan: TrainingPlan) -> Arm:
        game, start, split = self.game, self.start, self.game.split
        settings = self.recipe.train
        trusted = plan.name == FINE_TUNED and self._trusts_head()
        if trusted:
            settings = gentle(settings)
        classifier = self._make_classifier(plan, trusted)
        note = plan.note
        if plan.name == FINE_TUNED:
            result, after = self._fine_tune(plan, classifier, settings, trusted)
            note += f", {after}" if after else ""
        else:
            result = self._teach(plan, settings, classifier, plan.name, self.recipe.seed, None)
        with using_threads(threads_for(classifier, settings)):
            if plan.name == FINE_TUNED:
                self._save_model(classifier)
            if not any(any(phase.block_rates) for phase in plan.phases):
                test = self.work.features(game, start, "test")
                probabilities = _head_answers(classifier, test)
            else:
                batches = game.examples(start.card.shape, split.test).batches(AT_ONCE)
                probabilities = classify(classifier, batches)
        moving = trainable_parameters(classifier, list(plan.phases))
        kind: Any = "fine-tuned" if plan.name == FINE_TUNED else "baseline"
        predictions = self.work.predictions(game, probabilities)
        return Arm(
            plan.name, ARM_TITLES[plan.name], kind, predictions, round(result.seconds, 3), result.steps, moving, note
        )

    def _make_classifier(self, plan: TrainingPlan, trusted: bool) -> ClipClassifier:
        """Return the classifier that a plan starts from; the same each time."""
        start = self.start
        model = self.work.pretrained(start.card.name, fresh=True) if plan.fresh else start
        if not plan.fresh and plan.name != "probe":
            model = self.work.pretrained(start.card.name)
        torch.manual_seed(self.recipe.seed)
        classifier = ClipClassifier(model.backbone, self.game.labels)
        if trusted:
            classifier.head.carry_over(self.game.labels, start.zero_shot)  # type: ignore[arg-type]
        return classifier

    def _fine_tune(
        self, plan: TrainingPlan, classifier: ClipClassifier, settings: TrainSettings, trusted: bool
    ) -> tuple[TrainingResult, str]:
        """Train the fine-tuned model and mix its weights if the recipe says so; return the cost and what was mixed."""
        recipe, game, split = self.recipe, self.game, self.game.split
        check_after(recipe, len(split.validation), plan.phases)

        def teach(other: ClipClassifier, name: str, seed: int, keep: Snapshots | None) -> TrainingResult:
            return self._teach(plan, settings, other, name, seed, keep)

        keep = snapshots_of(self.run, plan.name, plan.phases)
        result = teach(classifier, plan.name, recipe.seed, keep)
        if keep is None:
            return result, ""
        kept, costs = train_ingredients(
            self.run, recipe, plan.name, plan.phases, lambda: self._make_classifier(plan, trusted), teach
        )
        shape = self.start.card.shape
        train, validation = game.examples(shape, split.train), game.examples(shape, split.validation)
        epochs = phase_epochs(plan.phases, len(split.train), settings)[-1]
        began = time.monotonic()
        with using_threads(threads_for(classifier, settings)):
            choice = choose_weights(recipe.adapt.after, classifier, [keep, *kept], epochs, train, validation, settings)
        seconds = sum(one.seconds for one in (result, *costs)) + time.monotonic() - began
        steps = sum(one.steps for one in (result, *costs))
        return TrainingResult(steps, seconds, result.rows), choice.text

    def _teach(
        self,
        plan: TrainingPlan,
        settings: TrainSettings,
        classifier: ClipClassifier,
        name: str,
        seed: int,
        keep: Snapshots | None,
    ) -> TrainingResult:
        game, start, split = self.game, self.start, self.game.split
        shape = start.card.shape
        return train_classifier(
            classifier,
            plan.phases,
            game.examples(shape, split.train, augment=settings.augment, mirror=settings.mirror == "auto"),
            game.examples(shape, split.validation) if len(split.validation) else None,
            settings,
            seed=seed,
            arm=name,
            checkpoint=self.run.checkpoint(name),
            backbone_rate=settings.scratch_learning_rate if plan.fresh else None,
            features={} if plan.fresh else {p: self.work.features(game, start, p) for p in ("train", "validation")},
            on_epoch=epoch_recorder(self.run.folder / "tb", name, self.run.write_metrics),
            keep=keep,
        )

    def _trusts_head(self) -> bool:
        """Whether the pretrained head does better on the training clips than its features' nearest neighbours.

        It has not seen their labels, so its accuracy on them is an honest one.
        """
        game, start = self.game, self.start
        if self.recipe.adapt.head != "auto" or start.zero_shot is None:
            return False
        features = self.work.features(game, start, "train")
        right = own_head_accuracy(start, features, game.targets[game.split.train], game.labels)
        if right is None:
            return False
        knn = self.choice.chosen.scores["knn"]
        told = f"the model's own head names {right:.0%} of the training clips rightly, nearest neighbours {knn:.0%}"
        trusted = right > knn
        progress.say(f"2 adapt: {told}: {'it is kept and moves gently' if trusted else 'the head starts afresh'}")
        return trusted

    def _save_model(self, classifier: ClipClassifier) -> None:
        game, start = self.game, self.start
        counts = np.bincount(game.targets[game.split.train], minlength=len(game.labels))
        digests = game.at(start.card.shape).digests
        training = {
            "strategy": self.recipe.adapt.strategy,
            "class_counts": dict(zip(game.labels, counts.tolist(), strict=True)),
            "median_span": game.median_span(),
            "frame_rate": self.recipe.data.frame_rate,
            "seed": self.recipe.seed,
            **name_clips(digests[index] for index in (*game.split.train, *game.split.validation)),
        }
        save_classifier(self.run.model_folder, classifier, start.card, training)


def own_head_accuracy(
    start: PretrainedModel, features: Tensor, targets: np.ndarray[Any, Any], labels: Sequence[str]
) -> float | None:
    """Return how often a model's own head is right, or None if it has none for these class names.

    Args:
        start: The pretrained model.
        features: float32 [clips, feature_dim] of its untouched backbone.
        targets: int64 [clips]; classes.
        labels: Class names.
    """
    if start.zero_shot is None:
        return None
    probabilities = zero_shot_probabilities(features, start.zero_shot, tuple(labels))
    return None if probabilities is None else float((probabilities.argmax(axis=1) == targets).mean())


def gentle(settings: TrainSettings) -> TrainSettings:
    """Lower the rates for a model that does the task already: there is more to lose than to learn."""
    rate = settings.learning_rate if settings.learning_rate == "find" else settings.learning_rate * _GENTLE
    return settings.model_copy(
        update={"learning_rate": rate, "head_learning_rate": settings.head_learning_rate * _GENTLE}
    )


@torch.no_grad()
def _head_answers(classifier: ClipClassifier, features: Tensor) -> np.ndarray[Any, Any]:
    head = classifier.head.eval()
    logits = head(features.to(head.linear.weight.device))
    return logits.double().softmax(dim=1).cpu().numpy()  # type: ignore[no-any-return]
