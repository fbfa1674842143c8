"""Guesses of what tiles mean and which rules a game has, each with its reason, for a designer to correct.

A guess comes from, in this order: what the format says, the name, the use of characters in text collections, the name
of the layer, and where a tile stands. What cannot be guessed is left without a meaning rather than made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from newgameplus.games.scenes import NOTHING, Level, Scene, Tile
from newgameplus.games.stacking import NOTHING_NAME, cell_of, parts_of
from newgameplus.games.tile_words import ALPHABETS, EITHER, meanings_of_name, name_words

__all__ = ["Guess", "RulesGuess", "guess_meanings", "guess_rules"]

_WIDE = 2.5
_SIDE_WORDS = {"platformer", "platform", "mario", "sidescroller", "jump"}
_ABOVE_WORDS = {"topdown", "top", "dungeon", "overworld", "zelda", "rpg", "desert", "island", "town", "maze", "room"}


@dataclass(frozen=True)
class Guess:
    """What a tile probably means.

    Attributes:
        meanings: Names of ``MEANINGS``; nothing when it cannot be guessed.
        reason: One short phrase, fit for a comment.
    """

    meanings: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class RulesGuess:
    """Which rules a game probably has.

    Attributes:
        rules: ``sokoban``, ``platformer``, ``top-down`` or ``reachability``.
        reason: One short phrase, fit for a comment.
    """

    rules: str
    reason: str


@dataclass(frozen=True)
class _Use:
    """Where a part stands, over all scenes.

    Attributes:
        share: Of all cells.
        border, bottom, top: Share of the cells of the border, the last row and the first row that it fills.
        lower: Share of its cells that lie in the lower half.
        single: Whether every scene has exactly one.
        column: Mean column, 0 to 1 from left to right.
        layers: Names of the layers it stands in.
    """

    share: float = 0.0
    border: float = 0.0
    bottom: float = 0.0
    top: float = 0.0
    lower: float = 0.0
    single: bool = False
    column: float = 0.0
    layers: frozenset[str] = frozenset()


class _Counts:
    """Counts of parts over scenes, from which uses are told."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self.scenes = scenes
        self.sums: dict[str, npt.NDArray[np.float64]] = {}
        self.layers: dict[str, set[str]] = {}
        self.singles: dict[str, int] = {}
        self.totals = np.zeros(4)
        for scene in scenes:
            self._add_scene(scene)

    def _add_scene(self, scene: Scene) -> None:
        border = np.ones((scene.height, scene.width), bool)
        border[1:-1, 1:-1] = False
        self.totals += [scene.height * scene.width, border.sum(), scene.width, scene.width]
        for name, layer in zip(scene.layer_names, scene.layers, strict=True):
            for number in np.unique(layer).tolist():
                if number != NOTHING:
                    self._add(scene.tileset.names[number], name, layer == number, border)
        bare = (scene.layers == NOTHING).all(axis=0)
        if bare.any():
            self._add(NOTHING_NAME, "", bare, border)
        for kind in {one.kind for one in scene.objects}:
            places = [(cell_of(one), one.layer) for one in scene.objects if one.kind == kind]
            where = np.zeros((scene.height, scene.width), bool)
            for (row, column), _ in places:
                where[min(max(row, 0), scene.height - 1), min(max(column, 0), scene.width - 1)] = True
            self._add(f"@{kind}", places[0][1], where, border, len(places))

    def _add(
        self, part: str, layer: str, where: npt.NDArray[np.bool_], border: npt.NDArray[np.bool_], count: int = 0
    ) -> None:
        height, width = where.shape
        rows, columns = where.sum(axis=1), where.sum(axis=0)
        count = count or int(rows.sum())
        lower = rows[(height + 1) // 2 :].sum() + (rows[height // 2] / 2 if height % 2 else 0)
        place = float((columns * (np.arange(width) + 0.5)).sum() / width)
        values = [rows.sum(), (where & border).sum(), rows[-1], rows[0], lower, place]
        self.sums[part] = self.sums.get(part, np.zeros(6)) + values
        self.layers.setdefault(part, set()).add(layer)
        self.singles[part] = self.singles.get(part, 0) + (count == 1)

    def use(self, part: str) -> _Use:
        """Return where a part stands."""
        if part not in self.sums:
            return _Use()
        cells, border, bottom, top, lower, column = self.sums[part].tolist()
        shares = np.array([cells, border, bottom, top]) / np.maximum(self.totals, 1)
        single = self.singles[part] == len(self.scenes) and cells == len(self.scenes)
        layers = frozenset(self.layers[part])
        share, edge, below, above = shares.tolist()
        return _Use(share, edge, below, above, lower / max(cells, 1), single, column / max(cells, 1), layers)


class _Guesser:
    """Guesses part by part; what one part means can tell of another."""

    def __init__(self, parts: Mapping[str, Tile], scenes: Sequence[Scene], rules_hint: str | None) -> None:
        self.parts, self.scenes, self.hint = parts, scenes, rules_hint
        counts = _Counts(scenes)
        self.uses = {name: counts.use(name) for name in parts}

    @cached_property
    def alphabet(self) -> str:
        """Name of the collection whose characters these are, or nothing."""
        characters = {name for name in self.parts if len(name) == 1}
        others = {name for name in self.parts if not _is_object(name) and name != NOTHING_NAME} - characters
        if len(characters) < 3 or others:
            return ""
        scores = {
            name: len(characters & set(table)) / len(characters | set(table)) + len(characters & set(table)) / 100
            for name, table in ALPHABETS.items()
            if len(characters & set(table)) >= 0.8 * len(characters)
        }
        return max(scores, key=lambda name: scores[name]) if scores else ""

    @cached_property
    def side(self) -> bool:
        """Whether the game is seen from the side."""
        if self.hint:
            return self.hint == "platformer"
        if self.alphabet:
            return self.alphabet.startswith(("side", "vertical", "ladders"))
        sources = [str(scene.source.stem) if scene.source else "" for scene in self.scenes]
        words = {word for name in (*sources, *self.parts) for word in name_words(name)}
        if words & _SIDE_WORDS or words & _ABOVE_WORDS:
            return bool(words & _SIDE_WORDS)
        ratios = [scene.width / max(scene.height, 1) for scene in self.scenes]
        if ratios and float(np.median(ratios)) >= _WIDE:
            return True
        heavy = [use for name, use in self.uses.items() if set(name_words(name)) & set(EITHER) and use.share > 0]
        mass = sum(use.share for use in heavy)
        return mass > 0 and sum(use.share * use.lower for use in heavy) / mass > 0.6

    @cached_property
    def background(self) -> str:
        """The part that fills most cells; seen from above, the next one if the first only makes the walls around."""
        if not self.scenes or not self.uses:
            return ""
        first, *others = sorted(self.uses, key=lambda name: -self.uses[name].share)
        second = self.uses[others[0]] if others else _Use()
        around = not self.side and self.uses[first].border > 0.9
        return others[0] if around and second.share > 0.15 and second.border < 0.05 else first

    def guess(self, name: str) -> Guess:
        """Guess what one part means."""
        tile, use = self.parts[name], self.uses[name]
        if tile.meanings:
            return Guess(tuple(sorted(tile.meanings)), "said by the map's own format or legend")
        if name == NOTHING_NAME:
            return self._nothing()
        return self._by_character(name) or self._by_name(name, use) or self._by_place(name, use)

    def _nothing(self) -> Guess:
        floors = [other for other in self.parts if other != NOTHING_NAME and self._walkable(other)]
        if not self.side and sum(self.uses[other].share for other in floors) > 0.15:
            return Guess(("void",), "bare cells, while floor is drawn elsewhere")
        return Guess(("empty",), "bare cells")

    def _walkable(self, name: str) -> bool:
        guess = self.parts[name].meanings or meanings_of_name(_own_name(name), platformer=self.side)
        return "empty" in guess

    def _by_character(self, name: str) -> Guess | None:
        if not self.alphabet:
            return None
        meant = ALPHABETS[self.alphabet].get(name)
        return None if meant is None else Guess(meant, f"used so in {self.alphabet} text")

    def _by_name(self, name: str, use: _Use) -> Guess | None:
        own = _own_name(name)
        meant = meanings_of_name(own, platformer=self.side) if len(own) > 1 else ()
        if meant:
            unsure = set(name_words(own)) & set(EITHER)
            seen = f", seen from {'the side' if self.side else 'above'}" if unsure else ""
            return Guess(meant, f"its name says so{seen}")
        if _is_object(name):
            return None
        for layer in sorted(use.layers) if len(use.layers) == 1 else []:
            told = [word for word in meanings_of_name(layer) if word in _LAYER_MEANINGS]
            if told and use.share > 0:
                return Guess(tuple(told), f"stands in layer {layer!r} only")
        return None

    def _by_place(self, name: str, use: _Use) -> Guess:
        if _is_object(name):
            return Guess((), "not guessed: an object whose kind says nothing")
        if name == self.background and use.share > 0.15:
            return Guess(("empty",), f"fills {use.share:.0%} of all cells")
        if self.side and use.bottom > 0.4 and use.bottom > 3 * use.top:
            return Guess(("solid",), f"fills {use.bottom:.0%} of the bottom row")
        inside = self.uses.get(self.background, use).border < 0.05
        if not self.side and use.border > 0.5 and (use.border > use.share * 1.5 or inside):
            return Guess(("solid",), f"fills {use.border:.0%} of the border")
        if use.single and len(self.scenes) > 1 and abs(use.column - 0.5) > 0.25:
            meaning, place = ("start", "left") if use.column < 0.5 else ("goal", "right")
            return Guess((meaning,), f"one in every map, at the {place}")
        return Guess((), "not guessed: nothing tells what it means")


#: What the name of a layer can say of all its tiles.
_LAYER_MEANINGS = ("solid", "liquid", "hazard", "decoration", "climbable", "void", "collectable", "one-way", "empty")


def _is_object(name: str) -> bool:
    return name.startswith("@") and len(name) > 1


def _own_name(name: str) -> str:
    """Return the part of a name that tells of the tile: without the layer, tileset, number and flips."""
    if _is_object(name):
        return name[1:]
    return "" if "#" in name[1:] else name.rpartition(":")[2] if ":" in name[:-1] else name


def guess_meanings(
    scenes_or_parts: Sequence[Scene] | Mapping[str, Tile] | Iterable[Tile], rules_hint: str | None = None
) -> dict[str, Guess]:
    """Guess what every tile and every kind of object means.

    Args:
        scenes_or_parts: Scenes, whose places tell much; or tiles alone.
        rules_hint: Rules of the game, if they are known: whether ``ground`` is solid depends on them.

    Returns:
        A guess for each tile that is there, ``@kind`` for objects, ``nothing`` for bare cells; in the order of
        :func:`~newgameplus.games.stacking.parts_of`.
    """
    given = list(scenes_or_parts.values()) if isinstance(scenes_or_parts, Mapping) else list(scenes_or_parts)
    scenes = [one for one in given if isinstance(one, Scene)]
    tiles = {one.name: one for one in given if isinstance(one, Tile)}
    parts = parts_of(scenes) | tiles
    guesser = _Guesser(parts, scenes, rules_hint)
    return {name: guesser.guess(name) for name in parts}


def guess_rules(levels: Sequence[Level]) -> RulesGuess:
    """Guess which rules decide whether levels can be played, from what their tiles mean.

    Args:
        levels: Over tilesets with meanings.
    """
    if not levels:
        return RulesGuess("reachability", "no levels")
    half = len(levels) / 2

    def common(*meanings: str) -> bool:
        return sum(bool(level.where(*meanings).any()) for level in levels) >= max(half, 1)

    if common("box") and common("goal"):
        return RulesGuess("sokoban", "there are boxes and goals")
    things, ground = _standing(levels)
    if things >= 0.75 and ground < 0.5:
        return RulesGuess("platformer", f"{things:.0%} of characters and things stand on solid tiles")
    size = f"{round(float(np.median([level.width for level in levels])))} x "
    size += f"{round(float(np.median([level.height for level in levels])))}"
    for meaning in ("one-way", "climbable", "pipe"):
        if any(tile.means(meaning) for level in levels[:1] for tile in level.tileset.tiles) and not common(
            "key", "door"
        ):
            return RulesGuess("platformer", f"tiles mean {meaning!r}")
    wide = float(np.median([level.width / level.height for level in levels])) >= _WIDE
    bottom, top = _solid_share(levels, slice(-3, None)), _solid_share(levels, slice(0, 3))
    if bottom > 0.25 and bottom > 2 * top and (wide or not common("key", "door")):
        return RulesGuess("platformer", f"solid tiles lie at the bottom of levels of {size}")
    ways = [meaning for meaning in ("start", "goal", "key", "door") if common(meaning)]
    if len(ways) >= 2 or {"key", "door"} & set(ways):
        return RulesGuess("top-down", f"tiles mean {', '.join(ways)}")
    return RulesGuess("reachability", "no sign of boxes, jumps, keys or doors")


def _standing(levels: Sequence[Level]) -> tuple[float, float]:
    """Return how many of the characters and things, and of all open cells, have a solid tile under them."""
    counts = np.zeros(4)
    for level in levels:
        solid = level.where("solid", "one-way", "climbable")
        below, here = solid[1:], ~solid[:-1]
        things = level.where("start", "enemy", "collectable", "key", "goal", "door")[:-1] & here
        counts += [things.sum(), (things & below).sum(), here.sum(), (here & below).sum()]
    return (counts[1] / counts[0] if counts[0] >= 4 else 0.0), counts[3] / max(counts[2], 1)


def _solid_share(levels: Sequence[Level], rows: slice) -> float:
    return float(np.mean([level.where("solid")[rows].mean() for level in levels]))
