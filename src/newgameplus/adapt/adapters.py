"""Low-rank adapters (LoRA, Hu et al. 2021, doi 10.48550/arXiv.2106.09685) for any network, by PEFT.

Layers are found by their structure (linear maps and convolutions inside the blocks), not by names that change with
versions. Adapters live only while a phase trains them: then they are added to the weights and taken away, so that
saving, export and prediction need no PEFT.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from newgameplus.errors import MissingExtraError, PretrainedModelError

__all__ = [
    "AdaptedLayers",
    "adapter_parameters",
    "add_adapters",
    "find_adaptable",
    "has_adapters",
    "is_adapter",
    "merge_adapters",
]

#: Layers of torch that call their children's weights directly, past any adapter.
_OPAQUE = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_GEOMETRY = ("stride", "kernel_size", "padding", "dilation", "groups", "padding_mode")
_MARK = "lora_"


@dataclass(frozen=True)
class AdaptedLayers:
    """Which layers of a network get adapters.

    Attributes:
        names: Dotted names of the layers that do.
        skipped: Dotted names of layers with weights to adapt that cannot, and why.
    """

    names: tuple[str, ...]
    skipped: dict[str, str]


def find_layers(network: nn.Module, blocks: Sequence[nn.Module]) -> AdaptedLayers:
    """Find the linear maps and convolutions inside blocks that can have an adapter, and those that cannot."""
    inside = {id(module) for block in blocks for module in block.modules()}
    opaque = {id(child) for module in network.modules() if isinstance(module, _OPAQUE) for child in module.modules()}
    names: list[str] = []
    skipped: dict[str, str] = {}
    for name, module in network.named_modules():
        if id(module) not in inside or not _maps(module):
            continue
        reason = "its owner reads its weights directly" if id(module) in opaque else _obstacle(module)
        if reason:
            skipped[name] = reason
        else:
            names.append(name)
    return AdaptedLayers(tuple(names), skipped)


def find_adaptable(network: nn.Module, blocks: Sequence[nn.Module]) -> AdaptedLayers:
    """Find the layers that can have an adapter, as :func:`add_adapters` would, and change nothing.

    Raises:
        MissingExtraError: PEFT is not installed.
        PretrainedModelError: No layer can have one.
    """
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("peft", "lora", "" if error.name == "peft" else str(error)) from error
    layers = find_layers(network, blocks)
    if not layers.names:
        raise _nothing_to_adapt(network, layers)
    return layers


def refuse_unadaptable(name: str, network: nn.Module, blocks: Sequence[nn.Module]) -> None:
    """Refuse a model, by its name, of which no layer can have an adapter.

    Raises:
        MissingExtraError: PEFT is not installed.
        PretrainedModelError: No layer can have one.
    """
    try:
        find_adaptable(network, blocks)
    except PretrainedModelError as error:
        message = f"{name}: {error.message}"
        raise PretrainedModelError(message, source=error.source, remedy=error.remedy) from error


def add_adapters(network: nn.Module, rank: int, blocks: Sequence[nn.Module] | None = None) -> AdaptedLayers:
    """Put low-rank updates beside every linear map and convolution in a network's blocks, in place.

    The answers stay what they were: updates begin at zero.

    Args:
        network: The network.
        rank: Rank of the updates.
        blocks: Its blocks; by default what its own ``blocks()`` says.

    Returns:
        What got one, and what did not and why.

    Raises:
        MissingExtraError: PEFT is not installed.
        PretrainedModelError: No layer can have one.
    """
    layers = find_adaptable(network, network.blocks() if blocks is None else blocks)  # type: ignore[operator]
    from peft import LoraConfig, inject_adapter_in_model

    conv = any(_is_transposed(network.get_submodule(name)) for name in layers.names)
    exactly = "|".join(re.escape(name) for name in layers.names)  # a list of names would match by their ends as well
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=exactly, fan_in_fan_out=conv, bias="none")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to (True|False) but the target module is")
        inject_adapter_in_model(config, network)
    _forward_geometry(network, layers.names)
    if blocks is None:
        _check_reach(network)
    return layers


def _forward_geometry(network: nn.Module, names: Sequence[str]) -> None:
    """Let the layer beside an adapter still be asked for its strides and sizes: some networks pad by them."""
    for name in names:
        wrapped = network.get_submodule(name)
        base = wrapped.get_base_layer()  # type: ignore[operator]
        for attribute in _GEOMETRY if isinstance(base, _CONVOLUTIONS) else ():
            if not hasattr(wrapped, attribute):
                setattr(wrapped, attribute, getattr(base, attribute))


def _check_reach(network: nn.Module) -> None:
    """Make sure that blocks hold what was put beside their layers: adapters that no block has would never move."""
    reached = {id(weight) for block in network.blocks() for weight in block.parameters()}  # type: ignore[operator]
    lost = [name for name, weight in network.named_parameters() if is_adapter(name) and id(weight) not in reached]
    if lost:
        message = f"blocks() of this {type(network).__name__} keeps layers that adapters replaced: {lost[0]} is in none"
        raise PretrainedModelError(message, source="adapt.strategy", remedy="let blocks() look its modules up by name")


def merge_adapters(network: nn.Module) -> None:
    """Add the low-rank updates to the weights and take the adapters away, in place."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(network.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent_name, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent_name), child, module.get_base_layer())
    if hasattr(network, "peft_config"):  # PEFT leaves it behind, and warns of a second adapter when others are added
        del network.peft_config


