"""Surgery on policies: the game was patched, its spaces changed, and the policy goes on as it was.

The story is plan -> show -> operate -> prove::

    plan = plan_surgery(policy.shape, new_observations, new_actions, map_observations="mana:new")
    print(plan.text()); write_plan(path, plan)
    operated = operate(policy, plan, observations)
    print(prove(policy, operated, plan, observations).text())

Method: OpenAI et al. 2019, "Dota 2 with Large Scale Deep Reinforcement Learning", arXiv 1912.06680, appendix B: new
inputs and new units' outgoing weights start at zero, removed inputs are held constant, and an optimizer refills its
moments before weights move. Layers are deepened as in Net2Net (Chen, Goodfellow and Shlens 2016, arXiv 1511.05641).
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from newgameplus.adapt.rows import move_rows
from newgameplus.adapt.surgery_actions import match_actions, new_action_biases, new_action_facts
from newgameplus.adapt.surgery_baseline import load_what_fits
from newgameplus.adapt.surgery_demonstrations import convert_episodes
from newgameplus.adapt.surgery_differences import describe_differences, suggest_maps
from newgameplus.adapt.surgery_held import Held, held_contribution, held_values, hold
from newgameplus.adapt.surgery_layers import make_table
from newgameplus.adapt.surgery_matching import Findings
from newgameplus.adapt.surgery_observations import carried_options, match_observations, thinned
from newgameplus.adapt.surgery_plan import SurgeryPlan, read_plan, write_plan
from newgameplus.adapt.surgery_proof import SurgeryProof, prove
from newgameplus.adapt.surgery_table import Pass, Table, moved
from newgameplus.adapt.surgery_text import parse_map
from newgameplus.errors import PretrainedModelError, SurgeryError, raise_problems
from newgameplus.pretrained.policy import Policy, as_tensors
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.spaces import ActionSpec, Observations, ObservationSpec

__all__ = [
    "SurgeryPlan",
    "SurgeryProof",
    "convert_episodes",
    "describe_differences",
    "load_what_fits",
    "operate",
    "plan_surgery",
    "prove",
    "read_plan",
    "suggest_maps",
    "write_plan",
]

Widths = Mapping[str, int | Sequence[int]]
_WIDTHS = ("trunk", "actor", "critic", "features", "channels", "memory")


def plan_surgery(
    policy_shape: PolicyShape,
    observations: ObservationSpec,
    actions: ActionSpec,
    *,
    map_observations: str | Mapping[str, str] = "",
    map_actions: str | Mapping[str, str] = "",
    widths: Widths | None = None,
    memory_width: int | None = None,
    new_action_probability: float = 0.01,
    anneal_to: float = 0.05,
    seed: int = 0,
) -> SurgeryPlan:
    """Work out what was added, removed, moved and renamed, and what an operation will do about it.

    An explicit map goes first; what it does not mention is matched by names where both sides have them, else by
    position, which the plan notes as a guess (a part that the map counts in numbers is not guessed at: what is not
    mentioned there is new or removed).

    Args:
        policy_shape: Blueprint of the policy.
        observations: What the new game shows.
        actions: What the new game lets it do.
        map_observations: What became of parts, features, channels, codes and words, in the language of
            :mod:`newgameplus.adapt.surgery_text`: ``hp:0..3->0..3,mana:new``.
        map_actions: What became of the actions: ``jump->leap,dash:new,idle:removed``.
        widths: New widths by name: ``trunk``, ``actor``, ``critic`` (lists; longer ones insert layers behind those that
            there are), ``features``, ``channels`` (of small-cnn and impala-cnn), ``memory``.
        memory_width: The same as ``widths["memory"]``.
        new_action_probability: Mean probability of each new action, button or choice at first, in 0..0.5, exclusive.
        anneal_to: What it is raised to, see :func:`newgameplus.adapt.surgery_actions.lift_new_actions`.
        seed: Seed of new units.

    Raises:
        SurgeryError: A map cannot be read or names what is not there, or the change is impossible; all at once.
    """
    found = Findings()
    seen, wrong_seen = parse_map(map_observations, "--map-obs")
    done, wrong_done = parse_map(map_actions, "--map-actions")
    found.problems += [*wrong_seen, *wrong_done]
    if not 0.0 < new_action_probability < 0.5 or not 0.0 < anneal_to < 1.0:
        message = f"new actions cannot start at probability {new_action_probability:g} and go to {anneal_to:g}"
        found.problem(message, "new_action_probability", "take more than 0 and less than 0.5, e.g. 0.01")
    parts = match_observations(policy_shape.observations, observations, seen, found)
    new = replace(
        policy_shape, observations=observations, actions=actions, **carried_options(policy_shape, observations, parts)
    )
    new = _widened(new, widths, memory_width, found)
    answers = match_actions(policy_shape.actions, actions, done, found)
    plan = SurgeryPlan(policy_shape, new, parts, answers, new_action_probability, anneal_to, seed)
    if not found.problems:
        table = _table(plan)
        found.problems += table.problems
        found.losses += table.losses
        if plan.holds:
            found.notes.append(
                "what is seen no more is held constant: numbers at their mean, codes at the most frequent"
            )
    raise_problems(found.problems, SurgeryError, "this surgery cannot be planned")
    return replace(plan, notes=tuple(dict.fromkeys(found.notes)), losses=tuple(dict.fromkeys(found.losses)))


def _table(plan: SurgeryPlan) -> Table:
    try:
        return make_table(plan)
    except PretrainedModelError as error:
        remedy = "keep the size of the picture in the new game (pad it), or start anew (model.start: fresh)"
        raise SurgeryError(error.message, source="--env", remedy=remedy) from error


def _widened(shape: PolicyShape, widths: Widths | None, memory_width: int | None, found: Findings) -> PolicyShape:
    wanted: dict[str, Any] = dict(widths or {})
    if memory_width is not None:
        wanted["memory"] = memory_width
    changed: dict[str, Any] = {}
    for name, value in wanted.items():
        numbers = [value] if isinstance(value, int) else list(value)
        if name not in _WIDTHS:
            near = difflib.get_close_matches(name, _WIDTHS, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(_WIDTHS)}"
            found.problem(f"there are no widths {name!r}", "widths", remedy)
        elif not all(isinstance(number, int) and number > 0 for number in numbers):
            found.problem(f"{value!r} is no width", f"widths.{name}", "take whole numbers above 0")
        elif name == "memory" and shape.memory == "none":
            found.problem("this policy has no memory to widen", "widths.memory", "leave it out")
        elif name in ("features", "memory") and len(numbers) == 1:
            changed["memory_width" if name == "memory" else name] = numbers[0]
        elif name == "channels":
            changed["options"] = {**shape.options, "channels": numbers}
        elif name in ("features", "memory"):
            found.problem(f"{value!r}: {name} has one width", f"widths.{name}", "name one number")
        else:
            changed[name] = tuple(numbers)
    return replace(shape, **changed)


@torch.no_grad()
def operate(policy: Policy, plan: SurgeryPlan, observations: Observations | None = None) -> Policy:
    """Return a policy for the new spaces that does on old inputs what the old one did; the old one is not changed.

    Args:
        policy: The policy.
        plan: From :func:`plan_surgery` for its blueprint.
        observations: Real observations of the old game: arrays [n, ...] by part. New actions are set to their
            probability on these, and what is seen no more is held at its mean in them; without them, new actions are
            weighed against the answer to observations at the mean, and unnormalized inputs are held at 0.

    Raises:
        SurgeryError: The plan is for another policy.
    """
    if plan.old.as_dict() != policy.shape.as_dict():
        remedy = "plan the surgery for this policy (plan_surgery)"
        raise SurgeryError("the plan is for a policy of another shape", source=policy.name, remedy=remedy)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        network = PolicyNetwork(plan.new)
    old = policy.network
    if old.actor_head.weight.device.type != "cpu":
        old = copy.deepcopy(old).cpu()
    table = make_table(plan, old, network)
    state = apply_table(table, old.state_dict(), network.state_dict())
    held = held_values(plan, old, observations) if plan.holds else {}
    for fold in table.folds:
        added = move_rows(held_contribution(fold, plan, old, held), fold.rows)
        state[fold.bias] = (state[fold.bias].double() + added).to(state[fold.bias].dtype)
    state["actor_head.bias"] += new_action_biases(plan, _old_logits(plan, old, held, observations))
    network.load_state_dict(state)
    facts = {key: value for key, value in policy.facts.items() if key != "new_actions"}
    lift = new_action_facts(plan, policy.facts.get("new_actions"))
    facts |= {"new_actions": lift} if lift else {}
    facts["surgery"] = {"plan": plan.as_dict(), "held": _held_facts(plan, held), "from": policy.name}
    return Policy(policy.name, network.train(policy.network.training), policy.environment, facts)


def _held_facts(plan: SurgeryPlan, held: Held) -> Held:
    gone = {part.name for part in plan.removed_parts}
    return {name: values for name, values in held.items() if name in gone or plan.removed_items(name)}


def _old_logits(plan: SurgeryPlan, network: PolicyNetwork, held: Held, observations: Observations | None) -> Tensor:
    if observations is not None:
        observations = thinned(observations)
    else:
        observations = plan.old.observations.empty(1)
        for name in network.normalizer.parts:
            observations[name][0] = network.normalizer.statistics(name)[0].float().numpy()
    seen = hold(plan, held, observations) if held else observations
    answer: Tensor = network(as_tensors(seen)).distribution.answer
    return answer


def apply_table(table: Table, old: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return new tensors made of old ones as a table says; what it does not name is fresh."""
    found = {name: value.clone() for name, value in fresh.items()}
    for name, move in table.moves.items():
        found[name] = moved(move, old[move.source], fresh[name])
    for layer, through in table.passes.items():
        weight, bias = _passing(through, found[f"{layer}.weight"], found[f"{layer}.bias"])
        found[f"{layer}.weight"], found[f"{layer}.bias"] = weight, bias
    return found


def _passing(through: Pass, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    for row, columns in enumerate(through.rows):
        weight[row], bias[row] = 0.0, 0.0
        for column, strength in columns:
            weight[row, column] = strength
    return weight, bias
