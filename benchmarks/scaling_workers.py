"""What `scaling.py` runs in one and in two processes: trainings of the bundled clip and tile models, timed.

    python benchmarks/scaling_workers.py clips|maps FOLDER STEPS BATCH

The main process writes FOLDER/told.json: examples a second, and bytes of gradients that it handed over in a step.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from newgameplus.adapt import ClipClassifier, plan_phases
from newgameplus.adapt.tile_strategies import plan_tile_phases
from newgameplus.adapt.vocabulary import change_vocabulary
from newgameplus.games.conditions import column_counts
from newgameplus.games.generators import make_levels
from newgameplus.games.measures import measure
from newgameplus.games.scanning import to_scan
from newgameplus.games.structure import tile_habits
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.pretrained.tile_model import TileFacts, load_start
from newgameplus.recipe import TrainSettings
from newgameplus.recipe_scene import SceneTrainSettings
from newgameplus.train import loop
from newgameplus.train.examples import ClipExamples
from newgameplus.train.levels import LevelBook, LevelExample
from newgameplus.train.processes import is_main
from newgameplus.train.sharing import follow, lead
from newgameplus.train.team import Team
from newgameplus.train.tile_loop import TileTraining, train_tiles

_MEASURES = ("density", "enemies")
_CONTEXT, _LEVELS, _CHECKS = 448, 32, 4


class Noise:
    """Clips in memory, as the cache gives them."""

    def __init__(self, frames: np.ndarray) -> None:
        self.frames = frames

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """Return uint8 [n, frames, height, width, channels]."""
        return self.frames[indices]


def train_clips(folder: Path, steps: int, batch: int, mark: Callable[[Any], None]) -> dict[str, float]:
    """Train the bundled backbone on noise, all weights moving; an epoch of two steps lies between marks."""
    start = load_pretrained("bundled:doom-clips")
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (batch * 2, *start.card.shape.array), dtype=np.uint8)
    examples = ClipExamples(Noise(clips), np.arange(len(clips)), np.arange(len(clips)) % 4, augment=True)
    settings = TrainSettings(epochs=steps // 2, batch_size=batch, patience=None, threads=1, checkpoint_seconds=1e6)
    loop.train_classifier(
        ClipClassifier(start.backbone, ["a", "b", "c", "d"]),
        plan_phases("full", len(start.backbone.blocks()), 0.8),
        examples,
        None,
        settings,
        seed=0,
        arm="fine-tuned",
        checkpoint=folder / "checkpoint.safetensors",
        features={},
        on_epoch=mark,
    )
    return {"between_marks": len(clips), "cache_bytes": start.card.shape.bytes_per_clip}


def train_maps(folder: Path, steps: int, batch: int, mark: Callable[[Any], None]) -> dict[str, float]:
    """Fine-tune the bundled tile model on dungeons of our generator, all weights moving."""
    levels = make_levels("dungeon", _LEVELS, 0)
    habits = tile_habits(levels)
    facts = [
        TileFacts(tile.name, tuple(tile.meanings), tuple(map(float, habit)))
        for tile, habit in zip(levels[0].tileset.tiles, habits, strict=True)
    ]
    model, _ = change_vocabulary(load_start("bundled:tiles"), facts, _MEASURES)
    examples = [
        LevelExample(to_scan(level.tiles, "columns"), measure(level, _MEASURES), column_counts(level, _MEASURES))
        for level in levels
    ]
    every = max(1, steps // _CHECKS)
    settings = SceneTrainSettings(
        steps=steps, batch_size=batch, patience=None, check_every=every, threads=1, checkpoint_seconds=1e6
    )
    book = LevelBook(examples, _MEASURES, _CONTEXT)
    checkpoint = folder / "checkpoint.safetensors"
    train_tiles(
        model.network,
        TileTraining("fine-tuned", plan_tile_phases("full"), book, None, settings, 0, checkpoint, 3e-4),
        mark,
    )
    return {"between_marks": every * batch}


def main() -> None:
    """Train, and let the main process write what was measured."""
    kind, folder, steps, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    if not is_main():
        follow(lambda _: None)  # type: ignore[arg-type,return-value]
        return
    sent: list[int] = []
    handing = Team.add_gradients

    def counted(self: Team, parameters: Any) -> None:
        before = self.reduced_bytes
        handing(self, parameters)
        sent.append(self.reduced_bytes - before)

    Team.add_gradients = counted  # type: ignore[method-assign]
    marks: list[float] = []
    with lead():
        train = {"clips": train_clips, "maps": train_maps}[kind]
        told = train(folder, steps, batch, lambda _: marks.append(time.perf_counter()))
    # What comes before the first mark warms up: it is left out.
    rate = (len(marks) - 1) * told.pop("between_marks") / (marks[-1] - marks[0])
    told |= {"examples_per_second": rate, "gradient_bytes": max(sent)}
    (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
