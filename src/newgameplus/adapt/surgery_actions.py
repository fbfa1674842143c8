"""What became of each action: how new ones start, how they are lifted, and old actions in the new game's numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from newgameplus.adapt.surgery_matching import Findings, Row, match_row
from newgameplus.adapt.surgery_plan import ItemMap, SurgeryPlan
from newgameplus.adapt.surgery_text import MapEntry, nearest
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.spaces import Actions, ActionSpec, Masks

__all__ = [
    "SHARED_OUT",
    "answer_groups",
    "convert_actions",
    "convert_masks",
    "lift_new_actions",
    "match_actions",
    "new_action_biases",
    "new_action_facts",
]

SHARED_OUT = "is shared out among the others in proportion"
"""How losses end that change probabilities but no logit."""
_OPTION = "--map-actions"
_LIFT_OVER = 0.1


def match_actions(old: ActionSpec, new: ActionSpec, entries: Sequence[MapEntry], found: Findings) -> ItemMap:
    """Work out where each new action comes from.

    Args:
        old: What could be done.
        new: What can be done.
        entries: The user's map.
        found: Takes notes, losses and problems.
    """
    if old.kind != new.kind:
        remedy = "keep the kind of actions in the new game, or start anew (model.start: fresh)"
        found.problem(
            f"actions were {old.kind} and are {new.kind}, which no surgery can turn into each other", "", remedy
        )
        return ItemMap((-1,) * new.width)
    if new.kind == "multi-discrete":
        return _match_several(old, new, entries, found)
    for entry in entries:
        if entry.place:
            found.problem(f"{new.kind} actions have no parts", f"{_OPTION} {entry.text!r}", "write OLD->NEW")
    row = Row("actions", old.width, new.width, old.names, new.names, _OPTION)
    sources = match_row(row, [entry for entry in entries if not entry.place], found)
    if new.kind == "continuous":
        _note_bounds(old, new, sources, found)
    gone = [number for number in range(old.width) if number not in set(sources)]
    if gone and new.kind == "discrete":
        found.losses.append(f"the probability of removed actions {SHARED_OUT}")
    return ItemMap((0,), (sources,)) if new.kind == "discrete" else ItemMap(sources)


def _match_several(old: ActionSpec, new: ActionSpec, entries: Sequence[MapEntry], found: Findings) -> ItemMap:
    whole = [entry for entry in entries if not entry.place]
    items = match_row(Row("actions", len(old.sizes), len(new.sizes), option=_OPTION), whole, found)
    for entry in entries:
        if entry.place and entry.place not in {str(item) for item in items if item >= 0}:
            known = [str(n) for n in range(len(old.sizes))]
            found.problem(
                f"there is no old action {entry.place!r}", f"{_OPTION} {entry.text!r}", nearest(entry.place, known)
            )
    codes = []
    for number, item in enumerate(items):
        if item < 0:
            codes.append((-1,) * new.sizes[number])
            continue
        mine = [entry for entry in entries if entry.place == str(item)]
        row = Row(f"choices of action {number}", old.sizes[item], new.sizes[number], option=_OPTION)
        codes.append(match_row(row, mine, found))
        if set(range(old.sizes[item])) - set(codes[-1]):
            found.losses.append(f"action {number}: the probability of removed choices {SHARED_OUT}")
    return ItemMap(items, tuple(codes))


def _note_bounds(old: ActionSpec, new: ActionSpec, sources: Sequence[int], found: Findings) -> None:
    if not old.low or not new.low:
        return
    for place, source in enumerate(sources):
        before, after = ((s.low[n], s.high[n]) for s, n in ((old, source), (new, place)))
        if source >= 0 and before != after:
            bounds = f"was {before[0]:g}..{before[1]:g} and is {after[0]:g}..{after[1]:g}"
            found.notes.append(
                f"action {place} {bounds}: its unit is taken to be the same, and what is outside is clipped"
            )


def answer_groups(spec: ActionSpec) -> list[slice]:
    """Return which answers are weighed against each other: all, those of each choice, or each alone."""
    sizes = spec.sizes if spec.kind in ("discrete", "multi-discrete") else (1,) * spec.width
    starts = np.cumsum([0, *sizes])
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(starts)]


@torch.no_grad()
def new_action_biases(plan: SurgeryPlan, logits: Tensor) -> Tensor:
    """Return the biases with which new actions have their probability on average.

    A new action's logit is its bias alone, so that old actions keep their logits and their probabilities relative to
    each other. With S(x) the sum of the exponentiated old logits and k new actions of bias b, each has probability
    e^b / (S(x) + k e^b); its mean over the observations rises with b, which is found by bisection.

    Args:
        plan: The plan.
        logits: float [observations, old answers]: what the old actor says.

    Returns:
        float32 [new answers]; 0 for those that are not new, and for a wholly new choice among several.
    """
    spec, answers = plan.new.actions, torch.tensor(plan.answers)
    biases = torch.zeros(spec.width)
    chance = plan.new_action_probability
    if spec.kind == "continuous":
        return _middles(spec, answers)
    if spec.kind == "binary":
        return biases.masked_fill(answers < 0, _log_odds(chance))
    for group in answer_groups(spec):
        sources = answers[group]
        fresh = int((sources < 0).sum())
        if 0 < fresh < len(sources):
            total = torch.logsumexp(logits[:, sources[sources >= 0]].double(), dim=1)
            biases[group] = biases[group].masked_fill(sources < 0, _bias_for(chance, fresh, total))
    return biases


def _bias_for(chance: float, count: int, total: Tensor) -> float:
    chance = min(chance, 0.5 / count)
    low, high = float(total.min()) - 60.0, float(total.max()) + 60.0
    for _ in range(200):
        middle = (low + high) / 2.0
        mean = float((torch.sigmoid(middle + math.log(count) - total) / count).mean())
        low, high = (middle, high) if mean < chance else (low, middle)
    return (low + high) / 2.0


def _middles(spec: ActionSpec, answers: Tensor) -> Tensor:
    found = torch.zeros(spec.width)
    for place in torch.nonzero(answers < 0).flatten().tolist():
        if spec.low and math.isfinite(spec.low[place]) and math.isfinite(spec.high[place]):
            found[place] = (spec.low[place] + spec.high[place]) / 2.0
    return found


def _log_odds(chance: float) -> float:
    return math.log(chance / (1.0 - chance))


def new_action_facts(plan: SurgeryPlan, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what :func:`lift_new_actions` needs, for the card; empty if nothing is to be lifted.

    Args:
        plan: The plan.
        before: The same of an earlier operation, after which nothing was trained.
    """
    answers, spec = plan.answers, plan.new.actions
    if spec.kind == "continuous":
        return {}
    rows, starts, ends = [], [], []
    earlier = zip(*(before[key] for key in ("rows", "starts", "ends")), strict=True) if before else ()
    for row, start, end in earlier:
        if row in answers:
            rows.append(answers.index(row))
            starts.append(start)
            ends.append(end)
    for group in answer_groups(spec):
        new = [n for n in range(group.start, group.stop) if answers[n] < 0]
        size = group.stop - group.start
        if new and (spec.kind == "binary" or len(new) < size):
            end = min(plan.anneal_to, 0.5 if spec.kind == "binary" else 1.0 / size)
            if end > plan.new_action_probability:
                rows += new
                starts += [plan.new_action_probability] * len(new)
                ends += [end] * len(new)
    return {"rows": rows, "starts": starts, "ends": ends, "over": _LIFT_OVER} if rows else {}


