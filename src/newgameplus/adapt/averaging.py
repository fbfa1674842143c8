"""Arithmetic on the weights of networks that began alike: interpolation, averages, and statistics that fit again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

__all__ = ["Weights", "average_weights", "interpolate", "measure_statistics", "same_statistics"]

Weights = Mapping[str, Tensor]
"""A network's state: weights and buffers by name."""

_NORMALIZATION = nn.modules.batchnorm._BatchNorm


def interpolate(first: Weights, second: Weights, share: float) -> dict[str, Tensor]:
    """Return ``(1 - share) * first + share * second`` (WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903).

    Args:
        first: Weights of one network.
        second: Weights of another of the same architecture.
        share: In 0..1; 0 and 1 give the first and the second exactly. Whole numbers are taken from the nearer one.
    """
    return average_weights([first, second], [1.0 - share, share])


def average_weights(states: Sequence[Weights], shares: Sequence[float] | None = None) -> dict[str, Tensor]:
    """Return the average of several states (model soup, Wortsman et al. 2022, arXiv 2203.05482).

    Args:
        states: States with the same names and shapes.
        shares: Share of each; equal by default. Values that are no fractions are taken from the one of most weight.
    """
    shares = [1.0 / len(states)] * len(states) if shares is None else shares
    heaviest = states[max(range(len(states)), key=lambda index: shares[index])]
    mixed = {}
    for name, value in heaviest.items():
        if value.dtype.is_floating_point:
            parts = [share * state[name].double() for state, share in zip(states, shares, strict=True) if share]
            mixed[name] = torch.stack(parts).sum(dim=0).to(value.dtype)
        else:
            mixed[name] = value.clone()
    return mixed


def same_statistics(network: nn.Module, states: Sequence[Weights]) -> bool:
    """Whether all states agree on the running statistics of a network's BatchNorm layers, or it has none."""
    names = [f"{name}.{part}" for name, _ in _normalizations(network) for part in ("running_mean", "running_var")]
    return all(torch.equal(state[name], states[0][name]) for state in states[1:] for name in names)


@torch.no_grad()
def measure_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Measure the running statistics of BatchNorm layers anew, as the mean over batches.

    Averaged weights give other activations than those whose statistics were averaged with them (Izmailov et al. 2018,
    arXiv 1803.05407, section 3.2). Everything else stands still: no other layer is in training mode.

    Args:
        network: Changed in place; left in evaluation mode.
        batches: Inputs of the network, each of at least two examples.
    """
    network.eval()
    layers = [layer for _, layer in _normalizations(network)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over all batches
        layer.train()
    for batch in batches:
        network(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


def _normalizations(network: nn.Module) -> list[tuple[str, nn.modules.batchnorm._BatchNorm]]:
    found = [(name, module) for name, module in network.named_modules() if isinstance(module, _NORMALIZATION)]
    return [(name, module) for name, module in found if module.track_running_stats]
