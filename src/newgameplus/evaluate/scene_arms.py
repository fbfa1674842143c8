"""Ways to make levels, as an evaluation takes them: samples and answers, and what else was measured of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.games.rules.contract import Answer
from newgameplus.games.scenes import Level

__all__ = ["COPY_CHEAT", "SCENE_ARM_TITLES", "ControlTrial", "Delivery", "HeldOutBits", "SceneArm", "TrainingCost"]

COPY_CHEAT = "nearest-copy"
"""The arm that copies: shown beside the others, never what fine-tuning is held against."""

SCENE_ARM_TITLES = {
    "fine-tuned": "fine-tuned",
    "zero-shot": "zero-shot",
    "scratch": "from scratch",
    "markov": "Markov chain",
    "wave-function-collapse": "WFC",
    COPY_CHEAT: "copies (cheat)",
}
"""What people read for the usual arms."""


@dataclass(frozen=True)
class HeldOutBits:
    """How well a model foresees levels that it was not trained on.

    Attributes:
        bits: float64 [held-out levels]: minus the base-2 logarithm of each level's probability.
        tiles: int64 [held-out levels]: tiles of each.
    """

    bits: npt.NDArray[np.float64]
    tiles: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Delivery:
    """What it took to hand out levels that are all solved.

    Attributes:
        asked: Levels wanted.
        delivered: Levels handed out, each solved.
        samples: Whole levels sampled for them.
        repairs: Regions that were made again.
        seconds: Time for all of it.
    """

    asked: int
    delivered: int
    samples: int
    repairs: int
    seconds: float


@dataclass(frozen=True)
class ControlTrial:
    """How well requests were met; one entry a request.

    Attributes:
        exact: Whether every requested measure lay in its range.
        errors: Mean error of the request's measures (see ``scene_metrics.control_error``); None if unknown.
        playable: Whether the level can be played.
    """

    exact: Sequence[bool]
    errors: Sequence[float | None]
    playable: Sequence[bool]


@dataclass(frozen=True)
class TrainingCost:
    """What it took to train.

    Attributes:
        seconds: Time.
        steps: Optimizer steps.
        trainable_parameters: Weights that could move.
    """

    seconds: float
    steps: int
    trainable_parameters: int


@dataclass(frozen=True)
class SceneArm:
    """One way to make levels, with raw samples: none repaired, none thrown away.

    Attributes:
        name: Key, e.g. ``fine-tuned``, ``zero-shot``, ``scratch``, ``markov``.
        title: What people read.
        kind: ``fine-tuned``, ``baseline``, or ``reference`` for levels that are only shown beside the others.
        levels: The samples.
        answers: What the solver says of each.
        missing: Samples that came to nothing; they count as levels that cannot be played.
        seconds: Time to make all samples; None if unknown.
        note: Anything a reader should know.
        bits: On the held-out levels, the same ones for every arm.
        delivery: Of the road from samples to delivered levels, if it was run.
        control: Of requests, if some were made.
        training: If it was trained.
    """

    name: str
    title: str
    kind: Literal["fine-tuned", "baseline", "reference"]
    levels: Sequence[Level]
    answers: Sequence[Answer]
    missing: int = 0
    seconds: float | None = None
    note: str = ""
    bits: HeldOutBits | None = None
    delivery: Delivery | None = None
    control: ControlTrial | None = None
    training: TrainingCost | None = None

    def __post_init__(self) -> None:
        if len(self.levels) != len(self.answers):
            raise DataError(
                f"{len(self.levels)} levels, but {len(self.answers)} answers",
                source=self.name,
                remedy="judge each once",
            )

    @property
    def samples(self) -> int:
        """Samples asked for, those that came to nothing included."""
        return len(self.levels) + self.missing
