"""One update of a policy from one rollout: proximal policy optimization (Schulman et al. 2017), for fine-tuning.

Actor (with all it shares) and critic have their own rates and their own gradient clipping, so that a critic that is
still wrong about a new game does not drown the policy; see Huang et al. 2022 for the details that matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from newgameplus.errors import DivergedError
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.recipe_agent import AgentTrainSettings
from newgameplus.train.flat_adam import FlatAdam
from newgameplus.train.minibatches import Minibatch

__all__ = ["UpdateStatistics", "WeightedTerm", "moving_parameters", "policy_optimizer", "update_policy"]

WeightedTerm = tuple[float, Callable[[PolicyNetwork, Minibatch], Tensor]]
"""Weight of a retention term now, and its loss."""
_REMEDY = "lower train.learning_rate and train.critic_learning_rate (try a tenth), or the weights of retention"


@dataclass(frozen=True)
class UpdateStatistics:
    """Means over the minibatches of an update.

    Attributes:
        policy_loss: Clipped objective, times -1.
        value_loss: Squared error of the critic, in scaled rewards.
        entropy: In nats.
        kl: Divergence of the policy from the rollout's, in nats, at the last minibatch.
        clipped: Share of the steps whose ratio was clipped.
        epochs: Epochs done, the one that was stopped included.
        terms: Mean of each retention term, before its weight.
    """

    policy_loss: float
    value_loss: float
    entropy: float
    kl: float
    clipped: float
    epochs: int
    terms: Mapping[str, float]


def moving_parameters(
    network: PolicyNetwork, strategy: str, *, critic_only: bool
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Let gradients reach what may move, and nothing else; return the actor's (with all it shares) and the critic's.

    Args:
        network: The policy.
        strategy: ``full``, ``frozen-encoder`` (the encoders stay as they are), or ``heads`` (the last layers move).
        critic_only: Keep everything that the policy's answers depend on as it is.
    """
    critics = network.critic_parameters()
    actors = network.actor_parameters()
    if strategy == "frozen-encoder":
        still = {id(weight) for weight in (*network.encoders.parameters(), *network.critic_encoders.parameters())}
        actors, critics = ([w for w in weights if id(w) not in still] for weights in (actors, critics))
    elif strategy == "heads":
        actors, critics = list(network.actor_head.parameters()), list(network.critic_head.parameters())
        actors += [] if network.log_scale is None else [network.log_scale]
    network.requires_grad_(False)
    for weight in critics if critic_only else [*actors, *critics]:
        weight.requires_grad_(True)
        weight.grad = None
    for weight in actors if critic_only else ():
        weight.grad = None
    return actors, critics


def policy_optimizer(actors: list[nn.Parameter], critics: list[nn.Parameter], settings: AgentTrainSettings) -> FlatAdam:
    """Return Adam with the two rates; each group keeps its peak in ``peak``."""
    rates = ((actors, settings.learning_rate), (critics, settings.critic_learning_rate))
    groups = [{"params": weights, "lr": rate, "peak": rate} for weights, rate in rates if weights]
    return FlatAdam(groups)


