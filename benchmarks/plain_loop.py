"""The textbook fine-tuning loop against ``ngp fit``: time to the textbook loop's accuracy, same network, same data.

    python benchmarks/plain_loop.py [--quick] [--out results-plain-loop] [--seeds 3] [--model transformers:NAME]

The textbook loop: a pretrained ResNet-50, its last layer replaced, cross-entropy, SGD with learning rate 0.001 and
momentum 0.9, 10 epochs, batches of 32, all layers trained. Against it, through the public ``fit`` and for as many
epochs: a frozen backbone (``probe``), and all layers trained (``lp-ft``, the default, and ``full``). The task: one of
eight actions of a player, from 2 frames of 32 x 32 pixels (``--large``: 4 of 64 x 64), on a map of Doom; 200 labelled
clips; validation and test on whole other episodes.

What is timed, in one process and in turn: from the call to the first epoch whose validation accuracy is at least the
textbook loop's last one, loading the model and every validation included. It is held against the textbook loop's ten
epochs, which is when that loop has its result, and also against the first epoch in which the textbook loop happened to
touch that accuracy (it has no means to stop there). Both compute with one thread, so that other programs disturb them
least, and read the same cache of decoded frames, so decoding costs the textbook loop nothing; one that decodes its
videos in every epoch is slower still.

ResNet-50 with weights of ImageNet is ``--model transformers:microsoft/resnet-50`` where the hub can be reached. By
default the script pretrains one itself (the same layers) on recordings of twelve other maps, once.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TARGET_MAP = "freedoom2:MAP02"
PRETRAINING_MAPS = (
    *(f"freedoom1:{name}" for name in ("E1M1", "E1M3", "E1M6", "E2M2", "E3M1", "E4M1")),
    *(f"freedoom2:{name}" for name in ("MAP01", "MAP03", "MAP04", "MAP06", "MAP08", "MAP12")),
)
ARMS = ("probe", "lp-ft", "full")
BATCH = 32
THREADS = 1
COLUMNS = ("path", "label", "start", "end", "group")
# Two-sided 95 % quantiles of Student's t by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@dataclass(frozen=True)
class Plan:
    """How large the benchmark is."""

    frames: int = 2
    size: int = 32
    labels: int = 200
    epochs: int = 10
    episodes: int = 48
    validation_episodes: int = 12
    test_episodes: int = 16
    pretraining_maps: int = len(PRETRAINING_MAPS)
    pretraining_episodes: int = 6
    pretraining_epochs: int = 10


LARGE = Plan(frames=4, size=64, pretraining_epochs=6)
QUICK = Plan(2, 32, 60, 2, 12, 3, 3, 1, 2, 1)


@dataclass(frozen=True)
class Curve:
    """What one training did: seconds since its start and validation accuracy after each epoch, and the end."""

    points: list[tuple[float, float]]
    seconds: float
    test_accuracy: float

    def seconds_to(self, accuracy: float) -> float:
        """Seconds to the first epoch with at least this validation accuracy; infinite if there is none."""
        return next((seconds for seconds, reached in self.points if reached >= accuracy - 1e-9), math.inf)


def record(maps: tuple[str, ...], episodes: int, folder: Path, seed: int) -> list[dict[str, str]]:
    """Record maps once; return the rows of their label files with paths relative to ``folder``."""
    from newgameplus.verbs import record_doom

    rows = []
    for name in maps:
        part = name.replace(":", "-")
        record_doom(name, episodes, folder / part, seed=seed, resume=True)
        with (folder / part / "labels.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                group = f"{part}/{Path(row['path']).stem}"
                rows.append({**row, "path": f"{part}/{row['path']}", "group": group})
    return rows


def write_labels(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a label file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def make_target(plan: Plan, out: Path) -> dict[str, Any]:
    """Record the target task; return the ``data`` of a recipe: fixed episodes for validation and for test."""
    folder = out / "target"
    rows = record((TARGET_MAP,), plan.episodes, folder, seed=777)
    groups = sorted({row["group"] for row in rows})
    test, rest = groups[-plan.test_episodes :], groups[: -plan.test_episodes]
    validation, train = rest[-plan.validation_episodes :], rest[: -plan.validation_episodes]
    kept = [row for row in rows if row["group"] in train][: plan.labels]
    if len(kept) < plan.labels:
        raise SystemExit(f"only {len(kept)} training clips of {plan.labels}: raise the number of episodes")
    write_labels(folder / "chosen.csv", kept + [row for row in rows if row["group"] not in train])
    return {"path": str(folder), "labels": "chosen.csv", "test_groups": test, "validation_groups": validation}


def pretrain(plan: Plan, out: Path) -> Path:
    """Make a pretrained ResNet-50 without the hub: from random weights, the actions of players on other maps."""
    import torch
    from transformers import ResNetConfig, ResNetModel
    from transformers.utils import logging

    from newgameplus.adapt import ClipClassifier, plan_phases
    from newgameplus.games.cache import cache_clips
    from newgameplus.games.clips import load_clips
    from newgameplus.pretrained.catalog import load_pretrained
    from newgameplus.recipe import TrainSettings
    from newgameplus.train.examples import ClipExamples
    from newgameplus.train.loop import train_classifier

    start = out / "resnet-50"
    if (start / "model.safetensors").is_file():
        return start
    logging.disable_progress_bar()
    folder = out / "pretraining"
    rows = record(PRETRAINING_MAPS[: plan.pretraining_maps], plan.pretraining_episodes, folder, seed=1)
    write_labels(folder / "labels.csv", rows)
    torch.manual_seed(0)
    random_start = out / "resnet-50-random"
    ResNetModel(ResNetConfig()).save_pretrained(random_start)
    preprocessing = {"size": plan.size, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (random_start / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    model = load_pretrained(f"transformers:{random_start}", options={"frames": plan.frames})
    clips = cache_clips(load_clips(folder), model.card.shape, Path(os.environ["NGP_CACHE"]))
    targets = clips.targets(clips.clip_set.labels)
    classifier = ClipClassifier(model.backbone, clips.clip_set.labels)
    train_classifier(
        classifier,
        plan_phases("full", len(model.backbone.blocks()), 1.0),
        ClipExamples(clips, torch.arange(len(targets)).numpy(), targets, augment=True),
        None,
        # Of several thousand features, each moves the logits at AdamW's full rate: the head's must be low.
        TrainSettings(epochs=plan.pretraining_epochs, patience=None, threads=THREADS, head_learning_rate=1e-4),
        seed=0,
        arm="pretraining",
        checkpoint=out / "pretraining.safetensors",
        backbone_rate=1e-3,
        features={},
    )
    partial = out / "resnet-50.part"
    shutil.rmtree(partial, ignore_errors=True)
    model.backbone.network.save_pretrained(partial)
    shutil.copy(random_start / "preprocessor_config.json", partial)
    partial.rename(start)
    return start


def textbook_loop(recipe: Any) -> Curve:
    """Train as the tutorials do: SGD on all layers, and nothing computed twice is kept."""
    import torch
    from torch import nn

    from newgameplus.pretrained.catalog import load_pretrained
    from newgameplus.scenarios.behavior_data import load_game

    began = time.monotonic()
    torch.set_num_threads(THREADS)
    torch.manual_seed(recipe.seed)
    backbone = load_pretrained(recipe.model.start, options=recipe.model.options).backbone
    game = load_game(recipe.data, backbone.shape, recipe.seed)
    network = nn.Sequential(backbone, nn.Linear(backbone.feature_dim, len(game.labels)))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9)
    clips, targets = game.at(backbone.shape), torch.from_numpy(game.targets)

    @torch.no_grad()
    def accuracy(part: Any) -> float:
        network.eval()
        right = 0
        for indices in torch.from_numpy(part).split(64):
            answers = network(torch.from_numpy(clips.gather(indices.numpy()))).argmax(dim=1)
            right += int((answers == targets[indices]).sum())
        return right / len(part)

    points = []
    train = torch.from_numpy(game.split.train)
    for epoch in range(recipe.train.epochs):
        network.train()
        for indices in train[torch.randperm(len(train))].split(BATCH):
            optimizer.zero_grad()
            logits = network(torch.from_numpy(clips.gather(indices.numpy())))
            nn.functional.cross_entropy(logits, targets[indices]).backward()
            optimizer.step()
        points.append((time.monotonic() - began, accuracy(game.split.validation)))
        say(f"  textbook, epoch {epoch + 1}: validation {points[-1][1]:.3f} after {points[-1][0]:.0f} s")
    return Curve(points, points[-1][0], accuracy(game.split.test))


def ngp_fit(recipe: Any, folder: Path) -> Curve:
    """Run ``fit`` and note when each epoch's row appears in its metrics."""
    from newgameplus.verbs import fit

    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    with watching(folder / "metrics.jsonl", began) as points:
        fit(recipe, folder)
    seconds = time.monotonic() - began
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    arm = next(arm for arm in evaluation["arms"] if arm["name"] == "fine-tuned")
    shutil.rmtree(folder)
    return Curve(points, seconds, arm["metrics"]["accuracy"]["value"])


