"""A Gymnasium environment and a policy as rules: a level can be played if an episode of it succeeds.

A success proves that it can be done; failures prove nothing, so without one the answer is "undecided" (or, if its user
trusts the policy, "unplayable"). The proof is the seed and the actions, which are played again in a fresh environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from newgameplus.errors import MissingExtraError, NewGamePlusError, Problem, RecipeError, raise_problems
from newgameplus.games.rules.contract import Answer, Budget, Cell, Proof, Rules
from newgameplus.games.rules.own_program import describe_failure, find_function
from newgameplus.games.scenes import Level

__all__ = ["GymnasiumRules"]

_BUDGET = Budget()


class GymnasiumRules(Rules):
    """Episodes of an environment.

    Args:
        environment: Id for ``gymnasium.make``, which gets the level's text (one character a tile) as a keyword.
        make: Instead: a function of a level that returns an environment, or its ``module:function``.
        policy: ``random``, or a function of observation and environment that returns an action.
        episodes: Episodes to try.
        steps: Most steps of an episode.
        success: What counts: ``terminated``, ``reward`` (a step's reward above 0), or a key of ``info`` that is true.
        text: Keyword that takes the level's text.
        cell: Key of ``info`` that tells row and column of the player, for the proof; left out where it is missing.
        seed: Seed of the first episode.
        failure: What no success means: ``undecided`` or ``unplayable``.
        folder: What the paths of ``file.py:function`` are relative to.

    Raises:
        MissingExtraError: Gymnasium is not installed.
        RecipeError: An option is wrong.
    """

    def __init__(
        self,
        *,
        environment: str = "",
        make: Callable[[Level], Any] | str | None = None,
        policy: Callable[[Any, Any], Any] | str = "random",
        episodes: int = 10,
        steps: int = 1000,
        success: str = "terminated",
        text: str = "level_text",
        cell: str = "cell",
        seed: int = 0,
        failure: str = "undecided",
        folder: Path | None = None,
    ) -> None:
        counts = {"episodes": (episodes, 1), "steps": (steps, 1), "seed": (seed, 0)}
        problems = [
            Problem(f"{name} is {value!r:.60}", f"rules.{name}", f"a whole number from {least} to 1000000")
            for name, (value, least) in counts.items()
            if type(value) is not int or not least <= value <= 1_000_000
        ]
        if failure not in ("undecided", "unplayable"):
            problems.append(Problem(f"failure is {failure!r:.60}", "rules.failure", "undecided or unplayable"))
        if not environment and make is None:
            problems.append(Problem("no environment is named", "rules", "write gymnasium:ID, or give make"))
        raise_problems(problems, RecipeError, "options of the Gymnasium rules cannot be used")
        self._gymnasium = _import_gymnasium()
        self._make = find_function(make, folder) if isinstance(make, str) else make
        self._policy = find_function(policy, folder) if isinstance(policy, str) and policy != "random" else policy
        self.environment, self.episodes, self.steps, self.success = environment, episodes, steps, success
        self.text, self.cell, self.seed, self.failure = text, cell, seed, failure
        self.name = f"gymnasium:{environment or getattr(self._make, '__qualname__', 'make')}"

    @contextmanager
    def _open(self, level: Level) -> Iterator[Any]:
        if self._make is not None:
            environment = self._make(level)
        else:
            environment = self._gymnasium.make(self.environment, **{self.text: level.to_text()})
        try:
            yield environment
        finally:
            with suppress(Exception):
                environment.close()

    def solve(self, level: Level, budget: Budget = _BUDGET) -> Answer:
        """See :meth:`Rules.solve`. Nodes of the budget are steps of the environment, over all episodes."""
        limit = None if budget.seconds is None else monotonic() + budget.seconds
        taken, best = 0, -np.inf
        try:
            with self._open(level) as environment:
                for episode in range(self.episodes):
                    allowed = min(self.steps, budget.nodes - taken)
                    if allowed < 1 or (limit is not None and monotonic() > limit):
                        reason = f"the budget ended after {episode} of {self.episodes} episodes ({taken} steps)"
                        return Answer("undecided", reason=reason, measures={"nodes": float(taken)})
                    proof, reward, steps = self._episode(environment, self.seed + episode, allowed)
                    taken, best = taken + steps, max(best, reward)
                    if proof is not None:
                        measures = {"path_length": float(steps), "episodes": episode + 1.0, "nodes": float(taken)}
                        return Answer("playable", proof, measures=measures)
        except NewGamePlusError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's program may raise anything; the answer says so
            return Answer("undecided", reason=describe_failure(self.name, error))
        reason = f"none of {self.episodes} episodes succeeded (best return {best:g})"
        status: Any = self.failure
        return Answer(status, reason=reason, measures={"nodes": float(taken)})

    def _episode(self, environment: Any, seed: int, most: int) -> tuple[Proof | None, float, int]:
        """Play once; return the proof if it succeeded, the sum of rewards, and the steps taken."""
        observation, info = environment.reset(seed=seed)
        environment.action_space.seed(seed)
        actions: list[Any] = []
        cells: list[Cell] = []
        total = 0.0
        self._note_cell(info, cells)
        for step in range(most):
            drawn = self._policy == "random"
            action = environment.action_space.sample() if drawn else self._decide(observation, environment)
            actions.append(_plain(action))
            observation, reward, terminated, truncated, info = environment.step(action)
            total += float(reward)
            self._note_cell(info, cells)
            if self._succeeded(reward, terminated, info):
                facts = {"seed": seed, "actions": actions, "success": self.success}
                return Proof(tuple(cells), facts=facts), total, step + 1
            if terminated or truncated:
                return None, total, step + 1
        return None, total, most

    def _decide(self, observation: Any, environment: Any) -> Any:
        if isinstance(self._policy, str):
            raise TypeError(f"policy {self._policy!r} is no function")
        return self._policy(observation, environment)

    def _succeeded(self, reward: Any, terminated: Any, info: Mapping[str, Any]) -> bool:
        if self.success == "terminated":
            return bool(terminated)
        if self.success == "reward":
            return float(reward) > 0.0
        return bool(info.get(self.success, False))

    def _note_cell(self, info: Mapping[str, Any], cells: list[Cell]) -> None:
        with suppress(TypeError, ValueError, KeyError):
            row, column = info[self.cell]
            cells.append((int(row), int(column)))

    def replay(self, level: Level, proof: Proof) -> str:
        """See :meth:`Rules.replay`. Plays the actions again in a new environment."""
        actions, seed = proof.facts.get("actions"), proof.facts.get("seed")
        if not isinstance(actions, (list, tuple)) or not actions or type(seed) is not int:
            return "the proof has no actions or no seed"
        try:
            with self._open(level) as environment:
                _, info = environment.reset(seed=seed)
                cells: list[Cell] = []
                self._note_cell(info, cells)
                for number, action in enumerate(actions, start=1):
                    given = _as_action(action, environment.action_space)
                    if not environment.action_space.contains(given):
                        return f"step {number}: {action!r:.40} is no action"
                    _, reward, terminated, truncated, info = environment.step(given)
                    self._note_cell(info, cells)
                    if self._succeeded(reward, terminated, info):
                        if number < len(actions):
                            return f"step {number}: the episode succeeds before the last action"
                        return "" if tuple(cells) == proof.cells else "the player goes elsewhere"
                    if terminated or truncated:
                        return f"step {number}: the episode ends without success"
        except Exception as error:  # noqa: BLE001 - a user's program may raise anything; the answer says so
            return describe_failure(self.name, error)
        return f"the episode does not succeed within {len(actions)} actions"


def _plain(action: Any) -> Any:
    """Turn an action into plain data."""
    if isinstance(action, np.ndarray):
        return action.tolist()
    if isinstance(action, np.generic):
        return action.item()
    if isinstance(action, tuple):
        return [_plain(one) for one in action]
    if isinstance(action, Mapping):
        return {str(key): _plain(one) for key, one in action.items()}
    return action


def _as_action(action: Any, space: Any) -> Any:
    """Turn plain data into an action of a space."""
    if hasattr(space, "spaces"):
        if isinstance(space.spaces, Mapping):
            return {key: _as_action(action[key], one) for key, one in space.spaces.items()}
        return tuple(_as_action(one, part) for one, part in zip(action, space.spaces, strict=True))
    if isinstance(action, list):
        return np.array(action, getattr(space, "dtype", None))
    if type(action) is int:
        return np.int64(action)
    return action


def _import_gymnasium() -> Any:
    try:
        import gymnasium
    except ImportError as error:
        why = "" if isinstance(error, ModuleNotFoundError) and error.name == "gymnasium" else str(error)
        raise MissingExtraError("gymnasium", "gymnasium", why) from error
    return gymnasium
