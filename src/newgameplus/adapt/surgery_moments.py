"""An optimizer's moments through an operation: carried over like the weights, and refilled before weights move.

On disk (``model/optimizer.safetensors`` of a run) a moment is called as its parameter and the optimizer's name for it:
``actor.0.weight.exp_avg``, ``actor.0.weight.exp_avg_sq``, ``actor.0.weight.step``.

A new weight has no history, so its moments are zero while Adam (Kingma and Ba 2015) counts many steps and does not
correct for that: with a second moment that has hardly begun, its first steps would be several times too long. So the
first steps are taken with a rate of zero, as in OpenAI et al. 2019 (arXiv 1912.06680, appendix B), and then the new
entries are corrected for the few steps that they have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from newgameplus.adapt.surgery_layers import blank_network, make_table
from newgameplus.adapt.surgery_plan import SurgeryPlan
from newgameplus.adapt.surgery_table import moved

__all__ = ["carry_moments", "fresh_entries", "load_moments", "moments_of", "refilling"]

_BETAS = (0.9, 0.999)
_FIRST, _SECOND, _STEP = ".exp_avg", ".exp_avg_sq", ".step"


def moments_of(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """Return the moments of Adam or AdamW by name of the parameter and of the moment, for a file."""
    found: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if f".{key}" in (_FIRST, _SECOND, _STEP):
                found[f"{name}.{key}"] = torch.as_tensor(value).detach().clone()
    return found


def load_moments(optimizer: torch.optim.Optimizer, network: nn.Module, moments: Mapping[str, Tensor]) -> int:
    """Give an optimizer its moments back.

    Args:
        optimizer: Adam, AdamW, or one with their state, over parameters of ``network``. Those without moments start
            with none.
        network: The network.
        moments: From :func:`moments_of` or :func:`carry_moments`.

    Returns:
        Number of parameters that got theirs.
    """
    mine = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    loaded = 0
    for name, parameter in network.named_parameters():
        keys = [name + _FIRST, name + _SECOND, name + _STEP]
        if id(parameter) not in mine or not all(key in moments for key in keys):
            continue
        if moments[keys[0]].shape != parameter.shape or moments[keys[1]].shape != parameter.shape:
            continue
        if not optimizer.state.get(parameter):
            zero = torch.zeros_like(parameter)
            optimizer.state[parameter] = {"step": torch.tensor(0.0), "exp_avg": zero, "exp_avg_sq": zero.clone()}
        with torch.no_grad():  # in place: an optimizer may keep all its moments in one vector
            for key in (_FIRST, _SECOND, _STEP):
                optimizer.state[parameter][key[1:]].copy_(moments[name + key])
        loaded += 1
    return loaded


def carry_moments(moments: Mapping[str, Tensor], plan: SurgeryPlan) -> dict[str, Tensor]:
    """Return the moments of the new network's parameters: moved like the weights, zero where a weight is new.

    Args:
        moments: Of the old network, from :func:`moments_of`.
        plan: The plan.

    Returns:
        By the same names. Wholly new parameters, and layers whose old moments are unknown, have none.
    """
    table = make_table(plan)
    found: dict[str, Tensor] = {}
    for name, move in table.moves.items():
        for key, power in ((_FIRST, -1), (_SECOND, -2)):
            if move.source + key in moments:
                # A column that is multiplied by c has a gradient that is divided by it.
                found[name + key] = moved(move, moments[move.source + key], power=power)
        if move.source + _STEP in moments and name + _FIRST in found:
            found[name + _STEP] = moments[move.source + _STEP].clone()
    return found


def fresh_entries(plan: SurgeryPlan) -> dict[str, Tensor]:
    """Return, by name of the new parameter, bool tensors: True where a weight is new and has no moments."""
    old, new = blank_network(plan.old), blank_network(plan.new)
    table = make_table(plan, old, new)
    shapes = {name: parameter.shape for name, parameter in old.named_parameters()}
    found = {}
    for name, parameter in new.named_parameters():
        move = table.moves.get(name)
        if move is None or move.source not in shapes:
            found[name] = torch.ones(parameter.shape, dtype=torch.bool)
        else:
            known = moved(move, torch.ones(shapes[move.source]), power=0)
            found[name] = known == 0.0
    return found


@contextmanager
def refilling(
    optimizer: torch.optim.Optimizer, network: nn.Module, fresh: Mapping[str, Tensor] | None = None
) -> Iterator[None]:
    """Let an optimizer see gradients without moving a weight; then correct the moments of new weights.

    Take a few dozen steps on real data inside, at the start of a training and whole within one of its units of work, so
    that a resumed training does the same. A parameter without moments of before needs no correction: Adam does that.

    Args:
        optimizer: Adam or AdamW.
        network: The network that it trains.
        fresh: From :func:`fresh_entries`; None corrects nothing.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    before = {name: _steps(optimizer, parameter) for name, parameter in network.named_parameters()}
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    try:
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
    betas = {id(p): group.get("betas", _BETAS) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        taken = _steps(optimizer, parameter) - before[name]
        if fresh is not None and name in fresh and before[name] > 0 and taken > 0:
            _correct(optimizer.state[parameter], fresh[name].to(parameter.device), betas[id(parameter)], taken)


def _steps(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> int:
    state = optimizer.state.get(parameter)
    return int(state["step"]) if state else 0


@torch.no_grad()
def _correct(state: Mapping[str, Any], fresh: Tensor, betas: tuple[float, float], taken: int) -> None:
    for key, beta in zip(("exp_avg", "exp_avg_sq"), betas, strict=True):
        moment: Tensor = state[key]
        moment.copy_(torch.where(fresh, moment / (1.0 - beta**taken), moment))
