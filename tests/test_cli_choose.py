"""The verbs that find and choose a start on the command line: tables of 80 columns, whole JSON, the next command."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import yaml
from tests.recordings import record
from tests.small_zoo import save_vit
from typer.testing import CliRunner

from newgameplus.cli import app
from newgameplus.cli_choose_text import choice_text
from newgameplus.scenarios import behavior_short_run

pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NGP_MODELS", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(behavior_short_run, "STEPS", 8)
    monkeypatch.chdir(tmp_path)


def ngp(*words: object) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    assert "Traceback" not in found.stderr
    return found.exit_code, found.stdout, found.stderr


def listed(*words: object) -> list[dict[str, Any]]:
    code, out, err = ngp("models", *words, "--json")
    assert code == 0, err
    rows: list[dict[str, Any]] = json.loads(out)["result"]["models"]
    return rows


def test_models_lists_filters_and_fits_the_screen() -> None:
    code, out, _ = ngp("models")
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    for name in ("bundled:doom-clips", "bundled:tiles", "bundled:minigrid"):
        assert name in out
    assert {row["task"] for row in listed("--task", "scene")} == {"scene"}
    assert all(row["parameters"] <= 100_000 for row in listed("--max-parameters", "100k"))
    assert listed("--license", "apache", "--here", "--source", "bundled")
    assert listed("--family", "no such family") == []
    assert "no model fits" in ngp("models", "--family", "no such family")[1]


def test_models_explains_one() -> None:
    code, out, _ = ngp("models", "bundled:doom-clips")
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "turn_left" in out
    assert "or more to train all weights" in " ".join(out.split())
    assert "ngp fit recipe.yaml --from bundled:doom-clips" in " ".join(out.split())
    assert json.loads(ngp("models", "bundled:tiles", "--json")[1])["result"]["model"]["task"] == "scene"


@pytest.mark.parametrize("words", [("bundled:doom-clip",), ("--max-parameters", "many"), ("nothing",)])
def test_bad_questions_about_models_are_answered(words: tuple[str, ...]) -> None:
    code, out, err = ngp("models", *words)
    assert code == 1
    assert not out
    assert "error" in err.casefold() or "remedy" in err.casefold() or "known" in err


def test_choose_ranks_and_ends_with_the_next_command(tmp_path: Path) -> None:
    clips = record(tmp_path / "clips", videos=5, seed=0)
    small, large = save_vit(tmp_path / "small", width=8), save_vit(tmp_path / "large model", width=32)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"data": {"path": str(clips), "test": 0.4}, "train": {"batch_size": 16}}))
    words = ["choose", recipe, "--candidates", f"transformers:{small}", "--candidates", f"transformers:{large}"]
    code, out, err = ngp(*words)
    assert code == 0, err
    lines = out.splitlines()
    whole = [line for line in lines if "next: " not in line and "written to " not in line]
    # A folder's name is never broken: it may stand alone on a line that is longer.
    assert [line for line in whole if len(line) > 80 and " " in line] == []
    assert "kNN" in out
    assert "estimates" in out
    chosen = json.loads((tmp_path / "choose.json").read_text())["name"]
    assert lines[-1] == f"next: ngp fit {shlex.quote(str(recipe))} --from {shlex.quote(chosen)}"
    code, out, err = ngp(*words, "--no-short-run", "--json")
    assert code == 0, err
    result = json.loads(out)["result"]
    assert result["written_to"] == str(tmp_path / "choose-002.json")
    assert all(one["short_run"] is None for one in result["candidates"])
    assert result["next"].startswith("ngp fit ")


def test_a_misspelt_candidate_is_named(tmp_path: Path) -> None:
    clips = record(tmp_path / "clips", videos=3, seed=0, spans=3)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"data": {"path": str(clips)}}))
    code, _, err = ngp("choose", recipe, "--candidates", "bundled:doom-clip")
    assert code == 1
    assert "doom-clips" in err
    assert not (tmp_path / "choose.json").exists()


def test_long_names_and_many_left_out_fit_the_screen() -> None:
    one = {
        "name": "transformers:" + "x" * 200, "license": "mit", "parameters": 86_000_000, "short_run": None,
        "scores": {"prior": 1.0, "knn": 0.5, "logme": -0.1}, "cost": None,
    }  # fmt: skip
    left_out = [{"name": f"run:{number}", "message": "it has no model", "remedy": ""} for number in range(15)]
    result = {
        "candidates": [one], "by_prior": [one["name"]], "left_out": left_out, "reason": "it is the only one",
        "advice": "", "written_to": None, "next": "ngp fit recipe.yaml",
    }  # fmt: skip
    text = choice_text(result)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "left out 5 more" in text
