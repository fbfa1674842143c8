"""Behavior cloning beside reinforcement learning: stay near the start policy on stored expert states.

KL(teacher || student) there, as in Wolczyk et al. 2024 (arXiv 2402.02868), or without a teacher the likelihood of what
the demonstrators did (Rajeswaran et al. 2018). It protects what the policy does not visit any more.
"""

from __future__ import annotations

from torch import Tensor

from newgameplus.pretrained.action_distribution import ActionDistribution
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.train.minibatches import Minibatch
from newgameplus.train.retention.term import Keepsakes, Term
from newgameplus.train.sequences import Sequences

__all__ = ["Cloning"]

_COLUMN = "teacher"
_LENGTH = 32


class Cloning(Term):
    """Expert states are drawn anew for each minibatch; with memory, in sequences from the teacher's own memory."""

    #: A tenth of an average advantage: on two games (docs/benchmarks/retention.md) .1, .3 and 1 all kept more than 90 %
    #: of what was known, and the more the term weighed, the less was learnt of the new.
    AUTO = 0.1

    def __init__(self, keepsakes: Keepsakes) -> None:
        super().__init__(keepsakes)
        self.states, self.teacher = keepsakes.needs_states(), keepsakes.teacher
        self.sequences = None if self.teacher is None else self._sequences(self.teacher)

    def _sequences(self, network: PolicyNetwork) -> Sequences:
        sequences = Sequences(self.states, network, _LENGTH if network.memory is not None else 1)
        sequences.refresh(network)
        if self.teacher is not None:
            sequences.add(_COLUMN, sequences.ask(self.teacher))
        return sequences

    def loss(self, network: PolicyNetwork, minibatch: Minibatch) -> Tensor:
        """Return the mean divergence, or the negative log likelihood, in nats."""
        if self.sequences is None:
            self.sequences = self._sequences(network)
        rows = minibatch.generator.integers(0, len(self.sequences), self.sequences.rows_for(self.settings.batch))
        batch = self.sequences.take(rows)
        mine = batch.ask(network).distribution
        if self.teacher is None:
            return -mine.log_prob(batch.flat("actions")).mean()
        teacher = ActionDistribution(mine.spec, batch.flat(_COLUMN), self.teacher.log_scale, mine.mask)
        return teacher.divergence_to(mine).mean()