def has_adapters(network: nn.Module) -> bool:
    """Whether a network has adapters that were not merged yet."""
    return any(is_adapter(name) for name, _ in network.named_parameters())


def is_adapter(parameter_name: str) -> bool:
    """Whether the weight of this dotted name is a low-rank update."""
    return f".{_MARK}" in f".{parameter_name}"


def adapter_parameters(network: nn.Module, blocks: Sequence[nn.Module], rank: int) -> int:
    """Return how many weights adapters of this rank in these blocks would have, without adding them."""
    return sum(rank * _sides(network.get_submodule(name)) for name in find_layers(network, blocks).names)


def _maps(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, *_CONVOLUTIONS)) or _is_transposed(module)


def _is_transposed(module: nn.Module) -> bool:
    """Whether this is the linear map of GPT-2, which keeps its weight the other way round; Keras has a namesake."""
    return type(module).__name__ == "Conv1D" and type(module).__module__.startswith("transformers.")


def _obstacle(module: nn.Module) -> str:
    """Return why a layer cannot have an adapter that merges exactly; empty if it can."""
    if _is_transposed(module):
        return ""
    kind = next(kind for kind in (nn.Linear, *_CONVOLUTIONS) if isinstance(module, kind))
    if type(module).forward is not kind.forward or nn.utils.parametrize.is_parametrized(module):
        return "it changes its weights before it uses them"
    if not isinstance(module, _CONVOLUTIONS):
        return ""
    if module.groups > 1:
        return "it is a grouped convolution"
    plain = type(module) is kind and module.padding_mode == "zeros" and all(step == 1 for step in module.dilation)
    return "" if plain else "it is a convolution of a special kind"


def _sides(module: nn.Module) -> int:
    """Return the weights of a rank-one update: inputs times places of the kernel, and outputs."""
    shape = [int(size) for size in module.weight.shape]  # type: ignore[union-attr]
    return shape[0] + math.prod(shape[1:])


def _nothing_to_adapt(network: nn.Module, layers: AdaptedLayers) -> PretrainedModelError:
    why = "; ".join(_first_of_each(layers.skipped)) or "it has no linear map or convolution of torch in its blocks"
    message = f"no layer of this {type(network).__name__} can have a low-rank adapter: {why}"
    return PretrainedModelError(message, source="adapt.strategy", remedy="use lp-ft, l2-sp or a surgical strategy")


def _first_of_each(skipped: dict[str, str]) -> Iterator[str]:
    for reason in dict.fromkeys(skipped.values()):
        names = [name for name, why in skipped.items() if why == reason]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{names[0]}{more}: {reason}"
