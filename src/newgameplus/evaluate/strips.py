"""Strips: the frames of one clip side by side as one small picture, so that a person sees what the model saw."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.evaluate.line_plots import line_plot
from newgameplus.shapes import Predictions

__all__ = ["Strip", "choose_strips", "make_strips", "strip_png"]

_MOST_FRAMES = 6
_LARGEST_SIDE = 96
_GAP = 2


@dataclass(frozen=True)
class Strip:
    """One answered clip and its frames, or sequence and its numbers.

    Attributes:
        frames: uint8 [frames, height, width, channels], 1 or 3 channels; or float32 [steps, channels + 1], the last
            channel a mask.
        truth: Name of the true class.
        predicted: Name of the predicted class.
        probability: Probability that the model gave its prediction, 0..1.
        clip: Identity of the clip.
        names: Names of the channels of a sequence.
    """

    frames: npt.NDArray[Any]
    truth: str
    predicted: str
    probability: float
    clip: str
    names: tuple[str, ...] = ()

    @property
    def length(self) -> str:
        """How long it is, in words."""
        return f"{len(self.frames)} {'steps' if self.frames.ndim == 2 else 'frames'}"

    @property
    def picture(self) -> str:
        """What a person sees of it, as the address of a picture."""
        return line_plot(self.frames, self.names) if self.frames.ndim == 2 else strip_png(self.frames)

    @property
    def right(self) -> bool:
        """Whether the prediction is the truth."""
        return self.truth == self.predicted


def choose_strips(predictions: Predictions, *, wrong: int = 12, right: int = 8) -> npt.NDArray[np.int64]:
    """Choose clips worth a look: the surest mistakes, one of each kind before a second, and sure right answers.

    Args:
        predictions: Answers beside the truth.
        wrong: How many mistakes at most; the commonest kind of mistake (truth, prediction) comes first.
        right: How many right answers at most; one of each class before a second.

    Returns:
        int64 [chosen] indices of clips, mistakes first; the same for the same predictions.
    """
    answers, targets = predictions.predicted, predictions.targets
    kinds = targets * len(predictions.labels) + answers
    confidence = predictions.probabilities.max(axis=1)
    chosen: list[int] = []
    for mask, most in ((answers != targets, wrong), (answers == targets, right)):
        chosen += _one_of_each(np.flatnonzero(mask), kinds, confidence)[:most]
    return np.array(chosen, dtype=np.int64)


def _one_of_each(
    clips: npt.NDArray[np.int64], kinds: npt.NDArray[np.int64], confidence: npt.NDArray[np.float64]
) -> list[int]:
    """Order clips so that each kind has its surest one before any has its second; common kinds come first."""
    by_kind: dict[int, list[int]] = {}
    for clip in sorted(clips.tolist(), key=lambda index: (-confidence[index], index)):
        by_kind.setdefault(int(kinds[clip]), []).append(clip)
    ordered = sorted(by_kind.items(), key=lambda item: (-len(item[1]), item[0]))
    rounds = max(map(len, by_kind.values()), default=0)
    return [members[turn] for turn in range(rounds) for _, members in ordered if turn < len(members)]


def make_strips(
    predictions: Predictions, frames: Any, *, wrong: int = 12, right: int = 8, names: tuple[str, ...] = ()
) -> list[Strip]:
    """Choose clips and read their frames.

    Args:
        predictions: Answers beside the truth.
        frames: Anything that gives uint8 [frames, height, width, channels] for the index of a clip in ``predictions``,
            such as an array or a memory map of all test clips; or float32 [steps, channels + 1] for sequences.
        wrong: How many mistakes at most.
        right: How many right answers at most.
        names: Names of the channels of sequences.
    """
    return [
        Strip(
            np.asarray(frames[index]),
            predictions.labels[predictions.targets[index]],
            predictions.labels[predictions.predicted[index]],
            float(predictions.probabilities[index].max()),
            predictions.clips[index],
            names,
        )
        for index in choose_strips(predictions, wrong=wrong, right=right).tolist()
    ]


def strip_png(frames: npt.NDArray[np.uint8]) -> str:
    """Draw frames side by side.

    Args:
        frames: uint8 [frames, height, width, channels]; of more than 6 frames 6 are taken, evenly in time; frames with
            a side over 96 pixels are shrunk.

    Returns:
        The picture as a ``data:image/png`` address.
    """
    from PIL import Image

    taken = frames[np.linspace(0, len(frames) - 1, min(len(frames), _MOST_FRAMES)).round().astype(int)]
    pictures = [Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame[..., :3]) for frame in taken]
    scale = min(1.0, _LARGEST_SIDE / max(pictures[0].size))
    width, height = (max(1, round(side * scale)) for side in pictures[0].size)
    strip = Image.new(pictures[0].mode, ((width + _GAP) * len(pictures) - _GAP, height), "gray")
    for place, picture in enumerate(pictures):
        strip.paste(picture.resize((width, height), Image.Resampling.BOX), (place * (width + _GAP), 0))
    if strip.mode == "RGB":  # 256 well-chosen colours look the same at this size and take a third of the bytes
        strip = strip.quantize(256, dither=Image.Dither.NONE)
    content = io.BytesIO()
    strip.save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode("ascii")
