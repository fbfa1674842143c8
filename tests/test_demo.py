"""The demo goes on where it stopped, plays no chapter twice, and its maps are what it says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from newgameplus import cli_text, demo_scenes
from newgameplus import demo as demo_module
from newgameplus.demo_agent import agent_recipe_text
from newgameplus.demo_scenes import MAPS, STYLE, deliver_levels, scene_recipe_text, write_maps
from newgameplus.errors import DataError
from newgameplus.files import write_json
from newgameplus.games.formats import read_documents
from newgameplus.games.rules import open_rules
from newgameplus.games.rules.contract import Budget
from newgameplus.games.stacking import stack
from newgameplus.pretrained.policy_sources import load_policy_source
from newgameplus.recipe import AgentRecipe, AnyRecipe, SceneRecipe, parse_recipe
from newgameplus.run import Run


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "maps"
    write_maps(folder)
    return folder


def test_the_maps_are_tiled_maps_that_say_what_they_mean_and_can_be_played(maps: Path) -> None:
    documents, left_out = read_documents(maps)
    assert (len(documents), left_out) == (MAPS, [])
    scenes = [document.scenes[0] for document in documents]
    _, levels = stack(scenes, meanings={"nothing": ["empty"]})
    rules = open_rules("platformer")
    for level in levels:
        assert (level.height, level.width) == (STYLE["height"][0], STYLE["width"][0])
        assert len(level.cells("start")) == len(level.cells("goal")) == 1
        assert rules.solve(level, Budget(nodes=20_000)).playable
    assert any(level.cells("pipe") for level in levels)
    assert all(tile.meanings for tile in levels[0].tileset.tiles)


def test_every_tile_has_a_picture_of_its_own(maps: Path) -> None:
    tiles = read_documents(maps)[0][0].scenes[0].tileset.tiles
    with Image.open(maps / "meadow.png") as opened:
        sheet = opened.convert("RGBA")
    seen = set()
    for tile in tiles:
        assert tile.picture is not None
        _, left, top, wide, high = tile.picture
        part = sheet.crop((left, top, left + wide, top + high))
        assert np.asarray(part)[..., 3].any()
        seen.add(part.tobytes())
    assert len(seen) == len(tiles)


def test_maps_are_the_same_every_time_and_a_changed_one_is_left_alone(maps: Path, tmp_path: Path) -> None:
    write_maps(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in maps.iterdir()
    }
    mine = tmp_path / "meadow-03.tmx"
    mine.write_text("mine")
    (tmp_path / "meadow-04.tmx").unlink()
    write_maps(tmp_path)
    assert mine.read_text() == "mine"
    assert (tmp_path / "meadow-04.tmx").read_bytes() == (maps / "meadow-04.tmx").read_bytes()


def test_the_recipe_can_be_read_whatever_the_folder_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "it's: my # demo"
    recipe = parse_recipe(scene_recipe_text(folder / "maps", folder / "runs"))
    assert isinstance(recipe, SceneRecipe)
    assert recipe.data.path == str(folder / "maps")
    assert recipe.model.start == "bundled:tiles"


class Stage:
    """Stands in for the fits: a fit writes a run folder, finished unless its chapter shall be interrupted."""

    def __init__(self) -> None:
        self.played: list[str] = []
        self.interrupted = ""
        self.undeliverable = False

    def fit(self, recipe: AnyRecipe, out: Path) -> Run:
        run = Run.create(recipe, out)
        return self._go_on(run, "fit")

    def resume(self, folder: Path) -> Run:
        return self._go_on(Run.open(folder), "resume")

    def _go_on(self, run: Run, verb: str) -> Run:
        self.played.append(f"{verb} {run.name}")
        if self.interrupted in run.name and self.interrupted:
            raise KeyboardInterrupt
        write_json(run.folder / "evaluation.json", {})
        return run

    def generate(self, run: Path, count: int, *, out: Path, **_: Any) -> None:
        self.played.append(f"generate {Path(run).name}")
        if self.undeliverable:
            raise DataError("no level kept every promise")
        write_json(out / "levels.json", {"asked": count})


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    import newgameplus.deploy.generation as generation
    import newgameplus.games.record.doom as doom

    own = Stage()
    monkeypatch.setattr(demo_module, "fit", own.fit)
    monkeypatch.setattr(demo_module, "resume", own.resume)
    monkeypatch.setattr(demo_module, "write_maps", lambda folder: folder.mkdir(parents=True, exist_ok=True))
    monkeypatch.setattr(doom, "record_doom", lambda *_, **__: own.played.append("record"))
    monkeypatch.setattr(generation, "generate", own.generate)
    return own


FIRST = ["record", "fit demo-1", "fit scenes-1", "generate scenes-1", "fit agent-1"]


def test_all_chapters_are_played_and_then_new_ones_beside_them(stage: Stage, tmp_path: Path) -> None:
    played = demo_module.demo(tmp_path)
    assert stage.played == FIRST
    assert (played.behavior.name, played.scenes.name, played.levels) == ("demo-1", "scenes-1", {"asked": 3})
    assert played.agent.name == "agent-1"
    stage.played.clear()
    assert demo_module.demo(tmp_path).scenes.name == "scenes-2"
    assert stage.played == ["record", "fit demo-2", "fit scenes-2", "generate scenes-2", "fit agent-2"]
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == ["agent-1", "agent-2", "demo-1", "demo-2", "scenes-1", "scenes-2"]


@pytest.mark.parametrize(
    ("chapter", "again"),
    [
        ("demo", ["resume demo-1", "fit scenes-1", "generate scenes-1", "fit agent-1"]),
        ("scenes", ["resume scenes-1", "generate scenes-1", "fit agent-1"]),
        ("agent", ["resume agent-1"]),
    ],
)
def test_an_interrupted_chapter_goes_on_and_a_finished_one_is_not_played_again(
    stage: Stage, tmp_path: Path, chapter: str, again: list[str]
) -> None:
    stage.interrupted = chapter
    with pytest.raises(KeyboardInterrupt):
        demo_module.demo(tmp_path)
    stage.interrupted = ""
    stage.played.clear()
    demo_module.demo(tmp_path)
    assert stage.played == again


def test_what_an_earlier_version_left_gets_its_other_chapters(stage: Stage, tmp_path: Path) -> None:
    run = Run.create(parse_recipe(demo_module._behavior_recipe(tmp_path)), tmp_path / "runs" / "demo-1")
    write_json(run.folder / "evaluation.json", {})
    stage.played.clear()
    demo_module.demo(tmp_path)
    assert stage.played == ["fit scenes-1", "generate scenes-1", "fit agent-1"]


def test_a_folder_that_is_no_run_is_passed_over(stage: Stage, tmp_path: Path) -> None:
    foreign = tmp_path / "runs" / "scenes-1"
    foreign.mkdir(parents=True)
    (foreign / "diary.txt").write_text("mine")
    assert demo_module.demo(tmp_path).scenes.name == "scenes-2"
    assert [path.name for path in foreign.iterdir()] == ["diary.txt"]


def test_levels_that_cannot_be_delivered_are_told_and_end_nothing(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.undeliverable = True
    played = demo_module.demo(tmp_path)
    assert played.levels is None
    assert "no level kept every promise" in capsys.readouterr().err


def test_delivered_levels_are_not_made_again(stage: Stage, tmp_path: Path) -> None:
    run: Any = SimpleNamespace(folder=tmp_path)
    (tmp_path / "levels" / "001").mkdir(parents=True)  # left half-way
    assert deliver_levels(run) == {"asked": demo_scenes.LEVELS}
    assert (tmp_path / "levels" / "002" / "levels.json").is_file()
    deliver_levels(run)
    assert len(stage.played) == 1


def test_the_last_words_name_all_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_text, "finished", lambda run: ({"run": run}, f"table of {run}"))
    monkeypatch.setattr(cli_text, "generation_text", lambda levels: f"{levels['asked']} levels")
    result, text = cli_text.demo_told(SimpleNamespace(behavior="one", scenes="two", levels={"asked": 3}, agent="three"))
    assert result == {"run": "one", "scenes": {"run": "two"}, "levels": {"asked": 3}, "agent": {"run": "three"}}
    assert text.index("table of one") < text.index("table of two") < text.index("3 levels")
    assert text.index("3 levels") < text.index("table of three")
    result, _ = cli_text.demo_told(SimpleNamespace(behavior="one", scenes="two", levels=None, agent="three"))
    assert result["levels"] is None


def test_the_agent_chapter_starts_from_the_bundled_policy_in_a_game_it_was_never_trained_on(tmp_path: Path) -> None:
    recipe = parse_recipe(agent_recipe_text(tmp_path / "it's: my # runs"))
    assert isinstance(recipe, AgentRecipe)
    card = load_policy_source(recipe.model.start).facts
    assert recipe.environment.id not in card["games"]
    assert recipe.environment.id in card["held_out"]
    assert set(recipe.environment.others) <= set(card["games"])
