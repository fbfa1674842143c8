"""The command line: results on standard output, progress on standard error, one JSON object, honest exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.recordings import record

ROOT = Path(__file__).parents[1]


def ngp(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "newgameplus.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("cli") / "my clips", videos=6, seed=0)


@pytest.fixture(scope="module")
def run(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli-run")
    found = ngp("init", "behavior", str(clips))
    assert found.returncode == 0, found.stderr
    recipe = folder / "recipe.yaml"
    content = yaml.safe_load(found.stdout)
    content["train"] |= {"epochs": 2, "batch_size": 16}
    recipe.write_text(yaml.safe_dump(content))
    found = ngp("fit", str(recipe), "--out", str(folder / "run"), "--json")
    assert found.returncode == 0, found.stderr
    answer = json.loads(found.stdout)
    assert answer["ok"]
    assert answer["result"]["evaluation"]["verdict"]["sentence"]
    assert "training fine-tuned" in found.stderr
    return folder / "run"


def test_help_names_every_verb_and_imports_nothing_heavy() -> None:
    found = ngp("--help")
    assert found.returncode == 0
    for verb in (
        "demo",
        "record",
        "init",
        "check",
        "fit",
        "resume",
        "evaluate",
        "predict",
        "compare",
        "doctor",
        "models",
    ):
        assert verb in found.stdout
    script = (
        "import sys, newgameplus.cli, newgameplus.verbs\n"
        "print([name for name in ('torch', 'av', 'sklearn', 'numpy', 'yaml') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_written_recipe_is_commented_and_passes_check(clips: Path, tmp_path: Path) -> None:
    found = ngp("init", "behavior", str(clips))
    assert "# Found: 54 labelled clips, 3 classes, 6 groups." in found.stdout
    assert found.stdout.count("#") > 15
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(found.stdout)
    found = ngp("check", str(recipe))
    assert found.returncode == 0, found.stderr
    assert "no problems found" in found.stdout
    assert "estimates" in found.stdout
    as_json = json.loads(ngp("check", str(recipe), "--json").stdout)
    assert as_json["result"]["classes"] == {"goes_left": 18, "goes_right": 18, "stands": 18}


def test_a_recipe_with_mistakes_fails_with_all_of_them(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: {pth: x}\ntrain: {epoch: 3}\nadapt: {strategy: lpft}\n")
    found = ngp("check", str(recipe), "--json")
    assert found.returncode == 1
    answer = json.loads(found.stdout)
    assert not answer["ok"]
    assert len(answer["error"]["problems"]) == 4
    assert all(problem["remedy"] for problem in answer["error"]["problems"])
    assert "Traceback" not in found.stderr
    assert "did you mean 'path'?" in found.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("fit", "no-recipe.yaml"),
        ("resume", "no-run"),
        ("evaluate", "no-run", "no-clips"),
        ("predict", "no-run", "no-video.mp4"),
        ("compare", "no-run", "no-other"),
        ("report", "no-run"),
        ("init", "behavior", "no-clips"),
        ("init", "dance", "no-clips"),
        ("check", "no-recipe.yaml"),
        ("record", "doom", "--map", "freedoom2:MAP99", "--out", "no-folder"),
    ],
)
def test_every_verb_fails_with_a_message_a_remedy_and_one_json_object(words: tuple[str, ...]) -> None:
    found = ngp(*words, "--json")
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    answer = json.loads(found.stdout)
    assert answer["verb"] == words[0]
    assert answer["error"]["message"]
    assert not (ROOT / "no-folder").exists()


def test_words_that_are_no_verb_exit_with_two() -> None:
    assert ngp("dance").returncode == 2
    assert ngp("fit").returncode == 2


def test_predict_prints_a_table_csv_or_json_lines(run: Path, clips: Path) -> None:
    video = str(clips / "video 0.mp4")
    table = ngp("predict", str(run), video)
    assert table.returncode == 0, table.stderr
    assert "probability" in table.stdout
    assert max(map(len, table.stdout.splitlines()[1:])) <= 80
    rows = ngp("predict", str(run), video, "--format", "csv").stdout.splitlines()
    assert rows[0] == "path,start,end,label,probability"
    lines = [json.loads(line) for line in ngp("predict", str(run), video, "--format", "jsonl").stdout.splitlines()]
    assert len(lines) == len(rows) - 1
    answers = json.loads(ngp("predict", str(run), video, "--json").stdout)["result"]["answers"]
    assert answers == lines


def test_report_evaluate_and_compare_fit_a_terminal(run: Path, clips: Path) -> None:
    for words in (("report", str(run)), ("evaluate", str(run), str(clips))):
        found = ngp(*words)
        assert found.returncode == 0, found.stderr
        assert "accuracy" in found.stdout
        assert max(len(line) for line in found.stdout.splitlines() if str(run.parent) not in line) <= 80
    found = ngp("compare", str(run), str(run))
    assert found.returncode == 1
    assert "Traceback" not in found.stderr


def test_models_and_version() -> None:
    listed = json.loads(ngp("models", "--json").stdout)["result"]["models"]
    assert {"bundled:doom-clips", "bundled:tiles"} <= {card["name"] for card in listed}
    assert json.loads(ngp("version", "--json").stdout)["result"]["version"]
