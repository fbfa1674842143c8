"""Choosing among pretrained models: regret of ``choose`` and of each score alone, against fine-tuning them all.

    python benchmarks/choose.py [--quick] [--out results-choose] [--workers 1] [--steps 60] [--seeds 3] [--only truth]

Eight candidates (``model_zoo.py``) and eight data sets (``choose_data.py``). The truth: every candidate is fine-tuned
on every data set (``lp-ft``, fresh head, recipe defaults but for ``--steps``), with each seed of head, order and
augmentation, and answers the test clips: whole episodes that nothing else looks at. Then the product's own step 1
chooses, on the training clips alone. *Regret*: test accuracy (mean over seeds) of the truly best candidate minus that
of the chosen one, in points; *estimates* is ``choose`` without its short runs, *random* the mean over candidates.
Intervals: t over data sets. *tau*: Kendall's weighted tau between a score and the truth, mean over data sets; for
``choose`` of its final order. Cost: processor seconds, as the machine is shared.

Everything is kept in ``--out`` as it is done; run again after an interruption and it goes on. Prints the tables of
docs/benchmarks/choose.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student
from scipy.stats import weightedtau

from choose_data import DATA_SETS, DataSet, prepare
from model_zoo import make_zoo
from newgameplus.adapt import ClipClassifier, plan_phases
from newgameplus.adapt.answers import classify
from newgameplus.choose import Candidate, combine
from newgameplus.files import write_json
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.recipe import Recipe, TrainSettings
from newgameplus.scenarios.behavior_data import BehaviorGame, load_game
from newgameplus.shapes import ClipShape
from newgameplus.train.loop import train_classifier

SCORES = ("prior", "knn", "logme")
STRATEGY, LAYER_DECAY = "lp-ft", 0.8
AIM_REGRET, AIM_COST = 0.5, 0.1


@cache
def game_at(data: DataSet, shape: ClipShape, out: Path) -> BehaviorGame:
    """Return a data set, split, at the size of a model."""
    return load_game(data.settings(out), shape, seed=0)


def fine_tune(data: DataSet, key: str, name: str, seed: int, steps: int, out: Path) -> dict[str, Any]:
    """Fine-tune a candidate on a data set and test it, or read what was kept."""
    path = out / "truth" / f"{_slug(data.name)}-{_slug(key)}-{seed}.json"
    if path.exists():
        return read(path)
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    start = load_pretrained(name)
    game = game_at(data, start.card.shape, out)
    settings = TrainSettings(steps=steps, threads=1, device="cpu")
    began = time.process_time()
    classifier = ClipClassifier(start.backbone, game.labels)
    phases = plan_phases(STRATEGY, len(start.backbone.blocks()), LAYER_DECAY)
    train = game.examples(start.card.shape, game.split.train, augment=settings.augment, mirror=True)
    with tempfile.TemporaryDirectory() as folder:
        result = train_classifier(
            classifier, phases, train, None, settings, seed=seed, arm="truth", checkpoint=Path(folder) / "checkpoint"
        )
    seconds = time.process_time() - began
    answers = classify(classifier, game.examples(start.card.shape, game.split.test).batches(64)).argmax(axis=1)
    targets = game.targets[game.split.test]
    counts = {"train": len(game.split.train), "test": len(targets), "classes": len(game.labels)}
    cell = {
        "data": data.name,
        "candidate": key,
        "seed": seed,
        "steps": result.steps,
        "seconds": round(seconds, 3),
        "accuracy": float((answers == targets).mean()),
        "majority": float(np.bincount(targets).max() / len(targets)),
        "parameters": start.card.parameters,
        **counts,
    }
    write_json(path, cell)
    return cell


def choose(data: DataSet, names: Mapping[str, str], steps: int, out: Path) -> dict[str, Any]:
    """Let the product choose for a data set, or read what was kept."""
    path = out / "choices" / f"{_slug(data.name)}.json"
    if path.exists():
        return read(path)
    from newgameplus.verbs import choose as choose_by_measuring

    torch.set_num_threads(1)
    recipe = Recipe.model_validate(
        {
            "name": _slug(data.name),
            "data": data.settings(out).model_dump(),
            "model": {"start": list(names.values())},
            "adapt": {"strategy": STRATEGY, "head": "fresh", "layer_decay": LAYER_DECAY},
            "train": {"steps": steps, "threads": 1, "device": "cpu"},
        }
    )
    began = time.process_time()
    choice = choose_by_measuring(recipe)
    content = dict(choice) | {"data": data.name, "seconds": round(time.process_time() - began, 3)}
    write_json(path, content)
    return content


def read(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file."""
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name).replace("--", "-")


