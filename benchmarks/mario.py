"""Super Mario levels: the tile model fine-tuned on SMB and SMB2J, against published generators, under one solver.

    python benchmarks/mario.py [--quick] [--out results-mario] [--threads 1] [--steps 400] [--samples 100]

The 37 levels of SMB and SMB2J are brought to 14 rows (the lowest 14, or empty rows on top), four of them are held
out, the others are trained on, to the last step. Then come 100 raw levels of 14 x 150 (one draft each, hard structure
kept while tiles are drawn, no solver, nothing repaired or chosen), 100 delivered ones (verified, repaired, drawn
again), and raw ones of four baselines: zero-shot, an n-gram model (Markov), copies of the maps (a cheat), and the same
network from random weights with the same steps. The stored levels of MarioGPT, MarioDiffusion, MarioGAN, ORE, notch and
the originals are judged by the same solver with the same jump arcs. Needs ``scenes/mario`` of the measuring data
(NGP_DATA).

Everything is kept in ``--out`` as it is done; run again after an interruption and it goes on. Prints the table of
docs/benchmarks/mario.md, which says how each column is defined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from newgameplus import progress
from newgameplus.evaluate.scene_baselines import draw_levels, fit_baseline
from newgameplus.evaluate.scene_evaluation import SceneReference, judge
from newgameplus.games.formats.legends import read_legend
from newgameplus.games.rules import open_rules
from newgameplus.games.rules.contract import Answer
from newgameplus.games.scenes import Level
from newgameplus.recipe_scene import SceneRecipe
from newgameplus.scenarios.scene_data import SceneGame
from newgameplus.scenarios.scene_makers import make_maker, make_sampler
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

ROWS = 14
SEED = 0
#: Folder of each set of stored levels, what it is called, and whether it is written in the VGLC's characters.
STORED = {
    "mariogpt": ("MarioGPT", True),
    "marioDiffusion": ("MarioDiffusion", True),
    "mariogan": ("MarioGAN", True),
    "ore": ("ORE", False),
    "notch": ("notch", False),
    "original": ("originals (Mario-AI files)", False),
}
ARMS = ("fine-tuned", "zero-shot", "markov", "nearest-copy", "scratch")
TITLES = {
    "fine-tuned": "New Game+, raw",
    "delivered": "New Game+, delivered",
    "zero-shot": "zero-shot",
    "markov": "Markov",
    "nearest-copy": "copies (a cheat)",
    "scratch": "from scratch, same steps",
}
#: Half of a pipe without the other half: the rule by which 47 of MarioGPT's 100 levels are broken.
PARTNERS = [
    {"tile": tile, side: [other]}
    for tile, side, other in (("<", "right", ">"), (">", "left", "<"), ("[", "right", "]"), ("]", "left", "["))
]
#: The Mario-AI framework's characters, as far as they matter to a solver. Blocks one can hit are solid to it.
FRAMEWORK: Mapping[str, tuple[str, ...]] = (
    dict.fromkeys("X#@!SCDU?QL*BbtT", ("solid",))
    | {"%": ("one-way",), "|": ("decoration",), "M": ("start",), "F": ("goal",), "o": ("collectable",)}
    | dict.fromkeys("yYEgGkKrR", ("enemy",))
    | dict.fromkeys("-12", ("empty",))
)


def fourteen_rows(text: str) -> str:
    """Return the lowest 14 rows of a level, filled up with empty ones on top."""
    lines = text.strip("\n").split("\n")[-ROWS:]
    return "\n".join([*(["-" * len(lines[0])] * (ROWS - len(lines))), *lines])


def training_maps() -> dict[str, str]:
    """Return the levels of SMB and SMB2J, 14 rows each, by name."""
    files = [path for folder in ("smb", "smb2j") for path in sorted(find_data("scenes", "mario", folder).glob("*.txt"))]
    return {path.stem: fourteen_rows(path.read_text(encoding="utf-8")) for path in files}


def mario_recipe(maps: Path, seed: int, threads: int, **train: Any) -> SceneRecipe:
    """Return the recipe: the solver's jump arcs and the tiles' meanings are the VGLC's."""
    data = {
        "legend": str(find_data("scenes", "mario", "smb.json")),
        "rules": "platformer",
        "rules_options": {"jumps": str(find_data("scenes", "mario", "jump_arcs.json"))},
        "test": 0.0,
        "validation": 0.1,
    }
    return make_recipe(
        maps,
        seed,
        threads,
        data=data,
        train={"precision": "bf16", **train},
        generate={"size": "14x150", "temperature": 0.85},
    )


