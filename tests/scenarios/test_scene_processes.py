"""A scene recipe in several processes: the run that one leaves, written once; what cannot be shared is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.recordings import record
from tests.scene_maps import TMX_MEANINGS, quick_recipe, write_tmx_maps
from tests.train.launching import launch

from newgameplus import launched, verbs
from newgameplus.cli_text import plan_text
from newgameplus.errors import NewGamePlusError, TrainingError
from newgameplus.pretrained.tile_model import load_tile_model
from newgameplus.recipe import AgentRecipe, AnyRecipe, Recipe, SceneRecipe
from newgameplus.scenarios import pretraining, scene_sharing, together
from newgameplus.scenarios.scene_data import load_scene_game
from newgameplus.train import sharded, team

SCRIPT = """
import json, os, sys
from pathlib import Path
import yaml
from newgameplus.console import answer
from newgameplus.recipe import SceneRecipe
from newgameplus.verbs import check, choose, fit

folder, rank = Path(sys.argv[1]), os.environ["RANK"]
content = yaml.safe_load((folder / "recipe.yaml").read_text())
recipe = SceneRecipe.model_validate(content)
told = {"check": check(recipe)["processes"], "choose": choose(recipe, short_run=False, out=folder / "choose.json")}
fit(recipe, folder / "two")
(folder / f"told-{rank}.json").write_text(json.dumps(told))
content["data"]["path"] += "" if rank == "0" else "-other"
answer("fit", False, lambda: (fit(SceneRecipe.model_validate(content), folder / "never"), ""))
"""


def recipe_of(folder: Path, **train: Any) -> SceneRecipe:
    settings = {"self_training_rounds": 1, "self_training_levels": 4, "self_training_steps": 2, "patience": 2} | train
    return quick_recipe(
        folder / "maps", folder, name="two", data={"tiles": TMX_MEANINGS, "layers": ["play"], "validation": 0.2},
        train={"batch_size": 3, **settings}, evaluate={"baselines": ["scratch", "markov"], "samples": 2},
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_leave_the_run_of_one_and_stop_where_their_maps_differ(tmp_path: Path) -> None:
    write_tmx_maps(tmp_path / "maps", 6)
    write_tmx_maps(tmp_path / "maps-other", 6)
    odd = tmp_path / "maps-other" / "room2.tmx"
    odd.write_text(odd.read_text().replace("1,6,1", "1,1,1", 1))
    recipe = recipe_of(tmp_path)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    one = verbs.fit(recipe, tmp_path / "one")
    script = tmp_path / "fit.py"
    script.write_text(SCRIPT)
    told = launch(str(script), str(tmp_path))
    first, second = (json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert "2 share the training, each its part of every batch of 3" in first["check"]
    assert first["choose"]["name"] == "bundled:tiles"
    assert_same_run(one.folder, tmp_path / "two")
    assert told.returncode != 0
    assert "the processes do not agree about the maps" in told.stderr
    assert "map room2.tmx" in told.stderr
    assert "room3.tmx" not in told.stderr
    assert not (tmp_path / "never" / "model").exists()


def assert_same_run(one: Path, two: Path) -> None:
    def files(folder: Path) -> list[str]:
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and "events" not in p.name)

    assert files(one) == files(two)
    assert len(list(two.parent.glob("choose*.json"))) == 1
    report = (two / "report.html").read_text()
    assert report.count("<html") == 1
    assert report.rstrip().endswith("</html>")
    rows, others = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)
    )
    assert [(row["arm"], row["phase"], row["step"]) for row in rows] == [
        (row["arm"], row["phase"], row["step"]) for row in others
    ]
    weights, more = (load_tile_model(run / "model")[0].network.state_dict() for run in (one, two))
    assert max(float((value - more[name]).abs().max()) for name, value in weights.items()) < 1e-4
    bits, same = (json.loads((run / "evaluation.json").read_text())["arms"][0]["bits_per_tile"] for run in (one, two))
    assert bits["value"] == pytest.approx(same["value"], rel=1e-3)


def in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (launched, together, team, sharded, pretraining):
        monkeypatch.setattr(module, "process_count", lambda: 2)


def test_check_tells_what_several_processes_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tmx_maps(tmp_path / "maps", 6)
    scene = recipe_of(tmp_path)
    clips: AnyRecipe = Recipe.model_validate({"data": {"path": str(record(tmp_path / "clips", 6, 0))}})
    assert "processes" not in verbs.check(scene)
    in_two(monkeypatch)
    for recipe, size in ((scene, 3), (clips, 32)):
        plan = verbs.check(recipe)
        assert f"2 share the training, each its part of every batch of {size};" in plan["processes"]
        assert "\n  processes  2 share the training" in plan_text(plan)


def test_check_refuses_what_a_fit_would_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tmx_maps(tmp_path / "maps", 6)
    agent = AgentRecipe.model_validate({"scenario": "agent", "environment": {"id": "CartPole-v1"}})
    in_two(monkeypatch)
    monkeypatch.setattr(together, "start", lambda: None)
    told = {
        "2 processes were started, and the agent scenario trains in one": agent,
        "2 processes cannot share a batch of 1": recipe_of(tmp_path, batch_size=1),
    }
    for message, recipe in told.items():
        with pytest.raises(NewGamePlusError, match=message) as checked:
            verbs.check(recipe)
        monkeypatch.setattr(together, "agree", lambda work: work())
        monkeypatch.setattr(together, "check_same", lambda *_: None)
        with pytest.raises(TrainingError, match=message) as fitted:
            together.same_recipe(lambda recipe=recipe: recipe)  # type: ignore[misc]
        assert str(checked.value) == str(fitted.value)


def test_tile_models_are_not_sharded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_two(monkeypatch)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    [problem] = together.sharing_problems(recipe_of(tmp_path))
    assert problem.message == "the weights of the scene scenario cannot be spread over processes (FSDP)"
    assert "without --use_fsdp" in problem.remedy
    assert not together.sharing_problems(Recipe.model_validate({"data": {"path": str(tmp_path)}}))


def test_copies_of_maps_are_the_same_in_any_folder_and_differ_by_a_tile(tmp_path: Path) -> None:
    for name in ("maps", "elsewhere"):
        write_tmx_maps(tmp_path / name, 6)
    recipe = recipe_of(tmp_path)

    def facts(folder: str) -> dict[str, str]:
        data = recipe.data.model_copy(update={"path": str(tmp_path / folder)})
        return scene_sharing._facts(load_scene_game(recipe.model_copy(update={"data": data}), solve=False))

    before = facts("maps")
    assert before == facts("elsewhere")
    assert len(before) == 6 + 5  # maps and tiles
    odd = tmp_path / "elsewhere" / "room2.tmx"
    odd.write_text(odd.read_text().replace("1,6,1", "1,1,1", 1))
    after = facts("elsewhere")
    assert [name for name in before if before[name] != after.get(name)] == ["map room2.tmx: room2"]
