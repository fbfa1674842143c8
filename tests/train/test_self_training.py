"""Self-training: rounds on verified levels learn what the verifier wants, in the right shares, and resume exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small_backbone import same_weights
from tests.small_tiles import MEASURES, example_of, small_model, stripes

from newgameplus.adapt.tile_strategies import plan_tile_phases
from newgameplus.games.scenes import Level
from newgameplus.generate.sampler import Sampler
from newgameplus.pretrained.tile_model import TileModel
from newgameplus.recipe_scene import SceneTrainSettings
from newgameplus.train import tile_loop
from newgameplus.train.levels import LevelBook, LevelExample
from newgameplus.train.loop import TrainingResult
from newgameplus.train.self_training import SelfTraining, even_out, mix_levels, round_checkpoint, self_train
from newgameplus.train.tile_loop import TileTraining, train_tiles

FAST = SceneTrainSettings(steps=8, batch_size=4, check_every=4, patience=None, threads=1, learning_rate=0.01)


class StoppedError(Exception):
    """Stands for a process that ends in the middle."""


def book(levels: Sequence[Level]) -> LevelBook:
    return LevelBook([example_of(level) for level in levels], MEASURES, 24)


def training(checkpoint: Path, settings: SceneTrainSettings = FAST, strategy: str = "full") -> TileTraining:
    maps, held = book(stripes(6)), book(stripes(3, 1))
    phases = plan_tile_phases(strategy)
    return TileTraining("test", phases, maps, held, settings, 0, checkpoint, settings.learning_rate)


def of_the_model(model: TileModel) -> list[LevelExample]:
    """Levels that depend on every weight, as levels that a model makes do."""
    seed = int(sum(float(value.double().abs().sum()) for value in model.network.state_dict().values()) * 1e6)
    return [example_of(level) for level in stripes(2, seed)]


def run(
    checkpoint: Path, strategy: str = "lp-ft", rounds: int = 2, on_check: Any = None
) -> tuple[TileModel, TrainingResult, list[int]]:
    model, asked = small_model(), []
    kept: list[LevelExample] = []

    def gather(number: int) -> list[LevelExample]:
        asked.append(number)
        kept.extend(of_the_model(model))
        return kept

    plan = SelfTraining(rounds, 6, 0.5, gather)
    settings = FAST.model_copy(update={"checkpoint_seconds": 1e-9, "patience": 9 if strategy == "lp-ft" else None})
    result = self_train(
        lambda part, told: train_tiles(model.network, part, told), training(checkpoint, settings, strategy), plan,
        on_check,
    )  # fmt: skip
    return model, result, asked


def test_rounds_follow_the_training_and_their_rows_go_on(tmp_path: Path) -> None:
    seen: list[int] = []
    _, result, asked = run(tmp_path / "c", on_check=lambda rows: seen.append(len(rows)))
    assert asked == [1, 2]
    assert result.steps == 8 + 2 * 6
    assert [row["step"] for row in result.rows] == sorted(row["step"] for row in result.rows)
    assert result.rows[-1]["step"] == result.steps
    assert {row["arm"] for row in result.rows} == {"test"}
    assert list(dict.fromkeys(row["phase"] for row in result.rows)) == ["vocabulary", "full", "round 1", "round 2"]
    assert "validation_loss" not in result.rows[-1]  # held-out maps do not decide when a round ends
    assert seen == sorted(seen)
    assert seen[-1] == len(result.rows)


def test_no_rounds_are_the_training_alone(tmp_path: Path) -> None:
    model, result, asked = run(tmp_path / "a", rounds=0)
    alone = small_model()
    settings = FAST.model_copy(update={"patience": 9})
    train_tiles(alone.network, training(tmp_path / "b", settings, "lp-ft"))
    assert asked == []
    assert result.steps == 8
    assert same_weights(model.network, alone.network)


def test_a_probe_stays_a_probe_in_every_round(tmp_path: Path) -> None:
    model, _, _ = run(tmp_path / "c", "probe")
    start = small_model()
    own = {id(parameter) for parameter in start.network.vocabulary()}  # type: ignore[operator]
    fixed = {name: value for name, value in start.network.named_parameters() if id(value) not in own}
    after = dict(model.network.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in fixed.items())


@pytest.mark.parametrize("step", [3, 8, 9, 12, 14, 15, 18])
def test_interrupted_at_any_step_of_any_round_it_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    whole, result, _ = run(tmp_path / "whole")
    original, calls = tile_loop._Loop._step, 0

    def stopping(self: Any, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == step:
            raise StoppedError
        original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(tile_loop._Loop, "_step", stopping)
        with pytest.raises(StoppedError):
            run(tmp_path / "part")
    torch.manual_seed(999)
    resumed, again, _ = run(tmp_path / "part")
    assert same_weights(whole.network, resumed.network)
    assert (result.rows, result.steps) == (again.rows, again.steps)


def test_a_finished_self_training_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, result, _ = run(tmp_path / "c")
    monkeypatch.setattr(tile_loop._Loop, "_step", lambda *_: pytest.fail("trained again"))
    again, same, _ = run(tmp_path / "c")
    assert same_weights(model.network, again.network)
    assert (same.rows, same.steps) == (result.rows, result.steps)


def test_a_round_without_verified_levels_learns_from_the_maps(tmp_path: Path) -> None:
    model = small_model()
    plan = SelfTraining(1, 6, 0.5, lambda number: [])
    parts: list[TileTraining] = []

    def teach(part: TileTraining, told: Any) -> TrainingResult:
        parts.append(part)
        return train_tiles(model.network, part, told)

    result = self_train(teach, training(tmp_path / "c"), plan)
    assert result.steps == 14
    assert parts[1].train is parts[0].train
    assert parts[1].checkpoint == round_checkpoint(parts[0].checkpoint, 1) != parts[0].checkpoint


@pytest.mark.parametrize(("verified", "share", "expected"), [(6, 0.5, 0.5), (100, 0.25, 0.25), (2, 0.5, 0.25)])
def test_verified_levels_get_their_share_and_no_more_than_maps(verified: int, share: float, expected: float) -> None:
    maps = book([*stripes(3), *stripes(3, columns=24)])
    mixed = mix_levels(maps, [example_of(level) for level in stripes(verified)], share)
    weights = np.array([example.weight for example in mixed.examples])
    assert weights.sum() == pytest.approx(1.0)
    assert weights[6:].sum() == pytest.approx(expected)
    assert weights[3] == pytest.approx(2 * weights[0])  # a map of twice the columns is seen twice as often, as before
    assert mixed.measures == maps.measures
    assert mix_levels(maps, [], share) is maps


def test_levels_as_hard_as_the_maps_count_for_more_than_many_easy_ones() -> None:
    maps = np.arange(1.0, 9.0)
    easy, hard = [1.0] * 9, [8.0]
    factors = even_out(maps, np.array([*easy, *hard, np.nan]))
    assert factors[:9] == pytest.approx(0.25 / 0.9)
    assert factors[9] == pytest.approx(0.25 / 0.1)
    assert factors[10] == 1.0
    assert even_out(maps, np.array([1.0] * 99 + [8.0]))[-1] == 4.0  # a single one is not learned by heart
    assert even_out(maps, maps) == pytest.approx(1.0)


@pytest.mark.parametrize("maps", [[], [np.nan], [3.0, 3.0]])
def test_maps_that_tell_nothing_change_little(maps: list[float]) -> None:
    assert even_out(np.array(maps), np.array([3.0, 3.0])) == pytest.approx(1.0)
    assert len(even_out(np.array(maps), np.zeros(0))) == 0


def follows(level: Level) -> bool:
    """The rule of the toy game: solid and empty columns by turns, to the end."""
    line = level.tiles[0]
    return bool((level.tiles == line).all() and (line[1:] != line[:-1]).all() and set(line.tolist()) <= {0, 1})


@pytest.mark.slow
def test_what_the_verifier_passes_is_made_more_often_afterwards(tmp_path: Path) -> None:
    """Maps of which many break the rule: self-training makes levels that keep it far more often."""
    rng = np.random.default_rng(5)
    maps = stripes(60, 0)
    for number, level in enumerate(maps[:45]):
        tiles = level.tiles.copy()
        tiles[rng.integers(4, size=2), rng.integers(12, size=2)] = 2
        maps[number] = level.with_tiles(tiles)
    model = small_model()
    pool: list[Level] = []

    def sample(seed: int, count: int = 120) -> list[Level]:
        sampler = Sampler(model, maps[0])
        drafts = [sampler.draft(4, 12, (seed, number)) for number in range(count)]
        sampler.grow(drafts, 12)
        return [sampler.level(draft) for draft in drafts]

    def passed(levels: Sequence[Level]) -> float:
        return float(np.mean([follows(level) for level in levels]))

    shares = []

    def gather(number: int) -> list[LevelExample]:
        made = sample(number)
        shares.append(passed(made))
        pool.extend(level for level in made if follows(level))
        return [example_of(level) for level in pool]

    settings = FAST.model_copy(update={"steps": 150, "check_every": 50, "batch_size": 8})
    part = replace(training(tmp_path / "c", settings), train=book(maps), validation=None)
    self_train(lambda one, told: train_tiles(model.network, one, told), part, SelfTraining(4, 100, 0.5, gather))
    assert 0.05 < shares[0] < 0.5
    assert passed(sample(99, 200)) > shares[0] + 0.12  # .30 and .55 when this was written
