"""What a probe of ten epochs costs, in forward passes over the training clips.

    python benchmarks/probe_cost.py [--quick] [--out results.json]

Features of a frozen backbone are computed once and reused, so ten epochs of a probe should cost about one forward pass.
Each round times, in turn and in one process, one pass of all clips through the bundled backbone, the whole probe in
the training loop (10 epochs, features included), and ten epochs that run the frozen backbone anew in every step, as a
plain loop would. Noise stands in for clips: the cost does not depend on what is in them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

EPOCHS = 10
BATCH = 32


class NoiseClips:
    """Clips of noise held in memory."""

    def __init__(self, clips: int, shape: tuple[int, ...]) -> None:
        self.frames = np.random.default_rng(0).integers(0, 256, (clips, *shape), dtype=np.uint8)

    def gather(self, indices: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the clips at these indices."""
        return self.frames[indices]


def one_round(clips: int, seed: int) -> dict[str, float]:
    """Time one forward pass, one probe, and ten epochs with the backbone run anew."""
    import torch

    from newgameplus.adapt import ClipClassifier, plan_phases
    from newgameplus.pretrained.catalog import load_pretrained
    from newgameplus.pretrained.features import compute_features
    from newgameplus.recipe import TrainSettings
    from newgameplus.train.examples import ClipExamples
    from newgameplus.train.loop import train_classifier

    torch.set_num_threads(1)
    model = load_pretrained("bundled:doom-clips")
    targets = np.arange(clips, dtype=np.int64) % 8
    examples = ClipExamples(NoiseClips(clips, model.card.shape.array), np.arange(clips), targets)
    began = time.perf_counter()
    compute_features(model.backbone, examples.batches(64), clips)
    forward = time.perf_counter() - began

    classifier = ClipClassifier(model.backbone, [str(label) for label in range(8)])
    settings = TrainSettings(epochs=EPOCHS, batch_size=BATCH, threads=1, augment=False, mirror="never")
    phases = plan_phases("probe", len(model.backbone.blocks()), 1.0)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "probe.safetensors"
        train_classifier(classifier, phases, examples, None, settings, seed=seed, arm="probe", checkpoint=checkpoint)
    probe = time.perf_counter() - began

    began = time.perf_counter()
    head = torch.nn.Linear(model.backbone.feature_dim, 8)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.003)
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(clips)
        for start in range(0, clips, BATCH):
            inputs, truth = examples.batch(order[start : start + BATCH], None)
            with torch.no_grad():
                features = model.backbone(inputs)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(head(features), truth).backward()
            optimizer.step()
    return {"forward": forward, "probe": probe, "plain": time.perf_counter() - began}


def quantile_text(values: list[float]) -> str:
    """Median and the 95 % bootstrap interval of the median."""
    resampled = np.median(np.random.default_rng(0).choice(values, (2000, len(values))), axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return f"{statistics.median(values):.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 200 clips")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rounds, clips = (3, 200) if arguments.quick else (9, 1000)
    results = [one_round(clips, seed) for seed in range(rounds)]
    if arguments.out:
        arguments.out.write_text(json.dumps({"clips": clips, "epochs": EPOCHS, "rounds": results}, indent=1))
    ours = quantile_text([row["probe"] / row["forward"] for row in results])
    plain = quantile_text([row["plain"] / row["forward"] for row in results])
    print("| 10 epochs of a probe, in forward passes over the clips (95 %) | |\n|---|---|")
    print(f"| features computed once | {ours} |\n| frozen backbone run in every step | {plain} |")


if __name__ == "__main__":
    main()
