"""Small real videos with labelled spans, as a user would have them."""

from __future__ import annotations

import csv
from pathlib import Path

import av
import numpy as np

FRAME_RATE = 30
SPAN = 15  # frames
LABELS = ("goes_left", "goes_right", "stands")


def write_video(path: Path, frames: np.ndarray, frame_rate: int = FRAME_RATE) -> None:
    """Write uint8 [frames, height, width, 3] as h264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=frame_rate)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.options = {"g": "10", "crf": "18"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def draw_span(label: str, generator: np.random.Generator) -> np.ndarray:
    """Draw a bar that goes left, goes right or stands, for one span."""
    frames = generator.integers(20, 60, (SPAN, 48, 64, 3), dtype=np.uint8)
    start = int(generator.integers(26, 34))
    for time in range(SPAN):
        column = start + {"goes_left": -1, "goes_right": 1, "stands": 0}[label] * time
        frames[time, 8:40, column : column + 5] = (220, 200, 90)
    return frames


def record(folder: Path, videos: int, seed: int, spans: int = 9) -> Path:
    """Write videos with a labels.csv; every video is a group."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(videos):
        labels = [LABELS[index % 3] for index in generator.permutation(spans)]
        write_video(folder / f"video {number}.mp4", np.concatenate([draw_span(label, generator) for label in labels]))
        for index, label in enumerate(labels):
            start, end = index * SPAN / FRAME_RATE, (index + 1) * SPAN / FRAME_RATE
            rows.append([f"video {number}.mp4", label, f"{start:.4f}", f"{end:.4f}"])
    with (folder / "labels.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["path", "label", "start", "end"], *rows])
    return folder
