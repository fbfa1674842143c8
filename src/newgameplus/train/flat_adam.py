"""Adam (Kingma and Ba 2015) on one long vector a group: where weights are few, a call for each costs most."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["FlatAdam"]

_BETAS = (0.9, 0.999)
_EPSILON = 1e-5


class FlatAdam(torch.optim.Optimizer):
    """Adam with clipping of each group's gradient; its saved state has the form of ``torch.optim.Adam``'s.

    The weights of a group become views of one vector, so whatever keeps a reference to their memory must be made after
    this is.

    Args:
        groups: Each with ``params`` and ``lr``.
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {"lr": 1e-3})
        self.vectors = [_Vector(group["params"]) for group in self.param_groups]
        self._link()

    def _link(self) -> None:
        for vector in self.vectors:
            for weight, mean, square in zip(
                vector.weights, vector.views(vector.mean), vector.views(vector.square), strict=True
            ):
                self.state[weight] = {"step": vector.step, "exp_avg": mean, "exp_avg_sq": square}

    def descend(self, largest: float | None) -> bool:
        """Clip each group's gradient to a norm and take a step; say whether all gradients were finite.

        A group without gradients stays as it is, moments and all. Nothing moves where a gradient is not finite.
        """
        moving = [
            (group, vector) for group, vector in zip(self.param_groups, self.vectors, strict=True) if vector.gather()
        ]
        norms = [math.sqrt(float(torch.dot(vector.gradient, vector.gradient))) for _, vector in moving]
        if not all(map(math.isfinite, norms)):
            return False
        for (group, vector), norm in zip(moving, norms, strict=True):
            if largest is not None and norm > largest:
                vector.gradient.mul_(largest / norm)
            vector.move(group["lr"])
        return True

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step without clipping."""
        if closure is not None:
            closure()
        self.descend(None)

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: ARG002 (the library's signature)
        """Forget the gradients."""
        for vector in self.vectors:
            for weight in vector.weights:
                weight.grad = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over moments."""
        super().load_state_dict(state_dict)
        for vector in self.vectors:
            means, squares = vector.views(vector.mean), vector.views(vector.square)
            for weight, mean, square in zip(vector.weights, means, squares, strict=True):
                kept = self.state.get(weight)
                if kept:
                    mean.copy_(kept["exp_avg"])
                    square.copy_(kept["exp_avg_sq"])
                    vector.step.copy_(torch.as_tensor(kept["step"]))
        self._link()


class _Vector:
    """The weights of a group, one behind the other."""

    def __init__(self, weights: list[torch.nn.Parameter]) -> None:
        self.weights = weights
        with torch.no_grad():
            self.values = torch.cat([weight.detach().reshape(-1) for weight in weights])
            for weight, view in zip(weights, self.views(self.values), strict=True):
                weight.data = view
        self.gradient, self.mean, self.square = (torch.zeros_like(self.values) for _ in range(3))
        self.step = torch.tensor(0.0)

    def views(self, vector: Tensor) -> list[Tensor]:
        """Return a vector as the weights lie in it."""
        pieces = torch.split(vector, [weight.numel() for weight in self.weights])
        return [piece.view(weight.shape) for piece, weight in zip(pieces, self.weights, strict=True)]

    def gather(self) -> bool:
        """Put the gradients one behind the other; say whether there are any."""
        gradients = [weight.grad for weight in self.weights]
        if all(gradient is None for gradient in gradients):
            return False
        pieces = [
            weight.new_zeros(weight.numel()) if gradient is None else gradient.reshape(-1)
            for gradient, weight in zip(gradients, self.weights, strict=True)
        ]
        torch.cat(pieces, out=self.gradient)
        return True

    @torch.no_grad()
    def move(self, rate: float) -> None:
        """Take one step."""
        self.step += 1
        done = float(self.step)
        self.mean.lerp_(self.gradient, 1.0 - _BETAS[0])
        self.square.mul_(_BETAS[1]).addcmul_(self.gradient, self.gradient, value=1.0 - _BETAS[1])
        spread = self.square.sqrt().div_(math.sqrt(1.0 - _BETAS[1] ** done)).add_(_EPSILON)
        self.values.addcdiv_(self.mean, spread, value=-rate / (1.0 - _BETAS[0] ** done))
