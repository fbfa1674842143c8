"""What goes wrong for users, end to end: a message with file and remedy, an honest exit code, and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.recordings import record

from newgameplus.errors import DataError, NewGamePlusError, RecipeError, RunError
from newgameplus.recipe import Recipe, parse_recipe
from newgameplus.run import Run
from newgameplus.verbs import check, fit, init, predict, resume

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "newgameplus.cli"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("bad") / "clips", videos=4, seed=0)


def make_recipe(clips: Path, **parts: dict[str, Any]) -> Recipe:
    content: dict[str, Any] = {
        "data": {"path": str(clips)},
        "train": {"epochs": 2, "batch_size": 16, "threads": 1},
        "evaluate": {"baselines": ["majority"], "resamples": 100},
    }
    for key, value in parts.items():
        content[key] = content.get(key, {}) | value
    return Recipe.model_validate(content)


@pytest.fixture(scope="module")
def finished(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(make_recipe(clips), tmp_path_factory.mktemp("run") / "run").folder


@pytest.fixture(scope="module")
def half(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run that was interrupted after its training, and the data that belong to it."""
    from newgameplus.scenarios.behavior import BehaviorScenario

    folder = tmp_path_factory.mktemp("half")
    data = folder / "data"
    shutil.copytree(clips, data)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BehaviorScenario, "evaluate", interrupt)
        with pytest.raises(KeyboardInterrupt) as caught:
            fit(make_recipe(data), folder / "run")
    assert f"ngp resume {folder / 'run'}" in caught.value.__notes__[0]
    return folder / "run", data


def ngp(*words: str | Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    found = subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, cwd=ROOT, timeout=240, check=False, **settings
    )
    assert "Traceback" not in found.stderr
    assert "unforeseen" not in found.stderr
    return found


# --- recordings and labels ---------------------------------------------------------------------------------------


def test_check_finds_spans_behind_the_end_and_says_what_skip_bad_leaves_out(clips: Path, tmp_path: Path) -> None:
    data = tmp_path / "clips"
    shutil.copytree(clips, data)
    (data / "video 3.mp4").write_bytes(b"")
    with (data / "labels.csv").open("a") as handle:
        handle.write("video 0.mp4,stands,100,101\n")
    with pytest.raises(NewGamePlusError) as caught:
        check(make_recipe(data))
    told = str(caught.value)
    assert "labels.csv:38: video 0.mp4#100.000-101.000: no frames in the span, the video ends at 4.5" in told
    assert "video 3.mp4: the file is empty" in told
    assert told.count("--skip-bad") == 2
    plan = check(make_recipe(data), skip_bad=True)
    assert len(plan["left_out"]) == 2
    assert sum(plan["classes"].values()) == 27


def test_one_class_names_the_data(clips: Path, tmp_path: Path) -> None:
    data = tmp_path / "one"
    shutil.copytree(clips, data)
    lines = (data / "labels.csv").read_text().splitlines()
    (data / "labels.csv").write_text("\n".join(line for line in lines if "goes" not in line) + "\n")
    with pytest.raises(DataError, match="nothing to tell apart") as caught:
        fit(make_recipe(data), tmp_path / "run")
    assert caught.value.source == str(data)
    assert not (tmp_path / "run").exists()


def test_labels_and_folders_with_strange_names_give_a_recipe_that_can_be_read(clips: Path, tmp_path: Path) -> None:
    data = tmp_path / 'Ünï cödé 日本 "q" \'s: #'
    shutil.copytree(clips, data)
    text = (data / "labels.csv").read_text().replace("stands", '"sta\nnds: # {x}"')
    (data / "labels.csv").write_text(text)
    recipe = parse_recipe(init("behavior", data))
    assert recipe.data.path == str(data)
    assert "sta\nnds: # {x}" in check(recipe)["classes"]


def test_init_leaves_out_bad_lines_on_demand(clips: Path, tmp_path: Path) -> None:
    data = tmp_path / "clips"
    shutil.copytree(clips, data)
    with (data / "labels.csv").open("a") as handle:
        handle.write("missing.mp4,stands,0,1\n")
    with pytest.raises(DataError, match=r"missing\.mp4"):
        init("behavior", data)
    assert parse_recipe(init("behavior", data, skip_bad=True)).data.skip_bad


