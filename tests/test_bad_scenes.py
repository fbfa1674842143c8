"""Maps that are malformed, malicious or not for us, end to end: file and remedy are told, nothing is half done."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.scene_maps import TMX_MEANINGS, quick_recipe, tmx_text, write_tmx_maps
from typer.testing import CliRunner

from newgameplus.cli import app
from newgameplus.errors import DataError
from newgameplus.finetune import fit
from newgameplus.verbs import check, check_scenes, init

ROOT = Path(__file__).parents[1]
ROWS = ["########", "#@.....#", "#..#..g#", "########"]
LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE map [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">
<!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;"><!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;">]>
<map orientation="orthogonal" width="1" height="1" tilewidth="8" tileheight="8">
<properties><property name="laugh" value="&f;"/></properties></map>
"""
OUTSIDE = """<?xml version="1.0"?>
<!DOCTYPE map [<!ENTITY secret SYSTEM "file:///etc/passwd">]>
<map orientation="orthogonal" width="1" height="1" tilewidth="8" tileheight="8">&secret;</map>
"""


def with_layer(data: str, encoding: str) -> str:
    """Return a map whose layer of play is given as it is."""
    text = tmx_text(ROWS)
    start = text.index('<data encoding="csv">')
    end = text.index("</data>", start)
    return f"{text[:start]}<data {encoding}>{data}{text[end:]}"


def packed(count: int, tile: int = 1) -> str:
    return base64.b64encode(zlib.compress(b"".join(tile.to_bytes(4, "little") for _ in range(count)))).decode()


BASE64 = 'encoding="base64" compression="zlib"'
EXTERNAL = '<tileset firstgid="1" source="gone.tsx"/>'


def without_tileset() -> str:
    text = tmx_text(ROWS)
    start, end = text.index("<tileset"), text.index("</tileset>") + len("</tileset>")
    return text[:start] + EXTERNAL + text[end:]


#: Files that cannot be read: name, content, and what a message must say.
BROKEN: dict[str, tuple[str, str | bytes, str]] = {
    "malformed XML": ("bad.tmx", tmx_text(ROWS)[:300], "bad.tmx"),
    "malformed JSON": ("bad.tmj", '{"type": "map", "layers": [', "bad.tmj"),
    "JSON that is too deep": ("bad.tmj", '{"type": "map", "layers": ' + "[" * 100_000, "bad.tmj"),
    "a billion laughs": ("bad.tmx", LAUGHS, "bad.tmx"),
    "a file of someone else": ("bad.tmx", OUTSIDE, "bad.tmx"),
    "base64 of too few tiles": ("bad.tmx", with_layer(packed(31), BASE64), "play"),
    "base64 of too many tiles": ("bad.tmx", with_layer(packed(33), BASE64), "play"),
    "base64 that unpacks to a bomb": ("bad.tmx", with_layer(packed(20_000_000), BASE64), "play"),
    "base64 that is none": ("bad.tmx", with_layer("####", BASE64), "play"),
    "CSV of too few tiles": ("bad.tmx", tmx_text(ROWS).replace("2,2,2,2,2,2,2,2,\n", "", 1), "play"),
    "a missing TSX": ("bad.tmx", without_tileset(), "gone.tsx"),
    "gids beyond the tileset": ("bad.tmx", tmx_text(ROWS).replace("3,1,1", "3,99,1", 1), "99"),
    "nonsense bytes": ("bad.tmx", bytes(range(256)), "bad.tmx"),
    "nothing": ("bad.tmx", "", "bad.tmx"),
    "a map as large as the world": (
        "bad.tmx", tmx_text(ROWS).replace('width="8" height="4"', 'width="999999999" height="999999999"'), "bad.tmx",
    ),
    "LDtk that is none": ("bad.ldtk", '{"levels": 3}', "bad.ldtk"),
    "Sokoban without walls": ("bad.xsb", "this is a letter\nto someone\n", "bad.xsb"),
}  # fmt: skip


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_read_names_the_file_and_a_remedy(case: str, tmp_path: Path) -> None:
    name, content, said = BROKEN[case]
    maps = tmp_path / "maps"
    write_tmx_maps(maps, 3)
    write(maps / name, content)
    for verb in (lambda: init("scene", maps), lambda: fit(quick_recipe(maps, tmp_path), tmp_path / "run")):
        with pytest.raises(DataError) as caught:
            verb()
        problems = caught.value.problems
        assert all(problem.remedy for problem in problems)
        assert any(name in problem.source for problem in problems)
        assert any(said in problem.source + problem.message for problem in problems)
    assert not (tmp_path / "run").exists()
    assert "room0" in str(check_scenes([maps], "reachability")["levels"])  # the others are judged all the same


