"""Choosing for clips: what may be chosen from, that test clips are never asked, and that a fit chooses the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
from tests.recordings import record
from tests.small_zoo import save_vit

from newgameplus.errors import DataError, NewGamePlusError, PretrainedModelError, RunError
from newgameplus.pretrained import memory
from newgameplus.recipe import Recipe
from newgameplus.run import Run
from newgameplus.scenarios import behavior_features, behavior_short_run, behavior_work
from newgameplus.scenarios.behavior import BehaviorScenario
from newgameplus.scenarios.behavior_candidates import find_candidates, resolve_candidates
from newgameplus.scenarios.behavior_choice import ChoiceSettings, choose_start
from newgameplus.scenarios.behavior_seen import learned_clips
from newgameplus.scenarios.behavior_short_run import ShortRuns, deal_folds
from newgameplus.verbs import check, choose, fit, pretrain

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("data") / "clips", videos=6, seed=0)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    save_vit(folder / "small", width=8, license="mit")
    save_vit(folder / "large", width=32, seed=1, license="cc-by-nc-4.0")
    (folder / "broken").mkdir()
    (folder / "broken" / "config.json").write_text("{}")
    return folder


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NGP_MODELS", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(behavior_short_run, "STEPS", 8)


def make_recipe(clips: Path, *start: str | Path, **model: Any) -> Recipe:
    names = [str(name) if ":" in str(name) or name == "auto" else f"transformers:{name}" for name in start]
    content = {
        "runs": str(clips.parent / "no runs"),
        "data": {"path": str(clips), "test": 0.4},
        "model": {"start": names[0] if len(names) == 1 else names} | model,
        "train": {"epochs": 1, "batch_size": 16, "threads": 1},
        "evaluate": {"baselines": ["majority"], "resamples": 100},
    }
    return Recipe.model_validate(content)


def names_of(choice: dict[str, Any]) -> list[str]:
    return [one["name"] for one in choice["candidates"]]


def test_auto_takes_what_this_machine_has_and_says_what_it_leaves_out(
    clips: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NGP_MODELS", str(zoo))
    found = find_candidates(make_recipe(clips, "auto"))
    assert list(found.cards) == ["bundled:doom-clips", f"transformers:{zoo / 'large'}", f"transformers:{zoo / 'small'}"]
    assert [one["name"] for one in found.left_out] == [f"transformers:{zoo / 'broken'}"]
    commercial = find_candidates(make_recipe(clips, "auto", use="commercial"))
    assert f"transformers:{zoo / 'large'}" not in commercial.cards
    assert any("commercial" in one["message"] for one in commercial.left_out)


def test_a_forbidden_licence_stops_check_and_fit_before_anything_is_loaded(
    clips: Path, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("newgameplus.scenarios.behavior_recipe.load_pretrained", refuse)
    monkeypatch.setattr(behavior_work, "load_pretrained", refuse)
    recipe = make_recipe(clips, zoo / "large", zoo / "broken", use="commercial")
    with pytest.raises(NewGamePlusError) as caught:
        check(recipe)
    told = [str(problem) for problem in caught.value.problems]
    assert any("cc-by-nc-4.0" in line and "commercial" in line for line in told)
    assert any("broken" in line for line in told)
    with pytest.raises(PretrainedModelError, match="cc-by-nc"):
        fit(make_recipe(clips, zoo / "large", use="commercial"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_larger_than_memory_is_said_by_check_before_loading(
    clips: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 5000)
    with pytest.raises(NewGamePlusError, match="loading it takes about"):
        check(make_recipe(clips, zoo / "small"))


def test_nothing_to_choose_from_says_how_to_name_models(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 5000)
    with pytest.raises(PretrainedModelError, match="no model on this machine") as caught:
        find_candidates(make_recipe(clips, "auto"))
    assert "NGP_MODELS" in caught.value.remedy


def test_a_run_goes_on_with_the_candidates_that_it_began_with(
    clips: Path, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, make_recipe(clips, "auto"), {})
    first = resolve_candidates(run, run.recipe)  # type: ignore[arg-type]
    monkeypatch.setenv("NGP_MODELS", str(zoo))
    assert resolve_candidates(run, run.recipe).cards == first.cards  # type: ignore[arg-type]
    (tmp_path / "checkpoints" / "candidates.json").write_text("[]")
    with pytest.raises(RunError, match="damaged"):
        resolve_candidates(run, run.recipe)  # type: ignore[arg-type]


def test_choose_ranks_writes_and_never_overwrites(clips: Path, zoo: Path, tmp_path: Path) -> None:
    recipe = make_recipe(clips, zoo / "small", zoo / "large")
    found = choose(recipe, out=tmp_path / "choose.json")
    assert sorted(names_of(found)) == [f"transformers:{zoo / name}" for name in ("large", "small")]
    assert sorted(found["by_prior"]) == sorted(names_of(found))
    for one in found["candidates"]:
        assert set(one["scores"]) == {"prior", "knn", "logme"}
        assert one["short_run"]["low"] <= one["short_run"]["value"] <= one["short_run"]["high"]
        assert one["short_run"]["steps"] > 0
        assert one["cost"]["latency_seconds"] > 0
        assert one["cost"]["fit_bytes"] > 4 * one["parameters"]
    runs = [one["short_run"]["value"] for one in found["candidates"]]
    assert runs == sorted(runs, reverse=True)
    assert "rules of thumb" in found["advice"]
    written = json.loads((tmp_path / "choose.json").read_text())
    assert written["name"] == found["name"] == names_of(found)[0]
    with pytest.raises(RunError, match="nothing is overwritten"):
        choose(recipe, out=tmp_path / "choose.json")


def test_a_fit_chooses_the_same_from_kept_features(
    clips: Path, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(clips, zoo / "small", zoo / "large")
    before = choose(recipe, top=1)
    assert [one["short_run"] is not None for one in before["candidates"]] == [True, False]
    computed: list[str] = []
    save = behavior_features.save_tensors
    monkeypatch.setattr(
        behavior_features, "save_tensors", lambda path, tensors: (computed.append(path.stem), save(path, tensors))[1]
    )
    assert names_of(choose(recipe, short_run=False))
    assert computed == []
    run = fit(recipe, tmp_path / "run")
    after = json.loads((run.folder / "evaluation.json").read_text())["choice"]
    again = choose(recipe)
    assert after["name"] == again["name"]
    assert names_of(after) == names_of(again)
    assert len(computed) == 1  # of the test clips, by the probe and zero-shot alone
    assert "How the start was chosen" in (run.folder / "report.html").read_text()
    assert names_of(choose(make_recipe(clips, f"run:{run.folder}")))
    other = make_recipe(clips, f"run:{run.folder}").model_copy(update={"seed": 5})
    with pytest.raises(DataError, match="of the 18 test clips"):
        choose(other)
    later = pretrain(make_recipe(clips, f"run:{run.folder}"), out=tmp_path / "later", steps=1)
    other = make_recipe(clips, later["start_from"]).model_copy(update={"seed": 5})
    with pytest.raises(DataError, match="of the 18 test clips"):  # going on without labels takes none away
        choose(other)


@pytest.mark.parametrize(
    ("training", "digests"),
    [
        ({"clip_digests": ["a", "b"]}, {"a", "b"}),
        ({"clips": ["a"]}, {"a"}),  # as early runs said it
        ({"clips": 48}, set()),  # an early pretraining's count
        ({"clip_count": 48, "recordings": [{"digest": "a", "bytes": 1}]}, set()),
        ({}, set()),
    ],
)
def test_cards_of_all_ages_say_whose_labels_were_learned(training: dict[str, Any], digests: set[str]) -> None:
    assert learned_clips(training) == digests


def test_short_runs_use_each_training_clip_once_and_no_other(clips: Path, zoo: Path, tmp_path: Path) -> None:
    scenario = BehaviorScenario(Run(tmp_path, make_recipe(clips, zoo / "small"), {}))
    game = scenario.load()
    runs = ShortRuns(scenario.work, game, game.split.train)
    asked = np.concatenate([fold.held_out for fold in runs.folds])
    assert sorted(runs.indices[asked]) == sorted(game.split.train)
    for fold in runs.folds:
        groups = {game.groups[index] for index in runs.indices[fold.train]}
        assert not groups & {game.groups[index] for index in runs.indices[fold.held_out]}


def test_one_training_group_leaves_the_estimates(clips: Path, zoo: Path, tmp_path: Path) -> None:
    scenario = BehaviorScenario(Run(tmp_path, make_recipe(clips, zoo / "small", zoo / "large"), {}))
    game = scenario.load()
    first = game.groups[game.split.train[0]]
    game.split = type(game.split)(
        train=np.array([index for index in game.split.train if game.groups[index] == first]),
        validation=game.split.validation,
        test=game.split.test,
    )
    choice = choose_start(scenario.work, game, ChoiceSettings())
    assert all(one.short_run is None for one in choice.candidates)
    assert "rests on 1 training groups" in choice.advice


def test_damaged_features_are_computed_again(clips: Path, zoo: Path, own_cache: Path) -> None:
    recipe = make_recipe(clips, zoo / "small")
    before = choose(recipe)
    for path in (own_cache / "features").glob("*.safetensors"):
        path.write_bytes(b"damaged")
    assert choose(recipe)["candidates"][0]["scores"] == before["candidates"][0]["scores"]


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_hold_whole_groups_of_about_the_same_size(folds: int) -> None:
    groups = np.random.default_rng(0).integers(0, 12, 300)
    parts = deal_folds(groups, folds, seed=1)
    assert sorted(np.concatenate(parts)) == list(range(300))
    assert all(len(set(groups[one]) & set(groups[other])) == 0 for one in parts for other in parts if one is not other)
    assert max(map(len, parts)) - min(map(len, parts)) <= np.bincount(groups).max()
    assert [part.tolist() for part in deal_folds(groups, folds, seed=1)] == [part.tolist() for part in parts]
    assert len(deal_folds(np.zeros(5, np.int64), folds, seed=1)) == 1
