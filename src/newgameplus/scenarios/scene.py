"""Scene generation: new levels like a designer's own. Wires the four steps for maps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from newgameplus import progress
from newgameplus.adapt.adapters import add_adapters, merge_adapters
from newgameplus.adapt.tile_strategies import TilePhase, plan_tile_phases
from newgameplus.adapt.vocabulary import Origin
from newgameplus.choose import Choice
from newgameplus.errors import DataError, RunError
from newgameplus.evaluate.scene_arms import HeldOutBits, TrainingCost
from newgameplus.pretrained.tile_model import TileModel, load_tile_model, save_tile_model
from newgameplus.recipe import recipe_settings
from newgameplus.recipe_start import AUTO
from newgameplus.run import Run
from newgameplus.scenarios.scene_choice import choose_scene_start
from newgameplus.scenarios.scene_data import SceneGame, load_scene_game, scene_recipe
from newgameplus.scenarios.scene_evaluation import SceneResults, evaluate_scenes
from newgameplus.scenarios.scene_self_training import SelfMade
from newgameplus.scenarios.scene_sharing import share_maps
from newgameplus.scenarios.scene_start import level_book, open_start
from newgameplus.train.device import threads_for, using_threads
from newgameplus.train.levels import LevelBook
from newgameplus.train.loop import TrainingResult
from newgameplus.train.recording import epoch_recorder
from newgameplus.train.self_training import SelfTraining, self_train
from newgameplus.train.tile_loop import TileTraining, level_bits, train_tiles

__all__ = ["SCENE_ARMS", "ScenePlan", "SceneScenario", "TrainedTiles"]

FINE_TUNED = "fine-tuned"
_FAILING = "first-failing-map.png"
#: Baselines that a recipe may name, and what they are.
SCENE_ARMS = MappingProxyType(
    {
        "zero-shot": "the pretrained model with the new tiles, before any training",
        "scratch": "the same network from random weights, with the same number of steps",
        "markov": "an n-gram model of tiles",
        "wave-function-collapse": "patterns of the maps put together so that they fit",
        "nearest-copy": "a cheat that copies the maps, to show what copying would score",
    }
)


@dataclass(frozen=True)
class ScenePlan:
    """One model to train.

    Attributes:
        name: Name of the arm.
        phases: What moves, and for how long; none for zero-shot.
        fresh: Start from random weights.
    """

    name: str
    phases: tuple[TilePhase, ...]
    fresh: bool = False


@dataclass(eq=False)
class TrainedTiles:
    """A model that can make levels.

    Attributes:
        name: Name of the arm.
        model: The model, for the game's tiles.
        cost: What training it took; None if none did.
        bits: Bits that it needs for the held-out levels; None if there are none.
        rounds: What came of each round of self-training.
    """

    name: str
    model: TileModel
    cost: TrainingCost | None
    bits: HeldOutBits | None
    rounds: list[dict[str, int]] = field(default_factory=list)


class SceneScenario:
    """The four steps for maps. Each is a method; :mod:`newgameplus.finetune` calls them in order.

    Args:
        run: The run folder to work in; its recipe says everything.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.recipe = run, scene_recipe(run)
        self.origins: list[Origin] = []

    def load(self) -> SceneGame:
        """Load the maps; refuse, before anything is trained, rules that none of them keeps."""
        before = self.run.note("data")
        try:
            game = load_scene_game(self.recipe)
        except DataError as error:
            if before is None:
                raise
            remedy = "put the maps back as they were, or fit again into another folder"
            message = "the maps of this run cannot be read any more"
            raise RunError(message, source=self.recipe.data.path, remedy=remedy, problems=error.problems) from error
        self._same(game, before)
        share_maps(game)
        solved = sum(answer.playable for answer in game.answers)
        progress.say(
            f"maps: {len(game.train)} train, {len(game.validation)} validation, {len(game.test)} test; "
            f"{len(game.stack.tileset)} tiles; {solved} of {len(game.levels)} can be played ({game.rules.name})"
        )
        if not solved:
            raise rules_problem(self.run, game)
        (self.run.folder / _FAILING).unlink(missing_ok=True)
        return game

    def _same(self, game: SceneGame, before: Any) -> None:
        now = game.fingerprint() | {"recipe": recipe_settings(self.recipe)}
        now = json.loads(json.dumps(now))
        if before is None:
            self.run.keep_note("data", now)
            return
        for key, what in (("recipe", "this recipe is not the one"), ("levels", "these are not the maps")):
            if before.get(key) != now[key]:
                was, new = before.get(key) or {}, now[key]
                other = [str(name) for name in {*was, *new} if was.get(name) != new.get(name)][:5]
                remedy = f"put back {', '.join(sorted(other))}, or fit again into another folder"
                raise RunError(f"{what} that the run began with", source=str(self.run.folder), remedy=remedy)

    def choose(self, game: SceneGame) -> TileModel:
        """Step 1: of several candidates, take the one that foresees training maps kept apart best."""
        names = self.recipe.model.candidates
        if len(names) == 1 and names[0] != AUTO:
            progress.say(f"1 choose: {names[0]}")
            return self._settle(game, names[0])
        note = self.run.note("choice")
        if note is None:
            note = self.run.keep_note("choice", choose_scene_start(self.recipe, game).as_dict())
        with self.run.noted("choice"):
            choice = Choice.from_dict(note)
        progress.say(f"1 choose: {choice.reason}")
        return self._settle(game, choice.name)

    def _settle(self, game: SceneGame, label: str) -> TileModel:
        """Load the candidate that was chosen; from here on the recipe starts from it alone."""
        self.recipe = self.recipe.model_copy(update={"model": self.recipe.model.only(label)})
        return self._start(game, self.recipe.model.candidates[0])[0]

    def _start(self, game: SceneGame, name: str, *, fresh: bool = False) -> tuple[TileModel, list[Origin]]:
        """Load a pretrained model and give it the game's tiles and measures."""
        return open_start(self.recipe, game, name, fresh=fresh)

    def adapt(self, start: TileModel) -> list[ScenePlan]:
        """Step 2: vocabulary surgery is done; plan what may move, for the fine-tuned model and for the baselines."""
        wanted = self.recipe.evaluate.baselines
        settings = self.recipe.adapt
        blocks = len(start.network.blocks())  # type: ignore[operator]
        phases = plan_tile_phases(settings.strategy, blocks, l2_sp=settings.l2_sp)
        plans = [ScenePlan(FINE_TUNED, tuple(phases))]
        if "zero-shot" in wanted:
            plans.append(ScenePlan("zero-shot", ()))
        if "scratch" in wanted:
            plans.append(ScenePlan("scratch", tuple(plan_tile_phases("full")), fresh=True))
        progress.say(f"2 adapt: {start.parameters:,} weights, {self.recipe.adapt.strategy}")
        return plans

    def train(self, game: SceneGame, start: TileModel, plans: list[ScenePlan]) -> list[TrainedTiles]:
        """Step 3: train every plan; the fine-tuned model goes to ``model/``, baselines to ``checkpoints/``."""
        return [self._train_plan(game, start, plan) for plan in plans]

    def _book(
        self, game: SceneGame, numbers: Any, *, mirror: bool = False, model: TileModel | None = None
    ) -> LevelBook:
        examples = game.examples(numbers, self.recipe.data.scan, mirror=mirror)
        return level_book(self.recipe, game, examples, model)

    def _train_plan(self, game: SceneGame, start: TileModel, plan: ScenePlan) -> TrainedTiles:
        folder = self.run.model_folder if plan.name == FINE_TUNED else self.run.folder / "checkpoints" / plan.name
        model, origins = self._start(game, start.name, fresh=plan.fresh)
        if plan.name == FINE_TUNED:
            self.origins = origins
        note = self.run.note(f"{plan.name}.trained")
        if note is not None and (folder / "card.json").is_file():
            kept, card = load_tile_model(folder)
            cost = TrainingCost(**note) if note else None
            return TrainedTiles(plan.name, kept, cost, self._bits(game, kept), card.get("self_training", []))
        cost, rounds = self._fit(game, model, plan) if plan.phases else (None, [])
        encoder = self.recipe.model.options.get("text_encoder")
        extra: dict[str, Any] = {
            "origins": [o.as_dict() for o in origins],
            "values": _plain_values(game),
            "arm": plan.name,
        }
        extra |= {"encoder": encoder} if encoder else {}
        extra |= {"self_training": rounds} if rounds else {}
        extra["train"] = [int(number) for number in game.train]
        save_tile_model(folder, model, extra)
        self.run.keep_note(f"{plan.name}.trained", vars(cost) if cost else {})
        return TrainedTiles(plan.name, model, cost, self._bits(game, model), rounds)

    def _fit(self, game: SceneGame, model: TileModel, plan: ScenePlan) -> tuple[TrainingCost, list[dict[str, int]]]:
        """Train a model on the maps and, if the recipe says so, on what it makes; also say what came of each round."""
        settings = self.recipe.train
        training = TileTraining(
            plan.name,
            plan.phases,
            self._book(game, game.train, mirror=self.recipe.data.mirror == "auto", model=model),
            self._book(game, game.validation, model=model) if len(game.validation) else None,
            settings,
            self.recipe.seed,
            self.run.checkpoint(plan.name),
            settings.scratch_learning_rate if plan.fresh else settings.learning_rate,
            layer_decay=1.0 if plan.fresh else self.recipe.adapt.layer_decay,
        )
        made = SelfMade(self.run, game, self.recipe, model, plan.name)
        rounds = SelfTraining(
            settings.self_training_rounds, settings.self_training_steps, settings.self_training_share, made.gather
        )
        record = epoch_recorder(self.run.folder / "tb", plan.name, self.run.write_metrics)
        moving = 0

        def teach(part: TileTraining, on_check: Callable[[list[dict[str, Any]]], None] | None) -> TrainingResult:
            nonlocal moving
            lora = any(phase.moving == "adapters" for phase in part.phases)
            if lora:
                torch.manual_seed(self.recipe.seed)
                add_adapters(model.network, self.recipe.adapt.lora_rank)
            result = train_tiles(model.network, part, on_check)
            moving = sum(p.numel() for phase in part.phases[-1:] for p in phase.apply(model.network))
            if lora:
                merge_adapters(model.network)
            return result

        result = self_train(teach, training, rounds, record)
        return TrainingCost(round(result.seconds, 3), result.steps, moving), made.rounds

    def _bits(self, game: SceneGame, model: TileModel) -> HeldOutBits | None:
        if not len(game.test):
            return None
        with using_threads(threads_for(model.network, self.recipe.train)):
            found = level_bits(model.network, self._book(game, game.test, model=model))
        return HeldOutBits(found[:, 0], found[:, 1].astype(np.int64))

    def evaluate(self, game: SceneGame, _: TileModel, trained: Sequence[TrainedTiles]) -> dict[str, Any]:
        """Step 4: let every model and baseline make levels, judge them, and write evaluation and report."""
        results = SceneResults(self.run, game, list(trained), [origin.as_dict() for origin in self.origins])
        return evaluate_scenes(results)


def rules_problem(run: Run, game: SceneGame) -> DataError:
    """Return what to say when no map keeps the rules, with a picture of the first one."""
    from newgameplus.games.pictures import draw_level, write_png

    answer, level = game.answers[0], game.levels[0]
    picture = run.folder / _FAILING
    write_png(picture, draw_level(level, mark=answer.at, reached=answer.reached))
    undecided = sum(one.status == "undecided" for one in game.answers)
    message = (
        f"none of the {len(game.levels)} maps can be played by the rules {game.rules.name!r}; "
        f"the first, {level.name}: {answer.reason or answer.status}"
    )
    remedy = f"correct data.rules, or what tiles mean in data.tiles; where it got stuck is drawn in {picture}"
    if undecided == len(game.answers):
        remedy = f"raise generate.solver_nodes, or {remedy}"
    return DataError(message, source=game.groups[0], remedy=remedy)


def _plain_values(game: SceneGame) -> dict[str, list[float | None]]:
    """What the training levels measure, for words such as "many" later."""
    return {
        name: [None if (value := game.values[n].get(name, np.nan)) != value else float(value) for n in game.train]
        for name in game.measures
    }