def test_bad_maps_can_be_left_out_and_are_told(tmp_path: Path) -> None:
    write_tmx_maps(tmp_path / "maps", 3)
    for number, (name, content, _) in enumerate(BROKEN.values()):
        write(tmp_path / "maps" / f"{number}{name}", content)
    data = {"tiles": TMX_MEANINGS, "layers": ["play"], "format": "tiled"}
    recipe = quick_recipe(tmp_path / "maps", tmp_path, data=data, evaluate={"deliver": 0, "requests": 0})
    run = fit(recipe, tmp_path / "run", skip_bad=True)
    left_out = json.loads((run.folder / "evaluation.json").read_text())["left_out"]
    tiled = [name for name, _, _ in BROKEN.values() if name.startswith("bad.tm")]
    assert len(left_out) >= len(tiled)
    assert all(one["source"] and one["message"] and one["remedy"] for one in left_out)


ORIENTATIONS = {
    "hexagonal": 'orientation="hexagonal" hexsidelength="4" staggeraxis="y" staggerindex="odd"',
    "isometric": 'orientation="isometric"',
    "staggered": 'orientation="staggered" staggeraxis="y" staggerindex="odd"',
}


@pytest.mark.parametrize("kind", ORIENTATIONS)
def test_hexagonal_and_isometric_maps_are_read_kept_and_not_generated_yet(kind: str, tmp_path: Path) -> None:
    text = tmx_text(ROWS).replace('orientation="orthogonal"', ORIENTATIONS[kind])
    path = write(tmp_path / "maps" / "other.tmx", text)
    for verb in (lambda: init("scene", path), lambda: fit(quick_recipe(path, tmp_path), tmp_path / "run")):
        with pytest.raises(DataError, match="no map here can be generated") as caught:
            verb()
        assert "not generated yet" in caught.value.remedy
    assert path.read_text() == text
    write_tmx_maps(tmp_path / "maps", 3)  # beside others it is a note
    assert "not generated yet" in init("scene", tmp_path / "maps")


def test_infinite_maps_with_holes_are_maps_like_others(tmp_path: Path) -> None:
    def chunk(x: int, y: int) -> str:
        rows = ["2,2,2,2", "2,3,1,2", "2,1,4,2", "2,2,2,2"]
        return f'<chunk x="{x}" y="{y}" width="4" height="4">\n' + ",\n".join(rows) + "\n</chunk>"

    text = tmx_text(["@.g.", "....", "....", "...."]).replace('infinite="0"', 'infinite="1"')
    start = text.index('<data encoding="csv">')
    end = text.index("</data>", start)
    text = f'{text[:start]}<data encoding="csv">{chunk(-4, 0)}{chunk(4, 4)}{text[end:]}'
    start = text.index('<data encoding="csv">', end)
    end = text.index("</data>", start)
    text = f'{text[:start]}<data encoding="csv">{text[end:]}'
    write(tmp_path / "maps" / "infinite.tmx", text)
    report = check_scenes([tmp_path / "maps"], "reachability")
    assert report["levels"][0]["width"] == 12
    assert report["levels"][0]["height"] == 8


@pytest.mark.parametrize(
    ("legend", "said"),
    [
        ({"#": ["solid"], ".": ["empty"]}, "@"),
        ({"#": ["sold"], ".": ["empty"], "@": ["start"]}, "did you mean 'solid'"),
        ({"##": ["solid"], ".": ["empty"], "@": ["start"]}, "##"),
        ("not an object", "legend.json"),
    ],
)
def test_a_legend_that_does_not_fit_is_told(legend: Any, said: str, tmp_path: Path) -> None:
    write(tmp_path / "maps" / "one.txt", "####\n#@.#\n####\n")
    path = write(tmp_path / "legend.json", json.dumps(legend))
    with pytest.raises(DataError) as caught:
        init("scene", tmp_path / "maps", legend=path)
    assert said in str(caught.value)
    assert any("one.txt" in problem.source or "legend.json" in problem.source for problem in caught.value.problems)


def test_maps_of_ragged_lines_or_no_lines_are_refused_or_padded(tmp_path: Path) -> None:
    write(tmp_path / "maps" / "empty.txt", "\n\n")
    with pytest.raises(DataError):
        init("scene", tmp_path / "maps")
    write(tmp_path / "ragged" / "one.txt", "####\n#.#\n####\n")
    with pytest.raises(DataError) as caught:
        init("scene", tmp_path / "ragged")
    assert "one.txt" in caught.value.source


