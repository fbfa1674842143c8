"""The proof that a policy does after an operation what it did before, on real observations."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from newgameplus.adapt.surgery_actions import SHARED_OUT, answer_groups
from newgameplus.adapt.surgery_held import hold
from newgameplus.adapt.surgery_observations import convert_observations, representable, thinned
from newgameplus.adapt.surgery_plan import SurgeryPlan
from newgameplus.errors import SurgeryError
from newgameplus.pretrained.policy import Policy, as_tensors
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.spaces import Observations

__all__ = ["TOLERANCE", "Differences", "SurgeryProof", "prove"]

TOLERANCE = 1e-6
_STEPS = 8


@dataclass(frozen=True)
class Differences:
    """How far two policies are from each other on the same observations.

    Attributes:
        logits: Largest difference of an old action's logit (or mean, of continuous actions).
        values: Largest difference of a value.
        state: Largest difference of a number of the memory.
        probability: Largest change of the probability of an old action, relative to the other old actions.
        agreement: Share of observations with the same likeliest old action (all numbers within the tolerance, if
            continuous).
    """

    logits: float
    values: float
    state: float
    probability: float
    agreement: float

    @property
    def largest(self) -> float:
        """The largest of the differences of logits, values and memory."""
        return max(self.logits, self.values, self.state)


@dataclass(frozen=True)
class SurgeryProof:
    """What was measured.

    Attributes:
        observations: Number of observations.
        left_out: Observations that the new game cannot show, such as those with a code that is no more.
        steps: Steps that the memory was followed through.
        scale: Largest logit or value of the old policy, at least 1; differences are held against it.
        exact: Differences in double precision, against the old policy with what is seen no more held constant.
        single: The same in single precision, as the policies play.
        raw: Differences in single precision against the old policy that still sees everything; None if nothing
            was removed.
        new_actions: Mean probability of each new action, button or choice.
        removed_actions: Mean probability that the old policy gave to removed actions.
        preserved: Whether the exact differences are within 1e-6 of the scale (1e-5 for a policy with a backbone from
            elsewhere, which computes in single precision).
        expected: Whether the plan says that the function is preserved.
        tolerance: What the differences are held against, times the scale.
    """

    observations: int
    left_out: int
    steps: int
    scale: float
    exact: Differences
    single: Differences
    raw: Differences | None
    new_actions: dict[str, float]
    removed_actions: dict[str, float]
    preserved: bool
    expected: bool
    tolerance: float = TOLERANCE

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def text(self) -> str:
        """Return the proof in words, 80 columns wide."""
        head = f"proof on {self.observations} observations of the old game"
        lines = [head + (f" ({self.left_out} more cannot be shown by the new game)" if self.left_out else "")]
        if self.observations:
            lines += [f"{'':24}{'exact (float64)':>18}{'as played':>14}" + (f"{'still seen':>14}" if self.raw else "")]
            rows = {
                "logits": "largest logit difference",
                "probability": "largest prob. change",
                "values": "largest value difference",
                "state": "largest memory diff.",
                "agreement": "same likeliest action",
            }
            for key, label in rows.items():
                columns = [self.exact, self.single, *([self.raw] if self.raw else [])]
                cells = [f"{getattr(c, key):.4%}" if key == "agreement" else f"{getattr(c, key):.2e}" for c in columns]
                lines.append(
                    f"{label:24}" + "".join(f"{cell:>{w}}" for cell, w in zip(cells, (18, 14, 14), strict=False))
                )
        if self.raw:
            lines.append("still seen: against the old policy while it sees what is now held constant")
        for title, chances in (("new", self.new_actions), ("removed", self.removed_actions)):
            shown = ", ".join(f"{name} {chance:.3%}" for name, chance in list(chances.items())[:6])
            lines += [f"{title} actions, mean probability: {shown}"] if chances else []
        if self.preserved:
            lines.append(f"preserved to {self.tolerance:g} of the largest logit or value, {self.scale:.3g}")
        else:
            lines.append("not preserved, as the plan says; the measured change is above")
        return "\n".join(lines)


def prove(
    old: Policy,
    new: Policy,
    plan: SurgeryPlan,
    observations: Observations,
    *,
    added: Mapping[str, np.ndarray[Any, Any]] | None = None,
    steps: int | None = None,
) -> SurgeryProof:
    """Measure how far the new policy is from the old one on real observations.

    New features and parts show what ``added`` says, by default random values within their bounds: they must not matter.

    Args:
        old: The policy before.
        new: The policy after.
        plan: The plan.
        observations: Real observations of the old game in their order: arrays [n, ...] by part. Of large ones some
            are taken, evenly.
        added: What new features and parts show: arrays [n, ...] of the new spaces by part.
        steps: Steps that a memory is followed through; 8 by default, 1 without memory.

    Raises:
        SurgeryError: The plan says that the function is preserved, and it is not.
    """
    steps = steps or (_STEPS if plan.old.memory != "none" else 1)
    both = {("old", name): np.asarray(values) for name, values in observations.items()}
    both |= {("new", name): np.asarray(values) for name, values in (added or {}).items()}
    taken = thinned(both, steps)
    shown, after = ({name: v for (side, name), v in taken.items() if side == wanted} for wanted in ("old", "new"))
    kept = representable(plan, shown, exactly=True)
    held = new.facts.get("surgery", {}).get("held", {})
    shown, after = ({name: values[kept] for name, values in each.items()} for each in (shown, after))
    count = int(kept.sum())
    steps = min(steps, max(1, count))
    if not count:
        return _empty(plan, len(kept))
    after = after or _noise(plan, count)
    converted = convert_observations(plan, shown, after)
    steady = hold(plan, held, shown) if plan.holds else shown
    # A backbone from elsewhere computes in single precision whatever it is asked for.
    finest, tolerance = (torch.float32, 1e-5) if plan.old.backbone else (torch.float64, TOLERANCE)
    exact, scale, _ = _compare(old, new, plan, (steady, converted), steps, finest)
    single, _, answers = _compare(old, new, plan, (steady, converted), steps, torch.float32)
    raw = _compare(old, new, plan, (shown, converted), steps, torch.float32)[0] if plan.holds else None
    chances = _chances(plan, *answers)
    preserved = exact.largest <= tolerance * scale
    proof = SurgeryProof(
        count, len(kept) - count, steps, scale, exact, single, raw, *chances, preserved, not plan.losses, tolerance
    )
    if not preserved and _must_preserve(plan):
        message = (
            f"the function is not preserved: the largest difference is {exact.largest:.3g} at a scale of {scale:.3g}"
        )
        raise SurgeryError(
            message, source=new.name, remedy="this is a bug of the surgery; please report it with the plan"
        )
    return proof


def _must_preserve(plan: SurgeryPlan) -> bool:
    """Whether nothing stands against it; removed actions change probabilities but no logit."""
    return all(loss.endswith(SHARED_OUT) for loss in plan.losses)


def _empty(plan: SurgeryPlan, left_out: int) -> SurgeryProof:
    none = Differences(0.0, 0.0, 0.0, 0.0, 1.0)
    return SurgeryProof(0, left_out, 0, 1.0, none, none, None, {}, {}, False, not plan.losses)


def _noise(plan: SurgeryPlan, count: int) -> Observations:
    """Return random observations of the new spaces: what is new must not matter, whatever it is."""
    source = np.random.default_rng(plan.seed)
    found: Observations = {}
    for part in plan.new.observations.parts:
        size = (count, *part.shape)
        if part.sizes and part.kind != "tokens":
            limits = np.array(part.sizes).reshape(-1, *[1] * (len(part.shape) - 1))
            values: Any = source.integers(0, np.broadcast_to(limits, part.shape), size)
        elif part.kind == "tokens":
            values = source.integers(1, part.sizes[0], size)
        elif part.low is not None and part.high is not None and np.isfinite([part.low, part.high]).all():
            values = source.uniform(part.low, part.high, size)
        else:
            values = source.normal(size=size)
        found[part.name] = values.astype(part.dtype)
    return found


@contextmanager
def _precision(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@torch.no_grad()
def _play(network: PolicyNetwork, observations: Observations, steps: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Return answers, values and memory of observations played in rows of ``steps``, the memory kept along each."""
    with _precision(dtype):
        network = copy.deepcopy(network).cpu().to(dtype).eval()
        rows = len(next(iter(observations.values()))) // steps
        state: Tensor | None = None
        found: list[tuple[Tensor, ...]] = []
        for step in range(steps):
            batch = {
                name: values[: rows * steps].reshape(rows, steps, *values.shape[1:])[:, step]
                for name, values in observations.items()
            }
            answer = network(as_tensors(batch), state)
            state = answer.state
            found.append((answer.distribution.answer, answer.values, answer.state))
    return tuple(torch.cat(tensors) for tensors in zip(*found, strict=True))


