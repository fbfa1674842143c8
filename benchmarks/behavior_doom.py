"""Behavior recognition on three maps never seen: all strategies and baselines, 50 / 200 / 1,000 labels, 5 seeds.

    python benchmarks/behavior_doom.py [--quick] [--out results] [--workers 2]

The bundled backbone was pretrained on other maps of the same engine, through the player's eyes. Three settings, all on
maps that it was never trained on:

- ``behind actions``: a camera behind the player that it has never seen either, and the eight actions that its own head
  knows by name. All label counts, all strategies: the main table.
- ``first actions``: the same actions through the player's eyes, which is what it was pretrained for; 200 labels.
- ``first behaviors``: through the player's eyes, but eight other classes (hit, pickup, dead ...), which its head does
  not know; 200 labels.

The last third of each map's episodes is the test set of every cell; labelled clips are drawn from the others. A cell is
one setting, map, number of labels and seed. Each strategy of a cell runs the public ``fit`` and is kept as one JSON
file, so that an interrupted benchmark goes on where it stopped. Prints the tables of docs/benchmarks/behavior_doom.md:
means over maps with 95 % t-intervals over seeds, differences paired by seed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

MAPS = ("freedoom2:MAP02", "freedoom2:MAP05", "freedoom2:MAP07")
SEEDS = (0, 1, 2, 3, 4)
STRATEGIES = ("lp-ft", "full", "gradual", "probe")
DEFAULT = "lp-ft"
MAIN = "behind actions"
#: Setting: camera, label file, episodes to record.
SETTINGS = {
    MAIN: ("behind", "actions.csv", 68),
    "first actions": ("first", "actions.csv", 20),
    "first behaviors": ("first", "behaviors.csv", 20),
}
TEST_SHARE = 0.35
BASELINES = ("majority", "random-forest", "zero-shot", "probe", "scratch")
# Two-sided 95 % quantiles of Student's t by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@dataclass(frozen=True)
class Cell:
    """One setting, map, number of labels and seed."""

    setting: str
    map: str
    labels: int
    seed: int
    episodes: int
    steps: int

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        return f"{self.setting}-{self.map}-{self.labels}-{self.seed}".replace(":", "-").replace(" ", "-")


def clips_folder(out: Path, view: str, name: str) -> Path:
    """Where the recording of a map lies."""
    return out / "clips" / f"{view}-{name.replace(':', '-')}"


def record(view: str, name: str, episodes: int, out: Path) -> None:
    """Record one map once."""
    from newgameplus.verbs import record_doom

    record_doom(name, episodes, clips_folder(out, view, name), seed=777, view=view, resume=True)


def fit_strategy(cell: Cell, strategy: str, out: Path) -> dict[str, Any]:
    """Run one public fit and return its evaluation."""
    from newgameplus.recipe import Recipe
    from newgameplus.verbs import fit

    view, labels, _ = SETTINGS[cell.setting]
    folder = out / "runs" / f"{cell.name}-{strategy}"
    shutil.rmtree(folder, ignore_errors=True)
    first_test = round(cell.episodes * (1 - TEST_SHARE))
    data = {
        "path": str(clips_folder(out, view, cell.map)),
        "labels": labels,
        "max_labels": cell.labels,
        "test_groups": [f"episode-{number:03d}" for number in range(first_test, cell.episodes)],
    }
    recipe = Recipe.model_validate(
        {
            "seed": cell.seed,
            "data": data,
            "adapt": {"strategy": strategy},
            "train": {"threads": 1, "steps": cell.steps},
            "evaluate": {"baselines": BASELINES if strategy == DEFAULT else ()},
        }
    )
    run = fit(recipe, folder)
    evaluation: dict[str, Any] = json.loads((run.folder / "evaluation.json").read_text())
    shutil.rmtree(folder)
    return evaluation


def run_unit(cell: Cell, strategy: str, out: Path) -> dict[str, Any]:
    """Fit one strategy of a cell, with all baselines if it is the default one; or read what was kept."""
    kept = out / "cells" / f"{cell.name}-{strategy}.json"
    if kept.is_file():
        content: dict[str, Any] = json.loads(kept.read_text())
        return content
    began = time.monotonic()
    evaluation = fit_strategy(cell, strategy, out)
    arms: dict[str, Any] = {}
    for arm in evaluation["arms"]:
        name = {"fine-tuned": strategy, "probe": "frozen probe"}.get(arm["name"], arm["name"])
        arms[name] = {key: arm["metrics"][key]["value"] for key in ("accuracy", "macro_f1", "ece")}
        arms[name] |= {key: arm[key] for key in ("seconds", "steps", "trainable_parameters")}
    sizes = {"test_clips": evaluation["clips"], "test_groups": evaluation["groups"]}
    content = asdict(cell) | sizes | {"seconds": round(time.monotonic() - began, 1), "arms": arms}
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(kept)
    return content


def merge(units: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the strategies of each cell together."""
    cells: dict[tuple[Any, ...], dict[str, Any]] = {}
    for unit in units:
        key = (unit["setting"], unit["map"], unit["labels"], unit["seed"])
        cell = cells.setdefault(key, unit | {"arms": {}, "seconds": 0.0})
        cell["arms"] = cell["arms"] | unit["arms"]
        cell["seconds"] += unit["seconds"]
    return [cells[key] for key in sorted(cells)]


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half width of the 95 % t-interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, float("nan")
    return mean, STUDENT[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5


def by_seed(cells: list[dict[str, Any]], arm: str, metric: str = "accuracy") -> list[float]:
    """Mean over maps for each seed, in the order of seeds; only seeds whose maps are all there count."""
    maps = {cell["map"] for cell in cells}
    means = []
    for seed in sorted({cell["seed"] for cell in cells}):
        values = [c["arms"][arm][metric] for c in cells if c["seed"] == seed and arm in c["arms"]]
        if len(values) == len(maps):
            means.append(statistics.fmean(values))
    return means


def paired(cells: list[dict[str, Any]], arm: str) -> list[float]:
    """The default's accuracy minus an arm's, mean over maps for each seed that has both everywhere."""
    both = [cell for cell in cells if arm in cell["arms"]]
    pairs = zip(by_seed(both, DEFAULT), by_seed(both, arm), strict=True)
    return [ours - theirs for ours, theirs in pairs]


def cell_text(values: list[float], signed: bool = False) -> str:
    """Mean and interval as text."""
    if not values:
        return "-"
    mean, half = interval(values)
    seeds = "" if len(values) == len(SEEDS) else f" ({len(values)} seeds)" if len(values) > 1 else " (1 seed)"
    shown = f"{mean:+.3f}" if signed else f"{mean:.3f}"
    return f"{shown} ± {half:.3f}{seeds}" if len(values) > 1 else f"{shown}{seeds}"


def accuracy_table(cells: list[dict[str, Any]], heading: str) -> list[str]:
    """Accuracy of every arm by number of labels, and what the default is above it, paired by seed."""
    counts = sorted({cell["labels"] for cell in cells})
    chosen = {count: [cell for cell in cells if cell["labels"] == count] for count in counts}
    best = {arm: statistics.fmean(by_seed(chosen[200], arm) or [0.0]) for cell in cells for arm in cell["arms"]}
    arms = sorted(best, key=lambda arm: -best[arm])
    columns = [f"{count} labels" for count in counts] + [f"lp-ft above it, {count}" for count in counts]
    lines = [f"| {heading} | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for arm in arms:
        row = [cell_text(by_seed(chosen[count], arm)) for count in counts]
        for count in counts:
            row.append("" if arm == DEFAULT else cell_text(paired(chosen[count], arm), signed=True))
        lines.append(f"| {arm} | " + " | ".join(row) + " |")
    return lines


def tables(cells: list[dict[str, Any]]) -> str:
    """Return the tables as markdown."""
    lines: list[str] = []
    for setting in SETTINGS:
        if some := [cell for cell in cells if cell["setting"] == setting]:
            lines += [*accuracy_table(some, f"{setting}, accuracy"), ""]
    main = [cell for cell in cells if cell["setting"] == MAIN]
    counts = sorted({cell["labels"] for cell in main})
    lines += ["| lp-ft (zero-shot, from scratch) by map | " + " | ".join(f"{c} labels" for c in counts) + " |"]
    lines.append("|---|" + "---|" * len(counts))
    for name in sorted({cell["map"] for cell in main}):
        row = []
        for count in counts:
            some = [c["arms"] for c in main if c["map"] == name and c["labels"] == count]
            ours, zero, scratch = (
                statistics.fmean(arms[arm]["accuracy"] for arms in some) if some else float("nan")
                for arm in (DEFAULT, "zero-shot", "scratch")
            )
            row.append(f"{ours:.3f} ({zero:.3f}, {scratch:.3f})")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    lines += ["", "| behind actions, 200 labels | macro F1 | calibration error | seconds | weights that move |"]
    lines.append("|---|---|---|---|---|")
    at_200 = [cell["arms"] for cell in main if cell["labels"] == 200]
    for arm in dict.fromkeys(name for arms in at_200 for name in arms):
        those = [arms[arm] for arms in at_200 if arm in arms]
        f1, ece, seconds = (statistics.fmean(row[key] for row in those) for key in ("macro_f1", "ece", "seconds"))
        lines.append(f"| {arm} | {f1:.3f} | {ece:.3f} | {seconds:.1f} | {those[0]['trainable_parameters']:,} |")
    return "\n".join(lines)


def plan(quick: bool) -> list[tuple[Cell, str]]:
    """Return all units of work, the most telling first: the default strategy, then other settings and strategies."""
    if quick:
        small = [(MAIN, 50), (MAIN, 200), ("first actions", 200)]
        cells = [Cell(setting, MAPS[0], count, seed, 12, 60) for setting, count in small for seed in (0, 1)]
        return [
            (cell, strategy) for cell in cells for strategy in STRATEGIES if strategy == DEFAULT or cell.labels == 50
        ]

    def cells_of(setting: str, count: int, seed: int) -> list[Cell]:
        return [Cell(setting, name, count, seed, SETTINGS[setting][2], 300) for name in MAPS]

    others = [strategy for strategy in STRATEGIES if strategy != DEFAULT]
    units = [(cell, DEFAULT) for count in (200, 50, 1000) for seed in SEEDS for cell in cells_of(MAIN, count, seed)]
    for seed in SEEDS:
        units += [(cell, DEFAULT) for setting in list(SETTINGS)[1:] for cell in cells_of(setting, 200, seed)]
        units += [(cell, other) for cell in cells_of(MAIN, 200, seed) for other in others]
    for count in (50, 1000):
        units += [(cell, other) for seed in SEEDS for cell in cells_of(MAIN, count, seed) for other in others]
    return units


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one map, two seeds, few steps: does it run?")
    parser.add_argument("--out", type=Path, default=Path("results-behavior-doom"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--table", type=Path, help="only print the tables of a JSON file that an earlier run left")
    arguments = parser.parse_args()
    if arguments.table:
        print(tables(merge(json.loads(arguments.table.read_text()))))
        return
    out: Path = (arguments.out / "quick" if arguments.quick else arguments.out).resolve()
    wanted = plan(arguments.quick)
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        recordings = {(SETTINGS[cell.setting][0], cell.map, cell.episodes): None for cell, _ in wanted}
        for waiting in [pool.submit(record, *recording, out) for recording in recordings]:
            waiting.result()
        futures = [pool.submit(run_unit, cell, strategy, out) for cell, strategy in wanted]
        units = []
        for number, future in enumerate(as_completed(futures), 1):
            units.append(future.result())
            (out / "behavior_doom.json").write_text(json.dumps(merge(units), indent=1))
            print(f"{number} of {len(wanted)} done", file=sys.stderr, flush=True)
    print(tables(merge(units)))


if __name__ == "__main__":
    main()
