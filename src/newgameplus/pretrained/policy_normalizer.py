"""Statistics of observations that were normalized elsewhere, as numbers in an npz file."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from newgameplus.errors import PretrainedModelError, Problem, raise_problems
from newgameplus.pretrained.policy_network import Normalizer
from newgameplus.spaces import ObservationPart

__all__ = ["Statistics", "read_statistics"]

_EPSILON = 1e-8
_REMEDY = (
    'write it with np.savez("normalizer.npz", mean=v.obs_rms.mean, var=v.obs_rms.var, count=v.obs_rms.count, '
    "clip=v.clip_obs, epsilon=v.epsilon), v being the VecNormalize (its pickle is never read here)"
)


@dataclass(frozen=True, eq=False)
class Statistics:
    """Means and variances by part.

    Attributes:
        parts: float64 [features] each: mean and variance of the parts that were normalized.
        count: Observations that they are of.
        clip: Deviations at which normalized numbers were cut off.
    """

    parts: Mapping[str, tuple[Tensor, Tensor]]
    count: float
    clip: float

    def fill(self, normalizer: Normalizer) -> None:
        """Put the numbers into a network."""
        normalizer.count.fill_(self.count)
        for name, (mean, variance) in self.parts.items():
            for buffer, values in zip(normalizer.statistics(name), (mean, variance), strict=True):
                buffer.copy_(values)


def read_statistics(path: Path, parts: Sequence[ObservationPart]) -> Statistics:
    """Read ``mean`` and ``var`` (of the only part) or ``mean/NAME`` and ``var/NAME``, ``count``, ``clip``, ``epsilon``.

    Args:
        path: The npz file.
        parts: What the policy sees.

    Raises:
        PretrainedModelError: It cannot be read, or does not fit; everything that does not is named.
    """
    source = str(path)
    try:
        with np.load(path, allow_pickle=False) as handle:
            arrays: dict[str, Any] = {name: np.asarray(handle[name], np.float64) for name in handle.files}
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, EOFError) as error:
        message = f"these are no statistics of observations ({error})"
        raise PretrainedModelError(message, source=source, remedy=_REMEDY) from error
    if "mean" in arrays and len(parts) == 1:
        arrays |= {f"{key}/{parts[0].name}": arrays.pop(key) for key in ("mean", "var", "count") if key in arrays}
    epsilon = _number(arrays, "epsilon", _EPSILON, source)
    found: dict[str, tuple[Tensor, Tensor]] = {}
    problems = [
        Problem(f"there are statistics of {name!r}, which the policy does not see as a vector", source, _REMEDY)
        for name in sorted(key.partition("/")[2] for key in arrays if key.startswith("mean/"))
        if name not in [part.name for part in parts if part.kind == "vector"]
    ]
    for part in parts:
        mean, variance = arrays.get(f"mean/{part.name}"), arrays.get(f"var/{part.name}")
        if part.kind != "vector" or (mean is None and variance is None):
            continue
        both = [values for values in (mean, variance) if values is not None and values.size == math.prod(part.shape)]
        if len(both) < 2 or not all(np.isfinite(values).all() for values in both) or bool((both[1] < 0).any()):
            message = f"mean and var of {part.name!r} are not {part.shape[0]} finite numbers each"
            problems.append(Problem(message, source, _REMEDY))
            continue
        found[part.name] = torch.from_numpy(both[0].ravel()), torch.from_numpy(both[1].ravel() + (epsilon - _EPSILON))
    if not found and not problems:
        problems.append(Problem("it holds no statistics of anything that the policy sees", source, _REMEDY))
    raise_problems(problems, PretrainedModelError, f"{len(problems)} statistics do not fit the policy")
    counts = [_number(arrays, key, 0.0, source) for key in arrays if key == "count" or key.startswith("count/")]
    return Statistics(found, max(counts, default=0.0), _number(arrays, "clip", 10.0, source))


def _number(arrays: Mapping[str, Any], key: str, default: float, source: str) -> float:
    value = arrays.get(key)
    if value is None:
        return default
    if value.size != 1 or not np.isfinite(value).all() or value.item() < 0:
        raise PretrainedModelError(f"{key} is {value!r}", source=source, remedy=_REMEDY)
    return float(value.item())
