"""Control: random requests that no map meets as a whole; how often they are met, and what that costs in playability.

    python benchmarks/control.py [--quick] [--out results-control] [--run results-mario/runs/mario-0] [--threads 1]
                                 [--samples 100] [--plain 48] [--deliver 16] [--steps 300]

Two games: Super Mario (the run of benchmarks/mario.py, given by ``--run``; else one is fitted here, with few steps) and
caves of our own generator, 40 maps of one style. A request asks for exact values of two counts, each the value of
another training map, so that no training map has both. Raw: one draft a request, counts mended, nothing verified,
repaired or chosen; beside it samples of the same model that nothing was asked of. Delivered: the same requests through
verify, repair and resample. The Mario maps are ``scenes/mario`` of the measuring data (NGP_DATA).

Everything is kept in ``--out`` as it is done; run again after an interruption and it goes on. Prints the table of
docs/benchmarks/control.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mario import mario_recipe, training_maps
from newgameplus import progress
from newgameplus.evaluate.scene_evaluation import judge
from newgameplus.evaluate.scene_intervals import mean_interval, share_difference
from newgameplus.games.conditions import Request
from newgameplus.games.generators import make_levels, open_generator
from newgameplus.games.measures import find_measure
from newgameplus.games.rules.contract import Budget
from newgameplus.generate.sampler import Sampler
from newgameplus.pretrained.tile_model import TileModel, load_tile_model
from newgameplus.recipe_scene import SceneRecipe, parse_size
from newgameplus.run import Run
from newgameplus.scenarios.scene_data import SceneGame, load_scene_game, scene_recipe
from newgameplus.scenarios.scene_makers import make_maker, make_sampler, random_requests, try_control
from scene_common import (
    CHUNK,
    Bench,
    Size,
    data_folder,
    deliver_levels,
    guarded,
    keep_results,
    kept,
    make_recipe,
    markdown,
    raw_levels,
    read_arguments,
    share,
    write_maps,
)

KEPT = 0.94
CAVE_SEED, CAVES = 3, 40


def counted(game: SceneGame) -> SceneGame:
    """Return a game of which only counts can be asked: tiles of a kind, one tile, gaps; not the solver's way.

    Halves of pipes are left out: as many left as right ones must be there, so they are asked for as a kind only.
    """
    level = game.levels[0]
    halves = {f"tile:{tile.name}" for tile in level.tileset.tiles if tile.means("pipe")}
    names = tuple(name for name in game.measures if find_measure(name, level).additive and name not in halves)
    return replace(game, measures=names)


def open_mario(arguments: Any) -> tuple[TileModel, SceneGame, SceneRecipe]:
    """Open the given run, or fit one here."""
    if arguments.run is not None:
        recipe = scene_recipe(Run.open(arguments.run))
        model, game = load_tile_model(arguments.run / "model")[0], load_scene_game(recipe)
    else:
        maps = write_maps(arguments.out / "maps" / "mario", training_maps())
        recipe = mario_recipe(maps, 0, arguments.threads, steps=arguments.steps)
        bench = Bench.begin(arguments.out / "runs" / "mario", recipe)
        model, game = bench.train().model, bench.game
    generate = recipe.generate.model_copy(update={"size": "14x60" if arguments.quick else "14x150"})
    return model, game, recipe.model_copy(update={"generate": generate})


def open_caves(arguments: Any) -> tuple[TileModel, SceneGame, SceneRecipe]:
    """Fit the caves."""
    generator = open_generator("cave")
    levels = make_levels("cave", CAVES, CAVE_SEED)
    texts = {f"cave-{number:02d}": level.to_text() for number, level in enumerate(levels)}
    maps = write_maps(arguments.out / "maps" / "caves", texts, generator.TILES)
    recipe = make_recipe(
        maps, 0, arguments.threads,
        data={"format": "text", "rules": generator.RULES, "test": 0.0, "validation": 0.1},
        train={"steps": arguments.steps},
        generate={"size": "20x24"},
    )  # fmt: skip
    bench = Bench.begin(arguments.out / "runs" / "caves", recipe)
    return bench.train().model, bench.game, recipe


def asked_cell(sampler: Sampler, game: SceneGame, recipe: SceneRecipe, count: int, seed: int) -> dict[str, Any]:
    """Try some requests."""
    trial, told = try_control(sampler, game, recipe, count, seed)
    return {"exact": trial.exact, "errors": trial.errors, "playable": trial.playable, "requests": told}


def the_requests(game: SceneGame, count: int, seed: int) -> list[list[Request]]:
    """Return the requests that :func:`asked_cell` tries."""
    return [random_requests(game, np.random.default_rng([seed, number, 7])) for number in range(count)]


def run_game(name: str, model: TileModel, game: SceneGame, recipe: SceneRecipe, arguments: Any) -> dict[str, Any]:
    """Try all requests on one game, raw and delivered, and samples that nothing was asked of."""
    cells = arguments.out / "cells" / name
    game = counted(game)
    if arguments.quick:
        few = recipe.generate.model_copy(update={"budget_samples": 2, "repairs": 2})
        recipe = recipe.model_copy(update={"generate": few})
    sampler = make_sampler(model, game, recipe)
    size: Size = parse_size(str(recipe.generate.size))
    parts = []
    for chunk, start in enumerate(range(0, arguments.samples, CHUNK)):
        count = min(CHUNK, arguments.samples - start)
        path = cells / f"asked-{chunk:02d}-{count}.json"
        parts.append(kept(path, lambda c=count, n=chunk: asked_cell(sampler, game, recipe, c, 1000 + n)))
    result = {key: [value for part in parts for value in part[key]] for key in parts[0]}
    levels, _ = raw_levels(cells, sampler, game, [size] * arguments.plain, 77, f"{name}, nothing asked")
    budget = Budget(nodes=recipe.generate.solver_nodes)
    plain = kept(cells / "plain.json", lambda: [answer.playable for answer in judge(levels, game.rules, budget)])
    wanted = the_requests(game, min(arguments.deliver, CHUNK), 1000)
    maker = make_maker(sampler, game, recipe)
    _, figures, failures = deliver_levels(cells, maker, game, [size] * len(wanted), 99, wanted)
    return {"name": name, "size": recipe.generate.size, "measures": list(game.measures), "plain": plain, **result,
            "delivered": {**vars(figures), "failures": failures}}  # fmt: skip


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the table."""
    head = ["game", "requests", "met exactly", "mean error, tiles", "playable", "nothing asked: playable",
            "playability kept", "delivered of asked", "samples a level", "s a level"]  # fmt: skip
    rows, notes = [], []
    for one in results:
        error = mean_interval([value for value in one["errors"] if value is not None])
        asked, free, made = one["playable"], one["plain"], one["delivered"]
        ratio = np.mean(asked) / np.mean(free) if any(free) else float("nan")
        got = made["delivered"]
        rows.append(
            [
                f"{one['name']}, {one['size']}",
                str(len(asked)),
                share(sum(one["exact"]), len(one["exact"])),
                f"{error.value:.2f} ({error.low:.2f} to {error.high:.2f})" if error else "-",
                share(sum(asked), len(asked)),
                share(sum(free), len(free)),
                f"{100 * ratio:.0f} %",
                f"{got} of {made['asked']}",
                f"{made['samples'] / got:.1f}" if got else "-",
                f"{made['seconds'] / got:.1f}" if got else "-",
            ]
        )
        gap = share_difference(sum(asked), len(asked), sum(free), len(free))
        told = f" (difference {100 * gap.low:+.0f} to {100 * gap.high:+.0f} points)" if gap else ""
        verdict = "yes" if ratio >= KEPT else "NO"
        notes.append(f"{one['name']}: aim of 94 % playability kept: {verdict}{told}; given up in delivery: "
                     f"{made['failures']}; measures: {', '.join(one['measures'])}.")  # fmt: skip
    return "\n".join([markdown(head, rows), "", *notes])


def main() -> None:
    """Run the benchmark."""
    defaults = {"steps": 300, "samples": 100, "plain": 48, "deliver": 16}
    quick = {"steps": 5, "samples": 4, "plain": 3, "deliver": 2}
    arguments = read_arguments(__doc__, "results-control", defaults, quick)
    results: list[dict[str, Any]] = []
    text = ""
    games = {"mario": open_mario, "caves": open_caves}
    if not (data_folder() / "scenes" / "mario").is_dir() and arguments.run is None:
        progress.say(f"left out mario: {data_folder() / 'scenes' / 'mario'} is not there (set NGP_DATA)")
        del games["mario"]
    for name, begin in games.items():
        results.append(run_game(name, *begin(arguments), arguments))
        text = keep_results(arguments.out, "control", results, table(results))
    print(text)


if __name__ == "__main__":
    guarded(main)
