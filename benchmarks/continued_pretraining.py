"""Does `ngp pretrain` help: fine-tuning from a bundled model, and from one that went on with pretraining on own data?

    python benchmarks/continued_pretraining.py [--quick] [--out results-continued] [--threads 1] [--seeds 3]

Clips: recordings of Doom from behind the player, a camera that the pretraining of ``bundled:doom-clips`` never saw, on
maps that it never saw; each seed takes another map. It goes on with pretraining on the training episodes without
labels; then the bundled model, the continued one and random weights are fitted with the same 50 and 200 labels, and
name the actions in held-out episodes. Maps: ``bundled:tiles`` on rooms of Zelda dungeons, which it never saw
(``few_maps.py`` says which); it goes on with all rooms that are neither held out nor drawn, those that cannot be played
included, and is then fitted with 5 and 20 rooms. What is run is what a user runs: ``ngp pretrain`` and ``ngp fit``.
Needs ``scenes/zelda`` of the measuring data (NGP_DATA).

``--validation 1`` (in another ``--out``) compares settings of ``ngp pretrain`` on a map that is not tested on.

Everything is kept in ``--out`` as it is done; run again after an interruption and it goes on. Prints the tables of
docs/benchmarks/continued_pretraining.md, and keeps them and the raw results as continued_pretraining.md and .json.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from few_maps import DUNGEON, ROOM_RULES, all_rooms, zelda_rooms
from newgameplus.recipe_behavior import Recipe
from newgameplus.run import Run
from newgameplus.verbs import fit, pretrain, record_doom, resume
from scene_common import (
    Bench,
    guarded,
    keep_results,
    kept,
    make_recipe,
    markdown,
    read_arguments,
    write_maps,
)
from strategies import MAPS
from strategies import text as mean

EPISODES, TEST_SHARE = 54, 0.25
LABELS = (200, 50)
COUNTS = (5, 20)
HELD_OUT = 10
#: How clips go on: by objectives that no label could be made of; by those at the rate that once was the default; and by
#: what the tool takes by itself where it finds recorded actions, which are the very labels here.
SECTIONS: dict[str, Mapping[str, Any]] = {
    "continued": {"objectives": ("temporal-order", "two-views")},
    "continued, rate 3e-4": {"objectives": ("temporal-order", "two-views"), "learning_rate": 3e-4},
    "continued, with actions": {"objectives": "auto"},
}
#: What else was held against these on a map that is not tested on, before the defaults were set.
MORE_SECTIONS: dict[str, Mapping[str, Any]] = {
    "two-views, rate 1e-4": {"objectives": ("two-views",), "learning_rate": 1e-4},
    "temporal-order, rate 1e-4": {"objectives": ("temporal-order",), "learning_rate": 1e-4},
    "all three, rate 3e-4": {
        "objectives": ("inverse-dynamics", "temporal-order", "two-views"),
        "learning_rate": 3e-4,
    },
}
VALIDATION_MAP = "freedoom2:MAP11"
TITLES = {"scratch": "random weights", "bundled": "the bundled model"}
BASE = "bundled"
GAMES = {"clips": "Doom from behind the player", "maps": "Zelda rooms"}


# --- clips -----------------------------------------------------------------------------------------------------------


def clips_folder(out: Path, name: str) -> Path:
    """Return where the recording of a map lies."""
    return out / "clips" / f"behind-{name.replace(':', '-')}"


def clip_recipe(name: str, seed: int, labels: int, arguments: Any, **sections: Any) -> Recipe:
    """Return a recipe for one map: the last episodes are tested on, so many labelled clips of the others learned from.

    The head starts afresh in all arms, as for classes that no model has names for.
    """
    first = round(arguments.episodes * (1 - TEST_SHARE))
    data = {
        "path": str(clips_folder(arguments.out, name)),
        "labels": "actions.csv",
        "max_labels": labels,
        "test_groups": [f"episode-{number:03d}" for number in range(first, arguments.episodes)],
    }
    content = {
        "seed": seed,
        "data": data,
        "adapt": {"head": "fresh"},
        "train": {"threads": arguments.threads, "steps": arguments.steps},
        "evaluate": {"baselines": ["majority"], "resamples": 200},
    }
    return Recipe.model_validate(content | sections)


def pretrain_clips(name: str, seed: int, arm: str, arguments: Any) -> dict[str, Any]:
    """Go on with pretraining on the training episodes of a map, as ``ngp pretrain`` does; return what it said."""
    section = {**(SECTIONS | MORE_SECTIONS)[arm], "steps": arguments.pretraining_steps}
    train = {"threads": arguments.threads, "precision": "bf16"}
    recipe = clip_recipe(name, seed, max(LABELS), arguments, pretrain=section, train=train)
    return pretrained(arguments.out / "runs" / f"clips-{seed}-{slug(arm)}", recipe)


def fit_clips(name: str, seed: int, labels: int, arm: str, arguments: Any) -> dict[str, Any]:
    """Fit from one start, as ``ngp fit`` does; return the accuracy on held-out episodes."""
    folder = arguments.out / "runs" / f"clips-{seed}-{slug(arm)}-{labels}"
    evaluate = {"baselines": ["scratch" if arm == BASE else "majority"], "resamples": 200}
    recipe = clip_recipe(name, seed, labels, arguments, evaluate=evaluate)
    start = None if arm == BASE else f"run:{arguments.out / 'runs' / f'clips-{seed}-{slug(arm)}'}"
    return accuracies(folder, recipe, start)


def clip_units(seed: int, arms: Sequence[str], arguments: Any) -> Iterator[dict[str, Any]]:
    """Run what is not done yet of some arms of a seed; yield all of it."""
    name = VALIDATION_MAP if arguments.validation else MAPS[seed % len(MAPS)]
    record_doom(name, arguments.episodes, clips_folder(arguments.out, name), seed=777, view="behind", resume=True)
    place = {"part": "clips", "game": name, "seed": seed}
    cells = arguments.out / "cells"
    for arm in arms:
        if arm != BASE:
            path = cells / f"clips-{seed}-{slug(arm)}.json"
            told = kept(path, lambda a=arm: timed(lambda: pretrain_clips(name, seed, a, arguments)))
            yield place | {"arm": arm, "pretraining": told}
        for labels in LABELS[: 1 if arguments.quick else None]:
            path = cells / f"clips-{seed}-{slug(arm)}-{labels}.json"
            found = kept(path, lambda a=arm, n=labels: fit_clips(name, seed, n, a, arguments))
            yield place | {"arm": arm, "count": labels, "value": found["fine-tuned"]}
            if arm == BASE:
                yield place | {"arm": "scratch", "count": labels, "value": found["scratch"]}


# --- maps ------------------------------------------------------------------------------------------------------------


def draw_rooms(seed: int, counts: Sequence[int], out: Path) -> dict[str, Path]:
    """Write the rooms of a seed: held-out ones, drawn ones (5 are the first of 20), and all others as the pool."""
    rooms = zelda_rooms()
    names = sorted(rooms)
    order = [names[n] for n in np.random.default_rng(seed).permutation(len(names))]
    held, drawn = order[:HELD_OUT], order[HELD_OUT : HELD_OUT + max(COUNTS)]
    taken = {rooms[name] for name in (*held, *drawn)}
    distinct = {text: name for name, text in all_rooms() if text not in taken}
    parts = {"held-out": held} | {str(count): drawn[:count] for count in counts}
    content = {part: {name: rooms[name] for name in some} for part, some in parts.items()}
    content["pool"] = {name: text for text, name in distinct.items()}
    return {part: write_maps(out / "maps" / f"zelda-{seed}" / part, some, DUNGEON) for part, some in content.items()}


def map_units(seed: int, arguments: Any) -> Iterator[dict[str, Any]]:
    """Run what is not done yet of a seed; yield all of it."""
    counts = COUNTS[:1] if arguments.quick else COUNTS
    folders = draw_rooms(seed, counts, arguments.out)
    continued = arguments.out / "runs" / f"zelda-{seed}-continued"
    cells = arguments.out / "cells"
    place = {"part": "maps", "game": "Zelda rooms", "seed": seed}

    def recipe_for(count: int, **sections: Any) -> Any:
        data = {"test_path": str(folders["held-out"]), "validation": 0.0}
        data |= {"rules": "top-down", "rules_options": ROOM_RULES}
        train = {"steps": arguments.map_steps, "precision": "bf16"}
        return make_recipe(folders[str(count)], seed, arguments.threads, data=data, train=train, **sections)

    def go_on() -> dict[str, Any]:
        section = {"path": str(folders["pool"]), "steps": arguments.map_pretraining_steps}
        return pretrained(continued, recipe_for(counts[-1], pretrain=section))

    def bits(count: int, arm: str, which: str) -> dict[str, Any]:
        model = {"model": {"start": f"run:{continued}"}} if arm == "continued" else {}
        bench = Bench.begin(arguments.out / "runs" / f"zelda-{seed}-{arm}-{count}", recipe_for(count, **model))
        found = bench.train(which).bits
        return {"bits": float(found.bits.sum() / found.tiles.sum())} if found is not None else {}

    yield place | {
        "arm": "continued",
        "pretraining": kept(cells / f"zelda-{seed}-continued.json", lambda: timed(go_on)),
    }
    for count in counts:
        for arm in (BASE, "continued"):
            wanted = {"fine-tuned": arm, "zero-shot": f"{arm}, not fine-tuned"}
            wanted |= {"scratch": "scratch"} if arm == BASE else {}
            for which, called in wanted.items():
                path = cells / f"zelda-{seed}-{arm}-{count}-{which}.json"
                found = kept(path, lambda w=which, a=arm, n=count: bits(n, a, w))
                yield place | {"arm": called, "count": count, "value": found["bits"]}


# --- tables ----------------------------------------------------------------------------------------------------------


def slug(name: str) -> str:
    """Return a name for files."""
    return name.lower().replace(",", "").replace(" ", "-").replace(":", "-")


def pretrained(folder: Path, recipe: Any) -> dict[str, Any]:
    """Go on with pretraining as ``ngp pretrain`` does, once; return what it said."""
    if (folder / "pretrain.json").is_file():
        return dict(json.loads((folder / "pretrain.json").read_text()))
    return pretrain(recipe, out=folder)


def accuracies(folder: Path, recipe: Any, start: str | None) -> dict[str, float]:
    """Fit as ``ngp fit`` does, or go on with a fit that was begun; return the accuracy of each arm."""
    if (folder / "recipe.yaml").is_file():
        run = Run.open(folder)
        run = run if run.finished else resume(folder)
    else:
        run = fit(recipe, out=folder, start=start)
    evaluation = json.loads((run.folder / "evaluation.json").read_text())
    return {row["name"]: row["metrics"]["accuracy"]["value"] for row in evaluation["arms"]}


def timed(work: Any) -> dict[str, Any]:
    """Do some work; also say how much processor time it took (less where it was interrupted)."""
    began = time.process_time()
    return dict(work()) | {"processor_seconds": round(time.process_time() - began, 1)}


def result_table(units: Sequence[Mapping[str, Any]], what: str, count_of: str) -> str:
    """Return a table of values by arm and count, with differences to the bundled model paired by seed."""
    rows = []
    for count in sorted({unit["count"] for unit in units}):
        for arm in dict.fromkeys(unit["arm"] for unit in units):
            mine = {u["seed"]: u["value"] for u in units if (u["arm"], u["count"]) == (arm, count)}
            base = {u["seed"]: u["value"] for u in units if (u["arm"], u["count"]) == (BASE, count)}
            pairs = [mine[seed] - base[seed] for seed in mine if seed in base]
            each = " ".join(f"{value:+.3f}" for value in pairs)
            difference = ["", ""] if arm == BASE else [mean(pairs, signed=True), each]
            rows.append([TITLES.get(arm, arm), str(count), mean(list(mine.values())), *difference, str(len(mine))])
    return markdown(["fitted from", count_of, what, "above the bundled model", "each seed", "seeds"], rows)


def told_head(what: str) -> list[str]:
    """Return the heading of a table of pretrainings, which counts what they learned from."""
    return ["pretraining", "seed", what, "steps", "processor s", "estimate before", "after", "says it helped"]


def told_cells(told: Mapping[str, Any]) -> list[str]:
    """Return steps, time and estimates of a pretraining."""
    return [
        str(told["steps"]), f"{told['processor_seconds']:.0f}", f"{told['before']:.3f}", f"{told['after']:.3f}",
        "yes" if told["helped"] else "no",
    ]  # fmt: skip


def told_table(units: Sequence[Mapping[str, Any]]) -> str:
    """Return what ``ngp pretrain`` itself said of each pretraining."""
    rows = []
    for unit in units:
        told = unit["pretraining"]
        from_what = f"{told['clips']} clips" if "clips" in told else f"{told['levels']} maps"
        rows.append([f"{unit['game']}, {unit['arm']}", str(unit["seed"]), from_what, *told_cells(told)])
    return markdown(told_head("learned from"), rows)


def tables(units: Sequence[Mapping[str, Any]]) -> str:
    """Return all tables."""
    lines: list[str] = []
    for part, what, count_of in (("clips", "accuracy", "labels"), ("maps", "bits a tile", "maps")):
        some = [unit for unit in units if unit["part"] == part]
        mine = [unit for unit in some if "value" in unit]
        if mine:
            lines += [f"**{GAMES[part]}**", "", result_table(mine, what, count_of), ""]
        told = [unit for unit in some if "pretraining" in unit]
        if told:
            lines += [told_table(told), ""]
    return "\n".join(lines).rstrip()


def main() -> None:
    """Run the benchmark."""
    defaults = {"seeds": 3, "episodes": EPISODES, "steps": 100, "pretraining-steps": 300, "map-steps": 100,
                "map-pretraining-steps": 300, "validation": 0}  # fmt: skip
    quick = {"seeds": 1, "episodes": 4, "steps": 4, "pretraining-steps": 2, "map-steps": 2, "map-pretraining-steps": 2,
             "validation": 0}  # fmt: skip
    arguments = read_arguments(__doc__, "results-continued", defaults, quick)
    units: list[dict[str, Any]] = []
    text = ""
    first, *last = (BASE, "continued"), *((arm,) for arm in [*SECTIONS][1:])
    if arguments.validation:
        parts = [clip_units(seed, (BASE, *SECTIONS, *MORE_SECTIONS), arguments) for seed in range(arguments.seeds)]
    else:
        parts = [
            part
            for seed in range(arguments.seeds)
            for part in (clip_units(seed, first, arguments), map_units(seed, arguments))
        ]
        parts += [clip_units(seed, arms, arguments) for arms in last for seed in range(arguments.seeds)]
    for part in parts:
        for unit in part:
            units.append(unit)
            text = keep_results(arguments.out, "continued_pretraining", units, tables(units))
    print(text)


if __name__ == "__main__":
    guarded(main)
