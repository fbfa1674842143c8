"""Episodic memory: keep learning from stored expert episodes, the policy and the critic alike.

The policy by the likelihood of stored actions, those that turned out better than expected more (the weights of Peng
et al. 2019, arXiv 1910.00177), the critic by stored returns: demonstrations in the batch as in Rajeswaran et al. 2018,
kept for what was learnt before as in Rolnick et al. 2019 (CLEAR).
"""

from __future__ import annotations

from torch import Tensor

from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.train.advantages import advantage_weights
from newgameplus.train.minibatches import Minibatch
from newgameplus.train.retention.term import Keepsakes, Term
from newgameplus.train.sequences import Sequences

__all__ = ["Memory"]

_LENGTH = 32


class Memory(Term):
    """Expert steps are drawn anew for each minibatch; with memory, in sequences that begin with an empty one."""

    #: A likelihood has no floor at zero as a divergence has: it pulls until the policy is certain, so pull less.
    AUTO = 0.5

    def __init__(self, keepsakes: Keepsakes) -> None:
        super().__init__(keepsakes)
        self.states, self.scale, self.teacher = keepsakes.needs_states(), keepsakes.scale, keepsakes.teacher
        self.sequences: Sequences | None = None

    def loss(self, network: PolicyNetwork, minibatch: Minibatch) -> Tensor:
        """Return the weighted negative log likelihood plus half the squared error of the critic."""
        if self.sequences is None:
            self.sequences = Sequences(self.states, network, _LENGTH if network.memory is not None else 1)
            if self.teacher is not None:
                self.sequences.refresh(self.teacher)
        rows = minibatch.generator.integers(0, len(self.sequences), self.sequences.rows_for(self.settings.batch))
        batch = self.sequences.take(rows)
        answer = batch.ask(network)
        errors = batch.flat("returns") / self.scale.scale - answer.values
        likelihood = answer.distribution.log_prob(batch.flat("actions"))
        return (0.5 * errors.square() - advantage_weights(errors.detach()) * likelihood).mean()
