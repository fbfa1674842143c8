"""Choosing a tile model: what foresees maps kept apart best after a few steps; what cannot be used is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.scene_maps import quick_recipe, write_text_maps
from tests.small_tiles import save_gpt2

from newgameplus.adapt import adapters
from newgameplus.choose import Choice
from newgameplus.cli_choice_text import choice_text
from newgameplus.cli_text import plan_text
from newgameplus.errors import NewGamePlusError, PretrainedModelError
from newgameplus.evaluate.scene_intervals import ratio_interval
from newgameplus.finetune import fit
from newgameplus.pretrained import local_tiles
from newgameplus.pretrained.tile_model import TileModel, load_start, save_tile_model
from newgameplus.recipe import SceneRecipe
from newgameplus.run import Run, read_json
from newgameplus.scenarios import scene_choice, scene_start
from newgameplus.scenarios.scene import SceneScenario
from newgameplus.scenarios.scene_data import SceneGame, load_scene_game
from newgameplus.verbs import check, choose


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    write_text_maps(folder / "maps", "cave", 7, height=12, width=16)
    return folder / "maps"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with a pretrained tile model that knows nothing: random weights."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    noise = load_start("bundled:tiles", fresh=True)
    save_tile_model(folder / "noise" / "model", noise, {"kind": "pretrained"})
    return folder


@pytest.fixture(scope="module")
def game(maps: Path, runs: Path) -> SceneGame:
    return load_scene_game(make_recipe(maps, runs))


def make_recipe(maps: Path, runs: Path, **parts: Any) -> SceneRecipe:
    return quick_recipe(maps, runs, rules="reachability", **parts)


def test_the_model_that_knows_tiles_beats_noise(
    maps: Path, runs: Path, game: SceneGame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_tiles, "local_models", lambda _: [])  # whatever this machine's cache holds
    noise = f"run:{runs / 'noise'}"
    choice = scene_choice.choose_scene_start(make_recipe(maps, runs, model={"start": "auto"}), game, steps=3)
    assert choice.name == "bundled:tiles"
    assert [one.name for one in choice.candidates] == ["bundled:tiles", noise]
    assert choice.by_prior == (noise, "bundled:tiles")  # own pretraining is expected to be better; it is not
    best, worst = choice.candidates
    assert best.scores["zero-shot"] > worst.scores["zero-shot"]
    assert best.short_run is not None
    assert (best.short_run.low, best.short_run.high) == (None, None)  # one map kept apart says nothing of others
    assert "fewer than 3 maps" in best.short_run.caution
    assert best.short_run.value >= best.scores["zero-shot"] - 0.5
    assert best.cost is not None
    assert best.cost.fit_seconds > 0
    text = choice_text(json.loads(json.dumps(choice.as_dict())), "scene")
    assert max(map(len, text.splitlines())) <= 80
    assert "baseline" in text
    assert text.count("no interval: fewer than 3 maps") == 1
    assert f"{-best.short_run.value:.3f}" in text


def test_the_verb_ranks_and_only_the_best_are_adapted(maps: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_choice, "_STEPS", 2)
    recipe = make_recipe(maps, runs, model={"start": ["bundled:tiles", f"run:{runs / 'noise'}"]})
    result = choose(recipe, top=1)
    assert [one["short_run"] is None for one in result["candidates"]] == [False, True]
    assert "-" in choice_text(result, "scene")
    quick = choose(recipe, short_run=False)
    assert quick["name"] == "bundled:tiles"
    assert "as it comes" in quick["reason"]


@pytest.mark.parametrize("apart", [2, 3])
def test_intervals_need_three_maps_and_never_go_below_no_bits(
    maps: Path, runs: Path, game: SceneGame, monkeypatch: pytest.MonkeyPatch, apart: int
) -> None:
    parts = scene_choice._Parts(game.train[apart:], game.train[:apart])
    monkeypatch.setattr(scene_choice, "_split", lambda *_: parts)
    shares = np.array([0.5, 1.0, 2.0])[:apart]
    monkeypatch.setattr(
        scene_choice, "_held_out_bits", lambda *_: np.stack([100 * shares, np.full(apart, 100)], axis=1)
    )
    choice = scene_choice.choose_scene_start(make_recipe(maps, runs), game, steps=1)
    run = choice.candidates[0].short_run
    assert run is not None
    if apart < 3:
        assert (run.low, run.high) == (None, None)
        return
    assert run.low is not None
    assert run.high is not None
    assert run.low < run.value < run.high < 0  # bits with a minus
    linear = ratio_interval(100 * shares, np.full(apart, 100), seed=0)
    assert linear is not None
    assert linear.low < 0 < -run.high  # as far below as above is not possible here
    text = choice_text(choice.as_dict(), "scene")
    assert f"{-run.high:.3f}..{-run.low:.3f}" in text
    assert "no interval" not in text


def test_maps_kept_apart_are_neither_learned_from_nor_tested_on(maps: Path, runs: Path, game: SceneGame) -> None:
    parts = scene_choice._split(make_recipe(maps, runs), game)
    assert set(parts.learned) | set(parts.held_out) == set(game.train)
    assert not set(parts.learned) & set(parts.held_out)
    assert not set(parts.held_out) & set(game.test)
    assert len(parts.held_out) == 1


def test_a_fit_chooses_once(maps: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = f"run:{runs / 'noise'}"
    kept: list[Any] = []
    rank = scene_choice.choose_scene_start

    def counted(*some: Any) -> Choice:
        kept.append(1)
        return rank(*some, 2)

    monkeypatch.setattr("newgameplus.scenarios.scene.choose_scene_start", counted)
    run = fit(make_recipe(maps, runs, model={"start": [noise, "bundled:tiles"]}), tmp_path / "run")
    assert kept == [1]
    card = read_json(run.model_folder / "card.json")
    assert card["name"] == "bundled:tiles"


def test_what_cannot_be_used_is_said(maps: Path, runs: Path, game: SceneGame, monkeypatch: pytest.MonkeyPatch) -> None:
    named = make_recipe(maps, runs, model={"start": ["bundled:tiles", "bundled:tilez"]})
    with pytest.raises(PretrainedModelError, match="no tile model"):
        scene_choice.choose_scene_start(named, game, steps=1)
    monkeypatch.setattr(scene_choice, "local_tile_models", lambda _: ["bundled:tiles", "run:/no/such/folder"])
    automatic = make_recipe(maps, runs, model={"start": "auto"})
    choice = scene_choice.choose_scene_start(automatic, game, steps=1)
    assert [one["name"] for one in choice.left_out] == ["run:/no/such/folder"]
    assert "left out" in choice_text(choice.as_dict(), "scene")
    assert Choice.from_dict(json.loads(json.dumps(choice.as_dict()))) == choice
    monkeypatch.setattr(scene_choice, "available_memory", lambda: 10)
    with pytest.raises(PretrainedModelError, match="are free"):
        scene_choice.choose_scene_start(automatic, game, steps=1)


def test_language_models_of_the_machine_are_found_by_their_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, architecture in (("writer", "GPT2LMHeadModel"), ("seer", "ViTForImageClassification")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    monkeypatch.setenv("NGP_MODELS", str(tmp_path))
    found = local_tiles.local_tile_models()
    assert f"transformers:{tmp_path / 'writer'}" in found
    assert f"transformers:{tmp_path / 'seer'}" not in found
    assert "bundled:tiles" in found


def test_candidates_bring_options_of_their_own(
    maps: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = f"transformers:{save_gpt2(tmp_path / 'writer')}"
    own = [{"start": writer, "options": {"revision": name}} for name in ("new", "old")]
    recipe = make_recipe(maps, runs, model={"start": ["bundled:tiles", *own], "options": {"text_encoder": "e"}})
    asked: list[dict[str, Any]] = []
    load = scene_start.load_start

    def seen(name: str, *, fresh: bool = False, options: dict[str, Any]) -> TileModel:
        asked.append({"name": name} | options)
        return load(name, fresh=fresh, options=options)

    monkeypatch.setattr(scene_start, "load_start", seen)
    result = choose(recipe, short_run=False)
    names = ["bundled:tiles", f"{writer} (revision=new)", f"{writer} (revision=old)"]
    assert sorted(one["name"] for one in result["candidates"]) == names
    assert asked == [{"name": "bundled:tiles"}, *({"name": writer, "revision": name} for name in ("new", "old"))]
    assert "(revision=new)" in choice_text(result, "scene")
    asked.clear()
    decide = scene_choice._decide
    monkeypatch.setattr(scene_choice, "_decide", lambda *some: replace(decide(*some), name=names[2]))
    monkeypatch.setattr(scene_choice, "_STEPS", 1)
    run = Run(tmp_path / "run", recipe, {})
    for goes_on in (False, True):
        scenario = SceneScenario(run)
        assert scenario.choose(scenario.load()).name == writer
        assert asked[-1] == {"name": writer, "revision": "old"}, goes_on
        assert scenario.recipe.model.options == {"revision": "old", "text_encoder": "e"}
        monkeypatch.delattr(scene_choice, "_decide", raising=False)  # a run chooses once


def test_check_looks_at_the_strategy_for_each_candidate(
    maps: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    writer = f"transformers:{save_gpt2(tmp_path / 'writer')}"
    own = [{"start": writer}, {"start": writer, "options": {"size": 3}}]
    recipe = make_recipe(maps, runs, model={"start": ["bundled:tiles", *own]}, adapt={"strategy": "lora"})
    whole = check(make_recipe(maps, runs, model={"start": ["bundled:tiles", own[0]]}, adapt={"strategy": "lora"}))
    assert whole["candidates"] == ["bundled:tiles", writer]
    assert "first of 2 candidates" in " ".join(plan_text(whole).split())
    find = adapters.find_adaptable

    def only_ours(network: Any, blocks: Any) -> Any:
        if "Text" in type(network).__name__:
            raise PretrainedModelError("no layer can have an adapter", source="adapt.strategy", remedy="use full")
        return find(network, blocks)

    monkeypatch.setattr(adapters, "find_adaptable", only_ours)
    with pytest.raises(NewGamePlusError) as caught:
        check(recipe)
    told = [(problem.source, problem.message) for problem in caught.value.problems]
    assert ("adapt.strategy", f"{writer}: no layer can have an adapter") in told
    assert [source for source, message in told if "'size'" in message] == ["model.start.2.options"]
