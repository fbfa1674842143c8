"""The plan of an operation as plain data: printed and saved before anything is cut."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from newgameplus.errors import RunError
from newgameplus.files import write_json
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ActionSpec, ObservationPart

__all__ = ["ItemMap", "PartMap", "Sources", "SurgeryPlan", "moves", "ranges", "read_plan", "write_plan"]

Sources = tuple[int, ...]
"""For each new place the old one that it is taken from; -1 for what is new."""


@dataclass(frozen=True)
class ItemMap:
    """What became of a row of items.

    Attributes:
        items: Source of each new item (feature, channel, number; one item for a vocabulary or a discrete action).
        codes: For items with codes, the source of each new code of each new item; empty for plain numbers.
    """

    items: Sources
    codes: tuple[Sources, ...] = ()

    def units(self, old_sizes: Sequence[int]) -> Sources:
        """Return the sources one by one: of each item, or of each code of each item.

        Args:
            old_sizes: Codes of each old item; not used for plain numbers.
        """
        if not self.codes:
            return self.items
        starts = [sum(old_sizes[:n]) for n in range(len(old_sizes))]
        pairs = zip(self.items, self.codes, strict=True)
        return tuple(starts[item] + code if min(item, code) >= 0 else -1 for item, codes in pairs for code in codes)


@dataclass(frozen=True)
class PartMap:
    """What became of one part of the observation.

    Attributes:
        old: Name that the part had; empty if it is new.
        new: Name that it has.
        map: Its items.
    """

    old: str
    new: str
    map: ItemMap


@dataclass(frozen=True)
class SurgeryPlan:
    """All that an operation will do.

    Attributes:
        old: Blueprint before.
        new: Blueprint after.
        parts: One for each new part, in their order.
        actions: What became of the actions.
        new_action_probability: Mean probability with which each new action (or button) is taken at first.
        anneal_to: Probability that :func:`newgameplus.adapt.surgery_actions.lift_new_actions` raises it to.
        seed: Seed of new units.
        notes: What was guessed or is worth knowing.
        losses: What cannot be preserved; empty if the function stays the same.
    """

    old: PolicyShape
    new: PolicyShape
    parts: tuple[PartMap, ...]
    actions: ItemMap
    new_action_probability: float = 0.01
    anneal_to: float = 0.05
    seed: int = 0
    notes: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()

    @property
    def answers(self) -> Sources:
        """Source of each of the actor's answers."""
        return self.actions.units(self.old.actions.sizes)

    @property
    def removed_parts(self) -> tuple[ObservationPart, ...]:
        """Old parts that are no more."""
        kept = {part.old for part in self.parts}
        return tuple(part for part in self.old.observations.parts if part.name not in kept)

    def removed_items(self, name: str) -> Sources:
        """Features, channels or numbers of an old part that are no more."""
        part = self.old.observations.part(name)
        if part is None or part.kind == "tokens":
            return ()
        kept = {item for each in self.parts if each.old == name for item in each.map.items}
        return tuple(item for item in range(part.shape[0]) if item not in kept)

    @property
    def holds(self) -> bool:
        """Whether something that was seen is no more, and is held constant."""
        return bool(self.removed_parts) or any(self.removed_items(part.name) for part in self.old.observations.parts)

    def text(self) -> str:
        """Return the plan in words, 80 columns wide."""
        lines = ["observations"]
        for part in self.parts:
            lines += _part_lines(self, part)
        lines += [f"  {part.name} ({part.kind}): removed; held constant" for part in self.removed_parts]
        lines += ["actions", *_action_lines(self), "layers", *_layer_lines(self.old, self.new)]
        for title, entries in (("notes", self.notes), ("not preserved", self.losses)):
            lines += [title, *(f"  - {entry}" for entry in entries)] if entries else []
        if not self.losses:
            lines.append("the function is preserved on what was seen before")
        indent = "      "
        return "\n".join(part for line in lines for part in textwrap.wrap(line, 80, subsequent_indent=indent))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "schema": 1,
            "old": self.old.as_dict(),
            "new": self.new.as_dict(),
            "parts": [{"old": part.old, "new": part.new, **_plain(part.map)} for part in self.parts],
            "actions": _plain(self.actions),
            "new_action_probability": self.new_action_probability,
            "anneal_to": self.anneal_to,
            "seed": self.seed,
            "notes": list(self.notes),
            "losses": list(self.losses),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SurgeryPlan:
        """Read back what :meth:`as_dict` gave."""
        parts = tuple(PartMap(part["old"], part["new"], _item_map(part)) for part in content["parts"])
        rest: dict[str, Any] = {key: content[key] for key in ("new_action_probability", "anneal_to", "seed")}
        rest |= {key: tuple(content[key]) for key in ("notes", "losses")}
        old, new = (PolicyShape.from_dict(content[key]) for key in ("old", "new"))
        return cls(old, new, parts, _item_map(content["actions"]), **rest)


def write_plan(path: Path, plan: SurgeryPlan) -> None:
    """Save a plan as JSON, atomically.

    Raises:
        StorageError: There is no space or no permission.
    """
    write_json(path, plan.as_dict())


def read_plan(path: Path) -> SurgeryPlan:
    """Read what :func:`write_plan` wrote.

    Raises:
        RunError: The file is missing or damaged.
    """
    import json

    try:
        return SurgeryPlan.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = "plan the surgery again (ngp surgery)"
        raise RunError(f"cannot read the plan: {error}", source=str(path), remedy=remedy) from error