# --- through the command line ------------------------------------------------------------------------------------


def ngp(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "newgameplus.cli", *map(str, words)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)
    assert "Traceback" not in found.stderr
    assert "unforeseen" not in found.stdout + found.stderr
    return found


def error_of(found: Any) -> dict[str, Any]:
    content = json.loads(found.stdout)
    assert content["ok"] is False
    error: dict[str, Any] = content["error"]
    assert error["problems"]
    assert error["remedy"] or all(problem["remedy"] for problem in error["problems"])
    assert all(problem["message"] for problem in error["problems"])
    return error


def test_all_bad_maps_come_in_one_answer_with_exit_code_1(tmp_path: Path) -> None:
    for number, (name, content, _) in enumerate(BROKEN.values()):
        write(tmp_path / "maps" / f"{number}-{name}", content)
    found = ngp("init", "scene", tmp_path / "maps", "--json")
    assert found.returncode == 1
    error = error_of(found)
    told = {Path(problem["source"].partition(".")[0]).name.partition("-")[0] for problem in error["problems"]}
    assert {str(number) for number in range(len(BROKEN))} <= told


@pytest.mark.parametrize(
    ("verb", "prepare"),
    [
        ("init", lambda place: ("init", "scene", place / "nowhere")),
        ("fit", lambda place: ("fit", place / "recipe.yaml", "--out", place / "run")),
        ("check", lambda place: ("check", place / "recipe.yaml")),
        ("generate", lambda place: ("generate", place / "no-run")),
        ("evaluate", lambda place: ("evaluate", place / "no-run")),
        ("check-scenes", lambda place: ("check-scenes", place / "maps", "--out", place / "maps")),
    ],
)
def test_every_verb_ends_with_an_error_object_and_leaves_nothing(
    verb: str, prepare: Callable[[Path], tuple[str | Path, ...]], tmp_path: Path
) -> None:
    write(tmp_path / "maps" / "bad.tmx", LAUGHS)
    content = f"scenario: scene\ndata: {{path: {tmp_path / 'maps'}, rules: top-down}}\nruns: {tmp_path / 'runs'}\n"
    write(tmp_path / "recipe.yaml", content)
    before = sorted(tmp_path.rglob("*"))
    found = CliRunner().invoke(app, [str(word) for word in (*prepare(tmp_path), "--json")])
    assert found.exit_code == 1
    assert error_of(found)
    assert json.loads(found.stdout)["verb"] == verb
    assert sorted(tmp_path.rglob("*")) == before


def test_a_levels_folder_is_not_left_behind_by_a_wish_that_cannot_be_met(tmp_path: Path) -> None:
    write_tmx_maps(tmp_path / "maps", 4)
    data = {"tiles": TMX_MEANINGS, "layers": ["play"]}
    run = fit(
        quick_recipe(tmp_path / "maps", tmp_path, data=data, evaluate={"deliver": 0, "requests": 0}), tmp_path / "run"
    )
    runner = CliRunner()
    wish = ["generate", str(run.folder), "--json", "--set"]
    for words, said in (
        ([*wish, "solids=99999", "--budget", "2"], "solids=99999"),
        ([*wish, "solid=3"], "did you mean 'solids'"),
        ([*wish[:-1], "--edit", str(tmp_path / "maps" / "room0.tmx"), "--region", "50,0,3,3"], "50,0,3,3"),
        ([*wish[:-1], "--size", "0x3"], "0x3"),
    ):
        found = runner.invoke(app, words)
        assert found.exit_code == 1
        assert said in json.dumps(error_of(found), ensure_ascii=False)
    assert not (run.folder / "levels").exists()
    found = runner.invoke(app, [*wish[:-1], "--raw", "-n", "2"])
    assert found.exit_code == 0, found.output
    assert (run.folder / "levels" / "001" / "levels.json").is_file()


def test_a_plan_tells_of_bad_maps_and_a_bad_model_at_once(tmp_path: Path) -> None:
    write(tmp_path / "maps" / "bad.tmx", tmx_text(ROWS)[:200])
    recipe = quick_recipe(tmp_path / "maps", tmp_path, model={"start": "bundled:tile"})
    with pytest.raises(Exception, match="problems stand in the way") as caught:
        check(recipe)
    assert "bad.tmx" in str(caught.value)
    assert "bundled:tile" in str(caught.value)
    assert not list(tmp_path.glob("*run*"))
