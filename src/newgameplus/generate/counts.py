"""Counts made exact by hand: what is missing goes where the model would most likely have put it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from newgameplus.games.scanning import from_scan
from newgameplus.games.scenes import Level
from newgameplus.games.structure import Structure
from newgameplus.generate.sampler import Draft, Sampler

__all__ = ["complete_level", "mend_counts"]

_PARTNERS = 4
"""Most neighbours that are put beside a tile that every map has once."""
_PLACES = 24
"""Places that are tried for such a tile."""


def mend_counts(sampler: Sampler, draft: Draft, structure: Structure | None) -> Level:
    """Return a finished draft's level, with tiles that are still missing for its counts put in.

    For each missing tile the cell is taken where it costs the least likelihood, counts no other watched tile and breaks
    no structure. The draft is changed too. What cannot be mended is left to the verifier.
    """
    limits = draft.limits
    for number, flag in enumerate(limits.flags):
        counts = limits.counts(draft.scan, draft.fixed)
        while counts[number] < limits.low[number]:
            if not _put_one(sampler, draft, flag & limits.allowed(counts), structure):
                break
            counts = limits.counts(draft.scan, draft.fixed)
    return sampler.level(draft)


def complete_level(
    sampler: Sampler, draft: Draft, structure: Structure | None, accept: Callable[[Level], bool]
) -> Level | None:
    """Put in what every map has exactly once and a finished draft lacks, such as the goal; None if there is no place.

    Unlike in :func:`mend_counts` a neighbour that the tile must have comes with it, such as the pole above the foot of
    a flag, and the level with it must be accepted. The draft is changed only if all that is missing could be put in.

    Args:
        sampler: It made the draft.
        draft: The draft.
        structure: Hard structure to keep.
        accept: Whether a level is still good, which means played to its end.
    """
    limits, before = draft.limits, draft.scan.copy()
    for number in range(limits.asked, len(limits.flags)):
        counts = limits.counts(draft.scan, draft.fixed)
        if counts[number] < limits.low[number]:
            flag = limits.flags[number] & limits.allowed(counts)
            if not _put_one(sampler, draft, flag, structure, accept):
                draft.scan[:] = before
                return None
    return sampler.level(draft)


def _put_one(
    sampler: Sampler,
    draft: Draft,
    flag: npt.NDArray[np.bool_],
    structure: Structure | None,
    accept: Callable[[Level], bool] | None = None,
) -> bool:
    if not flag.any():
        return False
    logits = draft.logits.astype(np.float32)
    watched = np.asarray(draft.limits.flags.any(axis=0), np.bool_)
    free = (draft.fixed < 0) & ~watched[draft.scan] & ~np.isnan(logits).any(axis=-1)
    tiles = np.nonzero(flag)[0]
    now = np.take_along_axis(logits, draft.scan[..., None].astype(np.int64), axis=-1)
    gain = np.where(free[..., None], logits[..., tiles] - now, -np.inf)
    broken = len(structure.breaks(sampler.level(draft))) if structure else 0
    before, tried = draft.scan.copy(), 0
    for best in np.argsort(-gain, axis=None)[:50]:
        line, place, tile = np.unravel_index(best, gain.shape)
        if not np.isfinite(gain[line, place, tile]) or tried == _PLACES:
            return False
        draft.scan[line, place] = tiles[tile]
        if _fits(sampler, draft, structure, broken, free if accept is not None else None):
            tried += accept is not None
            if accept is None or accept(sampler.level(draft)):
                return True
        draft.scan[:] = before
    return False


def _fits(
    sampler: Sampler, draft: Draft, structure: Structure | None, broken: int, free: npt.NDArray[np.bool_] | None
) -> bool:
    """Whether a draft breaks structure in no more places than it did, if need be after neighbours are put in."""
    if structure is None:
        return True
    for _ in range(1 + _PARTNERS):
        if len(structure.breaks(sampler.level(draft))) <= broken:
            return True
        if free is None or not _add_partner(sampler, draft, structure, free):
            return False
    return False


def _add_partner(sampler: Sampler, draft: Draft, structure: Structure, free: npt.NDArray[np.bool_]) -> bool:
    """Put one neighbour that a tile lacks and that can be no other tile, where the model is free; say whether."""
    base, allowed = sampler.way.base, draft.limits.allowed(draft.limits.counts(draft.scan, draft.fixed))
    cells = from_scan(np.arange(draft.scan.size, dtype=np.int32).reshape(draft.scan.shape), sampler.order)
    flat = draft.scan.reshape(-1)
    grid = base[flat[cells]]
    for direction, (down, right) in enumerate(((-1, 0), (1, 0), (0, -1), (0, 1))):
        must = structure.beside[direction]
        for row, column in zip(*np.nonzero(must[grid].sum(axis=-1) == 1), strict=True):
            other = (row + down, column + right)
            if not (0 <= other[0] < grid.shape[0] and 0 <= other[1] < grid.shape[1]):
                continue
            wanted = int(must[grid[row, column]].argmax())
            if grid[other] != wanted and free.reshape(-1)[cells[other]] and allowed[wanted]:
                flat[cells[other]] = wanted
                return True
    return False
