"""Demonstrations: episodes of someone who can play, read from any known format, chosen by quality, and split.

A file that says of which spaces its episodes are is compared with the game at once; the arrays of one that does not say
are fitted one by one. Episodes are outlined first and read one at a time, so that only those chosen take memory. The
same episode twice counts once, so it cannot stand on both sides of a split.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil

from newgameplus import progress
from newgameplus.errors import DataError, Problem, raise_problems
from newgameplus.files import digest_bytes
from newgameplus.games.demonstration_check import LARGE_REWARD, fit_episode
from newgameplus.games.demonstration_formats import open_demonstrations
from newgameplus.games.demonstration_formats.contract import DemonstrationFile, Outline, RawEpisode
from newgameplus.games.demonstration_spaces import OtherSpacesError, guess_spaces, space_differences
from newgameplus.games.episodes import Demonstrations, Episode
from newgameplus.recipe_agent import AgentDataSettings
from newgameplus.spaces import ActionSpec, ObservationPart, ObservationSpec

__all__ = [
    "DemonstrationSummary",
    "OtherSpacesError",
    "describe_demonstrations",
    "episode_digest",
    "load_demonstrations",
    "space_differences",
    "split_demonstrations",
]

Spaces = tuple[ObservationSpec, ActionSpec]
_MEMORY_SHARE = 0.7
_SEED = 0xDE305
_MOST_PROBLEMS = 50


@dataclass(frozen=True)
class DemonstrationSummary:
    """What a file of demonstrations holds, found without a game.

    Attributes:
        environment: Game, as it was asked for; empty if the file does not say.
        observations: What was seen; guessed from the numbers if the file does not say.
        actions: What could be done; likewise.
        guessed: Whether the spaces are a guess.
        lengths: Steps of each episode.
        totals: Sum of the rewards of each episode; NaN where it cannot be read.
        successes: Whether each reached the goal; None where the file does not say.
    """

    environment: str
    observations: ObservationSpec
    actions: ActionSpec
    guessed: bool
    lengths: tuple[int, ...]
    totals: tuple[float, ...]
    successes: tuple[bool | None, ...]


@dataclass(frozen=True)
class _Candidate:
    file: DemonstrationFile
    place: int
    number: int
    outline: Outline

    def read(self) -> RawEpisode:
        return self.file.read(self.number)


def load_demonstrations(
    path: str | Path,
    *,
    observations: ObservationSpec,
    actions: ActionSpec,
    settings: AgentDataSettings | None = None,
    seed: int = 0,
) -> Demonstrations:
    """Read demonstrations of a game.

    Args:
        path: File or folder of a known format, a folder of such, or the id of a Minari data set on this machine.
        observations: What is seen in the game.
        actions: What can be done in it.
        settings: Which episodes to take.
        seed: Of the choice where ``max_episodes`` leaves episodes out.

    Returns:
        The episodes in the order of the files; what was left out and why.

    Raises:
        OtherSpacesError: They are of other spaces, with every difference.
        DataError: They cannot be read, none are left, or they would not fit into memory.
        MissingExtraError: What reads the format is not installed.
    """
    settings = settings or AgentDataSettings()
    with ExitStack() as stack:
        files = [stack.enter_context(file) for file in open_demonstrations(Path(path))]
        for file in files:
            _check_spaces(file, (observations, actions), str(path))
        candidates = _candidates(files, str(path))
        chosen = _by_quality(candidates, settings, str(path))
        order = np.random.default_rng([seed, _SEED]).permutation(len(chosen)) if settings.max_episodes else None
        most = settings.max_episodes or len(chosen)
        _check_memory(chosen, most, (observations, actions), str(path))
        queue = [chosen[number] for number in order] if order is not None else chosen
        reader = _Reader(observations, actions, settings.skip_bad)
        episodes = reader.take(queue, most)
        reader.finish(str(path))
        places = {candidate.outline.place: candidate.place for candidate in candidates}
        episodes.sort(key=lambda episode: places[episode.source])
        environment = next((file.environment for file in files if file.environment), "")
    if not episodes:
        reasons = "; ".join(reader.left_out[:3]) or "there are none"
        raise DataError(f"no episode is left ({reasons})", source=str(path), remedy="give other demonstrations")
    _say_large_rewards(episodes)
    return Demonstrations(observations, actions, tuple(episodes), environment, tuple(reader.left_out))


def describe_demonstrations(path: str | Path) -> DemonstrationSummary:
    """Look into demonstrations without a game.

    Raises:
        DataError: They cannot be read, or files of one folder are of different spaces.
        MissingExtraError: What reads the format is not installed.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(file) for file in open_demonstrations(Path(path))]
        candidates = _candidates(files, str(path))
        outlines = [candidate.outline for candidate in candidates]
        first = files[0]
        if first.observations is not None and first.actions is not None:
            observations, actions = first.observations, first.actions
            for file in files[1:]:
                _check_spaces(file, (observations, actions), str(path))
        else:
            observations, actions = guess_spaces(_readable(candidates))
        return DemonstrationSummary(
            next((file.environment for file in files if file.environment), ""),
            observations,
            actions,
            first.observations is None,
            tuple(outline.length for outline in outlines),
            tuple(outline.total for outline in outlines),
            tuple(outline.success for outline in outlines),
        )


