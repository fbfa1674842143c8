"""Behavior recognition from numbers over time: seven Rocket League skillshots, 5-fold accuracy, several seeds.

    python benchmarks/skillshots.py [--quick] [--data FILE] [--out benchmarks/results/skillshots.json]

The data (Mathonat et al. 2020, 298 sequences of 18 channels) are not part of the project: ``--data``, or
``skillshots.data`` in ``$NGP_DATA``. They are turned into the CSV form that ``ngp`` reads. Each fold is a test set
once; folds are stratified and the same for all arms of a seed. Arms: a random forest on summary statistics, small
networks and a small BERT from random weights (full), and the same BERT after masked-step pretraining on the training
folds without labels (lp-ft). Prints a table of means with 95 % t-intervals over seeds; writes what each seed reached as
JSON.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from newgameplus.adapt import ClipClassifier, plan_phases
from newgameplus.adapt.answers import classify
from newgameplus.evaluate.baselines import random_forest
from newgameplus.evaluate.sequence_statistics import sequence_statistics
from newgameplus.games.fixed_sequences import fix_sequences
from newgameplus.games.sequences import SequenceSet, find_sequences, load_sequences
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.pretrained.sequence import load as small_network
from newgameplus.pretrained.sequence_backbone import SequenceBackbone
from newgameplus.recipe import TrainSettings
from newgameplus.train.loop import train_classifier
from newgameplus.train.objective_learner import pretrain as learn
from newgameplus.train.pretraining import epoch_batch
from newgameplus.train.selfsupervision import ClipBatch
from newgameplus.train.sequence_examples import SequenceExamples
from newgameplus.train.sequence_selfsupervision import GappedBackbone, MaskedSteps

FOLDS = 5
STEPS = 32
ARMS = ("random-forest", "gru", "cnn", "bert", "bert-pretrained")
# Two-sided 95 % quantiles of Student's t by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}


def to_csv(source: Path, folder: Path) -> Path:
    """Write the plain text form as one CSV a sequence and a labels.csv.

    A line of names, then for each sequence a line with its class and a line for each step, until the next class.
    """
    lines = source.read_text(encoding="utf-8").splitlines()
    names = lines[0].split()
    blocks: list[tuple[str, list[list[str]]]] = []
    for line in lines[1:]:
        cells = line.split()
        if len(cells) == 1:
            blocks.append((cells[0], []))
        elif cells:
            blocks[-1][1].append(cells)
    folder.mkdir(parents=True)
    rows = [["path", "label"]]
    for number, (label, steps) in enumerate(blocks):
        name = f"sequence-{number:03d}.csv"
        with (folder / name).open("w", newline="") as handle:
            csv.writer(handle).writerows([names, *steps])
        rows.append([name, f"skillshot {label}"])
    with (folder / "labels.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    return folder


def folds(targets: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield training and test indices; each class is dealt over the folds in turn."""
    generator = np.random.default_rng(seed)
    fold = np.empty(len(targets), dtype=np.int64)
    for target in np.unique(targets):
        members = generator.permutation(np.flatnonzero(targets == target))
        fold[members] = (np.arange(len(members)) + generator.integers(FOLDS)) % FOLDS
    for number in range(FOLDS):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def bert_folder(folder: Path) -> Path:
    """Write the configuration of a small BERT."""
    content = {
        "model_type": "bert", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 128, "vocab_size": 8, "max_position_embeddings": 64, "hidden_dropout_prob": 0.1,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def make_backbone(arm: str, channels: int, bert: Path) -> SequenceBackbone:
    """Build the network of an arm with random weights."""
    if arm.startswith("bert"):
        model = load_pretrained(f"transformers:{bert}", fresh=True, options={"steps": STEPS, "channels": channels})
    else:
        model = small_network(arm, steps=STEPS, channels=channels)
    if not isinstance(model.backbone, SequenceBackbone):
        raise TypeError(arm)
    return model.backbone


def pretrain(backbone: SequenceBackbone, sequences: torch.Tensor, steps: int, seed: int) -> None:
    """Go on with pretraining on sequences without labels, as ``ngp pretrain`` does."""
    generator = torch.Generator().manual_seed(seed)
    size = min(32, len(sequences))
    unknown = torch.full((size,), -1)

    def batches() -> Iterator[ClipBatch]:
        for step in itertools.count():
            yield ClipBatch(sequences[epoch_batch(len(sequences), size, seed, step)], unknown)

    objectives = {MaskedSteps(backbone, generator): 1.0}
    learn(GappedBackbone(backbone), objectives, batches(), steps=steps, learning_rate=1e-3, half_precision=False)


def answer(
    arm: str, sequences: SequenceSet, targets: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int, work: Path,
    steps: int,
) -> float:  # fmt: skip
    """Train an arm on some sequences and return its accuracy on others."""
    labels = sequences.clip_set.labels
    if arm == "random-forest":
        features = sequence_statistics(sequences.values)
        found = random_forest(features[train], targets[train], features[test], len(labels), seed=seed)
        return float((found.argmax(1) == targets[test]).mean())
    torch.manual_seed(seed)
    backbone = make_backbone(arm, len(sequences.channels), work / "bert")
    backbone.standardize([sequences.values[index] for index in train])
    fixed = fix_sequences(sequences, STEPS)
    pretrained = arm.endswith("pretrained")
    if pretrained:
        pretrain(backbone, torch.from_numpy(fixed.gather(train)), 5 * steps, seed)
    classifier = ClipClassifier(backbone, labels)
    settings = TrainSettings(epochs=max(1, round(steps * 32 / len(train))), threads=1, patience=None)
    phases = plan_phases("lp-ft" if pretrained else "full", len(backbone.blocks()), 0.8 if pretrained else 1.0)
    examples = SequenceExamples(fixed, train, targets[train], augment=True)
    checkpoint = Path(tempfile.mkdtemp(dir=work)) / "state"
    train_classifier(
        classifier, phases, examples, None, settings, seed=seed, arm=arm, checkpoint=checkpoint,
        backbone_rate=settings.learning_rate if pretrained else settings.scratch_learning_rate,
        features=None if pretrained else {},
    )  # fmt: skip
    found = classify(classifier, SequenceExamples(fixed, test, targets[test]).batches(64))
    return float((found.argmax(1) == targets[test]).mean())


def interval(values: list[float]) -> float:
    """Return half the width of the 95 % t-interval of a mean."""
    if len(values) < 2:
        return float("nan")
    return STUDENT[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5


def main() -> int:
    """Run all arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("NGP_DATA", ".")) / "skillshots.data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "skillshots.json")
    parser.add_argument("--quick", action="store_true", help="one seed, a few steps: only to see that it runs")
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 6))
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps of each training")
    chosen = parser.parse_args()
    if not chosen.data.is_file():
        print(f"there is no {chosen.data}: name the file with --data", file=sys.stderr)
        return 1
    seeds, steps = (1, 10) if chosen.quick else (chosen.seeds, chosen.steps)
    torch.set_num_threads(1)
    results: dict[str, dict[str, Any]] = {arm: {"accuracy": [], "seconds": 0.0} for arm in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        bert_folder(work / "bert")
        sequences = load_sequences(find_sequences(to_csv(chosen.data, work / "csv")))
        targets = sequences.targets(sequences.clip_set.labels)
        for seed in range(seeds):
            for arm in ARMS:
                began = time.process_time()
                right = [
                    answer(arm, sequences, targets, train, test, seed, work, steps)
                    for train, test in folds(targets, seed)
                ]
                results[arm]["accuracy"].append(statistics.mean(right))
                results[arm]["seconds"] += time.process_time() - began
                print(f"seed {seed}, {arm}: {statistics.mean(right):.3f}", file=sys.stderr, flush=True)
            if not chosen.quick:
                chosen.out.parent.mkdir(exist_ok=True)
                about = {"sequences": len(sequences), "folds": FOLDS, "seeds": seed + 1, "steps": steps}
                chosen.out.write_text(json.dumps(about | {"arms": results}, indent=1) + "\n", encoding="utf-8")
    print(f"\n{len(sequences)} sequences, {FOLDS} folds, {seeds} seeds, {steps} steps\n")
    print("| arm | accuracy | CPU seconds a seed |\n|---|---|---|")
    for arm, found in results.items():
        values = found["accuracy"]
        print(f"| {arm} | {statistics.mean(values):.3f} ± {interval(values):.3f} | {found['seconds'] / seeds:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