def _plain(items: ItemMap) -> dict[str, Any]:
    return {"items": list(items.items), "codes": [list(codes) for codes in items.codes]}


def _item_map(content: Mapping[str, Any]) -> ItemMap:
    return ItemMap(tuple(content["items"]), tuple(tuple(codes) for codes in content["codes"]))


def ranges(numbers: Sequence[int]) -> str:
    """Write numbers shortly: ``0..3, 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in runs)


def moves(sources: Sources) -> list[str]:
    """Write where things went as ``0..3 -> 1..4``, one entry for each run."""
    runs: list[list[int]] = []
    for place, source in enumerate(sources):
        if source < 0:
            continue
        if runs and source == runs[-1][0] + runs[-1][2] and place == runs[-1][1] + runs[-1][2]:
            runs[-1][2] += 1
        else:
            runs.append([source, place, 1])
    return [f"{ranges(range(a, a + n))} -> {ranges(range(b, b + n))}" for a, b, n in runs]


def _named(numbers: Sequence[int], names: Sequence[str]) -> str:
    if not names or len(numbers) > 12:
        return ranges(numbers)
    return ", ".join(f"{names[number]} ({number})" for number in numbers)


def _describe(sources: Sources, old_count: int, old_names: Sequence[str], new_names: Sequence[str]) -> list[str]:
    """Say what became of a row of things, one line for each sort of change; nothing if all stayed."""
    gone = [number for number in range(old_count) if number not in set(sources)]
    lines = []
    went = moves(sources)
    if sources != tuple(range(old_count)) and went:
        lines.append("kept     " + "; ".join(went))
    added = [place for place, source in enumerate(sources) if source < 0]
    if added:
        lines.append("added    " + _named(added, new_names))
    if gone:
        lines.append("removed  " + _named(gone, old_names))
    renamed = [
        f"{old_names[source]} -> {new_names[place]}"
        for place, source in enumerate(sources)
        if source >= 0 and old_names and new_names and old_names[source] != new_names[place]
    ]
    return lines + (["renamed  " + ", ".join(renamed)] if renamed else [])


def _part_lines(plan: SurgeryPlan, part: PartMap) -> list[str]:
    new, old = plan.new.observations.part(part.new), plan.old.observations.part(part.old)
    if new is None:
        return []
    if old is None:
        return [f"  {new.name} ({new.kind}, {_size(new)}): added; starts silent"]
    name = new.name if old.name == new.name else f"{old.name} -> {new.name}"
    lines = []
    if new.kind != "tokens":
        lines += _describe(part.map.items, old.shape[0], old.features, new.features)
    for number, (item, codes) in enumerate(zip(part.map.items, part.map.codes, strict=False)):
        if item >= 0:
            label = "words" if new.kind == "tokens" else f"codes of {new.features[number] if new.features else number}"
            lines += [f"{label}: {line}" for line in _describe(codes, old.sizes[item], (), ())]
    if old.shape[1:] != new.shape[1:] or (new.kind == "tokens" and old.shape != new.shape):
        lines.append(f"resized  {_size(old)} -> {_size(new)}")
    return [
        f"  {name} ({new.kind}, {_size(new)})" + ("" if lines else ": as before"),
        *(f"    {line}" for line in lines),
    ]


def _size(part: ObservationPart) -> str:
    shape = "x".join(str(side) for side in part.shape)
    return f"{shape}, {part.sizes[0]} words" if part.kind == "tokens" else shape


def _action_lines(plan: SurgeryPlan) -> list[str]:
    old, new = plan.old.actions, plan.new.actions
    if new.kind == "multi-discrete":
        lines = _describe(plan.actions.items, len(old.sizes), (), ())
        for number, (item, codes) in enumerate(zip(plan.actions.items, plan.actions.codes, strict=True)):
            if item >= 0:
                lines += [f"choices of {number}: {line}" for line in _describe(codes, old.sizes[item], (), ())]
    else:
        lines = _describe(plan.answers, old.width, old.names, new.names)
    if -1 in plan.answers and new.kind in ("discrete", "binary", "multi-discrete"):
        lines.append(f"each new one starts at a mean probability of {plan.new_action_probability:g}")
    head = f"  {new.kind}, {_width(old)} -> {_width(new)}" if old.sizes != new.sizes else f"  {new.kind}, {_width(new)}"
    return [head + ("" if lines else ": as before"), *(f"    {line}" for line in lines)]


def _width(spec: ActionSpec) -> str:
    return "x".join(str(size) for size in spec.sizes)


def _layer_lines(old: PolicyShape, new: PolicyShape) -> list[str]:
    names = {"features": "encoders", "trunk": "trunk", "memory_width": old.memory, "actor": "actor", "critic": "critic"}
    lines = []
    for name, label in names.items():
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            lines.append(f"  {label}: {_widths(before)} -> {_widths(after)}")
    before, after = (shape.options.get("channels") for shape in (old, new))
    if before != after:
        lines.append(f"  channels: {_widths(before or 'as the encoder has them')} -> {_widths(after)}")
    return lines or ["  as before"]


def _widths(value: Any) -> str:
    return str(value) if isinstance(value, int | str) else ", ".join(str(width) for width in value) or "none"