def _readable(candidates: Sequence[_Candidate]) -> Iterator[RawEpisode]:
    for candidate in candidates:
        try:
            raw = candidate.read()
        except DataError:
            continue
        if len(raw.rewards):
            yield raw


def _check_spaces(file: DemonstrationFile, wanted: Spaces, source: str) -> None:
    if file.observations is None or file.actions is None:
        return
    found = (file.observations, file.actions)
    if file.loose:
        parts = tuple(_as_game_knows(part, wanted[0].part(part.name)) for part in found[0].parts)
        found = (ObservationSpec(parts), replace(found[1], names=()))
    problems = space_differences(found, wanted, source)
    if problems:
        message = f"the demonstrations are of other spaces than the game: {len(problems)} differences"
        raise OtherSpacesError(message, found=found, wanted=wanted, source=source, problems=problems)


def _as_game_knows(part: ObservationPart, known: ObservationPart | None) -> ObservationPart:
    """Return a part of a Gymnasium space as the game describes it, where both may be the same thing."""
    if known is None:
        return part
    arrays = {part.kind, known.kind} <= {"image", "grid"} and part.shape == known.shape
    return known if arrays or part.kind == known.kind == "tokens" else part


def _candidates(files: Sequence[DemonstrationFile], source: str) -> list[_Candidate]:
    found: list[_Candidate] = []
    for file in files:
        found += [_Candidate(file, len(found) + number, number, one) for number, one in enumerate(file.outlines())]
    if not found:
        raise DataError("there are no episodes", source=source, remedy="record some, or give other demonstrations")
    return found


def _by_quality(candidates: Sequence[_Candidate], settings: AgentDataSettings, source: str) -> list[_Candidate]:
    """Return the candidates that are good enough, and those that cannot be judged since they are damaged."""
    damaged = {id(one) for one in candidates if not math.isfinite(one.outline.total)}
    kept = [one for one in candidates if id(one) not in damaged]
    if settings.success_only:
        if kept and all(one.outline.success is None for one in kept):
            remedy = "set data.success_only to false, and choose by return with data.top"
            raise DataError("the demonstrations do not say which episodes succeeded", source=source, remedy=remedy)
        kept = [one for one in kept if one.outline.success]
        if not kept and not damaged:
            remedy = "set data.success_only to false, or give better demonstrations"
            raise DataError(f"none of {len(candidates)} episodes succeeded", source=source, remedy=remedy)
    if settings.top < 1:
        best = sorted(kept, key=lambda one: -one.outline.total)[: math.ceil(settings.top * len(kept))]
        names = {id(one) for one in best}
        kept = [one for one in kept if id(one) in names]
    names = {id(one) for one in kept} | damaged
    return [one for one in candidates if id(one) in names]


def _check_memory(chosen: Sequence[_Candidate], most: int, spaces: Spaces, source: str) -> None:
    observations, actions = spaces
    step = sum(array.nbytes for array in observations.empty(1).values()) + actions.empty(1).nbytes + 4
    lengths = sorted((one.outline.length + 1 for one in chosen), reverse=True)[:most]
    size, free = sum(lengths) * step, psutil.virtual_memory().available
    if size > free * _MEMORY_SHARE:
        message = f"the episodes would take {size / 2**30:,.1f} GiB of memory; {free / 2**30:,.1f} GiB are free"
        raise DataError(message, source=source, remedy="take fewer: data.max_episodes or data.top")


