"""A policy: from what is seen to a distribution over actions and a value; feed-forward or recurrent.

Every source of policies, cloning, policy optimization and surgery work on this one network, so its parts have fixed
names: ``normalizer``, ``encoders``, ``trunk``, ``memory``, ``actor``, ``actor_head``, ``critic_encoders``,
``critic_trunk``, ``critic``, ``critic_head``, ``log_scale``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from newgameplus.pretrained.action_distribution import ActionDistribution
from newgameplus.pretrained.layer_chain import LayerChain
from newgameplus.pretrained.policy_encoders import Encoder, make_encoder
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ObservationSpec

__all__ = ["Normalizer", "PolicyAnswer", "PolicyNetwork"]

_CLIP = 10.0
# Fewer steps than this are taken one by one.
_STRETCH = 4
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


@dataclass(eq=False)
class PolicyAnswer:
    """What a policy answers for a batch.

    Attributes:
        distribution: Over actions.
        values: float32 [batch]: expected sum of discounted (normalized) rewards.
        state: float32 [environments, state_width]: memory after the step; of width 0 without one.
    """

    distribution: ActionDistribution
    values: Tensor
    state: Tensor


class Normalizer(nn.Module):
    """Brings vectors to zero mean and unit variance by running statistics that are saved with the weights.

    The statistics move only in :meth:`update`, never in a forward pass.
    """

    def __init__(
        self, spec: ObservationSpec, *, active: bool, only: Sequence[str] | None = None, clip: float = _CLIP
    ) -> None:
        super().__init__()
        vectors = tuple(part.name for part in spec.parts if part.kind == "vector") if active else ()
        self.parts = tuple(name for name in vectors if only is None or name in only)
        self.clip = clip
        self.count: Tensor
        self.register_buffer("count", torch.tensor(0.0, dtype=torch.float64))
        for number, name in enumerate(self.parts):
            part = spec.part(name)
            width = part.shape[0] if part is not None else 0
            self.register_buffer(f"mean_{number}", torch.zeros(width, dtype=torch.float64))
            self.register_buffer(f"variance_{number}", torch.ones(width, dtype=torch.float64))

    def statistics(self, name: str) -> tuple[Tensor, Tensor]:
        """Return mean and variance, float64 [features], of a vector part."""
        number = self.parts.index(name)
        return self.get_buffer(f"mean_{number}"), self.get_buffer(f"variance_{number}")

    def forward(self, observations: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the observations with vectors normalized and clipped (to -10..10 unless the blueprint says so)."""
        found = dict(observations)
        kind = torch.get_default_dtype()  # float32, unless a proof asks for more
        for name in self.parts:
            mean, variance = self.statistics(name)
            values = observations[name].to(kind)
            scaled = (values - mean.to(kind)) * torch.rsqrt(variance.to(kind) + 1e-8)
            found[name] = scaled.clamp(-self.clip, self.clip)
        return found

    @torch.no_grad()
    def update(self, observations: Mapping[str, Tensor]) -> None:
        """Take in a batch (Chan et al. 1979: means and variances of two samples put together)."""
        if not self.parts:
            return
        batch = len(observations[self.parts[0]])
        total = self.count + batch
        for name in self.parts:
            mean, variance = self.statistics(name)
            values = observations[name].double()
            new_mean, new_variance = values.mean(dim=0), values.var(dim=0, correction=0)
            shift = new_mean - mean
            mean_after = mean + shift * (batch / total)
            old, new = variance * self.count, new_variance * batch
            variance_after = (old + new + shift.square() * (self.count * batch / total)) / total
            mean.copy_(mean_after)
            variance.copy_(variance_after)
        self.count.copy_(total)


def _layers(width: int, widths: tuple[int, ...], activation: str) -> tuple[LayerChain, int]:
    make = _ACTIVATIONS[activation]
    layers: list[nn.Module] = []
    for after in widths:
        layers += [nn.Linear(width, after), make()]
        width = after
    return LayerChain(*layers), width


