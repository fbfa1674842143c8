"""Low-rank adapters (LoRA, Hu et al. 2021, doi 10.48550/arXiv.2106.09685) for the body of a tile network, by PEFT.

Layers are found by their structure (linear maps inside the blocks), not by names that change with versions. Input and
output embeddings, the head and what belongs to the game are trained and saved whole.
"""

from __future__ import annotations

from torch import nn

from newgameplus.errors import MissingExtraError

__all__ = ["add_adapters", "merge_adapters"]


def add_adapters(network: nn.Module, rank: int) -> int:
    """Put low-rank updates beside every linear map in the network's blocks, in place; return how many.

    Raises:
        MissingExtraError: PEFT is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError("peft", "lora", "" if error.name == "peft" else str(error)) from error
    inside = {id(module) for block in network.blocks() for module in block.modules()}  # type: ignore[operator]
    names, conv = [], False
    for name, module in network.named_modules():
        if id(module) in inside and (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"):
            names.append(name)
            conv = conv or type(module).__name__ == "Conv1D"
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, fan_in_fan_out=conv, bias="none")
    inject_adapter_in_model(config, network)
    return len(names)


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
