"""Strength that fits the player: handicaps measured once, and the one whose score is nearest to the level wanted.

Level 0 plays like a random policy, level 1 like the full one; between them strength is the measured score on that
scale. A policy is made weaker along one *axis*: a higher temperature, a share of random actions, a delay of its
reactions, or an earlier snapshot of its training. A grid of settings is measured first; where a level falls between two
settings, one between them is measured too, until the level is met or the axis has nothing in between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from newgameplus import progress
from newgameplus.errors import DataError, RecipeError, RunError
from newgameplus.evaluate.strength import MeasuredSetting, StrengthChoice, StrengthCurve, fit_strength
from newgameplus.files import write_json
from newgameplus.games.environment_contract import Environments
from newgameplus.pretrained.policy import Policy
from newgameplus.recipe import did_you_mean
from newgameplus.run import Run, read_json
from newgameplus.scenarios.agent_play import FULL_STRENGTH, Handicap, play_episodes
from newgameplus.scenarios.agent_player import Player
from newgameplus.scenarios.agent_start import copy_policy
from newgameplus.tensors import load_tensors

__all__ = ["AXES", "LevelChoice", "choose_level", "strength_table"]

#: What makes a policy weaker, from weak to strong.
AXES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "temperature": (64.0, 8.0, 4.0, 2.5, 1.6, 1.0),
        "randomness": (1.0, 0.8, 0.6, 0.4, 0.2, 0.1, 0.0),
        "delay": (12.0, 8.0, 5.0, 3.0, 2.0, 1.0, 0.0),
        "snapshot": (),
    }
)
EPISODES = 48
_SEED = 7_000_003
_REFINEMENTS = 4
_FILE = "strength.json"
_TABLE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, eq=False)
class LevelChoice:
    """How a level is played.

    Attributes:
        player: The player, with an earlier snapshot of the policy if that is what makes it weaker.
        handicap: What else does.
        choice: What was measured of it.
        curve: All that was measured along its axis.
        axis: What makes it weaker.
    """

    player: Player
    handicap: Handicap
    choice: StrengthChoice
    curve: StrengthCurve
    axis: str

    def as_dict(self) -> dict[str, Any]:
        """Return the choice and the table of levels as plain data."""
        rows = []
        for level in sorted({*_TABLE, self.choice.level}):
            row = self.curve.choose(level)
            spread = self.curve.full - self.curve.random
            low, high = (self.curve.random + spread * end for end in (row.score.low, row.score.high))
            rows.append({"level": level, "score": row.raw, "low": low, "high": high, "settings": row.text})
            rows[-1]["reached"] = row.reached
        notes = []
        if not self.choice.reached:
            told = (
                f"level {self.choice.level:g} is out of reach by {self.axis}; played is {self.choice.score.value:.2f}"
            )
            notes.append(told)
        return {
            "level": self.choice.level,
            "axis": self.axis,
            "settings": self.choice.text,
            "reached": self.choice.reached,
            "strength": self.choice.score.as_dict(),
            "table": rows,
            "notes": notes,
        }


class _Book:
    """What was measured so far, kept in the run folder if there is one.

    Args:
        player: The player.
        environments: Copies of its game.
    """

    def __init__(self, player: Player, environments: Environments) -> None:
        self.player, self.environments = player, environments
        self.path = None if player.run is None else player.run.folder / _FILE
        self.scores: dict[str, list[float]] = {}
        self.key = f"{player.settings.id} {player.settings.options}"
        if self.path is not None and self.path.is_file():
            self.scores = _read_scores(self.path).get(self.key, {})

    def measure(self, name: str, policy: Policy | None, handicap: Handicap = FULL_STRENGTH) -> np.ndarray[Any, Any]:
        """Return float64 [episodes], played now or known from before."""
        if name not in self.scores:
            played = play_episodes(
                policy, self.environments, EPISODES, _SEED, handicap=handicap, title=f"measuring {name}"
            )
            self.scores[name] = played.totals.tolist()
            self._keep()
        return np.asarray(self.scores[name], np.float64)

    def _keep(self) -> None:
        if self.path is None:
            return
        content = _read_scores(self.path) if self.path.is_file() else {}
        write_json(self.path, {**content, self.key: self.scores})


def _read_scores(path: Path) -> dict[str, dict[str, list[float]]]:
    """Return the scores of every setting that was measured, by game."""
    remedy = "delete this file; strength is then measured anew"
    content = read_json(path, remedy=remedy)
    try:
        return {
            str(game): {str(name): [float(score) for score in scores] for name, scores in measured.items()}
            for game, measured in content.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise RunError(f"this file is damaged ({error!r})", source=str(path), remedy=remedy) from error


def snapshots(run: Run | None) -> list[Path]:
    """Return the snapshots that a run kept of its training, the first one first."""
    return [] if run is None else sorted((run.folder / "snapshots").glob("*.safetensors"))


def _values(axis: str, player: Player) -> list[float]:
    return [float(n) for n in range(len(snapshots(player.run)))] if axis == "snapshot" else list(AXES[axis])


def _setting(axis: str, value: float, player: Player) -> tuple[Player, Handicap, str]:
    """Return who plays, and how, for a value of an axis, and what to call it."""
    if axis == "temperature":
        return player, Handicap(temperature=value), f"temperature {value:.3g}"
    if axis == "randomness":
        return player, Handicap(randomness=value), f"{value:.3g} of the actions at random"
    if axis == "delay":
        return player, Handicap(delay=int(value)), f"{int(value)} steps late"
    path = snapshots(player.run)[int(value)]
    tensors, content = load_tensors(path)
    policy = copy_policy(player.policy)
    try:
        policy.network.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(f"this snapshot does not fit: {error}", source=str(path), remedy="delete it") from error
    return replace(player, policy=policy), FULL_STRENGTH, f"as after {content['step']:,} steps"


def _between(axis: str, low: float, high: float) -> float | None:
    """Return a value between two neighbours of an axis, or None if there is none."""
    if axis == "temperature":
        middle = math.sqrt(low * high)
        return middle if abs(low - high) > 0.02 * high else None
    if axis == "randomness":
        return (low + high) / 2.0 if abs(low - high) > 0.01 else None
    whole = (low + high) // 2.0
    return whole if axis == "delay" and whole not in (low, high) else None


def _fit(book: _Book, axis: str, values: Sequence[float]) -> StrengthCurve:
    measured = []
    for value in values:
        player, handicap, text = _setting(axis, value, book.player)
        measured.append(MeasuredSetting({axis: value}, text, book.measure(text, player.policy, handicap)))
    random, full = book.measure("random play", None), book.measure("full strength", book.player.policy)
    return fit_strength(measured, random, full, game=book.player.settings.id)


def calibrate(book: _Book, axis: str, level: float) -> tuple[StrengthCurve, StrengthChoice]:
    """Measure along an axis until a level is met, or nothing lies in between.

    Args:
        book: What was measured so far.
        axis: One of :data:`AXES`.
        level: 0..1.
    """
    values = _values(axis, book.player)
    curve = _fit(book, axis, values)
    for _ in range(_REFINEMENTS):
        choice = curve.choose(level)
        if choice.reached:
            break
        near = choice.setting + (1 if choice.score.value < level else -1)
        middle = _between(axis, values[choice.setting], values[near]) if 0 <= near < len(values) else None
        if middle is None:
            break
        values = sorted([*values, middle], reverse=True)
        curve = _fit(book, axis, values)
    return curve, curve.choose(level)


def choose_level(player: Player, level: float, by: str = "auto") -> LevelChoice:
    """Return how a policy plays at a level.

    Args:
        player: The policy and its game.
        level: 0 (random) to 1 (full), by measured score.
        by: An axis, or ``auto``: the first along which the level can be met, else the one that comes nearest.

    Raises:
        RecipeError: There is no such axis or level.
        DataError: The full policy is not surely better than random play.
    """
    if not 0.0 <= level <= 1.0:
        raise RecipeError(f"level {level:g}", source="--level", remedy="give a number from 0 (random) to 1 (full)")
    if by != "auto" and by not in AXES:
        remedy = f"{did_you_mean(by, list(AXES))}known: auto, {', '.join(AXES)}"
        raise RecipeError(f"{by!r} is no way to make a policy weaker", source="--by", remedy=remedy)
    found: list[LevelChoice] = []
    with player.open(EPISODES) as environments:
        book = _Book(player, environments)
        for axis in AXES if by == "auto" else (by,):
            if not _values(axis, player):
                continue
            curve, choice = calibrate(book, axis, level)
            weaker, handicap, _ = _setting(axis, next(iter(choice.key.values())), player)
            found.append(LevelChoice(weaker, handicap, choice, curve, axis))
            if choice.reached:
                break
    if not found:
        message, remedy = f"there is nothing to make it weaker by {by}", "snapshots are kept by ngp fit of this version"
        raise DataError(message, source="--by", remedy=remedy)
    best = min(found, key=lambda one: abs(one.choice.score.value - level))
    progress.say(f"level {level:g}: {best.choice.text} (measured {best.choice.score.value:.2f})")
    return best


def strength_table(player: Player, levels: int) -> dict[str, Any]:
    """Return a table of evenly spread levels against measured scores, for a run's report.

    Args:
        player: The policy and its game.
        levels: How many levels, at least 2.
    """
    wanted = [round(float(level), 3) for level in np.linspace(0.0, 1.0, max(2, levels))]
    with player.open(EPISODES) as environments:
        book = _Book(player, environments)
        for level in wanted:
            calibrate(book, "temperature", level)
        known = [name for name in book.scores if name.startswith("temperature ")]
        values = sorted({*AXES["temperature"], *(float(name.split()[1]) for name in known)}, reverse=True)
        return _fit(book, "temperature", values).table(wanted)
