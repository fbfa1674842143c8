"""What became of each part of the observation, and old observations as the new game would show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from newgameplus.adapt.surgery_matching import Findings, Row, match_row
from newgameplus.adapt.surgery_plan import ItemMap, PartMap, Sources, SurgeryPlan
from newgameplus.adapt.surgery_text import MapEntry, nearest
from newgameplus.pretrained.policy_encoders import NATURE_SIDE
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ObservationPart, Observations, ObservationSpec

__all__ = ["carried_options", "convert_observations", "match_observations", "representable", "thinned"]

_ITEMS = {"vector": "features", "image": "channels", "grid": "channels", "choice": "numbers", "tokens": "words"}
K = TypeVar("K")
_OPTION = "--map-obs"
_LEAST, _NUMBERS = 64, 2_000_000


def match_observations(
    old: ObservationSpec, new: ObservationSpec, entries: Sequence[MapEntry], found: Findings
) -> tuple[PartMap, ...]:
    """Work out where each part of the new observation comes from.

    Args:
        old: What was seen.
        new: What is seen.
        entries: The user's map.
        found: Takes notes, losses and problems.
    """
    pairs, rest = _pair_parts(old, new, entries, found)
    placed: dict[str, list[MapEntry]] = {name: [] for name in new.names}
    for entry in rest:
        part = _part_of(entry, old, new, pairs, found)
        if part:
            placed[part].append(entry)
    return tuple(_match_part(old.part(pairs[part.name]), part, placed[part.name], found) for part in new.parts)


def _pair_parts(
    old: ObservationSpec, new: ObservationSpec, entries: Sequence[MapEntry], found: Findings
) -> tuple[dict[str, str], list[MapEntry]]:
    """Return the old name (or none) of each new part, and the entries that are not about whole parts."""
    pairs, rest, gone = dict.fromkeys(new.names, ""), list[MapEntry](), set[str]()
    for entry in entries:
        if entry.place or (entry.old and entry.old not in old.names) or (entry.new and entry.new not in new.names):
            rest.append(entry)
        elif entry.old and (entry.old in gone or entry.old in pairs.values()):
            found.problem(f"the part {entry.old!r} is mentioned twice", f"{_OPTION} {entry.text!r}", "name it once")
        elif entry.old and entry.new:
            pairs[entry.new] = entry.old
        else:
            gone.add(entry.old or entry.new)
    for name in new.names:
        if not pairs[name] and name not in gone and name in old.names and name not in pairs.values():
            pairs[name] = name
    _guess_parts(old, new, pairs, gone, found)
    for name, before in pairs.items():
        if before and _kind(old, before) != _kind(new, name):
            found.notes.append(f"{name!r} was {_kind(old, before)} and is {_kind(new, name)}: removed, and added anew")
            pairs[name] = ""
    return pairs, rest


def _guess_parts(
    old: ObservationSpec, new: ObservationSpec, pairs: dict[str, str], gone: set[str], found: Findings
) -> None:
    """Take the only part of a kind that is left to be the only one of that kind that is new."""
    free_old = [name for name in old.names if name not in pairs.values() and name not in gone]
    free_new = [name for name in new.names if not pairs[name] and name not in gone]
    for name in free_new:
        alike = [n for n in free_old if _kind(old, n) == _kind(new, name)]
        rivals = [n for n in free_new if _kind(new, n) == _kind(new, name)]
        if len(alike) == 1 and len(rivals) == 1:
            pairs[name] = alike[0]
            guess = f"{alike[0]!r} is taken to be {name!r} now, the only {_kind(new, name)} left: a guess"
            found.notes.append(f"{guess}; say otherwise with {_OPTION} {alike[0]}:removed,{name}:new")


def _kind(spec: ObservationSpec, name: str) -> str:
    part = spec.part(name)
    return part.kind if part else ""


def _part_of(
    entry: MapEntry, old: ObservationSpec, new: ObservationSpec, pairs: Mapping[str, str], found: Findings
) -> str:
    """Return the new name of the part that an entry is about; empty (and a problem) if there is none."""
    where = f"{_OPTION} {entry.text!r}"
    if entry.place:
        name = entry.place if entry.place in {*new.names, *pairs.values()} else entry.place.rpartition(".")[0]
        for after, before in pairs.items():
            if name and name == before:
                return after
        if name in new.names:
            return name
        found.problem(f"there is no part {entry.place!r}", where, nearest(entry.place, (*old.names, *new.names)))
        return ""
    kept = [after for after, before in pairs.items() if before]
    ref, spec, side = (entry.old, old, 0) if entry.old else (entry.new, new, 1)
    holders = [pair for pair in kept if ref in _features(spec, (pairs[pair], pair)[side])]
    if len(holders) == 1:
        return holders[0]
    if len(kept) == 1:
        return kept[0]
    known = [*spec.names, *(feature for part in spec.parts for feature in part.features)]
    remedy = nearest(ref, known) if not holders else ""
    found.problem(f"{ref!r} does not say which part it is of", where, f"{remedy} write PART:{entry.text}".strip())
    return ""


def _features(spec: ObservationSpec, name: str) -> tuple[str, ...]:
    part = spec.part(name)
    return part.features if part else ()


def _match_part(
    old: ObservationPart | None, new: ObservationPart, entries: Sequence[MapEntry], found: Findings
) -> PartMap:
    if old is None:
        items = (-1,) * (1 if new.kind == "tokens" else new.shape[0])
        codes = tuple((-1,) * size for size in new.sizes)
        for entry in entries:
            found.problem(f"the part {new.name!r} is new", f"{_OPTION} {entry.text!r}", f"write {new.name}:new")
        return PartMap("", new.name, ItemMap(items, codes))
    whole = f"{_ITEMS[new.kind]} of {new.name!r}"
    mine = [entry for entry in entries if entry.place in ("", old.name, new.name)]
    deeper = [entry for entry in entries if entry not in mine]
    if new.kind == "tokens":
        for entry in deeper:
            found.problem("a text has words but no items", f"{_OPTION} {entry.text!r}", f"write {new.name}:OLD->NEW")
        words = match_row(Row(whole, old.sizes[0], new.sizes[0]), mine, found)
        if words and words[0] != 0:
            found.problem(f"word 0 of {new.name!r} is padding and must stay 0", _OPTION, f"add {new.name}:0->0")
        if old.shape[0] != new.shape[0]:
            found.notes.append(
                f"{new.name!r}: a text of nothing but padding is read at its whole length, which changes"
            )
        return PartMap(old.name, new.name, ItemMap((0,), (words,)))
    items = match_row(Row(whole, old.shape[0], new.shape[0], old.features, new.features), mine, found)
    codes = _match_codes(old, new, items, deeper, found) if new.kind in ("grid", "choice") else ()
    if not codes and deeper:
        found.problem(f"{new.name!r} has no codes", f"{_OPTION} {deeper[0].text!r}", f"write {new.name}:OLD->NEW")
    if old.kind == "image" and old.high != new.high and old.high and new.high:
        found.notes.append(
            f"{new.name!r}: intensities go to {new.high:g} instead of {old.high:g} and are taken to be scaled"
        )
    return PartMap(old.name, new.name, ItemMap(items, codes))


def _match_codes(
    old: ObservationPart, new: ObservationPart, items: Sources, entries: Sequence[MapEntry], found: Findings
) -> tuple[Sources, ...]:
    """Match the codes of each channel or number; entries name it as ``part.item``, by its old or new name."""
    labels = [
        {str(number), *new.features[number : number + 1], *(old.features[item : item + 1] if item >= 0 else ())}
        for number, item in enumerate(items)
    ]
    for entry in entries:
        label = entry.place.rpartition(".")[2]
        if sum(label in each for each in labels) != 1:
            known = new.features or [str(n) for n in range(len(items))]
            found.problem(f"{new.name!r} has no item {label!r}", f"{_OPTION} {entry.text!r}", nearest(label, known))
    rows = []
    for number, item in enumerate(items):
        if item < 0:
            rows.append((-1,) * new.sizes[number])
            continue
        mine = [entry for entry in entries if entry.place.rpartition(".")[2] in labels[number]]
        what = f"codes of {new.name}.{new.features[number] if new.features else number}"
        rows.append(match_row(Row(what, old.sizes[item], new.sizes[number]), mine, found))
    return tuple(rows)


def carried_options(shape: PolicyShape, new: ObservationSpec, parts: Sequence[PartMap]) -> dict[str, Any]:
    """Return ``options`` and ``backbone`` of the new blueprint: what they say of a part goes with the part.

    A picture that grew keeps its kind of encoder, and intensities in another unit are scaled as much as before.

    Args:
        shape: The old blueprint.
        new: What is seen now.
        parts: From :func:`match_observations`.
    """
    own: dict[str, dict[str, Any]] = {}
    renamed = {part.old: part.new for part in parts if part.old}
    for before, after in renamed.items():
        mine: dict[str, Any] = dict(shape.options.get("parts", {}).get(before, {}))
        was, now = shape.observations.part(before), new.part(after)
        if was is not None and now is not None and was.kind == "image":
            if was.high != now.high:
                ratio = was.high / now.high if was.high and now.high else 1.0
                if "scale" in mine or not (was.high and now.high):
                    mine["scale"] = mine.get("scale", 1.0 / was.high if was.high else 1.0) * ratio
            if min(was.shape[1:]) < NATURE_SIDE <= min(now.shape[1:]) and mine.get("encoder", shape.encoder) == "auto":
                mine["encoder"] = "small-cnn"
        if mine:
            own[after] = mine
    options = {key: value for key, value in shape.options.items() if key != "parts"} | ({"parts": own} if own else {})
    if "normalized" in options:
        options["normalized"] = [renamed[name] for name in options["normalized"] if name in renamed]
    backbone = dict(shape.backbone)
    if "part" in backbone:
        backbone["part"] = renamed.get(backbone["part"], backbone["part"])
    return {"options": options, "backbone": backbone}


def _inverse(codes: Sources, size: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    found = np.full(size, -1, np.int64)
    for place, source in enumerate(codes):
        if source >= 0:
            found[source] = place
    return found


def convert_observations(
    plan: SurgeryPlan, observations: Mapping[str, np.ndarray], added: Mapping[str, np.ndarray] | None = None
) -> Observations:
    """Return old observations as the new game would show them.

    Args:
        plan: The plan.
        observations: Old ones: arrays [n, ...] by part.
        added: What new features, channels or parts show: arrays [n, ...] of the new spaces by part; zeros by default.

    Returns:
        Arrays [n, ...] by new part. Codes and words that are no more become 0; see :func:`representable`.
    """
    count = len(next(iter(observations.values())))
    found = plan.new.observations.empty(count)
    for name, values in (added or {}).items():
        found[name] = np.array(values, dtype=found[name].dtype)
    for part in plan.parts:
        old, new = plan.old.observations.part(part.old), plan.new.observations.part(part.new)
        if old is None or new is None:
            continue
        values, target = np.asarray(observations[part.old]), found[part.new]
        if new.kind == "tokens":
            length = min(old.shape[0], new.shape[0])
            target[:] = 0
            target[:, :length] = np.maximum(_inverse(part.map.codes[0], old.sizes[0])[values[:, :length]], 0)
            continue
        window = (slice(None), *(slice(0, min(a, b)) for a, b in zip(old.shape[1:], new.shape[1:], strict=True)))
        for place, item in enumerate(part.map.items):
            if item < 0:
                continue
            taken = values[:, item][window]
            if part.map.codes:
                taken = np.maximum(_inverse(part.map.codes[place], old.sizes[item])[taken.astype(np.int64)], 0)
            elif old.kind == "image" and old.high and new.high and old.high != new.high:
                taken = taken * (new.high / old.high)
                taken = np.rint(taken) if np.issubdtype(target.dtype, np.integer) else taken
            target[:, place][window] = taken
    return found


def thinned(observations: Mapping[K, np.ndarray], block: int = 1) -> dict[K, np.ndarray]:
    """Return as many observations as a network of their size answers in seconds, evenly taken.

    Args:
        observations: Arrays [n, ...] by part.
        block: Observations that stay together in their order.
    """
    count = len(next(iter(observations.values())))
    size = sum(int(np.prod(values.shape[1:])) for values in observations.values())
    blocks, wanted = count // block, max(_LEAST, _NUMBERS // max(1, size)) // block
    if blocks <= wanted:
        return dict(observations)
    first = np.linspace(0, blocks - 1, wanted).astype(np.int64) * block
    places = (first[:, None] + np.arange(block)).ravel()
    return {name: np.asarray(values)[places] for name, values in observations.items()}


def representable(
    plan: SurgeryPlan, observations: Mapping[str, np.ndarray], *, exactly: bool = False
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Say which old observations the new game can show: all but those with codes or words that are no more.

    Args:
        plan: The plan.
        observations: Old ones: arrays [n, ...] by part.
        exactly: Leave out texts of nothing but padding too, where their length changed: a network averages over it.

    Returns:
        bool [n].
    """
    count = len(next(iter(observations.values())))
    kept = np.ones(count, np.bool_)
    for part in plan.parts:
        old, new = plan.old.observations.part(part.old), plan.new.observations.part(part.new)
        if old is None or new is None or not part.map.codes:
            continue
        values = np.asarray(observations[part.old]).astype(np.int64)
        if new.kind == "tokens":
            lost = _inverse(part.map.codes[0], old.sizes[0])[values] < 0
            lost[:, new.shape[0] :] |= values[:, new.shape[0] :] != 0
            kept &= ~lost.any(axis=1)
            if exactly and old.shape != new.shape:
                kept &= values.any(axis=1)
            continue
        for item, codes in zip(part.map.items, part.map.codes, strict=True):
            if item >= 0:
                lost = _inverse(codes, old.sizes[item])[values[:, item]] < 0
                kept &= ~lost.reshape(count, -1).any(axis=1)
    return kept
