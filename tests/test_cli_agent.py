"""The verbs of the agent scenario on the command line: one JSON object, honest exit codes, text of 80 columns."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.agent_runs import ARENA, agent_recipe, agent_run, evaluation_of, files_of
from typer.testing import CliRunner

from newgameplus.cli import app
from newgameplus.cli_agent_text import read_options
from newgameplus.errors import RecipeError
from newgameplus.games.toy_arena import FIRST_FEATURES
from newgameplus.recipe import dump_recipe

ROOT = Path(__file__).parents[1]
FEATURES = json.dumps(["stamina", *FIRST_FEATURES])


class Told:
    """What a command said."""

    def __init__(self, words: tuple[Any, ...]) -> None:
        found = CliRunner().invoke(app, [str(word) for word in words])
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        self.code, self.out, self.err = found.exit_code, found.stdout, found.stderr
        assert "Traceback" not in self.err
        assert "unforeseen" not in self.err

    @property
    def result(self) -> dict[str, Any]:
        """What a command with --json gave."""
        assert self.code == 0, self.err
        content = json.loads(self.out)
        assert set(content) == {"verb", "ok", "result"}
        assert content["ok"] is True
        return dict(content["result"])

    @property
    def error(self) -> dict[str, Any]:
        """What went wrong in a command with --json."""
        assert self.code == 1
        content = json.loads(self.out)
        assert set(content) == {"verb", "ok", "error"}
        assert content["ok"] is False
        assert all(problem["remedy"] or content["error"]["remedy"] for problem in content["error"]["problems"])
        return dict(content["error"])


def ngp(*words: Any) -> Told:
    return Told((*words, "--json"))


def text_of(*words: Any, but: str = "") -> str:
    """Return what a command prints for people; no line is too wide (but those with a path in them)."""
    told = Told(words)
    assert told.code == 0, told.err
    wide = [
        line for line in told.out.splitlines() if len(line) > 80 and "/" not in line and (not but or but not in line)
    ]
    assert not wide
    return told.out


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli-agent")


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """A run made on the command line: record, init, check and fit, one after the other."""
    made = ngp("record", "env", "--env", ARENA, "--episodes", 8, "--out", place / "demos").result
    assert made["episodes"] == 8
    text = ngp("init", "agent", "--env", ARENA, "--demos", place / "demos", "--name", "cli").result["recipe"]
    assert "scenario: agent" in text
    recipe = place / "recipe.yaml"
    recipe.write_text(dump_recipe(agent_recipe(place, data={"path": str(place / "demos")})))
    assert ngp("check", recipe).result["demonstrations"]["learned"] > 0
    done = ngp("fit", recipe, "--out", place / "run").result
    assert done["run"] == str(place / "run")
    assert Path(done["report"]).is_file()
    assert done["evaluation"]["verdict"]["sentence"]
    return place / "run"


def test_a_whole_road_leaves_a_run(run: Path) -> None:
    assert {"model", "report.html", "evaluation.json"} <= {path.name for path in run.iterdir()}


def test_init_writes_the_recipe_to_standard_output(run: Path, place: Path) -> None:
    text = text_of("init", "agent", "--env", ARENA, "--demos", place / "demos", but="#")
    assert text.startswith("# A recipe of New Game+")
    found = Told(("init", "agent"))
    assert found.code == 1
    assert "--env MiniGrid" in found.err
    assert not found.out
    assert "no game is named" in ngp("init", "agent").error["message"]
    for words in (("scene", "maps"), ("behavior", "clips")):
        assert "--env" in ngp("init", *words, "--env", ARENA).error["source"]


def test_check_and_report_print_plans_and_tables(run: Path, place: Path) -> None:
    assert "no problems found" in text_of("check", place / "recipe.yaml")
    assert "fine-tuned" in text_of("report", run)
    assert ngp("report", run).result["evaluation"]["scenario"] == "agent"


def test_play(run: Path, tmp_path: Path) -> None:
    played = ngp("play", run, "--episodes", 3, "--seed", 2, "--video", tmp_path / "out.mp4").result
    assert len(played["episodes"]) == 3
    assert (tmp_path / "out.mp4").stat().st_size > 1000
    again = ngp("play", run, "--episodes", 3, "--video", tmp_path / "out.mp4").error
    assert "nothing is overwritten" in again["message"]
    text = text_of("play", run, "--episodes", 3, "--option", "rules={enemy_hp: 40}", "--temperature", 0, "--delay", 1)
    assert "mean return" in text


@pytest.mark.parametrize(
    ("words", "source"),
    [
        (("--level", 2), "--level"), (("--level", 0.5, "--temperature", 1), "--level"),
        (("--level", 0.5, "--by", "luck"), "--by"), (("--episodes", 0), "--episodes"), (("--seed", -1), "--seed"),
        (("--delay", -1), "--delay"), (("--option", "rules"), "--option"), (("--option", "=3"), "--option"),
    ],
)  # fmt: skip
def test_play_refuses_in_words(run: Path, words: tuple[Any, ...], source: str) -> None:
    assert source in ngp("play", run, *words).error["problems"][0]["source"]


def test_play_at_a_level(tmp_path: Path) -> None:
    train = {"steps": 8192, "rollout": 64, "batch_size": 256, "epochs": 4, "learning_rate": 0.003}
    game = {"id": "ngp/Identity-v0", "count": 16}
    able = agent_run(tmp_path, "able", environment=game, train=train, evaluate={"levels": 3})
    table = evaluation_of(able)["strength"]["levels"]
    assert [row["level"] for row in table] == [0.0, 0.5, 1.0]
    found = ngp("play", able.folder, "--episodes", 2, "--level", 0.5, "--by", "randomness").result
    assert found["strength"]["level"] == 0.5
    assert "played at level 0.5" in text_of("play", able.folder, "--episodes", 2, "--level", 0.5, "--by", "randomness")
    assert (able.folder / "strength.json").is_file()


def test_evaluate_on_several_games(run: Path, tmp_path: Path) -> None:
    factory = tmp_path / "old.py"
    factory.write_text(
        "from newgameplus.games.toy_arena import Arena\n\n"
        "def weak(): return Arena(rules={'enemy_hp': 40.0})\n\n"
        "def strong(): return Arena(rules={'enemy_hp': 90.0})\n"
    )
    games = [f"{factory}:weak", f"{factory}:strong"]
    found = ngp("evaluate", run, "--on", *games, "--episodes", 3).result
    assert found["games"] == [ARENA, *games]
    found = ngp("evaluate", run, "--episodes", 3, "--on", games[0], "--on", games[1]).result
    assert found["games"] == [ARENA, *games]
    assert Path(found["written_to"]).is_file()
    assert "fine-tuned" in text_of("evaluate", run, "--episodes", 3)
    assert "other spaces" in ngp("evaluate", run, "--on", "ngp/Masked-v0").error["message"]
    assert "--labels" in ngp("evaluate", run, "--labels", "x.csv").error["message"]
    assert ngp("evaluate", run, "--seed", -1).error["source"] == "--seed"


def test_surgery_then_a_fit_from_it(run: Path, place: Path, tmp_path: Path) -> None:
    words = ("surgery", run, "--out", tmp_path / "new", "--option", f"features={FEATURES}")
    plan = ngp(*words, "--plan").result
    assert "stamina" in plan["plan_text"]
    assert not (tmp_path / "new").exists()
    text = text_of(*words, "--episodes", 3)
    assert "return at step 0" in text
    assert f"--from run:{tmp_path / 'new'}" in text
    assert "nothing is overwritten" in ngp(*words).error["message"]
    recipe = tmp_path / "recipe.yaml"
    options = {"features": json.loads(FEATURES)}
    recipe.write_text(
        dump_recipe(
            agent_recipe(
                tmp_path,
                environment={"options": options},
                train={"steps": 256},
                evaluate={"episodes": 2, "baselines": ["start"]},
            )
        )
    )
    refused = ngp("fit", recipe, "--from", f"run:{run}", "--out", tmp_path / "fit").error
    assert f"ngp surgery run:{run}" in refused["remedy"]
    assert not (tmp_path / "fit").exists()
    done = ngp("fit", recipe, "--from", f"run:{tmp_path / 'new'}", "--out", tmp_path / "fit").result
    assert {arm["name"] for arm in done["evaluation"]["arms"]} == {"fine-tuned", "start"}


@pytest.mark.parametrize(
    "words",
    [
        ("--map-obs", "hp"), ("--map-actions", "fly->strike"), ("--wider", "actor"), ("--env", "ngp/Arna-v0"),
        ("--memory-width", 64), ("--new-action-probability", 3),
    ],
)  # fmt: skip
def test_surgery_refuses_in_words(run: Path, tmp_path: Path, words: tuple[Any, ...]) -> None:
    found = ngp("surgery", run, "--out", tmp_path / "new", *words).error
    assert all(problem["remedy"] for problem in found["problems"])
    assert not (tmp_path / "new").exists()


def test_compare_and_models(run: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run, tmp_path / "other")
    found = ngp("compare", run, tmp_path / "other").result
    assert found["games"] == [ARENA]
    assert "run" in text_of("compare", run, tmp_path / "other")
    assert ngp("compare", run).error["remedy"]
    assert any("policy" in json.dumps(card).lower() for card in ngp("models").result["models"])


def test_record_by_a_run(run: Path, tmp_path: Path) -> None:
    text = text_of("record", "env", "--env", ARENA, "--policy", run, "--episodes", 2, "--out", tmp_path / "demos")
    assert "2 episodes" in text
    assert "ngp init agent" in text
    words = ("--option", "features=[hp, mana]", "--episodes", 1, "--out", tmp_path / "my demos")
    text = text_of("record", "env", "--env", ARENA, *words)
    assert f"--option 'features=[\"hp\", \"mana\"]' --demos '{tmp_path / 'my demos'}'" in text
    before = files_of(tmp_path / "demos")
    assert ngp("record", "env", "--env", ARENA, "--out", tmp_path / "demos").error["remedy"]
    assert files_of(tmp_path / "demos") == before
    found = ngp("record", "env", "--env", ARENA, "--policy", "keyboard", "--keys", "left", "--out", tmp_path / "x")
    assert found.error["source"] == "--keys"


def test_a_finished_run_is_not_resumed(run: Path) -> None:
    assert "nothing to resume" in ngp("resume", run).error["message"]
    assert "nothing is overwritten" in ngp("fit", run.parent / "recipe.yaml", "--out", run).error["message"]


@pytest.mark.parametrize(
    "words",
    [
        ("play",), ("play", "run", "--level", "strong"), ("surgery", "run"), ("record", "env", "--env", ARENA),
        ("record", "env", "--out", "x"), ("evaluate",), ("play", "run", "--episodes", "many"),
    ],
)  # fmt: skip
def test_command_lines_that_cannot_be_understood_exit_with_2(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, list(words)).exit_code == 2


def test_games_without_on_are_not_taken_for_clips(run: Path) -> None:
    found = Told(("evaluate", run, "ngp/Arena-v0", "ngp/Masked-v0", "--json"))
    assert found.code == 1
    assert json.loads(found.out)["error"]["remedy"]
    assert "DATA" in ngp("evaluate", run, "ngp/Arena-v0").error["message"]


def test_options_are_read_as_yaml() -> None:
    read = read_options(["size=8", "name = x", "rules={enemy_hp: 3.5}", "on=true", "text=a=b", "list=[a, 1]"])
    assert read == {"size": 8, "name": "x", "rules": {"enemy_hp": 3.5}, "on": True, "text": "a=b", "list": ["a", 1]}
    assert read_options(None) == {}
    with pytest.raises(RecipeError) as caught:
        read_options(["size", "=3", "x={", "y=2"])
    assert len(caught.value.problems) == 3


class Harm:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("member", ["policy.pth", "data"])
def test_an_archive_that_means_harm_does_none(run: Path, place: Path, tmp_path: Path, member: str) -> None:
    pytest.importorskip("stable_baselines3")
    import gymnasium
    import stable_baselines3

    from newgameplus.games.toy_environments import register

    register()
    stable_baselines3.A2C("MlpPolicy", gymnasium.make(ARENA), seed=0, device="cpu").save(tmp_path / "good.zip")
    harm = pickle.dumps(Harm(tmp_path / "harmed"))
    with zipfile.ZipFile(tmp_path / "good.zip") as good, zipfile.ZipFile(tmp_path / "bad.zip", "w") as bad:
        for name in good.namelist():
            content = good.read(name)
            if name == member == "policy.pth":
                content = harm
            elif name == member == "data":
                import base64

                data = json.loads(content)
                for value in data.values():
                    if isinstance(value, dict) and ":serialized:" in value:
                        value[":serialized:"] = base64.b64encode(harm).decode()
                content = json.dumps(data).encode()
            bad.writestr(name, content)
    recipe = tmp_path / "recipe.yaml"
    quick = {"train": {"steps": 256}, "evaluate": {"episodes": 2, "baselines": ["start"]}}
    recipe.write_text(dump_recipe(agent_recipe(tmp_path, **quick)))
    source = f"sb3:{tmp_path / 'bad.zip'}"
    for words in (
        ("fit", recipe, "--from", source, "--out", tmp_path / "run"),
        ("play", source, "--env", ARENA, "--episodes", 1),
        ("surgery", source, "--env", ARENA, "--out", tmp_path / "new", "--episodes", 0),
        ("record", "env", "--env", ARENA, "--policy", source, "--episodes", 1, "--out", tmp_path / "demos"),
    ):
        found = ngp(*words)
        assert not (tmp_path / "harmed").exists()
        assert found.code == (1 if member == "policy.pth" else 0)  # what else is pickled is never looked at
    pickle.loads(harm).close()
    assert (tmp_path / "harmed").exists()


def test_the_whole_command_says_what_is_wrong_and_exits_with_1(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "newgameplus.cli", "play", str(tmp_path / "nothing"), "--json"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)
    assert found.returncode == 1
    assert json.loads(found.stdout)["error"]["remedy"]
    assert "Traceback" not in found.stderr
