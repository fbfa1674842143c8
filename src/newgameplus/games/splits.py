"""Splitting clips into training, validation and test by whole groups, and finding what leaks between the parts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.errors import DataError, Problem, SplitLeakError, raise_problems
from newgameplus.games.clips import Clip

__all__ = ["Split", "check_leaks", "split_by_group", "split_by_names"]

Indices = npt.NDArray[np.int64]
Counts = npt.NDArray[np.float64]

_MORE_GROUPS = "record more episodes, or give a column `group` that divides the clips further"
_TRIALS = 2
_NEAR = 0.1
_SWAPS_UP_TO = 400


@dataclass(frozen=True)
class Split:
    """Which clips serve for what.

    Attributes:
        train: int64; indices of the clips to learn from, ascending.
        validation: int64; indices of the clips that decide when to stop, ascending; may be empty.
        test: int64; indices of the clips for the final evaluation, ascending; may be empty.
    """

    train: Indices
    validation: Indices
    test: Indices

    def parts(self) -> dict[str, Indices]:
        """Return the parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def split_by_group(
    groups: Sequence[str],
    targets: Indices,
    *,
    test: float,
    validation: float,
    seed: int,
    labels: Sequence[str] = (),
) -> Split:
    """Split clips by whole groups, with each class in proportion as well as whole groups allow.

    The test part is taken out first, the validation part from the rest. Every class is in the training part; a class
    that only one group has is therefore in no other part, and a line on standard error says so.

    Args:
        groups: Group of each clip.
        targets: int64 [n]; class of each clip.
        test: Share of the clips for testing, 0..1; 0 makes the part empty.
        validation: Share of all clips for validation, 0..1; 0 makes the part empty.
        seed: The same seed gives the same split.
        labels: Names of the classes, for messages.

    Raises:
        DataError: There is one class only, a class has one clip only, or there are too few groups.
    """
    if len(groups) != len(targets):
        raise DataError(f"{len(groups)} groups for {len(targets)} clips", remedy="give one group for each clip")
    if not (0 <= test < 1 and 0 <= validation < 1 and test + validation < 1):
        message = f"shares of {test:g} for test and {validation:g} for validation leave nothing to train on"
        raise DataError(message, source="data.test", remedy="give shares from 0 on that add up to less than 1")
    names, group_of = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    classes, class_of = np.unique(targets, return_inverse=True)
    called = [labels[target] if target < len(labels) else str(target) for target in classes.tolist()]
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (group_of, class_of), 1)
    _check_enough(counts, called, names.tolist(), 1 + (test > 0) + (validation > 0))

    rng = np.random.default_rng([seed, 0x5EED])
    in_test = _choose(counts, test, rng, spare=int(validation > 0))
    in_validation = np.zeros(len(names), dtype=bool)
    rest = np.flatnonzero(~in_test)
    in_validation[rest] = _choose(counts[rest], validation / (1 - test), rng, spare=0)
    _say_untested(counts, in_test, called)
    part = np.where(in_test, 2, np.where(in_validation, 1, 0))[group_of]
    return Split(*(np.flatnonzero(part == number).astype(np.int64) for number in range(3)))


def _check_enough(counts: Counts, called: list[str], names: list[str], parts: int) -> None:
    problems = []
    if len(called) < 2:
        have = f"all clips are labelled {called[0]!r}" if called else "there are no clips"
        problems.append(Problem(f"{have}: there is nothing to tell apart", remedy="label at least two classes"))
    for name in [name for name, count in zip(called, counts.sum(axis=0), strict=True) if count == 1 and parts > 1]:
        remedy = f"label more clips {name!r}, from several groups, or take the class out"
        problems.append(Problem(f"class {name!r} has one clip only: it cannot be learned and tested", remedy=remedy))
    if len(names) < parts:
        have = f"all clips are of one group, {names[0]!r}" if len(names) == 1 else f"there are {len(names)} groups"
        remedy = f"{_MORE_GROUPS}; or set validation to 0"
        problems.append(Problem(f"{have}: too few for {parts} parts without a leak", "groups", remedy))
    raise_problems(problems, DataError, "these clips cannot be split")


