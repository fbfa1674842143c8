"""Policies of Stable-Baselines3 (PPO, A2C, DQN, and MaskablePPO of its contrib): ``sb3:FILE.zip``.

Weights, spaces and settings are carried over so that the policy acts as it did there, action for action; what cannot
be carried over exactly is refused in words. Of a DQN the Q values become logits: its likeliest action is the greedy
one, and ``temperature`` says how sure it is when actions are drawn. A critic is made of the Q network: its hidden
layers, and the mean over the actions in place of the maximum, which no single layer can say.

The statistics of ``VecNormalize`` stand in a pickle of their own, which is never read. Write them as numbers where they
were made, and name the file in the option ``normalizer``::

    np.savez("normalizer.npz", mean=v.obs_rms.mean, var=v.obs_rms.var, count=v.obs_rms.count, clip=v.clip_obs,
             epsilon=v.epsilon)                                        # v = VecNormalize.load("vecnormalize.pkl", venv)

and for dictionaries ``**{f"mean/{k}": r.mean for k, r in v.obs_rms.items()}``, ``var/`` and ``count/`` likewise.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from newgameplus.errors import PretrainedModelError, Problem, raise_problems
from newgameplus.files import digest_file
from newgameplus.pretrained.policy import Policy
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.pretrained.policy_normalizer import Statistics, read_statistics
from newgameplus.pretrained.policy_request import PolicyRequest, build_network
from newgameplus.pretrained.policy_sb3_file import Sb3File, read_sb3
from newgameplus.pretrained.policy_sb3_spaces import Match, match_actions, match_observations
from newgameplus.pretrained.policy_shape import Activation, PolicyShape
from newgameplus.spaces import ObservationSpec

__all__ = ["load"]

_ACTIVATIONS: dict[str, Activation] = {
    "Tanh": "tanh",
    "ReLU": "relu",
    "LeakyReLU": "leaky-relu",
    "ELU": "elu",
    "GELU": "gelu",
    "SiLU": "silu",
}
_EXTRACTORS = ("", "FlattenExtractor", "NatureCNN", "CombinedExtractor")
_NATURE = ((0, (32, 8)), (2, (64, 4)), (4, (64, 3)))
_CONVERT = "build it with checkpoint:FILE and options: {factory: FILE.py:FUNCTION} instead"
Layers = list[tuple[Tensor, Tensor]]


def load(name: str, request: PolicyRequest, *, normalizer: str | None = None, temperature: float | int = 1.0) -> Policy:
    """Load a policy that Stable-Baselines3 saved.

    Args:
        name: Path of the archive.
        request: The game; where its spaces are those of the archive, they are taken as the game says them (names of
            features and actions, codes of grids); the archive's own else.
        normalizer: File with the statistics of ``VecNormalize``, see above; None if there was none.
        temperature: What logits are divided by: below 1 surer, above 1 less sure. For DQN, whose Q values are in units
            of reward.

    Raises:
        PretrainedModelError: The archive is damaged or not safe, of another algorithm, or has parts that are not
            Stable-Baselines3's own.
    """
    path = Path(name).expanduser()
    file = read_sb3(path)
    _refuse_other_policies(file, str(path))
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < 1e6:
        raise PretrainedModelError(
            f"temperature is {temperature!r}", source="model.options", remedy="give a number above 0"
        )
    values = any(name.startswith("q_net.") for name in file.tensors)
    parts = _take_q_network(file, str(path)) if values else _take_actor_critic(file, str(path))
    _check_sizes(file, parts, str(path))
    matches = match_observations(file, request.observations, _image_widths(parts))
    statistics = (
        None if normalizer is None else read_statistics(Path(normalizer).expanduser(), [m.part for m in matches])
    )
    shape = _shape(file, parts, matches, request, statistics)
    network = build_network(shape, request.seed)
    _fill(network, parts, matches, str(path))
    if temperature != 1.0:
        with torch.no_grad():
            network.actor_head.weight.div_(temperature)
            network.actor_head.bias.div_(temperature)
    if statistics is not None:
        statistics.fill(network.normalizer)
    facts: dict[str, Any] = {
        "algorithm": parts.algorithm,
        "library": f"Stable-Baselines3 {file.version}".strip(),
        "digest": digest_file(path),
        "temperature": float(temperature),
        "critic": "mean of the Q values, to be warmed up" if values else "carried over",
        "normalizer": normalizer or "",
    }
    facts |= {key: file.data[key] for key in ("num_timesteps", "gamma") if key in file.data}
    return Policy(f"sb3:{name}", network, request.environment, facts)


@dataclass
class _Parts:
    """The layers of a policy, found by name.

    Attributes:
        algorithm: As far as the archive tells.
        actor: Hidden layers and the last one.
        critic: Hidden layers and the last one.
        trunk: Layers that both share (before version 1.8).
        images: Convolutions and linear layer of each image, by the name of the part (empty for the only part).
        critic_images: Those of the critic; empty if it shares them.
        activation: Between layers.
        log_scale: Of continuous actions.
    """

    algorithm: str
    actor: Layers
    critic: Layers
    trunk: Layers
    images: dict[str, Layers]
    critic_images: dict[str, Layers]
    activation: str
    log_scale: Tensor | None = None


def _refuse_other_policies(file: Sb3File, source: str) -> None:
    """Raise for what cannot be carried over exactly."""
    names = list(file.tensors)
    why = ""
    if file.data.get("use_sde") is True or file.flag("use_sde", False):
        why = "it explores by state-dependent noise (use_sde), which this network does not have"
    elif file.flag("squash_output", False):
        why = "it squashes its actions (squash_output), which this network does not do"
    elif any("lstm" in name for name in names):
        why = "it is recurrent (RecurrentPPO), and its memory is built in another way"
    elif any(name.startswith("quantile_net.") for name in names):
        why = "it is a QR-DQN, which answers distributions of values"
    elif any(name.startswith(("actor.", "critic.")) for name in names):
        why = "it is of an off-policy algorithm with continuous actions (SAC, TD3, DDPG), not PPO, A2C or DQN"
    elif file.policy_class and not file.policy_class.startswith(("stable_baselines3.", "sb3_contrib.")):
        why = f"its policy class is the user's own ({file.policy_class})"
    elif file.class_name("features_extractor_class") not in _EXTRACTORS:
        why = f"its features extractor is the user's own ({file.class_name('features_extractor_class')})"
    elif file.class_name("activation_fn") not in ("", *_ACTIVATIONS):
        why = f"its activation {file.class_name('activation_fn')} is not known (known: {', '.join(_ACTIVATIONS)})"
    if why:
        raise PretrainedModelError(f"this policy cannot be carried over: {why}", source=source, remedy=_CONVERT)


def _take_actor_critic(file: Sb3File, source: str) -> _Parts:
    left = dict(file.tensors)
    shared = _images(left, "features_extractor.", source)
    actor = _images(left, "pi_features_extractor.", source) or shared
    critic = _images(left, "vf_features_extractor.", source) or actor
    parts = _Parts(
        algorithm="PPO" if "clip_range" in file.data or "n_epochs" in file.data else "A2C",
        trunk=_stack(left, "mlp_extractor.shared_net.", source),
        actor=[*_stack(left, "mlp_extractor.policy_net.", source), _linear(left, "action_net.", source)],
        critic=[*_stack(left, "mlp_extractor.value_net.", source), _linear(left, "value_net.", source)],
        images=actor,
        critic_images={} if _same(actor, critic) else critic,
        activation=_ACTIVATIONS[file.class_name("activation_fn") or "Tanh"],
        log_scale=left.pop("log_std", None),
    )
    _nothing_left(left, source)
    return parts


def _take_q_network(file: Sb3File, source: str) -> _Parts:
    left = {name: value for name, value in file.tensors.items() if not name.startswith("q_net_target.")}
    images = _images(left, "q_net.features_extractor.", source)
    layers = _stack(left, "q_net.q_net.", source)
    if not layers:
        raise PretrainedModelError("the Q network has no layers", source=source, remedy="save it again")
    _nothing_left(left, source)
    weight, bias = layers[-1]
    mean = weight.mean(dim=0, keepdim=True), bias.mean(dim=0, keepdim=True)
    activation = _ACTIVATIONS[file.class_name("activation_fn") or "ReLU"]
    return _Parts("DQN", layers, [*layers[:-1], mean], [], images, {}, activation)


def _linear(left: dict[str, Tensor], prefix: str, source: str, dimensions: int = 2) -> tuple[Tensor, Tensor]:
    """Take the weight and bias of one layer out of ``left``."""
    try:
        weight, bias = left.pop(f"{prefix}weight"), left.pop(f"{prefix}bias")
    except KeyError as error:
        raise PretrainedModelError(
            f"{error} is missing in policy.pth", source=source, remedy="save it again"
        ) from error
    if weight.ndim != dimensions or bias.shape != weight.shape[:1] or 0 in weight.shape:
        message = f"{prefix}weight {tuple(weight.shape)} and bias {tuple(bias.shape)} are no layer"
        raise PretrainedModelError(message, source=source, remedy=_CONVERT)
    return weight.float(), bias.float()


def _stack(left: dict[str, Tensor], prefix: str, source: str) -> Layers:
    """Take linear layers at 0, 2, 4 ... with activations between; each must take what the one before gives."""
    numbers = sorted(
        int(found[1]) for name in left if (found := re.fullmatch(re.escape(prefix) + r"(\d+)\.weight", name))
    )
    layers = [_linear(left, f"{prefix}{number}.", source) for number in numbers]
    fits = all(after[0].shape[1] == before[0].shape[0] for before, after in itertools.pairwise(layers))
    if numbers != list(range(0, 2 * len(numbers), 2)) or not fits:
        message = f"{prefix}* is no plain stack of linear layers (layers {numbers})"
        raise PretrainedModelError(message, source=source, remedy=_CONVERT)
    return layers


def _images(left: dict[str, Tensor], prefix: str, source: str) -> dict[str, Layers]:
    """Take the convolutions of each image out of ``left``; by the name of the part."""
    ending = ".cnn.0.weight"
    bare = f"{prefix}cnn.0.weight"
    heads = {"": prefix} if bare in left else {}
    start = f"{prefix}extractors."
    for name in left:
        if name.startswith(start) and name.endswith(ending):
            key = name[len(start) : -len(ending)]
            heads[key] = f"{start}{key}."
    found: dict[str, Layers] = {}
    for key, head in heads.items():
        layers = [_linear(left, f"{head}cnn.{number}.", source, 4) for number, _ in _NATURE]
        for (weight, _), (_, (width, side)) in zip(layers, _NATURE, strict=True):
            if weight.shape[0] != width or tuple(weight.shape[2:]) != (side, side):
                message = f"{head}cnn is not the network of Mnih et al. 2015: it has a layer {tuple(weight.shape)}"
                raise PretrainedModelError(message, source=source, remedy=_CONVERT)
        found[key] = [*layers, _linear(left, f"{head}linear.0.", source)]
    return found


def _same(mine: Mapping[str, Layers], other: Mapping[str, Layers]) -> bool:
    if mine is other:
        return True
    return all(
        torch.equal(a, b)
        for key, layers in mine.items()
        for mine_layer, other_layer in zip(layers, other.get(key, layers), strict=True)
        for a, b in zip(mine_layer, other_layer, strict=True)
    )


def _nothing_left(left: Mapping[str, Tensor], source: str) -> None:
    if left:
        message = f"it holds layers that are not Stable-Baselines3's own: {', '.join(sorted(left)[:10])}"
        raise PretrainedModelError(message, source=source, remedy=_CONVERT)


def _check_sizes(file: Sb3File, parts: _Parts, source: str) -> None:
    """Compare the printed spaces with the layers before anything is built to their size."""
    problems = []
    spaces = dict(file.observations.parts) if file.observations.kind == "dict" else {"": file.observations}
    widths = _image_widths(parts)
    for key, layers in parts.images.items():
        sides = spaces[key].shape[1:] if key in spaces and len(spaces[key].shape) == 3 else ()
        for kernel, stride in ((8, 4), (4, 2), (3, 1)):
            sides = tuple((side - kernel) // stride + 1 for side in sides)
        channels = spaces[key].shape[0] if sides else 0
        if channels != layers[0][0].shape[1] or 64 * math.prod(sides) != layers[-1][0].shape[1]:
            problems.append(f"the convolutions of {key or 'the observation'!r} do not fit the printed space")
    width = sum(widths.get(key, space.width) for key, space in spaces.items())
    for layers in [parts.trunk] if parts.trunk else [parts.actor, parts.critic]:
        if layers[0][0].shape[1] != width:
            problems.append(f"a first layer takes {layers[0][0].shape[1]} numbers, and the printed spaces make {width}")
    if len(parts.actor[-1][0]) != file.actions.width or len(parts.critic[-1][0]) != 1:
        problems.append(f"it answers {len(parts.actor[-1][0])} numbers, and its actions are {file.actions.width}")
    if parts.log_scale is not None and parts.log_scale.shape != (file.actions.width,):
        problems.append("log_std is not one number for each action")
    if (parts.log_scale is None) == (file.actions.kind == "box"):
        problems.append("log_std is missing, or there where no action is continuous")
    summary = "the weights do not fit the printed spaces"
    raise_problems([Problem(problem, source, _CONVERT) for problem in problems], PretrainedModelError, summary)


def _image_widths(parts: _Parts) -> dict[str, int]:
    return {key: len(layers[-1][0]) for key, layers in parts.images.items()}


def _shape(
    file: Sb3File,
    parts: _Parts,
    matches: list[Match],
    request: PolicyRequest,
    statistics: Statistics | None,
) -> PolicyShape:
    actions = match_actions(file.actions, request.actions)
    options: dict[str, Any] = {"parts": {match.part.name: match.options for match in matches if match.options}}
    blueprint = PolicyShape(
        observations=ObservationSpec(tuple(match.part for match in matches)),
        actions=actions,
        encoder="flatten",
        trunk=_widths(parts.trunk),
        actor=_widths(parts.actor[:-1]),
        critic=_widths(parts.critic[:-1]),
        share=not parts.critic_images,
        activation=parts.activation,  # type: ignore[arg-type]
        normalize=statistics is not None,
        options=options,
    )
    if statistics is None:
        return blueprint
    return replace(blueprint, options={**options, "normalized": list(statistics.parts), "clip": statistics.clip})


def _widths(layers: Layers) -> tuple[int, ...]:
    return tuple(len(weight) for weight, _ in layers)


def _fill(network: PolicyNetwork, parts: _Parts, matches: list[Match], source: str) -> None:
    """Put the weights in, the first layers' columns in our order."""
    order = [torch.where(match.columns < 0, -1, match.columns + match.start) for match in matches]
    columns = torch.cat(order)
    modules = network.named_modules()
    stacks = [("trunk", parts.trunk), ("actor", parts.actor), ("critic", parts.critic)]
    if parts.critic_images:
        stacks.append(("critic_trunk", parts.trunk))
    known = {name: module for name, module in modules if isinstance(module, nn.Linear | nn.Conv2d)}
    first = {"trunk", "critic_trunk"} if parts.trunk else {"actor", "critic"}
    for name, layers in stacks:
        targets = [f"{name}.{2 * number}" for number in range(len(layers))]
        if name in ("actor", "critic"):
            targets[-1] = f"{name}_head"
        for number, (target, (weight, bias)) in enumerate(zip(targets, layers, strict=True)):
            placed = _reorder(weight, columns) if number == 0 and name in first else weight
            _put(known[target], placed, bias, source)
    for room, images in (("encoders", parts.images), ("critic_encoders", parts.critic_images)):
        for number, match in enumerate(matches):
            for layer, (weight, bias) in enumerate(images.get(match.key, [])):
                target = f"{room}.{number}.linear" if layer == 3 else f"{room}.{number}.convolutions.{2 * layer}"
                _put(known[target], weight, bias, source)
    if network.log_scale is not None and parts.log_scale is not None:
        network.log_scale.data.copy_(parts.log_scale)


def _reorder(weight: Tensor, columns: Tensor) -> Tensor:
    with_nothing = torch.cat([weight, torch.zeros(len(weight), 1)], dim=1)
    return with_nothing[:, columns]  # -1 is the column of zeros


def _put(module: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor, source: str) -> None:
    if module.weight.shape != weight.shape:
        message = f"a layer is {tuple(weight.shape)}, where the printed spaces need {tuple(module.weight.shape)}"
        raise PretrainedModelError(message, source=source, remedy=_CONVERT)
    module.weight.data.copy_(weight)
    if module.bias is not None:
        module.bias.data.copy_(bias)
