"""A video file, read through PyAV (FFmpeg): its frames by time, however it is coded, and how far it is whole."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.games.footage import Extent, Footage, Picture, resize
from newgameplus.games.images import PictureError, too_large

__all__ = ["VideoFile"]

_SEEK_GAP = 20.0
"""Seconds without interest beyond which jumping to a keyframe is tried; most encoders set one every 10 s or less."""


class VideoFile(Footage):
    """A video file, read through PyAV (FFmpeg).

    Time 0 is where players start: at the beginning of the file, or at the first frame if that is what it begins with.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._zero: float | None = None
        self._can_jump = True
        self._seen_good = False
        self._open()
        self.width, self.height = self._stream.width, self._stream.height
        self.frame_rate = float(self._stream.average_rate or self._stream.guessed_rate or 0) or 30.0

    def _open(self) -> None:
        self._container = _open(self._path)
        try:
            self._stream = _picture_stream(self._container, self._path)
            if reason := too_large(self._stream.width, self._stream.height):
                remedy = "make the video smaller first"
                raise DataError(f"the picture {reason}", source=str(self._path), remedy=remedy)
        except BaseException:
            self._container.close()
            raise
        # One thread: clips are small next to what frame threads cost, and whole files are decoded side by side.
        self._stream.codec_context.thread_count = 1
        # AVI stores no presentation times. What FFmpeg guesses is late by the decoder's delay, and in disorder with
        # B-frames; but every packet with something in it gives one frame, at the next of the packets' own times.
        self._stamps: deque[int] | None = deque() if self._container.format.name == "avi" else None

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def pictures(self, next_time: Callable[[], float]) -> Iterator[Picture]:
        """Yield decoded frames from the start, jumping over long stretches without interest."""
        count, jumped, whole, now = 0, False, True, -math.inf
        frames = self._decode()
        while (timed := next(frames, None)) is not None:
            time, frame = timed
            if time <= now:
                continue
            if count and not jumped:
                self.longest_step = max(self.longest_step, time - now)
            count, now, jumped = count + 1, time, False
            self.end = time + (float(frame.duration * frame.time_base) if frame.duration else 1 / self.frame_rate)
            yield Picture(time, _pixels_of(frame))
            target = next_time()
            if self._can_jump and now + _SEEK_GAP < target < math.inf:
                frames, jumped, whole = self._jump(target, now), True, False
        if not count:
            raise DataError("no frame can be decoded", source=str(self._path), remedy=_REPLACE)
        self._settle_end(whole=whole and 0 < self._stream.frames <= count)

    def _jump(self, target: float, now: float) -> Iterator[tuple[float, Any]]:
        """Decode from the last keyframe before a time; from the start again, if the file has no index that works."""
        import av

        offset = int((target + (self._zero or 0.0)) / float(self._stream.time_base))
        try:
            self._container.seek(offset, stream=self._stream, backward=True)
            frames = self._decode()
            first = next(frames, None)
            if first is not None and now < first[0] <= target:
                return itertools.chain([first], frames)
        except av.FFmpegError:
            pass
        self._can_jump = False
        self.broken = ""
        self._container.close()
        self._open()
        return self._decode()

    def _decode(self) -> Iterator[tuple[float, Any]]:
        """Yield times and frames until the end, or until the first damage behind a good frame."""
        self._seen_good, time = False, -math.inf
        for frame in self._decode_packets():
            if frame.is_corrupt and self._seen_good:
                # What follows a damaged frame is built on it, up to the next keyframe.
                self.broken = "a frame is damaged"
                return
            if self._seen_good or not frame.is_corrupt:
                self._seen_good = True
                time = self._time(frame, time)
                yield time, frame

    def _decode_packets(self) -> Iterator[Any]:
        import av

        packets = self._container.demux(self._stream)
        if self._stamps is not None:
            self._stamps.clear()
        while True:
            packet = None
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                if self._stamps is not None and packet.size and packet.dts is not None:
                    self._stamps.append(packet.dts)
                decoded = packet.decode()
            except av.FFmpegError as error:
                if self._seen_good or packet is None:
                    self.broken = _reason(error)
                    return
                continue  # some recordings begin in the middle of a group of pictures
            yield from decoded
            if packet.is_corrupt and self._seen_good:
                self.broken = "the file is cut short"
                return

    def _time(self, frame: Any, before: float) -> float:
        """Return when a frame comes on screen, in seconds from where players start."""
        stamp = frame.pts if frame.pts is not None else frame.dts
        if self._stamps:
            stamp = self._stamps.popleft()
        if stamp is None:
            return before + 1 / self.frame_rate if before > -math.inf else 0.0
        time = float(stamp * frame.time_base)
        if self._zero is None:
            self._zero = _zero(self._container, time)
        return time - self._zero

    def _settle_end(self, whole: bool) -> None:
        """Let the last frame stand as long as the file says, unless frames seem to be missing behind it."""
        if self.broken or not self._stream.duration:
            return
        said = (
            float(self._stream.duration * self._stream.time_base)
            + float((self._stream.start_time or 0) * self._stream.time_base)
            - (self._zero or 0.0)
        )
        if whole or said - self.end <= _believable(self.longest_step):
            self.end = max(self.end, said)
        elif said > self.end:
            self.broken = f"the file is cut short: it says it is {said:.2f} s long"

    def extent(self) -> Extent:
        """Walk through the stored packets of the file, without decoding them."""
        other = VideoFile(self._path)
        with other:
            return other._walk()

    def _walk(self) -> Extent:
        import av

        times: list[float] = []
        end, anything, hidden = 0.0, 0.0, 0
        try:
            for packet in self._container.demux():
                time = packet.pts if packet.pts is not None and self._stamps is None else packet.dts
                if time is None:
                    continue
                start = float(time * packet.time_base)
                stop = start + float((packet.duration or 0) * packet.time_base)
                anything = max(anything, stop)
                if packet.stream_index != self._stream.index:
                    continue
                if packet.is_corrupt:
                    self.broken = "its last frame is not whole"
                elif packet.is_discard:
                    hidden += 1
                else:
                    times.append(start)
                    end = max(end, stop if packet.duration else start + 1 / self.frame_rate)
        except av.FFmpegError as error:
            self.broken = _reason(error)
        if not times:
            raise DataError("no frames in this video", source=str(self._path), remedy=_REPLACE)
        times.sort()
        zero = _zero(self._container, times[0])
        step = max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)
        return Extent(end - zero, len(times), self._cut_short(len(times) + hidden, max(end, anything) - zero, step))

    def _cut_short(self, frames: int, end: float, longest_step: float) -> str:
        """Return how a file shows that its end is missing; an empty string if it does not."""
        if self.broken:
            return f"the file is damaged or cut short ({self.broken})"
        if frames < 0.95 * self._stream.frames - 1:
            return f"the file is cut short: it says it has {self._stream.frames:,} frames, and {frames:,} are there"
        said = (self._container.duration or 0) / 1_000_000
        if not self._stream.frames and said - end > _believable(longest_step):
            return f"the file is cut short: it says it is {said:.2f} s long, and its frames end at {end:.2f} s"
        if self._container.format.name == "gif" and not _ends_as_gif(self._path):
            return "the file is cut short: it does not end as a GIF does"
        return ""


