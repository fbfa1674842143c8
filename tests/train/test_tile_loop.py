"""The loop for tile models learns, resumes exactly from any step, and explains when it cannot go on."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small_backbone import same_weights
from tests.small_tiles import FACTS, MEASURES, example_of, save_gpt2, small_model, stripes

from newgameplus.adapt.tile_strategies import plan_tile_phases
from newgameplus.adapt.vocabulary import change_vocabulary
from newgameplus.errors import DivergedError, RunError, StorageError
from newgameplus.pretrained.tile_model import TileModel, load_start
from newgameplus.recipe_scene import SceneTrainSettings
from newgameplus.train import tile_loop
from newgameplus.train.levels import LevelBook, LevelExample, collate
from newgameplus.train.loop import TrainingResult
from newgameplus.train.tile_loop import TileTraining, level_bits, train_tiles, window_loss

FAST = SceneTrainSettings(steps=24, batch_size=4, check_every=5, patience=None, threads=1, learning_rate=0.01)


class StoppedError(Exception):
    """Stands for a process that ends in the middle."""


def book(count: int = 6, seed: int = 0) -> LevelBook:
    return LevelBook([example_of(level) for level in stripes(count, seed)], MEASURES, 24)


def training(
    checkpoint: Path, settings: SceneTrainSettings = FAST, strategy: str = "full", **more: Any
) -> TileTraining:
    given: dict[str, Any] = {"validation": book(3, 1), "seed": 0, "rate": settings.learning_rate} | more
    phases = plan_tile_phases(strategy, 2, l2_sp=more.pop("l2_sp", 0.1))
    given.pop("l2_sp", None)
    return TileTraining("test", phases, book(), settings=settings, checkpoint=checkpoint, **given)


def train(
    checkpoint: Path, settings: SceneTrainSettings = FAST, strategy: str = "full", *, on_check: Any = None, **more: Any
) -> tuple[TileModel, TrainingResult]:
    model = small_model()
    return model, train_tiles(model.network, training(checkpoint, settings, strategy, **more), on_check)


def bits_a_tile(model: TileModel, levels: LevelBook) -> float:
    found = level_bits(model.network, levels).sum(axis=0)
    return float(found[0] / found[1])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["full", "lp-ft"])
def test_it_learns_a_language_of_stripes(tmp_path: Path, strategy: str) -> None:
    settings = FAST.model_copy(update={"steps": 150, "check_every": 50, "batch_size": 8})
    before = bits_a_tile(small_model(), book(8, 2))
    model, _ = train(tmp_path / "c", settings, strategy)
    after = bits_a_tile(model, book(8, 2))
    # Which column comes first is a coin toss for 48 tiles; all else follows.
    assert after < 0.1 < 1.0 < before


def test_a_few_steps_beat_the_start_and_a_probe_moves_only_the_vocabulary(tmp_path: Path) -> None:
    start = small_model()
    own = {id(parameter) for parameter in start.network.vocabulary()}  # type: ignore[operator]
    names = {name for name, parameter in start.network.named_parameters() if id(parameter) in own}
    for ema in (None, 0.9):
        settings = FAST.model_copy(update={"ema": ema})
        model, _ = train(tmp_path / str(ema), settings, "probe")
        before = start.network.state_dict()
        moved = {name for name, value in model.network.state_dict().items() if not torch.equal(value, before[name])}
        assert moved == names
        assert bits_a_tile(model, book(8, 2)) < bits_a_tile(start, book(8, 2)) - 0.3


def test_lp_ft_moves_the_vocabulary_first_and_then_all(tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    model = small_model()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}

    def look(rows: list[dict[str, Any]]) -> None:
        seen.append({name: value.clone() for name, value in model.network.state_dict().items()})

    result = train_tiles(model.network, training(tmp_path / "c", strategy="lp-ft"), look)
    phases = [row["phase"] for row in result.rows]
    assert phases == sorted(phases, reverse=True)
    assert set(phases) == {"vocabulary", "full"}
    first = [not torch.equal(seen[0][name], value) for name, value in before.items() if name.startswith("layers.")]
    last = [not torch.equal(seen[-1][name], value) for name, value in before.items() if name.startswith("layers.")]
    assert not any(first)
    assert all(last)
    assert result.steps == 24
    assert not model.network.training


def test_blocks_move_the_less_the_farther_they_are_from_the_output(tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"steps": 1, "warmup": 0.0, "gradient_clip": None, "weight_decay": 0.0})
    start = small_model()
    moved: dict[float, list[float]] = {}
    for decay in (1.0, 0.1):
        model, result = train(tmp_path / str(decay), settings, layer_decay=decay)
        moved[decay] = [
            max(float((a - b).detach().abs().max()) for a, b in zip(one.parameters(), other.parameters(), strict=True))
            for one, other in zip(model.network.blocks(), start.network.blocks(), strict=True)  # type: ignore[operator]
        ]
        assert result.rows[0]["learning_rate"] == pytest.approx(settings.learning_rate)
    assert moved[0.1][1] == pytest.approx(moved[1.0][1])
    assert moved[0.1][0] == pytest.approx(0.1 * moved[1.0][0], rel=0.01)  # a first step of Adam is as long as its rate


def test_the_seed_decides(tmp_path: Path) -> None:
    one, _ = train(tmp_path / "a")
    torch.manual_seed(1234)  # what happened before must not matter
    torch.rand(3)
    same, _ = train(tmp_path / "b")
    other, _ = train(tmp_path / "c", seed=1)
    assert same_weights(one.network, same.network)
    assert not same_weights(one.network, other.network)


def patient(steps: int = 60) -> SceneTrainSettings:
    """Settings under which a training that does harm is stopped early."""
    return FAST.model_copy(update={"patience": 2, "steps": steps, "learning_rate": 0.5, "gradient_clip": None})


Wholes = dict[str, tuple[TileModel, TrainingResult]]
VARIANTS: dict[str, tuple[SceneTrainSettings, str]] = {
    "full": (FAST, "full"),
    "two phases with patience": (FAST.model_copy(update={"patience": 3}), "lp-ft"),
    "average": (FAST.model_copy(update={"ema": 0.9}), "full"),
    "two phases with average and patience": (FAST.model_copy(update={"ema": 0.9, "patience": 3}), "lp-ft"),
    "stopped early": (patient(), "lp-ft"),
    "held": (FAST, "l2-sp"),
    "block after block": (FAST, "gradual"),
}


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> Wholes:
    """The trainings of all variants, never interrupted."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("wholes")
    return {name: train(folder / name, *variant) for name, variant in VARIANTS.items()}


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("checks", [1, 2, 4])
def test_interrupted_after_a_check_it_ends_with_the_same_weights(
    tmp_path: Path, wholes: Wholes, variant: str, checks: int
) -> None:
    settings, strategy = VARIANTS[variant]
    whole, result = wholes[variant]

    def stop(rows: list[dict[str, Any]]) -> None:
        if len(rows) == checks:
            raise StoppedError

    assert len(result.rows) >= checks
    with pytest.raises(StoppedError):
        train(tmp_path / "part", settings, strategy, on_check=stop)
    torch.manual_seed(999)
    resumed, again = train(tmp_path / "part", settings, strategy)
    assert same_weights(whole.network, resumed.network)
    assert (result.rows, result.steps) == (again.rows, again.steps)


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    original, calls = tile_loop._Loop._step, 0

    def stopping(self: Any, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == step:
            raise StoppedError
        original(self, *arguments)

    monkeypatch.setattr(tile_loop._Loop, "_step", stopping)


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("step", [3, 6, 14])
def test_interrupted_at_any_step_it_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wholes: Wholes, variant: str, step: int
) -> None:
    """With a checkpoint after every step; before step 6 there is nothing but the end of the first phase of lp-ft."""
    settings, strategy = VARIANTS[variant]
    settings = settings.model_copy(update={"checkpoint_seconds": 1e-9})
    whole, result = wholes[variant]
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(StoppedError):
            train(tmp_path / "part", settings, strategy)
    torch.manual_seed(999)
    resumed, again = train(tmp_path / "part", settings, strategy)
    assert same_weights(whole.network, resumed.network)
    assert (result.rows, result.steps) == (again.rows, again.steps)


