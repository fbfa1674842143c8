"""Finding head and blocks by the flow of data, in networks whose definitions mislead."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from newgameplus.pretrained.structure import block_modules, find_blocks, find_head, watch_linears


class Misleading(nn.Module):
    """Defined from output to input, with a parameter of its own, a list in a list and a tied layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.norm = nn.LayerNorm(8)
        self.stages = nn.ModuleList(
            [nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]), nn.ModuleList([nn.Linear(8, 8)])]
        )
        self.stages[1][0].weight = self.stages[0][0].weight
        self.position = nn.Parameter(torch.ones(8))
        self.embedding = nn.Linear(4, 8)
        self.unused = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x) + self.position
        for stage in self.stages:
            for layer in stage:
                x = torch.relu(layer(x))
        return self.head(self.norm(x))


def blocks_of(network: nn.Module, *inputs: int) -> tuple[list[str], list[nn.Module]]:
    names = find_blocks(network, lambda: network(torch.randn(2, *inputs)))
    return names, block_modules(network, names)


def test_blocks_come_in_the_order_of_the_data_not_of_the_definition():
    names, _ = blocks_of(Misleading(), 4)
    assert names == ["unused", "*", "embedding", "stages.0", "stages.1", "norm", "head"]


def test_every_parameter_is_in_exactly_one_block_also_loose_and_shared_ones():
    network = Misleading()
    _, blocks = blocks_of(network, 4)
    found = [id(parameter) for block in blocks for parameter in block.parameters()]
    assert sorted(found) == sorted(id(parameter) for parameter in network.parameters())


def test_a_block_of_loose_parameters_is_the_network_s_own_not_a_copy():
    network = Misleading()
    names, blocks = blocks_of(network, 4)
    loose = blocks[names.index("*")]
    loose.requires_grad_(False)
    assert not network.position.requires_grad
    assert "position" in dict(loose.named_parameters())


def test_a_network_without_layers_in_lists_is_one_block():
    names, blocks = blocks_of(nn.Linear(4, 2), 4)
    assert names == [""]
    assert len(blocks) == 1


def head_of(network: nn.Module, classes: int | None, *inputs: int) -> str | None:
    with torch.no_grad(), watch_linears(network, classes) as seen:
        logits = network(torch.randn(2, *inputs))
    head = find_head(network, seen, logits)
    return None if head is None else head.name


def test_the_head_is_the_layer_that_makes_the_logits_not_the_last_one_defined():
    assert head_of(Misleading(), 3, 4) == "head"
    assert head_of(Misleading(), None, 4) == "head"


def test_logits_of_no_single_layer_have_no_head():
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return (self.one(x) + self.other(x)) / 2

    assert head_of(TwoHeads(), 3, 4) is None


def test_a_head_over_tokens_or_places_is_not_one_over_features():
    assert head_of(nn.Linear(4, 3), 3, 5, 4) is None


def test_watching_leaves_no_hooks_behind():
    network = Misleading()
    blocks_of(network, 4)
    head_of(network, 3, 4)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in network.modules())
