"""Does `ngp pretrain` help where data are numbers over time: few labels, many sequences that nobody labelled?

    python benchmarks/continued_sequences.py [--quick] [--out results-sequences] [--threads 1] [--seeds 3]

Rocket League skillshots (see ``skillshots.py``; ``sequences`` of the measuring data, NGP_DATA): 298 sequences of 18
channels, seven classes. A random forest, ``sequence:gru`` and a small BERT (networks from random weights) are given few
labels; then the networks again after ``ngp pretrain`` on all sequences that are not held out, without their labels.
What is run is what a user runs: ``ngp pretrain`` and ``ngp fit``.

Three tenths of the sequences, the same in each seed, are left alone. Accuracy is on about a quarter of all, drawn anew
by each seed: these are validation sequences, on which the objective was chosen too.

Everything is kept in ``--out`` as it is done; run again after an interruption and it goes on. Prints the tables of
docs/benchmarks/continued_pretraining.md, and keeps them and the raw results as continued_sequences.md and .json.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from continued_pretraining import accuracies, pretrained, timed, told_cells, told_head
from newgameplus.recipe_behavior import Recipe
from scene_common import find_data, guarded, keep_results, kept, markdown, read_arguments
from skillshots import bert_folder, to_csv
from strategies import text as mean

LEFT_ALONE, HELD_OUT = 0.3, 0.35
COUNTS = (42, 126)
STARTS = ("gru", "bert")
STRATEGIES = ("full", "lp-ft")
TOLD = (
    "sequences",
    "objectives",
    "steps",
    "learning_rate",
    "before",
    "after",
    "helped",
    "sentence",
    "processor_seconds",
)
TITLES = {"gru": "sequence:gru", "bert": "small BERT", "forest": "random forest"}


def parts(out: Path, seed: int) -> dict[str, list[str]]:
    """Return the sequences of a seed by what they are for: learned from, or held out; the rest is left alone."""
    if not (out / "csv").is_dir():
        to_csv(find_data("sequences", "skillshots.data"), out / "csv")
    with (out / "csv" / "labels.csv").open(newline="") as handle:
        rows = [(row["path"], row["label"]) for row in csv.DictReader(handle)]
    fixed, drawn = np.random.default_rng(5), np.random.default_rng([100, seed])
    found: dict[str, list[str]] = {"train": [], "held out": []}
    for label in sorted({label for _, label in rows}):
        paths = fixed.permutation([path for path, own in rows if own == label]).tolist()
        alone = round(LEFT_ALONE * len(paths))
        rest = drawn.permutation(paths[alone:]).tolist()
        held = round(HELD_OUT * len(rest))
        found["held out"] += rest[:held]
        found["train"] += rest[held:]
    return found


def labelled_folder(out: Path, seed: int) -> tuple[Path, list[str]]:
    """Write a label file of a seed, without the sequences left alone; return it and the groups that are held out."""
    found = parts(out, seed)
    used = {*found["train"], *found["held out"]}
    path = out / "csv" / f"labels-{seed}.csv"
    if not path.is_file():
        with (out / "csv" / "labels.csv").open(newline="") as handle:
            rows = [row for row in csv.reader(handle) if row[0] == "path" or row[0] in used]
        with path.open("w", newline="") as handle:
            csv.writer(handle).writerows(rows)
    return path, found["held out"]


def recipe_for(
    start: str, seed: int, labels: int, arguments: Any, strategy: str = "full", **sections: Mapping[str, Any]
) -> Recipe:
    """Return a recipe as ``ngp init`` writes it for such data, but for the number of labels."""
    path, held = labelled_folder(arguments.out, seed)
    name = "sequence:gru"
    if start == "bert":
        name = f"transformers:{arguments.out / 'bert'}"
    content = {
        "seed": seed,
        "data": {"path": str(path), "test_groups": held, "max_labels": labels, "validation": 0.0},
        "model": {"start": name, "options": {"steps": 32}},
        "adapt": {"strategy": strategy},
        "train": {"threads": arguments.threads, "steps": arguments.steps},
        "evaluate": {"baselines": ["random-forest"], "resamples": 200},
    }
    return Recipe.model_validate(content | sections)


def go_on(start: str, seed: int, arguments: Any) -> dict[str, Any]:
    """Go on with pretraining, as ``ngp pretrain`` does; return what it said."""
    section = {"steps": arguments.pretraining_steps}
    recipe = recipe_for(start, seed, min(COUNTS), arguments, pretrain=section)
    return pretrained(arguments.out / "runs" / f"{start}-{seed}-continued", recipe)


def fitted(start: str, seed: int, labels: int, strategy: str, arguments: Any, *, continued: bool) -> dict[str, float]:
    """Fit from one start, as ``ngp fit`` does; return the accuracy of the arms on held-out sequences."""
    whence = "continued" if continued else "plain"
    folder = arguments.out / "runs" / f"{start}-{seed}-{whence}-{strategy}-{labels}"
    origin = f"run:{arguments.out / 'runs' / f'{start}-{seed}-continued'}" if continued else None
    return accuracies(folder, recipe_for(start, seed, labels, arguments, strategy), origin)


def units(seed: int, arguments: Any) -> Iterator[dict[str, Any]]:
    """Run what is not done yet of a seed; yield all of it."""
    cells = arguments.out / "cells"
    counts = COUNTS[:1] if arguments.quick else COUNTS
    for start in STARTS:
        told = kept(cells / f"{start}-{seed}.json", lambda s=start: timed(lambda: go_on(s, seed, arguments)))
        yield {"seed": seed, "start": start, "pretraining": {key: told[key] for key in TOLD}}
        for count, strategy, continued in itertools.product(counts, STRATEGIES, (False, True)):
            path = cells / f"{start}-{seed}-{count}-{strategy}-{continued}.json"
            asked = (start, seed, count, strategy, arguments)
            found = kept(path, lambda a=asked, c=continued: fitted(*a, continued=c))
            place = {"seed": seed, "count": count, "continued": continued}
            yield place | {"start": start, "strategy": strategy, "value": found["fine-tuned"]}
            if (start, strategy) == (STARTS[0], STRATEGIES[0]) and not continued:
                yield place | {"start": "forest", "strategy": "", "value": found["random-forest"]}


def tables(found: Sequence[Mapping[str, Any]]) -> str:
    """Return both tables."""
    rows = []
    arms = [("forest", ""), *itertools.product(STARTS, STRATEGIES)]
    for count, (start, strategy) in itertools.product(COUNTS, arms):
        plain = _values(found, start, count, strategy, continued=False)
        for continued in (False, True):
            mine = _values(found, start, count, strategy, continued=continued)
            if mine:
                pairs = [mine[seed] - plain[seed] for seed in mine if seed in plain]
                each = " ".join(f"{pair:+.3f}" for pair in pairs)
                gained = [mean(pairs, signed=True), each] if continued else ["", ""]
                name = f"{TITLES[start]}{', continued' if continued else ''}"
                rows.append([name, str(count), strategy, mean(list(mine.values())), *gained, str(len(mine))])
    head = ["fitted from", "labels", "strategy", "accuracy", "above the same, not continued", "each seed", "seeds"]
    return f"{markdown(head, rows)}\n\n{_told(found)}"


def _values(
    found: Sequence[Mapping[str, Any]], start: str, count: int, strategy: str, *, continued: bool
) -> dict[int, float]:
    wanted = (start, count, strategy, continued)
    return {
        unit["seed"]: unit["value"]
        for unit in found
        if "value" in unit and (unit["start"], unit["count"], unit["strategy"], unit["continued"]) == wanted
    }


def _told(found: Sequence[Mapping[str, Any]]) -> str:
    """Return what ``ngp pretrain`` itself said of each pretraining."""
    rows = [
        [TITLES[unit["start"]], str(unit["seed"]), str(told["sequences"]), *told_cells(told)]
        for unit in found
        if (told := unit.get("pretraining"))
    ]
    return markdown(told_head("sequences"), rows)


def main() -> None:
    """Run the benchmark."""
    defaults = {"seeds": 3, "steps": 200, "pretraining-steps": 1000}
    quick = {"seeds": 1, "steps": 4, "pretraining-steps": 3}
    arguments = read_arguments(__doc__, "results-sequences", defaults, quick)
    torch.set_num_threads(arguments.threads)
    parts(arguments.out, 0)
    if not (arguments.out / "bert").is_dir():
        random_bert(arguments.out / "bert")
    found: list[dict[str, Any]] = []
    text = ""
    for seed in range(arguments.seeds):
        for unit in units(seed, arguments):
            found.append(unit)
            text = keep_results(arguments.out, "continued_sequences", found, tables(found))
    print(text)


def random_bert(folder: Path) -> None:
    """Write a small BERT with random weights, as a folder of Transformers."""
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(bert_folder(folder))
    transformers.AutoModel.from_config(config).save_pretrained(folder)


if __name__ == "__main__":
    guarded(main)