class PolicyNetwork(nn.Module):
    """Actor and critic.

    Args:
        shape: The blueprint.
    """

    def __init__(self, shape: PolicyShape) -> None:
        super().__init__()
        self.shape = shape
        parts = shape.observations.parts
        only, clip = shape.options.get("normalized"), float(shape.options.get("clip", _CLIP))
        self.normalizer = Normalizer(shape.observations, active=shape.normalize, only=only, clip=clip)
        self.encoders = nn.ModuleList(make_encoder(part, shape) for part in parts)
        width = sum(encoder.width for encoder in self.encoders if isinstance(encoder, Encoder))
        self.trunk, after = _layers(width, shape.trunk, shape.activation)
        self.memory: nn.GRUCell | nn.LSTMCell | None = None
        if shape.memory != "none":
            cell = nn.GRUCell if shape.memory == "gru" else nn.LSTMCell
            self.memory = cell(after, shape.memory_width)
            after = shape.memory_width
        shared = shape.share or self.memory is not None  # both look at what is remembered
        self.critic_encoders = nn.ModuleList() if shared else nn.ModuleList(make_encoder(p, shape) for p in parts)
        self.critic_trunk = nn.Sequential() if shared else _layers(width, shape.trunk, shape.activation)[0]
        self.actor, actor_width = _layers(after, shape.actor, shape.activation)
        self.actor_head = nn.Linear(actor_width, shape.actions.width)
        self.critic, critic_width = _layers(after, shape.critic, shape.activation)
        self.critic_head = nn.Linear(critic_width, 1)
        self.log_scale: nn.Parameter | None = None
        if shape.actions.kind == "continuous":
            self.log_scale = nn.Parameter(torch.full((shape.actions.width,), shape.log_scale))
        self._initialize()

    def _initialize(self) -> None:
        """Orthogonal weights; small ones for the actor's answer, so that play begins undecided."""
        gain = math.sqrt(2.0)
        for module in (*self.trunk, *self.critic_trunk, *self.actor, *self.critic):
            if isinstance(module, nn.Linear):
                nn.init.orthogonal_(module.weight, gain)
                nn.init.zeros_(module.bias)
        own = [encoder for encoder in (*self.encoders, *self.critic_encoders) if getattr(encoder, "orthogonal", False)]
        for module in (part for encoder in own for part in encoder.modules()):
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.orthogonal_(module.weight, gain)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for head, scale in ((self.actor_head, 0.01), (self.critic_head, 1.0)):
            nn.init.orthogonal_(head.weight, scale)
            nn.init.zeros_(head.bias)

    @property
    def state_width(self) -> int:
        """Numbers that the memory keeps for each environment; 0 without one."""
        return {"none": 0, "gru": 1, "lstm": 2}[self.shape.memory] * self.shape.memory_width

    def initial_state(self, count: int) -> Tensor:
        """Return float32 [count, state_width] of zeros: nothing is remembered."""
        return torch.zeros(count, self.state_width, device=self.actor_head.weight.device)

    def _encode(self, encoders: Any, observations: Mapping[str, Tensor]) -> Tensor:
        names = self.shape.observations.names
        found = [encoder(observations[name]) for encoder, name in zip(encoders, names, strict=True)]
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)

    def features(self, observations: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return float32 [batch, width] for the actor and for the critic, before the memory.

        Args:
            observations: By part, each [batch, ...].
        """
        normal = self.normalizer(observations)
        mine: Tensor = self.trunk(self._encode(self.encoders, normal))
        if self.shape.share or self.memory is not None:
            return mine, mine
        theirs: Tensor = self.critic_trunk(self._encode(self.critic_encoders, normal))
        return mine, theirs

    def remember(self, features: Tensor, state: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
        """Take one step of the memory.

        Args:
            features: float32 [environments, width].
            state: float32 [environments, state_width].
            starts: bool [environments], True where a new episode begins and what was before is forgotten.

        Returns:
            Features behind the memory, and the new state.
        """
        if self.memory is None:
            return features, state
        if starts is not None:
            state = state * (~starts).unsqueeze(1).to(state.dtype)
        if isinstance(self.memory, nn.GRUCell):
            after = self.memory(features, state)
            return after, after
        hidden, cell = self.memory(features, tuple(state.chunk(2, dim=1)))
        return hidden, torch.cat([hidden, cell], dim=1)

    def answer(self, actor: Tensor, critic: Tensor, state: Tensor, masks: Tensor | None = None) -> PolicyAnswer:
        """Return what the heads say to features behind the memory."""
        logits = self.actor(actor, self.actor_head)
        values = self.critic(critic, self.critic_head).squeeze(-1)
        return PolicyAnswer(ActionDistribution(self.shape.actions, logits, self.log_scale, masks), values, state)

    def forward(
        self,
        observations: Mapping[str, Tensor],
        state: Tensor | None = None,
        starts: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> PolicyAnswer:
        """Answer one step of a number of environments.

        Args:
            observations: By part, each [environments, ...], as the game gives them.
            state: Memory, from :meth:`initial_state` or the last answer; None begins anew.
            starts: bool [environments], True where an episode begins.
            masks: bool [environments, actions.width], True where an action may be taken.
        """
        mine, theirs = self.features(observations)
        if self.memory is None:
            empty = mine.new_zeros(len(mine), 0) if state is None else state
            return self.answer(mine, theirs, empty, masks)
        after, state = self.remember(mine, self.initial_state(len(mine)) if state is None else state, starts)
        return self.answer(after, after, state, masks)

    def unroll(
        self, observations: Mapping[str, Tensor], state: Tensor, starts: Tensor, masks: Tensor | None = None
    ) -> PolicyAnswer:
        """Answer whole sequences at once, memory and all.

        Args:
            observations: By part, each [steps, environments, ...].
            state: float32 [environments, state_width] before the first step.
            starts: bool [steps, environments], True where an episode begins.
            masks: bool [steps, environments, actions.width].

        Returns:
            Answers flattened to [steps * environments], step by step.
        """
        steps, count = starts.shape
        flat = {name: values.flatten(0, 1) for name, values in observations.items()}
        flat_masks = None if masks is None else masks.flatten(0, 1)
        mine, theirs = self.features(flat)
        if self.memory is None:
            return self.answer(mine, theirs, state, flat_masks)
        each = mine.view(steps, count, -1)
        begins = [step for step, begun in enumerate(starts.any(dim=1).tolist()) if begun or step == 0]
        outputs = []
        for first, last in pairwise([*begins, steps]):
            if last - first < _STRETCH:
                for step in range(first, last):
                    after, state = self.remember(each[step], state, starts[step])
                    outputs.append(after.unsqueeze(0))
            else:
                state = state * (~starts[first]).unsqueeze(1).to(state.dtype)
                after, state = self._stretch(each[first:last], state)
                outputs.append(after)
        together = torch.cat(outputs).flatten(0, 1)
        return self.answer(together, together, state, flat_masks)

    def _stretch(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take steps of the memory in which no episode begins in one call, which costs a fraction of a call a step.

        Args:
            features: float32 [steps, environments, width].
            state: float32 [environments, state_width].
        """
        memory = self.memory
        if memory is None:
            return features, state
        weights = tuple(memory.parameters())
        how = (memory.bias, 1, 0.0, torch.is_grad_enabled(), False, False)
        if isinstance(memory, nn.GRUCell):
            outputs, after = torch.gru(features, state.unsqueeze(0), weights, *how)
            return outputs, after[0]
        hidden, cell = (part.contiguous().unsqueeze(0) for part in state.chunk(2, dim=1))
        outputs, hidden, cell = torch.lstm(features, (hidden, cell), weights, *how)
        return outputs, torch.cat([hidden[0], cell[0]], dim=1)

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the weights that only the critic has."""
        parts = (self.critic_encoders, self.critic_trunk, self.critic, self.critic_head)
        return [weight for part in parts for weight in part.parameters()]

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return the weights that the actor's answers depend on, what it shares with the critic included."""
        critics = {id(weight) for weight in self.critic_parameters()}
        return [weight for weight in self.parameters() if id(weight) not in critics]
