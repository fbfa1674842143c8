"""An exported model must answer as the torch model does, on real inputs, in batches of several sizes.

Real inputs, because a model may be wrong and still answer zeros or noise alike: a square weight that an exporter had
transposed went unnoticed elsewhere for that reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from newgameplus.deploy.exportable import Arrays, Exportable
from newgameplus.errors import ExportError, Problem, RecipeError, raise_problems

__all__ = ["BATCH_SIZES", "MOST_SAMPLES", "TOLERANCE", "Difference", "Parity", "check_parity", "check_tolerance"]

BATCH_SIZES = (1, 3, 8)
"""A model whose batch axis is not free fails at the second one."""
MOST_SAMPLES = 32
"""Real inputs that are looked at, each in a batch of every size."""
TOLERANCE = 1e-4
"""Largest difference, as a share of the largest number of that output; float32 keeps about 1e-6 of it."""
_NOISE = 1e-5


@dataclass(frozen=True)
class Difference:
    """How far one output is from the torch model's.

    Attributes:
        output: Its name.
        largest: Largest absolute difference of a number.
        scale: Largest absolute number that the torch model gave.
        differing: Samples with a number that is further off than allowed.
        decided_otherwise: Samples for which another choice has the largest number.
        batch_size: Batch size at which the largest difference came.
    """

    output: str
    largest: float
    scale: float
    differing: int
    decided_otherwise: int
    batch_size: int

    @property
    def relative(self) -> float:
        """Largest difference as a share of the scale."""
        return self.largest / self.scale if self.scale else self.largest


@dataclass(frozen=True)
class Parity:
    """The result of a check that held.

    Attributes:
        samples: Real inputs.
        origin: Where they are from.
        batch_sizes: Batch sizes tried.
        tolerance: Largest relative difference allowed.
        differences: By output.
    """

    samples: int
    origin: str
    batch_sizes: tuple[int, ...]
    tolerance: float
    differences: tuple[Difference, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        outputs = {
            one.output: {"max_difference": one.largest, "relative": one.relative, "scale": one.scale}
            for one in self.differences
        }
        kept = {key: value for key, value in asdict(self).items() if key != "differences"}
        return kept | {"batch_sizes": list(self.batch_sizes), "outputs": outputs}


def check_tolerance(tolerance: float) -> float:
    """Return a tolerance that can be used.

    Raises:
        RecipeError: It is not above 0 and below 1.
    """
    if not 0.0 < tolerance < 1.0:
        remedy = f"give a share above 0 and below 1; {TOLERANCE:g} is usual"
        raise RecipeError(f"a tolerance of {tolerance:g}", source="--tolerance", remedy=remedy)
    return tolerance


def check_parity(
    model: Exportable, run_exported: Callable[[Arrays], Arrays], *, tolerance: float = TOLERANCE, what: str = "model"
) -> Parity:
    """Hold an exported model against the torch model.

    Args:
        model: The torch model with its real inputs.
        run_exported: Answers a batch with the exported model.
        tolerance: Largest difference allowed, as a share of the largest number of the output.
        what: What was exported, for messages.

    Returns:
        The differences, all of them small enough.

    Raises:
        ExportError: An output differs, has another shape, or is missing; says which, by how much and how often.
    """
    count = min(MOST_SAMPLES, len(next(iter(model.samples.values()))))
    # The reference is worked out one by one: a batch must not change what the model says of its members.
    wanted = _joined([model.answer(model.batch(np.array([n]))) for n in range(count)])
    found: list[Difference] = []
    for size in BATCH_SIZES:
        order = np.resize(np.arange(count), -(-count // size) * size)
        parts = [run_exported(model.batch(order[start : start + size])) for start in range(0, len(order), size)]
        found += _compare(model, wanted, _joined(parts), order, size, tolerance)
    problems = [
        _problem(one, model, count, tolerance, what)
        for one in found
        if one.differing or one.decided_otherwise or not np.isfinite(one.largest)
    ]
    raise_problems(_once(problems), ExportError, f"the exported {what} answers differently: nothing was kept")
    worst = tuple(max((d for d in found if d.output == out.name), key=lambda d: d.largest) for out in model.outputs)
    return Parity(count, model.origin, BATCH_SIZES, tolerance, worst)


def _joined(parts: list[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _compare(
    model: Exportable, wanted: Arrays, got: Arrays, order: npt.NDArray[np.int64], size: int, tolerance: float
) -> list[Difference]:
    found = []
    for output in model.outputs:
        reference = wanted[output.name][order].astype(np.float64)
        answered = got.get(output.name)
        if answered is None or answered.shape != reference.shape:
            shape = "missing" if answered is None else f"of shape {answered.shape} instead of {reference.shape}"
            remedy = "this is a fault of New Game+, not yours: please report it"
            raise ExportError(f"output {output.name!r} is {shape}", source=model.source, remedy=remedy)
        answered = answered.astype(np.float64)
        scale = float(np.abs(reference).max(initial=0.0))
        off = np.abs(answered - reference).reshape(len(order), -1)
        off = np.where(np.isfinite(off), off, np.inf).max(axis=1, initial=0.0)
        differing = len(np.unique(order[off > tolerance * max(scale, 1e-6)]))
        otherwise = len(np.unique(order[_decided_otherwise(reference, answered, output.choices, scale)]))
        found.append(Difference(output.name, float(off.max(initial=0.0)), scale, differing, otherwise, size))
    return found


def _decided_otherwise(
    wanted: npt.NDArray[np.float64], got: npt.NDArray[np.float64], choices: tuple[int, ...], scale: float
) -> npt.NDArray[np.bool_]:
    """Return bool [samples]: another choice is the largest, and not by a tie that rounding decides."""
    wrong = np.zeros(len(wanted), bool)
    start = 0
    for width in choices:
        mine, theirs = wanted[..., start : start + width], got[..., start : start + width]
        start += width
        chosen = np.nan_to_num(theirs, nan=-np.inf).argmax(axis=-1)
        lost = mine.max(axis=-1) - np.take_along_axis(mine, chosen[..., None], axis=-1)[..., 0]
        wrong |= (lost > _NOISE * scale).reshape(len(wanted), -1).any(axis=1)
    return wrong


def _problem(one: Difference, model: Exportable, count: int, tolerance: float, what: str) -> Problem:
    decided = f", and another choice is the largest in {one.decided_otherwise}" if one.decided_otherwise else ""
    message = (
        f"output {one.output!r} is up to {one.largest:.3g} off (numbers up to {one.scale:.3g}, allowed "
        f"{tolerance * one.scale:.2g}) in {one.differing} of {count} {model.origin}{decided}, batch size "
        f"{one.batch_size}"
    )
    remedy = (
        f"the {what} is not the model that was fine-tuned, so do not use it: take another format (--to), or report this"
    )
    return Problem(message, model.source, remedy)


def _once(problems: list[Problem]) -> list[Problem]:
    """Return one problem an output: the other batch sizes say the same."""
    seen: dict[str, Problem] = {}
    for problem in problems:
        seen.setdefault(problem.message.split(" is up to ")[0], problem)
    return list(seen.values())
