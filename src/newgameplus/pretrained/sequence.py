"""Small networks for numbers over time, from random weights: a start for whoever has no pretrained body.

``sequence:gru`` is a recurrent network (Cho et al. 2014, arXiv 1406.1078) that reads both ways; ``sequence:cnn`` has
four convolutions over time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.backbone import PretrainedModel
from newgameplus.pretrained.card import ModelCard
from newgameplus.pretrained.sequence_backbone import SequenceBackbone, SequenceBody, check_sizes, mean_of, peak_of

__all__ = ["NETWORKS", "cards", "describe", "load", "rebuild"]

_WIDTH = 64


class _Recurrent(SequenceBody):
    """A gated recurrent network that reads both ways; features are the mean and the peak of its states."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input_dim, self.feature_dim = width, 4 * width
        self.layers = nn.ModuleList([nn.GRU(width, width, batch_first=True, bidirectional=True)])

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        states, _ = self.layers[0](torch.relu(steps))
        return torch.cat([mean_of(states, mask), peak_of(states, mask)], dim=1)


class _Convolutional(SequenceBody):
    """Convolutions over time with growing reach; features are the mean and the peak of what they give."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input_dim, self.feature_dim = width, 2 * width
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width, width, 3, padding=2**layer, dilation=2**layer), nn.GroupNorm(1, width))
            for layer in range(4)
        )

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        there = mask[:, None]
        states = steps.transpose(1, 2) * there
        for layer in self.layers:
            states = (states + torch.relu(layer(states))) * there
        states = states.transpose(1, 2)
        return torch.cat([mean_of(states, mask), peak_of(states, mask)], dim=1)


NETWORKS: dict[str, Callable[[int], SequenceBody]] = {"gru": _Recurrent, "cnn": _Convolutional}
"""The networks by name, each made of a width."""


def load(
    name: str,
    *,
    fresh: bool = False,  # noqa: ARG001 - there are no other weights than random ones
    steps: int | None = None,
    channels: int | None = None,
    width: int = _WIDTH,
) -> PretrainedModel:
    """Make a small network for sequences, with random weights from torch's global random state.

    Args:
        name: ``gru`` or ``cnn``.
        fresh: Changes nothing.
        steps: Steps that sequences are brought to; 64 by default.
        channels: Numbers at each step; the scenario sets it to what the data have.
        width: Width of the layers.

    Raises:
        PretrainedModelError: There is no such network, or a size makes no sense.
    """
    if name not in NETWORKS:
        remedy = f"known: {', '.join(f'sequence:{known}' for known in NETWORKS)}"
        raise PretrainedModelError(f"no network for sequences is called {name!r}", source="pretrained", remedy=remedy)
    if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= 4096:
        remedy = "give a whole number from 1 to 4096"
        raise PretrainedModelError(f"width is {width!r}", source="pretrained options", remedy=remedy)
    shape = check_sizes(steps, channels)
    backbone = SequenceBackbone(shape, NETWORKS[name](width)).eval()
    card = ModelCard(
        name=f"sequence:{name}",
        family=f"sequence-{name}",
        modality="sequence",
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        feature_dim=backbone.feature_dim,
        shape=shape,
        license="MIT",
        description="Random weights: nothing was learned yet.",
        facts={"width": width},
    )
    return PretrainedModel(card, backbone)


def describe(name: str, *, steps: int | None = None, channels: int | None = None, width: int = _WIDTH) -> ModelCard:
    """Return the card of a network; see :func:`load`."""
    with torch.random.fork_rng(devices=[]):
        return load(name, steps=steps, channels=channels, width=width).card


def rebuild(card: ModelCard) -> PretrainedModel:
    """Build the network of a card, with random weights."""
    name = card.name.partition(":")[2]
    shape = card.shape
    built = load(name, steps=shape.steps, channels=shape.channels, width=int(card.facts.get("width", _WIDTH)))
    return PretrainedModel(card, built.backbone)


def cards() -> list[ModelCard]:
    """Return nothing: these networks have learned nothing that a list of pretrained models could offer."""
    return []
