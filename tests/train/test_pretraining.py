"""Pretraining that goes on: its loss falls, it ends the same after any interruption, and a time budget holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small_backbone import SHAPE, SmallBackbone, moving_bars, same_weights

from newgameplus.errors import DivergedError, RunError
from newgameplus.recipe import TrainSettings
from newgameplus.train.pretraining import Pretraining, continue_pretraining, epoch_batch, steps_in
from newgameplus.train.selfsupervision import (
    Augmentation,
    ClipBatch,
    InverseDynamics,
    Objective,
    TemporalOrder,
    TwoViews,
)

CLIPS, ACTIONS = moving_bars(48)
SETTINGS = TrainSettings(threads=1, checkpoint_seconds=1e-9)


class Stopped(KeyboardInterrupt):
    """An interruption at a step of a test's choice."""


def backbone() -> SmallBackbone:
    torch.manual_seed(3)
    return SmallBackbone(dropout=0.2)


def pretraining(checkpoint: Path, *, steps: int = 12, stop: int = -1, **changed: Any) -> Pretraining:
    torch.manual_seed(4)
    generator = torch.Generator()
    augment = Augmentation(generator)
    labels = ("turn_left", "turn_right", "idle")
    objectives: dict[Objective, float] = {
        InverseDynamics(labels, 8, augment, generator): 1.0,
        TemporalOrder(SHAPE.frames, 8, augment, generator): 1.0,
        TwoViews(8, augment, width=16): 0.5,
    }

    def batches(step: int) -> ClipBatch:
        if step == stop:
            raise Stopped
        chosen = epoch_batch(48, 16, 0, step)
        actions = np.where(chosen % 4 == 0, -1, ACTIONS[chosen])  # of some clips nobody knows the action
        return ClipBatch(torch.from_numpy(CLIPS.gather(chosen)), torch.from_numpy(actions))

    values: dict[str, Any] = {"learning_rate": 3e-3, "settings": SETTINGS, "seed": 5, "average": 0.9, "every": 4}
    return Pretraining(objectives, generator, batches, steps, checkpoint=checkpoint, **values | changed)


def without_seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_the_loss_falls_and_the_average_is_kept(tmp_path: Path) -> None:
    network = backbone()
    seen: list[int] = []
    result = continue_pretraining(
        network, pretraining(tmp_path / "c", steps=100, learning_rate=1e-2), lambda rows: seen.append(rows[-1]["step"])
    )
    assert seen == list(range(4, 101, 4))
    losses = [row["train_loss"] for row in result.rows]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2
    assert set(result.rows[0]) >= {"loss_inverse-dynamics", "loss_temporal-order", "loss_two-views"}
    assert not network.training
    assert not same_weights(network, backbone())


@pytest.mark.parametrize("stop", [1, 5, 8, 11])
def test_an_interrupted_pretraining_ends_as_one_that_never_was(tmp_path: Path, stop: int) -> None:
    whole, parted = backbone(), backbone()
    expected = continue_pretraining(whole, pretraining(tmp_path / "whole"))
    with pytest.raises(Stopped):
        continue_pretraining(parted, pretraining(tmp_path / "parted", stop=stop))
    torch.manual_seed(99)
    fresh = SmallBackbone(dropout=0.2)  # what it was is in the checkpoint
    torch.rand(7)
    found = continue_pretraining(fresh, pretraining(tmp_path / "parted"))
    assert same_weights(fresh, whole)
    assert without_seconds(found.rows) == without_seconds(expected.rows)
    again = SmallBackbone(dropout=0.2)
    continue_pretraining(again, pretraining(tmp_path / "parted", stop=0))  # it is done: no step is taken
    assert same_weights(again, whole)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    continue_pretraining(backbone(), pretraining(tmp_path / "c", steps=1))
    with pytest.raises(RunError, match=r"does not fit|of another network"):
        continue_pretraining(SmallBackbone(width=4), pretraining(tmp_path / "c", steps=1))


def test_a_loss_that_is_no_number_says_what_to_lower(tmp_path: Path) -> None:
    with pytest.raises(DivergedError) as caught:
        continue_pretraining(backbone(), pretraining(tmp_path / "c", steps=60, learning_rate=1e30))
    assert "pretrain.learning_rate" in str(caught.value)


def test_a_time_budget_only_ever_lowers_the_steps_and_leaves_no_trace(tmp_path: Path) -> None:
    network = backbone()
    plan = pretraining(tmp_path / "c")
    heads = [{name: value.clone() for name, value in one.state_dict().items()} for one in plan.objectives]
    assert steps_in(network, plan, 1e-9) == 1
    assert steps_in(network, plan, 1e9) == plan.steps
    assert same_weights(network, backbone())
    for one, head in zip(plan.objectives, heads, strict=True):
        assert all(torch.equal(value, head[name]) for name, value in one.state_dict().items())
    assert not (tmp_path / "c").exists()


def test_every_clip_comes_once_a_round() -> None:
    first = np.concatenate([epoch_batch(48, 16, 7, step) for step in range(3)])
    assert sorted(first.tolist()) == list(range(48))
    assert sorted(epoch_batch(5, 16, 7, 3).tolist()) == list(range(5))
    assert (epoch_batch(48, 16, 7, 0) != epoch_batch(48, 16, 7, 3)).any()
