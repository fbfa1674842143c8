"""What a span is cut from: a video file or a folder of frames, as pictures in the order of time."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.games.images import PictureError, frame_files, read_image

__all__ = ["Extent", "Footage", "FrameFolder", "Picture"]


@dataclass(frozen=True)
class Picture:
    """One picture of a video.

    Attributes:
        time: Seconds from the start at which it comes on screen.
        pixels: Gives uint8 [height, width, 3] in that size; raises PictureError if the picture is damaged.
    """

    time: float
    pixels: Callable[[int, int], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Extent:
    """How far footage goes.

    Attributes:
        end: Seconds at which the last frame ends.
        frames: Frames that are stored.
        problem: Why the end is not where it should be (the file was cut); empty if it is.
    """

    end: float
    frames: int
    problem: str = ""


class Footage(ABC):
    """Pictures in the order of time. Use as a context manager.

    Attributes:
        width: Columns of pixels.
        height: Rows of pixels.
        frame_rate: Frames per second that are claimed.
        end: Seconds at which the last picture ended; known once ``pictures`` is used up.
        longest_step: Longest time that a picture was on screen.
        broken: Why reading stopped early; empty if it did not.
    """

    width: int
    height: int
    frame_rate: float
    end: float = 0.0
    longest_step: float = 0.0
    broken: str = ""

    @abstractmethod
    def pictures(self, next_time: Callable[[], float]) -> Iterator[Picture]:
        """Yield pictures; those that end before ``next_time()`` may be left out, but not the one on screen then."""

    @abstractmethod
    def extent(self) -> Extent:
        """Return how far the footage goes, without decoding it."""

    def close(self) -> None:
        """Let go of the file."""
        return

    def __enter__(self) -> Footage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def resize(frame: Any, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Scale a PyAV frame by area averaging: uint8 [height, width, 3]. Without
    ``FULL_CHR_H_INT`` colours would be off by up to 50 of 255 where they change."""
    from av.video.reformatter import Interpolation

    flags = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    small = frame.reformat(width=width, height=height, format="rgb24", interpolation=flags)
    pixels: npt.NDArray[np.uint8] = small.to_ndarray()
    return pixels


class FrameFolder(Footage):
    """A folder of frames: frame ``i`` is on screen from ``i / frame_rate`` seconds on."""

    def __init__(self, folder: Path, frame_rate: float) -> None:
        if not (math.isfinite(frame_rate) and frame_rate > 0):
            raise DataError(f"frame rate {frame_rate}", source=str(folder), remedy="give frames per second above 0")
        self._files = frame_files(folder)
        if not self._files:
            remedy = "put png, jpg, bmp or webp pictures into it, or name a video file"
            raise DataError("no frames in this folder", source=str(folder), remedy=remedy)
        self._folder = folder
        self.frame_rate = frame_rate
        self.longest_step = 1 / frame_rate
        self.end = len(self._files) / frame_rate
        self._size: tuple[int, int] | None = None

    @property
    def width(self) -> int:  # type: ignore[override]
        """Columns of the first frame."""
        return self._first_size()[1]

    @property
    def height(self) -> int:  # type: ignore[override]
        """Rows of the first frame."""
        return self._first_size()[0]

    def _first_size(self) -> tuple[int, int]:
        if self._size is None:
            try:
                pixels = read_image(self._files[0])
            except PictureError as error:
                raise DataError(str(error), source=str(self._files[0]), remedy="replace the picture") from error
            self._size = pixels.shape[0], pixels.shape[1]
        return self._size

    def pictures(self, next_time: Callable[[], float]) -> Iterator[Picture]:  # noqa: ARG002 - nothing to skip
        """Yield every frame; a file is only opened when its pixels are asked for."""
        for index, path in enumerate(self._files):
            yield Picture(index / self.frame_rate, functools.partial(_read_resized, path))

    def extent(self) -> Extent:
        """Return how far the frames go."""
        return Extent(self.end, len(self._files))


def _read_resized(path: Path, height: int, width: int) -> npt.NDArray[np.uint8]:
    import av

    try:
        pixels = read_image(path)
    except PictureError as error:
        raise PictureError(f"({path.name}) {error}") from error
    return resize(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"), height, width)
