"""What each of several launched processes runs in the tests of tile models: trainings that the main one shares."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.small_tiles import MEASURES, example_of, small_model, stripes
from tests.train.launching import run_variants

from newgameplus.adapt.adapters import add_adapters, merge_adapters
from newgameplus.adapt.tile_strategies import plan_tile_phases
from newgameplus.files import digest_bytes
from newgameplus.recipe_scene import SceneTrainSettings
from newgameplus.train.levels import LevelBook
from newgameplus.train.tile_loop import TileTraining, level_bits, train_tiles

PLAIN = SceneTrainSettings(steps=12, batch_size=5, check_every=3, threads=1, learning_rate=0.01, patience=3)
GOES_ON, STOPS = "lp-ft, stopped once", "lp-ft, stops"
AVERAGE = PLAIN.model_copy(update={"ema": 0.9})
#: Settings, strategy, and the share of windows whose tiles are known by meaning alone. Five windows: uneven parts.
VARIANTS: dict[str, tuple[SceneTrainSettings, str, float]] = {
    "full, smoothed, hidden": (PLAIN.model_copy(update={"label_smoothing": 0.1}), "full", 0.5),
    "l2-sp, clipped": (PLAIN.model_copy(update={"gradient_clip": 0.1}), "l2-sp", 0.0),
    "lora": (PLAIN, "lora", 0.0),
    "harm, stopped early": (PLAIN.model_copy(update={"patience": 1, "learning_rate": 0.3}), "full", 0.0),
    GOES_ON: (AVERAGE, "lp-ft", 0.0),
    STOPS: (AVERAGE, "lp-ft", 0.0),
}
LEVELS, HELD_OUT = 6, 3  # of 3 levels one process looks at one, the other at two


class Seen(LevelBook):
    """Levels that write down which windows were drawn."""

    log: Path

    def draw(self, *arguments: Any) -> Any:
        windows = super().draw(*arguments)
        line = " ".join(digest_bytes(w.tokens.around.tobytes(), w.tokens.wishes.tobytes())[:8] for w in windows)
        with (self.log.parent / f"{self.log.name}-{os.environ.get('RANK', '0')}").open("a") as handle:
            handle.write(line + "\n")
        return windows


def book(count: int, seed: int) -> LevelBook:
    """Levels of different widths, so that parts of a batch are padded to different lengths."""
    levels = [level for n in range(count) for level in stripes(1, seed + n, columns=6 + 3 * (n % 3))]
    return Seen([example_of(level) for level in levels], MEASURES, 24)


def train(folder: Path, name: str, *, stop_at: int | None = None) -> dict[str, Any]:
    """Train one variant and return weights, rows and bits; ``stop_at`` interrupts after so many checks."""
    settings, strategy, hidden = VARIANTS[name]
    model, train_book = small_model(), book(LEVELS, 0)
    train_book.log = folder / "seen"  # type: ignore[attr-defined]
    checks = 0

    def stop(rows: Any) -> None:
        nonlocal checks
        checks += 1
        if checks == stop_at:
            raise KeyboardInterrupt

    if strategy == "lora":
        torch.manual_seed(0)
        add_adapters(model.network, 2)
    training = TileTraining(
        "test", plan_tile_phases(strategy, 2, l2_sp=0.1), train_book, book(HELD_OUT, 9), settings, 0,
        folder / "checkpoint", settings.learning_rate, hide_own=hidden,
    )  # fmt: skip
    result = train_tiles(model.network, training, stop if stop_at else None)
    if strategy == "lora":
        merge_adapters(model.network)
    bits = torch.from_numpy(np.asarray(level_bits(model.network, book(4, 20))))
    return {"weights": dict(model.network.state_dict()), "rows": result.rows, "steps": result.steps, "bits": bits}


if __name__ == "__main__":
    run_variants(train, STOPS)
