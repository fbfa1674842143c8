"""Delivering levels: sample, verify, repair, sample again, until as many as were asked for are proven, or say how many.

A delivered level is playable (its proof was replayed by code that shares nothing with the solver), meets its requests,
has no broken structure and is no copy. What the model makes without any of this is *raw*, and counted elsewhere.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.games.conditions import Request, control_error
from newgameplus.games.measures import measure
from newgameplus.games.rules.contract import Answer, Budget, Rules
from newgameplus.games.scanning import from_scan, to_scan
from newgameplus.games.scenes import Level
from newgameplus.games.structure import Structure
from newgameplus.generate.counts import complete_level, mend_counts
from newgameplus.generate.hints import Hints
from newgameplus.generate.sampler import Draft, Sampler

__all__ = ["Delivered", "Delivery", "Maker", "Nearest"]

Nearest = tuple[str, int]
"""Name of the nearest training level, and the edit distance to it."""
_CHUNK = 16
"""Lines made between two looks of the solver at a level that grows."""
_AT_ONCE = 8
_SHORTER = 0.8
"""Least share of a level's way that must be left when a goal is put in."""


@dataclass(frozen=True, eq=False)
class Delivered:
    """One level that kept every promise.

    Attributes:
        level: The level.
        answer: The solver's answer, with its proof.
        requests: What was asked.
        achieved: What it measures: everything that can be asked of the model.
        nearest: The training level that is most like it, and the edit distance.
        samples: Drafts that it took.
        repairs: Repairs of them.
        frames: Scans on the way, for an animation.
    """

    level: Level
    answer: Answer
    requests: tuple[Request, ...]
    achieved: dict[str, float]
    nearest: Nearest
    samples: int
    repairs: int
    frames: tuple[npt.NDArray[np.int32], ...] = ()


@dataclass(eq=False)
class Delivery:
    """What came of an order.

    Attributes:
        asked: How many levels were asked for.
        levels: Those that were delivered, in the order of their numbers.
        samples: Drafts in all.
        repairs: Repairs in all.
        seconds: Time it took.
        failures: Why drafts were given up, and how often.
        closest: For each level that was not delivered, the best that was found: requests and what was achieved.
    """

    asked: int
    levels: list[Delivered] = field(default_factory=list)
    samples: int = 0
    repairs: int = 0
    seconds: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    closest: list[dict[str, float]] = field(default_factory=list)

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the figures of the evaluation's ``delivered``."""
        got = len(self.levels)
        return {
            "asked": self.asked,
            "delivered": got,
            "samples": self.samples,
            "repairs": self.repairs,
            "samples_per_level": self.samples / got if got else None,
            "seconds_per_level": self.seconds / got if got else None,
        }


@dataclass(eq=False)
class _Slot:
    """One asked level, over all of its tries.

    ``last`` and ``furthest`` are the lines that its draft was stuck at last and at most, ``steps`` how often it got no
    further on since it last did.
    """

    number: int
    size: tuple[int, int]
    requests: tuple[Request, ...]
    fixed: npt.NDArray[np.int32] | None
    draft: Draft | None = None
    samples: int = 0
    repairs: int = 0
    tries: int = 0
    steps: int = 0
    last: int = 0
    furthest: int = 0
    frames: list[npt.NDArray[np.int32]] = field(default_factory=list)
    miss: float = np.inf
    closest: dict[str, float] = field(default_factory=dict)


