"""Behavior recognition: name what a character is doing, from labelled clips. Wires the four steps for clips."""

from __future__ import annotations

import json
from typing import Any

from newgameplus import progress
from newgameplus.choose import Choice
from newgameplus.errors import DataError, RunError
from newgameplus.evaluate.comparison import Arm, compare
from newgameplus.evaluate.predictions import predictions_to_dict
from newgameplus.evaluate.report import write_report
from newgameplus.evaluate.strips import make_strips
from newgameplus.files import write_json
from newgameplus.games.fingerprint import data_changes, data_fingerprint
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.recipe import dump_recipe, recipe_settings
from newgameplus.run import Run
from newgameplus.scenarios.behavior_baselines import untrained_arms
from newgameplus.scenarios.behavior_choice import choose_start
from newgameplus.scenarios.behavior_data import BehaviorGame, load_game
from newgameplus.scenarios.behavior_sharing import share_game
from newgameplus.scenarios.behavior_training import BehaviorTraining, TrainingPlan, plan_training
from newgameplus.scenarios.behavior_work import BehaviorWork
from newgameplus.shapes import InputShape, SequenceShape

__all__ = ["BehaviorScenario"]


class BehaviorScenario:
    """The four steps for clips. Each is a method; :mod:`newgameplus.finetune` calls them in order.

    Args:
        run: The run folder to work in; its recipe says everything.
    """

    def __init__(self, run: Run) -> None:
        self.work = BehaviorWork(run)
        self.run, self.recipe = run, self.work.recipe
        self.skipped: dict[str, str] = {}
        self.choice: Choice | None = None

    def load(self) -> BehaviorGame:
        """Load what the game gives: decode, split, check for leaks."""
        shape = self.work.input_shape()
        game = self.work.game = self._same_data(shape)
        parts = [f"{len(part)} {name}" for name, part in game.split.parts().items()]
        kind = "sequences" if isinstance(shape, SequenceShape) else "clips"
        progress.say(f"{kind}: {', '.join(parts)}; {len(game.labels)} classes: {', '.join(game.labels)}")
        if not len(game.split.test):
            remedy = "set data.test to a share above 0, or name data.test_groups or data.test_path"
            raise DataError("no clips are left to test on", source="data.test", remedy=remedy)
        share_game(game, shape)
        return game

    def _same_data(self, shape: InputShape) -> BehaviorGame:
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

    def choose(self, game: BehaviorGame) -> PretrainedModel:
        """Step 1: rank the candidates by what their frozen features say about the training clips."""
        self.choice = choose_start(self.work, game)
        return self.work.settle(self.choice.name)

    def adapt(self, start: PretrainedModel) -> list[TrainingPlan]:
        """Step 2: plan what may move, for the fine-tuned model and for the baselines trained beside it."""
        return plan_training(self.work, start, self.skipped)

    def train(self, game: BehaviorGame, start: PretrainedModel, plans: list[TrainingPlan]) -> list[Arm]:
        """Step 3: train every plan, and let it answer the test clips."""
        training = BehaviorTraining(self.work, game, start, self.choice or choose_start(self.work, game))
        return [training.train(plan) for plan in plans]

    def evaluate(self, game: BehaviorGame, start: PretrainedModel, trained: list[Arm]) -> dict[str, Any]:
        """Step 4: hold the fine-tuned model against every baseline, and write evaluation and report."""
        arms = [*trained, *untrained_arms(self.work, game, start, self.skipped)]
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
        evaluation["split"] = {name: len(part) for name, part in game.split.parts().items()}
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
            strips=make_strips(trained[0].predictions, tested, names=game.channels),
            left_out=game.clip_set.left_out,
        )
        write_json(self.run.folder / "evaluation.json", json.loads(json.dumps(evaluation)))
        return evaluation