def test_predict_tells_bad_files_before_it_works_and_leaves_them_out_on_demand(
    finished: Path, clips: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    shutil.copy(clips / "video 0.mp4", folder / "good.mp4")
    (folder / "bad.mp4").write_bytes(b"not a video")
    with pytest.raises(DataError, match=r"cannot be opened"):
        predict(finished, folder)
    answers = predict(finished, folder, skip_bad=True)
    assert {Path(answer.path).name for answer in answers} == {"good.mp4"}
    assert "bad.mp4" in capfd.readouterr().err
    (folder / "good.mp4").unlink()
    with pytest.raises(DataError, match=r"bad\.mp4|cannot be opened"):
        predict(finished, folder, skip_bad=True)
    assert len(predict(finished, clips / "video 0.mp4", window=1e6)) == 1
    with pytest.raises(DataError, match="windows in"):
        predict(finished, clips / "video 0.mp4", hop=1e-9)
    (folder / "picture.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match="neither a video"):
        predict(finished, folder / "picture.png")


# --- recipes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "train: {learning_rate: .nan}",
        "train: {learning_rate: 1e300}",
        "train: {weight_decay: .inf}",
        "train: {epochs: 1000000000000000000000}",
        "train: {epochs: true}",
        "evaluate: {resamples: 1000000000000}",
        "evaluate: {level: 0.9999999999999999}",
        "model: {start: []}",
        f"name: {'x' * 300}",
        "name: 2024-13-45",
        f"seed: {'1' * 6000}",
        "&a {data: *a}",
        "[" * 5000,
        "1: 2",
    ],
)
def test_recipes_out_of_all_measure_are_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text if text[0] in "&[" else f"data: {{path: x}}\n{text}", source="recipe.yaml")
    assert caught.value.problems[0].source.startswith("recipe.yaml")
    assert caught.value.problems[0].remedy
    assert len(caught.value.problems[0].message) < 300