def _compare(
    old: Policy, new: Policy, plan: SurgeryPlan, pair: tuple[Observations, Observations], steps: int, dtype: torch.dtype
) -> tuple[Differences, float, tuple[Tensor, Tensor]]:
    before, after = (_play(p.network, o, steps, dtype) for p, o in zip((old, new), pair, strict=True))
    answers = torch.tensor(plan.answers)
    places = torch.nonzero(answers >= 0).flatten()
    mine, theirs = before[0][:, answers[places]], after[0][:, places]
    scale = max(1.0, *(float(values.abs().max()) for values in before[:2] if values.numel()))
    chances = [_relative(plan, values) for values in (mine, theirs)]
    agreement = _agreement(plan, mine, theirs, scale)
    state = _gap(before[2], _old_state(plan, after[2]))
    gaps = (_gap(mine, theirs), _gap(before[1], after[1]), state, _gap(*chances))
    return Differences(*gaps, agreement), scale, (before[0], after[0])


def _gap(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max()) if one.numel() else 0.0


def _old_state(plan: SurgeryPlan, state: Tensor) -> Tensor:
    old, new = plan.old.memory_width, plan.new.memory_width
    if plan.old.memory == "none":
        return state
    return torch.cat([part[:, :old] for part in torch.split(state, new, dim=1)], dim=1)


