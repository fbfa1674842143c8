"""An agent run leaves as: what is seen in, action logits (or means) and the value out; memory goes in and comes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from newgameplus.deploy.export_parity import MOST_SAMPLES
from newgameplus.deploy.exportable import Arrays, Exportable, ExportedInput, ExportedOutput
from newgameplus.errors import RunError
from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.run import Run
from newgameplus.scenarios.agent_player import Player, open_player
from newgameplus.spaces import ActionSpec, ObservationPart

__all__ = ["open_agent"]

_COPIES = 4
_STEPS_APART = 3
_SEED = 20_261
_RESERVED = ("memory", "next_memory", "value", "action_logits", "action_means")
_ANSWERS = {
    "discrete": "one logit an action; the largest is the likeliest action, a softmax gives probabilities",
    "multi-discrete": "logits, one group a choice; in each group the largest is the likeliest",
    "binary": "one logit a button; above 0 it is pressed",
    "continuous": "the mean of each number; clip it to what the game allows",
}


class _Answers(nn.Module):
    """A policy with plain tensors in and out."""

    def __init__(self, network: PolicyNetwork, parts: Sequence[str]) -> None:
        super().__init__()
        self.network, self.parts = network, tuple(parts)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        observations = dict(zip(self.parts, inputs, strict=False))
        if self.network.memory is None:
            nothing = inputs[0].new_zeros((inputs[0].shape[0], 0))  # the network's own would fix the batch axis
            answer = self.network(observations, nothing)
            return answer.distribution.answer, answer.values
        answer = self.network(observations, inputs[-1])
        return answer.distribution.answer, answer.values, answer.state


def open_agent(run: Run, data: str | Path | None) -> Exportable:
    """Return an agent run's policy; it plays its own game for real inputs.

    Args:
        run: The run.
        data: Must be None.

    Raises:
        RunError: There is no model, or ``data`` is given.
        GameError: The game cannot be opened.
    """
    if data is not None:
        message = "an agent plays its own game for the inputs that it is checked on"
        raise RunError(message, source=f"--data {data}", remedy="leave out --data")
    player = open_player(run.folder)
    policy = player.policy
    shape = policy.shape
    memory = policy.network.memory is not None
    names = _plain_names([part.name for part in shape.observations.parts])
    inputs = [_input(part, name) for part, name in zip(shape.observations.parts, names, strict=True)]
    outputs = [_answer_output(shape.actions), ExportedOutput("value", "expected sum of discounted rewards")]
    if memory:
        told = "what it remembers; zeros where an episode begins, then next_memory of the step before"
        inputs.append(ExportedInput("memory", "float32", (policy.network.state_width,), told))
        outputs.append(ExportedOutput("next_memory", "hand it in as memory in the next step"))
    return Exportable(
        module=_Answers(policy.network, shape.observations.names).eval(),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        samples=_play(player, names),
        origin=f"moments of its own play of {player.settings.id}",
        facts=_facts(player),
        source=str(run.folder),
    )


def _plain_names(names: Sequence[str]) -> list[str]:
    """Return names that every engine takes, all different, and none of them that of an output or of the memory."""
    plain: list[str] = []
    for name in names:
        found = re.sub(r"\W", "_", name, flags=re.ASCII)
        if not found[:1].isalpha():
            found = f"observation_{found}"
        while found in _RESERVED or found in plain:
            found += "_"
        plain.append(found)
    return plain


def _input(part: ObservationPart, name: str) -> ExportedInput:
    features = f": {', '.join(part.features)}" if part.features else ""
    kinds = {
        "vector": "numbers, as the game gives them (normalization is inside)",
        "image": "intensities, channels first (scaling is inside)",
        "grid": "codes of what stands where, channels first",
        "tokens": "numbers of words, padded with 0",
        "choice": "numbers of what is chosen",
    }
    return ExportedInput(name, part.dtype, tuple(part.shape), f"{kinds[part.kind]}{features}")


def _answer_output(actions: ActionSpec) -> ExportedOutput:
    name = "action_means" if actions.kind == "continuous" else "action_logits"
    choices = {"discrete": (actions.width,), "multi-discrete": tuple(actions.sizes)}.get(actions.kind, ())
    return ExportedOutput(name, _ANSWERS[actions.kind], choices)


@torch.no_grad()
def _play(player: Player, names: Sequence[str]) -> Arrays:
    """Play, and keep moments some steps apart: observations and, with a memory, what was remembered then."""
    policy: Policy = player.policy
    network, parts = policy.network, policy.shape.observations.names
    kept: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in (*names, "memory")}
    generator = torch.Generator().manual_seed(_SEED)
    with player.open(_COPIES) as environments:
        seen = environments.reset(_SEED)
        state, starts = network.initial_state(_COPIES), torch.ones(_COPIES, dtype=torch.bool)
        for step in range(MOST_SAMPLES // _COPIES * _STEPS_APART):
            state = state * (~starts).unsqueeze(1).to(state.dtype)
            if step % _STEPS_APART == 0:
                for name, part in zip(names, parts, strict=True):
                    kept[name].append(np.array(seen[part]))
                kept["memory"].append(state.numpy().copy())
            actions, state = policy.act(seen, state, starts, environments.masks(), generator=generator)
            after = environments.step(actions)
            seen, starts = after.observations, torch.from_numpy(after.ended.copy())
    if network.memory is None:
        del kept["memory"]
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def _facts(player: Player) -> dict[str, Any]:
    policy, actions = player.policy, player.policy.shape.actions
    facts: dict[str, Any] = {
        "scenario": "agent",
        "game": player.settings.id,
        "actions": actions.as_dict(),
        "preprocessing": "observations as the game gives them, parts under their own names; normalization is inside; "
        "give an action that may not be taken a logit of -1e9 yourself",
        "license": policy.facts.get("license", "unknown"),
        "card": {"name": policy.name, "parameters": policy.parameters, "facts": policy.facts},
    }
    if policy.network.log_scale is not None:
        facts["log_standard_deviations"] = [float(value) for value in policy.network.log_scale]
    return facts
