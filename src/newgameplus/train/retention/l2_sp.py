"""L2-SP: hold all weights of the actor near where they started (Li, Grandvalet and Davoine 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.train.minibatches import Minibatch
from newgameplus.train.retention.term import Keepsakes, Term

__all__ = ["StartPoint"]


class StartPoint(Term):
    """Half the squared distance from the start, over the weights that the actor's answers depend on."""

    #: The method's paper finds 0.01 to 0.1 best on vision; the upper end, because a policy's data drift.
    AUTO = 0.1

    def __init__(self, keepsakes: Keepsakes) -> None:
        super().__init__(keepsakes)
        self.start = [weight.detach().clone() for weight in keepsakes.needs_teacher().actor_parameters()]

    def loss(self, network: PolicyNetwork, _minibatch: Minibatch) -> Tensor:
        """Return half the squared distance."""
        pairs = zip(network.actor_parameters(), self.start, strict=True)
        return 0.5 * torch.stack([(weight - start).square().sum() for weight, start in pairs]).sum()