def update_policy(
    network: PolicyNetwork,
    optimizer: FlatAdam,
    batch: Minibatch,
    settings: AgentTrainSettings,
    *,
    seeds: Sequence[int],
    entropy: float = 0.0,
    terms: Mapping[str, WeightedTerm] | None = None,
    critic_only: bool = False,
) -> UpdateStatistics:
    """Learn from a rollout.

    Args:
        network: The policy, with gradients where they may go (:func:`moving_parameters`).
        optimizer: Of :func:`policy_optimizer`.
        batch: The rollout.
        settings: The recipe's ``train``.
        seeds: What the order of steps and all draws are a function of: seed, arm, update.
        entropy: Weight of the bonus for staying undecided.
        terms: Retention terms by name, each with its weight now.
        critic_only: Leave the policy as it is.

    Raises:
        DivergedError: A loss or gradient is not finite.
    """
    rows = 1 if batch.state is None else batch.columns["actions"].shape[0]
    pieces = max(1, -(-len(batch) * rows // settings.batch_size))
    pieces = min(pieces, len(batch))
    sums = _Sums()
    active = {} if critic_only else {name: pair for name, pair in (terms or {}).items() if pair[0] > 0.0}
    for epoch in range(settings.epochs):
        sums.epochs = epoch + 1
        order = np.random.default_rng([*seeds, epoch]).permutation(len(batch))
        shuffled = batch.take(torch.as_tensor(order, device=batch.columns["actions"].device))
        for number, minibatch in enumerate(shuffled.split(pieces)):
            minibatch.generator = np.random.default_rng([*seeds, epoch, number])
            loss = (
                _critic_loss(network, minibatch, settings, sums)
                if critic_only
                else _whole_loss(network, minibatch, settings, entropy, active, sums)
            )
            if not critic_only and settings.kl_stop is not None and sums.kl > settings.kl_stop:
                return sums.means()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if not optimizer.descend(settings.gradient_clip):
                cause = "a gradient" if bool(torch.isfinite(loss)) else "the loss"
                raise DivergedError(f"{cause} is not finite any more", source="train", remedy=_REMEDY)
    return sums.means()


class _Sums:
    """Statistics under way; tensors are read once an update, for each reading waits for the device."""

    def __init__(self) -> None:
        self.rows: list[tuple[Tensor, ...]] = []
        self.terms: dict[str, list[Tensor]] = {}
        self.kl = 0.0
        self.epochs = 0

    def means(self) -> UpdateStatistics:
        columns = [float(torch.stack(column).mean()) for column in zip(*self.rows, strict=True)]
        terms = {name: float(torch.stack(values).mean()) for name, values in self.terms.items()}
        policy, value, entropy, clipped = columns
        return UpdateStatistics(policy, value, entropy, self.kl, clipped, self.epochs, terms)


def _value_loss(values: Tensor, minibatch: Minibatch, settings: AgentTrainSettings) -> Tensor:
    returns = minibatch.flat("returns")
    errors = (values - returns).square()
    if settings.value_clip is not None:
        old = minibatch.flat("values")
        near = old + (values - old).clamp(-settings.value_clip, settings.value_clip)
        errors = torch.maximum(errors, (near - returns).square())
    return errors.mean()


def _critic_loss(network: PolicyNetwork, minibatch: Minibatch, settings: AgentTrainSettings, sums: _Sums) -> Tensor:
    loss = _value_loss(minibatch.ask(network).values, minibatch, settings)
    nothing = loss.new_zeros(())
    sums.rows.append((nothing, loss.detach(), nothing, nothing))
    return settings.value_weight * loss


def _normalized(advantages: Tensor) -> Tensor:
    """Zero mean and unit variance; as they are where there are too few, or no differences, to say what that means."""
    if advantages.numel() < 2:
        return advantages
    deviation, mean = torch.std_mean(advantages)
    return (advantages - mean) / (deviation + 1e-8)


def _whole_loss(
    network: PolicyNetwork,
    minibatch: Minibatch,
    settings: AgentTrainSettings,
    entropy_weight: float,
    terms: Mapping[str, WeightedTerm],
    sums: _Sums,
) -> Tensor:
    answer = minibatch.ask(network)
    advantages = minibatch.flat("advantages")
    if settings.normalize_advantages:
        advantages = _normalized(advantages)
    change = answer.distribution.log_prob(minibatch.flat("actions")) - minibatch.flat("log_probs")
    ratio = change.exp()
    near = ratio.clamp(1.0 - settings.clip, 1.0 + settings.clip)
    policy = -torch.minimum(ratio * advantages, near * advantages).mean()
    value = _value_loss(answer.values, minibatch, settings)
    with torch.set_grad_enabled(entropy_weight > 0.0):
        entropy = answer.distribution.entropy().mean()
    loss = torch.add(policy, value, alpha=settings.value_weight)
    if entropy_weight:
        loss = torch.sub(loss, entropy, alpha=entropy_weight)
    with torch.no_grad():
        # Schulman 2020, "Approximating KL divergence": unbiased, never negative.
        sums.kl = float((ratio - 1.0 - change).mean())
        sums.rows.append((policy.detach(), value.detach(), entropy.detach(), (ratio != near).float().mean()))
    for name, (weight, term) in terms.items():
        held = term(network, minibatch)
        sums.terms.setdefault(name, []).append(held.detach())
        loss = loss + weight * held
    return loss
