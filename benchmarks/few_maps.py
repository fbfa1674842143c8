"""Few maps: what 5, 10 and 20 maps are enough for, pretrained against scratch, Markov and wave-function collapse.

    python benchmarks/few_maps.py [--quick] [--out results-few-maps] [--threads 1] [--steps 120] [--samples 24]
                                  [--seeds 2]

Two games that the bundled model has never seen: rooms of Zelda dungeons and levels of Super Mario, those that can be
played. For each game, number of maps and seed, the maps are drawn anew, and ten others are held out. The pretrained
model and the same network from random weights are trained with the same steps; the other two learn from the same maps.
Each makes ``--samples`` raw levels (24) of 16 x 11 or 14 x 64. Needs ``scenes/zelda`` and ``scenes/mario`` of the
measuring data (NGP_DATA).

Everything is kept in ``--out`` as it is done; run again after an interruption and it goes on. Prints the tables of
docs/benchmarks/few_maps.md, which says how each column is defined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mario import training_maps
from newgameplus.evaluate.scene_baselines import draw_levels, fit_baseline
from newgameplus.evaluate.scene_evaluation import SceneReference
from newgameplus.evaluate.scene_patterns import pattern_divergence
from newgameplus.games.formats.legends import read_legend
from newgameplus.games.rules import open_rules
from newgameplus.games.scenes import Level
from newgameplus.scenarios.scene_makers import make_sampler
from scene_common import (
    Bench,
    count_of,
    describe_levels,
    find_data,
    guarded,
    keep_results,
    kept,
    make_recipe,
    markdown,
    raw_levels,
    read_arguments,
    share,
    spread,
    write_maps,
)

COUNTS = (5, 10, 20)
HELD_OUT = 10
ROOM = (16, 11)
ARMS = ("fine-tuned", "scratch", "markov", "wave-function-collapse")
TITLES = {"fine-tuned": "pretrained", "scratch": "from scratch", "markov": "Markov", "wave-function-collapse": "WFC"}
#: What the characters of the VGLC's dungeons mean; O is water or lava that is walked on, I a block that stands in it.
DUNGEON = {
    "F": ("empty",),
    "B": ("solid",),
    "M": ("enemy",),
    "P": ("liquid",),
    "O": ("liquid", "empty"),
    "I": ("liquid", "solid"),
    "D": ("door",),
    "S": ("empty",),
    "W": ("solid",),
    "-": ("void",),
}
#: In a room, all that is not wall, block or water must be one piece, doors included.
ROOM_RULES = {"pieces": "one", "doors": "open", "start": "free", "goals": "none", "share": 1.0}


@dataclass(frozen=True)
class Kind:
    """One game.

    Attributes:
        name: For tables and folders.
        maps: Text of every map that can be drawn, by name.
        size: Rows and columns of what is made.
        data: What the recipe says about the maps.
        train: What it says about training: about 1,400 tiles a step in both games.
    """

    name: str
    maps: Mapping[str, str]
    size: tuple[int, int]
    data: Mapping[str, Any]
    train: Mapping[str, Any]


def all_rooms() -> Iterator[tuple[str, str]]:
    """Yield every room of all dungeons by dungeon and place, those that cannot be played included."""
    rows, columns = ROOM
    for path in sorted(find_data("scenes", "zelda", "dungeons").glob("tloz*.txt")):
        lines = path.read_text(encoding="utf-8").strip("\n").split("\n")
        for top in range(0, len(lines), rows):
            for left in range(0, len(lines[0]), columns):
                text = "\n".join(line[left : left + columns] for line in lines[top : top + rows])
                if set(text) - {"-", "\n"}:
                    yield f"{path.stem}-{top // rows}-{left // columns}", text


def zelda_rooms() -> dict[str, str]:
    """Return the distinct rooms of all dungeons that the rules pass, by dungeon and place."""
    rules = open_rules("top-down", options=ROOM_RULES)
    rooms: dict[str, str] = {}
    for name, text in all_rooms():
        if text not in rooms.values() and rules.solve(Level.from_text(text, DUNGEON)).playable:
            rooms[name] = text
    return rooms


def mario_maps(options: Mapping[str, Any], legend: Path) -> dict[str, str]:
    """Return the levels of SMB and SMB2J that the rules pass, 14 rows each."""
    rules, meanings = open_rules("platformer", options=options), read_legend(legend)
    maps = training_maps()
    return {name: text for name, text in maps.items() if rules.solve(Level.from_text(text, meanings)).playable}


def find_kinds() -> list[Kind]:
    """Return both games."""
    zelda = Kind("Zelda rooms", zelda_rooms(), ROOM, {"rules": "top-down", "rules_options": ROOM_RULES}, {})
    arcs, legend = (find_data("scenes", "mario", name) for name in ("jump_arcs.json", "smb.json"))
    data = {"rules": "platformer", "rules_options": {"jumps": str(arcs)}, "legend": str(legend)}
    maps = mario_maps(data["rules_options"], legend)
    mario = Kind("Mario", maps, (14, 64), data, {"window": 24, "batch_size": 4})
    return [zelda, mario]


def draw_maps(kind: Kind, count: int, seed: int, out: Path) -> tuple[Path, Path]:
    """Write maps to learn from and held-out ones: the same held-out ones for every count of a seed."""
    names = sorted(kind.maps)
    order = np.random.default_rng(seed).permutation(len(names))
    held, drawn = order[:HELD_OUT], order[HELD_OUT : HELD_OUT + count]
    base = out / "maps" / f"{_slug(kind)}-{seed}"
    legend = None if "legend" in kind.data else DUNGEON
    folders = []
    for folder, numbers in ((base / str(count), drawn), (base / "held-out", held)):
        folders.append(write_maps(folder, {names[n]: kind.maps[names[n]] for n in numbers}, legend))
    return folders[0], folders[1]


def _slug(kind: Kind) -> str:
    return kind.name.lower().replace(" ", "-")


def run_cell(kind: Kind, count: int, seed: int, arguments: Any) -> dict[str, Any]:
    """Run all arms on some maps of a game."""
    out: Path = arguments.out
    name = f"{_slug(kind)}-{count}-{seed}"
    maps, held = draw_maps(kind, count, seed, out)
    recipe = make_recipe(
        maps, seed, arguments.threads,
        data={**kind.data, "test_path": str(held), "validation": 0.0},
        train={**kind.train, "steps": arguments.steps, "precision": "bf16"},
    )  # fmt: skip
    bench = Bench.begin(out / "runs" / name, recipe)
    reference = SceneReference(bench.game.known, bench.game.rules)
    sizes = [kind.size] * arguments.samples
    arms = {}
    for arm in ARMS:
        path = out / "cells" / name / f"{arm}.json"
        arms[arm] = kept(path, lambda a=arm: _arm(bench, reference, a, sizes, out / "cells" / name / a))
    return {"kind": kind.name, "count": count, "seed": seed, "arms": arms}


def _arm(bench: Bench, reference: SceneReference, arm: str, sizes: Sequence[tuple[int, int]], cells: Path) -> Any:
    game, seed = bench.game, bench.recipe.seed
    bits, missing = None, 0
    if arm in ("fine-tuned", "scratch"):
        trained = bench.train(arm)
        sampler = make_sampler(trained.model, game, bench.recipe)
        levels, seconds = raw_levels(cells, sampler, game, sizes, seed, f"samples, {arm}")
        if trained.bits is not None:
            bits = float(trained.bits.bits.sum() / trained.bits.tiles.sum())
    else:
        made = draw_levels(fit_baseline(arm, game.known, seed), sizes, seed, f"samples, {arm}")
        levels, seconds, missing = list(made.levels), made.seconds, made.missing
    row = describe_levels(arm, levels, reference, seconds=seconds, missing=missing)
    held = game.some(game.test)
    row["held_out_divergence"] = {f"{n}x{n}": pattern_divergence(levels, held, n) if levels else None for n in (2, 4)}
    return row | {"held_out_bits": bits}


def table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return one table a game: seeds together."""
    lines: list[str] = []
    for kind in dict.fromkeys(cell["kind"] for cell in cells):
        head = [kind, "maps", "playable", "playable and new", "8 columns copied", "differ from nearest", "KL 2x2",
                "KL 4x4", "bits a tile", "seeds"]  # fmt: skip
        rows = []
        for count in COUNTS:
            some = [cell for cell in cells if cell["kind"] == kind and cell["count"] == count]
            whole = kind != "Mario"
            rows += [_row(arm, count, [cell["arms"][arm] for cell in some], whole) for arm in ARMS if some]
        lines += [markdown(head, rows), ""]
    return "\n".join(lines).rstrip()


