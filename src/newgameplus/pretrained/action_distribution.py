"""What a policy's answer means: a distribution over actions of any kind, with masks.

Written on logits directly, without torch's distribution classes: a step of a small policy costs a few microseconds of
arithmetic, and their checks cost more than that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from newgameplus.spaces import ActionSpec

__all__ = ["ActionDistribution"]

_NEVER = -1e9
_HALF_LOG_TAU = 0.5 * math.log(2.0 * math.pi)


@dataclass(eq=False)
class ActionDistribution:
    """The distribution over actions for a batch.

    Attributes:
        spec: Kind of actions.
        answer: float32 [batch, spec.width]: logits, or means of continuous actions.
        log_scale: float32 [spec.width], log of the standard deviations of continuous actions; None for other kinds.
        mask: bool [batch, spec.width], True where an action may be taken; None if all may. Not for continuous ones.
            Of binary actions it says which buttons may be pressed.
    """

    spec: ActionSpec
    answer: Tensor
    log_scale: Tensor | None = None
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        if self.mask is not None and self.spec.kind != "continuous":
            self.answer = self.answer.masked_fill(~self.mask, _NEVER)

    @cached_property
    def _parts(self) -> tuple[Tensor, ...]:
        """Log probabilities of each choice; one part for discrete actions, several for multi-discrete ones."""
        if self.spec.kind == "discrete":
            return (functional.log_softmax(self.answer, dim=-1),)
        parts = torch.split(self.answer, list(self.spec.sizes), dim=-1)
        return tuple(functional.log_softmax(part, dim=-1) for part in parts)

    def _scale(self) -> Tensor:
        if self.log_scale is None:
            raise ValueError("continuous actions need log_scale")
        return self.log_scale

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return float32 [batch]: log probability (density, if continuous) of the actions, summed over their numbers.

        Args:
            actions: As :class:`ActionSpec` says.
        """
        kind = self.spec.kind
        if kind == "continuous":
            scale = self._scale()
            error = (actions - self.answer) * torch.exp(-scale)
            return (-0.5 * error.square() - scale - _HALF_LOG_TAU).sum(dim=-1)
        if kind == "binary":
            pressed = actions.to(self.answer.dtype)
            return -functional.binary_cross_entropy_with_logits(self.answer, pressed, reduction="none").sum(dim=-1)
        chosen = actions.unsqueeze(-1) if kind == "discrete" else actions
        logs = [part.gather(-1, chosen[..., n : n + 1]) for n, part in enumerate(self._parts)]
        return logs[0].squeeze(-1) if len(logs) == 1 else torch.cat(logs, dim=-1).sum(dim=-1)

    def entropy(self) -> Tensor:
        """Return float32 [batch]: entropy in nats."""
        kind = self.spec.kind
        if kind == "continuous":
            total = (self._scale() + 0.5 + _HALF_LOG_TAU).sum()
            return total.expand(self.answer.shape[0])
        if kind == "binary":
            share = torch.sigmoid(self.answer)
            return functional.binary_cross_entropy_with_logits(self.answer, share, reduction="none").sum(dim=-1)
        return -_total([(part.exp() * part).sum(dim=-1) for part in self._parts])

    def divergence_to(self, other: ActionDistribution) -> Tensor:
        """Return float32 [batch]: the Kullback-Leibler divergence KL(self || other) in nats.

        Args:
            other: A distribution over the same actions.
        """
        kind = self.spec.kind
        if kind == "continuous":
            mine, theirs = self._scale(), other._scale()
            ratio = torch.exp(2.0 * (mine - theirs))
            shift = ((self.answer - other.answer) * torch.exp(-theirs)).square()
            return (theirs - mine + 0.5 * (ratio + shift - 1.0)).sum(dim=-1)
        if kind == "binary":
            share = torch.sigmoid(self.answer)
            mine = functional.logsigmoid(self.answer) - functional.logsigmoid(other.answer)
            none = functional.logsigmoid(-self.answer) - functional.logsigmoid(-other.answer)
            return (share * mine + (1.0 - share) * none).sum(dim=-1)
        pairs = zip(self._parts, other._parts, strict=True)
        return _total([(mine.exp() * (mine - theirs)).sum(dim=-1) for mine, theirs in pairs])

    def mode(self) -> Tensor:
        """Return the likeliest actions."""
        kind = self.spec.kind
        if kind == "continuous":
            return self.answer
        if kind == "binary":
            return (self.answer > 0).to(torch.int64)
        if kind == "discrete":
            return self.answer.argmax(dim=-1)
        parts = torch.split(self.answer, list(self.spec.sizes), dim=-1)
        return torch.stack([part.argmax(dim=-1) for part in parts], dim=-1)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw actions.

        Args:
            generator: Source of randomness; torch's global one by default.
        """
        kind = self.spec.kind
        if kind == "continuous":
            noise = torch.randn(self.answer.shape, generator=generator, dtype=self.answer.dtype)
            return self.answer + noise.to(self.answer.device) * torch.exp(self._scale())
        draws = torch.rand(self.answer.shape, generator=generator).to(self.answer.device)
        if kind == "binary":
            return (draws < torch.sigmoid(self.answer)).to(torch.int64)
        # The largest of logits plus Gumbel noise is a draw from the softmax.
        noisy = self.answer - torch.log(-torch.log(draws.clamp(1e-20, 1.0 - 1e-7)))
        if kind == "discrete":
            return noisy.argmax(dim=-1)
        parts = torch.split(noisy, list(self.spec.sizes), dim=-1)
        return torch.stack([part.argmax(dim=-1) for part in parts], dim=-1)

    def tempered(self, temperature: float) -> ActionDistribution:
        """Return the distribution at another temperature: above 1 more random, towards 0 the mode."""
        if temperature == 1.0:
            return self
        if self.spec.kind == "continuous":
            scale = self._scale() + math.log(max(temperature, 1e-6))
            return ActionDistribution(self.spec, self.answer, scale)
        return ActionDistribution(self.spec, self.answer / max(temperature, 1e-6), None, self.mask)


def _total(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)
