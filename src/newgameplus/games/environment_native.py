"""Copies of a game that are stepped all at once by who made it.

Each kind is a function in ``NATIVE`` that looks at the settings and answers with environments, or None if the game is
not its own. All end episodes alike, by :class:`NativeEnvironments`: at once, with the last observation handed out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.errors import GameError
from newgameplus.games.atari_frames import is_atari
from newgameplus.games.environment_contract import Environments, EpisodeEnd, Step
from newgameplus.games.environment_making import GameCopy, import_gymnasium, make_copy
from newgameplus.games.environment_sync import mend_with_copy, seed_of, told_success
from newgameplus.games.rules.own_program import describe_failure
from newgameplus.gymnasium_actions import ActionTranslator
from newgameplus.gymnasium_spaces import ObservationTranslator, RowError
from newgameplus.recipe_agent import EnvironmentSettings
from newgameplus.spaces import Actions, Observations

__all__ = ["Advance", "CartPoleEnvironments", "MinAtarEnvironments", "NativeEnvironments", "offer_native"]

_NEVER = 1 << 62


@dataclass(frozen=True, eq=False)
class Advance:
    """What a step of all copies gave, before anything begins anew.

    Attributes:
        observations: Arrays that nobody else writes to.
        rewards: [copies].
        over: bool [copies]: the game ended.
        cut: bool [copies]: the maker's own time limit ended it.
        info: What the maker says of each copy, by key, [copies].
    """

    observations: Observations
    rewards: npt.NDArray[Any]
    over: npt.NDArray[np.bool_]
    cut: npt.NDArray[np.bool_]
    info: dict[str, Any]


class NativeEnvironments(Environments):
    """See :class:`Environments`.

    Args:
        name: How the game was asked for.
        count: Number of copies.
        seen: Translates what is seen.
        done: Translates what is done.
        limit: Most steps of an episode, or None.
        success: See :func:`newgameplus.games.environment_sync.told_success`.
    """

    def __init__(
        self,
        name: str,
        count: int,
        seen: ObservationTranslator,
        done: ActionTranslator,
        limit: int | None,
        success: str,
    ) -> None:
        self.name, self.count = name, count
        self.observations, self.actions = seen.spec, done.spec
        self.success = success
        self._see, self._do = seen, done
        self._limit = limit or _NEVER
        self._totals = np.zeros(count, np.float64)
        self._lengths = np.zeros(count, np.int64)
        self._ready = False

    @abstractmethod
    def _begin_all(self, seed: int) -> Observations:
        """Begin everywhere; the seed decides everything."""

    @abstractmethod
    def _advance(self, actions: Actions) -> Advance:
        """Take checked actions."""

    @abstractmethod
    def _begin_some(self, rows: npt.NDArray[np.int64]) -> Observations:
        """Begin anew in some copies; return what is seen in those alone."""

    def reset(self, seed: int) -> Observations:
        """See :meth:`Environments.reset`."""
        self._totals[:], self._lengths[:] = 0.0, 0
        found: Observations = self._guarded(lambda: self._begin_all(seed), "reset")
        self._ready = True
        return found

    def step(self, actions: Actions) -> Step:
        """See :meth:`Environments.step`."""
        if not self._ready:
            raise GameError(f"{self.name} was not reset", remedy="call reset(seed) before the first step")
        checked = self._do.check(actions, self.count)
        after = self._guarded(lambda: self._advance(checked), "step")
        self._totals += after.rewards
        self._lengths += 1
        if not np.isfinite(self._totals).all():
            row = int(np.argmin(np.isfinite(self._totals)))
            message = f"the reward is {after.rewards[row]}"
            raise mend_with_copy(GameError(message, remedy="correct the game"), self.name, row)
        over = after.over
        cut = (after.cut | (self._lengths >= self._limit)) & ~over
        rewards = after.rewards.astype(np.float32)
        rows = np.flatnonzero(over | cut)
        if not len(rows):
            return Step(after.observations, rewards, over, cut)
        episodes = tuple(self._end(int(row), after.info) for row in rows)
        final = {name: array.copy() for name, array in after.observations.items()}
        for name, fresh in self._guarded(lambda: self._begin_some(rows), "reset").items():
            after.observations[name][rows] = fresh
        self._totals[rows], self._lengths[rows] = 0.0, 0
        return Step(after.observations, rewards, over, cut, final, episodes)

    def _end(self, row: int, info: dict[str, Any]) -> EpisodeEnd:
        total = float(self._totals[row])
        told = {key: value[row] for key, value in info.items() if np.ndim(value) and len(value) == self.count}
        return EpisodeEnd(row, total, int(self._lengths[row]), told_success(self.success, told, total))

    def _guarded(self, call: Callable[[], Any], what: str) -> Any:
        try:
            return call()
        except RowError as error:
            raise mend_with_copy(error, self.name, error.row) from error
        except GameError:
            raise
        except Exception as error:
            remedy = "use vectorize: sync to see in which copy"
            raise GameError(describe_failure(what, error), source=self.name, remedy=remedy) from error

    def close(self) -> None:
        """See :meth:`Environments.close`."""
        self._ready = False


class CartPoleEnvironments(NativeEnvironments):
    """Gymnasium's own CartPole for many copies, which ends and begins episodes as its single one does.

    A copy with a seed begins the same episodes as one that is stepped by itself; the numbers on the way may differ in
    the last digit.
    """

    def __init__(self, settings: EnvironmentSettings, copy: GameCopy, count: int) -> None:
        super().__init__(settings.id, count, copy.observations, copy.actions, copy.limit, copy.success)
        gymnasium = import_gymnasium()
        self._poles = gymnasium.make_vec(
            settings.id, count, vectorization_mode="vector_entry_point", **settings.options
        ).unwrapped
        self._poles.max_episode_steps = _NEVER  # the limit is kept here
        self._poles.steps = np.zeros(count, np.int64)
        self._chance: list[np.random.Generator] = []

    def _begin_all(self, seed: int) -> Observations:
        from gymnasium.utils import seeding

        self._poles.reset(seed=0)
        self._chance = [seeding.np_random(seed_of(seed, row))[0] for row in range(self.count)]
        return self._begin_some(np.arange(self.count))

    def _begin_some(self, rows: npt.NDArray[np.int64]) -> Observations:
        low, high = self._poles.low, self._poles.high
        for row in rows:
            self._poles.state[:, row] = self._chance[row].uniform(low, high, (4,))
        self._poles.prev_done[rows] = False
        return {self.observations.parts[0].name: self._poles.state[:, rows].T.astype(np.float32)}

    def _advance(self, actions: Actions) -> Advance:
        seen, rewards, over, cut, _ = self._poles.step(actions)
        return Advance({self.observations.parts[0].name: seen}, rewards, over, cut, {})


class MinAtarEnvironments(NativeEnvironments):
    """MinAtar's games themselves, without Gymnasium in between; number for number what it would give."""

    def __init__(self, settings: EnvironmentSettings, copies: Sequence[GameCopy]) -> None:
        first = copies[0]
        super().__init__(settings.id, len(copies), first.observations, first.actions, first.limit, first.success)
        self._games = [copy.environment.unwrapped.game for copy in copies]
        self._action_set = np.asarray(first.environment.unwrapped.action_set)
        self._part = self.observations.parts[0].name

    def _begin_all(self, seed: int) -> Observations:
        for row, game in enumerate(self._games):
            game.seed(seed_of(seed, row))
            game.last_action = 0  # what it would repeat by chance
            game.reset()
        return self._look(self._games)

    def _begin_some(self, rows: npt.NDArray[np.int64]) -> Observations:
        games = [self._games[row] for row in rows]
        for game in games:
            game.reset()
        return self._look(games)

    def _look(self, games: Sequence[Any]) -> Observations:
        planes = np.array([game.env.state() for game in games])
        return {self._part: np.ascontiguousarray(planes.transpose(0, 3, 1, 2)).view(np.uint8)}

    def _advance(self, actions: Actions) -> Advance:
        chosen = self._action_set[actions].tolist()
        results = [game.act(action) for game, action in zip(self._games, chosen, strict=True)]
        rewards = np.array([result[0] for result in results], np.float64)
        over = np.array([result[1] for result in results], np.bool_)
        return Advance(self._look(self._games), rewards, over, np.zeros(self.count, np.bool_), {})


