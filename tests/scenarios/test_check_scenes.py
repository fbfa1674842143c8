"""Any levels solved: statuses, reasons, flaws, pictures with the path drawn, and files that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from newgameplus.cli_text import check_scenes_text
from newgameplus.errors import DataError, RecipeError
from newgameplus.games.rules import open_rules
from newgameplus.scenarios.check_scenes import check_scenes

GOOD = "########\n#@ $ . #\n#      #\n########\n"
WALLED = "########\n#@#$ . #\n########\n"
SIDE = "--------------------\n" * 4 + "M--------------- - F".replace(" ", "X") + "\n" + "XXXXXX--XXXXXXXXXXXX\n"
CHASM = "--------------------\n" * 4 + "M------------------F\n" + "XX----------------XX\n"
LEGEND = {"-": ["empty"], "X": ["solid"], "M": ["start"], "F": ["goal"]}


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    folder = tmp_path / "boxes"
    folder.mkdir()
    (folder / "good.xsb").write_text(GOOD)
    (folder / "walled.xsb").write_text(WALLED)
    return folder


@pytest.fixture
def side(tmp_path: Path) -> tuple[Path, Path]:
    folder = tmp_path / "side"
    folder.mkdir()
    (folder / "one.txt").write_text(SIDE)
    (folder / "two.txt").write_text(CHASM)
    legend = tmp_path / "legend.json"
    legend.write_text(json.dumps(LEGEND))
    return folder, legend


def by_name(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in report["levels"]}


def test_rules_are_guessed_and_each_level_gets_a_status_and_a_reason(boxes: Path) -> None:
    report = check_scenes([boxes])
    assert report["rules"] == "sokoban"
    assert "box" in report["guessed"]
    assert report["counts"] == {"playable": 1, "unplayable": 1, "undecided": 0, "unreadable": 0, "flawed": 0}
    rows = by_name(report)
    assert rows["good"]["path_length"] > 0
    assert not rows["good"]["reason"]
    assert rows["walled"]["reason"]
    assert rows["walled"]["path_length"] is None
    assert json.loads(json.dumps(report))["levels"]


def test_proofs_in_the_report_can_be_replayed_by_anyone(side: tuple[Path, Path]) -> None:
    folder, legend = side
    report = check_scenes([folder], "platformer", legend=legend)
    rows = by_name(report)
    assert rows["one"]["status"] == "playable"
    assert rows["two"]["status"] == "unplayable"
    assert not report["guessed"]
    cells = rows["one"]["proof"]["cells"]
    assert cells[0] == [4, 0]
    assert tuple(cells[-1])[1] >= 18


def test_a_proof_that_does_not_hold_is_no_proof(boxes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = open_rules("sokoban")
    monkeypatch.setattr(rules, "replay", lambda *_: "step 1 walks into a wall")
    report = check_scenes([boxes], rules)
    assert by_name(report)["good"]["status"] == "undecided"
    assert "step 1 walks into a wall" in by_name(report)["good"]["reason"]
    assert report["counts"]["playable"] == 0


def test_a_budget_that_ends_is_undecided_and_no_verdict(tmp_path: Path) -> None:
    path = tmp_path / "hard.xsb"
    path.write_text("########\n#@     #\n# $$$  #\n#  $$  #\n# ...  #\n# ..   #\n########\n")
    assert check_scenes([path], "sokoban", nodes=2)["counts"]["undecided"] == 1


def test_pictures_and_report_go_to_a_new_folder(boxes: Path, tmp_path: Path) -> None:
    (boxes / "deeper").mkdir()
    (boxes / "deeper" / "good.xsb").write_text(WALLED)
    out = tmp_path / "pictures" / "first"
    report = check_scenes([boxes], out=out)
    assert {path.name for path in out.iterdir()} == {"good.png", "good-2.png", "walled.png", "report.json"}
    assert json.loads((out / "report.json").read_text())["counts"] == report["counts"]
    drawn = {np.asarray(Image.open(row["picture"]).convert("RGB")).tobytes() for row in report["levels"]}
    assert len(drawn) == 3
    with pytest.raises(DataError, match="holds something already") as caught:
        check_scenes([boxes], out=out)
    assert str(out) in str(caught.value)


def test_files_that_cannot_be_read_are_told_beside_those_that_can(boxes: Path) -> None:
    (boxes / "broken.tmx").write_text("<map>")
    report = check_scenes([boxes, boxes / "nowhere.xsb"])
    assert report["counts"]["unreadable"] == 2
    assert report["counts"]["playable"] == 1
    assert by_name(report)["broken.tmx"]["reason"]
    text = check_scenes_text(report)
    assert "broken.tmx" in text
    assert "nowhere.xsb" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_rules_file_says_what_tiles_mean_and_broken_structures_are_listed(tmp_path: Path) -> None:
    (tmp_path / "pipe.txt").write_text("----------\n" * 4 + "----<-----\nXXXXXXXXXX\n")
    rules = "\n".join(
        [
            "name: pipes",
            "tiles: {'-': [empty], X: [solid], '<': [pipe, solid]}",
            "base: platformer",
            "options: {structures: [[['<', '>']]]}",
        ]
    )
    (tmp_path / "rules.yaml").write_text(rules)
    report = check_scenes([tmp_path / "pipe.txt"], str(tmp_path / "rules.yaml"))
    row = report["levels"][0]
    assert report["rules"] == "pipes"
    assert row["status"] == "playable"
    assert row["flaws"][0]["at"] == (4, 4)
    assert report["counts"]["flawed"] == 1
    assert "broken" in check_scenes_text(report)


def test_meanings_of_the_caller_go_before_those_of_the_file(boxes: Path) -> None:
    report = check_scenes([boxes], "sokoban", meanings={"wall": ["empty"]})
    assert by_name(report)["walled"]["status"] == "playable"


def test_rules_that_need_what_no_tile_means_are_told(boxes: Path, tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("####\n#  #\n####\n")
    (tmp_path / "legend.json").write_text(json.dumps({"#": ["solid"], " ": ["empty"]}))
    report = check_scenes([tmp_path / "l.txt"], "sokoban", legend=tmp_path / "legend.json")
    assert any("box" in note for note in report["notes"])


@pytest.mark.parametrize(
    ("paths", "rules", "error", "expected"),
    [
        (["nowhere"], None, DataError, "no such file"),
        ([], None, DataError, "no maps are named"),
        (["boxes"], "sokobn", RecipeError, "did you mean 'sokoban'"),
        (["empty"], None, DataError, "no maps are there"),
    ],
)
def test_what_cannot_be_done_says_why(
    paths: list[str], rules: str | None, error: type[Exception], expected: str, boxes: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(error) as caught:
        check_scenes([tmp_path / path for path in paths], rules)
    assert expected in str(caught.value)


def test_hundreds_of_levels_show_those_that_fail_first(boxes: Path) -> None:
    report = check_scenes([boxes])
    good, walled = by_name(report)["good"], by_name(report)["walled"]
    many = report | {"levels": [good | {"name": f"level {n}"} for n in range(400)] + [walled]}
    lines = check_scenes_text(many).splitlines()
    assert "walled" in lines[1]
    assert any("and 201 more" in line for line in lines)
