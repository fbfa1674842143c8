"""Which number of the new network comes from which number of the old one: the whole operation as a table.

The flow of a policy is followed once, from what is seen to the answers. At each point :class:`Units` say which new unit
carries which old one. A layer's rows are then those of its units, its columns those of the units before it: a new unit
gets random incoming weights and its columns everywhere behind it are zero, so nothing that was computed changes
(OpenAI et al. 2019, arXiv 1912.06680, appendix B). Net2Net (Chen et al. 2016, arXiv 1511.05641) widens by copying units
and deepens by identity layers; here layers are deepened in that way, and widened with silent units, which need no noise
to become different. The table is applied to weights, to normalizer statistics and to an optimizer's moments alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from newgameplus.adapt.surgery_encoders import follow_encoder
from newgameplus.adapt.surgery_plan import Sources, SurgeryPlan
from newgameplus.adapt.surgery_table import Fold, Move, Pass, Table, Units, widen
from newgameplus.errors import Problem
from newgameplus.pretrained.policy_encoders import ConvolutionEncoder, Perceptron, make_encoder
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.pretrained.policy_shape import PolicyShape

__all__ = ["blank_network", "make_table"]

_GATES = {"gru": 3, "lstm": 4}
_NEAR = 1.0 / 16.0
"""Scale at which tanh passes a unit on: smaller is nearer to the identity (the error falls with its square, at most
0.13 % of a unit here), but what stands behind it must be multiplied by its inverse, and jumps with every step."""

_SIGNED = {"relu": 1.0, "leaky-relu": 1.01, "gelu": 1.0, "silu": 1.0}
"""f(x) - f(-x) = c x for these activations, by c (torch's leaky ReLU has a slope of 0.01 below zero)."""


def blank_network(shape: PolicyShape) -> PolicyNetwork:
    """Return a network of a blueprint for its names and sizes; the global randomness stays as it was."""
    with torch.random.fork_rng(devices=[]):
        return PolicyNetwork(shape)


def make_table(plan: SurgeryPlan, old: PolicyNetwork | None = None, new: PolicyNetwork | None = None) -> Table:
    """Follow the flow of the network and return what comes from where.

    Args:
        plan: The plan.
        old: Any network of the old blueprint, if there is one already.
        new: Any network of the new one.
    """
    table = Table()
    _check_widths(plan.old, plan.new, table)
    if table.problems:
        return table
    old, new = old or blank_network(plan.old), new or blank_network(plan.new)
    _normalizer(plan, old, new, table)
    units = _trunk(plan, old, new, table, critic=False)
    theirs = units
    if len(new.critic_encoders):
        theirs = _trunk(plan, old, new, table, critic=True)
    if plan.new.memory != "none":
        units = theirs = _memory(plan, units, table)
    elif plan.new.share:
        theirs = units
    activation = plan.new.activation
    mine = _stack("actor", plan.old.actor, plan.new.actor, units, activation, table)
    table.linear("actor_head", plan.answers, mine, "zero")
    theirs = _stack("critic", plan.old.critic, plan.new.critic, theirs, activation, table)
    table.linear("critic_head", (0,), theirs)
    if plan.new.actions.kind == "continuous":
        table.moves["log_scale"] = Move("log_scale", (plan.answers,))
    return table


def _check_widths(old: PolicyShape, new: PolicyShape, table: Table) -> None:
    rows = {name: (getattr(old, name), getattr(new, name)) for name in ("trunk", "actor", "critic")}
    rows |= {name: ((getattr(old, name),), (getattr(new, name),)) for name in ("features", "memory_width")}
    if old.options.get("channels") != new.options.get("channels"):
        _check_channels(old, new, table)
    for name, (before, after) in rows.items():
        if len(after) < len(before) or any(b < a for a, b in zip(before, after, strict=False)):
            message = f"{name} cannot go from {list(before)} to {list(after)}: layers can only grow"
            table.problems.append(Problem(message, f"widths.{name}", f"take at least {list(before)}"))
    if old.features != new.features and any(part.kind == "tokens" for part in new.observations.parts):
        message = f"features cannot go from {old.features} to {new.features}: a transformer's layer norms run over all"
        table.problems.append(Problem(message, "widths.features", "widen trunk, actor or critic instead"))
    if old.features != new.features and new.backbone:
        message = "the width of a backbone from elsewhere cannot be changed"
        table.problems.append(Problem(message, "widths.features", "widen trunk, actor or critic instead"))


def _check_channels(old: PolicyShape, new: PolicyShape, table: Table) -> None:
    with torch.random.fork_rng(devices=[]):
        encoders = [make_encoder(part, old) for part in old.observations.parts if part.kind in ("image", "grid")]
    found = [_channels(encoder) for encoder in encoders if isinstance(encoder, ConvolutionEncoder)]
    before, after = next((widths for widths in found if widths), []), list(new.options["channels"])
    if not before:
        message = "this policy has no convolutions whose channels can be chosen (nature-cnn has its own)"
        table.problems.append(Problem(message, "widths.channels", "widen features or trunk instead"))
    elif len(before) != len(after) or any(b < a for a, b in zip(before, after, strict=True)):
        message = f"channels cannot go from {before} to {after}: convolutions can be wider, not more"
        table.problems.append(Problem(message, "widths.channels", f"take at least {before}"))


def _channels(encoder: ConvolutionEncoder) -> list[int]:
    layers = [layer for layer in encoder.convolutions if isinstance(layer, nn.Conv2d)]
    return [] if layers[0].kernel_size != (3, 3) else [layer.out_channels for layer in layers]


def _normalizer(plan: SurgeryPlan, old: PolicyNetwork, new: PolicyNetwork, table: Table) -> None:
    table.moves["normalizer.count"] = Move("normalizer.count")
    for part in plan.parts:
        if part.new in new.normalizer.parts and part.old in old.normalizer.parts:
            before, after = old.normalizer.parts.index(part.old), new.normalizer.parts.index(part.new)
            table.moves[f"normalizer.mean_{after}"] = Move(f"normalizer.mean_{before}", (part.map.items,), "zero")
            table.moves[f"normalizer.variance_{after}"] = Move(
                f"normalizer.variance_{before}", (part.map.items,), "one"
            )


def _trunk(plan: SurgeryPlan, old: PolicyNetwork, new: PolicyNetwork, table: Table, *, critic: bool) -> Units:
    """Follow encoders and trunk; return the units behind them."""
    prefix = "critic_encoders" if critic else "encoders"
    before = {part.name: getattr(old, prefix)[n] for n, part in enumerate(plan.old.observations.parts)}
    starts, width = {}, 0
    for name, encoder in before.items():
        starts[name] = width
        width += encoder.width
    sources: list[int] = []
    positive = True
    lost: dict[str, Sources] = {part.name: tuple(range(before[part.name].width)) for part in plan.removed_parts}
    for number, part in enumerate(plan.parts):
        encoder = getattr(new, prefix)[number]
        positive &= isinstance(encoder, ConvolutionEncoder | Perceptron)
        found: Sources = (-1,) * encoder.width
        if part.old:
            names = (f"{prefix}.{list(before).index(part.old)}", f"{prefix}.{number}")
            found, gone = follow_encoder(plan, part, before[part.old], encoder, names, table)
            lost |= {part.old: gone} if gone else {}
        sources += [starts[part.old] + source if source >= 0 else -1 for source in found]
    units = Units(tuple(sources), (), positive)
    stack = "critic_trunk" if critic else "trunk"
    after = _stack(stack, plan.old.trunk, plan.new.trunk, units, plan.new.activation, table)
    for bias, rows, weight in _readers(plan, critic):
        for name, columns in lost.items():
            places = tuple(starts[name] + column for column in columns)
            table.folds.append(Fold(bias, weight, rows, places, "features", name, starts[name], critic))
    return after


def _readers(plan: SurgeryPlan, critic: bool) -> list[tuple[str, Sources, str]]:
    """Return bias, its rows and old weight of each layer that reads the features of the encoders."""
    old, new = plan.old, plan.new

    def first(stack: str, before: Sequence[int], after: Sequence[int], head: Sources) -> tuple[str, Sources, str]:
        layer, rows = (f"{stack}.0", widen(before[0], after[0])) if before else (f"{stack}_head", head)
        return f"{layer}.bias", rows, f"{layer}.weight"

    if old.trunk:
        return [first("critic_trunk" if critic else "trunk", old.trunk, new.trunk, ())]
    if old.memory != "none":
        rows = _gated(widen(old.memory_width, new.memory_width), old.memory_width, _GATES[old.memory])
        return [("memory.bias_ih", rows, "memory.weight_ih")]
    actor = first("actor", old.actor, new.actor, plan.answers)
    value = first("critic", old.critic, new.critic, (0,))
    return [actor, value] if old.share else [value if critic else actor]


def _gated(rows: Sources, width: int, gates: int) -> Sources:
    return tuple(gate * width + row if row >= 0 else -1 for gate in range(gates) for row in rows)


def _memory(plan: SurgeryPlan, before: Units, table: Table) -> Units:
    """Widen the memory: new units listen to all, old ones do not listen to them."""
    old, new = plan.old.memory_width, plan.new.memory_width
    rows = widen(old, new)
    gated = _gated(rows, old, _GATES[plan.new.memory])
    table.moves["memory.weight_ih"] = Move("memory.weight_ih", (gated, before.sources), "fresh", before.factors)
    table.moves["memory.weight_hh"] = Move("memory.weight_hh", (gated, rows))
    table.moves["memory.bias_ih"] = Move("memory.bias_ih", (gated,))
    table.moves["memory.bias_hh"] = Move("memory.bias_hh", (gated,))
    return Units(rows)


def _stack(name: str, old: Sequence[int], new: Sequence[int], units: Units, activation: str, table: Table) -> Units:
    """Follow a row of layers: those that there were, wider perhaps, then those that are inserted behind them."""
    for number, width in enumerate(new):
        layer = f"{name}.{2 * number}"
        if number < len(old):
            rows = widen(old[number], width)
            table.linear(layer, rows, units)
            units = Units(rows, (), activation == "relu")
        else:
            units = _insert(layer, width, units, activation, table)
    return units


def _insert(layer: str, width: int, units: Units, activation: str, table: Table) -> Units:
    """Insert a layer that passes old units on; exactly so, but for tanh.

    relu passes on what is not negative. For relu, leaky-relu, gelu and silu f(x) - f(-x) is a multiple of x, so two
    units carry a value of either sign.
    """
    read = _combinations(units)
    whole = units.positive and all(weight > 0.0 for columns in read.values() for _, weight in columns)
    signed = activation in _SIGNED and not (activation == "relu" and whole)
    need = len(read) * (2 if signed else 1)
    stack = layer.partition(".")[0]
    if activation not in (*_SIGNED, "tanh"):
        message = f"no layer can be inserted behind {activation} that passes on what it gets"
        table.problems.append(Problem(message, f"widths.{stack}", "make layers wider instead"))
        return units
    if width < need:
        why = "two units carry each value, one for each sign" if signed else "one unit carries each value"
        message = f"a new layer {layer} of {width} units cannot pass {len(read)} on"
        table.problems.append(Problem(message, f"widths.{stack}", f"take at least {need}: {why}"))
        return units
    if activation == "tanh":
        table.losses.append(f"{layer} is inserted, and tanh passes on only nearly what it gets")
    scale = _NEAR if activation == "tanh" else 1.0
    strengths = (scale, -scale) if signed else (scale,)
    rows = [tuple((n, strength * weight) for n, weight in each) for strength in strengths for each in read.values()]
    table.passes[layer] = Pass(tuple(rows))
    gain = scale * (_SIGNED[activation] if signed else 1.0)
    factors = [strength / (scale * gain) for strength in strengths for _ in read]
    spare = width - need
    return Units((*tuple(read) * len(strengths), *[-1] * spare), (*factors, *[1.0] * spare), activation == "relu")


def _combinations(units: Units) -> dict[int, list[tuple[int, float]]]:
    """Return, for each old unit, the new units whose weighted sum it is."""
    factors = units.factors or (1.0,) * len(units.sources)
    found: dict[int, list[tuple[int, float]]] = {}
    for number, source in enumerate(units.sources):
        if source >= 0:
            found.setdefault(source, []).append((number, factors[number]))
    return found