@torch.no_grad()
def lift_new_actions(network: PolicyNetwork, facts: Mapping[str, Any], before: float, now: float) -> None:
    """Raise the biases of new actions a little, so that they are tried more and more while training begins.

    The log odds go in a straight line from those of the start probability to those of the end probability while the
    first ``facts["over"]`` of the steps pass; learning moves the biases too. Call it once an update; called with the
    same shares of the steps it does the same, so a resumed training is the same training.

    Args:
        network: The policy's network.
        facts: ``policy.facts["new_actions"]``; nothing happens if it is empty.
        before: Share of the steps done at the last call, in 0..1 (0 at first).
        now: Share of the steps done now.
    """
    if not facts:
        return
    done = min(1.0, now / facts["over"]) - min(1.0, before / facts["over"])
    for row, start, end in zip(facts["rows"], facts["starts"], facts["ends"], strict=True):
        network.actor_head.bias[row] += done * (_log_odds(end) - _log_odds(start))


def convert_actions(plan: SurgeryPlan, actions: Actions, added: float = 0.0) -> Actions:
    """Return old actions in the new game's numbers.

    Args:
        plan: The plan.
        actions: Old ones: [n, ...].
        added: What new numbers of continuous actions are; new buttons are not pressed, new choices are 0.

    Returns:
        [n, ...]; discrete actions and choices that are no more are -1.
    """
    spec = plan.new.actions
    found = spec.empty(len(actions))
    if spec.kind in ("discrete", "multi-discrete"):
        flat = found.reshape(len(actions), -1)
        old = np.asarray(actions, np.int64).reshape(len(actions), -1)
        for place, (item, codes) in enumerate(zip(plan.actions.items, plan.actions.codes, strict=True)):
            if item >= 0:
                inverse = np.full(plan.old.actions.sizes[item], -1, np.int64)
                for after, source in enumerate(codes):
                    inverse[source if source >= 0 else slice(0)] = after
                flat[:, place] = inverse[old[:, item]]
        return flat.reshape(found.shape)
    for place, item in enumerate(plan.actions.items):
        found[:, place] = actions[:, item] if item >= 0 else (added if spec.kind == "continuous" else 0)
    return found


def convert_masks(plan: SurgeryPlan, masks: Masks) -> Masks:
    """Return masks [n, old width] for the new actions: a new one may not be taken where a mask was recorded."""
    sources = np.array(plan.answers)
    found: Masks = np.where(sources >= 0, np.asarray(masks, np.bool_)[:, np.maximum(sources, 0)], False)
    for group in answer_groups(plan.new.actions):
        if plan.new.actions.kind != "binary" and (sources[group] < 0).all():
            found[:, group] = True
    return found