def _row(arm: str, count: int, rows: Sequence[Mapping[str, Any]], whole: bool) -> list[str]:
    raws = [row["raw"] for row in rows]
    samples = sum(raw["samples"] for raw in raws)

    def of_all(key: str) -> str:
        return share(sum(count_of(raw[key], raw["samples"]) for raw in raws), samples)

    return [
        TITLES[arm],
        str(count),
        of_all("playable"),
        of_all("playable_and_novel"),
        spread([raw["copied"]["8"] for raw in raws], 2),
        # Levels narrower than the maps differ from them by their width alone.
        spread([raw["novelty"]["mean_share"] for raw in raws], 2) if whole else "-",
        spread([row["held_out_divergence"]["2x2"] for row in rows]),
        spread([row["held_out_divergence"]["4x4"] for row in rows]),
        spread([row["held_out_bits"] for row in rows]),
        str(len(rows)),
    ]


def main() -> None:
    """Run the benchmark."""
    defaults = {"steps": 120, "samples": 24, "seeds": 2}
    arguments = read_arguments(__doc__, "results-few-maps", defaults, {"steps": 4, "samples": 3, "seeds": 1})
    cells: list[dict[str, Any]] = []
    text = ""
    kinds = find_kinds()
    for seed in range(arguments.seeds):
        for count in COUNTS[: 1 if arguments.quick else None]:
            for kind in kinds:
                cells.append(run_cell(kind, count, seed, arguments))
                text = keep_results(arguments.out, "few_maps", cells, table(cells))
    print(text)


if __name__ == "__main__":
    guarded(main)
