"""The loop learns, resumes exactly from any step, and explains when it cannot go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small_backbone import SmallBackbone, moving_bars, same_weights

from newgameplus.adapt import ClipClassifier, plan_phases
from newgameplus.adapt.answers import classify
from newgameplus.errors import DivergedError, RunError, TrainingError
from newgameplus.pretrained.catalog import load_pretrained
from newgameplus.recipe import TrainSettings
from newgameplus.tensors import save_tensors
from newgameplus.train import loop as loop_module
from newgameplus.train.device import threads_for
from newgameplus.train.examples import ClipExamples
from newgameplus.train.loop import TrainingResult, phase_epochs, train_classifier
from newgameplus.train.state import Position

FAST = TrainSettings(epochs=12, batch_size=8, learning_rate=0.01, head_learning_rate=0.03, augment=False)


def examples(count: int = 45, seed: int = 0, augment: bool = False) -> ClipExamples:
    clips, targets = moving_bars(count, seed)
    return ClipExamples(clips, np.arange(count), targets, augment=augment)


def train(
    checkpoint: Path,
    settings: TrainSettings = FAST,
    strategy: str = "lp-ft",
    seed: int = 0,
    dropout: float = 0.2,
    validation: bool = True,
    **more: Any,
) -> tuple[ClipClassifier, TrainingResult]:
    torch.manual_seed(seed)
    classifier = ClipClassifier(SmallBackbone(dropout=dropout), ["left", "right", "still"])
    result = train_classifier(
        classifier,
        plan_phases(strategy, 2, 0.8),
        examples(augment=settings.augment),
        examples(15, 1) if validation else None,
        settings,
        seed=seed,
        arm="fine-tuned",
        checkpoint=checkpoint,
        **more,
    )
    return classifier, result


def accuracy(classifier: ClipClassifier) -> float:
    test = examples(60, 2)
    return float((classify(classifier, test.batches(64)).argmax(axis=1) == test.targets).mean())


@pytest.mark.parametrize("strategy", ["full", "lp-ft", "gradual", "lora", "l2-sp", "surgical-first"])
def test_it_learns_far_above_chance(tmp_path: Path, strategy: str) -> None:
    settings = FAST.model_copy(update={"epochs": 40})
    classifier, _ = train(tmp_path / "c", settings, strategy, dropout=0.0)
    assert accuracy(classifier) > 0.8


def test_a_probe_learns_only_the_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    untouched = SmallBackbone(dropout=0.2)
    classifier, result = train(tmp_path / "c", strategy="probe")
    assert same_weights(classifier.backbone, untouched)
    assert result.rows[-1]["train_loss"] < result.rows[0]["train_loss"]


VARIANTS = {
    "lp-ft": (FAST, "lp-ft"),
    "gradual with an average": (FAST.model_copy(update={"ema": 0.9}), "gradual"),
    "augmented, sgd": (FAST.model_copy(update={"augment": True, "optimizer": "sgd"}), "full"),
    "lora": (FAST, "lora"),
    "lora with an average": (FAST.model_copy(update={"ema": 0.9, "learning_rate": "find"}), "lora"),
    "l2-sp": (FAST, "l2-sp"),
    "range test": (FAST.model_copy(update={"learning_rate": "find"}), "lp-ft"),
    "no validation": (FAST.model_copy(update={"patience": None}), "lp-ft"),
}


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("stop_at", [1, 9, 30, 50])
def test_an_interrupted_training_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str, stop_at: int
) -> None:
    settings, strategy = VARIANTS[variant]
    # A checkpoint after every step, so that the stop falls in the middle of epochs too.
    settings = settings.model_copy(update={"checkpoint_seconds": 1e-9})
    validation = variant != "no validation"
    whole, result = train(tmp_path / "whole", settings, strategy, validation=validation)
    original, calls = loop_module._Training._step, 0

    def stopping(self: Any, *arguments: Any) -> float:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(loop_module._Training, "_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "part", settings, strategy, validation=validation)
    monkeypatch.setattr(loop_module._Training, "_step", original)
    torch.manual_seed(999)  # whatever state the new process is in must not matter
    resumed, again = train(tmp_path / "part", settings, strategy, validation=validation)
    assert same_weights(whole, resumed)
    strip = [{key: value for key, value in row.items() if key != "seconds"} for row in result.rows]
    assert strip == [{key: value for key, value in row.items() if key != "seconds"} for row in again.rows]
    assert result.steps == again.steps


CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.train.test_loop import KILLED, train
classifier, _ = train(Path(sys.argv[1]), KILLED)
torch.save(classifier.state_dict(), sys.argv[2])
"""
KILLED = FAST.model_copy(update={"epochs": 80, "checkpoint_seconds": 0.02, "patience": None})


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_killed_at_random_moments_it_ends_with_the_same_weights(tmp_path: Path, kind: signal.Signals) -> None:
    whole, _ = train(tmp_path / "whole", KILLED)
    generator = np.random.default_rng(int(kind))
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", CHILD, str(tmp_path / "part"), str(tmp_path / "weights.pt")]
    kills = 0
    for _ in range(60):
        child = subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": "."})
        deadline = time.monotonic() + 60
        existed = (tmp_path / "part").exists()
        before = (tmp_path / "part").stat().st_mtime_ns if existed else 0
        while child.poll() is None and kills < 6 and time.monotonic() < deadline:
            # Wait for the first checkpoint of this try, so that every try gets further; then kill at random.
            if (tmp_path / "part").exists() and (tmp_path / "part").stat().st_mtime_ns != before:
                time.sleep(float(generator.uniform(0, 0.3)))
                child.send_signal(kind)
                kills += 1
                break
            time.sleep(0.005)
        child.wait(200)
        if (tmp_path / "weights.pt").exists():
            break
    state = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert kills >= 1  # a fast machine may need no second
    assert all(torch.equal(state[name], value) for name, value in whole.state_dict().items())
    # A process that is killed while it writes leaves a hidden part of a file, never a damaged one.
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "part",
        "weights.pt",
        "whole",
    ]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    one, _ = train(tmp_path / "a")
    same, _ = train(tmp_path / "b")
    other, _ = train(tmp_path / "c", seed=1)
    assert same_weights(one, same)
    assert not same_weights(one, other)


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"epochs": 60, "patience": 2, "learning_rate": 0.3})
    _, result = train(tmp_path / "c", settings, "full")
    assert len(result.rows) < 60
    losses = [row["validation_loss"] for row in result.rows]
    # The weights before the first epoch are a candidate too.
    best = int(np.argmin(losses)) if min(losses) < 1.09 else -1
    assert len(losses) - 1 - best == 2


