"""Choosing actions in rollouts: in plain NumPy for small perceptrons, which torch's calls slow down.

Torch and NumPy take the same noise, drawn for a whole rollout at once, so that they choose the same actions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from newgameplus.pretrained.policy_encoders import Flatten, Perceptron
from newgameplus.pretrained.policy_network import PolicyNetwork
from newgameplus.spaces import Actions, ActionSpec, Masks, Observations

__all__ = ["ArrayActor", "array_actor", "choose_actions", "draw_noise"]

Floats = npt.NDArray[np.float32]
_NEVER = np.float32(-1e9)


def draw_noise(spec: ActionSpec, shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
    """Return float32 [*shape, spec.width], the noise that :func:`choose_actions` takes.

    Gumbel noise for choices (the largest of logits plus it is a draw from the softmax), logistic for buttons, normal
    for numbers.
    """
    full = (*shape, spec.width)
    if spec.kind == "continuous":
        return generator.standard_normal(full, np.float32)
    uniform = np.clip(generator.random(full, np.float32), np.float32(1e-20), np.float32(1.0 - 6e-8))
    if spec.kind == "binary":
        return np.log(uniform) - np.log1p(-uniform)
    return -np.log(-np.log(uniform))


def choose_actions(
    spec: ActionSpec, answer: Floats, noise: Floats, log_scale: Floats | None = None, masks: Masks | None = None
) -> Actions:
    """Draw actions from a policy's answer.

    Args:
        spec: Kind of actions.
        answer: float32 [n, width]: logits, or means.
        noise: float32 [n, width] of :func:`draw_noise`; zeros take the likeliest action.
        log_scale: float32 [width], for continuous actions.
        masks: bool [n, width]; not for continuous actions.
    """
    if spec.kind == "continuous":
        scale = np.exp(log_scale) if log_scale is not None else np.float32(1.0)
        drawn: Actions = answer + noise * scale
        return drawn
    if masks is not None:
        answer = np.where(masks, answer, _NEVER)
    if spec.kind == "binary":
        return (answer + noise > 0).astype(np.int64)
    noisy = answer + noise
    if spec.kind == "discrete":
        chosen: Actions = noisy.argmax(axis=1)
        return chosen
    parts = np.split(noisy, np.cumsum(spec.sizes)[:-1], axis=1)
    return np.stack([part.argmax(axis=1) for part in parts], axis=1)


class ArrayActor:
    """The actor of a network without memory whose encoders are perceptrons, on NumPy arrays.

    It looks at the network's own weights (no copy), so it always answers as they are now; the normalizer's statistics
    are taken when :meth:`refresh` is called.

    Args:
        network: On the CPU; see :func:`array_actor` for which fit.
    """

    def __init__(self, network: PolicyNetwork) -> None:
        self.network = network
        self.encoders = [_encoder(module) for module in network.encoders]
        self.layers = _layers(network.trunk, network.actor, nn.Sequential(network.actor_head))
        self.normal: dict[str, tuple[Floats, Floats]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take the normalizer's statistics as they are now."""
        normalizer = self.network.normalizer
        for name in normalizer.parts:
            mean, variance = normalizer.statistics(name)
            self.normal[name] = (mean.float().numpy(), torch.rsqrt(variance.float() + 1e-8).numpy())

    def __call__(self, observations: Observations) -> Floats:
        """Return float32 [n, width]: logits or means for observations [n, ...]."""
        found = []
        for name, encode in zip(self.network.shape.observations.names, self.encoders, strict=True):
            values = observations[name]
            if name in self.normal:
                mean, factor = self.normal[name]
                values = np.clip((values - mean) * factor, -10.0, 10.0)
            found.append(encode(values))
        hidden = found[0] if len(found) == 1 else np.concatenate(found, axis=1)
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


def array_actor(network: PolicyNetwork) -> ArrayActor | None:
    """Return a NumPy actor for a network, or None if it has memory, convolutions, a backbone, or is not on the CPU."""
    simple = all(isinstance(encoder, Flatten | Perceptron) for encoder in network.encoders)
    modules = [*network.trunk, *network.actor]
    known = all(isinstance(module, nn.Linear | nn.Tanh | nn.ReLU) for module in modules)
    on_cpu = network.actor_head.weight.device.type == "cpu" and network.actor_head.weight.dtype == torch.float32
    return ArrayActor(network) if simple and known and on_cpu and network.memory is None else None


Layer = Callable[[Floats], Floats]


def _layers(*parts: nn.Sequential) -> list[Layer]:
    return [_layer(module) for part in parts for module in part]


def _layer(module: nn.Module) -> Layer:
    if isinstance(module, nn.Linear):
        weight, bias = module.weight.detach().numpy().T, module.bias.detach().numpy()
        return lambda values: values @ weight + bias
    if isinstance(module, nn.Tanh):
        return np.tanh
    return lambda values: np.maximum(values, 0.0)


def _encoder(module: nn.Module) -> Layer:
    if isinstance(module, Perceptron):
        flatten, linear = _encoder(module.flatten), _layer(module.linear)
        return lambda values: np.maximum(linear(flatten(values)), 0.0)
    sizes = module.sizes if isinstance(module, Flatten) else ()
    if not sizes:
        return lambda values: values.reshape(len(values), -1).astype(np.float32, copy=False)
    tables = [np.eye(size, dtype=np.float32) for size in sizes]

    def one_hot(values: Floats) -> Floats:
        numbers = values.reshape(len(values), -1)
        return np.concatenate([table[numbers[:, n]] for n, table in enumerate(tables)], axis=1)

    return one_hot
