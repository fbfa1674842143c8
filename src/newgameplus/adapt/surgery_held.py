"""What is seen no more is held constant: at its mean if it is a number, at its most frequent value if it is a code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from newgameplus.adapt.surgery_plan import SurgeryPlan
from newgameplus.adapt.surgery_table import Fold
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.spaces import ObservationPart, Observations

__all__ = ["Held", "held_contribution", "held_values", "hold"]

Held = dict[str, list[float]]
"""By old part: one value for each feature, channel or number, or for each place of a text."""


def held_values(plan: SurgeryPlan, network: PolicyNetwork, observations: Observations | None) -> Held:
    """Return what each old part is held at where it is no more.

    Args:
        plan: The plan.
        network: The old network; the mean of a normalized feature is its normalizer's.
        observations: Real observations of the old game; without them, what has no known mean is held at 0.
    """
    held: Held = {}
    for part in plan.old.observations.parts:
        if part.name in network.normalizer.parts:
            held[part.name] = network.normalizer.statistics(part.name)[0].float().tolist()
        elif observations is None:
            held[part.name] = [0.0] * part.shape[0]
        else:
            values = np.moveaxis(np.asarray(observations[part.name]), 1, 0).reshape(part.shape[0], -1)
            held[part.name] = [_typical(part, row) for row in values]
    return held


def _typical(part: ObservationPart, values: np.ndarray[Any, np.dtype[Any]]) -> float:
    if part.kind in ("grid", "choice", "tokens"):
        return float(np.bincount(values.astype(np.int64)).argmax())
    mean = float(values.mean(dtype=np.float64))
    return float(round(mean)) if part.dtype.startswith(("int", "uint")) else float(np.float32(mean))


def hold(plan: SurgeryPlan, held: Mapping[str, list[float]], observations: Observations) -> Observations:
    """Return old observations in which all that is seen no more is held constant."""
    found = dict(observations)
    gone = {part.name for part in plan.removed_parts}
    for part in plan.old.observations.parts:
        items = range(part.shape[0]) if part.name in gone else plan.removed_items(part.name)
        if items:
            values = np.array(observations[part.name])
            for item in items:
                values[:, item] = np.asarray(held[part.name][item]).astype(values.dtype)
            found[part.name] = values
    return found


def _constant(part: ObservationPart, held: Mapping[str, list[float]]) -> Tensor:
    values = np.asarray(held[part.name]).astype(part.dtype)
    shaped = values.reshape(1, -1, *[1] * (len(part.shape) - 1))
    return torch.from_numpy(np.broadcast_to(shaped, (1, *part.shape)).copy())


@torch.no_grad()
def held_contribution(fold: Fold, plan: SurgeryPlan, network: PolicyNetwork, held: Held) -> Tensor:
    """Return float64 [old rows]: what columns that are no more add while what they see is held constant.

    Args:
        fold: Which columns.
        plan: The plan.
        network: The old network.
        held: From :func:`held_values`.
    """
    number = plan.old.observations.names.index(fold.part)
    encoder: Any = (
        network.critic_encoders if fold.critic or fold.weight.startswith("critic_encoders") else network.encoders
    )[number]
    part = plan.old.observations.parts[number]
    seen = _constant(part, held)
    if part.name in network.normalizer.parts:
        mean, variance = network.normalizer.statistics(part.name)
        seen = ((seen.float() - mean.float()) * torch.rsqrt(variance.float() + 1e-8)).clamp(-10.0, 10.0)
    columns = torch.tensor(fold.columns)
    weight = network.state_dict()[fold.weight].double()
    if fold.level == "pixels":
        kernels: Tensor = weight[:, columns].sum(dim=(2, 3))
        shown: Tensor = encoder.pixels(seen)[0, columns, 0, 0].double()
        return kernels @ shown
    values: Tensor = (encoder.flatten(seen) if fold.level == "flat" else encoder(seen))[0].double()
    taken: Tensor = weight[:, columns] @ values[columns - fold.start]
    return taken
