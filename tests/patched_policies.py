"""Policies and patched games for the tests of surgery; observations are translated here by names, independently."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from newgameplus.pretrained.policy import Policy, as_tensors
from newgameplus.pretrained.policy_network import PolicyAnswer, PolicyNetwork
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ActionSpec, ObservationPart, Observations, ObservationSpec

NAMES = tuple("abcdefgh")


def vector(*features: str, name: str = "observation") -> ObservationPart:
    return ObservationPart(name, "vector", (len(features),), features=features)


def spec(*parts: ObservationPart) -> ObservationSpec:
    return ObservationSpec(parts)


def discrete(*names: str) -> ActionSpec:
    return ActionSpec("discrete", (len(names),), names=names)


def random_observations(seen: ObservationSpec, count: int, seed: int = 0) -> Observations:
    source = np.random.default_rng(seed)
    found: Observations = {}
    for part in seen.parts:
        size = (count, *part.shape)
        if part.kind == "tokens":
            values: Any = source.integers(1, part.sizes[0], size) * (
                np.arange(part.shape[0]) < source.integers(1, part.shape[0] + 1, (count, 1))
            )
        elif part.sizes:
            limits = np.broadcast_to(np.array(part.sizes).reshape(-1, *[1] * (len(part.shape) - 1)), part.shape)
            values = source.integers(0, limits, size)
        elif part.kind == "image":
            values = source.uniform(0, part.high or 1.0, size)
        else:
            values = source.normal(3.0, 2.0, size)
        found[part.name] = values.astype(part.dtype)
    return found


def random_policy(shape: PolicyShape, seed: int = 0) -> tuple[Policy, Observations]:
    """Return a policy with an opinion, and observations that its normalizer has seen."""
    torch.manual_seed(seed)
    network = PolicyNetwork(shape)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 1:
                weight.add_(0.1 * torch.randn_like(weight))
        torch.nn.init.normal_(network.actor_head.weight, std=0.3)
    seen = random_observations(shape.observations, 64, seed)
    network.normalizer.update(as_tensors(seen))
    return Policy("fresh", network.eval(), "Old-v1"), seen


@torch.no_grad()
def answers(policy: Policy, observations: Mapping[str, Any], steps: int = 1) -> list[PolicyAnswer]:
    """Return answers in double precision; ``steps`` batches one after the other, the memory kept."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        network = copy.deepcopy(policy.network).double()
        count = len(next(iter(observations.values()))) // steps
        found: list[PolicyAnswer] = []
        for step in range(steps):
            batch = {name: values[step * count : (step + 1) * count] for name, values in observations.items()}
            found.append(network(as_tensors(batch), found[-1].state if found else None))
        return found
    finally:
        torch.set_default_dtype(before)


def translated(old: ObservationSpec, new: ObservationSpec, seen: Observations, seed: int = 1) -> Observations:
    """Return old observations in the new spaces, going by names; what is new is random."""
    found = random_observations(new, len(next(iter(seen.values()))), seed)
    for part in new.parts:
        before = old.part(part.name)
        if before is None:
            continue
        if part.kind == "tokens":
            found[part.name][:] = 0
            found[part.name][:, : before.shape[0]] = seen[part.name]
            continue
        for place, feature in enumerate(part.features):
            if feature in before.features:
                found[part.name][:, place] = seen[part.name][:, before.features.index(feature)]
    return found


@st.composite
def row_change(draw: st.DrawFn, *, removed: bool = False) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Draw names before and after: shuffled, some added, some removed if that may be."""
    old = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    kept = draw(st.lists(st.sampled_from(old), min_size=1, unique=True)) if removed else old
    added = draw(st.lists(st.sampled_from(tuple("uvwxyz")), max_size=3, unique=True))
    return tuple(old), tuple(draw(st.permutations([*kept, *added])))


@st.composite
def part_change(
    draw: st.DrawFn, name: str, kinds: tuple[str, ...], *, removed: bool = False
) -> tuple[ObservationPart, ObservationPart]:
    """Draw a part before and after."""
    kind: Any = draw(st.sampled_from(kinds))
    old, new = draw(row_change(removed=removed))
    if kind == "tokens":
        length, words = draw(st.tuples(st.integers(1, 5), st.integers(2, 6)))
        more = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
        after = ObservationPart(name, kind, (length + more[0],), "int64", sizes=(words + more[1],))
        return ObservationPart(name, kind, (length,), "int64", sizes=(words,)), after
    side = draw(st.tuples(st.integers(4, 6), st.integers(4, 6))) if kind in ("image", "grid") else ()
    dtype = {"vector": "float32", "image": "uint8"}.get(kind, "int64")
    codes = {feature: draw(st.integers(2, 4)) for feature in {*old, *new}}
    grown = {feature: draw(st.integers(0, 2)) for feature in new}
    high = 255.0 if kind == "image" else None
    both = []
    for features, more in ((old, {}), (new, grown)):
        sizes = tuple(codes[f] + more.get(f, 0) for f in features) if kind in ("grid", "choice") else ()
        both.append(
            ObservationPart(name, kind, (len(features), *side), dtype, high=high, sizes=sizes, features=features)
        )
    return both[0], both[1]


@st.composite
def shapes(draw: st.DrawFn, observations: ObservationSpec, actions: ActionSpec, **fixed: Any) -> PolicyShape:
    """Draw a blueprint."""
    width = st.integers(2, 6)
    stack = st.lists(width, max_size=2).map(tuple)
    drawn: dict[str, Any] = {
        "features": draw(st.sampled_from((4, 8))),
        "trunk": draw(stack),
        "actor": draw(stack),
        "critic": draw(stack),
        "memory": draw(st.sampled_from(("none", "gru", "lstm"))),
        "memory_width": draw(width),
        "share": draw(st.booleans()),
        "activation": draw(st.sampled_from(("tanh", "relu", "silu"))),
        "normalize": draw(st.booleans()),
    }
    return PolicyShape(observations, actions, **(drawn | fixed))


@st.composite
def wider(draw: st.DrawFn, shape: PolicyShape) -> dict[str, Any]:
    """Draw widths at least as large as those of a blueprint."""
    more = st.integers(0, 3)
    found: dict[str, Any] = {
        name: [width + draw(more) for width in getattr(shape, name)] for name in ("trunk", "actor", "critic")
    }
    if shape.memory != "none":
        found["memory"] = shape.memory_width + draw(more)
    if not any(part.kind == "tokens" for part in shape.observations.parts):
        found["features"] = shape.features + draw(more)
    return found
