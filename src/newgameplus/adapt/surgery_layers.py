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
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from newgameplus.adapt.rows import move_columns, move_rows
from newgameplus.adapt.surgery_plan import PartMap, Sources, SurgeryPlan
from newgameplus.errors import Problem
from newgameplus.pretrained.policy_encoders import ConvolutionEncoder, Encoder, Flatten, Perceptron, TokenEncoder
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ObservationPart

__all__ = ["Fold", "Move", "Pass", "Table", "Units", "make_table", "moved"]

_GATES = {"gru": 3, "lstm": 4}
_NEAR = 1.0 / 16.0
"""Scale at which tanh passes a unit on: smaller is nearer to the identity (the error falls with its square, at most
0.13 % of a unit here), but what stands behind it must be multiplied by its inverse, and jumps with every step."""

_SIGNED = {"relu": 1.0, "leaky-relu": 1.01, "gelu": 1.0, "silu": 1.0}
"""f(x) - f(-x) = c x for these activations, by c (torch's leaky ReLU has a slope of 0.01 below zero)."""

Level = Literal["features", "flat", "pixels"]


@dataclass(frozen=True)
class Units:
    """What stands at one point of the network.

    Attributes:
        sources: The old unit that each new one carries, or -1.
        factors: What a column behind each must be multiplied by; empty for all ones.
        positive: Whether none can be below zero.
    """

    sources: Sources
    factors: tuple[float, ...] = ()
    positive: bool = False


@dataclass(frozen=True)
class Move:
    """A new tensor made of an old one.

    Attributes:
        source: Name of the old tensor.
        axes: Sources along the first axes; None leaves an axis as it is.
        rows: What new rows are: as a fresh network has them, zeros, ones, or the mean of the old rows.
        factors: What each column is multiplied by; empty for ones.
    """

    source: str
    axes: tuple[Sources | None, ...] = ()
    rows: Literal["fresh", "zero", "one", "mean"] = "fresh"
    factors: tuple[float, ...] = ()


@dataclass(frozen=True)
class Pass:
    """A new layer whose first units pass old ones on; the rest is fresh.

    Attributes:
        columns: The unit before it that each row passes on, or -1.
        weights: By what weight.
    """

    columns: Sources
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Fold:
    """Columns that are no more, whose constant contribution goes into the bias.

    Attributes:
        bias: New bias.
        weight: Old weights.
        rows: Source of each new row.
        columns: Old columns that are no more.
        level: What the columns are: the features of a part, its flattened numbers, or the channels of its pixels.
        part: Old part.
        start: Old column at which the part begins.
        critic: Whether the features are those of the critic's own encoders.
    """

    bias: str
    weight: str
    rows: Sources
    columns: Sources
    level: Level
    part: str
    start: int = 0
    critic: bool = False


@dataclass
class Table:
    """The operation.

    Attributes:
        moves: By name of the new tensor. What is not in the table is as a fresh network has it.
        passes: By name of a new layer.
        folds: Contributions of what is held constant.
        losses: What cannot be preserved.
        problems: What cannot be done.
    """

    moves: dict[str, Move] = field(default_factory=dict)
    passes: dict[str, Pass] = field(default_factory=dict)
    folds: list[Fold] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def linear(
        self, name: str, rows: Sources, before: Units, kind: Literal["fresh", "zero"] = "fresh", old: str = ""
    ) -> None:
        """Add a layer with weight and bias."""
        old = old or name
        self.moves[f"{name}.weight"] = Move(f"{old}.weight", (rows, before.sources), kind, before.factors)
        self.moves[f"{name}.bias"] = Move(f"{old}.bias", (rows,), kind)


def moved(move: Move, old: Tensor, fresh: Tensor | None = None, *, power: int = 1) -> Tensor:
    """Return a new tensor as a move says.

    Args:
        move: The move.
        old: The old tensor.
        fresh: The same tensor of a fresh network, for new rows; None leaves them zero, as moments of new weights are.
        power: Power of the factors: 1 for weights, -1 for their gradients, -2 for squared gradients.
    """
    found = old
    if len(move.axes) > 1 and move.axes[1] is not None:
        found = move_columns(found, move.axes[1])
        if move.factors and power:
            factors = torch.tensor(move.factors, dtype=found.dtype, device=found.device) ** power
            found = found * factors.view(1, -1, *[1] * (found.ndim - 2))
    if move.axes and move.axes[0] is not None:
        fill: float | Tensor = 0.0
        if fresh is not None:
            fill = {"fresh": fresh, "zero": 0.0, "one": 1.0, "mean": old.mean(dim=0)}[move.rows]  # type: ignore[assignment]
        found = move_rows(found, move.axes[0], fill)
    return found.clone()