@contextmanager
def watching(path: Path, began: float) -> Iterator[list[tuple[float, float]]]:
    """Note the time at which each row with a validation accuracy is first seen in a file."""
    points: list[tuple[float, float]] = []
    over = threading.Event()

    def look() -> None:
        if path.is_file():
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
            now = time.monotonic() - began
            points.extend((now, row["validation_accuracy"]) for row in rows[len(points) :])

    def watch() -> None:
        while not over.wait(0.02):
            look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield points
    finally:
        over.set()
        thread.join()
        look()


def run_seed(seed: int, plan: Plan, model: str, data: dict[str, Any], out: Path) -> dict[str, Curve]:
    """Train the textbook loop and every arm once, in turn; kept as one file."""
    from newgameplus.recipe import Recipe

    kept = out / "cells" / f"seed-{seed}.json"
    if kept.is_file():
        content = json.loads(kept.read_text(encoding="utf-8"))
        return {name: Curve(**curve) for name, curve in content.items()}

    def recipe(strategy: str) -> Any:
        return Recipe.model_validate(
            {
                "seed": seed,
                "data": data,
                "model": {"start": model, "options": {"frames": plan.frames}},
                "adapt": {"strategy": strategy},
                "train": {"epochs": plan.epochs, "batch_size": BATCH, "patience": None, "threads": THREADS},
                "evaluate": {"baselines": ()},
            }
        )

    curves = {"textbook": textbook_loop(recipe("full"))}
    for strategy in ARMS:
        curves[strategy] = ngp_fit(recipe(strategy), out / "runs" / f"{strategy}-{seed}")
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".partial")
    partial.write_text(json.dumps({name: asdict(curve) for name, curve in curves.items()}, indent=1))
    partial.replace(kept)
    return curves