@pytest.mark.parametrize("step", [4, 6, 12])
def test_a_network_with_dropout_resumes_exactly_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    pytest.importorskip("transformers")
    folder = save_gpt2(tmp_path / "gpt2")  # its dropout is 0.1

    def run(checkpoint: Path) -> TileModel:
        torch.manual_seed(5)
        model, _ = change_vocabulary(load_start(f"transformers:{folder}"), FACTS, MEASURES)
        train_tiles(model.network, training(checkpoint, settings, "lp-ft"))
        return model

    settings = FAST.model_copy(update={"checkpoint_seconds": 1e-9})
    whole = run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(StoppedError):
            run(tmp_path / "part")
    assert same_weights(whole.network, run(tmp_path / "part").network)


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    model, result = train(tmp_path / "c")
    told: list[int] = []
    again, same = train(tmp_path / "c", on_check=lambda rows: told.append(len(rows)))
    assert same_weights(model.network, again.network)
    assert (same.rows, same.steps) == (result.rows, result.steps)
    assert told == [len(result.rows)]


def test_the_best_weights_come_back(tmp_path: Path) -> None:
    """A rate that does harm: the weights from before the first step, or from the best check, are kept."""
    model, result = train(tmp_path / "c", patient())
    losses = [bits_a_tile(small_model(), book(3, 1)), *(row["validation_loss"] for row in result.rows)]
    assert bits_a_tile(model, book(3, 1)) == pytest.approx(min(losses), abs=1e-6)
    assert len(losses) - 1 - int(np.argmin(losses)) == 2  # its patience
    assert result.steps < 60


