"""``generate`` end to end: levels in the maker's own format that keep every promise, and errors that say what to do."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.scene_maps import TMX_MEANINGS, quick_recipe, tmx_text, write_text_maps, write_tmx_maps, write_xsb_maps

from newgameplus.cli_text import generation_text
from newgameplus.deploy import generation
from newgameplus.deploy.generation import GenerationResult, generate, open_scene
from newgameplus.errors import DataError, RunError
from newgameplus.games.formats import read_document
from newgameplus.games.scenes import Level
from newgameplus.recipe import Recipe
from newgameplus.run import Run
from newgameplus.verbs import fit

TMX_ROWS = ["############", "#@...#.....#", "#....#.#...#", "#.#.......##", "#........g.#", "############"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def tmx_run(place: Path) -> Run:
    write_tmx_maps(place / "tmx")
    data = {"tiles": TMX_MEANINGS, "layers": ["play"]}
    return fit(quick_recipe(place / "tmx", place, name="tmx", data=data, evaluate={"deliver": 0, "requests": 0}))


@pytest.fixture(scope="module")
def xsb_run(place: Path) -> Run:
    write_xsb_maps(place / "xsb")
    recipe = quick_recipe(
        place / "xsb", place, rules="sokoban", name="xsb", evaluate={"deliver": 0, "requests": 0}, train={"steps": 30}
    )
    return fit(recipe)


@pytest.fixture(scope="module")
def text_run(place: Path) -> Run:
    write_text_maps(place / "platformer", "platformer", 5, height=12, width=40)
    recipe = quick_recipe(
        place / "platformer", place, rules="platformer", name="text", evaluate={"deliver": 0, "requests": 0}
    )
    return fit(recipe)


def check_promises(run: Run, result: GenerationResult) -> None:
    """Judge delivered levels with nothing but the rules."""
    _, _, game, recipe = open_scene(run)
    for made in result.levels:
        assert made.answer.proof is not None
        assert game.rules.solve(made.level).playable
        assert game.rules.replay(made.level, made.answer.proof) == ""
        assert not game.rules.flaws(made.level)
        assert made.nearest[1] >= recipe.generate.min_distance
        for request in made.requests:
            assert request.miss(made.achieved[request.measure]) == 0


def read_back(run: Run, path: Path) -> Level:
    _, _, game, recipe = open_scene(run)
    legend = Path(recipe.data.legend) if recipe.data.legend else None
    document = read_document(path, format=recipe.data.format, legend=legend)
    assert len(document.scenes) == 1
    return game.stack.level(document.scenes[0])


# --- what is written ---------------------------------------------------------------------------------------------


def test_levels_are_written_in_the_makers_format_with_pictures_and_facts(tmx_run: Run, tmp_path: Path) -> None:
    result = generate(tmx_run.folder, 2, out=tmp_path / "new", seed=3, growth=True)
    check_promises(tmx_run, result)
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == sorted([
        "levels.json",
        *(f"level-00{number}.{suffix}" for number in (1, 2) for suffix in ("tmx", "png", "gif")),
    ])  # fmt: skip
    for made, files in zip(result.levels, result.files, strict=True):
        assert {path.suffix for path in files} == {".tmx", ".png", ".gif"}
        again = read_back(tmx_run, next(path for path in files if path.suffix == ".tmx"))
        assert (again.tiles == made.level.tiles).all()
        with Image.open(next(path for path in files if path.suffix == ".gif")) as animation:
            assert animation.n_frames > made.level.width / 2
        with Image.open(next(path for path in files if path.suffix == ".png")) as picture:
            assert picture.width > made.level.width * 4
    told = json.loads((tmp_path / "new" / "levels.json").read_text())
    assert told["asked"] == told["delivered"] == told["playable"] == 2
    assert told["raw"] is False
    row = told["levels"][0]
    assert {"requested", "achieved", "nearest", "path", "files", "samples", "repairs", "status"} <= set(row)
    assert row["nearest"]["name"].startswith("room")
    assert row["path"][0] == list(result.levels[0].level.cells("start")[0])
    assert generation_text(told).count("level-00") == 2


def test_a_written_tmx_keeps_tilesets_properties_and_layers_that_are_not_generated(
    tmx_run: Run, tmp_path: Path
) -> None:
    result = generate(tmx_run.folder, 1, out=tmp_path / "deep" / "new", seed=1)
    path = result.files[0][0]
    root = ElementTree.parse(path).getroot()
    assert root.find("properties/property").get("value") == "gloomy"  # type: ignore[union-attr]
    assert [layer.get("name") for layer in root.findall("layer")] == ["play", "sky"]
    assert root.find("layer/properties/property").get("value") == "3"  # type: ignore[union-attr]
    assert root.find("objectgroup/object").get("name") == "secret"  # type: ignore[union-attr]
    image = root.find("tileset/image").get("source")  # type: ignore[union-attr]
    assert (path.parent / str(image)).resolve().is_file()
    original = next(path for path in Path(tmx_run.recipe.data.path).glob("*.tmx"))  # type: ignore[union-attr]
    sky = ElementTree.parse(original).getroot().findall("layer")[1].find("data").text  # type: ignore[union-attr]
    assert str(root.findall("layer")[1].find("data").text).split() == str(sky).split()  # type: ignore[union-attr]


def test_the_same_seed_makes_the_same_levels(tmx_run: Run) -> None:
    def tiles(count: int, seed: int) -> list[bytes]:
        return [made.level.tiles.tobytes() for made in generate(tmx_run.folder, count, seed=seed).levels]

    first = tiles(3, 5)
    assert tiles(3, 5) == first
    assert tiles(1, 5) == first[:1]
    assert tiles(3, 6) != first


def test_nothing_is_overwritten(tmx_run: Run, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(DataError, match="nothing is overwritten") as caught:
        generate(tmx_run.folder, out=tmp_path)
    assert "--out" in caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
    result = generate(tmx_run.folder, seed=1)
    assert result.files == ()
    assert result.as_dict()["folder"] is None


def test_a_text_map_of_any_width_is_written_with_its_legend(text_run: Run, tmp_path: Path) -> None:
    result = generate(text_run.folder, 1, out=tmp_path / "new", size="12x60", seed=1, requests={"enemies": "0..40"})
    made = result.levels[0]
    assert made.level.tiles.shape == (12, 60)
    check_promises(text_run, result)
    assert (read_back(text_run, tmp_path / "new" / "level-001.txt").tiles == made.level.tiles).all()


def test_sokoban_levels_have_as_many_boxes_as_goals_and_one_player(xsb_run: Run, tmp_path: Path) -> None:
    result = generate(xsb_run.folder, 3, out=tmp_path / "new", seed=2)
    check_promises(xsb_run, result)
    assert len(result.levels) == 3
    for made in result.levels:
        assert made.level.where("box").sum() == made.level.where("goal").sum() >= 1
        assert made.level.where("start").sum() == 1
        assert made.answer.proof is not None
        assert made.answer.proof.moves
    assert (tmp_path / "new" / "level-003.xsb").read_text().count("\n") >= 5


def test_the_solvers_measures_can_be_asked_for(xsb_run: Run) -> None:
    """They are not measured when maps are opened to generate, but the model learned them."""
    result = generate(xsb_run.folder, 1, seed=1, requests={"path_length": "1..400"})
    assert 1 <= result.levels[0].achieved["path_length"] <= 400


# --- changing maps -----------------------------------------------------------------------------------------------


def edited_layers(path: Path) -> dict[str, np.ndarray]:
    scene = read_document(path).scenes[0]
    names = np.array([*scene.tileset.names, ""])
    return dict(zip(scene.layer_names, names[scene.layers], strict=True))


def test_a_region_is_made_anew_and_every_other_cell_stays(tmx_run: Run, tmp_path: Path) -> None:
    source = Path(tmx_run.recipe.data.path) / "room1.tmx"  # type: ignore[union-attr]
    before = source.read_bytes()
    result = generate(tmx_run.folder, 2, out=tmp_path / "new", edit=source, region=(4, 1, 5, 4), seed=1)
    assert source.read_bytes() == before
    assert len({made.level.tiles.tobytes() for made in result.levels}) == 2
    old = edited_layers(source)
    for made, files in zip(result.levels, result.files, strict=True):
        assert files[0].name.startswith("room1-00")
        new = edited_layers(files[0])
        inside = np.zeros((6, 12), np.bool_)
        inside[1:5, 4:9] = True
        assert (new["play"][~inside] == old["play"][~inside]).all()
        assert (new["play"][inside] != old["play"][inside]).any()
        assert (new["sky"] == old["sky"]).all()
        root = ElementTree.parse(files[0]).getroot()
        assert root.find("properties/property").get("value") == "gloomy"  # type: ignore[union-attr]
        assert root.find("objectgroup/object").get("x") == "12"  # type: ignore[union-attr]
        assert made.answer.playable


def test_a_changed_map_is_near_to_itself_and_no_copy(tmx_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, _, recipe = open_scene(tmx_run)
    strict = recipe.model_copy(update={"generate": recipe.generate.model_copy(update={"min_distance": 50})})
    opened = open_scene(tmx_run)
    monkeypatch.setattr(generation, "open_scene", lambda run: (*opened[:3], strict))
    source = Path(recipe.data.path) / "room0.tmx"
    result = generate(tmx_run.folder, edit=source, region=(6, 1, 3, 3), seed=2)
    assert 0 < result.levels[0].nearest[1] <= 9
    with pytest.raises(DataError, match="a copy"):
        generate(tmx_run.folder, seed=2, budget=2)


@pytest.mark.parametrize(
    ("side", "rows", "columns"),
    [("left", (0, 6), (3, 15)), ("right", (0, 6), (0, 12)), ("up", (3, 9), (0, 12)), ("down", (0, 6), (0, 12))],
)
def test_a_map_grows_at_one_side_and_stays_as_it_was(
    side: str, rows: tuple[int, int], columns: tuple[int, int], tmx_run: Run, tmp_path: Path
) -> None:
    source = tmp_path / "mine.tmx"
    source.write_text(tmx_text(TMX_ROWS))
    shutil.copy(Path(tmx_run.recipe.data.path) / "tiles.png", tmp_path)  # type: ignore[union-attr]
    settings = {"edit": str(source), "extend": (side, 3), "structures": "none", "seed": 1}
    result = generate(tmx_run.folder, out=tmp_path / "new", **settings)
    made = result.levels[0].level
    assert made.tiles.shape == ((6, 15) if side in ("left", "right") else (9, 12))
    new, old = edited_layers(result.files[0][0])["play"], edited_layers(source)["play"]
    assert (new[slice(*rows), slice(*columns)] == old).all()
    root = ElementTree.parse(result.files[0][0]).getroot()
    assert (root.get("width"), root.get("height")) == (str(made.width), str(made.height))


def test_a_changed_map_is_the_best_of_several_candidates(tmx_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    choose = generation.best_seams

    def watch(sampler: Any, candidates: Any, fixed: np.ndarray, count: int) -> Any:
        chosen = choose(sampler, candidates, fixed, count)
        seen.update(candidates=list(candidates), chosen=chosen, sampler=sampler, fixed=fixed)
        return chosen

    monkeypatch.setattr(generation, "best_seams", watch)
    source = Path(tmx_run.recipe.data.path) / "room2.tmx"  # type: ignore[union-attr]
    result = generate(tmx_run.folder, edit=source, region=(3, 1, 4, 4), seed=4)
    from newgameplus.generate.editing import seam

    assert 1 < len(seen["candidates"]) <= 4
    scores = [seam(seen["sampler"], made, seen["fixed"]) for made in seen["candidates"]]
    assert seam(seen["sampler"], seen["chosen"][0], seen["fixed"]) == max(scores)
    assert result.delivery.asked == 1
    assert result.delivery.samples >= len(seen["candidates"])
    seen.clear()
    generate(tmx_run.folder, edit=source, extend=("right", 2), structures="none", seed=4)
    assert len(seen["candidates"]) == 1  # nothing is given behind


def test_a_part_of_a_sokoban_level_is_made_anew_with_its_own_number_of_boxes(xsb_run: Run, tmp_path: Path) -> None:
    rows = ["########", "#      #", "# $. . #", "#  @ $ #", "#   $ .#", "########"]
    (tmp_path / "three.xsb").write_text("\n".join(rows) + "\n")
    result = generate(xsb_run.folder, edit=tmp_path / "three.xsb", region=(1, 1, 3, 3), seed=3, out=tmp_path / "new")
    made = result.levels[0]
    assert made.achieved["boxes"] == made.achieved["goals"] == 3
    old, new = (read_back(xsb_run, path).tiles for path in (tmp_path / "three.xsb", tmp_path / "new" / "three-001.xsb"))
    same = old == new
    assert not same[1:4, 1:4].all()
    same[1:4, 1:4] = True
    assert same.all()


# --- raw samples -------------------------------------------------------------------------------------------------


def test_raw_samples_come_as_they_are_with_what_the_solver_says(tmx_run: Run, tmp_path: Path) -> None:
    settings = {"structures": "none", "temperature": 3.0, "seed": 1, "raw": True}
    result = generate(tmx_run.folder, 6, out=tmp_path / "new", **settings)
    assert len(result.levels) == 6
    assert not all(made.answer.playable for made in result.levels)
    told = json.loads((tmp_path / "new" / "levels.json").read_text())
    assert told["raw"] is True
    assert told["delivered"] == 0
    assert told["samples"] == told["asked"] == 6
    assert told["repairs"] == 0
    assert told["playable"] == sum(row["playable"] for row in told["levels"])
    failed = next(row for row in told["levels"] if not row["playable"])
    assert failed["reason"]
    assert failed["path"] is None
    assert failed["status"] in ("unplayable", "undecided")
    assert len(list((tmp_path / "new").glob("*.tmx"))) == len(list((tmp_path / "new").glob("*.png"))) == 6
    text = generation_text(told)
    assert f"{told['playable']} of 6 raw samples can be played" in text
    assert "delivered" not in text
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 80
    again = generate(tmx_run.folder, 6, **settings)
    assert [a.level.tiles.tobytes() for a in again.levels] == [b.level.tiles.tobytes() for b in result.levels]


def test_raw_samples_are_told_wishes_and_keep_what_is_given(tmx_run: Run) -> None:
    source = Path(tmx_run.recipe.data.path) / "room0.tmx"  # type: ignore[union-attr]
    result = generate(tmx_run.folder, 2, edit=source, region=(6, 1, 3, 3), raw=True, requests={"solids": "35..70"})
    _, _, game, _ = open_scene(tmx_run)
    old = game.stack.level(read_document(source).scenes[0]).tiles
    for made in result.levels:
        same = made.level.tiles == old
        same[1:4, 6:9] = True
        assert same.all()
        assert [request.measure for request in made.requests] == ["solids"]


# --- what cannot be met ------------------------------------------------------------------------------------------


def test_a_request_that_cannot_be_met_says_why_and_the_nearest_that_can(tmx_run: Run) -> None:
    with pytest.raises(DataError) as caught:
        generate(tmx_run.folder, size="6x8", requests={"solids": "48"}, budget=2)
    told = str(caught.value)
    assert "solids=48" in told
    assert "no level kept every promise within 2 samples" in told
    assert "of 2 samples: " in told
    assert "--budget" in told
    with pytest.raises(DataError) as caught:
        generate(tmx_run.folder, size="6x8", requests={"density": "0.0..0.05"}, budget=3, seed=1)
    assert "the nearest that could be made: density=0." in caught.value.remedy


@pytest.mark.parametrize(
    ("wishes", "value", "remedy"),
    [
        ({"size": "14by150"}, "14by150", "14x150"),
        ({"size": "0x5"}, "0x5", "14x150"),
        ({"size": "99999x99999"}, "99999x99999", "14x150"),
        ({"requests": {"enemys": "5"}}, "enemys", "this model knows"),
        ({"requests": {"solids": "many"}}, "many", "enemies=5"),
        ({"requests": {"solids": "5..2"}}, "5..2", "enemies=5"),
        ({"requests": {"solids": "-3"}}, "-3", "enemies=5"),
        ({"words": "purple solids"}, "purple solids", "amounts"),
        ({"caption": "a dark hall"}, "no captions", "data.captions"),
        ({"region": (1, 1, 2, 2)}, "--region", "--edit"),
        ({"extend": ("right", 5)}, "--extend", "--edit"),
        ({"edit": "room0.tmx"}, "nothing says what to change", "--region"),
        ({"edit": "room0.tmx", "region": (10, 0, 9, 2)}, "10,0,9,2", "10,0,2,2"),
        ({"edit": "room0.tmx", "region": (1, 2)}, "(1, 2)", "column, row"),
        ({"edit": "room0.tmx", "extend": ("rigth", 5)}, "rigth", "did you mean 'right'"),
        ({"edit": "room0.tmx", "extend": ("right", 0)}, "0", "1 or more"),
        ({"edit": "room0.tmx", "extend": ("right", 10**7)}, "10000012", "14x150"),
        ({"edit": "nowhere.tmx", "region": (0, 0, 1, 1)}, "nowhere.tmx", "look into"),
        ({"count": 0}, "0", "1 or more"),
        ({"seed": -1}, "-1", "0 or more"),
        ({"temperature": float("nan")}, "nan", "0 to 100"),
        ({"top_p": 0.0}, "0.0", "above 0"),
        ({"budget": 0}, "0", "1 or more"),
        ({"structures": "some"}, "some", "auto or none"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_names_the_value_and_the_remedy(
    wishes: dict[str, Any], value: str, remedy: str, tmx_run: Run, tmp_path: Path
) -> None:
    maps = Path(tmx_run.recipe.data.path)  # type: ignore[union-attr]
    placed = {name: maps / given if name == "edit" else given for name, given in wishes.items()}
    with pytest.raises(DataError) as caught:
        generate(tmx_run.folder, out=tmp_path / "new", **placed)
    told = str(caught.value)
    assert value in told
    assert remedy in told
    assert not (tmp_path / "new").exists()


def test_a_length_is_asked_of_the_size(place: Path, tmx_run: Run) -> None:
    recipe = tmx_run.recipe
    _model, content, game, _ = open_scene(tmx_run)
    wide = replace(game, measures=(*game.measures, "length"))
    order = generation.Order(count=2, requests={"length": "9"})
    requests = generation._requests(order, wide, content)
    canvas = generation._canvas(order, wide, recipe, requests)  # type: ignore[arg-type]
    assert canvas.sizes == [(6, 9)] * 2
    with pytest.raises(DataError, match="length=9 columns, but the size is 6x12") as caught:
        generation._canvas(replace(order, size="6x12"), wide, recipe, requests)  # type: ignore[arg-type]
    assert "6x9" in caught.value.remedy


def test_maps_to_change_must_be_of_this_game_and_one_a_file(tmx_run: Run, xsb_run: Run, tmp_path: Path) -> None:
    hexagonal = tmp_path / "hex.tmx"
    text = tmx_text(TMX_ROWS).replace(
        'orientation="orthogonal"', 'orientation="hexagonal" hexsidelength="4" staggeraxis="y" staggerindex="odd"'
    )
    hexagonal.write_text(text)
    shutil.copy(Path(tmx_run.recipe.data.path) / "tiles.png", tmp_path)  # type: ignore[union-attr]
    with pytest.raises(DataError, match="cannot be generated") as caught:
        generate(tmx_run.folder, edit=hexagonal, region=(0, 0, 2, 2))
    assert "not generated yet" in caught.value.remedy
    two = tmp_path / "two.xsb"
    two.write_text("; 1\n\n#####\n#@$.#\n#####\n\n; 2\n\n#####\n#@$.#\n#####\n")
    with pytest.raises(DataError, match="holds 2 maps") as caught:
        generate(xsb_run.folder, edit=two, region=(0, 0, 2, 2))
    assert f"--edit {two}:1" in caught.value.remedy
    with pytest.raises(DataError, match="no map of this file is called '3'"):
        generate(xsb_run.folder, edit=f"{two}:3", region=(0, 0, 2, 2))
    with pytest.raises(DataError, match="not inside of the map"):
        generate(xsb_run.folder, edit=f"{two}:2", region=(9, 0, 2, 2))
    strange = tmp_path / "strange.tmx"
    strange.write_text(tmx_text(TMX_ROWS).replace("\n1,", "\n5,").replace("2,1,", "2,5,", 1))
    with pytest.raises(DataError, match="no map of the stack has"):
        generate(tmx_run.folder, edit=strange, region=(0, 0, 2, 2))


# --- runs that cannot generate -----------------------------------------------------------------------------------


def test_runs_of_another_scenario_and_unfinished_ones_are_refused(tmp_path: Path) -> None:
    behavior = Run.create(Recipe.model_validate({"data": {"path": "/clips"}}), tmp_path / "behavior")
    with pytest.raises(RunError):
        generate(behavior.folder)
    with pytest.raises(RunError) as caught:
        generate(tmp_path / "nowhere")
    assert caught.value.remedy
    fresh = Run.create(quick_recipe(tmp_path, tmp_path), tmp_path / "fresh")
    with pytest.raises(RunError) as caught:
        generate(fresh.folder)
    assert caught.value.remedy


def test_maps_that_moved_or_changed_their_tiles_are_told(place: Path, tmx_run: Run, tmp_path: Path) -> None:
    maps = Path(tmx_run.recipe.data.path)  # type: ignore[union-attr]
    away = maps.with_name("away")
    maps.rename(away)
    try:
        with pytest.raises(RunError, match="cannot be read any more") as caught:
            generate(tmx_run.folder)
        assert "put the maps back" in caught.value.remedy
        assert caught.value.source == str(maps)
        shutil.copytree(away, maps)
        (maps / "room0.tmx").write_text(tmx_text(["@.g.", "....", "...."]))
        with pytest.raises(RunError, match="other tiles than the model learned"):
            generate(tmx_run.folder)
    finally:
        shutil.rmtree(maps, ignore_errors=True)
        away.rename(maps)
