"""Pretraining of a tile model that goes on with maps of the same tiles, playable or not, and whether it helped."""

from __future__ import annotations

import copy
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.adapt.tile_strategies import plan_tile_phases
from newgameplus.errors import DataError, Problem
from newgameplus.evaluate.scene_intervals import ratio_difference
from newgameplus.files import digest_bytes
from newgameplus.games.measures import measure
from newgameplus.games.rules.contract import Answer, Budget
from newgameplus.games.scenes import Level
from newgameplus.pretrained.tile_model import TileModel, save_tile_model
from newgameplus.recipe_scene import SceneRecipe
from newgameplus.run import Run
from newgameplus.scenarios.pretraining import one_start, same_data
from newgameplus.scenarios.scene_data import SceneGame, load_scene_game, read_levels
from newgameplus.scenarios.scene_sharing import share_maps
from newgameplus.scenarios.scene_start import level_book, open_start
from newgameplus.train.device import threads_for, using_threads
from newgameplus.train.levels import LevelExample
from newgameplus.train.recording import epoch_recorder
from newgameplus.train.tile_loop import TileTraining, level_bits, train_tiles

__all__ = ["pretrain_scene"]

_HELD_OUT = 5  # one in so many
_TIMED = 3
_FEWEST_HELD_OUT = 3
_NODES_PER_MAP = 20_000


@dataclass(frozen=True, eq=False)
class _Maps:
    """What is learned from, and what is held out to see whether it helped."""

    learned: list[LevelExample]
    held_out: list[LevelExample]
    levels: int
    digests: dict[str, str]
    left_out: list[Problem]


def pretrain_scene(recipe: SceneRecipe, run: Run) -> dict[str, Any]:
    """Go on with the pretraining of a recipe's start on maps of the same tiles; leave ``model/`` in the folder.

    Args:
        recipe: The recipe.
        run: The folder to work in; what an interrupted call left there is taken up.

    Returns:
        What was learned from what, and bits per tile on held-out maps before and after.

    Raises:
        NewGamePlusError: Model, maps or recipe cannot be used.
    """
    name = one_start(recipe)
    game = load_scene_game(recipe)
    share_maps(game)
    maps = _maps(recipe, game)
    same_data(run, maps.digests, recipe.pretrain.path or recipe.data.path)
    for problem in maps.left_out[:10]:
        progress.say(f"{problem.source}: {problem.message}")
    model, _ = open_start(recipe, game, name)
    held_out = level_book(recipe, game, maps.held_out, model)
    progress.say(f"{maps.levels} levels to learn from, {len(maps.held_out)} held out")
    with using_threads(threads_for(model.network, recipe.train)):
        bits_before = level_bits(model.network, held_out)
    training = _training(recipe, run, game, model, maps)
    record = epoch_recorder(run.folder / "tb", "pretraining", run.write_metrics)
    result = train_tiles(model.network, training, record)
    with using_threads(threads_for(model.network, recipe.train)):
        bits_after = level_bits(model.network, held_out)
    before, after = (float(bits[:, 0].sum() / bits[:, 1].sum()) for bits in (bits_before, bits_after))
    facts = {"levels": maps.levels, "steps": result.steps, "seed": recipe.seed}
    model.facts |= {"description": f"{name}, pretrained further on {maps.levels} levels"}
    save_tile_model(run.model_folder, model, {"kind": "pretrained", "started_from": name, "training": facts})
    sentence, helped = _sentence(bits_before, bits_after, recipe.seed)
    progress.say(sentence)
    return {
        "scenario": "scene",
        "start": name,
        "sentence": sentence,
        "helped": helped,
        "estimate": "bits per tile on maps that were not learned from",
        "before": before,
        "after": after,
        "held_out": len(maps.held_out),
        "left_out": [{"message": p.message, "source": p.source} for p in maps.left_out],
        "seconds": round(result.seconds, 3),
        **facts,
    }


