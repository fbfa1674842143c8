"""From a video file, or a folder of frames, to the frames that were on screen at given times: one pass, by time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.games.footage import Extent, Footage, FrameFolder, Picture
from newgameplus.games.images import PictureError
from newgameplus.games.video_file import VideoFile
from newgameplus.shapes import ClipShape

__all__ = ["SpanResult", "VideoInfo", "decode_spans", "probe_video", "read_spans", "sample_times"]

_SAME_TIME = 1e-6
"""Seconds within which two times are one: times of frames and of labels are both rounded."""

Frames = npt.NDArray[np.uint8]
Span = tuple[float, float | None]


@dataclass(frozen=True)
class VideoInfo:
    """What a video is, without decoding it.

    Attributes:
        duration: Seconds from the first frame to the end of the last.
        frame_rate: Frames per second, on average.
        width: Columns of pixels.
        height: Rows of pixels.
        frames: Number of frames that are stored.
    """

    duration: float
    frame_rate: float
    width: int
    height: int
    frames: int


@dataclass(frozen=True)
class SpanResult:
    """What became of one span.

    Attributes:
        index: Which of the spans.
        problem: Why it cannot be used; empty if its frames are whole.
    """

    index: int
    problem: str


def sample_times(start: float, end: float, shape: ClipShape) -> npt.NDArray[np.float64]:
    """Return when to look at a span: float64 [frames], seconds, the middles of equal parts of it.

    With ``shape.window`` the parts divide that many seconds around the middle of the span instead; where such a window
    reaches over an end of the video, the first or the last frame stands still.
    """
    if shape.window is not None:
        middle = (start + end) / 2
        start, end = middle - shape.window / 2, middle + shape.window / 2
    steps = np.arange(shape.frames, dtype=np.float64) + 0.5
    return np.asarray(start + steps * ((end - start) / shape.frames), dtype=np.float64)


def open_footage(path: Path, frame_rate: float) -> Footage:
    """Open a video file or a folder of frames.

    Raises:
        DataError: It does not exist, is empty, damaged from the start, or has no picture.
    """
    try:
        return FrameFolder(path, frame_rate) if path.is_dir() else VideoFile(path)
    except OSError as error:
        message = f"cannot be read ({(error.strerror or str(error)).lower()})"
        raise DataError(message, source=str(path), remedy="correct the path, or its permissions") from error


def probe_video(path: str | Path, frame_rate: float = 30.0) -> VideoInfo:
    """Look at a video without decoding it.

    The stored frames are walked through, since the length that a file's header claims is often missing or wrong.

    Args:
        path: Video file, or folder of frames.
        frame_rate: Frames per second of a folder of frames; ignored for a video file.

    Raises:
        DataError: It cannot be read.
    """
    with open_footage(Path(path), frame_rate) as footage:
        extent = footage.extent()
        rate = extent.frames / extent.end if extent.end > 0 else footage.frame_rate
        return VideoInfo(extent.end, rate, footage.width, footage.height, extent.frames)


def decode_spans(path: str | Path, spans: Sequence[Span], shape: ClipShape, frame_rate: float = 30.0) -> Frames:
    """Decode spans of one video in a single pass.

    Frame ``i`` of ``T`` is the one on screen at ``start + (i + 0.5) * length / T``: the last frame whose time is not
    later. Time 0 is where a player starts. Frames are made smaller by area averaging; grey is BT.601 luma.

    A file that is damaged is read up to the damage; spans behind it are refused.

    Args:
        path: Video file, or folder of frames in natural order.
        spans: (start, end) in seconds each, in any order, overlapping or not; an end of ``None`` is the video's end.
        shape: Frames, height, width and channels of each clip.
        frame_rate: Frames per second of a folder of frames; ignored for a video file.

    Returns:
        uint8 [spans, frames, height, width, channels] in 0..255.

    Raises:
        DataError: The video cannot be read, or a span is not wholly covered by frames that can be decoded. Names all
            such spans.
    """
    path = Path(path)
    out = np.zeros((len(spans), *shape.array), dtype=np.uint8)
    results = read_spans(path, spans, shape, frame_rate, out)
    problems = [Problem(r.problem, f"{path}#{_span(*spans[r.index])}") for r in results if r.problem]
    raise_problems(problems, DataError, f"{path}: {len(problems)} of {len(spans)} spans cannot be decoded")
    return out


def _span(start: float, end: float | None) -> str:
    return f"{start:.3f}-{'end' if end is None else format(end, '.3f')}"


def read_spans(
    path: Path,
    spans: Sequence[Span],
    shape: ClipShape,
    frame_rate: float,
    out: Frames,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[SpanResult]:
    """Decode spans of one video into ``out``, and tell of each span as soon as it is whole.

    Args:
        path: Video file, or folder of frames.
        spans: As for :func:`decode_spans`.
        shape: As for :func:`decode_spans`.
        frame_rate: As for :func:`decode_spans`.
        out: uint8 [spans, frames, height, width, channels]; may be a memory map. What stands in it for a span with a
            problem is undefined.
        stopped: Asked at every frame; once it says so, nothing more is read or told.

    Yields:
        One result per span, in the order in which they end.

    Raises:
        DataError: The video cannot be read at all.
    """
    if not spans:
        return
    with open_footage(path, frame_rate) as footage:
        plan = _Plan(_resolve(spans, footage), shape, out)
        yield from plan.refused()
        if plan.done:
            return
        previous: Picture | None = None
        for picture in footage.pictures(plan.next_time):
            if previous is not None:
                yield from plan.serve(previous, picture.time)
            if plan.done or stopped():
                return
            previous = picture
        if previous is not None:
            plan.serve_rest(previous)
        yield from plan.finish(footage)


@dataclass(frozen=True)
class _Wanted:
    """A span whose end is known, or why it cannot be wanted."""

    start: float
    end: float
    problem: str = ""


def _resolve(spans: Sequence[Span], footage: Footage) -> list[_Wanted]:
    """Give open spans the video's end, and refuse those that make no sense."""
    extent: Extent | None = None
    wanted = []
    for start, end in spans:
        problem = ""
        if end is None:
            extent = extent or footage.extent()
            end, problem = extent.end, extent.problem
        if not (math.isfinite(start) and math.isfinite(end) and start >= 0):
            problem = f"the span {start} to {end} is not between 0 and the end of the video"
        elif not problem and start >= end:
            problem = f"no frames in the span: it starts at {start:.3f} s and ends at {end:.3f} s"
        wanted.append(_Wanted(start, end, problem))
    return wanted


