"""Rows and columns of weights moved to new places: what class heads, tile vocabularies and policies share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["move_axis", "move_columns", "move_rows"]


def move_axis(values: Tensor, sources: Sequence[int], axis: int, fill: float | Tensor = 0.0) -> Tensor:
    """Return a tensor whose slices along an axis are those of ``values`` at new places.

    Args:
        values: Any tensor.
        sources: For each new place the old one it is taken from, or -1 for none.
        axis: Which axis.
        fill: What stands where nothing was taken: a number, or a tensor that broadcasts to the result.

    Returns:
        A new tensor of the type of ``values``, of ``len(sources)`` along ``axis``.
    """
    places = torch.as_tensor(list(sources), dtype=torch.long, device=values.device)
    size = (*values.shape[:axis], len(places), *values.shape[axis + 1 :])
    filler = torch.as_tensor(fill, dtype=values.dtype, device=values.device).expand(size)
    if values.shape[axis] == 0 or len(places) == 0:
        return filler.clone()
    taken = values.index_select(axis, places.clamp_min(0))
    known = (places >= 0).view(-1, *[1] * (values.ndim - axis - 1))
    return torch.where(known, taken, filler)


def move_rows(values: Tensor, sources: Sequence[int], fill: float | Tensor = 0.0) -> Tensor:
    """Move along the first axis; see :func:`move_axis`."""
    return move_axis(values, sources, 0, fill)


def move_columns(values: Tensor, sources: Sequence[int], fill: float | Tensor = 0.0) -> Tensor:
    """Move along the second axis; see :func:`move_axis`."""
    return move_axis(values, sources, 1, fill)
