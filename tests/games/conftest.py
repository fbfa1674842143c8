"""Real video files, made on the spot, in which the brightness of a frame tells its number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

CODECS = {
    ".mp4": "libx264",
    ".mkv": "libx264",
    ".webm": "libvpx-vp9",
    ".avi": "mpeg4",
    ".gif": "gif",
    ".mov": "libx264",
}


def brightness(number: int) -> int:
    """Return the grey value of frame ``number``: far enough apart to survive lossy coding, different for 25 frames."""
    return 8 + 10 * (number % 25)


def write_video(
    path: Path,
    values: Sequence[int],
    *,
    rate: int = 10,
    size: tuple[int, int] = (64, 48),
    codec: str | None = None,
    times: Sequence[int] | None = None,
    b_frames: int = 0,
    audio_seconds: float = 0.0,
    gop: int = 5,
) -> Path:
    """Write a video of plain grey frames; ``times`` gives their pts in hundredths of a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = codec or CODECS[path.suffix]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "gray" if codec == "gif" else "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        if codec == "mpeg4":
            stream.bit_rate = 4_000_000
        if codec == "libx264":
            stream.options = {"preset": "ultrafast" if not b_frames else "fast", "crf": "5"}
        if codec == "libvpx-vp9":
            stream.options = {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "0"}
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        else:
            stream.codec_context.time_base = Fraction(1, rate)
        sound = container.add_stream("aac", rate=44100) if audio_seconds else None
        for number, value in enumerate(values):
            picture = np.full((size[1], size[0], 3), value, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=stream.pix_fmt)
            frame.pts = times[number] if times is not None else number
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            _add_silence(container, sound, audio_seconds)
    return path


def _add_silence(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    for number in range(int(seconds * 44100 / 1024)):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 44100, number * 1024, Fraction(1, 44100)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_frames(
    folder: Path, values: Sequence[int], *, suffix: str = ".png", size: tuple[int, int] = (32, 24)
) -> Path:
    """Write a folder of grey pictures ``frame-0``, ``frame-1`` ... without leading zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, value in enumerate(values):
        Image.new("L", size, value).save(folder / f"frame-{number}{suffix}")
    return folder


@pytest.fixture
def make_video() -> Callable[..., Path]:
    return write_video


@pytest.fixture
def make_frames() -> Callable[..., Path]:
    return write_frames


@pytest.fixture
def numbers_of() -> Callable[[np.ndarray], list[int]]:
    """Read frame numbers (0..24) back from the brightness of decoded frames [..., height, width, channels]."""

    def read(frames: np.ndarray) -> list[int]:
        means = frames.astype(float).mean(axis=(-1, -2, -3)).ravel()
        numbers = np.rint((means - 8) / 10)
        assert np.abs(means - 8 - 10 * numbers).max() < 4, means
        return numbers.astype(int).tolist()

    return read


@pytest.fixture
def bright() -> Callable[[int], int]:
    return brightness
