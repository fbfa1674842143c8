"""Finding a network's parts by what they do and not by what they are called: its head, and its blocks in order.

Names of layers differ between architectures and even between versions of one library; the flow of data does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Head", "LooseParameters", "block_modules", "find_blocks", "find_head", "watch_linears"]

_LOOSE = "*"


@dataclass(frozen=True)
class Head:
    """The last linear layer of a classifier.

    Attributes:
        name: Its name in the network.
        linear: The layer.
    """

    name: str
    linear: nn.Linear


class LooseParameters(nn.Module):
    """Parameters that a network holds directly, beside its parts: shared with the network, not copied."""

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        super().__init__()
        for name, parameter in parameters.items():
            self.register_parameter(name, parameter)


@contextmanager
def watch_linears(network: nn.Module, classes: int | None) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Record input and output of every linear layer with ``classes`` outputs (``None``: any) in a forward pass."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def recorder(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[name] = (inputs[0], output)

        return record

    handles = [
        module.register_forward_hook(recorder(name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and classes in (None, module.out_features)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def find_head(network: nn.Module, seen: dict[str, tuple[Tensor, Tensor]], logits: Tensor) -> Head | None:
    """Return the linear layer whose output is the network's logits.

    Args:
        network: The classifier.
        seen: What :func:`watch_linears` recorded during the pass that gave ``logits``.
        logits: float [batch, classes].

    Returns:
        The head, or ``None`` if the logits are not the direct output of one linear layer on flat features.
    """
    for name, (features, output) in reversed(seen.items()):
        if features.dim() == 2 and _same(output, logits):
            linear = network.get_submodule(name)
            if isinstance(linear, nn.Linear):
                return Head(name, linear)
    return None


def _same(output: Tensor, logits: Tensor) -> bool:
    if output is logits or output.device.type == "meta":  # on the meta device there is nothing else to compare
        return output is logits
    return output.shape == logits.shape and torch.equal(output, logits)


def find_blocks(
    network: nn.Module, run: Callable[[], object], lists: tuple[type[nn.Module], ...] = (nn.ModuleList,)
) -> list[str]:
    """Cut a network into blocks, in the order in which data flows through them.

    A block is an item of an outermost ``ModuleList`` (a layer of a transformer, a stage of a convolutional network),
    or a part that holds no such list (the embedding, the last norm). Parameters that stand beside such parts form
    blocks of their own.

    Args:
        network: The network, without its head.
        run: Runs one forward pass through ``network``, so that the order can be seen.
        lists: What counts as a list of layers; libraries that keep theirs in ``Sequential`` add that.

    Returns:
        Names for :func:`block_modules`. Blocks that the pass did not reach come first.
    """
    candidates = [
        name for name in _candidates(network, "", lists) if next(_parameters(network, name), None) is not None
    ]
    order: dict[str, int] = {}
    handles = [
        module.register_forward_pre_hook(_first_call(name, order))
        for name in candidates
        for module in _watched(network, name)
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return sorted(candidates, key=lambda name: order.get(name, -1))


def block_modules(network: nn.Module, names: list[str]) -> list[nn.Module]:
    """Return the modules that :func:`find_blocks` named; a parameter shared by two blocks counts to the earlier one."""
    blocks: list[nn.Module] = []
    taken: set[int] = set()
    for name in names:
        parameters = dict(_named_parameters(network, name))
        free = {key: parameter for key, parameter in parameters.items() if id(parameter) not in taken}
        taken.update(id(parameter) for parameter in free.values())
        if len(free) < len(parameters) or name.endswith(_LOOSE):
            blocks.append(LooseParameters({key.replace(".", "_"): value for key, value in free.items()}))
        else:
            blocks.append(network.get_submodule(name))
    return [block for block in blocks if next(block.parameters(), None) is not None]


def _candidates(module: nn.Module, name: str, lists: tuple[type[nn.Module], ...]) -> Iterator[str]:
    """Name the blocks below ``module``: descend only where there is a list of layers to be found."""
    if not any(isinstance(part, lists) for part in module.modules()):
        yield name
        return
    prefix = f"{name}." if name else ""
    if next(module.parameters(recurse=False), None) is not None:
        yield f"{prefix}{_LOOSE}"
    for child_name, child in module.named_children():
        if _cuts(module, lists):
            yield f"{prefix}{child_name}"
        else:
            yield from _candidates(child, f"{prefix}{child_name}", lists)


def _cuts(module: nn.Module, lists: tuple[type[nn.Module], ...]) -> bool:
    """Whether a module's children are blocks: a list is, unless it is a mere wrapper around one of them."""
    if not isinstance(module, lists):
        return False
    holders = sum(next(child.parameters(), None) is not None for child in module.children())
    return isinstance(module, nn.ModuleList) or holders > 1


def _watched(network: nn.Module, name: str) -> Iterator[nn.Module]:
    """Yield the modules whose first call counts: all of a block, since a list of layers is itself never called."""
    module = network.get_submodule(_module_name(name))
    yield from (module,) if name.endswith(_LOOSE) else module.modules()


def _module_name(name: str) -> str:
    return name.removesuffix(_LOOSE).removesuffix(".")


def _named_parameters(network: nn.Module, name: str) -> Iterator[tuple[str, nn.Parameter]]:
    loose = name.endswith(_LOOSE)
    yield from network.get_submodule(_module_name(name)).named_parameters(recurse=not loose)


def _parameters(network: nn.Module, name: str) -> Iterator[nn.Parameter]:
    yield from (parameter for _, parameter in _named_parameters(network, name))


def _first_call(name: str, order: dict[str, int]) -> Callable[[nn.Module, object], None]:
    def note(_: nn.Module, __: object) -> None:
        order.setdefault(name, len(order))

    return note