def _say_untested(counts: Counts, in_test: npt.NDArray[np.bool_], called: list[str]) -> None:
    if not in_test.any():
        return
    untested = [name for name, count in zip(called, counts[in_test].sum(axis=0), strict=True) if count == 0]
    if untested:
        progress.say(f"no test clips of {', '.join(untested)}: too few groups have them; {_MORE_GROUPS}")


def _choose(counts: Counts, share: float, rng: np.random.Generator, spare: int) -> npt.NDArray[np.bool_]:
    """Choose whole groups that hold a share of each class, as nearly as can be.

    Groups are dealt one by one to the side that needs them most (as scikit-learn's StratifiedGroupKFold deals them to
    folds), then moved and exchanged while that brings the shares nearer. Groups that alone have a class stay behind.

    Args:
        counts: float64 [groups, classes]; clips of each class in each group.
        share: Share to choose, 0..1.
        rng: Decides between equals.
        spare: Groups that must stay behind besides one.

    Returns:
        bool [groups]; which are chosen.
    """
    chosen = np.zeros(len(counts), dtype=bool)
    movable = ~((counts > 0) & ((counts > 0).sum(axis=0) == 1)).any(axis=1)
    if share <= 0 or len(counts) < 2:
        return chosen
    if not movable.any():
        message = "every group has a class that no other group has: none can be kept for testing or validation"
        raise DataError(message, source="groups", remedy=_MORE_GROUPS)
    sums, share = counts.sum(axis=0), max(share, 1e-6)
    best, best_cost = chosen, np.inf
    for _ in range(_TRIALS):
        trial = _improve(_deal(counts, share, movable, rng), counts, share, movable, spare)
        taken = counts[trial].sum(axis=0)
        if not trial.any() or (taken == sums).any() or (~trial).sum() < 1 + spare:
            continue
        cost = float(_cost(taken, sums, share))
        if cost < best_cost - 1e-12:
            best, best_cost = trial, cost
    if not best.any():
        message = "no group can be kept for testing or validation without losing a class in training"
        raise DataError(message, source="groups", remedy=_MORE_GROUPS)
    return best


def _cost(taken: Counts, sums: Counts, share: float) -> npt.NDArray[np.float64]:
    """Return how far the taken clips [..., classes] are from the share, of each class and in all; a class that is on
    one side only costs a whole. Of two that are as near, the smaller costs less: it leaves more to train on."""
    by_class = (((taken - share * sums) / sums) ** 2).sum(axis=-1)
    in_all = ((taken.sum(axis=-1) - share * sums.sum()) / sums.sum()) ** 2 * sums.shape[-1]
    in_all += 1e-6 * taken.sum(axis=-1) / sums.sum()
    return np.asarray(by_class + in_all + (taken == 0).sum(axis=-1) + 100.0 * (taken == sums).sum(axis=-1))


