"""The bot that comes with BabyAI (Chevalier-Boisvert et al. 2019), which solves levels by what an agent has seen."""

from __future__ import annotations

from typing import Any

__all__ = ["BabyAIExpert"]

_DONE = 6


class BabyAIExpert:
    """Plays one copy of a BabyAI level; where the bot gives up, it waits for the end."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._bot: Any = None
        self._last: Any = None

    def begin(self) -> None:
        """Take note that an episode begins."""
        from minigrid.utils.baby_ai_bot import BabyAIBot

        self._last = None
        try:
            self._bot = BabyAIBot(self._environment)
        except Exception:  # noqa: BLE001 - it asserts what some levels do not keep
            self._bot = None

    def act(self) -> int:
        """Return the action to take now."""
        if self._bot is None:
            return _DONE
        try:
            self._last = self._bot.replan(self._last)
        except Exception:  # noqa: BLE001 - likewise; the episode ends without success
            self._bot = None
            return _DONE
        return int(self._last)