class _Reader:
    """Reads and fits episodes, and remembers what it had to leave out."""

    def __init__(self, observations: ObservationSpec, actions: ActionSpec, skip_bad: bool) -> None:
        self._observations, self._actions, self._skip_bad = observations, actions, skip_bad
        self._problems: list[Problem] = []
        self._seen: dict[str, str] = {}
        self.left_out: list[str] = []

    def take(self, queue: Sequence[_Candidate], most: int) -> list[Episode]:
        """Return the first ``most`` usable episodes of the queue; files are read forwards as far as can be."""
        episodes: list[Episode] = []
        taken = 0
        with progress.task("reading demonstrations", min(most, len(queue)), "episodes") as shown:
            while taken < len(queue) and len(episodes) < most and len(self._problems) < _MOST_PROBLEMS:
                batch = queue[taken : taken + most - len(episodes)]
                taken += len(batch)
                for candidate in sorted(batch, key=lambda one: one.place):
                    episode = self._read(candidate)
                    if episode is not None:
                        episodes.append(episode)
                        shown.advance()
        return episodes

    def _read(self, candidate: _Candidate) -> Episode | None:
        place = candidate.outline.place
        try:
            raw = replace(candidate.read(), place=place)
            if not len(raw.rewards):
                self.left_out.append(f"{place}: has no steps")
                return None
            episode = fit_episode(raw, self._observations, self._actions)
        except DataError as error:
            self._problems += error.problems
            self.left_out += [str(problem).partition("\n")[0] for problem in error.problems]
            return None
        if len(episode) == 1 and not episode.terminated:
            self.left_out.append(f"{place}: a single step that ended nothing")
            return None
        digest = episode_digest(episode)
        if digest in self._seen:
            self.left_out.append(f"{place}: the same as {self._seen[digest]}")
            return None
        self._seen[digest] = place
        return episode

    def finish(self, source: str) -> None:
        """Raise what is wrong, or say what was left out."""
        if not self._skip_bad:
            count = len(self._problems)
            more = " or more" if count >= _MOST_PROBLEMS else ""
            raise_problems(self._problems, DataError, f"{source}: {count}{more} problems in the demonstrations")
        for line in self.left_out[:5]:
            progress.say(f"left out: {line}")
        if len(self.left_out) > 5:
            progress.say(f"left out: {len(self.left_out) - 5} more")


def _say_large_rewards(episodes: Sequence[Episode]) -> None:
    largest = max(episodes, key=lambda episode: float(np.abs(episode.rewards).max()))
    size = float(np.abs(largest.rewards).max())
    if size >= LARGE_REWARD:
        progress.say(
            f"rewards of up to {size:.3g} ({largest.source}) are kept as they are: learning scales and clips them"
        )


def episode_digest(episode: Episode) -> str:
    """Return what names an episode by what was seen, done and rewarded in it."""
    parts = [episode.actions.tobytes(), episode.rewards.tobytes()]
    for name in sorted(episode.observations):
        parts += [name.encode("utf-8"), np.ascontiguousarray(episode.observations[name]).tobytes()]
    return digest_bytes(*parts)


def split_demonstrations(
    demonstrations: Demonstrations, test_share: float, seed: int
) -> tuple[Demonstrations, Demonstrations]:
    """Split demonstrations into those to learn from and those to measure agreement on.

    Whole groups go to one side, and so do equal episodes, whatever their groups.

    Args:
        demonstrations: At least one episode.
        test_share: Share of the episodes for the test, 0..1; 0 keeps all to learn from.
        seed: The same seed gives the same split.

    Returns:
        Those to learn from, never empty, and those for the test, empty where there is only one group (which is said).
    """
    episodes = demonstrations.episodes
    groups = _groups(episodes)
    names = list(dict.fromkeys(groups))
    wanted = round(test_share * len(episodes))
    wanted = max(wanted, 1) if test_share > 0 else 0
    if wanted and len(names) < 2:
        progress.say("all demonstrations are of one group: none are kept for the test")
        wanted = 0
    order = np.random.default_rng([seed, _SEED]).permutation(len(names))
    held: set[str] = set()
    count = 0
    for number in order[:-1]:  # one group is always learned from
        size = groups.count(names[number])
        if count < wanted and (not held or count + size <= wanted + size / 2):
            held.add(names[number])
            count += size
    train, test = (
        tuple(one for one, group in zip(episodes, groups, strict=True) if (group in held) == side)
        for side in (False, True)
    )
    return replace(demonstrations, episodes=train), replace(demonstrations, episodes=test)


def _groups(episodes: Sequence[Episode]) -> list[str]:
    """Return the group of each episode, with groups that hold equal episodes made one."""
    leader: dict[str, str] = {}

    def lead(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    named = [f"group {one.group}" if one.group else f"episode {number}" for number, one in enumerate(episodes)]
    first: dict[str, str] = {}
    for name, episode in zip(named, episodes, strict=True):
        before = first.setdefault(episode_digest(episode), name)
        leader[lead(name)] = lead(before)
    return [lead(name) for name in named]
