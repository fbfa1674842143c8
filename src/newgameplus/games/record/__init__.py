"""Recorders: engines that play episodes and say exactly what happens in them."""

from newgameplus.games.record.doom import Recording, record_doom

__all__ = ["Recording", "record_doom"]