@pytest.mark.parametrize(
    "content", [bytes(range(256)), b"", b'data: {path: "a\\0b"}', b'data: {path: "~nobody-here/x"}']
)
def test_files_that_are_no_recipes(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        check(tmp_path / "recipe.yaml")
    assert "recipe.yaml" in str(caught.value)
    assert "remedy" in str(caught.value)


# --- run folders -------------------------------------------------------------------------------------------------


def test_a_fit_that_never_began_leaves_no_folder_in_the_way(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        fit(make_recipe(tmp_path / "nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "made before").mkdir()
    with pytest.raises(DataError):
        fit(make_recipe(tmp_path / "nowhere"), tmp_path / "made before")
    assert not list((tmp_path / "made before").iterdir())


def test_what_a_fit_left_that_was_stopped_at_once_is_not_in_the_way(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    assert Run.create(make_recipe(clips), tmp_path / "run").folder == tmp_path / "run"
    with pytest.raises(RunError, match="nothing is overwritten"):
        Run.create(make_recipe(clips), tmp_path / "run")


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "list": lambda path: path.write_text("[1]"),
    "bytes": lambda path: path.write_bytes(bytes(range(256))),
    "gone": lambda path: path.unlink(),
}
NOTES = ("choice.json", "data.json", "fine-tuned.arm.json")


@pytest.mark.parametrize("how", [how for how in DAMAGE if how != "gone"])
@pytest.mark.parametrize("name", [*(f"checkpoints/{note}" for note in NOTES), "metrics.jsonl"])
def test_a_damaged_file_of_a_run_is_named_and_resume_works_without_it(
    half: tuple[Path, Path], tmp_path: Path, how: str, name: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(half[0], folder)
    DAMAGE[how](folder / name)
    if (name, how) == ("metrics.jsonl", "cut"):  # a whole number of lines, by chance or not, is all right
        (folder / name).write_text('{"arm"')
    with pytest.raises(RunError) as caught:
        resume(folder)
    assert caught.value.source == str(folder / name)
    assert caught.value.remedy.startswith("delete this file")
    (folder / name).unlink()
    resume(folder)
    assert (folder / "evaluation.json").is_file()


@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_damaged_model_is_written_again(half: tuple[Path, Path], tmp_path: Path, how: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(half[0], folder)
    whole = (folder / "model" / "model.safetensors").read_bytes()
    DAMAGE[how](folder / "model" / "model.safetensors")
    resume(folder)
    assert (folder / "model" / "model.safetensors").read_bytes() == whole


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["recipe.yaml", "evaluation.json", "predictions.json", "model/card.json"])
def test_damaged_files_of_a_finished_run(finished: Path, clips: Path, tmp_path: Path, how: str, name: str) -> None:
    from newgameplus.cli import app

    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    DAMAGE[how](folder / name)
    words = {
        "predictions.json": ["compare", str(finished), str(folder)],
        "model/card.json": ["predict", str(folder), str(clips / "video 0.mp4")],
    }
    from typer.testing import CliRunner

    found = CliRunner().invoke(app, [*words.get(name, ["report", str(folder)]), "--json"])
    if name == "recipe.yaml" and how == "cut":
        return  # half a recipe may be a recipe; resume notices, see below
    assert found.exit_code == 1
    answer = json.loads(found.stdout)
    assert str(folder) in json.dumps(answer["error"])
    assert answer["error"]["remedy"]
    assert "unforeseen" not in answer["error"]["message"]


def test_a_recipe_that_changed_is_refused(half: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(half[0], folder)
    text = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(text.replace("epochs: 2", "epochs: 3"))
    with pytest.raises(RunError, match=r"not the one that the run began with") as caught:
        resume(folder)
    assert "train.epochs: 2 then" in caught.value.remedy
    (folder / "recipe.yaml").write_text(text.replace("checkpoint_seconds: 60.0", "checkpoint_seconds: 5.0"))
    assert resume(folder).finished


def _swap_label(data: Path) -> None:
    lines = (data / "labels.csv").read_text().splitlines()
    lines[1] = lines[1].replace("goes_left", "stands") if "goes_left" in lines[1] else "video 0.mp4,goes_left,0.0,0.5"
    (data / "labels.csv").write_text("\n".join(lines) + "\n")


def _new_frames(data: Path) -> None:
    other = record(data.parent / "other", videos=1, seed=99)
    shutil.copy(other / "video 0.mp4", data / "video 0.mp4")


CHANGES = {
    "other frames": _new_frames,
    "is now": _swap_label,
    "cannot be read any more": lambda data: (data / "video 0.mp4").unlink(),
}


@pytest.mark.parametrize("told", CHANGES)
def test_a_run_goes_on_with_the_same_data_only(half: tuple[Path, Path], tmp_path: Path, told: str) -> None:
    folder, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(half[0], folder)
    shutil.copytree(half[1], data)
    text = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(text.replace(str(half[1]), str(data)))  # data may be moved
    CHANGES[told](data)
    with pytest.raises(RunError, match=told) as caught:
        resume(folder)
    assert "put the data back" in caught.value.remedy
    assert "video 0.mp4" in str(caught.value)
    shutil.rmtree(data)
    shutil.copytree(half[1], data)
    assert resume(folder).finished


# --- how a command ends ------------------------------------------------------------------------------------------


def test_a_reader_that_leaves_is_no_error_and_a_full_standard_output_is(finished: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    found = subprocess.run([*COMMAND, "report", str(finished)], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert found.returncode == 141
    assert found.stderr == b""
    with Path("/dev/full").open("w") as full:
        found = subprocess.run([*COMMAND, "report", str(finished)], stdout=full, stderr=subprocess.PIPE, check=False)
    assert found.returncode == 1
    assert b"No space left" in found.stderr
    assert b"Traceback" not in found.stderr


def test_misunderstood_words_are_json_too() -> None:
    found = ngp("fit", "--jsn", "--json")
    assert found.returncode == 2
    assert not json.loads(found.stdout)["ok"]
    assert found.stderr


def test_closed_streams_stop_nothing(finished: Path) -> None:
    script = f"exec {sys.executable} -m newgameplus.cli report {finished} >&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", script], cwd=ROOT, check=False).returncode == 0


def _wait_for(process: subprocess.Popen[bytes], log: Path, words: str) -> None:
    limit = time.monotonic() + 120
    while words not in (log.read_text() if log.exists() else ""):
        assert process.poll() is None, f"ended before {words!r}"
        assert time.monotonic() < limit
        time.sleep(0.01)


PHASES = {"run folder": "decoding", "clips:": "features", "1 choose": "training", "began training probe": "baselines"}

# Says when a piece of work begins and lets each step take a moment, so that a fast machine cannot outrun the signal.
SLOWLY = """
import sys, time
from newgameplus import cli, progress
begin, advance = progress.Task.__init__, progress.Task.advance
def told(self, title, *rest):
    begin(self, title, *rest)
    print("began", title, file=sys.stderr, flush=True)
def slow(self, *rest, **more):
    time.sleep(0.01)
    advance(self, *rest, **more)
progress.Task.__init__, progress.Task.advance = told, slow
cli.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_in_every_phase_end_calmly_and_resume_ends_the_same(
    clips: Path, tmp_path: Path, number: signal.Signals
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"data: {{path: '{clips}'}}\ntrain: {{epochs: 60, batch_size: 8, threads: 1}}\n"
        "evaluate: {baselines: [majority, random-forest, probe], resamples: 100}\n"
    )
    environment = os.environ | {"NGP_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    folder = tmp_path / "the run"
    for words, phase in PHASES.items():
        started = (folder / "recipe.yaml").exists()
        verb = ["resume", str(folder)] if started else ["fit", str(recipe), "--out", str(folder)]
        with (tmp_path / phase).open("wb") as out, (tmp_path / f"{phase}.log").open("wb") as log:
            command = [sys.executable, "-c", SLOWLY, *verb, "--json"]
            process = subprocess.Popen(command, stdout=out, stderr=log, env=environment)
            if words == "1 choose" and started and (folder / "checkpoints" / "choice.json").exists():
                words = "clips:"
            _wait_for(process, tmp_path / f"{phase}.log", words)
            process.send_signal(number)
            code = process.wait(120)
        told = (tmp_path / f"{phase}.log").read_text()
        assert code == 128 + number, told
        assert "Traceback" not in told
        assert f"remedy: go on where it stopped: ngp resume '{folder}'" in told
        assert not json.loads((tmp_path / phase).read_text())["ok"]
        assert not list(folder.rglob("*.partial"))
    found = ngp("resume", folder, env=environment)
    assert found.returncode == 0, found.stderr
    whole = fit(Recipe.model_validate(_loaded(recipe)), tmp_path / "whole")
    assert (whole.folder / "predictions.json").read_bytes() == (folder / "predictions.json").read_bytes()


def _loaded(recipe: Path) -> Any:
    import yaml

    return yaml.safe_load(recipe.read_text())


def test_ctrl_c_while_libraries_load(clips: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data: {{path: '{clips}'}}\n")
    script = (  # says when the work begins, which is when the libraries are imported
        "import sys, newgameplus.console as c, newgameplus.cli as cli\n"
        "before = cli.answer\n"
        "def answer(verb, as_json, work, hint=lambda: ''):\n"
        "    print('working', file=sys.stderr, flush=True)\n"
        "    before(verb, as_json, work, hint)\n"
        "cli.answer = answer\n"
        f"sys.argv = ['ngp', 'fit', {str(recipe)!r}, '--out', {str(tmp_path / 'run')!r}]\n"
        "cli.main()\n"
    )
    for delay in np.linspace(0.0, 0.6, 4):
        log.unlink(missing_ok=True)
        with log.open("wb") as stderr, subprocess.Popen([sys.executable, "-c", script], stderr=stderr) as process:
            _wait_for(process, log, "working")
            time.sleep(float(delay))
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130, log.read_text()
        assert "Traceback" not in log.read_text()
        assert log.read_text().count("error: interrupted") == 1
        shutil.rmtree(tmp_path / "run", ignore_errors=True)


def test_an_interruption_that_a_library_swallows_is_raised_again(tmp_path: Path) -> None:
    script = (
        "import sys, time, typer, newgameplus.console as console\n"
        "app = typer.Typer(pretty_exceptions_enable=False)\n"
        "def work():\n"
        "    try:\n        print('working', file=sys.stderr, flush=True)\n        time.sleep(60)\n"
        "    except BaseException:\n        time.sleep(60)\n"
        "    return {}, ''\n"
        "@app.command()\n"
        "def main() -> None:\n    console.answer('main', True, work)\n"
        "sys.argv = ['x']\n"
        "console.run(app)\n"
    )
    log = tmp_path / "log"
    with log.open("wb") as stderr, subprocess.Popen([sys.executable, "-c", script], stderr=stderr) as process:
        _wait_for(process, log, "working")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert "error: interrupted" in log.read_text()


# --- disks -------------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    mount = shutil.which("mount")
    words = [mount or "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if mount is None or os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets us mount nothing")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_for_the_run_is_told_and_resume_works_after_it_is_freed(clips: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        with pytest.raises(NewGamePlusError, match="No space left") as caught:
            fit(make_recipe(clips), disk / "run")
        assert "free some disk space" in str(caught.value)
        assert not list(disk.rglob("*.partial"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert resume(disk / "run").finished


def test_a_full_disk_for_the_cache(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", "size=200k") as disk:
        monkeypatch.setenv("NGP_CACHE", str(disk / "cache"))
        with pytest.raises(NewGamePlusError, match=r"NGP_CACHE|disk space"):
            fit(make_recipe(clips), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_read_only_places(clips: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", "size=64m") as disk:
        shutil.copytree(finished, disk / "run")
        shutil.copytree(clips, disk / "clips")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(NewGamePlusError, match="Read-only") as caught:
            fit(make_recipe(clips), disk / "new")
        assert "choose another folder" in str(caught.value)
        assert predict(disk / "run", disk / "clips" / "video 0.mp4")
        assert check(make_recipe(disk / "clips"))
        found = ngp("evaluate", disk / "run", disk / "clips", "--json")
        assert found.returncode == 1
        assert "read-only" in found.stdout
        monkeypatch.setenv("NGP_CACHE", str(disk / "cache"))
        with pytest.raises(NewGamePlusError, match="Read-only"):
            fit(make_recipe(clips), tmp_path / "run")


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_work_is_done_does_no_harm(kind: signal.Signals) -> None:
    script = (
        "import atexit, os\n"
        f"atexit.register(lambda: os.kill(os.getpid(), {int(kind)}))\n"
        "from newgameplus.console import run\n"
        "run(lambda standalone_mode: 0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
