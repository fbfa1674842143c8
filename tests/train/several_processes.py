"""What each of several launched processes runs in the tests: a training that the main one shares, told in numbers."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.small_backbone import SmallBackbone, moving_bars

from newgameplus.adapt import ClipClassifier, plan_phases
from newgameplus.recipe import TrainSettings
from newgameplus.train.examples import ClipExamples
from newgameplus.train.loop import train_classifier
from newgameplus.train.processes import is_main
from newgameplus.train.sharing import follow, lead

PLAIN = TrainSettings(
    epochs=3, batch_size=8, learning_rate=0.01, head_learning_rate=0.03, augment=True, class_weights="balanced"
)
VARIANTS: dict[str, tuple[TrainSettings, str]] = {
    "lp-ft, augmented, balanced": (PLAIN, "lp-ft"),
    "full, average, sgd": (PLAIN.model_copy(update={"ema": 0.9, "optimizer": "sgd"}), "full"),
    "gradual, range test": (PLAIN.model_copy(update={"learning_rate": "find"}), "gradual"),
}
GOES_ON = "full, average, sgd, stopped once"
VARIANTS[GOES_ON] = VARIANTS["full, average, sgd"]
CLIPS = 43  # a last batch of 3 clips: parts of unequal size


class Seen(ClipExamples):
    """Examples that write down which clips were asked for."""

    log: Path

    def batch(self, positions: Any, generator: Any) -> Any:
        if generator is not None:
            line = " ".join(str(int(position)) for position in positions)
            with (self.log.parent / f"{self.log.name}-{os.environ.get('RANK', '0')}").open("a") as handle:
                handle.write(line + "\n")
        return super().batch(positions, generator)


def train(folder: Path, name: str, *, stop_at: int | None = None) -> dict[str, torch.Tensor]:
    """Train one variant; ``stop_at`` interrupts after so many saved epochs."""
    settings, strategy = VARIANTS[name]
    clips, targets = moving_bars(CLIPS, 0)
    targets = np.where(np.arange(CLIPS) % 5 == 0, 2, targets)
    examples = Seen(clips, np.arange(CLIPS), targets, augment=True, mirror=np.array([1, 0, 2]))
    examples.log = folder / "seen"
    other, truths = moving_bars(15, 1)
    torch.manual_seed(0)
    classifier = ClipClassifier(SmallBackbone(), ["left", "right", "still"])
    classifier.to(memory_format=torch.channels_last)  # as the bundled network is
    epochs = 0

    def stop(rows: Any) -> None:
        nonlocal epochs
        epochs += 1
        if epochs == stop_at:
            raise KeyboardInterrupt

    train_classifier(
        classifier,
        plan_phases(strategy, 2, 0.8),
        examples,
        ClipExamples(other, np.arange(15), truths),
        settings,
        seed=0,
        arm="fine-tuned",
        checkpoint=folder / "checkpoint",
        on_epoch=stop if stop_at else None,
    )
    return dict(classifier.state_dict())


def main() -> None:
    """Run the named variants in this process's folder; the main one saves the weights."""
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    torch.set_num_threads(1)
    if not is_main():
        follow(lambda content: None)  # type: ignore[arg-type,return-value]
        return
    with lead():
        for name in names:
            (folder / name).mkdir(parents=True, exist_ok=True)
            stop_at = int(os.environ["STOP_AT"]) if "STOP_AT" in os.environ else None
            torch.save(train(folder / name, name, stop_at=stop_at), folder / name / "weights.pt")


if __name__ == "__main__":
    main()