def _kept_groups(plan: SurgeryPlan) -> list[Tensor]:
    """Return the places, among the old actions that are kept, of those weighed against each other."""
    places = [n for n, source in enumerate(plan.answers) if source >= 0]
    groups = [[places.index(n) for n in range(g.start, g.stop) if n in places] for g in answer_groups(plan.new.actions)]
    return [torch.tensor(group) for group in groups if group]


def _relative(plan: SurgeryPlan, logits: Tensor) -> Tensor:
    kind = plan.new.actions.kind
    if kind in ("binary", "continuous"):
        return torch.sigmoid(logits) if kind == "binary" else logits.new_zeros(len(logits), 0)
    return torch.cat([logits[:, group].softmax(dim=1) for group in _kept_groups(plan)], dim=1)


def _agreement(plan: SurgeryPlan, mine: Tensor, theirs: Tensor, scale: float) -> float:
    kind = plan.new.actions.kind
    if kind == "continuous":
        same = ((mine - theirs).abs() <= 1e-5 * scale).all(dim=1)
    elif kind == "binary":
        same = ((mine > 0) == (theirs > 0)).all(dim=1)
    else:
        groups = _kept_groups(plan)
        each = [mine[:, group].argmax(dim=1) == theirs[:, group].argmax(dim=1) for group in groups]
        same = torch.stack(each).all(dim=0)
    return float(same.double().mean())


def _chances(plan: SurgeryPlan, before: Tensor, after: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """Return the mean probabilities of new and of removed actions."""
    kind = plan.new.actions.kind
    if kind == "continuous":
        return {}, {}
    found = []
    gone = [n for n in range(before.shape[1]) if n not in set(plan.answers)]
    come = [n for n, source in enumerate(plan.answers) if source < 0]
    for spec, logits, rows in ((plan.new.actions, after, come), (plan.old.actions, before, gone)):
        groups = answer_groups(spec)
        parts = [logits[:, g].sigmoid() if kind == "binary" else logits[:, g].softmax(dim=1) for g in groups]
        mean = torch.cat(parts, dim=1).mean(dim=0)
        names = spec.names if len(spec.names) == spec.width else tuple(str(n) for n in range(spec.width))
        found.append({names[row]: float(mean[row]) for row in rows})
    return found[0], found[1]
