"""What a retention term is, and what it is made from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from newgameplus.errors import TrainingError
from newgameplus.games.episodes import StepTable
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.recipe_agent import RetentionTerm
from newgameplus.train.advantages import ReturnScale
from newgameplus.train.minibatches import Minibatch
from newgameplus.train.rollout import Rollout

__all__ = ["Keepsakes", "Term"]


@dataclass(frozen=True, eq=False)
class Keepsakes:
    """What there is to remember by.

    Attributes:
        settings: The recipe's line for the term.
        teacher: Frozen copy of the start policy; None if there is nothing to keep of it (a fresh start).
        states: Expert states with actions and returns; None if there are none.
        scale: Scale of the rewards, for terms that teach the critic.
        seed: Seed of everything random in the term.
    """

    settings: RetentionTerm
    teacher: PolicyNetwork | None
    states: StepTable | None
    scale: ReturnScale
    seed: int

    def needs_teacher(self) -> PolicyNetwork:
        """Return the teacher.

        Raises:
            TrainingError: There is none.
        """
        if self.teacher is None:
            remedy = "start from a policy (model.start), or use cloning or memory with demonstrations"
            raise TrainingError(
                f"{self.settings.kind} holds on to the start policy, and a fresh start knows nothing",
                source="retention.terms",
                remedy=remedy,
            )
        return self.teacher

    def needs_states(self) -> StepTable:
        """Return the expert states.

        Raises:
            TrainingError: There are none.
        """
        if self.states is None or len(self.states) == 0:
            remedy = "give demonstrations (data.path), or the game that the start policy was made for, to play it"
            raise TrainingError(
                f"{self.settings.kind} needs expert states, and there are none", source="retention.terms", remedy=remedy
            )
        return self.states


class Term:
    """Something that is added to the loss of each minibatch, times a weight.

    Attributes:
        AUTO: Weight that ``auto`` stands for.
    """

    AUTO = 1.0

    def __init__(self, keepsakes: Keepsakes) -> None:
        self.settings, self.seed = keepsakes.settings, keepsakes.seed

    def restart(self, count: int) -> None:
        """Environments begin anew: forget what went before."""

    @torch.no_grad()
    def columns(self, _rollout: Rollout) -> dict[str, Tensor]:
        """Return what :meth:`loss` needs of each step of a rollout, [steps, environments, ...]; made once a rollout."""
        return {}

    def loss(self, network: PolicyNetwork, minibatch: Minibatch) -> Tensor:
        """Return a scalar.

        Args:
            network: The policy that learns.
            minibatch: Steps of its own, with its ``answer`` to them.
        """
        raise NotImplementedError

    def weight(self, progress: float) -> float:
        """Return the weight when a share ``progress`` (0..1) of the steps is done."""
        settings = self.settings
        first = self.AUTO if settings.weight == "auto" else settings.weight
        if settings.schedule == "constant":
            return first
        share = progress / max(settings.until, 1e-9)
        return first * (max(0.0, 1.0 - share) if settings.schedule == "linear" else float(0.01**share))
