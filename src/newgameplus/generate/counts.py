"""Counts made exact by hand: what is missing goes where the model would most likely have put it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from newgameplus.games.scenes import Level
from newgameplus.games.structure import Structure
from newgameplus.generate.sampler import Draft, Sampler

__all__ = ["mend_counts"]


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


def _put_one(sampler: Sampler, draft: Draft, flag: npt.NDArray[np.bool_], structure: Structure | None) -> bool:
    if not flag.any():
        return False
    logits = draft.logits.astype(np.float32)
    watched = np.asarray(draft.limits.flags.any(axis=0), np.bool_)
    free = (draft.fixed < 0) & ~watched[draft.scan] & ~np.isnan(logits).any(axis=-1)
    tiles = np.nonzero(flag)[0]
    now = np.take_along_axis(logits, draft.scan[..., None].astype(np.int64), axis=-1)
    gain = np.where(free[..., None], logits[..., tiles] - now, -np.inf)
    broken = len(structure.breaks(sampler.level(draft))) if structure else 0
    for best in np.argsort(-gain, axis=None)[:50]:
        line, place, tile = np.unravel_index(best, gain.shape)
        if not np.isfinite(gain[line, place, tile]):
            return False
        before = draft.scan[line, place]
        draft.scan[line, place] = tiles[tile]
        if structure is None or len(structure.breaks(sampler.level(draft))) <= broken:
            return True
        draft.scan[line, place] = before
    return False
