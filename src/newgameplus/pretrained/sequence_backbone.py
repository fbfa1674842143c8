"""Backbones of numbers over time: standardize each channel, project, run a body of any kind, pool over the steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.backbone import Backbone
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.structure import block_modules, find_blocks
from newgameplus.shapes import SequenceShape

__all__ = [
    "STEPS",
    "SequenceBackbone",
    "SequenceBody",
    "check_sizes",
    "known_channels",
    "last_of",
    "mean_of",
    "peak_of",
]

STEPS = 64
"""Steps that a sequence is brought to, if nobody says otherwise."""

#: Standardized values are cut off here: one wild number must not drown all others.
_LARGEST = 10.0


class SequenceBody(nn.Module, ABC):
    """What stands between the projected steps and the features."""

    input_dim: int
    feature_dim: int

    @abstractmethod
    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        """Turn float32 [batch, steps, input_dim] into features [batch, feature_dim].

        Args:
            steps: The projected steps.
            mask: float32 [batch, steps]; 1 where there is something, 0 behind the end.
        """


class SequenceBackbone(Backbone):
    """A backbone of numbers over time.

    Args:
        shape: The sequences it takes.
        body: What runs over the projected steps.
        scale: Spread of what the projection gives at first, so that a pretrained body meets what it is used to;
            ``None`` leaves the layer as PyTorch makes it.
    """

    shape: SequenceShape
    mean: Tensor
    spread: Tensor

    def __init__(self, shape: SequenceShape, body: SequenceBody, *, scale: float | None = None) -> None:
        super().__init__()
        self.shape, self.feature_dim = shape, body.feature_dim
        self.register_buffer("mean", torch.zeros(shape.channels))
        self.register_buffer("spread", torch.ones(shape.channels))
        self.projection = nn.Linear(shape.channels + 1, body.input_dim)
        if scale is not None:
            nn.init.normal_(self.projection.weight, std=scale / (shape.channels + 1) ** 0.5)
            nn.init.zeros_(self.projection.bias)
        self.body = body
        was_training = self.training
        self.eval()
        device = self.projection.weight.device
        with torch.no_grad():
            probe = torch.ones(1, *shape.array, device=device)
            self._block_names = find_blocks(self, lambda: self(probe))
        self.train(was_training)

    def standardize(self, sequences: Sequence[npt.NDArray[np.float32]]) -> None:
        """Set mean and spread of each channel, from training sequences only; a channel that stands still keeps 1.

        Args:
            sequences: float32 [steps, channels] each.
        """
        rows = np.concatenate(sequences).astype(np.float64)
        mean, spread = rows.mean(axis=0), rows.std(axis=0)
        moving = spread > 1e-6 * (1.0 + np.abs(mean))
        self.mean.copy_(torch.from_numpy(mean))
        self.spread.copy_(torch.from_numpy(np.where(moving, spread, 1.0)))

    def forward(self, clips: Tensor, shown: Tensor | None = None) -> Tensor:
        """Turn float32 [batch, steps, channels + 1], the last of them a mask, into features [batch, feature_dim].

        Args:
            clips: The sequences.
            shown: float32 [batch, steps]; 1 where the body may look, everywhere by default. A hidden step is still
                there, but says nothing, as a masked token does.
        """
        mask = clips[..., -1]
        seen = mask if shown is None else mask * shown
        steps = torch.cat([self.standardized(clips), seen[..., None]], dim=-1) * seen[..., None]
        features: Tensor = self.body(self.projection(steps), mask)
        return features

    def standardized(self, clips: Tensor) -> Tensor:
        """Return the values of sequences as the body meets them: float32 [batch, steps, channels]."""
        return ((clips[..., :-1] - self.mean) / self.spread).clamp(-_LARGEST, _LARGEST)

    def blocks(self) -> list[nn.Module]:
        """Return the projection and the parts of the body in the order in which data flows through them."""
        return block_modules(self, self._block_names)


def check_sizes(steps: int | None, channels: int | None) -> SequenceShape:
    """Return the shape for the options ``steps`` and ``channels``.

    Raises:
        PretrainedModelError: One of them makes no sense.
    """
    shape = SequenceShape(STEPS if steps is None else steps, 1 if channels is None else channels)
    for name, value, least in (("steps", shape.steps, 2), ("channels", shape.channels, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 100_000:
            remedy = f"give a whole number of {least} or more"
            raise PretrainedModelError(f"{name} is {value!r}", source="pretrained options", remedy=remedy)
    return shape


def known_channels(card: ModelCard) -> tuple[str, ...]:
    """Return the names of the channels that a model was trained on, in their order; empty if it was on none."""
    facts = card.facts
    names = facts.get("channels") or facts.get("architecture", {}).get("facts", {}).get("channels") or ()
    return tuple(str(name) for name in names)


def mean_of(states: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the steps that are there: float32 [batch, width] of [batch, steps, width]."""
    weights = mask[..., None]
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1.0)


def peak_of(states: Tensor, mask: Tensor) -> Tensor:
    """Return the largest value over the steps that are there."""
    return states.masked_fill(mask[..., None] == 0, -1e4).amax(dim=1)


def last_of(states: Tensor, mask: Tensor) -> Tensor:
    """Return the state of the last step that is there: the only one that a causal network saw all of it from."""
    last = (mask.sum(dim=1).long() - 1).clamp_min(0)
    return states[torch.arange(len(states), device=states.device), last]
