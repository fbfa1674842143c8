"""What a model is told when nobody asks: the measures of one of the designer's maps, so that a level has one style.

A model that is told nothing wanders between the styles of all maps it knows. A hint is not a request: nothing insists
on it, and nothing is thrown away for missing it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from newgameplus.games.conditions import Request
from newgameplus.games.measures import find_measure
from newgameplus.games.scenes import Level

__all__ = ["Hints"]

#: Measures that do not grow with a level's size.
_SIZELESS = ("density", "linearity", "leniency", "difficulty")


@dataclass(frozen=True, eq=False)
class Hints:
    """The maps that hints are drawn from.

    Attributes:
        levels: The training maps.
        values: What each measures, the solver's part included where it is known.
    """

    levels: Sequence[Level]
    values: Sequence[Mapping[str, float]]

    def draw(self, height: int, width: int, requests: Sequence[Request], rng: np.random.Generator) -> dict[str, float]:
        """Return the measures of a random map, brought to another size, less those that speak of what is requested.

        Args:
            height: Rows of the level to be made.
            width: Columns.
            requests: What is asked; measures of the same tiles are left out, and, once anything is asked, the
                measures of the whole level too.
            rng: Draws the map.
        """
        pick = int(rng.integers(len(self.levels)))
        level, values = self.levels[pick], self.values[pick]
        share = height * width / (level.height * level.width)
        taken = {request.measure for request in requests}
        tiles = set().union(*(_tiles(name, level) for name in taken)) if taken else set()
        hints = {}
        for name, value in values.items():
            if value != value or name in taken or (tiles & _tiles(name, level)):
                continue
            if taken and not _tiles(name, level):
                continue
            scaled = value if name in _SIZELESS else value * share
            hints[name] = float(width) if name == "length" else float(scaled)
        return hints


def _tiles(name: str, level: Level) -> set[int]:
    """Return the numbers of the tiles that a measure counts; none for measures of the whole level."""
    one = find_measure(name, level)
    if one.meanings:
        return set(np.nonzero(level.tileset.flags(*one.meanings)[:-1])[0].tolist())
    tile = name.removeprefix("tile:")
    return {level.tileset.index[tile]} if tile != name else set()
