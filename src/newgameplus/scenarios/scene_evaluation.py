"""Step 4 for scenes: every model and baseline makes levels; they are solved, measured, compared and shown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from newgameplus import progress
from newgameplus.errors import DataError, RunError
from newgameplus.evaluate.scene_arms import ControlTrial, SceneArm
from newgameplus.evaluate.scene_arms import Delivery as DeliveryFigures
from newgameplus.evaluate.scene_baselines import draw_levels, fit_baseline
from newgameplus.evaluate.scene_evaluation import SceneReference, compare_scenes, judge
from newgameplus.files import write_json
from newgameplus.games.measures import measure
from newgameplus.games.rules.contract import Answer, Budget
from newgameplus.games.scenes import Level
from newgameplus.games.way_tiles import WayTiles
from newgameplus.generate.delivery import Delivered, Delivery
from newgameplus.generate.implied import implied_requests
from newgameplus.pretrained.tile_model import TileModel, load_tile_model
from newgameplus.recipe_scene import SceneRecipe
from newgameplus.run import Run
from newgameplus.scenarios.scene_data import SceneGame, load_scene_game, read_levels, scene_recipe
from newgameplus.scenarios.scene_makers import draw_sizes, make_maker, make_sampler, sample_raw, try_control
from newgameplus.scenarios.scene_self_training import describe_rounds
from newgameplus.train.device import threads_for, using_threads

__all__ = ["SceneResults", "evaluate_scene_run", "evaluate_scenes"]

FINE_TUNED = "fine-tuned"
_UNTRAINED = ("markov", "wave-function-collapse", "nearest-copy")
TITLES = {
    FINE_TUNED: "fine-tuned", "zero-shot": "zero-shot", "scratch": "from scratch", "markov": "Markov chain",
    "wave-function-collapse": "WFC", "nearest-copy": "copies (a cheat)",
}  # fmt: skip


@dataclass(eq=False)
class SceneResults:
    """What an evaluation starts from.

    Attributes:
        run: The run.
        game: The maps.
        trained: Models, the fine-tuned one first; see ``scene.TrainedTiles``.
        origins: Where each tile started from.
        delivered: Levels delivered by the fine-tuned model, for the report.
    """

    run: Run
    game: SceneGame
    trained: list[Any]
    origins: list[dict[str, Any]]
    delivered: list[Delivered] = field(default_factory=list)
    control: list[dict[str, object]] = field(default_factory=list)


def evaluate_scenes(results: SceneResults) -> dict[str, Any]:
    """Run all arms, and write ``evaluation.json``, ``report.html`` and the delivered levels' pictures."""
    run, game = results.run, results.game
    recipe = scene_recipe(run)
    sizes = draw_sizes(game, recipe, recipe.evaluate.samples, recipe.seed)
    arms = [_model_arm(results, trained, sizes) for trained in results.trained]
    for name in _UNTRAINED:
        if name in recipe.evaluate.baselines:
            arms.append(_baseline_arm(results, name, sizes))
    reference = SceneReference(game.known, game.rules, _known_answers(game))
    evaluation = compare_scenes(
        arms,
        reference,
        tiles=results.origins,
        notes=_notes(results),
        confidence=recipe.evaluate.level,
        seed=recipe.seed,
    )
    evaluation["requests"] = results.control
    evaluation["left_out"] = [{"message": p.message, "source": p.source, "remedy": p.remedy} for p in game.left_out]
    from newgameplus.scenarios.scene_cards import write_run_report

    write_run_report(results, evaluation, arms)
    write_json(run.folder / "evaluation.json", json.loads(json.dumps(evaluation)))
    return evaluation


def _known_answers(game: SceneGame) -> list[Answer]:
    return [game.answers[n] for n in np.concatenate([game.train, game.validation])]


def _notes(results: SceneResults) -> list[str]:
    game = results.game
    notes = list(game.notes)
    failing = [level.name for level, answer in zip(game.levels, game.answers, strict=True) if not answer.playable]
    if failing:
        first = next(answer for answer in game.answers if not answer.playable)
        notes.append(
            f"{len(failing)} of {len(game.levels)} maps cannot be played by these rules, e.g. {failing[0]}: "
            f"{first.reason or first.status}"
        )
    notes += [describe_rounds(TITLES[one.name], one.rounds) for one in results.trained if one.rounds]
    notes.append("raw: one sample each under hard structure, before any solver; delivered: verified and repaired")
    return notes


