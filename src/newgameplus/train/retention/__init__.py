"""What keeps a policy from forgetting: one file a term; terms add up.

A term is a class made from :class:`newgameplus.train.retention.term.Keepsakes`; one file and one line here add one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from newgameplus.errors import RecipeError
from newgameplus.games.episodes import StepTable
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.recipe_agent import RetentionTerm
from newgameplus.train.advantages import ReturnScale
from newgameplus.train.minibatches import Minibatch
from newgameplus.train.policy_update import WeightedTerm
from newgameplus.train.retention.cloning import Cloning
from newgameplus.train.retention.ewc import ElasticWeights
from newgameplus.train.retention.kickstarting import Kickstarting
from newgameplus.train.retention.l2_sp import StartPoint
from newgameplus.train.retention.memory import Memory
from newgameplus.train.retention.term import Keepsakes, Term
from newgameplus.train.rollout import Rollout

__all__ = ["RETENTION", "Retention", "build_retention"]

#: Kinds of terms by the name that a recipe uses.
RETENTION: Mapping[str, type[Term]] = MappingProxyType(
    {
        "kickstarting": Kickstarting,
        "cloning": Cloning,
        "ewc": ElasticWeights,
        "l2-sp": StartPoint,
        "memory": Memory,
    }
)


class Retention:
    """The terms of one training.

    Args:
        terms: In the order of the recipe.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = {_name(term, number, terms): term for number, term in enumerate(terms)}

    def restart(self, count: int) -> None:
        """Environments begin anew."""
        for term in self.terms.values():
            term.restart(count)

    @torch.no_grad()
    def columns(self, rollout: Rollout, batch: Minibatch) -> dict[str, Tensor]:
        """Return what the terms need of each step, laid out as the batch is."""
        found: dict[str, Tensor] = {}
        for term in self.terms.values():
            found |= term.columns(rollout)
        return found if batch.state is not None else {name: values.flatten(0, 1) for name, values in found.items()}

    def weighted(self, progress: float) -> dict[str, WeightedTerm]:
        """Return each term's weight now, with its loss."""
        return {name: (term.weight(progress), term.loss) for name, term in self.terms.items()}


def _name(term: Term, number: int, terms: Sequence[Term]) -> str:
    kind = term.settings.kind
    same = sum(other.settings.kind == kind for other in terms)
    return kind if same == 1 else f"{kind}-{number + 1}"


def build_retention(
    terms: Sequence[RetentionTerm],
    teacher: PolicyNetwork | None,
    states: StepTable | None,
    scale: ReturnScale,
    seed: int,
) -> Retention:
    """Make the terms that a recipe names.

    Args:
        terms: The recipe's ``retention.terms``.
        teacher: Frozen copy of the start policy; None if there is nothing to keep of it.
        states: Expert states; None if there are none.
        scale: Scale of the rewards.
        seed: Seed of everything random in them.

    Raises:
        RecipeError: A kind is unknown.
        TrainingError: A term lacks what it needs.
    """
    unknown = [term.kind for term in terms if term.kind not in RETENTION]
    if unknown:
        raise RecipeError(
            f"unknown kind of retention: {unknown[0]!r}",
            source="retention.terms",
            remedy=f"use one of {', '.join(RETENTION)}",
        )
    return Retention([RETENTION[term.kind](Keepsakes(term, teacher, states, scale, seed)) for term in terms])