def test_a_start_that_only_gets_worse_is_kept_as_it_was(tmp_path: Path) -> None:
    good, _ = train(tmp_path / "good", FAST.model_copy(update={"steps": 60, "check_every": 60}))
    before = {name: value.clone() for name, value in good.network.state_dict().items()}
    train_tiles(good.network, training(tmp_path / "harm", patient()))
    assert all(torch.equal(value, before[name]) for name, value in good.network.state_dict().items())


def test_with_an_average_the_average_comes_back(tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"ema": 0.99, "schedule": "constant"})
    averaged, _ = train(tmp_path / "a", settings, validation=None)
    last, _ = train(tmp_path / "b", settings.model_copy(update={"ema": None}), validation=None)
    assert not same_weights(averaged.network, last.network)


def test_rows_say_where_training_stands(tmp_path: Path) -> None:
    seen: list[int] = []
    settings = FAST.model_copy(update={"patience": 9})
    _, result = train(tmp_path / "c", settings, "lp-ft", on_check=lambda rows: seen.append(len(rows)))
    assert seen == list(range(1, len(result.rows) + 1))
    assert [row["step"] for row in result.rows] == [5, 10, 15, 20, 24]
    assert all(math.isfinite(row["train_loss"]) and math.isfinite(row["validation_loss"]) for row in result.rows)
    assert {row["arm"] for row in result.rows} == {"test"}
    assert result.seconds > 0


def test_without_patience_or_validation_it_trains_to_the_end(tmp_path: Path) -> None:
    for number, (patience, validation) in enumerate([(None, book(2)), (1, None)]):
        settings = patient(30).model_copy(update={"patience": patience})
        _, result = train(tmp_path / str(number), settings, validation=validation)
        assert result.steps == 30
        assert "validation_loss" not in result.rows[-1]


def test_a_rate_far_too_high_is_explained(tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"learning_rate": 1e9, "gradient_clip": None, "warmup": 0.0})
    with pytest.raises(DivergedError, match="learning_rate") as caught:
        train(tmp_path / "c", settings)
    assert "step" in str(caught.value)
    assert "lower" in str(caught.value)


def test_weights_that_are_no_numbers_are_explained(tmp_path: Path) -> None:
    model = small_model()
    with torch.no_grad():
        model.network.bias[0] = float("nan")  # type: ignore[index, operator, union-attr]
    for patience in (None, 2):
        settings = FAST.model_copy(update={"patience": patience})
        with pytest.raises(DivergedError, match="loss is nan at step 0"):
            train_tiles(model.network, training(tmp_path / "c", settings))


