"""Level generators of our own for several kinds of games: what the bundled tile model learned from, and the "designer's
maps" of demo and tests.

A kind is one module here and one line in :data:`GENERATORS`. A *style* is one designer's taste, drawn from wide
priors: forty levels of one style look like one game, another style looks like another. Every level can be played.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Protocol, cast

import numpy as np

from newgameplus.errors import DataError
from newgameplus.games.generators.canvas import Grid, Style
from newgameplus.games.rules.contract import Budget, Proof, Rules
from newgameplus.games.scenes import Level, Tile, Tileset
from newgameplus.recipe import did_you_mean

__all__ = ["GENERATORS", "Generator", "draw_style", "make_level", "make_levels", "open_generator"]

#: Module of each kind of game, by name.
GENERATORS: Mapping[str, str] = MappingProxyType(
    {
        "arena": "newgameplus.games.generators.arena",
        "island": "newgameplus.games.generators.island",
        "cave": "newgameplus.games.generators.cave",
        "dungeon": "newgameplus.games.generators.dungeon",
        "maze": "newgameplus.games.generators.maze",
        "rogue": "newgameplus.games.generators.rogue",
        "platformer": "newgameplus.games.generators.platformer",
        "tower": "newgameplus.games.generators.tower",
        "town": "newgameplus.games.generators.town",
        "garden": "newgameplus.games.generators.garden",
        "sokoban": "newgameplus.games.generators.sokoban",
    }
)
_ATTEMPTS = 60
_BUDGET = Budget(nodes=100_000)


class Generator(Protocol):
    """What every module of :data:`GENERATORS` has.

    Attributes:
        NAME: Its name in the registry.
        RULES: Rules that its levels can be played under.
        TILES: Meanings of its tiles, one character each; their order is the order of the tileset.
        SIZES: Lowest and highest ``height`` and ``width`` of its levels.
    """

    NAME: str
    RULES: str
    TILES: Mapping[str, tuple[str, ...]]
    SIZES: Mapping[str, tuple[int, int]]

    @staticmethod
    def draw_style(rng: np.random.Generator) -> dict[str, Any]:
        """Return one designer's taste: plain data, with ranges [low, high] of ``height`` and ``width``, and with
        ``height_step`` and ``width_step`` where only every so many rows or columns make a whole."""

    @staticmethod
    def generate(rng: np.random.Generator, height: int, width: int, style: Style) -> Grid | None:
        """Return one level, or None if this attempt came to nothing."""


def open_generator(name: str) -> Generator:
    """Return the generator of a name.

    Raises:
        DataError: There is none.
    """
    if name not in GENERATORS:
        remedy = f"{did_you_mean(name, list(GENERATORS))}known: {', '.join(GENERATORS)}"
        raise DataError(f"no generator is called {name!r}", source="generator", remedy=remedy)
    return cast("Generator", importlib.import_module(GENERATORS[name]))


def draw_style(name: str, rng: np.random.Generator) -> dict[str, Any]:
    """Draw one designer's taste for a kind of game: plain numbers, strings, lists and dicts.

    Raises:
        DataError: There is no such generator.
    """
    return open_generator(name).draw_style(rng)


def make_levels(
    name: str,
    count: int,
    seed: int,
    *,
    style: Style | None = None,
    height: int | None = None,
    width: int | None = None,
) -> list[Level]:
    """Make levels of one style, each from its own seed: level ``i`` is the same however many are made.

    Args:
        name: A kind of :data:`GENERATORS`.
        count: How many levels.
        seed: Decides everything, the style included unless one is given.
        style: From :func:`draw_style`; what it leaves out is drawn once for all levels.
        height: Rows; drawn from the style for each level if not given.
        width: Columns, likewise.

    Raises:
        DataError: As for :func:`make_level`.
    """
    whole = {**draw_style(name, np.random.default_rng([seed, 0])), **(style or {})}
    return [
        make_level(name, np.random.default_rng([seed, 1, number]), height=height, width=width, style=whole)
        for number in range(count)
    ]


def make_level(
    name: str,
    rng: np.random.Generator,
    *,
    height: int | None = None,
    width: int | None = None,
    style: Style | None = None,
) -> Level:
    """Make one level that can be played, trying again with a child seed when an attempt fails.

    Args:
        name: A kind of :data:`GENERATORS`.
        rng: Decides everything that is not given; it advances by the same amount whatever happens.
        height: Rows; drawn from the style if not given.
        width: Columns, likewise.
        style: From :func:`draw_style`; what it leaves out is drawn.

    Raises:
        DataError: There is no such generator, it makes no levels of this size, or none of the attempts could be played.
    """
    level, _ = attempt_level(name, rng, height=height, width=width, style=style)
    return level


def attempt_level(
    name: str,
    rng: np.random.Generator,
    *,
    height: int | None = None,
    width: int | None = None,
    style: Style | None = None,
) -> tuple[Level, int]:
    """As :func:`make_level`, and also return how many attempts it took."""
    generator = open_generator(name)
    seed = int(rng.integers(2**62))
    base = np.random.default_rng([seed, 0])
    whole = {**generator.draw_style(base), **(style or {})}
    rows = _size(generator, "height", height, whole, base)
    columns = _size(generator, "width", width, whole, base)
    for attempt in range(1, _ATTEMPTS + 1):
        level = _attempt(generator, np.random.default_rng([seed, attempt]), rows, columns, whole)
        if level is not None:
            return level, attempt
    raise DataError(
        f"none of {_ATTEMPTS} {name} levels of {rows} x {columns} could be played",
        source="style",
        remedy="ask for another size, or change the style",
    )


def _size(generator: Generator, axis: str, asked: int | None, style: Style, rng: np.random.Generator) -> int:
    low, high = style[axis]
    step = int(style.get(f"{axis}_step", 1))
    drawn = low + step * int(rng.integers((high - low) // step + 1))
    size = drawn if asked is None else asked
    smallest, largest = generator.SIZES[axis]
    if not smallest <= size <= 4 * largest:
        raise DataError(
            f"{generator.NAME} levels cannot have {axis} {size}",
            source=axis,
            remedy=f"ask for {smallest} to {largest} (at most {4 * largest})",
        )
    return size


def _attempt(generator: Generator, rng: np.random.Generator, height: int, width: int, style: Style) -> Level | None:
    tileset, codes = _tileset(generator.NAME)
    proof: Proof | None = None
    solved = getattr(generator, "generate_solved", None)
    if solved is None:
        grid = generator.generate(rng, height, width, style)
    else:
        grid, proof = solved(rng, height, width, style) or (None, None)
    if grid is None:
        return None
    numbers = codes[np.ascontiguousarray(grid).view(np.uint32).reshape(grid.shape)]
    level = Level(numbers, tileset, generator.NAME)
    rules = _rules(generator.RULES)
    if proof is not None:
        return None if rules.replay(level, proof) else level
    return level if rules.solve(level, _BUDGET).playable else None


@lru_cache(maxsize=32)
def _tileset(name: str) -> tuple[Tileset, np.ndarray[Any, np.dtype[np.int32]]]:
    """Return the tileset of a generator, and the number of each tile by the code of its character."""
    tiles = open_generator(name).TILES
    codes = np.full(128, -1, np.int32)
    for number, character in enumerate(tiles):
        codes[ord(character)] = number
    return Tileset(tuple(Tile(character, frozenset(meanings)) for character, meanings in tiles.items())), codes


@lru_cache(maxsize=8)
def _rules(name: str) -> Rules:
    from newgameplus.games.rules import open_rules

    return open_rules(name)