def _widen(old: int, new: int) -> Sources:
    return tuple(range(old)) + (-1,) * (new - old)


def make_table(plan: SurgeryPlan) -> Table:
    """Follow the flow of the network and return what comes from where."""
    table = Table()
    _check_widths(plan.old, plan.new, table)
    if table.problems:
        return table
    with torch.device("meta"):  # only shapes are needed
        old, new = PolicyNetwork(plan.old), PolicyNetwork(plan.new)
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
    rows["channels"] = (tuple(old.options.get("channels", ())), tuple(new.options.get("channels", ())))
    for name, (before, after) in rows.items():
        if len(after) < len(before) or any(b < a for a, b in zip(before, after, strict=False)):
            message = f"{name} cannot go from {list(before)} to {list(after)}: layers can only grow"
            table.problems.append(Problem(message, f"widths.{name}", f"take at least {list(before)}"))
        if name == "channels" and len(before) != len(after):
            message = f"{name} cannot go from {list(before)} to {list(after)}: convolutions can be wider, not more"
            table.problems.append(Problem(message, "widths.channels", f"name {len(before)} widths"))
    if old.features != new.features and any(part.kind == "tokens" for part in new.observations.parts):
        message = f"features cannot go from {old.features} to {new.features}: a transformer's layer norms run over all"
        table.problems.append(Problem(message, "widths.features", "widen trunk, actor or critic instead"))
    if old.features != new.features and new.backbone:
        message = "the width of a backbone from elsewhere cannot be changed"
        table.problems.append(Problem(message, "widths.features", "widen trunk, actor or critic instead"))


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
            found, gone = _encoder(plan, part, before[part.old], encoder, names, table)
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
        layer, rows = (f"{stack}.0", _widen(before[0], after[0])) if before else (f"{stack}_head", head)
        return f"{layer}.bias", rows, f"{layer}.weight"

    if old.trunk:
        return [first("critic_trunk" if critic else "trunk", old.trunk, new.trunk, ())]
    if old.memory != "none":
        rows = _gated(_widen(old.memory_width, new.memory_width), old.memory_width, _GATES[old.memory])
        return [("memory.bias_ih", rows, "memory.weight_ih")]
    actor = first("actor", old.actor, new.actor, plan.answers)
    value = first("critic", old.critic, new.critic, (0,))
    return [actor, value] if old.share else [value if critic else actor]


def _gated(rows: Sources, width: int, gates: int) -> Sources:
    return tuple(gate * width + row if row >= 0 else -1 for gate in range(gates) for row in rows)


def _memory(plan: SurgeryPlan, before: Units, table: Table) -> Units:
    """Widen the memory: new units listen to all, old ones do not listen to them."""
    old, new = plan.old.memory_width, plan.new.memory_width
    rows = _widen(old, new)
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
            rows = _widen(old[number], width)
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
    carried = [number for number, source in enumerate(units.sources) if source >= 0]
    signed = activation in _SIGNED and not (activation == "relu" and units.positive)
    need = len(carried) * (2 if signed else 1)
    stack = layer.partition(".")[0]
    if activation not in (*_SIGNED, "tanh"):
        message = f"no layer can be inserted behind {activation} that passes on what it gets"
        table.problems.append(Problem(message, f"widths.{stack}", "make layers wider instead"))
        return units
    if width < need:
        why = "two units carry each value, one for each sign" if signed else "one unit carries each value"
        message = f"a new layer {layer} of {width} units cannot pass {len(carried)} on"
        table.problems.append(Problem(message, f"widths.{stack}", f"take at least {need}: {why}"))
        return units
    signs = [1.0] * len(carried) + ([-1.0] * len(carried) if signed else [])
    carried = carried * (2 if signed else 1)
    scale = _NEAR if activation == "tanh" else 1.0
    if activation == "tanh":
        table.losses.append(f"{layer} is inserted, and tanh passes on only nearly what it gets")
    spare = width - need
    table.passes[layer] = Pass((*carried, *[-1] * spare), (*(sign * scale for sign in signs), *[0.0] * spare))
    gain = scale * (_SIGNED[activation] if signed else 1.0)
    before = units.factors or (1.0,) * len(units.sources)
    factors = [before[number] * sign / gain for number, sign in zip(carried, signs, strict=True)]
    sources = [units.sources[number] for number in carried]
    return Units((*sources, *[-1] * spare), (*factors, *[1.0] * spare), activation == "relu")


