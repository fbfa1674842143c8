"""Any Gymnasium environment, several copies at once, by the contract in
:mod:`newgameplus.games.environment_contract`."""

from __future__ import annotations

from newgameplus.games.environment_contract import Environments
from newgameplus.games.environment_film import make_rendered
from newgameplus.games.environment_making import describe_spaces, known_ids, make_copy
from newgameplus.games.environment_process import ProcessEnvironments
from newgameplus.games.environment_sync import SyncEnvironments
from newgameplus.recipe_agent import EnvironmentSettings

__all__ = ["describe_spaces", "known_ids", "make_environments", "make_rendered"]


def make_environments(settings: EnvironmentSettings, *, count: int | None = None, render: bool = False) -> Environments:
    """Make copies of a game.

    Args:
        settings: Which game, how many copies, and who steps them.
        count: Number of copies, if not the one in the settings.
        render: Whether ``render()`` shall give pictures of the first copy; they are then stepped one after the other.

    Raises:
        GameError: There is no such game, or it cannot be made.
        MissingExtraError: A package that it needs is not installed.
    """
    wanted = count or (16 if settings.count == "auto" else settings.count)
    if settings.vectorize == "process" and not render:
        return ProcessEnvironments(settings, wanted)
    return SyncEnvironments(settings.id, [make_copy(settings, render=render) for _ in range(wanted)])
