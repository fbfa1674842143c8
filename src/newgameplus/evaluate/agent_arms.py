"""Ways to play, as an evaluation takes them: the episodes that a policy played on each game, and how it learned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from newgameplus.errors import DataError
from newgameplus.games.environment_contract import EpisodeEnd

__all__ = [
    "AGENT_ARM_TITLES",
    "AgentArm",
    "Agreement",
    "CurveSummary",
    "CurveWindow",
    "PlayedEpisodes",
    "curve_windows",
]

AGENT_ARM_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "fine-tuned": "fine-tuned",
        "start": "start policy",
        "scratch": "from scratch",
        "plain": "no retention",
        "cloning": "cloning only",
    }
)
"""What people read for the usual arms."""

_REMEDY = "give one entry for each episode that was played to its end"


@dataclass(frozen=True, eq=False)
class PlayedEpisodes:
    """Episodes that one policy played on one game, each to its end.

    Attributes:
        game: Name of the game.
        totals: float64 [episodes]: sum of each episode's rewards.
        lengths: int64 [episodes]: steps of each.
        successes: bool [episodes]: whether the goal was reached; None if the game does not say.
        seeds: int64 [episodes], no two alike: from which each episode began, so that policies that played the same
            ones can be held against each other episode by episode; None if unknown.
    """

    game: str
    totals: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    successes: npt.NDArray[np.bool_] | None = None
    seeds: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = len(self.totals)
        if not count:
            raise DataError("no episode was played", source=self.game, remedy="play at least one episode")
        for name in ("lengths", "successes", "seeds"):
            column = getattr(self, name)
            if column is not None and len(column) != count:
                raise DataError(f"{count} totals, but {len(column)} {name}", source=self.game, remedy=_REMEDY)
        if not np.isfinite(self.totals).all():
            bad = np.asarray(self.totals)[~np.isfinite(self.totals)][0]
            raise DataError(f"an episode's rewards sum up to {bad}", source=self.game, remedy="mend the game's rewards")
        if self.seeds is not None and len(np.unique(self.seeds)) != count:
            raise DataError("two episodes have one seed", source=self.game, remedy="play each seed once, or give none")

    @classmethod
    def of(
        cls, game: str, ends: Sequence[EpisodeEnd], seeds: Sequence[int] | npt.NDArray[np.int64] | None = None
    ) -> PlayedEpisodes:
        """Collect episodes as environments tell of them; successes only if all of them say."""
        known = [end.success for end in ends if end.success is not None]
        return cls(
            game,
            np.array([end.total for end in ends], np.float64),
            np.array([end.length for end in ends], np.int64),
            np.array(known, np.bool_) if ends and len(known) == len(ends) else None,
            None if seeds is None else np.asarray(seeds, np.int64),
        )

    def __len__(self) -> int:
        return len(self.totals)

    def in_order(self) -> PlayedEpisodes:
        """Return the same episodes in the order of their seeds, if they have some."""
        if self.seeds is None:
            return self
        order = np.argsort(self.seeds, kind="stable")
        successes = None if self.successes is None else self.successes[order]
        return PlayedEpisodes(self.game, self.totals[order], self.lengths[order], successes, self.seeds[order])


@dataclass(frozen=True, eq=False)
class CurveWindow:
    """Episodes that ended within a stretch of the training, for a point of the learning curve.

    Attributes:
        steps: Steps of the game at the end of the stretch.
        totals: float64 [episodes].
        successes: bool [episodes], or None.
        game: On which game; empty for the one that was trained on.
    """

    steps: int
    totals: npt.NDArray[np.float64]
    successes: npt.NDArray[np.bool_] | None = None
    game: str = ""


@dataclass(frozen=True)
class CurveSummary:
    """A point of the learning curve of which only the sums are known, as in ``metrics.jsonl``.

    Attributes:
        steps: Steps of the game at the end of the stretch.
        episodes: How many ended in it, at least 1.
        mean: Of their returns.
        deviation: Standard deviation of their returns (with one degree of freedom less); None if unknown.
        success: Share that reached the goal; None if the game does not say.
        game: On which game; empty for the one that was trained on.
    """

    steps: int
    episodes: int
    mean: float
    deviation: float | None = None
    success: float | None = None
    game: str = ""

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> CurveSummary | None:
        """Return the point of a row of ``metrics.jsonl``; None if no episode ended in its stretch."""
        mean, episodes = row.get("return"), int(row.get("episodes") or 0)
        if mean is None or not np.isfinite(mean) or episodes < 1:
            return None
        return cls(int(row["step"]), episodes, float(mean), row.get("return_deviation"), row.get("success"))


@dataclass(frozen=True, eq=False)
class Agreement:
    """How often a policy does what the demonstrator did, on episodes that it was not trained on.

    Attributes:
        matches: float64 [episodes]: steps with the demonstrator's action (for continuous actions, a sum of closeness).
        steps: int64 [episodes]: steps of each.
    """

    matches: npt.NDArray[np.float64]
    steps: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class AgentArm:
    """One way to play.

    Attributes:
        name: Key, e.g. ``fine-tuned``, ``start``, ``scratch``, ``plain``, ``cloning``.
        title: What people read.
        kind: ``fine-tuned`` or ``baseline``.
        played: Episodes by game.
        steps: Steps of the game that it learned from.
        seconds: Time that it took to learn.
        curve: What it reached while it learned, in order.
        note: Anything a reader should know.
        agreement: With held-out demonstrations, if there are some.
    """

    name: str
    title: str
    kind: Literal["fine-tuned", "baseline"]
    played: Mapping[str, PlayedEpisodes]
    steps: int = 0
    seconds: float = 0.0
    curve: Sequence[CurveWindow | CurveSummary] = ()
    note: str = ""
    agreement: Agreement | None = None


def curve_windows(ends: Iterable[tuple[int, float, bool | None]], windows: int = 40) -> tuple[CurveWindow, ...]:
    """Gather the episodes of a training into stretches of equal steps.

    Args:
        ends: For each episode that ended: steps of the game so far, its total, and its success or None.
        windows: Number of stretches at most; those in which no episode ended are left out.
    """
    rows = sorted(((int(steps), float(total), success) for steps, total, success in ends), key=lambda row: row[0])
    if not rows:
        return ()
    edge = -(-max(rows[-1][0], 1) // windows)
    gathered: dict[int, list[tuple[int, float, bool | None]]] = {}
    for row in rows:
        gathered.setdefault(max(0, row[0] - 1) // edge, []).append(row)
    return tuple(
        CurveWindow(
            min((place + 1) * edge, rows[-1][0]),
            np.array([total for _, total, _ in group], np.float64),
            None if any(success is None for _, _, success in group) else np.array([s for _, _, s in group], np.bool_),
        )
        for place, group in gathered.items()
    )
