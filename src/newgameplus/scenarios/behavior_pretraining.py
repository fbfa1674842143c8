"""Pretraining of a model of clips or numbers that goes on with recordings without labels, and whether it helped."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from newgameplus import progress
from newgameplus.choose import leave_one_out_knn
from newgameplus.errors import PretrainedModelError, RecipeError
from newgameplus.files import digest_file, write_json
from newgameplus.pretrained.backbone import Backbone, PretrainedModel
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.pretrained.features import compute_features
from newgameplus.recipe import Recipe
from newgameplus.run import Run
from newgameplus.scenarios.behavior_data import BehaviorGame, load_behavior_clips, load_game
from newgameplus.scenarios.behavior_seen import name_recordings
from newgameplus.scenarios.behavior_sharing import share_recordings
from newgameplus.scenarios.pretraining import one_start, same_data
from newgameplus.scenarios.sequence_pretraining import (
    RATE_OF_SEQUENCES,
    SEQUENCE_OBJECTIVES,
    load_numbers,
    objectives_of_numbers,
    rebuilding,
)
from newgameplus.scenarios.sequence_recipe import reads_numbers
from newgameplus.scenarios.unlabelled_clips import UnlabelledClips, fingerprint, load_unlabelled
from newgameplus.tensors import save_tensors
from newgameplus.train.device import threads_for, using_threads
from newgameplus.train.pretraining import ClipBatches, Pretraining, continue_pretraining, steps_in
from newgameplus.train.recording import epoch_recorder
from newgameplus.train.selfsupervision import (
    Augmentation,
    InverseDynamics,
    Objective,
    TemporalOrder,
    TwoViews,
)

__all__ = ["OBJECTIVES", "pretrain_behavior"]

_MOST_JUDGED = 2000
_FEWEST_FRAMES = 4
#: Learning rates, measured on a validation map: what actions teach, and what a clip asks of itself.
_RATE_OF_ACTIONS, _GENTLE_RATE = 3e-4, 3e-5
_ACTIONS = "inverse-dynamics"
#: What may be learned without labels, by the name that a recipe uses, and its share of the loss.
OBJECTIVES: Mapping[str, float] = MappingProxyType({"inverse-dynamics": 1.0, "temporal-order": 1.0, "two-views": 1.0})


def pretrain_behavior(recipe: Recipe, run: Run) -> dict[str, Any]:
    """Go on with the pretraining of a recipe's start on recordings without labels; leave ``model/`` in the folder.

    Of several processes, the main one does all but the training itself.

    Args:
        recipe: The recipe.
        run: The folder to work in; what an interrupted call left there is taken up.

    Returns:
        What was learned from what, and nearest-neighbour accuracy on the training clips before and after.

    Raises:
        NewGamePlusError: Model, recordings or recipe cannot be used.
    """
    name = one_start(recipe)
    torch.manual_seed(recipe.seed)
    start, game, unlabelled = (load_numbers if reads_numbers(recipe) else _load_clips)(recipe, name)
    what = unlabelled.what
    same_data(run, fingerprint(unlabelled), recipe.pretrain.path or recipe.data.path)
    for problem in unlabelled.left_out[:10]:
        progress.say(f"{problem.source}: {problem.message}")
    chosen, passed_over = _objectives(recipe, start, unlabelled)
    clips = len(unlabelled.cached)
    about = "about " if what == "sequences" else ""
    progress.say(f"{clips} {what} of {about}{unlabelled.span:.2f} s without labels; objectives: {', '.join(chosen)}")
    before = _kept_judgement(recipe, run, game, start.backbone)
    result, steps = _train(recipe, run, start, unlabelled, chosen)
    after = _judge(recipe, game, start.backbone)
    training = {
        "span": unlabelled.span,
        "objectives": list(chosen),
        "steps": steps,
        "batch_size": min(recipe.pretrain.batch_size, clips),
        "learning_rate": _rate(recipe, chosen),
        "seed": recipe.seed,
    }
    seen = name_recordings(clip.path for clip in unlabelled.cached.clip_set.clips)
    _save(run, start, {f"{what[:-1]}_count": clips, **training, **seen})
    sentence, helped = _sentence(before, after, len(game.split.train), what)
    progress.say(sentence)
    return {
        "scenario": "behavior",
        "start": name,
        "sentence": sentence,
        "helped": helped,
        "estimate": f"leave-one-out nearest neighbours on frozen features of the labelled training {what}",
        "before": before,
        "after": after,
        f"labelled_{what}": len(game.split.train),
        "passed_over": passed_over,
        "left_out": [{"message": p.message, "source": p.source} for p in unlabelled.left_out],
        "seconds": round(result, 3),
        what: clips,
        **training,
    }


def _load_clips(recipe: Recipe, name: str) -> tuple[PretrainedModel, BehaviorGame, UnlabelledClips]:
    """Load what a recipe for clips goes on with, its labelled clips, and those without labels."""
    start = load_pretrained(name, options=recipe.model.find(name).options)
    if start.card.modality not in ("clip", "image"):
        load_behavior_clips(recipe.data)  # data that are not there, or no clips, are told of first
        remedy = "start from a model of images or clips"
        raise PretrainedModelError(f"{name} takes no video", source="model.start", remedy=remedy)
    game = load_game(recipe.data, start.card.shape, recipe.seed)
    unlabelled = load_unlabelled(recipe, game, start.card.shape)
    share_recordings(unlabelled, start.card.shape)
    return start, game, unlabelled


def _objectives(
    recipe: Recipe, start: PretrainedModel, unlabelled: UnlabelledClips
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return what to learn, and why the rest is passed over.

    Raises:
        RecipeError: The recipe asks for what model or recordings cannot have.
    """
    if unlabelled.what == "sequences":
        return objectives_of_numbers(recipe), {}
    impossible: dict[str, str] = {}
    if not unlabelled.action_names:
        impossible[_ACTIONS] = "no trajectories beside the recordings say which actions were held"
    if start.card.shape.frames < _FEWEST_FRAMES:
        impossible["temporal-order"] = (
            f"the model sees {start.card.shape.frames} frames, and {_FEWEST_FRAMES} are needed"
        )
    elif not _sees_order(start.backbone, unlabelled):
        impossible["temporal-order"] = "the model's features do not depend on the order of the frames"
    wanted = recipe.pretrain.objectives
    if wanted == "auto" and _ACTIONS not in impossible:
        why = "recorded actions teach no less without it, at a fraction of the time"
        return (_ACTIONS,), {name: impossible.get(name, why) for name in OBJECTIVES if name != _ACTIONS}
    if wanted == "auto":
        return tuple(name for name in OBJECTIVES if name not in impossible), impossible
    impossible |= dict.fromkeys(SEQUENCE_OBJECTIVES, "it is learned from numbers, and these are clips")
    for name in wanted:
        if name in impossible:
            remedy = "leave it out, or set pretrain.objectives: auto"
            raise RecipeError(f"{name}: {impossible[name]}", source="pretrain.objectives", remedy=remedy)
    return tuple(dict.fromkeys(wanted)), {}