def test_a_good_start_is_not_made_worse(tmp_path: Path) -> None:
    """With a rate that only does harm, the weights from before the first epoch come back."""
    settings = FAST.model_copy(update={"learning_rate": 5.0, "head_learning_rate": 5.0, "gradient_clip": None})
    good, _ = train(tmp_path / "good", FAST.model_copy(update={"epochs": 40}), "full", dropout=0.0)
    before = {name: value.clone() for name, value in good.state_dict().items()}
    harm = settings.model_copy(update={"patience": 3, "optimizer": "sgd"})
    train_classifier(
        good,
        plan_phases("full", 2, 1.0),
        examples(),
        examples(15, 1),
        harm,
        seed=0,
        arm="fine-tuned",
        checkpoint=tmp_path / "harm",
        features={},
    )
    assert all(torch.equal(value, before[name]) for name, value in good.state_dict().items())


def test_rows_say_where_training_stands(tmp_path: Path) -> None:
    seen: list[int] = []
    _, result = train(tmp_path / "c", on_epoch=lambda rows: seen.append(len(rows)))
    assert seen == list(range(1, len(result.rows) + 1))
    assert {row["phase"] for row in result.rows} == {"head", "all"}
    steps = [row["step"] for row in result.rows]
    assert steps == sorted(steps)
    assert result.steps == steps[-1]


def test_infinite_loss_is_explained(tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"learning_rate": 1e30, "gradient_clip": None, "warmup": 0.0})
    with pytest.raises(DivergedError, match=r"lower train\.learning_rate") as caught:
        train(tmp_path / "c", settings, "full")
    assert "step" in str(caught.value)


def test_a_damaged_or_foreign_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"not a checkpoint")
    with pytest.raises(RunError, match="cannot read the weights"):
        train(tmp_path / "c")
    save_tensors(tmp_path / "d", {"random": torch.zeros(1)}, {"position": {"never": 1}})
    with pytest.raises(RunError, match="does not fit"):
        train(tmp_path / "d")
    save_tensors(
        tmp_path / "e", {"random": torch.zeros(1), "module.other": torch.zeros(2)}, {"position": asdict(Position())}
    )
    with pytest.raises(
        RunError, match=r"of another network: \d+ weights differ in name or shape \(.*, \.\.\.\)"
    ) as caught:
        train(tmp_path / "e")
    assert len(str(caught.value)) < 400


def test_epochs_of_phases() -> None:
    phases = plan_phases("lp-ft", 2, 1.0)
    assert phase_epochs(phases, 100, TrainSettings(epochs=10)) == [3, 7]
    assert sum(phase_epochs(phases, 200, TrainSettings(steps=420))) == 60
    assert sum(phase_epochs(phases, 10, TrainSettings(steps=10_000))) == 80
    assert sum(phase_epochs(phases, 100_000, TrainSettings(steps=10))) == 4


def test_devices_and_threads(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="no CUDA device"):
            train(tmp_path / "c", FAST.model_copy(update={"device": "cuda"}))
        with pytest.raises(TrainingError, match="fp16 needs"):
            train(tmp_path / "c", FAST.model_copy(update={"precision": "fp16"}))
    assert threads_for(SmallBackbone(), TrainSettings()) == 1
    assert threads_for(SmallBackbone(), TrainSettings(threads=3)) == 3
    gru = ClipClassifier(load_pretrained("sequence:gru", options={"channels": 20}).backbone, ("a", "b"))
    assert threads_for(gru, TrainSettings()) == threads_for(gru.backbone, TrainSettings()) == 1
    assert threads_for(torch.nn.Linear(1000, 1000), TrainSettings(), decoding=True) == 1


def test_bf16_trains(tmp_path: Path) -> None:
    settings = FAST.model_copy(update={"precision": "bf16", "epochs": 30})
    classifier, _ = train(tmp_path / "c", settings, "full", dropout=0.0)
    assert accuracy(classifier) > 0.6
