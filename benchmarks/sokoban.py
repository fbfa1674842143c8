"""Sokoban: the tile model fine-tuned on Microban by Todd's definitions, and on 100 to 10,000 levels of Boxoban.

    python benchmarks/sokoban.py [--quick] [--out results-sokoban] [--threads 1] [--steps 300] [--samples 100]
                                 [--rounds 4] [--round-levels 300]

Microban: 100 raw samples (one draft each, no solver) of the fine-tuned model (with rounds of self-training, unless
``--rounds 0``), of the model without training, of the same network from random weights with the same steps and rounds,
of an n-gram model and of copies; then 100 levels delivered. Boxoban: raw samples that can be solved, and bits a tile on
held-out levels, by the number of training levels, for the pretrained network and for the same from random weights with
the same steps. Needs ``scenes/sokoban`` of the measuring data (NGP_DATA).

Everything is kept in ``--out`` as it is done; run again after an interruption and it goes on. Prints the tables of
docs/benchmarks/sokoban.md, which says how each column is defined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from newgameplus.evaluate.scene_arms import HeldOutBits
from newgameplus.evaluate.scene_baselines import draw_levels, fit_baseline
from newgameplus.evaluate.scene_evaluation import SceneReference
from newgameplus.evaluate.scene_intervals import ratio_interval
from newgameplus.scenarios.scene_data import SceneGame
from newgameplus.scenarios.scene_makers import draw_sizes, make_maker, make_sampler
from scene_common import (
    Bench,
    count_of,
    deliver_levels,
    describe_levels,
    find_data,
    guarded,
    keep_results,
    kept,
    make_recipe,
    markdown,
    number,
    raw_levels,
    read_arguments,
    share,
    write_maps,
)

SEED = 0
COUNTS = (100, 1_000, 10_000)
HELD_OUT = 200
NODES = 100_000
"""States that the solver may look at for one level; what is undecided then counts as not playable."""
TEMPERATURE = 0.5
"""Chosen among .4, .5, .6 and .8 on raw samples of other runs, with another seed."""
ARMS = ("fine-tuned", "zero-shot", "markov", "nearest-copy", "scratch")
TITLES = {
    "fine-tuned": "New Game+, raw",
    "delivered": "New Game+, delivered",
    "zero-shot": "zero-shot",
    "markov": "Markov",
    "nearest-copy": "copies (a cheat)",
    "scratch": "from scratch, same steps",
}


def microban(count: int | None = None) -> str:
    """Return the levels of the four files as one XSB file, so that validation levels are drawn from all of them."""
    files = sorted(find_data("scenes", "sokoban", "microban").glob("*.txt"))
    levels = [level for path in files for level in path.read_text(encoding="utf-8").split("; ") if level.strip()]
    return _xsb(levels[:count])


def _xsb(levels: Sequence[str]) -> str:
    numbered = ["\n".join(level.strip("\n").split("\n")[1:]).strip("\n") for level in levels]
    return "\n".join(f"; {number}\n\n{rows}\n" for number, rows in enumerate(numbered, start=1))


def boxoban(part: str, count: int) -> str:
    """Return the first levels of Boxoban medium, drawn with one seed, as one XSB file: a smaller set lies in a larger.

    Args:
        part: ``train`` or ``valid``.
        count: How many.
    """
    files = sorted(find_data("scenes", "sokoban", "boxoban_medium", part).glob("*.txt"))
    levels = [level for path in files for level in path.read_text(encoding="utf-8").split("; ") if level.strip()]
    order = np.random.default_rng(SEED).permutation(len(levels))[:count]
    return _xsb([levels[n] for n in order])


def microban_rows(out: Path, arguments: Any) -> dict[str, Any]:
    """Run the arms on Microban; keep the table after each."""
    maps = write_maps(out / "maps" / "microban", {"microban": microban(40 if arguments.quick else None)})
    data = {"rules": "sokoban", "format": "xsb", "test": 0.0, "validation": 0.05}
    recipe = make_recipe(
        maps,
        SEED,
        arguments.threads,
        data=data,
        train={
            "steps": arguments.steps,
            "learning_rate": 3e-4,
            "precision": "bf16",
            "self_training_rounds": arguments.rounds,
            "self_training_levels": arguments.round_levels,
        },
        generate={"solver_nodes": NODES, "temperature": TEMPERATURE},
    )
    bench = Bench.begin(out / "runs" / "microban", recipe)
    reference = SceneReference(bench.game.known, bench.game.rules)
    rows: dict[str, Any] = {}
    for arm in arguments.arms.split(",") if arguments.arms else ARMS:
        rows |= _microban_arm(bench, reference, arm, out / "cells" / "microban" / arm, arguments.samples)
        keep_results(out, "sokoban", {"microban": rows}, microban_table(rows))
    return rows


def _microban_arm(bench: Bench, reference: SceneReference, arm: str, cells: Path, samples: int) -> dict[str, Any]:
    game, recipe = bench.game, bench.recipe
    sizes = draw_sizes(game, recipe, samples, SEED)
    if arm in ("markov", "nearest-copy"):

        def drawn() -> dict[str, Any]:
            made = draw_levels(fit_baseline(arm, game.known, SEED), sizes, SEED)
            more = {"missing": made.missing, "seconds": made.seconds, "nodes": NODES}
            return describe_levels(arm, made.levels, reference, **more)

        return {arm: kept(cells / "row.json", drawn)}
    sampler = make_sampler(bench.train(arm).model, game, recipe)
    levels, seconds = raw_levels(cells, sampler, game, sizes, SEED, f"samples, {arm}")
    row = kept(cells / "row.json", lambda: describe_levels(arm, levels, reference, seconds=seconds, nodes=NODES))
    rows = {arm: row}
    if arm == "fine-tuned":
        got, figures, failures = deliver_levels(cells, make_maker(sampler, game, recipe), game, sizes, SEED + 4)
        more = {"seconds": figures.seconds, "delivery": figures, "nodes": NODES}
        rows["delivered"] = kept(
            cells / "delivered-row.json", lambda: describe_levels("delivered", got, reference, **more)
        )
        rows["delivered"]["failures"] = failures
    return rows


def boxoban_cell(out: Path, count: int, arm: str, arguments: Any) -> dict[str, Any]:
    """Train on some levels of Boxoban, and return how many raw samples can be solved, and bits on held-out levels."""
    maps = write_maps(out / "maps" / f"boxoban-{count}", {"train": boxoban("train", count)})
    held = write_maps(out / "maps" / "boxoban-held-out", {"valid": boxoban("valid", HELD_OUT)})
    recipe = make_recipe(
        maps, SEED, arguments.threads,
        data={"rules": "sokoban", "format": "xsb", "test_path": str(held), "validation": 0.0, "mirror": "never"},
        train={"steps": arguments.boxoban_steps, "batch_size": 16, "learning_rate": 3e-4, "precision": "bf16"},
        generate={"size": "10x10", "solver_nodes": NODES, "temperature": TEMPERATURE},
        control={"measures": ("boxes", "goals")},
    )  # fmt: skip
    bench = Bench.begin(out / "runs" / f"boxoban-{count}", recipe)
    trained, game = bench.train(arm), bench.game
    cells = out / "cells" / f"boxoban-{count}" / arm
    sampler = make_sampler(trained.model, game, recipe)
    small = _first(game, COUNTS[0])  # all maps are looked at for every sample: how many boxes, which style
    levels, seconds = raw_levels(cells, sampler, small, [(10, 10)] * arguments.samples, SEED, f"{count} {arm}")
    row = describe_levels(arm, levels, SceneReference(game.known, game.rules), seconds=seconds, nodes=NODES)
    return row | {"bits_per_tile": _bits(trained.bits), "count": count, "training": vars(trained.cost)}


def _first(game: SceneGame, count: int) -> SceneGame:
    """Return a game that knows only its first training levels."""
    numbers = game.train[:count]
    few = {"levels": game.some(numbers), "values": [game.values[n] for n in numbers]}
    none = np.zeros(0, np.int64)
    return replace(game, **few, train=np.arange(len(numbers)), validation=none, test=none)


def _bits(bits: HeldOutBits | None) -> dict[str, float] | None:
    found = ratio_interval(bits.bits, bits.tiles) if bits is not None else None
    return found.as_dict() if found is not None else None


def microban_table(rows: Mapping[str, Any]) -> str:
    """Return the table of Microban."""
    head = [
        "Microban",
        "playable and novel",
        "playable",
        "novel",
        "undecided",
        "diversity",
        "KL 2x2",
        "pushes",
        "samples a level",
        "s a level",
    ]
    lines = []
    for name, row in rows.items():
        raw, made = row["raw"], row["delivered"]
        asked = made["asked"] if made else raw["samples"]
        lines.append(
            [
                TITLES[name],
                share(count_of(raw["playable_and_novel"], raw["samples"]), asked, percent=False),
                share(count_of(raw["playable"], raw["samples"]), asked, percent=False),
                number(raw["novelty"]["novel"], 2),
                number(raw["undecided"], 2),
                f"{'' if raw['diversity_exact'] else 'at least '}{number(raw['diversity'], 2)}",
                number(raw["divergence"]["2x2"], 2),
                number(raw["measures"]["pushes"]["mean"], 1),
                number(made["samples_per_level"], 2) if made else "",
                number(raw["seconds_per_level"], 2),
            ]
        )
    return "\n".join([markdown(head, lines), *_microban_aims(rows)])


def _microban_aims(rows: Mapping[str, Any]) -> list[str]:
    if "delivered" not in rows:
        return []
    raw, made = rows["fine-tuned"]["raw"], rows["delivered"]["delivered"]
    reached = {
        "raw playable and novel at least .60": raw["playable_and_novel"]["value"] >= 0.6,
        "delivered 1.00": made["delivered"] == made["asked"],
        "diversity at least .71": raw["diversity"] >= 0.71,
    }
    told = [f"{what}: {'yes' if got else 'NO'}" for what, got in reached.items()]
    return ["", f"Delivered {made['delivered']} of {made['asked']}, {made['repairs']} repairs; given up: "
            f"{rows['delivered']['failures']}. Aims: {'; '.join(told)}."]  # fmt: skip


def boxoban_table(cells: Mapping[str, Any]) -> str:
    """Return the table of Boxoban."""
    head = ["Boxoban, training levels", "solvable, pretrained", "solvable, scratch", "bits a tile, pretrained",
            "bits a tile, scratch", "s to train"]  # fmt: skip
    lines = []
    for count in sorted({cell["count"] for cell in cells.values()}):
        arms = [cells.get(f"{count}-{arm}") for arm in ("fine-tuned", "scratch")]
        solved = [
            share(count_of(cell["raw"]["playable"], cell["raw"]["samples"]), cell["raw"]["samples"], percent=False)
            if cell
            else "-"
            for cell in arms
        ]
        bits = [_span(cell["bits_per_tile"]) if cell else "-" for cell in arms]
        seconds = [f"{cell['training']['seconds']:.0f}" for cell in arms if cell]
        lines.append([f"{count:,}", *solved, *bits, " and ".join(seconds)])
    return markdown(head, lines)


def _span(interval: Mapping[str, float] | None) -> str:
    return f"{interval['value']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})" if interval else "-"


def main() -> None:
    """Run the benchmark."""
    defaults = {"steps": 300, "boxoban-steps": 300, "samples": 100, "rounds": 4, "round-levels": 300}
    quick = {"steps": 10, "boxoban-steps": 5, "samples": 6, "rounds": 1, "round-levels": 8}
    arguments = read_arguments(__doc__, "results-sokoban", defaults, quick)
    out: Path = arguments.out
    rows = microban_rows(out, arguments)
    cells: dict[str, Any] = {}
    text = microban_table(rows)
    for count in COUNTS[: 2 if arguments.quick else None]:
        for arm in ("fine-tuned", "scratch"):
            path = out / "cells" / f"boxoban-{count}-{arm}.json"
            cells[f"{count}-{arm}"] = kept(path, lambda c=count, a=arm: boxoban_cell(out, c, a, arguments))
            results = {"microban": rows, "boxoban": cells}
            text = keep_results(out, "sokoban", results, f"{microban_table(rows)}\n\n{boxoban_table(cells)}")
    print(text)


if __name__ == "__main__":
    guarded(main)
