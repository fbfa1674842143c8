"""The recipe of a policy: what ``init`` writes, what ``check`` finds, and what it all costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.agent_runs import ARENA, BAD, agent_recipe

from newgameplus.cli_text import plan_text
from newgameplus.errors import DataError, GameError, NewGamePlusError, PretrainedModelError, RecipeError
from newgameplus.finetune import read_recipe
from newgameplus.recipe import AgentRecipe, dump_recipe, load_recipe, parse_recipe
from newgameplus.scenarios import known_names
from newgameplus.verbs import check, init, record_env


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demos") / "demos"
    record_env(ARENA, folder, episodes=6)
    return folder


def problems_of(tmp_path: Path, text: str) -> list[Any]:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"scenario: agent\nenvironment: {{id: {ARENA}}}\n{text}")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, known=known_names)
    return list(caught.value.problems)


# --- init --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", [ARENA, "ngp/Masked-v0", "CartPole-v1", "MiniGrid-DoorKey-5x5-v0", f"{BAD}:Mixed"])
def test_what_init_writes_is_a_recipe_that_checks(game: str, tmp_path: Path) -> None:
    if game.startswith("MiniGrid"):
        pytest.importorskip("minigrid")
    text = init("agent", environment=game)
    (tmp_path / "recipe.yaml").write_text(text)
    recipe = load_recipe(tmp_path / "recipe.yaml", known=known_names)
    assert isinstance(recipe, AgentRecipe)
    assert recipe.environment.id == game
    assert recipe.data.path is None
    plan = check(recipe)
    assert plan["scenario"] == "agent"
    assert plan["parameters"] > 0
    if game.startswith("MiniGrid"):
        assert recipe.environment.parts == ("direction", "image")  # its mission never changes, and costs time


def test_init_with_demonstrations_and_options(demos: Path, tmp_path: Path) -> None:
    text = init(
        "agent", demos, environment=ARENA, options={"rules": {"enemy_hp": 130.0}}, name="it's mine", skip_bad=True
    )
    (tmp_path / "recipe.yaml").write_text(text)
    recipe = load_recipe(tmp_path / "recipe.yaml", known=known_names)
    assert isinstance(recipe, AgentRecipe)
    assert recipe.name == "it-s-mine"
    assert recipe.environment.options == {"rules": {"enemy_hp": 130.0}}
    assert recipe.data.path == str(demos)
    assert recipe.data.skip_bad
    assert recipe.data.success_only  # random play hardly wins
    assert "6 episodes" in text


def test_init_without_a_game_asks_for_one() -> None:
    with pytest.raises(RecipeError, match="no game is named") as caught:
        init("agent")
    assert "--env" in caught.value.remedy


def test_init_with_demonstrations_of_other_spaces_names_the_surgery(demos: Path) -> None:
    with pytest.raises(DataError, match="1 difference") as caught:
        init("agent", demos, environment=ARENA, options={"features": ["mana", "hp"]})
    assert "ngp surgery RUN" in caught.value.remedy
    with pytest.raises(GameError, match="Arna"):
        init("agent", demos, environment="ngp/Arna-v0")


# --- what a recipe may say ---------------------------------------------------------------------------------------


def test_a_recipe_survives_being_written_out(tmp_path: Path) -> None:
    recipe = agent_recipe(tmp_path, retention={"terms": [{"kind": "ewc", "weight": 2.0, "schedule": "linear"}]})
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_a_misspelt_kind_of_retention_is_named_with_its_line(tmp_path: Path) -> None:
    text = "retention:\n  terms:\n    - {kind: ewc}\n    - kind: kickstartin\n"
    (problem,) = problems_of(tmp_path, text)
    assert "kickstartin" in problem.message
    assert "recipe.yaml:6 (retention.terms.1.kind)" in problem.source
    assert "did you mean 'kickstarting'" in problem.remedy


def test_all_problems_come_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = (
        "model: {memory: gruu, actor: [64, wide]}\n"
        "train:\n  step: 5\n  gamma: 2\n  learning_rate: fast\n  batch_size: 0\n"
        "retention:\n  terms:\n    - {kind: ewc, wieght: 3}\n    - {kind: l2sp, weight: -1}\n    - {weight: 3}\n"
        "evaluate:\n  baselines: [start, scrath]\n  episodes: 1.5\n"
    )
    problems = problems_of(tmp_path, text)
    told = "\n".join(map(str, problems))
    for line, said in [
        (3, "gruu"), (3, "wide"), (5, "unknown key 'step'"), (6, "2 will not do"), (7, "fast"), (8, "0 will not do"),
        (11, "unknown key 'wieght'"), (12, "'l2sp' is not known"), (12, "-1 will not do"), (13, "kind is missing"),
        (15, "'scrath' is not known"), (16, "1.5 will not do"),
    ]:  # fmt: skip
        assert any(f"recipe.yaml:{line}" in one.source and said in one.message for one in problems), (line, said, told)
    for remedy in ("did you mean 'steps'", "did you mean 'weight'", "did you mean 'l2-sp'", "did you mean 'scratch'"):
        assert remedy in told


def test_keys_of_other_scenarios_and_a_missing_game_are_told(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("scenario: agent\ndata: {labels: x.csv}\ncontrol: {}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, known=known_names)
    told = str(caught.value)
    assert "environment is missing" in told
    assert "labels" in told
    assert "control" in told


def test_paths_are_relative_to_the_recipe_and_sources_too(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "game.py").write_text("")
    (tmp_path / "recipe.yaml").write_text(
        "scenario: agent\nenvironment: {id: 'game.py:make'}\ndata: {path: demos}\nmodel: {start: 'run:old'}\n"
    )
    recipe = read_recipe(tmp_path / "recipe.yaml")
    assert isinstance(recipe, AgentRecipe)
    assert recipe.environment.id == f"{tmp_path / 'game.py'}:make"
    assert recipe.data.path == str(tmp_path / "demos")
    assert recipe.model.start == f"run:{tmp_path / 'old'}"
    assert read_recipe(tmp_path / "recipe.yaml", start="fresh").model.start == "fresh"  # type: ignore[union-attr]


# --- check -------------------------------------------------------------------------------------------------------


def test_a_plan_tells_spaces_demonstrations_model_and_costs_in_80_columns(demos: Path, tmp_path: Path) -> None:
    plan = check(agent_recipe(tmp_path, data={"path": str(demos)}))
    assert plan["demonstrations"]["learned"] + plan["demonstrations"]["held_out"] == 6
    assert plan["retention"] == ["cloning"]
    assert all(plan[key] > 0 for key in ("estimated_seconds", "estimated_memory_bytes", "estimated_disk_bytes"))
    text = plan_text(plan)
    assert max(map(len, text.splitlines())) <= 80
    assert ARENA in text
    assert "enemy_raised" in text
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("game", ["MiniGrid-DoorKey-5x5-v0", f"{BAD}:Mixed", f"{BAD}:IgnoresSeeds"])
def test_plans_of_any_game_fit_80_columns(game: str, tmp_path: Path) -> None:
    if game.startswith("MiniGrid"):
        pytest.importorskip("minigrid")
    text = plan_text(check(agent_recipe(tmp_path, environment={"id": game})))
    wide = [line for line in text.splitlines() if len(line) > 80 and str(BAD) not in line]
    assert not wide


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("Shape", "shape"), ("NanSeen", "nan"), ("NanReward", "nan"), ("EndlessReward", "inf"),
        ("Raises", "the dragon is missing"), ("OldStep", "step"), ("OldReset", "reset"), ("NoSeed", "seed"),
        ("BadReset", "level 2"), ("EmptyMask", "mask"), ("WrongMask", "mask"), ("Graph", "Graph"),
        ("Missing", "Missing"),
    ],
)  # fmt: skip
def test_a_game_that_breaks_its_promises_does_not_check(how: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(NewGamePlusError) as caught:
        check(agent_recipe(tmp_path, environment={"id": f"{BAD}:{how}"}))
    assert said.lower() in str(caught.value).lower()
    assert any(problem.remedy for problem in caught.value.problems)


def test_a_game_with_odd_habits_is_noted(tmp_path: Path) -> None:
    notes = check(agent_recipe(tmp_path, environment={"id": f"{BAD}:LargeReward"}))["notes"]
    assert any("1e+09" in note or "1,000,000,000" in note for note in notes)
    notes = check(agent_recipe(tmp_path, environment={"id": f"{BAD}:IgnoresSeeds"}))["notes"]
    assert any("seed" in note for note in notes)


@pytest.mark.parametrize(
    ("parts", "error", "said"),
    [
        ({"environment": {"id": "ngp/Arna-v0"}}, GameError, "ngp/Arena-v0"),
        ({"environment": {"id": ARENA, "options": {"size": 3}}}, GameError, "size"),
        ({"environment": {"id": ARENA, "parts": ["picture"]}}, GameError, "picture"),
        ({"data": {"path": "/no/such/demos"}}, DataError, "/no/such/demos"),
        ({"model": {"start": "sb3:/no/such.zip"}}, PretrainedModelError, "/no/such.zip"),
        ({"model": {"start": "bundle:minigrid"}}, PretrainedModelError, "bundled"),
        ({"model": {"options": {"layer": 3}}}, PretrainedModelError, "layer"),
        ({"retention": {"terms": [{"kind": "ewc"}]}}, RecipeError, "nothing to keep"),
    ],
)
def test_what_cannot_be_fitted_is_found_by_check(
    parts: dict[str, Any], error: type[NewGamePlusError], said: str, tmp_path: Path
) -> None:
    with pytest.raises(NewGamePlusError) as caught:
        check(agent_recipe(tmp_path, **parts))
    assert said in str(caught.value)
    assert error is not None
    assert all(problem.remedy for problem in caught.value.problems)
