"""The operation as a table: which number of the new network comes from which number of the old one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from newgameplus.adapt.rows import move_columns, move_rows
from newgameplus.adapt.surgery_plan import Sources
from newgameplus.errors import Problem

__all__ = ["Fold", "Level", "Move", "Pass", "Table", "Units", "moved", "widen"]

Level = Literal["features", "flat", "pixels"]


@dataclass(frozen=True)
class Units:
    """What stands at one point of the network.

    Attributes:
        sources: The old unit that each new one carries, or -1.
        factors: What a column behind each must be multiplied by; empty for all ones.
        positive: Whether none can be below zero.
    """

    sources: Sources
    factors: tuple[float, ...] = ()
    positive: bool = False


@dataclass(frozen=True)
class Move:
    """A new tensor made of an old one.

    Attributes:
        source: Name of the old tensor.
        axes: Sources along the first axes; None leaves an axis as it is.
        rows: What new rows are: as a fresh network has them, zeros, ones, or the mean of the old rows.
        factors: What each column is multiplied by; empty for ones.
    """

    source: str
    axes: tuple[Sources | None, ...] = ()
    rows: Literal["fresh", "zero", "one", "mean"] = "fresh"
    factors: tuple[float, ...] = ()


@dataclass(frozen=True)
class Pass:
    """A new layer whose first units pass old ones on; the rest is fresh.

    Attributes:
        rows: For each of the first units, the columns that it reads and their weights.
    """

    rows: tuple[tuple[tuple[int, float], ...], ...]


@dataclass(frozen=True)
class Fold:
    """Columns that are no more, whose constant contribution goes into the bias.

    Attributes:
        bias: New bias.
        weight: Old weights.
        rows: Source of each new row.
        columns: Old columns that are no more.
        level: What the columns are: the features of a part, its flattened numbers, or the channels of its pixels.
        part: Old part.
        start: Old column at which the part begins.
        critic: Whether the features are those of the critic's own encoders.
    """

    bias: str
    weight: str
    rows: Sources
    columns: Sources
    level: Level
    part: str
    start: int = 0
    critic: bool = False


@dataclass
class Table:
    """The operation.

    Attributes:
        moves: By name of the new tensor. What is not in the table is as a fresh network has it.
        passes: By name of a new layer.
        folds: Contributions of what is held constant.
        losses: What cannot be preserved.
        problems: What cannot be done.
    """

    moves: dict[str, Move] = field(default_factory=dict)
    passes: dict[str, Pass] = field(default_factory=dict)
    folds: list[Fold] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def linear(
        self, name: str, rows: Sources, before: Units, kind: Literal["fresh", "zero"] = "fresh", old: str = ""
    ) -> None:
        """Add a layer with weight and bias."""
        old = old or name
        self.moves[f"{name}.weight"] = Move(f"{old}.weight", (rows, before.sources), kind, before.factors)
        self.moves[f"{name}.bias"] = Move(f"{old}.bias", (rows,), kind)


def moved(move: Move, old: Tensor, fresh: Tensor | None = None, *, power: int = 1) -> Tensor:
    """Return a new tensor as a move says.

    Args:
        move: The move.
        old: The old tensor.
        fresh: The same tensor of a fresh network, for new rows; None leaves them zero, as moments of new weights are.
        power: Power of the factors: 1 for weights, -1 for their gradients, -2 for squared gradients.
    """
    found = old
    if len(move.axes) > 1 and move.axes[1] is not None:
        found = move_columns(found, move.axes[1])
        if move.factors and power:
            factors = torch.tensor(move.factors, dtype=found.dtype, device=found.device) ** power
            found = found * factors.view(1, -1, *[1] * (found.ndim - 2))
    if move.axes and move.axes[0] is not None:
        fill: float | Tensor = 0.0
        if fresh is not None:
            fill = {"fresh": fresh, "zero": 0.0, "one": 1.0, "mean": old.mean(dim=0)}[move.rows]  # type: ignore[assignment]
        found = move_rows(found, move.axes[0], fill)
    return found.clone()


def widen(old: int, new: int) -> Sources:
    """Return the sources of units to which silent ones were added."""
    return tuple(range(old)) + (-1,) * (new - old)
