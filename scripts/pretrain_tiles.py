"""Pretrain the bundled tile model on levels of our own generators, and write it into the package.

    python scripts/pretrain_tiles.py --work WORK [--games 60] [--levels 20] [--steps 6000] [--seed 0]

Every *game* is one generator with one style; its levels are like one designer's. The last games of every generator are
held out, and the model is never trained on them. Interrupted, the script goes on where it stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch

from newgameplus import progress
from newgameplus.adapt.tile_strategies import plan_tile_phases
from newgameplus.errors import DataError
from newgameplus.games.conditions import FEATURES, column_counts, standard_measures
from newgameplus.games.generators import GENERATORS, draw_style, make_levels
from newgameplus.games.measures import measure
from newgameplus.games.rules import open_rules
from newgameplus.games.rules.contract import Budget
from newgameplus.games.scanning import to_scan
from newgameplus.games.scenes import MEANINGS, Level
from newgameplus.games.structure import tile_habits
from newgameplus.games.way_tiles import WAY_MEANING, WayTiles
from newgameplus.pretrained.tile_model import TileFacts, TileModel, meaning_table, save_tile_model
from newgameplus.pretrained.tile_network import TileNetwork, TileNetworkShape
from newgameplus.recipe_scene import SceneTrainSettings
from newgameplus.train.levels import LevelBook, LevelExample
from newgameplus.train.tile_loop import TileTraining, level_bits, train_tiles

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "src" / "newgameplus" / "pretrained" / "weights" / "tiles"
HELD_OUT = 0.05
SHARES = {"platformer": 2.0, "sokoban": 4.0, "dungeon": 1.5}
"""How often windows of a kind are drawn, against 1 of the others: small levels hold fewer tiles."""
NODES = 5000
"""States that the solver may look at for one level."""
WAYS = 0.6
"""Share of the playable levels that are learned with the solver's way drawn in."""


def make_game(job: tuple[str, int, int, int, Path]) -> str:
    """Make the levels of one game and keep them; return its file."""
    kind, number, count, seed, folder = job
    path = folder / f"{kind}-{number:04d}.npz"
    if path.exists():
        return str(path)
    rng = np.random.default_rng([seed, number, sum(kind.encode())])
    levels: list[Level] = []
    while not levels:
        with contextlib.suppress(DataError):  # a style of which no level can be made: the next one
            levels = make_levels(kind, count, int(rng.integers(2**31)), style=draw_style(kind, rng))
    rules = open_rules(rules_of(kind))
    arrays: dict[str, np.ndarray] = {}
    for index, level in enumerate(levels):
        answer = rules.solve(level, Budget(nodes=NODES))
        values = measure(level, standard_measures(), answer)
        way = rules.way(answer.proof) if answer.proof and rng.random() < WAYS else ()
        arrays[f"tiles{index}"] = level.tiles.astype(np.int16)
        arrays[f"values{index}"] = np.array([values[name] for name in standard_measures()], np.float32)
        arrays[f"way{index}"] = np.array(sorted(set(way)), np.int16).reshape(-1, 2)
    temporary = path.with_suffix(".partial.npz")
    np.savez_compressed(temporary, **arrays)
    temporary.replace(path)
    return str(path)


def rules_of(kind: str) -> str:
    """Return the rules that a generator's levels keep."""
    import importlib

    return str(importlib.import_module(GENERATORS[kind]).RULES)


Ways = list[list[tuple[int, int]]]


def read_games(
    kinds: list[str], folder: Path
) -> tuple[list[list[Level]], list[list[dict[str, float]]], list[Ways], list[str]]:
    """Read back all games: levels, their measures, the ways to draw in, and each game's generator."""
    games, values, ways, owners = [], [], [], []
    for kind in kinds:
        template = make_levels(kind, 1, 0)[0]
        for path in sorted(folder.glob(f"{kind}-[0-9]*.npz")):
            arrays = np.load(path)
            count = len(arrays.files) // 3
            games.append([template.with_tiles(arrays[f"tiles{i}"].astype(np.int32), str(i)) for i in range(count)])
            told = [arrays[f"values{i}"] for i in range(count)]
            values.append([dict(zip(standard_measures(), map(float, row), strict=True)) for row in told])
            ways.append([[(row, column) for row, column in arrays[f"way{i}"].tolist()] for i in range(count)])
            owners.append(kind)
    return games, values, ways, owners


