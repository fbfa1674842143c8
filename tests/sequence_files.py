"""Small sequences as a user would have them: a thing that goes left, goes right or circles, positions over time."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

KINDS = ("circles", "goes_left", "goes_right")
CHANNELS = ("x", "y", "speed")


def draw(kind: str, generator: np.random.Generator, steps: int) -> np.ndarray:
    """Return float64 [steps, 3]: where it is and how fast it goes, noisy, from anywhere on the map."""
    pace = generator.uniform(3, 6)
    if kind == "circles":
        phase = generator.uniform(0, 6) + np.arange(steps) * 0.4
        place = np.stack([20 * pace * np.cos(phase), 20 * pace * np.sin(phase)], axis=1)
    else:
        sign = -1.0 if kind == "goes_left" else 1.0
        place = np.stack([sign * pace * np.arange(steps), np.zeros(steps)], axis=1)
    place += generator.normal(0, 1.0, place.shape) + generator.uniform(-40, 40, 2)
    return np.column_stack([place, np.full(steps, pace) + generator.normal(0, 0.1, steps)])


def write_csv(path: Path, values: np.ndarray, channels: tuple[str, ...] = CHANNELS) -> Path:
    """Write one sequence as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([channels, *np.round(values, 4).tolist()])
    return path


def write_folder(folder: Path, each: int, seed: int, groups: int = 6) -> Path:
    """Write a folder of CSV files of different lengths with a labels.csv; matches are groups."""
    generator = np.random.default_rng(seed)
    rows = [["path", "label", "group"]]
    for kind in KINDS:
        for number in range(each):
            name = f"{kind}-{number}.csv"
            write_csv(folder / "data" / name, draw(kind, generator, int(generator.integers(12, 40))))
            rows.append([f"data/{name}", kind, f"match-{number % groups}"])
    with (folder / "labels.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    return folder
