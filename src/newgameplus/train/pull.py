"""L2-SP: a loss that grows with the distance from the pretrained weights (Li, Grandvalet and Davoine 2018)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

__all__ = ["Pull"]


class Pull:
    """Half the squared distance of a network's moving weights from where they started, times a strength.

    Args:
        backbone: The network; only weights that require gradients count.
        start: Its pretrained weights by name.
        strength: The method's alpha.
        free: Weights that are new, so that nothing pulls at them.
    """

    def __init__(
        self, backbone: nn.Module, start: Mapping[str, Tensor], strength: float, free: Collection[Tensor] = ()
    ) -> None:
        self.strength = strength
        new = {id(weight) for weight in free}
        named = backbone.named_parameters()
        moving = [(name, weight) for name, weight in named if weight.requires_grad and id(weight) not in new]
        self._pairs = [(weight, start[name].to(weight)) for name, weight in moving]

    def loss(self) -> Tensor:
        """Return the scalar that is added to the loss of a batch."""
        return 0.5 * self.strength * torch.stack([(now - then).square().sum() for now, then in self._pairs]).sum()
