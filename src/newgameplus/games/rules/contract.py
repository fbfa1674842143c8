"""What every set of rules promises: an answer with a proof that an independent replayer checks, or a reason."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from newgameplus.games.scenes import Level

__all__ = ["Answer", "Budget", "Cell", "Flaw", "Proof", "Rules", "Status"]

Status = Literal["playable", "unplayable", "undecided"]
Cell = tuple[int, int]
"""Row from the top, column from the left."""


@dataclass(frozen=True)
class Budget:
    """How long a solver may search before it says "undecided".

    Attributes:
        nodes: States it may expand; counts alike on every machine, so answers do not depend on its speed.
        seconds: Time it may take besides; None for no limit.
    """

    nodes: int = 200_000
    seconds: float | None = None


@dataclass(frozen=True)
class Proof:
    """How a level is played to its end.

    Attributes:
        cells: Cells of the player, first to last.
        moves: For games of single moves, one character each (``udlr``, capitals push); else empty.
        facts: Whatever else the replayer needs, as plain data (for a platformer, the jump of each step).
    """

    cells: tuple[Cell, ...]
    moves: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Answer:
    """What a solver found.

    Attributes:
        status: ``playable``, ``unplayable``, or ``undecided`` when the budget ended first.
        proof: Present exactly when playable.
        reason: When not playable, one sentence: the first goal that cannot be reached, where it got stuck, what is
            missing; with row and column counted from 0.
        at: The cell that the reason speaks of.
        reached: bool [height, width]: cells the player can get to, where the rules know.
        measures: What the search tells about the level: ``path_length``, ``jumps``, ``pushes``, ``nodes`` …
    """

    status: Status
    proof: Proof | None = None
    reason: str = ""
    at: Cell | None = None
    reached: npt.NDArray[np.bool_] | None = None
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def playable(self) -> bool:
        """Whether a proof was found."""
        return self.status == "playable"


@dataclass(frozen=True)
class Flaw:
    """A broken structure, such as half a pipe: a level may be playable all the same."""

    kind: str
    at: Cell
    message: str


class Rules(ABC):
    """What says that a level can be played.

    Attributes:
        name: As in the registry or the rules file.
        grows: Whether :meth:`solve_part` can judge the first columns of a level that is still being made.
        draws_way: Whether models learn more from levels with :meth:`way` drawn into them.
        turns: Whether a level turned by a quarter is as good a level: there is no up or down.
    """

    name: str
    grows: bool = False
    draws_way: bool = False
    turns: bool = False

    @abstractmethod
    def solve(self, level: Level, budget: Budget = Budget()) -> Answer:
        """Judge a level. Never raises for any grid of valid tiles; a missing start or goal is a reason."""

    @abstractmethod
    def replay(self, level: Level, proof: Proof) -> str:
        """Check a proof step by step, sharing no search code with the solver.

        Returns:
            Nothing if the proof holds, else what is wrong with it and at which step.
        """

    def solve_part(self, level: Level, budget: Budget = Budget()) -> Answer:
        """Judge the first columns of a level: playable if the last column can be reached, or no longer matters.

        Only for rules that ``grow``; ``reached`` is always given, so that a maker can step back behind it.
        """
        raise NotImplementedError

    def way(self, proof: Proof) -> tuple[Cell, ...]:
        """Return the cells of a proof that show best why it holds: by default all that the player is in."""
        return proof.cells

    def flaws(self, level: Level) -> list[Flaw]:  # noqa: ARG002 (most rules have none)
        """Return broken structures."""
        return []

    def needs(self, level: Level) -> list[str]:  # noqa: ARG002 (for rules to override)
        """Return in words which meanings these rules need and no tile of the level's tileset has."""
        return []
