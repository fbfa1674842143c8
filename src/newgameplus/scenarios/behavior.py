"""Behavior recognition: name what a character is doing, from labelled clips. Wires the four steps for clips."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from newgameplus import progress
from newgameplus.adapt import ClipClassifier, Phase, plan_phases, trainable_parameters
from newgameplus.adapt.answers import classify, zero_shot_probabilities
from newgameplus.adapt.saving import load_classifier, save_classifier
from newgameplus.choose import Candidate, Choice, leave_one_out_knn, rank_candidates
from newgameplus.errors import DataError, RunError
from newgameplus.evaluate.baselines import majority, random_forest, simple_features
from newgameplus.evaluate.comparison import ARM_TITLES, FINE_TUNED, Arm, compare
from newgameplus.evaluate.predictions import predictions_from_dict, predictions_to_dict
from newgameplus.evaluate.report import write_report
from newgameplus.evaluate.strips import make_strips
from newgameplus.files import write_json
from newgameplus.games.fingerprint import data_changes, data_fingerprint
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.pretrained.features import compute_features
from newgameplus.recipe import Recipe, TrainSettings, dump_recipe, recipe_settings
from newgameplus.run import REDO, Run
from newgameplus.scenarios.behavior_data import BehaviorGame, load_game
from newgameplus.shapes import ClipShape, Predictions
from newgameplus.tensors import load_tensors, save_tensors
from newgameplus.train.device import threads_for, using_threads
from newgameplus.train.loop import train_classifier
from newgameplus.train.recording import epoch_recorder

__all__ = ["BASELINES", "BehaviorScenario", "TrainingPlan"]

#: Baselines that are trained like the fine-tuned model; the others need no training loop.
_TRAINED = ("probe", "scratch")
BASELINES = MappingProxyType({name: title for name, title in ARM_TITLES.items() if name != FINE_TUNED})
_AT_ONCE = 64
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


class BehaviorScenario:
    """The four steps for clips. Each is a method; :mod:`newgameplus.finetune` calls them in order.

    Args:
        run: The run folder to work in; its recipe says everything.
    """

    def __init__(self, run: Run) -> None:
        if not isinstance(run.recipe, Recipe):
            message = f"this is a run of the {run.recipe.scenario} scenario, not of behavior"
            raise RunError(message, source=str(run.folder), remedy="give a behavior run")
        self.run, self.recipe = run, run.recipe
        self.skipped: dict[str, str] = {}
        self.choice: Choice | None = None
        self._features: dict[str, Tensor] = {}

    def load(self) -> BehaviorGame:
        """Load what the game gives: decode, split, check for leaks."""
        start = self._pretrained(self.recipe.model.candidates[0])
        game = self._same_data(start.card.shape)
        parts = [f"{len(part)} {name}" for name, part in _parts(game).items()]
        progress.say(f"clips: {', '.join(parts)}; {len(game.labels)} classes: {', '.join(game.labels)}")
        if not len(game.split.test):
            remedy = "set data.test to a share above 0, or name data.test_groups or data.test_path"
            raise DataError("no clips are left to test on", source="data.test", remedy=remedy)
        return game

    def _same_data(self, shape: ClipShape) -> BehaviorGame:
        """Load the data; a run that goes on must find what it began with, or its result would mean nothing."""
        before = self.run.note("data")
        remedy = "put the data back as it was, or fit again into another folder"
        try:
            game = load_game(self.recipe.data, shape, self.recipe.seed)
        except DataError as error:
            if before is None:
                raise
            message = "the data of this run cannot be read any more"
            raise RunError(message, source=self.recipe.data.path, remedy=remedy, problems=error.problems) from error
        now = data_fingerprint(game.clip_set.clips, game.at(shape).digests, game.split)
        now["recipe"] = recipe_settings(self.recipe)
        if before is None:
            self.run.keep_note("data", now)
            return game
        with self.run.noted("data"):
            changes = data_changes(before, now)
            other = [f"{key}: {was!r} then" for key, was in before["recipe"].items() if now["recipe"].get(key) != was]
        if other:
            message, where = "this recipe is not the one that the run began with", self.run.folder / "recipe.yaml"
            undo = f"put it back ({'; '.join(other)}), or fit again into another folder"
            raise RunError(message, source=str(where), remedy=undo)
        if changes:
            message = f"the data changed since this run began: {'; '.join(changes)}"
            raise RunError(message, source=self.recipe.data.path, remedy=remedy)
        return game

    def _pretrained(self, name: str, *, fresh: bool = False) -> PretrainedModel:
        torch.manual_seed(self.recipe.seed)
        return load_pretrained(name, fresh=fresh, options=self.recipe.model.options)

    def choose(self, game: BehaviorGame) -> PretrainedModel:
        """Step 1: rank the candidates by what their frozen features say about the training clips."""
        note = self.run.note("choice")
        if note is not None:
            with self.run.noted("choice"):
                candidates = [Candidate(**candidate) for candidate in note["candidates"]]
                self.choice = Choice(note["name"], tuple(candidates), note["reason"])
            return self._pretrained(self.choice.name)
        candidates = []
        for name in self.recipe.model.candidates:
            start = self._pretrained(name)
            began = time.monotonic()
            features = self._frozen_features(game, start, "train")
            groups = np.unique([game.groups[i] for i in game.split.train], return_inverse=True)[1]
            targets = torch.from_numpy(game.targets[game.split.train])
            knn = leave_one_out_knn(features, targets, torch.from_numpy(groups))
            candidates.append(Candidate(name, knn, start.card.parameters, round(time.monotonic() - began, 3)))
        self.choice = rank_candidates(candidates)
        self.run.keep_note("choice", self.choice.as_dict())
        progress.say(f"1 choose: {self.choice.reason}")
        return self._pretrained(self.choice.name)

    def _frozen_features(self, game: BehaviorGame, start: PretrainedModel, part: str) -> Tensor:
        """Features of the untouched backbone, computed once for probe, zero-shot and the head of the fine-tune."""
        key = f"{start.card.name} {part}"
        if key not in self._features:
            path = self.run.checkpoint(f"features-{part}-{start.card.digest[:12] or start.card.family}")
            if path.is_file():
                tensors = load_tensors(path, remedy=REDO)[0]
                if len(tensors.get("features", ())) != len(_parts(game)[part]):
                    raise RunError("these are not the features of the clips", source=str(path), remedy=REDO)
                self._features[key] = tensors["features"]
            else:
                indices = _parts(game)[part]
                batches = game.examples(start.card.shape, indices).batches(_AT_ONCE)
                with using_threads(threads_for(start.backbone, self.recipe.train)):
                    features = compute_features(start.backbone, batches, len(indices), f"features, {part}")
                save_tensors(path, {"features": features})
                self._features[key] = features
        return self._features[key]

    def adapt(self, start: PretrainedModel) -> list[TrainingPlan]:
        """Step 2: plan what may move, for the fine-tuned model and for the baselines trained beside it."""
        settings, wanted = self.recipe.adapt, self.recipe.evaluate.baselines
        blocks = len(start.backbone.blocks())
        phases = tuple(plan_phases(settings.strategy, blocks, settings.layer_decay))
        plans = [TrainingPlan(FINE_TUNED, phases, note=f"{start.card.name}, {settings.strategy}")]
        if "probe" in wanted:
            if settings.strategy == "probe" and settings.head == "fresh":
                self.skipped["probe"] = "the recipe's own strategy is probe"
            else:
                plans.append(TrainingPlan("probe", tuple(plan_phases("probe", blocks, 1.0)), note="fresh head"))
        if "scratch" in wanted:
            phases = tuple(plan_phases("full", blocks, 1.0))
            plans.append(TrainingPlan("scratch", phases, fresh=True, note="same network, same number of steps"))
        return plans

    def train(self, game: BehaviorGame, start: PretrainedModel, plans: list[TrainingPlan]) -> list[Arm]:
        """Step 3: train every plan, and let it answer the test clips."""
        arms = []
        for plan in plans:
            arms.append(self._kept(plan.name, lambda plan=plan: self._train_plan(game, start, plan)))  # type: ignore[misc]
        return arms

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

    def _train_plan(self, game: BehaviorGame, start: PretrainedModel, plan: TrainingPlan) -> Arm:
        settings, split = self.recipe.train, game.split
        model = self._pretrained(start.card.name, fresh=True) if plan.fresh else start
        if not plan.fresh and plan.name != "probe":
            model = self._pretrained(start.card.name)
        torch.manual_seed(self.recipe.seed)
        classifier = ClipClassifier(model.backbone, game.labels)
        if plan.name == FINE_TUNED and self._trusts_head(game, start):
            classifier.head.carry_over(game.labels, start.zero_shot)  # type: ignore[arg-type]
            settings = _gentle(settings)
        shape = start.card.shape
        validation = game.examples(shape, split.validation) if len(split.validation) else None
        features = {} if plan.fresh else {p: self._frozen_features(game, start, p) for p in ("train", "validation")}
        result = train_classifier(
            classifier,
            plan.phases,
            game.examples(shape, split.train, augment=settings.augment, mirror=settings.mirror == "auto"),
            validation,
            settings,
            seed=self.recipe.seed,
            arm=plan.name,
            checkpoint=self.run.checkpoint(plan.name),
            backbone_rate=settings.scratch_learning_rate if plan.fresh else None,
            features=features,
            on_epoch=epoch_recorder(self.run.folder / "tb", plan.name, self.run.write_metrics),
        )
        with using_threads(threads_for(classifier, settings)):
            if plan.name == FINE_TUNED:
                self._save_model(game, start, classifier)
            if not any(any(phase.block_rates) for phase in plan.phases):
                test = self._frozen_features(game, start, "test")
                probabilities = _head_answers(classifier, test)
            else:
                batches = game.examples(shape, split.test).batches(_AT_ONCE)
                probabilities = classify(classifier, batches)
        moving = trainable_parameters(classifier, list(plan.phases))
        title = ARM_TITLES[plan.name]
        kind: Any = "fine-tuned" if plan.name == FINE_TUNED else "baseline"
        predictions = self._predictions(game, probabilities)
        return Arm(plan.name, title, kind, predictions, round(result.seconds, 3), result.steps, moving, plan.note)

    def _trusts_head(self, game: BehaviorGame, start: PretrainedModel) -> bool:
        """Whether the pretrained head does better on the training clips than its features' nearest neighbours.

        It has not seen their labels, so its accuracy on them is an honest one.
        """
        if self.recipe.adapt.head != "auto" or start.zero_shot is None or self.choice is None:
            return False
        features = self._frozen_features(game, start, "train")
        probabilities = zero_shot_probabilities(features, start.zero_shot, game.labels)
        if probabilities is None:
            return False
        right = float((probabilities.argmax(axis=1) == game.targets[game.split.train]).mean())
        knn = self.choice.candidates[0].knn
        told = f"the model's own head names {right:.0%} of the training clips rightly, nearest neighbours {knn:.0%}"
        trusted = right > knn
        progress.say(f"2 adapt: {told}: {'it is kept and moves gently' if trusted else 'the head starts afresh'}")
        return trusted

    def _save_model(self, game: BehaviorGame, start: PretrainedModel, classifier: ClipClassifier) -> None:
        counts = np.bincount(game.targets[game.split.train], minlength=len(game.labels))
        digests = game.at(start.card.shape).digests
        training = {
            "strategy": self.recipe.adapt.strategy,
            "class_counts": dict(zip(game.labels, counts.tolist(), strict=True)),
            "median_span": game.median_span(),
            "frame_rate": self.recipe.data.frame_rate,
            "seed": self.recipe.seed,
            "clips": [digests[index] for index in (*game.split.train, *game.split.validation)],
        }
        save_classifier(self.run.model_folder, classifier, start.card, training)

    def _predictions(self, game: BehaviorGame, probabilities: np.ndarray[Any, Any]) -> Predictions:
        test = game.split.test
        return Predictions(
            game.labels,
            probabilities,
            game.targets[test],
            tuple(game.groups[i] for i in test),
            tuple(game.identities[i] for i in test),
        )

    def evaluate(self, game: BehaviorGame, start: PretrainedModel, trained: list[Arm]) -> dict[str, Any]:
        """Step 4: hold the fine-tuned model against every baseline, and write evaluation and report."""
        arms = [*trained, *self._untrained(game, start)]
        settings = self.recipe.evaluate
        evaluation = compare(
            arms,
            skipped=self.skipped,
            resamples=settings.resamples,
            level=settings.level,
            seed=self.recipe.seed,
        )
        evaluation["choice"] = self.choice.as_dict() if self.choice else None
        evaluation["left_out"] = [
            {"message": p.message, "source": p.source, "remedy": p.remedy} for p in game.clip_set.left_out
        ]
        evaluation["split"] = {name: len(part) for name, part in _parts(game).items()}
        predictions = {arm.name: predictions_to_dict(arm.predictions) for arm in arms}
        write_json(self.run.folder / "predictions.json", predictions)
        tested = game.examples(start.card.shape, game.split.test)
        write_report(
            self.run.folder / "report.html",
            evaluation,
            title=self.run.name,
            recipe_yaml=dump_recipe(self.recipe),
            environment=self.run.environment,
            history=self.run.metrics(),
            strips=make_strips(trained[0].predictions, tested),
            left_out=game.clip_set.left_out,
        )
        write_json(self.run.folder / "evaluation.json", json.loads(json.dumps(evaluation)))
        return evaluation

    def _untrained(self, game: BehaviorGame, start: PretrainedModel) -> list[Arm]:
        wanted = self.recipe.evaluate.baselines
        makers: dict[str, Callable[[], Arm | None]] = {
            "majority": lambda: self._majority(game),
            "random-forest": lambda: self._random_forest(game, start),
            "zero-shot": lambda: self._zero_shot(game, start),
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

    def _baseline(self, game: BehaviorGame, name: str, probabilities: Any, seconds: float, note: str) -> Arm:
        predictions = self._predictions(game, probabilities)
        return Arm(name, ARM_TITLES[name], "baseline", predictions, round(seconds, 3), note=note)

    def _majority(self, game: BehaviorGame) -> Arm:
        probabilities = majority(game.targets[game.split.train], len(game.labels), len(game.split.test))
        return self._baseline(game, "majority", probabilities, 0.0, "the most frequent class of the training clips")

    def _random_forest(self, game: BehaviorGame, start: PretrainedModel) -> Arm:
        began = time.monotonic()
        shape, split = start.card.shape, game.split
        with progress.task("random forest on simple features", total=2, unit="parts") as task:
            known = simple_features(game.examples(shape, split.train).batches(_AT_ONCE))
            asked = simple_features(game.examples(shape, split.test).batches(_AT_ONCE))
            task.advance()
            targets, classes = game.targets[split.train], len(game.labels)
            probabilities = random_forest(known, targets, asked, classes, seed=self.recipe.seed)
            task.advance()
        note = "300 trees on brightness, change and shift of the frames"
        return self._baseline(game, "random-forest", probabilities, time.monotonic() - began, note)

    def _zero_shot(self, game: BehaviorGame, start: PretrainedModel) -> Arm | None:
        if start.zero_shot is None:
            self.skipped["zero-shot"] = "the pretrained model brings no head"
            return None
        began = time.monotonic()
        features = self._frozen_features(game, start, "test")
        probabilities = zero_shot_probabilities(features, start.zero_shot, game.labels)
        if probabilities is None:
            known = ", ".join(start.zero_shot.labels[:8])
            self.skipped["zero-shot"] = f"no two class names match those that the model knows ({known})"
            return None
        note = "the pretrained model's own head, as it came"
        return self._baseline(game, "zero-shot", probabilities, time.monotonic() - began, note)


def _gentle(settings: TrainSettings) -> TrainSettings:
    """Lower the rates for a model that does the task already: there is more to lose than to learn."""
    rate = settings.learning_rate if settings.learning_rate == "find" else settings.learning_rate * _GENTLE
    return settings.model_copy(
        update={"learning_rate": rate, "head_learning_rate": settings.head_learning_rate * _GENTLE}
    )


def _parts(game: BehaviorGame) -> dict[str, np.ndarray[Any, Any]]:
    return {"train": game.split.train, "validation": game.split.validation, "test": game.split.test}


@torch.no_grad()
def _head_answers(classifier: ClipClassifier, features: Tensor) -> np.ndarray[Any, Any]:
    head = classifier.head.eval()
    logits = head(features.to(head.linear.weight.device))
    return logits.double().softmax(dim=1).cpu().numpy()  # type: ignore[no-any-return]
