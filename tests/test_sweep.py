"""A sweep checks everything first, fits every combination on Ray, goes on after failures, chooses by validation."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from tests.recordings import record
from typer.testing import CliRunner

from newgameplus import sweep as sweep_module
from newgameplus.cli import app
from newgameplus.errors import MissingExtraError, RecipeError, RunError
from newgameplus.evaluate.sweep_report import summarize_sweep, sweep_table, write_sweep_report
from newgameplus.recipe import Recipe
from newgameplus.scenarios.behavior import BehaviorScenario
from newgameplus.sweep import read_over
from newgameplus.verbs import sweep


def written(folder: Path, **more: Any) -> Path:
    content = {
        "name": "small",
        "data": {"path": "clips", "validation": 0.2},
        "train": {"epochs": 1, "batch_size": 16},
        "adapt": {"strategy": "probe"},
        "evaluate": {"baselines": ["majority"], "resamples": 100},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content | more))
    return path


def test_values_are_read_as_yaml() -> None:
    assert read_over(["train.epochs=1,2", "seed=0", "model.start=[a, b],c"]) == {
        "train.epochs": [1, 2],
        "seed": [0],
        "model.start": [["a", "b"], "c"],
    }


@pytest.mark.parametrize("text", ["train.epochs", "=3", "train.epochs=", "train.epochs=[1"])
def test_what_names_no_values_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="names no values"):
        read_over([text])


def test_every_mistake_is_told_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "_import_ray", lambda: pytest.fail("nothing may run"))
    recipe = written(tmp_path)
    over = ["train.learing_rate=0.1", "train.epochs=1,0", "adapt.strategy=full,lp-tf", "seed.more=1"]
    with pytest.raises(RecipeError) as caught:
        sweep(recipe, over, out=tmp_path / "out")
    told = str(caught.value)
    assert len(caught.value.problems) == 4
    assert "learning_rate" in told
    assert "'lp-ft'" in told
    assert "--over train.epochs=0" in told
    assert "seed.more names nothing" in told
    assert not (tmp_path / "out").exists()


def test_without_ray_the_command_to_install_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError) as caught:
        sweep(written(tmp_path), ["seed=0,1"], out=tmp_path / "out")
    assert 'pip install "newgameplus[sweep]"' in str(caught.value)


def test_the_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    recipe = written(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("mine")
    with pytest.raises(RunError, match="holds something already"):
        sweep(recipe, ["seed=0,1"], out=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["diary.txt"]


def row(seed: int, rate: float, value: float, validation: float | None, status: str = "finished") -> dict[str, Any]:
    metric = {"value": value, "low": value - 0.1, "high": value + 0.1} if status == "finished" else None
    settings = {"train.learning_rate": rate, "seed": seed}
    name = f"{rate}-{seed}"
    return {
        "name": name,
        "settings": settings,
        "metric": metric,
        "validation": validation,
        "status": status,
        "error": "",
    }


def test_validation_chooses_and_not_the_test() -> None:
    rows = [row(seed, 0.1, 0.9 + seed / 100, 0.5) for seed in range(3)]
    rows += [row(seed, 0.2, 0.6 + seed / 100, 0.7) for seed in range(3)]
    report = summarize_sweep(rows, "behavior")
    assert report["best"] == "learning_rate 0.2"
    first, best = report["settings"]
    assert best["metric"]["value"] == pytest.approx(0.61)
    assert first["difference"]["value"] == pytest.approx(0.3)
    assert first["difference"]["low"] == pytest.approx(0.3)  # paired: every seed differs by the same
    assert first["paired"] == 3
    assert best["difference"] is None


def test_without_validation_none_is_named_best(tmp_path: Path) -> None:
    rows = [row(0, 0.1, 0.9, None), row(0, 0.2, 0.6, None), row(0, 0.3, 0.0, None, "failed")]
    report = summarize_sweep(rows, "behavior")
    assert report["best"] is None
    found = {"report": report, "runs": rows, "comparison": "<b>"}
    assert "no validation data" in sweep_table(found)
    assert all(len(line) <= 88 for line in sweep_table(found).splitlines())
    write_sweep_report(tmp_path / "report.html", found, title="a <sweep>")
    page = (tmp_path / "report.html").read_text()
    assert "a &lt;sweep&gt;" in page
    assert "&lt;b&gt;" in page


class RayStandIn:
    """Runs each task when it is waited for, and is interrupted in the midst of the second."""

    class exceptions:  # noqa: N801
        class RayError(Exception):
            pass

    def __init__(self) -> None:
        self.stop_in: str | None = "001-"
        self.begun: list[str] = []
        self.cancelled: list[str] = []

    def init(self, **_: Any) -> None:
        pass

    shutdown = init

    def remote(self, **_: Any) -> Any:
        return lambda work: SimpleNamespace(remote=lambda recipe, folder: Task(work, recipe, folder))

    def wait(self, left: list[Task], num_returns: int) -> tuple[list[Task], list[Task]]:
        self.begun.append(left[0].name)
        if self.stop_in and left[0].name.startswith(self.stop_in):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(BehaviorScenario, "evaluate", interrupt)
                left[0].run()
        left[0].run()
        return left[:num_returns], left[num_returns:]

    def get(self, task: Task) -> str:
        return task.outcome

    def cancel(self, task: Task, force: bool) -> None:
        self.cancelled.append(task.name)


class Task:
    """A fit that waits to be run."""

    def __init__(self, work: Any, recipe: str, folder: str) -> None:
        self.work, self.recipe, self.folder, self.name, self.outcome = work, recipe, folder, Path(folder).name, ""

    def run(self) -> None:
        self.outcome = self.work(self.recipe, self.folder)


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_sweep_goes_on_where_it_was_and_ends_with_one_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = RayStandIn()
    monkeypatch.setattr(sweep_module, "_import_ray", lambda: ray)
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "clips", 4, 0, spans=6)
    written(tmp_path, data={"path": "clips", "validation": 0.3, "test": 0.3})
    words = ["sweep", "recipe.yaml", "--over", "seed=0,1", "--workers", "1"]
    stopped = CliRunner().invoke(app, words)
    assert stopped.exit_code == 130, stopped.stderr
    assert "error: interrupted" in stopped.stderr
    (out,) = (tmp_path / "runs").iterdir()
    assert f"go on with the same command and --out {out}" in stopped.stderr
    assert (ray.begun, ray.cancelled) == (["000-seed=0", "001-seed=1"], ["001-seed=1"])
    assert not (out / "sweep.json").exists()
    first = (out / "runs" / "000-seed=0" / "evaluation.json").stat().st_mtime_ns
    weights = (out / "runs" / "001-seed=1" / "recipe.yaml").stat().st_mtime_ns

    ray.stop_in, ray.begun = None, []
    done = CliRunner().invoke(app, [*words, "--out", str(out.relative_to(tmp_path)), "--json"])
    assert done.exit_code == 0, done.stderr
    assert ray.begun == ["001-seed=1"]
    assert (out / "runs" / "000-seed=0" / "evaluation.json").stat().st_mtime_ns == first
    assert (out / "runs" / "001-seed=1" / "recipe.yaml").stat().st_mtime_ns == weights  # resumed, not begun anew
    result = json.loads(done.stdout)["result"]
    assert [run["status"] for run in result["runs"]] == ["finished"] * 2
    assert result["report"]["settings"][0]["seeds"] == [0, 1]
    assert (out / "report.html").is_file()


@pytest.mark.slow
def test_a_sweep_that_is_told_to_stop_ends_calmly_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """Ray has handlers of its own, by which SIGTERM would abort the process."""
    record(tmp_path / "clips", 6, 0)
    written(tmp_path, adapt={"strategy": "full"})
    words = ["sweep", "recipe.yaml", "--over", "train.epochs=1,40", "--workers", "1", "--out", "out"]
    command = [sys.executable, "-m", "newgameplus", *words]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    log = tmp_path / "log.txt"
    with log.open("w") as told:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=told, stderr=told)
        first = tmp_path / "out" / "runs" / "000-epochs=1" / "evaluation.json"
        second = tmp_path / "out" / "runs" / "001-epochs=40"
        while not (first.is_file() and (second / "recipe.yaml").is_file()):
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143, log.read_text()
    assert "told to stop" in log.read_text()
    assert "go on with the same command" in log.read_text()
    assert "***" not in log.read_text()
    assert not (second / "evaluation.json").exists()
    before = first.stat().st_mtime_ns
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "1 of them finished before" in done.stderr
    assert first.stat().st_mtime_ns == before
    runs = json.loads((tmp_path / "out" / "sweep.json").read_text())["runs"]
    assert [run["status"] for run in runs] == ["finished", "finished"]


@pytest.mark.slow
def test_fits_run_on_ray_failures_stop_no_other_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    record(tmp_path / "clips", 6, 0)
    recipe, out = written(tmp_path), tmp_path / "out"
    # A test on a group that does not exist passes the schema and fails when the data are read.
    over = {"data.test_groups": [["video 0"], ["nobody"]], "seed": [0]}
    found = sweep(recipe, over, out=out, workers=1)
    assert [run["status"] for run in found["runs"]] == ["finished", "failed"]
    assert "nobody" in found["runs"][1]["error"]
    assert json.loads((out / "sweep.json").read_text())["runs"] == json.loads(json.dumps(found["runs"]))
    assert (out / "report.html").is_file()
    again = out / "runs" / found["runs"][0]["name"] / "evaluation.json"
    before = again.stat().st_mtime_ns
    monkeypatch.setattr(sweep_module, "_run_all", lambda *arguments: {})
    second = sweep(recipe, over, out=out, workers=1)
    assert again.stat().st_mtime_ns == before
    assert [run["status"] for run in second["runs"]] == ["finished", "not finished"]
    with pytest.raises(RunError, match="another sweep"):
        sweep(recipe, {"seed": [5]}, out=out)
    assert Recipe.model_validate(yaml.safe_load(json.loads((out / "plan.json").read_text())["recipe"])).name == "small"