# --- what came out ---------------------------------------------------------------------------------------------------


def rankings(choice: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return for every way to choose what it thinks of each candidate, by short name; higher is better."""
    keys = {name: key for key, name in names.items()}
    rows = choice["candidates"]
    found = {score: {keys[row["name"]]: float(row["scores"][score]) for row in rows} for score in SCORES}
    together = combine([Candidate.from_dict(row) for row in rows])
    orders = {"choose": [row["name"] for row in rows], "estimates": [one.name for one in together]}
    placed = {way: {keys[one]: float(-place) for place, one in enumerate(order)} for way, order in orders.items()}
    return placed | found


def first(scores: Mapping[str, float], parameters: Mapping[str, int]) -> str:
    """Return the candidate that a score puts first; the smaller model wins a tie, as in the product."""
    return min(scores, key=lambda key: (-scores[key], parameters[key], key))


def summarize(
    cells: Sequence[Mapping[str, Any]], choices: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> Any:
    """Return regret, rank correlation and cost of each way to choose on each data set that is complete."""
    rows = []
    for choice in choices:
        mine = [cell for cell in cells if cell["data"] == choice["data"]]
        keys = sorted({cell["candidate"] for cell in mine})
        if set(keys) != set(names):
            continue
        truth = {key: statistics.fmean(c["accuracy"] for c in mine if c["candidate"] == key) for key in keys}
        parameters = {cell["candidate"]: cell["parameters"] for cell in mine}
        best = max(truth.values())
        ways = {}
        for way, scores in rankings(choice, names).items():
            taken = first(scores, parameters)
            tau = float(weightedtau([scores[key] for key in keys], [truth[key] for key in keys]).statistic)
            ways[way] = {"taken": taken, "regret": 100 * (best - truth[taken]), "tau": tau}
        ways["random"] = {"taken": "", "regret": 100 * (best - statistics.fmean(truth.values())), "tau": 0.0}
        seeds = len({cell["seed"] for cell in mine})
        all_seconds = sum(cell["seconds"] for cell in mine) / seeds
        tried = [one["short_run"]["seconds"] for one in choice["candidates"] if one["short_run"]]
        estimating = sum(one["seconds"] for one in choice["candidates"])
        rows.append(
            {
                "data": choice["data"],
                "truth": truth,
                "ways": ways,
                "best": max(truth, key=truth.__getitem__),
                "choose_seconds": choice["seconds"],
                "estimates_seconds": choice["seconds"] * estimating / (estimating + sum(tried)),
                "all_seconds": all_seconds,
                "seeds": seeds,
                "steps": statistics.fmean(cell["steps"] for cell in mine),
                "spread": spread_of(mine),
                "tried": len(tried),
            }
        )
    return rows


def complete(cells: Sequence[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """Return the cells of seeds that are whole, so that an interrupted truth compares like with like."""
    whole = {seed for seed in range(1000) if sum(cell["seed"] == seed for cell in cells) == size}
    return [cell for cell in cells if cell["seed"] in whole]


def spread_of(cells: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the mean standard deviation over seeds of a candidate's accuracy, in points; None for one seed."""
    by_candidate: dict[str, list[float]] = {}
    for cell in cells:
        by_candidate.setdefault(cell["candidate"], []).append(100 * cell["accuracy"])
    found = [statistics.stdev(values) for values in by_candidate.values() if len(values) > 1]
    return statistics.fmean(found) if found else None


def interval(values: Sequence[float], digits: int = 2) -> str:
    """Return mean and 95 % t-interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.{digits}f}"
    half = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def tables(rows: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]]) -> str:
    """Return the tables as markdown."""
    ways = ["choose", "estimates", *SCORES, "random"]
    lines = ["| way to choose | regret, points | largest | best one taken | regret of choose minus its own | tau |",
             "|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    ours = [row["ways"]["choose"]["regret"] for row in rows]
    for way in ways:
        regrets = [row["ways"][way]["regret"] for row in rows]
        taken = sum(regret == 0 for regret in regrets) if way != "random" else "-"
        below = "-" if way == "choose" else interval([a - b for a, b in zip(ours, regrets, strict=True)])
        tau = "-" if way == "random" else interval([row["ways"][way]["tau"] for row in rows])
        lines.append(f"| {way} | {interval(regrets)} | {max(regrets):.2f} | {taken} of {len(rows)} | {below} | {tau} |")
    lines += ["", "| data set | best | choose takes | regret: " + " | ".join(ways) + " |",
              "|---|---|---|" + "---:|" * len(ways)]  # fmt: skip
    for row in rows:
        regrets = " | ".join(f"{row['ways'][way]['regret']:.2f}" for way in ways)
        lines.append(f"| {row['data']} | {row['best']} | {row['ways']['choose']['taken']} | {regrets} |")
    return "\n".join([*lines, "", cost_table(rows), "", truth_table(cells)])


def cost_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what choosing costs beside fine-tuning all candidates once: as measured, and for the recipe's own steps.

    What a longer fine-tuning takes is calculated: nearly all of its time is steps.
    """
    longer = TrainSettings().steps
    lines = [f"| data set | estimates, s | choose, s | fine-tune all, s | choose / all | the same, {longer} steps "
             f"| estimates / all, {longer} steps |", "|---|" + "---:|" * 6]  # fmt: skip
    totals = {key: sum(row[key] for row in rows) for key in ("estimates_seconds", "choose_seconds", "all_seconds")}
    for row in [*rows, {"data": "all", **totals, "steps": rows[0]["steps"]}]:
        every, more = row["all_seconds"], row["all_seconds"] * longer / row["steps"]
        lines.append(
            f"| {row['data']} | {row['estimates_seconds']:.1f} | {row['choose_seconds']:.1f} | {every:.1f} "
            f"| {row['choose_seconds'] / every:.2f} | {row['choose_seconds'] / more:.2f} "
            f"| {row['estimates_seconds'] / more:.3f} |"
        )
    return "\n".join(lines)


def truth_table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return the accuracy of every candidate on every data set: mean over seeds, and standard deviation."""
    keys = list(dict.fromkeys(cell["candidate"] for cell in cells))
    lines = ["| accuracy, mean (deviation over seeds) | majority | " + " | ".join(keys) + " |",
             "|---|" + "---:|" * (len(keys) + 1)]  # fmt: skip
    for data in dict.fromkeys(cell["data"] for cell in cells):
        mine = [cell for cell in cells if cell["data"] == data]
        row = []
        for key in keys:
            values = [cell["accuracy"] for cell in mine if cell["candidate"] == key]
            deviation = f" ({statistics.stdev(values):.3f})" if len(values) > 1 else ""
            row.append(f"{statistics.fmean(values):.3f}{deviation}" if values else "-")
        lines.append(f"| {data} | {mine[0]['majority']:.3f} | " + " | ".join(row) + " |")
    seconds = [statistics.fmean(c["seconds"] for c in cells if c["candidate"] == key) for key in keys]
    lines.append("| *processor seconds of a fine-tune* | | " + " | ".join(f"{value:.1f}" for value in seconds) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two data sets, one seed, few steps: does it run?")
    parser.add_argument("--out", type=Path, default=Path("results-choose"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=["truth", "choose"], help="one half alone")
    arguments = parser.parse_args()
    quick = arguments.quick
    out = (arguments.out / "quick" if quick else arguments.out).resolve()
    torch.set_num_threads(1)
    names = make_zoo(out, **({"episodes": 2, "most": 4} if quick else {}))
    chosen = [DATA_SETS[0], DATA_SETS[-1]] if quick else list(DATA_SETS)
    steps, seeds = (12, 1) if quick else (arguments.steps, arguments.seeds)
    for data in chosen:
        prepare(data, out, 8 if quick else None)
    cells: list[dict[str, Any]] = []
    choices: list[dict[str, Any]] = []
    if arguments.only != "choose":
        work = [(data, key, names[key], seed) for seed, data, key in itertools.product(range(seeds), chosen, names)]
        if arguments.workers == 1:
            cells = [fine_tune(*one, steps, out) for one in work]
        else:
            with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
                cells = list(pool.map(fine_tune, *zip(*work, strict=True), [steps] * len(work), [out] * len(work)))
    else:
        work = itertools.product(chosen, names, range(seeds))
        places = [out / "truth" / f"{_slug(data.name)}-{_slug(key)}-{seed}.json" for data, key, seed in work]
        cells = complete([read(path) for path in places if path.exists()], len(chosen) * len(names))
    if arguments.only != "truth":
        choices = [choose(data, names, steps, out) for data in chosen]
    rows = summarize(cells, choices, names)
    write_json(out / "choose.json", {"cells": cells, "choices": choices, "rows": rows})
    print(tables(rows, cells) if rows else truth_table(cells))


if __name__ == "__main__":
    main()