class _Plan:
    """Which frame of the video goes where in the output, walked through once in the order of time."""

    def __init__(self, wanted: list[_Wanted], shape: ClipShape, out: Frames) -> None:
        self._wanted, self._shape, self._out = wanted, shape, out
        self._problems = {index: span.problem for index, span in enumerate(wanted) if span.problem}
        good = [index for index, span in enumerate(wanted) if not span.problem]
        times = np.concatenate([sample_times(wanted[i].start, wanted[i].end, shape) for i in good] or [np.empty(0)])
        order = np.argsort(times, kind="stable")
        self._times = times[order]
        self._rows = np.repeat(np.array(good, dtype=np.int64), shape.frames)[order]
        self._columns = np.tile(np.arange(shape.frames), len(good))[order]
        # A span is whole when the video has gone past both its end and the last time at which it is looked at.
        looked = {i: float(sample_times(wanted[i].start, wanted[i].end, shape)[-1]) for i in good}
        last = {i: max(wanted[i].end, math.nextafter(looked[i], math.inf)) for i in good}
        self._ending = sorted(good, key=lambda index: (last[index], index))
        self._last = last
        self._at = self._ended = 0

    @property
    def done(self) -> bool:
        return self._ended == len(self._ending)

    def refused(self) -> Iterator[SpanResult]:
        yield from (SpanResult(index, problem) for index, problem in sorted(self._problems.items()))

    def next_time(self) -> float:
        """Return the next time at which the video is looked at, or the next end once all frames are there."""
        if self._at < len(self._times):
            return float(self._times[self._at])
        return self._last[self._ending[self._ended]] if not self.done else math.inf

    def serve(self, picture: Picture, until: float) -> Iterator[SpanResult]:
        """Put the picture wherever it was on screen, and tell of the spans that are now whole."""
        self._put(picture, int(np.searchsorted(self._times, until - _SAME_TIME, side="left")))
        while not self.done and self._last[self._ending[self._ended]] <= until - _SAME_TIME:
            yield self._end_one("")

    def serve_rest(self, picture: Picture) -> None:
        """Put the last picture wherever a later one would be wanted."""
        self._put(picture, len(self._times))

    def finish(self, footage: Footage) -> Iterator[SpanResult]:
        """Tell of the spans that the end of the video leaves."""
        while not self.done:
            index = self._ending[self._ended]
            yield self._end_one(_uncovered(self._wanted[index], self._last[index], footage))

    def _put(self, picture: Picture, stop: int) -> None:
        if stop <= self._at:
            return
        here = slice(self._at, stop)
        self._at = stop
        try:
            pixels = picture.pixels(self._shape.height, self._shape.width)
        except PictureError as error:
            reason = f"the frame at {picture.time:.3f} s {error}"
            self._problems |= {int(row): self._problems.get(int(row), reason) for row in self._rows[here]}
            return
        self._out[self._rows[here], self._columns[here]] = _channels(pixels, self._shape.channels)

    def _end_one(self, problem: str) -> SpanResult:
        index = self._ending[self._ended]
        self._ended += 1
        return SpanResult(index, self._problems.get(index, problem))


def _channels(pixels: Frames, channels: int) -> Frames:
    """Return [height, width, channels] from [height, width, 3]; grey is BT.601 luma, rounded."""
    if channels == 3:
        return pixels
    weighted = pixels.astype(np.uint32) @ np.array([299, 587, 114], dtype=np.uint32)
    return ((weighted + 500) // 1000).astype(np.uint8)[:, :, None]


def _uncovered(span: _Wanted, last: float, footage: Footage) -> str:
    """Return why frames that were there until the footage's end do not cover a span; empty if they do."""
    # Labels are written with few decimals, and a player shows the last frame a little longer than it lasts.
    end = footage.end + max(0.1, 1.5 * footage.longest_step)
    if span.end <= end and (last <= end or not footage.broken):
        return ""
    if footage.broken:
        return f"can be decoded only up to {footage.end:.2f} s ({footage.broken}), the clip needs {last:.2f} s"
    if span.start >= footage.end:
        return f"no frames in the span: it starts at {span.start:.3f} s, the video ends at {footage.end:.3f} s"
    return f"the span ends at {span.end:.3f} s, the video at {footage.end:.3f} s"