def _ends_as_gif(path: Path) -> bool:
    with path.open("rb") as handle:
        handle.seek(-min(64, path.stat().st_size), 2)
        return b";" in handle.read()


_REPLACE = "replace the file with a whole copy, or leave it out with --skip-bad"


def _believable(longest_step: float) -> float:
    """Return for how many seconds the last frame may stand still before frames must be missing."""
    return max(1.0, 2 * longest_step)


def _zero(container: Any, first: float) -> float:
    """Return the time stamp that a player calls 0."""
    start = container.start_time
    if start is None or first <= 0:
        return first
    return min(max(float(start) / 1_000_000, 0.0), first)


def _pixels_of(frame: Any) -> Callable[[int, int], npt.NDArray[np.uint8]]:
    def pixels(height: int, width: int) -> npt.NDArray[np.uint8]:
        if reason := too_large(frame.width, frame.height):
            raise PictureError(reason)
        return resize(frame, height, width)

    return pixels


def _reason(error: Exception) -> str:
    """Return what FFmpeg said, in one short line."""
    return str(getattr(error, "strerror", None) or error).strip().splitlines()[0].lower()


def _open(path: Path) -> Any:
    import av

    try:
        if path.stat().st_size == 0:
            raise DataError("the file is empty (0 bytes)", source=str(path), remedy=_REPLACE)
        # As a URL of the file protocol, since FFmpeg would read a name like "a:b.mp4" as one of protocol "a"; and no
        # other protocol, since a playlist in disguise could otherwise reach over the network.
        return av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except FileNotFoundError as error:
        raise DataError("no such file", source=str(path), remedy="correct the path") from error
    except UnicodeEncodeError as error:
        raise DataError("the file's name is not valid UTF-8", source=repr(path), remedy="rename the file") from error
    except av.FFmpegError as error:
        message = f"cannot be opened as a video ({_reason(error)})"
        raise DataError(message, source=str(path), remedy=_REPLACE) from error


def _picture_stream(container: Any, path: Path) -> Any:
    """Return the first video stream that is more than the cover of an audio file."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            return stream
    what = "only audio" if container.streams.audio else "nothing that is a picture"
    raise DataError(f"the file has {what} in it, no video", source=str(path), remedy=_REPLACE)
