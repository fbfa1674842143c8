"""The verbs that make and check levels on the command line: what they refuse, and what they print."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from newgameplus.cli import app
from newgameplus.cli_scenes import read_generate_options
from newgameplus.cli_text import generation_text
from newgameplus.errors import NewGamePlusError, RunError
from newgameplus.recipe import Recipe, SceneRecipe
from newgameplus.run import Run
from newgameplus.verbs import compare, evaluate, generate, predict

ROOT = Path(__file__).parents[1]


def ngp(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "newgameplus.cli", *map(str, words)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)
    assert "Traceback" not in found.stderr
    assert "unforeseen" not in found.stderr
    return found


@pytest.fixture
def scene_run(tmp_path: Path) -> Run:
    return Run.create(SceneRecipe.model_validate({"data": {"path": "/maps"}}), tmp_path / "scene-run")


@pytest.fixture
def behavior_run(tmp_path: Path) -> Run:
    return Run.create(Recipe.model_validate({"data": {"path": "/clips"}}), tmp_path / "behavior-run")


# --- options of generate -----------------------------------------------------------------------------------------


def test_options_of_generate_are_read() -> None:
    read = read_generate_options(
        count=20, size="14X150", wanted=["enemies=5", "gaps = 2..4", "tile:==3", "density=0.25"], budget=7, top_p=1.0
    )
    assert read["size"] == "14x150"
    assert read["requests"] == {"enemies": "5", "gaps": "2..4", "tile:=": "3", "density": "0.25"}
    assert read["budget"] == 7
    edit = Path("maps/03.tmx")
    assert read_generate_options(edit=edit, region="40,0, 20,14")["region"] == (40, 0, 20, 14)
    assert read_generate_options(edit=edit, extend=("right", "50"))["extend"] == ("right", 50)


@pytest.mark.parametrize(
    ("options", "value", "remedy"),
    [
        ({"size": "14by150"}, "14by150", "14x150"),
        ({"size": "0x9"}, "0x9", "14x150"),
        ({"wanted": ["enemies"]}, "enemies", "enemies=5"),
        ({"wanted": ["=5"]}, "=5", "enemies=5"),
        ({"wanted": ["enemies="]}, "enemies=", "enemies=5"),
        ({"wanted": ["gaps=1", "gaps=2"]}, "gaps", "keep one"),
        ({"edit": Path("m.tmx"), "region": "40,0,20"}, "40,0,20", "COLUMN,ROW,WIDTH,HEIGHT"),
        ({"edit": Path("m.tmx"), "region": "40,0,0,14"}, "0 x 14", "COLUMN,ROW,WIDTH,HEIGHT"),
        ({"edit": Path("m.tmx"), "region": "a,b,c,d"}, "a,b,c,d", "COLUMN,ROW,WIDTH,HEIGHT"),
        ({"edit": Path("m.tmx"), "region": f"0,0,1,{'9' * 30}"}, "999", "COLUMN,ROW,WIDTH,HEIGHT"),
        ({"edit": Path("m.tmx"), "extend": ("rigth", "5")}, "rigth", "right 50"),
        ({"edit": Path("m.tmx"), "extend": ("right", "0")}, "'0'", "right 50"),
        ({"edit": Path("m.tmx"), "extend": ("right", "many")}, "many", "right 50"),
        ({"region": "1,1,2,2"}, "1,1,2,2", "--edit"),
        ({"extend": ("up", "3")}, "up 3", "--edit"),
        ({"edit": Path("m.tmx")}, "m.tmx", "--region"),
        ({"edit": Path("m.tmx"), "region": "1,1,2,2", "extend": ("up", "3")}, "one way at a time", "leave one"),
        ({"edit": Path("m.tmx"), "region": "1,1,2,2", "size": "5x5"}, "5x5", "extend"),
        ({"count": 0}, "0", "1 to"),
        ({"seed": -1}, "-1", "4294967295"),
        ({"temperature": -0.5}, "-0.5", "0 to 100"),
        ({"temperature": float("nan")}, "nan", "0 to 100"),
        ({"top_p": 0.0}, "0.0", "above 0"),
        ({"top_p": 1.5}, "1.5", "at most 1"),
        ({"budget": 0}, "0", "1 or more"),
        ({"structures": "some"}, "some", "auto or none"),
    ],
)
def test_options_that_cannot_be_used_name_the_value_and_the_remedy(
    options: dict[str, Any], value: str, remedy: str
) -> None:
    with pytest.raises(NewGamePlusError) as caught:
        read_generate_options(**options)
    assert any(
        value in problem.message + problem.source and remedy in problem.remedy for problem in caught.value.problems
    )


def test_all_wrong_options_come_at_once_with_exit_code_1(tmp_path: Path) -> None:
    words = ("--size", "14by150", "--set", "enemies", "--region", "1,2", "--extend", "rigth", "x", "-n", "0", "--json")
    found = ngp("generate", tmp_path / "no-run", *words)
    assert found.returncode == 1
    problems = json.loads(found.stdout)["error"]["problems"]
    assert len(problems) >= 6
    assert all(problem["remedy"] and problem["source"] for problem in problems)


@pytest.mark.parametrize(
    "words",
    [
        ("generate",),
        ("generate", "run", "-n", "many"),
        ("generate", "run", "--extend", "right"),
        ("check-scenes",),
        ("check-scenes", "maps", "--nodes", "many"),
        ("init", "scene"),
    ],
)
def test_command_lines_that_cannot_be_understood_exit_with_2(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, list(words)).exit_code == 2


# --- verbs and scenarios -----------------------------------------------------------------------------------------


def test_verbs_of_one_scenario_refuse_runs_of_the_other(scene_run: Run, behavior_run: Run) -> None:
    with pytest.raises(RunError, match="run of the behavior scenario") as caught:
        generate(behavior_run.folder)
    assert f"ngp predict {behavior_run.folder}" in caught.value.remedy
    with pytest.raises(RunError, match="run of the scene scenario") as caught:
        predict(scene_run.folder, "video.mp4")
    assert f"ngp generate {scene_run.folder}" in caught.value.remedy
    with pytest.raises(RunError, match="different scenarios"):
        compare([scene_run.folder, behavior_run.folder])
    with pytest.raises(RunError, match="none are named"):
        evaluate(behavior_run.folder)
    with pytest.raises(RunError, match=r"--samples: not known to runs of the behavior"):
        evaluate(behavior_run.folder, "clips", samples=3)
    with pytest.raises(RunError, match=r"--labels: not known to runs of the scene"):
        evaluate(scene_run.folder, labels="labels.csv")
    with pytest.raises(RunError, match="0 levels"):
        evaluate(scene_run.folder, samples=0)


def test_unfinished_scene_runs_say_what_to_do(scene_run: Run) -> None:
    for verb in ("generate", "evaluate"):
        found = CliRunner().invoke(app, [verb, str(scene_run.folder), "--json"])
        assert found.exit_code == 1
        assert json.loads(found.stdout)["error"]["remedy"]
    with pytest.raises(RunError, match="not finished") as caught:
        compare([scene_run.folder, scene_run.folder])
    assert "ngp resume" in caught.value.remedy


def test_a_damaged_evaluation_of_a_scene_run_is_told(scene_run: Run) -> None:
    (scene_run.folder / "evaluation.json").write_text('{"scenario": "scene"}')
    found = CliRunner().invoke(app, ["report", str(scene_run.folder)])
    assert found.exit_code == 1
    assert "evaluation.json" in found.output
    other = Run.create(scene_run.recipe, scene_run.folder.with_name("other"))
    (other.folder / "evaluation.json").write_text('{"scenario": "scene", "arms": 3}')
    with pytest.raises(RunError, match="damaged"):
        compare([scene_run.folder, other.folder])


# --- check-scenes ------------------------------------------------------------------------------------------------


def test_check_scenes_prints_a_table_and_fails_if_a_level_cannot_be_played(tmp_path: Path) -> None:
    (tmp_path / "good.xsb").write_text("########\n#@ $ . #\n########\n")
    found = ngp("check-scenes", tmp_path / "good.xsb")
    assert found.returncode == 0, found.stderr
    assert "good" in found.stdout
    assert "playable" in found.stdout
    (tmp_path / "walled with a rather long name indeed.xsb").write_text("########\n#@#$ . #\n########\n")
    found = ngp("check-scenes", tmp_path, "--out", tmp_path / "out", "--rules", "sokoban")
    assert found.returncode == 1
    assert "1 playable, 1 unplayable" in found.stdout
    assert max(len(line) for line in found.stdout.splitlines() if str(tmp_path) not in line) <= 80
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    as_json = ngp("check-scenes", tmp_path, "--json")
    assert as_json.returncode == 1
    assert json.loads(as_json.stdout)["result"]["counts"]["unplayable"] == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("nowhere",), "no such file"),
        (("maps", "--rules", "sokobn"), "did you mean 'sokoban'"),
        (("maps", "--rules", "nowhere.yaml"), "nowhere.yaml"),
        (("maps", "--nodes", "0"), "give 1 or more"),
        (("maps", "--format", "tiledd"), "did you mean 'tiled'"),
        (("maps", "--out", "maps"), "nothing is overwritten"),
    ],
)
def test_check_scenes_says_what_is_wrong(words: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "one.xsb").write_text("#####\n#@$.#\n#####\n")
    placed = [str(tmp_path / word) if word in ("maps", "nowhere") else word for word in words]
    found = CliRunner().invoke(app, ["check-scenes", *placed, "--json"])
    assert found.exit_code == 1
    answer = json.loads(found.stdout)
    assert expected in json.dumps(answer["error"])
    assert answer["verb"] == "check-scenes"


# --- what generate prints ----------------------------------------------------------------------------------------


def test_delivered_levels_are_told_with_what_was_asked_and_what_came() -> None:
    level = {
        "name": "level-001", "height": 14, "width": 150, "playable": True, "reason": "",
        "requested": {"enemies": [5.0, 5.0], "gaps": [2.0, 4.0]}, "achieved": {"enemies": 5.0, "gaps": None},
        "nearest": {"name": "mario-1-1", "distance": 312},
    }  # fmt: skip
    result = {
        "levels": [level, level | {"playable": False, "reason": "stuck", "requested": {}}],
        "asked": 3, "delivered": 2, "samples": 9, "repairs": 4, "seconds_per_level": 1.25,
        "failures": {"a copy": 5}, "folder": "new",
    }  # fmt: skip
    text = generation_text(result)
    assert "enemies 5 (asked 5)" in text
    assert "gaps unknown (asked 2..4)" in text
    assert "312 tiles from mario-1-1" in text
    assert "cannot be played: stuck" in text
    assert "2 of 3 levels delivered: 9 samples, 4 repairs, 1.2 s a level" in text
    assert "a copy (5 times)" in text
    assert max(map(len, text.splitlines())) <= 80