def _cart_pole(settings: EnvironmentSettings, count: int) -> Environments | None:
    if settings.id not in ("CartPole-v0", "CartPole-v1") or not set(settings.options) <= {"sutton_barto_reward"}:
        return None
    return CartPoleEnvironments(settings, make_copy(settings), count)


def _minatar(settings: EnvironmentSettings, count: int) -> Environments | None:
    if not settings.id.startswith("MinAtar/"):
        return None
    return MinAtarEnvironments(settings, [make_copy(settings) for _ in range(count)])


def _atari(settings: EnvironmentSettings, count: int) -> Environments | None:
    if not is_atari(settings):
        return None
    from newgameplus.games.environment_atari import AtariEnvironments

    return AtariEnvironments(settings, count)


def _envpool(settings: EnvironmentSettings, count: int) -> Environments | None:
    from newgameplus.games.environment_envpool import EnvPoolEnvironments

    return EnvPoolEnvironments(settings, count)


Kind = Callable[[EnvironmentSettings, int], Environments | None]
NATIVE: tuple[Kind, ...] = (_cart_pole, _minatar, _atari)
"""Kinds that give the same game on every machine, and are taken without being asked for."""
ASKED_FOR: tuple[Kind, ...] = (_envpool,)
"""Kinds whose chance is not that of the Gymnasium version, so that a recipe must ask for them."""


def offer_native(settings: EnvironmentSettings, count: int, *, asked: bool) -> Environments | None:
    """Return environments that their maker steps, or None if there are none.

    Args:
        settings: Which game.
        count: Number of copies.
        asked: Whether the recipe asks for them.

    Raises:
        GameError: The recipe asks for them, and there are none.
        MissingExtraError: The same, and a package may have them that is not installed.
    """
    for kind in (*NATIVE, *(ASKED_FOR if asked else ())):
        found = kind(settings, count)
        if found is not None:
            return found
    return None