@torch.no_grad()
def _sees_order(backbone: Backbone, unlabelled: UnlabelledClips) -> bool:
    """Whether features change when frames change places: those that are averaged over time do not."""
    clips = torch.from_numpy(unlabelled.cached.gather(np.arange(min(8, len(unlabelled.cached)))))
    halves = torch.roll(clips, clips.shape[1] // 2, dims=1)
    straight, rolled = backbone(clips).float(), backbone(halves).float()
    return bool((straight - rolled).abs().max() > 1e-3 * straight.abs().max())


def _rate(recipe: Recipe, chosen: tuple[str, ...]) -> float:
    """Return the highest learning rate that the recipe wants, or the one that suits what is learned."""
    wanted = recipe.pretrain.learning_rate
    if wanted != "auto":
        return wanted
    if set(chosen) <= set(SEQUENCE_OBJECTIVES):
        return RATE_OF_SEQUENCES
    return _RATE_OF_ACTIONS if chosen == (_ACTIONS,) else _GENTLE_RATE


def _train(
    recipe: Recipe, run: Run, start: PretrainedModel, unlabelled: UnlabelledClips, chosen: tuple[str, ...]
) -> tuple[float, int]:
    """Train the backbone in place; return the seconds that it took and the steps."""
    settings = recipe.pretrain
    torch.manual_seed(recipe.seed)
    generator = torch.Generator()
    learner, objectives = _learner(start, unlabelled, chosen, generator)

    plan = Pretraining(
        objectives,
        generator,
        ClipBatches(unlabelled.cached, unlabelled.actions, settings.batch_size, recipe.seed),
        settings.steps,
        _rate(recipe, chosen),
        recipe.train,
        recipe.seed,
        run.checkpoint("pretraining"),
    )
    steps = _steps(run, learner, plan, settings.minutes)
    plan = Pretraining(**{**vars(plan), "steps": steps})
    record = epoch_recorder(run.folder / "tb", "pretraining", run.write_metrics)
    result = continue_pretraining(learner, plan, record)
    return result.seconds, result.steps


def _learner(
    start: PretrainedModel, unlabelled: UnlabelledClips, chosen: tuple[str, ...], generator: torch.Generator
) -> tuple[Backbone, dict[Objective, float]]:
    """Return what takes the batches, which trains the backbone, and the objectives with their shares of the loss."""
    if unlabelled.what == "sequences":
        return rebuilding(start.backbone, generator)
    augment, width = Augmentation(generator), start.backbone.feature_dim
    make: Mapping[str, Callable[[], Objective]] = {
        "inverse-dynamics": lambda: InverseDynamics(unlabelled.action_names, width, augment, generator),
        "temporal-order": lambda: TemporalOrder(start.card.shape.frames, width, augment, generator),
        "two-views": lambda: TwoViews(width, augment),
    }
    return start.backbone, {make[name](): OBJECTIVES[name] for name in chosen}


def _steps(run: Run, backbone: Backbone, plan: Pretraining, minutes: float | None) -> int:
    """Return the number of steps; what a clock decided is kept, so that going on ends as never interrupted."""
    if minutes is None:
        return plan.steps
    note = run.note("steps")
    if note is None:
        note = run.keep_note("steps", {"steps": steps_in(backbone, plan, minutes)})
        progress.say(f"{note['steps']} steps fit into {minutes:g} minutes")
    with run.noted("steps"):
        return int(note["steps"])


def _kept_judgement(recipe: Recipe, run: Run, game: BehaviorGame, backbone: Backbone) -> float:
    """Judge the model as it came, once."""
    note = run.note("before")
    if note is None:
        note = run.keep_note("before", {"accuracy": _judge(recipe, game, backbone)})
    with run.noted("before"):
        return float(note["accuracy"])


def _judge(recipe: Recipe, game: BehaviorGame, backbone: Backbone) -> float:
    """Return the leave-one-out nearest-neighbour accuracy on the training clips, or on 2,000 of them."""
    train = game.split.train
    if len(train) > _MOST_JUDGED:
        train = np.sort(np.random.default_rng(recipe.seed).permutation(train)[:_MOST_JUDGED])
    batches = game.examples(backbone.shape, train).batches(64)
    with using_threads(threads_for(backbone, recipe.train)):
        features = compute_features(backbone, batches, len(train), "features, labelled clips")
    groups = np.unique([game.groups[i] for i in train], return_inverse=True)[1]
    return leave_one_out_knn(features, torch.from_numpy(game.targets[train]), torch.from_numpy(groups))


def _sentence(before: float, after: float, clips: int, what: str) -> tuple[str, bool]:
    """Say in one sentence what the estimate makes of the pretraining."""
    clips = min(clips, _MOST_JUDGED)
    chance = math.sqrt(max(before * (1.0 - before), 1.0 / clips) * 2.0 / clips)
    told = f"nearest neighbours name {after:.0%} of {clips} training {what} rightly, {before:.0%} before"
    if after - before > chance:
        return f"Pretraining helped by this estimate: {told}.", True
    worse = (
        "Pretraining did harm" if before - after > chance else "Pretraining brought no gain that chance does not make"
    )
    return f"{worse}, by this estimate: {told}; let choose decide which to start from.", False


def _save(run: Run, start: PretrainedModel, training: dict[str, Any]) -> None:
    """Write the backbone and its card, in the layout that ``run:FOLDER`` loads."""
    weights = run.model_folder / "model.safetensors"
    save_tensors(weights, start.backbone.state_dict())
    content = {
        "schema": 1,
        "kind": "pretrained",
        "digest": digest_file(weights),
        "start": start.card.as_dict(),
        "training": training,
    }
    write_json(run.model_folder / "card.json", content)
