"""What each of several launched processes runs in the tests of pretraining on clips: the main one shares it."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tests.small_backbone import SHAPE, SmallBackbone, moving_bars
from tests.train.launching import run_variants

from newgameplus.recipe import TrainSettings
from newgameplus.train.pretraining import ClipBatches, Pretraining, continue_pretraining, epoch_batch, steps_in
from newgameplus.train.selfsupervision import (
    Augmentation,
    ClipBatch,
    InverseDynamics,
    Objective,
    TemporalOrder,
    TwoViews,
)

LABELS = ("turn_left", "turn_right", "idle")
CLIPS, SIZE, STEPS = 43, 13, 12  # 13 clips: parts of unequal size
GOES_ON, STOPS = "all, stopped once", "all, stops"
#: Objectives, and their shares of the loss.
VARIANTS: dict[str, dict[str, float]] = {
    "actions": {"actions": 1.0},
    "order": {"order": 1.0},
    "views": {"views": 1.0},
    "all": {"actions": 1.0, "order": 0.7, "views": 0.5},
}
VARIANTS |= dict.fromkeys((GOES_ON, STOPS), VARIANTS["all"])


@dataclass(frozen=True, eq=False)
class Batches(ClipBatches):
    """Batches, written down; in turn all actions are known, those of the first process, one, and most."""

    log: Path

    def __call__(self, step: int) -> ClipBatch:
        batch = super().__call__(step)
        line = " ".join(str(row) for row in epoch_batch(len(self.actions), self.size, self.seed, step)[batch.part])
        with (self.log.parent / f"{self.log.name}-{os.environ.get('RANK', '0')}").open("a") as handle:
            handle.write(line + "\n")
        places = torch.arange(len(batch.actions))
        known = [places >= 0, places < SIZE // 2, places == 3, places % 4 > 0][step % 4]
        return dataclasses.replace(batch, actions=torch.where(known, batch.actions, -1))


def plan(folder: Path, name: str) -> Pretraining:
    """Return what a variant learns."""
    torch.manual_seed(4)
    generator = torch.Generator()
    augment = Augmentation(generator)
    make = {
        "actions": lambda: InverseDynamics(LABELS, 8, augment, generator),
        "order": lambda: TemporalOrder(SHAPE.frames, 8, augment, generator),
        "views": lambda: TwoViews(8, augment, width=16),
    }
    objectives: dict[Objective, float] = {make[each](): weight for each, weight in VARIANTS[name].items()}
    clips, actions = moving_bars(CLIPS)
    settings = TrainSettings(threads=1, checkpoint_seconds=1e-9)
    batches = Batches(clips, actions, SIZE, 0, folder / "seen")
    checkpoint = folder / "checkpoint"
    return Pretraining(objectives, generator, batches, STEPS, 3e-3, settings, 5, checkpoint, average=0.9, every=4)


def train(folder: Path, name: str, *, stop_at: int | None = None) -> dict[str, Any]:
    """Train one variant and return weights of all, rows and steps; ``stop_at`` interrupts after so many rows."""
    pretraining = plan(folder, name)
    torch.manual_seed(3)
    backbone = SmallBackbone()
    backbone.to(memory_format=torch.channels_last)  # as the bundled network is

    def stop(rows: Any) -> None:
        if len(rows) == stop_at:
            raise KeyboardInterrupt

    result = continue_pretraining(backbone, pretraining, stop if stop_at else None)
    whole = torch.nn.ModuleDict({"backbone": backbone, "objectives": torch.nn.ModuleList(pretraining.objectives)})
    return {"weights": dict(whole.state_dict()), "rows": result.rows, "steps": result.steps}


def budget(folder: Path) -> dict[str, Any]:
    """Return how many steps fit into much and little time, and whether the weights stayed as they were."""
    torch.manual_seed(3)
    backbone = SmallBackbone()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    pretraining = plan(folder, "all")
    found = [steps_in(backbone, pretraining, minutes) for minutes in (1e9, 1e-9)]
    return {"steps": found, "kept": all(torch.equal(value, before[k]) for k, value in backbone.state_dict().items())}


def keep_budget(folder: Path) -> None:
    """Save what :func:`budget` says."""
    (folder / "budget").mkdir()
    torch.save(budget(folder / "budget"), folder / "budget.pt")


if __name__ == "__main__":
    run_variants(train, STOPS, keep_budget)
