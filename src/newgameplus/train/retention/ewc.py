"""Elastic weight consolidation: hold weights by how much they matter to the start policy (Kirkpatrick et al. 2017)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from newgameplus.games.episodes import StepTable
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.train.minibatches import Minibatch
from newgameplus.train.retention.term import Keepsakes, Term
from newgameplus.train.sequences import Sequences

__all__ = ["ElasticWeights", "fisher_diagonal"]

_GROUP = 8
_MOST_GROUPS = 1000


class ElasticWeights(Term):
    """Half the squared distance from the start, each weight times its Fisher information.

    Up to second order, with what is off the diagonal left out, that is KL(start || policy) on the expert states.
    """

    #: As cloning's, and somewhat more: the diagonal leaves out part of the divergence, and more of it the farther the
    #: weights have gone. On AppleRetrieval 1 forgets, and 10 learns nothing new any more.
    AUTO = 3.0

    def __init__(self, keepsakes: Keepsakes) -> None:
        super().__init__(keepsakes)
        teacher, states = keepsakes.needs_teacher(), keepsakes.needs_states()
        self.start = [weight.detach().clone() for weight in teacher.actor_parameters()]
        self.fisher = fisher_diagonal(teacher, states, keepsakes.seed)

    def loss(self, network: PolicyNetwork, _minibatch: Minibatch) -> Tensor:
        """Return half the weighted squared distance, in nats."""
        held = [
            (fisher * (weight - start).square()).sum()
            for weight, start, fisher in zip(network.actor_parameters(), self.start, self.fisher, strict=True)
        ]
        return 0.5 * torch.stack(held).sum()


def fisher_diagonal(network: PolicyNetwork, states: StepTable, seed: int) -> list[Tensor]:
    """Return the diagonal of the Fisher information of each of the actor's weights, mean over states.

    Actions are drawn from the policy (the true Fisher, not the empirical one of the stored actions; Kunstner et al.
    2019). Scores of different steps are independent and of mean zero, so the square of their sum over a group is an
    unbiased estimate of the sum of their squares: one backward pass serves a whole group, or sequence.

    Args:
        network: The policy; its gradients are left empty.
        states: Where it is asked.
        seed: Seed of the drawn actions and of which states are taken, if there are many.
    """
    weights = network.actor_parameters()
    recurrent = network.memory is not None
    sequences = Sequences(states, network, length=32 if recurrent else 1)
    sequences.refresh(network)
    group = 1 if recurrent else _GROUP
    generator = np.random.default_rng([seed, 7])
    noise = torch.Generator().manual_seed(seed)
    order = generator.permutation(len(sequences))
    groups = max(1, min(_MOST_GROUPS, len(order) // group))
    fisher = [torch.zeros_like(weight) for weight in weights]
    wanted = [weight.requires_grad for weight in weights]
    for weight in weights:
        weight.requires_grad_(True)
    steps = 0
    for rows in np.array_split(order[: groups * group], groups):
        batch = sequences.take(rows)
        distribution = batch.ask(network).distribution
        with torch.no_grad():
            drawn = distribution.sample(noise)
        scores = torch.autograd.grad(distribution.log_prob(drawn).sum(), weights, allow_unused=True)
        steps += len(distribution.answer)
        for total, score in zip(fisher, scores, strict=True):
            if score is not None:
                total += score.square()
    for weight, before in zip(weights, wanted, strict=True):
        weight.requires_grad_(before)
    return [total / steps for total in fisher]