@dataclass(eq=False)
class Maker:
    """Makes levels that keep their promises.

    Attributes:
        sampler: Makes drafts.
        rules: Say what can be played.
        measures: What is measured of every delivered level.
        nearest: Finds the nearest training level.
        structure: Hard structure, for what is mended by hand; None checks none.
        budget: Of the solver, for one level.
        samples: Drafts that one level may take.
        repairs: Repairs of one draft.
        min_distance: Edit distance below which a level is a copy.
        growth: Keep frames for animations.
        original: int32 [height, width]: the map that is changed, if one is; an answer that equals it is none.
        hints: What drafts are told beyond their requests; None tells nothing.
    """

    sampler: Sampler
    rules: Rules
    measures: Sequence[str]
    nearest: Callable[[Level], Nearest]
    structure: Structure | None = None
    budget: Budget = Budget()  # noqa: RUF009 (a frozen value)
    samples: int = 20
    repairs: int = 6
    min_distance: int = 5
    growth: bool = False
    original: npt.NDArray[np.int32] | None = None
    hints: Hints | None = None

    @property
    def _stepwise(self) -> bool:
        """Whether the solver can judge the lines made so far; it knows first columns, not first rows."""
        return self.rules.grows and self.sampler.order == "columns"

    def deliver(
        self,
        sizes: Sequence[tuple[int, int]],
        requests: Sequence[Sequence[Request]],
        seed: int,
        fixed: Sequence[npt.NDArray[np.int32] | None] | None = None,
    ) -> Delivery:
        """Make one level for each size.

        Args:
            sizes: Height and width of each.
            requests: What is asked of each.
            seed: The same seed gives the same levels.
            fixed: int32 [height, width] for each: given tiles, -1 where the model is free.
        """
        began = time.monotonic()
        given = fixed or [None] * len(sizes)
        slots = [
            _Slot(i, size, tuple(wanted), there)
            for i, (size, wanted, there) in enumerate(zip(sizes, requests, given, strict=True))
        ]
        delivery = Delivery(len(slots))
        found: dict[int, Delivered] = {}
        waiting = list(slots)
        with progress.task("levels", total=len(slots), unit="levels") as bar:
            while waiting:
                for slot in self._advance(waiting[:_AT_ONCE], seed):
                    before = len(found)
                    self._look(slot, delivery, found)
                    delivery.samples = sum(one.samples for one in slots)
                    bar.advance(len(found) - before, f"{delivery.samples} samples")
                given_up = [s for s in waiting if s.draft is None and s.samples >= self.samples]
                delivery.closest += [slot.closest for slot in given_up if slot.number not in found]
                waiting = [s for s in waiting if s.number not in found and s not in given_up]
        delivery.levels = [found[number] for number in sorted(found)]
        delivery.seconds = time.monotonic() - began
        return delivery

    def _advance(self, slots: Sequence[_Slot], seed: int) -> list[_Slot]:
        """Grow those drafts that are furthest behind, all of one size together, to their next look; return whose."""
        for slot in slots:
            if slot.draft is None:
                slot.draft = self._draft(slot, (seed, slot.number, slot.samples), slot.fixed)
                slot.tries = slot.steps = slot.last = slot.furthest = 0
                slot.samples, slot.frames = slot.samples + 1, []
        drafts = [(slot, slot.draft) for slot in slots if slot.draft is not None]
        shape, line = min((draft.scan.shape, draft.line) for _, draft in drafts)
        group = [(slot, draft) for slot, draft in drafts if draft.scan.shape == shape and draft.line == line]
        until = (line // _CHUNK + 1) * _CHUNK if self._stepwise else shape[0]
        self.sampler.grow([draft for _, draft in group], until)
        return [slot for slot, _ in group]

    def _draft(self, slot: _Slot, seed: Sequence[int], fixed: npt.NDArray[np.int32] | None) -> Draft:
        rng = np.random.default_rng([*seed, 13])
        hints = self.hints.draw(*slot.size, slot.requests, rng) if self.hints else None
        return self.sampler.draft(*slot.size, seed, slot.requests, fixed, hints)

    def _look(self, slot: _Slot, delivery: Delivery, found: dict[int, Delivered]) -> None:
        """Verify what stands of a slot's draft; deliver it, repair it, or give it up."""
        draft = slot.draft
        if draft is None:
            return
        if self.growth:
            slot.frames.append(self.sampler.way.plain(draft.scan))
        if not draft.done:
            if (draft.fixed[: draft.line] < 0).any():
                part = self.sampler.level(draft)
                answer = self.rules.solve_part(part, self.budget)
                if not answer.playable:
                    self._repair(slot, answer, "stuck on the way", delivery)
            return
        delivered, answer, why = self._judge(slot, draft)
        if delivered is not None:
            found[slot.number] = delivered
        else:
            self._repair(slot, answer, why, delivery)

    def _judge(self, slot: _Slot, draft: Draft) -> tuple[Delivered | None, Answer, str]:
        """Return the delivered level, or the answer and the promise that is not kept."""
        level = mend_counts(self.sampler, draft, self.structure)
        answer = self.rules.solve(level, self.budget)
        if answer.status == "undecided":
            return None, answer, "undecided"
        if answer.playable and draft.limits.broken(draft.scan, draft.fixed):
            level, answer = self._completed(draft, level, answer)
        if not answer.playable or answer.proof is None:
            return None, answer, "not playable"
        if told := self.rules.replay(level, answer.proof):
            return None, answer, f"the proof fails: {told}"
        if flaws := self.rules.flaws(level):
            return None, replace(answer, at=flaws[0].at), "broken structure"
        achieved = measure(level, self.measures, answer)
        missed = {name: miss for name, miss in control_error(slot.requests, achieved).items() if miss > 0}
        total = sum(missed.values())
        if total < slot.miss:
            wanted = [request.measure for request in slot.requests]
            slot.miss, slot.closest = total, {name: achieved[name] for name in wanted if name in achieved}
        if missed:
            return None, answer, f"missed: {', '.join(missed)}"
        nearest = self.nearest(level)
        if self.original is not None and np.array_equal(level.tiles, self.original):
            return None, answer, "nothing changed"
        if self.original is None and nearest[1] < self.min_distance:
            return None, answer, "a copy"
        repairs, frames = slot.repairs, tuple(slot.frames)
        return Delivered(level, answer, slot.requests, achieved, nearest, slot.samples, repairs, frames), answer, ""

    def _completed(self, draft: Draft, level: Level, answer: Answer) -> tuple[Level, Answer]:
        """Put in what every map has once, where the level can then still be played; else leave it as it is.

        The way may not become much shorter: a goal beside the start would make a level of nothing.
        """
        answers: list[Answer] = []
        least = _SHORTER * answer.measures.get("path_length", 0.0)

        def as_good(tried: Level) -> bool:
            answers.append(self.rules.solve(tried, self.budget))
            return answers[-1].playable and answers[-1].measures.get("path_length", least) >= least

        whole = complete_level(self.sampler, draft, self.structure, as_good)
        return (whole, answers[-1]) if whole is not None and answers else (level, answer)

    def _repair(self, slot: _Slot, answer: Answer, why: str, delivery: Delivery) -> None:
        """Make again the smallest part that may help, larger with every try; give the draft up after the last.

        A level that grows steps back a little, and twice as far whenever it then gets stuck no further on; it has all
        of its tries anew once it gets further than ever.
        """
        draft = slot.draft
        stuck = self._stuck_at(draft, answer) if draft is not None and self._stepwise else 0
        if not answer.playable and stuck > slot.furthest:
            slot.tries, slot.furthest = 0, stuck
        if draft is None or slot.tries >= self.repairs:
            delivery.failures[why] += 1
            slot.draft = None
            return
        slot.steps = slot.steps + 1 if stuck <= slot.last or answer.playable else 1
        slot.last = stuck
        slot.tries += 1
        slot.repairs += 1
        delivery.repairs += 1
        if self._stepwise:
            # Lines that are wholly given cannot be made again, so the step back begins at one that is not.
            free = np.flatnonzero((draft.fixed < 0).any(axis=1)) + 1
            before = free[free <= stuck]
            draft.back_to(int(before[-1] if len(before) else free[0] if len(free) else 0) - 2**slot.steps)
        else:
            slot.draft = self._open_region(slot, draft, answer)

    def _stuck_at(self, draft: Draft, answer: Answer) -> int:
        """Return the line behind which the solver got stuck or a structure breaks; a random one if neither."""
        if answer.playable and answer.at is not None:
            return answer.at[1] + 1
        if answer.playable or answer.reached is None:
            return int(draft.rng.integers(1, draft.line + 1))
        lines = to_scan(answer.reached.astype(np.int32), self.sampler.order).any(axis=1)
        return int(np.nonzero(lines)[0].max()) + 1 if lines.any() else draft.line

    def _open_region(self, slot: _Slot, draft: Draft, answer: Answer) -> Draft:
        """Return a draft in which all but a box around the failure is given."""
        height, width = slot.size
        row, column = answer.at or (int(draft.rng.integers(height)), int(draft.rng.integers(width)))
        reach = 1 + slot.tries
        given = self.sampler.way.plain(from_scan(draft.scan, self.sampler.order))
        given[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = -1
        if slot.fixed is not None:
            given = np.where(slot.fixed >= 0, slot.fixed, given)
        seed = (int(draft.rng.integers(2**31)), slot.number, slot.tries)
        opened = self._draft(slot, seed, given)
        opened.logits = draft.logits
        return opened