def _deal(
    counts: Counts, share: float, movable: npt.NDArray[np.bool_], rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    chosen = np.zeros(len(counts), dtype=bool)
    sums = counts.sum(axis=0)
    needs = np.stack([(1 - share) * sums, share * sums])
    wanted = needs.copy()
    order = rng.permutation(len(counts))
    # Uneven groups first, while both sides still have room to make up for them; not strictly, or all seeds would agree.
    uneven = counts[order].std(axis=1) * rng.uniform(0.5, 1.5, len(order))
    order = order[np.argsort(-uneven, kind="stable")]
    for group in order:
        side = 0
        if movable[group]:
            missing = (counts[group] / sums) @ (needs / wanted).T
            side = int(missing[1] > missing[0])
        chosen[group] = bool(side)
        needs[side] -= counts[group]
    return chosen


def _near_enough(taken: Counts, sums: Counts, share: float, smallest: float) -> bool:
    """Say if the part is of the right size, as whole groups allow, and no class is far from its share."""
    off, most = taken.sum() / sums.sum() - share, max(0.02, 0.5 * smallest / sums.sum())
    right_size = -most - 1e-9 <= off < most - 1e-9
    return bool(right_size and (np.abs(taken / sums - share) <= min(_NEAR, share / 2)).all())


def _improve(
    chosen: npt.NDArray[np.bool_], counts: Counts, share: float, movable: npt.NDArray[np.bool_], spare: int
) -> npt.NDArray[np.bool_]:
    """Move one group, or exchange two, as long as that brings the shares nearer and they are not near enough.

    Near enough is enough: the very best split would be the same for every seed.
    """
    sums = counts.sum(axis=0)
    for _ in range(len(counts)):
        taken = counts[chosen].sum(axis=0)
        inside, outside = np.flatnonzero(chosen), np.flatnonzero(~chosen & movable)
        moves: list[tuple[float, int, int]] = []
        now = float(_cost(taken, sums, share)) if len(inside) else np.inf
        stay = int((~chosen).sum())
        if len(outside) and stay > 1 + spare:
            costs = _cost(taken + counts[outside], sums, share)
            moves.append((float(costs.min()), -1, int(outside[costs.argmin()])))
        if len(inside) > 1:
            costs = _cost(taken - counts[inside], sums, share)
            moves.append((float(costs.min()), int(inside[costs.argmin()]), -1))
        if len(inside) and len(outside) and len(inside) * len(outside) <= _SWAPS_UP_TO**2 // 4:
            costs = _cost(taken - counts[inside][:, None] + counts[outside][None], sums, share)
            out, into = np.unravel_index(int(costs.argmin()), costs.shape)
            moves.append((float(costs.min()), int(inside[out]), int(outside[into])))
        must_shrink = stay < 1 + spare
        if not must_shrink and len(inside) and _near_enough(taken, sums, share, float(counts.sum(axis=1).min())):
            break
        if must_shrink and len(inside) > 1:
            moves = [move for move in moves if move[2] == -1]
        cost, out_group, in_group = min(moves, default=(np.inf, -1, -1))
        if cost >= now - 1e-12 and not must_shrink:
            break
        if out_group >= 0:
            chosen[out_group] = False
        if in_group >= 0:
            chosen[in_group] = True
    return chosen


def split_by_names(
    groups: Sequence[str],
    targets: Indices,
    *,
    test_groups: Sequence[str],
    validation_groups: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> Split:
    """Split clips by groups that the user names; all others are for training.

    Args:
        groups: Group of each clip.
        targets: int64 [n]; class of each clip.
        test_groups: Names of the groups for testing.
        validation_groups: Names of the groups for validation.
        labels: Names of the classes, for messages.

    Raises:
        DataError: A name is unknown or in both parts, nothing is left for training, or training lacks a class.
    """
    known = sorted(set(groups))
    problems = []
    for source, names in (("data.test_groups", test_groups), ("data.validation_groups", validation_groups)):
        for name in [name for name in dict.fromkeys(names) if name not in known]:
            near = difflib.get_close_matches(name, known, n=1)
            some = ", ".join(known[:8]) + (" ..." if len(known) > 8 else "")
            remedy = f"did you mean {near[0]!r}?" if near else f"there are: {some}"
            problems.append(Problem(f"unknown group {name!r}", source, remedy))
    for name in sorted(set(test_groups) & set(validation_groups)):
        problems.append(Problem(f"group {name!r} is to be tested on too", "data.validation_groups", "keep one"))
    raise_problems(problems, DataError, "the named groups cannot be split off")
    part = np.array([2 if g in set(test_groups) else 1 if g in set(validation_groups) else 0 for g in groups])
    split = Split(*(np.flatnonzero(part == number).astype(np.int64) for number in range(3)))
    _check_training(split, targets, labels)
    return split


def _check_training(split: Split, targets: Indices, labels: Sequence[str]) -> None:
    if not len(split.train):
        remedy = "leave at least one group for training"
        raise DataError("the named groups leave no clip to train on", source="data.test_groups", remedy=remedy)
    missing = np.setdiff1d(targets, targets[split.train]).tolist()
    if missing:
        called = ", ".join(labels[target] if target < len(labels) else str(target) for target in missing)
        remedy = "name other groups, so that each class is in one that stays"
        raise DataError(f"no training clips of {called}", source="data.test_groups", remedy=remedy)
    if len(np.unique(targets)) < 2:
        raise DataError("one class only: there is nothing to tell apart", remedy="label at least two classes")


def check_leaks(
    clips: Sequence[Clip], digests: Sequence[str], split: Split, *, duplicates: Literal["error", "drop"] = "error"
) -> Split:
    """Make sure that no group and no frames stand on two sides of a split.

    The same frames within one side do no harm. Pictures that stand still (a black screen, a menu) count like any
    others: a network can know them by heart, so they say nothing about new ones.

    Args:
        clips: All clips, in the order of the split's indices.
        digests: Digest of the frames of each clip.
        split: The split.
        duplicates: ``error`` raises for frames on two sides; ``drop`` takes the copies out of validation and test.

    Returns:
        The split, without the copies if they were dropped.

    Raises:
        SplitLeakError: Names both files of each leak.
        DataError: Nothing is left to test on or to validate with.
    """
    parts = split.parts()
    leaks = _same_groups(clips, parts)
    copies = _same_frames(digests, parts)
    if duplicates == "error":
        remedy = "delete one of the two, or set data.duplicates: drop to take the copies out of validation and test"
        leaks += [
            Problem(
                f"same frames in {side} ({clips[index].identity}) and in {other_side} ({clips[other].identity})",
                clips[index].origin or str(clips[index].path),
                remedy,
            )
            for index, side, other, other_side in copies
        ]
    shown = leaks[:20] + ([Problem(f"... and {len(leaks) - 20:,} more like these")] if len(leaks) > 20 else [])
    raise_problems(shown, SplitLeakError, f"{len(leaks)} leaks between the parts of the split")
    return _without(split, {index for index, *_ in copies}) if copies else split


def _same_groups(clips: Sequence[Clip], parts: dict[str, Indices]) -> list[Problem]:
    first: dict[str, tuple[str, int]] = {}
    found: dict[tuple[str, str, str], Problem] = {}
    for side, indices in parts.items():
        for index in indices.tolist():
            group = clips[index].group
            other_side, other = first.setdefault(group, (side, index))
            if other_side != side:
                here, there = clips[index].identity, clips[other].identity
                message = f"group {group!r} is in {other_side} ({there}) and in {side} ({here})"
                place = clips[index].origin or str(clips[index].path)
                remedy = "keep each group on one side of the split"
                found.setdefault((group, other_side, side), Problem(message, place, remedy))
    return list(found.values())


def _same_frames(digests: Sequence[str], parts: dict[str, Indices]) -> list[tuple[int, str, int, str]]:
    """Return (copy, its side, the one to keep, its side); training keeps its clips, and test before validation."""
    seen: dict[str, tuple[str, int]] = {}
    copies = []
    for side in ("train", "test", "validation"):
        here: dict[str, tuple[str, int]] = {}
        for index in parts[side].tolist():
            if digests[index] in seen:
                other_side, other = seen[digests[index]]
                copies.append((index, side, other, other_side))
            else:
                here.setdefault(digests[index], (side, index))
        seen |= here
    return copies


def _without(split: Split, dropped: set[int]) -> Split:
    gone = np.array(sorted(dropped), dtype=np.int64)
    left = {side: np.setdiff1d(indices, gone) for side, indices in split.parts().items()}
    for side, indices in split.parts().items():
        if len(indices) and not len(left[side]):
            remedy = "record new episodes for it"
            raise DataError(f"all {side} clips are copies of others", source="data.duplicates", remedy=remedy)
        if len(indices) > len(left[side]):
            progress.say(f"dropped {len(indices) - len(left[side])} {side} clips whose frames are elsewhere too")
    return Split(**left)
