"""Step 1 of the scene scenario: choose a tile model by how well it foresees maps that it did not learn from.

Every candidate says how many bits it needs for a tile of some training maps kept apart: as it comes with the game's
tiles, and after a few dozen steps on the others. The second decides; the first, and the order that is expected before
anything is measured, stand beside it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from newgameplus import progress
from newgameplus.adapt.adapters import add_adapters, merge_adapters
from newgameplus.adapt.tile_strategies import plan_tile_phases
from newgameplus.choose import Candidate, Choice, Cost, ShortRun
from newgameplus.errors import NewGamePlusError, PretrainedModelError, Problem, raise_problems
from newgameplus.evaluate.scene_intervals import ratio_interval
from newgameplus.pretrained.licences import caution, use_problem
from newgameplus.pretrained.local import ENVIRONMENT_VARIABLE
from newgameplus.pretrained.local_tiles import local_tile_models
from newgameplus.pretrained.memory import available_memory, told_bytes
from newgameplus.pretrained.tile_model import TileModel
from newgameplus.recipe_scene import SceneRecipe
from newgameplus.scenarios.scene_data import SceneGame, load_scene_game
from newgameplus.scenarios.scene_sharing import share_maps
from newgameplus.scenarios.scene_start import level_book, open_start, refuse_unadaptable
from newgameplus.train.device import threads_for, using_threads
from newgameplus.train.levels import LevelBook
from newgameplus.train.tile_loop import TileTraining, level_bits, train_tiles

__all__ = ["choose_scene", "choose_scene_start"]

Indices = npt.NDArray[np.int64]
MEASURE = "bits a tile (negative)"
_STEPS = 40
_TOP = 3
_HELD_OUT = 5  # one map in so many
_FEWEST_HELD_OUT = 3  # of two maps an honest interval spans anything between a tenth and ten times the number
_BYTES_A_WEIGHT = 20  # the weight, its gradient, two moments, the best so far
_PRIOR = {"run": 2.0, "bundled": 1.0, "transformers": 0.0}
_CLOSE = 0.02


@dataclass(frozen=True, eq=False)
class _Parts:
    """Training maps to adapt to, and those kept apart to measure on."""

    learned: Indices
    held_out: Indices


def choose_scene(recipe: SceneRecipe, *, top: int = _TOP, short_run: bool = True) -> Choice:
    """Rank the models that a recipe may start from; nothing is kept.

    Args:
        recipe: The recipe.
        top: How many of the best get a short adaptation.
        short_run: Whether any do.

    Raises:
        NewGamePlusError: The maps or a model that was named cannot be used.
    """
    game = load_scene_game(recipe)
    share_maps(game)
    return choose_scene_start(recipe, game, _STEPS if short_run else 0, top)


def choose_scene_start(recipe: SceneRecipe, game: SceneGame, steps: int = _STEPS, top: int = _TOP) -> Choice:
    """Rank the models that a recipe may start from; none of the test maps is looked at.

    Args:
        recipe: The recipe; ``model.start`` names one or several, or is ``auto``.
        game: The maps.
        steps: Steps of the short adaptation; 0 lets the models as they come decide.
        top: How many of the best get one.

    Raises:
        PretrainedModelError: A model that was named cannot be used, or there is none.
    """
    named = recipe.model.candidates
    names = recipe.model.with_found(lambda: local_tile_models(recipe.runs))
    parts = _split(recipe, game)
    candidates: list[Candidate] = []
    problems: list[Problem] = []
    left_out: list[Mapping[str, str]] = []
    with progress.task("trying models", len(names), "models") as bar:
        for name in names:
            try:
                candidates.append(_estimate(recipe, game, name, parts))
            except NewGamePlusError as error:
                if name in named:
                    problems += recipe.model.about(name, error.problems)
                else:
                    left_out.append({"name": name, "message": error.message, "remedy": error.remedy or ""})
            bar.advance()
    raise_problems(problems, PretrainedModelError, f"{len(problems)} problems with what to start from")
    if not candidates:
        why = "; ".join(f"{one['name']}: {one['message']}" for one in left_out)
        remedy = f"name a model, or a folder of models in {ENVIRONMENT_VARIABLE}"
        raise PretrainedModelError(f"no model on this machine can be used ({why})", source="model.start", remedy=remedy)
    candidates.sort(key=lambda one: (-one.scores["zero-shot"], one.parameters))
    if steps:
        tried = candidates[:top]
        with progress.task("adapting models", len(tried), "models") as bar:
            for number, candidate in enumerate(tried):
                candidates[number] = _tried(recipe, game, candidate, parts, steps)
                bar.advance()
    return _decide(candidates, game, parts, tuple(left_out))


def _split(recipe: SceneRecipe, game: SceneGame) -> _Parts:
    """Keep some of the training maps apart, whole files if there are several."""
    groups = [game.groups[n] for n in game.train]
    units = groups if len(set(groups)) > 1 else [str(n) for n in game.train]
    order = np.random.default_rng([recipe.seed, 2]).permutation(sorted(set(units)))
    apart = set(order[: max(1, len(order) // _HELD_OUT)].tolist()) if len(order) > 1 else set()
    held = np.array([unit in apart for unit in units], np.bool_)
    if not apart:  # a single map: nothing can be kept apart
        return _Parts(game.train, game.train)
    return _Parts(game.train[~held], game.train[held])


def _estimate(recipe: SceneRecipe, game: SceneGame, name: str, parts: _Parts) -> Candidate:
    """Measure one candidate as it comes.

    Raises:
        PretrainedModelError: It cannot be loaded, its licence forbids the use, or it is too large.
    """
    began = time.monotonic()
    model, _ = open_start(recipe, game, name)
    license_ = str(model.facts.get("license") or "unknown")
    _check(recipe, name, model, license_)
    refuse_unadaptable(recipe, name, model)
    bits = _held_out_bits(recipe, game, model, parts)
    source = name.partition(":")[0]
    scores = {"prior": _PRIOR.get(source, 0.0), "zero-shot": -float(bits[:, 0].sum() / bits[:, 1].sum())}
    seconds = round(time.monotonic() - began, 3)
    start = recipe.model.find(name)
    found = Candidate(name, model.parameters, scores, seconds, license_, _why(source))
    return replace(found, start=start.name, options=dict(start.options))


def _held_out_bits(recipe: SceneRecipe, game: SceneGame, model: TileModel, parts: _Parts) -> npt.NDArray[np.float64]:
    held_out = level_book(recipe, game, game.examples(parts.held_out, recipe.data.scan), model)
    with using_threads(threads_for(model.network, recipe.train)):
        return level_bits(model.network, held_out)


def _tried(recipe: SceneRecipe, game: SceneGame, candidate: Candidate, parts: _Parts, steps: int) -> Candidate:
    """Adapt one candidate for a few steps, and measure it and its cost then."""
    model, _ = open_start(recipe, game, candidate.name)
    began = time.monotonic()
    _adapt(recipe, game, model, parts, steps)
    spent = time.monotonic() - began
    looked = time.monotonic()
    after = _held_out_bits(recipe, game, model, parts)
    latency = (time.monotonic() - looked) / max(1, len(after))
    value = float(after[:, 0].sum() / after[:, 1].sum())
    found = ratio_interval(after[:, 0], after[:, 1], seed=recipe.seed, positive=True)
    low, high, caution = None, None, f"fewer than {_FEWEST_HELD_OUT} maps were kept apart, too few for an interval"
    if found is not None and len(after) >= _FEWEST_HELD_OUT:
        low, high, caution = -found.high, -found.low, ""
    return replace(
        candidate,
        cost=Cost(latency, spent / steps * recipe.train.steps, model.parameters * _BYTES_A_WEIGHT),
        short_run=ShortRun(-value, low, high, steps, round(spent, 3), MEASURE, caution),
    )


def _why(source: str) -> str:
    reasons = {
        "run": "it went on learning from maps of yours",
        "bundled": "it knows tiles of many games by what they mean",
        "transformers": "it knows language, and tiles only by their names",
    }
    return reasons.get(source, "nothing is known of it")


def _check(recipe: SceneRecipe, name: str, model: TileModel, license_: str) -> None:
    use = getattr(recipe.model, "use", "any")
    problem = use_problem(name, license_, use)
    if problem is not None:
        raise PretrainedModelError(problem.message, source=problem.source, remedy=problem.remedy)
    if (told := caution(license_, use)) is not None:
        progress.say(f"note: {name}: {told}")
    wanted, free = model.parameters * _BYTES_A_WEIGHT, available_memory()
    if wanted > free:
        message = f"training {model.parameters:,} weights takes {told_bytes(wanted)}, {told_bytes(free)} are free"
        raise PretrainedModelError(message, source=name, remedy="start from a smaller model")


def _adapt(recipe: SceneRecipe, game: SceneGame, model: TileModel, parts: _Parts, steps: int) -> None:
    """Train a model for a few steps on the maps that are not kept apart, by the recipe's strategy."""
    changed = {"steps": steps, "patience": None, "check_every": steps, "self_training_rounds": 0}
    settings = recipe.train.model_copy(update=changed)
    blocks = len(model.network.blocks())  # type: ignore[operator]
    phases = tuple(plan_tile_phases(recipe.adapt.strategy, blocks, l2_sp=recipe.adapt.l2_sp))
    mirror = recipe.data.mirror == "auto"
    book: LevelBook = level_book(recipe, game, game.examples(parts.learned, recipe.data.scan, mirror=mirror), model)
    training = TileTraining(
        "choosing", phases, book, None, settings, recipe.seed, Path(), settings.learning_rate,
        layer_decay=recipe.adapt.layer_decay,
    )  # fmt: skip
    lora = any(phase.moving == "adapters" for phase in phases)
    if lora:
        torch.manual_seed(recipe.seed)
        add_adapters(model.network, recipe.adapt.lora_rank)
    with tempfile.TemporaryDirectory() as folder:
        train_tiles(model.network, replace(training, checkpoint=Path(folder) / "checkpoint"))
    if lora:
        merge_adapters(model.network)


