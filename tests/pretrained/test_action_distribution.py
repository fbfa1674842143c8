"""Distributions over actions of all kinds, held to what probabilities are and to torch's own classes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions

from newgameplus.pretrained.action_distribution import ActionDistribution
from newgameplus.spaces import ActionSpec

SPECS = {
    "discrete": ActionSpec("discrete", (5,)),
    "multi-discrete": ActionSpec("multi-discrete", (3, 2, 4)),
    "binary": ActionSpec("binary", (3,)),
    "continuous": ActionSpec("continuous", (2,)),
}
COUNTABLE = ("discrete", "multi-discrete", "binary")


def make(kind: str, seed: int, batch: int = 4, masked: bool = False) -> ActionDistribution:
    spec = SPECS[kind]
    generator = torch.Generator().manual_seed(seed)
    answer = 2.0 * torch.randn(batch, spec.width, generator=generator)
    mask = torch.rand(batch, spec.width, generator=generator) < 0.6
    if kind == "discrete":
        mask[:, 0] = True
    if kind == "multi-discrete":
        mask[:, [0, 3, 5]] = True
    scale = torch.randn(spec.width, generator=generator) * 0.3 if kind == "continuous" else None
    return ActionDistribution(spec, answer, scale, mask if masked else None)


def peer(mine: ActionDistribution) -> list[Any]:
    """The same distribution, part by part, of torch's classes."""
    if mine.spec.kind == "continuous":
        assert mine.log_scale is not None
        return [distributions.Normal(mine.answer, mine.log_scale.exp())]
    if mine.spec.kind == "binary":
        return [distributions.Bernoulli(logits=mine.answer)]
    return [distributions.Categorical(logits=part) for part in mine.answer.split(list(mine.spec.sizes), dim=-1)]


def every_action(spec: ActionSpec) -> torch.Tensor:
    sizes = (2,) * spec.width if spec.kind == "binary" else spec.sizes
    rows = torch.tensor(list(itertools.product(*(range(size) for size in sizes))))
    return rows[:, 0] if spec.kind == "discrete" else rows


@pytest.mark.parametrize("kind", COUNTABLE)
@settings(deadline=None)
@given(seed=st.integers(0, 2**31), masked=st.booleans())
def test_probabilities_of_all_actions_sum_up_to_one(kind: str, seed: int, masked: bool) -> None:
    mine = make(kind, seed, masked=masked)
    total = torch.stack(
        [mine.log_prob(action.expand(4, *action.shape)).exp() for action in every_action(mine.spec)]
    ).sum(dim=0)
    torch.testing.assert_close(total, torch.ones(4))


@pytest.mark.parametrize("kind", list(SPECS))
@settings(deadline=None)
@given(seed=st.integers(0, 2**31), other=st.integers(0, 2**31), masked=st.booleans())
def test_it_says_what_the_librarys_classes_say(kind: str, seed: int, other: int, masked: bool) -> None:
    masked = masked and kind != "continuous"
    mine, theirs = make(kind, seed, masked=masked), make(kind, other)
    if masked:
        theirs = ActionDistribution(theirs.spec, theirs.answer, None, mine.mask)
    actions = mine.sample(torch.Generator().manual_seed(seed))
    columns = [actions] if len(peer(mine)) == 1 else list(actions.unbind(dim=-1))

    def total(values: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([v if v.ndim == 1 else v.sum(dim=-1) for v in values]).sum(dim=0)

    known = total([p.log_prob(c.float()) for p, c in zip(peer(mine), columns, strict=True)])
    torch.testing.assert_close(mine.log_prob(actions), known, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mine.entropy(), total([p.entropy() for p in peer(mine)]), atol=1e-4, rtol=1e-4)
    pairs = zip(peer(mine), peer(theirs), strict=True)
    known = total([distributions.kl_divergence(p, q) for p, q in pairs])
    found = mine.divergence_to(theirs)
    torch.testing.assert_close(found, known, atol=1e-3, rtol=1e-3)
    assert bool((found > -1e-5).all())
    torch.testing.assert_close(mine.divergence_to(mine), torch.zeros(4))


@pytest.mark.parametrize("kind", COUNTABLE)
def test_draws_come_as_often_as_they_are_probable(kind: str) -> None:
    one = make(kind, 3, batch=1)
    many = ActionDistribution(one.spec, one.answer.expand(40_000, -1))
    drawn = many.sample(torch.Generator().manual_seed(0)).reshape(40_000, -1)
    for action in every_action(one.spec):
        share = float((drawn == action.reshape(1, -1)).all(dim=1).float().mean())
        assert share == pytest.approx(float(one.log_prob(action[None]).exp()), abs=0.01)


@pytest.mark.parametrize("kind", ["discrete", "multi-discrete"])
@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_what_is_masked_is_never_done(kind: str, seed: int) -> None:
    mine = make(kind, seed, batch=64, masked=True)
    assert mine.mask is not None
    places = torch.tensor([0, *itertools.accumulate(mine.spec.sizes)][:-1])
    for actions in (mine.sample(torch.Generator().manual_seed(seed)), mine.mode()):
        chosen = actions.reshape(64, -1) + places
        assert bool(mine.mask.gather(1, chosen).all())
    assert bool(torch.isfinite(mine.entropy()).all())


def test_temperature_goes_from_the_likeliest_to_anything() -> None:
    mine = make("discrete", 1)
    assert torch.equal(mine.tempered(0.0).sample(), mine.mode())
    assert bool((mine.tempered(3.0).entropy() > mine.entropy()).all())
