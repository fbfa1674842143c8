"""Kickstarting: stay near the start policy where the policy itself goes (Schmitt et al. 2018).

KL(teacher || student) on own rollouts, as in Wolczyk et al. 2024 (arXiv 2402.02868). It cannot protect what the policy
no longer visits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from newgameplus.pretrained.action_distribution import ActionDistribution
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.train.minibatches import Minibatch
from newgameplus.train.retention.term import Keepsakes, Term
from newgameplus.train.rollout import Rollout

__all__ = ["Kickstarting"]

_COLUMN = "kickstarting"


class Kickstarting(Term):
    """The teacher is asked once a rollout; a teacher with memory remembers across rollouts."""

    #: Advantages have unit variance, so a weight of 1 lets an average advantage buy about one nat of divergence; half
    #: of that leaves room to learn, as the published coefficients do.
    AUTO = 0.5

    def __init__(self, keepsakes: Keepsakes) -> None:
        super().__init__(keepsakes)
        self.teacher = keepsakes.needs_teacher()
        self.state: Tensor | None = None

    def restart(self, count: int) -> None:
        """Let the teacher forget what went before."""
        self.state = self.teacher.initial_state(count)

    @torch.no_grad()
    def columns(self, rollout: Rollout) -> dict[str, Tensor]:
        """Return the teacher's logits or means, float32 [steps, environments, width]."""
        device = self.teacher.actor_head.weight.device
        steps, count = rollout.steps, rollout.rewards.shape[1]
        state = self.teacher.initial_state(count) if self.state is None else self.state
        seen = {name: torch.as_tensor(values[:steps], device=device) for name, values in rollout.observations.items()}
        starts = torch.as_tensor(rollout.starts[:steps], device=device)
        masks = None if rollout.masks is None else torch.as_tensor(rollout.masks[:steps], device=device)
        answer = self.teacher.unroll(seen, state, starts, masks)
        self.state = answer.state
        return {_COLUMN: answer.distribution.answer.view(steps, count, -1)}

    def loss(self, network: PolicyNetwork, minibatch: Minibatch) -> Tensor:
        """Return the mean divergence in nats."""
        mine = (minibatch.answer or minibatch.ask(network)).distribution
        teacher = ActionDistribution(mine.spec, minibatch.flat(_COLUMN), self.teacher.log_scale, mine.mask)
        return teacher.divergence_to(mine).mean()
