"""Run folders: never overwritten, never half written, one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from newgameplus.errors import RunError, StorageError
from newgameplus.files import atomic_path, write_text
from newgameplus.recipe import Recipe
from newgameplus.run import Run


def make(folder: Path) -> Run:
    return Run.create(Recipe.model_validate({"data": {"path": "clips"}, "runs": str(folder), "name": "x"}))


def test_create_and_open(tmp_path: Path) -> None:
    run = make(tmp_path)
    again = Run.open(run.folder)
    assert again.recipe == run.recipe
    assert again.environment["packages"]["torch"]
    assert not again.finished


def test_a_second_fit_into_a_run_is_refused_and_loses_nothing(tmp_path: Path) -> None:
    run = make(tmp_path)
    before = (run.folder / "recipe.yaml").read_bytes()
    with pytest.raises(RunError, match="ngp resume"):
        make(tmp_path)
    assert (run.folder / "recipe.yaml").read_bytes() == before


def test_a_folder_of_something_else_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(RunError, match=r"no recipe\.yaml"):
        Run.open(tmp_path)
    recipe = Recipe.model_validate({"data": {"path": "clips"}})
    with pytest.raises(RunError, match="nothing is overwritten"):
        Run.create(recipe, tmp_path)
    assert (tmp_path / "holiday.txt").read_text() == "mine"


def test_only_one_process_works_on_a_run(tmp_path: Path) -> None:
    run = make(tmp_path)
    script = (
        "from newgameplus.run import Run\n"
        "from newgameplus.errors import RunError\n"
        f"run = Run.open({str(run.folder)!r})\n"
        "try:\n    run.working().__enter__()\n    print('held')\n"
        "except RunError as error:\n    print('refused')\n"
    )
    with run.working():
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "refused"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "held"


def test_metrics_of_an_arm_are_replaced_whole(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.write_metrics("a", [{"arm": "a", "epoch": 1}])
    run.write_metrics("b", [{"arm": "b", "epoch": 1}])
    run.write_metrics("a", [{"arm": "a", "epoch": 1}, {"arm": "a", "epoch": 2}])
    assert [(row["arm"], row["epoch"]) for row in run.metrics()] == [("b", 1), ("a", 1), ("a", 2)]


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_where_a_folder_is_needed_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        write_text(tmp_path / "file" / "below.txt", "x")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    script = (
        "import resource, signal\n"
        "from pathlib import Path\n"
        "from newgameplus.files import write_bytes\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"write_bytes(Path({str(path)!r}), b'x' * 100000)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "StorageError: " in found.stderr
    assert "ulimit -f" in found.stderr
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]