def examples_of(
    games: list[list[Level]],
    values: list[list[dict[str, float]]],
    ways: list[Ways],
    owners: list[str],
    kinds: list[str],
) -> tuple[list[list[LevelExample]], tuple[TileFacts, ...]]:
    """Put all games over one vocabulary: each generator's tiles, plain and on the way, behind those of the last."""
    facts: list[TileFacts] = []
    offsets: dict[str, int] = {}
    drawn: dict[str, WayTiles] = {}
    for kind in kinds:
        mine = [n for n, owner in enumerate(owners) if owner == kind]
        own = [level for n in mine for level in games[n]]
        offsets[kind] = len(facts)
        drawn[kind] = twins = WayTiles.of(own, [way for n in mine for way in ways[n]])
        habits = tile_habits(own[:400])[twins.base]
        for number, (tile, habit) in enumerate(zip(twins.tileset.tiles, habits, strict=True)):
            rounded = tuple(round(float(share), 3) for share in habit)
            facts.append(TileFacts(f"{kind}:{tile.name}", twins.meanings(number), rounded))
    totals = {kind: sum(len(g) for g, o in zip(games, owners, strict=True) if o == kind) for kind in kinds}
    examples = []
    for game, told, drawn_ways, owner in zip(games, values, ways, owners, strict=True):
        twins, first = drawn[owner], offsets[owner]
        plain, whole = np.zeros(len(facts), np.bool_), np.zeros(len(facts), np.bool_)
        plain[first : first + len(twins.twin)] = whole[first : first + len(twins.base)] = True
        examples.append(
            [
                LevelExample(
                    to_scan(twins.draw(level, way), "columns") + first,
                    value,
                    column_counts(level, standard_measures()),
                    whole if way else plain,
                    weight=SHARES.get(owner, 1.0) / totals[owner],
                )
                for level, value, way in zip(game, told, drawn_ways, strict=True)
            ]
        )
    return examples, tuple(facts)


def main() -> None:
    """Make the games, train, judge on held-out games, and write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for games and checkpoint")
    parser.add_argument("--games", type=int, default=60, help="games of each generator")
    parser.add_argument("--levels", type=int, default=20, help="levels of each game")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1, help="of the training; more only on an idle machine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="", help="generators, separated by commas; all by default")
    parser.add_argument("--out", type=Path, default=TARGET)
    arguments = parser.parse_args()
    kinds = arguments.kinds.split(",") if arguments.kinds else list(GENERATORS)
    folder = arguments.work / "games"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(kind, n, arguments.levels, arguments.seed, folder) for n in range(arguments.games) for kind in kinds]
    with multiprocessing.Pool() as pool, progress.task("games", len(jobs), "games") as bar:
        for _ in pool.imap_unordered(make_game, jobs):
            bar.advance()
    games, values, ways, owners = read_games(kinds, folder)
    examples, facts = examples_of(games, values, ways, owners, kinds)
    first_held_out = max(1, math.ceil(arguments.games * (1 - HELD_OUT)))
    number = dict.fromkeys(kinds, 0)
    train: list[LevelExample] = []
    held: dict[str, list[LevelExample]] = {kind: [] for kind in kinds}
    for game, owner in zip(examples, owners, strict=True):
        number[owner] += 1
        (train if number[owner] <= first_held_out else held[owner]).extend(game)
    meanings = (*MEANINGS, WAY_MEANING)
    shape = TileNetworkShape(len(facts), len(meanings), len(standard_measures()) * FEATURES)
    torch.manual_seed(arguments.seed)
    network = TileNetwork(shape, meaning_table(facts, meanings))
    settings = SceneTrainSettings(
        steps=arguments.steps, batch_size=arguments.batch, patience=None, check_every=100, ema=0.999, precision="bf16"
    )
    measures = standard_measures()
    training = TileTraining(
        "tiles", plan_tile_phases("full"), LevelBook(train, measures, shape.context), None, settings,
        arguments.seed, arguments.work / "checkpoint", 1.5e-3, hide_own=0.25,
    )  # fmt: skip
    began = time.time()
    result = train_tiles(network, training)
    bits = {}
    for kind in kinds:
        if held[kind]:
            found = level_bits(network, LevelBook(held[kind][:20], measures, shape.context)).sum(axis=0)
            bits[kind] = round(float(found[0] / found[1]), 4)
    description = (
        "decoder over tiles with two-dimensional positions, pretrained on levels of our own generators: "
        + ", ".join(kinds)
    )
    log = {
        "games": len(games), "levels": sum(map(len, games)), "steps": result.steps, "seconds": round(result.seconds),
        "batch": arguments.batch, "seed": arguments.seed, "held_out_bits_per_tile": bits,
        "train_bits": [round(row["train_loss"], 4) for row in result.rows],
    }  # fmt: skip
    card = {
        "license": "Apache-2.0",
        "description": description,
        "pretraining": log,
        "script": "scripts/pretrain_tiles.py",
    }
    model = TileModel("bundled:tiles", network, facts, measures, meanings, card)
    save_tile_model(arguments.out, model, half=True)
    print(json.dumps(log | {"minutes": round((time.time() - began) / 60, 1)}, indent=1))


if __name__ == "__main__":
    main()
