"""Weights that someone else's program trained: ``checkpoint:FILE``, safetensors or what ``torch.save`` wrote.

The network is built here, from the recipe's settings or by a function of the user's, and the file's tensors are put
into it by name. A network of the same layers under other names is told by the option ``names``, which turns the
beginning of a name in the file into the beginning of one here (see :mod:`newgameplus.pretrained.policy_network`). For
CleanRL's PPO, whose other layers are called as they are here::

    model:
      start: checkpoint:agent.pt
      normalize: false
      options:
        names: {critic.4: critic_head, actor.4: actor_head}

and for its Atari agent (``encoder: nature-cnn, features: 512, actor: [], critic: []``)::

        names: {network.0: encoders.0.convolutions.0, network.2: encoders.0.convolutions.2,
                network.4: encoders.0.convolutions.4, network.7: encoders.0.linear,
                actor: actor_head, critic: critic_head}
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from newgameplus.errors import NewGamePlusError, PretrainedModelError, Problem, raise_problems
from newgameplus.files import digest_file
from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.pretrained.policy_request import PolicyRequest, build_network, seeded, shape_of
from newgameplus.pretrained.policy_shape import PolicyShape
from newgameplus.pretrained.weights_file import find_factory, read_weights

__all__ = ["load"]


def load(
    name: str,
    request: PolicyRequest,
    *,
    factory: str | None = None,
    names: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    fresh: Sequence[str] = (),
    key: str | None = None,
) -> Policy:
    """Load weights from a file into a network of ours.

    Args:
        name: The file: safetensors, or torch's zip format with nothing but tensors in it.
        request: The game.
        factory: ``file.py:function`` or ``module:function`` of observations and actions (or of nothing) that returns
            the blueprint (:class:`PolicyShape`) or the network (:class:`PolicyNetwork`). It is the user's own program,
            and is run. None builds what the recipe's settings say.
        names: Beginnings of names in the file, and what they are here; the longest that fits counts.
        ignore: Beginnings of names in the file that are left out.
        fresh: Beginnings of names here that may start anew where the file has none of them (``critic``).
        key: Entry of the file in which the tensors stand; None looks for the usual ones.

    Raises:
        PretrainedModelError: The file is missing, damaged or no plain tensors, or does not fit: everything missing,
            left over or of another shape is named.
    """
    path = Path(name).expanduser()
    _check_options(names, ignore, fresh, key)
    tensors = read_weights(path, key, hints={".zip": f"a Stable-Baselines3 archive: sb3:{path}"})
    network = _build(factory, request, f"checkpoint:{name}")
    _fill(network, _rename(tensors, names or {}, ignore, str(path)), fresh, str(path))
    facts = {"digest": digest_file(path), "factory": factory or "", "fresh": list(fresh)}
    return Policy(f"checkpoint:{name}", network.eval(), request.environment, facts)


def _check_options(names: Any, ignore: Any, fresh: Any, key: Any) -> None:
    problems = []
    if names is not None and not (isinstance(names, Mapping) and all(isinstance(v, str) for v in names.values())):
        problems.append(Problem(f"names is {names!r}", "model.options", "write {name there: name here, ...}"))
    for option, value in (("ignore", ignore), ("fresh", fresh)):
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            problems.append(Problem(f"{option} is {value!r}", "model.options", "write a list of beginnings of names"))
    if key is not None and not isinstance(key, str):
        problems.append(Problem(f"key is {key!r}", "model.options", "write the name of an entry of the file"))
    raise_problems(problems, PretrainedModelError, f"{len(problems)} options cannot be used")


def _build(factory: str | None, request: PolicyRequest, name: str) -> PolicyNetwork:
    if factory is None:
        observations, actions = request.spaces(name)
        return build_network(shape_of(request.settings, observations, actions), request.seed)
    function = find_factory(factory)
    try:
        takes = len(inspect.signature(function).parameters)
        arguments = request.spaces(name) if takes else ()
        with seeded(request.seed):
            made = function(*arguments)
            if isinstance(made, PolicyShape):
                made = PolicyNetwork(made)
    except NewGamePlusError:
        raise
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        message = f"the factory failed ({words:.300})"
        raise PretrainedModelError(message, source=factory, remedy="correct the program") from error
    if not isinstance(made, PolicyNetwork):
        raise PretrainedModelError(
            f"the factory gave {type(made).__name__}",
            source=factory,
            remedy="return a PolicyShape or a PolicyNetwork (newgameplus.pretrained), and say in names which of its "
            "layers is which of the file's",
        )
    return made


def _rename(
    tensors: Mapping[str, Tensor], names: Mapping[str, str], ignore: Sequence[str], source: str
) -> dict[str, Tensor]:
    """Give the file's tensors our names."""
    found: dict[str, Tensor] = {}
    problems = []
    used: set[str] = set()
    for name, value in tensors.items():
        if any(_begins(name, start) for start in ignore):
            continue
        starts = [start for start in names if _begins(name, start)]
        start = max(starts, key=len) if starts else ""
        ours = names[start] + name[len(start) :] if starts else name
        used.add(start)
        if ours in found:
            problems.append(Problem(f"two of its tensors would be {ours!r} here", source, "correct options: names"))
        found[ours] = value
    for start in names:
        if start not in used:
            remedy = f"it has: {', '.join(list(tensors)[:40])}"
            problems.append(Problem(f"none of its tensors is called {start}*, as names says", source, remedy))
    raise_problems(problems, PretrainedModelError, f"{len(problems)} names do not fit")
    return found


def _begins(name: str, start: str) -> bool:
    return name == start or name.startswith(start if start.endswith(".") else f"{start}.")


def _fill(network: PolicyNetwork, tensors: Mapping[str, Tensor], fresh: Sequence[str], source: str) -> None:
    """Put the tensors in, or name everything that does not fit."""
    wanted = network.state_dict()
    problems = []
    for name, place in wanted.items():
        value = tensors.get(name)
        if value is None:
            anew = any(_begins(name, start) or name.startswith(start) for start in fresh)
            if not anew and not (name == "normalizer.count" and not network.normalizer.parts):
                remedy = "set model.normalize: false" if name.startswith("normalizer.") else "see options: names, fresh"
                problems.append(Problem(f"{name} {tuple(place.shape)} is missing", source, remedy))
        elif value.shape != place.shape and value.squeeze().shape != place.shape:
            message = f"{name} is {tuple(value.shape)} in the file and {tuple(place.shape)} in the network"
            problems.append(Problem(message, source, "correct the widths in model, or the factory"))
    for name in tensors:
        if name not in wanted:
            message = f"{name} {tuple(tensors[name].shape)} has no place in the network"
            problems.append(Problem(message, source, "see options: names, ignore"))
    raise_problems(problems, PretrainedModelError, f"the file and the network differ in {len(problems)} tensors")
    with torch.no_grad():
        for name, value in tensors.items():
            wanted[name].copy_(value.reshape(wanted[name].shape))
