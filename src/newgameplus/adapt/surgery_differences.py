"""Every difference between two pairs of spaces, each with the surgery that would mend it."""

from __future__ import annotations

from collections.abc import Sequence

from newgameplus.adapt.surgery_actions import match_actions
from newgameplus.adapt.surgery_matching import Findings
from newgameplus.adapt.surgery_observations import match_observations
from newgameplus.adapt.surgery_plan import PartMap, Sources, moves, ranges
from newgameplus.errors import Problem
from newgameplus.spaces import ActionSpec, ObservationPart, ObservationSpec

__all__ = ["describe_differences", "suggest_maps"]

_NEVER = "no surgery can mend this: start anew (model.start: fresh), or keep what it was in the game"


def describe_differences(
    old_observations: ObservationSpec,
    old_actions: ActionSpec,
    new_observations: ObservationSpec,
    new_actions: ActionSpec,
) -> list[Problem]:
    """List how a game's spaces differ from those that a policy (or a demonstration) was made for.

    Args:
        old_observations: What the policy sees.
        old_actions: What it does.
        new_observations: What the game shows.
        new_actions: What the game takes.

    Returns:
        One problem for each difference; its remedy is the option of ``ngp surgery`` that says so, to be put right where
        it was guessed by position. Empty if there is no difference.
    """
    found: list[Problem] = []
    parts = match_observations(old_observations, new_observations, (), Findings())
    kept = {part.old for part in parts}
    for gone in (part for part in old_observations.parts if part.name not in kept):
        found.append(_seen(f"{_called(gone)} is no longer seen", f"{gone.name}:removed"))
    for part in parts:
        new, old = new_observations.part(part.new), old_observations.part(part.old)
        if new is not None and old is None:
            found.append(_seen(f"{_called(new)} was not seen before", f"{part.new}:new"))
        elif new is not None and old is not None:
            found += _part(part, old, new)
    return found + _actions(old_actions, new_actions)


def suggest_maps(
    old_observations: ObservationSpec,
    old_actions: ActionSpec,
    new_observations: ObservationSpec,
    new_actions: ActionSpec,
) -> tuple[str, str]:
    """Return the whole ``--map-obs`` and ``--map-actions`` of :func:`describe_differences`, to be put right by hand."""
    problems = describe_differences(old_observations, old_actions, new_observations, new_actions)
    found = []
    for option in ("--map-obs", "--map-actions"):
        head = f'{option} "'
        said = [p.remedy.removeprefix(head).partition('"')[0] for p in problems if p.remedy.startswith(head)]
        found.append(",".join(said))
    return found[0], found[1]


def _called(part: ObservationPart) -> str:
    return f"{part.name!r} ({part.kind} {'x'.join(str(side) for side in part.shape)})"


def _seen(message: str, fragment: str) -> Problem:
    return Problem(message, "observations", f'--map-obs "{fragment}"')


def _part(part: PartMap, old: ObservationPart, new: ObservationPart) -> list[Problem]:
    found = []
    label = repr(old.name) if old.name == new.name else f"{old.name!r}, now {new.name!r},"
    if old.name != new.name:
        found.append(_seen(f"{old.name!r} seems to be {new.name!r} now", f"{old.name}->{new.name}"))
    if new.kind == "tokens":
        found += _row(f"words of {label}", part.map.codes[0], old.sizes[0], (), (), old.name)
    else:
        what = {"vector": "features", "choice": "numbers"}.get(new.kind, "channels")
        found += _row(f"{what} of {label}", part.map.items, old.shape[0], old.features, new.features, old.name)
        for number, (item, codes) in enumerate(zip(part.map.items, part.map.codes, strict=False)):
            if item >= 0:
                name = new.features[number] if new.features else str(number)
                place = f"{new.name}.{name}"
                found += _row(f"codes of {place}", codes, old.sizes[item], (), (), place)
    if old.shape[1:] != new.shape[1:] or (new.kind == "tokens" and old.shape != new.shape):
        sizes = ("x".join(str(side) for side in each.shape[-2:]) for each in (old, new))
        remedy = "ngp surgery lays the old upper left on the new one, and measures what changes"
        found.append(Problem(f"the size of {label} was {' and is '.join(sizes)}", "observations", remedy))
    if new.kind == "image" and old.high != new.high:
        remedy = "ngp surgery scales them"
        found.append(Problem(f"intensities of {label} went to {old.high} and go to {new.high}", "observations", remedy))
    return found


def _row(
    what: str,
    sources: Sources,
    old_count: int,
    old_names: Sequence[str],
    new_names: Sequence[str],
    place: str,
    option: str = "--map-obs",
) -> list[Problem]:
    if sources == tuple(range(old_count)):
        return []
    gone = [n for n in range(old_count) if n not in set(sources)]
    come = [n for n, source in enumerate(sources) if source < 0]
    moved = [(s, n) for n, s in enumerate(sources) if s >= 0 and s != n]
    said = [f"{_names(gone, old_names)} removed"] if gone else []
    said += [f"{_names(come, new_names)} new"] if come else []
    said += [f"{_names([s for s, _ in moved], old_names)} moved"] if moved else []
    head = f"{place}:" if place else ""
    fragments = [head + move.replace(" ", "") for move in moves(sources)]
    fragments += [f"{head}{run}:new" for run in ranges(come).split(", ") if come]
    fragments += [f"{head}{run}:removed" for run in ranges(gone).split(", ") if gone]
    guess = "" if old_names and new_names else " (by position, a guess)"
    source = "observations" if option == "--map-obs" else "actions"
    message = f"{what}: {old_count} before, {len(sources)} now: {'; '.join(said)}{guess}"
    return [Problem(message, source, f'{option} "{",".join(fragments)}"')]


def _names(numbers: Sequence[int], names: Sequence[str]) -> str:
    if not names or len(numbers) > 12:
        return ranges(numbers)
    return ", ".join(names[number] for number in numbers)


def _actions(old: ActionSpec, new: ActionSpec) -> list[Problem]:
    if old.kind != new.kind:
        return [Problem(f"actions were {old.kind} and are {new.kind}", "actions", _NEVER)]
    findings = Findings()
    matched = match_actions(old, new, (), findings)
    if new.kind != "multi-discrete":
        sources = matched.units(old.sizes)
        found = _row("actions", sources, old.width, old.names, new.names, "", "--map-actions")
    else:
        found = _row("actions", matched.items, len(old.sizes), (), (), "", "--map-actions")
        for item, codes in zip(matched.items, matched.codes, strict=True):
            if item >= 0:
                what = f"choices of action {item}"
                found += _row(what, codes, old.sizes[item], (), (), str(item), "--map-actions")
    remedy = "ngp surgery takes the unit to be the same and clips what is outside"
    if new.kind == "continuous" and old.low and new.low and (old.low, old.high) != (new.low, new.high):
        bounds = f"{list(old.low)}..{list(old.high)} and are {list(new.low)}..{list(new.high)}"
        found.append(Problem(f"bounds of the actions were {bounds}", "actions", remedy))
    return found
