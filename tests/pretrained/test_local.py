"""Models of this machine: folders that are named, own pretraining, the hub's cache; and how they are listed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import huggingface_hub.constants
import pytest
from tests.small_zoo import save_vit

from newgameplus.errors import PretrainedModelError
from newgameplus.pretrained.listing import filter_models, find_model, list_startable, parse_count
from newgameplus.pretrained.local import is_here, local_models

pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("NGP_MODELS", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def write_card(folder: Path, **content: object) -> Path:
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "card.json").write_text(json.dumps(content))
    return folder


def test_bundled_models_are_here() -> None:
    assert local_models() == ["bundled:doom-clips"]


def test_named_folders_are_models_or_hold_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo, single = tmp_path / "zoo", tmp_path / "single"
    for folder in (zoo / "b", zoo / "a", single):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    (zoo / "empty").mkdir()
    run = write_card(zoo / "run", start={}, digest="")
    monkeypatch.setenv("NGP_MODELS", os.pathsep.join([str(zoo), str(single), str(tmp_path / "gone"), str(zoo)]))
    names = [f"transformers:{zoo / 'a'}", f"transformers:{zoo / 'b'}", f"run:{run}", f"transformers:{single}"]
    assert local_models()[1:] == names


def test_own_pretraining_counts_and_fitted_runs_do_not(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write_card(runs / "pretrained", kind="pretrained", start={}, digest="")
    write_card(runs / "fitted", start={}, digest="")
    write_card(runs / "tiles", kind="pretrained")
    write_card(runs / "damaged")
    (runs / "damaged" / "model" / "card.json").write_text("{")
    assert local_models(runs)[1:] == [f"run:{runs / 'pretrained'}"]
    assert local_models(tmp_path / "gone") == local_models()


def test_the_hubs_cache_counts_where_weights_are_whole(tmp_path: Path) -> None:
    for name, files in {"org--whole": ("config.json", "model.safetensors"), "org--half": ("config.json",)}.items():
        snapshot = tmp_path / "hub" / f"models--{name}" / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        for file in files:
            (snapshot / file).write_text("{}")
    assert local_models()[1:] == ["transformers:org/whole"]


def test_every_row_says_what_a_user_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_vit(tmp_path / "zoo" / "vit", license="cc-by-nc-4.0")
    (tmp_path / "zoo" / "broken").mkdir()
    (tmp_path / "zoo" / "broken" / "config.json").write_text("{}")
    monkeypatch.setenv("NGP_MODELS", str(tmp_path / "zoo"))
    rows, left_out = list_startable(None)
    by_name = {row["name"]: row for row in rows}
    assert [one["name"] for one in left_out] == [f"transformers:{tmp_path / 'zoo' / 'broken'}"]
    vit = by_name[f"transformers:{folder}"]
    assert (vit["source"], vit["task"], vit["family"], vit["here"]) == ("transformers", "behavior", "vit", True)
    assert vit["input"] == "4x32x32x3"
    assert vit["bytes_to_train"] > vit["bytes_to_probe"] > vit["parameters"] > 0
    assert {row["task"] for row in rows} == {"behavior", "scene", "agent"}
    assert all(row["parameters"] and row["license"] and row["family"] for row in rows if row["source"] == "bundled")
    assert f"transformers:{folder}" not in {row["name"] for row in filter_models(rows, use="commercial")}
    assert [row["name"] for row in filter_models(rows, license="by-nc")] == [f"transformers:{folder}"]
    assert [row["name"] for row in filter_models(rows, family="VIT", here=True)] == [f"transformers:{folder}"]
    assert {row["task"] for row in filter_models(rows, task="agent")} == {"agent"}
    assert all(row["parameters"] <= 100_000 for row in filter_models(rows, max_parameters="0.1M"))
    assert {row["source"] for row in filter_models(rows, source="bundled")} == {"bundled"}


def test_one_model_is_found_by_name(tmp_path: Path) -> None:
    assert find_model("bundled:tiles")["task"] == "scene"
    assert find_model("bundled:doom-clips")["labels"]
    with pytest.raises(PretrainedModelError):
        find_model("bundled:doom-clip")
    card = list_startable(None)[0][0]
    assert card["here"]


def test_what_is_not_here_is_said(tmp_path: Path) -> None:
    from dataclasses import replace

    from newgameplus.pretrained.bundled import cards

    card = cards()[0]
    assert is_here(card)
    assert not is_here(replace(card, name="transformers:org/absent"))
    assert is_here(replace(card, name=f"checkpoint:{tmp_path}"))


@pytest.mark.parametrize(("text", "count"), [("5M", 5_000_000), ("1.5g", 1_500_000_000), (7, 7), ("2_000", 2000)])
def test_numbers_of_weights_are_read(text: str | int, count: int) -> None:
    assert parse_count(text) == count


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(PretrainedModelError, match="no number of weights"):
        parse_count("many")
