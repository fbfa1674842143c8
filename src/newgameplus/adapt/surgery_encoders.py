"""The encoder of each part through an operation: columns of what is seen, channels, codes, words, and their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from newgameplus.adapt.surgery_plan import PartMap, Sources, SurgeryPlan
from newgameplus.adapt.surgery_table import Fold, Level, Move, Table, Units, widen
from newgameplus.errors import Problem
from newgameplus.pretrained.policy_encoders import ConvolutionEncoder, Encoder, Flatten, Perceptron, TokenEncoder
from newgameplus.spaces import ObservationPart

__all__ = ["follow_encoder"]


def follow_encoder(
    plan: SurgeryPlan, part: PartMap, old: Encoder, new: Encoder, names: tuple[str, str], table: Table
) -> tuple[Sources, Sources]:
    """Follow the encoder of one part; return the sources of its features, and old features that are no more."""
    before = plan.old.observations.parts[plan.old.observations.names.index(part.old)]
    after = plan.new.observations.parts[plan.new.observations.names.index(part.new)]
    if isinstance(old, Flatten) and isinstance(new, Flatten):
        return _flat(part, before, after, table), _flat_gone(plan, before)
    if isinstance(old, Perceptron) and isinstance(new, Perceptron):
        rows = widen(old.width, new.width)
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
        rows = widen(mine.out_channels, theirs.out_channels)
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
    with torch.no_grad():
        spaces = [
            encoder.convolutions(torch.zeros(1, encoder.pixels.channels, *shown.shape[1:])).shape[2:]
            for encoder, shown in ((old, before), (new, after))
        ]
    rows = widen(old.width, new.width)
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
    length = widen(parts[0].shape[0], max(parts[0].shape[0], parts[1].shape[0]))[: parts[1].shape[0]]
    table.moves[f"{names[1]}.places.weight"] = Move(f"{names[0]}.places.weight", (length,))
    if parts[1].shape[0] < parts[0].shape[0]:
        table.losses.append(f"{part.new!r}: texts longer than {parts[1].shape[0]} words are cut")
    return tuple(range(old.width))
