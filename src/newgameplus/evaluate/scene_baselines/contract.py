"""What every way to make levels without a network promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np

from newgameplus.errors import DataError
from newgameplus.games.scenes import Level

__all__ = ["NoLevelError", "SceneBaseline", "check_size", "row_bands"]


class NoLevelError(DataError):
    """No level of the wanted size was found within the budget, or none exists."""


class SceneBaseline(ABC):
    """Makes levels from what it saw in training levels.

    Attributes:
        failures: Attempts that had to be thrown away so far, over all samples.
    """

    failures: int = 0

    @classmethod
    @abstractmethod
    def fit(cls, levels: Sequence[Level], seed: int = 0) -> Self:
        """Learn from levels of any sizes.

        Args:
            levels: The training levels; tiles are matched by name.
            seed: Of whatever is drawn while learning.

        Raises:
            DataError: There is no level, or none has a tile.
        """

    @abstractmethod
    def sample(self, rng: np.random.Generator, height: int, width: int) -> Level:
        """Make one level.

        Args:
            rng: Where chance comes from; the same state gives the same level.
            height: Rows of tiles.
            width: Columns of tiles.

        Raises:
            NoLevelError: None was found.
            DataError: The size is not at least 1 x 1.
        """


def check_size(height: int, width: int) -> None:
    """Check the size of a level to be made.

    Raises:
        DataError: It is not at least 1 x 1.
    """
    if height < 1 or width < 1:
        remedy = "ask for at least one row and one column"
        raise DataError(f"{height}x{width} is no size for a level", source="size", remedy=remedy)


def row_bands(rows: int, bands: int) -> list[int]:
    """Return which band each row lies in, counted from the bottom; each row its own where there are enough bands."""
    return [up if rows <= bands else up * bands // rows for up in range(rows)]
