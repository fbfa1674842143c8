"""Frames into an h264 file that can be cut anywhere cheaply, and that is the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["KEYFRAME_EVERY", "VideoWriter", "even_frame", "video_writer"]

KEYFRAME_EVERY = 12
"""Frames between two keyframes at most: reading a clip out of the middle decodes at most this many frames in vain."""


_SMALLEST_SIDE = 160


def even_frame(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Enlarge a small picture by whole pixels, and give it even sides, as video needs them.

    Args:
        frame: uint8 [height, width, 3].
    """
    times = max(1, -(-_SMALLEST_SIDE // min(frame.shape[:2])))
    larger = frame.repeat(times, axis=0).repeat(times, axis=1)
    height, width = larger.shape[:2]
    return np.ascontiguousarray(np.pad(larger, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


class VideoWriter:
    """An open h264 file; made by :func:`video_writer`."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self.frames = 0

    def add(self, picture: npt.NDArray[np.uint8]) -> None:
        """Append one picture, uint8 [height, width, 3], red, green, blue."""
        import av

        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = self.frames
        frame.time_base = self._stream.codec_context.time_base
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Write what the encoder still holds back."""
        self._container.mux(self._stream.encode())


@contextmanager
def video_writer(path: Path, *, frame_rate: float, width: int, height: int, quality: int = 25) -> Iterator[VideoWriter]:
    """Open an mp4 file for writing; frame ``i`` will be shown from ``i / frame_rate`` seconds on.

    Args:
        path: Where to write; the name need not end in ``.mp4``.
        frame_rate: Frames per second.
        width: Even number of columns.
        height: Even number of rows.
        quality: Constant rate factor of x264; smaller is better and larger.
    """
    import av

    rate = Fraction(frame_rate).limit_denominator(1001)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = 1 / rate
        stream.codec_context.gop_size = KEYFRAME_EVERY
        stream.codec_context.max_b_frames = 0
        # One thread: the same bytes on every machine, and recording shares the machine with the engine.
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "ultrafast", "crf": str(quality), "sc_threshold": "0"}
        writer = VideoWriter(container, stream)
        yield writer
        writer.close()