def _encoder(
    plan: SurgeryPlan, part: PartMap, old: Encoder, new: Encoder, names: tuple[str, str], table: Table
) -> tuple[Sources, Sources]:
    """Follow the encoder of one part; return the sources of its features, and old features that are no more."""
    before = plan.old.observations.parts[plan.old.observations.names.index(part.old)]
    after = plan.new.observations.parts[plan.new.observations.names.index(part.new)]
    if isinstance(old, Flatten) and isinstance(new, Flatten):
        return _flat(part, before, after, table), _flat_gone(plan, before)
    if isinstance(old, Perceptron) and isinstance(new, Perceptron):
        rows = _widen(old.width, new.width)
        table.linear(f"{names[1]}.linear", rows, Units(_flat(part, before, after, table)), old=f"{names[0]}.linear")
        _fold(table, names, "linear", rows, _flat_gone(plan, before), "flat", before.name)
        return rows, ()
    if isinstance(old, ConvolutionEncoder) and isinstance(new, ConvolutionEncoder) and _alike(old, new):
        return _convolutions(plan, part, (before, after), (old, new), names, table), ()
    if isinstance(old, TokenEncoder) and isinstance(new, TokenEncoder):
        return _tokens(part, (before, after), old, names, table), ()
    shapes = [{name: value.shape for name, value in encoder.state_dict().items()} for encoder in (old, new)]
    if type(old) is type(new) and shapes[0] == shapes[1] and part.map.items == tuple(range(len(part.map.items))):
        for name in shapes[0]:
            table.moves[f"{names[1]}.{name}"] = Move(f"{names[0]}.{name}")
        return tuple(range(new.width)), ()
    if plan.new.backbone:
        message = f"the backbone that reads {part.new!r} comes from elsewhere and cannot be operated on"
        table.problems.append(Problem(message, "--map-obs", "keep this part as it was, or start anew"))
    kinds = "its size asks for an encoder of another kind"
    table.losses.append(f"{part.new!r}: {kinds}; what the old one said is held constant and the new one starts silent")
    return (-1,) * new.width, tuple(range(old.width))


def _fold(
    table: Table, names: tuple[str, str], layer: str, rows: Sources, columns: Sources, level: Level, part: str
) -> None:
    if columns:
        bias, weight = f"{names[1]}.{layer}.bias", f"{names[0]}.{layer}.weight"
        table.folds.append(Fold(bias, weight, rows, columns, level, part))


def _flat(part: PartMap, old: ObservationPart, new: ObservationPart, table: Table) -> Sources:
    """Return the source of each number of a flattened part."""
    if new.kind in ("vector", "choice"):
        return part.map.units(old.sizes)
    items = _numbers(part, old, table)
    if old.shape[1:] != new.shape[1:]:
        _resized(old, new, padded=False, table=table)
    return _planes(items, old.shape[1:], new.shape[1:])


def _flat_gone(plan: SurgeryPlan, old: ObservationPart) -> Sources:
    """Return the flattened numbers of items that are no more."""
    gone = set(plan.removed_items(old.name))
    if old.kind == "choice":
        starts = [sum(old.sizes[:n]) for n in range(len(old.sizes))]
        return tuple(starts[n] + code for n in sorted(gone) for code in range(old.sizes[n]))
    size = 1
    for side in old.shape[1:]:
        size *= side
    return tuple(n * size + place for n in sorted(gone) for place in range(size))


def _numbers(part: PartMap, old: ObservationPart, table: Table) -> Sources:
    """Return the channels of planes whose codes, if they are codes, are read as numbers."""
    for item, codes in zip(part.map.items, part.map.codes, strict=False):
        if item >= 0 and codes[: old.sizes[item]] != tuple(range(min(len(codes), old.sizes[item]))):
            table.losses.append(f"{part.new!r}: the policy reads codes as numbers, so codes that moved mean others")
    return part.map.items


def _planes(channels: Sources, old: Sequence[int], new: Sequence[int]) -> Sources:
    """Return the source of each number of flattened planes, laid upper left on upper left."""
    height, width = old
    return tuple(
        (channel * height + row) * width + column if channel >= 0 and row < height and column < width else -1
        for channel in channels
        for row in range(new[0])
        for column in range(new[1])
    )


