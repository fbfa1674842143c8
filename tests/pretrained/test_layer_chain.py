"""Layers in NumPy answer and learn as those in torch do, and stand aside where torch must see through them."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from newgameplus.pretrained.layer_chain import LayerChain


def make(activation: type[nn.Module], widths: tuple[int, ...]) -> tuple[LayerChain, nn.Linear]:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return LayerChain(*layers), nn.Linear(widths[-1], 3)


def in_torch(chain: LayerChain, head: nn.Linear | None, values: Tensor) -> Tensor:
    for module in chain:
        values = module(values)
    return values if head is None else head(values)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("widths", [(5,), (5, 7), (5, 7, 6, 4)])
@pytest.mark.parametrize("with_head", [True, False])
@pytest.mark.parametrize("still", [False, True])
def test_answers_and_gradients_are_torchs(
    activation: type[nn.Module], widths: tuple[int, ...], with_head: bool, still: bool
) -> None:
    chain, head = make(activation, widths)
    last = head if with_head else None
    if still and len(chain):
        chain[0].requires_grad_(False)
    values = torch.randn(9, 5, requires_grad=not still)
    weights = [w for w in (*chain.parameters(), *(head.parameters() if with_head else ())) if w.requires_grad]
    found, expected = chain(values, last), in_torch(chain, last, values)
    torch.testing.assert_close(found, expected)
    with torch.inference_mode():
        torch.testing.assert_close(chain(values, last), expected)
    wanted = [*weights, *([] if still else [values])]
    if wanted and (with_head or len(chain)):
        mine = torch.autograd.grad(found.square().sum(), wanted)
        theirs = torch.autograd.grad(expected.square().sum(), wanted)
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_it_stands_aside_for_transformations_and_other_numbers() -> None:
    chain, head = make(nn.Tanh, (5, 7))
    values = torch.randn(4, 5)
    expected = in_torch(chain, head, values)
    torch.testing.assert_close(torch.func.vmap(lambda row: chain(row[None], head)[0])(values), expected)
    wide = copy.deepcopy(chain).double()
    torch.testing.assert_close(wide(values.double(), copy.deepcopy(head).double()).float(), expected)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.chain, self.head = chain, head

        def forward(self, values: Tensor) -> Tensor:
            found: Tensor = self.chain(values, self.head)
            return found

    program: Any = torch.export.export(Whole(), (values,))
    torch.testing.assert_close(program.module()(values + 1.0), in_torch(chain, head, values + 1.0))


def test_names_of_weights_are_those_of_a_sequential() -> None:
    chain, _ = make(nn.Tanh, (5, 7, 6))
    assert list(chain.state_dict()) == list(nn.Sequential(*chain).state_dict())