def _decide(
    candidates: list[Candidate], game: SceneGame, parts: _Parts, left_out: tuple[Mapping[str, str], ...]
) -> Choice:
    ranked = sorted(
        candidates,
        key=lambda one: (one.short_run is None, -_value(one), one.parameters),
    )
    by_prior = sorted(candidates, key=lambda one: (-one.scores["prior"], -one.scores["zero-shot"]))
    best = ranked[0]
    how = f"after {best.short_run.steps} steps" if best.short_run else "as it comes"
    told = f"{best.name}: {_bits(best)} bits a tile {how}"
    if len(ranked) > 1:
        told += f", against {_bits(ranked[1])} for {ranked[1].name}"
    names = tuple(one.name for one in by_prior)
    reason = f"{told}, on {len(parts.held_out)} training maps kept apart (an estimate)"
    return Choice(best.name, tuple(ranked), reason, names, _advice(ranked, game, parts), left_out)


def _bits(candidate: Candidate) -> str:
    return f"{-_value(candidate):.3f}"


def _value(candidate: Candidate) -> float:
    return candidate.short_run.value if candidate.short_run else candidate.scores["zero-shot"]


def _advice(ranked: list[Candidate], game: SceneGame, parts: _Parts) -> str:
    """Return one paragraph about strategy and size, each with the number that it rests on."""
    best = ranked[0]
    run = best.short_run
    tokens = int(sum(level.tiles.size for level in game.some(game.train)))
    sentences = [f"There are {len(game.train)} training maps of {tokens:,} tiles."]
    if run is not None:
        gain = run.value - best.scores["zero-shot"]
        before = -best.scores["zero-shot"]
        if gain > _CLOSE * before:
            sentences.append(
                f"{run.steps} steps took the bits a tile from {before:.3f} to {-run.value:.3f}: the maps have much to "
                "teach that the model does not know, so let everything move (strategy full)."
            )
        else:
            sentences.append(
                f"{run.steps} steps changed the bits a tile from {before:.3f} to {-run.value:.3f} only: strategy probe "
                "or lora may do, and keeps more of what the model knows."
            )
    smaller = [
        one for one in ranked[1:] if one.parameters < best.parameters and run and one.short_run
        and run.value - one.short_run.value < _CLOSE
    ]  # fmt: skip
    if smaller:
        sentences.append(f"{smaller[0].name} is smaller and as good within {_CLOSE} bits: take it if speed matters.")
    if len(parts.held_out) < _FEWEST_HELD_OUT or np.array_equal(parts.held_out, parts.learned):
        sentences.append(f"All of this rests on {len(parts.held_out)} maps, which is little: draw more.")
    sentences.append("These are rules of thumb; the fit decides.")
    return " ".join(sentences)