Made = tuple[list[Level], dict[str, Any]]


def _kept_levels(run: Run, game: SceneGame, name: str, make: Callable[[], Made]) -> Made:
    """Make levels and figures, or take them from an interrupted run."""
    note = run.note(f"{name}.levels")
    if note is not None:
        with run.noted(f"{name}.levels"):
            template = game.levels[0]
            kept = [template.with_tiles(np.array(rows, np.int32), title) for title, rows in note["levels"]]
            return kept, note["figures"]
    levels, figures = make()
    content = [(level.name, level.tiles.tolist()) for level in levels]
    run.keep_note(f"{name}.levels", {"levels": content, "figures": figures})
    return levels, figures


def _model_arm(results: SceneResults, trained: Any, sizes: Sequence[tuple[int, int]]) -> SceneArm:
    run, game, recipe = results.run, results.game, scene_recipe(results.run)
    model: TileModel = trained.model
    sampler = make_sampler(model, game, recipe)
    budget = Budget(nodes=recipe.generate.solver_nodes)
    with using_threads(threads_for(model.network, recipe.train, decoding=True)):

        def raw() -> tuple[list[Level], dict[str, Any]]:
            samples = sample_raw(sampler, game, sizes, recipe.seed, f"samples, {trained.name}")
            return samples.levels, {"seconds": samples.seconds}

        levels, figures = _kept_levels(run, game, trained.name, raw)
        answers = judge(levels, game.rules, budget, f"solving, {trained.name}")
        delivery, control = None, None
        if trained.name == FINE_TUNED and recipe.evaluate.deliver:
            delivery = _deliver(results, model)
        if trained.name == FINE_TUNED and recipe.evaluate.requests:
            control = _control(results, model)
    notes = {"zero-shot": "tiles mapped, nothing trained", "scratch": "same network, same steps"}
    return SceneArm(
        trained.name,
        TITLES[trained.name],
        "fine-tuned" if trained.name == FINE_TUNED else "baseline",
        levels,
        answers,
        seconds=figures["seconds"],
        note=notes.get(trained.name, f"{model.name}, {recipe.adapt.strategy}"),
        bits=trained.bits,
        delivery=delivery,
        control=control,
        training=trained.cost,
    )


def _deliver(results: SceneResults, model: TileModel) -> DeliveryFigures:
    game, recipe = results.game, scene_recipe(results.run)
    count = recipe.evaluate.deliver
    maker = make_maker(make_sampler(model, game, recipe), game, recipe)
    sizes = draw_sizes(game, recipe, count, recipe.seed + 2)
    rng = np.random.default_rng([recipe.seed, 3])
    requests = [implied_requests(game.known, game.measures, [], rng) for _ in sizes]
    progress.say(f"delivering {count} levels, each verified")
    delivery = maker.deliver(sizes, requests, recipe.seed + 4)
    results.delivered = delivery.levels
    told = f"; given up: {dict(delivery.failures)}" if delivery.failures else ""
    progress.say(f"  delivered {len(delivery.levels)} of {count} from {delivery.samples} samples{told}")
    return figures_of(delivery)


def figures_of(delivery: Delivery) -> DeliveryFigures:
    """Return a delivery's figures for the evaluation."""
    return DeliveryFigures(delivery.asked, len(delivery.levels), delivery.samples, delivery.repairs, delivery.seconds)


def _control(results: SceneResults, model: TileModel) -> ControlTrial | None:
    game, recipe = results.game, scene_recipe(results.run)
    trial, told = try_control(make_sampler(model, game, recipe), game, recipe, recipe.evaluate.requests, recipe.seed)
    results.control = told
    return trial if told else None


def _baseline_arm(results: SceneResults, name: str, sizes: Sequence[tuple[int, int]]) -> SceneArm:
    run, game, recipe = results.run, results.game, scene_recipe(results.run)

    def make() -> tuple[list[Level], dict[str, Any]]:
        drawn = draw_levels(fit_baseline(name, game.known, recipe.seed), sizes, recipe.seed, f"samples, {name}")
        return list(drawn.levels), {"seconds": drawn.seconds}

    levels, figures = _kept_levels(run, game, name, make)
    answers = judge(levels, game.rules, Budget(nodes=recipe.generate.solver_nodes), f"solving, {name}")
    return SceneArm(
        name,
        TITLES[name],
        "reference" if name == "nearest-copy" else "baseline",
        levels,
        answers,
        missing=len(sizes) - len(levels),
        seconds=figures["seconds"],
    )


