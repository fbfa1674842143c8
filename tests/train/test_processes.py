"""Two processes are one process with the same global batch: same data, same result, whatever stops them in between."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tests.recordings import record
from tests.train.launching import launch, seen
from tests.train.several_processes import CLIPS, GOES_ON, VARIANTS, train

from newgameplus.errors import TrainingError
from newgameplus.recipe import AgentRecipe
from newgameplus.scenarios import together
from newgameplus.train import processes, sharded
from newgameplus.train.team import Team, part_of


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Of all weights but those on which no answer depends: a bias before a normalization, and the mean it shifts."""
    free = ("first.0.bias", "second.0.bias", "running_mean")
    return max(float((one[k].double() - other[k].double()).abs().max()) for k in one if not k.endswith(free))


def test_parts_are_even_and_cover_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("newgameplus.train.team.process_count", lambda: 3)
    for count in (0, 2, 3, 7, 100):
        parts = []
        for rank in range(3):
            monkeypatch.setattr("newgameplus.train.team.process_rank", lambda rank=rank: rank)
            parts.append(list(range(count))[part_of(count)])
        assert [place for part in parts for place in part] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_what_is_drawn_does_not_depend_on_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def draws(generator: np.random.Generator, size: int) -> list[np.ndarray]:
        return [generator.random(size), generator.uniform(-1, 1, size=size), generator.integers(0, 9, size=size)]

    whole = draws(np.random.default_rng(1), 7)
    monkeypatch.setattr("newgameplus.train.team.process_count", lambda: 2)
    halves = []
    for rank in range(2):
        monkeypatch.setattr("newgameplus.train.team.process_rank", lambda rank=rank: rank)
        mine, generator = Team(8).part(np.arange(7), np.random.default_rng(1), [0])
        halves.append(draws(generator, len(mine)))
    for one, first, second in zip(whole, *halves, strict=True):
        assert np.array_equal(one, np.concatenate([first, second]))


def test_more_processes_than_clips_in_a_batch_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("newgameplus.train.team.process_count", lambda: 8)
    with pytest.raises(TrainingError, match="8 processes cannot share a batch of 4"):
        Team(4)


def test_facts_that_differ_are_named_with_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "gather", lambda facts: [facts, {"seed": "1", "train.steps": "5"}])
    with pytest.raises(TrainingError) as caught:
        processes.check_same({"seed": "0", "train.steps": "5"}, "the recipe", "mend it")
    assert "seed: 0 in process 0, 1 in process 1" in str(caught.value)
    assert "train.steps" not in str(caught.value)


def test_one_process_needs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.distributed", None)
    assert processes.gather(3) == [3]
    assert processes.from_main("x") == "x"
    assert processes.agree(lambda: 5) == 5
    processes.barrier()


@pytest.mark.slow
def test_two_processes_end_where_one_does_and_go_on_where_one_stopped(tmp_path: Path) -> None:
    one: dict[str, dict[str, torch.Tensor]] = {}
    for name in VARIANTS:
        (tmp_path / "one" / name).mkdir(parents=True)
        one[name] = train(tmp_path / "one" / name, name)
    stopped = tmp_path / "two" / GOES_ON
    stopped.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, GOES_ON, stop_at=2)
    told = launch("-m", "tests.train.several_processes", str(tmp_path / "two"), *VARIANTS)
    assert told.returncode == 0, told.stderr
    for name, weights in one.items():
        assert largest_difference(weights, torch.load(tmp_path / "two" / name / "weights.pt")) < 1e-5, name
        if name != GOES_ON:
            assert_each_seen_once(tmp_path / "one" / name, tmp_path / "two" / name)


def assert_each_seen_once(one: Path, two: Path) -> None:
    alone, _ = seen(one, two)
    epochs = len(alone) * 8 // (CLIPS + 5)
    counts = Counter(position for line in alone for position in line)
    assert set(counts.values()) == {epochs}
    assert len(counts) == CLIPS