def test_a_damaged_or_foreign_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"not a checkpoint")
    with pytest.raises(RunError, match="cannot read the weights"):
        train(tmp_path / "c")
    other = small_model(tiles=FACTS[:2])
    train_tiles(other.network, replace(training(tmp_path / "d"), train=empty_book(), validation=None))
    with pytest.raises(RunError, match="of another network"):
        train(tmp_path / "d")


def empty_book() -> LevelBook:
    """Levels of one tile."""
    scan = np.zeros((4, 4), np.int32)
    return LevelBook([LevelExample(scan, {}, np.full((len(MEASURES), 5), np.nan))], MEASURES, 24)


def test_a_checkpoint_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        train(tmp_path / "file" / "c")


def test_bits_are_those_of_the_answers_and_do_not_depend_on_company() -> None:
    model, levels = small_model(), book(4)
    together = level_bits(model.network, levels)
    assert together.shape == (4, 2)
    assert together[:, 1].tolist() == [48.0] * 4
    for number, example in enumerate(levels.examples):
        alone = level_bits(model.network, LevelBook([example], MEASURES, levels.context))
        assert alone[0] == pytest.approx(together[number], rel=1e-4)
    wide = LevelBook(levels.examples, MEASURES, 10_000)
    tokens, targets, _, _ = collate([windows[0] for windows in wide.whole()])
    with torch.no_grad():
        shares = model.network(tokens).log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    assert level_bits(model.network, wide)[:, 0] == pytest.approx((-shares.sum(1) / math.log(2)).tolist(), rel=1e-4)


def test_tiles_of_other_games_cost_nothing_and_get_no_smoothing() -> None:
    model = small_model()
    example = example_of(stripes(1)[0])
    masked = replace(example, allowed=np.array([True, True, False, False]))
    batches = [collate(LevelBook([one], MEASURES, 100).whole()[0]) for one in (example, masked)]
    with torch.no_grad():
        free, _ = window_loss(model.network, batches[0], None)
        bound, _ = window_loss(model.network, batches[1], None)
        smooth, tiles = window_loss(model.network, batches[1], None, 0.1)
        free_smooth, _ = window_loss(model.network, batches[0], None, 0.1)
        two = model.network(batches[0][0])[..., :2].log_softmax(-1)
    assert bound < free
    right = -two.gather(-1, batches[0][1][..., None]).sum()
    assert float(bound) == pytest.approx(float(right), rel=1e-4)
    assert float(smooth) == pytest.approx(float(0.9 * right - 0.1 * two.mean(-1).sum()), rel=1e-4)
    assert tiles == 48
    assert float(free_smooth) > float(smooth)


def test_meanings_alone_are_learnt_where_the_own_is_hidden(tmp_path: Path) -> None:
    """In pretraining part of the windows hides what tiles are besides their meanings: nothing of it moves then."""
    model, _ = train(tmp_path / "c", FAST.model_copy(update={"weight_decay": 0.0}), hide_own=1.0)
    start = small_model().network
    assert torch.equal(model.network.own, start.own)  # type: ignore[arg-type]
    assert torch.equal(model.network.bias, start.bias)  # type: ignore[arg-type]
    assert not torch.equal(model.network.meant, start.meant)  # type: ignore[arg-type]


def test_l2_sp_holds_the_body_and_lets_the_vocabulary_go(tmp_path: Path) -> None:
    start = dict(small_model().network.named_parameters())

    def moved(strength: float) -> tuple[float, float]:
        network = train(tmp_path / f"{strength}", strategy="l2-sp", l2_sp=strength)[0].network
        own = {id(weight) for weight in network.vocabulary()}  # type: ignore[operator]
        far = {True: 0.0, False: 0.0}
        for name, weight in network.named_parameters():
            far[id(weight) in own] += float((weight.detach() - start[name].detach()).square().sum())
        return far[False], far[True]

    (free, _), (held, new) = moved(0.0), moved(1000.0)
    assert held < 0.2 * free
    assert new > 0.01
