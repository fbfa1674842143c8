"""Rules with their own opinion of what tiles mean: a table laid over a level's tileset before any rules look at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from newgameplus.games.rules.contract import Answer, Budget, Flaw, Proof, Rules
from newgameplus.games.scenes import Level, Tileset, check_meanings

__all__ = ["Retiled"]

_BUDGET = Budget()


class Retiled(Rules):
    """Other rules, for levels whose tiles mean what a table says.

    Args:
        rules: The rules that judge.
        meanings: Meanings by tile name; tiles not named keep theirs.
        name: Name of the whole.

    Raises:
        DataError: A meaning is not known.
    """

    def __init__(self, rules: Rules, meanings: Mapping[str, Iterable[str]], name: str = "") -> None:
        self.meanings = {tile: tuple(values) for tile, values in meanings.items()}
        check_meanings(self.meanings)
        self.rules = rules
        self.name = name or rules.name
        self.grows = rules.grows
        self._tilesets: dict[int, tuple[Tileset, Tileset]] = {}

    def retile(self, level: Level) -> Level:
        """Return the level with the table's meanings."""
        own = level.tileset
        known = self._tilesets.get(id(own))
        if known is None or known[0] is not own:
            table = {tile: values for tile, values in self.meanings.items() if tile in own.index}
            known = own, own.with_meanings(table)
            self._tilesets = {id(own): known}
        return Level(level.tiles, known[1], level.name, level.caption)

    def solve(self, level: Level, budget: Budget = _BUDGET) -> Answer:
        """See :meth:`Rules.solve`."""
        return self.rules.solve(self.retile(level), budget)

    def solve_part(self, level: Level, budget: Budget = _BUDGET) -> Answer:
        """See :meth:`Rules.solve_part`."""
        return self.rules.solve_part(self.retile(level), budget)

    def replay(self, level: Level, proof: Proof) -> str:
        """See :meth:`Rules.replay`."""
        return self.rules.replay(self.retile(level), proof)

    def flaws(self, level: Level) -> list[Flaw]:
        """See :meth:`Rules.flaws`."""
        return self.rules.flaws(self.retile(level))

    def needs(self, level: Level) -> list[str]:
        """See :meth:`Rules.needs`; tiles of the table that the level has not are told as well."""
        strangers = [tile for tile in self.meanings if tile not in level.tileset.index]
        return [f"a tile called {tile!r}" for tile in strangers] + self.rules.needs(self.retile(level))
