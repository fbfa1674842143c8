"""Self-training with a verifier: what a model makes and a solver proves is learned beside the maker's maps, in rounds.

After its training on the maps a model makes levels by itself. Those that a solver can play, that are new and unlike
each other are learned too; then it makes others, and so on. No person labels anything: the solver is the judge. It is
expert iteration (Anthony, Tian and Barber 2017, arXiv 1705.08439) with a solver for the expert, the filter of ReST
(Gulcehre et al. 2023, arXiv 2308.08998) with a proof for the reward; for levels, Torrado et al. 2020 (arXiv 1910.01603)
added playable levels of a GAN to its training set, and Todd et al. 2023 (arXiv 2302.05817) define novelty so.

A model that learns from what it made may drift from its maker's style and lose variety, and as easy levels pass the
solver more often, it would make ever easier ones. So maps keep a share of the windows in every round, verified levels
are not seen more often than maps, and those as hard as the maps count for more than the many easy ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus import progress
from newgameplus.train.levels import LevelBook, LevelExample
from newgameplus.train.loop import TrainingResult
from newgameplus.train.tile_loop import TileTraining

__all__ = ["SelfTraining", "Teach", "even_out", "mix_levels", "round_checkpoint", "self_train"]

Rows = list[dict[str, Any]]
_QUANTILES = (0.25, 0.5, 0.75)
_MOST = 4.0
"""Most that a rare kind of verified level counts, in common ones: a few must not be learned by heart."""
OnCheck = Callable[[Rows], None] | None
Teach = Callable[[TileTraining, OnCheck], TrainingResult]
"""Trains a model as told, or goes on from its checkpoint; its network can make levels afterwards."""


@dataclass(frozen=True)
class SelfTraining:
    """How a model learns from what it made.

    Attributes:
        rounds: How often it makes levels and learns from them.
        steps: Training steps of each round.
        share: Largest share of the windows that are of verified levels, 0 to 1.
        gather: Returns the verified levels of a round (from 1) and of those before it, made by the model as it then is.
            It is asked for every round in turn, also when that round's training is finished: what it does must be a
            function of the model and of what it kept.
    """

    rounds: int
    steps: int
    share: float
    gather: Callable[[int], Sequence[LevelExample]]


def self_train(teach: Teach, training: TileTraining, plan: SelfTraining, on_check: OnCheck = None) -> TrainingResult:
    """Train on the maps, then in rounds on the maps and on verified levels; exact to resume like each of its parts.

    A round moves what the last phase of the training moves, starts from the weights that the round before left, trains
    to the end, and has a seed and a checkpoint of its own.

    Args:
        teach: Trains the model.
        training: The training on the maps.
        plan: How to go on.
        on_check: Called with the rows of all parts so far.

    Returns:
        Steps, seconds and rows of all parts together.
    """
    done = teach(training, on_check)
    for number in range(1, plan.rounds + 1):
        verified = plan.gather(number)
        arm = f"{training.arm}, round {number}"
        part = replace(
            training,
            arm=arm,
            phases=(replace(training.phases[-1], share=1.0),),
            train=mix_levels(training.train, verified, plan.share),
            validation=None,
            settings=training.settings.model_copy(update={"steps": plan.steps, "patience": None}),
            checkpoint=round_checkpoint(training.checkpoint, number),
        )
        if not verified:
            progress.say(f"  round {number}: no level was verified, so that only the maps are learned from")
        before = done

        def tell(rows: Rows, before: TrainingResult = before, number: int = number) -> None:
            if on_check is not None:
                on_check(before.rows + _as_one(rows, training.arm, number, before.steps))

        got = teach(part, tell)
        rows = before.rows + _as_one(got.rows, training.arm, number, before.steps)
        done = TrainingResult(before.steps + got.steps, before.seconds + got.seconds, rows)
    return done


def round_checkpoint(checkpoint: Path, number: int) -> Path:
    """Return where a round is kept, beside the checkpoint of the training before."""
    return checkpoint.with_name(f"{checkpoint.stem}.round-{number}{checkpoint.suffix}")


def mix_levels(book: LevelBook, verified: Sequence[LevelExample], share: float) -> LevelBook:
    """Return the maps together with verified levels, which get a share of the windows.

    Args:
        book: The maps, with their mirror images.
        verified: The verified levels, with theirs.
        share: Largest share of the windows that are of verified levels; less where there are so few of them that each
            would be seen more often than a map.
    """
    if not verified:
        return book
    share = min(share, len(verified) / (len(verified) + len(book.examples)))
    return replace(book, examples=[*_weighted(book.examples, 1.0 - share), *_weighted(verified, share)])


def even_out(maps: npt.NDArray[np.float64], verified: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how much each verified level should count so that they are spread as the maps are, by quarters.

    Args:
        maps: [maps]: a measure of the maps, such as their difficulty; NaN where it is unknown.
        verified: [levels]: the same of the verified levels.

    Returns:
        float64 [levels], at most 4; 1 where the measure is unknown.
    """
    known, measured = maps[np.isfinite(maps)], np.isfinite(verified)
    factors = np.ones(len(verified))
    if not len(known) or not measured.any():
        return factors
    edges = np.quantile(known, _QUANTILES)
    quarters = np.digitize(verified[measured], edges)
    wanted = np.bincount(np.digitize(known, edges), minlength=len(edges) + 1) / len(known)
    there = np.bincount(quarters, minlength=len(edges) + 1) / len(quarters)
    factors[measured] = np.minimum(_MOST, wanted[quarters] / there[quarters])
    return factors


def _weighted(examples: Sequence[LevelExample], share: float) -> list[LevelExample]:
    """Share a weight out among examples by their columns."""
    sizes = [example.scan.shape[0] if example.weight is None else example.weight for example in examples]
    return [replace(one, weight=share * size / sum(sizes)) for one, size in zip(examples, sizes, strict=True)]


def _as_one(rows: Rows, arm: str, number: int, steps: int) -> Rows:
    """Return the rows of a round as those of the whole training."""
    return [{**row, "arm": arm, "phase": f"round {number}", "step": row["step"] + steps} for row in rows]
