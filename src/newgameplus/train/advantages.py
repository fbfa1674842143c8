"""What an action was worth: generalized advantages with time limits done right, and the scale of a game's rewards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

__all__ = ["ReturnScale", "advantage_weights", "generalized_advantages"]

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
_TINY = 1e-8


def generalized_advantages(
    rewards: Floats, values: Floats, after: Floats, ended: Flags, gamma: float, smoothing: float
) -> Floats:
    """Return advantages (Schulman et al. 2016, GAE), float32 [steps, environments].

    Args:
        rewards: float32 [steps, environments].
        values: float32 [steps + 1, environments]: what the critic says before each step, and after the last.
        after: float32 [steps, environments]: where an episode ended, the value of its last observation: 0 where the
            game ended it, the critic's word where a time limit did (Pardo et al. 2018). Not read elsewhere.
        ended: bool [steps, environments].
        gamma: Discount, in 0..1.
        smoothing: Lambda, in 0..1.
    """
    following = np.where(ended, after, values[1:])
    errors = (rewards + np.float32(gamma) * following - values[:-1]).astype(np.float32, copy=False)
    decay = np.where(ended, np.float32(0.0), np.float32(gamma * smoothing))
    found = np.empty_like(errors)
    ahead = np.zeros(errors.shape[1], np.float32)
    for step in range(len(errors) - 1, -1, -1):
        ahead = errors[step] + decay[step] * ahead
        found[step] = ahead
    return found


def advantage_weights(advantages: Tensor, temperature: float = 1.0, most: float = 20.0) -> Tensor:
    """Return weights of imitated steps, float32 [n], of mean 1: exponential in how much better than expected they were.

    Peng et al. 2019 (arXiv 1910.00177), with advantages brought to unit variance and weights clipped.

    Args:
        advantages: float32 [n].
        temperature: Higher is closer to equal weights.
        most: Largest weight before they are brought to mean 1.
    """
    if len(advantages) < 2:
        return torch.ones_like(advantages)
    deviation, mean = torch.std_mean(advantages)
    weights = ((advantages - mean) / (temperature * (deviation + _TINY))).exp().clamp(max=most)
    return weights / weights.mean()


class ReturnScale(nn.Module):
    """Scales rewards by the running deviation of the discounted return (Engstrom et al. 2020), and keeps it.

    A single monstrous reward moves neither the scale nor a policy: rewards enter the statistics clipped to what is
    plausible by the scale so far, and leave clipped to ``clip``.

    Args:
        gamma: Discount of the return.
        active: Whether rewards are scaled at all.
        clip: Largest scaled reward; None lets all through.
    """

    def __init__(self, gamma: float, *, active: bool = True, clip: float | None = 10.0) -> None:
        super().__init__()
        self.gamma, self.active, self.clip = gamma, active, clip
        self.moments: Tensor
        self.register_buffer("moments", torch.zeros(3, dtype=torch.float64))  # count, mean, variance
        self.running: npt.NDArray[np.float64] | None = None

    @property
    def scale(self) -> float:
        """What rewards are divided by: 1 before anything was seen."""
        count, _, variance = self.moments.tolist()
        return float(np.sqrt(variance)) if self.active and count > 0 and variance > _TINY**2 else 1.0

    def restart(self) -> None:
        """Forget the returns of the episodes under way: all environments begin anew."""
        self.running = None

    def _plausible(self, rewards: Floats) -> npt.NDArray[np.float64]:
        wide = rewards.astype(np.float64)
        if self.clip is None:
            return wide
        if float(self.moments[0]) > 0:
            limit = self.clip * self.scale
        else:
            some = np.abs(wide[wide != 0])
            limit = self.clip**2 * float(np.median(some)) if len(some) else 1.0
        return np.clip(wide, -limit, limit)

    def update(self, rewards: Floats, ended: Flags) -> None:
        """Take in a rollout, both [steps, environments]; it must follow on the last one."""
        if not self.active:
            return
        plausible = self._plausible(rewards)
        running = np.zeros(rewards.shape[1]) if self.running is None else self.running
        returns = np.empty_like(plausible)
        going = 1.0 - ended
        for step in range(len(rewards)):
            running = self.gamma * running + plausible[step]
            returns[step] = running
            running = running * going[step]
        self.running = running
        self.take_in(returns)

    def take_in(self, returns: npt.NDArray[Any]) -> None:
        """Add returns of any shape to the statistics (Chan et al. 1979)."""
        count, mean, variance = self.moments.tolist()
        number, here, spread = returns.size, float(returns.mean()), float(returns.var())
        total, shift = count + number, here - mean
        spread = (variance * count + spread * number + shift**2 * count * number / total) / total
        self.moments.copy_(torch.tensor([total, mean + shift * number / total, spread], dtype=torch.float64))

    def scaled(self, rewards: Floats) -> Floats:
        """Return rewards over the scale, clipped."""
        found = rewards / np.float32(self.scale)
        return found if self.clip is None else np.clip(found, -self.clip, self.clip)

    def as_dict(self) -> dict[str, float]:
        """Return the statistics as plain data, for the card of a policy."""
        return dict(zip(("count", "mean", "variance"), self.moments.tolist(), strict=True))

    def load(self, content: Mapping[str, float]) -> None:
        """Go on from what :meth:`as_dict` gave."""
        self.moments.copy_(torch.tensor([content[n] for n in ("count", "mean", "variance")], dtype=torch.float64))