@pytest.mark.slow
def test_sharded_weights_end_where_one_process_does(tmp_path: Path) -> None:
    names = ["lp-ft, augmented, balanced", GOES_ON]
    one: dict[str, dict[str, torch.Tensor]] = {}
    for name in names:
        (tmp_path / "one" / name).mkdir(parents=True)
        one[name] = train(tmp_path / "one" / name, name)
    stopped = tmp_path / "two" / GOES_ON
    stopped.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, GOES_ON, stop_at=2)
    told = launch("-m", "tests.train.several_processes", str(tmp_path / "two"), *names, ACCELERATE_USE_FSDP="true")
    assert told.returncode == 0, told.stderr
    for name, weights in one.items():
        assert largest_difference(weights, torch.load(tmp_path / "two" / name / "weights.pt")) < 1e-5, name


def test_what_cannot_be_sharded_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = VARIANTS["gradual, range test"][0].model_copy(update={"precision": "fp16"})
    sharded.check_sharding(settings, [], keeps=True)
    monkeypatch.setattr(sharded, "process_count", lambda: 2)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(TrainingError) as caught:
        sharded.check_sharding(settings, [], keeps=True)
    assert [problem.source for problem in caught.value.problems] == [
        "train.learning_rate: find",
        "train.precision: fp16",
        "adapt.after",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["false", "true"])
def test_one_process_goes_on_where_two_stopped(tmp_path: Path, sharding: str) -> None:
    (tmp_path / "whole").mkdir()
    whole = train(tmp_path / "whole", GOES_ON)
    told = launch(
        "-m", "tests.train.several_processes", str(tmp_path), GOES_ON, STOP_AT="2", ACCELERATE_USE_FSDP=sharding
    )
    assert told.returncode != 0
    assert (tmp_path / GOES_ON / "checkpoint").is_file()
    assert largest_difference(whole, train(tmp_path / GOES_ON, GOES_ON)) < 1e-5


@pytest.mark.slow
def test_processes_with_other_data_stop_with_the_reason(tmp_path: Path) -> None:
    """The second process finds one clip with another label: both stop at once, and say which clip it is."""
    recipe = {
        "name": "two",
        "data": {"path": str(record(tmp_path / "clips", 6, 0))},
        "train": {"epochs": 1, "batch_size": 8},
        "evaluate": {"baselines": ["majority"], "resamples": 100},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    other = tmp_path / "other"
    other.mkdir()
    for path in (tmp_path / "clips").iterdir():
        (other / path.name).symlink_to(path)
    labels = (tmp_path / "clips" / "labels.csv").read_text().splitlines()
    wrong = labels[1].replace("goes_left", "x").replace("goes_right", "goes_left").replace("stands", "goes_right")
    (other / "labels.csv").unlink()
    (other / "labels.csv").write_text("\n".join([labels[0], wrong.replace("x", "stands"), *labels[2:]]))
    script = tmp_path / "fit.py"
    script.write_text(
        "import os, sys, yaml\n"
        "from newgameplus.recipe import Recipe\nfrom newgameplus.console import answer\n"
        "from newgameplus.verbs import fit\n"
        f"content = yaml.safe_load(open({str(tmp_path / 'recipe.yaml')!r}))\n"
        f"content['data']['path'] = {str(other)!r} if os.environ['RANK'] == '1' else content['data']['path']\n"
        f"answer('fit', False, lambda: (fit(Recipe.model_validate(content), {str(tmp_path / 'run')!r}), ''))\n"
    )
    told = launch(str(script))
    assert told.returncode != 0
    assert "the processes do not have the same data" in told.stderr
    assert "label" in told.stderr
    assert "process 1" in told.stderr
    assert not (tmp_path / "run" / "model").exists()


def test_a_scenario_that_one_process_trains_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "process_count", lambda: 2)
    monkeypatch.setattr(together, "start", lambda: None)
    recipe = AgentRecipe.model_validate({"scenario": "agent", "environment": {"id": "CartPole-v1"}})
    with pytest.raises(TrainingError, match="2 processes were started, and the agent scenario trains in one"):
        together.same_recipe(lambda: recipe)
