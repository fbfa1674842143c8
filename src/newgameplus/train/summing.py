"""Sums over all processes that gradients flow through, and the rows of all processes put together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from newgameplus.train.processes import add_up, process_count

__all__ = ["rows_of_all", "summed"]


class _AddUp(torch.autograd.Function):
    """A sum over all processes; the gradient of a sum is the sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004
        total = values.clone()
        add_up(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        total = gradient.clone()
        add_up(total)
        return total


def summed(values: Tensor) -> Tensor:
    """Return the sum of all processes' values, of any shape."""
    total: Tensor = _AddUp.apply(values)  # type: ignore[no-untyped-call]
    return total


def rows_of_all(values: Tensor, part: slice, whole: int) -> Tensor:
    """Return the rows that all processes have, in order.

    What every process makes of them has the gradient of all that the processes make of them together.

    Args:
        values: [part, width]; this process's rows.
        part: Which of all rows these are.
        whole: How many rows there are.

    Returns:
        [whole, width].
    """
    if process_count() == 1:
        return values
    return summed(functional.pad(values, (0, 0, part.start, whole - part.stop)))
