"""Playing for people: a table, a video that can be watched, and options that are refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest
from tests.agent_runs import ARENA, agent_run

from newgameplus.deploy.playing import play
from newgameplus.errors import GameError, NewGamePlusError, RecipeError, RunError
from newgameplus.run import Run

BAD = Path(__file__).parents[1] / "games" / "bad_environments.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    train = {"steps": 256, "checkpoints": 2}
    return agent_run(tmp_path_factory.mktemp("play"), "run", train=train, evaluate={"episodes": 2})


def frames_of(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_table_of_returns_with_intervals(run: Run) -> None:
    found = play(str(run.folder), 6, seed=4)
    assert found["game"] == ARENA
    assert len(found["episodes"]) == 6
    assert found["return"]["low"] <= found["return"]["value"] <= found["return"]["high"]
    mean = sum(row["return"] for row in found["episodes"]) / 6
    assert found["return"]["value"] == pytest.approx(mean)
    assert 0 <= found["success"]["value"] <= 1
    assert found["video"] is None
    assert play(str(run.folder), 6, seed=4) == found
    assert play(str(run.folder), 6, seed=5)["episodes"] != found["episodes"]


def test_one_episode_is_enough(run: Run) -> None:
    assert len(play(str(run.folder), 1)["episodes"]) == 1


def test_a_video_shows_every_step_of_the_very_episodes(run: Run, tmp_path: Path) -> None:
    found = play(str(run.folder), 3, seed=4, temperature=0.0, video=tmp_path / "out.mp4")
    without = play(str(run.folder), 3, seed=4, temperature=0.0)
    assert found["episodes"] == without["episodes"]
    frames = frames_of(tmp_path / "out.mp4")
    assert len(frames) == sum(row["steps"] + 1 for row in found["episodes"])
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    assert frames[0].std() > 1
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_video_is_never_written_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_text("mine")
    with pytest.raises(RunError, match="nothing is overwritten"):
        play(str(run.folder), 1, video=tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_text() == "mine"


def test_a_game_that_fails_while_filmed_leaves_no_half_a_video(tmp_path: Path) -> None:
    own = tmp_path / "game.py"
    own.write_text(
        "import numpy as np\nfrom newgameplus.games.toy_arena import Arena\n\n"
        "class Game(Arena):\n"
        "    def step(self, action):\n"
        "        if (1 if self.render_mode is None else 1000) * 10 < self._steps * 1000: raise KeyError('level 2')\n"
        "        return super().step(action)\n"
    )
    made = agent_run(
        tmp_path, "run", environment={"id": ARENA}, train={"steps": 256, "checkpoints": 1}, evaluate={"episodes": 2}
    )
    (tmp_path / "film").mkdir()
    own.write_text(
        own.read_text().replace(
            "(1 if self.render_mode is None else 1000) * 10 < self._steps * 1000", "self._steps > 3"
        )
    )
    with pytest.raises(GameError, match="level 2"):
        play(str(made.folder), 2, env=f"{own}:Game", video=tmp_path / "film" / "out.mp4")
    assert not list((tmp_path / "film").iterdir())


def test_a_game_without_pictures_cannot_be_filmed(tmp_path: Path) -> None:
    made = agent_run(
        tmp_path, "run", environment={"id": f"{BAD}:Game"}, train={"steps": 256, "checkpoints": 1},
        evaluate={"episodes": 2},
    )  # fmt: skip
    assert "data:image/" not in (made.folder / "report.html").read_text()
    with pytest.raises(GameError, match=r"picture|render"):
        play(str(made.folder), 1, video=tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_another_game_with_options(run: Run) -> None:
    found = play(str(run.folder), 2, options={"rules": {"enemy_hp": 1.0}}, seed=2)
    assert all(row["success"] for row in found["episodes"] if row["return"] > 1)
    with pytest.raises(NewGamePlusError, match="other spaces"):
        play(str(run.folder), 2, options={"features": ["hp"]})
    with pytest.raises(GameError):
        play(str(run.folder), 2, env="ngp/Arna-v0")


def test_a_policy_of_stable_baselines3_needs_its_game_named(tmp_path: Path) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    gym = pytest.importorskip("gymnasium")
    sb3.A2C("MlpPolicy", gym.make("CartPole-v1"), seed=0, device="cpu").save(tmp_path / "old.zip")
    with pytest.raises(RecipeError) as caught:
        play(f"sb3:{tmp_path / 'old.zip'}", 1)
    assert "--env" in caught.value.remedy
    found = play(f"sb3:{tmp_path / 'old.zip'}", 2, env="CartPole-v1")
    assert len(found["episodes"]) == 2
    assert found["success"] is None


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({"episodes": 0}, "--episodes"),
        ({"episodes": -3}, "--episodes"),
        ({"level": 2.0}, "--level"),
        ({"level": 0.5, "temperature": 1.0}, "--level"),
        ({"level": 0.5, "delay": 2}, "--level"),
        ({"level": 0.5, "by": "luck"}, "--by"),
        ({"temperature": -1.0}, "--temperature"),
        ({"temperature": float("nan")}, "--temperature"),
        ({"delay": -1}, "--delay"),
        ({"seed": -1}, "--seed"),
        ({"video": "out.txt"}, "--video"),
        ({"video": "folder/"}, "--video"),
    ],
)
def test_options_that_cannot_be_used_are_named(run: Run, settings: dict[str, Any], source: str) -> None:
    with pytest.raises(RecipeError) as caught:
        play(str(run.folder), **settings)
    assert caught.value.source.startswith(source)
    assert caught.value.remedy