def stored_levels(folder: str) -> list[Level]:
    """Read the levels that others made."""
    if STORED[folder][1]:
        legend = read_legend(find_data("scenes", "mario", "smb.json"))
        meanings: Mapping[str, Any] = {**legend, "D": ("empty",), "Y": ("empty",)}
    else:
        meanings = FRAMEWORK
    files = sorted(find_data("scenes", "mario", "rivals", folder).glob("*.txt"))
    return [Level.from_text(path.read_text(encoding="utf-8"), meanings, path.stem) for path in files]


class Judges:
    """The solver, the same with landings, the rule about halves of pipes, and the 37 levels to be held against."""

    def __init__(self, game: SceneGame) -> None:
        arcs = str(find_data("scenes", "mario", "jump_arcs.json"))
        self.landing = open_rules("platformer", options={"jumps": arcs, "leave": "landing"})
        self.partners = open_rules("platformer", options={"jumps": arcs, "structures": PARTNERS})
        self.reference = SceneReference(game.levels, game.rules)

    def row(self, name: str, levels: Sequence[Level], answers: Sequence[Answer] | None = None, **more: Any) -> Any:
        """Return everything that the table says about some levels.

        Levels that are higher than 14 rows are solved whole; patterns and copies are those of their lowest 14 rows.
        """
        found = judge(levels, self.reference.rules) if answers is None else answers
        cut = [level.with_tiles(level.tiles[-ROWS:]) for level in levels]
        row = describe_levels(name, cut, self.reference, answers=found, **more)
        row["landing"] = sum(answer.playable for answer in judge(levels, self.landing))
        row["broken_pipes"] = sum(bool(self.partners.flaws(level)) for level in levels)
        row["levels"] = len(levels)
        return row


def our_rows(bench: Bench, judges: Judges, arm: str, out: Path, arguments: Any) -> dict[str, Any]:
    """Make one arm's levels and return its row; for the fine-tuned model also the row of what it delivers."""
    game, recipe = bench.game, bench.recipe
    sizes = [(ROWS, arguments.width)] * arguments.samples
    cells = out / "cells" / arm
    if arm in ("markov", "nearest-copy"):

        def drawn() -> dict[str, Any]:
            made = draw_levels(fit_baseline(arm, game.known, SEED), sizes, SEED)
            return judges.row(arm, made.levels, missing=made.missing, seconds=made.seconds)

        return {arm: kept(cells / "row.json", drawn)}
    trained = bench.train(arm)
    sampler = make_sampler(trained.model, game, recipe)
    levels, seconds = raw_levels(cells, sampler, game, sizes, SEED, f"samples, {arm}")
    rows = {arm: kept(cells / "row.json", lambda: judges.row(arm, levels, seconds=seconds))}
    rows[arm]["training"] = vars(trained.cost) if trained.cost else None
    if arm == "fine-tuned":
        maker = make_maker(sampler, game, recipe)
        got, figures, failures = deliver_levels(cells, maker, game, sizes, SEED + 4)
        more = {"delivery": figures, "seconds": figures.seconds}
        rows["delivered"] = kept(cells / "delivered-row.json", lambda: judges.row("delivered", got, **more))
        rows["delivered"]["failures"] = failures
    return rows


