"""Pretraining on clips: two processes are one process with the same global batch, whatever stops them in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.small_backbone import SHAPE, SmallBackbone, moving_bars
from tests.train import several_pretrainings
from tests.train.launching import one_and_two, seen
from tests.train.several_pretrainings import GOES_ON, LABELS, STEPS, STOPS, VARIANTS, train

from newgameplus.errors import DivergedError
from newgameplus.train import objective_learner, pretraining
from newgameplus.train.device import make_accelerator
from newgameplus.train.objective_learner import ObjectiveLearner
from newgameplus.train.pretraining import ClipBatches, epoch_batch
from newgameplus.train.selfsupervision import Augmentation, ClipBatch, Cut, InverseDynamics, TemporalOrder
from newgameplus.train.team import Team

WEIGHTS = 1e-4


@pytest.mark.parametrize("count", [1, 3, 5])
def test_parts_are_varied_as_in_the_whole_batch(count: int) -> None:
    clips = torch.randint(0, 256, (13, *SHAPE.array), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def varied(part: slice) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        answer = Augmentation(generator)(clips[part], Cut(13, part))
        return torch.cat([answer.flatten(), torch.rand(1, generator=generator)])

    parts = [slice(13 * rank // count, 13 * (rank + 1) // count) for rank in range(count)] + [slice(13, 13)]
    answers = [varied(part) for part in parts]
    plain = torch.Generator().manual_seed(1)
    assert torch.equal(torch.cat([answer[:-1] for answer in answers]), Augmentation(plain)(clips).flatten())
    assert len({float(answer[-1]) for answer in answers}) == 1  # what is drawn next does not depend on the part


def test_a_cut_knows_which_of_some_are_here() -> None:
    chosen = torch.tensor([True, False, True, True, False, True])
    assert Cut(6, slice(0, 2)).among(chosen) == Cut(4, slice(0, 1))
    assert Cut(6, slice(2, 4)).among(chosen) == Cut(4, slice(1, 3))
    assert Cut(6, slice(4, 5)).among(chosen) == Cut(4, slice(3, 3))


@pytest.mark.parametrize("known", ["all", "first part", "some"])
def test_the_shares_of_means_add_up_to_the_loss_of_the_whole_batch(known: str) -> None:
    clips, actions = moving_bars(13)
    frames, held = torch.from_numpy(clips.frames), torch.from_numpy(actions)
    places = torch.arange(13)
    held = torch.where({"all": places >= 0, "first part": places < 4, "some": places % 4 > 0}[known], held, -1)

    class Means(torch.nn.Module):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return given.flatten(2).mean(2) / 100.0

    def loss(objective: type, batch: ClipBatch) -> torch.Tensor:
        torch.manual_seed(2)
        generator = torch.Generator().manual_seed(1)
        first = LABELS if objective is InverseDynamics else SHAPE.frames
        return objective(first, 4, Augmentation(generator), generator).loss(Means(), batch)

    for objective in (InverseDynamics, TemporalOrder):
        whole = loss(objective, ClipBatch(frames, held))
        shares = [loss(objective, ClipBatch(frames[part], held, part)) for part in (slice(0, 6), slice(6, 13))]
        assert torch.allclose(sum(shares), whole, atol=1e-6)


def test_the_parts_of_a_batch_are_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    clips, actions = moving_bars(20)
    batches = ClipBatches(clips, actions, 7, 3)
    rows = epoch_batch(20, 7, 3, 1)
    whole = batches(1)
    assert torch.equal(whole.clips, torch.from_numpy(clips.gather(rows)))
    assert whole.cut == Cut.all_of(7)
    parts = []
    for part in (slice(0, 3), slice(3, 7)):
        monkeypatch.setattr(pretraining, "part_of", lambda count, part=part: part)
        parts.append(batches(1))
        assert parts[-1].actions.tolist() == actions[rows].tolist()  # every process knows all of them
    assert torch.equal(torch.cat([part.clips for part in parts]), whole.clips)


def test_a_loss_that_is_no_number_in_another_process_ends_this_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = several_pretrainings.plan(tmp_path, "order")
    monkeypatch.setattr(Team, "add_gradients", lambda *_: None)
    monkeypatch.setattr(objective_learner, "add_up", lambda shares: shares.add_(torch.tensor(float("nan"))))
    team = Team(1)
    team.count = 2
    accelerator = make_accelerator(plan.settings)
    learner = ObjectiveLearner(
        SmallBackbone().eval(),
        plan.objectives,
        learning_rate=1e-3,
        weight_decay=0.0,
        accelerator=accelerator,
        team=team,
    )
    with pytest.raises(DivergedError, match="step 7"):
        learner.step(plan.batches(7), 1e-3, 7)


@pytest.mark.slow
def test_two_processes_end_where_one_does_and_either_goes_on_where_the_other_stopped(tmp_path: Path) -> None:
    ways = one_and_two(tmp_path, "tests.train.several_pretrainings", train, VARIANTS, GOES_ON, STOPS)
    for name, one, two in ways:
        assert_same(one, two, name)
        if name not in (GOES_ON, STOPS):
            assert_each_seen_once(tmp_path / "one" / name, tmp_path / "two" / name)
    budget = torch.load(tmp_path / "two" / "budget.pt")
    assert budget == {"steps": [STEPS, 1], "kept": True}


def assert_same(one: dict[str, Any], two: dict[str, Any], name: str) -> None:
    assert one["steps"] == two["steps"], name
    # On these no loss depends: biases before a normalization, the mean they shift, and where all views lie.
    free = ("first.0.bias", "second.0.bias", "running_mean", "expander.0.bias", "expander.3.bias")
    apart = {k: float((v.double() - two["weights"][k].double()).abs().max()) for k, v in one["weights"].items()}
    apart = {key: value for key, value in apart.items() if not key.endswith(free)}
    assert max(apart.values()) < WEIGHTS, (name, max(apart, key=lambda key: apart[key]), max(apart.values()))
    assert len(one["rows"]) == len(two["rows"])
    for row, other in zip(one["rows"], two["rows"], strict=True):
        for key in set(row) - {"seconds"}:
            value = other[key] if isinstance(row[key], str) else pytest.approx(other[key], rel=1e-4)
            assert row[key] == value, (name, key)


def assert_each_seen_once(one: Path, two: Path) -> None:
    _, halves = seen(one, two)
    assert {(len(first), len(second)) for first, second in zip(*halves, strict=True)} == {(6, 7)}