def _resized(old: ObservationPart, new: ObservationPart, *, padded: bool, table: Table) -> None:
    sizes = f"{old.shape[1]}x{old.shape[2]} -> {new.shape[1]}x{new.shape[2]}"
    if new.shape[1] < old.shape[1] or new.shape[2] < old.shape[2]:
        table.losses.append(f"{new.name!r}: {sizes}: what lay at the lower and right edges is no longer seen")
    elif padded:
        table.losses.append(f"{new.name!r}: {sizes}: the convolutions pad, so they answer otherwise at the old edges")


def _alike(old: ConvolutionEncoder, new: ConvolutionEncoder) -> bool:
    def plan(encoder: ConvolutionEncoder) -> list[Any]:
        return [
            (type(m), m.kernel_size, m.stride, m.padding) if isinstance(m, nn.Conv2d | nn.MaxPool2d) else type(m)
            for m in encoder.convolutions.modules()
        ]

    return plan(old) == plan(new)


def _convolutions(
    plan: SurgeryPlan,
    part: PartMap,
    parts: tuple[ObservationPart, ObservationPart],
    encoders: tuple[ConvolutionEncoder, ConvolutionEncoder],
    names: tuple[str, str],
    table: Table,
) -> Sources:
    (before, after), (old, new) = parts, encoders
    padded = any(m.padding not in (0, (0, 0)) for m in new.modules() if isinstance(m, nn.Conv2d | nn.MaxPool2d))
    channels = part.map.units(before.sizes) if old.pixels.sizes else _numbers(part, before, table)
    pairs = zip(old.convolutions.named_modules(), new.convolutions.named_modules(), strict=True)
    first = ""
    for (name, mine), (_, theirs) in pairs:
        if not isinstance(mine, nn.Conv2d) or not isinstance(theirs, nn.Conv2d):
            continue
        rows = _widen(mine.out_channels, theirs.out_channels)
        place = f"convolutions.{name}"
        table.linear(f"{names[1]}.{place}", rows, Units(channels), old=f"{names[0]}.{place}")
        if not first:
            first = place
            gone = _pixels_gone(plan, before, hot=bool(old.pixels.sizes))
            _fold(table, names, place, rows, gone, "pixels", before.name)
            if gone and padded:
                table.losses.append(
                    f"{after.name!r}: the convolutions pad, so a channel held constant ends at the edges"
                )
        channels = rows
    if before.shape[1:] != after.shape[1:]:
        _resized(before, after, padded=padded, table=table)
    with torch.device("meta"):
        spaces = [
            encoder.convolutions(torch.zeros(1, encoder.pixels.channels, *shown.shape[1:])).shape[2:]
            for encoder, shown in ((old, before), (new, after))
        ]
    rows = _widen(old.width, new.width)
    columns = Units(_planes(channels, spaces[0], spaces[1]))
    table.linear(f"{names[1]}.linear", rows, columns, old=f"{names[0]}.linear")
    return rows


def _pixels_gone(plan: SurgeryPlan, old: ObservationPart, *, hot: bool) -> Sources:
    gone = plan.removed_items(old.name)
    if not hot:
        return gone
    starts = [sum(old.sizes[:n]) for n in range(len(old.sizes))]
    return tuple(starts[n] + code for n in gone for code in range(old.sizes[n]))


def _tokens(
    part: PartMap,
    parts: tuple[ObservationPart, ObservationPart],
    old: TokenEncoder,
    names: tuple[str, str],
    table: Table,
) -> Sources:
    words = part.map.codes[0]
    for name in old.state_dict():
        table.moves[f"{names[1]}.{name}"] = Move(f"{names[0]}.{name}")
    table.moves[f"{names[1]}.tokens.weight"] = Move(f"{names[0]}.tokens.weight", (words,), "mean")
    length = _widen(parts[0].shape[0], max(parts[0].shape[0], parts[1].shape[0]))[: parts[1].shape[0]]
    table.moves[f"{names[1]}.places.weight"] = Move(f"{names[0]}.places.weight", (length,))
    if parts[1].shape[0] < parts[0].shape[0]:
        table.losses.append(f"{part.new!r}: texts longer than {parts[1].shape[0]} words are cut")
    return tuple(range(old.width))