def table(rows: Mapping[str, Any]) -> str:
    """Return the table."""
    head = ["levels", "completable", "with landings", "broken pipes", "16 columns copied", "KL 2x2", "KL 4x4",
            "diversity", "differ from nearest", "s a level"]  # fmt: skip
    lines = []
    for name, row in rows.items():
        raw, vglc = row["raw"], STORED.get(name, ("", True))[1]
        asked = (row["delivered"] or {}).get("asked", raw["samples"])
        copied = raw["copied"]["16"]
        lines.append(
            [
                TITLES.get(name) or f"{STORED[name][0]} ({raw['samples']})",
                share(count_of(raw["playable"], raw["samples"]), asked),
                share(row["landing"], asked),
                share(row["broken_pipes"], row["levels"]) if vglc else "-",
                f"{100 * copied:.1f} %" if vglc and copied is not None else "-",
                number(raw["divergence"]["2x2"]) if vglc else "-",
                number(raw["divergence"]["4x4"]) if vglc else "-",
                number(raw["diversity"], 2),
                f"{100 * raw['novelty']['mean_share']:.0f} %" if vglc and row["levels"] else "-",
                number(raw["seconds_per_level"], 2),
            ]
        )
    return "\n".join([markdown(head, lines), "", *aims(rows)])


def aims(rows: Mapping[str, Any]) -> list[str]:
    """Say which aims are reached."""
    if "fine-tuned" not in rows or "delivered" not in rows:
        return []
    ours, made = rows["fine-tuned"], rows["delivered"]["delivered"]
    raw = ours["raw"]
    reached = {
        "raw completable at least 90 %": raw["playable"]["value"] >= 0.9,
        "broken pipes in at most 2 %": ours["broken_pipes"] <= 0.02 * ours["levels"],
        "16-column copies at most 10 %": raw["copied"]["16"] <= 0.1,
        "KL below .045 (2x2)": raw["divergence"]["2x2"] < 0.045,
        "KL below .463 (4x4)": raw["divergence"]["4x4"] < 0.463,
        "all delivered": made["delivered"] == made["asked"],
    }
    each = f"{made['samples_per_level'] or 0:.2f} samples and {made['repairs']} repairs for {made['delivered']} levels"
    lines = [f"Delivered {made['delivered']} of {made['asked']}: {each}; given up: {rows['delivered']['failures']}."]
    if trained := ours.get("training"):
        lines.append(f"Fine-tuned for {trained['steps']:,} steps in {trained['seconds'] / 60:.1f} min.")
    told = [f"{what}: {'yes' if got else 'NO'}" for what, got in reached.items()]
    return [*lines, f"Aims: {'; '.join(told)}."]


def main() -> None:
    """Run the benchmark."""
    defaults = {"steps": 400, "samples": 100, "width": 150, "rounds": 0, "round-levels": 64, "round-steps": 60}
    quick = {"steps": 6, "samples": 4, "width": 40, "rounds": 1, "round-levels": 4, "round-steps": 2}
    arguments = read_arguments(__doc__, "results-mario", defaults, quick)
    out: Path = arguments.out
    maps = write_maps(out / "maps", training_maps())
    rounds = {
        "self_training_rounds": arguments.rounds,
        "self_training_levels": arguments.round_levels,
        "self_training_steps": arguments.round_steps,
    }
    recipe = mario_recipe(maps, SEED, arguments.threads, steps=arguments.steps, precision="bf16", **rounds)
    bench = Bench.begin(out / "runs" / "mario-0", recipe)
    judges = Judges(bench.game)
    stored: dict[str, Any] = {}
    for folder in STORED:
        progress.say(f"judging the levels of {STORED[folder][0]}")
        stored[folder] = kept(out / "cells" / f"stored-{folder}.json", lambda name=folder: stored_row(judges, name))
    ours: dict[str, Any] = {}
    text = ""
    for arm in arguments.arms.split(",") if arguments.arms else ARMS:
        ours |= our_rows(bench, judges, arm, out, arguments)
        text = keep_results(out, "mario", ours | stored, table(ours | stored))
    print(text)


def stored_row(judges: Judges, folder: str) -> dict[str, Any]:
    """Return the row of levels that others made."""
    return judges.row(folder, stored_levels(folder))


if __name__ == "__main__":
    guarded(main)