def _maps(recipe: SceneRecipe, game: SceneGame) -> _Maps:
    """Find the maps to learn from; none of them is tested or validated on, and some maps are kept to measure by.

    Raises:
        DataError: There are no maps, or none that may be learned from.
    """
    source = recipe.pretrain.path or recipe.data.path
    levels, places, left_out = _pool(recipe, game)
    unseen = {_digest(game.levels[n]) for n in (*game.test, *game.validation)}
    kept: dict[str, tuple[Level, str]] = {}
    for level, place in zip(levels, places, strict=True):
        digest = _digest(level)
        if digest in unseen:
            left_out.append(Problem("left out: this map is held out by the recipe", f"{place} ({level.name})"))
        else:
            kept.setdefault(digest, (level, place))
    own = [n for n in game.train if _digest(game.levels[n]) not in kept]
    pool = list(kept)
    if not own:  # all maps of the recipe are learned from: some of them are not, then
        chosen = np.random.default_rng(recipe.seed).permutation(len(pool))[: max(1, len(pool) // _HELD_OUT)]
        measured = {pool[n] for n in chosen}
    else:
        measured = set()
    learned = [digest for digest in pool if digest not in measured]
    if not learned:
        remedy = "give more maps: --data FOLDER, or pretrain.path in the recipe"
        raise DataError("no map is left to pretrain on", source=source, remedy=remedy, problems=left_out[:10])
    held_out = game.examples(np.array(own, np.int64), recipe.data.scan)
    held_out += _examples(recipe, game, [kept[digest][0] for digest in pool if digest in measured], mirror=False)
    mirror = recipe.data.mirror == "auto"
    examples = _examples(recipe, game, [kept[digest][0] for digest in learned], mirror=mirror)
    digests = {f"{Path(kept[d][1]).name}:{kept[d][0].name}:{d[:8]}": d for d in learned}
    return _Maps(examples, held_out, len(learned), digests, left_out)


def _pool(recipe: SceneRecipe, game: SceneGame) -> tuple[list[Level], list[str], list[Problem]]:
    """Return all levels that are offered, where they come from, and files that cannot be used."""
    if recipe.pretrain.path is None:
        held = {game.groups[n] for n in (*game.test, *game.validation)}
        one_file = len(set(game.groups)) == 1
        unseen = {int(n) for n in (*game.test, *game.validation)}
        numbers = [n for n in range(len(game.levels)) if n not in unseen and (one_file or game.groups[n] not in held)]
        return [game.levels[n] for n in numbers], [game.groups[n] for n in numbers], []
    documents, found, scenes, left_out, _ = read_levels(recipe.data, recipe.pretrain.path)
    levels, places = [], []
    for (document, _), scene in zip(found, scenes, strict=True):
        path = str(documents[document].path)
        try:
            levels.append(game.stack.level(scene, scene.name or Path(path).stem))
            places.append(path)
        except DataError as error:  # other tiles: a model of this game's has no word for them
            left_out += [Problem(f"left out: {p.message}", path) for p in error.problems]
    if not levels:
        remedy = "give maps made of the tiles of data.path"
        source = recipe.pretrain.path
        raise DataError(
            "no map here has the recipe's tiles alone", source=source, remedy=remedy, problems=left_out[:10]
        )
    return levels, places, left_out


def _examples(recipe: SceneRecipe, game: SceneGame, levels: list[Level], *, mirror: bool) -> list[LevelExample]:
    """Return levels as examples; the way is drawn in where the game's models learn it and the solver finds one."""
    budget = Budget(nodes=min(recipe.generate.solver_nodes, _NODES_PER_MAP))
    examples: list[LevelExample] = []
    with progress.task("preparing the maps", len(levels), "maps") as bar:
        for level in levels:
            answer: Answer | None = game.rules.solve(level, budget) if game.way.drawn else None
            values = measure(level, game.measures, answer)
            proof = answer.proof if answer is not None else None
            examples += game.images(level, proof, values, recipe.data.scan, mirror=mirror)
            bar.advance()
    return examples


def _digest(level: Level) -> str:
    return digest_bytes(level.tiles.tobytes(), repr(level.tiles.shape).encode())


def _training(recipe: SceneRecipe, run: Run, game: SceneGame, model: TileModel, maps: _Maps) -> TileTraining:
    wanted = recipe.pretrain
    settings = recipe.train.model_copy(
        update={"steps": wanted.steps, "batch_size": wanted.batch_size, "patience": None, "self_training_rounds": 0}
    )
    training = TileTraining(
        "pretraining",
        tuple(plan_tile_phases("full")),
        level_book(recipe, game, maps.learned, model),
        None,
        settings,
        recipe.seed,
        run.checkpoint("pretraining"),
        wanted.learning_rate,
    )
    if wanted.minutes is None:
        return training
    note = run.note("steps")
    if note is None:
        note = run.keep_note("steps", {"steps": _steps_in(model, training, wanted.minutes)})
        progress.say(f"{note['steps']} steps fit into {wanted.minutes:g} minutes")
    with run.noted("steps"):
        return replace(training, settings=settings.model_copy(update={"steps": int(note["steps"])}))


def _steps_in(model: TileModel, training: TileTraining, minutes: float) -> int:
    """Return how many steps fit into a time, as a few on a copy tell, at most those that were asked for."""
    with tempfile.TemporaryDirectory() as folder:
        few = training.settings.model_copy(update={"steps": _TIMED})
        began = time.monotonic()
        train_tiles(copy.deepcopy(model.network), replace(training, settings=few, checkpoint=Path(folder) / "c"))
        seconds = (time.monotonic() - began) / _TIMED
    return max(1, min(training.settings.steps, int(minutes * 60.0 / max(seconds, 1e-9))))


def _sentence(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], seed: int) -> tuple[str, bool]:
    """Say in one sentence whether held-out maps are foreseen better, as far as so many maps can tell.

    Args:
        before: float64 [levels, 2]: bits and tiles of each.
        after: Likewise.
        seed: Of the interval around the difference, over whole maps.
    """
    was, now = (float(bits[:, 0].sum() / bits[:, 1].sum()) for bits in (before, after))
    maps = "1 map that was" if len(after) == 1 else f"{len(after)} maps that were"
    told = f"{now:.3f} bits a tile on {maps} not learned from, {was:.3f} before"
    found = ratio_difference(after[:, 0], before[:, 0], after[:, 1], seed=seed)
    if now >= was or found is None:
        return f"Pretraining brought no gain by this estimate: {told}; let choose decide which to start from.", False
    if found.high < 0.0 and len(after) >= _FEWEST_HELD_OUT:
        return f"Pretraining helped by this estimate: {told} ({found.low:+.3f}..{found.high:+.3f}).", True
    return f"Pretraining may have helped, so few maps cannot tell: {told}; let choose decide.", False