def _of_other_maps(game: SceneGame, recipe: SceneRecipe, path: str) -> SceneGame:
    """Return a game with other maps, in the symbols of its own."""
    documents, numbers, scenes, left_out, notes = read_levels(recipe.data, path)
    groups = [str(documents[document].path) for document, _ in numbers]
    levels = [
        game.stack.level(scene, scene.name or Path(group).stem) for scene, group in zip(scenes, groups, strict=True)
    ]
    answers = judge(levels, game.rules, Budget(nodes=recipe.generate.solver_nodes), "solving the maps")
    values = [measure(level, game.measures, answer) for level, answer in zip(levels, answers, strict=True)]
    every, none = np.arange(len(levels)), np.zeros(0, np.int64)
    return replace(
        game, documents=documents, scenes=numbers, levels=levels, groups=groups, answers=answers, values=values,
        train=every, validation=none, test=none, left_out=left_out, notes=notes,
    )  # fmt: skip


def evaluate_scene_run(
    run: Run, maps: str | Path | None = None, *, samples: int | None = None, seed: int | None = None
) -> dict[str, Any]:
    """Evaluate a saved run anew: fresh samples of the fine-tuned model and of the untrained baselines.

    Args:
        run: The run.
        maps: Maps to hold the samples against instead of the run's own, which are still needed; of the same tiles.
        samples: Levels that each makes; by default as many as the recipe says.
        seed: Of the samples; by default one that the run did not use.

    Returns:
        The evaluation, with ``written_to``.

    Raises:
        RunError: The run is not finished, or its maps are gone.
        DataError: The maps cannot be used.
    """
    model, content = load_tile_model(run.model_folder)
    recipe = scene_recipe(run)
    evaluate = recipe.evaluate.model_copy(update={"samples": samples or recipe.evaluate.samples})
    chosen = recipe.seed + 1000 if seed is None else seed
    try:
        game = load_scene_game(recipe)
    except DataError as error:
        message, remedy = "the maps of this run cannot be read any more", "put the maps back as they were"
        raise RunError(message, source=recipe.data.path, remedy=remedy, problems=error.problems) from error
    way = WayTiles.of_names(game.stack.tileset, tuple(tile.name for tile in model.tiles), throughout=game.rules.grows)
    if way is None:
        message = "the maps have other tiles than the model learned"
        raise RunError(message, source=recipe.data.path, remedy="put the maps back as they were, or fit again")
    if maps is not None:
        game = _of_other_maps(game, recipe, str(maps))
    game.way = way
    recipe = recipe.model_copy(update={"evaluate": evaluate, "seed": chosen})
    sizes = draw_sizes(game, recipe, evaluate.samples, chosen)
    began = time.monotonic()
    with using_threads(threads_for(model.network, recipe.train, decoding=True)):
        raw = sample_raw(make_sampler(model, game, recipe), game, sizes, chosen)
    answers = judge(raw.levels, game.rules, Budget(nodes=recipe.generate.solver_nodes))
    arms = [SceneArm(FINE_TUNED, TITLES[FINE_TUNED], "fine-tuned", raw.levels, answers, seconds=raw.seconds)]
    for name in ("markov", "nearest-copy"):
        drawn = draw_levels(fit_baseline(name, game.known, chosen), sizes, chosen, f"samples, {name}")
        kind: Any = "reference" if name == "nearest-copy" else "baseline"
        judged = judge(drawn.levels, game.rules, Budget(nodes=recipe.generate.solver_nodes))
        arms.append(SceneArm(name, TITLES[name], kind, drawn.levels, judged, missing=drawn.missing))
    reference = SceneReference(game.known, game.rules, _known_answers(game))
    evaluation = compare_scenes(
        arms, reference, tiles=content.get("origins", []), confidence=evaluate.level, seed=chosen
    )
    path = run.next_file("evaluations", ".json")
    evaluation |= {"seed": chosen, "seconds": round(time.monotonic() - began, 1), "written_to": str(path)}
    write_json(path, json.loads(json.dumps(evaluation)))
    return evaluation
