"""Pretraining on numbers over time without labels: hide spans of steps, and rebuild the whole from what is left."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from newgameplus.pretrained.backbone import Backbone
from newgameplus.pretrained.sequence_backbone import SequenceBackbone
from newgameplus.train.selfsupervision import ClipBatch, Objective

__all__ = ["GappedBackbone", "MaskedSteps", "hidden_spans"]


class GappedBackbone(Backbone):
    """A backbone of sequences that is told in a further channel which steps it may look at.

    Args:
        backbone: Whose weights are used, and trained.
    """

    def __init__(self, backbone: SequenceBackbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.shape, self.feature_dim = backbone.shape, backbone.feature_dim

    def forward(self, clips: Tensor) -> Tensor:
        """Turn float32 [batch, steps, channels + 2], the last two the mask and what is shown, into features."""
        features: Tensor = self.backbone(clips[..., :-1], clips[..., -1])
        return features

    def blocks(self) -> list[nn.Module]:
        """Return the backbone's blocks."""
        return self.backbone.blocks()


class MaskedSteps(Objective):
    """Rebuild a sequence from the features of one of which spans of steps are hidden.

    Hidden are spans of random lengths, as in Zerveas et al. 2021 (arXiv 2010.02803, section 3.2), with all channels of
    a step together. They are filled in from the *features* and the number of the step, as an autoencoder does, not
    from states of single steps: features are what fine-tuning builds upon, and so every backbone can learn it, whether
    it reads both ways or only back. The loss is the mean squared error of the standardized values.

    Args:
        backbone: What learns (wrapped in a :class:`GappedBackbone`), for its standardization.
        generator: Source of what is hidden.
        share: Share of the steps that is hidden, about.
        span: Mean length of a hidden span, in steps.
        width: Width of the decoder.
    """

    name = "masked-steps"
    _PLACE_WIDTH = 32

    def __init__(
        self,
        backbone: SequenceBackbone,
        generator: torch.Generator,
        share: float = 0.3,
        span: float = 4.0,
        width: int = 128,
    ) -> None:
        super().__init__()
        shape = backbone.shape
        self.places = nn.Parameter(0.1 * torch.randn(shape.steps, self._PLACE_WIDTH))
        self.head = nn.Sequential(
            nn.Linear(backbone.feature_dim + self._PLACE_WIDTH, width), nn.GELU(), nn.Linear(width, shape.channels)
        )
        self._standardized = backbone.standardized
        self._generator, self._share, self._span = generator, share, span

    def loss(self, backbone: nn.Module, batch: ClipBatch) -> Tensor:
        """Return the mean squared error of all values.

        Args:
            backbone: A :class:`GappedBackbone`.
            batch: Its clips are sequences: float32 [batch, steps, channels + 1].
        """
        sequences = batch.clips
        hidden = hidden_spans(sequences[..., -1], self._share, self._span, self._generator)
        features = backbone(torch.cat([sequences, (~hidden).float()[..., None]], dim=-1))
        places = self.places.expand(len(sequences), -1, -1)
        asked = torch.cat([features[:, None].expand(-1, places.shape[1], -1), places], dim=-1)
        rebuilt = self.head(asked).float()
        sequences = sequences.to(rebuilt.device)
        there = sequences[..., -1] > 0
        loss: Tensor = (rebuilt - self._standardized(sequences))[there].square().mean()
        return loss


def hidden_spans(mask: Tensor, share: float, span: float, generator: torch.Generator) -> Tensor:
    """Choose which steps to hide: spans of random lengths, geometrically distributed, and the gaps between them too.

    Args:
        mask: float32 [batch, steps]; 1 where there is something.
        share: Share of the steps that is hidden, on average.
        span: Mean length of a hidden span, in steps.
        generator: Source of randomness.

    Returns:
        bool [batch, steps]; at least one step of every sequence that has any, and of two or more steps never all.
    """
    batch, steps = mask.shape
    ends, begins = 1.0 / span, share / (span * (1.0 - share))
    drawn = torch.rand(batch, steps, generator=generator)
    hides = drawn[:, 0] < share
    columns = [hides]
    for step in range(1, steps):
        hides = torch.where(hides, drawn[:, step] >= ends, drawn[:, step] < begins)
        columns.append(hides)
    there = mask > 0
    hidden = torch.stack(columns, dim=1) & there
    lengths = there.sum(dim=1)
    place = (torch.rand(batch, generator=generator) * lengths).long()
    one = (torch.arange(steps) == place[:, None]) & there
    none, everything = ~hidden.any(dim=1), (hidden.sum(dim=1) == lengths) & (lengths > 1)
    hidden = torch.where(none[:, None], one, hidden)
    return torch.where(everything[:, None], hidden & ~one, hidden)