def table(results: list[dict[str, Curve]]) -> str:
    """Return the table as markdown: means over seeds; ratios by seed, their geometric mean with a 95 % t-interval."""
    lines = [
        "| | test accuracy | seconds in all | seconds to the textbook's accuracy | times faster than its ten epochs "
        "| times faster than its first touch |",
        "|---|---|---|---|---|---|",
    ]
    targets = [curves["textbook"].points[-1][1] for curves in results]
    ends = [curves["textbook"].points[-1][0] for curves in results]
    touches = [curves["textbook"].seconds_to(target) for curves, target in zip(results, targets, strict=True)]
    for name in ("textbook", *ARMS):
        accuracies = [curves[name].test_accuracy for curves in results]
        seconds = [curves[name].seconds_to(target) for curves, target in zip(results, targets, strict=True)]
        if name == "textbook":
            seconds = ends
        total = statistics.fmean(curves[name].seconds for curves in results)
        ratios = [ratio([one / other for one, other in zip(own, seconds, strict=True)]) for own in (ends, touches)]
        ratios = ["1", "1"] if name == "textbook" else ratios
        lines.append(
            f"| {name} | {statistics.fmean(accuracies):.3f} | {total:.1f} | {statistics.fmean(seconds):.1f} "
            f"| {ratios[0]} | {ratios[1]} |"
        )
    return "\n".join(lines)


def ratio(values: list[float]) -> str:
    """Geometric mean of ratios with its 95 % interval over seeds."""
    if min(values) <= 0:
        return f"accuracy not reached in {sum(value <= 0 for value in values)} of {len(values)} seeds"
    logs = [math.log(value) for value in values]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return f"{math.exp(mean):.1f}"
    half = STUDENT[len(logs) - 1] * statistics.stdev(logs) / len(logs) ** 0.5
    return f"{math.exp(mean):.1f} ({math.exp(mean - half):.1f} to {math.exp(mean + half):.1f})"


def say(message: str) -> None:
    """Print a line of progress."""
    from newgameplus import progress

    progress.say(message)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a few minutes, to see that it works; its table says nothing"
    )
    parser.add_argument("--large", action="store_true", help="more and larger frames; takes about eight times as long")
    parser.add_argument("--out", type=Path, default=Path("results-plain-loop"))
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 11))
    parser.add_argument("--model", help="a pretrained image model instead of the one that the script makes")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else LARGE if arguments.large else Plan()
    out: Path = arguments.out.resolve() / ("quick" if arguments.quick else "")
    out.mkdir(parents=True, exist_ok=True)
    os.environ["NGP_CACHE"] = str(out / "cache")
    model = arguments.model or f"transformers:{pretrain(plan, out)}"
    data = make_target(plan, out)
    results = [run_seed(seed, plan, model, data, out) for seed in range(arguments.seeds)]
    (out / "plain_loop.json").write_text(
        json.dumps([{name: asdict(curve) for name, curve in curves.items()} for curves in results], indent=1)
    )
    print(table(results))


if __name__ == "__main__":
    main()
