"""L2-SP: a loss that grows with the distance from the pretrained weights (Li, Grandvalet and Davoine 2018)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["Pull"]


class Pull:
    """Half the squared distance of a backbone's moving weights from where they started, times a strength.

    Args:
        backbone: The backbone; only weights that require gradients count.
        start: Its pretrained weights by name.
        strength: The method's alpha.
    """

    def __init__(self, backbone: nn.Module, start: Mapping[str, Tensor], strength: float) -> None:
        self.strength = strength
        moving = [(name, weight) for name, weight in backbone.named_parameters() if weight.requires_grad]
        self._pairs = [(weight, start[name].to(weight)) for name, weight in moving]

    def loss(self) -> Tensor:
        """Return the scalar that is added to the loss of a batch."""
        return 0.5 * self.strength * torch.stack([(now - then).square().sum() for now, then in self._pairs]).sum()
